r"""Ridge classification of pooled features: exact test accuracy, and its simulation.

The resolvent of the pooled noise at −ridge is the inverse map of the bulk at z = −ridge, so every
quantity below is a rational function of one number p (derived in docs/theory/pooled.md, section 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from resolvent.arguments import arrays, natural, number, one_of, require, seed_number
from resolvent.laws.inverse_map import InverseMap
from resolvent.models.claims import Claim
from resolvent.models.pooled import PooledSequences
from resolvent.pooling import pool
from resolvent.positions import SingleFactor
from resolvent.spikes import TABLES
from resolvent.tables import draw_noise, draw_tokens, token_signs
from resolvent.weights.estimated import ridge_coefficients

__all__ = ["PooledRidge", "RidgePrediction", "RidgeSimulation", "ridge_accuracy"]

# c of `claims`, accuracy and error: the ridge figure's verdict, and tests/test_every_model.py
ACCURACY_ALLOWANCE, ERROR_ALLOWANCE = 1.0, 2.5
FLAT = 1e13  # penalty over kappa, beyond which nothing changes but for rounding


@dataclass(frozen=True)
class RidgePrediction:
    """Limits of a ridge classifier: test ``accuracy`` and test mean squared ``error``."""

    accuracy: Any
    error: Any


@dataclass(frozen=True)
class RidgeSimulation:
    """One trained classifier: test ``accuracy`` and mean squared ``error`` on fresh sequences."""

    seed: int
    accuracy: float
    error: float


def ridge_accuracy(
    signal: Any,
    delta: Any,
    gamma: Any,
    weights: Any,
    loadings: Any,
    ridge: Any,
    *,
    table: str = "mixture",
) -> Any:
    """Test accuracy of the ridge classifier trained on pooled features, in the proportional limit.

    Labels are the latent sign of a `Prefix` or `SingleFactor` position model; the classifier is
    (S + ridge I)⁻¹ Xᵀy/N on centred features.

    Parameters
    ----------
    signal : float or array
        ‖mu‖ >= 0.
    delta, gamma : float or array
        d/V and d/N, positive. Broadcast with `signal` and `ridge`.
    weights, loadings : array, shape (T,)
        Pooling weights and the positions' correlations with the label.
    ridge : float or array
        Penalty > 0.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    float or array
        Probability of the right sign on a fresh sequence from the same table.

    Raises
    ------
    ValueError
        If an argument is out of range or shapes disagree.

    References
    ----------
    Left open in Seddik [seddik2026]_; derived in docs/theory/pooled.md, section 6.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.full(4, 0.25)
    >>> round(float(ridge_accuracy(2.0, 0.3, 0.5, w, [1, 1, 0, 0], 0.1)), 3)
    0.837
    """
    return _limit(signal, delta, gamma, weights, loadings, ridge, table).accuracy


def _limit(
    signal: Any, delta: Any, gamma: Any, weights: Any, loadings: Any, ridge: Any, table: str
) -> RidgePrediction:
    mixture = one_of("table", table, TABLES) == "mixture"
    xp, s, d, g, w, c, lam = arrays(
        signal, delta, gamma, weights, loadings, ridge, names="signal delta gamma weights loadings ridge"
    )
    require("signal", signal, xp.isfinite(s) & (s >= 0), "finite and >= 0")
    for name, value in (("delta", d), ("gamma", g), ("ridge", lam)):
        require(name, value, xp.isfinite(value) & (value > 0), "positive and finite")
    if w.ndim != 1 or w.shape != c.shape:
        raise ValueError(
            f"weights and loadings must be vectors of one length, got shapes {tuple(w.shape)} and {tuple(c.shape)}"
        )
    require("loadings", loadings, xp.abs(c) <= 1, "numbers in [-1, 1]")
    require("weights", weights, xp.isfinite(w) & (xp.sum(w**2) > 0), "finite and not all zero")
    kappa = xp.sum(w**2)
    a = xp.sum(w * c)
    alpha = a**2 + xp.sum(w**2 * (1 - c**2))
    power = s**2 + d if mixture else s**2
    lam = xp.where(lam > FLAT * kappa, FLAT * kappa, lam)
    p = xp.real(InverseMap((d, g), kappa).physical(-lam))  # in (-1, 0)
    risks = ridge_risks(xp, power, d, g, a, alpha, kappa, p)
    return RidgePrediction(accuracy=_mean_normal_cdf(xp, risks.gain, w, c), error=risks.error)


class RidgeRisks(NamedTuple):
    """Limits of a ridge classifier, as functions of the inverse map's p.

    Test ``error``; ``gain``, slope over noise of the score; and on the training sequences the mean squared
    ``training_error`` and the ``objective``, which adds the penalty ridge ‖b‖².
    """

    error: Any
    gain: Any
    training_error: Any
    objective: Any


def ridge_risks(
    xp: Any, power: Any, delta: Any, gamma: Any, a: Any, alpha: Any, kappa: Any, p: Any
) -> RidgeRisks:
    """Risks at ridge = −z(p); `power` is ‖m‖², a = E[y sum_l w_l y_l] (docs/theory/pooled.md, section 6)."""
    effective = -kappa * (1 + p) * (1 + delta * p) / p
    f1 = power * -p / (1 + delta * p) / kappa
    f2 = power * p**2 / ((1 + delta * p) ** 2 * (1 - delta * p**2)) / kappa**2
    df2 = gamma * p**2 * (1 + delta + 2 * delta * p) / (1 - delta * p**2)
    h1, h2 = f1 / (1 + alpha * f1), f2 / (1 + alpha * f1) ** 2
    error = (1 - 2 * a**2 * h1 + a**2 * (h1 - effective * h2)) / (1 - df2)
    # of the score's noise; error − 1 + 2a²h1 − alpha (a h1)² without the cancellation
    own = df2 * ((1 - a**2 * h1) ** 2 + a**2 * h1**2 * (alpha - a**2))
    own = own + a**2 * power * p**2 / ((1 - delta * p**2) * kappa * (1 + alpha * f1) ** 2)
    live = h1 > 0
    gain = xp.where(live, a * h1 / xp.sqrt(xp.where(live, own / (1 - df2), 1.0)), 0.0)
    kept = 1 + gamma * p  # a training residual is its left-out value times this (docs/theory/downstream.md)
    return RidgeRisks(error, gain, kept**2 * error, kept * (1 - a**2 * h1))


def _mean_normal_cdf(xp: Any, gain: Any, w: Any, c: Any) -> Any:
    r"""E Φ(gain·A), A = sum_l w_l y_l given label +1, exactly, through A's characteristic function.

    E Φ(gA) = 1/2 + (1/pi) ∫_0^∞ Im[prod_l (cos(g w_l t) + i c_l sin(g w_l t))] exp(−t²/2)/t dt; the
    trapezoidal rule converges faster than any power for this integrand. Strong gains are capped at
    |gain|·sum|w| = 140, where Φ has long saturated unless A itself can vanish.
    """
    total = xp.sum(xp.abs(w))
    gain = xp.clip(gain, -140.0 / total, 140.0 / total)
    step = 0.03125
    result = xp.zeros_like(gain)
    for k in range(288):  # midpoints: no singular node at t = 0
        t = (k + 0.5) * step
        angle = (gain * t)[..., None] * w
        real, imaginary = xp.cos(angle), c * xp.sin(angle)
        modulus2 = xp.prod(real**2 + imaginary**2, axis=-1)
        phase = xp.sum(xp.atan2(imaginary, real), axis=-1)
        result = result + xp.sqrt(modulus2) * xp.sin(phase) * (math.exp(-(t**2) / 2) / t * step)
    return xp.clip(0.5 + result / math.pi, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class PooledRidge:
    """Ridge classification on top of a pooled-sequence model.

    Parameters
    ----------
    sequences : PooledSequences
        Its positions must have a label: `Prefix` or `SingleFactor`.
    ridge : float
        Penalty > 0.

    Raises
    ------
    ValueError
        If the positions have no label or `ridge` is not positive.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = PooledRidge(PooledSequences(200, 600, 400, Prefix(20, 4), "mean", 2.0), ridge=0.1)
    >>> bool(abs(model.predict().accuracy - model.simulate(seed=0).accuracy) < 0.02)
    True
    """

    sequences: PooledSequences
    ridge: float

    def __post_init__(self) -> None:
        if not isinstance(self.sequences, PooledSequences):
            raise ValueError(f"sequences must be a PooledSequences, got {self.sequences!r}")
        if not isinstance(self.sequences.positions, SingleFactor):
            raise ValueError(
                f"sequences.positions must have a label (Prefix or SingleFactor), got {self.sequences.positions!r}"
            )
        if not self.sequences.centred:
            raise ValueError("sequences must have centred=True: the classifier centres its features")
        object.__setattr__(self, "ridge", number("ridge", self.ridge, above=0))

    def predict(self) -> RidgePrediction:
        """Test accuracy and error in the proportional limit."""
        model = self.sequences
        return _limit(
            model.signal,
            model.delta,
            model.gamma,
            model.pooling_weights,
            model.positions.loadings,  # type: ignore[attr-defined]
            self.ridge,
            model.table,
        )

    def simulate(self, seed: int, *, test_samples: int = 20_000, weights: Any = None) -> RidgeSimulation:
        """Train on N sequences, test on fresh ones from the same table.

        Parameters
        ----------
        seed : int
        test_samples : int, default 20000
            Fresh sequences.
        weights : callable, optional
            ``weights(table, tokens, labels) -> (T,)``: learn the weights on the training sequences
            (for instance `resolvent.weights.learned`) instead of using the model's.
        """
        model = self.sequences
        positions: SingleFactor = model.positions  # type: ignore[assignment]
        if np.ndim(model.signal):
            raise ValueError("signal must be one number to simulate")
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(5)]
        labels, signs = positions.sample_labelled(model.samples, rng=streams[0])
        tokens = draw_tokens(signs, model.vocabulary, rng=streams[1])
        table = draw_noise(
            model.vocabulary, model.dimension, noise=model.noise, table=model.table, rng=streams[2]
        )
        table[:, 0] += float(model.signal) * token_signs(model.vocabulary)
        w = model.pooling_weights if weights is None else weights(table, tokens, labels)
        x = pool(tokens, w, table)
        mean = x.mean(axis=0)
        b = ridge_coefficients(x - mean, labels.astype(float), self.ridge)
        fresh, signs = positions.sample_labelled(natural("test_samples", test_samples), rng=streams[3])
        scores = (table @ b)[draw_tokens(signs, model.vocabulary, rng=streams[4])] @ w
        scores -= mean @ b
        return RidgeSimulation(
            seed=int(seed),
            accuracy=float(np.mean(np.sign(scores) == fresh)),
            error=float(np.mean((scores - fresh) ** 2)),
        )

    def claims(self) -> list[Claim]:
        """Test accuracy and error."""
        found, d = self.predict(), self.sequences.dimension
        return [
            Claim("accuracy", found.accuracy, None, ACCURACY_ALLOWANCE, d),
            Claim("error", found.error, None, ERROR_ALLOWANCE, d),
        ]
