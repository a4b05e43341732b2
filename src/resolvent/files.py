"""Matrices from files: tables of embeddings, and token ids. Pickled objects are never loaded."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read", "read_tokens"]

KINDS = {".npy": None, ".npz": "array", ".safetensors": "tensor", ".parquet": "column"}
KINDS |= {".arrow": "column", ".feather": "column"}
BLOCK = 1 << 22  # numbers looked at together: 32 MB as float64


def read(path: str | Path, *, tensor: str | None = None, column: str | None = None) -> np.ndarray:
    """Read a table from a ``.npy``, ``.npz``, ``.safetensors``, ``.parquet``, ``.arrow`` or ``.feather`` file.

    Parameters
    ----------
    path : path
        ``FILE``, or ``FILE:NAME`` with the name of an array (``.npz``), tensor (``.safetensors``) or column
        of lists (the others; they need pyarrow, ``pip install 'resolvent[parquet]'``).
    tensor : str, optional
        The name, for ``.npz`` and ``.safetensors``; by default the only matrix.
    column : str, optional
        The name, for ``.parquet``, ``.arrow`` and ``.feather``; by default the only column of lists of
        floats, one list a row. Without any such column the columns themselves form the matrix, and every
        one must be floating.

    Returns
    -------
    array, shape (rows, d)
        Floating, as stored (bfloat16 becomes float32). A ``.npy`` file is mapped into memory, read-only:
        it may be larger than memory.

    Raises
    ------
    ValueError
        If the file is missing, of another kind, damaged, or holds no such matrix, or if a number is not
        finite (the first such row is named).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "table.npy"
    ...     np.save(path, np.eye(3))
    ...     read(path).shape
    (3, 3)
    """
    path, table = _matrix(path, tensor, column, "f")
    if table.ndim != 2 or table.dtype.kind != "f" or min(table.shape) < 2:
        raise ValueError(
            f"{str(path)!r} must hold a real matrix of at least 2 rows and 2 columns, got {table.dtype} of shape "
            f"{table.shape}{_advice(table)}"
        )
    row = _first_row(table, lambda block: ~np.isfinite(block))
    if row is not None:
        raise ValueError(
            f"{str(path)!r} must hold finite numbers, got NaN or infinite entries, first in row {row} (from 0)"
        )
    return table


def read_tokens(path: str | Path, *, tensor: str | None = None, column: str | None = None) -> np.ndarray:
    """Read token ids, one sequence a row, from the kinds of file that `read` knows.

    Parameters
    ----------
    path, tensor, column
        As in `read`; columns hold whole numbers or lists of them.

    Returns
    -------
    array of int, shape (N, T)
        As stored; a ``.npy`` file is mapped into memory, read-only.

    Raises
    ------
    ValueError
        If the file is missing, of another kind, damaged, or holds no such matrix, or if an id is negative
        (the first such row is named).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "tokens.npz"
    ...     np.savez(path, tokens=[[0, 2, 0], [1, 1, 2]])
    ...     read_tokens(path)
    array([[0, 2, 0],
           [1, 1, 2]])
    """
    path, tokens = _matrix(path, tensor, column, "iu")
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or min(tokens.shape) < 1:
        raise ValueError(
            f"{str(path)!r} must hold whole numbers of shape (N, T), got {tokens.dtype} of shape {tokens.shape}"
        )
    row = _first_row(tokens, lambda block: block < 0)
    if row is not None:
        raise ValueError(
            f"{str(path)!r} must hold token ids >= 0, got a negative one, first in row {row} (from 0)"
        )
    return tokens


def _advice(table: np.ndarray) -> str:
    """What makes an array of another kind a matrix of embeddings."""
    if table.ndim == 3 and table.dtype.kind == "f":
        return ": pool the tokens first, as in x.mean(axis=1)"
    if table.ndim == 2 and table.dtype.kind in "iub":  # token ids would pass for a table
        return ": if these are no token ids, convert them with x.astype('float32')"
    return ""


class _RefusedError(ValueError):
    """Says all there is to say: not to be wrapped into "cannot be read"."""


def _matrix(given: str | Path, tensor: str | None, column: str | None, kinds: str) -> tuple[Path, np.ndarray]:
    name, colon, named = str(given).rpartition(":")
    member = None
    if colon and KINDS.get(Path(name).suffix) and tensor is None and column is None:
        given, member = name, named
    path = Path(given)
    if not path.is_file():
        kind = "the folder " if path.is_dir() else ""
        raise ValueError(f"path must be an existing file, got {kind}{str(path)!r}")
    if path.suffix not in KINDS:
        text = path.suffix in (".csv", ".tsv", ".txt")
        raise ValueError(
            f"path must end in {', '.join([*KINDS][:-1])} or {[*KINDS][-1]}, got {str(path)!r}"
            + (": read it with numpy.loadtxt or pandas and keep it with numpy.save" if text else "")
        )
    by_column = KINDS[path.suffix] == "column"
    for word, value, fits in (("tensor", tensor, not by_column), ("column", column, by_column)):
        if value is not None and (not fits or path.suffix == ".npy"):
            raise ValueError(
                f"{word} names no part of a {path.suffix} file, got {value!r} with {str(path)!r}"
            )
        member = member if value is None else value
    try:
        if path.suffix == ".npy":
            return path, _npy(path)
        if path.suffix == ".npz":
            return path, _npz(path, member)
        if path.suffix == ".safetensors":
            return path, _safetensors(path, member)
        return path, _columns(path, member, kinds)
    except _RefusedError:
        raise
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise ValueError(f"{str(path)!r} cannot be read as {path.suffix}: {error}") from error


def _first_row(matrix: np.ndarray, bad: Callable[[np.ndarray], np.ndarray]) -> int | None:
    """First row where `bad` holds, looked for block by block in the order of storage."""
    turned = matrix.flags.f_contiguous and not matrix.flags.c_contiguous
    lines = matrix.T if turned else matrix
    count, length = lines.shape
    step = max(1, BLOCK // length)
    firsts = []
    for i in range(0, count, step):
        flags = bad(_window(matrix, lines, i, min(step, count - i))).any(axis=0 if turned else 1)
        if flags.any():
            firsts.append(int(flags.argmax()) + (0 if turned else i))
            if not turned:
                break
    return min(firsts, default=None)


def _window(matrix: np.ndarray, lines: np.ndarray, start: int, count: int) -> np.ndarray:
    """Some lines, mapped for themselves where the matrix is: what was looked at leaves memory again."""
    if not isinstance(matrix, np.memmap) or matrix.filename is None:
        return lines[start : start + count]
    length = lines.shape[1]
    offset = matrix.offset + start * length * matrix.itemsize
    return np.memmap(matrix.filename, matrix.dtype, "r", offset, (count, length))


def _npy(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        # NumPy speaks of memory maps here, of which users know nothing
        if "Python objects" in str(error):
            raise ValueError(
                "it holds Python objects, which are never loaded: save an array of numbers, of rows of one length"
            ) from error
        if "mmap length" in str(error):
            raise ValueError("it ends before its array does") from error
        raise


def read_npy(path: Path) -> np.ndarray:
    """Read one ``.npy`` file, and nothing that looks like one: pickled objects are never loaded."""
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _chosen(path: Path, word: str, given: str | None, names: list[str], matrices: list[str]) -> str:
    if given is None and len(matrices) != 1:
        raise _RefusedError(
            f"{word} must name one of the matrices in {str(path)!r}: {', '.join(sorted(matrices)) or 'none there'}"
        )
    if given is not None and given not in names:
        raise _RefusedError(f"{word} must be one of {', '.join(sorted(names))}, got {given!r}")
    return matrices[0] if given is None else given


def _npz(path: Path, member: str | None) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        matrices = names
        if member is None and len(names) > 1:
            matrices = [name for name in names if len(_shape(archive, name)) == 2]
        chosen = _chosen(path, "tensor", member, names, matrices)
        with archive.open(f"{chosen}.npy") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):  # to the end, where the checksum is compared
                raise ValueError("it goes on after the array")
            return array


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)[0]
        return np.lib.format.read_array_header_2_0(file)[0]


def _safetensors(path: Path, tensor: str | None) -> np.ndarray:
    from safetensors import deserialize, safe_open

    with safe_open(path, "np") as file:
        names = list(file.keys())
        matrices = [name for name in names if len(file.get_slice(name).get_shape()) == 2]
        tensor = _chosen(path, "tensor", tensor, names, matrices)
        if file.get_slice(tensor).get_dtype() != "BF16":
            return file.get_tensor(tensor)
    entry = dict(deserialize(path.read_bytes()))[tensor]  # NumPy has no bfloat16: the upper half of a float32
    halves = np.frombuffer(entry["data"], dtype="<u2").astype(np.uint32) << 16
    return halves.view(np.float32).reshape(entry["shape"])


def _columns(path: Path, column: str | None, kinds: str) -> np.ndarray:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise _RefusedError(
            f"reading {str(path)!r} needs pyarrow: pip install 'resolvent[parquet]'"
        ) from None
    schema, batches = _batches(path)
    if len(set(schema.names)) < len(schema.names):
        raise _RefusedError(f"{str(path)!r} must not have two columns of one name: {', '.join(schema.names)}")
    lists = [field.name for field in schema if _is_number(items_of(field.type), kinds)]
    wanted = "floating" if kinds == "f" else "whole"
    if column is not None or lists:
        column = _chosen(path, "column", column, schema.names, lists)
        if column not in lists:
            raise _RefusedError(
                f"column {column!r} of {str(path)!r} must hold lists of {wanted} numbers, "
                f"got {schema.field(column).type}"
            )
        names = [column]
    else:
        names = schema.names
        others = [f"{field.name} ({field.type})" for field in schema if not _is_number(field.type, kinds)]
        if others or not names:
            raise _RefusedError(
                f"{str(path)!r} must hold a column of lists of {wanted} numbers, or {wanted} numbers in every "
                f"column, got {', '.join(others[:5]) or 'no column'}"
            )
    rows, parts = 0, list[np.ndarray]()
    for batch in batches(names):
        batch.validate(full=True)  # lengths and offsets of a damaged file may point anywhere
        if lists:
            width = parts[0].shape[1] if parts else None
            parts.append(_stacked(path, names[0], batch.column(0), rows, width))
        else:
            for name, values in zip(names, batch.columns):
                _no_nulls(path, name, values, rows)
            parts.append(np.column_stack([_numpy(values) for values in batch.columns]))
        rows += batch.num_rows
    return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty((0, 0))


def _numpy(values: Any) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _batches(path: Path) -> tuple[Any, Callable[[list[str]], Iterator[Any]]]:
    """The schema of a file, and a function from columns to its batches of rows."""
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix == ".parquet":
        file = parquet.ParquetFile(path)
        return file.schema_arrow, lambda columns: file.iter_batches(columns=columns)
    source = pa.memory_map(str(path))
    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowInvalid:  # the streaming format goes by the same name
        source.seek(0)
        reader = pa.ipc.open_stream(source)
        return reader.schema, lambda columns: (batch.select(columns) for batch in reader)
    return reader.schema, lambda columns: (
        reader.get_batch(i).select(columns) for i in range(reader.num_record_batches)
    )


def items_of(kind: Any) -> Any:
    """Type of the items of a list type, or None."""
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    nested = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(test(kind) for test in nested) else None


def _is_number(kind: Any, kinds: str) -> bool:
    import pyarrow as pa

    return kind is not None and (pa.types.is_floating(kind) if kinds == "f" else pa.types.is_integer(kind))


def _stacked(path: Path, column: str, values: Any, start: int, width: int | None) -> np.ndarray:
    """Matrix of one batch of lists, which must be as long as each other and as those before."""
    import pyarrow.compute as pc

    values = getattr(values, "storage", values)
    _no_nulls(path, column, values, start)
    lengths = _numpy(pc.list_value_length(values))
    width = int(lengths[0]) if width is None and lengths.size else width or 0
    ragged = np.flatnonzero(lengths != width)
    if ragged.size:
        raise _RefusedError(
            f"column {column!r} of {str(path)!r} must hold lists of one length, got {lengths[ragged[0]]} numbers "
            f"in row {start + ragged[0]} (from 0) and {width} before"
        )
    flat = values.flatten()
    _no_nulls(path, column, flat, start, width)
    return _numpy(flat).reshape(len(values), width)


def _no_nulls(path: Path, column: str, values: Any, start: int, width: int = 1) -> None:
    if values.null_count:
        row = start + int(_numpy(values.is_null()).argmax()) // width
        raise _RefusedError(
            f"column {column!r} of {str(path)!r} must not hold nulls, got one in row {row} (from 0)"
        )
