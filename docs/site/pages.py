"""The Markdown of the repository as pages of the site: links, names of the package and citations lead to pages."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from pathlib import Path

from reference import reference

__all__ = ["FOLDERS", "PAGES", "SHOWN", "bibliography", "example", "examples", "page"]

PAGES = {  # files of the repository that become pages
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "references.bib": "references.md",
}
FOLDERS = {"docs": "index.md", "docs/theory": "theory/README.md", "docs/examples": "examples/README.md"}
SHOWN = (  # files that are linked to, and shown as text
    *("LICENSE", "CITATION.cff", "constraints.txt"),
    *("src/resolvent/data/NOTICE", "src/resolvent/data/LICENSE-Apache-2.0"),
)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s#]*)(#[^)\s]*)?\)")
NAME = re.compile(r"(?<![\[`\w])`([A-Za-z_][\w.]*)(?:\([^`]*\))?`(?!\])")
CITED = re.compile(r"\[([a-z]+\d{4}(?:; [a-z]+\d{4})*)\](?![(\[])")
FENCE = re.compile(r"(^ *```.*?^ *```$)", flags=re.S | re.M)
MARKS = "\u0301\u0300\u0308\u0302\u0303\u030c\u0327\u030b\u0306\u0304\u0307"
ACCENTS = dict(zip("'`\"^~vcHu=.", MARKS))


def page(text: str, origin: str, here: str) -> str:
    """Rewrite a Markdown file of the repository for its place on the site.

    Parameters
    ----------
    text : str
    origin, here : str
        Where the file is in the repository, and where the page is on the site.
    """
    parts = FENCE.split(_blocks_apart(text))
    return "".join(part if i % 2 else _links(part, origin, here) for i, part in enumerate(parts))


def _blocks_apart(markdown: str) -> str:
    """Put an empty line before each display formula, which GitHub does not need and other readers do."""
    lines: list[str] = []
    fenced = opened = False
    for line in markdown.split("\n"):
        bare = line.strip()
        if bare.startswith("```"):
            fenced = not fenced
        if not fenced and bare.startswith("$$") and not opened and lines and lines[-1].strip():
            lines.append("")
        if not fenced and bare.count("$$") % 2:
            opened = not opened
        lines.append(line)
    return "\n".join(lines)


def _links(text: str, origin: str, here: str) -> str:
    up = posixpath.relpath(".", posixpath.dirname(here) or ".")

    def rewritten(found: re.Match[str]) -> str:
        label, path, anchor = found[1], found[2], found[3] or ""
        if not path or "://" in path or path.startswith("mailto:"):
            return found[0]
        target = _place(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        if ".html" in target or target.startswith("files/"):  # made here: not known to the reader of Markdown
            return f'<a href="{up}/{target}">{label[1:-1]}</a>'
        return f"{label}({up}/{target}{anchor})"

    def named(found: re.Match[str]) -> str:
        known = reference().meant(found[1])
        return f'<a href="{up}/{known}">{found[0]}</a>' if known else found[0]

    def cited(found: re.Match[str]) -> str:
        keys = (f'<a href="{up}/references.html#{key}">{key}</a>' for key in found[1].split("; "))
        return f"[{'; '.join(keys)}]"

    parts = re.split(f"({LINK.pattern})", text)[:: LINK.groups + 2]  # no link inside a link
    links = [LINK.sub(rewritten, found[0]) for found in LINK.finditer(text)]
    words = [CITED.sub(cited, NAME.sub(named, part)) for part in parts]
    return "".join(word + link for word, link in zip(words, [*links, ""]))


def _place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path in PAGES or path in FOLDERS:
        return PAGES.get(path) or FOLDERS[path]
    if path in SHOWN:
        return f"files/{Path(path).name}.txt"
    if path.startswith("docs/examples/"):
        return path.removeprefix("docs/").replace(".py", ".md")
    if path.startswith("src/resolvent/"):
        dotted = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        return reference().link(dotted) or path
    return path.removeprefix("docs/")


def bibliography(text: str) -> str:
    """The references as a page, from BibTeX with one field a line."""
    lines = ["# References\n"]
    for key, body in re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", text, flags=re.S):
        fields = dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", body, flags=re.M))
        where = fields.get("journal") or fields.get("booktitle") or ""
        numbers = " ".join(fields[f] for f in ("volume", "pages") if f in fields)
        words = f"{fields['author'].rstrip('.')}. *{fields['title']}*. {where} {numbers} ({fields['year']})."
        paper = (
            f" [arXiv {fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})"
            if "eprint" in fields
            else ""
        )
        lines.append(f'- <span id="{key}"></span>**{key}**: {" ".join(_plain(words).split())}{paper}')
    return "\n".join(lines) + "\n"


def _plain(latex: str) -> str:
    """Accents and braces of BibTeX as Unicode."""

    def accented(found: re.Match[str]) -> str:
        return unicodedata.normalize("NFC", found[2].removeprefix("\\") + ACCENTS[found[1]])

    text = re.sub(r"\\(['`\"^~=.]|[vcHu](?![a-z]))\s*\{?(\\?[A-Za-z])\}?", accented, latex)
    return re.sub(r"[{}]", "", text.replace("\\o", "ø").replace("\\&", "&").replace("--", "–"))


def examples(root: Path) -> list[Path]:
    """The examples, in the order of the gallery."""
    gallery = (root / "docs/examples/README.md").read_text(encoding="utf-8")
    return [root / "docs/examples" / name for name in dict.fromkeys(re.findall(r"\]\((\w+\.py)\)", gallery))]


def example(path: Path) -> str:
    """The page of an example: what it does, its picture, its code."""
    _, words, code = path.read_text(encoding="utf-8").split('"""', 2)
    title, _, rest = words.strip().partition("\n")
    picture = f"![{title}](../images/examples/{path.stem}.png)"
    return f"# {title.rstrip('.')}\n\n{rest.strip()}\n\n{picture}\n\n```python\n{code.strip()}\n```\n"
