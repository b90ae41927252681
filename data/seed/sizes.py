"""The sizes, and what is the same in all of them."""

import datetime as dt
from dataclasses import dataclass

from conduit.ids import EPOCH
from data.seed.powerlaw import PowerLaw

# Raised when the rows of a size or the covers change: a database seeded by an older version is then no longer "there
# already".
VERSION = 2

# Everything was made between these two. Fixed and not "now", so that the rows are the same on any day; what
# people and load tests write later is told from the seed by its time.
BEGIN = EPOCH
REFERENCE = dt.datetime(2026, 6, 30, tzinfo=dt.UTC)
SPAN_MS = int((REFERENCE - BEGIN).total_seconds() * 1000)
# The last to sign up still has this long to publish and to be read.
SIGN_UP_SPAN_MS = int(SPAN_MS * 0.9)

PASSWORD = "conduit-seed"  # noqa: S105 - it is printed for whoever wants to sign in as a seeded user

# mean, exponent, bound
ARTICLES_OF_AN_AUTHOR = PowerLaw(10, 2.4, 300)
FAVORITES_OF_AN_ARTICLE = PowerLaw(5, 2.1, 300)
COMMENTS_OF_AN_ARTICLE = PowerLaw(2, 2.5, 60)
FOLLOWS_OF_A_READER = PowerLaw(10, 2.2, 400)
TAG_EXPONENT = 1.0


@dataclass(frozen=True)
class Size:
    """A dataset's name and how many users it has; everything else follows from it."""

    name: str
    users: int


SIZES = {size.name: size for size in (Size("small", 1_000), Size("medium", 10_000), Size("large", 100_000))}
