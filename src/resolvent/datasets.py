"""Embedding tables: two small real ones that ship with the package, and any table from a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from resolvent.arguments import one_of

__all__ = ["TABLES", "load", "read"]

TABLES = ("minilm-unused", "minilm-positions")


def load(name: str) -> np.ndarray:
    """Load a real table that ships with the package, as float32.

    Both come from the sentence-transformers model all-MiniLM-L6-v2 (Apache-2.0, see the NOTICE file
    beside them), stored as float16:

    - ``"minilm-unused"``, shape (994, 384): rows of the token table for reserved tokens, which training
      text does not use; they keep their initialisation noise around a common mean (row 80 stands out).
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
        ``FILE.npy``, ``FILE.safetensors`` or ``FILE.safetensors:TENSOR``.
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
    name, colon, named = str(path).rpartition(":")
    if colon and name.endswith(".safetensors") and tensor is None:
        path, tensor = name, named
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path must be an existing file, got {str(path)!r}")
    readers = {".npy": lambda path, tensor: read_npy(path), ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise ValueError(f"path must end in .npy or .safetensors, got {str(path)!r}")
    try:
        table = readers[path.suffix](path, tensor)
    except _NoSuchMatrixError:
        raise
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise ValueError(f"{str(path)!r} cannot be read as {path.suffix}: {error}") from error
    if table.ndim != 2 or table.dtype.kind != "f" or min(table.shape) < 2:
        raise ValueError(
            f"{str(path)!r} must hold a real matrix of shape (rows, d), got {table.dtype} of shape {table.shape}"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"{str(path)!r} must hold finite numbers, got NaN or infinite entries")
    return table


class _NoSuchMatrixError(ValueError):
    pass


def read_npy(path: Path) -> np.ndarray:
    """Read one ``.npy`` file, and nothing that looks like one: pickled objects are never loaded."""
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _safetensors(path: Path, tensor: str | None) -> np.ndarray:
    from safetensors import deserialize, safe_open

    with safe_open(path, "np") as file:
        names = list(file.keys())
        if tensor is None:
            matrices = [name for name in names if len(file.get_slice(name).get_shape()) == 2]
            if len(matrices) != 1:
                raise _NoSuchMatrixError(
                    f"tensor must name one of the matrices in {str(path)!r}: {', '.join(sorted(matrices)) or 'none there'}"
                )
            tensor = matrices[0]
        if tensor not in names:
            raise _NoSuchMatrixError(f"tensor must be one of {', '.join(sorted(names))}, got {tensor!r}")
        if file.get_slice(tensor).get_dtype() != "BF16":
            return file.get_tensor(tensor)
    entry = dict(deserialize(path.read_bytes()))[tensor]  # NumPy has no bfloat16: the upper half of a float32
    halves = np.frombuffer(entry["data"], dtype="<u2").astype(np.uint32) << 16
    return halves.view(np.float32).reshape(entry["shape"])
