"""The contract of every Media."""

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import pytest

from conduit.adapters import media_http
from conduit.adapters.media_disk import DiskMedia
from conduit.adapters.media_http import HttpMedia
from conduit.errors import UnavailableError
from conduit.media_names import cover_file, digest_of, report_file, upload_file
from conduit.ports import Media
from conduit_testing.client import fresh
from conduit_testing.containers import MEDIA_PASSWORD
from conduit_testing.proxy import proxied
from conduit_testing.waiting import until


def _on_disk(request: pytest.FixtureRequest) -> Media:
    directory: Path = request.getfixturevalue("tmp_path")
    return DiskMedia(directory / "media")


def _by_http(request: pytest.FixtureRequest) -> Media:
    return HttpMedia(request.getfixturevalue("object_store"), MEDIA_PASSWORD)


@pytest.fixture(params=[_on_disk, pytest.param(_by_http, marks=pytest.mark.docker)], ids=["disk", "http"])
def media(request: pytest.FixtureRequest) -> Media:
    """A Media, which may hold files already."""
    kind: Callable[[pytest.FixtureRequest], Media] = request.param
    return kind(request)


def _public() -> str:
    return cover_file(digest_of(fresh().encode()), "small")


@pytest.mark.parametrize("content", [b"", b"content", bytes(range(256)) * 20_000], ids=["empty", "short", "5 MB"])
@pytest.mark.parametrize("name", [_public(), report_file(7)], ids=["public", "private"])
def test_a_file_can_be_put_and_got(media: Media, name: str, content: bytes) -> None:
    media.put(name, content, "image/webp")
    assert media.get(name) == content


def test_a_missing_or_deleted_file_is_none(media: Media) -> None:
    name = _public()
    assert media.get(name) is None
    media.delete(name)
    media.put(name, b"content", "image/webp")
    media.delete(name)
    assert media.get(name) is None
    media.delete(name)


def test_putting_a_file_again_replaces_it(media: Media) -> None:
    name = _public()
    for content in (b"the first, which is longer", b"second"):
        media.put(name, content, "image/webp")
        assert media.get(name) == content


def test_a_concurrent_reader_gets_the_old_or_the_new_file_complete(media: Media) -> None:
    name = _public()
    contents = [bytes([number]) * 500_000 for number in range(8)]
    media.put(name, contents[0], "image/webp")
    enough = threading.Event()

    def write(first: int) -> None:
        for content in cycle(contents[first:] + contents[:first]):
            if enough.is_set():
                return
            media.put(name, content, "image/webp")

    seen: set[bytes | None] = set()
    reads = 0
    until = time.monotonic() + 30
    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, 2 * number) for number in range(3)]
        try:
            while reads < 50 or len(seen) < 2:
                assert time.monotonic() < until, "nothing was written meanwhile"
                seen.add(media.get(name))
                reads += 1
        finally:
            enough.set()
        for future in writing:
            future.result(10)
    assert seen <= set(contents)


def test_a_public_files_url_depends_only_on_its_name(media: Media) -> None:
    name = _public()
    address = media.url(name)
    media.put(name, b"content", "image/webp")
    assert media.url(name) == address
    assert address.endswith(f"/media/{name.removeprefix('public/')}")
    assert media.url(_public()) != address


def test_a_private_file_has_no_url(media: Media) -> None:
    with pytest.raises(ValueError, match="not public"):
        media.url(report_file(7))


@pytest.mark.parametrize("name", ["public/../private/x", "/etc/passwd", "elsewhere/x", "public/.hidden", "public/a b"])
def test_invalid_names_are_refused(media: Media, name: str) -> None:
    for use in (media.get, media.delete, lambda bad: media.put(bad, b"", "text/plain")):
        with pytest.raises(ValueError, match="not a valid"):
            use(name)


def _waiting() -> str:
    return upload_file(digest_of(fresh().encode()), 7)


def test_old_files_of_a_folder_are_listed(media: Media) -> None:
    assert media.left_in("private/nothing-yet", 0) == []
    names = {_waiting(), _waiting()}
    for name in names:
        media.put(name, b"content", "image/webp")
    media.put(report_file(7), b"content", "text/csv")
    assert names <= set(media.left_in("private/uploads", 0))
    assert not names & set(media.left_in("private/uploads", 60))
    until(lambda: names <= set(media.left_in("private/uploads", 1)), "they do not age", within=10, pause=0.2)
    for name in names:
        media.delete(name)
    assert not names & set(media.left_in("private/uploads", 0))
    assert media.get(report_file(7)) == b"content"


# DiskMedia only ---------------------------------------------------------------------------------------------


def test_a_failed_write_is_unavailable_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = DiskMedia(tmp_path)
    name = _public()
    media.put(name, b"before", "image/webp")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UnavailableError):
            media.put(name, b"after", "image/webp")
    assert media.get(name) == b"before"
    assert [path.name for path in (tmp_path / "public").iterdir()] == [name.removeprefix("public/")]


def test_partial_files_of_a_dead_process_are_not_listed_and_are_deleted(tmp_path: Path) -> None:
    media, name = DiskMedia(tmp_path), _waiting()
    media.put(name, b"content", "image/webp")
    old, young = tmp_path / "private/uploads/.old", tmp_path / "private/uploads/.young"
    for half in (old, young):
        half.write_bytes(b"con")
    os.utime(old, (time.time() - 100,) * 2)
    assert media.left_in("private/uploads", 60) == []
    assert not old.exists()
    assert young.exists()
    assert media.left_in("private/uploads", 0) == [name]


def test_a_path_that_is_no_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    media = DiskMedia(tmp_path / "file")
    for use in (media.get, media.delete, lambda name: media.put(name, b"", "image/webp")):
        with pytest.raises(UnavailableError):
            use(_public())


# HttpMedia only ---------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_a_connection_closed_while_idle_fails_no_request(object_store: str) -> None:
    with proxied(object_store) as proxy:
        media, name = HttpMedia(proxy.url, MEDIA_PASSWORD), _public()
        for content in (b"first", b"second"):
            media.put(name, content, "image/webp")
            proxy.drop_connections()
            assert media.get(name) == content
            proxy.drop_connections()


@pytest.mark.docker
@pytest.mark.parametrize("password", [None, "another"])
def test_only_public_files_are_read_without_the_password(object_store: str, password: str | None) -> None:
    owner, other = HttpMedia(object_store, MEDIA_PASSWORD), HttpMedia(object_store, password)
    public, private = _public(), report_file(time.time_ns())
    for name in (public, private):
        owner.put(name, b"content", "image/webp")
    assert other.get(public) == b"content"
    for use in (
        lambda: other.get(private),
        lambda: other.left_in(private.rpartition("/")[0], 0),
        lambda: other.put(public, b"another", "image/webp"),
        lambda: other.delete(public),
        lambda: other.put(private, b"another", "image/webp"),
        lambda: other.delete(private),
    ):
        with pytest.raises(UnavailableError):
            use()
    assert [owner.get(name) for name in (public, private)] == [b"content", b"content"]


def test_a_slow_dns_lookup_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def slowly(*_: object, **__: object) -> None:
        done.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    media = HttpMedia("http://media:8080")
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        media.get(_public())
    assert time.monotonic() - began < 2
    assert media.url("public/x.webp") == "/media/x.webp"
    done.set()


def test_a_request_without_a_free_slot_fails_and_the_circuit_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, arrived, looked = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    class Store(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            looked.release()
            self._answer()

        def do_GET(self) -> None:
            arrived.release()
            goes_on.wait(10)
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(media_http, "CONNECTION_WAIT_SECONDS", 0.1)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Store) as server,
        ThreadPoolExecutor(media_http.CONNECTIONS) as threads,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        media = HttpMedia(f"http://127.0.0.1:{server.server_address[1]}")
        taken = [threads.submit(media.get, _public()) for _ in range(media_http.CONNECTIONS)]
        assert all(arrived.acquire(timeout=10) for _ in taken)
        with pytest.raises(UnavailableError):
            media.get(_public())
        goes_on.set()
        assert [one.result() for one in taken] == [b""] * media_http.CONNECTIONS
        assert media.get(_public()) == b""
        assert looked.acquire(timeout=10)
        assert not looked.acquire(blocking=False), "it was looked for again"
        server.shutdown()


def test_a_store_that_answers_errors_is_unavailable_and_is_asked_again() -> None:
    statuses = [200, 507, 200]  # to who looks for it; a full disk; and there is room again

    class Store(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_HEAD

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        media = HttpMedia(f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(UnavailableError):
            media.put(_public(), b"", "image/webp")
        media.put(_public(), b"", "image/webp")
        server.shutdown()
    assert statuses == []


def test_closed_a_store_that_is_away_is_probed_no_more() -> None:
    media = HttpMedia("http://localhost:1")
    with pytest.raises(UnavailableError):
        media.get(_public())

    def probes() -> bool:
        return "probe localhost:1" in {thread.name for thread in threading.enumerate()}

    assert probes()
    media.close()
    until(lambda: not probes(), "it is probed still", within=10, pause=0.02)
    with pytest.raises(UnavailableError):
        media.get(_public())
