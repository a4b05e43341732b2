"""Gradient descent of the whole attention layer in the limit d → infinity, with fresh samples in every step.

Fresh samples are independent of (w, q), so that a gradient is its mean, which lies in the span of (ξ, w, q), plus
Gaussian noise at right angles to it. The Gram matrix of (ξ, w, q) and b therefore move deterministically
(derived in docs/theory/sparse_token.md, section 7).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from resolvent.arguments import natural, number
from resolvent.sparse_token.descent import Trajectory, checked
from resolvent.sparse_token.features import POINTS, softmax
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["online"]


class _Points(NamedTuple):
    """Samples of one kind and label: what the expectations over a fresh sample run over."""

    y: float
    weight: float
    shift: np.ndarray  # theta v, (L,)
    g: np.ndarray  # noise of the tokens along q̂, (n, L)
    normal: np.ndarray  # of the pooled noise along the rest of w, (n,)


class _Moments(NamedTuple):
    """Loss and gradients of a fresh batch, per sample: their means, and their noise a coordinate."""

    loss: float
    mean: np.ndarray  # of (g_w, g_q) along (q̂, e2, e3), (2, 3)
    bias: float
    noise: np.ndarray  # covariance of (g_w, g_q) in every other direction, (2, 2)


def online(
    tokens: SparseTokens,
    steps: int,
    *,
    alpha: float,
    rates: Any,
    inverse_temperature: float = 1.0,
    loss: str = "logistic",
    joint: bool = True,
    regularisation: float = 0.0,
    points: int = POINTS,
) -> Trajectory:
    """Limit of `descend` with ``fresh=True`` from zero: d, n_0 → infinity with n_0/d = alpha a step.

    Parameters
    ----------
    tokens : SparseTokens
        With one signal.
    steps : int
        T >= 0.
    alpha : float
        n_0/d > 0 of each step; infinity is descent on the expected loss.
    rates : tuple of three floats
        Step sizes (eta_w, eta_b, eta_q) >= 0.
    inverse_temperature : float, default 1
        β > 0.
    loss : {"logistic", "square"}
    joint : bool, default True
        Move w, b and q in every step. False is the paper's protocol: the first step moves w and b, later ones q alone.
    regularisation : float, default 0
        lambda >= 0, of (lambda/2)‖w‖².
    points : int, default 8192
        Quasi-random points a label and kind of sample (rounded up to a power of two).

    Returns
    -------
    Trajectory
        Its loss is that of the fresh samples, hence the expected loss.

    Raises
    ------
    ValueError
        If an argument is out of range or there are several signals.
    RuntimeError
        If the descent diverges.

    References
    ----------
    Derived in docs/theory/sparse_token.md, section 7.

    Examples
    --------
    >>> tokens = SparseTokens(6, 2, 4.0, 0.5)
    >>> limit = online(tokens, 5, alpha=4.0, rates=(1, 1, 1))
    >>> limit.alignment.round(2).tolist()
    [nan, nan, 0.98, 0.98, 0.96, 0.95]
    """
    eta, beta, penalty = checked(rates, inverse_temperature, loss, regularisation)
    if tokens.signals > 1:
        raise ValueError(f"signals must be 1 for the limit of online descent, got {tokens.signals}")
    steps, points = natural("steps", steps, 0), natural("points", points)
    ratio = 0.0 if alpha == np.inf else 1 / number("alpha", alpha, above=0)
    grid = _grid(tokens, points)
    gram, b = np.diag([1.0, 0.0, 0.0]), 0.0
    grams, biases, losses = [], [], []
    for t in range(steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            frame, real = _frame(gram)
            moments = _moments(grid, frame, b, beta, loss)
        grams.append(gram)
        biases.append(b)
        losses.append(moments.loss)
        if not (
            np.isfinite(moments.loss) and np.isfinite(moments.mean).all() and np.isfinite(moments.noise).all()
        ):
            raise RuntimeError(
                f"descent diverged: the loss is {moments.loss:g} after {t} steps; lower the rates {eta}"
            )
        if t == steps:
            break
        mean = np.where(real, moments.mean, 0.0)  # along a direction that no vector spans, it is zero
        moved = np.array([eta[0] if joint or t == 0 else 0.0, eta[2] if joint or t > 0 else 0.0])
        frame = frame.copy()
        frame[1] *= 1 - moved[0] * penalty
        frame[1:] -= moved[:, None] * mean
        gram = frame @ frame.T
        gram[1:, 1:] += ratio * moved[:, None] * moments.noise * moved
        if joint or t == 0:
            b -= eta[1] * moments.bias
    return Trajectory(tokens, beta, np.array(grams), np.array(biases), np.array(losses))


def _grid(tokens: SparseTokens, points: int) -> list[_Points]:
    from scipy.special import ndtri
    from scipy.stats import qmc

    each = 2 ** int(np.ceil(np.log2(points)))
    grid = []
    for length, informative, probability in tokens.kinds:
        length = int(length)
        normals = ndtri(qmc.Sobol(length + 1, rng=length).random(each))
        # tokens are exchangeable: the first R may carry the signal
        shift = tokens.signal * (np.arange(length) < informative)
        for y, share in ((1.0, tokens.rarity), (-1.0, 1 - tokens.rarity)):
            weight = float(probability) * share / each
            grid.append(_Points(y, weight, shift * (y > 0), normals[:, :-1], normals[:, -1]))
    return grid


def _frame(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of (ξ, w, q) along q̂, the rest of w, and the rest of ξ; and which of the three exist."""
    (s, along), length = gram[:2, 2], np.sqrt(gram[2, 2])
    s, along = (s / length, along / length) if length > 0 else (0.0, 0.0)
    rest = max(gram[1, 1] - along**2, 0.0)
    rest = np.sqrt(rest) if rest > 1e-14 * gram[1, 1] else 0.0
    s2 = (gram[0, 1] - s * along) / rest if rest > 0 else 0.0
    s3 = np.sqrt(max(1 - s**2 - s2**2, 0.0))
    return np.array([[s, s2, s3], [along, rest, 0.0], [length, 0.0, 0.0]]), np.array(
        [length > 0, rest > 0, s3 > 0]
    )


def _moments(grid: list[_Points], frame: np.ndarray, b: float, beta: float, loss: str) -> _Moments:
    """Expectations over a fresh sample, given the coordinates of (ξ, w, q).

    Of the tokens' noise along e2, only its pooled part a·h = ‖a‖G meets the loss; the rest is averaged exactly.
    """
    f = LOSSES[loss]
    (s, s2, s3), (along, rest, _), (length, _, _) = frame
    value, bias, mean, noise = 0.0, 0.0, np.zeros((2, 3)), np.zeros((2, 2))
    for y, weight, shift, g, normal in grid:
        x1 = g + s * shift
        a = softmax(beta * length * x1)
        a2 = a**2
        om2 = a2.sum(axis=1)
        pooled = normal / np.sqrt(om2)
        x2 = s2 * shift + a * pooled[:, None]  # mean given G
        x3 = s3 * shift
        x_w = along * x1 + rest * x2
        score = (a * x_w).sum(axis=1)
        u = score + b
        label = np.full_like(u, y)
        slope = f.first(label, u)
        r = beta * a * (x_w - score[:, None])
        # E h·diag(a)h and E |diag(a)h|² over the part of the noise that is orthogonal to a
        spread = 1 - (a2 * a).sum(axis=1) / om2
        spread2 = om2 - (a2**2).sum(axis=1) / om2
        g_w = [(a * x1).sum(axis=1), (a * x2).sum(axis=1), a @ x3]
        g_q = [(r * x1).sum(axis=1), (r * x2).sum(axis=1) + beta * rest * spread, r @ x3]
        mean += weight * (np.stack([g_w, g_q]) @ slope)
        cross = (a * r).sum(axis=1)
        size = (r**2).sum(axis=1) + (beta * rest) ** 2 * spread2
        noise += weight * (np.array([[om2, cross], [cross, size]]) @ slope**2)
        value += weight * f.value(label, u).sum()
        bias += weight * slope.sum()
    return _Moments(float(value), mean, float(bias), noise)
