"""Rate limits as a client sees them: 429 with Retry-After."""

from collections.abc import Iterator

import httpx
import pytest

from conduit_testing.client import PASSWORD, Api, errors, fresh
from conduit_testing.deployments import NewDatabase, deployed_on_one_server
from conduit_testing.pictures import upload


@pytest.fixture
def api(new_database: NewDatabase) -> Iterator[Api]:
    with (
        deployed_on_one_server(new_database, login_limit="4/minute", write_limit="3/minute") as deployment,
        httpx.Client(base_url=deployment.base_url) as http,
    ):
        yield Api(http)


def _is_refused(response: httpx.Response) -> None:
    assert response.status_code == 429
    seconds = int(response.headers["retry-after"])
    assert 1 <= seconds <= 120
    assert f"try again in {seconds} s" in errors(response)["body"][0]


def test_signing_in_and_up_is_limited_by_address(api: Api) -> None:
    jo = api.sign_up()
    for _ in range(3):
        assert api.log_in(f"{fresh()}@example.com").status_code == 401
    _is_refused(api.log_in(jo.email))
    new = {"username": fresh(), "email": f"{fresh()}@example.com", "password": PASSWORD}
    _is_refused(api.post("/users", {"user": new}))
    assert jo.get("/user").status_code == 200


def test_writes_are_limited_by_account_and_reads_are_not(api: Api) -> None:
    jo, ann = api.sign_up(), api.sign_up()
    slug = jo.slug()
    assert jo.post(f"/articles/{slug}/favorite").status_code == 200
    assert jo.put(f"/articles/{slug}", {"article": {}}).status_code == 422
    for method, path, body in (
        ("POST", "/articles", {"article": {}}),
        ("PUT", "/user", {"user": {"bio": "x"}}),
        ("DELETE", f"/articles/{slug}", None),
        ("POST", f"/articles/{slug}/comments", {"comment": {"body": "x"}}),
        ("POST", f"/profiles/{ann.username}/follow", None),
        ("PUT", f"/articles/{slug}/cover", None),
        ("DELETE", f"/articles/{slug}/cover", None),
        ("POST", "/user/reports", None),
    ):
        _is_refused(jo.call(method, path, json=body))
    for _ in range(10):
        assert jo.get("/articles").status_code == 200
    assert ann.comment(slug)["body"] == "Thank you!"


def test_uploads_count_as_writes_even_if_they_fail(api: Api) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    assert jo.upload(slug, b"no image").status_code == 422
    assert jo.upload(slug, upload()).status_code == 200
    _is_refused(jo.upload(slug, upload()))
    assert api.http.get(api.article(slug)["cover"]["small"]).status_code == 200
