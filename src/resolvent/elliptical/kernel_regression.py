"""Nadaraya–Watson regression with a Mahalanobis kernel: attention read as a regression estimate, with several metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number
from resolvent.elliptical.variability import finite_difference_variability

__all__ = ["BANDWIDTHS", "best_bandwidth", "nadaraya_watson", "plug_in_metric", "random_metric"]

BANDWIDTHS = np.geomspace(0.05, 3.0, 18)
CHUNK = 1 << 21  # kernel entries of one chunk of queries


def _data(x: Any, y: Any, metric: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, x, y = arrays(x, y, names="x y")
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"x must have shape (n, D), got {x.shape}")
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise ValueError(f"y must have shape ({len(x)},) or ({len(x)}, K) to match x, got {y.shape}")
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    m = np.ones(x.shape[1]) if metric is None else np.asarray(arrays(metric, names="metric")[1])
    if m.shape != x.shape[1:]:
        raise ValueError(f"metric must have shape ({x.shape[1]},) to match x, got {m.shape}")
    if not (np.isfinite(m) & (m >= 0)).all() or not m.any():
        raise ValueError("metric must be finite, >= 0 and not all zero")
    return x, y, m


def _distances(x: np.ndarray, queries: np.ndarray, m: np.ndarray) -> np.ndarray:
    """(x − q)ᵀ M (x − q), shape (queries, n)."""
    a, b = queries * np.sqrt(m), x * np.sqrt(m)
    found = -2 * (a @ b.T) + (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    return np.maximum(found, 0, out=found)


def _chunks(queries: int, n: int) -> list[slice]:
    rows = max(1, CHUNK // n)
    return [slice(i, min(i + rows, queries)) for i in range(0, queries, rows)]


def nadaraya_watson(x: Any, y: Any, queries: Any, *, bandwidth: float, metric: Any = None) -> np.ndarray:
    """Kernel regression: softmax over j of −(q − x_j)ᵀ M (q − x_j)/(2 h²), averaged over y_j.

    Parameters
    ----------
    x : array, shape (n, D)
    y : array, shape (n,) or (n, K)
    queries : array, shape (m, D)
    bandwidth : float
        h > 0.
    metric : array, shape (D,), optional
        Diagonal of M, >= 0; ones by default.

    Returns
    -------
    array, shape (m,) or (m, K)

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, or the metric is negative or zero.

    References
    ----------
    Nielsen et al. [nielsen2024]_ (attention as this estimate); docs/theory/elliptical.md, section 1.

    Examples
    --------
    >>> x = np.linspace(0, 1, 101)[:, None]
    >>> nadaraya_watson(x, x[:, 0], [[0.5]], bandwidth=0.05).round(6)
    array([0.5])
    """
    x, y, m = _data(x, y, metric)
    q = np.asarray(arrays(queries, names="queries")[1])
    if q.ndim != 2 or q.shape[1] != x.shape[1] or not np.isfinite(q).all():
        raise ValueError(f"queries must be finite, of shape (m, {x.shape[1]}), got shape {q.shape}")
    h = number("bandwidth", bandwidth, above=0)
    out = np.empty((len(q), *y.shape[1:]))
    for part in _chunks(len(q), len(x)):
        logits = _distances(x, q[part], m) / (-2 * h**2)
        logits -= logits.max(axis=1, keepdims=True)
        w = np.exp(logits, out=logits)
        out[part] = (w @ y) / w.sum(axis=1).reshape(-1, *[1] * (y.ndim - 1))
    return out


def best_bandwidth(x: Any, y: Any, *, metric: Any = None, bandwidths: Any = BANDWIDTHS) -> float:
    """Bandwidth of least leave-one-out squared error, among those given.

    Parameters
    ----------
    x : array, shape (n, D)
    y : array, shape (n,) or (n, K)
    metric : array, shape (D,), optional
    bandwidths : array, shape (B,), default `BANDWIDTHS`
        Positive; in units of the metric.

    Raises
    ------
    ValueError
        If there are fewer than two points, or a bandwidth is not positive.

    Examples
    --------
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> y = np.sin(9 * x[:, 0]) + 0.3 * np.random.default_rng(0).standard_normal(200)
    >>> 0.02 < best_bandwidth(x, y, bandwidths=np.geomspace(0.005, 0.5, 20)) < 0.1
    True
    """
    x, y, m = _data(x, y, metric)
    grid = np.atleast_1d(np.asarray(arrays(bandwidths, names="bandwidths")[1], dtype=float))
    if grid.ndim != 1 or not grid.size or not (np.isfinite(grid) & (grid > 0)).all():
        raise ValueError(f"bandwidths must be positive and finite, got {bandwidths!r}")
    if len(x) < 2:
        raise ValueError(f"x must hold at least two points to leave one out, got {len(x)}")
    errors = np.zeros(grid.size)
    for part in _chunks(len(x), len(x)):
        rows = np.arange(part.start, part.stop)
        distances = _distances(x, x[part], m)
        distances[np.arange(rows.size), rows] = np.inf
        distances -= distances.min(axis=1, keepdims=True)
        for i, h in enumerate(grid):
            w = np.exp(distances / (-2 * h**2))
            left_out = (w @ y) / w.sum(axis=1).reshape(-1, *[1] * (y.ndim - 1))
            errors[i] += float(((left_out - y[part]) ** 2).sum())
    return float(grid[np.argmin(errors)])


def plug_in_metric(
    x: Any, y: Any, *, bandwidth: float | None = None, step: float | None = None
) -> np.ndarray:
    """Metric from the data alone: central differences of an isotropic estimate, per input coordinate, largest one.

    Parameters
    ----------
    x : array, shape (n, D)
    y : array, shape (n,) or (n, K)
    bandwidth : float, optional
        Of the estimate that is differentiated; the best one by default.
    step : float, optional
        Half the distance of the difference; the bandwidth by default.

    Returns
    -------
    array, shape (D,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, (400, 3))
    >>> m = plug_in_metric(x, 2 * x[:, 0] + 0.1 * rng.standard_normal(400))
    >>> bool(m[0] == 1 and m[1:].max() < 0.3)
    True
    """
    x, y, _ = _data(x, y, None)
    h = best_bandwidth(x, y) if bandwidth is None else number("bandwidth", bandwidth, above=0)
    half = h if step is None else number("step", step, above=0)
    return finite_difference_variability(lambda at: nadaraya_watson(x, y, at, bandwidth=h), x, step=half)


def random_metric(dimension: int, *, rng: Any = None) -> np.ndarray:
    """Uniform entries, the largest one: the control that a metric has to beat.

    Parameters
    ----------
    dimension : int
    rng : numpy.random.Generator or int, optional

    Examples
    --------
    >>> float(random_metric(5, rng=0).max())
    1.0
    """
    m = generator(rng).random(natural("dimension", dimension))
    return m / m.max()
