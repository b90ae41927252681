"""The pages mix is what its model says, and asks for what the app's pages make a browser ask for."""

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.load import site_assets
from loadtests.load.dataset import ON_A_PAGE
from loadtests.load.mixes import pages
from loadtests.load.mixes.actions import Request
from loadtests.load.mixes.pages import DEVICES, SIZES, Traffic, Visit, chosen
from loadtests.load.site_assets import SiteError
from loadtests.tests.made_up import PAGES, made_up

WEB = Path(__file__).resolve().parents[2] / "services" / "web"
DRAWS = 25_000
PHONE, LAPTOP, SCREEN = DEVICES


def traffic(seed: int = 1) -> Traffic:
    return Traffic(random.Random(seed), made_up(), PAGES)


@pytest.fixture(scope="module")
def asked() -> list[Request]:
    """What is asked for while many visits come and go."""
    draw = traffic()
    return [draw() for _ in range(DRAWS)]


def view(visit: Visit, kind: str, seed: int = 1) -> list[Request]:
    return list(traffic(seed)._view(visit, kind))


def newcomer() -> Visit:
    return Visit({where: chosen(sizes, PHONE) for where, sizes in SIZES.items()}, None)


def test_a_newcomer_loads_a_page_whole_html_first(asked: list[Request]) -> None:
    first = view(newcomer(), "home")
    assert [request.path for request in first[:5]] == ["/", *PAGES["home"].assets]
    assert first[0].headers == ()
    assert [request.path for request in first if request.part == "api"] == ["/api/articles?limit=10", "/api/tags"]
    # The first article of the list is shown large, and every third has a cover.
    covers = [request.path for request in first if request.part == "covers"]
    assert covers == [
        f"/media/{n:032x}-{size}.webp" for n, size in ((0, "large"), (3, "medium"), (6, "medium"), (9, "medium"))
    ]
    assert all(request.token is None for request in first)


def test_what_a_browser_keeps_is_not_asked_for_again() -> None:
    visit = newcomer()
    view(visit, "home")
    again = view(visit, "home")
    assert [request.part for request in again] == ["html", "api", "api"]
    assert again[0].headers == (("If-None-Match", PAGES["home"].tag),)
    # Another address with the same HTML is another page to a browser, but its assets are the same.
    elsewhere = view(visit, "tag")
    assert elsewhere[0].path.startswith("/?tag=")
    assert elsewhere[0].headers == ()
    assert not [request for request in elsewhere if request.part == "assets"]
    article = view(visit, "article")
    assert [request.path for request in article if request.part == "assets"] == ["/assets/article.3.js"]


def test_a_list_is_paged_through_without_html_and_only_where_it_is_shown() -> None:
    visit = newcomer()
    view(visit, "home")
    offsets = [view(visit, "turn")[0].path for _ in range(4)]
    assert offsets == [f"/api/articles?limit=10&offset={n}" for n in (10, 20, 30, 40)]
    assert view(visit, "turn")[0].path == "/", "what lies deeper is not known: back to the first page"
    view(visit, "article")
    assert view(visit, "turn")[0].path == "/"


def test_nobody_sees_a_feed_without_being_signed_in(asked: list[Request]) -> None:
    assert view(newcomer(), "feed")[0].path == "/"
    feeds = [request for request in asked if request.route == "GET /api/articles/feed"]
    assert feeds
    assert all(request.token for request in feeds)


def test_visits_are_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    went_on: list[str] = []
    visits: list[Visit] = []
    of = Traffic._view

    def watched(self: Traffic, visit: Visit, kind: str) -> object:
        if visits and visit is visits[-1]:
            (went_on if getattr(visit, "begun", False) else begun).append(kind)
            visit.begun = True  # type: ignore[attr-defined]
        return of(self, visit, kind)

    draw = traffic()
    arrived = Traffic._arrived

    def arriving(self: Traffic) -> Visit:
        visits.append(arrived(self))
        return visits[-1]

    monkeypatch.setattr(Traffic, "_view", watched)
    monkeypatch.setattr(Traffic, "_arrived", arriving)
    for _ in range(DRAWS):
        draw()
    assert (len(begun) + len(went_on)) / len(begun) == pytest.approx(1 / 0.3, rel=0.05)
    for kinds, weights in ((begun, pages.BEGINS_AT), (went_on, pages.GOES_TO)):
        assert sum(weights.values()) == 100
        for kind, weight in weights.items():
            assert kinds.count(kind) / len(kinds) == pytest.approx(weight / 100, abs=0.03)
    assert sum(visit.user is not None for visit in visits) / len(visits) == pytest.approx(0.3, abs=0.03)


def test_who_comes_back_asks_for_less() -> None:
    """Half of what is asked for, or less, by those 60 % than by as many newcomers; and no asset twice."""

    def parts(comes_back: float) -> Counter[str]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pages, "COMES_BACK", comes_back)
            draw = traffic()
            return Counter(draw().part for _ in range(DRAWS))

    all_new, all_back = parts(0.0), parts(1.0)
    for part in ("assets", "covers"):
        per_call_new, per_call_back = all_new[part] / all_new["api"], all_back[part] / all_back["api"]
        assert per_call_back < per_call_new / 2, part


def test_html_is_asked_for_again_by_its_tag(asked: list[Request]) -> None:
    html = [request for request in asked if request.part == "html"]
    conditional = sum(bool(request.headers) for request in html) / len(html)
    assert 0.1 < conditional < 0.9
    assert {request.part for request in asked if request.headers} == {"html"}


@pytest.mark.parametrize(
    ("shown", "device", "size"),
    [
        ("lead", PHONE, "large"),
        ("lead", LAPTOP, "large"),
        ("lead", SCREEN, "medium"),
        ("card", PHONE, "medium"),
        ("card", LAPTOP, "medium"),
        ("card", SCREEN, "small"),
        ("article", PHONE, "large"),
        ("article", LAPTOP, "large"),
        ("article", SCREEN, "large"),
    ],
)
def test_a_browser_takes_the_size_that_its_screen_needs(shown: str, device: pages.Device, size: str) -> None:
    assert chosen(SIZES[shown], device) == size


def test_the_model_says_what_the_pages_say() -> None:
    """What the mix takes from the pages' modules, because no HTML says it."""
    lists, article = ((WEB / "assets" / name).read_text() for name in ("articles.js", "article.js"))
    assert f"const PER_PAGE = {ON_A_PAGE};" in lists
    assert f'lead ? "{SIZES["lead"]}" : "{SIZES["card"]}"' in lists
    assert f"articles.length > {pages.LEADS_FROM - 1}" in lists
    for size, width in pages.WIDTHS.items():
        assert re.search(rf"\b{size}: {width}\b", lists)
    assert f'"{SIZES["article"]}"' in article
    assert f"const COMMENTS_AT_ONCE = {pages.COMMENTS_AT_ONCE};" in article


def test_assets_are_read_from_html(monkeypatch: pytest.MonkeyPatch) -> None:
    html = """<!doctype html><html><head>
    <link rel="icon" href="/assets/icon.a.svg"><link rel="stylesheet" href="/assets/site.b.css">
    <script type="importmap">{"imports": {"never": "/assets/never.c.js"}}</script>
    <link rel="modulepreload" href="/assets/api.d.js"><link rel="canonical" href="/">
    <script type="module" src="/assets/home.e.js"></script><script>inline()</script>
    <body><a href="/login">Sign in</a><img src="/assets/not-this.png"></body>"""
    assert site_assets.assets_of(html) == [
        "/assets/icon.a.svg",
        "/assets/site.b.css",
        "/assets/api.d.js",
        "/assets/home.e.js",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "names no assets"),
        (["--status", "404"], "404"),
        (["--html", '<script src="https://elsewhere.example/x.js"></script>'], "loads https://elsewhere.example/x.js"),
        (["--html", '<script src="/assets/x.js"></script>'], "has no ETag"),
    ],
)
def test_a_stage_without_pages_is_told(stub: Callable[..., str], options: list[str], said: str) -> None:
    with pytest.raises(SiteError, match=re.escape(said)):
        site_assets.read(stub(*options), {"home": "/"})


def test_nobody_there_is_told() -> None:
    with pytest.raises(SiteError, match="the page / cannot be had"):
        site_assets.read("http://127.0.0.1:9", {"home": "/"})


def test_a_stages_pages_are_read(stub: Callable[..., str]) -> None:
    html = '<script type="module" src="/assets/x.js"></script>'
    assert site_assets.read(stub("--html", html, "--etag", 'W/"7"'), {"home": "/", "feed": "/feed"}) == {
        "home": site_assets.Page('W/"7"', ("/assets/x.js",)),
        "feed": site_assets.Page('W/"7"', ("/assets/x.js",)),
    }
