"""Readers and writers in fixed shares, most readers anonymous: what `browse` and `read-mostly` have in common."""

import random
from collections.abc import Mapping

from loadtests.load.dataset import Dataset
from loadtests.load.mixes import actions
from loadtests.load.mixes.actions import Action, Choice, Request


class Readers:
    """``reads`` and ``writes`` by weight; ``anonymous`` is the share of all reads that nobody in particular sends."""

    def __init__(self, reads: Mapping[Action, float], writes: Mapping[Action, float], anonymous: float) -> None:
        self._choice = Choice({**reads, **writes})
        all_reads = sum(reads.values())
        # The feed is always somebody's, so fewer of the other reads are signed in.
        of_others = all_reads - reads[actions.feed]
        self.signed_in = ((1 - anonymous) * all_reads - reads[actions.feed]) / of_others
        """The share of the reads other than the feed that somebody sends."""
        self._may_be_anonymous = reads.keys() - {actions.feed}

    def draw(self, rng: random.Random, data: Dataset) -> Request:
        """One request of the mix."""
        action = self._choice.draw(rng)
        anonymous = action in self._may_be_anonymous and rng.random() >= self.signed_in
        return action(rng, data, None if anonymous else data.visitor(rng))
