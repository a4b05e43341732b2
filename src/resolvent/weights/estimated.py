"""Pooling weights from data: what measured correlations between positions, or labels, say about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, require
from resolvent.pooling import check_table, check_tokens, pool
from resolvent.weights.given import causal, mean

__all__ = ["learned", "spectral"]


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
