"""Spectra of data: full, top only, along a sweep of the signal, and the law that fits a bulk.

Covariances are (1/N) XᵀX with d columns; eigenvalues come in decreasing order. Whichever Gram matrix
is smaller is factorised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, one_of, require
from resolvent.laws import Law, MarchenkoPastur, MarchenkoPasturProduct

__all__ = ["Fit", "covariance_spectrum", "fit", "top_eigenpairs"]


def _matrix(name: str, x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 2 or min(x.shape) < 1 or x.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be a real matrix of shape (N, d), got {x.dtype} of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    return x if x.dtype.kind == "f" and x.dtype.itemsize >= 4 else x.astype(float)


def covariance_spectrum(x: Any, *, centred: bool = True, vectors: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the sample covariance, and its leading eigenvectors.

    Parameters
    ----------
    x : array, shape (N, d)
    centred : bool, default True
        Subtract the column means; False gives the second-moment matrix.
    vectors : int, default 0
        How many leading eigenvectors to return.

    Returns
    -------
    eigenvalues : array, shape (d,)
        Decreasing; exact zeros where N < d.
    eigenvectors : array, shape (d, vectors)

    Examples
    --------
    >>> values, _ = covariance_spectrum([[1.0, 0.0], [-1.0, 0.0]])
    >>> values
    array([1., 0.])
    """
    from scipy import linalg  # here, so that importing resolvent stays fast

    x = _matrix("x", x)
    if centred:
        x = x - x.mean(axis=0)
    n, d = x.shape
    vectors = min(natural("vectors", vectors, least=0), d, n)
    gram = x.T @ x if d <= n else x @ x.T
    gram /= n
    if not vectors:
        values, basis = linalg.eigvalsh(gram, overwrite_a=True)[::-1], np.empty((d, 0))
    else:
        values, basis = linalg.eigh(gram, overwrite_a=True)
        values, basis = values[::-1], basis[:, ::-1][:, :vectors]
        if d > n:
            basis = x.T @ basis
            basis /= np.maximum(np.linalg.norm(basis, axis=0), np.finfo(float).tiny)
    values = np.maximum(values, 0)
    return np.concatenate([values, np.zeros(max(d - n, 0))]), basis


def top_eigenpairs(
    table: np.ndarray,
    matrix: Any,
    k: int = 2,
    *,
    centred: bool = True,
    tol: float | None = None,
    rng: Any = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenpairs of the covariance of pooled features A E by Lanczos; S is never formed.

    A step costs O(NT + Vd): v -> Eᵀ Aᵀ (I − 11ᵀ/N) A E v / N.

    Parameters
    ----------
    table : array, shape (V, d)
        E, float32 or float64.
    matrix : sparse array, shape (N, V)
        A, see `resolvent.pooling.pooling_matrix`.
    k : int, default 2
        Number of pairs.
    centred : bool, default True
        Subtract the mean of the pooled features.
    tol : float, optional
        Relative accuracy of the eigenvalues; by default 1e-6 in float32, machine accuracy in float64.
    rng : numpy.random.Generator or int, default 0
        For the starting vector.

    Returns
    -------
    eigenvalues : array, shape (k,), decreasing
    eigenvectors : array, shape (d, k)

    Raises
    ------
    scipy.sparse.linalg.ArpackNoConvergence
        If Lanczos does not converge.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    n, d = matrix.shape[0], table.shape[1]
    transposed = matrix.T.tocsr()

    def apply(v: np.ndarray) -> np.ndarray:
        pooled = matrix @ (table @ v.ravel())
        if centred:
            pooled = pooled - pooled.mean()
        return ((transposed @ pooled) @ table) / n

    operator = LinearOperator((d, d), matvec=apply, dtype=table.dtype)
    start = np.asarray(generator(rng).standard_normal(d), dtype=table.dtype)
    if tol is None:
        tol = 1e-6 if table.dtype == np.float32 else 0.0
    values, vectors = eigsh(operator, k=k, which="LA", v0=start, tol=tol, ncv=min(d, max(20, 8 * k)))
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


@dataclass(frozen=True)
class SignalSweep:
    """Covariances that differ only in the strength of one column: S with x_0 = base + signal·slope.

    One eigendecomposition of the other columns turns every S into an arrowhead matrix, whose leading
    eigenvalues and first components follow from the secular equation
    lambda − c = sum_j b_j² / (lambda − d_j).
    """

    diagonal: np.ndarray
    base: np.ndarray
    slope: np.ndarray
    corner: np.ndarray

    @classmethod
    def factorise(cls, x: np.ndarray, slope: np.ndarray) -> SignalSweep:
        """From features (N, d), first column at zero signal, and that column's change with the signal."""
        from scipy import linalg

        n, d = x.shape
        first, rest = x[:, 0], x[:, 1:]
        pair = np.stack([first, slope], axis=1)
        if d - 1 <= n:
            diagonal, basis = linalg.eigh(rest.T @ rest / n, overwrite_a=True)
            borders = basis.T @ (rest.T @ pair / n)
        else:
            diagonal, basis = linalg.eigh(rest @ rest.T / n, overwrite_a=True)
            diagonal = np.maximum(diagonal, 0)
            borders = np.sqrt(diagonal)[:, None] * (basis.T @ pair) / np.sqrt(n)
        return cls(diagonal[::-1], borders[::-1, 0], borders[::-1, 1], pair.T @ pair / n)

    def top(self, signals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Largest and second eigenvalue and squared first component of the top vector, each (m,)."""
        s = np.asarray(signals, dtype=float)[:, None]
        corner = (self.corner[0, 0] + 2 * s * self.corner[0, 1] + s**2 * self.corner[1, 1])[:, 0]
        b2 = (self.base + s * self.slope) ** 2
        first = self.diagonal[0] if self.diagonal.size else 0.0
        gaps = first - self.diagonal
        # top root above d_0, in the distance t from it
        high = np.maximum(corner - first, 0) + np.sqrt(b2.sum(axis=1)) + np.finfo(float).tiny
        t = _increasing_root(corner - first, b2, gaps, np.zeros_like(high), high)
        distance = np.maximum(t[:, None] + gaps, np.finfo(float).tiny)
        top, overlap = first + t, 1 / (1 + ((np.sqrt(b2) / distance) ** 2).sum(axis=1))
        # a column that nothing couples to keeps its own eigenvector, and is on top if it is the larger
        alone = ~b2.any(axis=1)
        top = np.where(alone, np.maximum(corner, first), top)
        overlap = np.where(alone, (corner > first).astype(float), overlap)
        if self.diagonal.size < 2:
            return top, corner + first - top, overlap
        # second root between d_1 and d_0
        width = np.full_like(high, gaps[1])
        t2 = _increasing_root(corner - self.diagonal[1], b2, gaps - gaps[1], 0 * width, width)
        second = self.diagonal[1] + t2
        both = np.maximum(np.minimum(corner, first), self.diagonal[1])
        return top, np.where(alone, both, second), overlap


def _increasing_root(
    corner: np.ndarray, b2: np.ndarray, gaps: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Root t in (low, high) of t − corner − sum_j b2_j/(t + gaps_j), increasing between its poles."""
    low, high, t = low.copy(), high.copy(), (low + high) / 2
    for _ in range(120):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            distance = t[:, None] + gaps
            ratio = b2 / distance
            value = t - corner - ratio.sum(axis=1)
            slope = 1 + (ratio / distance).sum(axis=1)
            newton = t - value / slope
        low, high = np.where(value < 0, t, low), np.where(value >= 0, t, high)
        inside = np.isfinite(newton) & (newton > low) & (newton < high)
        new = np.where(inside, newton, (low + high) / 2)
        if np.all(np.abs(new - t) <= 4e-16 * np.abs(new)):
            return new
        t = new
    return t


@dataclass(frozen=True)
class Fit:
    """A law fitted to a bulk.

    Attributes
    ----------
    law : Law
        The fitted law.
    outliers : array
        Eigenvalues above its right edge, decreasing.
    distance : float
        Kolmogorov-Smirnov distance between the other eigenvalues and the law.
    """

    law: Law
    outliers: np.ndarray
    distance: float


def fit(eigenvalues: Any, ratio: float, *, kind: str = "product") -> Fit:
    """Fit a bulk law to sample eigenvalues: its noise level, and for "product" a second ratio too.

    Minimises the Cramér-von Mises distance over the eigenvalues below the fitted edge, repeated until
    the set of outliers settles.

    Parameters
    ----------
    eigenvalues : array, shape (d,)
        All eigenvalues of a sample covariance.
    ratio : float
        gamma = d/N of the sample.
    kind : {"plain", "product"}
        Marchenko-Pastur, or Marchenko-Pastur ⊠ Marchenko-Pastur of a free second ratio.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If fewer than ten eigenvalues are positive, or arguments are out of range.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((800, 200))
    >>> found = fit(covariance_spectrum(x)[0], 200 / 799, kind="plain")
    >>> abs(found.law.scale - 1) < 0.02, len(found.outliers)
    (True, 0)
    """
    from scipy import optimize

    one_of("kind", kind, ("plain", "product"))
    ratio = number("ratio", ratio, above=0)
    _, values = arrays(eigenvalues, names="eigenvalues")
    require("eigenvalues", eigenvalues, np.isfinite(values), "finite")
    values = np.sort(np.asarray(values, dtype=float).ravel())[::-1]
    positive = values[values > 1e-10 * values.max(initial=0.0)]
    if positive.size < 10:
        raise ValueError(f"eigenvalues must hold at least 10 positive values, got {positive.size}")
    zeros = 1 - positive.size / values.size

    def law(theta: np.ndarray) -> Law:
        scale = float(np.exp(theta[0]))
        if kind == "plain":
            return MarchenkoPastur(ratio, scale)
        return MarchenkoPasturProduct((ratio, float(np.exp(theta[1]))), scale)

    def expected(candidate: Law, bulk: np.ndarray) -> np.ndarray:
        # conditional on the bulk: outliers leave the law's own count of eigenvalues to it
        return (candidate.cdf(bulk) - candidate.atom) / (1 - candidate.atom)

    def distance(theta: np.ndarray, bulk: np.ndarray) -> float:
        candidate = law(theta)
        ranks = (np.arange(bulk.size, 0, -1) - 0.5) / bulk.size
        return float(np.mean((expected(candidate, bulk) - ranks) ** 2) + (candidate.atom - zeros) ** 2)

    def settle(theta: np.ndarray) -> tuple[float, np.ndarray, int]:
        outliers = 0
        for _ in range(30):
            found = optimize.minimize(
                distance,
                theta,
                args=(positive[outliers:],),
                method="Nelder-Mead",
                bounds=[(None, None), (np.log(1e-4), np.log(20.0))][: theta.size],
                options={"xatol": 1e-6, "fatol": 1e-12},
            )
            theta = found.x
            outside = int((positive > law(theta).support[0][1]).sum())
            if outside == outliers:
                break
            outliers = min(outside, positive.size - 10)
        return float(found.fun), theta, outliers

    # the distance can have several minima in the second ratio: start from small, middling and large ones
    starts = [[0.0]] if kind == "plain" else [[0.0, np.log(second)] for second in (0.1, 1.0, 4.0)]
    settled = []
    for start in starts:
        first = law(np.array(start))
        start[0] = float(np.log(np.median(positive) / first.ppf((1 + first.atom) / 2)))
        settled.append(settle(np.array(start)))
    _, theta, outliers = min(settled, key=lambda one: one[0])
    fitted, bulk = law(theta), positive[outliers:]
    upper = np.arange(bulk.size, 0, -1) / bulk.size
    gaps = np.abs(expected(fitted, bulk) - np.stack([upper, upper - 1 / bulk.size]))
    return Fit(fitted, positive[:outliers], float(gaps.max()))
