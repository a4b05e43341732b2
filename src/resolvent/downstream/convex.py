r"""Classifiers of any convex loss on pooled features in the limit, logistic regression first.

The training score of a sample is the proximal map of the loss at mu B + sigma Z, B = sum_l w_l y_l given the label
+1. The inverse map of the bulk leaves three equations in (V, mu, sigma), rational but for the loss's own
expectations (docs/theory/downstream.md, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, one_of, require
from resolvent.models.ridge import _mean_normal_cdf
from resolvent.sparse_token.losses import LOSSES, Loss
from resolvent.spikes import TABLES

__all__ = ["ClassifierPrediction", "convex_limit"]

SIGN_NODES, NORMAL_NODES = 24, 160
LARGEST = 1e100  # penalty: squared norms of the classifier are numbers yet


@dataclass(frozen=True, eq=False)
class ClassifierPrediction:
    """Limits of a trained classifier; fields broadcast with the arguments.

    Attributes
    ----------
    accuracy, loss : float or array
        Probability of the right sign, and mean loss, on fresh sequences.
    training_loss, objective : float or array
        Mean loss on the training sequences, without and with the penalty (regularisation/2)‖b‖².
    slope, noise : float or array
        The score is slope·B + noise·Z on fresh sequences of label +1, B = sum_l w_l y_l, Z standard normal.
    norm : float or array
        ‖b‖.

    Examples
    --------
    >>> found = convex_limit(1.0, 0.3, 0.5, [0.5, 0.5], [1.0, 0.0], 0.1)
    >>> bool(found.training_loss < found.objective < found.loss)
    True
    """

    accuracy: Any
    loss: Any
    training_loss: Any
    objective: Any
    slope: Any
    noise: Any
    norm: Any


def convex_limit(
    signal: Any,
    delta: Any,
    gamma: Any,
    weights: Any,
    loadings: Any,
    regularisation: Any,
    *,
    loss: str = "logistic",
    probabilities: Any = None,
    table: str = "mixture",
) -> ClassifierPrediction:
    """Limit of argmin over b of (1/N) sum_i l(y_i; b·x_i) + (regularisation/2)‖b‖² on centred pooled features.

    Parameters
    ----------
    signal : float or array
        ‖mu‖ >= 0.
    delta, gamma : float or array
        d/V and d/N, positive. Broadcast with `signal` and `regularisation`.
    weights : array, shape (T,)
        Pooling weights.
    loadings : array, shape (T,) or (J, T)
        The positions' correlations with the label; several rows are drawn anew for every sequence.
    regularisation : float or array
        Penalty > 0, at most 1e100. Strong ones leave the mean difference of the classes as direction.
    loss : {"logistic", "square"}
        log(1 + exp(−yu)), or (u − y)²/2, which is ridge regression.
    probabilities : array, shape (J,), optional
        Of the rows of `loadings`; equal by default.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    ClassifierPrediction

    Raises
    ------
    ValueError
        If an argument is out of range or shapes disagree.
    RuntimeError
        If the equations could not be solved to a residual of 1e-8.

    References
    ----------
    docs/theory/downstream.md, section 3.

    Examples
    --------
    >>> w, c = [0.25] * 4, [1.0, 1.0, 0.0, 0.0]
    >>> convex_limit(2.0, 0.3, 0.5, w, c, [0.01, 0.1]).accuracy.round(3)
    array([0.842, 0.858])
    """
    one_of("loss", loss, tuple(LOSSES))
    mixture = one_of("table", table, TABLES) == "mixture"
    names = "signal delta gamma weights loadings regularisation"
    xp, s, d, g, w, c, lam = arrays(signal, delta, gamma, weights, loadings, regularisation, names=names)
    require("signal", signal, np.isfinite(s) & (s >= 0), "finite and >= 0")
    for name, value in (("delta", d), ("gamma", g)):
        require(name, value, np.isfinite(value) & (value > 0), "positive and finite")
    require(
        "regularisation", regularisation, (lam > 0) & (lam <= LARGEST), f"positive and at most {LARGEST:g}"
    )
    if w.ndim != 1 or c.ndim not in (1, 2) or c.shape[-1] != w.size:
        raise ValueError(
            f"loadings must have shape ({w.size},) or (J, {w.size}) to match weights, got {c.shape} and {w.shape}"
        )
    require("loadings", loadings, np.abs(c) <= 1, "numbers in [-1, 1]")
    require("weights", weights, np.isfinite(w) & (np.sum(w**2) > 0), "finite and not all zero")
    rows = np.atleast_2d(c)
    chances = np.full(len(rows), 1 / len(rows))
    if probabilities is not None:
        chances = np.asarray(arrays(probabilities, names="probabilities")[1], dtype=float)
        if chances.shape != (len(rows),):
            raise ValueError(f"probabilities must have shape ({len(rows)},), got {chances.shape}")
        fits = (chances >= 0) & (abs(chances.sum() - 1) < 1e-9)
        require("probabilities", probabilities, fits, "numbers >= 0 that sum to one")
    parts = [sum_nodes(w, row) for row in rows]
    signs = np.concatenate([nodes for nodes, _ in parts])
    share = np.concatenate([chance * weight for chance, (_, weight) in zip(chances, parts)])
    shape = np.broadcast_shapes(s.shape, d.shape, g.shape, lam.shape)
    s, d, g, lam = (np.broadcast_to(v, shape).ravel() for v in (s, d, g, lam))
    power = s**2 + d if mixture else s**2
    system = _Equations(LOSSES[loss], signs, share, power, d, g, float(w @ w))
    x = system.solve(lam)
    found = system.limit(x, lam)
    slope, noise = x[:, 1], np.exp(x[:, 2])
    gain = slope / noise
    each = [chance * _mean_normal_cdf(xp, gain, w, row) for chance, row in zip(chances, rows)]
    out = {"accuracy": np.sum(each, axis=0), "slope": slope, "noise": noise, **found}
    return ClassifierPrediction(**{name: value.reshape(shape)[()] for name, value in out.items()})


def sum_nodes(w: np.ndarray, c: np.ndarray, n: int = SIGN_NODES) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of the law of sum_l w_l y_l, E y_l = c_l, y_l independent: nodes and weights.

    Position by position the nodes double and are brought back to n by Lanczos' method, which keeps 2n − 1 moments;
    the law itself where it has no more than n atoms.
    """
    nodes, share = np.zeros(1), np.ones(1)
    for weight, load in zip(w, c):
        if weight == 0:
            continue
        nodes = np.concatenate([nodes + weight, nodes - weight])
        share = np.concatenate([share * (1 + load) / 2, share * (1 - load) / 2])
        nodes, share = nodes[share > 1e-300], share[share > 1e-300]
        if nodes.size > n:
            nodes, share = _compressed(nodes, share, n)
    return nodes, share


def _compressed(nodes: np.ndarray, share: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy import linalg

    basis = np.zeros((n, nodes.size))
    basis[0] = np.sqrt(share / share.sum())
    diagonal, beside = [], []
    for k in range(n):
        step = nodes * basis[k]
        diagonal.append(float(step @ basis[k]))
        for _ in range(2):  # twice is enough
            step = step - basis[: k + 1].T @ (basis[: k + 1] @ step)
        size = float(np.linalg.norm(step))
        if k == n - 1 or size < 1e-13 * (np.abs(nodes).max() + 1e-300):
            break
        beside.append(size)
        basis[k + 1] = step / size
    values, vectors = linalg.eigh_tridiagonal(diagonal, beside)
    return values, vectors[0] ** 2 * share.sum()


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


class _Equations:
    """The three equations of many settings at once, in x = (logit t, mu, log sigma), with their Jacobian.

    t = lambda V/(gamma kappa) lies in (0, 1), near 1 for strong penalties, where log V would not tell how near.
    (1+p)(1+delta p) = t, and with u = prox(mu B + sigma Z), s = −E l'B, tau = E l'²:
    E l''/(1 + V l'') = −gamma p/V,  mu = s ‖m‖² V/(gamma kappa (1+delta p)),
    sigma² = V² [s²‖m‖²/(gamma² kappa) + tau (1+delta+2 delta p)/gamma] / (1 − delta p²).
    """

    def __init__(
        self,
        loss: Loss,
        signs: np.ndarray,
        share: np.ndarray,
        power: np.ndarray,
        delta: np.ndarray,
        gamma: np.ndarray,
        kappa: float,
    ) -> None:
        z = np.linspace(-8.5, 8.5, NORMAL_NODES)
        normal = np.exp(-(z**2) / 2)
        self.loss = loss
        self.B, self.Z = (v.ravel() for v in np.meshgrid(signs, z, indexing="ij"))
        self.weight = np.outer(share, normal / normal.sum()).ravel()
        self.power, self.delta, self.gamma, self.kappa = power, delta, gamma, kappa
        self.u = np.zeros((power.size, self.B.size))  # last proximal maps, where the next search starts
        self.warm = np.zeros(power.size, dtype=bool)

    def at_logit(self, x: np.ndarray, penalty: np.ndarray, i: Any) -> tuple[np.ndarray, np.ndarray]:
        """V, and the root in (−min(1, 1/delta), 0) of (1+p)(1+delta p) = t."""
        d, t, rest = self.delta[i], _logistic(x[:, 0]), _logistic(-x[:, 0])
        p = -2 * rest / (1 + d + np.sqrt((1 - d) ** 2 + 4 * d * t))
        return t * (self.gamma[i] * self.kappa / penalty), p

    def prox(self, x: np.ndarray, V: np.ndarray, i: Any) -> np.ndarray:
        """Scores of training samples, (m, nodes)."""
        V, v = V[:, None], x[:, 1:2] * self.B + np.exp(x[:, 2:]) * self.Z
        start = np.where(self.warm[i][:, None], self.u[i], v + V * self.loss.at_zero)
        self.u[i] = self.loss.prox(np.ones_like(v), v, V * np.ones_like(v), start)
        self.warm[i] = True
        return self.u[i]

    def at(self, x: np.ndarray, penalty: np.ndarray, i: Any) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (m, 3) of the settings i and their Jacobian (m, 3, 3)."""
        d, g, M, weight = self.delta[i], self.gamma[i], self.power[i], self.weight
        (V, p), sigma = self.at_logit(x, penalty, i), np.exp(x[:, 2])
        u, one = self.prox(x, V, i), np.ones(self.B.size)
        slope, curve, bend = (f(one, u) for f in (self.loss.first, self.loss.second, self.loss.third))
        o = 1 / (1 + V[:, None] * curve)
        moves = (-V[:, None] * slope * o, self.B * o, sigma[:, None] * self.Z * o)
        chi, s, tau = (curve * o) @ weight, -(slope * self.B) @ weight, slope**2 @ weight
        dchi = np.stack([(bend * o**2 * move) @ weight for move in moves], axis=1)
        dchi[:, 0] -= V * ((curve * o) ** 2 @ weight)
        ds = np.stack([-(curve * self.B * move) @ weight for move in moves], axis=1)
        dtau = np.stack([2 * (slope * curve * move) @ weight for move in moves], axis=1)
        dp = _logistic(x[:, 0]) / (1 + d + 2 * d * p)  # along log V
        pull = M * V / (g * self.kappa * (1 + d * p))
        size = pull * np.sqrt(tau) * np.abs(self.B).max() + 1e-300
        own = s**2 * M / (g**2 * self.kappa) + tau * (1 + d + 2 * d * p) / g
        down = own * V**2 / (1 - d * p**2)
        residual = np.stack(
            [np.log(chi * V / (-g * p)), (x[:, 1] - s * pull) / size, 2 * x[:, 2] - np.log(down)], axis=1
        )
        jacobian = np.empty((*residual.shape, 3))
        jacobian[:, 0] = dchi / chi[:, None]
        jacobian[:, 0, 0] += 1 - dp / p
        jacobian[:, 1] = -ds * (pull / size)[:, None]
        jacobian[:, 1, 0] -= s * pull * (1 - d * dp / (1 + d * p)) / size
        jacobian[:, 1, 1] += 1 / size
        weigh = np.stack([2 * s * M / (g**2 * self.kappa), (1 + d + 2 * d * p) / g], axis=1)
        jacobian[:, 2] = -(weigh[:, :1] * ds + weigh[:, 1:] * dtau) / own[:, None]
        jacobian[:, 2, 0] -= 2 + (2 * d * dp * tau / g) / own + 2 * d * p * dp / (1 - d * p**2)
        jacobian[:, 2, 2] += 2
        jacobian[:, :, 0] *= _logistic(-x[:, :1])  # from log V to logit t
        return residual, jacobian

    def newton(self, x: np.ndarray, penalty: np.ndarray, i: Any) -> tuple[np.ndarray, np.ndarray]:
        """Damped Newton steps; the points and whether each reached a residual of 1e-9."""
        x = x.copy()
        residual, jacobian = self.at(x, penalty, i)
        size = np.abs(residual).max(axis=1)
        damping = np.ones(len(x))
        live = np.flatnonzero(size >= 1e-10)
        for _ in range(60):
            if live.size == 0:
                break
            try:
                step = np.linalg.solve(jacobian[live], residual[live][..., None])[..., 0]
            except np.linalg.LinAlgError:
                break
            step *= np.minimum(1.0, 1.5 / np.abs(step[:, [0, 2]]).max(axis=1))[:, None]
            trial = x[live] - damping[live][:, None] * step
            found, slopes = self.at(trial, penalty[live], i[live])
            now = np.abs(found).max(axis=1)
            better = np.isfinite(found).all(axis=1) & (now < size[live])
            good = live[better]
            x[good], residual[good], jacobian[good] = trial[better], found[better], slopes[better]
            size[good], damping[good] = now[better], np.minimum(1, 4 * damping[good])
            damping[live[~better]] /= 3
            live = live[(size[live] >= 1e-10) & (damping[live] > 1e-5)]
        return x, size < 1e-8

    def solve(self, penalty: np.ndarray) -> np.ndarray:
        """Roots (m, 3) at the wanted penalties, followed from strong ones where they are explicit."""
        now = np.maximum(penalty, 4 * (self.kappa * (1 + self.gamma) + self.power))
        zero, one = np.zeros(1), np.ones(1)
        curve, push = self.loss.second(one, zero) * self.kappa * (1 + self.gamma), self.loss.at_zero
        V = self.gamma * self.kappa / (now + curve)
        a = float(self.share_mean())
        mu = push * a * self.power * V / (self.gamma * self.kappa)
        sigma = V * push * np.sqrt(a**2 * self.power / self.kappa / self.gamma**2 + 1 / self.gamma)
        x = np.stack([np.log(now / curve), mu, np.log(sigma)], axis=1)
        every = np.arange(now.size)
        x, good = self.newton(x, now, every)
        factor = np.full(now.size, 8.0)
        while good.all() and (now > penalty).any() and factor.min() > 1.01:
            i = np.flatnonzero(now > penalty)
            nearer = np.maximum(now[i] / factor[i], penalty[i])
            start, share = x[i], nearer / now[i]
            start[:, 0] += np.log(share) - np.log1p((1 - share) * np.exp(start[:, 0]))  # at the same V
            moved, reached = self.newton(start, nearer, i)
            x[i[reached]], now[i[reached]] = moved[reached], nearer[reached]
            factor[i] = np.where(reached, np.minimum(factor[i] * 1.3, 8.0), np.sqrt(factor[i]))
        if not good.all() or (now > penalty).any():
            worst = int(np.argmax(now / penalty))
            raise RuntimeError(
                f"the classifier's equations were not solved: led to penalty {now[worst]:.3g} on the way to "
                f"{penalty[worst]:.3g}, at (logit t, mu, log sigma) = {x[worst].tolist()}"
            )
        return x

    def share_mean(self) -> Any:
        """E B."""
        return self.B @ self.weight

    def limit(self, x: np.ndarray, penalty: np.ndarray) -> dict[str, np.ndarray]:
        """Losses and norm at the roots."""
        every = np.arange(len(x))
        d, g, M, one = self.delta, self.gamma, self.power, np.ones(self.B.size)
        V, p = self.at_logit(x, penalty, every)
        u = self.prox(x, V, every)
        slope = self.loss.first(one, u)
        s, tau = -(slope * self.B) @ self.weight, slope**2 @ self.weight
        # ‖b‖² = s² f_2/chi² + tau (df_1 − df_2)/(lambda' chi²), all in p
        rest = (1 - d * p**2) * self.kappa
        norm2 = V**2 * (s**2 * M / (self.kappa * g**2 * (1 + d * p) ** 2) + tau / g) / rest
        fresh = x[:, 1:2] * self.B + np.exp(x[:, 2:]) * self.Z
        training = self.loss.value(one, u) @ self.weight
        return {
            "loss": self.loss.value(one, fresh) @ self.weight,
            "training_loss": training,
            "objective": training + penalty * norm2 / 2,
            "norm": np.sqrt(norm2),
        }
