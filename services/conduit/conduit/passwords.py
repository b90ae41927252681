"""Password hashes: Argon2id at OWASP's minimum (19 MiB, two passes, one lane), with a limit on concurrent hashes."""

import ctypes
from contextlib import suppress
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1


_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def _return_large_blocks() -> None:
    """Make glibc return large blocks to the system when they are freed, as other C libraries do.

    By default it raises its threshold with the first freed block of 19 MiB, and then keeps such a block for each thread
    that ever hashed: with ten threads 190 MiB, in a box of 256 MB.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class Passwords:
    """Hashes and verifies passwords, at most ``at_once`` concurrently. Routes wait for a slot of a bulkhead before."""

    def __init__(self, at_once: int) -> None:
        _return_large_blocks()
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
