"""What of a trial is recorded; without a stage."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtests.ceiling.boxes import Box, Reading
from loadtests.ceiling.live import Progress
from loadtests.ceiling.measure import Bench
from loadtests.ceiling.record import Run
from loadtests.ceiling.verdict import Outcome
from loadtests.tests.runs import FIT, total

GOOD = Outcome(rate=100, completed_rate=100, achieved=1, error_share=0, p95=9, backlog_growth=0)
BOX = Box("app", "app", 0.25, 256 << 20, {}, None)


class Stage:
    """A box and a generator in one: all of the box's CPU is used until the last stretch, none in it."""

    def __init__(self) -> None:
        self.now, self.used = 0.0, 0.0

    def read(self) -> dict[str, Reading]:
        return {"app": Reading(self.now, int(self.used * 1e9), 0, 0, 1 << 20)}

    def between(self, before: dict[str, Reading], after: dict[str, Reading]) -> dict[str, Any]:
        return {"app": BOX.between(before["app"], after["app"])}

    def trial(self, wanted: dict[str, Any], on_window: Any, on_progress: Any) -> dict[str, Any]:
        on_window("start")
        lengths = [seconds for seconds, _ in wanted["profile"]]
        busy = sum(lengths[:-1]) or sum(lengths)
        for second in range(int(sum(lengths))):
            self.now += 1
            self.used += BOX.quota if second < busy else 0
            on_progress({"t": second + 1.0, "seconds": 30, "rate": 1, "achieved": 1, "p95": 9.0, "errors": 0})
        on_window("end")
        return {"total": total(100, GOOD), "series": [{"in_flight": 1}] * 30, **FIT}


@pytest.mark.parametrize("profile", [[[20, 200], [10, 70]], [[10, 200], [10, 300], [10, 70]], [[30, 200]]])
def test_the_recovery_does_not_hide_how_busy_a_box_was(tmp_path: Path, profile: list[list[float]]) -> None:
    stage: Any = Stage()
    run = Run(1, "browse", tmp_path)
    progress = Progress("", Console(file=(tmp_path / "said").open("w")))
    Bench(stage, stage, run, "browse", progress).stretches("overload", profile, 0)
    (trial,) = run.data["trials"]
    assert trial["boxes"]["app"]["utilisation"] == pytest.approx(1.0)
