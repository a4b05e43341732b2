r"""Softmax pooling of L independent tokens: exact moments at finite L, and the tilted law of their limit.

Given the query, a token enters through its sign s = ±1 and its noise g along M q; its logit is l = H s + sqrt(v) g.
Pooled moments follow from 1/D^n = int u^(n-1) exp(-u D) du / (n-1)!, one integral whatever L is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, require

__all__ = ["PooledMoments", "TiltedLaw", "pooled_moments", "tilted_law"]

STEP, LOWEST = 0.35, -26.0  # of log(u); the trapezoidal rule errs by about exp(-pi²/STEP)
LARGEST = 64.0  # of the variance that the quadrature resolves
CHUNK = 1 << 21  # entries of one array


@dataclass(frozen=True)
class PooledMoments:
    """Moments of S = Σ w_t s_t and G = Σ w_t g_t over sequences, and kappa = E Σ w_t².

    Attributes
    ----------
    kappa, s, g, ss, sg, gg : array
        E Σ w_t², E S, E G, E S², E S G, E G².

    Examples
    --------
    >>> round(float(pooled_moments(0.2, 0.0, 0.0, 64).kappa), 6)  # no tilt: 1/L
    0.015625
    """

    kappa: Any
    s: Any
    g: Any
    ss: Any
    sg: Any
    gg: Any


@dataclass(frozen=True)
class TiltedLaw:
    """The limit of long sequences, where weights no longer depend on one token.

    Attributes
    ----------
    magnetisation : array
        T, the limit of Σ w_t s_t.
    participation : array
        Limit of L Σ w_t².

    Examples
    --------
    >>> float(tilted_law(0.0, 0.0, 0.0).magnetisation)
    0.0
    """

    magnetisation: Any
    participation: Any


def _checked(field: Any, shift: Any, variance: Any) -> tuple[np.ndarray, ...]:
    _, h, shift, variance = arrays(field, shift, variance, names="field shift variance")
    require("field", h, np.isfinite(h), "finite")
    require("shift", shift, np.isfinite(shift), "finite")
    require("variance", variance, np.isfinite(variance) & (variance >= 0), "finite and >= 0")
    return tuple(np.broadcast_arrays(h, shift, variance))


def tilted_law(field: Any, shift: Any, variance: Any) -> TiltedLaw:
    """Law of the tokens under softmax weights, for infinitely many of them.

    Weighting by e^l moves Gaussian noise by sqrt(v) along M q and adds H to the field of the sign: T = tanh(h + H) and
    L Σ w² -> e^v E[e^(2Hs)] / E[e^(Hs)]². Holds while v is well below log L.

    Parameters
    ----------
    field, shift, variance : float or array
        h, half the log odds of s = +1; H; v >= 0, the logits' variance given s. They broadcast.

    Raises
    ------
    ValueError
        If one is not finite, or a variance is negative.

    References
    ----------
    Derived in docs/theory/elliptical.md, section 3.

    Examples
    --------
    >>> law = tilted_law(0.2, 0.3, 0.1)
    >>> round(float(law.magnetisation), 4), round(float(law.participation), 4)
    (0.4621, 1.1858)
    """
    h, shift, variance = _checked(field, shift, variance)
    log_c = np.log(np.cosh(h + 2 * shift)) + np.log(np.cosh(h)) - 2 * np.log(np.cosh(h + shift))
    return TiltedLaw(np.tanh(h + shift), np.exp(variance + log_c))


def pooled_moments(field: Any, shift: Any, variance: Any, length: int) -> PooledMoments:
    """Moments of what softmax weights pool, exact for every number of tokens.

    Parameters
    ----------
    field, shift, variance : float or array
        As in `tilted_law`; v at most 64.
    length : int
        L, the number of independent tokens.

    Returns
    -------
    PooledMoments

    Raises
    ------
    ValueError
        If an argument is out of range.
    RuntimeError
        If the quadrature does not return Σ w_t = 1 to 1e-6.

    References
    ----------
    Derived in docs/theory/elliptical.md, section 3.

    Examples
    --------
    >>> cold, flat = pooled_moments(0.0, 0.0, 0.5, 64), pooled_moments(0.2, 0.0, 0.0, 64)
    >>> round(float(flat.kappa * 64), 6), round(float(cold.kappa * 64), 3)
    (1.0, 1.613)
    """
    h, shift, variance = _checked(field, shift, variance)
    length = natural("length", length)
    require("variance", variance, variance <= LARGEST, f"at most {LARGEST:g}")
    points = 32 if variance.max(initial=0.0) < 1.0 else 160
    top = float(variance.max(initial=0.0))
    x = np.arange(LOWEST, 8 + top + 4 * np.sqrt(top), STEP)
    flat = np.stack([np.ravel(one) for one in (h, shift, variance)])
    rows = max(1, CHUNK // (2 * points * x.size))
    parts = [
        _moments(flat[:, i : i + rows], length, points, x) for i in range(0, max(flat.shape[1], 1), rows)
    ]
    joined = np.concatenate(parts, axis=0)
    worst = float(np.abs(joined[:, 6:] - 1).max(initial=0.0))
    if not worst < 1e-6:
        raise RuntimeError(
            f"moments of the softmax weights did not converge: their sum is off by {worst:.2g}"
        )
    return PooledMoments(*(joined[:, k].reshape(h.shape)[()] for k in range(6)))


@cache
def _normal(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of the normal law, without the nodes too rare to count."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    kept = weights > 1e-30
    return nodes[kept], weights[kept]


def _moments(given: np.ndarray, length: int, points: int, x: np.ndarray) -> np.ndarray:
    """Rows (kappa, s, g, ss, sg, gg, E Σ w, E (Σ w)²)."""
    h, shift, variance = given
    nodes, weights = _normal(points)
    s, g = np.repeat([1.0, -1.0], nodes.size), np.tile(nodes, 2)
    prior = 1 / (1 + np.exp(-2 * h[:, None] * s)) * np.tile(weights, 2)
    logits = shift[:, None] * s + np.sqrt(variance)[:, None] * g
    logits -= logits.max(1, keepdims=True)
    logits -= np.log((prior * np.exp(logits)).sum(1, keepdims=True))  # the sum of weights is then near L
    tilt = prior * np.exp(logits)
    twice = tilt * np.exp(logits)
    columns = np.stack([prior, tilt, tilt * s, tilt * g, twice, twice * s * g, twice * g * g], axis=2)
    u = np.exp(x) / length
    kernel = np.exp(-u[None, :, None] * np.exp(logits)[:, None, :])
    found = np.moveaxis(kernel @ columns, 2, 0)
    phi, one, a_s, a_g, both, both_sg, both_gg = found
    log_phi = np.log(np.maximum(phi, 1e-300))
    single = length * np.exp((length - 1) * log_phi) * u * STEP  # du = u dx
    pair = length * (length - 1) * np.exp((length - 2) * log_phi) * u**2 * STEP if length > 1 else 0 * phi
    double = single * u
    return np.stack(
        [
            (double * both).sum(1),
            (single * a_s).sum(1),
            (single * a_g).sum(1),
            (double * both + pair * a_s**2).sum(1),
            (double * both_sg + pair * a_s * a_g).sum(1),
            (double * both_gg + pair * a_g**2).sum(1),
            (single * one).sum(1),
            (double * both + pair * one**2).sum(1),
        ],
        axis=1,
    )
