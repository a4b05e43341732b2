"""What the model of several classes returns, and which of its spikes are too close to tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.laws import MarchenkoPasturProduct

__all__ = ["ClassPrediction", "ClassSimulation"]

CLOSE = 4.0  # standard deviations; beyond them neighbours mix less than 1/(2·CLOSE²) = 3 % of each other


@dataclass(frozen=True, eq=False)
class ClassPrediction:
    """What the theory says of every spike; arrays run over the K − 1 spikes, strongest first.

    Attributes
    ----------
    alpha, kappa, snr : float
        Pooled signal (the mean over classes, where their correlations differ), pooled noise, and their ratio.
    bulk : MarchenkoPasturProduct
    edge, threshold : float
        Right edge, and the net spike q_c above which a spike shows.
    strength : array
        Eigenvalues b_k of the between-class covariance of the means.
    critical_strength : float
        b at which q = q_c, zero when every b shows; NaN where correlations depend on the class.
    signal_part, noise_part : array
        What the means and what the table's own class means add to a spike, in units of kappa: snr b_k and
        snr·delta where the classes share their correlations.
    q : array
        Net strengths, signal_part + noise_part − delta.
    outlier : array
        Eigenvalues, NaN where there is none.
    leading : array, length K
        Limits of the K largest eigenvalues: outliers, then the edge.
    top_eigenvalue, second_eigenvalue : float
        The first two of them.
    spurious : array of bool
        Outliers without any signal: modes of the table's own class means.
    overlap : array
        Squared overlap of the k-th eigenvector with the k-th of `directions`: population_overlap ·
        sample_overlap · direction_factor.
    population_overlap, sample_overlap, direction_factor : array
        Share lost to the finite vocabulary, to the finite sample, and to the table's own class means.
    directions : array, shape (K', K − 1)
        Unit signal directions in the coordinates of the means; zero columns without signal.
    group : array of int
        Outliers of one number are too close for this sample size to tell apart.
    subspace_overlap : array
        Mean over the group of the squared overlap with the span of the group's directions.
    mixing : array
        Share of the k-th eigenvector that samples of this size lend to outliers of other groups, to first
        order in 1/d. The overlaps are the limit, without it.
    """

    alpha: Any
    kappa: float
    snr: Any
    bulk: MarchenkoPasturProduct
    edge: Any
    threshold: Any
    strength: np.ndarray
    critical_strength: float
    signal_part: np.ndarray
    noise_part: np.ndarray
    q: np.ndarray
    outlier: np.ndarray
    leading: np.ndarray
    top_eigenvalue: Any
    second_eigenvalue: Any
    spurious: np.ndarray
    overlap: np.ndarray
    population_overlap: np.ndarray
    sample_overlap: np.ndarray
    direction_factor: np.ndarray
    directions: np.ndarray
    group: np.ndarray
    subspace_overlap: np.ndarray
    mixing: np.ndarray


@dataclass(frozen=True, eq=False)
class ClassSimulation:
    """One finite draw; field names are those of `ClassPrediction` where they mean the same.

    Attributes
    ----------
    seed : int
    eigenvalues : array
        Decreasing: all d of them, or the leading ones only.
    leading : array, length K
    top_eigenvalue, second_eigenvalue : float
    overlap, subspace_overlap : array, length K − 1
        With the predicted directions, and groups.
    overlaps : array, shape (K − 1, K − 1)
        Squared overlap of eigenvector k with direction j.
    """

    seed: int
    eigenvalues: np.ndarray
    leading: np.ndarray
    top_eigenvalue: float
    second_eigenvalue: float
    overlap: np.ndarray
    subspace_overlap: np.ndarray
    overlaps: np.ndarray


def spike_groups(q: np.ndarray, critical: float, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the group of each spike, and what each mixes with outliers of other groups.

    Two outliers with gap D and standard deviations s, t of their net spikes mix by s t/(2 D²); neighbours
    with D² < `CLOSE`² (s² + t²)/2 are one group (docs/theory/classes.md, section 3).
    """
    gap2 = (q[..., :, None] - q[..., None, :]) ** 2
    both = spread[..., :, None] * spread[..., None, :]
    squares = np.diagonal(both, axis1=-2, axis2=-1)
    gaps = np.diagonal(gap2, offset=1, axis1=-2, axis2=-1)
    apart = (gaps >= CLOSE**2 / 2 * (squares[..., 1:] + squares[..., :-1])) | (q[..., 1:] <= critical)
    group = np.concatenate([np.zeros((*q.shape[:-1], 1), int), np.cumsum(apart, axis=-1)], axis=-1)
    others = (group[..., :, None] != group[..., None, :]) & (q > critical)[..., None, :]
    mixing = np.where(others, both / np.where(others, 2 * gap2, 1.0), 0.0).sum(axis=-1)
    return group, np.where(q > critical, mixing, 0.0)


def subspace_overlap(vectors: np.ndarray, directions: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over each group of the squared projection on the span of its directions."""
    result = np.zeros(group.size)
    for g in np.unique(group):
        own = group == g
        basis, sizes, _ = np.linalg.svd(directions[:, own], full_matrices=False)
        basis = basis[:, sizes > 1e-8]
        result[own] = ((basis.T @ vectors[:, own]) ** 2).sum() / own.sum()
    return result
