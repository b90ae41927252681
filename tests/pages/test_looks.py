"""Every page as it looks and as a screen reader meets it: light and dark, on a desk and on a phone."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from conduit_testing.client import fresh
from tests.pages import pictures
from tests.pages.visitors import DESK, PHONE, Member, Visit, Visitor

pytestmark = [pytest.mark.stage, pytest.mark.docker]

LOOKS: dict[str, dict[str, Any]] = {
    "desk-light": DESK | {"color_scheme": "light"},
    "desk-dark": DESK | {"color_scheme": "dark"},
    "phone-light": PHONE | {"color_scheme": "light"},
    "phone-dark": PHONE | {"color_scheme": "dark"},
}
NARROW = {"viewport": {"width": 320, "height": 640}}
# All that axe knows of WCAG 2.2 at levels A and AA, and its best practices.
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
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
    for seed, (title, size) in enumerate(COVERED.items()):
        draft = {"body": BODY, "description": "A sentence or two that say why.", "tagList": ["craft", fresh("t")]}
        slug = ann.person.slug(title, **draft)
        content = pictures.picture(*size, seed=seed)
        assert ann.person.call("PUT", f"/articles/{slug}/cover", content=content).status_code == 200
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


MINE = {"feed", "editor", "editing", "settings"}


def state_for(name: str, ann: Member, ben: Member) -> Any:
    """Who looks at a page: its author edits it, a follower reads the feed, anybody the rest."""
    return {"editing": ann.state, "feed": ben.state}.get(name, ben.state if name in MINE else None)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_sound_to_axe(visit: Visit, paths: dict[str, str], ann: Member, ben: Member, look: str) -> None:
    found = {}
    for name, path in paths.items():
        visitor = visit(state_for(name, ann, ben), **LOOKS[look])
        visitor.expected = {404}
        visitor.go(path)
        visitor.page.wait_for_load_state("networkidle")
        visitor.shoot(f"{name}-{look}")
        results = Axe().run(visitor.page, options=RULES)
        if results.violations_count:
            found[name] = results.generate_report()
        visitor.context.close()
    assert not found, "\n".join(f"{name}: {report}" for name, report in found.items())


def test_every_page_names_itself(visit: Visit, paths: dict[str, str], ann: Member, ben: Member) -> None:
    titles = set()
    for name, path in paths.items():
        visitor = visit(state_for(name, ann, ben))
        visitor.expected = {404}
        page = visitor.go(path)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == "en"
        titles.add(page.title())
        fields = page.locator("input:visible, textarea:visible, select:visible")
        unlabelled = [
            field.get_attribute("id") for field in fields.all() if not field.evaluate("one => one.labels.length")
        ]
        assert unlabelled == [], name
        assert page.locator("img:not([alt])").count() == 0
    assert len(titles) == len(paths)


def test_no_page_is_wider_than_a_narrow_phone(visit: Visit, paths: dict[str, str], ann: Member, ben: Member) -> None:
    wide = {}
    for name, path in paths.items():
        visitor = visit(state_for(name, ann, ben), **(PHONE | NARROW))
        visitor.expected = {404}
        page = visitor.go(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 320:
            wide[name] = width
            visitor.shoot(f"too-wide-{name}")
    assert wide == {}


def test_dark_is_dark(visit: Visit) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme).go("/")
        brightness[scheme] = page.evaluate("""() => {
          const canvas = document.createElement("canvas").getContext("2d");
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
    page.evaluate("fetch('http://elsewhere.example/').catch(() => {})")
    page.wait_for_timeout(200)
    assert any("policy violated: connect-src" in wrong for wrong in visitor.wrong), visitor.wrong
    visitor.wrong.clear()
    page.evaluate("console.error('from a test')")
    page.wait_for_timeout(100)
    assert [wrong for wrong in visitor.wrong if "from a test" in wrong]
    visitor.wrong.clear()
