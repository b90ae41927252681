"""``python -m loadtests.bench.sizes``: database time of every route at SIZE=large beside SIZE=small, interleaved.

Two PostgreSQL containers of a box's memory, each with one dataset, are asked the same calls in turn: the app's own
reads and use cases, from this process. Keys are drawn by Zipf popularity, as the load mixes draw them, so that what
is hot is cached in both. Figures are milliseconds that the app waited for the database for one request; the raw
samples go to ``runs/<time>-sizes/sizes.json``.
"""

import datetime as dt
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

import psycopg

from conduit import articles, comments, profiles
from conduit.bootstrap import Services, bootstrap
from conduit.ids import MAX_ID
from conduit.migrate import migrate, wait_for
from conduit.ports import Page
from conduit.schemas import NewArticle
from conduit.settings import Settings
from conduit.timing import Tally, tally
from loadtests.popularity import Zipf

SIZES = ("small", "large")
ROUNDS = 300
_PASSWORD = "sizes"  # noqa: S105 - of a container that lives for this run
_PAGE = Page(20, 0, MAX_ID + 1)
_numbers = count()


def main() -> int:
    started = [_Dataset(size) for size in SIZES]
    try:
        for dataset in started:
            dataset.load()
        samples = _measure(started)
    finally:
        for dataset in started:
            dataset.remove()
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-sizes"
    folder.mkdir(parents=True)
    (folder / "sizes.json").write_text(json.dumps({"unit": "ms", "samples": samples}))
    print(f"\n{'database ms a request (median)':34}{SIZES[0]:>9}{SIZES[1]:>9}{'ratio':>8}")
    for route, by_size in samples.items():
        small, large = (median(by_size[size]) for size in SIZES)
        print(f"{route:34}{small:9.3f}{large:9.3f}{large / small:8.2f}")
    print(f"\nRaw data: {folder / 'sizes.json'}")
    return 0


def _measure(datasets: list["_Dataset"]) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {}
    for number in range(-20, ROUNDS):  # the first twenty make connections, plans and caches
        for route in datasets[0].calls:
            for dataset in datasets if number % 2 else datasets[::-1]:
                spent = Tally()
                token = tally.set(spent)
                dataset.calls[route]()
                tally.reset(token)
                if number >= 0:
                    samples.setdefault(route, {}).setdefault(dataset.size, []).append(spent.database_seconds * 1000)
    return samples


class _Dataset:
    """One size of the dataset in a PostgreSQL container of its own, and the calls that are made on it."""

    def __init__(self, size: str) -> None:
        self.size = size
        self._name = f"conduit-sizes-{size}"
        self.remove()
        limits = ["--memory", "256m", "--cpus", "1", "--env", f"PGPASSWORD={_PASSWORD}", "--publish", "127.0.0.1::5432"]
        limits += ["--tmpfs", "/run:uid=1000,gid=1000,mode=0755"]
        _run("docker", "run", "--detach", "--name", self._name, *limits, "conduit/postgres")
        port = _run("docker", "port", self._name, "5432").strip().rpartition(":")[2]
        self._url = f"postgresql://conduit:{_PASSWORD}@127.0.0.1:{port}/conduit"
        self.calls: dict[str, Callable[[], object]] = {}

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self._name], capture_output=True, check=False)

    def load(self) -> None:
        wait_for(self._url)
        migrate(self._url)
        began = time.monotonic()
        seed = [sys.executable, "-m", "loadtests.seed", "--size", self.size, "--database", f"0-63={self._url}"]
        subprocess.run(seed, check=True)
        print(f"{self.size}: loaded in {time.monotonic() - began:.0f} s", flush=True)
        settings = Settings(database_url=self._url, jwt_secret="0" * 32, write_limit="1000000/second")
        self.calls = _calls(bootstrap(settings), self._url)


def _calls(use: Services, url: str) -> dict[str, Callable[[], object]]:
    with psycopg.connect(url) as database:
        slugs = [row[0] for row in database.execute("SELECT slug FROM articles ORDER BY id DESC LIMIT 20000")]
        people = database.execute("SELECT id, username FROM users ORDER BY id DESC LIMIT 5000").fetchall()
        tags = [row[0] for row in database.execute("SELECT DISTINCT tag FROM tag_counts ORDER BY 1")]
    draw = random.Random(1)
    popular = Zipf(len(slugs))
    slug: Callable[[], str] = lambda: slugs[popular.draw(draw)]  # noqa: E731
    person: Callable[[], tuple[int, str]] = lambda: draw.choice(people)  # noqa: E731

    def listed(viewer: int | None, **filters: str) -> object:
        given = {"tag": None, "author": None, "favorited": None} | filters
        return use.reads.articles(_PAGE, viewer, **given)

    def draft() -> NewArticle:
        return NewArticle(f"A title {next(_numbers)}", "A description", "A body. " * 100, [draw.choice(tags)])

    def article_id() -> int:
        return articles.id_of(slug())

    return {
        "GET article, anonymous": lambda: use.reads.article(article_id(), None),
        "GET article, signed in": lambda: use.reads.article(article_id(), person()[0]),
        "GET list, anonymous": lambda: listed(None),
        "GET list, signed in": lambda: listed(person()[0]),
        "GET list by tag": lambda: listed(None, tag=draw.choice(tags)),
        "GET list by author": lambda: listed(None, author=person()[1]),
        "GET list by favorited": lambda: listed(None, favorited=person()[1]),
        "GET feed": lambda: use.reads.feed(_PAGE, person()[0]),
        "GET comments, signed in": lambda: use.reads.comments(article_id(), person()[0], _PAGE),
        "GET profile, signed in": lambda: use.reads.profile(person()[1], person()[0]),
        "GET tags": use.reads.tags,
        "POST favorite": lambda: articles.mark(use.database, person()[0], slug(), favorited=True),
        "DELETE favorite": lambda: articles.mark(use.database, person()[0], slug(), favorited=False),
        "POST comment": lambda: comments.add(use.database, person()[0], slug(), "A comment."),
        "POST follow": lambda: profiles.follow(
            use.database, people[0][0], people[draw.randrange(1, 900)][1], following=True
        ),
        "POST article": lambda: articles.publish(use.database, person()[0], draft()),
    }


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
