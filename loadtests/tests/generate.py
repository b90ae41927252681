"""The generator's loop with made-up rows, for tests that have no database."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import locust  # noqa: F401 - patches the sockets, so before whatever imports them

from loadtests.dataset import Dataset, User
from loadtests.generator import serve


def made_up() -> Dataset:
    """A hundred articles by ten users."""
    users = [User(4096 + n, f"user{n}", f"user{n}@example.com") for n in range(10)]
    return Dataset(
        slugs=[f"article-{n}" for n in range(100)],
        users=users,
        heavy=users[:2],
        tags=["one", "two", "three"],
        counts={"users": 10, "articles": 100},
        secret="a secret of thirty-two bytes or so",
    )


if __name__ == "__main__":
    serve(made_up(), sys.argv[1])
