"""Preconditioners under constraints: of low rank, adapted from others, shared by all context lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resolvent.arguments import natural
from resolvent.in_context.tasks import GaussianTasks, best_weights

__all__ = ["Adapted", "Online", "lora", "low_rank", "online"]


@dataclass(frozen=True, eq=False)
class Adapted:
    """A preconditioner and its exact risk.

    Attributes
    ----------
    preconditioner : array, shape (d, d)
    risk : float

    Examples
    --------
    >>> low_rank(GaussianTasks(3), 1, 10).preconditioner.shape
    (3, 3)
    """

    preconditioner: np.ndarray
    risk: float


def lora(
    tasks: GaussianTasks, old: np.ndarray, rank: int, length: int, *, weights: np.ndarray | None = None
) -> Adapted:
    """The best W = old + Δ with rank Δ <= r, for tasks that `old` was not made for.

    risk(W) = risk(W*) + ‖(W̄ − W̄*) A^(1/2)‖², A = wᵀKw S + wᵀEw I, in whitened coordinates: Eckart and Young.

    Parameters
    ----------
    tasks : GaussianTasks
        The new tasks.
    old : array, shape (d, d)
    rank : int
        0 … d; 0 is the unadapted preconditioner.
    length : int
        n.
    weights : array, shape (n,), optional
        Of the positions; all ones by default.

    Returns
    -------
    Adapted

    Raises
    ------
    ValueError
        If the rank is above d or `old` has the wrong shape.

    References
    ----------
    Li, Rawat and Oymak [li2024]_ for jointly diagonalisable covariances; without that assumption derived in
    docs/theory/in_context.md, section 7.

    Examples
    --------
    >>> old = GaussianTasks(task_covariance=[4.0, 1.0, 1.0]).preconditioner(np.ones(10))
    >>> new = GaussianTasks(task_covariance=[1.0, 1.0, 4.0])
    >>> [round(lora(new, old, r, 10).risk, 3) for r in (0, 1, 2, 3)]
    [1.924, 1.7, 1.624, 1.624]
    """
    d = tasks.dimension
    if natural("rank", rank, least=0) > d:
        raise ValueError(f"rank must be at most the dimension {d}, got {rank}")
    old = np.asarray(old, dtype=float)
    if old.shape != (d, d) or not np.isfinite(old).all():
        raise ValueError(f"old must be a finite array of shape ({d}, {d}), got shape {old.shape}")
    w = np.ones(natural("length", length)) if weights is None else np.asarray(weights, dtype=float)
    best = tasks.preconditioner(w)
    _, wKw, wEw = tasks.weight_moments(w)
    values, vectors = np.linalg.eigh(tasks.whitened)
    power = np.sqrt(wKw * np.maximum(values, 0) + wEw)
    root = tasks.feature_root
    left, sizes, right = np.linalg.svd(root @ (best - old) @ root @ (vectors * power))
    change = (left[:, :rank] * sizes[:rank]) @ right[:rank] @ (vectors / power).T
    inverse = np.linalg.pinv(root, hermitian=True)
    found = old + inverse @ change @ inverse
    linear, quadratic = tasks.terms(best, w)
    least = tasks.zero - 2 * linear + quadratic
    return Adapted(found, float(least + (sizes[rank:] ** 2).sum()))


def low_rank(tasks: GaussianTasks, rank: int, length: int, *, weights: np.ndarray | None = None) -> Adapted:
    """The best W of rank at most r: the r largest eigendirections of S are kept.

    Examples
    --------
    >>> tasks = GaussianTasks(task_covariance=[4.0, 1.0, 1.0])
    >>> [round(low_rank(tasks, r, 10).risk, 3) for r in (0, 1, 3)]
    [6.0, 2.8, 1.624]
    """
    return lora(tasks, np.zeros((tasks.dimension, tasks.dimension)), rank, length, weights=weights)


@dataclass(frozen=True, eq=False)
class Online:
    """Least risk averaged over context lengths, with one W and one filter for all of them.

    Attributes
    ----------
    preconditioner : array, shape (d, d)
    filter : array, shape (N,)
        Weight of each lag, the most recent position first, up to scale; all ones for attention.
    risk : float
        Mean over the lengths.
    risks : array
        At each length.

    Examples
    --------
    >>> online(GaussianTasks(3), [1, 2, 4]).filter.shape
    (4,)
    """

    preconditioner: np.ndarray
    filter: np.ndarray
    risk: float
    risks: np.ndarray


def online(tasks: GaussianTasks, lengths: np.ndarray, *, weighted: bool = True) -> Online:
    """Minimise the mean risk over several context lengths, each context being the most recent positions.

    Parameters
    ----------
    tasks : GaussianTasks
        Drifting ones must fix at least the longest length.
    lengths : array of int
        Context lengths, equally likely; for the loss averaged over prefixes ``range(1, N + 1)``.
    weighted : bool, default True
        H3, with the best filter; False is linear attention, with a constant one.

    References
    ----------
    Derived in docs/theory/in_context.md, section 8.

    Examples
    --------
    >>> tasks = GaussianTasks(20)
    >>> lengths = range(1, 41)
    >>> round(online(tasks, lengths).risk, 4), round(online(tasks, lengths, weighted=False).risk, 4)
    (11.3015, 11.4583)
    """
    sizes = np.array([natural("lengths", n) for n in lengths])
    if not sizes.size:
        raise ValueError("lengths must hold at least one length, got none")
    longest = int(sizes.max())
    if tasks.length is not None and longest > tasks.length:
        raise ValueError(f"lengths must be at most the tasks' own {tasks.length}, got {longest}")
    K, E, r = tasks.positions(longest if tasks.length is None else tasks.length)
    lag = slice(None, -longest - 1, -1)
    K, E, r = K[lag, lag], np.broadcast_to(E, r.shape)[lag], r[lag]
    seen = np.array([(sizes >= n).mean() for n in range(1, longest + 1)])  # share of lengths that reach a lag
    mean_K, mean_E, mean_r = K * np.minimum.outer(seen, seen), E * seen, r * seen
    f = best_weights(tasks.eigenvalues, mean_K, mean_E, mean_r) if weighted else np.ones(longest)
    moments = mean_r @ f, f @ mean_K @ f, mean_E @ f**2
    A = moments[1] * tasks.feature_covariance @ tasks.task_covariance + moments[2] * np.eye(tasks.dimension)
    W = moments[0] * np.linalg.solve(A.T, tasks.task_covariance).T
    total = longest if tasks.length is None else tasks.length
    risks = []
    for n in sizes:
        weights = np.zeros(total)
        weights[total - n :] = f[:n][::-1]
        linear, quadratic = tasks.terms(W, weights)
        risks.append(tasks.zero - 2 * linear + quadratic)
    return Online(W, f, float(np.mean(risks)), np.array(risks))
