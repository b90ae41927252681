"""Each stage as users run it: brought up by make, held against the API suite, broken, and taken down."""

import io
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.running import MAIL_PORTS, PORTS, ROOT, Stage, Stages, run

STARTS_WITHIN_SECONDS = 60
HEALS_WITHIN_SECONDS = 45
TOLD_WITHIN_SECONDS = 2.0

pytestmark = [pytest.mark.stage, pytest.mark.docker]


@pytest.fixture(scope="module", params=sorted(PORTS), ids=lambda number: f"stage{number}")
def stage(request: pytest.FixtureRequest, stages: Stages) -> Stage:
    """A stage that was brought up from nothing. Its data outlives it, for the next stage to import."""
    stage, seconds = stages.bring_up(request.param)
    assert seconds < STARTS_WITHIN_SECONDS
    return stage


def _seconds_until(holds: Callable[[], bool], most: float, what: str) -> float:
    started = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - started
        except httpx.TransportError:
            pass  # not there yet, or not any more
        assert time.monotonic() - started < most, f"not {what} within {most} s"
        time.sleep(0.1)


def _is_well(stage: Stage, service: str) -> bool:
    state = run(["docker", "inspect", "-f", "{{.State.Health.Status}}", stage.container(service)], stage.folder)
    return state.strip() == "healthy" and stage.get("/ready").status_code == 200


def test_the_api_suite_passes_against_the_stage(stage: Stage) -> None:
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services/conduit/tests/api"]
    done = subprocess.run(
        [*suite, f"--stage-url={stage.url}"], cwd=ROOT, capture_output=True, text=True, timeout=570, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert re.search(r"^\d{3,} passed", done.stdout, re.MULTILINE), done.stdout[-500:]


def test_only_the_api_and_the_page_of_mails_are_published_and_only_to_this_machine(stage: Stage) -> None:
    published = run(["docker", "ps", "--format", "{{.Names}} {{.Ports}}"], stage.folder).splitlines()
    ours = [line for line in published if line.startswith(f"conduit-test-stage{stage.number}-")]
    assert ours
    ports = [mapping for line in ours for mapping in line.split(" ", 1)[1].split(", ") if "->" in mapping]
    assert sorted(ports) == [
        f"127.0.0.1:{PORTS[stage.number]}->8000/tcp",
        f"127.0.0.1:{MAIL_PORTS[stage.number]}->8025/tcp",
    ]


def test_metrics_are_read_inside_and_not_where_the_api_is(stage: Stage) -> None:
    assert stage.get("/metrics").status_code == 404
    service = "box" if stage.number == 1 else "app"
    inside = stage.compose("exec", "-T", service, "curl", "-fsS", "http://127.0.0.1:9100/metrics")
    for name in ("conduit_request_seconds_bucket", "conduit_database_seconds_bucket"):
        assert name in inside


def test_status_names_every_box_and_its_health(stage: Stage) -> None:
    said = stage.make("status")
    boxes = ["box"] if stage.number == 1 else ["app", "db"]
    assert re.findall(r"^(\w+) +running +healthy", said, re.MULTILINE) == boxes, said
    assert f"{stage.mail_url}  mail" in said


def test_the_outside_worlds_mail_server_is_there_on_the_stages_network(stage: Stage) -> None:
    service = "box" if stage.number == 1 else "app"
    stage.compose("exec", "-T", service, "curl", "-fsS", "-m", "5", "smtp://mail:2525")
    page = httpx.get(stage.mail_url, timeout=5)
    assert (page.status_code, "<h1>Mail</h1>" in page.text) == (200, True)


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
    _seconds_until(
        lambda: stage.compose("exec", "-T", "box", "sh", "-c", script).strip() not in ("", first),
        HEALS_WITHIN_SECONDS,
        "started again",
    )
    _seconds_until(lambda: _is_well(stage, "box"), HEALS_WITHIN_SECONDS, "healthy again")
    assert stage.get("/api/articles").json()["articlesCount"] == before


LOSSES = {"frozen": ("pause", "unpause"), "stopped": ("stop", "start")}


@pytest.mark.parametrize(("lose", "give_back"), LOSSES.values(), ids=LOSSES)
def test_a_database_that_goes_away_is_told_in_time_and_used_again_by_itself(
    stage: Stage, lose: str, give_back: str
) -> None:
    if stage.number == 1:
        pytest.skip("the single box loses its database with itself")
    before = stage.get("/api/articles").json()["articlesCount"]
    stage.compose(lose, "db")
    try:
        for path in ["/api/articles", "/api/tags", "/ready"] * 3:
            started = time.monotonic()
            assert stage.get(path).status_code == 503
            assert time.monotonic() - started < TOLD_WITHIN_SECONDS
        assert stage.get("/health").status_code == 200
    finally:
        stage.compose(give_back, "db")
    _seconds_until(lambda: stage.get("/ready").status_code == 200, HEALS_WITHIN_SECONDS, "answering again")
    assert stage.get("/api/articles").json()["articlesCount"] == before
    _seconds_until(lambda: _is_well(stage, "app"), HEALS_WITHIN_SECONDS, "healthy again")


def _publish_with_a_cover(stage: Stage) -> str:
    """The path of the cover's large file, new to every stage."""
    name = f"painter{time.time_ns()}"
    draft = {"title": "A picture", "description": "of one colour", "body": "See above.", "tagList": []}
    picture = io.BytesIO()
    Image.new("RGB", (400, 225), tuple(secrets.token_bytes(3))).save(picture, "PNG")
    with httpx.Client(base_url=stage.url, timeout=30) as client:
        given = {"user": {"username": name, "email": f"{name}@example.com", "password": "a picture of one colour"}}
        user = client.post("/api/users", json=given).raise_for_status().json()["user"]
        client.headers["Authorization"] = f"Token {user['token']}"
        article = client.post("/api/articles", json={"article": draft}).raise_for_status().json()["article"]
        covered = client.put(f"/api/articles/{article['slug']}/cover", content=picture.getvalue()).raise_for_status()
    path: str = covered.json()["article"]["cover"]["large"]
    return path


def test_the_stage_before_is_brought_over_whole(stage: Stage) -> None:
    if stage.number == 1:
        pytest.skip("no stage comes before the first")
    before = Stage(1, stage.folder)
    before.make("up")
    cover = _publish_with_a_cover(before)
    assert stage.get(cover).status_code == 404
    said = stage.make("import", "FROM=stage1", "REPLACE=1")
    assert re.search(r"^Files: [\d,]+ at stage 2's app, each with the SHA-256 that it had", said, re.MULTILINE), said
    shown = stage.get(cover)
    assert shown.headers["content-type"] == "image/webp"
    assert shown.content == before.get(cover).content
    for path in ("/api/articles?limit=100", "/api/articles?limit=100&offset=50", "/api/tags"):
        assert stage.get(path).json() == before.get(path).json()
    assert stage.get("/api/articles").json()["articlesCount"] > 0
