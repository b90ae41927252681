"""Tokens: a JWT with the user's id. Verifying one needs no lookup, so none can be revoked before it expires."""

import time
from functools import lru_cache

import jwt

from conduit.errors import NotSignedInError
from conduit.ids import MAX_ID

_ALGORITHM = "HS256"


class Tokens:
    """Issues and verifies tokens that last ``hours``, signed with HS256 and the stage's secret."""

    def __init__(self, secret: str, hours: float) -> None:
        self._secret = secret
        self._seconds = int(hours * 3600)
        # A signed-in reader sends the same token with every request, so its signature is verified once.
        self._verified = lru_cache(maxsize=1024)(self._verify)

    def issue(self, user_id: int) -> str:
        now = int(time.time())
        claims = {"sub": str(user_id), "iat": now, "exp": now + self._seconds}
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def user_id(self, token: str) -> int:
        """The id in a valid token. Raises NotSignedInError for one that is forged, malformed or expired."""
        try:
            user_id, expires = self._verified(token)
        except (jwt.InvalidTokenError, ValueError) as error:
            reason = "is expired" if isinstance(error, jwt.ExpiredSignatureError) else "is invalid"
            raise NotSignedInError(message=reason) from error
        if expires <= time.time():
            raise NotSignedInError(message="is expired")
        return user_id

    def _verify(self, token: str) -> tuple[int, float]:
        claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM], options={"require": ["sub", "exp"]})
        user_id = int(claims["sub"])
        if not 0 < user_id <= MAX_ID:
            raise ValueError("no such id")
        return user_id, float(claims["exp"])
