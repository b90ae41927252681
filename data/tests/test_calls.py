"""What `make bench-sizes` times: every route that asks the database, and each of its calls does."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from conduit.bootstrap import bootstrap
from conduit.main import ROUTERS
from conduit.settings import Settings
from conduit.timing import Tally, tally
from loadtests.bench.calls import DOES_THE_SAME_AGAIN, Call, Calls
from loadtests.load import dataset

TIMES = 3


@pytest.fixture
def calls(small: str, tmp_path: Path) -> Iterator[dict[str, Call]]:
    use = bootstrap(Settings(database_url=small, jwt_secret="0" * 32, media_dir=tmp_path))
    sample = dataset.read([small], secret="")
    yield Calls(use, small, sample, random.Random(1), TIMES).by_route()
    use.close()


def test_every_route_of_the_api_is_timed(calls: dict[str, Call]) -> None:
    timed = {label.partition(",")[0] for label in calls}
    # What lies elsewhere (files, probes) asks for no rows.
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    api = {f"{method} {route.path}" for route in routes for method in route.methods or ()}
    assert timed == {route for route in api if "/api/" in route}


def test_each_call_asks_the_database_as_often_as_it_is_made(calls: dict[str, Call]) -> None:
    """Also those that take away what was there: of it there is enough."""
    for route, call in calls.items():
        for _ in range(TIMES):
            spent = Tally()
            token = tally.set(spent)
            call()
            tally.reset(token)
            assert spent.database_seconds > 0, route
    assert set(calls) >= DOES_THE_SAME_AGAIN
