"""Capacity: the largest alpha at which frozen features can be separated, in the limit and by linear programming."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, require
from resolvent.sparse_token.features import FeatureLaw

__all__ = ["capacity", "labelled", "separable", "separable_prefix"]

LARGEST = 1e3


def capacity(law: FeatureLaw) -> float:
    """Largest alpha = n/d for which some (w, b) has y_i (w·f_i + b) > 0 for all samples.

    1/alpha* = min over (b, w1, w2) of E[(sqrt(1 + |w2|²) G − y (b + w1 p + w2·t)/om)²₊], a convex problem.

    Returns
    -------
    float
        alpha*, in samples a dimension (the vectorised classifier has L·d parameters). Infinite stands for more than
        1,000 samples a parameter: Gaussian tails decide beyond, which no set of points resolves.

    Raises
    ------
    RuntimeError
        If the minimum was not found.

    References
    ----------
    Conjecture 1 of Barnfield, Cui and Lu [barnfield2026]_; the formula is derived in docs/theory/sparse_token.md,
    section 6. Gordon's comparison, as in Cover's 2d for labels that mean nothing.

    Examples
    --------
    >>> from resolvent.sparse_token import Query, SparseTokens, attention, pooled, vectorised
    >>> tokens = SparseTokens(5, 1, 3.0, 0.5)
    >>> laws = pooled(tokens), vectorised(tokens), attention(tokens, Query(0.7, 1.0))
    >>> [round(capacity(law), 2) for law in laws]
    [2.65, 13.25, 3.8]
    """
    from scipy.optimize import minimize
    from scipy.special import ndtr

    scaled = (law.y / law.omega)[:, None] * law.h
    on_t = slice(scaled.shape[1] - law.size, scaled.shape[1])

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        m, sg = scaled @ x, np.sqrt(1 + x[on_t] @ x[on_t])
        z = m / sg
        tail, density = ndtr(-z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        total = law.weight @ ((m**2 + sg**2) * tail - m * sg * density)
        gradient = (-2 * law.weight * (sg * density - m * tail)) @ scaled
        gradient[on_t] += 2 * x[on_t] * (law.weight @ tail)
        return float(total), gradient

    found = minimize(value, np.zeros(scaled.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
    if found.fun < 1 / LARGEST:
        return np.inf
    slope = np.abs(value(found.x)[1]).max()
    if not slope < 1e-6 * max(found.fun, 1e-6):
        raise RuntimeError(
            f"the capacity was not found: about {law.width / found.fun:.4g}, slope {slope:.1e} ({found.message})"
        )
    return float(law.width / found.fun)


def labelled(features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, D) and labels ±1 as floating arrays, or a ``ValueError`` that says what is wrong with them."""
    x, y = (np.asarray(one, dtype=float) for one in arrays(features, labels, names="features labels")[1:])
    if x.ndim != 2 or not x.size:
        raise ValueError(f"features must have shape (n, D) with n, D >= 1, got shape {x.shape}")
    require("features", x, np.isfinite(x), "finite")
    if y.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape {x.shape[:1]}, one a sample, got {y.shape}")
    require("labels", y, np.abs(y) == 1, "+1 or -1")
    return x, y


def separable(features: Any, labels: Any) -> bool:
    """Whether some (w, b) has y_i (w·f_i + b) > 0 for all i, by linear programming (HiGHS).

    Parameters
    ----------
    features : array, shape (n, D)
    labels : array, shape (n,)
        ±1.

    Raises
    ------
    ValueError
        If features are not a finite matrix or labels not as many ±1.
    RuntimeError
        If the solver neither found a separating plane nor proved that there is none.

    Examples
    --------
    >>> separable([[0.0], [1.0]], [-1, 1]), separable([[0.0], [1.0], [2.0]], [-1, 1, -1])
    (True, False)
    """
    from scipy.optimize import linprog

    features, labels = labelled(features, labels)
    if abs(labels.sum()) == labels.size:
        return True  # one class: a constant separates
    sides = -labels[:, None] * np.column_stack([features, np.ones(labels.size)])
    found = linprog(
        np.zeros(sides.shape[1]),
        A_ub=sides,
        b_ub=-np.ones(labels.size),
        bounds=(None, None),
        method="highs-ipm",
    )
    if found.status == 0:
        return True
    if found.status == 2:
        return False
    raise RuntimeError(f"linear programming did not decide separability: {found.message}")


def separable_prefix(features: Any, labels: Any, *, tolerance: int = 1) -> int:
    """Length of the longest separable prefix of a stream of samples, by bisection.

    Parameters
    ----------
    features : array, shape (n, D)
    labels : array, shape (n,)
    tolerance : int, default 1
        The bisection stops at this many samples: the length is exact at 1, else the middle of the last bracket.

    Raises
    ------
    ValueError
        If all n samples are separable: the stream is too short. If an argument is not as described.

    Examples
    --------
    >>> separable_prefix([[0.0], [1.0], [2.0], [3.0]], [-1, 1, 1, -1])
    3
    """
    features, labels = labelled(features, labels)
    tolerance = natural("tolerance", tolerance)
    low, high = min(features.shape[1] + 1, labels.size - 1), labels.size  # D + 1 points in general position
    if separable(features, labels):
        raise ValueError(f"features must hold more samples: all {high} are separable")
    if not separable(features[:low], labels[:low]):
        low = 1
    while high - low > tolerance:
        middle = (low + high) // 2
        if separable(features[:middle], labels[:middle]):
            low = middle
        else:
            high = middle
    return (low + high) // 2 if tolerance > 1 else low
