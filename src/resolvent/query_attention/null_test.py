"""Whose outlier is it, the query's own or the signal's? A projection, a placebo, and an exact test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, require
from resolvent.pooling import check_table, check_tokens, pooling_matrix
from resolvent.query_attention.types import Score, attention_factors
from resolvent.spectrum import covariance_spectrum

__all__ = ["NullTest", "null_test"]


@dataclass(frozen=True)
class NullTest:
    """What is left of an outlier when the query is taken out; squared overlaps throughout.

    Attributes
    ----------
    eigenvalue, query_overlap : float
        Leading eigenvalue of the attended features, and its eigenvector's overlap with the query.
    projected_eigenvalue, projected_token_overlap : float
        The same without the coordinate along the query, and the largest overlap of its eigenvector with one token.
    null_eigenvalues : array, shape (draws,)
        `projected_eigenvalue` of tables without signal, attended alike.
    p_value : float
        (1 + how many of them are no smaller) / (1 + draws): exact for tables of isotropic Gaussian noise.
    placebo_query_overlap, placebo_agreement : float
        With a random query of the same norm: overlap of the leading eigenvector with that query, and with the leading
        eigenvector of the true one.

    Examples
    --------
    >>> import numpy as np
    >>> NullTest(2.3, 0.4, 2.2, 0.1, np.array([2.1, 2.4, 2.2]), 0.75, 0.4, 0.1).p_value
    0.75
    """

    eigenvalue: float
    query_overlap: float
    projected_eigenvalue: float
    projected_token_overlap: float
    null_eigenvalues: np.ndarray
    p_value: float
    placebo_query_overlap: float
    placebo_agreement: float


def null_test(
    table: Any, tokens: Any, query: Any, *, score: Score = "softmax", draws: int = 19, rng: Any = None
) -> NullTest:
    """Test for a signal outside the query's own direction.

    Without signal, what is orthogonal to the query is noise independent of the attention weights. The tokens are
    kept, table and query direction are drawn anew: the statistic's law under the null needs no limit, and holds the
    composition mode and the heavy tokens. A signal along the query alone is invisible to this test.

    Parameters
    ----------
    table : array, shape (V, d)
        Embeddings, of independent noise of one variance.
    tokens : array of int, shape (N, T)
        Rows of the table.
    query : array, shape (d,)
        q, not zero; scores are q·e.
    score : {"softmax", "cosh"} or callable
    draws : int, default 19
        Tables drawn without signal; the smallest p-value is 1/(1 + draws).
    rng : numpy.random.Generator or int, optional

    Raises
    ------
    ValueError
        If shapes disagree or the query is zero.

    References
    ----------
    docs/theory/attention_query.md, section 8.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> table, tokens = rng.standard_normal((60, 20)), rng.integers(0, 60, (80, 10))
    >>> query = 0.3 * np.eye(20)[0]
    >>> null_test(table, tokens, query, rng=1).p_value > 0.05
    True
    """
    table = check_table("table", table).astype(float)
    tokens = check_tokens("tokens", tokens, table.shape[0])
    require("table", table, np.isfinite(table), "finite")
    query = np.asarray(arrays(query, names="query")[1], dtype=float)
    rng, draws = generator(rng), natural("draws", draws)
    if query.shape != (table.shape[1],) or not np.isfinite(query).all() or not query.any():
        raise ValueError(
            f"query must be a finite vector of shape ({table.shape[1]},), not zero, got shape {query.shape}"
        )
    norm, noise = float(np.linalg.norm(query)), float(table.std(axis=0).mean())
    found, vector = _leading(table, tokens, query, score)
    projected, across = _leading(table, tokens, query, score, project=True)
    rest = table - np.outer(table @ query, query) / norm**2
    held = (rest @ across) ** 2 / np.maximum((rest**2).sum(axis=1), np.finfo(float).tiny)
    other = rng.standard_normal(query.size)
    other *= norm / np.linalg.norm(other)
    _, placebo = _leading(table, tokens, other, score)
    null = np.empty(draws)
    for i in range(draws):
        fresh = noise * rng.standard_normal(table.shape)
        null[i], _ = _leading(fresh, tokens, query, score, project=True)
    return NullTest(
        eigenvalue=found,
        query_overlap=float((vector @ query) ** 2 / norm**2),
        projected_eigenvalue=projected,
        projected_token_overlap=float(held.max()),
        null_eigenvalues=null,
        p_value=float((1 + (null >= projected).sum()) / (1 + draws)),
        placebo_query_overlap=float((placebo @ other) ** 2 / norm**2),
        placebo_agreement=float((placebo @ vector) ** 2),
    )


def _leading(
    table: np.ndarray, tokens: np.ndarray, query: np.ndarray, score: Score, project: bool = False
) -> tuple[float, np.ndarray]:
    """Leading eigenpair of the attended features, without the coordinate along the query if asked."""
    weights = attention_factors(table @ query, score)[tokens]
    total = weights.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        raise ValueError(
            f"query is too long, of norm {np.linalg.norm(query):g}: factors of a sequence underflow"
        )
    weights /= total
    x = pooling_matrix(tokens, weights, table.shape[0]) @ table
    if project:
        x -= np.outer(x @ query, query) / (query @ query)
    values, vectors = covariance_spectrum(x, vectors=1)
    return float(values[0]), vectors[:, 0]
