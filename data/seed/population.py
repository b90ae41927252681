"""Who is there and what was published: the plan that every table's rows are written from.

Held in arrays (about 60 MB for 100,000 users and a million articles), so that the largest size streams.
"""

from __future__ import annotations  # array is not subscriptable at run time before Python 3.12

import hashlib
import random
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from conduit.ids import SHARDS, compose, shard_of
from data.seed import sizes, vocabulary
from data.seed.powerlaw import zipf
from data.seed.sizes import SIGN_UP_SPAN_MS, SPAN_MS, Size

TAGS_AT_MOST = 4
NO_TAG = 255
_SEQUENCES = 64
_AUTHOR_BITS = 20


def stream(size: Size, purpose: str) -> random.Random:
    """The random numbers of one purpose: each table draws from its own, so that none shifts another's."""
    return random.Random(f"{sizes.VERSION}/{size.name}/{purpose}")


def shard_of_user(number: int) -> int:
    """The logical shard of the user with this number: spread evenly, and the same at every size."""
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=1).digest()[0] % SHARDS


@dataclass(frozen=True)
class Population:
    """Users by number (0 is the first to sign up) and articles by number (0 is the oldest).

    Times are milliseconds since 2026. ``tags`` holds TAGS_AT_MOST numbers an article, NO_TAG where it has
    fewer. ``by_renown`` and ``by_activity`` list user numbers, the most followed and the most active first.
    """

    size: Size
    user_ids: array[int]
    names: list[str]
    articles_counts: array[int]
    last_article_ids: array[int]
    by_renown: array[int]
    by_activity: array[int]
    article_ids: array[int]
    authors: array[int]
    tags: array[int]
    favorites_counts: array[int]
    comments_counts: array[int]
    follows_counts: array[int]

    def user_ms(self, number: int) -> int:
        """When a user signed up, in milliseconds since 2026."""
        return self.user_ids[number] >> 12

    def article_tags(self, number: int) -> list[int]:
        """The numbers of an article's tags in the order of their names, which is that of the numbers."""
        start = number * TAGS_AT_MOST
        return [tag for tag in self.tags[start : start + TAGS_AT_MOST] if tag != NO_TAG]

    def article_counts(self) -> list[int]:
        """Articles of each logical shard."""
        counts = [0] * SHARDS
        for article_id in self.article_ids:
            counts[shard_of(article_id)] += 1
        return counts

    def tag_counts(self) -> list[list[int]]:
        """Articles of each logical shard with each tag."""
        counts = [[0] * len(vocabulary.TAGS) for _ in range(SHARDS)]
        for number, article_id in enumerate(self.article_ids):
            here = counts[shard_of(article_id)]
            for tag in self.article_tags(number):
                here[tag] += 1
        return counts


def populate(size: Size) -> Population:
    """The plan of a size; the same every time."""
    user_ids = _sign_ups(size)
    by_renown = _shuffled(size, "renown")
    published = _articles_of_authors(size, by_renown)
    article_ids, authors = _publish(size, user_ids, published)
    last_article_ids = array("q", [0]) * size.users
    for article_id, author in zip(article_ids, authors, strict=True):
        last_article_ids[author] = article_id
    count = len(article_ids)
    draw = stream(size, "attention").random
    favorites = sizes.FAVORITES_OF_AN_ARTICLE
    comments = sizes.COMMENTS_OF_AN_ARTICLE
    follows = sizes.FOLLOWS_OF_A_READER
    # Different users are drawn for each: of very few (in a test), no more than half are asked for.
    others = size.users // 2
    follows_counts = array("H", [0]) * size.users
    for rank, reader in enumerate(_shuffled(size, "curiosity")):
        follows_counts[reader] = min(follows.quantile((rank + 0.5) / size.users), others)
    return Population(
        size=size,
        user_ids=user_ids,
        names=list(_names(size)),
        articles_counts=published,
        last_article_ids=last_article_ids,
        by_renown=by_renown,
        by_activity=_shuffled(size, "activity"),
        article_ids=article_ids,
        authors=authors,
        tags=_tag(size, count),
        favorites_counts=array("H", (min(favorites.quantile(draw()), others) for _ in range(count))),
        comments_counts=array("H", (comments.quantile(draw()) for _ in range(count))),
        follows_counts=follows_counts,
    )


def _sign_ups(size: Size) -> array[int]:
    """Ids of users: one in each equal part of the sign-up months, so that no two have the same time."""
    draw = stream(size, "sign-ups").random
    part = SIGN_UP_SPAN_MS / size.users
    return array(
        "q",
        (
            compose(int(part * (number + draw())), shard_of_user(number), number % _SEQUENCES)
            for number in range(size.users)
        ),
    )


def _names(size: Size) -> Iterator[str]:
    """Unique usernames; every fiftieth is not in Latin letters without accents."""
    draw = stream(size, "names").random
    taken: dict[str, int] = {}
    for number in range(size.users):
        if number % 50 == 49:
            name = vocabulary.WORLD_NAMES[int(draw() * len(vocabulary.WORLD_NAMES))]
        else:
            first = vocabulary.FIRST_NAMES[int(draw() * len(vocabulary.FIRST_NAMES))]
            last = vocabulary.LAST_NAMES[int(draw() * len(vocabulary.LAST_NAMES))]
            name = f"{first}_{last}"
        taken[name] = times = taken.get(name, 0) + 1
        yield name if times == 1 else f"{name}{times}"


def _shuffled(size: Size, purpose: str) -> array[int]:
    numbers = array("I", range(size.users))
    stream(size, purpose).shuffle(numbers)
    return numbers


def _articles_of_authors(size: Size, by_renown: array[int]) -> array[int]:
    """How many each user published: who is followed most has published most."""
    counts = array("H", [0]) * size.users
    for rank, author in enumerate(by_renown):
        counts[author] = sizes.ARTICLES_OF_AN_AUTHOR.quantile(1 - (rank + 0.5) / size.users)
    return counts


def _publish(size: Size, user_ids: array[int], published: array[int]) -> tuple[array[int], array[int]]:
    """Ids and authors of all articles, oldest first, no two in the same millisecond."""
    draw = stream(size, "publishing").random
    # Time and author in one number: sorts three times as fast as pairs and takes a third of the memory.
    moments: list[int] = []
    for author, count in enumerate(published):
        begin = (user_ids[author] >> 12) + 1
        # A second short of the end: room for those that have to make way.
        room = SPAN_MS - 1000 - begin
        moments.extend(begin + int(room * draw()) << _AUTHOR_BITS | author for _ in range(count))
    moments.sort()
    article_ids, authors = array("q"), array("I")
    last = -1
    for number, moment in enumerate(moments):
        author = moment & (1 << _AUTHOR_BITS) - 1
        last = max(moment >> _AUTHOR_BITS, last + 1)
        article_ids.append(compose(last, shard_of(user_ids[author]), number % _SEQUENCES))
        authors.append(author)
    return article_ids, authors


def _tag(size: Size, count: int) -> array[int]:
    """One to four tags an article. The first by popularity; the others mostly from the first one's theme."""
    draw = stream(size, "tags").random
    popularity = zipf(len(vocabulary.TAGS), sizes.TAG_EXPONENT)
    tags = array("B")
    for _ in range(count):
        first = vocabulary.TAGS_BY_POPULARITY[bisect_right(popularity, draw())]
        chosen = {first}
        siblings = vocabulary.TAGS_OF_THEME[vocabulary.THEME_OF_TAG[first]]
        for _ in range(int(draw() * TAGS_AT_MOST)):
            if draw() < 0.5:
                chosen.add(siblings[int(draw() * len(siblings))])
            else:
                chosen.add(vocabulary.TAGS_BY_POPULARITY[bisect_right(popularity, draw())])
        tags.extend(sorted(chosen))
        tags.extend([NO_TAG] * (TAGS_AT_MOST - len(chosen)))
    return tags
