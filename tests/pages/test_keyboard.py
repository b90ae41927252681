"""Everything by the keyboard alone, and where the focus is can be seen."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from conduit_testing.client import PASSWORD, fresh
from tests.pages.visitors import Member, Visit, Visitor, alert, answers

pytestmark = [pytest.mark.stage, pytest.mark.docker]

MOST_STOPS = 60
# What a person sees of where they are: the element, its name, and whether anything marks it.
_FOCUS = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const label = one.labels?.[0]?.textContent ?? one.getAttribute("aria-label") ?? one.textContent;
  return {
    tag: one.tagName.toLowerCase(),
    name: label.replace(/\\s+/g, " ").trim(),
    marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none",
    visible: one.checkVisibility({ opacityProperty: true, visibilityProperty: true }),
  };
}"""


def focus(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(_FOCUS)
    return found


def tab_to(page: Page, tag: str, name: str) -> None:
    """Press Tab until the focus is there. Fails where a stop on the way can't be seen."""
    passed: list[str] = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        now = focus(page)
        passed.append(f"{now['tag']} {now['name']}")
        if now["tag"] == "body":
            continue
        assert now["visible"], f"focus on what is hidden: {now}"
        assert now["marked"], f"focus that can't be seen: {now}"
        if now["tag"] == tag and re.match(name, now["name"]):
            return
    pytest.fail(f"no {tag} {name!r} within {MOST_STOPS} stops: {passed}")


def test_signing_up_writing_and_commenting_by_keyboard(visitor: Visitor) -> None:
    page = visitor.go("/")
    page.keyboard.press("Tab")
    assert focus(page)["name"] == "Skip to content"
    visitor.shoot("keyboard-skip-link", whole=False)
    tab_to(page, "a", "Sign up")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/register"))
    name = fresh("k")
    for field, text in (("Username", name), ("Email", f"{name}@example.com"), ("Password", PASSWORD)):
        tab_to(page, "input", field)
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Site").get_by_role("link", name=name)).to_be_visible()

    visitor.settle()
    tab_to(page, "a", "New article")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/editor"))
    visitor.settle()
    title = f"Without a mouse {name}"
    tab_to(page, "input", "Title")
    page.keyboard.type(title)
    tab_to(page, "textarea", "Description")
    page.keyboard.type("Keys")
    tab_to(page, "input", "Cover image")
    visitor.shoot("keyboard-editor", whole=False)
    tab_to(page, "textarea", "Body")
    page.keyboard.type("Tab, tab, tab.")
    tab_to(page, "input", "Tags")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove tag keys")).to_be_visible()
    tab_to(page, "button", "Publish article")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()

    visitor.settle()
    tab_to(page, "button", "Favorite")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Unfavorite")).to_be_focused()
    tab_to(page, "textarea", "Comment")
    page.keyboard.type("By hand")
    tab_to(page, "button", "Post comment")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name=f"Comment by {name}")).to_be_visible()
    tab_to(page, "button", "Delete comment")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Delete comment")).to_be_focused()


def test_the_skip_link_skips(visitor: Visitor) -> None:
    page = visitor.go("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_a_refused_form_leads_to_its_first_error(visit: Visit, ann: Member) -> None:
    writer = visit(ann.state)
    writer.expected = {422}
    page = writer.go("/editor")
    tab_to(page, "textarea", "Body")
    page.keyboard.type("A body alone")
    tab_to(page, "button", "Publish article")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title")).to_be_focused()
    expect(page.get_by_label("Title")).to_have_accessible_description(re.compile("Title"))


def test_turning_a_page_leads_to_the_lists_beginning(visit: Visit, ann: Member) -> None:
    for number in range(13):
        ann.person.publish(f"Turn {number}")
    page = visit().go(f"/profile/{ann.person.username}")
    tab_to(page, "button", "Next page")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2, name="Articles")).to_be_focused()


def test_trying_to_load_again_keeps_the_place(visitor: Visitor) -> None:
    """The button goes with its problem; the focus goes on from there, never back to the page's top."""
    visitor.expected = {503}
    page = visitor.page
    page.route(re.compile(r"/api/articles\?"), answers(503, {"body": ["is away"]}))
    visitor.go("/")
    tab_to(page, "button", "Try again")
    with page.expect_response(re.compile(r"/api/articles\?")):
        page.keyboard.press("Enter")
    visitor.settle()
    assert focus(page)["name"] == "Try again", "the one of the problem that came next"
    page.unroute(re.compile(r"/api/articles\?"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2, name="Newest articles")).to_be_focused()
    expect(alert(page)).to_have_count(0)


def test_trying_a_press_again_leads_to_what_was_pressed(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"Pressed twice {fresh()}")
    reader = visit(ben.state)
    reader.expected = {503}
    page = reader.go(f"/article/{slug}")
    page.route("**/favorite", answers(503, {"body": ["is away"]}))
    tab_to(page, "button", "Favorite")
    page.keyboard.press("Space")
    expect(alert(page)).to_be_visible()
    expect(page.get_by_role("button", name="Favorite", exact=True)).to_be_focused()
    page.unroute("**/favorite")
    tab_to(page, "button", "Try again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Unfavorite")).to_be_focused()


def test_sending_a_form_again_leads_to_its_button(visitor: Visitor, ann: Member) -> None:
    visitor.expected = {503}
    page = visitor.go("/login")
    page.route("**/api/users/login", answers(503, {"body": ["is away"]}))
    for field, text in (("Email", ann.person.email), ("Password", PASSWORD)):
        tab_to(page, "input", field)
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(alert(page)).to_be_visible()
    tab_to(page, "button", "Try again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main").get_by_role("button", name="Sign in")).to_be_focused()
    expect(alert(page)).to_be_visible()
    page.unroute("**/api/users/login")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="New article")).to_be_visible()
