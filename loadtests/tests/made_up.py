"""A dataset and pages that no database holds and no stage serves."""

from loadtests.load.dataset import Article, Dataset, User
from loadtests.load.site_assets import Page

PAGES = {
    name: Page(f'W/"{name}"', ("/assets/site.1.css", "/assets/icon.2.svg", f"/assets/{name}.3.js", "/assets/api.4.js"))
    for name in ("home", "feed", "article", "profile")
}


def made_up() -> Dataset:
    """A hundred articles by ten users, every third with a cover."""
    users = [User(4096 + n, f"user{n}", f"user{n}@example.com") for n in range(10)]
    articles = [Article(f"article-{n}", "" if n % 3 else f"{n:032x}") for n in range(100)]
    return Dataset(
        articles=articles,
        users=users,
        heavy=users[:2],
        tags=["one", "two", "three"],
        counts={"users": 10, "articles": 100},
        newest=articles[:50],
        of_tag={"one": articles[20:30], "two": articles[30:32]},
        of_author={user.id: articles[10 * n : 10 * n + 10] for n, user in enumerate(users)},
        secret="a secret of thirty-two bytes or so",
    )
