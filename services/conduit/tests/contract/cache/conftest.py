"""For the suites about the cache: reads behind a cache, both of which a test can inspect, and an article to read."""

from collections.abc import Iterator

import pytest
from redis import Redis

from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_cached import CachedReads
from conduit.ports import Media, Tasks
from conduit_testing.deployments import SignUp
from conduit_testing.story import Slow, Story


@pytest.fixture
def behind(database: PostgresDatabase, media: Media) -> Slow:
    return Slow(database, media)


@pytest.fixture
def reads(behind: Slow, cache: RedisCache, media: Media) -> CachedReads:
    return CachedReads(behind, cache, media)


@pytest.fixture
def inside(cache: RedisCache) -> Iterator[Redis]:
    """The database of Redis that the cache is in."""
    options = cache._server.pool.connection_kwargs
    with Redis(host=options["host"], port=options["port"], db=options["db"]) as inside:
        yield inside


@pytest.fixture
def story(database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp) -> Story:
    return Story(database, tasks, media, sign_up)
