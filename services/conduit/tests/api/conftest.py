"""The API suite, parametrized by deployment: one server with or without a cache, two servers, or a running stage
(--stage-url)."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from conduit_testing.client import Api, Person
from conduit_testing.deployments import (
    Deployment,
    NewDatabase,
    NewRedis,
    deployed_on_one_server,
    deployed_on_two_servers,
    quick_hashes,
)

_CACHED = "one server, cached"
_IN_PROCESS = {
    "one server": deployed_on_one_server,
    _CACHED: deployed_on_one_server,
    "two servers": deployed_on_two_servers,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "deployment" in metafunc.fixturenames:
        stage: str | None = metafunc.config.getoption("--stage-url")
        only: str | None = stage or metafunc.config.getoption("--deployment")
        metafunc.parametrize("deployment", [only] if only else list(_IN_PROCESS), indirect=True, scope="session")


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    name: str = request.param
    if name not in _IN_PROCESS:
        url = name.rstrip("/")
        database = httpx.get(f"{url}/health", timeout=20).raise_for_status().json()["backends"]["database"]
        shards = set(re.findall(r"\bshard\d+\b", database))
        yield Deployment(url, len(shards) + 1)  # the directory beside them, or the only server
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    redis = {}
    if name == _CACHED:
        new_redis: NewRedis = request.getfixturevalue("new_redis")
        redis = {"cache_url": new_redis(), "limits_url": new_redis()}
    with ExitStack() as running:
        with quick_hashes():  # while it is put together; it lives on while other suites run
            deployment = running.enter_context(_IN_PROCESS[name](new_database, **redis))
        yield deployment


@pytest.fixture(scope="session")
def http(deployment: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        if http.get("/health").json()["backends"]["edge"] != "none":
            # The app ignores it, and the edge cache passes such requests on: a writer must see the change at once.
            http.headers["Authorization"] = "Past the edge"
        yield http


@pytest.fixture
def api(http: httpx.Client) -> Api:
    return Api(http)


@pytest.fixture
def jo(api: Api) -> Person:
    return api.sign_up()


@pytest.fixture
def ann(api: Api) -> Person:
    return api.sign_up()
