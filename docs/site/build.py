"""Build the site, strictly and without network: `python docs/site/build.py [FOLDER]`, `make docs`.

The Markdown of the repository and the pages made from the code are put together in a folder of their own,
which Sphinx then reads.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pages import PAGES, SHOWN, bibliography, example, examples, page
from reference import reference

__all__ = ["assemble", "build"]

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
CONTENTS = """
```{toctree}
:hidden:
:caption: Guides
which-tool
published_formulas
pooling_weights
sparse_token_classifier
elliptical_attention
real_tables
Examples <examples/README>
```

```{toctree}
:hidden:
:caption: Theory
notation
Overview <theory/README>
references
```

```{toctree}
:hidden:
:caption: Reference
API <api/index>
Add a law, a model, a figure <contributing>
benchmarks
changelog
```
"""


def assemble(folder: Path) -> None:
    """Write every page, as Sphinx reads it, into an empty folder."""

    def write(where: str, text: str) -> None:
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        (folder / where).write_text(text, encoding="utf-8")

    shutil.copytree(ROOT / "docs/images", folder / "images")
    (folder / "static").mkdir()
    shutil.copy(SITE / "style.css", folder / "static")
    for source in SHOWN:
        write(f"extra/files/{Path(source).name}.txt", (ROOT / source).read_text(encoding="utf-8"))
    docs = {
        f"docs/{p.relative_to(ROOT / 'docs')}": str(p.relative_to(ROOT / "docs"))
        for p in (ROOT / "docs").rglob("*.md")
    }
    for origin, here in (PAGES | docs).items():
        text = (ROOT / origin).read_text(encoding="utf-8")
        if origin.endswith(".bib"):
            text = bibliography(text)
        text = page(text, origin, here)
        if here == "index.md":
            text += CONTENTS
        if here == "theory/README.md":
            text += _toctree(
                sorted(p.stem for p in (ROOT / "docs/theory").glob("*.md") if p.stem != "README")
            )
        if here == "examples/README.md":
            text += _toctree([p.stem for p in examples(ROOT)])
        write(here, text)
    for path in examples(ROOT):
        write(f"examples/{path.stem}.md", example(path))
    sources(folder / "extra/code")
    write("api/index.rst", reference().index())
    for unit in reference().units():
        write(f"api/{unit}.rst", reference().page(unit))


def sources(folder: Path) -> None:
    """Write every module of the package as a page with numbered lines, for the links to the source."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    for path in (ROOT / "src/resolvent").rglob("*.py"):
        name = path.relative_to(ROOT / "src")
        page = HtmlFormatter(
            full=True,
            title=name.as_posix(),
            linenos="inline",
            lineanchors="L",
            style="friendly",
            wrapcode=True,
        )
        where = folder / f"{name}.html"
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(highlight(path.read_text(encoding="utf-8"), PythonLexer(), page), encoding="utf-8")


def _toctree(names: list[str]) -> str:
    return "\n```{toctree}\n:hidden:\n" + "\n".join(names) + "\n```\n"


def build(target: Path, work: Path) -> int:
    """Build into `target`, by way of `work`; both are emptied first. Returns Sphinx's status: 0 is success."""
    from sphinx.cmd.build import main

    for folder in (target, work):
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    assemble(work / "pages")
    options = ["-c", str(SITE), "-d", str(work / "cache"), "-q", "--fail-on-warning", "--keep-going"]
    paths = [f"-Dhtml_static_path={work / 'pages/static'}", f"-Dhtml_extra_path={work / 'pages/extra'}"]
    return int(main([*options, *paths, "-b", "html", str(work / "pages"), str(target)]))


if __name__ == "__main__":
    to = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build/site"
    status = build(to, to.parent / f"{to.name}-pages")
    print(
        f"{to / 'index.html'}" if status == 0 else "the site was not built",
        file=sys.stderr if status else sys.stdout,
    )
    raise SystemExit(status)
