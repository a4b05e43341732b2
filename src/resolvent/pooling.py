"""Pooling: tokens and weights become a sparse matrix A, and pooled features are A E.

The N x T x d tensor of token embeddings is never formed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import arrays, natural

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["pool", "pooling_matrix"]


def pooling_matrix(tokens: Any, weights: Any, vocabulary: int, *, dtype: Any = float) -> sparse.csr_array:
    """Sparse matrix A with A[i, t] = sum of the weights at which sequence i holds token t.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
        Rows of the table.
    weights : array, shape (T,) or (N, T)
        One weighting for all sequences, or one each (real attention).
    vocabulary : int
        V, the number of columns.

    Returns
    -------
    scipy.sparse.csr_array, shape (N, V)
        At most T non-zeros a row.

    Raises
    ------
    ValueError
        If shapes disagree, a token is outside the vocabulary, or a weight is not finite.

    Examples
    --------
    >>> pooling_matrix([[0, 2, 0]], [0.5, 0.3, 0.2], 3).toarray()
    array([[0.7, 0. , 0.3]])
    """
    from scipy import sparse  # here, so that importing resolvent stays fast

    tokens = check_tokens("tokens", tokens, natural("vocabulary", vocabulary))
    _, weights = arrays(weights, names="weights")
    weights = np.asarray(weights, dtype=dtype)
    n, length = tokens.shape
    if weights.shape not in ((length,), (n, length)):
        raise ValueError(f"weights must have shape ({length},) or ({n}, {length}), got {weights.shape}")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite, got NaN or infinite entries")
    index = np.int32 if tokens.size < 2**31 else np.int64
    return sparse.csr_array(
        (
            np.broadcast_to(weights, tokens.shape).flatten(),
            tokens.astype(index).ravel(),
            np.arange(n + 1, dtype=index) * index(length),
        ),
        shape=(n, vocabulary),
    )


def pool(tokens: Any, weights: Any, table: Any) -> np.ndarray:
    """Pooled features x_i = sum_l w_l e_{t_il}, shape (N, d), in the table's floating type.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
    weights : array, shape (T,) or (N, T)
    table : array, shape (V, d)

    Examples
    --------
    >>> pool([[0, 1]], [0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    array([[0.5, 0.5]])
    """
    table = check_table("table", table)
    dtype = table.dtype if table.dtype.kind == "f" else np.dtype(float)
    return pooling_matrix(tokens, weights, table.shape[0], dtype=dtype) @ table


def check_tokens(name: str, tokens: Any, vocabulary: int) -> np.ndarray:
    """Return tokens as an array (N, T), or raise ``ValueError`` when they are not rows of the table."""
    try:
        tokens = np.asarray(tokens)
    except ValueError as error:
        raise ValueError(
            f"{name} must be whole numbers of shape (N, T), got rows of unequal length"
        ) from error
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole numbers of shape (N, T), got {tokens.dtype} of shape {tokens.shape}"
        )
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocabulary):
        raise ValueError(
            f"{name} must lie in [0, {vocabulary}), got values from {tokens.min()} to {tokens.max()}"
        )
    return tokens


def check_table(name: str, table: Any) -> np.ndarray:
    """Return a table as an array (V, d), or raise ``ValueError`` when it is not a real matrix."""
    table = np.asarray(table)
    if table.ndim != 2 or table.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} must be real numbers of shape (V, d), got {table.dtype} of shape {table.shape}"
        )
    return table
