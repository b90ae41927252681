"""A site that people write to: writes only.

Comment 35 %, favourite 30 %, publish 20 %, follow 14 %, a report on one's audience 1 %, each by a user drawn evenly.
Every tenth publishing is followed by the upload of a cover, once it is answered: a photograph of some 300 kB to 2 MB
and 2 to 8 megapixels, each time another file. That is two requests in a hundred, so the slowest of all lie beyond the
p95 of all; publishing with a cover is timed by itself as well. It is every tenth and not one in ten by chance, and the
photographs come in turn, because a trial has few of them and they weigh the most.

Articles and the followed are drawn by Zipf's law, so that the counters of popular articles are written by many at once.
Arrivals are a Poisson process; the uploads follow from them.
"""

import itertools
import random
from functools import cache

from data.pictures.photos import another, photos
from loadtests.load.dataset import Dataset
from loadtests.load.mixes import Draw, actions
from loadtests.load.mixes.actions import Choice, Request

PARTS = ("api", "covered", "cover", "report")
FIRST_RATE = 5.0
"""Requests/s to start a search with: a cover takes tenths of a CPU second."""
WEIGHTS: dict[actions.Action, float] = {
    actions.comment: 35,
    actions.favorite: 30,
    actions.publish: 20,
    actions.follow: 14,
    actions.report: 1,
}
COVERED_EVERY = 10
REQUESTS_AN_ARRIVAL = 1 + WEIGHTS[actions.publish] / sum(WEIGHTS.values()) / COVERED_EVERY

_choice = Choice(WEIGHTS)
_photos = cache(photos)


def begin(rng: random.Random, data: Dataset, target: str) -> Draw:  # noqa: ARG001 - it needs no look at the stage
    """The traffic; draws the photographs first, once a process."""
    album = _photos()
    turn, shot = itertools.count(rng.randrange(COVERED_EVERY)), itertools.count(rng.randrange(len(album)))

    def draw() -> Request:
        action = _choice.draw(rng)
        request = action(rng, data, data.visitor(rng))
        if action is actions.publish and next(turn) % COVERED_EVERY == 0:
            return actions.with_cover(request, another(album[next(shot) % len(album)], rng))
        return request

    return draw
