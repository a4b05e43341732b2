"""Token sequences in arrays, in memory or mapped from files, or whatever else can be sliced, such as zarr."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resolvent.sources.shards import BATCH, NUMBERS, WHOLE, Shard, Source, digest, file_stamp

__all__ = ["Mapped", "of_arrays", "size_of"]


@dataclass(frozen=True, eq=False)
class Mapped:
    """Rows of a memory-mapped file: mapped where they are read, and let go again."""

    path: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: Any) -> Any:
        """A mapped array as such, and anything else as it is."""
        if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
            return np.asarray(array) if isinstance(array, np.memmap) else array
        start = np.frombuffer(array._mmap, dtype=np.uint8).ctypes.data  # type: ignore[attr-defined]
        # a slice keeps the offset of the whole: count from where the mapping begins
        begins = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        offset = begins + array.ctypes.data - start
        return cls(str(array.filename), array.dtype, offset, array.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.shape[0])
        step = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        return np.memmap(
            self.path, self.dtype, "r", self.offset + first * step, (last - first, *self.shape[1:])
        )

    def stamp(self, values: np.ndarray, whole: bool) -> str:
        """A digest of values from here: of all of them, else of some with the file's size and time."""
        return digest(values) if whole else f"{file_stamp(self.path)} {digest(values, whole=False)}"


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows first … first + count − 1 of arrays; those in memory are cut to these rows."""

    arrays: tuple[Any, Any, Any]  # X, mask, labels
    first: int
    count: int
    whole: bool  # to be described by all their bytes, where they are not in memory

    @classmethod
    def cut(cls, arrays: tuple[Any, Any, Any], first: int, count: int, whole: bool) -> _Rows:
        if all(x is None or isinstance(x, np.ndarray | list) for x in arrays):
            held = tuple(None if x is None else x[first : first + count] for x in arrays)
            return cls(held, 0, count, whole)  # type: ignore[arg-type]
        return cls(arrays, first, count, whole)

    def read(self, size: int) -> Iterator[tuple[Any, Any, Any]]:
        for i in range(self.first, self.first + self.count, size):
            rows = slice(i, min(i + size, self.first + self.count))
            parts = [None if x is None else x[rows] for x in self.arrays]
            X, mask, labels = (
                x if x is None or isinstance(x, np.ndarray | list) else np.asarray(x) for x in parts
            )
            yield X, mask, labels

    @property
    def description(self) -> str:
        return " ".join(self._described(x) for x in self.arrays if x is not None)

    def _described(self, x: Any) -> str:
        rows = slice(self.first, self.first + self.count)
        if isinstance(x, Mapped):
            return f"{Path(x.path).name} {x.dtype} {x.offset} {x.stamp(x[rows], self.whole)}"
        if isinstance(x, np.ndarray | list):
            return digest(x[rows])
        rows = rows if self.whole else slice(self.first, self.first + 1)
        return f"{getattr(x, 'dtype', '')} {self.first} {digest(np.asarray(x[rows]))}"


def size_of(x: Any) -> int:
    """Bytes of an array that need not be in memory."""
    return int(np.prod(x.shape, dtype=np.int64)) * getattr(x.dtype, "itemsize", 8)


def of_arrays(
    name: str, X: Any, mask: Any, labels: Any, size: int | None, part: int | None, whole: bool | None = None
) -> Source:
    ragged = isinstance(X, list)
    if not ragged and len(X.shape) < 2:
        raise ValueError(f"{name} must be of shape (n, L) or (n, L, d), got {tuple(X.shape)}")
    n = len(X) if ragged else int(X.shape[0])
    for word, value in (("mask", mask), ("labels", labels)):
        if value is not None and (isinstance(value, str) or len(value) != n):
            got = repr(value) if isinstance(value, str) else f"{len(value)}"
            raise ValueError(f"{word} must hold one entry for each of {n} sequences, got {got}")
    labels = None if labels is None else np.asarray(labels)
    row = np.asarray(X[0]).size if ragged and n else int(np.prod(X.shape[1:])) if not ragged else 1
    given, size = size is not None, size or max(1, min(BATCH, NUMBERS // max(row, 1)))
    part = part or 4 * size
    chunks, shards = getattr(X, "chunks", None), getattr(X, "shards", None)
    if chunks and isinstance(chunks[0], int):  # of zarr: each is read once
        size = size if given else max(1, size // chunks[0]) * chunks[0]
        stored = (shards or chunks)[0]
        part = -(-max(part, size) // stored) * stored
    arrays = (Mapped.of(X), Mapped.of(mask), labels)
    if whole is None:
        whole = sum(size_of(x) for x in (X, mask) if hasattr(x, "dtype")) <= WHOLE
    shards = [
        Shard(name, a, min(part, n - a), _Rows.cut(arrays, a, min(part, n - a), whole), size)
        for a in range(0, n, part)
    ]
    return Source(name, shards, n)
