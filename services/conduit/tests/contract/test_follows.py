"""How many people one user follows at the most, and two requests for the same follow."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from conduit import profiles, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import InvalidError
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.waiting import until


def test_a_user_follows_so_many_and_no_more(
    database: PostgresDatabase, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MOST_FOLLOWED", 2)
    names = [fresh() for _ in range(3)]
    for name in names:
        sign_up(name)
    reader = sign_up(fresh())
    for name in names[:2]:
        assert profiles.follow(database, reader, name, following=True).following
    with pytest.raises(InvalidError) as refused:
        profiles.follow(database, reader, names[2], following=True)
    assert refused.value.errors == {"username": ["can't be followed: you follow 2 people already"]}
    # Idempotent even then.
    assert profiles.follow(database, reader, names[0], following=True).following
    profiles.follow(database, reader, names[0], following=False)
    assert profiles.follow(database, reader, names[2], following=True).following


@pytest.mark.parametrize("others", [0, 1], ids=["below the bound", "at the bound"])
def test_a_follow_that_waits_for_the_same_one_succeeds(
    database: PostgresDatabase,
    sign_up: SignUp,
    somebody_waits: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    others: int,
) -> None:
    monkeypatch.setattr(profiles, "MOST_FOLLOWED", 2)
    name, reader = fresh(), sign_up(fresh())
    followee = sign_up(name)
    for _ in range(others):
        other = fresh()
        sign_up(other)
        profiles.follow(database, reader, other, following=True)
    with ThreadPoolExecutor(1) as thread:
        with database.writing(reader) as writer:
            writer.all(writes.FOLLOW, viewer=reader, followee=followee, most=2)
            second = thread.submit(profiles.follow, database, reader, name, following=True)
            until(somebody_waits, "the second request does not wait")
        assert second.result(5).following
