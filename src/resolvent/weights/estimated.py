"""Pooling weights from data: what measured correlations between positions, or labels, say about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, one_of, require
from resolvent.pooling import check_table, check_tokens
from resolvent.token_sequences import TokenSequences
from resolvent.weights.given import causal, mean

__all__ = ["alternating", "generalised", "learned", "spectral"]


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
    G = _symmetric("G", G)
    least_mass = number("least_mass", least_mass, least=0)
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


def generalised(signal: Any, noise: Any, *, ridge: float = 0.1) -> np.ndarray:
    """Weights of largest wᵀ·signal·w / wᵀ(noise + ridge·mean(diag noise)·I)w, of either sign.

    Where tokens share noise, as a transformer's do, these are the right weights: they subtract positions that carry more
    noise than signal. `signal` is the between-class Gram matrix, or the excess of the positional Gram matrix over a
    null's; `noise` the within-class one, or the null's.

    Parameters
    ----------
    signal, noise : array, shape (T, T)
        Symmetric, their diagonals included; `noise` positive semi-definite.
    ridge : float, default 0.1
        In units of the mean diagonal of `noise`. Without it small eigenvalues of `noise` decide.

    Returns
    -------
    array, shape (T,)
        Sum of magnitudes one, sum not negative.

    Raises
    ------
    ValueError
        If a matrix is not symmetric and finite, `noise` has a zero or negative trace, or `signal` has no positive
        direction.

    References
    ----------
    docs/theory/pooling_weights.md, section 3.

    Examples
    --------
    >>> generalised([[1.0, 0.0], [0.0, 0.0]], [[2.0, 1.0], [1.0, 2.0]], ridge=0.0).round(3)
    array([ 0.667, -0.333])
    """
    from scipy import linalg

    signal, noise = _symmetric("signal", signal), _symmetric("noise", noise)
    ridge = number("ridge", ridge, least=0)
    if signal.shape != noise.shape:
        raise ValueError(f"signal and noise must have one shape, got {signal.shape} and {noise.shape}")
    level = float(np.trace(noise)) / len(noise)
    if not level > 0:
        raise ValueError(f"noise must have a positive trace, got {level * len(noise):g}")
    if not np.trace(signal) > 0 and not np.linalg.eigvalsh(signal)[-1] > 0:
        raise ValueError("signal must have a positive eigenvalue: there is nothing to weight by")
    try:
        _, vectors = linalg.eigh(signal, noise + ridge * level * np.eye(len(noise)))
    except linalg.LinAlgError:
        raise ValueError(f"noise must be positive definite with its ridge, got ridge {ridge:g}") from None
    w = vectors[:, -1]
    return w / np.abs(w).sum() * (1.0 if w.sum() >= 0 else -1.0)


def alternating(
    X: Any,
    *,
    table: Any = None,
    mask: Any = None,
    length: int | None = None,
    start: str = "mean",
    rounds: int = 200,
) -> np.ndarray:
    """Weights and direction in turn: u the leading eigenvector of the pooled covariance, w that of the tokens along u.

    The positional Gram matrix sums noise over all d dimensions, of standard deviation sqrt(d/N), so its leading
    eigenvector is not consistent in the proportional regime; along one direction the noise is 1/sqrt(N). On real text
    with thousands of documents it was no better than `spectral`, and on a transformer's middle layer worse.

    Parameters
    ----------
    X, table, mask
        Sequences, as in `resolvent.token_moments.TokenMoments.add`.
    length : int, optional
        T, by default the longest. Sequences of fewer tokens are left out.
    start : {"mean", "causal"}
        Weights to begin with.
    rounds : int, default 200
        At most so many.

    Returns
    -------
    array, shape (T,)
        Sum of magnitudes one, sum not negative; of either sign.

    Raises
    ------
    ValueError
        If fewer than T + 1 sequences have T tokens.
    RuntimeError
        If weights still move after `rounds`.

    References
    ----------
    docs/theory/pooling_weights.md, section 2.

    Examples
    --------
    >>> from resolvent.positions import Prefix
    >>> from resolvent.tables import draw_noise, draw_tokens, token_signs
    >>> rng = np.random.default_rng(0)
    >>> _, signs = Prefix(8, 2).sample_labelled(600, rng=rng)
    >>> table = draw_noise(200, 40, rng=rng)
    >>> table[:, 0] += 2 * token_signs(200)
    >>> bool(alternating(draw_tokens(signs, 200, rng=rng), table=table)[:2].sum() > 0.7)
    True
    """
    from scipy import linalg

    data, length = _full(X, mask, table, length)
    if data.n <= length:
        raise ValueError(
            f"X must hold more than T = {length} sequences of at least so many tokens, got {data.n}"
        )
    one_of("start", start, ("mean", "causal"))
    w = mean(length) if start == "mean" else causal(length)
    for _ in range(natural("rounds", rounds)):
        z = data.combine(np.tile(w, data.n))
        z -= z.mean(axis=0)
        d = data.width
        u = linalg.eigh(z.T @ z, subset_by_index=[d - 1, d - 1])[1][:, 0]
        along = data.project(u).reshape(data.n, length).astype(float)
        along -= along.mean(axis=0)
        G = along.T @ along
        np.fill_diagonal(G, 0.0)
        v = linalg.eigh(G, subset_by_index=[length - 1, length - 1])[1][:, 0]
        v *= (1.0 if v.sum() >= 0 else -1.0) / np.abs(v).sum()
        moved, w = float(np.abs(v - w).max()), v
        if moved < 1e-6 / length:
            return w
    raise RuntimeError(f"alternating weights still move by {moved:.2g} after {rounds} rounds")


def learned(
    table: Any,
    tokens: Any,
    labels: Any,
    *,
    ridge: float = 0.1,
    relative: bool = False,
    restarts: int = 3,
    tolerance: float = 2.2e-9,
    rng: Any = 0,
) -> np.ndarray:
    """Weights that minimise the training loss of a ridge classifier, jointly with the classifier.

    w = softmax(theta); the loss (1/N)‖Y − XB‖² + ridge ‖B‖² of centred pooled features is minimised over
    B exactly and over theta by L-BFGS-B, whose gradient follows from the envelope theorem. The best of
    several starts (mean, causal, random) is kept.

    Weights on few positions make features of larger variance, which alone weakens the penalty and lowers the loss: with
    a ridge of use the published loss concentrates w on text that has no such positions. With ``relative=True``
    the penalty is in units of the features' mean variance at w, and the loss is free of scale.

    Parameters
    ----------
    table : array, shape (V, d), or None
    tokens : array of int, shape (N, T), or without a table token vectors, shape (N, T, d)
    labels : array, shape (N,)
        Values in {-1, 1}; or any number of classes, of which Y has an indicator column each.
    ridge : float, default 0.1
        Penalty, > 0, in the features' own units.
    relative : bool, default False
        Multiply `ridge` by the mean variance of the pooled features at w; False is the published loss.
    restarts : int, default 3
        Number of starts.
    tolerance : float, default 2.2e-9
        Relative change of the loss at which to stop.
    rng : numpy.random.Generator or int, default 0
        For the random starts.

    Returns
    -------
    array, shape (T,)

    Raises
    ------
    ValueError
        If `ridge` is not positive, `tolerance` is negative or `labels` does not match `tokens`.

    References
    ----------
    Seddik [seddik2026]_; gradient in docs/theory/pooled.md, section 5; relative ridge in
    docs/theory/pooling_weights.md, section 6.

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

    y = np.asarray(labels)
    ridge, tolerance = number("ridge", ridge, above=0), number("tolerance", tolerance, least=0)
    if table is not None:
        table = check_table("table", table)
        tokens = check_tokens("tokens", tokens, table.shape[0])
    data, length = _full(tokens, None, table, None)
    if y.shape != (data.n,):
        raise ValueError(f"labels must have shape ({data.n},), got {y.shape}")
    classes = np.unique(y)
    binary = classes.size == 2 and set(classes.tolist()) <= {-1, 1}
    Y = y[:, None].astype(float) if binary else (y[:, None] == classes).astype(float)
    Y -= Y.mean(axis=0)
    n = data.n
    rng = generator(rng)
    spread = _gram(data, length) / data.width if relative else np.zeros((0, 0))  # wᵀ·spread·w: mean variance
    if relative and not np.trace(spread) > 0:
        raise ValueError("tokens must differ between sequences, got equal ones at every position")

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w = np.exp(theta - theta.max())
        w /= w.sum()
        x = data.combine(np.tile(w, n))
        x -= x.mean(axis=0)
        slope = spread @ w if relative else w
        penalty = ridge * float(w @ slope) if relative else ridge
        b = ridge_coefficients(x, Y, penalty)
        residual = Y - x @ b
        value = float((residual**2).sum() / n + penalty * (b**2).sum())
        along = data.project(b).reshape(n, length, -1)
        gradient = -2 / n * np.einsum("nc,nlc->l", residual, along)
        if relative:
            gradient += 2 * ridge * (b**2).sum() * slope
        return value, w * (gradient - w @ gradient)

    starts = [np.zeros(length), np.log(causal(length) + 1e-3 / length)]
    starts += [rng.standard_normal(length) for _ in range(natural("restarts", restarts) - 2)]
    stop = {"ftol": tolerance}
    found = [optimize.minimize(loss, s, jac=True, method="L-BFGS-B", options=stop) for s in starts[:restarts]]
    theta = min(found, key=lambda f: f.fun).x
    w = np.exp(theta - theta.max())
    return w / w.sum()


def _full(X: Any, mask: Any, table: Any, length: int | None) -> tuple[TokenSequences, int]:
    """The first T tokens of the sequences that have so many."""
    data = X if isinstance(X, TokenSequences) else TokenSequences(X, mask, table, dtype=None)
    length = int(data.lengths.max()) if length is None else natural("length", length)
    kept = np.flatnonzero(data.lengths >= length)
    if not kept.size:
        raise ValueError(f"X must hold sequences of at least T = {length} tokens, got none")
    if (data.lengths != length).any():
        data = data.first(kept, length)
    return data, length


def _gram(data: TokenSequences, length: int) -> np.ndarray:
    """Mean products of centred tokens at two positions, shape (T, T)."""
    shift, total, gram = None, np.zeros((length, data.width)), np.zeros((length, length))
    for _, x in data.prefixes(length):
        shift = x.mean(axis=1, keepdims=True, dtype=float) if shift is None else shift
        x -= shift.astype(x.dtype)
        total += x.sum(axis=1, dtype=float)
        flat = x.reshape(length, -1)
        gram += flat @ flat.T
    return gram / data.n - total @ total.T / data.n**2


def _symmetric(name: str, G: Any) -> np.ndarray:
    G = np.array(arrays(G, names=name)[1], dtype=float)
    if G.ndim != 2 or G.shape[0] != G.shape[1] or G.size == 0:
        raise ValueError(f"{name} must be a square matrix, got shape {G.shape}")
    require(name, G, np.isfinite(G), "finite")
    require(name, G, np.abs(G - G.T) <= 1e-8 * np.abs(G).max(), "symmetric")
    return G


def ridge_coefficients(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """(XᵀX/N + ridge I)⁻¹ Xᵀy/N, one column of it for each of y, by whichever of the two Gram matrices is smaller."""
    from scipy import linalg

    n, d = x.shape
    if d <= n:
        gram = x.T @ x / n
        gram.flat[:: d + 1] += ridge
        return linalg.solve(gram, x.T @ y / n, assume_a="pos")
    gram = x @ x.T / n
    gram.flat[:: n + 1] += ridge
    return x.T @ linalg.solve(gram, y / n, assume_a="pos")
