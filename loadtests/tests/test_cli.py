"""The command: what it refuses, and that it fills an empty stage before it measures it."""

from types import SimpleNamespace
from typing import Any

import pytest

from loadtests.ceiling import cli, stage
from loadtests.ceiling.drive import EmptyStageError
from loadtests.ceiling.plan import FULL, QUICK, Plan


@pytest.mark.parametrize(
    ("mix", "said"), [("browze", "there are: browse, read-mostly, pages"), ("spike", "make stage1 load MIX=spike")]
)
def test_a_mix_without_a_ceiling_is_refused(mix: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(1, mix) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("plan", "size"), [(QUICK, "small"), (FULL, "medium")])
def test_an_empty_stage_is_seeded_first(monkeypatch: pytest.MonkeyPatch, plan: Plan, size: str) -> None:
    done: list[tuple[Any, ...]] = []
    answers = iter([EmptyStageError("no articles"), None])

    def start(*_: Any) -> str:
        done.append(("generator",))
        if error := next(answers):
            raise error
        return "generator"

    monkeypatch.delenv("SIZE", raising=False)
    monkeypatch.setattr(stage, "Generator", start)
    monkeypatch.setattr(stage, "run", lambda *words: done.append(words))
    boxes: Any = SimpleNamespace(edge=lambda: "http://box:8000", databases=lambda: ["0-63=postgresql://box"])
    assert stage.generator(1, boxes, cli.SIZES[plan.mode]) == "generator"  # type: ignore[comparison-overlap]
    assert done == [("generator",), ("seed", 1, "--size", size), ("generator",)]
