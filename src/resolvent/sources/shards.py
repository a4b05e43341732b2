"""Batches, shards and sources: what all kinds of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from resolvent.sources.columns import ColumnError
from resolvent.token_sequences import Ragged, SequenceError

__all__ = ["BATCH", "NUMBERS", "Batch", "DamagedError", "Shard", "Source", "digest"]

BATCH = 8192  # sequences: enough to make up for a merge of d x d sums
NUMBERS = 2**23  # of token vectors in a batch


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
    """A source that cannot be read.

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
        except Exception as error:  # whatever a damaged file makes a reader raise
            rows = f", sequences {self.first} to {self.first + self.count - 1}" if self.count > 0 else ""
            raise DamagedError(f"{self.name}{rows}, cannot be read: {error}") from error

    @property
    def description(self) -> str:
        """Tells these sequences from others, without reading them where they are in files."""
        return f"{self.first} {self.count} {self.size} {self.origin.description}"


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


def digest(values: Any) -> str:
    """Of arrays: their kind and size, and numbers here and there."""
    if isinstance(values, Ragged):
        return digest(values.values) + digest(values.offsets)
    if isinstance(values, list):
        rows = [digest(np.asarray(row)) for row in values[:: max(1, len(values) // 64)]]
        return f"{len(values)} {hashlib.sha256(''.join(rows).encode()).hexdigest()}"
    flat = values.reshape(-1)
    some = np.ascontiguousarray(flat[:: max(1, flat.size // 4096)])
    return f"{values.dtype} {values.shape} {hashlib.sha256(some.tobytes()).hexdigest()}"
