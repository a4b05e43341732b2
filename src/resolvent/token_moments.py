"""Running moments of token vectors: covariance of the pooled, and the part that independent tokens explain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resolvent import weights as weighting
from resolvent.arguments import arrays

__all__ = ["TokenMoments", "position_weights"]


@dataclass
class TokenMoments:
    """Running sums over documents given as token vectors (n, T, d), or as pooled vectors (n, d) only."""

    weights: np.ndarray
    keep: bool  # the pooled vectors themselves
    count: int = 0
    shift: np.ndarray | None = None  # a first guess of the position means (T, d), or of the pooled mean (d,)
    total: np.ndarray | None = None  # sums about it
    scatter: np.ndarray | None = None  # of pooled vectors
    token_scatter: np.ndarray | None = None  # sum_l w_l² x_l x_lᵀ
    pooled: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def empty(cls, weights: Any, length: int, keep: bool) -> TokenMoments:
        """No documents yet; `keep` their pooled vectors."""
        return cls(position_weights(weights, length), keep)

    @property
    def length(self) -> int:
        """Positions T."""
        return self.weights.size

    def add(self, vectors: np.ndarray) -> None:
        """Count further documents in."""
        tokens = vectors.ndim == 3
        if self.shift is None:
            self.shift = vectors.mean(axis=0, dtype=float)
            self.total = np.zeros_like(self.shift)
            d = vectors.shape[-1]
            self.scatter, self.token_scatter = np.zeros((d, d)), np.zeros((d, d) if tokens else (0, 0))
        assert self.total is not None
        assert self.scatter is not None
        assert self.token_scatter is not None
        centred = vectors - self.shift
        self.total += centred.sum(axis=0)
        pooled = np.einsum("l,nld->nd", self.weights, centred) if tokens else centred
        self.scatter += pooled.T @ pooled
        if tokens:
            weighted = (centred * np.abs(self.weights)[:, None]).reshape(-1, vectors.shape[-1])
            self.token_scatter += weighted.T @ weighted
        if self.keep:
            self.pooled.append(pooled + self._pooled(self.shift))
        self.count += vectors.shape[0]

    def _pooled(self, means: np.ndarray) -> np.ndarray:
        return self.weights @ means if means.ndim == 2 else means

    def __add__(self, other: TokenMoments) -> TokenMoments:
        """Moments of both sets of documents."""
        if self.shift is None or other.shift is None:
            return other if self.shift is None else self
        assert other.total is not None
        assert other.scatter is not None
        assert other.token_scatter is not None
        move, n = other.shift - self.shift, other.count  # to count the others about our shift
        pooled, total = self._pooled(move), self._pooled(other.total)
        cross = np.outer(total, pooled)
        scatter = self.scatter + other.scatter + cross + cross.T + n * np.outer(pooled, pooled)
        token_scatter = self.token_scatter + other.token_scatter
        if token_scatter.size:
            w = self.weights[:, None]
            cross = (w * other.total).T @ (w * move)
            token_scatter = token_scatter + cross + cross.T + n * (w * move).T @ (w * move)
        return TokenMoments(
            self.weights,
            self.keep and other.keep,
            self.count + n,
            self.shift,
            self.total + other.total + n * move,
            scatter,
            token_scatter,
            self.pooled + other.pooled if self.keep and other.keep else [],
        )

    def covariance(self) -> np.ndarray:
        """Of the pooled vectors, shape (d, d)."""
        assert self.scatter is not None
        assert self.total is not None
        total = self._pooled(self.total)
        return (self.scatter - np.outer(total, total) / self.count) / (self.count - 1)

    def noise(self) -> np.ndarray:
        """S₀ = sum_l w_l² Cov(x_l), shape (d, d)."""
        assert self.token_scatter is not None
        assert self.total is not None
        weighted = self.total * self.weights[:, None]
        return (self.token_scatter - weighted.T @ weighted / self.count) / (self.count - 1)

    @property
    def design_effect(self) -> float:
        """tr covariance / tr S₀; NaN where only pooled vectors were seen."""
        if self.token_scatter is None or not self.token_scatter.size:
            return np.nan
        return float(np.trace(self.covariance()) / np.trace(self.noise()))


def position_weights(weights: Any, length: int) -> np.ndarray:
    """Weights over positions as numbers, shape (length,)."""
    if isinstance(weights, str):
        if weights not in ("mean", "causal"):
            raise ValueError(f"weights must be 'mean', 'causal' or {length} numbers, got {weights!r}")
        return getattr(weighting, weights)(length)
    w = np.asarray(arrays(weights, names="weights")[1], dtype=float)
    if w.shape != (length,) or not np.isfinite(w).all() or not w.any():
        raise ValueError(f"weights must be {length} finite numbers, not all zero, got shape {w.shape}: {w}")
    return w
