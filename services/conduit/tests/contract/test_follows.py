"""How many people one user follows at the most."""

import pytest

from conduit import profiles
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import InvalidError
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp


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
