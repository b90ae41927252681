"""Each stage as users run it: brought up, held against the API suite, interrupted, brought over to the next."""

import io
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from conduit.ids import id_from_slug
from conduit_testing.client import errors
from conduit_testing.pictures import png
from tests.running import ROOT, Stage, environment, run
from tests.stages.at_a_stage import (
    BOXES,
    HEALS_WITHIN_SECONDS,
    at_last,
    at_second_and_last,
    is_well,
    published,
    seconds_until,
)

TOLD_WITHIN_SECONDS = 2.0
FILES = {2: "app", 3: "media", 4: "media", 5: "media"}

pytestmark = [pytest.mark.stage, pytest.mark.docker]


def _passes(stage: Stage, tests: str) -> int:
    """How many tests passed that ran against the stage. Fails with what they said where one did not."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, f"--stage-url={stage.url}"]
    with stage.whole_cores():
        done = subprocess.run(suite, cwd=ROOT, capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stdout[-8000:]
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed, done.stdout[-500:]
    return int(passed.group(1))


@at_last
def test_the_api_suite_passes_against_the_stage(stage: Stage) -> None:
    assert _passes(stage, "services/conduit/tests/api") > 100


def test_what_the_description_allows_is_answered_as_it_says(stage: Stage) -> None:
    if stage.number != 5:
        pytest.skip("the last stage has all that may answer in the app's place")
    assert _passes(stage, "services/conduit/tests/whole/test_openapi.py") > 40


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/api/articles", {"content": bytes(1_000_001)}, 413),
        ("PUT", "/api/articles/any-1/cover", {"content": bytes(5_000_001)}, 413),
        ("POST", "/media/any-small.webp", {}, 405),
        ("GET", "/api/tags", {"headers": {"X-Long": "x" * 40_000}}, 400),
    ],
    ids=["a large text", "a large picture", "writing a file", "a long header"],
)
def test_what_does_not_reach_the_app_is_refused_in_its_shape(
    stage: Stage, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    if stage.number < 3:
        pytest.skip("nothing stands before the app")
    answer = httpx.request(method, f"{stage.url}{path}", timeout=10, **sent)
    assert answer.status_code == status, answer.text
    assert errors(answer)


def test_an_edge_with_nobody_behind_it_says_so_in_the_apps_shape(stage: Stage) -> None:
    if stage.number != 4:
        pytest.skip("there is no edge, or the same as at stage 4")
    stage.compose("kill", "lb")
    try:
        for method, path in [("GET", "/api/articles?author=away"), ("GET", "/api/user"), ("POST", "/api/users")]:
            headers = {"Authorization": "Token any"} if path == "/api/user" else {}
            started = time.monotonic()
            answer = httpx.request(method, f"{stage.url}{path}", headers=headers, timeout=10)
            assert time.monotonic() - started < TOLD_WITHIN_SECONDS
            assert answer.status_code == 503, answer.text
            assert errors(answer)
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        stage.compose("start", "lb")
    seconds_until(lambda: is_well(stage, "lb"), HEALS_WITHIN_SECONDS, "healthy again")


def test_status_names_every_box_and_its_health(stage: Stage) -> None:
    said = stage.make("status")
    assert re.findall(r"^(\w+) +running +healthy", said, re.MULTILINE) == BOXES[stage.number], said
    assert f"{stage.mail_url}  mail" in said


def _publish_with_a_cover(stage: Stage) -> str:
    """The path of the cover's large file, new to every stage."""
    picture = io.BytesIO()
    Image.new("RGB", (400, 225), tuple(secrets.token_bytes(3))).save(picture, "PNG")
    slug = published(stage, picture.getvalue())["slug"]

    def cover() -> dict[str, str]:
        found: dict[str, str] = stage.get(f"/api/articles/{slug}").json()["article"]["cover"]
        return found

    seconds_until(lambda: cover()["state"] == "ready", HEALS_WITHIN_SECONDS, "ready")
    return cover()["large"]


def test_what_is_dead_in_the_queue_is_told_and_put_back(stage: Stage) -> None:
    if stage.number != 4:
        pytest.skip("there is no queue, or the same as at stage 4")
    with stage.whole_cores():  # each command starts a Python in a box
        _is_told_and_put_back(stage)


def _is_told_and_put_back(stage: Stage) -> None:
    stage.make("queue", "RETRY=all")  # of the dead only the oldest are listed
    # Its head is that of a picture; what follows is seen to be none when it is decoded.
    slug = published(stage, png(40, 40, b"\x09" * 8_000))["slug"]
    key = f"cover-{id_from_slug(slug)}-"

    def listed() -> bool:
        return bool(re.search(rf"^{key}[0-9a-f]+ +1  cover is damaged$", stage.make("queue"), re.MULTILINE))

    seconds_until(listed, HEALS_WITHIN_SECONDS, "dead")
    assert stage.get(f"/api/articles/{slug}").json()["article"]["cover"]["state"] == "failed"
    counts = dict(re.findall(r"^(waiting|running|retrying|dead|done) +(\d+)  ", stage.make("queue"), re.MULTILINE))
    assert list(counts) == ["waiting", "running", "retrying", "dead", "done"]
    assert int(counts["dead"]) > 0

    command = stage.make_command("queue", "RETRY=no-such-key")
    told = subprocess.run(
        command, cwd=stage.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode != 0
    assert "no-such-key" in told.stdout + told.stderr
    assert listed()

    said = stage.make("queue", "RETRY=all")
    assert re.search(r"^[1-9]\d* requeued; a worker retries them in a few seconds\.$", said, re.MULTILINE), said

    def settled() -> bool:
        said = stage.make("queue")
        return all(re.search(rf"^{state} +0  ", said, re.MULTILINE) for state in ("waiting", "running"))

    seconds_until(settled, HEALS_WITHIN_SECONDS, "tried again")
    # Its upload is gone, so that there is nothing to be done: it has failed, and is not dead again.
    assert key not in stage.make("queue")


def test_locusts_own_page_is_there_until_it_is_interrupted(stage: Stage, tmp_path: Path) -> None:
    if stage.number != 1:
        pytest.skip("the same at every stage")
    for _ in range(2):  # there is no load without an article to ask for and two users
        _publish_with_a_cover(stage)
    env = environment() | {"LOCUST_PORT": "18089"}
    said = tmp_path / "said"
    with said.open("w") as output:
        loading = subprocess.Popen(
            stage.make_command("load", "MIX=feed"),
            cwd=stage.folder,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def served() -> bool:
        assert loading.poll() is None, said.read_text()
        return "Locust" in httpx.get("http://127.0.0.1:18089", timeout=5).text

    try:
        seconds_until(served, 300, "served")  # the tools' image may have to be built for it
    finally:
        if loading.poll() is None:
            os.killpg(loading.pid, signal.SIGINT)
        loading.wait(60)
    assert "-load" not in run(["docker", "ps", "--all", "--format", "{{.Names}}"], stage.folder)


@pytest.mark.parametrize("stage", [2], ids=["stage2"], indirect=True)
def test_an_up_that_was_interrupted_is_mended_by_the_next(stage: Stage) -> None:
    """While Compose replaces the boxes, which it does when their size changes; and with what it leaves at worst."""

    def names() -> list[str]:
        return run(["docker", "ps", "--all", "--format", "{{.Names}}"], stage.folder).split()

    def half_way() -> bool:
        return any(re.match(r"[0-9a-f]{12}_", name) for name in names()) or stage.host("app") not in names()

    articles = stage.get("/api/articles").json()
    replacing = subprocess.Popen(
        stage.make_command("up"),
        cwd=stage.folder,
        env=environment() | {"BOX_MEMORY": "250m"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        seconds_until(half_way, 120, "half replaced")
    finally:
        os.killpg(replacing.pid, signal.SIGINT)
        said, _ = replacing.communicate(timeout=60)
    assert replacing.returncode != 0
    assert "Traceback" not in said
    label = f"com.docker.compose.project={stage.host('app').rsplit('-', 2)[0]}"
    left = f"0123456789ab_{stage.host('app')}"
    run(["docker", "create", "--name", left, "--label", label, "conduit/base:trixie", "true"], stage.folder)
    stage.make("up")
    assert not half_way()
    assert stage.get("/api/articles").json() == articles


@pytest.mark.long
@pytest.mark.parametrize("stage", [4], ids=["stage4"], indirect=True)
def test_more_workers_are_asked_for_by_their_number(stage: Stage) -> None:
    shown = r"^(worker\S*) +running +healthy"
    try:
        stage.make("up", "WORKERS=2")
        assert re.findall(shown, stage.make("status"), re.MULTILINE) == ["worker", "worker-2"]
        # As what measures does: it leaves them as they are.
        run([sys.executable, "-m", "infra.stage", "up", "stage4", "--same-apps"], stage.folder)
        assert re.findall(shown, stage.make("status"), re.MULTILINE) == ["worker", "worker-2"]
    finally:
        stage.make("up")
    assert re.findall(shown, stage.make("status"), re.MULTILINE) == ["worker"]


@at_second_and_last
def test_the_stage_before_is_brought_over_whole(stage: Stage) -> None:
    if stage.number == 1:
        pytest.skip("no stage comes before the first")
    before = Stage(stage.number - 1, stage.folder)
    before.make("up")
    cover = _publish_with_a_cover(before)
    assert stage.get(cover).status_code == 404
    said = stage.make("import", f"FROM=stage{before.number}", "REPLACE=1")
    place = f"stage {stage.number}'s {FILES[stage.number]}"
    assert re.search(rf"^Files: [\d,]+ at {place}, each with the SHA-256 that it had", said, re.MULTILINE), said
    shown = stage.get(cover)
    assert shown.headers["content-type"] == "image/webp"
    assert shown.content == before.get(cover).content
    for path in ("/api/articles?limit=100", "/api/articles?limit=100&offset=50", "/api/tags"):
        assert stage.get(path).json() == before.get(path).json()
    assert stage.get("/api/articles").json()["articlesCount"] > 0
