"""README, docs and bibliography agree with the code."""

import ast
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

import resolvent

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
]


def bibliography():
    return set(re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text(encoding="utf-8")))


def test_cited_keys_are_in_the_bibliography():
    cited = set()
    for path in (ROOT / "src").rglob("*.py"):
        cited |= set(re.findall(r"\[([a-z]+\d{4})\]_", path.read_text(encoding="utf-8")))
    assert cited
    assert cited <= bibliography()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_tests_exist(page):
    for name in re.findall(r"tests/(test_\w+\.py)", page.read_text(encoding="utf-8")):
        assert (ROOT / "tests" / name).is_file(), name


@pytest.mark.parametrize("which", [0, 1], ids=["theory", "own embeddings"])
def test_readme_example_runs(which, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.S)[which]
    ast.parse(code)
    assert len(code.strip().splitlines()) <= 12
    if which and "minilm-tokens" not in resolvent.datasets.installed():
        pytest.skip("needs pip install 'resolvent[data]'")
    pytest.importorskip("matplotlib").use("agg")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert [p.suffix for p in tmp_path.iterdir()] == [".png"]
    if which:  # the numbers in the text
        assert "84 components are real" in capsys.readouterr().out


def test_version_is_told_once():
    assert f"version: {resolvent.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8").replace(
        '"', ""
    )


def test_readme_shows_what_commands_print():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (console,) = re.findall(r"```console\n(.*?)```", text, flags=re.S)
    shown = re.split(r"^\$ ", console, flags=re.M)[1:]
    assert len(shown) == 2
    for block in shown:
        command, _, output = block.partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == output.strip()
