"""Losses of a ridge classifier on pooled features, and the penalty that is best in the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, one_of, require
from resolvent.laws import InverseMap
from resolvent.models.ridge import RidgeRisks, _mean_normal_cdf, ridge_risks
from resolvent.spikes import TABLES

__all__ = ["OptimalRidge", "RidgeLosses", "optimal_ridge", "ridge_losses"]

DECADES = 9.0  # penalties are searched from 1e-9 to 1e9 times kappa
POINTS = 73


@dataclass(frozen=True, eq=False)
class RidgeLosses:
    """Limits of a ridge classifier; fields broadcast with the arguments.

    Attributes
    ----------
    objective : float or array
        min over b of (1/N)‖y − Xb‖² + ridge ‖b‖².
    training_error : float or array
        (1/N)‖y − Xb‖² alone.
    error : float or array
        Mean squared error on fresh sequences.

    Examples
    --------
    >>> losses = ridge_losses(1.0, 0.3, 0.5, 1.0, 1.0, 0.25, 0.1)
    >>> bool(losses.training_error < losses.objective < losses.error)
    True
    """

    objective: Any
    training_error: Any
    error: Any


@dataclass(frozen=True, eq=False)
class OptimalRidge:
    """The best penalty and what it reaches.

    Attributes
    ----------
    ridge : float or array
        0 or infinity where the criterion still improves towards that end.
    accuracy, error : float or array
        Of that penalty (or of the ends of the search, 1e∓9 kappa).

    Examples
    --------
    >>> best = optimal_ridge(1.0, 0.3, 0.5, [0.5, 0.5], [1.0, 0.0])
    >>> round(float(best.error), 3)
    0.812
    """

    ridge: Any
    accuracy: Any
    error: Any


def ridge_losses(
    signal: Any,
    delta: Any,
    gamma: Any,
    a: Any,
    alpha: Any,
    kappa: Any,
    ridge: Any,
    *,
    table: str = "mixture",
) -> RidgeLosses:
    """Training and test losses of ridge regression of the label on pooled features; all arguments broadcast.

    Weights enter by three numbers only, which makes this the loss landscape over weights.

    Parameters
    ----------
    signal : float or array
        ‖mu‖ >= 0.
    delta, gamma : float or array
        d/V and d/N, positive.
    a : float or array
        E[y sum_l w_l y_l] = sum_l w_l c_l, the pooled label.
    alpha, kappa : float or array
        wᵀRw >= a² and ‖w‖² > 0.
    ridge : float or array
        Penalty > 0.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    RidgeLosses

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    docs/theory/downstream.md, section 1.

    Examples
    --------
    >>> found = ridge_losses(1.0, 0.3, 0.5, 1.0, 1.0, [0.25, 1.0], 0.1)
    >>> found.objective.round(3), found.error.round(3)  # a smaller kappa at the same a and alpha
    (array([0.149, 0.246]), array([0.166, 0.544]))
    """
    mixture = one_of("table", table, TABLES) == "mixture"
    names = "signal delta gamma a alpha kappa ridge"
    xp, s, d, g, a, alpha, kappa, lam = arrays(signal, delta, gamma, a, alpha, kappa, ridge, names=names)
    require("signal", signal, xp.isfinite(s) & (s >= 0), "finite and >= 0")
    for name, value in (("delta", d), ("gamma", g), ("kappa", kappa), ("ridge", lam)):
        require(name, value, xp.isfinite(value) & (value > 0), "positive and finite")
    require("alpha", alpha, xp.isfinite(alpha) & (alpha >= a**2 * (1 - 1e-12)), "finite and at least a²")
    p = xp.real(InverseMap((d, g), kappa).physical(-lam))
    risks = ridge_risks(xp, s**2 + d if mixture else s**2, d, g, a, alpha, kappa, p)
    return RidgeLosses(risks.objective, risks.training_error, risks.error)


def optimal_ridge(
    signal: Any,
    delta: Any,
    gamma: Any,
    weights: Any,
    loadings: Any,
    *,
    by: str = "error",
    table: str = "mixture",
) -> OptimalRidge:
    """Ridge penalty that is best in the limit: on a grid of log penalties first, then by Chandrupatla's method.

    Parameters
    ----------
    signal, delta, gamma : float or array
        As in `resolvent.ridge_accuracy`; broadcast.
    weights, loadings : array, shape (T,)
        Pooling weights and the positions' correlations with the label.
    by : {"error", "accuracy"}
        What is made best: mean squared test error, or test accuracy.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    OptimalRidge

    Raises
    ------
    ValueError
        If an argument is out of range or shapes disagree.
    RuntimeError
        If the search did not converge.

    References
    ----------
    docs/theory/downstream.md, section 1.

    Examples
    --------
    >>> w, c = [0.25] * 4, [1.0, 1.0, 0.0, 0.0]
    >>> best = optimal_ridge([0.5, 2.0], 0.3, 0.5, w, c)
    >>> best.ridge.round(3)
    array([0.242, 0.328])
    """
    from scipy.optimize.elementwise import find_minimum

    one_of("by", by, ("error", "accuracy"))
    mixture = one_of("table", table, TABLES) == "mixture"
    xp, s, d, g, w, c = arrays(
        signal, delta, gamma, weights, loadings, names="signal delta gamma weights loadings"
    )
    require("signal", signal, np.isfinite(s) & (s >= 0), "finite and >= 0")
    for name, value in (("delta", d), ("gamma", g)):
        require(name, value, np.isfinite(value) & (value > 0), "positive and finite")
    if w.ndim != 1 or w.shape != c.shape:
        raise ValueError(
            f"weights and loadings must be vectors of one length, got shapes {w.shape} and {c.shape}"
        )
    require("loadings", loadings, np.abs(c) <= 1, "numbers in [-1, 1]")
    require("weights", weights, np.isfinite(w) & (np.sum(w**2) > 0), "finite and not all zero")
    kappa, a = float(w @ w), float(w @ c)
    alpha = a**2 + float(w**2 @ (1 - c**2))
    shape = np.broadcast_shapes(s.shape, d.shape, g.shape)
    s, d, g = (np.broadcast_to(v, shape).ravel() for v in (s, d, g))

    def risks(x: Any, s: Any, d: Any, g: Any) -> RidgeRisks:
        p = InverseMap((d, g), kappa).physical(-kappa * np.exp(x)).real
        return ridge_risks(xp, s**2 + d if mixture else s**2, d, g, a, alpha, kappa, p)

    def cost(x: Any, *setting: Any) -> Any:
        found = risks(x, *setting)
        return found.error if by == "error" else -_mean_normal_cdf(xp, found.gain, w, c)

    grid = np.linspace(-1, 1, POINTS) * DECADES * np.log(10)
    values = cost(grid, s[..., None], d[..., None], g[..., None])
    best = np.argmin(values, axis=-1)
    least = np.min(values, axis=-1)
    best[values[..., -1] <= least + 1e-12 * np.abs(least)] = POINTS - 1  # without a signal all are alike
    inner = np.clip(best, 1, POINTS - 2)
    log_ridge = grid[best].astype(float)
    inside = best == inner
    if inside.any():
        i = inner[inside]
        bracket = (grid[i - 1], grid[i], grid[i + 1])
        found = find_minimum(cost, bracket, args=(s[inside], d[inside], g[inside]))
        if not found.success.all():
            raise RuntimeError(f"the best penalty was not found: log(ridge/kappa) = {found.x}")
        log_ridge[inside] = found.x
    at = risks(log_ridge, s, d, g)
    ridge = np.where(inside, kappa * np.exp(log_ridge), np.where(best == 0, 0.0, np.inf))
    accuracy = _mean_normal_cdf(xp, at.gain, w, c)
    return OptimalRidge(*(v.reshape(shape)[()] for v in (ridge, accuracy, at.error)))
