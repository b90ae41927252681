"""What people do on the pages, from signing up to signing out."""

import csv
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from conduit_testing.client import PASSWORD, Api, fresh
from tests.pages import pictures
from tests.pages.visitors import SHOTS, Join, Member, Visit, Visitor, sign_in, wait_until, write
from tests.running import Stage

pytestmark = [pytest.mark.stage, pytest.mark.docker]


def is_loaded(page: Page, picture: str) -> Any:
    """The width in pixels of a picture that has arrived."""
    return page.wait_for_function(
        "(selector) => { const one = document.querySelector(selector); return one?.complete && one.naturalWidth; }",
        arg=picture,
    ).json_value()


def test_signing_up_and_out(visitor: Visitor) -> None:
    name = fresh("s")
    page = visitor.go("/")
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Email").fill(f"{name}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    site = page.get_by_role("navigation", name="Site")
    expect(site.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(name)
    assert page.evaluate("localStorage.getItem('conduit.token')")

    site.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    expect(site.get_by_role("link", name="Sign in")).to_be_visible()
    expect(site.get_by_role("link", name=name)).to_have_count(0)
    assert page.evaluate("localStorage.getItem('conduit.token')") is None


def test_signing_in_leads_back(visitor: Visitor, ann: Member) -> None:
    page = visitor.go("/settings")
    expect(page).to_have_url(re.compile("/login"))
    sign_in(page, ann.person.email)
    expect(page).to_have_url(f"{visitor.origin}/settings")
    visitor.settle()
    expect(page.get_by_label("Username")).to_have_value(ann.person.username)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/settings",
        "//evil.example/x",
        "/\\evil.example",
        # Of this origin as they are parsed, and of another when their path is read once more.
        "/.//evil.example/x",
        "/..//evil.example/x",
        "javascript:alert(1)",
    ],
)
def test_signing_in_does_not_lead_elsewhere(visitor: Visitor, ann: Member, elsewhere: str) -> None:
    page = visitor.go(f"/login?next={quote(elsewhere, safe='')}")
    sign_in(page, ann.person.email)
    expect(page).to_have_url(f"{visitor.origin}/")


def test_publishing_with_a_cover_and_tags(visit: Visit, ann: Member) -> None:
    writer = visit(ann.state)
    page = writer.go("/editor")
    title = f"Cover story {fresh()}"
    write(page, title, "## Why\n\nBecause *it* is **so**, see [home](/).\n\n- one\n- two", "dragons, training")
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.picture()))
    expect(page.get_by_alt_text("Preview of cover.jpg")).to_be_visible()
    writer.shoot("editor-before-publishing")
    page.get_by_role("button", name="Publish article").click()

    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    writer.settle()
    assert is_loaded(page, "main img[src^='/media/']") > 300
    source = page.locator("main img[src^='/media/']").get_attribute("src")
    assert re.fullmatch(r"/media/[0-9a-f]{32}-(small|medium|large)\.webp", source or "")
    expect(page.get_by_role("heading", level=2, name="Why")).to_be_visible()
    expect(page.locator(".prose em")).to_have_text("it")
    for tag in ("dragons", "training"):
        expect(page.locator("main").get_by_role("link", name=tag)).to_be_visible()
    writer.shoot("article-with-cover")

    writer.go("/")
    card = page.get_by_role("article").filter(has_text=title)
    expect(card.get_by_role("img", include_hidden=True).or_(card.locator("img")).first).to_be_visible()
    writer.shoot("home-with-cover", whole=False)


def test_followers_get_a_mail_once(visit: Visit, join: Join, api: Api, stage: Stage, browser: Browser) -> None:
    writer, reader = join(), api.sign_up()
    reader.follow(writer.person)
    page = visit(writer.state).go("/editor")
    title = f"News for {reader.username}"
    write(page, title)
    page.get_by_role("button", name="Publish article").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()


    def kept_for_the_reader() -> list[dict[str, Any]]:
        answer = httpx.get(f"{stage.mail_url}/api/messages", params={"to": reader.email})
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    wait_until(lambda: bool(kept_for_the_reader()), "a mail")
    kept = kept_for_the_reader()
    assert len(kept) == 1
    assert title in kept[0]["subject"] + kept[0]["text"]
    assert kept[0]["messageId"]
    mails = browser.new_page()
    mails.goto(f"http://{stage.host('mail')}:8025/")
    expect(mails.get_by_text(title).first).to_be_visible()
    mails.screenshot(path=SHOTS / "mails.png", full_page=True)
    mails.close()


def test_commenting_and_thinking_better_of_it(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"To be talked about {fresh()}")
    reader = visit(ben.state)
    page = reader.go(f"/article/{slug}")
    page.get_by_label("Comment", exact=True).fill("First!\n<b>Second</b>")
    page.get_by_role("button", name="Post comment").click()
    comment = page.get_by_role("article", name=f"Comment by {ben.person.username}")
    expect(comment).to_contain_text("<b>Second</b>")
    expect(page.get_by_label("Comment", exact=True)).to_have_value("")

    others = visit(ann.state).go(f"/article/{slug}")
    theirs = others.get_by_role("article", name=f"Comment by {ben.person.username}")
    expect(theirs).to_be_visible()
    expect(theirs.get_by_role("button", name="Delete comment")).to_have_count(0)

    comment.get_by_role("button", name="Delete comment").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(comment).to_be_visible()
    comment.get_by_role("button", name="Delete comment").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(comment).to_have_count(0)
    assert ann.person.get(f"/articles/{slug}/comments").json()["comments"] == []


def test_favouriting_and_following(visit: Visit, join: Join, ann: Member) -> None:
    slug = ann.person.slug(f"To be liked {fresh()}")
    reader = visit(join().state)
    page = reader.go("/feed")
    expect(page.get_by_role("link", name="Find somebody to follow")).to_be_visible()
    reader.go(f"/article/{slug}")
    like = page.get_by_role("button", name="Favorite", exact=True)
    follow = page.get_by_role("button", name=f"Follow {ann.person.username}", exact=True)
    unfollow = page.get_by_role("button", name=f"Unfollow {ann.person.username}")
    like.click()
    unlike = page.get_by_role("button", name="Unfavorite")
    expect(unlike).to_be_visible()
    expect(page.get_by_text("1 favorite", exact=True)).to_be_visible()
    follow.click()
    expect(unfollow).to_be_visible()
    for button in (unlike, unfollow):
        # Their names say what they do next; a state besides would say that this is so already.
        assert button.get_attribute("aria-pressed") is None

    reader.go("/feed")
    expect(page.get_by_role("article").filter(has_text="To be liked").first).to_be_visible()
    reader.go(f"/article/{slug}")
    unlike.click()
    unfollow.click()
    expect(follow).to_be_visible()
    expect(like).to_be_visible()
    article = ann.person.article(slug)
    assert article["favoritesCount"] == 0


def test_paging_through(visit: Visit, join: Join) -> None:
    writer = join()
    for number in range(14):
        writer.person.publish(f"Number {number:02}")
    reader = visit()
    page = reader.go(f"/profile/{writer.person.username}")
    titles = page.get_by_role("heading", level=3)
    expect(titles.first).to_have_text("Number 13")
    first = titles.all_inner_texts()
    expect(page.get_by_role("button", name="Previous page")).to_be_disabled()
    page.get_by_role("button", name="Next page").click()
    expect(titles.last).to_have_text("Number 00")
    second = titles.all_inner_texts()
    assert [*first, *second] == [f"Number {number:02}" for number in reversed(range(14))]
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.go_back()
    expect(titles.first).to_have_text("Number 13")
    page.go_forward()
    expect(titles.last).to_have_text("Number 00")
    page.reload()
    expect(titles.last).to_have_text("Number 00")
    page.get_by_role("button", name="Previous page").click()
    expect(titles.first).to_have_text("Number 13")


def test_articles_of_a_tag(visit: Visit, ann: Member) -> None:
    tag = fresh("t")
    ann.person.publish("Tagged", tagList=[tag])
    reader = visit()
    page = reader.go(f"/?tag={tag}")
    expect(page.get_by_role("heading", level=3)).to_have_text("Tagged")
    page.get_by_role("main").get_by_role("link", name="Global feed").click()
    expect(page.get_by_role("heading", level=2, name="Newest articles")).to_be_visible()


def test_editing_and_deleting(visit: Visit, join: Join, api: Api) -> None:
    member = join()
    slug = member.person.slug("As it was", tagList=["before"])
    writer = visit(member.state)
    page = writer.go(f"/article/{slug}")
    page.get_by_role("button", name="Edit article").click()
    writer.settle()
    expect(page.get_by_label("Title")).to_have_value("As it was")
    page.get_by_label("Title").fill("As it is")
    page.get_by_role("button", name="Remove tag before").click()
    page.get_by_label("Tags", exact=True).fill("after")
    page.get_by_label("Cover image").set_input_files(pictures.file(pictures.picture(600, 400, "PNG"), "c.png"))
    page.get_by_role("button", name="Save article").click()
    expect(page.get_by_role("heading", level=1, name="As it is")).to_be_visible()
    writer.settle()
    assert is_loaded(page, "main img[src^='/media/']")
    now = api.article(slug)
    assert (now["title"], now["tagList"]) == ("As it is", ["after"])
    assert member.person.settled_cover(slug, now["cover"])["state"] == "ready"

    page.get_by_role("button", name="Edit article").click()
    writer.settle()
    page.get_by_role("button", name="Remove cover").click()
    page.get_by_role("button", name="Save article").click()
    expect(page.get_by_role("heading", level=1, name="As it is")).to_be_visible()
    assert api.article(slug)["cover"] is None

    writer.settle()
    page.get_by_role("button", name="Delete article").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert api.get(f"/articles/{slug}").status_code == 200
    page.get_by_role("button", name="Delete article").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page).to_have_url(f"{writer.origin}/profile/{member.person.username}")
    assert api.get(f"/articles/{slug}").status_code == 404


def test_only_the_author_edits(visit: Visit, ann: Member, ben: Member) -> None:
    slug = ann.person.slug(f"Hers {fresh()}")
    reader = visit(ben.state)
    page = reader.go(f"/article/{slug}")
    expect(page.get_by_role("button", name="Favorite", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Edit article")).to_have_count(0)
    reader.go(f"/editor/{slug}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("somebody else")
    expect(page.get_by_label("Title")).to_have_count(0)


def test_settings(visit: Visit, join: Join, api: Api) -> None:
    member = join()
    someone = visit(member.state)
    page = someone.go("/settings")
    name = fresh("renamed")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Bio").fill("Trains dragons.\nAnd llamas.")
    page.get_by_label("Password").fill("a new password for me")
    page.get_by_role("button", name="Update settings").click()
    expect(page.get_by_role("status").filter(has_text="saved")).to_be_visible()
    expect(page.get_by_role("navigation", name="Site").get_by_role("link", name=name)).to_be_visible()
    user = api.log_in(member.person.email, "a new password for me").json()["user"]
    assert (user["username"], user["bio"]) == (name, "Trains dragons.\nAnd llamas.")
    someone.go(f"/profile/{name}")
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    expect(page.get_by_text("Trains dragons.")).to_be_visible()


def test_the_audience_report(visit: Visit, join: Join, api: Api, tmp_path: Path) -> None:
    writer, reader = join(), api.sign_up()
    slug = writer.person.slug("Read by many")
    reader.follow(writer.person)
    reader.favorite(slug)
    reader.comment(slug)
    page = visit(writer.state).go("/settings")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download audience report").click()
    assert download.value.suggested_filename.endswith(".csv")
    download.value.save_as(tmp_path / "audience.csv")
    rows = list(csv.DictReader((tmp_path / "audience.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {(row["username"], row["relation"], row["article"]) for row in rows} == {
        (reader.username, "follower", ""),
        (reader.username, "favorited", slug),
        (reader.username, "commented", slug),
    }


EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_what_people_write_stays_text(visit: Visit, join: Join) -> None:
    member = join()
    body = f"{EVIL}\n\n[click](javascript:alert(3)) `{EVIL}`\n\n> {EVIL}\n\n![x](http://elsewhere.example/x.png)"
    slug = member.person.slug(EVIL, body=body, description=EVIL, tagList=[EVIL[:28]])
    member.person.comment(slug, EVIL)
    profile = {"bio": EVIL, "image": "http://elsewhere.example/x.png"}
    assert member.person.put("/user", {"user": profile}).status_code == 200
    visitor = visit()
    page = visitor.page
    shown: list[str] = []

    def note(dialog: Dialog) -> None:
        shown.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    visitor.go(f"/article/{slug}")
    expect(page.get_by_role("heading", level=1, name=EVIL)).to_be_visible()
    expect(page.get_by_role("article", name="Comment by")).to_contain_text(EVIL)
    assert page.locator("main script, main [onerror], main a[href^=javascript]").count() == 0
    visitor.go(f"/profile/{member.person.username}")
    visitor.go("/")
    assert shown == []
