"""Interrupted sign-ups and renames: no name goes to two users, and none is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from conduit import directory, users, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import InvalidError, NotSignedInError, UnavailableError
from conduit.passwords import Passwords
from conduit.ports import Writer
from conduit.request_bodies import Login, NewUser, UserChanges
from conduit.timing import Tally, tally
from conduit.tokens import Tokens
from conduit_testing.client import PASSWORD, fresh
from conduit_testing.deployments import NewDatabase, database_on_two_servers, migrated

PASSWORDS = Passwords(2)
TOKENS = Tokens("a secret of the tests, long enough for HS256", 1)


class Dying(PostgresDatabase):
    """Loses the connection to a user's server: before the commit, or between the commit and its answer."""

    lose: str | None = None

    @contextmanager
    def writing(self, owner_id: int) -> Iterator[Writer]:
        with super().writing(owner_id) as writer:
            yield writer
            if self.lose == "before" and getattr(writer, "events", []):
                raise UnavailableError("the database")
        if self.lose == "after" and getattr(writer, "events", []):
            raise UnavailableError("the database")


@pytest.fixture(scope="module")
def urls(new_database: NewDatabase) -> list[str]:
    return [migrated(new_database), migrated(new_database)]


@pytest.fixture
def database(urls: list[str]) -> Iterator[Dying]:
    database = database_on_two_servers(urls[0], urls[1], Dying)
    assert isinstance(database, Dying)
    database.open()
    yield database
    database.close()


def _age(urls: list[str], seconds: int) -> None:
    """Make every reservation older."""
    with psycopg.connect(urls[0], autocommit=True) as connection:
        for table in ("usernames", "emails"):
            connection.execute(
                f"UPDATE {table} SET reserved_at = reserved_at - interval '{seconds} seconds'"  # noqa: S608  # type: ignore[arg-type]
            )


def _address() -> str:
    return f"{fresh()}@example.com"


def _sign_up(database: Dying, name: str, email: str | None = None) -> int:
    user = users.sign_up(
        database, PASSWORDS, TOKENS, NewUser(username=name, email=email or f"{name}@example.com", password=PASSWORD)
    )
    return TOKENS.user_id(user.token)


def _queries(work: Callable[[], object]) -> dict[str, int]:
    spent = Tally()
    token = tally.set(spent)
    work()
    tally.reset(token)
    return spent.queries


def test_signing_up_and_changing_a_user_take_two_queries_on_each_server(database: Dying) -> None:
    """A rename takes a third if one server has both: the former name is released after the change."""
    name = fresh()
    assert sum(_queries(lambda: _sign_up(database, name)).values()) == 2
    user_id = _sign_up(database, fresh())
    same = users.current(database, user_id, "token")
    everything = UserChanges(username=same.username, email=same.email, password=PASSWORD, bio="a bio", image=None)
    assert sum(_queries(lambda: users.change(database, PASSWORDS, user_id, "token", everything)).values()) == 2
    assert sum(_queries(lambda: _rename(database, user_id, fresh())).values()) == 3


def _rename(database: Dying, user_id: int, name: str) -> None:
    users.change(database, PASSWORDS, user_id, "token", UserChanges(username=name))


def test_the_reservation_of_an_interrupted_sign_up_is_taken_over_after_a_minute(
    database: Dying, urls: list[str]
) -> None:
    name = fresh()
    database.lose = "before"
    with pytest.raises(UnavailableError):
        _sign_up(database, name)
    database.lose = None
    for seconds in (0, 55):
        _age(urls, seconds)
        with pytest.raises(InvalidError) as refused:
            _sign_up(database, name)
        assert refused.value.errors == {
            "username": ["has already been taken"],
            "email": ["has already been taken"],
        }
    _age(urls, 6)
    assert _sign_up(database, name)


def test_a_name_stays_reserved_when_the_answer_to_the_commit_is_lost(database: Dying, urls: list[str]) -> None:
    name = fresh()
    database.lose = "after"
    with pytest.raises(UnavailableError):
        _sign_up(database, name)
    database.lose = None
    for seconds in (0, 61, 61):
        _age(urls, seconds)
        with pytest.raises(InvalidError):
            _sign_up(database, name)
    credentials = Login(email=f"{name}@example.com", password=PASSWORD)
    assert users.sign_in(database, PASSWORDS, TOKENS, credentials).username == name


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_an_interrupted_rename_one_of_the_two_names_is_free_after_a_minute(
    database: Dying, urls: list[str], moment: str
) -> None:
    old, new = fresh(), fresh()
    user_id = _sign_up(database, old)
    database.lose = moment
    with pytest.raises(UnavailableError):
        _rename(database, user_id, new)
    database.lose = None
    for seconds in (0, 55):
        _age(urls, seconds)
        for name in (old, new):
            with pytest.raises(InvalidError):
                _sign_up(database, name, _address())
    _age(urls, 6)
    carried, free = (old, new) if moment == "before" else (new, old)
    assert users.current(database, user_id, "token").username == carried
    with pytest.raises(InvalidError):
        _sign_up(database, carried, _address())
    assert _sign_up(database, free, _address())
    assert users.current(database, user_id, "token").username == carried


def test_a_late_release_keeps_a_name_that_its_user_carries_again(
    database: Dying, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fresh(), fresh()
    user_id = _sign_up(database, old)
    release = directory.release

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        _rename(database, user_id, old)  # the user changes back before the first change has released the name
        release(*arguments)

    monkeypatch.setattr(directory, "release", late)
    _rename(database, user_id, new)
    assert users.current(database, user_id, "token").username == old
    assert database.find_username(old)
    with pytest.raises(InvalidError):
        _sign_up(database, old, _address())
    assert _sign_up(database, new)


def test_a_name_that_its_holder_takes_back_while_it_is_taken_over_stays_the_holders(
    database: Dying, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fresh(), fresh()
    user_id = _sign_up(database, old)
    with monkeypatch.context() as dying:  # between the change and the release
        dying.setattr(directory, "release", lambda *_: None)
        _rename(database, user_id, new)
    _age(urls, 61)
    left_behind = directory._left_behind

    def found_left_behind(*arguments: Any) -> dict[str, int]:
        monkeypatch.undo()
        found = left_behind(*arguments)
        assert found == {"username": user_id}
        _rename(database, user_id, old)  # the holder changes back before the name is taken over
        return found

    monkeypatch.setattr(directory, "_left_behind", found_left_behind)
    with pytest.raises(InvalidError) as refused:
        _sign_up(database, old, _address())
    assert refused.value.errors == {"username": ["has already been taken"]}
    assert users.current(database, user_id, "token").username == old
    found = database.find_username(old)
    assert found is not None
    assert found.user_id == user_id


def test_signing_in_takes_as_many_queries_for_an_unknown_address_as_for_a_known_one(database: Dying) -> None:
    name = fresh()
    _sign_up(database, name)

    def refused(email: str) -> None:
        with pytest.raises(NotSignedInError):
            users.sign_in(database, PASSWORDS, TOKENS, Login(email=email, password="wrong"))

    assert sum(_queries(lambda: refused(f"{name}@example.com")).values()) == 2
    unknown = _address()
    first = _queries(lambda: refused(unknown))
    assert sum(first.values()) == 2
    assert _queries(lambda: refused(unknown)) == first


def test_a_refused_change_keeps_the_users_names(database: Dying) -> None:
    """A front end also sends unchanged names; a refusal must not release them."""
    name, taken = fresh(), fresh()
    user_id = _sign_up(database, name)
    _sign_up(database, taken)
    with pytest.raises(InvalidError) as refused:
        users.change(database, PASSWORDS, user_id, "token", UserChanges(username=taken, email=f"{name}@example.com"))
    assert refused.value.errors == {"username": ["has already been taken"]}
    with pytest.raises(InvalidError) as refused:
        _sign_up(database, fresh(), f"{name}@example.com")
    assert refused.value.errors == {"email": ["has already been taken"]}


def test_a_released_name_is_free_at_once(database: Dying) -> None:
    old, new = fresh(), fresh()
    user_id = _sign_up(database, old)
    _rename(database, user_id, new)
    assert _sign_up(database, old, _address())


def test_a_name_that_a_failed_change_reserved_is_free_at_once_and_a_carried_one_is_kept(database: Dying) -> None:
    old, new = fresh(), fresh()
    user_id = _sign_up(database, old)
    names = {"username": new, "email": f"{old}@example.com"}
    with pytest.raises(ZeroDivisionError), directory.reserved(database, names, user_id):
        raise ZeroDivisionError
    assert _sign_up(database, new, _address())
    with pytest.raises(InvalidError) as refused:
        _sign_up(database, old)
    assert set(refused.value.errors) == {"username", "email"}


def test_a_change_of_no_name_is_the_users_own(database: Dying) -> None:
    user_id = _sign_up(database, fresh())
    with directory.reserved(database, {}, user_id) as reservation:
        assert reservation == (user_id, None)


def test_only_the_name_that_its_holder_carries_is_refused(database: Dying, urls: list[str]) -> None:
    carried, left = fresh(), fresh()
    _sign_up(database, carried)
    database.lose = "before"
    with pytest.raises(UnavailableError):
        _sign_up(database, left)
    database.lose = None
    _age(urls, 61)
    with pytest.raises(InvalidError) as refused:
        _sign_up(database, carried, f"{left}@example.com")
    assert refused.value.errors == {"username": ["has already been taken"]}
    assert _sign_up(database, left)


def test_a_name_missing_from_the_directory_but_carried_by_a_user_is_still_taken(
    database: Dying, urls: list[str]
) -> None:
    name = fresh()
    user_id = _sign_up(database, name)
    with psycopg.connect(urls[0], autocommit=True) as connection:
        connection.execute("DELETE FROM usernames WHERE username = %s", (name,))
    with (
        pytest.raises(InvalidError) as refused,
        directory.reserved(database, {"username": name}, user_id + 64),
        database.writing(user_id) as writer,
    ):
        writer.all(writes.INSERT_USER, user_id=user_id + 64, username=name, email=fresh(), password_hash="x")
    assert refused.value.errors == {"username": ["has already been taken"]}
