"""What is kept of a run gives its figures again; the histograms it is kept in; the canary."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from loadtests import raw
from loadtests.ceiling.record import Run
from loadtests.load import canary, summary
from loadtests.load.histogram import EDGE_MS, STEP, bucket, merged, percentile, upper_edge
from loadtests.load.samples import CONNECTION, REFUSED, TIMED_OUT, UNFINISHED, Sample
from loadtests.observe.readings import Load

PERCENTILES = ("p50", "p95", "p99", "max")


# Histograms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "number"), [(500.0, 0), (500.01, 1), (494.62, 0), (494.61, -1), (1000.0, 64), (250.0, -64)]
)
def test_an_edge_is_exactly_at_the_objective(ms: float, number: int) -> None:
    """What took 500 ms is good and in a bucket of zero or less; 64 buckets are twice as long."""
    assert summary.SLO_SECONDS * 1000 == EDGE_MS
    assert bucket(ms) == number


def test_a_bucket_holds_what_is_up_to_its_upper_edge() -> None:
    for number in (-700, -65, -1, 0, 1, 300):
        assert bucket(upper_edge(number)) == number
        assert bucket(upper_edge(number) * 1.001) == number + 1
    assert bucket(0.0) == bucket(0.0005), "what is measured as nothing is in a bucket, too"


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of ten: one at 250 ms, eight at 500, one at 1,000. The tenth part is the first, p50 the fifth, p95 the tenth."""
    found = merged([{"-64": 1, "0": 5}, {"0": 3, "64": 1}])
    assert {share: percentile(found, share) for share in (0.1, 0.5, 0.9, 0.95)} == {
        0.1: pytest.approx(250),
        0.5: 500.0,
        0.9: 500.0,
        0.95: pytest.approx(1000),
    }
    assert percentile({}, 0.5) is None


# Raw data ---------------------------------------------------------------------------------------------------


def made(seed: int, start: float, seconds: float) -> list[Sample]:
    """Uneven arrivals of two routes from a warm-up of two seconds on: quick and slow, failed and unfinished ones."""
    rng = random.Random(seed)
    samples = []
    for _ in range(2000):
        intended = start + rng.uniform(-2.0, seconds + 0.2)
        route = rng.choice(["GET /api/articles", "POST /api/articles"])
        error = rng.choices(["", "status 503", TIMED_OUT, UNFINISHED, REFUSED, CONNECTION], [80, 6, 2, 2, 5, 5])[0]
        wait = rng.lognormvariate(-2.5, 1.3) if not error else 10.0 if error in (TIMED_OUT, UNFINISHED) else 0.003
        samples.append(Sample(route, intended, intended + wait, error))
    return samples


def same(found: dict[str, Any], truth: dict[str, Any]) -> None:
    """Counts and rates are equal, percentiles at most a bucket too long."""
    for name, value in truth.items():
        if name not in PERCENTILES:
            assert found[name] == pytest.approx(value), name
        elif value is None:
            assert found[name] is None
        else:
            assert value / 1.0005 <= found[name] <= value * STEP * 1.0005, name  # values in a record are rounded


@pytest.mark.parametrize("seconds", [7.0, 12.5])
def test_what_is_kept_by_second_gives_the_figures_of_a_window_again(tmp_path: Path, seconds: float) -> None:
    start = 1234.56
    samples = made(1, start, seconds)
    run = Run(1, "browse", tmp_path)
    for number in range(2):
        rows = summary.seconds(samples[number * 700 :], start, start + seconds)
        run.add({"phase": "step", "result": {"started": start, "seconds_by_route": rows, "beats": []}})
    assert run.data["trials"][0]["result"] == {"started": start}, "rows by second are not in run.json"
    kept = [row for row in raw.requests(run.folder) if row["trial"] == 1 and row["t"] >= 0]
    mine = samples[700:]
    same(raw.totals(kept, seconds), summary.totals(mine, start, start + seconds))
    for route, truth in summary.by_route(mine, start, start + seconds).items():
        same(raw.totals([row for row in kept if row["route"] == route], seconds), truth)
    assert min(row["t"] for row in raw.requests(run.folder)) == -2, "the warm-up is kept, too"


def test_rows_say_what_happened_in_their_second() -> None:
    """Three of a route in second 1, one of them answered in second 2; one of the warm-up answered in second 0."""
    samples = [
        Sample("GET /", 11.1, 11.2, ""),
        Sample("GET /", 11.9, 12.6, ""),
        Sample("GET /", 11.5, 11.5, "status 503"),
        Sample("GET /", 9.9, 10.15, ""),
        Sample("GET /", 13.2, 13.3, ""),
    ]
    assert summary.seconds(samples, start=10.0, end=13.0) == [
        {"t": -1, "route": "GET /", "offered": 1, "answered": 1, "waits": {"-64": 1}},
        {"t": 0, "route": "GET /", "completed": 1, "good": 1},
        {
            "t": 1, "route": "GET /", "offered": 3, "answered": 2, "completed": 1, "good": 1,
            "errors": {"status 503": 1}, "waits": {str(bucket(100)): 1, str(bucket(700)): 1},
        },
        {"t": 2, "route": "GET /", "completed": 1},
    ]  # fmt: skip


def test_what_an_interrupted_run_has_kept_can_be_read(tmp_path: Path) -> None:
    assert list(raw.requests(tmp_path)) == []
    for number in range(3):
        raw.append(tmp_path, number, [{"t": 0, "route": "GET /", "offered": number}], [])
    assert [row["offered"] for row in raw.requests(tmp_path)] == [0, 1, 2]
    assert list(raw.counters(tmp_path)) == []
    with gzip.open(tmp_path / raw.REQUESTS, "rt") as lines:
        assert json.loads(next(lines)) == {"trial": 0, "t": 0, "route": "GET /", "offered": 0}


def test_a_long_run_is_a_few_megabytes(tmp_path: Path) -> None:
    """A trial of a minute at 750 requests/s over ten routes: of twenty-five such, a full search has fewer."""
    rng = random.Random(2)
    samples = []
    for _ in range(45_000):
        intended = rng.uniform(0.0, 60.0)
        samples.append(Sample(f"GET /{rng.randrange(10)}", intended, intended + rng.lognormvariate(-3, 1), ""))
    raw.append(tmp_path, 0, summary.seconds(samples, 0.0, 60.0), [])
    assert 25 * (tmp_path / raw.REQUESTS).stat().st_size < 3 << 20


def test_loads_are_of_the_marks_and_not_of_the_seconds_beside_them() -> None:
    """A quarter core: one second of CPU in eight, and held back for four of them, until the last stretch began."""
    box = {"box": "app", "memory": 5, "periods": 1, "throttled_periods": 1}
    rows = [
        {"trial": 0, "t": 0.0, "mark": "start", **box, "cpu_ns": 0, "throttled_ns": 0},
        {"trial": 0, "t": 0.4, **box, "cpu_ns": 9, "throttled_ns": 9},
        {"trial": 0, "t": 0.4, "canary": {"ns": 300.0}},
        {"trial": 0, "t": 8.0, "mark": "last", **box, "cpu_ns": 1_000_000_000, "throttled_ns": 4_000_000_000},
        {"trial": 0, "t": 12.0, "mark": "end", **box, "cpu_ns": 1_000_000_000, "throttled_ns": 4_000_000_000},
        {"trial": 0, "t": 12.0, "mark": "end", "host": True, "ticks": 1},
    ]
    assert raw.loads(rows, {"app": 0.25}) == {"app": Load(0.125, 0.5, 0.5, 5)}


# The canary -------------------------------------------------------------------------------------------------


def test_the_speed_is_that_of_the_fastest_slices_whatever_the_others_took() -> None:
    """Of 40 slices two are the fastest twentieth: 300 and 301 ns; the next one begins what is not."""
    beats = [[600.0] * 18 + [300.0, 303.0], [301.0] + [610.0] * 15 + [900.0] * 4]
    assert canary.speed(beats) == {"ns": 303.0, "median": 600.0, "slow": 900.0, "beats": 2}
    assert canary.speed([]) is None


def test_the_work_is_constant_and_short() -> None:
    slices = canary.beat()
    assert len(slices) == canary.SLICES
    assert all(ns > 0 for ns in slices)
    assert 0.5 < sum(slices) * canary.HASHES / 1e6 < 50, "ms in all: it must not hold up arrivals"
