"""``python -m loadtests.bench.writing --server shard1=URL …``: write as fast as the servers take it, without HTTP.

In the tools' container, for ``writes.py``. Threads call the app's own use cases: an app box has not the CPU to saturate
a database. Of ten writes four publish an article, four mark one as a favourite and two comment; each is one transaction
on the author's server. Tasks are not stored, and nobody is signed up: users are rows that are made before.

Prints ``began``, ``ended``, and one line of JSON.
"""

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import psycopg

from conduit import articles, comments, ids, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.events_null import NullEvents
from conduit.adapters.media_disk import DiskMedia
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.shard_map import FixedMap
from conduit.migrate import migrate
from conduit.ports import Enqueued, Task, Writer
from conduit.postgres_hosts import Hosts
from conduit.request_bodies import NewArticle
from loadtests.bench.threads import Threads

USERS_OF_A_SHARD = 2
KINDS, WEIGHTS = ("publish", "favorite", "comment"), (4, 4, 2)
NOBODYS = "-"
# Of the newest articles one is marked or commented on.
NEWEST = 2_000
# Commits and syncs so far; the second are of the whole server.
_COUNTERS = """
    SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
           (SELECT wal_sync FROM pg_stat_wal) AS syncs
"""


class _NoTasks:
    """Stores and sends nothing."""

    def enqueue(self, _writer: Writer, task: Task) -> Enqueued:
        return Enqueued(task, 1)

    def send(self, enqueued: Enqueued) -> None: ...


class Site:
    """An equal run of the logical shards on each server, with some users on each of them."""

    def __init__(self, urls: dict[str, str], connections: int) -> None:
        for url in urls.values():
            migrate(Hosts(url).conninfo())
        servers = [PostgresServer(name, url, connections) for name, url in urls.items()]
        placed = [servers[shard * len(servers) // ids.SHARDS] for shard in range(ids.SHARDS)]
        self.database = PostgresDatabase(FixedMap(placed), servers[0], NullEvents())
        self.database.open()
        self.users = self._sign_up()
        self.slugs: deque[str] = deque(maxlen=NEWEST)
        self._media = DiskMedia(Path("/tmp"))  # noqa: S108 - nobody has a cover
        for user in self.users:
            self._write("publish", user, "")

    def _sign_up(self) -> list[int]:
        now = time.time_ns() // 1_000_000
        users = []
        for shard in range(ids.SHARDS):
            for number in range(USERS_OF_A_SHARD):
                user = ids.compose(now, shard, number)
                name = f"w{now}x{shard}x{number}"
                with self.database.writing(user) as writer:
                    writer.all(writes.INSERT_USER, user_id=user, username=name, email=name, password_hash=NOBODYS)
                users.append(user)
        return users

    def write(self, draw: random.Random) -> str:
        """One write, of the kind that it returns. Raises AppError."""
        (kind,) = draw.choices(KINDS, WEIGHTS)
        self._write(kind, draw.choice(self.users), self.slugs[draw.randrange(len(self.slugs))])
        return kind

    def _write(self, kind: str, user: int, slug: str) -> None:
        if kind == "publish":
            draft = NewArticle(title="A title of some words", description="d", body="b" * 1_000, tagList=["one", "two"])
            self.slugs.append(articles.publish(self.database, _NoTasks(), user, draft).slug)
        elif kind == "favorite":
            articles.mark(self.database, self._media, user, slug, favorited=True)
        else:
            comments.add(self.database, user, slug, "A comment of some words.")


def counters(urls: dict[str, str]) -> dict[str, dict[str, int]]:
    """Commits and syncs so far, by server."""
    found = {}
    for name, url in urls.items():
        with psycopg.connect(Hosts(url).conninfo(), autocommit=True) as connection:
            row = connection.execute(_COUNTERS).fetchone()
            assert row is not None
            found[name] = {"commits": row[0], "syncs": row[1]}
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", action="append", required=True, help="as shard1=postgresql://…")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--warm-up", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args(words)
    urls = dict(server.split("=", 1) for server in options.server)
    site = Site(urls, options.threads)
    writers = Threads(site.write, options.threads)
    writers.start()
    time.sleep(options.warm_up)
    before, began = counters(urls), time.monotonic()
    print("began", flush=True)
    time.sleep(options.seconds)
    ended, after = time.monotonic(), counters(urls)
    print("ended", flush=True)
    writers.stop()
    site.database.close()
    spent = {
        name: {what: after[name][what] - count for what, count in counts.items()} for name, counts in before.items()
    }
    print(json.dumps(writers.between(began, ended) | {"servers": spent}), flush=True)


if __name__ == "__main__":
    main()
