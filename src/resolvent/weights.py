"""Pooling weights w over positions, and what they do to signal and noise.

alpha = wᵀRw is the pooled signal, kappa = ‖w‖² the pooled noise, snr = alpha/kappa. Formulas: Seddik
[seddik2026]_, re-derived in docs/theory/pooled.md, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, require
from resolvent.pooling import check_table, check_tokens, pool

__all__ = [
    "alpha",
    "causal",
    "kappa",
    "learned",
    "mean",
    "optimal",
    "snr",
    "softmax_causal",
    "spectral",
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


def spectral(G: Any, *, least_mass: float = 0.7) -> tuple[np.ndarray, str]:
    """Non-negative weights of largest wᵀGw/‖w‖² for measured correlations G, or uniform ones where G forbids.

    The leading eigenvector of G without its diagonal follows the strongest structure that documents share. Where
    its entries cancel (signed mass |sum w|/sum |w| below `least_mass`) that structure is a contrast between
    positions, as templates and quoted mail make, and pooling by it was harmful on real text: uniform weights are
    returned then. Otherwise its few negative entries are noise, and the maximum over non-negative weights is taken.

    Parameters
    ----------
    G : array, shape (T, T)
        Symmetric; the diagonal is not used.
    least_mass : float, default 0.7
        Smallest signed mass accepted; 0 accepts any. Chosen on seven corpora.

    Returns
    -------
    weights : array, shape (T,)
        Sum one.
    reason : str
        What was done, in words.

    Raises
    ------
    ValueError
        If G is not a symmetric matrix of finite numbers.

    References
    ----------
    docs/theory/estimation.md, section 5.

    Examples
    --------
    >>> w, reason = spectral([[0.0, 0.5, 0.0], [0.5, 0.0, -0.01], [0.0, -0.01, 0.0]])
    >>> w.round(3)
    array([0.5, 0.5, 0. ])
    >>> spectral([[0.0, -0.5], [-0.5, 0.0]])[1]
    'uniform: positive and negative weights cancel (signed mass 0.00 < 0.7)'
    """
    G = np.array(arrays(G, names="G")[1], dtype=float)
    least_mass = number("least_mass", least_mass, least=0)
    if G.ndim != 2 or G.shape[0] != G.shape[1] or G.size == 0:
        raise ValueError(f"G must be a square matrix, got shape {G.shape}")
    require("G", G, np.isfinite(G), "finite")
    require("G", G, np.abs(G - G.T) <= 1e-8 * np.abs(G).max(), "symmetric")
    length = G.shape[0]
    np.fill_diagonal(G, 0.0)
    values, vectors = np.linalg.eigh(G)
    if not values[-1] > 0:
        return mean(length), "uniform: positions share nothing"
    w = vectors[:, -1] * (1.0 if vectors[:, -1].sum() >= 0 else -1.0)
    mass = float(w.sum() / np.abs(w).sum())
    if mass < least_mass:
        return mean(
            length
        ), f"uniform: positive and negative weights cancel (signed mass {mass:.2f} < {least_mass:g})"
    if w.min() >= 0:
        return w / w.sum(), f"leading eigenvector (signed mass {mass:.2f})"
    # projected power iteration: with the shift, a step never lowers wᵀGw
    w = np.maximum(w, 0) / np.linalg.norm(np.maximum(w, 0))
    for _ in range(10_000):
        step = np.maximum(G @ w - values[0] * w, 0)
        step /= np.linalg.norm(step)
        moved, w = float(np.abs(step - w).max()), step
        if moved < 1e-10:
            break
    return w / w.sum(), f"leading non-negative weights (signed mass of the eigenvector {mass:.2f})"


def learned(
    table: Any,
    tokens: Any,
    labels: Any,
    *,
    ridge: float = 0.1,
    restarts: int = 3,
    rng: Any = 0,
) -> np.ndarray:
    """Weights that minimise the training loss of a ridge classifier, jointly with the classifier.

    w = softmax(theta); the loss (1/N)‖y − Xb‖² + ridge ‖b‖² of centred pooled features is minimised over
    b exactly and over theta by L-BFGS-B, whose gradient follows from the envelope theorem. The best of
    several starts (mean, causal, random) is kept.

    Parameters
    ----------
    table : array, shape (V, d)
    tokens : array of int, shape (N, T)
    labels : array, shape (N,)
        Values in {-1, 1}.
    ridge : float, default 0.1
        Penalty, > 0.
    restarts : int, default 3
        Number of starts.
    rng : numpy.random.Generator or int, default 0
        For the random starts.

    Returns
    -------
    array, shape (T,)

    Raises
    ------
    ValueError
        If `ridge` is not positive or `labels` does not match `tokens`.

    References
    ----------
    Seddik [seddik2026]_; gradient in docs/theory/pooled.md, section 5.

    Examples
    --------
    >>> from resolvent.positions import Prefix
    >>> from resolvent.tables import draw_noise, draw_tokens, token_signs
    >>> rng = np.random.default_rng(0)
    >>> labels, signs = Prefix(8, 2).sample_labelled(600, rng=rng)
    >>> table = draw_noise(200, 40, rng=rng)
    >>> table[:, 0] += 2 * token_signs(200)
    >>> w = learned(table, draw_tokens(signs, 200, rng=rng), labels)
    >>> bool(w[:2].sum() > 0.8)
    True
    """
    from scipy import optimize  # here, so that importing resolvent stays fast

    table, y = check_table("table", table), np.asarray(labels, dtype=float)
    tokens = check_tokens("tokens", tokens, table.shape[0])
    ridge = number("ridge", ridge, above=0)
    if y.shape != tokens.shape[:1]:
        raise ValueError(f"labels must have shape ({tokens.shape[0]},), got {y.shape}")
    n, length = tokens.shape
    y = y - y.mean()
    rng = generator(rng)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w = np.exp(theta - theta.max())
        w /= w.sum()
        x = pool(tokens, w, table)
        x -= x.mean(axis=0)
        b = ridge_coefficients(x, y, ridge)
        residual = y - x @ b
        value = residual @ residual / n + ridge * (b @ b)
        gradient = -2 / n * (residual @ (table @ b)[tokens])
        return value, w * (gradient - w @ gradient)

    starts = [np.zeros(length), np.log(causal(length) + 1e-3 / length)]
    starts += [rng.standard_normal(length) for _ in range(natural("restarts", restarts) - 2)]
    found = [optimize.minimize(loss, s, jac=True, method="L-BFGS-B") for s in starts[:restarts]]
    theta = min(found, key=lambda f: f.fun).x
    w = np.exp(theta - theta.max())
    return w / w.sum()


def ridge_coefficients(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """(XᵀX/N + ridge I)⁻¹ Xᵀy/N, by whichever of the two Gram matrices is smaller."""
    from scipy import linalg

    n, d = x.shape
    if d <= n:
        gram = x.T @ x / n
        gram.flat[:: d + 1] += ridge
        return linalg.solve(gram, x.T @ y / n, assume_a="pos")
    gram = x @ x.T / n
    gram.flat[:: n + 1] += ridge
    return x.T @ linalg.solve(gram, y / n, assume_a="pos")
