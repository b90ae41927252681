"""The balancer's configuration in NGINX itself, before two boxes that do what a test wants: hang, break off, count."""

import gzip
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conduit_testing.client import errors
from tests.stages.balanced import AT_ONCE, NETWORK, Balanced, all_answer, docker, in_time

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_what_a_box_breaks_off_is_asked_of_the_next_where_twice_does_no_harm(lb: Balanced, method: str) -> None:
    all_answer(lb)
    path = f"/api/{method}-breaks-at-app1"
    with httpx.Client(base_url=lb.url) as http:
        answers = [http.request(method, path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {found["box"] for found in lb.asked(path)} == {"app1", "app2"}


def test_what_a_box_breaks_off_is_never_asked_twice_where_it_may_be_done(lb: Balanced) -> None:
    all_answer(lb)
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
    all_answer(lb)
    docker("kill", lb.container("app1"))
    with httpx.Client(base_url=lb.url) as http:
        answers = [http.request(method, "/api/away") for method in ("GET", "POST") * 5]
    assert [(answer.status_code, answer.json()["box"]) for answer in answers] == [(200, "app2")] * 10
    docker("start", lb.container("app1"))
    all_answer(lb)


def test_with_every_box_away_it_says_so(lb: Balanced) -> None:
    all_answer(lb)
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
    all_answer(lb)


def test_what_is_too_much_for_the_boxes_is_refused_at_once_and_pages_are_not(lb: Balanced) -> None:
    all_answer(lb)
    with httpx.Client(base_url=lb.url) as http, ThreadPoolExecutor(3 * AT_ONCE) as threads:
        let_in = [threads.submit(http.get, "/api/slow") for _ in range(2 * AT_ONCE)]
        in_time(lambda: len(lb.asked("/api/slow")) == 2 * AT_ONCE)
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
    all_answer(lb)
    with httpx.Client(base_url=lb.url) as http, ThreadPoolExecutor(4 * AT_ONCE) as threads:
        let_in = [threads.submit(http.get, "/a-slow-page") for _ in range(4 * AT_ONCE)]
        in_time(lambda: len(lb.asked("/a-slow-page")) == 4 * AT_ONCE)
        refused = http.get("/another-page")
        assert not any(one.done() for one in let_in)
        assert [one.result().status_code for one in let_in] == [200] * 4 * AT_ONCE
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert errors(refused) == {"body": ["too many requests are under way; try again shortly"]}


def test_a_box_that_is_taken_out_gets_nothing_and_nobody_loses_a_connection(lb: Balanced) -> None:
    all_answer(lb)
    with httpx.Client(base_url=lb.url) as http:
        http.get("/api/whoever")
        for out, other in (("app1", "app2"), ("app2", "app1")):
            docker("exec", lb.container("lb"), "touch", f"/run/without-{out}")
            found = {http.get(path).json()["box"] for path in ("/api/whoever", "/a-page") * 5}
            docker("exec", lb.container("lb"), "rm", f"/run/without-{out}")
            assert found == {other}
    all_answer(lb)


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


def test_what_is_no_request_is_told_in_the_apis_shape(lb: Balanced) -> None:
    for path, headers in (("/api/%00", {}), ("/api/x", {"X-Long": "x" * 40_000})):
        answer = httpx.get(f"{lb.url}{path}", headers=headers)
        assert (answer.status_code, errors(answer)) == (400, {"body": ["could not be read as an HTTP request"]})


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
