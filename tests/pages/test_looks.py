"""Every page as it looks and as a screen reader meets it: light and dark, on a desk and on a phone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect

from conduit_testing.client import fresh
from tests.pages import pictures
from tests.pages.visitors import DESK, PHONE, Member, Visit, Visitor

pytestmark = [pytest.mark.stage, pytest.mark.docker]

LIGHT, DARK = {"color_scheme": "light"}, {"color_scheme": "dark"}
LOOKS: dict[str, dict[str, Any]] = {
    "desk-light": DESK | LIGHT,
    "desk-dark": DESK | DARK,
    "phone-light": PHONE | LIGHT,
    "phone-dark": PHONE | DARK,
}
NARROW = {"viewport": {"width": 320, "height": 640}}
# All that axe knows of WCAG 2.2 at levels A and AA, and its best practices; in the dark, what can differ there.
RULES: dict[str, Any] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
RULES_IN_THE_DARK: dict[str, Any] = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
COVERED = {
    "How sourdough keeps its time": (1600, 900),
    "A map of the harbour, drawn from memory": (900, 1200),
    "Nine ways to lose a race condition": (1200, 800),
}
UNCOVERED = "Without a cover, and with a title that goes on for rather longer than titles usually do"
BODY = (
    """
## A heading

Text with **weight**, *stress*, `code` and [a link](/).

- one
- two

> Somebody said so.

```
code that is long enough to be wider than a phone is, whatever its letters are, and then some more of it
```

"""
    + "A long paragraph, so that the measure of a line can be judged by eye. " * 8
)


@pytest.fixture(scope="session")
def paths(ann: Member, ben: Member) -> dict[str, str]:
    """Each page with something on it."""
    slug = ""
    for motif, (title, size) in enumerate(COVERED.items()):
        draft = {"body": BODY, "description": "A sentence or two that say why.", "tagList": ["craft", fresh("t")]}
        slug = ann.person.slug(title, **draft)
        content = pictures.picture(*size, motif=motif)
        assert ann.person.cover(slug, content)["state"] == "ready"
    ann.person.slug(UNCOVERED, tagList=["craft"])
    ben.person.comment(slug, "Thank you, this helped.\nEspecially the second part.")
    ben.person.follow(ann.person)
    return {
        "home": "/",
        "article": f"/article/{slug}",
        "profile": f"/profile/{ann.person.username}",
        "sign-in": "/login",
        "sign-up": "/register",
        "feed": "/feed",
        "editor": "/editor",
        "editing": f"/editor/{slug}",
        "settings": "/settings",
        "not-found": "/nowhere",
    }


Tour = Callable[..., Iterator[tuple[str, Visitor]]]


@pytest.fixture
def tour(visit: Visit, paths: dict[str, str], ann: Member, ben: Member) -> Tour:
    """Goes to every page, as who sees it: its author edits, a follower reads the feed, somebody new signs in."""

    def go(**options: Any) -> Iterator[tuple[str, Visitor]]:
        writer, reader, nobody = visit(ann.state, **options), visit(ben.state, **options), visit(**options)
        people = {"editing": writer} | dict.fromkeys(("feed", "editor", "settings"), reader)
        for name, path in paths.items():
            visitor = people.get(name, nobody)
            visitor.expected = {404}
            visitor.go(path)
            yield name, visitor

    return go


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_sound_to_axe(tour: Tour, look: str) -> None:
    found = {}
    for name, visitor in tour(**LOOKS[look]):
        results = Axe().run(visitor.page, options=RULES_IN_THE_DARK if "dark" in look else RULES)
        visitor.shoot(f"{name}-{look}")
        if results.violations_count:
            found[name] = results.generate_report()
    assert not found, "\n".join(f"{name}: {report}" for name, report in found.items())


def test_every_page_names_itself_and_its_fields(tour: Tour, paths: dict[str, str]) -> None:
    titles = set()
    for name, visitor in tour():
        page = visitor.page
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == "en"
        titles.add(page.title())
        bare = page.locator("input, textarea, select").evaluate_all(
            "fields => fields.filter((one) => !one.labels.length).map((one) => one.outerHTML)"
        )
        assert bare == [], f"fields without a label on {name}"
        assert page.locator("img:not([alt])").count() == 0
    assert len(titles) == len(paths)


def test_no_page_is_wider_than_a_narrow_phone(tour: Tour) -> None:
    wide = {}
    for name, visitor in tour(**(PHONE | NARROW)):
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        if width > NARROW["viewport"]["width"]:
            wide[name] = width
            visitor.shoot(f"too-wide-{name}")
    assert wide == {}


def test_dark_is_dark(visit: Visit) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme).go("/")
        brightness[scheme] = page.evaluate("""() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          return ["backgroundColor", "color"].map((name) => {
            canvas.fillStyle = getComputedStyle(document.body)[name];
            canvas.fillRect(0, 0, 1, 1);
            return canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((sum, part) => sum + part, 0) / 3;
          });
        }""")
    paper, ink = brightness["light"]
    assert paper > 200
    assert ink < 80
    paper, ink = brightness["dark"]
    assert paper < 60
    assert ink > 180


def test_the_watch_sees_what_leaves_the_origin(visit: Visit, visitor: Visitor) -> None:
    """That nothing was wrong elsewhere would mean nothing if this were not seen."""
    page = visitor.go("/")
    with page.expect_console_message(lambda message: "policy violated" in message.text):
        page.evaluate("fetch('http://elsewhere.example/').catch(() => {})")
    assert any("policy violated: connect-src" in wrong for wrong in visitor.wrong), visitor.wrong
    visitor.wrong.clear()
    with page.expect_console_message(lambda message: "by a script" in message.text):
        page.evaluate("console.error('by a script')")
    assert [wrong for wrong in visitor.wrong if "by a script" in wrong]
    visitor.wrong.clear()
    with pytest.raises(Error):  # nobody is there; the policy does not hold back who leaves by a link
        page.goto("http://elsewhere.example/")
    assert [wrong for wrong in visitor.wrong if wrong.startswith("left the origin: http://elsewhere.example/")]
    visitor.wrong.clear()
