"""Token sequences in columns of Arrow tables: Parquet and Arrow files, and Hugging Face datasets.

Lists stay what they are in Arrow, numbers in a row with offsets: no Python object is made for a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resolvent.files import items_of
from resolvent.token_sequences import Ragged, SequenceError, boolean

__all__ = ["ColumnError", "Columns", "plan", "sequences"]


class ColumnError(ValueError):
    """A table without the columns that are asked for: nothing is damaged.

    Examples
    --------
    >>> import pyarrow as pa
    >>> Columns("tokens").of(pa.schema([("input_ids", pa.list_(pa.int32()))]))
    Traceback (most recent call last):
    resolvent.sources.columns.ColumnError: column must be one of input_ids in source, got 'tokens'
    """


@dataclass(frozen=True)
class Columns:
    """Names of the columns of tokens, mask and labels; None takes the usual names where they are.

    Parameters
    ----------
    tokens, mask, labels : str, optional

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"input_ids": [[3, 4], [5]], "label": [0, 1]})
    >>> Columns().of(table.schema)
    ('input_ids', None, 'label')
    """

    tokens: str | None = None
    mask: str | None = None
    labels: str | None = None

    def __post_init__(self) -> None:
        for word in ("tokens", "mask", "labels"):
            value = getattr(self, word)
            if value is not None and not isinstance(value, str):
                word = "column" if word == "tokens" else word
                raise ValueError(f"{word} must name a column of this source, got {type(value).__name__}")

    def of(self, schema: Any, name: str = "source") -> tuple[str, str | None, str | None]:
        """Those of a table."""
        lists = [f.name for f in schema if items_of(f.type) is not None and _is_number(items_of(f.type))]
        whole = [f.name for f in schema if _is_whole(f.type)]
        known = "attention_mask" if "attention_mask" in schema.names else None  # of another type: refused
        masks = [f.name for f in schema if items_of(f.type) is not None and _is_flag(items_of(f.type))]
        mask = self._known("mask", self.mask or known, [], masks, name, schema)
        labels = self._known("labels", self.labels, ["labels", "label"], whole, name, schema)
        others = [own for own in lists if own not in (mask, "attention_mask", "token_type_ids", "labels")]
        usual = ["input_ids"] if "input_ids" in others else others if len(others) == 1 else []
        tokens = self._known("column", self.tokens, usual, lists, name, schema)
        if tokens is None:
            raise ColumnError(
                f"{name} must hold lists of numbers in input_ids, or column must name one of "
                f"{', '.join(lists) or 'no column of lists of numbers'}"
            )
        return tokens, mask, labels

    def _known(
        self, word: str, given: str | None, usual: list[str], fit: list[str], name: str, schema: Any
    ) -> str | None:
        if given is None:
            return next((own for own in usual if own in fit), None)
        if given not in fit:
            kind = f" of {schema.field(given).type}" if given in schema.names else ""
            raise ColumnError(
                f"{word} must be one of {', '.join(fit) or 'no column'} in {name}, got {given!r}{kind}"
            )
        return given

    def select(self, schema: Any, name: str = "source") -> list[str]:
        """All that there are."""
        return [own for own in self.of(schema, name) if own is not None]


def sequences(table: Any, columns: Columns, name: str = "source") -> tuple[Any, Any]:
    """Tokens, without padding, and labels, of an Arrow table or record batch.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"input_ids": [[3, 4], [5, 0]], "attention_mask": [[1, 1], [1, 0]]})
    >>> sequences(table, Columns())[0]
    Ragged(values=array([3, 4, 5]), offsets=array([0, 2, 3]))
    """
    tokens, mask, labels = columns.of(table.schema, name)
    y = None
    if labels is not None:
        column = _one(table.column(labels))
        _no_nulls(column, labels)
        y = column.to_numpy(zero_copy_only=False)
    values, offsets = _flat(_one(table.column(tokens)), tokens)
    if mask is not None:
        real, own = _flat(_one(table.column(mask)), mask)
        lengths = np.diff(offsets)
        wrong = np.flatnonzero(np.diff(own) != lengths)
        if wrong.size:
            raise SequenceError(
                f"{mask} must be as long as {tokens}, which it is not in sequence", int(wrong[0])
            )
        values, real = values[offsets[0] : offsets[-1]], boolean(real[own[0] : own[-1]], mask)
        offsets = offsets - offsets[0]
        if not real.all():
            values, offsets = values[real], np.r_[0, np.cumsum(real)][offsets]
    return Ragged(values, offsets), y


def _one(column: Any) -> Any:
    """A column in one piece."""
    if hasattr(column, "num_chunks"):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return getattr(column, "storage", column)


def _flat(column: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in a row and offsets of a column of lists, as they are in memory."""
    import pyarrow as pa

    _no_nulls(column, name)
    column.validate(full=True)  # offsets of a damaged file may point anywhere
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        offsets, values = np.arange(len(column) + 1) * size, column.flatten()
    else:
        offsets, values = column.offsets.to_numpy(), column.values
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        inner, width = _flat(values, name)
        widths = np.diff(width)
        if widths.size and (widths != widths[0]).any():
            raise ValueError(
                f"column {name!r} must hold token vectors of one width, got {set(widths.tolist())}"
            )
        return inner[width[0] : width[-1]].reshape(len(values), -1), offsets
    if pa.types.is_fixed_size_list(values.type):
        width = values.type.list_size
        values = values.flatten()
        _no_nulls(values, name)
        return values.to_numpy().reshape(-1, width), offsets
    _no_nulls(values, name)
    return values.to_numpy(zero_copy_only=False), offsets  # which copies flags alone


def _no_nulls(column: Any, name: str) -> None:
    if column.null_count:
        raise ValueError(f"column {name!r} must not hold nulls, got {column.null_count}")


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    inner = items_of(kind)
    return pa.types.is_integer(kind) if inner is None else pa.types.is_floating(inner)


def _is_whole(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind)


def _is_flag(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_boolean(kind) or pa.types.is_integer(kind)


@dataclass(frozen=True)
class _Groups:
    """Row groups, or record batches, of one file."""

    path: Path
    bytes: int
    changed: int
    first: int
    last: int
    columns: Columns

    def read(self, size: int) -> Iterator[tuple[Any, Any, Any]]:
        for batch in _tables(self.path, range(self.first, self.last), size, self.columns):
            X, y = sequences(batch, self.columns, repr(str(self.path)))
            yield X, None, y

    @property
    def description(self) -> str:
        return f"{self.path.name} {self.bytes} {self.changed} {self.first} {self.last} {self.columns}"


def plan(path: Path, columns: Columns, size: int) -> Iterator[tuple[int, int, _Groups]]:
    """(first row, rows, where) of parts of a Parquet or Arrow file of about `size` rows."""
    counts = _parquet_rows(path, columns) if path.suffix == ".parquet" else _arrow_rows(path, columns)
    file = path.stat()
    begin = first = rows = 0
    for i, count in enumerate(counts):
        rows += count
        if rows and (rows >= size or i + 1 == len(counts)):
            yield first, rows, _Groups(path, file.st_size, file.st_mtime_ns, begin, i + 1, columns)
            begin, first, rows = i + 1, first + rows, 0


def _parquet_rows(path: Path, columns: Columns) -> list[int]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        columns.of(file.schema_arrow, repr(str(path)))
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def _arrow_rows(path: Path, columns: Columns) -> list[int]:
    schema, batches = _arrow(path)
    columns.of(schema, repr(str(path)))
    return [batch.num_rows for batch in batches]


def _tables(path: Path, groups: range, size: int, columns: Columns) -> Iterator[Any]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            names = columns.select(file.schema_arrow, repr(str(path)))
            yield from file.iter_batches(size, row_groups=list(groups), columns=names, use_threads=False)
        return
    schema, batches = _arrow(path, groups)
    names = columns.select(schema, repr(str(path)))
    for batch in batches:
        for i in range(0, batch.num_rows, size):
            yield batch.select(names).slice(i, size)


def _arrow(path: Path, groups: range | None = None) -> tuple[Any, Iterator[Any]]:
    """The schema, and some record batches, mapped into memory."""
    import pyarrow as pa

    source = pa.memory_map(str(path))
    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowInvalid:  # the streaming format goes by the same name
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema, (batch for i, batch in enumerate(stream) if groups is None or i in groups)
    chosen = range(reader.num_record_batches) if groups is None else groups
    return reader.schema, (reader.get_batch(i) for i in chosen)
