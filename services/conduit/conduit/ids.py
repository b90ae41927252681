"""Ids of 53 bits: a time, a logical shard and a sequence, exact in a JavaScript number.

    milliseconds since 2026-01-01 UTC (41 bits) | logical shard (6 bits) | sequence (6 bits)

The database makes them (function ``next_id`` in the first migration), so that two app boxes never make the same id. An
id gives its row's shard without a lookup, and ids sort by creation time on every server.
"""

import datetime as dt
import re
import secrets

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
EPOCH_MS = int(EPOCH.timestamp() * 1000)
SHARD_BITS = 6
SEQUENCE_BITS = 6
SHARDS = 1 << SHARD_BITS
MAX_ID = (1 << 53) - 1

_SLUG_SEPARATORS = re.compile(r"[\W_]+")
_SLUG_ID = re.compile(r"(?:^|-)([0-9]{1,16})\Z", re.ASCII)
_SLUG_TEXT_LENGTH = 80


def compose(milliseconds: int, shard: int, sequence: int) -> int:
    """The id made at ``milliseconds`` since 2026 on a logical shard. Only seeding makes ids outside the database."""
    return milliseconds << (SHARD_BITS + SEQUENCE_BITS) | shard << SEQUENCE_BITS | sequence


def shard_of(row_id: int) -> int:
    """The logical shard, 0 to 63, that an id carries."""
    return (row_id >> SEQUENCE_BITS) & (SHARDS - 1)


def random_shard() -> int:
    """The logical shard of a new user, and so of everything that the user will own."""
    return secrets.randbelow(SHARDS)


def slug_text(title: str) -> str:
    """The readable part of a slug, from a title in any script; empty if the title has no letter or digit."""
    return _SLUG_SEPARATORS.sub("-", title.lower()).strip("-")[:_SLUG_TEXT_LENGTH].strip("-")


def slug_for(title: str, article_id: int) -> str:
    """A slug that ends in the article's id: ``how-to-train-123``."""
    text = slug_text(title)
    return f"{text}-{article_id}" if text else str(article_id)


def id_from_slug(slug: str) -> int | None:
    """The id at the end of a slug, or None. So the old slug of a renamed article still finds it."""
    match = _SLUG_ID.search(slug)
    if match is None:
        return None
    article_id = int(match.group(1))
    return article_id if article_id <= MAX_ID else None
