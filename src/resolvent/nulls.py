r"""What a spectrum looks like when documents carry nothing: the honest null for pooled tokens.

Tokens drawn independently at every position, each position with its own token frequencies, give pooled
features of covariance S₀ = sum_l w_l² Cov(x_l): `token_noise` computes it from token counts. A transformer
mixes the tokens of a document, and S₀ no longer holds; `resolvent.salad` measures the covariance instead, on documents
whose tokens were permuted across documents at every position. Derived in docs/theory/diagnosis.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, seed_number
from resolvent.pooling import check_table, check_tokens, pool
from resolvent.token_moments import TokenMoments, position_weights

__all__ = ["Null", "permute_tokens", "sampled_null", "token_noise", "vector_noise"]

DESIGN_EFFECT_LIMIT = 1.5  # read off six corpora: static tables have 1, transformers 1.7 to 7.4
RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Null:
    """Covariance of pooled features when documents carry nothing, ready to whiten by.

    Attributes
    ----------
    kind : str
        How it was found, in words.
    covariance : array, shape (d, d)
        Of the pooled features, on the null.
    whitener : array, shape (d, rank)
        (x − mean) @ whitener has identity covariance on the null; null directions are dropped.
    samples : float
        Number of null documents the covariance was measured on; infinite when it is analytic.
    features : array, shape (N, d)
        The pooled features of the documents themselves.
    design_effect : float
        tr(covariance on the null) / tr S₀: one while the tokens of a document are independent there. NaN where
        the encoder gave pooled vectors only.
    document_effect : float
        The same of the documents themselves: how far they are from independent tokens.
    length : int
        T, positions a document.
    held_out : array, shape (N, d), optional
        Pooled features of further null documents, for calibration.

    Examples
    --------
    >>> token_noise([[0, 1], [1, 2], [2, 0]], [[0.0], [1.0], [3.0]])
    Null(kind='token noise S₀ from the counts of 3 tokens', samples=inf, design_effect=1.0, document_effect=0.5, length=2)
    """

    kind: str
    covariance: np.ndarray = field(repr=False)
    whitener: np.ndarray = field(repr=False)
    samples: float
    features: np.ndarray = field(repr=False)
    design_effect: float
    document_effect: float
    length: int
    held_out: np.ndarray | None = field(default=None, repr=False)

    @property
    def rank(self) -> int:
        """Dimensions in which the null varies at all."""
        return self.whitener.shape[1]

    @property
    def effective_tokens(self) -> float:
        """T / document effect: how many independent tokens a document is worth."""
        return self.length / self.document_effect


def token_noise(tokens: Any, table: Any, weights: Any = "mean") -> Null:
    r"""Analytic null of pooled static embeddings: S₀ = sum_l w_l² Cov(e_{t_l}), from token counts.

    With n_l(v) the share of documents with token v at position l, S₀ = Eᵀ diag(sum_l w_l² n_l) E −
    sum_l w_l² ē_l ē_lᵀ: one weighted product of the table with itself, whatever N and T. It is exactly the
    mean covariance over all ways to permute the tokens across documents at every position.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
        Rows of the table; at least two documents.
    table : array, shape (V, d)
        Static token embeddings.
    weights : array, shape (T,), or {"mean", "causal"}
        Pooling weights.

    Returns
    -------
    Null

    Raises
    ------
    ValueError
        If tokens lie outside the table, shapes disagree, or the table is not finite.

    References
    ----------
    docs/theory/diagnosis.md, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = rng.standard_normal((500, 20)) * np.linspace(0.5, 3, 20)
    >>> null = token_noise(rng.integers(0, 500, (400, 30)), table)
    >>> null.rank, null.features.shape, float(null.design_effect)
    (20, (400, 20), 1.0)
    """
    table = check_table("table", table)
    tokens = check_tokens("tokens", tokens, table.shape[0])
    n, length = tokens.shape
    if n < 2:
        raise ValueError(f"tokens must hold at least 2 documents, got {n}")
    w = position_weights(weights, length)
    features = pool(tokens, w, table)
    # only the tokens that occur; the table may be a file far larger than them
    used, index = np.unique(tokens, return_inverse=True)
    rows = np.asarray(table[used], dtype=float)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(f"table must be finite, got NaN or infinite entries in row {used[bad[0]]}")
    index = index.reshape(n, length)
    # counts of token v at position l, one sparse (T, used) matrix
    from scipy import sparse

    position = np.broadcast_to(np.arange(length), (n, length))
    counts = sparse.coo_array(
        (np.full(n * length, 1 / n), (position.ravel(), index.ravel())), shape=(length, used.size)
    ).tocsr()
    rows -= rows.mean(axis=0)  # covariances do not change, and nothing cancels
    means = counts @ rows
    share = (w**2) @ counts
    covariance = (rows * share[:, None]).T @ rows - (means * (w**2)[:, None]).T @ means
    covariance *= n / (n - 1)  # as the covariances that it is set against
    return Null(
        f"token noise S₀ from the counts of {used.size:,} tokens",
        covariance,
        whitener(covariance),
        np.inf,
        features,
        1.0,
        float(np.var(features, axis=0, ddof=1, dtype=float).sum() / np.trace(covariance)),
        length,
    )


def vector_noise(
    vectors: Any, weights: Any = "mean", *, salad: Any = None, limit: float = DESIGN_EFFECT_LIMIT
) -> Null:
    r"""S₀ from token vectors themselves, where no table is at hand: sum_l w_l² Cov(x_l).

    It is a null only while the tokens of a document are independent of each other on a document that says
    nothing. A transformer makes them depend on each other whatever the document says, so that a
    design effect above `limit` is refused.

    Parameters
    ----------
    vectors : array, shape (N, T, d)
        Token vectors; a memory map is read block by block.
    weights : array, shape (T,), or {"mean", "causal"}
    salad : array, shape (N0, T, d), optional
        Token vectors of documents made of permuted tokens (`permute_tokens`), on which the design effect is
        measured. Without it the documents' own is taken, which real structure raises too.
    limit : float, default 1.5
        Largest design effect for which S₀ counts.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or the design effect is above `limit`.

    References
    ----------
    docs/theory/diagnosis.md, sections 3 and 4.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).standard_normal((300, 8, 5))
    >>> round(float(vector_noise(vectors).design_effect), 1)
    1.0
    """
    limit = number("limit", limit, above=0) if np.isfinite(limit) else np.inf
    own = _moments_of("vectors", vectors, weights)
    measured = own if salad is None else _moments_of("salad", salad, weights)
    effect = measured.design_effect
    if effect > limit:
        whose = "the documents" if salad is None else "salad"
        raise ValueError(
            f"vectors have a design effect of {effect:.3g} on {whose}, above {limit:g}: their tokens depend on each "
            "other, as a transformer's do, and S₀ is no null for them. Use resolvent.nulls.salad (or, for a static "
            "table, token_noise)"
        )
    covariance = own.noise()
    return Null(
        f"token noise S₀ of {own.count:,} documents' token vectors",
        covariance,
        whitener(covariance),
        np.inf,
        np.concatenate(own.pooled),
        effect,
        own.design_effect,
        own.length,
    )


def sampled_null(null_moments: TokenMoments, moments: TokenMoments, held_out: Any = None) -> Null:
    """Null measured on documents that say nothing, from moments of them and of the documents themselves.

    For pipelines that encode on their own: count both kinds into `TokenMoments`, which add up over parts.
    `resolvent.salad.salad` does it all.

    Parameters
    ----------
    null_moments : TokenMoments
        Of documents of permuted tokens, none of which may be among the documents.
    moments : TokenMoments
        Of the documents, with ``keep=True``.
    held_out : array, shape (n, d), optional
        Pooled vectors of further permuted documents.

    Raises
    ------
    ValueError
        If the null has no more documents than dimensions, or the pooled vectors were not kept.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> null_moments, moments = TokenMoments.empty("mean", 4, False), TokenMoments.empty("mean", 4, True)
    >>> null_moments = null_moments.add(rng.standard_normal((100, 4, 5)))
    >>> moments = moments.add(rng.standard_normal((50, 4, 5)))
    >>> sampled_null(null_moments, moments).samples
    100
    """
    if not moments.pooled:
        raise ValueError(
            "moments must keep the pooled vectors of the documents: TokenMoments.empty(..., keep=True)"
        )
    covariance = null_moments.covariance()
    samples, d = null_moments.count, covariance.shape[0]
    if samples <= d + 1:
        raise ValueError(f"null_moments must count more than d + 1 = {d + 1} documents, got {samples}")
    return Null(
        f"salad of {samples:,} documents of permuted tokens",
        covariance,
        whitener(covariance),
        samples,
        np.concatenate(moments.pooled),
        null_moments.design_effect,
        moments.design_effect,
        moments.length,
        held_out,
    )


def permute_tokens(tokens: Any, samples: int | None = None, *, seed: int = 0) -> np.ndarray:
    """Documents that say nothing: token ids permuted across documents at every position.

    Each position keeps its own tokens, so that frequencies and positions stay as they are.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
    samples : int, optional
        Number of documents to return, N by default; above N further permutations are appended.
    seed : int, default 0

    Returns
    -------
    array of int, shape (samples, T)

    Examples
    --------
    >>> permute_tokens([[1, 2], [3, 4], [5, 6]], seed=2)
    array([[5, 6],
           [1, 4],
           [3, 2]])
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or min(tokens.shape) < 1:
        raise ValueError(f"tokens must be whole numbers of shape (N, T), got {tokens.dtype}, {tokens.shape}")
    n = tokens.shape[0]
    samples = n if samples is None else natural("samples", samples)
    rng = np.random.default_rng(seed_number(seed))
    rounds = [rng.permuted(tokens, axis=0) for _ in range(-(-samples // n))]
    return np.concatenate(rounds)[:samples]


def _moments_of(name: str, vectors: Any, weights: Any) -> TokenMoments:
    vectors = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    if vectors.ndim != 3 or vectors.dtype.kind != "f" or vectors.shape[0] < 2:
        raise ValueError(
            f"{name} must be real token vectors of shape (N, T, d) with N >= 2, got {vectors.dtype}, {vectors.shape}"
        )
    moments = TokenMoments.empty(weights, vectors.shape[1], keep=True)
    for start in range(0, vectors.shape[0], 128):
        block = np.asarray(vectors[start : start + 128], dtype=float)
        bad = np.flatnonzero(~np.isfinite(block).all(axis=(1, 2)))
        if bad.size:
            raise ValueError(
                f"{name} must be finite, got NaN or infinite entries in document {start + bad[0]}"
            )
        moments.add(block)
    return moments


def whitener(covariance: np.ndarray) -> np.ndarray:
    """V diag(eigenvalues)^(-1/2) over the directions that vary, shape (d, rank)."""
    from scipy import linalg

    values, vectors = linalg.eigh(covariance)
    keep = values > RANK_TOLERANCE * values[-1]
    if not keep.any():
        raise ValueError("the null does not vary: every document is the same")
    return (vectors[:, keep] / np.sqrt(values[keep]))[:, ::-1]
