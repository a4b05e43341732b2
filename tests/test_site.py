"""The documentation site: built strictly and without network, every link and public name in it leads somewhere."""

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag
from xml.etree import ElementTree

import pytest

import resolvent

ROOT = Path(__file__).parents[1]
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "audio": "src",
    "video": "src",
    "embed": "src",
}
OFFLINE = """
import runpy, socket, sys
def refuse(*args, **kwargs):
    raise OSError("the site must build without network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
sys.path.insert(0, "docs/site")
sys.argv = ["docs/site/build.py", sys.argv[1]]
runpy.run_path("docs/site/build.py", run_name="__main__")
"""


class Page(HTMLParser):
    """Ids, links and what a browser would load, of one page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.formulas = set(), set(), set(), 0
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.formulas += tag == "math"
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        if tag == "link" and attributes.get("rel") not in ("canonical", "index", "search", "next", "prev"):
            self.loaded.add(attributes["href"])
        if attributes.get(LOADED.get(tag, "")):
            self.loaded.add(attributes[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    needed = ("sphinx", "myst_parser", "furo", "latex2mathml", "torch", "sklearn", "sentence_transformers")
    if missing := [name for name in needed if not find_spec(name)]:
        pytest.skip(f"the reference imports the whole package: {missing} missing")
    target = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-c", OFFLINE, str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]  # a warning is an error
    return target


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = {(name, what) for name, page in pages.items() for what in page.loaded}
    assert len(loaded) > 100
    for name, what in loaded:
        assert not re.match(r"(https?:)?//", what), (name, what)
        assert (
            what.startswith("data:")
            or (site / name).parent.joinpath(urldefrag(what)[0].split("?")[0]).is_file()
        )
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)]*""", text), sheet


@pytest.mark.slow
def test_every_link_leads_to_a_page_and_a_place_on_it(site, pages):
    broken = set()
    for name, page in pages.items():
        for link in page.links:
            path, anchor = urldefrag(unquote(link))
            if re.match(r"\w+:", path):
                continue
            target = (site / name).parent.joinpath(path).resolve() if path else site / name
            if not target.is_file():
                broken.add((name, link))
            elif anchor and target.suffix == ".html":
                where = target.relative_to(site.resolve()).as_posix() if path else name
                if anchor not in pages[where].ids:
                    broken.add((name, link))
    assert not broken


@pytest.mark.slow
def test_the_reference_has_every_public_name(pages):
    there = {one for name, page in pages.items() if name.startswith("api/") for one in page.ids}
    modules = {}
    for path in (ROOT / "src/resolvent").rglob("*.py"):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # importing all would take long
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                modules[name] = eval(ast.unparse(node.value))
    assert len(modules) > 100
    public = {
        f"{name}.{one}" for name, listed in modules.items() for one in listed if not one.startswith("__")
    }
    missing = public - there
    # a module that is listed is a page of its own, a front name is in the first table
    assert missing <= set(modules)
    front = pages["api/index.html"].text
    assert all(f">{name}<" in front for name in resolvent.__all__ if not name.startswith("__"))
    assert all(f"api/{name.split('.')[1]}.html" in pages for name in modules if "." in name)


@pytest.mark.slow
def test_formulas_are_set_without_a_script(pages):
    formulas = sum(page.formulas for page in pages.values())
    assert formulas > 2000
    for name, page in pages.items():
        prose = re.sub(r"<(pre|script|style|annotation|code)\b.*?</\1>", "", page.text, flags=re.S)
        assert not re.search(r"\$\$|\\\(|\\frac|\\begin", prose), name
    assert not [
        what for page in pages.values() for what in page.loaded if re.search("mathjax|katex", what.lower())
    ]
    parts = {"msub": 2, "msup": 2, "mfrac": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
    for name, page in pages.items():
        for formula in re.findall(r"<math\b.*?</math>", page.text, flags=re.S):
            for element in ElementTree.fromstring(formula).iter():
                kind = element.tag.rpartition("}")[2]
                assert len(element) == parts.get(kind, len(element)), (name, formula)
    assert 'id="eq-20"' in pages["theory/pooled.html"].text


@pytest.mark.slow
def test_notation_and_theory_lead_to_each_other(pages):
    theory = [
        f"theory/{path.stem}.html" for path in (ROOT / "docs/theory").glob("*.md") if path.stem != "README"
    ]
    for name in theory:
        assert "../notation.html" in {urldefrag(link)[0] for link in pages[name].links}
        assert any(link.startswith("../api/") for link in pages[name].links), name
    units = [name for name in pages if name.startswith("api/") and "../notation.html" in pages[name].links]
    assert len(units) > 40
    to = {urldefrag(link)[0] for link in pages["notation.html"].links}
    assert {
        "theory/pooled.html",
        "theory/sparse_token.html",
        "theory/in_context.html",
        "theory/elliptical.html",
    } <= to
    assert any(link.startswith("api/") for link in to)


@pytest.mark.slow
def test_names_in_prose_are_links_and_no_link_is_inside_another(pages):
    for name, page in pages.items():
        opened = re.findall(r"<(/?)a\b", re.sub(r"<pre\b.*?</pre>", "", page.text, flags=re.S))
        assert opened == ["", "/"] * (len(opened) // 2), name
    guide = {link.removeprefix("./") for link in pages["which-tool.html"].links}
    assert {
        "api/models.html#resolvent.PooledSequences",
        "api/nulls.html#resolvent.nulls.token_noise",
    } <= guide
    assert "examples/alignment.html" in guide


@pytest.mark.slow
def test_the_command_line_is_documented(pages):
    said = pages["api/cli.html"].text
    for command in ("predict", "simulate", "plan", "reproduce", "diagnose", "explore", "doctor"):
        assert f"Usage: resolvent {command}" in said
    assert not any("Command " in page.text and "&lt;Command" in page.text for page in pages.values())


NO_RESULT = re.compile(  # sections that derive nothing, or that sum up what others derive
    r"(\d+\. )?(Limits|What (was checked|was measured|is open)|Agreement|Claims, reproduced or not|Figures"
    r"|Small networks.*|Digits at.*|Examples that know.*|Low rank and LoRA \(.*|Local minima and training)$"
)


def test_every_result_names_its_code_and_its_test():
    sections = 0
    for path in (ROOT / "docs/theory").glob("*.md"):
        if path.stem != "README":
            text = path.read_text(encoding="utf-8")
            parts = re.split(r"^#{2,3} (.*)$", text, flags=re.M)
            for title, said in zip(parts[1::2], parts[2::2]):
                if said.strip() and not NO_RESULT.match(title):
                    sections += 1
                    assert re.search(r"[Ii]mplemented as `", said), (path.name, title)
                    assert re.search(r"tests/test_\w+\.py", said), (path.name, title)
    assert sections > 80


def test_named_tests_exist():
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    named = 0
    for path in (ROOT / "docs").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"tests/(test_\w+\.py)", text)) <= set(files), path.name
        for where, listed in re.findall(r"tests/(test_\w+\.py)`? \((`test_[^)]*`)\)", text):
            for one in re.findall(r"`(test_\w+)`", listed):
                named += 1
                assert f"def {one}(" in files[where], (path.name, where, one)
    assert named > 80
