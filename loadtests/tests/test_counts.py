"""What the apps and the balancer count of a trial."""

from typing import Any

import pytest
from prometheus_client import generate_latest

from conduit import metrics as metrics_of_app
from loadtests.ceiling import counts

METRICS = """\
# TYPE conduit_database_seconds histogram
conduit_database_seconds_bucket{{kind="read",le="0.001",server="main"}} 7.0
conduit_database_seconds_count{{kind="read",server="main"}} {reads}
conduit_database_seconds_count{{kind="write",server="main"}} {writes}
conduit_request_seconds_count{{method="GET",route="/ready",status="200"}} {checks}
conduit_request_seconds_count{{method="GET",route="/api/articles",status="200"}} 99.0
"""
LOG = """\
2026/11/25 10:00:00 [notice] 1#1: start worker processes
{"time":99.9,"status":200,"bytes":1000}
{"time":100.0,"status":200,"bytes":500,"upstream":"10.83.3.11:8000"}
{"time":109.9,"status":502,"bytes":300,"upstream":"10.83.3.11:8000, 10.83.3.12:8000"}
{"time":110.0,"status":200,"bytes":1000}
{"time":105.0,"sta
"""


def metrics(reads: int, writes: int, checks: int) -> str:
    return METRICS.format(reads=reads, writes=writes, checks=checks)


def test_queries_are_those_of_all_apps_without_their_health_checks() -> None:
    before = {"app1": (10.0, metrics(100, 10, 5)), "app2": (10.0, metrics(0, 0, 0)), "gone": (10.0, metrics(9, 9, 9))}
    after = {"app1": (20.0, metrics(300, 30, 7)), "app2": (15.0, metrics(52, 3, 5))}
    assert counts.a_second(before, after)["queries"] == pytest.approx((220 - 2) / 10 + (55 - 5) / 5)


def test_the_counters_are_those_that_the_app_has() -> None:
    was = counts.counted(generate_latest().decode())
    metrics_of_app.QUERIES.labels("main", "read").observe(0.001)
    metrics_of_app.QUERIES.labels("main", "write").observe(0.001)
    metrics_of_app.REQUESTS.labels("GET", "/ready", "200").observe(0.001)
    for result, times in (("hit", 3), ("miss", 2), ("away", 9), ("not cached", 9)):
        metrics_of_app.CACHE_READS.labels("article", result).inc(times)
    now = counts.counted(generate_latest().decode())
    assert {name: now[name] - was[name] for name in now} == {"queries": 1, "hits": 3, "misses": 2}


def test_an_app_that_was_started_anew_counts_from_nothing() -> None:
    found = counts.a_second({"app": (0.0, metrics(1000, 0, 0))}, {"app": (10.0, metrics(50, 0, 0))})
    assert found["queries"] == 5.0


def test_the_origin_is_asked_what_its_balancer_answered_in_the_window() -> None:
    found = counts.at_origin(LOG, 100.0, 110.0)
    assert (found["origin_requests"], found["origin_bytes"]) == (0.2, 80.0)


def test_a_request_leads_to_what_all_trials_counted() -> None:
    trials: list[dict[str, Any]] = [
        {"counts": {"queries": 50.0, "hits": 60.0, "misses": 20.0}, "result": {"total": {"completed_rate": 100.0}}},
        {"counts": {"queries": 70.0, "hits": 36.0, "misses": 4.0}, "result": {"total": {"completed_rate": 140.0}}},
        {"counts": {}, "result": {"total": {"completed_rate": 1000.0}}},
    ]
    assert counts.a_request(trials) == {"queries": 0.5, "hit_ratio": 0.8}
    assert counts.a_request(trials[2:]) == {}


def test_counts_of_the_warm_up_too_are_those_of_its_requests_too() -> None:
    """63 s in which clients were answered 6,300 times, of which a window of 60 s is a part: not its rate counts."""
    trial: dict[str, Any] = {
        "counts": {"queries": 50.0},
        "counted_over": {"seconds": 63.0, "requests": 6300, "warmup": True},
        "result": {"total": {"completed_rate": 104.0}},
    }
    assert counts.a_request([trial]) == {"queries": 0.5}
