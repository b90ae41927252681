"""Users and articles that are gone when a request gets to them: 401 and 404, as if they had never been there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from conduit import ids
from conduit.tokens import Tokens
from conduit_testing.client import Api, Caller, Person, id_of
from conduit_testing.deployments import SECRET, Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.pictures import upload
from conduit_testing.waiting import until

NOBODYS_TOKEN = {"errors": {"token": ["belongs to a user that no longer exists"]}}
NO_ARTICLE = {"errors": {"article": ["not found"]}}
DRAFT = {"title": "t", "description": "d", "body": "b", "tagList": []}


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase) -> Iterator[Deployment]:
    with deployed_on_one_server(new_database) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def api(deployment: Deployment) -> Iterator[Api]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http)


@pytest.fixture
def jo(api: Api) -> Person:
    return api.sign_up()


@pytest.fixture
def ghost(api: Api) -> Caller:
    """A caller whose token is good and whose user is gone."""
    return Caller(api.http, Tokens(SECRET, 1).issue(ids.compose(1, 7, 3)))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/user", None),
        ("PUT", "/user", {"user": {"bio": "mine"}}),
        ("PUT", "/user", {"user": {"username": "a-name-for-nobody"}}),
        ("POST", "/articles", {"article": DRAFT}),
        ("POST", "/articles/{slug}/comments", {"comment": {"body": "x"}}),
        ("DELETE", "/articles/{slug}/comments/1", None),
        ("POST", "/articles/{slug}/favorite", None),
        ("DELETE", "/articles/{slug}/favorite", None),
        ("POST", "/profiles/{name}/follow", None),
        ("DELETE", "/profiles/{name}/follow", None),
        ("POST", "/user/reports", None),
    ],
)
def test_a_token_that_outlived_its_user_is_401(
    *, api: Api, jo: Person, ghost: Caller, method: str, path: str, body: object
) -> None:
    before = api.articles()
    response = ghost.call(method, path.format(slug=jo.slug(), name=jo.username), json=body)
    assert (response.status_code, response.json()) == (401, NOBODYS_TOKEN)
    assert api.articles()[1] == before[1] + 1


def test_a_name_that_a_gone_user_asked_for_is_free(api: Api, ghost: Caller) -> None:
    name = "free-for-the-next"
    assert ghost.put("/user", {"user": {"username": name}}).status_code == 401
    assert api.sign_up(username=name).username == name


def _while_it_is_deleted(deployment: Deployment, caller: Person, slug: str, path: str, body: object) -> httpx.Response:
    """The answer to a POST that finds an article whose deletion is committed while the POST waits for it."""
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(deployment.databases[0]) as deleting,
        psycopg.connect(deployment.databases[0], autocommit=True) as watching,
    ):
        deleting.execute("DELETE FROM articles WHERE id = %s", (id_of(slug),))
        answer = thread.submit(caller.post, path, body)
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until(lambda: watching.execute(waiting).fetchall(), "the request does not wait for the deletion", pause=0.01)
        deleting.commit()
        return answer.result(timeout=10)


@pytest.mark.parametrize(("path", "body"), [("favorite", None), ("comments", {"comment": {"body": "x"}})])
def test_what_waits_for_an_article_that_is_being_deleted_is_404(
    deployment: Deployment, jo: Person, path: str, body: object
) -> None:
    slug = jo.slug()
    response = _while_it_is_deleted(deployment, jo, slug, f"/articles/{slug}/{path}", body)
    assert (response.status_code, response.json()) == (404, NO_ARTICLE)


def test_an_article_that_is_gone_when_its_cover_arrives_is_404(jo: Person) -> None:
    slug = jo.slug()
    assert jo.delete(f"/articles/{slug}").status_code == 204
    for response in (jo.upload(slug, upload()), jo.delete(f"/articles/{slug}/cover")):
        assert (response.status_code, response.json()) == (404, NO_ARTICLE)
