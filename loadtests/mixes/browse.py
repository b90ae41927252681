"""A site that people read: 80 % reads, 20 % writes.

Reads, of all requests: an article 30 %, the home list 18 %, comments 12 %, a list by tag 8 %, a profile 6 %,
the feed 6 %. 70 % of the reads are anonymous; the feed never is, so 24 % of the other reads are signed in.
Writes: favourite 8 %, comment 6 %, follow 4 %, publish 2 %. Articles, profiles and tags are drawn by Zipf's
law so that a fifth of them gets four fifths of the requests; who is signed in is drawn evenly. Arrivals are a
Poisson process.
"""

import random

from loadtests.dataset import Dataset
from loadtests.mixes import actions
from loadtests.mixes.actions import Choice, Request

READS: dict[actions.Action, float] = {
    actions.article: 30,
    actions.home: 18,
    actions.comments: 12,
    actions.by_tag: 8,
    actions.profile: 6,
    actions.feed: 6,
}
WRITES: dict[actions.Action, float] = {
    actions.favorite: 8,
    actions.comment: 6,
    actions.follow: 4,
    actions.publish: 2,
}
ANONYMOUS_READS = 0.7

_choice = Choice(READS | WRITES)
_reads = sum(READS.values())
# The feed is always somebody's, so fewer of the other reads are signed in for 30 % of all reads to be.
_SIGNED_IN = ((1 - ANONYMOUS_READS) * _reads - READS[actions.feed]) / (_reads - READS[actions.feed])


def draw(rng: random.Random, data: Dataset) -> Request:
    """One request of the mix."""
    action = _choice.draw(rng)
    anonymous = action in READS and action is not actions.feed and rng.random() >= _SIGNED_IN
    return action(rng, data, None if anonymous else data.visitor(rng))
