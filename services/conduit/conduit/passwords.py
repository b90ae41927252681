"""Password hashes: Argon2id at OWASP's minimum (19 MiB, two passes, one lane), with a limit on concurrent hashes."""

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1


class Passwords:
    """Hashes and verifies passwords, at most ``at_once`` concurrently. Routes wait for a slot of a bulkhead before."""

    def __init__(self, at_once: int) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._slots = BoundedSemaphore(at_once)
        # Verified if there is no such user, so that the response time does not reveal which e-mails are known.
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
