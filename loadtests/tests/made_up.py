"""A dataset that no database holds."""

from loadtests.dataset import Dataset, User


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
