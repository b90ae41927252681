"""The load generator's `pages` mix asks for what a real browser asks for."""

import io
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from PIL import Image

from conduit_testing.client import fresh
from loadtests.load import site_assets
from loadtests.load.dataset import ON_A_PAGE, Article, Dataset, User
from loadtests.load.mixes import pages
from loadtests.load.mixes.pages import DEVICES, SIZES, Device, Traffic, chosen
from tests.pages.visitors import OLDEST_ANSWER_SECONDS, Member, Visit, Visitor
from tests.running import Stage

pytestmark = [pytest.mark.stage, pytest.mark.docker]

ARTICLES = 12
# By navigation or by anything the page asked for: path with query, and bytes that came over the network.
_LOADED = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
  (one) => { const url = new URL(one.name); return [url.pathname + url.search, one.transferSize]; })"""


@pytest.fixture(scope="module")
def data(ann: Member, http: httpx.Client) -> Dataset:
    """What the generator would know of the stage: its newest articles, every other one with a cover."""
    for number in range(ARTICLES):
        slug = ann.person.slug(f"Modelled {fresh()}")
        if number % 2:
            picture = io.BytesIO()
            Image.effect_mandelbrot((1600, 900), (-2, -1, 1, 1), number + 2).save(picture, "PNG")
            assert ann.person.cover(slug, picture.getvalue())["state"] == "ready"
    time.sleep(OLDEST_ANSWER_SECONDS)
    listed = http.get("/api/articles", params={"limit": 50}).json()["articles"]
    newest = [Article(one["slug"], _digest(one["cover"])) for one in listed]
    covered = next(article for article in newest if article.cover)
    hers = [
        article for article, one in zip(newest, listed, strict=True) if one["author"]["username"] == ann.person.username
    ]
    return Dataset(
        articles=[covered],
        users=[User(1, ann.person.username, ""), User(1, ann.person.username, "")],
        heavy=[],
        tags=[],
        counts={},
        newest=newest,
        of_author={1: hers[:ON_A_PAGE]},
    )


def _digest(cover: dict[str, Any] | None) -> str:
    return cover["small"].removeprefix("/media/").removesuffix("-small.webp") if cover else ""


@pytest.fixture(scope="module")
def model(stage: Stage, data: Dataset) -> Callable[[Device, list[str]], list[set[str]]]:
    """What the mix asks for, view by view, of a newcomer at a device; but for the icon, which needs a window."""

    def views(device: Device, kinds: list[str]) -> list[set[str]]:
        paths = {"home": "/", "feed": "/feed", "article": f"/article/{quote(data.articles[0].slug)}"}
        paths["profile"] = f"/profile/{quote(data.users[0].username)}"
        traffic = Traffic(random.Random(1), data, site_assets.read(stage.url, paths))
        visit = pages.Visit({where: chosen(sizes, device) for where, sizes in SIZES.items()}, None)
        asked = [{request.path for request in traffic._view(visit, kind)} for kind in kinds]
        return [{path for path in view if not path.startswith("/assets/favicon")} for view in asked]

    return views


def loaded(visitor: Visitor, path: str) -> dict[str, int]:
    """What the browser loads for a view, all of it seen by its reader, with the bytes that came from the stage."""
    page = visitor.go(path)
    for picture in page.locator("img[srcset]").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    found: list[tuple[str, int]] = page.evaluate(_LOADED)
    return dict(found)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: f"{device.width}px at {device.density:g}x")
@pytest.mark.parametrize("kind", ["home", "article", "profile"])
def test_a_newcomers_browser_asks_for_what_the_model_says(
    visit: Visit, data: Dataset, model: Callable[[Device, list[str]], list[set[str]]], device: Device, kind: str
) -> None:
    newcomer = visit(viewport={"width": device.width, "height": 900}, device_scale_factor=device.density)
    path = {
        "home": "/",
        "article": f"/article/{quote(data.articles[0].slug)}",
        "profile": f"/profile/{quote(data.users[0].username)}",
    }[kind]
    assert set(loaded(newcomer, path)) == model(device, [kind])[0]


def test_a_browser_that_comes_back_asks_for_what_the_model_says(
    visit: Visit, data: Dataset, model: Callable[[Device, list[str]], list[set[str]]]
) -> None:
    device = DEVICES[1]
    reader = visit(viewport={"width": device.width, "height": 900}, device_scale_factor=device.density)
    expected = model(device, ["home", "article", "home"])
    article = f"/article/{quote(data.articles[0].slug)}"
    for path, asked in zip(["/", article, "/"], expected, strict=True):
        from_stage = {name for name, sent in loaded(reader, path).items() if sent}
        assert {urlsplit(name).path for name in from_stage} == {urlsplit(name).path for name in asked}
