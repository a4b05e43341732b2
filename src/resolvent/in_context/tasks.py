"""Laws of prompts for in-context linear regression: who shares what among context, query and task vector."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import natural, number

__all__ = [
    "GaussianTasks",
    "autoregressive",
    "best_weights",
    "covariance",
    "joint_correlation",
    "root",
    "rotating",
]


def covariance(name: str, value: Any, dimension: int | None) -> np.ndarray:
    """A positive semi-definite matrix: given, or diagonal from a vector, or the identity."""
    if value is None:
        return np.eye(natural("dimension", dimension))
    matrix = np.array(value, dtype=float)
    if matrix.ndim == 1:
        matrix = np.diag(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 1:
        raise ValueError(f"{name} must be a square matrix or a vector of variances, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    if dimension is not None and matrix.shape[0] != natural("dimension", dimension):
        raise ValueError(f"{name} must match dimension {dimension}, got shape {matrix.shape}")
    size = max(float(np.abs(matrix).max()), 1e-300)
    if np.abs(matrix - matrix.T).max() > 1e-10 * size:
        raise ValueError(f"{name} must be symmetric")
    matrix = (matrix + matrix.T) / 2
    try:
        np.linalg.cholesky(matrix + 1e-10 * size * np.eye(len(matrix)))  # quicker than eigenvalues
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(matrix)[0]
        if least < -1e-9 * size:
            raise ValueError(
                f"{name} must be positive semi-definite, got an eigenvalue of {least:.4g}"
            ) from None
    return matrix


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@dataclass(frozen=True, eq=False)
class GaussianTasks:
    """Tasks y = βᵀx + noise with Gaussian features, alike along the prompt or drifting.

    β ~ N(0, task_covariance), x ~ N(0, feature_covariance). Tasks of position i and of the query correlate by r_i, of
    positions i and j by R_ij: E β_i β_jᵀ = R_ij Σ_β, E β_i βᵀ = r_i Σ_β. Without R and r one task holds throughout.

    Parameters
    ----------
    dimension : int, optional
        d; needed where no covariance is given.
    feature_covariance, task_covariance : array, shape (d, d) or (d,), optional
        Positive semi-definite, the identity by default; a vector is a diagonal.
    noise : float or array of n floats, default 0
        Variance of the label noise, of each position where it varies.
    query_noise : float, optional
        Of the query's label; needed where `noise` varies, else the same.
    correlation : array, shape (n, n), optional
        R. Its diagonal need not be one.
    query_correlation : array, shape (n,), optional
        r. Together [[R, r], [rᵀ, 1]] must be positive semi-definite.

    Raises
    ------
    ValueError
        If a covariance is not positive semi-definite (the eigenvalue is named), shapes disagree, or a variance is
        negative.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; drift is derived in docs/theory/in_context.md, section 4.

    Examples
    --------
    >>> GaussianTasks(5, noise=0.1).eigenvalues
    array([1., 1., 1., 1., 1.])
    """

    dimension: Any = None
    feature_covariance: Any = None
    task_covariance: Any = None
    noise: Any = 0.0
    query_noise: Any = None
    correlation: Any = None
    query_correlation: Any = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        given = next((c for c in (self.feature_covariance, self.task_covariance) if c is not None), None)
        if self.dimension is None:
            if given is None:
                raise ValueError("dimension must be given where no covariance is, got None")
            set_(self, "dimension", len(np.atleast_1d(np.asarray(given, dtype=float))))
        for name in ("feature_covariance", "task_covariance"):
            set_(self, name, covariance(name, getattr(self, name), self.dimension))
        if (self.correlation is None) != (self.query_correlation is None):
            raise ValueError("correlation and query_correlation must be given together, got only one")
        if self.correlation is not None:
            R = np.array(self.correlation, dtype=float)
            r = np.array(self.query_correlation, dtype=float)
            if R.ndim != 2 or R.shape[0] != R.shape[1] or r.shape != R.shape[:1] or r.size < 1:
                raise ValueError(
                    f"correlation must have shape (n, n) and query_correlation (n,), got {R.shape} and {r.shape}"
                )
            covariance("correlation (with query_correlation)", joint_correlation(R, r), None)
            set_(self, "correlation", R)
            set_(self, "query_correlation", r)
        noise = np.array(self.noise, dtype=float)
        if noise.ndim > 1 or not np.isfinite(noise).all() or (noise < 0).any():
            raise ValueError(f"noise must be a variance >= 0, or one a position, got {self.noise!r}")
        if noise.ndim and self.correlation is not None and noise.size != self.query_correlation.size:
            raise ValueError(
                f"noise must hold one variance a position ({self.query_correlation.size}), got {noise.size}"
            )
        if noise.ndim and self.query_noise is None:
            raise ValueError("query_noise must be given where noise varies with the position, got None")
        set_(self, "noise", noise if noise.ndim else float(noise))
        set_(
            self,
            "query_noise",
            number("query_noise", self.noise if self.query_noise is None else self.query_noise, least=0),
        )

    def __getstate__(self) -> dict[str, Any]:
        # only what defines the law, so that equal laws pickle, and cache, alike
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def feature_root(self) -> np.ndarray:
        """Σ_x^(1/2)."""
        return root(self.feature_covariance)

    @cached_property
    def whitened(self) -> np.ndarray:
        """S = Σ_x^(1/2) Σ_β Σ_x^(1/2), on which all risks depend."""
        return self.feature_root @ self.task_covariance @ self.feature_root

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Of S, decreasing."""
        return np.maximum(np.linalg.eigvalsh(self.whitened)[::-1], 0.0)

    @cached_property
    def _products(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ_x Σ_β and Σ_x Σ_β Σ_x."""
        both = self.feature_covariance @ self.task_covariance
        return both, both @ self.feature_covariance

    @cached_property
    def power(self) -> float:
        """tr S, the variance of βᵀx."""
        return float(np.sum(self.feature_covariance * self.task_covariance))

    @property
    def length(self) -> int | None:
        """n where the tasks fix it."""
        if self.correlation is not None:
            return int(self.query_correlation.size)
        return int(self.noise.size) if np.ndim(self.noise) else None

    @property
    def exchangeable(self) -> bool:
        """Whether positions are alike, so that optimal weights are equal."""
        return self.correlation is None and not np.ndim(self.noise)

    @property
    def zero(self) -> float:
        """Risk of predicting zero, M = tr S + noise of the query."""
        return self.power + self.query_noise

    def positions(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """K = R + diag(R_ii), diagonal of E = R_ii tr S + noise_i, and r, of a context of n positions."""
        R = np.ones((length, length)) if self.correlation is None else self.correlation
        r = np.ones(length) if self.correlation is None else self.query_correlation
        return R + np.diag(np.diag(R)), np.diag(R) * self.power + self.noise, r

    def weight_moments(self, weights: np.ndarray) -> tuple[float, float, float]:
        """r·w, wᵀKw and wᵀEw."""
        if self.exchangeable:  # no n x n matrix
            total, square = float(weights.sum()), float(weights @ weights)
            return total, total**2 + square, (self.power + self.noise) * square
        K, E, r = self.positions(weights.size)
        return float(r @ weights), float(weights @ K @ weights), float(E @ weights**2)

    def terms(self, W: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        """E y f and E f² of the prediction f = xᵀW Σ_j w_j x_j y_j, so that its risk is zero − 2 E y f + E f²."""
        rw, wKw, wEw = self.weight_moments(weights)
        signal = self._products[1]
        spread = self.feature_covariance @ W @ (wKw * signal + wEw * self.feature_covariance)
        return rw * float(np.sum(W.T * signal)), float(np.sum(spread * W))

    def preconditioner(self, weights: np.ndarray) -> np.ndarray:
        """The best W for these weights: (r·w) Σ_β [wᵀKw Σ_x Σ_β + wᵀEw I]⁻¹."""
        rw, wKw, wEw = self.weight_moments(weights)
        A = wKw * self._products[0] + wEw * np.eye(self.dimension)
        return rw * np.linalg.solve(A.T, self.task_covariance).T

    def weights(self, length: int) -> np.ndarray:
        """The best weights of the positions, up to scale: all ones where positions are alike."""
        if self.exchangeable:
            return np.ones(length)
        return best_weights(self.eigenvalues, *self.positions(length))

    def per_channel(self, length: int) -> float:
        """Least risk with weights of their own for every eigendirection of S."""
        K, E, r = self.positions(length)
        scale = 1 / np.sqrt(np.maximum(E, 1e-300))
        values, vectors = np.linalg.eigh(scale[:, None] * K * scale)
        along = (vectors.T @ (scale * r)) ** 2
        gain = self.eigenvalues**2 * (
            along / (np.multiply.outer(self.eigenvalues, np.maximum(values, 0)) + 1)
        ).sum(axis=1)
        return self.zero - float(gain.sum())

    def sample(self, prompts: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Prompts: context features (m, n, d), labels (m, n), query (m, d), its label (m,)."""
        d = self.dimension
        x = rng.standard_normal((prompts, length, d))
        query = rng.standard_normal((prompts, d))
        if not self._white_features:
            x, query = x @ self.feature_root, query @ self.feature_root
        task = root(self.task_covariance)
        if self.correlation is None:
            beta = rng.standard_normal((prompts, d)) @ task
            labels, last = (x @ beta[:, :, None])[:, :, 0], (query * beta).sum(axis=1)
        else:
            joint = root(joint_correlation(self.correlation, self.query_correlation))
            betas = joint @ rng.standard_normal((prompts, length + 1, d)) @ task
            labels, last = (x * betas[:, :-1]).sum(axis=2), (query * betas[:, -1]).sum(axis=1)
        labels = labels + np.sqrt(self.noise) * rng.standard_normal(labels.shape)
        return x, labels, query, last + np.sqrt(self.query_noise) * rng.standard_normal(prompts)

    @cached_property
    def _white_features(self) -> bool:
        return bool(np.array_equal(self.feature_covariance, np.eye(self.dimension)))

    def posterior(
        self, x: np.ndarray, labels: np.ndarray, query: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the query's label given the prompt: ridge regression, for drifting tasks Kalman's filter."""
        n, d = x.shape[1:]
        along = query @ self.task_covariance
        if self.exchangeable and n > d and self.noise > 0:  # (Σ_β XᵀX + noise)⁻¹ is smaller
            turned = x.transpose(0, 2, 1)
            precision = self.task_covariance @ (turned @ x) + self.noise * np.eye(d)
            evidence = (turned @ labels[:, :, None])[:, :, 0] @ self.task_covariance
            solved = np.linalg.solve(precision, np.stack([evidence, self.noise * along], axis=2))
            both = query[:, None, :] @ solved
            return both[:, 0, 0], both[:, 0, 1] + self.query_noise
        to_query = x @ along[:, :, None]
        prior = np.sum(along * query, axis=1)
        R = 1.0 if self.correlation is None else self.correlation
        r = np.ones(n) if self.correlation is None else self.query_correlation
        gram = x @ self.task_covariance @ x.transpose(0, 2, 1) * R
        gram[:, np.arange(n), np.arange(n)] += (
            self.noise + 1e-10 * self.power
        )  # a pseudo-inverse without noise
        cross = r[:, None] * to_query
        solved = np.linalg.solve(gram, np.concatenate([labels[:, :, None], cross], axis=2))
        both = cross.transpose(0, 2, 1) @ solved
        return both[:, 0, 0], prior - both[:, 0, 1] + self.query_noise


def joint_correlation(correlation: np.ndarray, query: np.ndarray) -> np.ndarray:
    """[[R, r], [rᵀ, 1]], shape (n + 1, n + 1)."""
    return np.block([[correlation, query[:, None]], [query, np.ones((1, 1))]])


def best_weights(eigenvalues: np.ndarray, K: np.ndarray, E: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Minimise −sum_k l_k² (r·w)²/(l_k wᵀKw + wᵀEw) over w, up to scale: a generalised eigenvector, iterated.

    For fixed p_k = l_k²/(l_k wᵀKw + wᵀEw)² the stationary w solves ((sum p_k l_k) K + (sum p_k) E) w ∝ r.
    """
    alive = eigenvalues[eigenvalues > 0]
    if not alive.size or not r.any():  # nothing to learn from, whatever the weights
        return np.ones_like(r)
    p = np.ones_like(alive)
    w = np.ones_like(r)
    for _ in range(1000):
        matrix = (p @ alive) * K + np.diag(p.sum() * E)
        new = np.linalg.lstsq(matrix, r, rcond=None)[0]
        new /= np.abs(new).max() or 1.0
        if np.abs(new - w).max() < 1e-13:
            return new
        w = new
        p = alive**2 / (alive * (w @ K @ w) + E @ w**2) ** 2
        p /= p.max()
    raise RuntimeError(
        f"the best weights were not found: last change {np.abs(new - w).max():.1e}, weights {w}"
    )


def autoregressive(length: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """R and r of tasks that drift as a stationary AR(1): R_ij = rho^|i−j|, r_i = rho^(n+1−i).

    Parameters
    ----------
    length : int
        n >= 1.
    rho : float
        In [0, 1].

    Examples
    --------
    >>> R, r = autoregressive(3, 0.5)
    >>> r
    array([0.125, 0.25 , 0.5  ])
    """
    rho = number("rho", rho, least=0)
    if rho > 1:
        raise ValueError(f"rho must be in [0, 1], got {rho}")
    i = np.arange(natural("length", length) + 1)
    joint = rho ** np.abs(np.subtract.outer(i, i)).astype(float)
    return joint[:-1, :-1], joint[:-1, -1]


def rotating(length: int, angle: float = np.pi / 2) -> tuple[np.ndarray, np.ndarray]:
    """R and r of tasks that turn by `angle` in all, from u at the first position to the query: R_ij = cos(th_i − th_j).

    Examples
    --------
    >>> R, r = rotating(3)
    >>> r.round(3)
    array([0.   , 0.5  , 0.866])
    """
    turn = number("angle", angle) * np.arange(natural("length", length) + 1) / length
    joint = np.cos(np.subtract.outer(turn, turn))
    return joint[:-1, :-1], joint[:-1, -1]
