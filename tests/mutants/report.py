"""The table of docs/mutants.md, from kept results and the survivors that people explained."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.suites import CONDUIT, LOADTESTS, SUITES, package_of
from tests.mutants.trial import ROOT, Mutant, Trial

RUNS = ROOT / "docs/runs/mutants"
PAGE = ROOT / "docs/mutants.md"
EXPLAINED = Path(__file__).parent / "explained.toml"
_HEAD = f"""# Mutation testing

`make mutants` puts small faults, one at a time, into the modules that hold the app's promises and those that compute
the figures of a ceiling, and runs the smallest suite of each. A fault that no test finds is a survivor; so is one that
no test reaches. At least {CONDUIT.wanted_percent:.0f} % must be found, and {LOADTESTS.wanted_percent:.0f} % where \
figures are computed. [mutmut](https://mutmut.readthedocs.io)
makes the faults: other operators, constants, arguments and conditions. It changes functions, not what runs at import,
so SQL statements and constants stay as they are. Log lines and assertions are left alone too.

`make mutants MODULE=ids` tries one module, or several: `MODULE='ids edge'`. Results are kept in
[runs/mutants](runs/mutants), explanations of survivors in
[tests/mutants/explained.toml](../tests/mutants/explained.toml); this page is made from both.

"""
_COLUMNS = ("module", "suite", "mutants", "found", "of these by timeout", "survived", "found, %", "commit", "date")


class Explanation(NamedTuple):
    """Why a survivor is no gap in the tests. ``after`` is the line with the fault."""

    module: str
    function: str
    after: str
    reason: str


def save(trial: Trial) -> None:
    """Keep a result in docs/runs/mutants."""
    RUNS.mkdir(parents=True, exist_ok=True)
    content = trial._asdict() | {"survivors": [mutant._asdict() for mutant in trial.survivors]}
    _file(trial.module).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def kept() -> list[Trial]:
    """The kept results, in the order of SUITES."""
    found = [json.loads(_file(module).read_text()) for module in SUITES if _file(module).exists()]
    return [Trial(**one | {"survivors": [Mutant(**mutant) for mutant in one["survivors"]]}) for one in found]


def explanations() -> list[Explanation]:
    """The hand-written explanations. Raises TypeError where one lacks a field or has another."""
    return [Explanation(**one) for one in tomllib.loads(EXPLAINED.read_text())["explained"]]


def reason_for(module: str, mutant: Mutant, explained: Sequence[Explanation]) -> str | None:
    """Why this survivor is no gap; None where nobody has said so."""
    for one in explained:
        if (one.module, one.function, one.after) == (module, mutant.function, mutant.after):
            return one.reason
    return None


def page(trials: Sequence[Trial], explained: Sequence[Explanation]) -> str:
    """The text of docs/mutants.md."""
    lines = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS)), *(_row(_cells(trial)) for trial in trials)]
    survivors = [
        (trial.module, mutant, reason_for(trial.module, mutant, explained))
        for trial in trials
        for mutant in trial.survivors
    ]
    lines += _listed("Survivors that are explained", [(*one[:2], one[2]) for one in survivors if one[2]])
    lines += _listed("Survivors that are not explained", [(*one[:2], one[1].status) for one in survivors if not one[2]])
    return _HEAD + "\n".join(lines) + "\n"


def _cells(trial: Trial) -> list[str]:
    package = package_of(trial.module)
    tests = Path("..", package.folder, package.tests).as_posix()
    suite = ", ".join(f"[{Path(name).name}]({tests}/{name})" for name in trial.suite)
    timeouts = str(trial.by_status.get("timeout", 0))
    counts = [str(trial.mutants), str(trial.found), timeouts, str(trial.mutants - trial.found)]
    return [f"`{trial.module}`", suite, *counts, f"{trial.percent:.1f}", trial.commit, trial.date]


def _listed(title: str, survivors: Sequence[tuple[str, Mutant, str]]) -> list[str]:
    if not survivors:
        return []
    lines = ["", f"## {title}", ""]
    for module, mutant, text in survivors:
        lines.append(f"- `{module}.{mutant.function}`: {text}")
        lines += ["", "  ```diff", f"  - {mutant.before}", f"  + {mutant.after}", "  ```", ""]
    return lines[:-1]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _file(module: str) -> Path:
    return RUNS / f"{module}.json"


def below(trials: Sequence[Trial]) -> Mapping[str, float]:
    """The modules of which too little was found, with the percentage."""
    return {trial.module: trial.percent for trial in trials if trial.percent < package_of(trial.module).wanted_percent}
