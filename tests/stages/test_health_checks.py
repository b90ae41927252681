"""The compose files' health checks: whom they ask, how often, and with what."""

import re
from pathlib import Path
from typing import Any

import pytest

from conduit.worker import ALIVE, ALIVE_SECONDS
from tests.running import ROOT
from tests.stages.compose_files import FILES, TOOLS, load

HEALTHY = ROOT / "infra/images/healthy"

# By image: what a box has to answer at, as its health check asks it.
ANSWERS_AT = {
    "conduit/box": ["postgresql://127.0.0.1:5432", "http://127.0.0.1:8000/ready"],
    "conduit/app": ["http://127.0.0.1:8000/ready"],
    "conduit/nginx": ["http://127.0.0.1:8081/alive"],
    "conduit/redis": ["redis://127.0.0.1:6379"],
    "conduit/postgres": ["postgresql://127.0.0.1:5432"],
    # By Patroni, which knows whether PostgreSQL runs, and that a replica has copied its primary.
    "conduit/patroni": ["http://127.0.0.1:8008/health"],
    "conduit/etcd": ["http://127.0.0.1:2379/health"],
    "conduit/mail": ["http://127.0.0.1:8025/health"],
    "conduit/browser": ["http://127.0.0.1:3000/"],
}


def places_of(name: str, service: dict[str, Any]) -> list[str]:
    if name == "worker":
        return [str(ALIVE)]
    limits = ["redis://127.0.0.1:6380"] if name == "cache" else []
    return ANSWERS_AT[service["image"]] + limits


@pytest.mark.parametrize("path", [*FILES, TOOLS], ids=lambda path: path.name)
def test_a_box_is_asked_how_it_is_by_one_program_that_stays(path: Path) -> None:
    """Without a start_period: in it Docker 25 and newer look every five seconds; older ones know no other way."""
    # The tools end by themselves, and who starts the observer hears from it.
    checks = {name: one for name, one in load(path)["services"].items() if name not in ("tools", "observer")}
    assert checks
    for name, service in checks.items():
        assert service["healthcheck"] == {
            "test": ["CMD", "healthy", *places_of(name, service)],
            "interval": "1s",
            "timeout": "240s",
            "retries": 2,
        }, name
    # It ends by itself before Docker ends it, and a start has a minute and more.
    times = {name: float(value) for name, value in re.findall(r"\b([A-Z_]+)=([0-9.]+)", HEALTHY.read_text())}
    most = max(len(one["healthcheck"]["test"]) - 2 for one in checks.values()) * 2 * times["ANSWERS_WITHIN"]
    assert max(times["STAYS"] + times["PAUSE"] + times["ILL_AFTER"], times["NOT_STARTED_AFTER"]) + most < 240
    assert 2 * times["NOT_STARTED_AFTER"] > 60
    assert times["ALIVE_WITHIN"] > 2 * ALIVE_SECONDS


def test_every_image_whose_box_is_asked_has_what_asks() -> None:
    stages = re.split(r"^FROM ", (ROOT / "infra/images/Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    targets: dict[str, bool] = {}
    for text in stages:
        based_on, _, name = text.split("\n")[0].partition(" AS ")
        targets[name] = "infra/images/healthy" in text or targets.get(based_on, False)
    services = [one for path in [*FILES, TOOLS] for one in load(path)["services"].values() if "healthcheck" in one]
    assert {one["build"]["target"] for one in services if not targets[one["build"]["target"]]} == set()
    assert not targets["base"], "a change of it would make every layer anew"
