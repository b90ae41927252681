"""The files of a stage, moved by the very scripts that run in its boxes, in folders of this machine."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from infra.stage import lifecycle, media, tools, topology
from infra.stage.media import Store
from infra.stage.problems import Problem
from infra.stage.topology import Topology

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="the boxes have GNU's tar, cp and xargs")

SENDS = """
import io, sys, tarfile
sys.path.insert(0, {root!r})
given = sys.stdin.buffer.read()
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as out:
    for name, content in {files!r}.items():
        member = tarfile.TarInfo(name)
        member.size = len(content)
        out.addfile(member, io.BytesIO(content))
        if name == {dies_after!r}:
            sys.stdout.flush()
            sys.exit("drew no more")
"""
ROOT = str(Path(__file__).resolve().parents[2])


class Silent:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[str, int | None]] = []
        self.advanced = 0

    def step(self, text: str, total: int | None = None, unit: str = "rows") -> None:  # noqa: ARG002 - as it is called
        self.steps.append((text, total))

    def advance(self, rows: int) -> None:
        self.advanced += rows

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def progress() -> Silent:
    return Silent()


@pytest.fixture(autouse=True)
def _docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `docker exec` that runs the command here; the container named `gone` does not run."""
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    gone = '[ "$3" = gone ] && { echo "Error: container gone is not running" >&2; exit 1; }'
    fake.write_text(f'#!/bin/sh\n{gone}\nshift 3\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")


def store(folder: Path, container: str = "box") -> Store:
    return Store(container, str(folder), f"stage 1's {folder.name}")


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def held(folder: Path) -> dict[str, bytes]:
    """All files there, hidden ones, too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sends(files: dict[str, bytes], dies_after: str = "") -> list[str]:
    return [sys.executable, "-c", SENDS.format(root=ROOT, files=files, dies_after=dies_after)]


def covers(*pictures: bytes) -> dict[str, bytes]:
    """Files of covers and their manifest, as the seed draws them."""
    files = {}
    for number, picture in enumerate(pictures):
        for size in ("small", "medium", "large"):
            files[f"public/{number:032x}-{size}.webp"] = picture + size.encode()
    lines = [f"{sha(content)}  {name}\n" for name, content in files.items()]
    return files | {media.SEED_MANIFEST: ("# of a test\n" + "".join(lines)).encode()}


UPLOADS = {
    "public/aa-small.webp": b"a small one",
    "public/aa-large.webp": b"a large one" * 1000,
    "private/reports/7.csv": b"username\n",
    "private/uploads/3-aa": b"waits",
}


def test_the_covers_of_the_seed_arrive_whole_and_in_their_order(tmp_path: Path, progress: Silent) -> None:
    folder, files = tmp_path / "media", covers(b"one", b"two", b"three")
    digests = media.seed_covers(store(folder), sends(files), progress)
    assert digests == [f"{number:032x}" for number in range(3)]
    assert held(folder) == files
    assert progress.advanced == len(files)
    assert "Covers: 3 in 3 sizes, drawn in" in progress.said[-1]


def test_covers_that_are_there_are_told_to_whoever_draws(tmp_path: Path, progress: Silent) -> None:
    folder, files = tmp_path / "media", covers(b"one", b"two")
    fill(folder, files)
    manifest = files[media.SEED_MANIFEST]
    assert store(folder).seeded() == manifest.decode()
    assert media.seed_covers(store(folder), sends({media.SEED_MANIFEST: manifest}), progress) == [
        f"{number:032x}" for number in range(2)
    ]
    assert progress.said == ["Covers: 2 in 3 sizes, there already."]
    assert held(folder) == files


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"another")], ids=["gone", "changed"])
def test_covers_that_are_not_as_the_manifest_says_are_not_there(tmp_path: Path, harm: object) -> None:
    folder = tmp_path / "media"
    fill(folder, covers(b"one", b"two"))
    harm(folder / f"public/{1:032x}-large.webp")  # type: ignore[operator]
    assert store(folder).seeded() == ""


def test_drawing_that_is_interrupted_leaves_nothing_where_the_app_looks(tmp_path: Path, progress: Silent) -> None:
    folder, files = tmp_path / "media", covers(b"one", b"two")
    with pytest.raises(Problem, match="drew no more"):
        media.seed_covers(store(folder), sends(files, dies_after=f"public/{0:032x}-medium.webp"), progress)
    assert store(folder).sums() == {}
    assert not (folder / "public").exists()
    media.seed_covers(store(folder), sends(files), progress)
    assert held(folder) == files


def test_files_come_over_to_a_stage_that_has_none(tmp_path: Path, progress: Silent) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, UPLOADS | {"public/.tmp123": b"half"})
    (here / "private/uploads/3-aa").chmod(0o600)
    theirs = media.bring_missing(store(here), store(there), progress)
    assert theirs == {name: sha(content) for name, content in UPLOADS.items()}
    assert held(there) == UPLOADS
    assert (there / "private/uploads/3-aa").stat().st_mode & 0o777 == 0o600
    assert progress.steps[-1][1] == len(UPLOADS)
    media.verify(theirs, store(there), [], progress)
    assert progress.said == ["Files: 4 at stage 1's there, each with the SHA-256 that it had."]


def test_only_what_is_missing_or_another_is_sent_and_what_was_replaced_goes(tmp_path: Path, progress: Silent) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, UPLOADS)
    old = {"private/reports/7.csv": b"another's", "public/bb-small.webp": b"of an article that is replaced"}
    fill(there, {"public/aa-large.webp": UPLOADS["public/aa-large.webp"]} | old)
    before = store(there).sums()
    kept = (there / "public/aa-large.webp").stat().st_ino
    theirs = media.bring_missing(store(here), store(there), progress)
    assert progress.steps[-1] == ("files to stage 1's there", 3)
    media.verify(theirs, store(there), before, progress)
    assert held(there) == UPLOADS
    assert (there / "public/aa-large.webp").stat().st_ino == kept
    assert "removed with the data that was replaced: 1" in progress.said[-1]


def test_an_import_that_was_interrupted_goes_on_where_it_was(tmp_path: Path, progress: Silent) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, UPLOADS)
    names = list(UPLOADS)
    with pytest.raises(Problem, match="What has arrived is kept"):
        media.receive(store(there), sends(UPLOADS, dies_after=names[1]), b"", progress)
    assert store(there).sums() == {}
    # As an interruption leaves the file under way, and one of another import that is not asked for any more.
    fill(there / ".arriving", {names[2]: b"user", "public/cc-small.webp": b"cut of"})
    media.bring_missing(store(here), store(there), progress)
    assert progress.steps[-1] == ("files to stage 1's there", 2)
    assert held(there) == UPLOADS


def test_nothing_to_bring_asks_for_nothing(tmp_path: Path, progress: Silent) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    media.verify(media.bring_missing(store(here), store(there), progress), store(there), [], progress)
    fill(here, UPLOADS)
    fill(there, UPLOADS)
    media.verify(media.bring_missing(store(here), store(there), progress), store(there), [], progress)
    assert held(there) == UPLOADS
    assert not any(text.startswith("files to") for text, _ in progress.steps)


def test_a_file_that_is_deleted_meanwhile_does_not_stop_the_others(tmp_path: Path, progress: Silent) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, UPLOADS)
    asked = b"".join(name.encode() + b"\0" for name in [*UPLOADS, "public/dd-small.webp"])
    sums = media.receive(store(there), store(here).packing(), asked, progress)
    assert sums == store(here).sums() == store(there).sums(".arriving")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"another")], ids=["missing", "another"])
def test_a_target_that_does_not_hold_what_the_source_has_is_told(
    tmp_path: Path, progress: Silent, harm: object
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, UPLOADS)
    theirs = media.bring_missing(store(here), store(there), progress)
    harm(there / "public/aa-small.webp")  # type: ignore[operator]
    with pytest.raises(Problem, match=r"differ from those sent: public/aa-small\.webp \(1 in all\)"):
        media.verify(theirs, store(there), ["public/bb-small.webp"], progress)


@pytest.mark.slow
def test_many_names_are_no_trouble(tmp_path: Path, progress: Silent) -> None:
    """More than fit into a pipe, or on one command line."""
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, {f"public/{number:032x}-small.webp": b"%d" % number for number in range(4000)})
    media.verify(media.bring_missing(store(here), store(there), progress), store(there), [], progress)
    assert held(there) == held(here)


@pytest.mark.parametrize("name", ["etc/passwd", "../up", "public/../../up", "/public/a", "public/.hidden"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, progress: Silent, name: str) -> None:
    with pytest.raises(Problem, match="is no name of a file here"):
        media.receive(store(tmp_path / "media"), sends({name: b"x"}), b"", progress)
    assert held(tmp_path / "media") == {}


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path, progress: Silent) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    with pytest.raises(
        Problem, match=r"The files of stage 1's media cannot be reached: .*\nHow it is: make stageN status"
    ):
        media.seed_covers(store(tmp_path / "media"), sends(covers(b"one")), progress)


def test_a_container_that_does_not_run_is_said_in_a_sentence(tmp_path: Path, progress: Silent) -> None:
    gone = store(tmp_path / "there", "gone")
    with pytest.raises(Problem, match="container gone is not running"):
        media.bring_missing(store(tmp_path / "here"), gone, progress)


def test_a_stage_says_by_a_label_where_its_files_are() -> None:
    stage = Topology(7, "conduit-stage7", {}, "lb", 80, 8007, media=("media", "/data/media"))
    assert media.of(stage) == Store("conduit-stage7-media-1", "/data/media", "stage 7's media")
    with pytest.raises(Problem, match=r"stage 7 has the label stage\.media"):
        media.of(Topology(7, "conduit-stage7", {}, "lb", 80, 8007))


@pytest.fixture
def stages_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Stage 1's files and stage 2's, both stages up; the databases' side of an import refuses where `refuses` names
    the step, and keeps for the test in `at-step` which files stage 2 had then.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    folders = {1: here, 2: there}
    monkeypatch.setattr(
        topology,
        "read",
        lambda n: Topology(n, f"conduit-stage{n}", {}, "box", 80, 8000, media=("box", f"{folders[n]}")),
    )
    monkeypatch.setattr(lifecycle, "is_up", lambda _stage: True)
    monkeypatch.setattr(tools, "build", lambda _number: None)
    fake = tmp_path / "bin" / "docker"
    fake.write_text(f"""#!/bin/sh
cd "{tmp_path}"
case "$*" in
exec*) shift 3; exec "$@" ;;
create*--check*) echo check >step ;;
create*) echo rows >step ;;
start*) find there -type f >at-$(cat step); [ "$(cat step)" != "$(cat refuses 2>/dev/null)" ] ;;
esac
""")
    return here, there


def test_an_import_that_the_databases_refuse_brings_no_file(stages_of_folders: tuple[Path, Path]) -> None:
    here, there = stages_of_folders
    fill(here, UPLOADS)
    own = {"private/reports/7.csv": b"of who works here"}
    fill(there, own)
    (here.parent / "refuses").write_text("check\n")
    with pytest.raises(Problem, match="The import did not finish"):
        tools.bring_over(2, 1, replace=False)
    assert held(there) == own
    assert not (here.parent / "at-rows").exists()


def test_an_import_has_its_files_there_before_its_rows(stages_of_folders: tuple[Path, Path]) -> None:
    here, there = stages_of_folders
    fill(here, UPLOADS)
    tools.bring_over(2, 1, replace=False)
    assert (here.parent / "at-check").read_text() == ""
    assert set((here.parent / "at-rows").read_text().split()) == {f"there/{name}" for name in UPLOADS}
    assert held(there) == UPLOADS


@pytest.mark.parametrize("was_up", [True, False])
def test_an_import_stops_the_stage_that_it_started_for_its_data(
    stages_of_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, was_up: bool
) -> None:
    fill(stages_of_folders[0], UPLOADS)
    done: list[tuple[str, int]] = []
    monkeypatch.setattr(lifecycle, "is_up", lambda _stage: was_up)
    monkeypatch.setattr(lifecycle, "up", lambda number: done.append(("up", number)))
    monkeypatch.setattr(lifecycle, "down", lambda number, *, volumes: done.append((f"down {volumes}", number)))
    tools.bring_over(2, 1, replace=False)
    assert done == ([] if was_up else [("up", 1), ("up", 2), ("down False", 1)])


def test_an_import_that_fails_after_its_files_says_that_they_are_there(stages_of_folders: tuple[Path, Path]) -> None:
    here, there = stages_of_folders
    fill(here, UPLOADS)
    (here.parent / "refuses").write_text("rows\n")
    with pytest.raises(Problem, match="The files are there, but the import of the rows did not finish"):
        tools.bring_over(2, 1, replace=False)
    assert held(there) == UPLOADS
