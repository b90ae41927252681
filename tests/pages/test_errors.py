"""What the API refuses is said where it belongs, and nothing that was typed is lost."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from playwright.sync_api import Locator, expect

from conduit_testing.client import PASSWORD, fresh
from conduit_testing.pictures import png
from tests.pages import pictures
from tests.pages.visitors import Join, Member, Visit, Visitor, alert, answers, sign_in, write
from tests.running import ROOT

pytestmark = [pytest.mark.stage, pytest.mark.docker]

_DRAFTS = "() => Object.keys(sessionStorage).filter((key) => key.startsWith('conduit.draft:'))"
_DRAFTED = "(text) => Object.values(sessionStorage).some((draft) => draft.includes(text))"


def error_of(field: Locator) -> Locator:
    """The message beside a field, which the field itself names as its description."""
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby") or ""
    named = field.page.locator(", ".join(f"#{one}" for one in described.split()))
    messages = field.page.get_by_role("alert").and_(named)
    expect(messages).to_be_visible()
    return messages


def test_a_wrong_password(visitor: Visitor, ann: Member) -> None:
    visitor.expected = {401}
    page = visitor.go("/login")
    page.get_by_label("Email").fill(ann.person.email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(alert(page)).to_contain_text("password")
    expect(page.get_by_label("Email")).to_have_value(ann.person.email)
    visitor.shoot("error-wrong-password")
    sign_in(page, ann.person.email)


def test_a_taken_name_and_address(visitor: Visitor, ann: Member) -> None:
    visitor.expected = {409}
    page = visitor.go("/register")
    page.get_by_label("Username").fill(ann.person.username)
    page.get_by_label("Email").fill(ann.person.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(error_of(page.get_by_label("Username"))).to_contain_text("taken")
    expect(page.get_by_label("Username")).to_be_focused()
    visitor.shoot("error-taken")
    name = fresh("n")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Email").fill(f"{name}@example.com")
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("navigation", name="Site").get_by_role("link", name=name)).to_be_visible()


@pytest.mark.parametrize(
    ("path", "button", "fields"),
    [("/register", "Sign up", ["Username", "Email", "Password"]), ("/editor", "Publish article", ["Title", "Body"])],
)
def test_empty_fields(visit: Visit, ann: Member, path: str, button: str, fields: list[str]) -> None:
    visitor = visit(ann.state if path == "/editor" else None)
    visitor.expected = {422}
    page = visitor.go(path)
    page.get_by_role("button", name=button).click()
    for name in fields:
        expect(error_of(page.get_by_label(re.compile(f"^{name}")))).to_contain_text(name)
    expect(page.get_by_label(re.compile(f"^{fields[0]}"))).to_be_focused()
    visitor.shoot(f"error-empty-{path[1:]}")


REFUSED = {
    "not an image": (pictures.not_an_image, "not a PNG, JPEG or WebP"),
    "truncated": (pictures.truncated, "truncated"),
    "damaged": (pictures.damaged, "damaged"),
    "animated": (pictures.animated, "animated"),
    "too many pixels": (pictures.too_many_pixels, "24 megapixels"),
    "too large": (pictures.too_large, "5 MB"),
}


def test_covers_that_are_refused_say_why_and_what_was_typed_stays(visit: Visit, ann: Member) -> None:
    """One article, published at the first try; then each bad file in turn, and at last a good one."""
    writer = visit(ann.state)
    writer.expected = {422, 413}
    page = writer.go("/editor")
    title = f"Stubborn {fresh()}"
    write(page, title)
    cover = page.get_by_label("Cover image")
    send = page.get_by_role("button", name=re.compile("^(Publish|Save) article$"))
    for name, (make, says) in REFUSED.items():
        cover.set_input_files(pictures.file(make()))
        send.click()
        expect(error_of(cover)).to_contain_text(says)
        expect(page.get_by_label("Title")).to_have_value(title)
        if name == "truncated":
            writer.shoot("error-cover")
    cover.set_input_files(pictures.file(pictures.picture()))
    send.click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    found, _ = ann.person.articles(author=ann.person.username)
    stubborn = [slug for slug in found if slug.startswith(title.lower().replace(" ", "-"))]
    assert len(stubborn) == 1, "published once, however often its cover was refused"
    assert ann.person.settled_cover(stubborn[0], ann.person.article(stubborn[0])["cover"])["state"] == "ready"


def test_a_picture_that_only_a_worker_sees_is_damaged_is_said_in_its_place(visit: Visit, ann: Member) -> None:
    writer = visit(ann.state)
    page = writer.go("/editor")
    write(page, title := f"Unlucky {fresh()}")
    page.get_by_label("Cover image").set_input_files(pictures.file(png(40, 40, b"\0" * 1_000)))  # of 4,840
    page.get_by_role("button", name="Publish article").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    expect(page.get_by_text("This cover could not be made")).to_be_visible(timeout=30_000)
    writer.shoot("article-cover-failed")


@pytest.mark.parametrize(
    ("status", "errors", "says"),
    [
        (413, {"cover": ["is larger than 5 MB"]}, "larger than 5 MB"),
        (408, {"body": ["did not arrive within 30 s"]}, "too long to arrive; try a smaller one"),
    ],
)
def test_a_cover_that_the_server_does_not_take_to_its_end(
    visit: Visit, ann: Member, status: int, errors: dict[str, list[str]], says: str
) -> None:
    writer = visit(ann.state)
    writer.expected = {status}
    page = writer.go("/editor")
    write(page, f"Heavy {fresh()}")
    page.route("**/cover", answers(status, errors))
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.picture()))
    page.get_by_role("button", name="Publish article").click()
    expect(error_of(page.get_by_label("Cover image"))).to_contain_text(says)
    expect(page.get_by_role("main").get_by_role("link", name="See it")).to_be_visible()


def test_a_text_that_takes_too_long_to_arrive_has_surely_not_been_published(visit: Visit, ann: Member) -> None:
    """It is said at the button and not of the article's body, which the API's word for a request's body could mean."""
    writer = visit(ann.state)
    writer.expected = {408}
    page = writer.go("/editor")
    write(page, title := f"Patient {fresh()}")
    page.route("**/api/articles", answers(408, {"body": ["did not arrive within 30 s"]}))
    page.get_by_role("button", name="Publish article").click()
    expect(alert(page)).to_contain_text("took too long to arrive")
    expect(alert(page)).not_to_contain_text("all the same")
    expect(page.get_by_label(re.compile("^Body"))).not_to_have_attribute("aria-invalid", "true")
    page.unroute("**/api/articles")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()


def test_what_is_published_is_no_draft_of_the_next_article(visit: Visit, join: Join) -> None:
    """What is done to an article after its publishing is kept under its own address, and goes with it to a new one."""
    member = join()
    writer = visit(member.state)
    writer.expected = {422}
    page = writer.go("/editor")
    title = f"Once only {fresh()}"
    write(page, title)
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.damaged()))
    page.get_by_role("button", name="Publish article").click()
    expect(error_of(page.get_by_label("Cover image"))).to_contain_text("damaged")
    (slug,) = member.person.articles(author=member.person.username)[0]
    expect(page).to_have_url(f"{writer.origin}/editor/{slug}")
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.picture()))
    page.get_by_label(re.compile("^Body")).fill("On second thoughts.")
    page.wait_for_function(_DRAFTED, arg="On second thoughts.")
    assert page.evaluate(_DRAFTS) == [f"conduit.draft:/editor/{slug}"]

    writer.go("/editor")
    expect(page.get_by_label("Title")).to_have_value("")
    expect(page.get_by_text("What you typed before is back.")).to_be_hidden()
    writer.go(f"/editor/{slug}")
    expect(page.get_by_text("What you typed before is back.")).to_be_visible()
    expect(page.get_by_label(re.compile("^Body"))).to_have_value("On second thoughts.")

    page.get_by_label("Title").fill(f"Renamed {title}")
    page.wait_for_function(_DRAFTED, arg=f"Renamed {title}")
    page.get_by_role("button", name="Save article").click()
    expect(page.get_by_role("heading", level=1, name=f"Renamed {title}")).to_be_visible()
    assert page.evaluate(_DRAFTS) == []
    assert len(member.person.articles(author=member.person.username)[0]) == 1


def expired(token: str) -> str:
    """The same session, a day too old."""
    secret = (ROOT / "secrets" / "app.env").read_text().strip().removeprefix("JWT_SECRET=")
    claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"])
    past = datetime.now(UTC) - timedelta(days=1)
    return jwt.encode(claims | {"iat": past, "exp": past + timedelta(hours=1)}, secret, "HS256")


def test_a_session_that_ends_while_writing_loses_nothing(visit: Visit, ben: Member) -> None:
    writer = visit(ben.state)
    writer.expected = {401}
    page = writer.go("/editor")
    title = f"Written for long {fresh()}"
    write(page, title, "Much of it.", tags="patience")
    page.evaluate("(token) => localStorage.setItem('conduit.token', token)", expired(ben.person.token or ""))
    page.get_by_role("button", name="Publish article").click()
    expect(page).to_have_url(re.compile("/login"))
    expect(page.get_by_role("status")).to_contain_text("session has ended")
    sign_in(page, ben.person.email)
    expect(page).to_have_url(f"{writer.origin}/editor")
    expect(page.get_by_label("Title")).to_have_value(title)
    expect(page.get_by_label(re.compile("^Body"))).to_have_value("Much of it.")
    expect(page.get_by_role("main").get_by_text("patience")).to_be_visible()
    page.get_by_role("button", name="Publish article").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    assert ben.person.articles(author=ben.person.username)[0][0].startswith("written-for-long")


def test_a_session_that_ended_does_not_keep_anybody_from_reading(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"For everybody {fresh()}")
    reader = visit(ben.state)
    reader.expected = {401}
    page = reader.go("/login")
    page.evaluate("(token) => localStorage.setItem('conduit.token', token)", expired(ben.person.token or ""))
    reader.go(f"/article/{slug}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("For everybody")
    expect(page.get_by_role("navigation", name="Site").get_by_role("link", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("path", ["/article/never-written-1", "/article/%ff", "/profile/nobody-at-all", "/nowhere"])
def test_what_is_not_there(visitor: Visitor, path: str) -> None:
    visitor.expected = {404}
    page = visitor.go(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name="To all articles")).to_be_visible()
    expect(page.get_by_label("Comment", exact=True)).to_have_count(0)
    if "never" in path:
        visitor.shoot("error-no-such-article")
