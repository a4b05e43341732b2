"""A small source whose shards take a moment: what workers that are killed work on, quick to import."""

import time

import numpy as np

from resolvent.sources import Shard, Source
from resolvent.token_moments import TokenMoments

T, V, D, N = 5, 60, 7, 230
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((V, D)).astype(np.float32)
IDS = RNG.integers(0, V, (N, T))
LABELS = RNG.integers(0, 3, N)
EMPTY = TokenMoments.empty("causal", T, gram=True, classes=3, vocabulary=V)


class Slow:
    """Rows that take a moment to read; `trouble` happens at one of them."""

    def __init__(self, first, count, pause=0.0, trouble=None):
        self.first, self.count, self.pause, self.trouble = first, count, pause, trouble

    def read(self, size):
        time.sleep(self.pause)
        if self.trouble is not None and self.first == self.trouble[0]:
            self.trouble[1]()
        rows = slice(self.first, self.first + self.count)
        yield IDS[rows], None, LABELS[rows]

    @property
    def description(self):
        return f"{self.first}"


def slow(pause, step=8, trouble=None):
    shards = [
        Shard("slow", a, min(step, N - a), Slow(a, min(step, N - a), pause, trouble), step)
        for a in range(0, N, step)
    ]
    return Source("slow", shards, N)
