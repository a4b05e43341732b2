"""Pooling: tokens and weights become a sparse matrix A, and pooled features are A E.

The N x T x d tensor of token embeddings is never formed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import natural

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

    tokens, weights = np.asarray(tokens), np.asarray(weights, dtype=dtype)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"tokens must be whole numbers of shape (N, T), got {tokens.dtype} of shape {tokens.shape}"
        )
    n, length = tokens.shape
    if weights.shape not in ((length,), (n, length)):
        raise ValueError(f"weights must have shape ({length},) or ({n}, {length}), got {weights.shape}")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite, got NaN or infinite entries")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= natural("vocabulary", vocabulary)):
        raise ValueError(
            f"tokens must lie in [0, {vocabulary}), got values from {tokens.min()} to {tokens.max()}"
        )
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
    table = np.asarray(table)
    if table.ndim != 2:
        raise ValueError(f"table must have shape (V, d), got {table.shape}")
    dtype = table.dtype if table.dtype.kind == "f" else np.dtype(float)
    return pooling_matrix(tokens, weights, table.shape[0], dtype=dtype) @ table
