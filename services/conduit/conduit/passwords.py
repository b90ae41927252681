"""Argon2id at OWASP's minimum (19 MiB, two passes, one lane), a bounded number at once: each takes its 19 MiB."""

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1


class Passwords:
    """Hashes and checks, at most ``at_once`` at the same time. Routes wait for their turn in a bulkhead before."""

    def __init__(self, at_once: int) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._slots = BoundedSemaphore(at_once)
        # Checked where there is no such user: the time of an answer must not tell which addresses are known.
        self._decoy = self._hasher.hash("nobody's password")

    def hash(self, password: str) -> str:
        with self._slots:
            return self._hasher.hash(password)

    def matches(self, password: str, password_hash: str | None) -> bool:
        with self._slots:
            try:
                return self._hasher.verify(password_hash or self._decoy, password) and bool(password_hash)
            except (VerificationError, InvalidHashError):
                return False
