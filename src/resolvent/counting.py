"""How many components are real: the usual rules, each with its threshold and where it is void.

All thresholds are eigenvalues of the covariance (1/N) XᵀX.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from resolvent.arguments import generator
from resolvent.laws import (
    GeneralisedMarchenkoPastur,
    Law,
    MarchenkoPastur,
    MarchenkoPasturProduct,
    TracyWidom,
    Wachter,
)

__all__ = ["Count", "edge_statistics", "gavish_donoho", "largest_root", "parallel_analysis", "permuted"]


@dataclass(frozen=True)
class Count:
    """One counting rule on one spectrum.

    Attributes
    ----------
    rule : str
        Its name.
    threshold : float
        Eigenvalues above it count; NaN where the rule gives none.
    count : int or None
        How many do.
    void : str or None
        Why the count must not be used, and what to do instead; None where it may.
    """

    rule: str
    threshold: float
    count: int | None
    void: str | None = None


def count(rule: str, threshold: float, eigenvalues: np.ndarray, void: str | None = None) -> Count:
    """Count the eigenvalues above a threshold."""
    found = None if np.isnan(threshold) else int((eigenvalues > threshold).sum())
    return Count(rule, float(threshold), found, void)


def largest_root(law: Law, dimension: int) -> tuple[float, float]:
    """Centre and width of the largest eigenvalue under a bulk law: centre + width·TW1 in law.

    Half a degree of freedom less in every dimension corrects the centre at order 1/d; for one factor that
    is Johnstone's [johnstone2001]_ (and Ma's) choice, for the F-matrix his of 2008 [johnstone2008]_.

    Parameters
    ----------
    law : MarchenkoPastur, MarchenkoPasturProduct, Wachter or any other Law
        Others are used as they are.
    dimension : int
        d, of which the ratios are d/n.
    """

    def halved(ratio: float) -> tuple[float, float]:
        n = dimension / ratio
        if n <= 0.5:
            return ratio, 1.0
        return (dimension - 0.5) / (n - 0.5), (n - 0.5) / n

    if isinstance(law, MarchenkoPastur):
        ratio, factor = halved(law.ratio)
        law = MarchenkoPastur(ratio, law.scale * factor)
    elif isinstance(law, MarchenkoPasturProduct):
        pairs = [halved(ratio) for ratio in law.ratios]
        scale = law.scale * np.prod([factor for _, factor in pairs])
        law = MarchenkoPasturProduct(tuple(ratio for ratio, _ in pairs), float(scale))
    elif isinstance(law, Wachter):
        ratio, factor = halved(law.ratio)
        null_ratio, null_factor = halved(law.null_ratio)
        if null_ratio < 1:
            law = Wachter(ratio, null_ratio, law.scale * factor / null_factor)
    edge = float(law.support[-1][1])
    return edge, float(law.inverse_map.edge_scale()) * dimension ** (-2 / 3)


def edge_statistics(eigenvalues: np.ndarray, law: Law, dimension: int) -> tuple[np.ndarray, float, float]:
    """Tracy–Widom p-values of eigenvalues, each against the law of the largest one of pure noise.

    For all but the first the p-value is therefore conservative. Returns (p_values, centre, width).
    """
    centre, width = largest_root(law, dimension)
    return TracyWidom().sf((eigenvalues - centre) / width), centre, width


@cache
def critical_value(level: float) -> float:
    """The value that TW1 exceeds with probability `level`."""
    return float(TracyWidom().isf(level))


def gavish_donoho(eigenvalues: np.ndarray, samples: int, noise: float | None = None) -> float:
    """Threshold of Gavish and Donoho [gavish2014]_, from known noise variance or the median eigenvalue.

    It minimises the mean squared error of a truncated matrix, and is no test for components.

    Parameters
    ----------
    eigenvalues : array, shape (d,)
    samples : int
        N, degrees of freedom of the covariance.
    noise : float, optional
        Known noise variance.
    """
    d = eigenvalues.size
    small, large = min(d, samples), max(d, samples)
    beta = small / large
    best = 2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1))
    if noise is None:
        median = np.median(eigenvalues[:small])
        return float(best * median / MarchenkoPastur(beta).ppf(0.5))
    return float(best * noise * large / samples)


def parallel_analysis(variances: np.ndarray, ratio: float) -> float:
    """Limit of the largest eigenvalue when every column is permuted by itself.

    Permuting keeps column variances and destroys correlations, so the limit is the right edge of the
    Marchenko–Pastur law with the column variances as population: deterministic parallel analysis
    (Dobriban and Owen [dobriban2019]_). No permutation is drawn.
    """
    kept = variances[variances > 0]
    if np.ptp(kept) <= 1e-9 * kept.max():
        return float(MarchenkoPastur(ratio, float(kept.mean())).support[0][1])
    bulk = GeneralisedMarchenkoPastur(ratio, kept).inverse_map
    return float(
        bulk.poles.z(np.asarray(bulk.population_threshold))
    )  # its right edge, without the rest of the support


def permuted(x: np.ndarray, draws: int, rng: Any = 0, quantile: float = 0.95) -> float:
    """Quantile of the largest eigenvalue over `draws` permutations of every column (Horn [horn1965]_)."""
    from resolvent.spectrum import covariance_spectrum

    rng = generator(rng)
    tops = [covariance_spectrum(rng.permuted(x, axis=0))[0][0] for _ in range(draws)]
    return float(np.quantile(tops, quantile))


def voided(counts: tuple[Count, ...], reason: str, rules: tuple[str, ...] | None = None) -> tuple[Count, ...]:
    """Mark counts as void, keeping an earlier reason."""
    return tuple(
        replace(c, void=reason) if c.void is None and (rules is None or c.rule in rules) else c
        for c in counts
    )
