"""Covers and reports that are not there yet when they are shown: the page asks again, less and less often, and ends."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from conduit_testing.client import Api, fresh
from conduit_testing.pictures import upload
from tests.pages import pictures
from tests.pages.visitors import Join, Member, Visit, Visitor, answers, write
from tests.running import Stage

pytestmark = [pytest.mark.stage, pytest.mark.docker]

PENDING = {"state": "pending", "small": None, "medium": None, "large": None}
AWAY = answers(503, {"body": ["is away"]})
LONGEST_MS = 30_000  # between two questions


class Slow:
    """An API that gives these answers, one a question, before it is as it is."""

    def __init__(self, *first: Callable[[Route], None]) -> None:
        self.asked = 0
        self._first = list(first)

    def __call__(self, route: Route) -> None:
        self.asked += 1
        give = self._first.pop(0) if self._first else Route.continue_
        give(route)


def _article(route: Route) -> None:
    content = route.fetch().json()
    content["article"]["cover"] = PENDING
    route.fulfill(json=content)


def _report(route: Route) -> None:
    content = route.fetch().json()
    route.fulfill(status=201, json={"report": content["report"] | {"state": "pending", "url": None}})


def _pending(route: Route) -> None:
    route.fulfill(json={"report": {"id": 1, "state": "pending"}})


def _later(page: Page, api: Slow) -> None:
    """Let time pass until the page asks again."""
    asked, deadline = api.asked, time.monotonic() + 10
    while api.asked == asked:
        assert time.monotonic() < deadline, "it does not ask again"
        page.clock.fast_forward(LONGEST_MS)
        page.wait_for_timeout(200)


@pytest.fixture
def slug(api: Api) -> str:
    author = api.sign_up()
    slug = author.slug()
    assert author.cover(slug, upload())["state"] == "ready"
    return slug


def test_a_cover_is_shown_when_it_is_there(visitor: Visitor, slug: str) -> None:
    visitor.expected = {503}
    page, slow = visitor.page, Slow(_article, _article, AWAY)
    page.clock.install()
    page.route(f"**/api/articles/{slug}", slow)
    visitor.go(f"/article/{slug}")
    for _ in range(3):
        expect(page.get_by_text("Cover is being prepared")).to_be_visible()
        _later(page, slow)
    expect(page.get_by_text("Cover is being prepared")).to_have_count(0)
    expect(page.locator("[data-article] .cover img")).to_have_js_property("complete", True)
    assert len([request for request in visitor.requests if request.is_navigation_request()]) == 1


def test_a_cover_is_there_for_everybody_once_a_worker_has_made_it(visit: Visit, ann: Member, stage: Stage) -> None:
    """Nothing simulated: the worker stands still until both have seen that the cover is not there yet."""
    writer, reader = visit(ann.state), visit()
    page = writer.go("/editor")
    write(page, title := f"Soon with a picture {fresh()}")
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.picture(motif=3)))
    stage.compose("pause", "worker")
    try:
        page.get_by_role("button", name="Publish article").click()
        expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        expect(page.get_by_text("Cover is being prepared")).to_be_visible()
        writer.shoot("article-cover-pending")
        reader.go(f"/article/{page.url.rpartition('/')[2]}")
        expect(reader.page.get_by_text("Cover is being prepared")).to_be_visible()
    finally:
        stage.compose("unpause", "worker")
    for visitor in (writer, reader):
        cover = visitor.page.locator("[data-article] .cover img")
        expect(cover).to_have_attribute("src", re.compile("^/media/"), timeout=30_000)
        expect(cover).to_have_js_property("complete", True)
        expect(visitor.page.get_by_text("Cover is being prepared")).to_have_count(0)
    assert len([request for request in reader.requests if request.is_navigation_request()]) == 1


def test_a_cover_that_does_not_come_is_asked_for_a_few_times_only(visitor: Visitor, slug: str) -> None:
    page, slow = visitor.page, Slow(*[_article] * 100)
    page.clock.install()
    page.route(f"**/api/articles/{slug}", slow)
    visitor.go(f"/article/{slug}")
    for _ in range(5):
        _later(page, slow)
    for _ in range(5):
        page.wait_for_timeout(200)
        page.clock.fast_forward(10 * LONGEST_MS)
    expect(page.get_by_text("Cover is being prepared")).to_be_visible()
    assert slow.asked == 6


def test_a_report_is_downloaded_when_it_is_there(visit: Visit, join: Join, tmp_path: Path) -> None:
    someone = visit(join().state)
    someone.expected = {503}
    page, slow = someone.page, Slow(AWAY)
    page.clock.install()
    page.route("**/api/user/reports", _report)
    page.route("**/api/user/reports/*", slow)
    someone.go("/settings")
    page.get_by_role("button", name="Download audience report").click()
    expect(page.get_by_text("The report is being made…")).to_be_visible()
    _later(page, slow)
    with page.expect_download() as download:
        _later(page, slow)
    download.value.save_as(tmp_path / "audience.csv")
    assert (tmp_path / "audience.csv").read_text(encoding="utf-8").startswith("username,relation,article,at")


def test_a_report_that_does_not_come_is_not_waited_for_for_ever(visit: Visit, ann: Member) -> None:
    someone = visit(ann.state)
    page, slow = someone.page, Slow(*[_pending] * 100)
    page.clock.install()
    page.route("**/api/user/reports", _report)
    page.route("**/api/user/reports/*", slow)
    someone.go("/settings")
    page.get_by_role("button", name="Download audience report").click()
    for _ in range(6):
        _later(page, slow)
    expect(page.get_by_text("The report takes longer than usual. Ask for it again in a while.")).to_be_visible()
