"""The read-out (w, b) trained on frozen features, in the limit d, n_1 → infinity with n_1/d = alpha_1.

Given the scalars (y, p, t, om) of a `FeatureLaw` the trained score of a training sample is the proximal map of the
loss at u* = M + r om G, M = b + w1 p + w2·t, and five scalar equations close the system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, one_of, require
from resolvent.sparse_token.features import FeatureLaw
from resolvent.sparse_token.losses import LOSSES, Loss

__all__ = ["Expansion", "ReadoutLimit", "error_of", "expansion", "readout"]


@dataclass(frozen=True, eq=False)
class ReadoutLimit:
    """A trained read-out, as the limit sees it; fields broadcast with alpha.

    Attributes
    ----------
    error : float or array
        Probability of the wrong sign on a fresh sample.
    loss : float or array
        Training loss, without the penalty.
    alignment : float or array
        Cosine of w with the (mean) signal direction.
    intercept : float or array
        b.
    along : array
        Components (w1, w2) of w along the query and the other signal directions; on the last axis.
    norm : float or array
        ‖w‖.
    variance : float or array
        V, the susceptibility of the equations.

    Examples
    --------
    >>> from resolvent.sparse_token import SparseTokens, pooled
    >>> readout(pooled(SparseTokens(10, 1, 5.0, 0.5)), [2.0, 4.0]).error.shape
    (2,)
    """

    error: Any
    loss: Any
    alignment: Any
    intercept: Any
    along: Any
    norm: Any
    variance: Any


def readout(
    law: FeatureLaw, alpha: Any, *, loss: str = "logistic", regularisation: float = 1e-5
) -> ReadoutLimit:
    """Limit of argmin over (w, b) of (1/n) sum_i l(y_i; w·f_i + b) + (lambda/2)‖w‖².

    Parameters
    ----------
    law : FeatureLaw
        From `attention`, `pooled` or `vectorised`.
    alpha : float or array
        alpha_1 = n_1/d > 0.
    loss : {"logistic", "square"}
        log(1 + exp(−yu)), or (u − y)²/2, whose equations are solved in closed form but for one root.
    regularisation : float, default 1e-5
        lambda >= 0. Zero needs a unique minimum: alpha above the features' width under the square loss, above the
        capacity under the logistic one.

    Returns
    -------
    ReadoutLimit

    Raises
    ------
    ValueError
        If an argument is out of range, or lambda = 0 leaves no finite minimum.
    RuntimeError
        If the equations could not be solved to a residual of 1e-8.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, theorem 4; equations in docs/theory/sparse_token.md, section 4.

    Examples
    --------
    >>> from resolvent.sparse_token import Query, SparseTokens, attention, pooled
    >>> tokens = SparseTokens(10, 1, 5.0, 0.5)
    >>> for law in (pooled(tokens), attention(tokens, Query(0.8, 1.0))):
    ...     print(round(float(readout(law, 4.0, loss="square").error), 3))
    0.281
    0.073
    """
    one_of("loss", loss, tuple(LOSSES))
    penalty = number("regularisation", regularisation, least=0)
    alpha = np.asarray(arrays(alpha, names="alpha")[1], dtype=float)
    require("alpha", alpha, np.isfinite(alpha) & (alpha > 0), "positive and finite")
    gamma = law.width / alpha.ravel()
    if penalty == 0:
        _finite(law, alpha, gamma, loss)
    solve = _square if loss == "square" else _convex
    b, along, rest, variance, training = solve(law, gamma, penalty)
    full = along if law.query is not None else np.hstack([np.zeros((gamma.size, 1)), along])
    r = np.sqrt((full[:, 1:] ** 2).sum(axis=1) + rest)
    norm = np.sqrt(full[:, 0] ** 2 + r**2)
    out = {
        "error": error_of(law, b, full, r),
        "loss": training,
        "alignment": np.divide(full @ law.direction, norm, out=np.zeros_like(norm), where=norm > 0),
        "intercept": b,
        "norm": norm,
        "variance": variance,
    }
    return ReadoutLimit(
        along=full.reshape(alpha.shape + full.shape[1:]),
        **{name: value.reshape(alpha.shape)[()] for name, value in out.items()},
    )


def error_of(law: FeatureLaw, b: Any, along: Any, r: Any) -> np.ndarray:
    """Probability of the wrong sign of b + w·f for read-outs of any origin.

    Parameters
    ----------
    law : FeatureLaw
    b : array, shape (m,)
    along : array, shape (m, 1 + r)
        Components of w along the query and the law's other directions.
    r : array, shape (m,)
        Length of w without its component along the query.
    """
    from scipy.special import ndtr

    h = np.column_stack([np.ones(law.y.size), law.p, law.t])
    score = np.column_stack([b, along]) @ h.T
    noise = np.maximum(np.multiply.outer(np.atleast_1d(r), law.omega), 1e-300)
    return ndtr(np.clip(-law.y * score / noise, -40, 40)) @ law.weight


def _finite(law: FeatureLaw, alpha: np.ndarray, gamma: np.ndarray, loss: str) -> None:
    """Refuse lambda = 0 where the training loss has no unique finite minimum."""
    from resolvent.sparse_token.capacity import capacity

    least = law.width if loss == "square" else capacity(law)
    if (alpha <= least).any():
        why = (
            "the training data are interpolated, and the minimum is not unique"
            if loss == "square"
            else "the training data are separable, and the logistic loss has no finite minimum"
        )
        raise ValueError(
            f"regularisation must be positive up to alpha = {least:.4g}, got 0 at alpha = {float(alpha.min()):.4g}: {why}"
        )


def _square(law: FeatureLaw, gamma: np.ndarray, penalty: float) -> tuple[np.ndarray, ...]:
    """Closed form; the susceptibility V is the root of V(lambda + E[om²/(1 + V om²)]) = gamma."""
    sizes, index = np.unique(law.omega, return_inverse=True)
    share = np.bincount(index, law.weight)
    power = sizes**2
    V = _root(gamma, penalty, power, share)
    h, om2 = law.h, law.omega**2
    k = 1 / (1 + V[:, None] * om2)
    m = h.shape[1]
    weighted = k * law.weight
    normal = (weighted @ (h[:, :, None] * h[:, None, :]).reshape(-1, m * m)).reshape(-1, m, m)
    lc = gamma / V
    ridge = np.zeros((gamma.size, m))
    if law.query is not None:
        ridge[:, 1] = penalty
    ridge[:, m - law.size :] = lc[:, None]
    normal += ridge[:, :, None] * np.eye(m)
    solution = np.linalg.solve(normal, (weighted @ (law.y[:, None] * h))[:, :, None])[:, :, 0]
    misfit = (solution @ h.T - law.y) ** 2
    w2 = (solution[:, m - law.size :] ** 2).sum(axis=1)
    c2 = gamma / lc**2 * ((k * om2) ** 2 @ law.weight)
    rest = (gamma / lc**2 * ((k**2 * om2 * misfit) @ law.weight) + c2 * w2) / (1 - c2)
    training = ((k**2 * (misfit + (w2 + rest)[:, None] * om2)) @ law.weight) / 2
    return solution[:, 0], solution[:, 1:], rest, V, training


def _root(gamma: np.ndarray, penalty: float, power: np.ndarray, share: np.ndarray) -> np.ndarray:
    from scipy.optimize.elementwise import bracket_root, find_root

    def excess(x: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        V = np.exp(x)
        return np.log(V * (penalty + (1 / (1 / power + V[..., None])) @ share)) - np.log(gamma)

    start = np.log(gamma / (penalty + power @ share))
    bracket = bracket_root(excess, start - 0.1, start + 1.0, args=(gamma,))
    found = find_root(excess, bracket.bracket, args=(gamma,))
    if not found.success.all():
        raise RuntimeError(f"the susceptibility was not found: V = {np.exp(found.x)} at gamma = {gamma}")
    return np.exp(found.x)


def _convex(law: FeatureLaw, gamma: np.ndarray, penalty: float) -> tuple[np.ndarray, ...]:
    """Logistic loss: Newton's method on the five equations, led from a strong penalty to the one asked for."""
    found = []
    for g in gamma:
        system = _Equations(law, float(g), LOSSES["logistic"])
        found.append(system.solution(_led(system, penalty), penalty))
    b, along, rest, V, training = (np.array(column) for column in zip(*found, strict=True))
    return b, along, rest, V, training


class _Equations:
    """The five equations of one law and one gamma, in x = (b, w1, w2, log r_0, log V), with their Jacobian."""

    def __init__(self, law: FeatureLaw, gamma: float, loss: Loss) -> None:
        self.law, self.gamma, self.loss = law, gamma, loss
        self.m = law.h.shape[1]
        self.tail = slice(self.m - law.size, self.m)  # w2 within (b, w1, w2)
        self.om2 = law.omega**2
        self.u: np.ndarray | None = None  # the proximal map's last value, where its next search starts

    def start(self, penalty: float) -> np.ndarray:
        """The solution to leading order in a strong penalty."""
        positive = self.law.weight @ (self.law.y > 0)
        b = np.log(positive) - np.log(
            self.law.weight @ (self.law.y < 0)
        )  # the intercept alone, under the logistic loss
        at_b = np.full_like(self.om2, b)
        size = self.law.weight @ (self.om2 * self.loss.first(self.law.y, at_b) ** 2)
        chi = self.law.weight @ (self.om2 * self.loss.second(self.law.y, at_b))
        r0 = np.sqrt(self.gamma * size) / (penalty + chi)
        return np.r_[b, np.zeros(self.m - 1), np.log(r0), np.log(self.gamma / (penalty + chi))]

    def at(self, x: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Residuals, each relative to its own terms, and their Jacobian."""
        law, loss, m, tail, om2 = self.law, self.loss, self.m, self.tail, self.om2
        w2, r0, V = x[tail], np.exp(x[m]), np.exp(x[m + 1])
        r = np.sqrt(w2 @ w2 + r0**2)
        noise = law.omega * law.normal
        g = V * om2
        u = self.u = loss.prox(law.y, law.h @ x[:m] + r * noise, g, self.u)
        slope, curve, bend = (d(law.y, u) for d in (loss.first, loss.second, loss.third))
        one = 1 / (1 + g * curve)
        k = curve * one
        moves = np.column_stack([law.h, noise * r0**2 / r, -V * om2 * slope])
        moves[:, tail] += noise[:, None] * (w2 / r)
        chi = law.weight @ (om2 * k)
        dchi = (law.weight * om2 * bend * one**3) @ moves
        dchi[-1] -= (law.weight * om2) @ (k**2 * om2) * V
        square = law.weight @ (om2 * slope**2)
        level = law.weight @ np.abs(slope)
        weighted = law.weight[:, None] * law.h
        residual = np.r_[slope @ weighted, 0.0, 0.0]
        jacobian = np.vstack([weighted.T @ (k[:, None] * moves), np.zeros((2, m + 2))])
        if law.query is not None:
            residual[1] += penalty * x[1]
            jacobian[1, 1] += penalty
        residual[tail] += (penalty + chi) * w2
        jacobian[tail] += np.outer(w2, dchi)
        jacobian[tail, tail] += (penalty + chi) * np.eye(law.size)
        residual[:m] /= level
        jacobian[:m] /= level
        residual[m] = 2 * x[m] + np.log((penalty + chi) ** 2 / (self.gamma * square))
        jacobian[m] = 2 * dchi / (penalty + chi) - 2 * ((law.weight * om2 * slope * k) @ moves) / square
        jacobian[m, m] += 2
        residual[m + 1] = x[m + 1] + np.log((penalty + chi) / self.gamma)
        jacobian[m + 1] = dchi / (penalty + chi)
        jacobian[m + 1, m + 1] += 1
        return residual, jacobian

    def solution(self, x: np.ndarray, penalty: float) -> tuple[float, np.ndarray, float, float, float]:
        """b, (w1, w2), r_0², V and the training loss at a root."""
        self.at(x, penalty)
        assert self.u is not None
        training = self.law.weight @ self.loss.value(self.law.y, self.u)
        return x[0], x[1 : self.m], np.exp(2 * x[self.m]), np.exp(x[self.m + 1]), float(training)


def _newton(system: _Equations, x: np.ndarray, penalty: float) -> np.ndarray | None:
    """Root near x, or None where there is no way down to a residual of 1e-10."""
    residual, jacobian = system.at(x, penalty)
    size = np.abs(residual).max()
    for _ in range(60):
        if size < 1e-10:
            return x
        try:
            step = np.linalg.solve(jacobian, residual)
        except np.linalg.LinAlgError:
            return None
        step *= min(1.0, 2.0 / np.abs(step[system.m :]).max())  # V and r_0 by at most e² a time
        for _ in range(12):
            trial = x - step
            residual, jacobian = system.at(trial, penalty)
            if np.isfinite(residual).all() and np.abs(residual).max() < size:
                break
            step /= 2
        else:
            return x if size < 1e-8 else None
        x, size = trial, np.abs(residual).max()
    return None


def _led(system: _Equations, penalty: float) -> np.ndarray:
    """Root at `penalty`, followed from a strong one, where the start is close to it."""
    now = max(penalty, (1 + system.gamma) * system.om2.max())
    x = _newton(system, system.start(now), now)
    factor = 10.0
    while x is not None and now > penalty and factor > 1.02:
        nearer = max(now / factor, penalty)
        if penalty == 0 and nearer < 1e-8:
            nearer = 0.0
        moved = _newton(system, x, nearer)
        if moved is None:
            factor **= 0.5
        else:
            x, now = moved, nearer
    if x is None or now > penalty:
        raise RuntimeError(
            f"the read-out's equations were not solved: led from penalty {now:.3g} towards {penalty:.3g} at "
            f"gamma = {system.gamma:.4g}, last point {None if x is None else x.tolist()}"
        )
    return x


@dataclass(frozen=True)
class Expansion:
    """Test error of the ridgeless square loss at large alpha: limit + coefficient/alpha + o(1/alpha).

    Attributes
    ----------
    limit : float
        Error at infinite alpha.
    coefficient : float
        NaN where the limiting read-out has no noise (a query along the signal), and the expansion another form.

    Examples
    --------
    >>> from resolvent.sparse_token import SparseTokens, pooled
    >>> found = expansion(pooled(SparseTokens(10, 1, 5.0, 0.5)))
    >>> round(found.limit, 3), round(found.coefficient, 2)
    (0.215, 0.3)
    """

    limit: float
    coefficient: float


def expansion(law: FeatureLaw) -> Expansion:
    """First two terms of the test error under the square loss with lambda → 0, at large alpha.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, corollary (its coefficients are derived in docs/theory/sparse_token.md,
    section 5).

    Examples
    --------
    >>> from resolvent.sparse_token import Query, SparseTokens, attention
    >>> law = attention(SparseTokens(10, 1, 5.0, 0.5), Query(0.4, 1.0))
    >>> found = expansion(law)
    >>> exact = readout(law, 50.0, loss="square", regularisation=0)
    >>> bool(abs(found.limit + found.coefficient / 50 - exact.error) < 1e-3)
    True
    """
    h, om2, y = law.h, law.omega**2, law.y
    mean = law.weight @ om2
    on_t = np.r_[np.zeros(h.shape[1] - law.size), np.ones(law.size)]

    def gram(weight: np.ndarray) -> np.ndarray:
        return (weight[:, None] * h).T @ h + np.diag(on_t * (weight @ om2))

    A0, A1 = gram(law.weight), -gram(law.weight * om2) / mean
    z = np.linalg.solve(A0, (law.weight * y) @ h)
    dz = np.linalg.solve(A0, -((law.weight * om2 * y) @ h) / mean - A1 @ z)
    w2 = z * on_t
    q = law.weight @ (om2 * ((h @ z - y) ** 2 + om2 * (w2 @ w2))) / mean**2
    r = np.sqrt(w2 @ w2)
    full = np.r_[np.zeros(int(law.query is None)), z[1:]]
    limit = float(error_of(law, z[:1], full[None], np.array([r]))[0])
    if r <= 1e-6 * np.sqrt(q):
        return Expansion(limit, np.nan)
    x = -y * (h @ z) / (r * law.omega)
    dx = -y * (h @ dz) / (r * law.omega) - x * (2 * w2 @ dz + q) / (2 * r**2)
    density = np.exp(-np.minimum(x**2, 1400) / 2) / np.sqrt(2 * np.pi)
    return Expansion(limit, float(law.width * (law.weight @ (density * dx))))
