"""Covariance of a tall matrix, block by block: one pass, checked on the way, nothing of the matrix copied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Moments",
    "SampleSpectrum",
    "check_matrix",
    "excess_kurtosis",
    "features",
    "row_blocks",
    "sample_spectrum",
]

BLOCK_BYTES = 2 << 20  # of a block of rows: large enough for BLAS, small enough to stay near the cache
RANK = 1e-10  # eigenvalues below this share of the largest are null directions


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of the rows of a matrix.

    Attributes
    ----------
    count : int
        Rows N.
    mean : array, shape (d,)
    scatter : array, shape (d, d)
        sum_i (x_i − mean)(x_i − mean)ᵀ, in float64.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, transform: Callable[[np.ndarray], np.ndarray] | None = None) -> Moments:
        """Moments of the rows of `x`, or of ``transform(block)``, in one pass.

        Products are taken in the floating type of the blocks, about a first guess of the mean, so that a
        large mean costs no digits; sums are kept in float64.

        Raises
        ------
        ValueError
            If an entry is not finite; the message names the first such row. If squares overflow.
        """
        shift: np.ndarray | None = None
        total = scatter = np.zeros(0)
        for start, block in row_blocks(x):
            if transform is not None:
                block = transform(block)
            if shift is None:
                with np.errstate(invalid="ignore", over="ignore"):
                    shift = block.mean(axis=0)
                total, scatter = np.zeros(shift.size), np.zeros((shift.size, shift.size))
            with np.errstate(invalid="ignore", over="ignore"):
                centred = block - shift
                sums = centred.sum(axis=0)
            if not np.isfinite(sums).all():
                raise ValueError(
                    f"x must be finite, got NaN or infinite entries in row {start + _first_bad_row(block)}"
                )
            total += sums
            with np.errstate(invalid="ignore", over="ignore"):
                scatter += centred.T @ centred
        assert shift is not None
        n = x.shape[0]
        _squarable(np.diagonal(scatter), x.dtype)
        scatter -= np.outer(total, total) / n
        return cls(n, shift + total / n, scatter)


def row_blocks(x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, block) over the rows of a matrix, in float32 or float64."""
    floating = x.dtype if x.dtype in (np.float32, np.float64) else np.promote_types(x.dtype, np.float32)
    if x.dtype.kind in "iu":
        floating = np.dtype(float)
    d = x.shape[1]
    rows = max(256, d, BLOCK_BYTES // max(floating.itemsize * d, 1))  # a product costs more than its sum
    for start in range(0, x.shape[0], rows):
        yield start, np.asarray(x[start : start + rows], dtype=floating)


def _squarable(squares: np.ndarray, dtype: np.dtype) -> None:
    if not np.isfinite(squares).all():
        raise ValueError(
            f"x must hold numbers that can be squared in {dtype}, got too large ones: scale it down"
        )


def _first_bad_row(block: np.ndarray) -> int:
    """Index of the first row with an entry that is not finite (or too large to be squared)."""
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(block**2).all(axis=1)
    return int(np.argmax(bad))


def check_matrix(name: str, x: Any) -> np.ndarray:
    """Return a real matrix (N, d), N >= 2, without copying it, or raise ``ValueError``."""
    if hasattr(x, "toarray"):
        raise ValueError(f"{name} must be dense, got a sparse {type(x).__name__}")
    try:
        x = x if isinstance(x, np.ndarray) else np.asarray(x)
    except Exception as error:  # ragged lists, tensors on another device or of a type NumPy lacks
        raise ValueError(f"{name} must be convertible to a NumPy matrix: {error}") from error
    if x.dtype.kind == "U" and not x.ndim:
        raise ValueError(
            f"{name} must be a matrix, got the text {str(x)!r}: resolvent.datasets.read reads files"
        )
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        raise ValueError(f"{name} must hold real numbers of at most 64 bits, got dtype {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (N, d), got shape {x.shape}")
    if x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(f"{name} must have at least 2 rows (samples) and 1 column, got shape {x.shape}")
    return x


@dataclass(frozen=True, eq=False)
class SampleSpectrum:
    """Eigenvalues of a sample covariance, with what finds eigenvectors later.

    Attributes
    ----------
    values : array
        Decreasing, null directions dropped; normalised by `freedom`.
    freedom : int
        N − 1 after centring, N without.
    variances : array
        Of the columns that vary.
    matrix : array
        The covariance, or where d > N the Gram matrix of the rows.
    rows : array or None
        Those rows.
    kept : array of bool
        Columns that vary.
    notes : tuple of str
        What was dropped.
    """

    values: np.ndarray
    freedom: int
    variances: np.ndarray
    matrix: np.ndarray
    rows: np.ndarray | None
    kept: np.ndarray
    notes: tuple[str, ...]

    def top_vectors(self, count: int) -> np.ndarray:
        """Eigenvectors of the `count` largest eigenvalues, shape (d, count)."""
        from scipy import linalg

        size = self.matrix.shape[0]
        if not count:
            return np.zeros((self.kept.size, 0))
        _, vectors = linalg.eigh(self.matrix, subset_by_index=[size - count, size - 1])
        vectors = vectors[:, ::-1]
        if self.rows is not None:
            vectors = self.rows.T @ vectors
            vectors /= np.linalg.norm(vectors, axis=0)
        out = np.zeros((self.kept.size, count))
        out[self.kept] = vectors
        return out


def sample_spectrum(x: np.ndarray, whitener: np.ndarray | None, centred: bool) -> SampleSpectrum:
    """Eigenvalues of the covariance of the rows of `x`, whitened first where there is a whitener (d, rank)."""
    n = x.shape[0]
    freedom = n - 1 if centred else n
    d = x.shape[1] if whitener is None else whitener.shape[1]
    precision = np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0.0
    if d > freedom:
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        if bad.size:
            raise ValueError(f"x must be finite, got NaN or infinite entries in row {bad[0]}")
        rows = features(x, whitener, centred)
        mean = x.mean(axis=0, dtype=float) if whitener is None else np.zeros(d)
        with np.errstate(over="ignore"):
            variances = (rows**2).sum(axis=0) / freedom
        _squarable(variances, rows.dtype)
        matrix = rows @ rows.T / freedom
    else:
        transform = None if whitener is None else (lambda block: block @ whitener)
        moments = Moments.of(x, transform)
        scatter, mean = moments.scatter, moments.mean
        if not centred:
            scatter = scatter + n * np.outer(mean, mean)
        matrix = scatter / freedom
        variances = np.diagonal(matrix).copy()
        rows = None
    # single and double carry the errors of earlier arithmetic; half is stored, and jumps by one unit at most
    constant_below = (16 if precision < 1e-4 else 1) * precision
    kept = variances > (constant_below * mean) ** 2
    notes = []
    if not kept.any():
        raise ValueError("x must vary, got all columns constant")
    if not kept.all():
        constant = np.flatnonzero(~kept)
        shown = ", ".join(map(str, constant[:8])) + (", ..." if constant.size > 8 else "")
        notes.append(
            f"{constant.size} constant column{'s' * (constant.size > 1)} dropped ({shown}): "
            f"{int(kept.sum())} of {d} dimensions count"
        )
        if rows is None:
            matrix = matrix[np.ix_(kept, kept)]
        else:
            rows = rows[:, kept]
    varying = int(kept.sum())
    values = np.maximum(np.linalg.eigvalsh(matrix)[::-1], 0)
    if rows is not None:
        values = np.concatenate([values[:freedom], np.zeros(varying)])[:varying]
        values[values <= RANK * values[0]] = 0  # repeated rows
        if varying <= freedom:  # too many columns were constant
            values = values[values > RANK * values[0]]
    else:
        rounding = min(precision, float(np.finfo(np.float32).eps))  # half precision is multiplied in single
        real = values > max(RANK, rounding, precision**2) * values[0]
        if not real.all():
            notes.append(
                f"{int((~real).sum())} null direction{'s' * int((~real).sum() > 1)} dropped (variance exactly zero up to "
                f"rounding): {int(real.sum())} of {d} dimensions count"
            )
        values = values[real]
    return SampleSpectrum(values, freedom, variances[kept], matrix, rows, kept, tuple(notes))


def features(x: np.ndarray, whitener: np.ndarray | None, centred: bool) -> np.ndarray:
    """Whitened and centred rows, in memory."""
    rows = np.asarray(x, dtype=float)
    if whitener is not None:
        rows = rows @ whitener
    return rows - rows.mean(axis=0) if centred else rows


def excess_kurtosis(
    x: np.ndarray, whitener: np.ndarray | None, vectors: np.ndarray, centred: bool
) -> np.ndarray:
    """Excess kurtosis of the scores of every outlier, in one more pass over the rows."""
    if not vectors.shape[1]:
        return np.zeros(0)
    directions = vectors if whitener is None else whitener @ vectors
    shift = np.zeros(vectors.shape[1])
    sums = np.zeros((4, vectors.shape[1]))
    for start, block in row_blocks(x):
        scores = block @ directions
        if centred and start == 0:
            shift = scores.mean(axis=0)
        scores -= shift
        squares = scores**2
        sums[0] += scores.sum(axis=0)
        sums[1] += squares.sum(axis=0)
        sums[2] += (squares * scores).sum(axis=0)
        sums[3] += (squares**2).sum(axis=0)
    first, second, third, fourth = sums / x.shape[0]
    if centred:  # from about the first block's mean to about the mean
        fourth = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        second = second - first**2
    return fourth / second**2 - 3
