"""The rows of every table in PostgreSQL's binary COPY format, streamed from a population.

A stream yields Chunks: rows that belong to one logical shard. Column orders are those of COLUMNS.
"""

from __future__ import annotations  # array is not subscriptable at run time before Python 3.12

import datetime as dt
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from argon2 import Type
from argon2.low_level import hash_secret

from conduit.ids import EPOCH, SHARDS, compose, shard_of, slug_for
from data.loading.binary import NULL, text, text_array
from data.seed import covers, prose, vocabulary
from data.seed.population import Population, stream
from data.seed.sizes import PASSWORD, SPAN_MS

# PostgreSQL's binary timestamps count microseconds from 2000.
_EPOCH_MICROSECONDS = int((EPOCH - dt.datetime(2000, 1, 1, tzinfo=dt.UTC)).total_seconds()) * 1_000_000
_INSERTS_AT_ONCE = 512
_NO_COVER = NULL + NULL

# Field count, then length and value of each field of fixed width.
_NAME_TAIL = struct.Struct(">iqiq")  # user_id, reserved_at
_HEAD = struct.Struct(">hiq")  # field count, an id
_USER_TAIL = struct.Struct(">iqiiiq")  # created_at, articles_count, last_article_id
_ARTICLE_HEAD = struct.Struct(">hiqiq")  # id, author_id
_ARTICLE_TAIL = struct.Struct(">iiiqiq")  # favorites_count, created_at, updated_at
_PAIR = struct.Struct(">hiqiqiq")  # two ids, created_at
_COMMENT_HEAD = struct.Struct(">hiqiqiq")  # article_id, id, author_id
_TIMES = struct.Struct(">iqiq")  # created_at, updated_at
_ARTICLE_COUNT = struct.Struct(">hihiq")  # shard, count
_SHARD = struct.Struct(">hih")
_COUNT = struct.Struct(">iq")
_FAVORITE_COUNT = struct.Struct(">hihiqiq")  # shard, user_id, count

COLUMNS = {
    "usernames": ("username", "user_id", "reserved_at"),
    "emails": ("email", "user_id", "reserved_at"),
    "users": (
        ["id", "username", "email", "password_hash", "bio", "image", "created_at", "articles_count", "last_article_id"]
    ),
    "articles": (
        [
            "id",
            "author_id",
            "slug",
            "title",
            "description",
            "body",
            "tag_list",
            "favorites_count",
            "created_at",
            "updated_at",
            "cover_digest",
            "cover_state",
        ]
    ),
    "article_tags": ("article_id", "tag"),
    "favorites": ("article_id", "user_id", "created_at"),
    "comments": ("article_id", "id", "author_id", "body", "created_at", "updated_at"),
    "follows": ("follower_id", "followee_id", "created_at"),
    "reports": ("id", "user_id", "state", "created_at", "finished_at"),
    "outbox": (
        "owner_id",
        "key",
        "name",
        "arguments",
        "state",
        "generation",
        "attempts",
        "worker",
        "error",
        "created_at",
        "due_at",
        "finished_at",
    ),
    "article_counts": ("shard", "count"),
    "tag_counts": ("shard", "tag", "count"),
    "favorite_counts": ("shard", "user_id", "count"),
}


class Chunk(NamedTuple):
    """Rows of one logical shard: how many, and their bytes. The directory's belong to shard 0's server."""

    shard: int
    rows: int
    data: bytes


def password_hash() -> bytes:
    """One Argon2id hash for all, at OWASP's minimum; a fixed salt, so that it is the same every time."""
    return hash_secret(
        PASSWORD.encode(), b"conduit-seed-salt", time_cost=2, memory_cost=19456, parallelism=1, hash_len=32,
        type=Type.ID,
    )  # fmt: skip


def email_of(number: int) -> str:
    """The e-mail address of the user with this number: reader1@example.com is the first to have signed up."""
    return f"reader{number + 1}@example.com"


class Rows:
    """Streams the tables of one population. ``favorites`` goes before ``favorite_counts``, which it counts.

    ``digests`` are those of the seed's covers, in their order; where there are none, no article has a cover.
    ``covered`` counts the articles that got one, once ``articles`` has been streamed.
    """

    def __init__(self, population: Population, digests: Sequence[str] = ()) -> None:
        """Raises ValueError when there are covers, but not as many as the seed has."""
        if len(digests) not in (0, covers.COUNT):
            raise ValueError(f"the seed has {covers.COUNT} covers, not {len(digests)}")
        self.population = population
        self.covered = 0
        self._covers = [text(digest.encode()) + text(b"ready") for digest in digests]
        self.shelves = prose.shelves()
        self._marks: array[int] | None = None

    def expected(self) -> dict[str, int]:
        """Rows of every table whose number the population says; favorite_counts is not among them."""
        plan = self.population
        users, articles = plan.size.users, len(plan.article_ids)
        return {
            "usernames": users,
            "emails": users,
            "users": users,
            "articles": articles,
            "article_tags": sum(len(plan.article_tags(number)) for number in range(articles)),
            "favorites": sum(plan.favorites_counts),
            "comments": sum(plan.comments_counts),
            "follows": sum(plan.follows_counts),
            "reports": 0,
            "outbox": 0,
            "article_counts": SHARDS,
            "tag_counts": sum(1 for counts in plan.tag_counts() for count in counts if count),
        }

    def of(self, table: str) -> Iterator[Chunk]:
        """The rows of a table, in the order of its primary key or nearly so."""
        makers: dict[str, Callable[[], Iterator[Chunk]]] = {
            "usernames": lambda: self._directory(lambda number: self.population.names[number]),
            "emails": lambda: self._directory(email_of),
            "users": self._users,
            "articles": self._articles,
            "article_tags": self._article_tags,
            "favorites": self._favorites,
            "comments": self._comments,
            "follows": self._follows,
            "reports": lambda: iter(()),
            "outbox": lambda: iter(()),
            "article_counts": self._article_counts,
            "tag_counts": self._tag_counts,
            "favorite_counts": self._favorite_counts,
        }
        return makers[table]()

    def _directory(self, name_of: Callable[[int], str]) -> Iterator[Chunk]:
        head = struct.pack(">h", 3)
        for number, user_id in enumerate(self.population.user_ids):
            tail = _NAME_TAIL.pack(8, user_id, 8, _time(user_id >> 12))
            yield Chunk(0, 1, head + text(name_of(number).encode()) + tail)

    def _users(self) -> Iterator[Chunk]:
        plan, rng = self.population, stream(self.population.size, "users")
        hashed = text(password_hash())
        for number, user_id in enumerate(plan.user_ids):
            shelf = self.shelves[int(rng.random() * len(self.shelves))]
            bio = shelf.bios[int(rng.random() * len(shelf.bios))] if rng.random() < 0.7 else None
            face = int(rng.random() * 200)
            image = f"https://example.com/faces/{face}.jpg".encode() if face < 100 else None
            yield Chunk(
                shard_of(user_id),
                1,
                _HEAD.pack(9, 8, user_id)
                + text(plan.names[number].encode())
                + text(email_of(number).encode())
                + hashed
                + text(bio)
                + text(image)
                + _USER_TAIL.pack(
                    8, _time(user_id >> 12), 4, plan.articles_counts[number], 8, plan.last_article_ids[number]
                ),
            )

    def _articles(self) -> Iterator[Chunk]:
        plan, rng = self.population, stream(self.population.size, "articles")
        draw, self.covered = stream(self.population.size, "covers").random, 0
        tags = [tag.encode() for tag in vocabulary.TAGS]
        for number, article_id in enumerate(plan.article_ids):
            numbers = plan.article_tags(number)
            theme = vocabulary.THEME_OF_TAG[numbers[int(rng.random() * len(numbers))]]
            shelf = self.shelves[theme]
            title = prose.title(shelf, rng)
            created = _time(article_id >> 12)
            cover = _NO_COVER
            if draw() < covers.SHARE and self._covers:
                cover = self._covers[covers.of_theme(theme, draw())]
                self.covered += 1
            yield Chunk(
                shard_of(article_id),
                1,
                _ARTICLE_HEAD.pack(12, 8, article_id, 8, plan.user_ids[plan.authors[number]])
                + text(slug_for(title, article_id).encode())
                + text(title.encode())
                + text(shelf.descriptions[int(rng.random() * len(shelf.descriptions))])
                + text(shelf.body(rng))
                + text_array([tags[tag] for tag in numbers])
                + _ARTICLE_TAIL.pack(4, plan.favorites_counts[number], 8, created, 8, created)
                + cover,
            )

    def _article_tags(self) -> Iterator[Chunk]:
        plan = self.population
        fields = [text(tag.encode()) for tag in vocabulary.TAGS]
        for number, article_id in enumerate(plan.article_ids):
            head = _HEAD.pack(2, 8, article_id)
            numbers = plan.article_tags(number)
            yield Chunk(shard_of(article_id), len(numbers), b"".join([head + fields[tag] for tag in numbers]))

    def _favorites(self) -> Iterator[Chunk]:
        plan, draw = self.population, stream(self.population.size, "favorites").random
        users, user_ids, active, pack = plan.size.users, plan.user_ids, plan.by_activity, _PAIR.pack
        marks = array("I", [0]) * (users * SHARDS)
        for number, article_id in enumerate(plan.article_ids):
            count = plan.favorites_counts[number]
            if not count:
                continue
            readers: set[int] = set()
            while len(readers) < count:
                u = draw()
                readers.add(active[int(users * u * u)])  # rank^-0.5: the active half marks 70 %
            shard, begin, rows = shard_of(article_id), article_id >> 12, []
            for reader in sorted(readers):
                user_id = user_ids[reader]
                marks[reader * SHARDS + shard] += 1
                at = _after(begin, user_id >> 12, draw())
                rows.append(pack(3, 8, article_id, 8, user_id, 8, at))
            yield Chunk(shard, count, b"".join(rows))
        self._marks = marks

    def _comments(self) -> Iterator[Chunk]:
        plan, rng = self.population, stream(self.population.size, "comments")
        users, draw = plan.size.users, rng.random
        for number, article_id in enumerate(plan.article_ids):
            count = plan.comments_counts[number]
            if not count:
                continue
            shard = shard_of(article_id)
            shelf = self.shelves[vocabulary.THEME_OF_TAG[plan.article_tags(number)[0]]]
            rows = []
            for sequence in range(count):  # fewer than 64: the sequence alone tells an article's comments apart
                u = draw()
                user_id = plan.user_ids[plan.by_activity[int(users * u * u)]]
                at = _after(article_id >> 12, user_id >> 12, draw())
                comment_id = compose((at - _EPOCH_MICROSECONDS) // 1000, shard, sequence)
                rows.append(
                    _COMMENT_HEAD.pack(6, 8, article_id, 8, comment_id, 8, user_id)
                    + text(shelf.comment(rng))
                    + _TIMES.pack(8, at, 8, at)
                )
            yield Chunk(shard, count, b"".join(rows))

    def _follows(self) -> Iterator[Chunk]:
        plan, draw = self.population, stream(self.population.size, "follows").random
        users, user_ids, renown, pack = plan.size.users, plan.user_ids, plan.by_renown, _PAIR.pack
        for number, follower_id in enumerate(user_ids):
            count = plan.follows_counts[number]
            if not count:
                continue
            followees: set[int] = set()
            while len(followees) < count:
                u = draw()
                followee = renown[int(users * u * u * u * u)]  # rank^-0.75: a tenth has 56 % of the followers
                if followee != number:
                    followees.add(followee)
            rows = []
            for followee in sorted(followees):
                followee_id = user_ids[followee]
                at = _after(follower_id >> 12, followee_id >> 12, draw())
                rows.append(pack(3, 8, follower_id, 8, followee_id, 8, at))
            yield Chunk(shard_of(follower_id), count, b"".join(rows))

    def _article_counts(self) -> Iterator[Chunk]:
        for shard, count in enumerate(self.population.article_counts()):
            yield Chunk(shard, 1, _ARTICLE_COUNT.pack(2, 2, shard, 8, count))

    def _tag_counts(self) -> Iterator[Chunk]:
        for shard, counts in enumerate(self.population.tag_counts()):
            rows = [
                _SHARD.pack(3, 2, shard) + text(tag.encode()) + _COUNT.pack(8, count)
                for tag, count in zip(vocabulary.TAGS, counts, strict=True)
                if count
            ]
            yield Chunk(shard, len(rows), b"".join(rows))

    def _favorite_counts(self) -> Iterator[Chunk]:
        if self._marks is None:  # another asked for these alone
            for _ in self._favorites():
                pass
        marks, pack = self._marks, _FAVORITE_COUNT.pack
        assert marks is not None
        for shard in range(SHARDS):
            here = enumerate(marks[shard::SHARDS])
            rows = [pack(3, 2, shard, 8, self.population.user_ids[user], 8, n) for user, n in here if n]
            for start in range(0, len(rows), _INSERTS_AT_ONCE):
                part = rows[start : start + _INSERTS_AT_ONCE]
                yield Chunk(shard, len(part), b"".join(part))


def _time(milliseconds: int) -> int:
    """PostgreSQL's binary time of milliseconds since 2026."""
    return _EPOCH_MICROSECONDS + milliseconds * 1000


def _after(one: int, other: int, u: float) -> int:
    """A binary time after two moments (milliseconds since 2026), soon after them more often than late."""
    begin = max(one, other)
    return _EPOCH_MICROSECONDS + (begin + int((SPAN_MS - begin) * u * u * u)) * 1000
