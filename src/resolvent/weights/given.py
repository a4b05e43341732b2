"""Pooling weights w over positions, and what they do to signal and noise.

alpha = wᵀRw is the pooled signal, kappa = ‖w‖² the pooled noise, snr = alpha/kappa. Formulas: Seddik
[seddik2026]_, re-derived in docs/theory/pooled.md, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, require
from resolvent.pooling import check_table, check_tokens

__all__ = [
    "alpha",
    "causal",
    "kappa",
    "mean",
    "optimal",
    "snr",
    "softmax_causal",
]


def mean(T: int) -> np.ndarray:
    """Mean pooling, w_l = 1/T, shape (T,).

    Examples
    --------
    >>> mean(2)
    array([0.5, 0.5])
    """
    return np.full(natural("T", T), 1 / natural("T", T))


def causal(T: int, depth: int = 1) -> np.ndarray:
    """Weights of `depth` score-free causal attention layers followed by mean pooling, shape (T,).

    Row k >= 2 of a layer attends uniformly to the k − 1 positions before it, row 1 to itself, so that
    w = (Aᵀ)^depth 1/T. At depth one, with n = T − 1 and H harmonic numbers, w_1 = (1 + H_n)/T,
    w_k = (H_n − H_{k−1})/T and kappa = (2T − 1 + H_n)/T². Depth concentrates weight on early positions.

    Parameters
    ----------
    T : int
        Sequence length.
    depth : int, default 1
        Number of stacked layers; 0 is mean pooling.

    References
    ----------
    docs/theory/pooled.md, section 5.

    Examples
    --------
    >>> causal(3)
    array([0.83333333, 0.16666667, 0.        ])
    """
    w = mean(T)
    for _ in range(natural("depth", depth, least=0)):
        shares = w[1:] / np.arange(1, T)  # row k gives w_k / (k-1) to each earlier position
        first = w[0]
        w = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
        w[0] += first
    return w


def optimal(R: Any, *, normalise: bool = True) -> Any:
    """Weights of largest snr: the top eigenvector of R, scaled to sum one; snr = lambda_max(R).

    When the top eigenvalue is repeated, the eigenvector nearest to mean pooling is taken.

    Parameters
    ----------
    R : array, shape (T, T)
        Correlation matrix of the signs.
    normalise : bool, default True
        False returns a unit-norm eigenvector instead (the snr does not depend on scale).

    Returns
    -------
    array, shape (T,)

    Raises
    ------
    ValueError
        If R is not a correlation matrix, or every top eigenvector is orthogonal to (1, ..., 1): no
        weights summing to one attain the largest snr then. ``normalise=False`` still does.

    References
    ----------
    docs/theory/pooled.md, section 5.

    Examples
    --------
    >>> optimal([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    array([0.5, 0.5, 0. ])
    """
    from resolvent.positions import check_correlation

    xp, R = arrays(R, names="R")
    if isinstance(R, np.ndarray):
        check_correlation("R", R)
    else:
        if R.ndim != 2 or R.shape[0] != R.shape[1]:
            raise ValueError(f"R must be a square matrix, got shape {tuple(R.shape)}")
        loose = 1e3 * xp.finfo(R.dtype).eps
        symmetric = xp.abs(R - xp.matrix_transpose(R)) <= loose
        require("R", R, symmetric, "symmetric and finite")
        require("R", R, xp.abs(xp.linalg.diagonal(R) - 1) <= loose, "of unit diagonal")
    values, vectors = xp.linalg.eigh(R)
    length, top = R.shape[0], values[-1]
    ones = xp.ones_like(values)
    tolerance = max(1e-9, 8 * xp.finfo(values.dtype).eps) * length
    chosen = xp.where(values > top - tolerance, ones, 0 * ones)
    components = xp.matmul(xp.matrix_transpose(vectors), ones) * chosen
    total = xp.sum(components**2)  # 1ᵀ P 1, with P the projector on the top eigenspace
    if bool(total > tolerance**2 * length):
        w = xp.matmul(vectors, components)
        return w / (total if normalise else xp.sqrt(total))
    if normalise:
        raise ValueError(
            f"R has its top eigenvectors (eigenvalue {float(top):.6g}) orthogonal to (1, ..., 1): the largest snr is not "
            "attained by weights that sum to one; optimal(R, normalise=False) returns an eigenvector to use instead"
        )
    return vectors[:, -1]


def kappa(w: Any) -> Any:
    """Pooled noise ‖w‖².

    Examples
    --------
    >>> float(kappa([0.5, 0.5]))
    0.5
    """
    xp, w = arrays(w, names="w")
    return xp.sum(w**2, axis=-1)


def alpha(w: Any, R: Any) -> Any:
    """Pooled signal wᵀRw; `w` of shape (..., T).

    Examples
    --------
    >>> float(alpha([0.5, 0.5], [[1.0, 1.0], [1.0, 1.0]]))
    1.0
    """
    xp, w, R = arrays(w, R, names="w R")
    require("R", R, xp.isfinite(R), "finite")
    if w.ndim < 1 or R.ndim != 2 or R.shape[0] != R.shape[1] or w.shape[-1] != R.shape[0]:
        raise ValueError(
            f"R must be square and match w, got R of shape {tuple(R.shape)} and w of shape {tuple(w.shape)}"
        )
    return xp.sum(xp.matmul(w, R) * w, axis=-1)


def snr(w: Any, R: Any) -> Any:
    """Signal-to-noise ratio alpha/kappa of weights `w`, at most lambda_max(R).

    Raises
    ------
    ValueError
        If all weights are zero, or shapes disagree.

    Examples
    --------
    >>> float(snr([0.5, 0.5], [[1.0, 0.5], [0.5, 1.0]]))
    1.5
    """
    noise = kappa(w)
    require("w", w, noise > 0, "not all zero")
    return alpha(w, R) / noise


def softmax_causal(table: Any, tokens: Any, *, tau: float = 1.0) -> np.ndarray:
    """Effective pooling weights of true softmax causal self-attention followed by mean pooling.

    Position k >= 2 attends to the positions l < k with softmax of (tau/d) ⟨e_k, e_l⟩, position 1 to
    itself; no learned parameters. As d grows at fixed ‖mu‖ the scores of distinct tokens vanish, like
    tau/sqrt(d), and the weights converge to `causal(T)`. A token that occurs twice in a sequence keeps the
    score tau with itself; the share of such sequences is O(T²/V).

    Parameters
    ----------
    table : array, shape (V, d)
    tokens : array of int, shape (N, T)
    tau : float, default 1
        Inverse temperature; 0 gives `causal` exactly.

    Returns
    -------
    array, shape (N, T)
        One weighting a sequence, each summing to one; `pool` takes it as it is.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> w = softmax_causal(rng.standard_normal((10, 4000)), rng.integers(0, 10, (1, 3)))
    >>> bool(np.abs(w - causal(3)).max() < 0.2)
    True
    """
    table = check_table("table", table)
    tokens = check_tokens("tokens", tokens, table.shape[0])
    tau = number("tau", tau)
    n, length = tokens.shape
    dimension = table.shape[1]
    earlier = np.tri(length, k=-1, dtype=bool)
    out = np.empty((n, length))
    block = max(1, 2**23 // (length * (dimension + length)))
    for start in range(0, n, block):
        e = table[tokens[start : start + block]]
        scores = np.where(earlier, (tau / dimension) * (e @ np.swapaxes(e, 1, 2)), -np.inf)
        scores[:, 0, 0] = 0.0
        scores -= scores.max(axis=2, keepdims=True)
        attention = np.exp(scores)
        attention /= attention.sum(axis=2, keepdims=True)
        out[start : start + block] = attention.mean(axis=1)
    return out
