"""A site as browsers load it: its pages' HTML, assets and covers, and the API calls that the pages make.

Visits begin at an article (50 %), the home page (35 %), a tag's list (8 %) or a profile (7 %), and go on after each
view with chance 0.7, so 3.3 views on average: to an article (50 %), the home page (14 %), the next page of its list
(12 %, without new HTML; the home page where its list is not shown), a profile (10 %), a tag (8 %), one's feed (6 %; the
home page where nobody is signed in). Articles, profiles and tags are drawn by Zipf's law.

60 % of the visits are by people who come back, half of those signed in. They have viewed eight pages before, drawn by
the same laws, and their browser keeps what it got, as everybody's does during a visit: assets and covers, which are
immutable, are not asked for again; HTML is asked for with If-None-Match, and 304 while it is the same; the API's
answers are not kept. A cover counts as seen by its article and not by its file, because the seed's articles share
theirs where a real site's do not.

Covers are asked for in the size that the page's `sizes` make a browser choose: on a phone (60 %: 390 pixels wide at
3×), a laptop (25 %: 1440 at 2×) or a desktop screen (15 %: 1920 at 1×). Which articles have one is known from the
stage's rows; those of a feed are drawn by popularity.

Arrivals are requests, and a Poisson process: an open model. They are the page views' requests one after another, in the
order in which a browser asks, whether or not those before were answered.
"""

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from urllib.parse import quote

from loadtests.load import site_assets
from loadtests.load.dataset import NEWEST, ON_A_PAGE, Article, Dataset, User
from loadtests.load.mixes import Draw
from loadtests.load.mixes.actions import Request
from loadtests.load.site_assets import Page

PARTS = ("html", "assets", "covers", "api")
BEGINS_AT = {"article": 50, "home": 35, "tag": 8, "profile": 7}
GOES_TO = {"article": 50, "home": 14, "turn": 12, "profile": 10, "tag": 8, "feed": 6}
GOES_ON = 0.7
COMES_BACK = 0.6
SIGNED_IN = 0.5
"""Of those who come back."""
EARLIER_VIEWS = 8

# What the pages' own modules say; a test holds this against them.
COMMENTS_AT_ONCE = 20
LEADS_FROM = 3
SIZES = {
    "lead": "(min-width: 60rem) 34rem, 94vw",
    "card": "(min-width: 60rem) 19rem, (min-width: 38rem) 46vw, 7rem",
    "article": "(min-width: 60rem) 56rem, 100vw",
}
WIDTHS = {"small": 320, "medium": 800, "large": 1600}
_REM = 16
_SOURCE = re.compile(r"(?:\(min-width: (\d+)rem\) )?(\d+)(rem|vw)")


@dataclass(frozen=True)
class Device:
    """A browser's window: its width in CSS pixels, and the screen's pixels to each of them."""

    width: int
    density: float
    share: float


DEVICES = (Device(390, 3.0, 0.6), Device(1440, 2.0, 0.25), Device(1920, 1.0, 0.15))


def chosen(sizes: str, device: Device) -> str:
    """The cover's size that a browser takes from `srcset`, given `sizes`.

    The smallest that has a pixel for each of the screen's, as Chromium chooses, which a test of the pages holds it to.
    """
    needed = _shown(sizes, device) * device.density
    return next((size for size, width in WIDTHS.items() if width >= needed), "large")


def _shown(sizes: str, device: Device) -> float:
    """How many CSS pixels wide `sizes` says that the picture is shown."""
    for source in sizes.split(", "):
        match = _SOURCE.fullmatch(source)
        assert match is not None, f"{source} is not of the kind that the pages use"
        least, number, unit = match.groups()
        if least is None or device.width >= int(least) * _REM:
            return float(number) * (_REM if unit == "rem" else device.width / 100)
    raise AssertionError(f"{sizes} ends without a size for all others")


@dataclass
class Visit:
    """Somebody at a browser: what it is, who is signed in, what it keeps, and which page of the newest articles is
    shown, the first being 0; None where another page is.
    """

    sizes: dict[str, str]
    """The size of a cover by where it is shown."""
    user: User | None
    kept: set[object] = field(default_factory=set)
    page: int | None = None

    def keeps(self, what: object) -> bool:
        """Whether the browser has it already; if not, it has from now on."""
        if what in self.kept:
            return True
        self.kept.add(what)
        return False


class Traffic:
    """The requests of visit after visit; each call is the next one."""

    def __init__(self, rng: random.Random, data: Dataset, pages: dict[str, Page]) -> None:
        """``pages`` are those of the stage: home, article, profile and feed."""
        self._rng = rng
        self._data = data
        self._pages = pages
        self._devices = [{where: chosen(sizes, device) for where, sizes in SIZES.items()} for device in DEVICES]
        self._waiting: deque[Request] = deque()
        self._visit: Visit | None = None
        self._entries = _Weighted(BEGINS_AT)
        self._ways = _Weighted(GOES_TO)

    def __call__(self) -> Request:
        while not self._waiting:
            if self._visit is None or self._rng.random() >= GOES_ON:
                self._visit = self._arrived()
                self._waiting.extend(self._view(self._visit, self._entries.draw(self._rng)))
            else:
                self._waiting.extend(self._view(self._visit, self._ways.draw(self._rng)))
        return self._waiting.popleft()

    def _arrived(self) -> Visit:
        rng = self._rng
        sizes = rng.choices(self._devices, [device.share for device in DEVICES])[0]
        if rng.random() >= COMES_BACK:
            return Visit(sizes, None)
        visit = Visit(sizes, self._data.visitor(rng) if rng.random() < SIGNED_IN else None)
        for number in range(EARLIER_VIEWS):
            for _ in self._view(visit, (self._ways if number else self._entries).draw(rng)):
                pass
        return visit

    def _view(self, visit: Visit, kind: str) -> Iterator[Request]:
        """What the browser sends for one page view, beyond what it keeps."""
        shown, visit.page = visit.page, None
        if kind == "turn" and shown is not None and shown + 1 < NEWEST // ON_A_PAGE:
            visit.page = shown + 1
            yield from self._newest(visit, visit.page)
        elif kind == "article":
            yield from self._article(visit)
        elif kind == "profile":
            yield from self._profile(visit)
        elif kind == "tag":
            yield from self._tag(visit)
        elif kind == "feed" and visit.user is not None:
            yield from self._feed(visit)
        else:
            visit.page = 0
            yield from self._html(visit, "home", "GET /", "/")
            yield from self._newest(visit, visit.page)
            yield self._api(visit, "GET /api/tags", "/api/tags")

    def _article(self, visit: Visit) -> Iterator[Request]:
        article = self._data.article(self._rng)
        slug = quote(article.slug, safe="")
        yield from self._html(visit, "article", "GET /article/{slug}", f"/article/{slug}")
        yield self._api(visit, "GET /api/articles/{slug}", f"/api/articles/{slug}")
        # One more than is shown tells whether there are older ones.
        comments = f"/api/articles/{slug}/comments?limit={COMMENTS_AT_ONCE + 1}"
        yield self._api(visit, "GET /api/articles/{slug}/comments", comments)
        yield from self._covers(visit, [article], "article")

    def _profile(self, visit: Visit) -> Iterator[Request]:
        author = self._data.author(self._rng)
        name = quote(author.username, safe="")
        yield from self._html(visit, "profile", "GET /profile/{username}", f"/profile/{name}")
        yield self._api(visit, "GET /api/profiles/{username}", f"/api/profiles/{name}")
        yield self._api(visit, "GET /api/articles?author", f"/api/articles?limit={ON_A_PAGE}&author={name}")
        yield from self._covers(visit, self._data.of_author.get(author.id, []), "list")

    def _tag(self, visit: Visit) -> Iterator[Request]:
        tag = self._data.tag(self._rng)
        name = quote(tag, safe="")
        yield from self._html(visit, "home", "GET /", f"/?tag={name}")
        yield self._api(visit, "GET /api/articles?tag", f"/api/articles?limit={ON_A_PAGE}&tag={name}")
        yield self._api(visit, "GET /api/tags", "/api/tags")
        yield from self._covers(visit, self._data.of_tag.get(tag, []), "list")

    def _feed(self, visit: Visit) -> Iterator[Request]:
        yield from self._html(visit, "feed", "GET /feed", "/feed")
        yield self._api(visit, "GET /api/articles/feed", f"/api/articles/feed?limit={ON_A_PAGE}")
        yield from self._covers(visit, [self._data.article(self._rng) for _ in range(ON_A_PAGE)], "list")

    def _newest(self, visit: Visit, page: int) -> Iterator[Request]:
        start = page * ON_A_PAGE
        skipped = f"&offset={start}" if start else ""
        yield self._api(visit, "GET /api/articles", f"/api/articles?limit={ON_A_PAGE}{skipped}")
        yield from self._covers(visit, self._data.newest[start : start + ON_A_PAGE], "list")

    def _html(self, visit: Visit, name: str, route: str, path: str) -> Iterator[Request]:
        page = self._pages[name]
        headers = (("If-None-Match", page.tag),) if visit.keeps(path) else ()
        yield Request(route, "GET", path, headers=headers, part="html")
        for asset in page.assets:
            if not visit.keeps(asset):
                yield Request("GET /assets/{name}", "GET", asset, part="assets")

    def _covers(self, visit: Visit, articles: Sequence[Article], where: str) -> Iterator[Request]:
        for place, article in enumerate(articles):
            shown = ("lead" if not place and len(articles) >= LEADS_FROM else "card") if where == "list" else where
            size = visit.sizes[shown]
            if article.cover and not visit.keeps((article.slug, size)):
                yield Request("GET /media/{name}", "GET", f"/media/{article.cover}-{size}.webp", part="covers")

    def _api(self, visit: Visit, route: str, path: str) -> Request:
        return Request(route, "GET", path, self._data.token(visit.user) if visit.user else None)


class _Weighted:
    """Draws names in proportion to their weights."""

    def __init__(self, weights: dict[str, int]) -> None:
        self._names = list(weights)
        self._cumulative = list(accumulate(weights.values()))

    def draw(self, rng: random.Random) -> str:
        return rng.choices(self._names, cum_weights=self._cumulative)[0]


def begin(rng: random.Random, data: Dataset, target: str) -> Draw:
    """The traffic against a running stage, whose pages are read first. Raises SiteError where it has none."""
    some = data.articles[0].slug, data.users[0].username
    paths = {
        "home": "/",
        "feed": "/feed",
        "article": f"/article/{quote(some[0], safe='')}",
        "profile": f"/profile/{quote(some[1], safe='')}",
    }
    return Traffic(rng, data, site_assets.read(target, paths))
