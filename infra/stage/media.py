"""A stage's files (covers, reports), moved into and between the services that the label `stage.media` names.

They travel as a tar stream through `docker exec`, so that neither network nor volume need be known. What arrives waits
in a hidden folder beside the others until its SHA-256 is found to be the sender's; only then it is linked in by its
name. So an interruption leaves no half a file where the app would serve it, and what has arrived is not sent again.
"""

import contextlib
import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from infra.stage.problems import Problem
from infra.stage.stages import ROOT
from infra.stage.topology import Topology

# Written last, by `python -m data.seed.covers`: the SHA-256 of each file of the seed's covers.
SEED_MANIFEST = "private/seed/covers.sha256"
SIZES_OF_A_COVER = 3

_ARRIVING = ".arriving"
_NAME = re.compile(r"(?:public|private)(?:/[0-9A-Za-z_][0-9A-Za-z_.-]*)+")
_COVER = re.compile(r"^[0-9a-f]{64} [ *]public/([0-9a-f]+)-\w+\.webp$", re.MULTILINE)

# Each runs in the service, with the files' directory as $1.
_SUMS = """
cd "$1/$2" 2>/dev/null || exit 0
for part in public private; do
    if [ -d $part ]; then find $part -type f ! -name '.*' -exec sha256sum {} +; fi
done
exit 0  # a file that was deleted meanwhile is no error: it is not there
"""
_PACK = 'cd "$1" && exec tar --create --ignore-failed-read --verbatim-files-from --null --files-from=-'
_UNPACK = 'mkdir -p "$1/$2" && exec tar --extract --directory="$1/$2"'
_PLACE = 'cd "$1/$2" && xargs -0 -r cp --link --force --parents --target-directory="$1" && rm -rf "$1/$2"'
_REMOVE = 'cd "$1" && xargs -0 -r rm -f'
_WHOLE = 'cd "$1" 2>/dev/null && [ -f "$2" ] && sha256sum --check --status "$2" 2>/dev/null && cat "$2" || exit 0'


class Progress(Protocol):
    """What shows how far it is."""

    def step(self, text: str, total: int | None = None, unit: str = "rows") -> None:
        """A step of so many units begins."""

    def advance(self, rows: int) -> None:
        """So many more are done."""

    def say(self, text: str) -> None:
        """A line that stays."""


@dataclass(frozen=True)
class Store:
    """The files that one service keeps under a directory, by names as `public/…` and `private/…`."""

    container: str
    directory: str
    label: str
    """What messages call it."""

    def sums(self, folder: str = ".") -> dict[str, str]:
        """SHA-256 by name of all files, or of those that wait in a folder."""
        found = {}
        for line in self._run(_SUMS, folder).decode().splitlines():
            digest, _, name = line.partition("  ")
            found[name] = digest
        return found

    def seeded(self) -> str:
        """The manifest of the seed's covers, if it is there and every file is as it says; else an empty text."""
        return self._run(_WHOLE, SEED_MANIFEST).decode()

    def packing(self) -> list[str]:
        """The command that packs the files whose names, each with a NUL behind it, come by its input."""
        return self.inside(_PACK)

    def place(self, names: Iterable[str]) -> None:
        """Give these, which have arrived, their names; what else has arrived is removed."""
        self._run(_PLACE, _ARRIVING, given=_listed(names))

    def remove(self, names: Iterable[str]) -> None:
        """Remove these."""
        self._run(_REMOVE, given=_listed(names))

    def inside(self, script: str, *words: str) -> list[str]:
        """The command that runs a script in the service."""
        return ["docker", "exec", "--interactive", self.container, "sh", "-c", script, "sh", self.directory, *words]

    def _run(self, script: str, *words: str, given: bytes = b"") -> bytes:
        # No limit of time: what it takes depends on how many files there are.
        done = subprocess.run(self.inside(script, *words), input=given, capture_output=True, check=False, cwd=ROOT)
        if done.returncode:
            raise _failed(self, done.stderr)
        return done.stdout


def of(stage: Topology) -> Store:
    """Where a stage keeps its files. Raises Problem when no service says that it does."""
    if stage.media is None:
        raise Problem(
            f"No service of stage {stage.number} has the label stage.media, so it has no media store.",
            "The file may have been edited: git diff docker-compose.*.yml",
        )
    service, directory = stage.media
    return Store(stage.container(service), directory, f"stage {stage.number}'s {service}")


def seed_covers(store: Store, drawing: Sequence[str], progress: Progress) -> list[str]:
    """Bring the seed's covers into a store, unless they are there; their digests, in the seed's order.

    ``drawing`` is the command that gives them as a tar stream; it is told the manifest of those that are there.
    """
    begun = time.monotonic()
    progress.step("covers, drawn and resized", unit="files")
    sums = receive(store, drawing, store.seeded().encode(), progress)
    arrived = store.sums(_ARRIVING)
    wrong = [name for name, digest in sums.items() if arrived.get(name) != digest]
    if wrong:
        raise _differ(store, wrong)
    store.place(sums)
    digests = list(dict.fromkeys(_COVER.findall(store.seeded())))
    if not digests:
        raise Problem(f"The seed's covers did not arrive complete at {store.label}.", "Run the same command again.")
    drawn = sum(name != SEED_MANIFEST for name in sums) // SIZES_OF_A_COVER
    said = f"drawn in {time.monotonic() - begun:.1f} s" if drawn else "there already"
    progress.say(f"Covers: {len(digests)} in {SIZES_OF_A_COVER} sizes, {said}.")
    return digests


def bring_missing(source: Store, target: Store, progress: Progress) -> dict[str, str]:
    """Bring over what the target does not have or has otherwise; the SHA-256 by name of what the source has."""
    progress.step(f"checksums of the files of {source.label}", unit="files")
    theirs = source.sums()
    progress.advance(len(theirs))
    ours = target.sums()
    missing = {name: digest for name, digest in theirs.items() if ours.get(name) != digest}
    if missing:
        arrived = target.sums(_ARRIVING)
        asked = [name for name, digest in missing.items() if arrived.get(name) != digest]
        progress.step(f"files to {target.label}", len(asked), "files")
        receive(target, source.packing(), _listed(asked), progress)
        arrived = target.sums(_ARRIVING)
        # What was deleted at the source meanwhile did not come; what differs, a second look at the source explains.
        target.place([name for name, digest in missing.items() if arrived.get(name) == digest])
    return theirs


def verify(theirs: Mapping[str, str], target: Store, replaced: Iterable[str], progress: Progress) -> None:
    """Hold a target against what a source has; then remove those ``replaced`` that the source does not have.

    Raises Problem when a file is missing or another.
    """
    progress.step(f"checksums of the files of {target.label}", len(theirs), "files")
    ours = target.sums()
    wrong = [name for name, digest in theirs.items() if ours.get(name) != digest]
    if wrong:
        raise _differ(target, wrong)
    progress.advance(len(theirs))
    gone = ""
    if left := sorted(set(replaced) - set(theirs)):
        target.remove(left)
        gone = f"; removed with the data that was replaced: {len(left):,}"
    progress.say(f"Files: {len(theirs):,} at {target.label}, each with the SHA-256 that it had{gone}.")


def receive(store: Store, sending: Sequence[str], given: bytes, progress: Progress) -> dict[str, str]:
    """Let a command's tar stream, to whose input ``given`` goes, wait in a store; the SHA-256 by name of what came.

    Raises Problem when either end fails.
    """
    sums: dict[str, str] = {}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        with (
            _process(sending, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as sender,
            _process(store.inside(_UNPACK, _ARRIVING), stdin=subprocess.PIPE, stderr=told) as receiver,
        ):
            assert sender.stdin is not None, "opened as a pipe"
            assert sender.stdout is not None, "opened as a pipe"
            assert receiver.stdin is not None, "opened as a pipe"
            # The sender may send before it has read all, and would wait for ever for somebody to read that.
            writing = threading.Thread(target=_write, args=(sender.stdin, given), daemon=True)
            writing.start()
            broken = None
            try:
                _pass_on(sender.stdout, receiver.stdin, sums, progress.advance)
            except (tarfile.TarError, OSError) as error:
                broken = error
            with contextlib.suppress(OSError):
                receiver.stdin.close()
            sender.stdout.close()  # whoever cannot send any more ends, too
            codes = sender.wait(), receiver.wait()
            writing.join()
        # An archive that is cut off is the receiver's complaint as well, and a sender complains of who does not listen.
        if isinstance(broken, OSError) or (codes[1] and not codes[0] and broken is None):
            raise _failed(store, _words(told))
        if codes[0] or broken is not None:
            raise Problem(
                f"The files could not be fetched: {_last_line(_words(said)) or broken}",
                "What has arrived is kept; run the same command again.",
            )
    return sums


def _pass_on(source: IO[bytes], target: IO[bytes], sums: dict[str, str], on_file: Callable[[int], None]) -> None:
    """Every file of a tar stream to another, its checksum into ``sums``."""
    with (
        tarfile.open(fileobj=source, mode="r|") as arriving,
        tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as leaving,
    ):
        for member in arriving:
            if not member.isfile() or _NAME.fullmatch(member.name) is None:
                raise tarfile.ReadError(f"{member.name!r} is no name of a file here")
            file = arriving.extractfile(member)
            assert file is not None, "it is a file"
            content = file.read()
            sums[member.name] = hashlib.sha256(content).hexdigest()
            leaving.addfile(member, io.BytesIO(content))
            on_file(1)


def _write(pipe: IO[bytes], given: bytes) -> None:
    # It may end without having read all, and why is then told by its status.
    with contextlib.suppress(OSError):
        pipe.write(given)
    with contextlib.suppress(OSError):
        pipe.close()


@contextlib.contextmanager
def _process(command: Sequence[str], **pipes: int | IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """A child that does not outlive what is done with it."""
    child = subprocess.Popen(command, cwd=ROOT, **pipes)  # type: ignore[call-overload]  # its pipes are what Popen takes
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait()


def _listed(names: Iterable[str]) -> bytes:
    return b"".join(name.encode() + b"\0" for name in names)


def _words(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _failed(store: Store, said: bytes) -> Problem:
    why = _last_line(said) or "it said nothing"
    if "No space left" in why:
        return Problem(
            f"The disk of {store.label} is full: {why}", "Free some space. What Docker can free: docker system df"
        )
    return Problem(f"The files of {store.label} cannot be reached: {why}", "How it is: make stageN status")


def _differ(store: Store, names: list[str]) -> Problem:
    shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return Problem(
        f"These files at {store.label} differ from those sent: {shown} ({len(names):,} in all).",
        "Run the same command again; it sends only the differences. If that fails again, check the disk.",
    )
