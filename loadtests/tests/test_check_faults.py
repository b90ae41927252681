"""Writers and faults: what goes wrong with the check itself is told, and is no verdict."""

import time
from typing import Any

import pytest

from loadtests.check import faults, writers
from loadtests.experiments import harm
from loadtests.experiments.scene import CannotError


class _Failing:
    def write(self, hang_up: bool = False) -> None:  # noqa: ARG002 - as a writer takes it
        raise RuntimeError("a writer's own fault")


def test_a_writer_that_fails_is_no_writer_that_lost_nothing() -> None:
    failing: Any = _Failing()
    with pytest.raises(RuntimeError, match="a writer's own fault"), writers.writing([failing]):
        time.sleep(0.05)


@pytest.mark.parametrize("said", ["", "NOAUTH Authentication required.", "ERR unknown command"])
def test_a_fault_that_was_not_caused_is_told(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(harm, "inside", lambda *_: said)
    (flushed,) = (fault for fault in faults.FAULTS if fault.name == "cache flushed")
    box: Any = type("Box", (), {"name": "cache"})
    with pytest.raises(CannotError, match="did not do what it should"):
        flushed.cause({"cache": box})
