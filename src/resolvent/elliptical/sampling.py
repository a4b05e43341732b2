"""Finite draws of sequences, pooled by softmax weights of a Mahalanobis query, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.spectrum import covariance_spectrum

__all__ = ["Metric", "Sequences", "full_metric"]

CHUNK = 1 << 21  # numbers of one chunk of sequences


@dataclass(frozen=True, eq=False)
class Metric:
    """M = diag(scale) + strength v vᵀ.

    Attributes
    ----------
    scale : array, shape (d,)
    strength : float
    v : array, shape (d,)
    """

    scale: np.ndarray
    strength: float
    v: np.ndarray

    def __call__(self, q: np.ndarray) -> np.ndarray:
        """M q for every row."""
        return q * self.scale + self.strength * (q @ self.v)[:, None] * self.v


@dataclass(frozen=True, eq=False)
class Sequences:
    """The law of sequences and queries.

    Attributes
    ----------
    direction : array, shape (d,)
        u.
    length : int
    signal, agreement : float
    query : float
        Probability that the query is of the sequence's label.
    table : array, shape (V, d), or None
        Tokens to draw from, the first half of sign +1.
    """

    direction: np.ndarray
    length: int
    signal: float
    agreement: float
    query: float = 0.5
    table: Any = None

    def pooled(
        self, samples: int, metric: Metric | None, beta: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pooled vectors (N, d), labels, Σ w s and Σ w²; uniform weights where there is no metric."""
        rows = max(1, CHUNK // (self.length * self.direction.size))
        sizes = [min(rows, samples - i) for i in range(0, samples, rows)]
        x, y, s, w2 = (np.concatenate(part) for part in zip(*self._chunks(sizes, metric, beta, rng)))
        return x, y, s, w2

    def _chunks(
        self, sizes: list[int], metric: Metric | None, beta: float, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, ...]]:
        d = self.direction.size
        for n in sizes:
            y = rng.choice([1.0, -1.0], n)
            s = y[:, None] * np.where(rng.random((n, self.length)) < self.agreement, 1.0, -1.0)
            if self.table is None:
                tokens = rng.standard_normal((n, self.length, d))
                tokens += self.signal * s[:, :, None] * self.direction
            else:
                half = len(self.table) // 2
                tokens = self.table[rng.integers(half, size=s.shape) + half * (s < 0)]
            sign = y * np.where(rng.random(n) < self.query, 1.0, -1.0)
            query = self.signal * sign[:, None] * self.direction + rng.standard_normal((n, d))
            if metric is None:
                w = np.full(s.shape, 1 / self.length)
            else:
                logits = beta * np.einsum("ntd,nd->nt", tokens, metric(query))
                w = np.exp(logits - logits.max(axis=1, keepdims=True))
                w /= w.sum(axis=1, keepdims=True)
            yield np.einsum("nt,ntd->nd", w, tokens), y, (w * s).sum(axis=1), (w**2).sum(axis=1)


def full_metric(x: np.ndarray) -> Metric:
    """I + (sqrt(1 + q) − 1) c² v vᵀ over its largest eigenvalue, from the covariance of pooled vectors.

    v is the leading eigenvector, q the spike read off its eigenvalue and c² the overlap with the population's direction
    that the theory of spikes gives it: zero at or below the threshold, where the metric is isotropic.

    Parameters
    ----------
    x : array, shape (N, d)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((400, 100))
    >>> found = full_metric(noise + 3 * rng.standard_normal((400, 1)) * np.eye(1, 100))
    >>> bool(found.v[0] ** 2 > 0.9), bool(found.strength > found.scale[0])
    (True, True)
    """
    values, vectors = covariance_spectrum(x, vectors=1)
    n, d = x.shape
    gamma = d / n
    # the noise level, free of what the spike adds to the trace: values[0] = noise (1 + q)(1 + gamma / q)
    noise = float(values[1:].sum() / (d - 1))
    q = 0.0
    for _ in range(3):
        b = values[0] / noise - 1 - gamma
        q = float((b + np.sqrt(b**2 - 4 * gamma)) / 2) if b > 2 * np.sqrt(gamma) else 0.0
        if q:
            # the bulk loses gamma (1 + q)/q of its trace to the outlier
            noise = float(values[1:].sum() / (d - 1 - gamma * (1 + q) / q))
    c2 = float(spikes.overlap(q, 0.0, gamma))
    strength = (np.sqrt(1 + q) - 1) * c2
    return Metric(np.full(d, 1 / (1 + strength)), strength / (1 + strength), vectors[:, 0])
