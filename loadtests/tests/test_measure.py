"""What of a trial is recorded; without a stage."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtests import raw
from loadtests.ceiling.live import Progress
from loadtests.ceiling.measure import Bench
from loadtests.ceiling.record import Run
from loadtests.ceiling.stage import Rig
from loadtests.ceiling.verdict import Outcome
from loadtests.observe.readings import Host, Load, Moment, Reading, load
from loadtests.tests.runs import FIT, total

GOOD = Outcome(rate=100, completed_rate=100, achieved=1, error_share=0, p95=9, backlog_growth=0)
QUOTA = 0.25


class Stage:
    """A box, what observes it and a generator: all of the box's CPU is used until the last stretch, none in it."""

    def __init__(self) -> None:
        self.now, self.used = 0.0, 0.0
        self.done: list[str] = []

    def read(self) -> Moment:
        self.done.append("read")
        ticks = int(self.now * 200)
        host = Host(self.now, ticks, ticks // 2, ticks // 100)
        return Moment(self.now, {"app": Reading(self.now, int(self.used * 1e9), 0, 1 << 20)}, host)

    def seconds(self) -> list[Moment]:
        return []

    def latest(self) -> list[Moment]:
        return []

    def programs(self) -> dict[str, dict[str, float]]:
        self.done.append("programs")
        return {"app": {"app": 3 * self.used, "supervisor": self.used}}

    def metrics(self) -> dict[str, tuple[float, str]]:
        self.done.append("metrics")
        return {"app": (self.now, f'conduit_database_seconds_count{{kind="read"}} {3 * self.now}\n')}

    def waited_for(self) -> set[str]:
        return {"app"}

    def cache_urls(self) -> dict[str, str]:
        return {}

    def caches(self, _urls: dict[str, str]) -> dict[str, dict[str, Any]]:
        return {}

    def origin(self) -> None:
        return None

    def between(self, before: Moment, after: Moment) -> dict[str, Load]:
        return {"app": load(before.boxes["app"], after.boxes["app"], QUOTA)}

    def trial(self, wanted: dict[str, Any], on_window: Any, on_progress: Any) -> dict[str, Any]:
        self.now += wanted["warmup"]
        started = self.now
        on_window("start")
        self.done.append("load")
        lengths = [seconds for seconds, _ in wanted["profile"]]
        busy = sum(lengths[:-1]) or sum(lengths)
        for second in range(int(sum(lengths))):
            self.now += 1
            self.used += QUOTA if second < busy else 0
            on_progress({"t": second + 1.0, "seconds": 30, "rate": 1, "achieved": 1, "p95": 9.0, "errors": 0})
        on_window("end")
        figures = {"total": total(100, GOOD), "series": [{"in_flight": 1}] * 30, **FIT}
        return figures | {"answered_in_all": 660, "started": started}


def bench(stage: Stage, tmp_path: Path) -> tuple[Bench, Run]:
    run = Run(1, "browse", tmp_path)
    progress = Progress("", Console(file=(tmp_path / "said").open("w")))
    parts: Any = (stage, stage, stage)
    return Bench(Rig(*parts), run, "browse", progress), run


@pytest.mark.parametrize("profile", [[[20, 200], [10, 70]], [[10, 200], [10, 300], [10, 70]], [[30, 200]]])
def test_the_recovery_does_not_hide_how_busy_a_box_was(tmp_path: Path, profile: list[list[float]]) -> None:
    measured, run = bench(Stage(), tmp_path)
    measured.stretches("overload", profile, 0)
    (trial,) = run.data["trials"]
    assert trial["boxes"]["app"]["utilisation"] == pytest.approx(1.0)


def test_nothing_is_asked_of_a_box_in_the_window_and_its_counters_are_of_the_warm_up_too(tmp_path: Path) -> None:
    stage = Stage()
    measured, run = bench(stage, tmp_path)
    measured.trial("confirmation", 20, 30, 3)
    assert stage.done == ["programs", "metrics", "read", "load", "read", "programs", "metrics"]
    (trial,) = run.data["trials"]
    # Three queries a second for 33 s, in which 660 requests were answered.
    assert trial["counts"]["queries"] == 3.0
    assert trial["counted_over"]["requests"] == 660
    assert trial["programs"] == {"app": {"app": 0.75, "supervisor": 0.25}}
    assert trial["host"] == {"idle": 0.5, "stolen": 0.01, "run_delay": None, "pressure": None}
    measured.trial("step", 20, 30, 3)
    assert stage.done[7:] == ["read", "load", "read"], "a short trial is not told more of"


def test_what_is_read_at_the_marks_gives_the_loads_of_the_record_again(tmp_path: Path) -> None:
    measured, run = bench(Stage(), tmp_path)
    measured.trial("step", 100, 7, 3)
    measured.stretches("overload", [[20, 200], [10, 70]], 0)
    for number, trial in enumerate(run.data["trials"]):
        rows = [row for row in raw.counters(run.folder) if row["trial"] == number]
        assert {row["mark"]: row["t"] for row in rows if "box" in row}["start"] == 0.0
        assert {name: found.record() for name, found in raw.loads(rows, {"app": QUOTA}).items()} == trial["boxes"]


def test_a_box_that_nobody_waits_for_is_not_the_busiest(tmp_path: Path) -> None:
    """The app is busy for 20 of 40 seconds of the window, what works in the background for all of them."""

    class Behind(Stage):
        def between(self, before: Moment, after: Moment) -> dict[str, Load]:
            return super().between(before, after) | {"worker": Load(QUOTA, 1.0, 0.0, 0)}

    stage = Behind()
    measured, run = bench(stage, tmp_path)
    shown, _ = measured.stretches("overload", [[20, 200], [20, 9], [10, 70]], 0)
    assert shown.busiest == pytest.approx(1.0)
    stage.used = -20 * QUOTA  # as if it had done less
    shown = measured.trial("step", 100, 0, 0)
    assert shown.busiest == 0.0
    assert run.data["trials"][1]["boxes"]["worker"]["utilisation"] == 1.0


class Cached(Stage):
    """With a cache: 7 hits and a miss of articles a second, and a list that is not cached; it was emptied at -40."""

    def cache_urls(self) -> dict[str, str]:
        return {"cache": "redis://cache:6379/0"}

    def metrics(self) -> dict[str, tuple[float, str]]:
        counted = {("article", "hit"): 7, ("article", "miss"): 1, ("list", "not cached"): 1}
        lines = (
            f'conduit_cache_reads_total{{result="{outcome}",what="{kind}"}} {n * self.now}\n'
            for (kind, outcome), n in counted.items()
        )
        return {"app": (self.now, "".join(lines))}

    def caches(self, _urls: dict[str, str]) -> dict[str, dict[str, Any]]:
        assert _urls == self.cache_urls()
        full = {"keys": 10 * self.now, "bytes": 1 << 20, "max_bytes": 2 << 20, "evicted": self.now // 10}
        return {"cache": {"at": self.now, "age": 40 + self.now} | full}


def test_what_apps_and_caches_told_gives_what_the_record_says_of_the_cache_again(tmp_path: Path) -> None:
    stage = Cached()
    measured, run = bench(stage, tmp_path)
    stage.now = 15
    measured.trial("step", 100, 7, 3)
    measured.trial("confirmation", 100, 22, 3)
    step, confirmation = run.data["trials"]
    assert "cache" not in step, "a short trial is not told more of"
    assert confirmation["cache"]["reads"] == {
        "article": {"hit": pytest.approx(7), "miss": pytest.approx(1)},
        "list": {"not cached": pytest.approx(1)},
    }
    (held,) = confirmation["cache"]["held"].values()
    assert held == {"age": 65, "age_after": 90, "keys": 500, "bytes": 1 << 20, "max_bytes": 2 << 20, "evicted": 3}
    rows = [row for row in raw.counters(run.folder) if row["trial"] == 1]
    assert raw.cache(rows) == confirmation["cache"]
    assert [row["t"] for row in rows if "told" in row] == [-3, -3, 22, 22]
    assert raw.loads(rows, {"app": QUOTA})["app"].record() == confirmation["boxes"]["app"]


def test_a_stage_without_a_cache_says_nothing_of_one(tmp_path: Path) -> None:
    measured, run = bench(Stage(), tmp_path)
    measured.trial("confirmation", 20, 30, 3)
    assert run.data["trials"][0]["cache"] == {}
