"""Embedding tables: two small real ones that ship with the package, and any table from a file."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from resolvent.arguments import one_of

__all__ = ["TABLES", "load", "read"]

TABLES = ("minilm-unused", "minilm-positions")


def load(name: str) -> np.ndarray:
    """Load a real table that ships with the package, as float32.

    Both come from the sentence-transformers model all-MiniLM-L6-v2 (Apache-2.0, see the NOTICE file
    beside them), stored as float16:

    - ``"minilm-unused"``, shape (994, 384): rows of the token table for reserved tokens that training
      never touched; they keep their initialisation noise around a common mean.
    - ``"minilm-positions"``, shape (512, 384): the trained position embeddings.

    Parameters
    ----------
    name : {"minilm-unused", "minilm-positions"}

    Returns
    -------
    array of float32, shape (rows, 384)

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> load("minilm-unused").shape
    (994, 384)
    """
    one_of("name", name, TABLES)
    with resources.files("resolvent").joinpath("data", f"{name}.npy").open("rb") as file:
        return np.load(file).astype(np.float32)


def read(path: str | Path, *, tensor: str | None = None) -> np.ndarray:
    """Read a table from a ``.npy`` or ``.safetensors`` file.

    Parameters
    ----------
    path : path
    tensor : str, optional
        Name of the tensor in a safetensors file; by default its only matrix.

    Returns
    -------
    array, shape (rows, d)
        Floating, as stored (bfloat16 becomes float32).

    Raises
    ------
    ValueError
        If the file is missing, of another kind, damaged, or holds no such matrix.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "table.npy"
    ...     np.save(path, np.eye(3))
    ...     read(path).shape
    (3, 3)
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path must be an existing file, got {str(path)!r}")
    try:
        if path.suffix == ".npy":
            table = np.load(path, allow_pickle=False)
        elif path.suffix == ".safetensors":
            table = _safetensors(path, tensor)
        else:
            raise ValueError(f"path must end in .npy or .safetensors, got {str(path)!r}")
    except (OSError, EOFError, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as {path.suffix}: {error}") from error
    if table.ndim != 2 or table.dtype.kind != "f" or min(table.shape) < 2:
        raise ValueError(
            f"{str(path)!r} must hold a real matrix of shape (rows, d), got {table.dtype} of shape {table.shape}"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"{str(path)!r} must hold finite numbers, got NaN or infinite entries")
    return table


def _safetensors(path: Path, tensor: str | None) -> np.ndarray:
    # the format is eight bytes of header length, a JSON header and raw little-endian data
    size = int(np.fromfile(path, dtype="<u8", count=1)[0]) if path.stat().st_size >= 8 else -1
    if not 0 <= size <= path.stat().st_size - 8:
        raise ValueError(f"{str(path)!r} is not a safetensors file")
    with path.open("rb") as file:
        file.seek(8)
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    matrices = [name for name, entry in header.items() if len(entry["shape"]) == 2]
    if tensor is None:
        if len(matrices) != 1:
            raise ValueError(
                f"tensor must name one of the matrices in {str(path)!r}: {', '.join(sorted(matrices)) or 'none there'}"
            )
        tensor = matrices[0]
    if tensor not in header:
        raise ValueError(f"tensor must be one of {', '.join(sorted(header))}, got {tensor!r}")
    entry = header[tensor]
    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    if entry["dtype"] not in types:
        raise ValueError(f"tensor {tensor!r} must be floating, got {entry['dtype']}")
    begin, end = entry["data_offsets"]
    count = int(np.prod(entry["shape"]))
    raw = np.fromfile(path, dtype=types[entry["dtype"]], count=count, offset=8 + size + begin)
    if raw.size != count or raw.nbytes != end - begin:
        raise ValueError(f"{str(path)!r} is damaged: tensor {tensor!r} is cut short")
    if entry["dtype"] == "BF16":
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.reshape(entry["shape"])
