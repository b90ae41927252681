"""What is read from a replica that lags: nobody misses what they wrote or have seen, and nothing old is cached."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conduit.adapters import positions, replicated_server
from conduit.adapters import replica as replica_module
from conduit_testing.client import Api, Caller, Person, fresh
from conduit_testing.containers import Replicated
from conduit_testing.deployments import NewDatabase, NewRedis, migrated
from conduit_testing.proxy import proxied
from conduit_testing.replicated import Replica, is_from_replica, site_with
from conduit_testing.waiting import until

BACK_WITHIN_SECONDS = 10.0


@pytest.fixture(scope="module")
def replica(replicated: Replicated) -> Replica:
    return Replica(replicated)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The tests' Redis has not been running for long, and a new replica settles while they wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "KNOWN_SECONDS", 3)
        patch.setattr(replica_module, "SETTLES_SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def directory(new_database: NewDatabase) -> str:
    return migrated(new_database)


@pytest.fixture(scope="module", params=["from the databases", "from the cache"])
def settings(request: pytest.FixtureRequest, new_redis: NewRedis) -> dict[str, str | None]:
    return {"pins_url": new_redis(), "cache_url": new_redis() if request.param == "from the cache" else None}


@pytest.fixture(scope="module")
def site(
    replica: Replica, directory: str, settings: dict[str, str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    with site_with(replica, directory, tmp_path_factory.mktemp("media"), **settings) as api:
        _wait_for_replica(api)
        yield api


def _list(reader: Caller) -> httpx.Response:
    return reader.get("/articles", before=2**53 - 1)  # which no cache keeps


def _wait_for_replica(reader: Caller) -> None:
    until(lambda: is_from_replica(_list(reader)), "the primary answers", within=BACK_WITHIN_SECONDS)


@pytest.fixture
def api(site: Api, replica: Replica) -> Iterator[Api]:
    yield site
    replica.go_on()
    _wait_for_replica(site)


@pytest.fixture
def jo(api: Api) -> Person:
    """Somebody of whom the replica knows."""
    person = api.sign_up()
    _wait_for_replica(person)
    return person


def test_who_is_not_signed_in_reads_from_the_replica_as_it_is(api: Api, jo: Person, replica: Replica) -> None:
    replica.hold()
    slug = jo.slug()
    answer = _list(api)
    assert is_from_replica(answer)
    assert slug not in answer.text
    replica.go_on()
    assert slug in _list(api).text


def test_a_user_sees_what_that_user_wrote(api: Api, jo: Person, replica: Replica) -> None:
    replica.hold()
    slug = jo.slug()
    jo.favorite(slug)
    jo.comment(slug, "Mine.")
    answer = _list(jo)
    assert slug in answer.text
    assert not is_from_replica(answer)
    assert jo.article(slug)["favorited"]
    assert "Mine." in jo.get(f"/articles/{slug}/comments", before=2**53 - 1).text
    assert jo.put("/user", {"user": {"bio": "Changed."}}).status_code == 200
    assert jo.get("/user").json()["user"]["bio"] == "Changed."
    replica.go_on()
    answer = _list(jo)
    assert slug in answer.text
    assert is_from_replica(answer)


def test_who_signs_up_is_there(api: Api, replica: Replica) -> None:
    replica.hold()
    person = api.sign_up()
    assert person.get("/user").json()["user"]["username"] == person.username


def test_a_write_of_somebody_elses_keeps_nobody_from_the_replica(api: Api, jo: Person, replica: Replica) -> None:
    ann = api.sign_up()
    _wait_for_replica(ann)
    replica.hold()
    jo.put("/user", {"user": {"bio": "Only jo's."}})
    assert is_from_replica(ann.get("/user"))
    assert not is_from_replica(jo.get("/user"))


def test_whom_the_primary_has_answered_does_not_go_back(api: Api, jo: Person, replica: Replica) -> None:
    ann = api.sign_up()
    _wait_for_replica(ann)
    replica.hold()
    slug = jo.slug()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "KNOWN_SECONDS", 10**9)  # so nobody knows ann's pins, and the primary answers
        assert slug in _list(ann).text
    assert slug in _list(ann).text
    assert slug not in _list(api).text


def test_what_was_seen_in_the_cache_is_seen_in_what_is_not_cached(
    api: Api, jo: Person, replica: Replica, settings: dict[str, str | None]
) -> None:
    if settings["cache_url"] is None:
        pytest.skip("there is no cache")
    ann = api.sign_up()
    ann.follow(jo)
    slug = jo.slug("Before")
    replica.catch_up()
    assert ann.article(slug)["title"] == "Before"  # and her marks are cached
    assert ann.feed()[0] == [slug]
    replica.hold()
    changed = jo.put(f"/articles/{slug}", {"article": {"title": "After"}}).json()["article"]["slug"]
    assert api.article(changed)["title"] == "After"  # and that is cached
    assert ann.article(changed)["title"] == "After"
    assert ann.feed()[0] == [changed]
    assert changed in _list(ann).text


def test_the_cache_is_filled_from_no_replica_that_lacks_a_change(
    api: Api, jo: Person, replica: Replica, settings: dict[str, str | None]
) -> None:
    if settings["cache_url"] is None:
        pytest.skip("there is no cache")
    tag = fresh("tag")
    slug = jo.slug("Before", tagList=[tag])
    replica.catch_up()
    replica.hold()
    changed = jo.put(f"/articles/{slug}", {"article": {"title": "After"}}).json()["article"]["slug"]
    for _ in range(2):  # the second is from the cache
        assert api.article(changed)["title"] == "After"
        assert api.articles(tag=tag)[0] == [changed]
    jo.delete(f"/articles/{changed}")
    for _ in range(2):
        assert api.get(f"/articles/{changed}").status_code == 404
        assert api.articles(tag=tag)[0] == []


def test_without_pins_nobody_knows_what_a_reader_must_see(
    replica: Replica, directory: str, new_redis: NewRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    media_dir = tmp_path_factory.mktemp("media")
    with proxied(new_redis()) as pins, site_with(replica, directory, media_dir, pins_url=pins.url) as api:
        _wait_for_replica(api)
        jo = api.sign_up()
        _wait_for_replica(jo)
        pins.cut()
        assert not is_from_replica(_list(jo))
        assert is_from_replica(_list(api))
        pins.mend()
        _wait_for_replica(jo)


def test_a_write_whose_pin_is_not_kept_waits_for_the_replica(
    *,
    replica: Replica,
    directory: str,
    new_redis: NewRedis,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicated_server, "REPLICA_WAIT_SECONDS", 10.0)
    media_dir = tmp_path_factory.mktemp("media")
    with proxied(new_redis()) as pins, site_with(replica, directory, media_dir, pins_url=pins.url) as api:
        _wait_for_replica(api)
        jo = api.sign_up()
        replica.catch_up()
        pins.cut()
        replica.hold()
        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(jo.slug)
            time.sleep(0.5)
            assert not writing.done()
            replica.go_on()
            slug = writing.result(10)
        assert slug in _list(api).text


def test_a_redis_that_has_just_started_may_have_lost_pins(
    replica: Replica, directory: str, new_redis: NewRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    media_dir = tmp_path_factory.mktemp("media")
    with site_with(replica, directory, media_dir, pins_url=new_redis()) as api:
        _wait_for_replica(api)
        jo = api.sign_up()
        _wait_for_replica(jo)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(positions, "KNOWN_SECONDS", 10**9)
            assert not is_from_replica(_list(jo))
            assert is_from_replica(_list(api))


def test_a_replica_that_lags_too_far_answers_nobody(
    replica: Replica, directory: str, new_redis: NewRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    media_dir = tmp_path_factory.mktemp("media")
    with site_with(replica, directory, media_dir, pins_url=new_redis(), max_lag=1.0) as api:
        _wait_for_replica(api)
        jo = api.sign_up()
        replica.hold()
        try:
            slug = jo.slug()
            until(lambda: not is_from_replica(_list(api)), "it answers for ever", within=5.0)
            assert slug in _list(api).text
        finally:
            replica.go_on()
        _wait_for_replica(api)


def test_a_replica_that_is_started_anew_answers_again_when_it_is_there(
    api: Api, jo: Person, replica: Replica, replicated: Replicated
) -> None:
    replicated.restart_standby()
    slug = jo.slug()
    answer = _list(api)
    assert answer.status_code == 200, answer.text
    replica.catch_up()
    _wait_for_replica(api)
    assert slug in _list(api).text


def test_with_read_your_writes_off_a_user_misses_what_that_user_wrote(
    replica: Replica, directory: str, new_redis: NewRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """So the tests above can fail."""
    media_dir = tmp_path_factory.mktemp("media")
    with site_with(replica, directory, media_dir, pins_url=new_redis(), read_your_writes=False) as api:
        _wait_for_replica(api)
        jo = api.sign_up()
        replica.catch_up()
        replica.hold()
        try:
            slug = jo.slug()
            answer = _list(jo)
            assert is_from_replica(answer)
            assert slug not in answer.text
        finally:
            replica.go_on()


def test_nothing_is_read_from_replicas_without_a_place_for_pins(
    replica: Replica, directory: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with site_with(replica, directory, tmp_path_factory.mktemp("media")) as api:
        assert not is_from_replica(_list(api))
