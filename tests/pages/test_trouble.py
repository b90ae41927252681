"""Pages stay usable when the API is busy, slow or away, and nothing that was written is lost."""

import re
import time

import pytest
from playwright.sync_api import Route, expect

from conduit_testing.client import PASSWORD, Api, fresh
from tests.pages.visitors import Member, Visit, Visitor, alert, answers, wait_until, write
from tests.running import Stage

pytestmark = [pytest.mark.stage, pytest.mark.docker]

HEALS_WITHIN_SECONDS = 45


def test_too_many_requests(visitor: Visitor, ann: Member) -> None:
    visitor.expected = {429}
    page = visitor.go("/login")
    page.route("**/api/users/login", answers(429, {"body": ["too many requests"]}, **{"Retry-After": "3"}))
    page.get_by_label("Email").fill(ann.person.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(alert(page)).to_contain_text("too often")
    expect(alert(page)).to_contain_text(re.compile(r"again in \d s"))
    visitor.shoot("error-too-many")
    page.unroute("**/api/users/login")
    expect(alert(page)).to_contain_text("again now")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="New article")).to_be_visible()


@pytest.mark.parametrize("status", [500, 503])
def test_an_api_that_fails_leaves_the_rest_of_the_page(
    visitor: Visitor, ann: Member, api: Api, status: int
) -> None:
    ann.person.publish(f"Behind the failure {fresh()}", tagList=["failure"])
    wait_until(lambda: "failure" in api.get("/tags").json()["tags"], "a popular tag")
    visitor.expected = {status}
    page = visitor.page
    page.route(re.compile(r"/api/articles\?"), answers(status, {"body": ["is away"]}))
    visitor.go("/")
    expect(alert(page)).to_have_count(1)
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    tags = page.get_by_role("complementary")
    expect(tags.get_by_role("link").first).to_be_visible()
    if (others := tags.get_by_role("button", name="Show all")).count():  # on a site that has many
        others.click()
    expect(tags.get_by_role("link", name="failure", exact=True)).to_be_visible()
    visitor.shoot(f"error-{status}", whole=False)
    page.unroute(re.compile(r"/api/articles\?"))
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=3).first).to_be_visible()
    expect(alert(page)).to_have_count(0)


def test_a_slow_api_leaves_the_page_usable_meanwhile(visitor: Visitor, ann: Member) -> None:
    ann.person.publish(f"Late {fresh()}")
    waiting: list[Route] = []

    def keep_waiting(route: Route) -> None:
        waiting.append(route)

    page = visitor.page
    page.route(re.compile("/api/"), keep_waiting)
    page.goto(f"{visitor.origin}/")
    expect(page.locator("[data-cards][aria-busy=true]")).to_be_visible()
    expect(page.get_by_role("link", name="Sign up")).to_be_visible()
    visitor.shoot("slow-home", whole=False)
    expect(page.get_by_role("status")).to_contain_text("longer than usual")
    for route in waiting:
        route.continue_()
    visitor.settle()
    expect(page.get_by_role("heading", level=3).first).to_be_visible()
    page.unroute_all()


def test_a_comment_that_could_not_be_sent_stays(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"Talk {fresh()}")
    reader = visit(ben.state)
    reader.expected = {503, "lost"}
    page = reader.go(f"/article/{slug}")
    field = page.get_by_label("Comment", exact=True)
    field.fill("Well said")
    page.route("**/comments", answers(503, {"body": ["is away"]}))
    page.get_by_role("button", name="Post comment").click()
    expect(alert(page)).to_contain_text("not posted")
    expect(field).to_have_value("Well said")
    page.unroute("**/comments")
    reader.context.set_offline(True)
    page.get_by_role("button", name="Post comment").click()
    expect(alert(page)).to_contain_text("offline")
    reader.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name=f"Comment by {ben.person.username}")).to_have_text(re.compile("Well said"))


def test_a_press_that_failed_says_so_beside_it(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"Press {fresh()}")
    reader = visit(ben.state)
    reader.expected = {503}
    page = reader.go(f"/article/{slug}")
    page.route("**/favorite", answers(503, {"body": ["is away"]}))
    page.get_by_role("button", name="Favorite", exact=True).click()
    expect(alert(page)).to_be_visible()
    expect(page.get_by_role("button", name="Favorite", exact=True)).to_be_visible()
    page.unroute("**/favorite")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Unfavorite")).to_be_visible()


def test_a_database_that_stops_for_real(visit: Visit, ann: Member, stage: Stage) -> None:
    visitor = visit(ann.state)
    visitor.expected = {503}
    stage.compose("stop", "--timeout", "5", "db")
    try:
        page = visitor.go("/feed")  # which nothing caches
        expect(alert(page).first).to_be_visible()
        expect(page.get_by_role("navigation", name="Site").get_by_role("link", name="Settings")).to_be_visible()
        visitor.shoot("error-database-away", whole=False)
        visitor.go("/editor")
        write(page, title := f"Kept through {fresh()}")
        page.get_by_role("button", name="Publish article").click()
        expect(alert(page)).to_contain_text("not published")
        expect(page.get_by_label("Title")).to_have_value(title)
    finally:
        stage.compose("start", "db")
        until = time.monotonic() + HEALS_WITHIN_SECONDS
        in_a_row = 0  # for there are two apps, asked in turn, and each finds the database by itself
        while in_a_row < 10:
            in_a_row = in_a_row + 1 if stage.get("/ready").status_code == 200 else 0
            assert time.monotonic() < until, f"not answering again within {HEALS_WITHIN_SECONDS} s"
            time.sleep(0.1)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
