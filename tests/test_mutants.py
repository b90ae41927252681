"""The report of mutation testing is made of what was kept, and no function is left out of it."""

import ast
from collections.abc import Iterator

import pytest

from tests.mutants import report
from tests.mutants.suites import SUITES, package_of, path_of
from tests.mutants.trial import ROOT, Function, Mutant, Trial, undecorated, without_import_time


def test_every_module_and_every_file_of_its_suite_exists() -> None:
    for module, suite in SUITES.items():
        package = package_of(module)
        assert (ROOT / package.folder / path_of(module)).is_file()
        for file in suite:
            assert (ROOT / package.folder / package.tests / file).is_file()


def test_the_page_is_made_of_the_kept_results() -> None:
    remedy = "make it: PYTHONPATH=services/conduit .venv/bin/python -m tests.mutants --page"
    assert report.page(report.kept(), report.explanations()) == report.PAGE.read_text(), remedy


def test_every_explanation_explains_a_survivor() -> None:
    """One of a fault that is found by now, or of code that is gone, misleads."""
    survivors = {(trial.module, mutant.function, mutant.after) for trial in report.kept() for mutant in trial.survivors}
    assert [one for one in report.explanations() if (one.module, one.function, one.after) not in survivors] == []


def _functions(node: ast.AST, within: str = "") -> Iterator[str]:
    """The names of functions and classes, a method's with its class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            yield within + child.name
            yield from _functions(child, f"{within}{child.name}.")


def test_every_survivor_is_of_a_function_that_there_is() -> None:
    """Whoever renames one renames it in the kept results and explanations, too, or tries the module anew."""
    gone = []
    for trial in report.kept():
        source = (ROOT / package_of(trial.module).folder / path_of(trial.module)).read_text()
        there = {*_functions(ast.parse(source))}
        gone += [f"{trial.module}.{one.function}" for one in trial.survivors if one.function not in there]
    assert gone == []


def test_a_survivor_is_listed_with_its_explanation_or_as_a_gap() -> None:
    mutants = [Mutant("f", "survived", "a = 1", "a = 2"), Mutant("g", "no tests", "b = 1", "b = 2")]
    by_status = {"killed": 17, "timeout": 1, "survived": 2}
    trial = Trial("ids", ["unit/test_ids.py"], "abc", "2026-01-01", 1.0, by_status, mutants)
    of_another_module = report.Explanation("edge", "g", "b = 2", "x")
    explained = [report.Explanation("ids", "f", "a = 2", "nobody reads it"), of_another_module]
    text = report.page([trial], explained)
    assert "| 20 | 18 | 1 | 2 | 90.0 |" in text
    assert text.index("are explained") < text.index("`ids.f`: nobody reads it") < text.index("are not explained")
    assert text.index("are not explained") < text.index("`ids.g`: no tests")
    assert report.below([trial]) == {}
    assert report.below([trial._replace(by_status={"killed": 89, "survived": 11})]) == {"ids": pytest.approx(89.0)}
    figures = trial._replace(module="loadtests.ceiling.demand", by_status={"killed": 94, "survived": 6})
    assert report.below([figures]) == {"loadtests.ceiling.demand": pytest.approx(94.0)}


def test_a_function_is_decorated_after_it_so_that_it_can_be_mutated() -> None:
    source = "import functools\n\n\n@functools.cache\n@staticmethod\ndef f(\n    a,\n):\n    return a\n\n\nb = 1\n"
    assert undecorated(source) == (
        "import functools\n\n\ndef f(\n    a,\n):\n    return a\nf = functools.cache(staticmethod(f))\n\n\nb = 1\n"
    )


def test_so_is_an_asynchronous_one() -> None:
    assert undecorated("@a\nasync def f():\n    return 1\n") == "async def f():\n    return 1\nf = a(f)\n"


FUNCTIONS = """
def _a():
    return _b()

def _b():
    return 1

def c():
    return _d()

def _d():
    return 2

A = _a()
"""


@pytest.mark.parametrize(
    ("more", "left_out"),
    [
        ("", ["def _a()", "def _b()"]),
        ("def e():\n    return _b()\n", ["def _a()"]),
        ("class E:\n    def f(self):\n        return _a()\n", []),
        ("async def e():\n    return _b()\n", ["def _a()"]),
        ("class E:\n    async def f(self):\n        return _a()\n", []),
    ],
    ids=["at import", "by a function", "by a method", "by a coroutine", "by a method that is one"],
)
def test_a_function_is_left_out_if_it_only_runs_at_import(more: str, left_out: list[str]) -> None:
    lines = without_import_time(FUNCTIONS + more).splitlines()
    assert [lines[at + 1].rstrip(":") for at, line in enumerate(lines) if "no mutate start" in line] == left_out
    assert [lines[at - 1] for at, line in enumerate(lines) if "no mutate end" in line] == [
        FUNCTIONS.splitlines()[FUNCTIONS.splitlines().index(f"{head}:") + 1] for head in left_out
    ]
