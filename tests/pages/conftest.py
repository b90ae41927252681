"""Chromium in a container on stage 4's network, driven from here. Screenshots go to runs/pages/."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Error, Playwright, expect, sync_playwright

from conduit_testing.client import Api
from infra.stage import topology
from tests.pages.visitors import DESK, REPORT_VIOLATIONS, SHOTS, Join, Member, Visit, Visitor, sign_in
from tests.running import Stage, Stages

NUMBER = 4
PATIENCE_MS = 10_000
_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def stage(stages: Stages) -> Stage:
    return stages.bring_up(NUMBER)[0]


@pytest.fixture(scope="session")
def origin(stage: Stage) -> str:
    """Where the browser finds the site: on the stage's own network.

    By the container's name, because the service is called as a top-level domain is that browsers know to be HTTPS only.
    """
    edge = topology.read(NUMBER)
    return f"http://{stage.host(edge.edge)}:{edge.edge_port}"


@pytest.fixture(scope="session")
def http(stage: Stage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stage.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="session")
def api(http: httpx.Client) -> Api:
    """The API, to prepare what a test finds."""
    return Api(http)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(stage: Stage, playwright: Playwright) -> Iterator[Browser]:
    """Debian's chromium in a container on the stage's network. Nothing is installed on this machine."""
    stage.compose("--profile", "tools", "build", "browser")
    stage.compose("--profile", "tools", "up", "--detach", "--no-deps", "--wait", "browser")
    port = stage.compose("--profile", "tools", "port", "browser", "3000").strip().rpartition(":")[2]
    SHOTS.mkdir(parents=True, exist_ok=True)
    for old in SHOTS.glob("failed-*"):
        old.unlink()
    expect.set_options(timeout=PATIENCE_MS)
    browser = playwright.chromium.connect(f"ws://127.0.0.1:{port}/chromium")
    try:
        yield browser
    finally:
        browser.close()
        stage.compose("--profile", "tools", "rm", "--force", "--stop", "browser")


@pytest.fixture
def visit(browser: Browser, origin: str, stage: Stage, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Makes visitors; at the end, nothing must have gone wrong with any of them.

    Of a test that fails, what its visitors saw and what the boxes logged are kept beside the screenshots.
    """
    visitors: list[Visitor] = []

    def make(state: Any = None, **options: Any) -> Visitor:
        context = browser.new_context(storage_state=state, **(DESK | options))
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(REPORT_VIOLATIONS)
        visitor = Visitor(context, context.new_page(), origin)
        visitor.watch()
        visitors.append(visitor)
        return visitor

    yield make
    failed = request.node.stash.get(_FAILED, False)
    if failed:
        (SHOTS / f"failed-{request.node.name}.log").write_text(stage.compose("logs", "--no-color", "--tail", "100"))
    for number, visitor in enumerate(visitors, 1):
        if failed:
            with suppress(Error):  # a page that crashed has no picture
                visitor.shoot(f"failed-{request.node.name}-{number}", whole=False)
        visitor.context.close()
    if not failed:
        assert [wrong for visitor in visitors for wrong in visitor.wrong] == []


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    """Somebody who is not signed in."""
    return visit()


@pytest.fixture(scope="session")
def join(api: Api, browser: Browser, origin: str) -> Join:
    """Makes members. What a browser keeps of a session is learnt from one that signed in; the others' is the same with
    their token and their name, because signing in takes seconds.
    """
    first = api.sign_up()
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{origin}/login")
    sign_in(page, first.email)
    kept = json.dumps(context.storage_state())
    token = page.evaluate("localStorage.getItem('conduit.token')")
    context.close()

    def make() -> Member:
        person = api.sign_up()
        theirs = kept.replace(token, person.token or "").replace(first.username, person.username)
        return Member(person, json.loads(theirs))

    return make


@pytest.fixture(scope="session")
def ann(join: Join) -> Member:
    """A writer, shared by the tests that change nothing of hers that others look at."""
    return join()


@pytest.fixture(scope="session")
def ben(join: Join) -> Member:
    """A reader, shared in the same way."""
    return join()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    if outcome.get_result().failed:
        item.stash[_FAILED] = True
