"""Uploads on a small box: a few in memory, one processed at a time, with a deadline, and no other request waits."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from conduit import images, memory_headroom
from conduit.image_structure import Image as Inspected
from conduit_testing.client import Api, Person, boundaries, errors
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.pictures import upload

AT_ONCE = 2
BODY_SECONDS = 1.0
WAIT_SECONDS = 0.7


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase) -> Iterator[Deployment]:
    with deployed_on_one_server(
        new_database, uploads_at_once=AT_ONCE, body_seconds=BODY_SECONDS, upload_wait_seconds=WAIT_SECONDS
    ) as deployment:
        yield deployment


@pytest.fixture
def api(deployment: Deployment) -> Iterator[Api]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http)


@pytest.fixture
def jo(api: Api) -> Person:
    return api.sign_up()


@contextmanager
def _sending(deployment: Deployment, slug: str, token: str | None, length: int = 100_000) -> Iterator[socket.socket]:
    """An upload of which only the headers have been sent."""
    host, _, port = deployment.base_url.removeprefix("http://").partition(":")
    signed = f"Authorization: Token {token}\r\n" if token else ""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"PUT /api/articles/{slug}/cover HTTP/1.1\r\nHost: x\r\n{signed}Content-Length: {length}\r\n\r\n".encode()
        )
        yield connection


def _status(connection: socket.socket) -> int:
    return int(connection.recv(4_000).split(b" ")[1])


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Processing of images blocks until this is set."""
    go_on = threading.Event()
    make = images.covers

    def slowly(image: Inspected) -> dict[str, bytes]:
        assert go_on.wait(10)
        return make(image)

    monkeypatch.setattr(images, "covers", slowly)
    yield go_on
    go_on.set()


def test_a_body_that_does_not_arrive_is_408_and_the_connection_ends(deployment: Deployment, jo: Person) -> None:
    slug = jo.slug()
    started = time.monotonic()
    with _sending(deployment, slug, jo.token) as connection:
        for _ in range(3):
            connection.sendall(b"x")
            time.sleep(0.1)
        answer = connection.recv(4_000).decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert "did not arrive within 1 s" in answer
        assert "connection: close" in answer.lower()
        assert connection.recv(1) == b""
    assert BODY_SECONDS <= time.monotonic() - started < 5
    assert jo.upload(slug, upload()).status_code == 200


def test_an_upload_without_permission_is_refused_before_its_body_is_read(
    deployment: Deployment, api: Api, jo: Person
) -> None:
    slug, ann = jo.slug(), api.sign_up()
    for token, path, status in (
        (None, slug, 401),
        ("forged", slug, 401),
        (ann.token, slug, 403),
        (jo.token, "nothing-1", 404),
    ):
        with _sending(deployment, path, token) as connection:
            assert _status(connection) == status
    with _sending(deployment, slug, jo.token, length=5_000_001) as connection:
        assert _status(connection) == 413


def test_one_upload_is_processed_at_a_time_and_only_a_few_are_in_memory(
    deployment: Deployment, api: Api, jo: Person, held: threading.Event
) -> None:
    ann, bo = api.sign_up(), api.sign_up()
    slugs = [person.slug() for person in (jo, ann, bo)]
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(jo.upload, slugs[0], upload("PNG"))
        time.sleep(0.1)
        second = threads.submit(ann.upload, slugs[1], upload("JPEG"))
        time.sleep(0.1)
        started = time.monotonic()
        beyond = bo.upload(slugs[2], upload("WEBP"))
        assert beyond.status_code == 503
        assert time.monotonic() - started >= WAIT_SECONDS * 0.9
        assert errors(beyond) == {"body": ["too many uploads are under way; try again shortly"]}
        assert int(beyond.headers["retry-after"]) >= 1
        assert second.result().status_code == 503
        # Reads are not delayed.
        assert all(jo.get("/articles").status_code == 200 for _ in range(20))
        held.set()
        assert first.result().status_code == 200
    assert api.article(slugs[1])["cover"] is None
    assert ann.upload(slugs[1], upload("JPEG")).status_code == 200


def test_somebody_whose_uploads_are_slow_keeps_nobody_else_out(deployment: Deployment, api: Api, jo: Person) -> None:
    slug, ann = jo.slug(), api.sign_up()
    with _sending(deployment, slug, jo.token):
        time.sleep(0.2)
        with _sending(deployment, slug, jo.token) as another:
            assert _status(another) == 503
        assert ann.upload(ann.slug(), upload()).status_code == 200
    time.sleep(0.2)
    assert jo.upload(slug, upload()).status_code == 200


def test_uploads_that_do_not_arrive_do_not_block_reads(new_database: NewDatabase) -> None:
    beyond = 30
    with (
        deployed_on_one_server(
            new_database, uploads_at_once=AT_ONCE, upload_wait_seconds=15.0, max_in_flight=AT_ONCE * 3 + 6
        ) as deployment,
        httpx.Client(base_url=deployment.base_url, timeout=20) as http,
        ExitStack() as open_ones,
    ):
        for _ in range(AT_ONCE * 3):
            somebody = Api(http).sign_up()
            open_ones.enter_context(_sending(deployment, somebody.slug(), somebody.token))
        jo = Api(http).sign_up()
        slug = jo.slug()
        time.sleep(0.3)
        for _ in range(beyond):
            started = time.monotonic()
            with _sending(deployment, slug, jo.token) as connection:
                assert _status(connection) == 503
            assert time.monotonic() - started < 2.0
            assert jo.get("/articles").status_code == 200
        open_ones.close()
        time.sleep(0.3)
        assert jo.upload(slug, upload()).status_code == 200


def test_the_next_upload_gets_the_slot(api: Api, jo: Person, held: threading.Event) -> None:
    uploaders = [(person, person.slug()) for person in (jo, api.sign_up())]
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(person.upload, slug, upload("PNG")) for person, slug in uploaders]
        time.sleep(0.2)
        held.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]


def test_an_upload_that_is_cut_off_frees_its_slot(deployment: Deployment, jo: Person) -> None:
    slug = jo.slug()
    for _ in range(AT_ONCE * 3):
        with _sending(deployment, slug, jo.token) as connection:
            connection.sendall(b"\x89PNG")
    time.sleep(0.2)
    assert jo.upload(slug, upload()).status_code == 200


def test_a_box_that_is_short_of_memory_refuses_uploads(jo: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    slug = jo.slug()
    shown = jo.upload(slug, upload("PNG")).json()["article"]["cover"]
    with monkeypatch.context() as patch:
        patch.setattr(memory_headroom, "left", lambda: memory_headroom.MARGIN_BYTES)
        response = jo.upload(slug, upload("JPEG"))
    assert response.status_code == 503
    assert errors(response) == {"body": ["memory for an image of this size is unavailable; try again shortly"]}
    assert jo.article(slug)["cover"] == shown
    assert jo.upload(slug, upload("JPEG")).status_code == 200


def test_an_image_that_this_box_can_never_hold_is_refused_for_good(jo: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 would promise that waiting helps."""
    slug = jo.slug()
    monkeypatch.setattr(memory_headroom, "_most_left", memory_headroom.MARGIN_BYTES)
    monkeypatch.setattr(memory_headroom, "left", lambda: memory_headroom.MARGIN_BYTES)
    response = jo.upload(slug, upload("JPEG"))
    assert response.status_code == 422
    assert errors(response) == {
        "cover": ["takes more memory to decode than this server has; as an ordinary JPEG it would take less"]
    }
    assert jo.article(slug)["cover"] is None


def test_the_time_and_cpu_of_images_are_measured(jo: Person) -> None:
    def counted() -> tuple[float, float]:
        return (
            REGISTRY.get_sample_value("conduit_task_seconds_count", {"task": "image"}) or 0.0,
            REGISTRY.get_sample_value("conduit_task_cpu_seconds_total", {"task": "image"}) or 0.0,
        )

    before = counted()
    out = io.BytesIO()
    Image.effect_noise((1_700, 1_200), 80).save(out, "JPEG")
    response = jo.upload(jo.slug(), out.getvalue())
    after = counted()
    assert "image" in boundaries(response)
    assert after[0] == before[0] + 1
    assert 0.01 < after[1] - before[1] < 5
