"""People with browsers of their own, who are watched: what no test expects fails it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Route, expect

from conduit_testing.client import PASSWORD, Person
from conduit_testing.waiting import until
from tests.running import ROOT

SETTLED_WITHIN_SECONDS = 30
# Nobody who isn't signed in sees the API's answers older than this (docs/decisions/0004-the-edge.md).
OLDEST_ANSWER_SECONDS = 3
SHOTS = ROOT / "runs" / "pages"
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
_BAD_STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_LOST = "Failed to load resource: net::"
# A page may be told of a violation that Chromium logs too; both are caught, so that neither can be missed.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.effectiveDirective} by ${event.blockedURI}`));
"""
# Pictures that load as they come into view: all of them for a picture of the whole page.
_LOADED = """(whole) => {
  const pictures = [...document.images];
  if (whole) pictures.forEach((one) => (one.loading = "eager"));
  return pictures.every((one) => one.complete || (!whole && one.loading === "lazy"));
}"""


@dataclass
class Visitor:
    """Somebody at a browser of their own. ``wrong`` is what must not happen and did."""

    context: BrowserContext
    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)
    expected: set[int | str] = field(default_factory=set)
    """Statuses that this test has the API answer, and "lost" where it takes the network away."""
    requests: list[Request] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page of the site and wait until nothing of it is on its way any more."""
        self.page.goto(f"{self.origin}{path}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until no part of the page is busy."""
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def shoot(self, name: str, *, whole: bool = True) -> Path:
        """Keep a picture of the page."""
        path = SHOTS / f"{name}.png"
        self.page.wait_for_function(_LOADED, arg=whole)
        self.page.screenshot(path=path, full_page=whole, scale="css")
        return path

    def watch(self) -> None:
        self.context.on("request", self._asked)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.wrong.append(f"uncaught: {error.error}"))

    def _asked(self, request: Request) -> None:
        self.requests.append(request)
        if not request.url.startswith((f"{self.origin}/", f"blob:{self.origin}/", "data:")):
            self.wrong.append(f"left the origin: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        status = _BAD_STATUS.match(message.text)
        if status and int(status.group(1)) in self.expected:
            return
        if message.text.startswith(_LOST) and "lost" in self.expected:
            return
        self.wrong.append(f"console {message.type}: {message.text} ({message.location['url']})")


Visit = Callable[..., Visitor]
"""Makes a visitor: signed in with the given state of a browser, with options of a browser context."""


@dataclass(frozen=True)
class Member:
    """Somebody with an account: to the API a person, to the browser what it keeps of a session."""

    person: Person
    state: Any


Join = Callable[[], Member]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what is done after the answer, or is seen a second or two later by those who are not signed in."""
    until(holds, f"not {what} within {SETTLED_WITHIN_SECONDS} s", within=SETTLED_WITHIN_SECONDS, pause=0.1)


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill the sign-in form, send it, and wait until the page says that somebody is signed in."""
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="New article")).to_be_visible()


def write(page: Page, title: str, body: str = "You have to *believe*.", tags: str = "") -> None:
    """Fill the editor."""
    page.get_by_label("Title").fill(title)
    page.get_by_label("Description").fill(f"What {title} is about")
    page.get_by_label(re.compile("^Body")).fill(body)
    if tags:
        page.get_by_label("Tags", exact=True).fill(tags)


def alert(page: Page) -> Locator:
    """What the page's content says is wrong."""
    return page.get_by_role("main").get_by_role("alert")


def answers(status: int, errors: dict[str, list[str]], **headers: str) -> Callable[[Route], None]:
    """An answer of the API, as a browser's route gives it."""

    def give(route: Route) -> None:
        body = json.dumps({"errors": errors})
        route.fulfill(status=status, headers={"Content-Type": "application/json"} | headers, body=body)

    return give
