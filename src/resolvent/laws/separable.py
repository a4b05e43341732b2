"""The law of a sample whose table has token frequencies and correlated rows (a separable covariance, sampled)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, require
from resolvent.laws.compression import compress
from resolvent.laws.law import Law
from resolvent.laws.poles import Poles
from resolvent.laws.separable_map import SeparableMap

__all__ = ["SeparableLaw"]


def _atoms(name: str, values: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    _, row = arrays(values, names=name)
    row = np.asarray(row, dtype=float)
    if row.ndim != 1 or not row.size:
        raise ValueError(f"{name} must be one row of numbers, got shape {row.shape}")
    require(name, row, np.isfinite(row) & (row >= 0), "finite and >= 0")
    if not (row > 0).any():
        raise ValueError(f"{name} must hold a positive number, got zeros alone")
    if weights is None:
        return row, np.full(row.size, 1 / row.size)
    _, shares = arrays(weights, names=f"{name}_weights")
    shares = np.asarray(shares, dtype=float)
    if shares.shape != row.shape:
        raise ValueError(
            f"{name}_weights must hold one number for each of the {row.size} of {name}, got shape {shares.shape}"
        )
    require(f"{name}_weights", shares, np.isfinite(shares) & (shares >= 0), "finite and >= 0")
    if not shares.sum() <= 1 + 1e-8:
        raise ValueError(f"{name}_weights must sum to at most one, got {shares.sum():.8g}")
    return row, shares


@dataclass(frozen=True, eq=False)
class SeparableLaw(Law):
    r"""Limit law of a sample covariance of (scale/V) Σ^{1/2} Zᵀ diag(t) Z Σ^{1/2}, Z of shape (V, d).

    Tokens of frequencies t/V in a table of noise covariance Σ, pooled, in N sequences.

    Parameters
    ----------
    delta, gamma : float
        d/V > 0 and d/N >= 0; ``gamma=0`` is the population.
    frequencies : (k,) array
        Token frequencies times V, >= 0 and not all zero; all V of them may stand here.
    covariance : (m,) array, optional
        Eigenvalues of Σ, >= 0 and not all zero; the identity by default.
    frequency_weights, covariance_weights : array, optional
        Probabilities of both; equal by default. Where they sum to less than one the rest is zeros.
    scale : float, default 1
        Pooled noise kappa.

    Raises
    ------
    ValueError
        If a ratio, a frequency, an eigenvalue or a probability is out of range, or lengths disagree.

    Notes
    -----
    `support` is given by its two ends; inside it there may be gaps, where the density is zero. A token far
    heavier than the others has a narrow interval of its own: `resolvent.vocabulary` sets such tokens apart.

    References
    ----------
    Separable covariances: Paul and Silverstein [paul2009]_, Couillet and Hachem [couillet2014]_. The map, the
    edges and the distribution function are derived in docs/theory/vocabulary.md, sections 2 and 3.

    Examples
    --------
    >>> law = SeparableLaw(0.5, 0.25, [0.5, 1.5], [0.4, 1.6])
    >>> [round(float(end), 3) for end in law.support[0]]
    [0.026, 4.948]
    >>> round(law.mean(), 12)
    1.0
    """

    delta: float
    gamma: float
    frequencies: Any
    covariance: Any = (1.0,)
    frequency_weights: Any = None
    covariance_weights: Any = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", number("delta", self.delta, above=0))
        object.__setattr__(self, "gamma", number("gamma", self.gamma, least=0))
        object.__setattr__(self, "scale", number("scale", self.scale, above=0))
        for name in ("frequencies", "covariance"):
            shares = f"{name}_weights" if name == "covariance" else "frequency_weights"
            row, weights = _atoms(name, getattr(self, name), getattr(self, shares))
            object.__setattr__(self, name, row)
            object.__setattr__(self, shares, weights)

    @cached_property
    def inverse_map(self) -> SeparableMap:
        """The map z(p), with atoms merged where no sum over them can tell."""
        return SeparableMap(
            self.delta,
            self.gamma,
            _poles(self.frequencies, self.frequency_weights, 1 / self.delta),
            _poles(self.covariance, self.covariance_weights, max(self.delta, self.gamma)),
            self.scale,
        )


def _poles(values: np.ndarray, weights: np.ndarray, ratio: float) -> Poles:
    kept = (values > 0) & (weights > 0)
    values, weights = values[kept], weights[kept]
    if np.ptp(weights) == 0:  # twice as fast
        distinct, counts = np.unique(values, return_counts=True)
        shares = counts * weights[0]
    else:
        distinct, place = np.unique(values, return_inverse=True)
        shares = np.bincount(place, weights=weights)
    return Poles(*compress(distinct, shares, ratio))
