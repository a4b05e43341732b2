"""Settings of Sphinx; `build.py` runs it."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import mathml
from reference import reference

import resolvent

project = "resolvent"
author = "The resolvent developers"
version = release = resolvent.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
myst_links_external_new_tab = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = False
napoleon_use_param = False  # types are words: no look-up of the n in "shape (n, d)"
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
suppress_warnings = ["ref.python"]  # names of fields, which Sphinx looks up: several classes have a `rank`
html_theme = "furo"
html_title = "resolvent"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # it fetches pages, which browsers refuse for files
html_copy_source = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "monokai"

CITED = re.compile(r"\[([a-z]+\d{4})\]_")
THEORY = re.compile(r"docs/((?:theory/)?[\w-]+)\.md")
LITERAL = re.compile(r"(``.*?``|:\w+:`[^`]*`|`[^`]*`|`[^`]*$)")


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let plain text with |x|, x_ and x* be read as such, and make citations and theory pages links."""
    if what in ("property", "attribute", "data") and lines:
        head, colon, rest = lines[0].partition(": ")  # else napoleon takes what precedes a colon for a type
        lines[:1] = [head + ":", rest] if colon else [head]
    shown = directive = False
    for i, line in enumerate(lines):
        shown = bool(line.strip()) and (shown or line.lstrip().startswith(">>>"))
        directive = line.lstrip().startswith("..") or (
            directive and (not line.strip() or line.startswith(" "))
        )
        if shown or directive or re.match(r"^\s*[=-]+(\s+[=-]+)*\s*$", line):
            continue
        line = re.sub(r"^(\s*)([A-Za-z]\.)(?=\s|$)", r"\1\\\2", line)  # a symbol, no list
        parts = LITERAL.split(line)
        lines[i] = "".join(named(part) if j % 2 else escaped(part) for j, part in enumerate(parts))


def escaped(text: str) -> str:
    """Escape what reStructuredText would take for marks."""
    if re.match(r"^[\w*, ]+( : .*)?$", text):  # a parameter and its type: napoleon's to escape
        return text
    parts = re.split(f"({CITED.pattern}|{THEORY.pattern})", text)[::4]
    marks = [found[0] for found in re.finditer(f"{CITED.pattern}|{THEORY.pattern}", text)]
    words = [re.sub(r"(?<=\w)_(?!\w)", r"\\_", p.replace("*", r"\*").replace("|", r"\|")) for p in parts]
    return "".join(word + linked(mark) for word, mark in zip(words, [*marks, ""]))


def linked(mark: str) -> str:
    """A citation or the file of a theory page as a link."""
    mark = CITED.sub(r"`[\1] <../references.html#\1>`__", mark)
    return THEORY.sub(lambda found: f"`{found[0]} <../{found[1]}.html>`__", mark)


def named(literal: str) -> str:
    """A name in backticks: a link where it is documented, else code."""
    found = re.fullmatch(r"`([^`]+)`", literal)
    if not found:
        return literal
    link = reference().link(found[1])
    return f"`{found[1]} <../{link}>`__" if link else f"``{found[1]}``"


def foreign(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to every estimator."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Page of the source, and line, of a documented object."""
    found: Any = sys.modules.get(info["module"])
    try:
        for part in info["fullname"].split("."):
            found = getattr(found, part)
        found = inspect.unwrap(getattr(found, "fget", None) or getattr(found, "func", None) or found)
        file = Path(inspect.getsourcefile(found) or "").relative_to(Path(resolvent.__file__).parents[1])
        return f"../code/{file.as_posix()}.html#L-{inspect.getsourcelines(found)[1]}"
    except (AttributeError, TypeError, ValueError, OSError):  # a constant, or not of this package
        return None


def setup(app: Any) -> None:
    """Connect them."""
    app.add_html_math_renderer("mathml", (mathml.inline, mathml.skip), (mathml.block, mathml.skip))
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-skip-member", foreign)
