"""What experiments with boxes that go away conclude from what they saw: killed, restarted, a cache lost."""

import json
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from infra.stage.__main__ import EXPERIMENTS
from loadtests.experiments import burst, cache, kill, plan, restart, stampede, verdict
from loadtests.experiments.scene import Load
from loadtests.experiments.verdict import Failures
from loadtests.load import mixes
from loadtests.tests.runs import total

APP1, APP2 = "10.83.3.11", "10.83.3.12"


def entry(at: float, upstream: str, status: int = 200, seconds: float = 0.01) -> dict[str, Any]:
    return {"time": at, "seconds": seconds, "status": status, "upstream": upstream, "bytes": 100}


def test_every_experiment_can_be_typed_and_has_a_short_and_a_long_form() -> None:
    assert tuple(plan.QUICK) == tuple(plan.FULL) == EXPERIMENTS
    for name in plan.NAMES:
        short, long = plan.QUICK[name], plan.FULL[name]
        assert (short.mode, long.mode) == ("quick", "full")
        assert short.seconds <= 60
        assert mixes.load(short.mix).steady


def test_failures_are_told_by_what_may_be_sent_again() -> None:
    routes = {
        "GET /api/articles": {"sent": 100, "errors": {"status 502": 1}},
        "PUT /api/articles/{slug}/cover": {"sent": 5, "errors": {}},
        "POST /api/articles": {"sent": 10, "errors": {"status 502": 2, "time-out": 1}},
        "not sent": {"sent": 0, "errors": {"generator: too many in flight": 4}},
    }
    found = verdict.failures(routes)
    assert found == Failures(105, 1, 10, 3, {"status 502": 3, "time-out": 1})
    assert found.failed == 4
    assert ("other requests failed", "3 of 10") in found.facts()


def test_a_box_is_back_with_its_first_answer_to_a_request_that_began_after_its_death() -> None:
    requests = [
        entry(99.0, f"{APP1}:8000"),
        entry(100.4, f"{APP1}:8000", seconds=0.5),  # answered just before it died, and logged after
        entry(100.5, f"{APP1}:8000, {APP2}:8000"),
        entry(101.0, f"{APP1}:8000", status=502),
        entry(104.5, f"{APP2}:8000, {APP1}:8000"),
        entry(109.0, f"{APP1}:8000"),
    ]
    assert kill.back_after(requests, APP1, 100.0) == 4.5
    assert kill.back_after(requests[:4], APP1, 100.0) is None


@pytest.mark.parametrize(
    ("found", "back", "limited", "held", "said"),
    [
        (Failures(900, 0, 100, 2), [4.2], [], True, "0 of 900 idempotent requests failed, 2 of 100 others"),
        (Failures(900, 0, 100, 0), [4.2], ["host with 1% idle CPU"], True, "traffic again after 4.2 s"),
        (Failures(900, 1, 100, 0), [4.2], [], False, "1 of 900"),
        (Failures(900, 1, 100, 0), [4.2], ["host with 1% idle CPU"], None, "host with 1% idle CPU"),
        (Failures(900, 0, 100, 0), [4.2, 10.1], [], False, "killed 2 times"),
        (Failures(900, 0, 100, 0), [4.2, None], [], False, "1 times not before the load ended"),
    ],
)
def test_a_kill_held_where_nobody_who_may_ask_again_noticed_and_the_box_came_back_in_time(
    found: Failures, back: list[float | None], limited: list[str], held: bool | None, said: str
) -> None:
    shown = kill.judge(found, back, 3, limited)
    assert shown.held is held
    assert said in shown.sentence


@pytest.mark.parametrize(
    ("found", "ok", "in_load", "held", "said"),
    [
        (Failures(900, 0, 100, 0), True, True, True, "0 of 1000 requests failed"),
        (Failures(900, 0, 100, 1), True, True, False, "1 of 1000 requests failed"),
        (Failures(900, 0, 100, 0), False, True, False, "itself failed"),
        (Failures(900, 0, 100, 0), True, False, None, "the load ended before"),
        (Failures(900, 2, 100, 0), True, False, False, "2 of 1000 requests failed"),
    ],
)
def test_a_restart_held_where_no_request_at_all_failed(
    found: Failures, ok: bool, in_load: bool, held: bool | None, said: str
) -> None:
    shown = restart.judge(found, [31.0], ok=ok, in_load=in_load, limited=[])
    assert shown.held is held
    assert said in shown.sentence


def test_apps_are_restarted_as_often_as_the_load_lasts() -> None:
    clock = iter([10.0, 40.0, 41.0, 71.0, 72.0, 102.0, 103.0, 133.0])
    kept: dict[str, Any] = {}

    class Going:
        """A load in which a restart takes 30 s."""

        result: dict[str, Any] = {"routes": {"GET /api/articles": {"sent": 10, "errors": {}}}}  # noqa: RUF012

        def __enter__(self) -> "Going":
            return self

        def __exit__(self, *_: object) -> None: ...

        def until(self, t: float) -> None: ...

        def note(self, _: str) -> float:
            return next(clock)

    stage: Any = SimpleNamespace(
        apps=list, load=lambda *_: Going(), command=lambda _: (0, "done"), keep=lambda _, **more: kept.update(more)
    )
    shape: Any = SimpleNamespace(p95=1, completed_rate=1, achieved=1, error_share=0)
    Going.result |= {"total": total(1.0, shape)}
    Going.result |= {"series": [{"in_flight": 0}], "generator": {"cpu_share": 0.1, "late_share": 0.0}, "host_idle": 0.5}
    shown = restart.run(stage, plan.FULL["restart"])
    assert [one["seconds"] for one in kept["restarts"]] == [30.0] * 3
    assert "3 times" in shown.sentence
    assert shown.held


def stretches(errors: int = 0) -> list[dict[str, Any]]:
    one = {"sent": 300, "errors": {}, "p95": 40.0, "completed_rate": 30.0, "offered_rate": 30.0}
    return [one, one | {"errors": {"status 503": errors} if errors else {}, "p95": 180.0}, one | {"p95": 45.0}]


COUNTED = [
    {"queries": 15.0, "hits": 45.0, "misses": 5.0},
    {"queries": 60.0, "hits": 0.0, "misses": 0.0},
    {"queries": 45.0, "hits": 10.0, "misses": 40.0},
    {"queries": 18.0, "hits": 42.0, "misses": 8.0},
]


@pytest.mark.parametrize(
    ("errors", "hits_after", "limited", "held", "said"),
    [
        (0, 2.5, [], True, "hits again 2.5 s after it was back."),
        (1, 2.5, [], False, "1 requests failed"),
        (0, None, [], False, "it was not used again"),
        (1, 2.5, ["generator at 90% of its CPU"], None, "generator at 90%"),
    ],
)
def test_a_lost_cache_held_where_nobody_noticed_and_it_was_used_again(
    errors: int, hits_after: float | None, limited: list[str], held: bool | None, said: str
) -> None:
    shown = cache.judge(stretches(errors), COUNTED, hits_after, limited)
    assert shown.held is held
    assert said in shown.sentence
    if held is not None:
        assert "The cache gone for 10 s" in shown.sentence
        assert "p95 40 ms before, 180 ms without it, 45 ms after" in shown.sentence
    assert ("without the cache: queries a request, hits", "2.00, none") in shown.facts
    assert ("after: queries a request, hits", "0.60, 84 %") in shown.facts


def test_a_cache_that_is_not_hit_as_the_load_ends_did_not_hold() -> None:
    no_more = [*COUNTED[:-1], COUNTED[-1] | {"hits": 0.0}]
    shown = cache.judge(stretches(), no_more, 2.5, [])
    assert shown.held is False
    assert "and none from then on" in shown.sentence


def test_apps_that_cannot_be_asked_as_the_load_ends_are_no_verdict() -> None:
    shown = cache.judge(stretches(), [*COUNTED[:-1], {"from": 30.0}], 2.5, [])
    assert shown.held is None
    assert "could not be read" in shown.sentence


class Apps:
    """Boxes of apps whose counts of hits go on as given, and of misses by one each time that they are asked."""

    def __init__(self, *hits: int) -> None:
        self.hits = hits
        self.asked = 0

    def metrics(self) -> dict[str, tuple[float, str]]:
        hits = self.hits[min(self.asked, len(self.hits) - 1)]
        self.asked += 1
        read = 'conduit_cache_reads_total{{result="{}",what="list"}} {}\n'
        return {"app1": (float(self.asked), read.format("hit", hits) + read.format("miss", self.asked))}


@pytest.mark.parametrize(("hits", "found"), [((7, 7, 7, 8), True), ((7, 7), False)])
def test_a_cache_is_used_again_once_an_app_counts_a_hit(
    monkeypatch: pytest.MonkeyPatch, hits: tuple[int, ...], found: bool
) -> None:
    began = clock = 100.0

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(time, "sleep", sleep)
    observer: Any = Apps(*hits)
    nothing: Any = None
    load = Load(nothing, observer, {})
    load._start = began
    load.count()
    assert cache._seconds_until_hit(load, 0.0, 5.0) == (1.0 if found else None)
    assert sum(span["misses"] for span in load.counted) == len(load.counted), "each look is a span of its own"


def test_an_answer_says_what_it_asked_of_the_database() -> None:
    """Not the app's counter: what an app does beside its requests is no part of a burst."""
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer-Timing: db;dur=1.2;desc="3 queries", app;dur=4\r\n\r\n'
    assert burst.answered(head + b"{}", 1.5) == burst.Answer("200", 3, 1.5)
    assert burst.answered(head.replace(b"Server", b"X") + b'server-timing: desc="9 queries"', 1.5).queries == 0
    assert burst.answered(b"", 1.5) == burst.Answer("nothing", 0, 1.5)


def test_a_burst_that_cannot_empty_the_cache_is_an_error_and_asks_nothing() -> None:
    """Else it would find everything in the cache, and count as one that nobody filled twice."""
    with socket.create_server(("127.0.0.1", 0)) as app, socket.create_server(("127.0.0.1", 0)) as cache:
        at, nowhere = (listening.getsockname()[1] for listening in (app, cache))
        cache.close()
        wanted = {"path": "/", "count": 1, "flush": f"redis://127.0.0.1:{nowhere}/0"}
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.experiments.burst", "--target", f"http://127.0.0.1:{at}"],
            input=json.dumps(wanted) + "\n",
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        asked, _ = app.accept()
        with asked:
            assert asked.recv(1000) == b""
    said = json.loads(done.stdout)
    assert str(nowhere) in said["error"]
    assert "Traceback" not in done.stderr


def bursts(with_flight: float, without: float, status: str = "200", late: int = 0) -> list[dict[str, Any]]:
    of_all = {"statuses": {status: 500}, "most_in_flight": 500, "first_ms": 10.0, "last_ms": 1500.0, "late": late}
    return [
        {
            "setting": setting,
            "what": "article",
            "one": {"queries": 2.0},
            "burst": of_all | {"queries": asked},
        }
        for setting, asked in ((stampede.WITH, with_flight), (stampede.WITHOUT, without))
    ]


def test_a_stampede_held_where_a_key_is_filled_once_and_everybody_is_answered() -> None:
    shown = stampede.judge(bursts(2.0, 40.0))
    assert shown.held
    assert "article: filled at most 1 times with single flight, at least 20 without" in shown.sentence
    assert stampede.judge(bursts(4.0, 40.0)).held is False
    refused = stampede.judge(bursts(2.0, 40.0, status="503"))
    assert refused.held is False
    assert "1000 were not answered" in refused.sentence


@pytest.mark.parametrize(("asked", "late", "held"), [(2.0, 3, True), (4.0, 1, False), (4.0, 0, False)])
def test_a_late_cache_is_told_and_no_excuse(asked: float, late: int, held: bool) -> None:
    shown = stampede.judge(bursts(asked, 40.0, late=late))
    assert shown.held is held
    assert ("with single flight: reads without the cache", f"{late} requests") in shown.facts


def test_of_several_bursts_the_one_that_speaks_least_for_single_flight_counts() -> None:
    shown = stampede.judge(bursts(2.0, 40.0) + bursts(1.0, 96.0) + bursts(0.0, 12.0))
    assert shown.figures["fills"] == {stampede.WITH: {"article": 1.0}, stampede.WITHOUT: {"article": 6.0}}
    stray, twice = bursts(4.0, 40.0), bursts(2.0, 40.0)
    stray[0]["one"], twice[0]["one"] = {"queries": 4.0}, {"queries": 1.0}
    assert stampede.judge(stray + twice).held is False, "each burst by the one request of its own turn"
