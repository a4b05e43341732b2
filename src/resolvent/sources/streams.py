"""Token sequences that come a batch after another, from any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.sources.columns import ColumnError, Columns, sequences
from resolvent.sources.shards import BATCH, NUMBERS, Batch, Shard, digest
from resolvent.token_sequences import Ragged, boolean

__all__ = ["Stream"]


@dataclass(frozen=True, eq=False)
class _Held:
    """One batch."""

    batch: Batch

    def read(self, size: int) -> Iterator[Batch]:
        yield self.batch

    @property
    def description(self) -> str:
        return " ".join(digest(x) for x in self.batch if x is not None)


@dataclass(frozen=True, eq=False)
class Stream:
    """Shards in memory of batches that come one after another, small ones put together."""

    items: Iterable[Any]
    columns: Columns
    size: int | None

    def __iter__(self) -> Iterator[Shard]:
        held, first, count, numbers = list[Batch](), 0, 0, 0
        for item in self.items:
            batch = _flattened(item, self.columns)
            if not batch.n:
                continue
            if held and type(batch.X) is not type(held[0].X):
                raise ValueError("source must hold batches of one kind, got tokens and pooled vectors")
            held.append(batch)
            count += batch.n
            numbers += (batch.X.values if isinstance(batch.X, Ragged) else batch.X).size
            if count >= (self.size or BATCH) or (self.size is None and numbers >= NUMBERS):
                yield Shard("source", first, count, _Held(_joined(held)), count)
                held, first, count, numbers = [], first + count, 0, 0
        if count:
            yield Shard("source", first, count, _Held(_joined(held)), count)


def _flattened(item: Any, columns: Columns) -> Batch:
    """A batch without padding."""
    mask = labels = None
    if hasattr(item, "schema") and hasattr(item, "num_rows"):
        X, labels = sequences(item, columns)
        return Batch(X, None, labels)
    if hasattr(item, "keys"):
        named = {"tokens": columns.tokens or "input_ids", "mask": columns.mask, "labels": columns.labels}
        for word, name in named.items():
            if name is not None and name not in item:
                raise ColumnError(f"batches must hold {word} in {name!r}, got {', '.join(map(str, item))}")
        X, mask = item[named["tokens"]], item.get(columns.mask or "attention_mask")
        labels = item.get(columns.labels) if columns.labels else item.get("labels", item.get("label"))
        if labels is not None:
            labels = np.asarray(labels)
            labels = labels if columns.labels or (labels.ndim == 1 and labels.dtype.kind in "iu") else None
    elif isinstance(item, tuple):
        if len(item) not in (2, 3):
            raise ValueError(f"batches must be X, (X, mask) or (X, mask, labels), got {len(item)} parts")
        X, mask, labels = (*item, None)[:3]
    else:
        X = item
    if labels is not None and np.shape(labels) != (len(X),):
        raise ValueError(f"labels must be one for each of {len(X)} sequences, got shape {np.shape(labels)}")
    labels = None if labels is None else np.asarray(labels)
    rows = [np.asarray(row) for row in X] if isinstance(X, list) else None
    if rows is not None and (len({row.shape for row in rows}) > 1 or not rows):
        return Batch(Ragged.of(rows if mask is None else _real(rows, mask)), None, labels)
    x = np.asarray(X if rows is None else rows)
    if x.ndim == 2 and x.dtype.kind == "f":  # pooled
        return Batch(x, None, labels)
    if x.ndim not in (2, 3):
        raise ValueError(f"batches must be of shape (n, L) or (n, L, d), got {x.shape}")
    lengths = np.full(len(x), x.shape[1])
    flat = x.reshape(-1, *x.shape[2:])
    if mask is not None:
        real = np.asarray(mask)
        if real.shape != x.shape[:2]:
            raise ValueError(f"mask must be of shape {x.shape[:2]}, as X, got {real.shape}")
        real = boolean(real)
        lengths, flat = real.sum(axis=1), x[real]
    return Batch(Ragged(flat, np.r_[0, np.cumsum(lengths)]), None, labels)


def _real(rows: list[np.ndarray], mask: Any) -> list[np.ndarray]:
    """Rows of several lengths without padding."""
    masks = [np.asarray(own) for own in mask]
    if [own.shape for own in masks] != [row.shape[:1] for row in rows]:
        raise ValueError("mask must be as long as X for each sequence, where these are of several lengths")
    return [row[boolean(own)] for row, own in zip(rows, masks)]


def _joined(held: list[Batch]) -> Batch:
    if len(held) == 1:
        return held[0]
    given = [batch.labels for batch in held if batch.labels is not None]
    labels = np.concatenate(given) if len(given) == len(held) else None
    if not isinstance(held[0].X, Ragged):
        return Batch(np.concatenate([batch.X for batch in held]), None, labels)
    return Batch(Ragged.joined([batch.X for batch in held]), None, labels)
