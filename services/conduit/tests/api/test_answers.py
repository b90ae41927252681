"""The headers of every response, and the number of queries of each route."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conduit_testing.client import Api, Person, queries
from conduit_testing.deployments import Deployment
from conduit_testing.pictures import upload

TIMING = re.compile(
    r'app;dur=\d+\.\d\d, db;dur=\d+\.\d\d;desc="\d+ queries"'
    r'(, replica;dur=\d+;desc="old at most")?(, cache;dur=\d+\.\d\d)?'
)


def test_every_response_has_server_timing_and_a_request_id(api: Api, jo: Person) -> None:
    answers = [
        api.get("/articles"), api.get("/user"), api.get("/nothing"), jo.get("/user"), api.get("/articles", limit=0),
        api.http.get("/health"), api.http.get("/ready"),
    ]  # fmt: skip
    for answer in answers:
        assert TIMING.fullmatch(answer.headers["server-timing"]), answer.headers["server-timing"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_a_request_id_that_is_sent_comes_back(api: Api) -> None:
    assert api.call("GET", "/tags", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert api.call("GET", "/tags", headers={"X-Request-Id": "x" * 100}).headers["x-request-id"] != "x" * 100


def test_health_names_the_backends_and_ready_asks_the_database(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["status"] == "alive"
    assert set(health["backends"]) >= {"database", "reads", "limits", "events"}
    ready = http.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True


def test_metrics_are_not_served_on_the_apis_port(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 404


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_read_takes_at_most_two_queries_on_each_server_and_three_for_comments(
    deployment: Deployment, api: Api, jo: Person, ann: Person, signed_in: bool
) -> None:
    slug = ann.slug(tagList=["dragons"])
    jo.follow(ann)
    ann.comment(slug)
    reader = jo if signed_in else api
    two, three = 2 * deployment.servers, 3 * deployment.servers
    most = {
        f"/articles/{slug}": two,
        "/articles": two,
        "/articles?tag=dragons": two,
        f"/articles?author={ann.username}": two,
        f"/articles?favorited={ann.username}": two,
        f"/articles?tag=dragons&author={ann.username}&favorited={ann.username}": two,
        f"/profiles/{ann.username}": two,
        "/tags": two,
        f"/articles/{slug}/comments": three,
    }
    if signed_in:
        most |= {"/user": two, "/articles/feed": two}
    for path, limit in most.items():
        answer = reader.call("GET", path)
        assert answer.status_code == 200
        # None with a cache, which holds neither a viewer's marks nor lists with several filters.
        least = 1 if path in ("/user", "/articles/feed") or path.count("=") > 1 else 0
        assert least <= queries(answer) <= limit, path


def test_a_hundred_concurrent_readers_are_all_answered(api: Api, jo: Person) -> None:
    slug = jo.slug()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: jo.get(f"/articles/{slug}").status_code, range(100)))
    assert answers == [200] * 100


def test_the_queries_of_a_task_do_not_grow_with_the_audience(
    deployment: Deployment, api: Api, jo: Person, ann: Person
) -> None:
    for person in (ann, *(api.sign_up() for _ in range(4))):
        person.follow(jo)
    slug = jo.slug()
    ann.favorite(slug)
    ann.comment(slug)
    draft = {"title": "t", "description": "d", "body": "b"}
    # One for the article, one for the followers on every server, and one for the article in the mail.
    assert queries(jo.post("/articles", {"article": draft})) <= 2 + deployment.servers
    # The author; then the row, before and after the files are made, and the response.
    assert queries(jo.upload(slug, upload())) <= 5
    # Also the lock of its files, and whether another article shows them, on every server.
    assert queries(jo.delete(f"/articles/{slug}/cover")) <= 3 + 2 * deployment.servers
    # The row, before and after; followers and two lists of names on every server; favourites and comments.
    assert queries(jo.post("/user/reports")) <= 5 + 3 * deployment.servers
