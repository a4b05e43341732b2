r"""Heads and depth: the best mixture of heads, the best depth of a causal stack.

Both only change the pooling weights (docs/theory/depth.md). Random value matrices between layers:
`resolvent.models.value_layers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.arguments import arrays, natural, require
from resolvent.positions import Positions
from resolvent.weights import causal, kappa

__all__ = [
    "BestDepth",
    "ConcatenatedHeads",
    "HeadMixture",
    "best_depth",
    "concatenate",
    "mix",
]


@dataclass(frozen=True, eq=False)
class HeadMixture:
    """The mixture of heads of largest snr.

    Attributes
    ----------
    snr : float
        Largest alpha/kappa in the span of the heads.
    mixing : array, shape (H,)
        Coefficients of the heads.
    weights : array, shape (T,)
        Pooling weights ``mixing @ heads``; of sum one, or of unit norm where they sum to zero.
    snrs : array, shape (rank,)
        All stationary values, decreasing: the snr of each of the heads once they are made orthogonal.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> mix([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], Prefix(3, 2)).snrs
    array([2., 1.])
    """

    snr: float
    mixing: np.ndarray
    weights: np.ndarray
    snrs: np.ndarray


def mix(heads: Any, positions: Positions) -> HeadMixture:
    """Best snr in the span of several heads, the mixing that reaches it, and its weights.

    The largest generalised eigenvalue of (W R Wᵀ, W Wᵀ), W the heads' weights. Heads may be linearly dependent.

    Parameters
    ----------
    heads : array, shape (H, T)
        Pooling weights, one row a head.
    positions : position model
        With ``length`` T and ``matrix`` R.

    Returns
    -------
    HeadMixture

    Raises
    ------
    ValueError
        If `heads` is not a matrix of finite numbers with T columns, or all of it is zero.

    References
    ----------
    docs/theory/depth.md, section 1.

    Examples
    --------
    >>> from resolvent import Prefix, weights
    >>> heads = [weights.mean(50), weights.causal(50), weights.causal(50, depth=2)]
    >>> positions = Prefix(50, 10)
    >>> [round(float(weights.snr(w, positions.matrix)), 2) for w in heads]
    [2.8, 6.99, 5.12]
    >>> round(mix(heads, positions).snr, 2)
    7.56
    """
    _check_positions(positions, "matrix")
    w = np.array(arrays(heads, names="heads")[1], dtype=float)
    if w.ndim != 2 or w.shape[0] == 0 or w.shape[1] != positions.length:
        raise ValueError(f"heads must have shape (H, {positions.length}) to match positions, got {w.shape}")
    require("heads", w, np.isfinite(w), "finite")
    require("heads", w, np.abs(w).max() > 0, "not all zero")
    left, sizes, basis = np.linalg.svd(w, full_matrices=False)
    live = sizes > sizes[0] * max(w.shape) * np.finfo(float).eps
    left, sizes, basis = left[:, live], sizes[live], basis[live]
    values, vectors = np.linalg.eigh(basis @ positions.matrix @ basis.T)
    best = vectors[:, -1] @ basis
    total = best.sum()
    scale = total if abs(total) > 1e-9 else 1.0
    return HeadMixture(
        snr=float(values[-1]),
        mixing=left @ (vectors[:, -1] / sizes) / scale,
        weights=best / scale,
        snrs=values[::-1],
    )


@dataclass(frozen=True, eq=False)
class ConcatenatedHeads:
    """The limit for features of several heads, concatenated; arrays over the heads' ``snrs``, decreasing.

    Attributes
    ----------
    snr, q : array, shape (..., rank)
        Signal-to-noise ratios of the orthogonal heads and their net spikes.
    threshold, edge : float
        q_c and the right edge of the bulk, with rank·d/N for d/N.
    outlier, overlap : array, shape (..., rank)
        Eigenvalues, NaN in the bulk, and squared overlaps with mu in the spike's own head.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> found = concatenate(1.0, [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], Prefix(3, 2), 0.25, 0.5)
    >>> found.q
    array([2.25, 1.  ])
    """

    snr: Any
    q: Any
    threshold: Any
    edge: Any
    outlier: Any
    overlap: Any


def concatenate(
    signal: Any, heads: Any, positions: Positions, delta: Any, gamma: Any, *, table: str = "mixture"
) -> ConcatenatedHeads:
    """Spectrum of the concatenated features of several heads, once the heads are made orthogonal.

    With W Wᵀ = I the features (x_1, ..., x_H) have covariance I ⊗ (MP_delta) + (W R Wᵀ) ⊗ m mᵀ: one spike a head,
    in a dimension H times as large, so that d/N becomes H d/N. Mixing the heads well keeps d/N.

    Parameters
    ----------
    signal : float or array
        ‖mu‖ >= 0.
    heads : array, shape (H, T)
        Pooling weights; only their span matters.
    positions : position model
    delta, gamma : float
        d/V and d/N of one head.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    ConcatenatedHeads

    References
    ----------
    docs/theory/depth.md, section 1.

    Examples
    --------
    >>> from resolvent import Prefix, weights
    >>> heads = [weights.mean(50), weights.causal(50)]
    >>> found = concatenate(0.7, heads, Prefix(50, 10), 0.5, 1.0)
    >>> found.overlap.round(3)  # the better of the two mixtures shows, the other does not
    array([0.348, 0.   ])
    """
    snr = mix(heads, positions).snrs
    ratio = gamma * snr.size
    signal = np.asarray(arrays(signal, names="signal")[1])[..., None]
    q = spikes.net_spike(signal, np.maximum(snr, 0.0), delta, table)
    return ConcatenatedHeads(
        snr=snr,
        q=q,
        threshold=spikes.threshold(delta, ratio),
        edge=spikes.edge(delta, ratio),
        outlier=spikes.outlier(q, delta, ratio),
        overlap=spikes.overlap(q, delta, ratio) * spikes.direction_factor(signal, delta, table),
    )


@dataclass(frozen=True, eq=False)
class BestDepth:
    """The depth of a causal stack that serves given positions best.

    Attributes
    ----------
    depth : int
        Number of layers of largest snr; the smallest such number.
    snr : float
    snrs : array
        snr at depths 0, 1, ...; as far as the search had to go.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> best_depth(Prefix(3, 1)).snrs.round(2)
    array([1., 1., 1.])
    """

    depth: int
    snr: float
    snrs: np.ndarray


def best_depth(positions: Positions) -> BestDepth:
    """Depth of a score-free causal stack of largest snr, over all depths.

    Every layer moves weight towards the first position, which keeps it. The snr is at most 1/w_1², so that the
    search ends as soon as this is below the best so far; at depth T − 1 all weight is on the first position.

    Parameters
    ----------
    positions : position model
        With ``length`` and ``pooled_signal``.

    Returns
    -------
    BestDepth

    References
    ----------
    docs/theory/depth.md, section 2.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> found = best_depth(Prefix(50, 10))
    >>> found.depth, found.snrs[:4].round(2).tolist()
    (1, [2.8, 6.99, 5.12, 2.81])
    >>> best_depth(Prefix(50, 50)).depth, best_depth(Prefix(2000, 10)).depth
    (0, 3)
    """
    _check_positions(positions, "pooled_signal")
    length = natural("positions.length", positions.length)
    snrs: list[float] = []
    w = causal(length, 0)
    for _ in range(length):
        snrs.append(float(positions.pooled_signal(w)) / float(kappa(w)))
        if w[0] ** 2 * max(snrs) >= 1:
            break
        w = _next_layer(w)
    found = np.array(snrs)
    depth = int(np.argmax(found > found.max() - 1e-12))
    return BestDepth(depth=depth, snr=float(found[depth]), snrs=found)


def _check_positions(positions: Any, needed: str) -> None:
    for name in ("length", needed):
        if name not in dir(positions):  # hasattr would compute the matrix
            raise ValueError(f"positions must be a position model such as Prefix(T, r), got {positions!r}")


def _next_layer(w: np.ndarray) -> np.ndarray:
    """Weights after one more causal layer below, Aᵀw: `resolvent.weights.causal` with a start of one's own."""
    out = np.append(np.cumsum((w[1:] / np.arange(1, w.size))[::-1])[::-1], 0.0)
    out[0] += w[0]
    return out
