"""App boxes without one being started: what they take of the database at the most, and when one may be restarted."""

import json
import re
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from conduit import worker
from conduit.settings import Settings
from infra.stage import apps, nginx, rolling, settings, stages, topology
from infra.stage.problems import Problem
from tests.running import ROOT

KEPT_FOR_THE_SUPERUSER = 3  # superuser_reserved_connections, as PostgreSQL has it
TOOLS = 7  # a migration, an import, what measures, and what somebody asks by hand, all at once
DEFAULT = Settings.model_fields["pool_size"].default
THREADS = Settings.model_fields["threads"].default
CLIENTS = 2 + 1  # that each thread keeps connected to Redis: for the cache, and for limits
GAUGE = "conduit_requests_in_flight"
STAGE = topology.Topology(3, "conduit-stage3", {}, "lb", 8000, 8003)


@pytest.fixture(autouse=True)
def _on_any_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no Docker is asked how many there are."""
    monkeypatch.setenv("BOX_CORES", "0")


def _pools(number: int, wanted: str = "", workers: str = "") -> list[int]:
    """The most connections of every box that asks the database, apps before workers."""
    own: dict[str, Any] = yaml.safe_load(stages.compose_file(number).read_text())["services"]
    more = apps.more(number, wanted, workers).partition("\n")[2]
    added: dict[str, Any] = json.loads(more)["services"] if more else {}
    given = {name: _of(own, name, "environment") | _of(added, name, "environment") for name in own | added}
    hands = [name for name in own if "stage.worker" in own[name]["labels"]]
    asks = [said for name, said in given.items() if "DATABASE_URL" in said and name not in hands]
    pools = [int(said.get("POOL_SIZE", DEFAULT)) for said in asks]
    assert [int(said.get("THREADS", THREADS)) for said in asks] == pools, "each thread has its connection"
    return pools + [worker.POOL_SIZE] * (int(workers or 1) if hands else 0)


def _of(services: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = services.get(name, {}).get(key, {})
    return found


@pytest.fixture(autouse=True)
def _nothing_in_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "said", lambda _name, default: default)


def test_the_boxes_and_the_tools_have_all_connections_between_them() -> None:
    text = (ROOT / "infra/postgres/postgresql.conf").read_text()
    (most,) = re.findall(r"^max_connections = (\d+)\b", text, re.MULTILINE)
    assert int(most) == KEPT_FOR_THE_SUPERUSER + TOOLS + apps.CONNECTIONS
    assert (worker.POOL_SIZE, DEFAULT) == (apps.WORKER_CONNECTIONS, apps.POOL)


@pytest.mark.parametrize("number", stages.available())
def test_no_box_waits_for_a_connection_as_the_file_is(number: int) -> None:
    assert sum(_pools(number)) <= apps.CONNECTIONS
    assert {*_pools(number)} <= {DEFAULT, worker.POOL_SIZE}


@pytest.mark.parametrize("number", [number for number in stages.available() if number >= 3])
@pytest.mark.parametrize("wanted", range(2, 20))
def test_however_many_apps_there_are_none_waits_for_a_connection(number: int, wanted: int) -> None:
    pools = _pools(number, str(wanted))
    assert len(pools) == wanted + (1 if number >= 4 else 0)
    assert sum(pools) <= apps.CONNECTIONS
    assert {*pools[:wanted]} == {DEFAULT} if wanted <= 4 else min(pools) >= apps.LEAST_POOL


@pytest.mark.parametrize("number", [number for number in stages.available() if number >= 3])
def test_redis_takes_the_clients_of_however_many_apps_twice(number: int) -> None:
    """In a burst each thread may need as many connections again as it keeps."""
    text = (ROOT / "infra/redis/common.conf").read_text()
    (most,) = re.findall(r"^maxclients (\d+)$", text, re.MULTILINE)
    for wanted in range(2, 20):
        assert 2 * CLIENTS * sum(_pools(number, str(wanted))) <= int(most)


@pytest.mark.parametrize("workers", [1, 3, apps.MOST_WORKERS])
@pytest.mark.parametrize("wanted", [2, 4, 5, 12, 19])
def test_what_the_workers_have_the_apps_have_not(wanted: int, workers: int) -> None:
    if apps.LEAST_POOL * wanted + apps.WORKER_CONNECTIONS * workers > apps.CONNECTIONS:
        with pytest.raises(Problem, match=f"APPS={wanted} WORKERS={workers}: the database has no connections"):
            apps.more(4, str(wanted), str(workers))
    else:
        pools = _pools(4, str(wanted), str(workers))
        assert len(pools) == wanted + workers
        assert sum(pools) <= apps.CONNECTIONS


def test_workers_that_env_asks_for_count_without_being_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "said", {"WORKERS": "20", "BOX_CORES": "0"}.get)
    added = json.loads(apps.more(4, "").partition("\n")[2])["services"]
    assert added == {name: {"environment": {"THREADS": "5", "POOL_SIZE": "5"}} for name in ("app1", "app2")}


def test_an_app_that_does_not_say_what_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = iter([(7, ""), (0, "# no gauge yet\n"), (0, f"{GAUGE} 2.0\n"), (0, f"{GAUGE} 0.0\n")])
    happened: list[str] = []

    def inside(_stage: object, _app: str, *words: str) -> "CompletedProcess[str]":
        happened.append(words[-1].rpartition("/")[2])
        status, text = next(gauges) if happened[-1] == "metrics" else (0, "")
        return CompletedProcess(words, status, text, "")

    def answer(words: list[str]) -> "CompletedProcess[str]":
        happened.append(words[1])
        return CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(nginx, "inside", inside)
    monkeypatch.setattr(nginx, "take_out", lambda _stage, _app: None)
    monkeypatch.setattr(nginx, "put_back", lambda _stage, _apps: None)
    monkeypatch.setattr(rolling, "answer", answer)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    rolling._restart(STAGE, "app1", "1 of 2")
    assert happened == [*["metrics"] * 4, "restart", "ready"]
