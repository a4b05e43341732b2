"""Token sequences of any form, padded, ragged or ids of a table, a block at a time; and their whitening."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["TokenSequences", "whitening"]

BLOCK = 2**22  # entries of the tokens in hand: 32 MiB


class TokenSequences:
    """Tokens in a row, whatever form X had: sequence i is tokens starts[i] … starts[i+1] − 1."""

    def __init__(self, X: Any, mask: Any, table: Any) -> None:
        ragged = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
        parts = [np.asarray(x) for x in X] if ragged else [np.asarray(X)]
        depth = (1 if table is not None else 2) + (not ragged)
        if any(
            part.ndim != depth or part.dtype.kind not in ("iuf" if table is None else "iu") for part in parts
        ):
            form = (
                "(n, L, d), or a sequence of (L_i, d), of numbers (of ids: with a table)"
                if table is None
                else "(n, L), or (L_i,), of ids"
            )
            got = ", ".join(sorted({f"{part.shape} of {part.dtype}" for part in parts})[:3])
            raise ValueError(f"X must be of shape {form}, got {got}")
        self.parts, self.real = parts, None
        if ragged and mask is not None:
            raise ValueError("mask must be None where X is a sequence of arrays, which hold no padding")
        if not ragged:
            real = np.ones(parts[0].shape[:2], dtype=bool) if mask is None else np.asarray(mask)
            if real.shape != parts[0].shape[:2] or not np.isin(real, (0, 1)).all():
                raise ValueError(
                    f"mask must be boolean and of shape {parts[0].shape[:2]}, as X, got {real.shape}"
                )
            self.real = real.astype(bool)
        self.lengths = np.array([len(p) for p in parts]) if self.real is None else self.real.sum(axis=1)
        self.n = self.lengths.size
        if not self.n or not self.lengths.min():
            where = f"none in sample {self.lengths.argmin()}" if self.n else "no sample"
            raise ValueError(f"X must hold at least one token in each sample, got {where}")
        self.starts = np.r_[0, np.cumsum(self.lengths)]
        self.table = None
        widths = {part.shape[-1] for part in parts}
        if table is not None:
            ids, table = self._tokens(0, self.n), np.asarray(table)
            if table.ndim != 2 or table.dtype.kind not in "iuf":
                raise ValueError(
                    f"table must be of shape (V, d), of numbers, got {table.shape} of {table.dtype}"
                )
            if ids.min() < 0 or ids.max() >= len(table):
                raise ValueError(
                    f"X must hold ids from 0 to {len(table) - 1}, got {ids.min()} to {ids.max()}"
                )
            used, self.ids = np.unique(ids, return_inverse=True)
            self.table, widths = table[used].astype(float), {table.shape[1]}
        if len(widths) > 1 or not min(widths):
            raise ValueError(f"X must have one number >= 1 of features for all tokens, got {sorted(widths)}")
        self.width = widths.pop()
        marks = np.arange(0, self.starts[-1], max(1, BLOCK // self.width))
        self.edges = np.unique(np.r_[np.searchsorted(self.starts, marks, side="right") - 1, self.n])

    def _tokens(self, first: int, last: int) -> np.ndarray:
        if self.real is None:
            return np.concatenate(self.parts[first:last])
        return self.parts[0][first:last][self.real[first:last]]

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """(first, last, table, rows): tokens of sequences first … last − 1 are those rows of that table."""
        if self.table is not None:
            yield 0, self.n, self.table, self.ids
            return
        for first, last in pairwise(self.edges):
            tokens = self._tokens(first, last).astype(float, copy=False)
            yield first, last, tokens, np.arange(len(tokens))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the tokens of each sequence, shape (n,)."""
        return np.add.reduceat(values, self.starts[:-1])

    def softmax(self, scores: np.ndarray) -> np.ndarray:
        a = np.exp(scores - np.repeat(np.maximum.reduceat(scores, self.starts[:-1]), self.lengths))
        return a / np.repeat(self.sums(a), self.lengths)

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Products of all tokens with a vector."""
        out = np.concatenate([(table @ vector)[rows] for _, _, table, rows in self.blocks()])
        bad = np.flatnonzero(~np.isfinite(out))
        if bad.size:
            sample = np.searchsorted(self.starts, bad[0], side="right") - 1
            raise ValueError(
                f"X must be finite wherever there is a token, got nan or infinity in sample {sample}"
            )
        return out

    def combine(self, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of the tokens of each sequence, shape (n, d)."""
        from scipy.sparse import csr_array

        out = np.empty((self.n, self.width))
        for first, last, table, rows in self.blocks():
            starts = self.starts[first : last + 1]
            own = weights[starts[0] : starts[-1]]
            out[first:last] = (
                csr_array((own, rows, starts - starts[0]), shape=(last - first, len(table))) @ table
            )
        return out

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of all tokens."""
        mean = self.combine(np.full(self.starts[-1], 1 / self.starts[-1])).sum(axis=0)
        second = np.zeros((self.width, self.width))
        for _, _, table, rows in self.blocks():
            second += ((table - mean) * np.bincount(rows, minlength=len(table))[:, None]).T @ (table - mean)
        return mean, second / self.starts[-1]


def whitening(data: TokenSequences, whiten: Any, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre c and symmetric matrix S: a token x becomes S(x − c)."""
    data.project(np.zeros(data.width))  # refuses nan and infinity
    if isinstance(whiten, bool | np.bool_) and not whiten:
        return np.zeros(data.width), np.eye(data.width)
    mean, covariance = data.moments()
    values, vectors = (
        (np.diag(covariance), np.eye(data.width)) if isinstance(whiten, str) else np.linalg.eigh(covariance)
    )
    values = (1 - shrinkage) * values + shrinkage * values.mean()
    kept = values > 1e-12 * max(values.max(), 1e-300)  # nothing varies along the others
    return mean, (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
