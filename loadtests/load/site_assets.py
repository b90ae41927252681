"""The pages of a running stage: which assets each one's HTML names, and the tag by which a browser asks for it again.

Read from the stage and nowhere else, so that what a browser loads is what is asked for, whatever the pages become.
"""

import urllib.error
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

TIME_OUT = 10.0
# `modulepreload` names every module that the page's own imports, in the end.
_LOADED = frozenset({"stylesheet", "icon", "modulepreload", "preload"})


class SiteError(Exception):
    """The stage does not serve its pages; the message says which one, and why."""


@dataclass(frozen=True)
class Page:
    """One page's HTML: its entity tag, and the paths of what it makes a browser load beside it."""

    tag: str
    assets: tuple[str, ...]


def read(target: str, paths: dict[str, str]) -> dict[str, Page]:
    """The pages at some paths of a stage, by their names. Raises SiteError."""
    return {name: _page(target, path) for name, path in paths.items()}


def assets_of(html: str) -> list[str]:
    """The paths of style sheets, scripts, modules and icons that HTML names, in its order."""
    parser = _Links()
    parser.feed(html)
    return list(dict.fromkeys(parser.found))


def _page(target: str, path: str) -> Page:
    try:
        with urllib.request.urlopen(urljoin(target, path), timeout=TIME_OUT) as answer:  # noqa: S310 - http, the stage's
            html, tag = answer.read().decode(), answer.headers["ETag"]
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise SiteError(f"the page {path} cannot be had: {error}") from error
    assets = assets_of(html)
    elsewhere = [asset for asset in assets if urlsplit(asset).netloc or not asset.startswith("/")]
    if elsewhere or not assets or tag is None:
        found = f"loads {elsewhere[0]}" if elsewhere else "names no assets" if not assets else "has no ETag"
        raise SiteError(f"the page {path} {found}: these are not the app's pages")
    return Page(tag, tuple(assets))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("src") if tag == "script" else None
        if tag == "link" and _LOADED & set((given.get("rel") or "").split()):
            address = given.get("href")
        if address:
            self.found.append(address)
