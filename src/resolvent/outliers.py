r"""What lies behind each outlier of a sample covariance: population spike and overlaps, from the eigenvalues alone.

With a_k = (1/n) sum over the n companion eigenvalues of (λ − λ_j)^(−k), the other eigenvalues standing for
the bulk whatever its law, an outlier at λ has population spike ℓ = 1/a_1 and squared overlap a_1/(λ a_2).
Given the rest of the sample both are exact functions of one quadratic form, whose variance gives the error
bars: derived in docs/theory/diagnosis.md, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Outliers", "estimate_outliers"]

NORMAL_95 = 1.959963984540054
NEAR = 0.2  # Bai and Ding [bai2012]_
CROWDED = 3.0  # neighbours within so many standard deviations of each other share their directions


@dataclass(frozen=True, eq=False)
class Outliers:
    """Eigenvalues outside the bulk, largest first, and what they say of the population; arrays of shape (k,).

    Attributes
    ----------
    eigenvalue : array
        λ of the sample covariance.
    spike, spike_low, spike_high : array
        Population eigenvalue ℓ and its 95 % band.
    overlap, overlap_low, overlap_high : array
        Squared overlap of the sample eigenvector with the population eigenvector of its own spike, and
        its 95 % band. Spikes that lie close share their directions, and this drops.
    subspace_overlap : array
        Squared overlap of the sample eigenvector with the span of all population spikes.
    p_value : array
        Tracy–Widom, against the largest eigenvalue of pure noise.
    crowded : array of bool
        The nearest other outlier is within three standard deviations: the two directions are not resolved, the
        band of `overlap` reaches zero and `subspace_overlap` is the number to use.
    excess_kurtosis : array
        Of the component's scores in the population, zero for Gaussian ones; widens the band of `spike`.
    """

    eigenvalue: np.ndarray
    spike: np.ndarray
    spike_low: np.ndarray
    spike_high: np.ndarray
    overlap: np.ndarray
    overlap_low: np.ndarray
    overlap_high: np.ndarray
    subspace_overlap: np.ndarray
    p_value: np.ndarray
    crowded: np.ndarray
    excess_kurtosis: np.ndarray

    def __len__(self) -> int:
        return self.eigenvalue.size


def companion_sums(eigenvalues: np.ndarray, samples: int, at: np.ndarray, drop: Any) -> np.ndarray:
    """a_1 ... a_4 at each point, shape (4, k); `drop` (k, m) marks eigenvalues left out of the sum of a point."""
    gaps = at[:, None] - eigenvalues
    gaps = np.where(drop, np.inf, np.where(gaps == 0, np.finfo(float).eps * at[:, None], gaps))
    # the companion has as many eigenvalues as samples: those of the covariance, the others zero
    zeros = samples - (~drop).sum(axis=1)
    inverse = 1 / gaps
    return np.array([((inverse**k).sum(axis=1) + zeros / at**k) / samples for k in (1, 2, 3, 4)])


def estimate_outliers(
    eigenvalues: np.ndarray,
    samples: int,
    count: int,
    p_values: np.ndarray,
    *,
    sample_kurtosis: np.ndarray | None = None,
) -> Outliers:
    """Population spikes, overlaps and 95 % bands of the `count` largest eigenvalues.

    Parameters
    ----------
    eigenvalues : array, shape (d,)
        Decreasing; of a covariance normalised by its degrees of freedom.
    samples : int
        Degrees of freedom (N − 1 after centring).
    count : int
        How many of the largest eigenvalues are outliers.
    p_values : array, shape (count,)
    sample_kurtosis : array, shape (count,), optional
        Excess kurtosis of the scores X v̂; Gaussian scores (zero) when not given.

    Returns
    -------
    Outliers

    Examples
    --------
    >>> bulk = np.linspace(0.4, 1.8, 50)
    >>> found = estimate_outliers(np.append(5.0, bulk[::-1]), 400, 1, np.zeros(1))
    >>> round(float(found.spike[0]), 2), round(float(found.overlap[0]), 2)
    (4.82, 0.95)
    """
    positive = eigenvalues[eigenvalues > 0]
    at = positive[:count]
    index = np.arange(positive.size)
    own = index == np.arange(count)[:, None]
    others = index < count
    # a near outlier says nothing of the bulk and shakes the sum: left out, as Bai and Ding do
    near = others & (np.abs(positive / at[:, None] - 1) < NEAR)
    s1, s2, _, _ = companion_sums(positive, samples, at, near | own)
    spike, slope = 1 / s1, s1**2 / s2  # ℓ and dλ/dℓ
    a1, a2, a3, a4 = companion_sums(positive, samples, at, own)
    overlap = a1 / (at * a2)
    b1, b2, _, _ = companion_sums(positive, samples, at, np.broadcast_to(others, own.shape))
    together = (b1 / (at * b2)).clip(0, 1)

    excess = np.zeros(count) if sample_kurtosis is None else sample_kurtosis / slope**2
    excess = np.maximum(excess, -2.0)  # no law has less
    spread = np.sqrt(np.maximum(excess + 2 / slope, 0) / samples)
    roughness = a2 / a1**2 - 2 * a3 / (a1 * a2) + a4 / a2**2
    wobble = np.sqrt(2 * np.maximum(roughness, 0) / samples)

    movement = spike * np.sqrt(2 * slope / samples)  # standard deviation of λ, Gaussian scores
    crowded = np.zeros(count, dtype=bool)
    if count > 1:
        close = np.diff(-at) < CROWDED * np.hypot(movement[1:], movement[:-1])
        crowded[1:] |= close
        crowded[:-1] |= close
    overlap = overlap.clip(0, together)
    overlap_low = np.where(crowded, 0.0, overlap * np.exp(-NORMAL_95 * wobble))
    overlap_high = np.where(crowded, together, overlap * np.exp(NORMAL_95 * wobble)).clip(0, 1)
    return Outliers(
        eigenvalue=at,
        spike=spike,
        spike_low=spike * np.exp(-NORMAL_95 * spread),
        spike_high=spike * np.exp(NORMAL_95 * spread),
        overlap=overlap,
        overlap_low=overlap_low,
        overlap_high=overlap_high,
        subspace_overlap=together,
        p_value=p_values,
        crowded=crowded,
        excess_kurtosis=excess,
    )
