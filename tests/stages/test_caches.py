"""What is loaded past the app is not hidden by what a cache still holds."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.stage import tools, topology
from infra.stage.problems import Problem
from infra.stage.stages import available, compose_file

Says = Callable[[str], dict[str, str]]
STAGE = topology.Topology(3, "conduit-stage3", {}, "lb", 8000, 8003, caches=("cache",))


def test_the_caches_of_a_stage_are_emptied(docker_says: Says, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("PATH", docker_says(f'*) echo "$*" >>{told}; exit 0 ;;')["PATH"])
    tools.forget(STAGE)
    assert told.read_text() == "exec conduit-stage3-cache-1 redis-cli -e -n 0 flushdb\n"


@pytest.mark.parametrize("number", [number for number in available() if number >= 3])
def test_what_is_emptied_is_what_the_apps_cache_in_and_not_what_they_count_in(number: int) -> None:
    text = compose_file(number).read_text()
    assert set(re.findall(r" CACHE_URL: redis://cache:6379/(\d+)\n", text)) == {tools.CACHE_DATABASE}
    (counted_in,) = set(re.findall(r" LIMITS_URL: redis://(\S+)\n", text))
    assert counted_in != f"cache:6379/{tools.CACHE_DATABASE}"


def test_a_cache_that_does_not_answer_is_told_with_what_to_do(
    docker_says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", docker_says("*) echo 'is not running' >&2; exit 1 ;;")["PATH"])
    with pytest.raises(Problem, match=r"(?s)is not running.*docker restart conduit-stage3-cache-1"):
        tools.forget(STAGE)


def test_the_caches_are_those_that_the_compose_file_calls_so() -> None:
    services = {
        "lb": {
            "labels": {"stage.box": "true", "stage.edge": "8000"},
            "ports": [{"published": "8003", "target": 8000}],
            "cpu_quota": 1,
            "cpu_period": 1,
            "mem_limit": 1,
        },
        "cache": {"labels": {"stage.cache": "true"}},
        "broker": {"labels": {}},
    }
    assert topology.of(3, {"name": "x", "services": services}).caches == ("cache",)
