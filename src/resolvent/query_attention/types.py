"""Token types of a Gaussian-mixture table seen by one query: quantiles of the score in each class, and their factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, one_of, require

__all__ = ["SCORES", "TokenTypes", "attention_factors", "table_types", "token_types"]

SCORES = ("softmax", "cosh")
TAIL = 24  # tokens at either end of a class that stand for themselves
NODES = 32  # quadrature nodes of a class between its ends

Score = str | Callable[[np.ndarray], np.ndarray]


def attention_factors(scores: Any, score: Score = "softmax") -> np.ndarray:
    """Positive factors F(σ) of attention scores σ = q·e, up to a common constant.

    Parameters
    ----------
    scores : array
        σ of every token.
    score : {"softmax", "cosh"} or callable
        F = exp, F = cosh, or any function that maps an array of scores to positive numbers.

    Returns
    -------
    array, shape of `scores`

    Raises
    ------
    ValueError
        If scores are not finite, `score` is unknown, or a callable does not return positive finite numbers of the same shape.

    Examples
    --------
    >>> attention_factors([0.0, 1000.0])
    array([0., 1.])
    >>> attention_factors([1.0, -1.0], "cosh")
    array([1., 1.])
    """
    sigma = np.asarray(arrays(scores, names="scores")[1], dtype=float)
    require("scores", sigma, np.isfinite(sigma).all() and sigma.size > 0, "finite numbers, at least one")
    if not callable(score):
        one_of("score", score, SCORES)
        if score == "cosh":
            sigma = np.abs(sigma)  # cosh(σ) = exp|σ| (1 + exp(−2|σ|))/2, which cannot overflow once shifted
            tail = (1 + np.exp(-2 * sigma)) / 2
            return tail * np.exp(sigma - sigma.max()) / tail.flat[sigma.argmax()]
        return np.exp(sigma - sigma.max())
    factors = np.asarray(score(sigma))
    if factors.shape != sigma.shape or factors.dtype.kind not in "fiu":
        raise ValueError(
            f"score must return one real number a score, shape {sigma.shape}, got {factors.dtype} of shape {factors.shape}"
        )
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(
            f"score must return positive finite factors, got values from {factors.min()} to {factors.max()}"
        )
    return factors.astype(float)


@dataclass(frozen=True, eq=False)
class TokenTypes:
    """A table of V tokens, grouped by what the query sees of them.

    Attributes
    ----------
    signs, scores : arrays, shape (K,)
        Class s = ±1, and standard normal coordinate g along the query.
    shares : array, shape (K,)
        Probabilities of the types; they sum to one, half of it a class.
    factors : array, shape (K,)
        φ = F(σ) over its mean, σ = β (g + s m), a token's own place in its normaliser included.
    single : array of bool, shape (K,)
        Whether the type stands for one token.

    Examples
    --------
    >>> types = token_types(2000, 0.5, 0.0, length=10**6)
    >>> bool(abs(types.shares @ types.factors**2 - np.exp(0.25)) < 2e-3)
    True
    """

    signs: np.ndarray
    scores: np.ndarray
    shares: np.ndarray
    factors: np.ndarray
    single: np.ndarray

    @property
    def balance(self) -> float:
        """th = E[s φ]: tanh(β m) for softmax, zero for cosh."""
        return float(self.shares @ (self.signs * self.factors))

    @property
    def second_moment(self) -> float:
        """E φ²: the pooled noise over that of equal weights."""
        return float(self.shares @ self.factors**2)


def token_types(
    vocabulary: int, query_norm: float, shift: float, *, length: int, score: Score = "softmax"
) -> TokenTypes:
    """The V Gaussian quantiles of a table's scores and their attention factors.

    The outer quantiles of each class stand for single tokens; those between are integrated by Gauss–Legendre nodes,
    so that the number of types does not grow with V. Quantiles are staggered between the classes.

    Parameters
    ----------
    vocabulary : int
        V, even.
    query_norm : float
        β = ‖q‖ >= 0.
    shift : float
        m = ‖mu‖ cos(q, mu); the classes' mean scores are ±β m.
    length : int
        T. A token is part of its own normaliser: φ → φ/(1 + (φ−1)/T), over its mean.
    score : {"softmax", "cosh"} or callable

    Returns
    -------
    TokenTypes

    References
    ----------
    docs/theory/attention_query.md, section 2.

    Examples
    --------
    >>> types = token_types(20_000, 0.4, 0.5, length=10**6)
    >>> bool(abs(types.balance - np.tanh(0.2)) < 1e-3), types.signs.size
    (True, 160)
    """
    from scipy.special import ndtr, ndtri

    vocabulary = natural("vocabulary", vocabulary, least=2)
    if vocabulary % 2:
        raise ValueError(f"vocabulary must be even, so that the classes balance, got {vocabulary}")
    beta, shift = number("query_norm", query_norm, least=0), number("shift", shift)
    half, length = vocabulary // 2, natural("length", length)
    rank = np.arange(half)
    ends = rank if half <= 2 * TAIL + NODES else np.r_[rank[:TAIL], rank[-TAIL:]]
    signs, scores, shares, single = [], [], [], []
    favoured = 1.0 if shift >= 0 else -1.0  # so that nothing changes when both classes swap names
    for sign, offset in ((favoured, 0.75), (-favoured, 0.25)):
        g, share = ndtri((ends + offset) / half), np.full(ends.size, 0.5 / half)
        alone = np.ones(ends.size, dtype=bool)
        if ends.size < half:
            low, high = ndtri(TAIL / half), ndtri(1 - TAIL / half)
            nodes, weights = np.polynomial.legendre.leggauss(NODES)
            x = (low + high) / 2 + (high - low) / 2 * nodes
            density = weights * np.exp(-(x**2) / 2)
            inside = 0.5 * (ndtr(high) - ndtr(low))
            g, share = np.r_[g, x], np.r_[share, inside * density / density.sum()]
            alone = np.r_[alone, np.zeros(NODES, dtype=bool)]
        signs.append(np.full(g.size, sign))
        scores.append(g)
        shares.append(share)
        single.append(alone)
    s, g, p, alone = (np.concatenate(parts) for parts in (signs, scores, shares, single))
    return _types(s, g, p, alone, beta, shift, length, score)


def table_types(
    signs: Any, scores: Any, query_norm: float, shift: float, *, length: int, score: Score = "softmax"
) -> TokenTypes:
    """The token types of one given table: its heavy tokens are where they are, not where they typically are.

    Parameters
    ----------
    signs, scores : arrays, shape (V,)
        Class s = ±1 of each token, and its noise's coordinate g along the query.
    query_norm, shift, length, score
        As for `token_types`.

    Raises
    ------
    ValueError
        If shapes disagree or the classes are not of equal size.

    Examples
    --------
    >>> types = table_types([1, -1], [0.3, 0.3], 0.5, 0.0, length=100)
    >>> types.factors
    array([1., 1.])
    """
    s, g = np.asarray(signs, dtype=float), np.asarray(scores, dtype=float)
    if s.ndim != 1 or s.shape != g.shape or not s.size or (np.abs(s) != 1).any() or s.sum() != 0:
        raise ValueError(
            f"signs and scores must be vectors of one length, signs ±1 and balanced, got shapes {s.shape} and {g.shape}"
        )
    beta, shift = number("query_norm", query_norm, least=0), number("shift", shift)
    share, alone = np.full(s.size, 1 / s.size), np.ones(s.size, dtype=bool)
    return _types(s, g, share, alone, beta, shift, natural("length", length), score)


def _types(
    signs: np.ndarray,
    scores: np.ndarray,
    shares: np.ndarray,
    single: np.ndarray,
    beta: float,
    shift: float,
    length: int,
    score: Score,
) -> TokenTypes:
    factors = attention_factors(beta * (scores + signs * shift), score)
    factors = factors / (shares @ factors)
    factors = factors / (1 + (factors - 1) / length)
    return TokenTypes(signs, scores, shares, factors / (shares @ factors), single)
