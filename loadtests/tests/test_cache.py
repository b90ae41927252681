"""What is told of the cache: reads by kind, its age, and how full it is; by small numbers worked out by hand."""

from typing import Any

import pytest
import redis
from prometheus_client import generate_latest

from conduit import metrics as metrics_of_app
from loadtests.ceiling import counts
from loadtests.load import caches
from loadtests.observe import cache as observed
from loadtests.report import cache as told
from loadtests.report.words import duration

METRICS = """\
# TYPE conduit_cache_reads_total counter
conduit_cache_reads_total{result="hit",what="article"} 30.0
conduit_cache_reads_total{what="list",result="not cached"} 4.0
conduit_cache_reads_total{result="miss",what="article"} 7.0
conduit_cache_reads_created{result="hit",what="article"} 1.7e+09
conduit_cache_fills_refused_total 3.0
"""


def test_reads_are_told_apart_by_kind_and_outcome() -> None:
    assert observed.reads(METRICS) == {"article": {"hit": 30.0, "miss": 7.0}, "list": {"not cached": 4.0}}
    assert observed.reads("") == {}


def test_the_reads_are_those_that_the_app_counts() -> None:
    was = observed.reads(generate_latest().decode()).get("tags", {})
    for outcome in told.OUTCOMES:
        metrics_of_app.CACHE_READS.labels("tags", outcome).inc(3)
    now = observed.reads(generate_latest().decode())["tags"]
    assert {outcome: now[outcome] - was.get(outcome, 0) for outcome in now} == dict.fromkeys(told.OUTCOMES, 3)


def test_reads_a_second_are_those_of_all_apps() -> None:
    """30 hits in 10 s and 20 in 5; a miss that was never counted before; and an app that was started anew."""
    before = {
        "app1": (0.0, {"article": {"hit": 100.0}}),
        "app2": (1.0, {"article": {"hit": 50.0, "miss": 9.0}}),
        "gone": (0.0, {"list": {"hit": 1.0}}),
    }
    after = {
        "app1": (10.0, {"article": {"hit": 130.0}, "list": {"miss": 5.0}}),
        "app2": (6.0, {"article": {"hit": 70.0, "miss": 2.0}}),
    }
    assert observed.reads_a_second(before, after) == {
        "article": {"hit": pytest.approx(3 + 4), "miss": pytest.approx(2 / 5)},
        "list": {"miss": 0.5},
    }


def held(age: int | None, evicted: int, keys: int = 1) -> dict[str, Any]:
    return {"age": age, "keys": keys, "bytes": 8, "max_bytes": 16, "evicted": evicted}


@pytest.mark.parametrize(("evicted", "in_between"), [((5, 12), 7), ((5, 2), 2), ((0, 0), 0)])
def test_what_a_cache_evicted_is_counted_anew_from_its_start(evicted: tuple[int, int], in_between: int) -> None:
    before, after = {"cache": held(30, evicted[0])}, {"cache": held(70, evicted[1], keys=9), "new": held(1, 0)}
    found = observed.held_between(before, after)
    full = {"keys": 9, "bytes": 8, "max_bytes": 16}
    assert found == {"cache": {"age": 30, "age_after": 70, **full, "evicted": in_between}}


def trial(seconds: float, reads: observed.Reads, age: int | None, after: int | None, evicted: int) -> dict[str, Any]:
    of_it = {"age": age, "age_after": after, "keys": 7, "bytes": 8, "max_bytes": 16, "evicted": evicted}
    return {"counted_over": {"seconds": seconds}, "cache": {"reads": reads, "held": {"cache": of_it}}}


LONG = trial(30, {"article": {"hit": 9.0, "miss": 1.0}}, 100, 130, 2)
SHORT = trial(10, {"article": {"hit": 5.0}, "tags": {"hit": 2.0}}, 135, 145, 3)


def test_several_trials_are_one_by_their_lengths() -> None:
    """270 hits and 30 misses in 30 s, 50 hits and 20 of tags in 10: by forty seconds."""
    found = counts.cache([LONG, {"cache": {}}, {}, SHORT])
    assert found["reads"] == {"article": {"hit": 8.0, "miss": 0.75}, "tags": {"hit": 0.5}}
    assert found["held"] == {
        "cache": {
            "age": 100, "age_after": 145, "keys": 7, "bytes": 8, "max_bytes": 16, "evicted": 5, "emptied": False,
        }
    }  # fmt: skip
    assert counts.cache([{"cache": {}}, {}]) == {}


@pytest.mark.parametrize(
    ("ages", "emptied"),
    [
        ([(100, 130), (135, 145)], False),
        ([(100, 130), (5, 15)], True),
        ([(100, 3), (5, 15)], True),
        ([(100, None), (5, 15)], True),
        ([(None, 30), (35, 45)], False),
    ],
)
def test_a_cache_that_got_younger_was_emptied(ages: list[tuple[int | None, int | None]], emptied: bool) -> None:
    trials = [trial(10, {}, before, after, 0) for before, after in ages]
    assert counts.cache(trials)["held"]["cache"]["emptied"] is emptied


RUN = {
    "cache": {
        "reads": {
            "tags": {"hit": 0.0},
            "list": {"hit": 1.0, "not cached": 3.0},
            "article": {"hit": 12.0, "miss": 2.0, "shared": 1.0, "away": 1.0},
        },
        "held": {
            "cache": {
                "age": 119, "age_after": 7199, "keys": 12345, "bytes": 33 << 20, "max_bytes": 160 << 20, "evicted": 0,
                "emptied": False,
            }
        },
    }
}  # fmt: skip


def test_the_table_has_the_most_frequent_kind_first_and_all_of_them_last() -> None:
    """Of 16 reads of articles 12, 1, 2 and 1; of 4 of lists 1 and 3; of the 20 together 13, 1, 2, 3 and 1."""
    assert told.table(RUN) == [
        ["article", "16.0", "75 %", "6.2 %", "12 %", "0 %", "6.2 %"],
        ["list", "4.0", "25 %", "0 %", "0 %", "75 %", "0 %"],
        ["all", "20", "65 %", "5 %", "10 %", "15 %", "5 %"],
    ]
    assert told.table({}) == told.table({"cache": {}}) == []


def test_the_age_is_a_sentence() -> None:
    assert told.age(RUN) == [
        "“cache” had been filling for 119 s when the ceiling was confirmed first and for 119 min at the end. "
        "It held 12 345 keys in 33 MB of 160 MB; no key was evicted meanwhile."
    ]
    assert told.age({"cache": {}}) == []


def test_a_cache_that_was_emptied_or_full_is_told_so() -> None:
    of_it = {"age": 500, "age_after": 20, "keys": 7, "bytes": 1 << 20, "max_bytes": 0, "evicted": 4321, "emptied": True}
    assert told.age({"cache": {"held": {"cache": of_it}}}) == [
        "“cache” was emptied while the ceiling was confirmed, 20 s before the end. "
        "It held 7 keys in 1 MB; 4 321 keys were evicted meanwhile."
    ]


def test_on_a_terminal_the_columns_stand_below_each_other() -> None:
    lines = told.text(RUN).splitlines()
    assert lines[0] == "Reads of the cache at the ceiling:"
    assert lines[1] == "kind     reads/s  hits  shared  missed  not cached  without the cache"
    assert lines[2] == "article     16.0  75 %   6.2 %    12 %         0 %              6.2 %"
    assert lines[-1] == told.age(RUN)[0]
    assert told.text({"cache": {}}) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"), (2e5, "2 days")],
)
def test_a_duration_is_in_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# Asking Redis -----------------------------------------------------------------------------------------------


class Redis:
    """Answers what it is asked in one round trip, as a Redis would; one of them does not."""

    def __init__(self, url: str, began: bytes | None) -> None:
        self._url, self._began = url, began
        self._asked: list[Any] = []

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def pipeline(self, **_: bool) -> "Redis":
        return self

    def __getattr__(self, command: str) -> Any:
        answers = {
            "time": (1_000_060, 999_999),
            "hget": self._began,
            "dbsize": 5,
            "info": {"used_memory": 8, "maxmemory": 16, "evicted_keys": 3},
        }

        def ask(*_: Any) -> "Redis":
            self._asked.append(answers[command])
            return self

        return ask

    def execute(self) -> list[Any]:
        if "away" in self._url:
            raise redis.ConnectionError
        return self._asked


@pytest.mark.parametrize(("began", "age"), [(b"1000000", 60), (None, None)])
def test_a_cache_says_since_when_it_fills_and_one_that_is_away_nothing(
    monkeypatch: pytest.MonkeyPatch, began: bytes | None, age: int | None
) -> None:
    monkeypatch.setattr(redis.Redis, "from_url", lambda url, **_: Redis(url, began))
    found = caches.held({"cache": "redis://cache:6379/0", "other": "redis://away:6379/0"})
    assert list(found) == ["cache"]
    assert found["cache"].pop("at") > 0
    assert found["cache"] == {"age": age, "keys": 5, "bytes": 8, "max_bytes": 16, "evicted": 3}
