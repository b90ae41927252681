"""Stage 3's apps may die, be restarted and be more than two, and who uses the site does not notice."""

import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from conduit_testing.waiting import until
from tests.running import Stage, Stages, environment, run
from tests.stages.traffic import Traffic

BACK_WITHIN = 10

pytestmark = [pytest.mark.stage(3), pytest.mark.docker]


@pytest.fixture
def stage(stages: Stages) -> Stage:
    stage, _ = stages.bring_up(3)
    _until(lambda: _healthy(stage, "app1", "app2"), 60)
    return stage


def _until(holds: Callable[[], bool], most: float) -> None:
    until(holds, f"not within {most} s", within=most, pause=1)


def _healthy(stage: Stage, *apps: str) -> bool:
    format = "{{.State.Health.Status}}"
    said = run(["docker", "inspect", "-f", format, *(stage.container(app) for app in apps)], stage.folder)
    return said.split() == ["healthy"] * len(apps)


def _state(stage: Stage, app: str, what: str) -> str:
    return run(["docker", "inspect", "-f", f"{{{{.{what}}}}}", stage.container(app)], stage.folder).strip()


def _answered(stage: Stage, app: str) -> float:
    """Requests to the API that a box has answered since it was started; none while it is not there."""
    # From the balancer's box: to start a program in the app's would take its CPU, of which a start needs all.
    asking = ["docker", "exec", stage.host("lb"), "curl", "-fsS", "-m", "2", f"http://{app}:9100/metrics"]
    said = subprocess.run(asking, capture_output=True, text=True, check=False).stdout
    counts = re.findall(r'^conduit_request_seconds_count{.*"/api/.* (\S+)$', said, re.MULTILINE)
    return sum(map(float, counts))


def _kill_from_the_host(stage: Stage, app: str) -> None:
    """The process itself, as the kernel would: what Docker is asked to kill, it does not start again."""
    kill = f"kill -KILL {_state(stage, app, 'State.Pid')}"
    beside = ["docker", "run", "--rm", "--pid", "host", "--user", "1000:1000", "conduit/app"]
    run([*beside, "sh", "-c", kill], stage.folder)


def test_an_app_that_is_killed_is_not_missed_and_has_traffic_again_in_seconds(stage: Stage) -> None:
    with Traffic(stage.url, threads=3) as traffic:
        restarts = int(_state(stage, "app1", "RestartCount"))
        _kill_from_the_host(stage, "app1")
        _until(lambda: _answered(stage, "app1") > 0, BACK_WITHIN)
        traffic.goes_on(50)
    assert int(_state(stage, "app1", "RestartCount")) == restarts + 1
    assert traffic.failed("GET") == {}
    # What was under way in it and cannot be asked twice, of three writers: at most what each was at.
    assert sum(traffic.failed("POST").values()) <= 3


def test_nobody_notices_a_rolling_restart(stage: Stage) -> None:
    started = [_state(stage, app, "State.StartedAt") for app in ("app1", "app2")]
    with Traffic(stage.url) as traffic:
        said = stage.make("rolling-restart")
        traffic.goes_on(50)
    assert traffic.failed() == {}
    again = [_state(stage, app, "State.StartedAt") for app in ("app1", "app2")]
    assert all(now > before for now, before in zip(again, started, strict=True)), (started, again)
    assert re.search(r"^1 of 2  app1: gets nothing new$", said, re.MULTILINE), said
    assert re.search(r"^2 of 2  app2: answers again, ", said, re.MULTILINE), said
    assert all(_answered(stage, app) for app in ("app1", "app2"))


@pytest.mark.long
def test_nobody_notices_one_rolling_restart_after_the_other(stage: Stage) -> None:
    with Traffic(stage.url) as traffic:
        for _ in range(6):
            stage.make("rolling-restart")
    assert traffic.failed() == {}


def test_a_rolling_restart_that_is_interrupted_leaves_nothing_out(stage: Stage) -> None:
    command = stage.make_command("rolling-restart")
    with Traffic(stage.url, threads=2) as traffic:
        child = subprocess.Popen(
            command, cwd=stage.folder, env=environment(), stdout=subprocess.PIPE, text=True, process_group=0
        )
        assert child.stdout is not None
        assert "gets nothing new" in child.stdout.readline()
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(60) != 0
        assert stage.compose("exec", "-T", "lb", "sh", "-c", "ls /run").split() == ["nginx.pid"]
        _until(lambda: _healthy(stage, "app1", "app2"), 60)
    assert traffic.failed() == {}


@pytest.mark.long
def test_more_apps_are_there_until_they_are_not_asked_for_any_more(stage: Stage) -> None:
    try:
        stage.make("up", "APPS=3")
        apps = re.findall(r"^(app\d) +running +healthy", stage.make("status"), re.MULTILINE)
        assert apps == ["app1", "app2", "app3"]
        with Traffic(stage.url, threads=2) as traffic:
            _until(lambda: _answered(stage, "app3") > 0, BACK_WITHIN)
        assert traffic.failed() == {}
        assert ".13:8000 max_fails" in stage.make("nginx")
    finally:
        stage.make("up")
    assert re.findall(r"^(app\d) ", stage.make("status"), re.MULTILINE) == ["app1", "app2"]
    assert ".13:8000 max_fails" not in stage.make("nginx")
    with Traffic(stage.url, threads=2) as traffic:
        traffic.goes_on(50)
    assert traffic.failed() == {}
