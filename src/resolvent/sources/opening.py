"""Find out what kind of source one has, and open it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from resolvent.arguments import natural
from resolvent.sources.arrays import of_arrays
from resolvent.sources.columns import ColumnError, Columns, plan, sequences
from resolvent.sources.shards import (
    BATCH,
    WHOLE,
    Batch,
    DamagedError,
    Shard,
    Source,
    digest,
    file_stamp,
    unreadable,
)
from resolvent.sources.streams import Stream

__all__ = ["batches", "open_source"]

FILES = (".npy", ".parquet", ".arrow", ".feather")


def batches(source: Any, **options: Any) -> Iterator[Batch]:
    """Batches of a source; see `open_source` for what that may be, and for the options.

    Examples
    --------
    >>> [batch.X.shape for batch in batches(np.zeros((5, 2), dtype=int), batch_size=3)]
    [(3, 2), (2, 2)]
    """
    return iter(open_source(source, **options))


def open_source(
    source: Any,
    *,
    mask: Any = None,
    labels: Any = None,
    column: str | None = None,
    batch_size: int | None = None,
    shard_size: int | None = None,
    skip_damaged: bool = False,
) -> Source:
    """Token sequences from wherever they are.

    Parameters
    ----------
    source : object
        An array of ids (n, L) or token vectors (n, L, d), in memory, memory-mapped or in zarr, or a list of such of
        one sequence each (ragged); a path, or list of paths, of ``.npy``, ``.parquet``, ``.arrow`` or ``.feather``
        files, of folders of them or of zarr arrays; a Hugging Face ``Dataset`` or ``IterableDataset``; an Arrow
        table or dataset; one mapping from names of columns, as tokenizers return it; or any other iterable of
        batches: arrays, (X, mask), (X, mask, labels), such mappings or Arrow batches.
    mask, labels : array or str, optional
        For arrays, arrays; else names of columns (by default ``attention_mask``, and ``labels`` or ``label`` where
        those are whole numbers).
    column : str, optional
        Of the tokens; by default ``input_ids``, or the only column of lists of numbers.
    batch_size : int, optional
        Sequences a batch; by default 8192, fewer of long token vectors.
    shard_size : int, optional
        Sequences a shard, about; by default four batches.
    skip_damaged : bool, default False
        Leave out files that are damaged or gone, and list them in ``skipped``. A missing package, too little memory
        or an error in a program is raised as it is.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If the source is of no such kind, a file is damaged (it is named), or a column is missing.

    Examples
    --------
    >>> open_source(iter([np.zeros((5, 2), dtype=int), np.zeros((3, 2), dtype=int)])).stream
    True
    """
    if isinstance(source, Source):
        options = {"mask": mask, "labels": labels, "column": column}
        options |= {"batch_size": batch_size, "shard_size": shard_size}
        for word, value in options.items():
            if value is not None:
                raise ValueError(f"{word} must be None where source is open already: give it to open_source")
        return source
    size = None if batch_size is None else natural("batch_size", batch_size)
    part = None if shard_size is None else natural("shard_size", shard_size)
    module = type(source).__module__.partition(".")[0]
    if isinstance(source, str | Path):
        source = [source]
    if isinstance(source, list) and source and all(isinstance(item, str | Path) for item in source):
        return _files(source, Columns(column, mask, labels), size, part, skip_damaged)
    if module == "datasets":
        return _hugging(source, Columns(column, mask, labels), size or BATCH, part)
    if hasattr(source, "schema") and hasattr(source, "to_batches"):  # a table or dataset of Arrow
        source = source.to_batches()
    if isinstance(source, Mapping) or hasattr(source, "num_rows"):
        source = [source]  # one batch
    # a list of tuples, mappings or tables is one of batches
    if isinstance(source, list) and not any(
        isinstance(item, tuple | Mapping) or hasattr(item, "num_rows") for item in source
    ):
        return of_arrays("source", source, mask, labels, size, part)
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return of_arrays("source", source, mask, labels, size, part)
    if not isinstance(source, Iterable) or hasattr(
        source, "iloc"
    ):  # a data frame would give its columns' names
        raise ValueError(
            f"source must be arrays, paths, a dataset or an iterable of batches, got {type(source).__name__}"
        )
    return Source("source", Stream(source, Columns(column, mask, labels), size), stream=True)


def _files(
    given: list[str | Path], columns: Columns, size: int | None, part: int | None, skip: bool
) -> Source:
    shards, skipped = list[Shard](), list[str]()
    paths = _expanded(given)
    whole = sum(path.stat().st_size for path in paths if path.suffix == ".npy") <= WHOLE
    for path in paths:
        try:
            shards += _file(path, columns, size, part, whole)
        except DamagedError as error:
            if not skip:
                raise
            skipped.append(str(error))
    count = sum(shard.count for shard in shards)
    return Source(", ".join(map(str, given[:3])), shards, count, skipped=tuple(skipped))


def _expanded(given: list[str | Path]) -> list[Path]:
    out = list[Path]()
    for path in map(Path, given):
        if path.is_dir() and not _is_zarr(path):
            found = sorted(p for p in path.rglob("*") if p.suffix in FILES or _is_zarr(p))
            if not found:
                raise ValueError(f"source {str(path)!r} must hold files of {', '.join(FILES)} or zarr arrays")
            out += found
        elif not path.exists() or (path.is_file() and path.suffix not in FILES):
            raise ValueError(
                f"source must be files of {', '.join(FILES)}, folders or zarr arrays, got {str(path)!r}"
                + ("" if path.exists() else ", which does not exist")
            )
        else:
            out.append(path)
    return out


def _is_zarr(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path / ".zarray").is_file()


def _file(path: Path, columns: Columns, size: int | None, part: int | None, whole: bool) -> list[Shard]:
    name = repr(str(path))
    try:
        if path.suffix == ".npy":
            return list(of_arrays(name, _npy(path), None, None, size, part, whole).split())
        if path.is_dir():
            return list(of_arrays(name, _zarr(path), None, None, size, part).split())
        rows = part or 4 * (size or BATCH)
        return [Shard(name, a, n, groups, size or BATCH) for a, n, groups in plan(path, columns, rows)]
    except ColumnError:
        raise
    except Exception as error:
        if not unreadable(error):
            raise
        raise DamagedError(f"{name} cannot be read: {error}") from error


def _npy(path: Path) -> np.memmap:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (TokenError, TypeError) as error:  # of a damaged header, which is parsed as Python
        raise ValueError(f"no header: {error}") from error


def _zarr(path: Path) -> Any:
    import zarr

    try:
        return zarr.open_array(str(path), mode="r")
    except (
        AttributeError,
        KeyError,
        TypeError,
    ) as error:  # of damaged metadata, which zarr takes as they are
        raise ValueError(f"no metadata of an array: {error!r}") from error


@dataclass(frozen=True, eq=False)
class _Hugging:
    """Rows of a Hugging Face dataset."""

    data: Any
    columns: Columns
    whole: bool = False  # to be described by all tokens

    def read(self, size: int) -> Iterator[tuple[Any, Any, Any]]:
        for table in self.data.with_format("arrow").iter(size):
            X, y = sequences(table, self.columns)
            yield X, None, y

    @property
    def description(self) -> str:
        if not hasattr(self.data, "__len__"):
            return f"shard of {self.data.column_names}"
        n = len(self.data)
        rows = range(n) if self.whole else range(0, n, -(-n // 64))
        files = [] if self.whole else [file_stamp(one["filename"]) for one in self.data.cache_files]
        parts = sequences(self.data.select(rows).with_format("arrow")[:], self.columns)
        return " ".join([f"{n}", *files, *(digest(x) for x in parts if x is not None)])


def _hugging(data: Any, columns: Columns, size: int, part: int | None) -> Source:
    if isinstance(data, dict):
        raise ValueError(f"source must be one split of the datasets, got {', '.join(data)}")
    if hasattr(data, "__len__"):
        n, part = len(data), part or 4 * size
        columns.of(data.features.arrow_schema)
        whole = not data.cache_files or data.data.nbytes <= WHOLE
        data = data.select_columns(columns.select(data.features.arrow_schema))
        shards = [
            Shard(
                "source",
                a,
                min(part, n - a),
                _Hugging(data.select(range(a, min(a + part, n))), columns, whole),
                size,
            )
            for a in range(0, n, part)
        ]
        return Source("source", shards, n)
    if data.num_shards == 1:
        return Source("source", Stream(data.with_format("arrow").iter(size), columns, size), stream=True)
    shards = [
        Shard(f"source, shard {i}", 0, -1, _Hugging(data.shard(data.num_shards, i), columns), size)
        for i in range(data.num_shards)
    ]
    return Source("source", shards)
