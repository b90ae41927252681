"""A Redis that refuses the database or the password is not used, and a password is shown nowhere."""

import contextlib
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from limits import parse
from redis import Redis

from conduit.adapters import redis_server
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.limits_redis import RedisLimits
from conduit.errors import TooManyError, UnavailableError
from conduit_testing.client import Api, fresh, queries
from conduit_testing.deployments import NewDatabase, NewRedis, migrated, served, settings_for

NO_SUCH_DATABASE = 1_000_000


@pytest.fixture(autouse=True)
def short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "START_SECONDS", 0.3)


@pytest.fixture
def with_password(new_redis: NewRedis) -> Iterator[tuple[str, str]]:
    """The URL of a database for a user with a password, and the password."""
    url, user, password = new_redis(), secrets.token_hex(6), secrets.token_hex(12)
    with Redis.from_url(url) as admin:
        admin.acl_setuser(user, enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"])
        yield url.replace("redis://", f"redis://{user}:{password}@"), password
        admin.acl_deluser(user)


def _keys(url: str, account: str) -> list[bytes]:
    """The keys that name an account: others come and go, as other tests' entries expire."""
    with Redis.from_url(url) as inside:
        return [*inside.scan_iter(f"*{account}*", count=1_000)]


def test_with_a_refused_database_each_box_counts_limits_by_itself(
    new_redis: NewRedis,
) -> None:
    server = new_redis().rpartition("/")[0]
    account, here = fresh(), f"{server}/0"
    limits = parse("3/hour"), parse("5/hour")
    seen = RedisLimits(here, *limits)
    seen.open()
    seen.count_write(f"{account}-seen")
    seen.close()
    boxes = [RedisLimits(f"{server}/{NO_SUCH_DATABASE}", *limits) for _ in range(2)]
    for box in boxes:
        box.open()
        for _ in range(3):
            box.count_write(f"{account}-refused")
        with pytest.raises(TooManyError):
            box.count_write(f"{account}-refused")
        box.close()
    assert _keys(here, f"{account}-seen"), "a count leaves a key that this finds"
    assert _keys(here, f"{account}-refused") == []


def test_with_a_refused_database_the_cache_is_not_used(new_redis: NewRedis) -> None:
    cache = RedisCache(f"{new_redis().rpartition('/')[0]}/{NO_SUCH_DATABASE}")
    cache.open()
    with pytest.raises(UnavailableError):
        cache.get_article(1, cache.new_token())
    cache.close()


def test_the_password_of_the_url_is_used(with_password: tuple[str, str]) -> None:
    url, password = with_password
    for tried, answers in ((url, True), (url.replace(password, "wrong"), False)):
        cache = RedisCache(tried)
        cache.open()
        with contextlib.nullcontext() if answers else pytest.raises(UnavailableError):
            assert cache.get_article(1, cache.new_token()).miss is not None
        cache.close()


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_neither_health_nor_the_log_shows_the_password(
    *,
    right: bool,
    with_password: tuple[str, str],
    new_database: NewDatabase,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url, password = with_password
    if not right:
        url, password = url.replace(password, "hunter2"), "hunter2"
    settings = settings_for(migrated(new_database), media_dir=tmp_path, cache_url=url, limits_url=url)
    assert password not in repr(settings)
    with caplog.at_level(logging.DEBUG), served(settings) as base_url, httpx.Client(base_url=base_url) as http:
        health = http.get("/health").text
        api = Api(http)
        slug = api.sign_up().slug()
        reads = [queries(api.get(f"/articles/{slug}")) for _ in range(3)]
    assert (reads[-1] == 0) is right
    assert "from Redis" in health
    # Where it is, is nobody's business at a public port.
    assert f":{urlsplit(url).port}" not in health
    logged = [*(f"{record.getMessage()} {vars(record)}" for record in caplog.records), *capfd.readouterr()]
    assert password not in health
    assert not [line for line in logged if password in line]
