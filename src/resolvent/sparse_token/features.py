"""What a read-out sees: attention, pooled and vectorised features reduced to a few scalars a sample.

Given the label, every feature vector is f = p q̂ + t + om z with z standard normal: p its component along the
query, t the rest of its signal, om the length of the weights that average the noise. The three classifiers differ
in the law of (y, p, t, om) and in their width only; read-out, capacity and errors know nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import generator, natural, number
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["FeatureLaw", "Query", "attention", "pooled", "root", "scores", "softmax", "vectorised"]

POINTS = 2**13  # a label: test errors to about 1e-4 (1e-3 where a read-out hardly has noise)


@dataclass(frozen=True)
class Query:
    """A frozen query, as far as features depend on it.

    Parameters
    ----------
    alignment : float or tuple of float
        Cosine of the query with the signal ξ; with K signals either K cosines, or one, with their mean direction
        sum_k ξ_k/√K.
    kappa : float
        β‖q‖ >= 0, the inverse temperature of the softmax in units of the query; 0 is uniform pooling.

    Raises
    ------
    ValueError
        If the squared cosines sum to more than 1, or `kappa` is not a finite number >= 0.

    Examples
    --------
    >>> Query(0.6, 1.0).alignment
    0.6
    """

    alignment: float | tuple[float, ...]
    kappa: float

    def __post_init__(self) -> None:
        several = np.iterable(self.alignment) and not isinstance(self.alignment, str)
        cosines = [number("alignment", s) for s in (self.alignment if several else [self.alignment])]  # type: ignore[union-attr]
        if sum(s * s for s in cosines) > 1 + 1e-9:
            raise ValueError(
                f"alignment must be a cosine in [-1, 1] (squares of several sum to at most 1), got {self.alignment!r}"
            )
        if not cosines:
            raise ValueError("alignment must hold at least one cosine, got none")
        object.__setattr__(self, "alignment", tuple(cosines) if several else cosines[0])
        object.__setattr__(self, "kappa", number("kappa", self.kappa, least=0))

    def cosines(self, signals: int) -> np.ndarray:
        """Cosine with each of the K signals, shape (K,)."""
        if not isinstance(self.alignment, tuple):
            return np.full(signals, self.alignment / np.sqrt(signals))
        if len(self.alignment) != signals:
            raise ValueError(f"alignment must hold one cosine a signal ({signals}), got {self.alignment}")
        return np.array(self.alignment)


@dataclass(frozen=True, eq=False)
class FeatureLaw:
    """Weighted points of the law of (y, p, t, om).

    Attributes
    ----------
    y : array, shape (n,)
        Labels ±1.
    weight : array, shape (n,)
        Probabilities, summing to one.
    p : array, shape (n,)
        Component along the query, noise included; all zero where there is no query.
    t : array, shape (n, r)
        Signal in the other r directions of the signals' span, to which noise of size om adds.
    omega : array, shape (n,)
        Size of the noise.
    width : int
        Parameters a dimension: 1, or L for the vectorised classifier.
    normal : array, shape (n,)
        A standard normal coordinate of the points, for the noise of the score.
    direction : array, shape (r + 1,)
        Mean signal direction in the basis (q̂, t): alignments of a read-out (w1, w2) are cosines with it.
    query : Query or None
        None without attention.

    Examples
    --------
    >>> law = pooled(SparseTokens(4, 1, 2.0, 0.5))
    >>> float(law.t.max()), float(law.omega[0])  # theta R/L and 1/√L
    (0.5, 0.5)
    """

    y: np.ndarray
    weight: np.ndarray
    p: np.ndarray
    t: np.ndarray
    omega: np.ndarray
    width: int
    normal: np.ndarray
    direction: np.ndarray
    query: Query | None = None

    @cached_property
    def h(self) -> np.ndarray:
        """(1, p, t), or (1, t) without a query: what the mean score is linear in, shape (n, 1 + ...)."""
        middle = [] if self.query is None else [self.p[:, None]]
        return np.hstack([np.ones((self.y.size, 1)), *middle, self.t])

    @property
    def size(self) -> int:
        """Directions of the signals' span other than the query, r."""
        return self.t.shape[1]


def attention(tokens: SparseTokens, query: Query, *, points: int = POINTS) -> FeatureLaw:
    """Law of the features Xᵀ softmax(βXq), with q frozen.

    Parameters
    ----------
    tokens : SparseTokens
    query : Query
    points : int, default 8192
        Quasi-random points a label, shared among kinds of samples (rounded to powers of two). Test errors are good to
        about 1e-4; to 1e-3 for a query along the signal and many samples, where the read-out hardly has noise.

    Returns
    -------
    FeatureLaw

    Raises
    ------
    ValueError
        If `query` is not a `Query`, or holds another number of cosines than there are signals.

    Examples
    --------
    >>> law = attention(SparseTokens(10, 1, 5.0, 0.5), Query(0.8, 1.0))
    >>> positive = law.y > 0
    >>> round(float(law.weight[positive] @ law.t[positive, 0] / 0.5), 1)  # the signal that attention lets through
    2.3
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    cosines = _query(query).cosines(tokens.signals)
    rest = root(np.eye(tokens.signals) - np.outer(cosines, cosines))
    kinds = tokens.kinds
    strata = len(kinds) * tokens.signals
    each = 2 ** int(np.ceil(np.log2(max(natural("points", points) / strata, 2**9))))
    parts = []
    for length, informative, probability in kinds:
        length, informative = int(length), int(informative)
        # one scrambled net a kind; tokens are exchangeable, so the first R may carry the signal
        normals = ndtri(qmc.Sobol(length + 1, rng=length).random(each))
        g, normal = normals[:, :-1], normals[:, -1]
        for label, share in ((1, tokens.rarity), (-1, 1 - tokens.rarity)):
            for k, cosine in enumerate(cosines):
                if label < 0 and k:
                    continue  # nothing depends on which signal is absent
                shift = tokens.signal * (label > 0) * (np.arange(length) < informative)
                a = softmax(query.kappa * (g + cosine * shift))
                tau = a @ shift
                p = cosine * tau + (a * g).sum(axis=1)
                weight = np.full(each, probability * share / each / (tokens.signals if label > 0 else 1))
                parts.append((np.full(each, label), weight, p, tau[:, None] * rest[k], _norm(a), normal))
    y, weight, p, t, omega, normal = (np.concatenate(column) for column in zip(*parts, strict=True))
    uniform = np.full(tokens.signals, tokens.signals**-0.5)
    direction = np.r_[uniform @ cosines, uniform @ rest]
    return FeatureLaw(y, weight, p, t, omega, 1, normal, direction, query)


def pooled(tokens: SparseTokens) -> FeatureLaw:
    """Law of the features Xᵀ1/L: attention with a query of zero.

    Examples
    --------
    >>> pooled(SparseTokens(10, 1, 5.0, 0.5)).width
    1
    """
    return _constant(tokens, 1, lambda length: 1 / length, lambda length: length**-0.5)


def vectorised(tokens: SparseTokens) -> FeatureLaw:
    """Law of all L x d coordinates, along the direction 1ξᵀ/√L that symmetry gives the read-out.

    Raises
    ------
    ValueError
        If lengths vary: padded coordinates are not part of this theory.

    Examples
    --------
    >>> vectorised(SparseTokens(10, 1, 5.0, 0.5)).width
    10
    """
    if np.unique(tokens.lengths).size > 1:
        raise ValueError(f"length must be one number for the vectorised classifier, got {tokens.length}")
    return _constant(tokens, int(tokens.lengths[0]), lambda length: length**-0.5, np.ones_like)


def _constant(tokens: SparseTokens, width: int, share: Any, size: Any) -> FeatureLaw:
    """Features whose signal and noise size do not vary: atoms, times a fine grid for the score's noise."""
    nodes = np.linspace(-8, 8, 161)  # the trapezoidal rule is exact to rounding for smooth functions
    density = np.exp(-(nodes**2) / 2)
    density /= density.sum()
    parts = []
    for length, informative, probability in tokens.kinds:
        for k in range(tokens.signals):
            t = np.zeros(tokens.signals)
            t[k] = tokens.signal * informative * share(length)
            parts.append((1, probability * tokens.rarity / tokens.signals, t, size(length)))
        parts.append((-1, probability * (1 - tokens.rarity), np.zeros(tokens.signals), size(length)))
    y, weight, t, omega = (np.array(column, dtype=float) for column in zip(*parts, strict=True))
    m = nodes.size
    direction = np.r_[0.0, np.full(tokens.signals, tokens.signals**-0.5)]
    return FeatureLaw(
        np.repeat(y, m),
        np.outer(weight, density).ravel(),
        np.zeros(y.size * m),
        np.repeat(t, m, axis=0),
        np.repeat(omega, m),
        width,
        np.tile(nodes, y.size),
        direction,
    )


def softmax(scores: np.ndarray, mask: Any = True) -> np.ndarray:
    """Softmax over the last axis, zero where `mask` is False."""
    scores = np.where(mask, scores, -np.inf)
    a = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return a / a.sum(axis=-1, keepdims=True)


def scores(tokens: SparseTokens, query: Query, n: int, *, rng: Any = None) -> tuple[np.ndarray, ...]:
    """Draw the scalars (y, p, t, om) of n fresh samples: the exact reduction of Xᵀsoftmax(βXq), no d in it.

    Returns
    -------
    y : array, shape (n,)
    p : array, shape (n,)
    t : array, shape (n, K)
    omega : array, shape (n,)
    """
    rng = generator(rng)
    labels, mask, marked, which = tokens.draw(natural("n", n), rng=rng)
    cosines = _query(query).cosines(tokens.signals)
    rest = root(np.eye(tokens.signals) - np.outer(cosines, cosines))
    g = rng.standard_normal(mask.shape)
    a = softmax(query.kappa * (g + tokens.signal * cosines[which][:, None] * marked), mask)
    tau = tokens.signal * (a * marked).sum(axis=1)
    p = cosines[which] * tau + (a * g).sum(axis=1)
    return labels, p, tau[:, None] * rest[which], _norm(a)


def _query(query: Any) -> Query:
    if not isinstance(query, Query):
        raise ValueError(f"query must be a Query, got {query!r}")
    return query


def _norm(a: np.ndarray) -> np.ndarray:
    return np.sqrt((a**2).sum(axis=-1))


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
