"""Everybody signs in: nothing but logins with the right password, each by a user drawn evenly.

What it costs is one password hash a request (Argon2id, 19 MiB), on the app and not on the database. Arrivals
are a Poisson process.
"""

import random

from loadtests.load.dataset import Dataset
from loadtests.load.mixes import actions
from loadtests.load.mixes.actions import Request

FIRST_RATE = 3.0
"""Requests/s to start a search with: a hash takes tens of CPU milliseconds."""


def draw(rng: random.Random, data: Dataset) -> Request:
    """One request of the mix."""
    return actions.login(rng, data, None)
