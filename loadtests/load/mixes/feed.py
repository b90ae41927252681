"""Readers who follow many: heavy on the database.

85 % the feed, 15 % an article from it, always signed in, by the users who follow the most others (one user in
twenty, at most 500, each as likely). Articles are drawn by Zipf's law. Arrivals are a Poisson process.
"""

import random

from loadtests.load.dataset import Dataset
from loadtests.load.mixes import actions
from loadtests.load.mixes.actions import Choice, Request

_choice = Choice({actions.feed: 85, actions.article: 15})


def draw(rng: random.Random, data: Dataset) -> Request:
    """One request of the mix."""
    return _choice.draw(rng)(rng, data, data.heavy_reader(rng))
