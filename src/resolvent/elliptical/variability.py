"""Coordinate-wise variability: the diagonal metric of elliptical attention, from layers or from differences of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, one_of

__all__ = ["coordinate_variability", "finite_difference_variability", "residual_stretch"]

SCALES = ("max", "mean", "none")
STATISTICS = ("mean", "median")
SIDES = ("input", "output")


def _scaled(m: np.ndarray, scale: str) -> np.ndarray:
    """Largest (or mean) entry one along the last axis; all ones where every entry is zero."""
    if scale == "none":
        return m
    level = m.max(axis=-1, keepdims=True) if scale == "max" else m.mean(axis=-1, keepdims=True)
    return np.where(level > 0, m / np.where(level > 0, level, 1.0), 1.0)


def coordinate_variability(
    values: Any, previous: Any, *, delta: float = 1.0, scale: str = "max", statistic: str = "mean"
) -> np.ndarray:
    """Metric of elliptical attention: how far each value coordinate moved between two layers.

    m_i = mean over tokens of |v_ti − v'_ti| / delta, then scaled.

    Parameters
    ----------
    values, previous : array, shape (..., T, D)
        Projected value heads of this layer and of the one before, same tokens; leading axes are batch and heads.
    delta : float, default 1
        Step size > 0; it cancels unless `scale` is "none".
    scale : {"max", "mean", "none"}
        Which of the largest and the mean entry becomes one. Where no coordinate moved, m = 1.
    statistic : {"mean", "median"}
        Over tokens.

    Returns
    -------
    array, shape (..., D)

    Raises
    ------
    ValueError
        If shapes differ, entries are not finite, or a name is unknown.

    References
    ----------
    Nielsen et al. [nielsen2024]_; what it does and does not measure: docs/theory/elliptical.md, section 1.

    Examples
    --------
    >>> coordinate_variability([[0.0, 1.0], [2.0, 1.0]], [[1.0, 1.5], [1.0, 1.5]])
    array([1. , 0.5])
    """
    _, v, before = arrays(values, previous, names="values previous")
    v, before = np.asarray(v), np.asarray(before)
    if v.ndim < 2 or v.shape != before.shape or not v.size:
        raise ValueError(
            f"values and previous must have the same shape (..., T, D), got {v.shape} and {before.shape}"
        )
    for name, array in (("values", v), ("previous", before)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    one_of("scale", scale, SCALES)
    moved = np.abs(v - before) / number("delta", delta, above=0)
    m = (
        moved.mean(axis=-2)
        if one_of("statistic", statistic, STATISTICS) == "mean"
        else np.median(moved, axis=-2)
    )
    return _scaled(m, scale)


def finite_difference_variability(
    function: Callable[[np.ndarray], np.ndarray],
    points: Any,
    *,
    step: float = 0.1,
    side: str = "input",
    scale: str = "max",
) -> np.ndarray:
    """Variability of a function by central differences in every input coordinate.

    "input": mean over points of ‖J e_i‖₁, what the theory of the metric weighs. "output": mean of ‖row i of J‖₂, what
    `coordinate_variability` measures up to a constant when displacements are isotropic. They agree where the Jacobian
    is near-diagonal, and need not otherwise.

    Parameters
    ----------
    function : callable
        Array of shape (n, D) to one of shape (n,) or (n, K).
    points : array, shape (n, D)
    step : float, default 0.1
        Half the distance of the difference, > 0.
    side : {"input", "output"}
    scale : {"max", "mean", "none"}

    Returns
    -------
    array, shape (D,) or (K,)

    Raises
    ------
    ValueError
        If points are not a finite matrix, or the function does not return one row (or number) a point.

    References
    ----------
    Nielsen et al. [nielsen2024]_; docs/theory/elliptical.md, section 1.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((100, 3))
    >>> finite_difference_variability(lambda x: x * np.array([4.0, 2.0, 0.0]), x).round(6)
    array([1. , 0.5, 0. ])
    """
    _, x = arrays(points, names="points")
    x = np.asarray(x)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"points must be a finite matrix of shape (n, D), got shape {x.shape}")
    step, output = number("step", step, above=0), one_of("side", side, SIDES) == "output"
    one_of("scale", scale, SCALES)
    columns, rows = [], None
    for i in range(x.shape[1]):  # one column of the Jacobian at a time, so that no (n, K, D) array is held
        moved = np.eye(1, x.shape[1], i) * step
        slope = (np.asarray(function(x + moved)) - np.asarray(function(x - moved))) / (2 * step)
        if slope.ndim not in (1, 2) or len(slope) != len(x):
            raise ValueError(f"function must return shape (n,) or (n, K) for n = {len(x)}, got {slope.shape}")
        slope = slope.reshape(len(x), -1)
        if output:
            rows = slope**2 + (0.0 if rows is None else rows)
        else:
            columns.append(float(np.abs(slope).sum(axis=1).mean()))
    m = np.array(columns) if rows is None else np.sqrt(rows).mean(axis=0)
    return _scaled(m, scale)


def folded(mean: Any, deviation: Any) -> Any:
    """E|N(mean, deviation²)|."""
    from scipy.special import ndtr

    ratio = mean / deviation
    return deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))


def residual_stretch(length: int, signal: float, agreement: float, *, residual: bool = True) -> float:
    """Ratio m_u/m_perp of the metric that the over-layers estimator finds after one layer of mean pooling.

    Pooled signs are binomial and pooled noise is Gaussian: a mixture of folded normal laws, exact at every length.

    Parameters
    ----------
    length : int
        L.
    signal : float
        θ >= 0, on one coordinate.
    agreement : float
        p, between 0 and 1.
    residual : bool, default True
        v' = v + x, which moves by the pooled x; otherwise v' = x, which moves by x − v.

    Examples
    --------
    >>> round(residual_stretch(64, 1.5, 0.6), 3), round(residual_stretch(64, 1.5, 0.6, residual=False), 3)
    (3.194, 1.898)
    """
    from scipy.stats import binom

    length, theta = natural("length", length, 1 if residual else 2), number("signal", signal, least=0)
    p = number("agreement", agreement, least=0)
    if p > 1:
        raise ValueError(f"agreement must be between 0 and 1, got {agreement}")
    if residual:
        k = np.arange(length + 1)
        moved = folded(theta * (2 * k / length - 1), length**-0.5)
        return float(binom.pmf(k, length, p) @ moved * np.sqrt(np.pi / 2 * length))
    k = np.arange(length)  # agreeing tokens among the other ones
    deviation, total = np.sqrt(1 - 1 / length), 0.0
    for s, share in ((1.0, p), (-1.0, 1 - p)):
        pooled = (2 * k - (length - 1) + s) / length
        total += share * float(binom.pmf(k, length - 1, p) @ folded(theta * (pooled - s), deviation))
    return total * float(np.sqrt(np.pi / 2)) / float(deviation)


def estimated_metric(
    dimension: int, length: int, samples: int, signal: float, agreement: float
) -> tuple[float, float]:
    """Entries a and b of the metric that mean |x_i| over N mean-pooled sequences gives, the largest of them one.

    The largest is the signal's, or that of d noisy entries whose fluctuations are sqrt((pi/2 − 1)/N).
    """
    from scipy.special import ndtri

    stretch = residual_stretch(length, signal, agreement)
    blom = float(ndtri((dimension - 0.375) / (dimension + 0.25)))  # expected largest of d normal numbers
    top = max(stretch, 1 + float(np.sqrt((np.pi / 2 - 1) / samples)) * blom)
    return stretch / top, 1 / top
