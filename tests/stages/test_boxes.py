"""The boxes of each stage: what is published, who reaches whom, and what becomes of one that is lost."""

import json
import time

import httpx
import pytest

from conduit_testing.pictures import LARGEST, largest
from tests.running import MAIL_PORTS, PORTS, Stage, run
from tests.stages.at_a_stage import (
    APPS,
    BOXES,
    HEALS_WITHIN_SECONDS,
    at_first_and_last,
    is_well,
    published,
    seconds_until,
)
from tests.stages.reach import LISTENS, expected, listening, reached

TOLD_WITHIN_SECONDS = 2.0

pytestmark = [pytest.mark.stage, pytest.mark.docker]


def test_only_the_api_and_the_page_of_mails_are_published_and_only_to_this_machine(stage: Stage) -> None:
    published = run(["docker", "ps", "--format", "{{.Names}} {{.Ports}}"], stage.folder).splitlines()
    ours = [line for line in published if line.startswith(f"conduit-test-stage{stage.number}-")]
    assert ours
    ports = [mapping for line in ours for mapping in line.split(" ", 1)[1].split(", ") if "->" in mapping]
    assert sorted(ports) == [
        f"127.0.0.1:{PORTS[stage.number]}->8000/tcp",
        f"127.0.0.1:{MAIL_PORTS[stage.number]}->8025/tcp",
    ]


@at_first_and_last
def test_at_rest_docker_starts_nothing_in_a_box_for_minutes(stage: Stage) -> None:
    """Each start takes some of the box's CPU, while it is measured as well."""
    began = time.time()
    time.sleep(12)
    told = ["docker", "events", "--since", f"{began:.3f}", "--until", f"{time.time():.3f}"]
    boxes = {stage.host(box) for box in BOXES[stage.number]}
    started = [
        event["Actor"]["Attributes"]["name"]
        for event in map(json.loads, run([*told, "--format", "{{json .}}"], stage.folder).splitlines())
        if event["Action"].startswith("exec_start") and event["Actor"]["Attributes"]["name"] in boxes
    ]
    # A check may end just now, or, after the stage's start, begin with the one that said that the box is well.
    assert all(started.count(box) <= 2 for box in boxes), started
    assert len(started) <= len(boxes), started


def test_metrics_are_read_inside_and_not_where_the_api_is(stage: Stage) -> None:
    assert stage.get("/metrics").status_code == 404
    for app in APPS[stage.number]:
        inside = stage.compose("exec", "-T", app, "curl", "-fsS", "http://127.0.0.1:9100/metrics")
        for name in ("conduit_request_seconds_bucket", "conduit_database_seconds_bucket"):
            assert name in inside


def test_the_outside_worlds_mail_server_is_there_on_the_stages_network(stage: Stage) -> None:
    sends = "worker" if "worker" in BOXES[stage.number] else APPS[stage.number][0]
    stage.compose("exec", "-T", sends, "curl", "-fsS", "-m", "5", "smtp://mail:2525")
    page = httpx.get(stage.mail_url, timeout=5)
    assert (page.status_code, "<h1>Mail</h1>" in page.text) == (200, True)


def test_a_box_reaches_what_it_needs_and_nothing_else(stage: Stage) -> None:
    """By any address and at any port: the edge to purge, the files to write, the queue, both caches, the database."""
    names = [*BOXES[stage.number], "mail"]
    ports = listening(stage, names)
    assert ports == {name: LISTENS[name] for name in names}
    assert reached(stage, ports) == expected(stage.number)


KILLS = {"app": "python -m conduit", "postgres": "postgres -D"}


@pytest.mark.parametrize("program", KILLS.values(), ids=KILLS)
def test_a_program_that_is_killed_in_the_single_box_is_started_again(stage: Stage, program: str) -> None:
    if stage.number != 1:
        pytest.skip("a box of one program is restarted by Docker itself")
    before = stage.get("/api/articles").json()["articlesCount"]
    find = f"for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '{program}' && echo ${{p#/proc/}}; done"
    script = f"{{ {find}; }} 2>/dev/null | grep -vx $$ | sort -n | head -n 1"
    first = stage.compose("exec", "-T", "box", "sh", "-c", script).strip()
    assert first.isdigit()
    stage.compose("exec", "-T", "box", "sh", "-c", f"kill -9 {first}")
    seconds_until(
        lambda: stage.compose("exec", "-T", "box", "sh", "-c", script).strip() not in ("", first),
        HEALS_WITHIN_SECONDS,
        "started again",
    )
    seconds_until(lambda: is_well(stage, "box"), HEALS_WITHIN_SECONDS, "healthy again")
    assert stage.get("/api/articles").json()["articlesCount"] == before


LOSSES = {"frozen": ("pause", "unpause"), "stopped": ("stop", "start")}


@pytest.mark.parametrize(("lose", "give_back"), LOSSES.values(), ids=LOSSES)
def test_a_database_that_goes_away_is_told_in_time_and_used_again_by_itself(
    stage: Stage, lose: str, give_back: str
) -> None:
    if stage.number == 1:
        pytest.skip("the single box loses its database with itself")
    if stage.number == 5:
        pytest.skip("what becomes of one of several: test_shards_at_stage_5")
    before = stage.get("/api/articles").json()["articlesCount"]
    stage.compose(lose, "db")
    try:
        for number in range(3):
            # What was asked for before may well be known to a cache.
            for path in (f"/api/articles?author={lose}{number}", f"/api/profiles/{lose}{number}", "/ready"):
                started = time.monotonic()
                assert stage.get(path).status_code == 503
                assert time.monotonic() - started < TOLD_WITHIN_SECONDS
        assert stage.get("/health").status_code == 200
    finally:
        stage.compose(give_back, "db")
    seconds_until(lambda: stage.get("/ready").status_code == 200, HEALS_WITHIN_SECONDS, "answering again")
    assert stage.get("/api/articles").json()["articlesCount"] == before
    apps = APPS[stage.number]
    seconds_until(lambda: all(is_well(stage, app) for app in apps), HEALS_WITHIN_SECONDS, "healthy again")


def test_the_largest_uploads_do_not_run_a_worker_out_of_memory(stage: Stage) -> None:
    if stage.number != 4:
        pytest.skip("there is no worker, or the same as at stage 4")
    # Killed for that, its task would be taken up by the next, and in the end look done.
    killed = "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null | grep '^oom_kill '"
    before = stage.compose("exec", "-T", "worker", "sh", "-c", killed)
    with stage.whole_cores():  # which is faster, and takes as much memory
        for name in LARGEST:
            slug = published(stage, largest(name))["slug"]

            def ready(path: str = f"/api/articles/{slug}") -> bool:
                return bool(stage.get(path).json()["article"]["cover"]["state"] == "ready")

            seconds_until(ready, HEALS_WITHIN_SECONDS, f"ready: {name}")
    assert stage.compose("exec", "-T", "worker", "sh", "-c", killed) == before
