r"""Spectrum of attention-pooled tokens: unequal tokens and unequal sequences in the map of the bulk.

Each sampling stage of equal weights multiplies the inverse map by 1 + c p. One of weights ω multiplies it by

    F(p) = E[ω / (1 + ω x)],  where x < 0 solves  E[ω x / (1 + ω x)] = −c p,

and what is pooled along a few directions is seen through E[Σ_q / (1 + ω_q x)], rows weighted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Stage", "Top", "capped", "top_of_spectrum"]

GRID = 0.15  # of log(p)


@dataclass(frozen=True, eq=False)
class Stage:
    """A sampling stage of ratio c whose rows have weights of the given law.

    Attributes
    ----------
    ratio : float
        c >= 0; zero is no stage.
    values, probabilities : arrays, shape (K,)
        ω > 0 and their probabilities.

    Examples
    --------
    >>> equal = Stage(0.5, np.ones(1), np.ones(1))
    >>> round(equal.factor(0.4), 12)
    1.2
    """

    ratio: float
    values: np.ndarray
    probabilities: np.ndarray

    def x(self, p: float) -> float:
        """The x of p > 0, by Newton's method: the left side is concave, and Jensen's inequality gives a start below."""
        target, mean = -self.ratio * p, float(self.probabilities @ self.values)
        if target == 0:
            return 0.0
        x = max(target / (mean * (1 - target)), (1e-12 - 1) / float(self.values.max()))
        for _ in range(200):
            share = self.values / (1 + self.values * x)
            step = (x * float(self.probabilities @ share) - target) / float(
                self.probabilities @ (share**2 / self.values)
            )
            x -= step
            if abs(step) <= 1e-14 * abs(x):
                return x
        raise RuntimeError(
            f"the stage of ratio {self.ratio:.3g} did not converge at p = {p:.3g}: x = {x:.6g}"
        )

    def factor(self, p: float) -> float:
        """F(p), which is 1 + c p where all weights are one."""
        return float(self.probabilities @ (self.values / (1 + self.values * self.x(p))))


def capped(values: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Weights no larger than what one of `count` rows exceeds with probability one half.

    Softmax weights have laws of unbounded support, whose far tail no finite sample shows.
    """
    order = np.argsort(values)[::-1]
    beyond = np.cumsum(probabilities[order])
    return np.minimum(values, values[order][np.searchsorted(beyond, 0.5 / count)])


@dataclass(frozen=True)
class Top:
    """The upper end of a spectrum.

    Attributes
    ----------
    edge, outlier : float
        Right edge of the bulk, and the outlier, NaN where there is none.
    overlap : float
        Squared overlap of the outlier's eigenvector with the first direction of the plane.
    q : float
        Net spike 1/p of the outlier.
    """

    edge: float
    outlier: float
    overlap: float
    q: float


def top_of_spectrum(tokens: Stage, sequences: Stage, features: np.ndarray, loadings: Any) -> Top:
    """Edge, outlier and overlap of the sample covariance of pooled tokens.

    Parameters
    ----------
    tokens : Stage
        Ratio d/V (0 without a table) and law of the squared weight that tokens receive, of mean one.
    sequences : Stage
        Ratio d/N and law of the noise per coordinate over sequences.
    features : array, shape (K, k, k)
        Second moments Σ_q of k pooled features for every value of `sequences`.
    loadings : array, shape (k, m)
        What the features add along m singled-out directions, the signal's first.

    Raises
    ------
    RuntimeError
        If the edge of the bulk is not found.

    References
    ----------
    Derived in docs/theory/elliptical.md, section 6; at equal weights it is docs/theory/pooled.md, sections 3 and 4.

    Examples
    --------
    >>> from resolvent import spikes
    >>> one = np.ones(1)
    >>> found = top_of_spectrum(
    ...     Stage(0.5, one, one), Stage(0.25, 0.1 * one, one), np.array([np.diag([0.5, 0.1])]), [[0.7], [1.0]]
    ... )
    >>> q = spikes.net_spike(0.7, 5.0, 0.5)
    >>> bool(abs(found.q - q) < 1e-9), bool(abs(found.outlier - spikes.outlier(q, 0.5, 0.25, 0.1)) < 1e-9)
    (True, True)
    >>> bool(abs(found.overlap - spikes.alignment(0.7, 5.0, 0.5, 0.25)) < 1e-7)
    True
    """
    from scipy.optimize import brentq, minimize_scalar

    along = np.asarray(loadings, dtype=float)

    def z(p: float) -> float:
        return (1 + p) / p * tokens.factor(p) * sequences.factor(p)

    def seen(p: float) -> np.ndarray:
        """(Σ_eff⁻¹ + δ m I): features as the sample sees them."""
        x, h, w = sequences.x(p), sequences.factor(p), sequences.probabilities
        sigma = np.einsum("q,qij->ij", w / (1 + sequences.values * x), features)
        return np.linalg.inv(sigma) - tokens.ratio * p / (tokens.factor(p) * h) * np.eye(len(along))

    def directions(p: float) -> np.ndarray:
        return along.T @ np.linalg.solve(seen(p), along)

    # the first minimum of z, coming from p = 0
    t, before, now = np.log(1e-5), np.inf, z(1e-5)
    while now < before and t < np.log(1e5):
        t, before, now = t + GRID, now, z(float(np.exp(t + GRID)))
    if now < before:
        raise RuntimeError(
            f"the edge of the bulk was not found: z still falls at p = {np.exp(t):.3g}, z = {now:.3g}"
        )
    least = minimize_scalar(
        lambda log_p: z(float(np.exp(log_p))),
        bounds=(t - 2 * GRID, t),
        method="bounded",
        options={"xatol": 1e-10},
    )
    edge, p_edge = float(least.fun), float(np.exp(least.x))

    low, high = 1e-9, p_edge
    inside = np.linalg.eigvalsh(seen(high))[0] > 0
    if not inside:  # up to where a feature alone makes an outlier
        high = brentq(lambda p: np.linalg.eigvalsh(seen(p))[0], low, high, xtol=1e-15, rtol=1e-13)
        high *= 1 - 1e-11
    excess = float(np.linalg.eigvalsh(directions(high))[-1]) - z(high)
    if excess <= 0:
        if inside:
            return Top(edge, float("nan"), 0.0, float("nan"))
        return Top(edge, z(high), 0.0, 1 / high)  # along the table's own class means, which hold no signal
    root = float(
        brentq(lambda p: np.linalg.eigvalsh(directions(p))[-1] - z(p), low, high, xtol=1e-15, rtol=1e-13)
    )
    vector = np.linalg.eigh(directions(root))[1][:, -1]
    step = 1e-4 * root
    slope_t, slope_z = (
        (8 * (f(root + step) - f(root - step)) - (f(root + 2 * step) - f(root - 2 * step))) / (12 * step)
        for f in (lambda p: float(vector @ directions(p) @ vector), z)
    )
    overlap = float(vector[0] ** 2) / (1 - slope_t / slope_z)
    return Top(edge, z(root), float(np.clip(overlap, 0.0, 1.0)), 1 / root)
