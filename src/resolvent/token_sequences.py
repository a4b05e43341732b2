"""Token sequences of any form, padded, ragged or ids of a table, a block at a time; and their whitening.

The one rule for weights over T positions and sequences of any length: a token's position is its index among the real
tokens of its sequence, whichever side is padded; tokens beyond position T take the weight of position T; the weighted
sum is divided by the sum of |w| over the tokens present, relative to that over all T (so that weights of sum one stay
so); a sequence whose present weights are all zero is pooled uniformly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["Panels", "Ragged", "SequenceError", "TokenSequences", "boolean", "whitening"]

BLOCK = 2**22  # entries of the tokens in hand: 32 MiB
LEAST = "X must hold at least one token in each sample, got"


class SequenceError(ValueError):
    """A message that ends with the number of the sequence that is wrong."""

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.args[1]

    def __str__(self) -> str:
        return f"{self.args[0]} {self.args[1]}"


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences in a row, without an object for each: sequence i is values[offsets[i]:offsets[i + 1]].

    Parameters
    ----------
    values : array, shape (tokens,) or (tokens, d)
        Ids, or vectors.
    offsets : array of int, shape (n + 1,)
        Where sequences begin; the last one ends at the last of them.

    Examples
    --------
    >>> Ragged.of([np.arange(3), np.arange(2)])
    Ragged(values=array([0, 1, 2, 0, 1]), offsets=array([0, 3, 5]))
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        offsets = self.offsets
        good = offsets.ndim == 1 and offsets.size and offsets.dtype.kind in "iu" and offsets[0] >= 0
        if not good or (np.diff(offsets) < 0).any() or offsets[-1] > len(self.values):
            raise ValueError(f"offsets must rise from 0 to at most {len(self.values)}, got {offsets}")

    @classmethod
    def of(cls, rows: list[np.ndarray]) -> Ragged:
        """From an array for each sequence."""
        full = [row for row in rows if len(row)] or rows or [np.empty(0, dtype=int)]  # [] would be of floats
        return cls(np.concatenate(full), np.r_[0, np.cumsum([len(row) for row in rows], dtype=int)])

    @classmethod
    def joined(cls, parts: list[Ragged]) -> Ragged:
        """One after another."""
        lengths = [np.diff(part.offsets) for part in parts]
        values = [part.values[part.offsets[0] : part.offsets[-1]] for part in parts]
        return cls(np.concatenate(values), np.r_[0, np.cumsum(np.concatenate(lengths))])

    def __len__(self) -> int:
        return self.offsets.size - 1


class TokenSequences:
    """Tokens in a row, whatever form X had: sequence i is tokens starts[i] … starts[i+1] − 1."""

    def __init__(self, X: Any, mask: Any, table: Any, dtype: Any = float) -> None:
        X = X if isinstance(X, list | tuple | Ragged) else _array(X)
        ragged = not isinstance(X, np.ndarray) or (X.dtype == object and X.ndim == 1)
        if isinstance(X, Ragged):
            parts = [X.values[X.offsets[0] : X.offsets[-1]]]
        else:
            parts = [_array(x) for x in X] if ragged else [X]
        self.whole = isinstance(X, Ragged)  # all tokens are in one part already
        depth = (1 if table is not None else 2) + (not ragged)
        empty = next((i for i, part in enumerate(parts) if ragged and part.shape == (0,)), None)
        if empty is not None and len(parts) > 1:  # whatever type it has
            raise SequenceError(f"{LEAST} none in sample", empty)
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
        self.parts, self.real, self.dtype = parts, None, dtype
        self.names: np.ndarray | None = None  # ids of the table's rows, where only some are held
        if ragged and mask is not None:
            raise ValueError("mask must be None where X is a sequence of arrays, which hold no padding")
        if not ragged:
            shape = parts[0].shape[:2]
            real = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask)
            if real.shape != shape:
                raise ValueError(f"mask must be boolean and of shape {shape}, as X, got {real.shape}")
            self.real = boolean(real)
            self.padless = mask is None or bool(self.real.all())
        if isinstance(X, Ragged):
            self.lengths = np.diff(X.offsets)
        elif self.real is None:
            self.lengths = np.array([len(p) for p in parts])
        else:
            self.lengths = self.real.sum(axis=1)
        self.n = self.lengths.size
        if not self.n:
            raise ValueError(f"{LEAST} no sample")
        if not self.lengths.min():
            raise SequenceError(f"{LEAST} none in sample", int(self.lengths.argmin()))
        self.starts = np.r_[0, np.cumsum(self.lengths)]
        self.table = None
        widths = {part.shape[-1] for part in parts}
        if table is not None:
            ids = self._tokens(0, self.n)
            table = table if isinstance(table, Panels) else np.asarray(table)
            if table.ndim != 2 or table.dtype.kind not in "iuf":
                raise ValueError(
                    f"table must be of shape (V, d), of numbers, got {table.shape} of {table.dtype}"
                )
            if ids.min() < 0 or ids.max() >= len(table):
                place = int(np.flatnonzero((ids < 0) | (ids >= len(table)))[0])
                got = f"got {ids.min()} to {ids.max()}, first in sequence"
                raise SequenceError(f"X must hold ids from 0 to {len(table) - 1}, {got}", self._at(place))
            if ids.dtype not in (np.int32, np.int64) or self.starts[-1] >= 2**31:
                # sparse matrices take no other kind, nor one that does not hold the number of tokens
                ids = ids.astype(np.int32 if max(len(table), self.starts[-1]) < 2**31 else np.int64)
            if isinstance(table, Panels):
                pass
            elif len(table) > ids.size:  # do not copy what no token needs
                used, ids = np.unique(ids, return_inverse=True)
                self.names, table = used, _typed(table[used], dtype)
            else:
                table = _typed(table, dtype)
            self.ids, self.table, widths = ids, table, {table.shape[1]}
        if len(widths) > 1 or not min(widths):
            raise ValueError(f"X must have one number >= 1 of features for all tokens, got {sorted(widths)}")
        self.width = widths.pop()
        marks = np.arange(0, self.starts[-1], max(1, BLOCK // self.width))
        self.edges = np.unique(np.r_[np.searchsorted(self.starts, marks, side="right") - 1, self.n])

    def _at(self, token: int) -> int:
        """The sequence that a token is of."""
        return int(np.searchsorted(self.starts, token, side="right")) - 1

    def _tokens(self, first: int, last: int) -> np.ndarray:
        if self.whole:
            return self.parts[0][self.starts[first] : self.starts[last]]
        if self.real is None:
            return np.concatenate(self.parts[first:last])
        part = self.parts[0][first:last]
        return part.reshape(-1, *part.shape[2:]) if self.padless else part[self.real[first:last]]

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """(first, last, table, rows): tokens of sequences first … last − 1 are those rows of that table."""
        if self.table is not None:
            yield 0, self.n, self.table, self.ids
            return
        for first, last in pairwise(self.edges):
            tokens = _typed(self._tokens(first, last), self.dtype)
            yield first, last, tokens, np.arange(len(tokens))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the tokens of each sequence, shape (n,)."""
        return np.add.reduceat(values, self.starts[:-1])

    def softmax(self, scores: np.ndarray) -> np.ndarray:
        a = np.exp(scores - np.repeat(np.maximum.reduceat(scores, self.starts[:-1]), self.lengths))
        return a / np.repeat(self.sums(a), self.lengths)

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Products of all tokens with a vector, or with each column of a matrix."""
        out = np.concatenate([(table @ vector)[rows] for _, _, table, rows in self.blocks()])
        bad = np.flatnonzero(~np.isfinite(out).reshape(len(out), -1).all(axis=1))
        if bad.size:
            least = "X must be finite wherever there is a token, got nan or infinity in sample"
            raise SequenceError(least, self._at(bad[0]))
        return out

    def combine(self, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of the tokens of each sequence, shape (n, d)."""
        from scipy.sparse import csr_array

        parts = []
        for first, last, table, rows in self.blocks():
            starts = self.starts[first : last + 1]
            own = weights[starts[0] : starts[-1]].astype(table.dtype, copy=False)
            starts = (starts - starts[0]).astype(rows.dtype, copy=False)
            chosen = csr_array((own, rows, starts), shape=(last - first, len(table)))
            parts.append(table.under(chosen) if isinstance(table, Panels) else chosen @ table)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def weights(self, w: np.ndarray) -> np.ndarray:
        """Weights of all tokens from weights over positions, by the one rule for lengths."""
        if (self.lengths == w.size).all():
            return np.tile(w, self.n)
        place = np.arange(self.starts[-1]) - np.repeat(self.starts[:-1], self.lengths)
        own = w[np.minimum(place, w.size - 1)]
        held = self.sums(np.abs(own))
        own = np.where(np.repeat(held, self.lengths) > 0, own, 1.0)
        held = np.where(held > 0, held, self.lengths)
        return own * np.repeat(np.abs(w).sum() / held, self.lengths)

    def counts(self, vocabulary: int) -> np.ndarray:
        """How often each id occurs, shape (vocabulary,)."""
        if self.table is None:
            raise ValueError("X must be ids, with a table, for tokens to be counted, got token vectors")
        ids = self.ids if self.names is None else self.names[self.ids]
        if ids.max() >= vocabulary:
            raise ValueError(f"vocabulary must be above all ids, got {vocabulary} and id {ids.max()}")
        return np.bincount(ids, minlength=vocabulary)

    def first(self, which: np.ndarray, length: int) -> TokenSequences:
        """The first tokens of some sequences, all of which must have so many."""
        place = self.starts[which][:, None] + np.arange(length)
        if self.table is not None:
            return TokenSequences(self.ids[place], None, self.table, self.dtype)
        return TokenSequences(self._tokens(0, self.n)[place], None, None, self.dtype)

    def subset(self, which: np.ndarray) -> TokenSequences:
        """Some of the sequences."""
        if self.table is not None:
            chosen = [self.ids[a:b] for a, b in zip(self.starts[which], self.starts[which + 1])]
            whole = (self.lengths[which] == self.lengths[which[0]]).all()
            return TokenSequences(np.array(chosen) if whole else chosen, None, self.table, self.dtype)
        if self.real is None:
            return TokenSequences([self._tokens(i, i + 1) for i in which], None, None, self.dtype)
        mask = None if self.padless else self.real[which]
        return TokenSequences(self.parts[0][which], mask, None, self.dtype)

    def prefixes(self, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(which, x): the first tokens, shape (length, b, d), of the sequences that have so many."""
        for first, last, table, rows in self.blocks():
            full = first + np.flatnonzero(self.lengths[first:last] >= length)
            step = max(1, BLOCK // (length * self.width))
            for i in range(0, full.size, step):
                chosen = full[i : i + step]
                yield (
                    chosen,
                    table[rows[self.starts[chosen] - self.starts[first] + np.arange(length)[:, None]]],
                )

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of all tokens."""
        mean = self.combine(np.full(self.starts[-1], 1 / self.starts[-1])).sum(axis=0)
        second = np.zeros((self.width, self.width))
        for _, _, table, rows in self.blocks():
            second += ((table - mean) * np.bincount(rows, minlength=len(table))[:, None]).T @ (table - mean)
        return mean, second / self.starts[-1]


class Panels:
    """A table for many products with sparse matrices, stored as panels of columns that stay in cache: twice as fast."""

    WIDTH = 96

    def __init__(self, table: np.ndarray) -> None:
        self.rows = _typed(np.asarray(table), None)
        self.ndim, self.shape, self.dtype = self.rows.ndim, self.rows.shape, self.rows.dtype
        if self.ndim != 2 or self.dtype.kind != "f":
            raise ValueError(f"table must be of shape (V, d), of numbers, got {self.shape} of {self.dtype}")
        d = self.shape[1]
        cuts = np.linspace(0, d, max(1, round(d / self.WIDTH)) + 1).astype(int)
        self.cuts = cuts[:-1].tolist()
        self.panels = [np.ascontiguousarray(self.rows[:, a:b]) for a, b in pairwise(cuts)]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.rows[rows]

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        return self.rows @ other

    def under(self, sparse: Any) -> np.ndarray:
        """Product of a sparse matrix with the table."""
        out = np.empty((sparse.shape[0], self.shape[1]), dtype=np.result_type(sparse.dtype, self.dtype))
        for panel, a in zip(self.panels, self.cuts):
            out[:, a : a + panel.shape[1]] = sparse @ panel
        return out


def boolean(mask: np.ndarray, name: str = "mask") -> np.ndarray:
    """A mask of whatever type as a boolean one; one to be added to scores would mean the opposite."""
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        other = mask[~np.isin(mask, (0, 1))].flat[0]
        raise ValueError(f"{name} must be boolean, or zeros and ones, got {other}")
    return mask.astype(bool, copy=False)


def _array(x: Any) -> np.ndarray:
    try:
        return np.asarray(x)
    except (TypeError, RuntimeError) as error:  # of PyTorch: bfloat16, gradients, another device
        raise ValueError(
            f"X must be of arrays that NumPy can take over, got {type(x).__name__}: {error}"
        ) from error


def _typed(x: np.ndarray, dtype: Any) -> np.ndarray:
    """As `dtype`; None keeps single and double precision (half is too coarse to sum in), in the machine's byte order."""
    if dtype is None:
        dtype = np.float32 if x.dtype.kind == "f" and x.dtype.itemsize <= 4 else np.float64
    return x.astype(dtype, copy=False)


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
