"""What the docs say is held against what there is."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.stage import checks, engine, stages
from loadtests.report import cited
from loadtests.tests.runs import record

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*cited.pages(), *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_LINE_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)#L([0-9]+)\)")
_STATION = re.compile(r"^[0-9]+\. .*(?:\n   .*)*", re.MULTILINE)
_COMMAND = re.compile(r"\bmake ((?:[a-z][a-z0-9-]*(?: |$))+)", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


class LineLink(NamedTuple):
    """``[file: symbol](path#Lline)``; ``text`` is the whole link."""

    text: str
    symbol: str
    path: str
    line: int


def _line_links(text: str) -> Iterator[LineLink]:
    for found in _LINE_LINK.finditer(text):
        _, colon, symbol = found[1].replace("`", "").rpartition(": ")
        assert colon, f"{found[0]}: its text is not `file: symbol`"
        yield LineLink(found[0], symbol, found[2], int(found[3]))


def _definitions(tree: ast.Module | ast.ClassDef, within: str = "") -> dict[str, int]:
    """The lines of functions, classes and names of a module; methods are ``Class.method``."""
    lines: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            lines.setdefault(within + node.name, node.lineno)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                lines.setdefault(within + name, node.lineno)
        if isinstance(node, ast.ClassDef):
            lines |= _definitions(node, f"{within}{node.name}.")
    return lines


def _mistake(link: LineLink, source: str) -> str | None:
    """What to write instead of the link; None where its line defines its symbol.

    A symbol that the file only uses is one that its line contains.
    """
    defined = _definitions(ast.parse(source)) if link.path.endswith(".py") else {}
    word = re.compile(rf"(?<!\w){re.escape(link.symbol)}(?!\w)")
    used = [number for number, line in enumerate(source.splitlines(), 1) if word.search(line)]
    right = [defined[link.symbol]] if link.symbol in defined else used
    if link.line in right:
        return None
    instead = " or ".join(f"#L{number}" for number in right) or f"another symbol: {link.path} has none of this name"
    return f"{link.text}: write {instead}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_to_a_line_leads_to_the_symbol_that_it_names(page: Path) -> None:
    links = list(_line_links(page.read_text()))
    assert len(links) == len(re.findall(r"#L[0-9]", page.read_text())), "a link to a line is not read by this test"
    assert [found for link in links if (found := _mistake(link, (page.parent / link.path).read_text()))] == []


def test_every_station_of_the_tour_has_a_link_to_a_line() -> None:
    stations = _STATION.findall((ROOT / "docs/app.md").read_text())
    assert len(stations) >= 15
    assert [station for station in stations if not list(_line_links(station))] == []


_LINKED = """PRICE = 1

@cached
def look():
    ...

class Shop:
    @cached
    def look(self):
        buy(look)
"""


@pytest.mark.parametrize(
    ("link", "mistake"),
    [
        ("[a.py: look](a.py#L4)", None),
        ("[a.py: Shop.look](a.py#L9)", None),
        ("[a.py: PRICE](a.py#L1)", None),
        ("[a.py: buy](a.py#L10)", None),
        ("[a.py: look](a.py#L3)", "write #L4"),
        ("[a.py: look](a.py#L10)", "write #L4"),
        ("[a.py: Shop.look](a.py#L4)", "write #L9"),
        ("[a.py: buy](a.py#L9)", "write #L10"),
        ("[a.py: sell](a.py#L4)", "another symbol"),
    ],
)
def test_a_link_to_a_wrong_line_is_answered_with_the_right_one(link: str, mistake: str | None) -> None:
    (read,) = _line_links(link)
    found = _mistake(read, _LINKED)
    assert found is None if mistake is None else mistake in str(found)


def test_the_tour_s_table_names_every_file_of_the_package() -> None:
    package = ROOT / "services/conduit/conduit"
    table = (ROOT / "docs/app.md").read_text().partition("\n## The folder\n")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w*]+(?:\.py|/))`", table)
    there = {path.name + "/" * path.is_dir() for path in package.iterdir()} - {"__init__.py", "__pycache__/"}
    assert len(there) > 20
    assert sorted(name for name in there if not any(fnmatch(name, pattern) for pattern in named)) == []
    assert [pattern for pattern in named if not any(fnmatch(name, pattern) for name in there)] == []


def test_links_and_commands_are_found_where_they_are() -> None:
    """What the next tests look for: without a match they could not fail."""
    readme = ROOT / "README.md"
    assert "docs/stage1.md" in _LINK.findall(readme.read_text())
    assert {"setup", "stage1 up", "bench"} <= _commands(readme)
    for page in sorted((ROOT / "docs").glob("stage*.md")):
        assert _LINK.search(page.read_text()), page
        assert any(words.startswith(page.stem) for words in _commands(page)), page


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_make_command_is_one_that_make_knows(page: Path) -> None:
    known = {*_TARGET.findall((ROOT / "Makefile").read_text()), *(f"stage{number}" for number in stages.available())}
    for words in _commands(page):
        assert set(words.split()) <= known, f"make {words}"


def _commands(page: Path) -> set[str]:
    """What follows "make" in the page's code, up to what is no plain word."""
    return {words.strip() for words in _COMMAND.findall("\n".join(_code(page)))}


def _code(page: Path) -> list[str]:
    found = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", page.read_text(), re.DOTALL)
    # Comments in a block of commands are prose.
    return [re.sub(r"#.*", "", block or inline) for block, inline in found]


@pytest.mark.parametrize("page", cited.pages(), ids=_name)
def test_every_figure_is_that_of_the_run_it_cites(page: Path) -> None:
    assert cited.filled(page) == page.read_text(), "fill it: python -m loadtests.report.cited"


def test_runs_that_cannot_be_compared_do_not_stand_in_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"one": record(capacity=50), "two": record(capacity=100, stage=2)}
    runs["two"]["dataset"] = runs["two"]["dataset"] | {"users": 7}
    monkeypatch.setattr(cited, "_run", runs.__getitem__)
    with pytest.raises(cited.UnlikeError, match=r"one and two .* 7 users"):
        cited._ceilings([(name, cited._run(name)) for name in runs], "")


def test_experiments_with_datasets_of_two_sizes_do_not_stand_in_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {name: {"experiment": "publishing", "dataset": {"users": users}} for name, users in (("one", 7), ("two", 8))}
    monkeypatch.setattr(cited, "_run", runs.__getitem__)
    with pytest.raises(cited.UnlikeError, match=r"one and two .* of different sizes"):
        cited._experiments([(name, cited._run(name)) for name in runs], "")


def test_boxes_of_another_size_are_named_beside_their_run(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, half = record(capacity=50), record(capacity=25, stage=2)
    half["boxes"] = [box | {"cpus": 0.125} for box in half["boxes"]]
    said = [cited._cells("name", run, "")[-1] for run in (usual, half)]
    assert ["boxes of 0.125 CPU" in text for text in said] == [False, True]


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "box 1.87"),
        ({"app": 1.51, "PostgreSQL": 0.604}, "box 1.87 (app 1.51 + PostgreSQL 0.60)"),
        ({"app": 1.51, "other": 0.004}, "box 1.87"),
        ({"app": 1.51, "other": 0.006}, "box 1.87 (app 1.51 + other 0.01)"),
    ],
)
def test_programs_that_cost_next_to_nothing_are_not_told_apart(programs: dict[str, float], said: str) -> None:
    found = {name: {"per_request_ms": cost} for name, cost in programs.items()}
    assert cited._demand({"name": "box", "per_request_ms": 1.87, "programs": found}) == said


def test_one_step_of_a_run_in_turn_can_be_cited_alone() -> None:
    def rows(name: str) -> list[str]:
        return [row[0] for row in cited._transitions([(name, cited._run(name))], "")[1]]

    assert rows("transitions-browse") == ["1 → 2, browse", "2 → 3, browse", "3 → 4, browse"]
    assert rows("transitions-browse:3") == ["2 → 3, browse"]
    with pytest.raises(cited.UnlikeError, match="transitions-browse has no step to stage 5"):
        rows("transitions-browse:5")


def test_the_docs_cite_runs_at_all() -> None:
    assert sum(page.read_text().count("<!-- figures:") for page in cited.pages()) >= 3


def test_the_bundle_is_promised_to_what_has_it_in_builds() -> None:
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if "CA_BUNDLE=" in line)
    steps = re.findall(r"^RUN (?:.*\\\n)*.*", (ROOT / "infra/images/Dockerfile").read_text(), re.MULTILINE)
    # By the program that a step runs: install-locked is pip's.
    commands = {"pip": "install-locked", "apt": "apt-get"}
    runs = {name: [step for step in steps if command in step] for name, command in commands.items()}
    trusting = [name for name in commands if runs[name] and all("id=ca_bundle" in step for step in runs[name])]
    assert trusting
    assert [name for name in commands if f"`{name}`" in row] == trusting


def test_the_machine_that_is_asked_for_is_the_one_that_the_doctor_is_content_with() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    wanted = re.search(r"with (\d+) GiB of memory and (\d+) GiB of free disk\. `make doctor` checks", text)
    assert wanted
    memory, disk = (int(size) * checks.GIB for size in wanted.groups())
    assert (memory, disk) == (checks.MEMORY_WISHED, checks.DISK_WISHED)


def test_what_the_doctor_is_said_to_check_is_what_it_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    said = re.search(r"`make doctor` checks (.*?), and names", text)
    assert said
    docker = engine.Engine("28.0", cores=2, memory=8 * checks.GIB, cgroups="2", limits_cpu=True, pins_cpu=True, root="")
    monkeypatch.setattr(engine, "look", lambda: docker)
    monkeypatch.setattr(engine, "compose_version", lambda: engine.COMPOSE_NEEDED)
    monkeypatch.setattr(checks, "set_up", lambda: "there")
    monkeypatch.setattr(checks, "_ports_of", lambda _number: "free")
    found = " ".join(finding.what for finding in checks.doctor()).lower()
    named = re.findall(r"docker|memory|cores|disk|ports|python|make|all", said.group(1).lower())
    assert named
    assert [word for word in named if word not in found] == []


def test_every_setting_of_env_is_read_by_a_compose_file_or_a_command() -> None:
    names = re.findall(r"^([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    readers = [*ROOT.glob("docker-compose.*.yml")]
    readers += [path for path in (ROOT / "infra").rglob("*") if path.suffix in (".yml", ".py", ".env")]
    text = "\n".join(reader.read_text() for reader in readers)
    assert names
    assert [name for name in names if name not in text] == []
