"""What tests do at a stage that runs: publish, and wait until its boxes are well."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from conduit_testing.waiting import until
from tests.running import PORTS, Stage, run

HEALS_WITHIN_SECONDS = 45
APPS = {1: ["box"], 2: ["app"], 3: ["app1", "app2"], 4: ["app1", "app2"], 5: ["app1", "app2"]}
BOXES = {
    1: ["box"],
    2: ["app", "db"],
    3: ["app1", "app2", "cache", "db", "lb", "media"],
    4: ["app1", "app2", "broker", "cache", "cdn", "db", "lb", "media", "worker"],
    5: [
        *("app1", "app2", "broker", "cache", "cdn", "directory", "etcd", "lb", "media"),
        *("shard1a", "shard1b", "shard2a", "shard2b", "worker"),
    ],
}

# For what is the same at every stage and takes long: the first and the last have each kind of box between them, and
# what stands before an app or nothing. CI asks these, and make test-long those between.
def _in_ci_at(*numbers: int) -> pytest.MarkDecorator:
    marked = {number: [] if number in numbers else [pytest.mark.long] for number in sorted(PORTS)}
    stages = [pytest.param(number, id=f"stage{number}", marks=marks) for number, marks in marked.items()]
    return pytest.mark.parametrize("stage", stages, indirect=True)


at_first_and_last = _in_ci_at(min(PORTS), max(PORTS))
# The first after another one, and the last.
at_second_and_last = _in_ci_at(min(PORTS) + 1, max(PORTS))
# And what takes a minute at each: the last has each kind of box but the first's.
at_last = _in_ci_at(max(PORTS))


def seconds_until(holds: Callable[[], bool], most: float, what: str) -> float:
    """Wait until it holds, for ``most`` seconds at most. How many it took."""
    not_there = (httpx.TransportError,)  # yet, or any more
    return until(holds, f"not {what} within {most} s", within=most, pause=0.1, not_yet=not_there)


def is_well(stage: Stage, service: str) -> bool:
    """Whether a box is healthy and the stage answers."""
    state = run(["docker", "inspect", "-f", "{{.State.Health.Status}}", stage.container(service)], stage.folder)
    return state.strip() == "healthy" and stage.get("/ready").status_code == 200


def published(stage: Stage, picture: bytes) -> dict[str, Any]:
    """An article by somebody new, as it is once its cover is uploaded."""
    name = f"painter{time.time_ns()}"
    draft = {"title": "A picture", "description": "of one colour", "body": "See above.", "tagList": []}
    with httpx.Client(base_url=stage.url, timeout=30) as client:
        given = {"user": {"username": name, "email": f"{name}@example.com", "password": "a picture of one colour"}}
        user = client.post("/api/users", json=given).raise_for_status().json()["user"]
        client.headers["Authorization"] = f"Token {user['token']}"
        article = client.post("/api/articles", json={"article": draft}).raise_for_status().json()["article"]
        covered = client.put(f"/api/articles/{article['slug']}/cover", content=picture).raise_for_status()
    shown: dict[str, Any] = covered.json()["article"]
    return shown
