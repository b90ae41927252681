"""Text in any script, in every field."""

import unicodedata
from urllib.parse import quote

import pytest

from conduit_testing.client import PASSWORD, Api, Person, errors, fresh, id_of

SCRIPTS = [
    "كيف تدرّب تنينك",
    "如何驯服你的龙",
    "Как приручить дракона",
    "ड्रैगन को कैसे प्रशिक्षित करें",
    "Wie man Drachen zähmt — ÄÖÜß",
    "İstanbul'da ejderha",
    "🐉🔥👩‍👩‍👧‍👦",
    "❤️ 👋🏽",
    "quotes ' \" ` and \\ and % and _ and ; --",
    "<script>alert(1)</script> & &amp;",
    "?query=1#fragment",
]


UNSEEN = ["\u202eright to left\u202c", "zero\u200bwidth"]


def _path(text: str) -> str:
    return quote(text, safe="")


@pytest.mark.parametrize("text", SCRIPTS)
def test_articles_keep_their_text_in_any_script(api: Api, jo: Person, text: str) -> None:
    tag = f"{text[:20].strip()}{fresh()}"
    article = jo.publish(text, description=text, body=text, tagList=[tag])
    slug = article["slug"]
    assert (article["title"], article["description"], article["body"], article["tagList"]) == (text, text, text, [tag])
    assert api.article(_path(slug)) == article
    assert api.articles(tag=tag) == ([slug], 1)
    assert tag in api.get("/tags").json()["tags"]
    comment = jo.comment(_path(slug), text)
    assert comment["body"] == text
    assert api.get(f"/articles/{_path(slug)}/comments").json() == {"comments": [comment]}
    assert jo.delete(f"/articles/{_path(slug)}").status_code == 204


@pytest.mark.parametrize("text", [text for text in SCRIPTS if "/" not in text])
def test_names_and_bios_are_kept_in_any_script(api: Api, ann: Person, text: str) -> None:
    name = f"{text}{fresh()}"[:64]
    jo = api.sign_up(username=name)
    assert jo.username == name
    assert jo.put("/user", {"user": {"bio": text}}).json()["user"]["bio"] == text
    path = f"/profiles/{_path(name)}"
    assert api.get(path).json()["profile"] == {"username": name, "bio": text, "image": None, "following": False}
    slug = jo.slug()
    ann.favorite(slug)
    assert ann.post(f"{path}/follow").json()["profile"]["following"] is True
    assert ann.feed() == ([slug], 1)
    assert api.articles(author=name) == ([slug], 1)
    assert ann.delete(f"{path}/follow").status_code == 200


@pytest.mark.parametrize("text", UNSEEN)
def test_a_longer_text_keeps_what_a_name_may_not_have(api: Api, jo: Person, text: str) -> None:
    article = jo.publish("A title", body=text)
    assert api.article(article["slug"])["body"] == text
    assert jo.comment(article["slug"], text)["body"] == text
    assert jo.put("/user", {"user": {"bio": text}}).json()["user"]["bio"] == text
    user = {"username": f"{text}{fresh()}", "email": f"{fresh()}@example.com", "password": PASSWORD}
    refused = api.post("/users", {"user": user})
    assert (refused.status_code, errors(refused)) == (422, {"username": ["must not contain invisible characters"]})


def test_a_password_may_be_in_any_script(api: Api, jo: Person) -> None:
    jo.put("/user", {"user": {"password": "пароль 🔑 密码"}})
    assert api.log_in(jo.email, "пароль 🔑 密码").status_code == 200


@pytest.mark.parametrize("title", ["🐉🔥", "!!!", "…", "- -"])
def test_a_title_without_letters_still_has_a_slug(api: Api, jo: Person, title: str) -> None:
    article = jo.publish(title)
    assert article["slug"] == str(id_of(article["slug"]))
    assert api.article(article["slug"])["title"] == title


def test_a_slug_keeps_the_letters_of_every_script(jo: Person) -> None:
    assert jo.slug("如何 驯服 你的龙").startswith("如何-驯服-你的龙-")
    assert jo.slug("Привет, Мир!").startswith("привет-мир-")


def test_a_long_title_has_a_slug_that_finds_it(api: Api, jo: Person) -> None:
    article = jo.publish("龙" * 300)
    assert api.article(_path(article["slug"]))["title"] == "龙" * 300


def test_composed_and_decomposed_letters_are_the_same_name(api: Api, jo: Person) -> None:
    composed = f"Zoë{fresh()}"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    zoe = api.sign_up(username=decomposed)
    tag = f"café{fresh()}"
    slug = zoe.slug(tagList=[unicodedata.normalize("NFD", tag)])
    jo.favorite(slug)
    assert zoe.username == composed
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, composed)
        assert api.get(f"/profiles/{_path(name)}").json()["profile"]["username"] == composed
        assert jo.post(f"/profiles/{_path(name)}/follow").status_code == 200
        assert api.articles(author=name) == ([slug], 1)
        assert api.articles(tag=unicodedata.normalize(form, tag)) == ([slug], 1)
    assert zoe.articles(favorited=jo.username) == ([slug], 1)
