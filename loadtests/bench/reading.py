"""``python -m loadtests.bench.reading --server shard1=URL …``: read as fast as the servers answer, without HTTP.

In the tools' container, for ``reads.py``, and without a cache. Threads call what the app's routes call, with the reads
of the mix browse: its shares, and its laws of what is asked for and of who is signed in. Each read has a session of its
own, as a request has; with ``--pins`` replicas may answer it.

Prints ``began``, ``ended``, and one line of JSON.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from conduit import metrics, sessions
from conduit.articles import id_of
from conduit.bootstrap import bootstrap
from conduit.ids import MAX_ID
from conduit.ports import Page, Reads
from conduit.sessions import Session
from conduit.settings import Settings
from loadtests.bench.threads import Threads
from loadtests.load import dataset
from loadtests.load.dataset import Dataset

# As loadtests.load.mixes.browse has them; the feed is never anonymous.
SHARES = {"article": 30, "home": 18, "comments": 12, "by tag": 8, "profile": 6, "feed": 6}
SIGNED_IN = 0.24
NEWEST = Page(20, 0, MAX_ID + 1)


class Reader:
    """Reads one thing after another."""

    def __init__(self, reads: Reads, data: Dataset, *, may_lag: bool) -> None:
        self._reads, self._data, self._may_lag = reads, data, may_lag
        self._kinds, self._weights = list(SHARES), list(SHARES.values())

    def read(self, draw: random.Random) -> str:
        """The kind of what was read. Raises AppError."""
        (kind,) = draw.choices(self._kinds, self._weights)
        session = Session(may_lag=self._may_lag)
        if kind == "feed" or draw.random() < SIGNED_IN:
            session.viewer = self._data.visitor(draw).id
        token = sessions.current.set(session)
        try:
            self._ask(kind, draw, session.viewer)()
        finally:
            sessions.current.reset(token)
        return kind

    def _ask(self, kind: str, draw: random.Random, viewer: int | None) -> Callable[[], object]:
        reads, data = self._reads, self._data
        match kind:
            case "article":
                return lambda: reads.article(id_of(data.slug(draw)), viewer)
            case "comments":
                return lambda: reads.comments(id_of(data.slug(draw)), viewer, NEWEST)
            case "profile":
                return lambda: reads.profile(data.author(draw).username, viewer)
            case "feed":
                return lambda: reads.feed(NEWEST, viewer or 0)
            case "by tag":
                return lambda: reads.articles(NEWEST, viewer, tag=data.tag(draw), author=None, favorited=None)
        return lambda: reads.articles(NEWEST, viewer, tag=None, author=None, favorited=None)


def answered() -> Counter[str]:
    """Calls that a replica might answer so far, by who did."""
    found: Counter[str] = Counter()
    for family in metrics.REPLICA_READS.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.labels["by"]] += int(sample.value)
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--server", action="append", required=True, help="as shard1=postgresql://…")
    parser.add_argument("--pins", help="redis://…; without it nothing is read from replicas")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--warm-up", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args(words)
    data = dataset.read(dataset.parse_databases(options.server))
    settings: dict[str, Any] = {"database_url": options.directory, "shards": " ".join(options.server)}
    settings |= {"pins_url": options.pins, "threads": options.threads, "pool_size": options.threads}
    use = bootstrap(Settings(**settings, media_dir="/tmp"))  # noqa: S108 - nobody asks for a file
    use.before_requests()
    reader = Reader(use.reads, data, may_lag=options.pins is not None)
    threads = Threads(reader.read, options.threads)
    threads.start()
    time.sleep(options.warm_up)
    before, began = answered(), time.monotonic()
    print("began", flush=True)
    time.sleep(options.seconds)
    ended, after = time.monotonic(), answered()
    print("ended", flush=True)
    threads.stop()
    use.close()
    print(json.dumps(threads.between(began, ended) | {"answered": after - before}), flush=True)


if __name__ == "__main__":
    main()
