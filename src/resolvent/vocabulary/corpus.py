r"""The pooled spectrum of a real table, predicted from the table and corpus counts alone: nothing is fitted.

Tokens drawn independently at every position have the population covariance C = sum_l w_l² Cov_l(e), a weighted
covariance of the table's rows; the sample spectrum then follows the generalised Marchenko-Pastur law of the
eigenvalues of C. Derived in docs/theory/vocabulary.md, section 7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, require
from resolvent.laws import GeneralisedMarchenkoPastur
from resolvent.pooling import check_table
from resolvent.token_moments import position_weights

__all__ = ["counts_law", "token_covariance"]

NULL = 1e-10  # population eigenvalues below this share of the largest are null directions


def token_covariance(table: Any, counts: Any, weights: Any = "mean", length: int | None = None) -> np.ndarray:
    """Population covariance of pooled tokens that are drawn independently with the given counts.

    Parameters
    ----------
    table : array, shape (V, d)
        Token embeddings.
    counts : array, shape (V,) or (T, V)
        How often each token occurs, at every position alike or position by position. A SciPy sparse array will do.
    weights : array, shape (T,), or {"mean", "causal"}
        Pooling weights.
    length : int, optional
        T, needed where neither counts nor weights tell it.

    Returns
    -------
    array, shape (d, d)

    Raises
    ------
    ValueError
        If counts are negative, not finite or zero throughout (at any position), or shapes disagree.

    References
    ----------
    docs/theory/vocabulary.md, section 7.

    Examples
    --------
    >>> token_covariance([[0.0], [1.0], [4.0]], [2, 1, 1], length=2)
    array([[1.34375]])
    """
    from scipy import sparse

    table = check_table("table", table)
    if sparse.issparse(counts):
        matrix = sparse.csr_array(counts)
    else:
        _, dense = arrays(counts, names="counts")
        if np.ndim(dense) not in (1, 2):
            raise ValueError(f"counts must have shape (V,) or (T, V), got {np.shape(dense)}")
        matrix = sparse.csr_array(np.atleast_2d(np.asarray(dense, dtype=float)))
    if matrix.shape[1] != table.shape[0]:
        raise ValueError(
            f"counts must hold one number for each of the {table.shape[0]} rows of table, got {matrix.shape[1]}"
        )
    data = matrix.data.astype(float)
    require("counts", data, np.isfinite(data) & (data >= 0), "finite and >= 0")
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    require("counts", totals, totals > 0, "positive for some token at every position; the totals are wrong")
    rows = matrix.shape[0]
    if length is None:
        length = (
            rows
            if isinstance(weights, str) and rows > 1
            else np.size(weights)
            if not isinstance(weights, str)
            else 0
        )
    if not length:
        raise ValueError("length must be given where neither counts nor weights tell it")
    w = position_weights(weights, natural("length", length))
    if rows not in (1, w.size):
        raise ValueError(f"counts must have one row, or one for each of the {w.size} positions, got {rows}")
    squares = w**2 if rows > 1 else np.array([np.sum(w**2)])
    shares = sparse.diags_array(1 / totals) @ matrix
    mass = np.asarray(squares @ shares).ravel()
    used = np.flatnonzero(mass)
    vectors = np.asarray(table[used], dtype=float)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise ValueError(f"table must be finite, got NaN or infinite entries in row {used[bad[0]]}")
    vectors = vectors - mass[used] @ vectors / mass.sum()  # nothing cancels
    means = shares[:, used] @ vectors
    covariance = (vectors * mass[used, None]).T @ vectors - (means * squares[:, None]).T @ means
    return (covariance + covariance.T) / 2


def counts_law(
    table: Any, counts: Any, samples: int, weights: Any = "mean", length: int | None = None
) -> GeneralisedMarchenkoPastur:
    """Law of the eigenvalues of pooled, centred features of `samples` documents that say nothing.

    No parameter is fitted: table, corpus counts, weights and number of documents fix it. Documents whose tokens
    were permuted (`resolvent.nulls.permute_tokens`) follow it; what real documents have beyond it is structure.

    Parameters
    ----------
    table, counts
        As in `token_covariance`.
    samples : int
        N >= 2.
    weights, length
        As in `token_covariance`.

    Returns
    -------
    GeneralisedMarchenkoPastur
        For eigenvalues of the covariance normalised by N − 1.

    Raises
    ------
    ValueError
        As `token_covariance`, and if `samples` is below 2 or the counted tokens do not vary.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = rng.standard_normal((500, 20)) * np.linspace(0.5, 2, 20)
    >>> law = counts_law(table, 1 / np.arange(1, 501), 400, length=30)
    >>> [round(float(end), 3) for end in (law.support[0][0], law.support[-1][1])]
    [0.004, 0.25]
    """
    values = np.linalg.eigvalsh(token_covariance(table, counts, weights, length))
    values = values[values > NULL * values[-1]]
    if not values.size or not values[-1] > 0:
        raise ValueError("counts must reach tokens whose rows differ, got a covariance of zero")
    return GeneralisedMarchenkoPastur(values.size / (natural("samples", samples, least=2) - 1), values)
