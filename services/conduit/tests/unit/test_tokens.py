"""Tokens: which are accepted, and which are refused."""

import time
from typing import Any

import jwt
import pytest

from conduit.errors import NotSignedInError
from conduit.ids import MAX_ID
from conduit.tokens import Tokens

SECRET = "a secret of the tests, long enough for HS256 and for HS384 too"


def _token(algorithm: str = "HS256", secret: str = SECRET, **changes: Any) -> str:
    claims = {"sub": "4096", "iat": int(time.time()), "exp": int(time.time()) + 60} | changes
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret, algorithm=algorithm)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, 1)


@pytest.mark.parametrize("user_id", [1, 4096, MAX_ID])
def test_a_token_gives_its_users_id(tokens: Tokens, user_id: int) -> None:
    token = tokens.issue(user_id)
    assert [tokens.user_id(token) for _ in range(3)] == [user_id] * 3
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["sub"] == str(user_id)
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None}, {"exp": None}, {"sub": "0"}, {"sub": "-1"}, {"sub": str(MAX_ID + 1)}, {"sub": "9" * 5000},
        {"sub": "jo"}, {"sub": ""}, {"exp": "soon"}, {"secret": SECRET + "x"}, {"algorithm": "HS384"},
        {"nbf": int(time.time()) + 86_400}, {"sub": "1.5"},
    ],
    ids=lambda changes: str(changes)[:30],
)  # fmt: skip
def test_a_forged_token_or_one_with_invalid_claims_is_refused(tokens: Tokens, changes: dict[str, Any]) -> None:
    with pytest.raises(NotSignedInError) as refused:
        tokens.user_id(_token(**changes))
    assert refused.value.errors == {"token": ["is invalid"]}


def test_an_expired_token_is_refused_although_it_was_verified_before(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotSignedInError) as refused:
        tokens.user_id(_token(exp=int(time.time()) - 1))
    assert refused.value.errors == {"token": ["is expired"]}
    token = tokens.issue(7)
    assert tokens.user_id(token) == 7
    later = time.time() + 3601
    monkeypatch.setattr("conduit.tokens.time.time", lambda: later)
    with pytest.raises(NotSignedInError) as refused:
        tokens.user_id(token)
    assert refused.value.errors == {"token": ["is expired"]}
