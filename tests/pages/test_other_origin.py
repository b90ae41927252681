"""A front end on another origin uses the API through stage 4's edge, as a browser lets it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from conduit_testing.client import PASSWORD, fresh
from tests.running import Stage

# What a page reads of an answer, or "refused" where the browser keeps it from the page.
_CALL = """async ({ url, method, body, token }) => {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (token) headers["Authorization"] = `Token ${token}`;
  try {
    const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    return { status: answer.status, body: text && JSON.parse(text), id: answer.headers.get("X-Request-Id") };
  } catch (error) {
    return { refused: String(error) };
  }
}"""


@pytest.fixture
def front_end(browser: Browser, stage: Stage) -> Iterator[Page]:
    """A page of another host and port: that of the mails. What it may load by its own rules is not asked here."""
    with browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.goto(f"http://{stage.host('mail')}:8025/")
        yield page


def test_a_page_of_another_origin_does_all_that_the_api_offers(front_end: Page, origin: str) -> None:
    def call(method: str, path: str, body: object = None, token: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = front_end.evaluate(
            _CALL, {"url": f"{origin}/api{path}", "method": method, "body": body, "token": token}
        )
        assert "refused" not in found, f"{method} {path}: {found['refused']}"
        assert found["id"], "the page cannot say which request it was"
        return found

    name = fresh()
    new = {"user": {"username": name, "email": f"{name}@example.com", "password": PASSWORD}}
    signed_up = call("POST", "/users", new)
    assert signed_up["status"] == 201
    token = signed_up["body"]["user"]["token"]
    draft: dict[str, dict[str, Any]] = {"article": {"title": name, "description": "d", "body": "b", "tagList": []}}
    slug = call("POST", "/articles", draft, token)["body"]["article"]["slug"]
    assert call("PUT", f"/articles/{slug}", {"article": {"body": "c"}}, token)["status"] == 200
    for _ in range(3):  # the second time the edge has it
        assert call("GET", f"/articles/{slug}")["body"]["article"]["body"] == "c"
    assert call("POST", f"/articles/{slug}/favorite", None, token)["body"]["article"]["favorited"] is True
    assert call("DELETE", f"/articles/{slug}", None, token)["status"] == 204
    # Errors can be read, whoever answers: the app, or the edge by itself.
    assert call("GET", f"/articles/{slug}")["body"] == {"errors": {"article": ["not found"]}}
    assert call("POST", "/users", new)["status"] == 409
    assert call("GET", "/user")["status"] == 401
    assert call("POST", "/articles", {"article": {**draft["article"], "body": "x" * 5_500_000}}, token)["status"] == 413
