r"""Positions of several token classes: which class each position holds, given the class of its sequence.

A sequence draws a latent class y from the proportions pi; position l then holds class a with probability
P_l(a | y). The shared case is P_l(a | y) = pi_a + c_l (1{a=y} − pi_a), for which

    E[(1{c_l=a} − pi_a)(1{c_l'=b} − pi_b)] = R_ll' (diag(pi) − pi piᵀ)_ab

with the R of a sign model of loadings c. In general pooling keeps the K x K matrix A that
`pooled_classes` returns (docs/theory/classes.md, sections 1 and 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, require
from resolvent.positions import Mixture, SingleFactor

__all__ = ["ClassLoadings", "class_transitions", "pooled_classes", "sample_classes"]


@dataclass(frozen=True, eq=False)
class ClassLoadings:
    """Positions that copy the sequence's class with a probability that depends on the class.

    Position l of a sequence of class y holds class y with probability c_l(y); otherwise it draws a class
    from pi_a (1 − c_l(a)), normalised, which leaves every position's class at the proportions pi.

    Parameters
    ----------
    loadings : array, shape (T, K)
        Copying probabilities c_l(a) in [0, 1].

    Raises
    ------
    ValueError
        If `loadings` is not such a matrix.

    References
    ----------
    docs/theory/classes.md, section 4.

    Examples
    --------
    >>> positions = ClassLoadings([[1.0, 1.0], [0.6, 0.2]])  # class 0 is copied more by position 1
    >>> positions.transitions(np.array([0.5, 0.5]))[1].round(3)
    array([[0.733, 0.267],
           [0.267, 0.733]])
    """

    loadings: Any

    def __post_init__(self) -> None:
        c = np.array(arrays(self.loadings, names="loadings")[1], dtype=float)
        if c.ndim != 2 or c.size == 0:
            raise ValueError(f"loadings must be a matrix of shape (T, K), got shape {c.shape}")
        require("loadings", c, (c >= 0) & (c <= 1), "probabilities in [0, 1]")
        c.flags.writeable = False
        object.__setattr__(self, "loadings", c)

    @property
    def length(self) -> int:
        """Sequence length T."""
        return int(self.loadings.shape[0])

    def transitions(self, proportions: np.ndarray) -> np.ndarray:
        """P_l(a | y), shape (T, K, K) over l, a, y."""
        c, pi = self.loadings, proportions
        if c.shape[1] != pi.size:
            raise ValueError(
                f"loadings must have one column a class, got {c.shape[1]} columns for {pi.size} classes"
            )
        rest = pi * (1 - c)
        total = rest.sum(axis=1, keepdims=True)
        rest = np.where(total > 0, rest / np.where(total > 0, total, 1.0), pi)
        return c[:, None, :] * np.eye(pi.size) + (1 - c)[:, None, :] * rest[:, :, None]


def class_transitions(positions: Any, proportions: np.ndarray) -> np.ndarray:
    """P_l(a | y) of a position model, shape (T, K, K) over l, a, y.

    Parameters
    ----------
    positions : SingleFactor, ClassLoadings or any object with ``transitions(proportions)``
    proportions : array, shape (K,)

    Raises
    ------
    ValueError
        If the model has no latent class, or its probabilities are negative or do not leave every position's
        class at the proportions.

    Examples
    --------
    >>> from resolvent import SingleFactor
    >>> class_transitions(SingleFactor([0.5]), np.array([0.2, 0.8]))[0]
    array([[0.6, 0.1],
           [0.4, 0.9]])
    """
    if isinstance(positions, SingleFactor):
        c = positions.loadings[:, None, None]
        least = -float((proportions / (1 - proportions)).min())
        if positions.loadings.min() < least - 1e-12:
            raise ValueError(
                f"loadings must be >= {least:.6g} with these proportions, so that probabilities stay positive, "
                f"got {positions.loadings.min():.6g}"
            )
        return np.maximum(c * np.eye(proportions.size) + (1 - c) * proportions[:, None], 0.0)
    if not hasattr(positions, "transitions"):
        raise ValueError(f"positions must have a latent class (Prefix, SingleFactor, ...), got {positions!r}")
    found = np.asarray(positions.transitions(proportions))
    marginal = found @ proportions
    good = (
        (found >= -1e-12).all() and np.allclose(found.sum(axis=1), 1) and np.allclose(marginal, proportions)
    )
    if not good:
        raise ValueError(
            "positions must hold every class with its proportion (so that all tokens are equally frequent), got "
            f"marginals {marginal.tolist() if marginal.size < 20 else np.round(marginal[:4], 4).tolist()}"
        )
    return found


def pooled_classes(positions: Any, w: np.ndarray, proportions: np.ndarray) -> np.ndarray:
    """Covariance of the pooled class indicators sum_l w_l 1{c_l = a}, shape (K, K).

    wᵀRw (diag(pi) − pi piᵀ) where the classes share R.

    Parameters
    ----------
    positions : position model
        Without a latent class (`Correlated`), its R is taken as shared by all classes.
    w : array, shape (T,)
    proportions : array, shape (K,)

    Examples
    --------
    >>> from resolvent import Prefix
    >>> pooled_classes(Prefix(2, 2), np.array([1.0, 1.0]), np.array([0.5, 0.5]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    pi = proportions
    spread = np.diag(pi) - np.outer(pi, pi)
    if isinstance(positions, Mixture):
        parts = [pooled_classes(model, w, pi) for model in positions.models]
        return np.einsum("m,mab->ab", positions.probabilities, np.array(parts))
    if isinstance(positions, SingleFactor):
        class_transitions(positions, pi)  # refuses loadings that no classes can have
    if hasattr(positions, "pooled_signal"):
        return positions.pooled_signal(w) * spread
    kernel = class_transitions(positions, pi) - pi[:, None]
    common = np.einsum("l,lay->ay", w, kernel)
    own = np.einsum("l,lay,y,lby->ab", w**2, kernel, pi, kernel, optimize=True)
    return (w @ w) * spread - own + (common * pi) @ common.T


def sample_classes(
    positions: Any, n: int, proportions: np.ndarray, *, rng: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of n sequences, shape (n,), and of their positions, shape (n, T), int32.

    Parameters
    ----------
    positions : SingleFactor, Mixture, ClassLoadings or any object with ``transitions(proportions)``
    n : int
    proportions : array, shape (K,)
    rng : numpy.random.Generator or int, optional

    Raises
    ------
    ValueError
        If the model has no latent class.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> labels, classes = sample_classes(Prefix(3, 3), 4, np.array([0.2, 0.3, 0.5]), rng=0)
    >>> bool((classes == labels[:, None]).all())
    True
    """
    rng, n = generator(rng), natural("n", n)
    if isinstance(positions, Mixture):
        chosen = positions.choose(n, rng=rng)
        labels, classes = np.empty(n, np.int32), np.empty((n, positions.length), np.int32)
        for m, model in enumerate(positions.models):
            if count := int((own := chosen == m).sum()):
                labels[own], classes[own] = sample_classes(model, count, proportions, rng=rng)
        return labels, classes
    below = np.cumsum(class_transitions(positions, proportions), axis=1)  # over a: P(class <= a | y)
    labels = np.searchsorted(np.cumsum(proportions)[:-1], rng.random(n), side="right").astype(np.int32)
    u = rng.random((n, below.shape[0]))
    classes = np.zeros(u.shape, dtype=np.int32)
    for a in range(proportions.size - 1):
        classes += u >= below[:, a, :].T[labels]
    return labels, classes
