"""A site that people write to: writes only.

Comment 35 %, favourite 30 %, publish 20 %, follow 15 %, each by a user drawn evenly. Articles and the
followed are drawn by Zipf's law, so that the counters of popular articles are written by many at once.
Arrivals are a Poisson process.
"""

import random

from loadtests.dataset import Dataset
from loadtests.mixes import actions
from loadtests.mixes.actions import Choice, Request

_choice = Choice({actions.comment: 35, actions.favorite: 30, actions.publish: 20, actions.follow: 15})


def draw(rng: random.Random, data: Dataset) -> Request:
    """One request of the mix."""
    return _choice.draw(rng)(rng, data, data.visitor(rng))
