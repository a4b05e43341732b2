"""Batches, shards and sources: what all kinds of them share."""

from __future__ import annotations

import hashlib
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resolvent.sources.columns import ColumnError
from resolvent.token_sequences import Ragged, SequenceError

__all__ = [
    "BATCH",
    "NUMBERS",
    "WHOLE",
    "Batch",
    "DamagedError",
    "Shard",
    "Source",
    "digest",
    "file_stamp",
    "unreadable",
]

BATCH = 8192  # sequences: enough to make up for a merge of d x d sums
NUMBERS = 2**23  # of token vectors in a batch
WHOLE = 2**32  # bytes that are not in memory and yet read once more for a digest: two to four seconds
SOME = 4096  # numbers of a larger array
BLOCK = 2**24  # bytes digested together


class Batch(NamedTuple):
    """Some sequences: ``moments.add(batch.X, mask=batch.mask, table=table, labels=batch.labels)``.

    Parameters
    ----------
    X : array, list of arrays or resolvent.token_sequences.Ragged
        Ids or vectors of tokens.
    mask : array, optional
        True where there is a token.
    labels : array of int, optional
        One class a sequence.

    Examples
    --------
    >>> Batch(np.zeros((3, 2), dtype=int)).n
    3
    """

    X: Any
    mask: Any = None
    labels: Any = None

    @property
    def n(self) -> int:
        """Sequences."""
        return len(self.X)


class DamagedError(ValueError):
    """A source that cannot be read: what its reader raised is `unreadable`.

    Examples
    --------
    >>> issubclass(DamagedError, ValueError)
    True
    """


@dataclass(frozen=True, eq=False)
class Shard:
    """Where some sequences lie; iterating reads them, a `Batch` at a time, and pickling takes none that are in files.

    Parameters
    ----------
    name : str
        Of the file or source, for messages.
    first : int
        Number of the first sequence there.
    count : int
        Sequences; -1 where that is not known before they are read.
    origin : object
        Reads them: ``origin.read(size)``.
    size : int
        Sequences a batch.

    Examples
    --------
    >>> from resolvent.sources import open_source
    >>> [(shard.first, shard.count) for shard in open_source(np.zeros((5, 2), dtype=int), shard_size=4).split()]
    [(0, 4), (4, 1)]
    """

    name: str
    first: int
    count: int
    origin: Any
    size: int

    def __iter__(self) -> Iterator[Batch]:
        """Raises `DamagedError` naming the source where it cannot be read."""
        try:
            for X, mask, labels in self.origin.read(self.size):
                yield Batch(X, mask, labels)
        except (ColumnError, SequenceError):
            raise
        except Exception as error:
            if not unreadable(error):
                raise
            rows = f", sequences {self.first} to {self.first + self.count - 1}" if self.count > 0 else ""
            raise DamagedError(f"{self.name}{rows}, cannot be read: {error}") from error

    @property
    def description(self) -> str:
        """Tells these sequences from others: by all their bytes, or where files are large by size, time and samples."""
        try:
            own = self.origin.description
        except Exception as error:
            if not unreadable(error):
                raise
            own = "unreadable"  # and left out where damaged shards are
        return f"{self.first} {self.count} {self.size} {own}"


@dataclass(frozen=True, eq=False)
class Source:
    """Sequences from anywhere, made by `open_source`; iterating gives batches, `split` gives shards.

    Parameters
    ----------
    name : str
        For messages.
    shards : iterable of Shard
        In order.
    count : int, optional
        Sequences, where known.
    stream : bool, default False
        Shards are read as one comes to them, and once.
    skipped : tuple of str
        What was damaged.

    Examples
    --------
    >>> from resolvent.sources import open_source
    >>> source = open_source(np.zeros((5, 2), dtype=int))
    >>> source.count, sum(batch.n for batch in source)
    (5, 5)
    """

    name: str
    shards: Iterable[Shard]
    count: int | None = None
    stream: bool = False
    skipped: tuple[str, ...] = ()

    def split(self) -> Iterator[Shard]:
        """Shards, in order."""
        return iter(self.shards)

    def __iter__(self) -> Iterator[Batch]:
        for shard in self.split():
            yield from shard


def unreadable(error: Exception) -> bool:
    """Whether a reader says that data are damaged or gone; a mistake in a program or too little memory is neither.

    Damaged zarr, Parquet, Arrow and NumPy files were tried: decoders raise plain RuntimeError.
    """
    if isinstance(error, MemoryError | ImportError | NotImplementedError):  # Arrow's own are both
        return False
    arrow = any((k.__module__, k.__name__) == ("pyarrow.lib", "ArrowException") for k in type(error).__mro__)
    kinds = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
    return arrow or type(error) is RuntimeError or isinstance(error, kinds)


def digest(values: Any, *, whole: bool = True) -> str:
    """Of arrays: their kind and size, and all bytes (1.8 GB/s where the processor knows SHA), or some numbers of one."""
    if isinstance(values, Ragged):
        first, last = values.offsets[0], values.offsets[-1]
        return digest(values.values[first:last]) + digest(values.offsets - first)
    found = hashlib.sha256()
    if isinstance(values, list):
        for row in map(np.asarray, values):
            found.update(f"{row.dtype} {row.shape}".encode())
            found.update(_bytes(row))
        return f"{len(values)} {found.hexdigest()}"
    if not whole:
        flat = values.reshape(-1)
        return f"some of {values.dtype} {values.shape} {digest(flat[:: max(1, flat.size // SOME)])}"
    step = max(1, BLOCK * len(values) // max(values.nbytes, 1))
    for i in range(0, len(values), step):
        found.update(_bytes(values[i : i + step]))
    return f"{values.dtype} {values.shape} {found.hexdigest()}"


def _bytes(values: np.ndarray) -> Any:
    if values.dtype.hasobject:  # whose bytes are addresses
        return repr(values.tolist()).encode()
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def file_stamp(path: str | Path) -> str:
    """Size and time of change."""
    there = os.stat(path)
    return f"{there.st_size} {there.st_mtime_ns}"
