"""Settings: invalid values, and the defaults."""

from typing import Any

import pytest
from pydantic import ValidationError

from conduit_testing.deployments import settings_for

URL = "postgresql://conduit@127.0.0.1/conduit"


def test_the_defaults_are_those_of_a_box_of_256_megabytes() -> None:
    settings = settings_for(URL, login_limit="10/minute", write_limit="60/minute")
    assert (settings.threads, settings.pool_size, settings.password_hashes_at_once) == (10, 10, 1)
    assert settings.pool_size >= settings.threads
    assert (settings.login_limit_item.amount, settings.write_limit_item.amount) == (10, 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"database_url": "mysql://x/y"}, {"database_url": "nowhere"}, {"jwt_secret": "short"}, {"token_hours": 0},
        {"write_limit": "often"}, {"login_limit": ""}, {"threads": 0}, {"pool_size": 0}, {"port": 70_000},
        {"max_in_flight": 0}, {"smtp_url": "mail:25"}, {"smtp_url": "http://mail"}, {"smtp_url": "smtp://user@mail:25"},
        {"smtp_url": "smtp://mail:25/path"}, {"smtp_url": "smtp://"}, {"mail_from": "nobody"}, {"mail_from": ""},
        {"media_url": "media:8080"}, {"media_url": "https://media"}, {"media_url": "http://media/files"},
        {"media_url": "http://user@media"}, {"media_url": "http://media?x"},
        {"broker_url": "broker:6379"}, {"broker_url": "redis://broker"}, {"broker_url": "redis://broker:6379/0?x=1"},
        {"cache_url": "cache:6379"}, {"limits_url": "redis://user@cache:6379/1"}, {"limits_url": "redis://cache:6379/"},
        {"box_name": ""}, {"edge_url": "cdn:8081"}, {"edge_url": "http://cdn:8081/purge"},
        {"public_url": "ftp://x"}, {"public_url": ""}, {"mail_seconds": 0}, {"task_seconds": 0},
        {"uploads_at_once": 0}, {"upload_wait_seconds": -1},
        {"shards": "postgresql://one/conduit"}, {"shards": "one=nowhere"}, {"shards": "one="},
        {"shards": "one=postgresql://one/conduit one=postgresql://two/conduit"},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_settings_are_refused_at_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings_for(**{"database_url": URL} | changes)
    assert [str(problem["loc"][0]) for problem in refused.value.errors()] == list(changes)


@pytest.mark.parametrize("changes", [{"threads": 11}, {"threads": 5, "pool_size": 4}], ids=str)
def test_a_pool_smaller_than_the_threads_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be at least THREADS") as refused:
        settings_for(URL, **changes)
    assert [problem["loc"] for problem in refused.value.errors()] == [("pool_size",)]


def test_a_shard_has_a_name_and_one_host_or_several() -> None:
    shards = {"shard1": "postgresql://conduit@shard1a,shard1b/conduit", "two": "postgresql://conduit@two:5433/conduit"}
    given = " \n".join(f"{name}={url}" for name, url in shards.items())
    assert settings_for(URL, shards=given).shard_urls == shards
    assert settings_for(URL).shard_urls == {}


@pytest.mark.parametrize(
    ("url", "server"),
    [(None, None), ("", None), ("smtp://mail:2525", ("mail", 2525)), ("smtp://mail.example", ("mail.example", 25))],
)
def test_the_mail_servers_url_has_only_host_and_port(url: str | None, server: tuple[str, int] | None) -> None:
    assert settings_for(URL, smtp_url=url).smtp_server == server


@pytest.mark.parametrize(("url", "kept"), [(None, None), ("", None), ("http://media:8080", "http://media:8080")])
def test_the_media_stores_url_has_only_host_and_port(url: str | None, kept: str | None) -> None:
    assert settings_for(URL, media_url=url).media_url == kept


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a@b.test", "a@b.test"),
        ("Conduit <a@b.test>", "Conduit <a@b.test>"),
        ('"A, B" <a@b.test>', '"A, B" <a@b.test>'),
    ],
)
def test_mail_from_is_an_address_with_or_without_a_name(text: str, shown: str) -> None:
    assert str(settings_for(URL, mail_from=text).mail_address) == shown


@pytest.mark.parametrize("name", ["broker_url", "cache_url", "limits_url"])
def test_a_redis_without_a_password_in_its_url_has_the_common_one(name: str) -> None:
    for url, used in (
        ("redis://cache:6379/0", "redis://:p%2Fw%40@cache:6379/0"),
        ("redis://:own@cache:6379/0", "redis://:own@cache:6379/0"),
        ("", None),
    ):
        settings = settings_for(URL, **{name: url}, rediscli_auth="p/w@")
        assert getattr(settings, name) == used
        assert "p/w" not in repr(settings)
        assert "p%2Fw" not in repr(settings)
    assert getattr(settings_for(URL, **{name: "redis://cache:6379/0"}), name) == "redis://cache:6379/0"


def test_links_in_mail_start_with_the_public_url() -> None:
    assert settings_for(URL, public_url="https://conduit.example/").public_url == "https://conduit.example"


def test_the_secret_is_not_shown() -> None:
    assert "secret of the tests" not in repr(settings_for(URL))


@pytest.mark.parametrize("user", ["", "app"])
@pytest.mark.parametrize("name", ["cache_url", "limits_url", "broker_url"])
def test_a_redis_url_may_have_a_password_which_is_not_shown(name: str, user: str) -> None:
    url = f"redis://{user}:hunter2@cache:6379/1"
    settings = settings_for(URL, **{name: url})
    assert getattr(settings, name) == url
    assert "hunter2" not in repr(settings)


def test_a_refused_url_is_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        settings_for(URL, cache_url="redis://:hunter2@cache:6379/none")
    assert "hunter2" not in str(refused.value)
