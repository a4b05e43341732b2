"""Position models: the correlation matrix R of the token signs, and an exact sampler of the signs.

A model offers ``matrix`` (T x T, unit diagonal, positive semi-definite) and ``sample(n, rng=)``
((n, T) signs whose correlations are exactly R). `Prefix` and `SingleFactor` also have a label, the
latent sign that their informative positions follow, and ``sample_labelled``. `Mixture` draws one of
several models for each sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from resolvent.arguments import arrays, generator, natural, require

__all__ = ["Correlated", "Mixture", "Prefix", "SingleFactor"]


class Positions(Protocol):
    """What a model needs of positions."""

    @property
    def length(self) -> int:
        """Sequence length T."""

    @property
    def matrix(self) -> np.ndarray:
        """Correlation matrix R, shape (T, T)."""

    def pooled_signal(self, w: np.ndarray) -> float:
        """wᵀRw."""

    def sample(self, n: int, *, rng: Any = None) -> np.ndarray:
        """Signs, shape (n, T), int8 in {-1, 1}."""


@dataclass(frozen=True, eq=False)
class SingleFactor:
    """Signs that follow one latent label: y_l = sign(c_l) y with probability (1 + |c_l|)/2.

    R = diag(1 − c²) + c cᵀ. Negative loadings follow the label with the opposite sign.

    Parameters
    ----------
    loadings : array, shape (T,)
        Correlations c_l in [-1, 1] of each position with the label.

    Raises
    ------
    ValueError
        If `loadings` is not a non-empty vector of numbers in [-1, 1].

    Examples
    --------
    >>> SingleFactor([1.0, 0.5]).matrix
    array([[1. , 0.5],
           [0.5, 1. ]])
    """

    loadings: Any

    def __post_init__(self) -> None:
        c = np.array(arrays(self.loadings, names="loadings")[1], dtype=float)
        if c.ndim != 1 or c.size == 0:
            raise ValueError(f"loadings must be a non-empty vector, got shape {c.shape}")
        require("loadings", c, np.abs(c) <= 1, "numbers in [-1, 1]")
        c.flags.writeable = False
        object.__setattr__(self, "loadings", c)

    def __getstate__(self) -> dict[str, Any]:
        return {"loadings": self.loadings}  # not what is cached on top of it

    @property
    def length(self) -> int:
        """Sequence length T."""
        return int(self.loadings.size)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Correlation matrix R, shape (T, T)."""
        c = self.loadings
        matrix = np.outer(c, c)
        np.fill_diagonal(matrix, 1.0)
        return matrix

    def pooled_signal(self, w: np.ndarray) -> float:
        """wᵀRw, without forming R."""
        c = self.loadings
        return float((w @ c) ** 2 + (w**2) @ (1 - c**2))

    def sample(self, n: int, *, rng: Any = None) -> np.ndarray:
        """Signs, shape (n, T), int8 in {-1, 1}."""
        return self.sample_labelled(n, rng=rng)[1]

    def __repr__(self) -> str:
        shown = np.array2string(self.loadings, threshold=6, precision=3, separator=", ")
        return f"SingleFactor({shown}, length {self.length})"

    def sample_labelled(self, n: int, *, rng: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels, shape (n,), and signs, shape (n, T), int8 in {-1, 1}."""
        rng, n = generator(rng), natural("n", n)
        label = (2 * rng.integers(0, 2, size=n, dtype=np.int8) - 1).astype(np.int8)
        follows = rng.random((n, self.length)) < (1 + self.loadings) / 2
        return label, np.where(follows, label[:, None], -label[:, None]).astype(np.int8)


def Prefix(length: int, informative: int) -> SingleFactor:  # noqa: N802 (a constructor in the field's words)
    """Positions whose first `informative` signs are equal (the label), the others independent.

    The single-factor model with loadings one on the prefix and zero after it.

    Parameters
    ----------
    length : int
        Sequence length T.
    informative : int
        Prefix length r, 0 <= r <= T.

    Raises
    ------
    ValueError
        If either is not such a whole number.

    Examples
    --------
    >>> Prefix(3, 2).matrix
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]])
    """
    length, informative = natural("length", length), natural("informative", informative, least=0)
    if informative > length:
        raise ValueError(f"informative must be <= length {length}, got {informative}")
    return SingleFactor((np.arange(length) < informative).astype(float))


@dataclass(frozen=True, eq=False)
class Correlated:
    """Signs with any correlation matrix a Gaussian copula can realise: y = sign(g), g ~ N(0, sin(pi R/2)).

    Parameters
    ----------
    matrix : array, shape (T, T)
        Correlations R: symmetric, unit diagonal, positive semi-definite.

    Raises
    ------
    ValueError
        If `matrix` is not such a matrix (a negative eigenvalue is named). `sample` raises when
        sin(pi R/2) has a negative eigenvalue: this sampler cannot realise R, the theory still holds.

    Examples
    --------
    >>> signs = Correlated([[1.0, 0.3], [0.3, 1.0]]).sample(100_000, rng=0)
    >>> abs(float((signs[:, 0] * signs[:, 1]).mean()) - 0.3) < 0.01
    True
    """

    matrix: Any

    def __post_init__(self) -> None:
        matrix = check_correlation("matrix", self.matrix)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    def __getstate__(self) -> dict[str, Any]:
        return {"matrix": self.matrix}  # not what is cached on top of it

    def __repr__(self) -> str:
        return f"Correlated(matrix of shape {self.matrix.shape})"

    @property
    def length(self) -> int:
        """Sequence length T."""
        return int(self.matrix.shape[0])

    @cached_property
    def _root(self) -> np.ndarray:
        copula = np.sin(np.pi * self.matrix / 2)
        values, vectors = np.linalg.eigh(copula)
        if values[0] < -1e-10 * self.length:
            raise ValueError(
                f"a Gaussian copula cannot realise matrix: sin(pi R/2) has the negative eigenvalue {values[0]:.6g}; "
                "use Prefix or SingleFactor, or predict() alone"
            )
        return vectors * np.sqrt(np.maximum(values, 0))

    def pooled_signal(self, w: np.ndarray) -> float:
        """wᵀRw."""
        return float(w @ self.matrix @ w)

    def sample(self, n: int, *, rng: Any = None) -> np.ndarray:
        """Signs, shape (n, T), int8 in {-1, 1}."""
        normal = generator(rng).standard_normal((natural("n", n), self.length))
        return np.where(normal @ self._root.T >= 0, 1, -1).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Correlations drawn for each sequence: it follows one of several position models.

    Parameters
    ----------
    models : sequence of positions
        Of one length; mixtures may be nested.
    probabilities : array, shape (number of models,)
        Of each model: positive, summing to one.

    Raises
    ------
    ValueError
        If there is no model, their lengths differ, or the probabilities are not what they should be.

    References
    ----------
    docs/theory/classes.md, section 5: the spectrum knows the mean of R only.

    Examples
    --------
    >>> mixture = Mixture([Prefix(3, 2), Prefix(3, 0)], [0.25, 0.75])
    >>> mixture.matrix
    array([[1.  , 0.25, 0.  ],
           [0.25, 1.  , 0.  ],
           [0.  , 0.  , 1.  ]])
    """

    models: Any
    probabilities: Any

    def __post_init__(self) -> None:
        if not np.iterable(self.models) or not (models := tuple(self.models)):
            raise ValueError(f"models must be several position models, got {self.models!r}")
        for model in models:
            for name in ("length", "matrix", "pooled_signal", "sample"):
                if name not in dir(model):  # hasattr would compute the matrix
                    raise ValueError(f"models must be position models such as Prefix(T, r), got {model!r}")
        if len({model.length for model in models}) > 1:
            raise ValueError(f"models must have one length, got {[model.length for model in models]}")
        p = check_shares("probabilities", self.probabilities)
        if p.size != len(models):
            raise ValueError(f"probabilities must be one a model, got {p.size} for {len(models)} models")
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "probabilities", p)

    def __getstate__(self) -> dict[str, Any]:
        return {"models": self.models, "probabilities": self.probabilities}

    @property
    def length(self) -> int:
        """Sequence length T."""
        return int(self.models[0].length)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Mean correlation matrix, shape (T, T)."""
        return sum(p * model.matrix for p, model in zip(self.probabilities, self.models))

    def pooled_signal(self, w: np.ndarray) -> float:
        """wᵀRw of the mean R."""
        return float(sum(p * model.pooled_signal(w) for p, model in zip(self.probabilities, self.models)))

    def choose(self, n: int, *, rng: Any = None) -> np.ndarray:
        """Which model each of n sequences follows, shape (n,), int."""
        last = np.cumsum(self.probabilities)[:-1]
        return np.searchsorted(last, generator(rng).random(natural("n", n)), side="right")

    def sample(self, n: int, *, rng: Any = None) -> np.ndarray:
        """Signs, shape (n, T), int8 in {-1, 1}."""
        rng = generator(rng)
        chosen = self.choose(n, rng=rng)
        signs = np.empty((chosen.size, self.length), dtype=np.int8)
        for m, model in enumerate(self.models):
            if count := int((own := chosen == m).sum()):
                signs[own] = model.sample(count, rng=rng)
        return signs

    def sample_labelled(self, n: int, *, rng: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels, shape (n,), and signs, shape (n, T), int8 in {-1, 1}; every model must have a label."""
        rng = generator(rng)
        chosen = self.choose(n, rng=rng)
        labels = np.empty(chosen.size, dtype=np.int8)
        signs = np.empty((chosen.size, self.length), dtype=np.int8)
        for m, model in enumerate(self.models):
            if not hasattr(model, "sample_labelled"):
                raise ValueError(f"models must have a label (Prefix or SingleFactor), got {model!r}")
            if count := int((own := chosen == m).sum()):
                labels[own], signs[own] = model.sample_labelled(count, rng=rng)
        return labels, signs

    def __repr__(self) -> str:
        return f"Mixture({list(self.models)!r}, {np.round(self.probabilities, 6).tolist()})"


def check_shares(name: str, values: Any) -> np.ndarray:
    """Return a copy of positive numbers that sum to one, shape (n,), or raise ``ValueError``."""
    shares = np.array(arrays(values, names=name)[1], dtype=float)
    if shares.ndim != 1 or shares.size == 0:
        raise ValueError(f"{name} must be a non-empty vector, got shape {shares.shape}")
    require(name, shares, np.isfinite(shares) & (shares > 0), "positive numbers")
    if abs(shares.sum() - 1) > 1e-8:
        raise ValueError(f"{name} must sum to one, got {shares.tolist()} with the sum {shares.sum():.9g}")
    shares /= shares.sum()
    shares.flags.writeable = False
    return shares


def check_correlation(name: str, matrix: Any) -> np.ndarray:
    """Return a copy of a valid correlation matrix, or raise ``ValueError`` saying what is wrong."""
    matrix = np.array(arrays(matrix, names=name)[1], dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    asymmetry = np.abs(matrix - matrix.T)
    if asymmetry.max() > 1e-10:
        i, j = np.unravel_index(asymmetry.argmax(), matrix.shape)
        raise ValueError(
            f"{name} must be symmetric, got {matrix[i, j]:.6g} at ({i}, {j}) but {matrix[j, i]:.6g} at ({j}, {i})"
        )
    diagonal = np.diag(matrix)
    if np.abs(diagonal - 1).max() > 1e-10:
        i = int(np.abs(diagonal - 1).argmax())
        raise ValueError(f"{name} must have a unit diagonal, got {diagonal[i]:.6g} at ({i}, {i})")
    least = np.linalg.eigvalsh(matrix)[0]
    if least < -1e-10 * len(matrix):
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {least:.6g}")
    return matrix
