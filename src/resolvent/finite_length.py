"""Short sequences: what the length T_eff = kappa²/sum w⁴ changes in a spike, and the heaviest token.

The bulk is `resolvent.laws.finite_length.FiniteLength`; the spike needs one more number of the weights
(docs/theory/finite_length.md, section 4). Below T_eff = 2 see `resolvent.population_dynamics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, one_of, plain, require
from resolvent.laws.finite_length import FiniteLengthMap
from resolvent.laws.inverse_map import InverseMap
from resolvent.positions import Positions

__all__ = [
    "THEORIES",
    "HeavyToken",
    "ShortSpike",
    "effective_length",
    "heaviest_token",
    "right_theory",
    "signal_length",
]

THEORIES = ("infinite length", "1/T_eff^2 map", "population dynamics")
LONG, SHORT = 5.0, 2.0  # effective lengths from which the first and the second are right


def effective_length(weights: Any) -> float:
    """T_eff = kappa²/sum w⁴, the number of positions that share the weight.

    Examples
    --------
    >>> effective_length([0.25, 0.25, 0.25, 0.25]), effective_length([1.0, 0.0])
    (4.0, 1.0)
    """
    _, w = arrays(weights, names="weights")
    w = _vector(w)
    w = w / np.abs(w).max()
    return float((w @ w) ** 2 / (w**4).sum())


def signal_length(positions: Positions, weights: Any) -> float:
    """zeta = sum_l w_l³ (Rw)_l / kappa², the 1/T_eff that the signal sees; R is not formed.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> signal_length(Prefix(4, 0), [0.25] * 4), signal_length(Prefix(4, 4), [0.25] * 4)
    (0.25, 1.0)
    """
    w = _vector(arrays(weights, names="weights")[1])
    if w.size != positions.length:
        raise ValueError(f"weights must have shape ({positions.length},) to match positions, got {w.shape}")
    w = w / np.abs(w).max()
    w = w / np.sqrt(w @ w)
    cubes = w**3
    crossed = positions.pooled_signal(w + cubes) - positions.pooled_signal(w - cubes)
    return float(crossed / 4)


def _vector(w: np.ndarray) -> np.ndarray:
    if w.ndim != 1:
        raise ValueError(f"weights must be a vector, got shape {w.shape}")
    require("weights", w, np.isfinite(w).all() and np.any(w != 0), "finite and not all zero")
    return w


def right_theory(length: float, theory: str | None = None) -> str:
    """The theory of `THEORIES` for an effective length, or the one that was asked for.

    Examples
    --------
    >>> right_theory(40.0), right_theory(3.0), right_theory(1.5)
    ('infinite length', '1/T_eff^2 map', 'population dynamics')
    """
    if theory is not None:
        return one_of("theory", theory, THEORIES)
    length = number("length", length, above=0)
    return THEORIES[0 if length >= LONG else 1 if length >= SHORT else 2]


@dataclass(frozen=True, eq=False)
class ShortSpike:
    """The spike of short sequences: outlier, overlap and threshold to order 1/T_eff².

    Besides q, two numbers of the weights enter: T_eff and zeta = sum_l w_l³ (Rw)_l / kappa².

    Parameters
    ----------
    bulk : FiniteLengthMap
    snr : float
        wᵀRw/kappa >= 0.
    zeta : float
        See `signal_length`.
    power : float or array
        ‖m‖², the squared norm of half the difference of class means: ‖mu‖² + delta, or ‖mu‖² if balanced.

    References
    ----------
    docs/theory/finite_length.md, section 4.

    Examples
    --------
    >>> spike = ShortSpike(FiniteLengthMap(1.0, 1.0, 2.0), snr=2.0, zeta=1.0, power=1.6**2 + 1)
    >>> round(float(spike.outlier), 3), round(float(spike.overlap) * 1.6**2 / (1.6**2 + 1), 3)
    (9.654, 0.558)
    """

    bulk: FiniteLengthMap
    snr: float
    zeta: float
    power: Any

    @property
    def q(self) -> Any:
        """Net spike of infinite length."""
        return self.snr * arrays(self.power)[1] - self.bulk.delta

    @property
    def _quartic(self) -> float:
        """k in q p = 1 + ‖m‖² k p⁴."""
        bulk = self.bulk
        return bulk.delta * bulk.gamma**2 * (self.snr / bulk.effective_length**2 - self.zeta**2)

    @property
    def threshold(self) -> float:
        """Value of q at which the outlier appears, infinite where it never does."""
        top, delta = 1 / self.bulk.critical_spikes()[0], self.bulk.delta
        if not self.snr > 0:
            return float(1 / top)
        k = self._quartic * top**4 / self.snr
        return (1 + delta * k) / (top - k) if top > k else np.inf

    @cached_property
    def p(self) -> Any:
        """Place of the outlier, z(p), from q p = 1 + ‖m‖² k p⁴; NaN where there is none."""
        top = 1 / self.bulk.critical_spikes()[0]
        _, q, power = arrays(self.q, self.power)
        k = self._quartic * power
        exists = (q * top - k * top**4 > 1) & (q > 0)
        low, high = np.zeros(q.shape), np.full(q.shape, top)
        p = np.where(exists, 1 / np.where(q > 0, q, 1.0), top / 2)
        p = np.where(p < top, p, top / 2)
        for _ in range(100):
            value, slope = q * p - 1 - k * p**4, q - 4 * k * p**3
            low, high = np.where(value < 0, p, low), np.where(value < 0, high, p)
            with np.errstate(divide="ignore", invalid="ignore"):
                new = p - value / slope
            new = np.where((new > low) & (new < high), new, (low + high) / 2)
            done = np.abs(new - p) <= 4e-15 * p
            p = new
            if np.all(done | ~exists):
                return np.where(exists, p, np.nan)
        worst = np.abs(high - low)[exists].max()
        raise RuntimeError(
            f"the place of a short-sequence outlier has not converged: within {worst:.3g} of p"
        )

    @property
    def outlier(self) -> Any:
        """Eigenvalue, NaN where there is none."""
        return plain(np.asarray(self.bulk(self.p)))

    @property
    def overlap(self) -> Any:
        """Squared overlap with the direction of m, zero where there is no outlier."""
        bulk, delta, power = self.bulk, self.bulk.delta, arrays(self.power)[1]
        exists = np.isfinite(self.p)
        p = np.where(exists, self.p, 1 / bulk.critical_spikes()[0])
        up, down, slope_up, slope_down = self.visible(p)
        falling = bulk.slope(1 / p) / p**2  # -dz/dp
        turned = slope_up * down - up * slope_down
        value = (
            (1 + p) * bulk.scale / bulk(p) * falling * power * up**2 / (delta * np.where(exists, turned, 1.0))
        )
        return plain(np.where(exists, np.clip(value, 0, 1), 0.0))

    def visible(self, p: Any) -> tuple[Any, Any, Any, Any]:
        """Numerator and denominator of psi_s(p), and their derivatives in p."""
        delta = self.bulk.delta
        xi = delta * self._quartic * p**4  # Xi of section 4
        turn = 4 * delta * self._quartic * p**3
        up, down = self.snr * delta * p - xi, 1 - (self.snr - 1) * delta * p + xi
        return up, down, self.snr * delta - turn, turn - (self.snr - 1) * delta


@dataclass(frozen=True)
class HeavyToken:
    """The most used token of a corpus, as the spurious spike that it is.

    Attributes
    ----------
    weight : float
        Its share t of the pooled noise, over that of an average token.
    q : float
        Net spike delta (t − 1) along its own embedding; beyond q_c it is an outlier without signal.
    share : float
        q/q_c. Above one half single tokens disturb the edge, and outliers near it.
    """

    weight: float
    q: float
    share: float


def heaviest_token(weights: Any, dimension: int, vocabulary: int, samples: int) -> HeavyToken:
    """Typical weight of the most used of V tokens, and the spike it makes.

    A token occurs Poisson(N/V) times at each position, so that its weight t is a compound Poisson variable;
    the weight that one token in V exceeds is found by its saddle point.

    Parameters
    ----------
    weights : array, shape (T,)
    dimension, vocabulary, samples : int
        d, V, N.

    Returns
    -------
    HeavyToken

    References
    ----------
    docs/theory/finite_length.md, section 5.

    Examples
    --------
    >>> round(heaviest_token([1.0], 500, 1000, 333).weight, 1), round(heaviest_token([0.02] * 50, 500, 1000, 333).weight, 1)
    (9.9, 1.8)
    """
    _, w = arrays(weights, names="weights")
    dimension, vocabulary = natural("dimension", dimension), natural("vocabulary", vocabulary)
    samples, w = natural("samples", samples), _vector(w)
    w = w[w != 0] / np.abs(w).max()
    phi = samples / vocabulary
    omega = w**2 / (w @ w) / phi  # weight of one occurrence

    def excess(log_s: float) -> tuple[float, float]:
        grown = np.exp(np.minimum(np.exp(log_s) * omega, 600.0))
        s, first, second = np.exp(log_s), phi * omega @ grown, phi * omega**2 @ grown
        rate = phi * (grown - 1).sum() - s * first
        return rate - 0.5 * np.log1p(2 * np.pi * s**2 * second) + np.log(vocabulary), first

    low, high = -20.0, float(np.log(500 / omega.max()))
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle)[0] > 0 else (low, middle)
    weight = float(excess(low)[1])
    delta = dimension / vocabulary
    threshold = float(InverseMap((delta, dimension / samples)).critical_spikes()[0])
    q = delta * (weight - 1)
    return HeavyToken(weight, q, q / threshold)
