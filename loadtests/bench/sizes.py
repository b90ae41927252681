"""``python -m loadtests.bench.sizes``: database time at SIZE=large beside SIZE=small, interleaved, of sixteen calls.

These are what the load mixes send, and no others: not accounts, reports, or the changing of what is there.

Two PostgreSQL containers of a box's memory, each with one dataset, are asked the same calls in turn: the app's own
reads and use cases, from this process. Keys are drawn by the laws of the load mixes (``loadtests.dataset``): articles,
authors and tags by popularity, who is signed in evenly. Every read is made twice in a row. The first time it takes what
the draw gives it, pages that must come from the disk among them: 256 MB hold small whole and a tenth of large. The
second time its pages are in memory, and its time is the work that the statement does.

Figures are milliseconds that the app waited for the database for one request, as drawn and again; the raw samples go to
``runs/<time>-sizes/sizes.json``.
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

from conduit import articles, comments, profiles
from conduit.bootstrap import Services, bootstrap
from conduit.ids import MAX_ID
from conduit.migrate import migrate, wait_for
from conduit.ports import Page
from conduit.schemas import NewArticle
from conduit.settings import Settings
from conduit.timing import Tally, tally
from loadtests.ceiling.record import commit
from loadtests.dataset import Dataset, read

SIZES = ("small", "large")
ROUNDS = 300
MEMORY = "256m"
WARM_UP = 20  # rounds that make connections, plans and caches
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
    raw = {"unit": "ms", "commit": commit(), "rounds": ROUNDS, "box_memory": MEMORY, "samples": samples}
    (folder / "sizes.json").write_text(json.dumps(raw))
    _show(samples)
    print(f"\nRaw data: {folder / 'sizes.json'}")
    return 0


def _show(samples: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    print(f"\n{'':28}{'as drawn':^27}{'again, in memory':^27}")
    print(f"{'database ms (median)':28}" + f"{SIZES[0]:>9}{SIZES[1]:>9}{'ratio':>9}" * 2)
    for route, passes in samples.items():
        columns = ""
        for by_size in passes.values():
            small, large = (median(by_size[size]) for size in SIZES)
            columns += f"{small:9.3f}{large:9.3f}{large / small:9.2f}"
        print(f"{route:28}{columns}")


def _measure(datasets: list["_Dataset"]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Milliseconds by route, pass (``drawn``; ``again`` for reads) and size."""
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}
    for number in range(-WARM_UP, ROUNDS):
        for route in datasets[0].calls:
            for dataset in datasets if number % 2 else datasets[::-1]:
                before = dataset.draw.getstate()
                for which in ("drawn", "again") if route.startswith("GET") else ("drawn",):
                    dataset.draw.setstate(before)  # the same keys again
                    milliseconds = _timed(dataset.calls[route])
                    if number >= 0:
                        by_size = samples.setdefault(route, {}).setdefault(which, {})
                        by_size.setdefault(dataset.size, []).append(milliseconds)
    return samples


def _timed(call: Callable[[], object]) -> float:
    spent = Tally()
    token = tally.set(spent)
    call()
    tally.reset(token)
    return spent.database_seconds * 1000


class _Dataset:
    """One size of the dataset in a PostgreSQL container of its own, and the calls that are made on it."""

    def __init__(self, size: str) -> None:
        self.size = size
        self._name = f"conduit-sizes-{size}"
        self.remove()
        limits = ["--memory", MEMORY, "--cpus", "1", "--env", f"PGPASSWORD={_PASSWORD}", "--publish", "127.0.0.1::5432"]
        limits += ["--tmpfs", "/run:uid=1000,gid=1000,mode=0755"]
        _run("docker", "run", "--detach", "--name", self._name, *limits, "conduit/postgres")
        port = _run("docker", "port", self._name, "5432").strip().rpartition(":")[2]
        self._url = f"postgresql://conduit:{_PASSWORD}@127.0.0.1:{port}/conduit"
        self.draw = random.Random(1)
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
        self.calls = _calls(bootstrap(settings), read([self._url], secret=""), self.draw)


def _calls(use: Services, data: Dataset, draw: random.Random) -> dict[str, Callable[[], object]]:
    def listed(viewer: int | None, **filters: str) -> object:
        given = {"tag": None, "author": None, "favorited": None} | filters
        return use.reads.articles(_PAGE, viewer, **given)

    def draft() -> NewArticle:
        return NewArticle(f"A title {next(_numbers)}", "A description", "A body. " * 100, [data.tag(draw)])

    def visitor() -> int:
        return data.visitor(draw).id

    def name() -> str:
        return data.author(draw).username

    def slug() -> str:
        return data.slug(draw)

    def article_id() -> int:
        return articles.id_of(slug())

    return {
        "GET article, anonymous": lambda: use.reads.article(article_id(), None),
        "GET article, signed in": lambda: use.reads.article(article_id(), visitor()),
        "GET list, anonymous": lambda: listed(None),
        "GET list, signed in": lambda: listed(visitor()),
        "GET list by tag": lambda: listed(None, tag=data.tag(draw)),
        "GET list by author": lambda: listed(None, author=name()),
        "GET list by favorited": lambda: listed(None, favorited=name()),
        "GET feed": lambda: use.reads.feed(_PAGE, visitor()),
        "GET comments, signed in": lambda: use.reads.comments(article_id(), visitor(), _PAGE),
        "GET profile, signed in": lambda: use.reads.profile(name(), visitor()),
        "GET tags": use.reads.tags,
        "POST favorite": lambda: articles.mark(use.database, use.media, visitor(), slug(), favorited=True),
        "DELETE favorite": lambda: articles.mark(use.database, use.media, visitor(), slug(), favorited=False),
        "POST comment": lambda: comments.add(use.database, visitor(), slug(), "A comment."),
        "POST follow": lambda: profiles.follow(use.database, data.users[0].id, _other(data, draw), following=True),
        "POST article": lambda: articles.publish(use.database, use.tasks, visitor(), draft()),
    }


def _other(data: Dataset, draw: random.Random) -> str:
    return data.users[draw.randrange(1, len(data.users))].username


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
