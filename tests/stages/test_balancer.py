"""The balancer's configuration in NGINX itself, before two boxes that do what a test wants: hang, break off, count."""

import gzip
import json
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from conduit_testing.client import errors
from infra.nginx.render import render
from tests.running import ROOT

pytestmark = pytest.mark.docker

NETWORK = "10.93.19"
AT_ONCE = 3
LARGE_OF_ONE_SENDER = 4
ANSWERS_AGAIN_WITHIN = 10
# Says what it was asked, one line a request. A path may name a box that breaks off without an answer, or be slow.
BOX = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

name, port = sys.argv[1:]

class Box(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = {"box": name, "method": self.command, "path": self.path, "headers": dict(self.headers.items())}
        print(json.dumps(asked) + "\\n", end="", flush=True)  # in one piece: others are writing too
        if self.path.endswith("breaks-at-" + name):
            self.close_connection = True
            return
        if "slow" in self.path:
            time.sleep(2)
        answer = json.dumps(asked | {"bytes": len(body), "padding": "x" * 5000}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass

ThreadingHTTPServer.request_queue_size = 100
ThreadingHTTPServer(("0.0.0.0", int(port)), Box).serve_forever()
"""


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words[:2]}: {done.stderr}"
    return done.stdout.strip()


def configuration() -> str:
    """As a stage's file with two apps would have it."""
    apps = {
        f"app{place}": {
            "labels": {"stage.upstream": "app"},
            "environment": {"MEDIA_URL": "http://media:8080"},
            "networks": {"app": {"ipv4_address": f"{NETWORK}.1{place}"}},
        }
        for place in (1, 2)
    }
    nginx = {
        role: {
            "labels": {"stage.nginx": role, "stage.at-once": str(AT_ONCE)},
            "volumes": [{"source": f"/{role}.conf", "target": "/etc/nginx/nginx.conf"}],
            "networks": {"app": {"ipv4_address": f"{NETWORK}.{last}"}},
        }
        for role, last in (("lb", 10), ("media", 30))
    }
    addresses = {"subnet": f"{NETWORK}.0/24", "gateway": f"{NETWORK}.1"}
    config = {
        "name": "conduit-stage3",
        "services": apps | nginx,
        "networks": {"app": {"ipam": {"config": [addresses]}}},
    }
    return next(one.text for one in render(config) if one.role == "lb")


@dataclass(frozen=True)
class Balanced:
    """NGINX at ``url``, and what is behind it."""

    url: str
    project: str

    def container(self, name: str) -> str:
        return f"{self.project}-{name}"

    def asked(self, path: str) -> list[dict[str, Any]]:
        """What arrived at any box for a path."""
        lines = [
            line for name in ("app1", "app2", "media") for line in docker("logs", self.container(name)).splitlines()
        ]
        return [found for found in map(json.loads, lines) if found["path"] == path]

    def logged(self, path: str) -> list[dict[str, Any]]:
        """NGINX's lines for a path; it writes them once a second."""
        time.sleep(1.2)
        lines = docker("logs", self.container("lb")).splitlines()
        return [found for found in map(json.loads, lines) if found["path"] == path]

    def boxes(self, requests: int = 8) -> set[str]:
        """Which answer."""
        with httpx.Client(base_url=self.url) as http:
            return {http.get("/api/whoever").raise_for_status().json()["box"] for _ in range(requests)}


@pytest.fixture(scope="module")
def lb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    subprocess.run(
        ["docker", "compose", "-f", "docker-compose.stage3.yml", "build", "--quiet", "lb", "app1"], cwd=ROOT, check=True
    )
    project = f"conduit-test-lb-{secrets.token_hex(4)}"
    file: Path = tmp_path_factory.mktemp("lb") / "nginx.conf"
    file.write_text(configuration())
    bare = ["run", "--detach", "--read-only", "--user", "1000:1000", "--cap-drop", "ALL", "--network", project]
    places = [word for place in ("tmp", "run") for word in ("--tmpfs", f"/{place}:uid=1000")]
    docker("network", "create", "--subnet", f"{NETWORK}.0/24", project)
    try:
        for name, last, port in (("app1", 11, 8000), ("app2", 12, 8000), ("media", 30, 8080)):
            at = ["--name", f"{project}-{name}", "--ip", f"{NETWORK}.{last}"]
            docker(*bare, *at, "conduit/app", "python", "-c", BOX, name, str(port))
        at = ["--name", f"{project}-lb", "--ip", f"{NETWORK}.10", "--publish", "127.0.0.1::8000"]
        docker(*bare, *places, *at, "-v", f"{file}:/etc/nginx/nginx.conf:ro", "conduit/nginx")
        found = Balanced(f"http://127.0.0.1:{docker('port', f'{project}-lb', '8000').rpartition(':')[2]}", project)
        _until(lambda: found.boxes() == {"app1", "app2"})
        yield found
    finally:
        names = docker("ps", "--all", "--filter", f"name={project}", "--format", "{{.Names}}").split()
        docker("rm", "--force", *names)
        docker("network", "rm", project)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ANSWERS_AGAIN_WITHIN
    while True:
        try:
            if holds():
                return
        except httpx.HTTPError:
            pass  # not yet
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _all_answer(lb: Balanced) -> None:
    _until(lambda: lb.boxes() == {"app1", "app2"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_what_a_box_breaks_off_is_asked_of_the_next_where_twice_does_no_harm(lb: Balanced, method: str) -> None:
    _all_answer(lb)
    path = f"/api/{method}-breaks-at-app1"
    with httpx.Client(base_url=lb.url) as http:
        answers = [http.request(method, path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {found["box"] for found in lb.asked(path)} == {"app1", "app2"}


def test_what_a_box_breaks_off_is_never_asked_twice_where_it_may_be_done(lb: Balanced) -> None:
    _all_answer(lb)
    path = "/api/POST-breaks-at-app1"
    with httpx.Client(base_url=lb.url) as http:
        answers = [http.post(path, content=b"once") for _ in range(4)]
    assert len(lb.asked(path)) == 4
    broken = [answer for answer in answers if answer.status_code != 200]
    assert broken
    for answer in broken:
        assert (answer.status_code, answer.headers["retry-after"]) == (502, "1")
        assert errors(answer) == {"body": ["the app broke off; try again shortly"]}


def test_a_box_that_is_away_costs_nobody_anything_and_is_asked_again_when_it_is_back(lb: Balanced) -> None:
    _all_answer(lb)
    docker("kill", lb.container("app1"))
    with httpx.Client(base_url=lb.url) as http:
        answers = [http.request(method, "/api/away") for method in ("GET", "POST") * 5]
    assert [(answer.status_code, answer.json()["box"]) for answer in answers] == [(200, "app2")] * 10
    docker("start", lb.container("app1"))
    _all_answer(lb)


def test_with_every_box_away_it_says_so(lb: Balanced) -> None:
    _all_answer(lb)
    for name in ("app1", "app2"):
        docker("kill", lb.container(name))
    try:
        for _ in range(3):
            answer = httpx.get(f"{lb.url}/api/anything")
            assert answer.status_code in (502, 503, 504)
            assert answer.headers["retry-after"] == "1"
            assert errors(answer)["body"]
    finally:
        for name in ("app1", "app2"):
            docker("start", lb.container(name))
    _all_answer(lb)


def test_what_is_too_much_for_the_boxes_is_refused_at_once_and_pages_are_not(lb: Balanced) -> None:
    _all_answer(lb)
    with httpx.Client(base_url=lb.url) as http, ThreadPoolExecutor(3 * AT_ONCE) as threads:
        let_in = [threads.submit(http.get, "/api/slow") for _ in range(2 * AT_ONCE)]
        _until(lambda: len(lb.asked("/api/slow")) == 2 * AT_ONCE)
        began = time.monotonic()
        refused, page = http.get("/api/one-more"), http.get("/a-page")
        assert not any(one.done() for one in let_in), f"too late to tell: {time.monotonic() - began:.1f} s"
        assert [one.result().status_code for one in let_in] == [200] * 2 * AT_ONCE
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert errors(refused) == {"body": ["too many requests are under way; try again shortly"]}
    assert refused.headers["x-request-id"]
    assert page.status_code == 200
    assert lb.asked("/api/one-more") == []
    assert [box for box in ("app1", "app2") for one in lb.asked("/api/slow") if one["box"] == box] == [
        *["app1"] * AT_ONCE,
        *["app2"] * AT_ONCE,
    ]


def test_what_is_too_much_of_pages_is_refused_in_the_same_words(lb: Balanced) -> None:
    _all_answer(lb)
    with httpx.Client(base_url=lb.url) as http, ThreadPoolExecutor(4 * AT_ONCE) as threads:
        let_in = [threads.submit(http.get, "/a-slow-page") for _ in range(4 * AT_ONCE)]
        _until(lambda: len(lb.asked("/a-slow-page")) == 4 * AT_ONCE)
        refused = http.get("/another-page")
        assert not any(one.done() for one in let_in)
        assert [one.result().status_code for one in let_in] == [200] * 4 * AT_ONCE
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert errors(refused) == {"body": ["too many requests are under way; try again shortly"]}


def test_a_box_that_is_taken_out_gets_nothing_and_nobody_loses_a_connection(lb: Balanced) -> None:
    _all_answer(lb)
    with httpx.Client(base_url=lb.url) as http:
        http.get("/api/whoever")
        for out, other in (("app1", "app2"), ("app2", "app1")):
            docker("exec", lb.container("lb"), "touch", f"/run/without-{out}")
            found = {http.get(path).json()["box"] for path in ("/api/whoever", "/a-page") * 5}
            docker("exec", lb.container("lb"), "rm", f"/run/without-{out}")
            assert found == {other}
    _all_answer(lb)


def test_a_request_has_one_id_in_every_log(lb: Balanced) -> None:
    brought = httpx.get(f"{lb.url}/api/brought", headers={"X-Request-Id": "my-own_id.1"})
    assert brought.json()["headers"]["X-Request-Id"] == "my-own_id.1"
    for odd in ("x" * 65, "a b", ""):
        made = httpx.get(f"{lb.url}/api/made", headers={"X-Request-Id": odd}).json()["headers"]["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    (line,) = lb.logged("/api/brought")
    assert (line["request_id"], line["method"], line["status"]) == ("my-own_id.1", "GET", 200)
    assert line["upstream"] in {f"{NETWORK}.11:8000", f"{NETWORK}.12:8000"}
    assert (line["upstream_status"], float(line["upstream_seconds"]) >= 0) == ("200", True)
    assert 100 < line["bytes"] < len(brought.content), "compressed"
    assert line["seconds"] >= float(line["upstream_connect_seconds"]) >= 0


def test_the_address_of_who_asks_is_the_one_that_the_balancer_saw(lb: Balanced) -> None:
    said = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Host": "conduit.example"}
    headers = httpx.get(f"{lb.url}/api/address", headers=said).json()["headers"]
    assert headers["X-Forwarded-For"] == f"{NETWORK}.1"
    assert (headers["X-Forwarded-Proto"], headers["Host"]) == ("http", "conduit.example")


def test_the_apis_json_is_compressed_for_who_takes_it(lb: Balanced) -> None:
    with httpx.stream("GET", f"{lb.url}/api/large", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert len(raw) < 1000 < len(gzip.decompress(raw))
    plain = httpx.get(f"{lb.url}/api/large", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(("path", "most"), [("/api/articles", 1_000_000), ("/api/articles/a-1/cover", 5_000_000)])
def test_what_is_too_large_for_the_app_does_not_reach_it(lb: Balanced, path: str, most: int) -> None:
    taken = httpx.put(f"{lb.url}{path}", content=b"x" * most)
    assert (taken.status_code, taken.json()["bytes"]) == (200, most)
    before = len(lb.asked(path))
    refused = httpx.put(f"{lb.url}{path}", content=b"x" * (most + 1))
    assert (refused.status_code, errors(refused)) == (413, {"body": [f"is larger than {most} bytes"]})
    assert len(lb.asked(path)) == before


def test_a_small_body_that_comes_slowly_holds_no_app(lb: Balanced) -> None:
    path = "/api/slowly"
    with _sending(lb, "Content-Length: 15000", 10_000, path) as connection:
        time.sleep(0.5)
        assert lb.asked(path) == []
        connection.sendall(b"x" * 5_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert len(lb.asked(path)) == 1


def _sending(lb: Balanced, headers: str, sent: int, path: str = "/api/held") -> socket.socket:
    """A client in the middle of a body."""
    host, _, port = lb.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + b"x" * sent)
    return connection


def _kilobytes_in_tmp(lb: Balanced) -> int:
    tmp = "/tmp"  # noqa: S108 - the container's own
    return int(docker("exec", lb.container("lb"), "df", "--output=used", "-k", tmp).split()[-1])


def _is_refused(answer: httpx.Response) -> bool:
    assert (answer.status_code, answer.headers.get("retry-after")) in ((200, None), (503, "1"))
    if answer.status_code == 503:
        assert errors(answer) == {"body": ["too many requests are under way; try again shortly"]}
    return answer.status_code == 503


def test_a_sender_of_slow_large_bodies_keeps_only_itself_out(lb: Balanced) -> None:
    _all_answer(lb)
    slow, other = ({"Authorization": f"Token {who}"} for who in ("slow", "other"))
    with ExitStack() as held, httpx.Client(base_url=lb.url) as http:
        for place in range(LARGE_OF_ONE_SENDER):
            length = "Content-Length: 900000" if place else "Transfer-Encoding: chunked"
            headers = f"Authorization: {slow['Authorization']}\r\n{length}"
            path = "/api/held" if place % 2 else "/api/articles/held-1/cover"
            held.enter_context(_sending(lb, headers, 100_000 if place else 0, path))
        _until(lambda: _is_refused(http.put("/api/large", content=b"x" * 16_000, headers=slow)))
        for path in ("/api/large", "/a-page", "/api/articles/a-1/cover"):
            for content in (b"x" * 16_000, iter([b"of unknown length"])):
                assert _is_refused(http.put(path, content=content, headers=slow))
            assert not _is_refused(http.put(path, content=b"x" * 16_000, headers=other))
        assert http.put("/api/small", content=b"x" * 15_999, headers=slow).json()["bytes"] == 15_999
        assert http.get("/api/small", headers=slow).status_code == 200
    _until(lambda: not _is_refused(httpx.put(f"{lb.url}/api/large", content=b"x" * 16_000, headers=slow)))


def test_slow_large_bodies_of_many_hold_no_place_of_others(lb: Balanced) -> None:
    _all_answer(lb)
    with ExitStack() as held, httpx.Client(base_url=lb.url) as http:
        for place in range(2 * AT_ONCE):
            held.enter_context(_sending(lb, f"Authorization: Token {place}\r\nContent-Length: 900000", 100_000))
        _until(lambda: _is_refused(http.put("/api/large", content=b"x" * 16_000, headers={"Authorization": "Token x"})))
        assert http.put("/api/small", content=b"x" * 15_999).json()["bytes"] == 15_999
        assert http.get("/api/small").status_code == 200
        assert http.get("/a-page").status_code == 200
    _all_answer(lb)


def test_no_body_waits_in_tmp(lb: Balanced) -> None:
    _all_answer(lb)
    with ExitStack() as held:
        for _ in range(32):
            held.enter_context(_sending(lb, "Content-Length: 15999", 15_998))
        large = held.enter_context(_sending(lb, "Content-Length: 900000", 800_000))
        time.sleep(1.0)
        assert _kilobytes_in_tmp(lb) < 100
        large.sendall(b"x" * 100_000)
        assert large.recv(100).startswith(b"HTTP/1.1 200")


def test_what_is_no_request_is_told_in_the_apis_shape(lb: Balanced) -> None:
    for path, headers in (("/api/%00", {}), ("/api/x", {"X-Long": "x" * 40_000})):
        answer = httpx.get(f"{lb.url}{path}", headers=headers)
        assert (answer.status_code, errors(answer)) == (400, {"body": ["is no request that can be read"]})


def test_public_files_are_the_stores_and_nothing_else_of_it_is(lb: Balanced) -> None:
    cover = httpx.get(f"{lb.url}/media/abc-small.webp")
    assert (cover.json()["box"], cover.json()["path"]) == ("media", "/public/abc-small.webp")
    for path in ("/media/../private/reports/1.csv", "/media/a/b", "/media/.hidden", "/media/", "/private/uploads/1"):
        with httpx.Client(base_url=lb.url) as http:
            answer = http.send(http.build_request("GET", f"{lb.url}/x", extensions={"target": path.encode()}))
        assert answer.json()["box"] in ("app1", "app2"), path
    for method in ("PUT", "DELETE", "POST"):
        answer = httpx.request(method, f"{lb.url}/media/abc-small.webp")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert {one["method"] for one in lb.asked("/public/abc-small.webp")} == {"GET"}
