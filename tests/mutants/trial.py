"""One module tried by mutmut, in a copy of its package that is removed afterwards.

mutmut wants the package below its working directory and its settings in pyproject.toml there, so both are written for
each trial. What runs at import cannot be mutated: constants, SQL statements, and the functions that only they call.
"""

import ast
import datetime as dt
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.suites import package_of, path_of

ROOT = Path(__file__).resolve().parents[2]
FOUND = ("killed", "timeout", "segfault")
Function = ast.FunctionDef | ast.AsyncFunctionDef
_LIMIT_SECONDS = 3600
_RESULT = re.compile(r"^ *(\S+__mutmut_\d+): (.+)$", re.MULTILINE)
_CONFIGURATION = """
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p no:cacheprovider"
pythonpath = ["."]
markers = ["docker", "slow", "realtime", "long", "stage(number)"]
timeout = 60
timeout_func_only = true

[tool.mutmut]
source_paths = [{package}]
only_mutate = [{path}]
also_copy = {copied}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = {options}
# The texts of log lines and of assertions are for developers, and no promise.
do_not_mutate_patterns = ['^\\s*log\\.', '^\\s*assert ']
# A mutant has 5 times its tests' own time, and half a minute for fixtures.
timeout_multiplier = 5.0
timeout_constant = 6.0
"""


class Mutant(NamedTuple):
    """A fault that no test found: in which function, and the lines without and with it."""

    function: str
    status: str
    before: str
    after: str


class Trial(NamedTuple):
    """A module's result: how many mutants ended in which status, and those that were not found."""

    module: str
    suite: Sequence[str]
    commit: str
    date: str
    seconds: float
    by_status: Mapping[str, int]
    survivors: Sequence[Mutant]

    @property
    def mutants(self) -> int:
        return sum(self.by_status.values())

    @property
    def found(self) -> int:
        return sum(self.by_status.get(status, 0) for status in FOUND)

    @property
    def percent(self) -> float:
        return 100 * self.found / self.mutants if self.mutants else 0.0


class TrialError(Exception):
    """mutmut did not get to the mutants; the text is its output."""


def run(module: str, suite: Sequence[str], environment: Mapping[str, str]) -> Trial:
    """Try all mutants of a module with the tests of ``suite``. Raises TrialError."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        _fill(copy, module, suite)
        _mutmut(copy, environment, "run")
        statuses = dict(_RESULT.findall(_mutmut(copy, environment, "results", "--all", "true")))
        by_status: dict[str, int] = {}
        for status in statuses.values():
            by_status[status] = by_status.get(status, 0) + 1
        survivors = [
            _mutant(name, status, _mutmut(copy, environment, "show", name))
            for name, status in statuses.items()
            if status not in FOUND
        ]
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return Trial(module, suite, _commit(), today, round(time.monotonic() - started, 1), by_status, survivors)


def _fill(copy: Path, module: str, suite: Sequence[str]) -> None:
    package = package_of(module)
    skipped = shutil.ignore_patterns("__pycache__", ".*")
    for name in (package.name, *package.copied):
        shutil.copytree(ROOT / package.folder / name, copy / name, ignore=skipped)
    copied = list(package.copied)
    if package.servers:
        shutil.copy2(ROOT / "conftest.py", copy)
        copied.append("conftest.py")
    path = path_of(module)
    (copy / path).write_text(undecorated(without_import_time((copy / path).read_text())))
    settings = {
        "package": package.name,
        "path": path,
        "copied": copied,
        "tests": [f"{package.tests}/{file}" for file in suite],
        "options": package.options,
    }
    written = {name: json.dumps(value) for name, value in settings.items()}
    (copy / "pyproject.toml").write_text(_CONFIGURATION.format(**written))


def without_import_time(source: str) -> str:
    """The same module, its functions that only run at import marked as not to be mutated: no test could tell."""
    body = ast.parse(source).body
    functions = {node.name: node for node in body if isinstance(node, Function)}
    statements = [node for node in body if node not in functions.values()]
    methods = [node for one in statements for node in ast.walk(one) if isinstance(node, Function | ast.Lambda)]
    called_later = set().union(*map(_names, methods))
    lines = source.splitlines()
    # Each is called by a statement of the module or by another such function, and by nothing else.
    at_import: set[str] = set()
    while True:
        used = set().union(*map(_names, [*statements, *(functions[name] for name in at_import)]))
        others = called_later.union(*(_names(node) for name, node in functions.items() if name not in used))
        found = {name for name in functions if name.startswith("_") and name in used and name not in others}
        if found == at_import:
            break
        at_import = found
    for node in reversed([functions[name] for name in functions if name in at_import]):
        lines.insert(node.end_lineno or node.lineno, "# pragma: no mutate end")
        lines.insert(node.lineno - 1, "# pragma: no mutate start")
    return "\n".join(lines) + "\n"


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def undecorated(source: str) -> str:
    """The same module without ``@`` before its functions, which mutmut leaves alone: they are decorated after it."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, Function) and node.decorator_list:
            assert node.end_lineno is not None, "ast.parse sets it"
            wrapped = node.name
            for decorator in reversed(node.decorator_list):
                wrapped = f"{ast.unparse(decorator)}({wrapped})"
            lines.insert(node.end_lineno, f"{node.name} = {wrapped}")
            del lines[node.decorator_list[0].lineno - 1 : node.lineno - 1]
    return "\n".join(lines) + "\n"


def _mutmut(copy: Path, environment: Mapping[str, str], *words: str) -> str:
    # As a program, not by -m: mutmut loads itself a second time then.
    command = [str(Path(sys.executable).parent / "mutmut"), *words]
    mutmut = subprocess.Popen(
        command, cwd=copy, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = mutmut.communicate(timeout=_LIMIT_SECONDS)
    except BaseException:
        # With the mutants that it runs, which would go on without it.
        os.killpg(mutmut.pid, signal.SIGKILL)
        mutmut.wait()
        raise
    if mutmut.returncode:
        raise TrialError(f"mutmut {' '.join(words)} failed:\n{said[-8000:]}")
    return said


def _mutant(name: str, status: str, diff: str) -> Mutant:
    changed: dict[str, list[str]] = {"-": [], "+": []}
    for line in diff.splitlines():
        if line[:1] in changed and not line.startswith(("---", "+++")):
            changed[line[0]].append(line[1:].strip())
    function = re.sub(r"^x_|^xǁ", "", name.rpartition(".")[2].partition("__mutmut_")[0]).replace("ǁ", ".")
    return Mutant(function, status, " ".join(changed["-"]), " ".join(changed["+"]))


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+changes", "--abbrev=10", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
