"""What every answer carries, and how many queries it may take."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conduit_testing.client import Api, Person, queries
from conduit_testing.deployments import Deployment
from conduit_testing.pictures import upload

TIMING = re.compile(r'app;dur=\d+\.\d\d, db;dur=\d+\.\d\d;desc="\d+ queries"(, cache;dur=\d+\.\d\d)?')


def test_every_answer_says_where_its_time_went_and_carries_an_id(api: Api, jo: Person) -> None:
    answers = [
        api.get("/articles"), api.get("/user"), api.get("/nothing"), jo.get("/user"), api.get("/articles", limit=0),
        api.http.get("/health"), api.http.get("/ready"),
    ]  # fmt: skip
    for answer in answers:
        assert TIMING.fullmatch(answer.headers["server-timing"]), answer.headers["server-timing"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_an_id_that_is_sent_comes_back(api: Api) -> None:
    assert api.call("GET", "/tags", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert api.call("GET", "/tags", headers={"X-Request-Id": "x" * 100}).headers["x-request-id"] != "x" * 100


def test_health_names_the_backends_and_ready_that_the_database_answers(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["status"] == "alive"
    assert set(health["backends"]) >= {"database", "reads", "limits", "events"}
    ready = http.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True


def test_metrics_are_not_served_where_the_api_is(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 404


@pytest.mark.parametrize("signed_in", [False, True])
def test_reading_takes_at_most_two_queries_a_server_and_three_for_comments(
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
        # None at all where a cache has it; but no cache has what is one's own, or filtered thrice.
        least = 1 if path in ("/user", "/articles/feed") or path.count("=") > 1 else 0
        assert least <= queries(answer) <= limit, path


def test_a_hundred_readers_at_once_are_all_answered(api: Api, jo: Person) -> None:
    slug = jo.slug()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: jo.get(f"/articles/{slug}").status_code, range(100)))
    assert answers == [200] * 100


def test_slow_work_takes_as_many_queries_whatever_the_audience(
    deployment: Deployment, api: Api, jo: Person, ann: Person
) -> None:
    for person in (ann, *(api.sign_up() for _ in range(4))):
        person.follow(jo)
    slug = jo.slug()
    ann.favorite(slug)
    ann.comment(slug)
    draft = {"title": "t", "description": "d", "body": "b"}
    # The article, the followers of every server, and the article to write about.
    assert queries(jo.post("/articles", {"article": draft})) <= 2 + deployment.servers
    # Whose it is; then the row, before and after the files are made, and the answer.
    assert queries(jo.upload(slug, upload())) <= 5
    assert queries(jo.delete(f"/articles/{slug}/cover")) <= 3
    # The row, before and after; from every server followers and the names of both kinds of others; those two kinds.
    assert queries(jo.post("/user/reports")) <= 5 + 3 * deployment.servers
