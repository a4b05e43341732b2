"""Pooled documents that carry nothing: S₀ from counts, from vectors, and measured on permuted tokens."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from resolvent import nulls, weights
from resolvent.diagnosis import diagnose
from resolvent.nulls import permute_tokens, sampled_null, token_noise, vector_noise
from resolvent.pooling import pool
from resolvent.salad import salad
from resolvent.token_moments import TokenMoments

V, D, N, T = 800, 50, 600, 30


def zipf(seed=0, n=N, length=T):
    p = 1 / np.arange(1, V + 1)
    return np.random.default_rng(seed).choice(V, (n, length), p=p / p.sum())


def table(seed=1):
    """Anisotropic, as trained tables are."""
    return np.random.default_rng(seed).standard_normal((V, D)) * np.geomspace(3, 0.3, D)


def topical(seed=0, n=N, topics=4):
    """Documents of one topic each: half of their tokens come from the topic's own forty."""
    rng = np.random.default_rng(seed)
    tokens = zipf(seed, n)
    topic = rng.integers(0, topics, n)
    own = rng.integers(0, 40, tokens.shape) * topics + topic[:, None]
    return np.where(rng.random(tokens.shape) < 0.5, own, tokens)


def contextual(ids):
    """An encoder whose tokens look at the document: each has the mean of the document added."""
    x = table()[ids]
    return x + x.mean(axis=1, keepdims=True)


def whitened_spectrum(null, features):
    return np.linalg.eigvalsh(np.cov((features @ null.whitener).T))[::-1]


@pytest.mark.parametrize("kind", ["mean", "causal"])
def test_token_noise_is_the_mean_over_all_permutations(kind):
    tokens, e = np.array([[0, 1, 2], [1, 1, 3], [4, 0, 3], [2, 5, 0]]), table()
    w = getattr(weights, kind)(3)
    orders = [list(order) for order in itertools.permutations(range(4))]
    total = np.zeros((D, D))
    for one, two in itertools.product(orders, orders):
        shuffled = np.column_stack([tokens[:, 0], tokens[one, 1], tokens[two, 2]])
        total += np.cov(pool(shuffled, w, e).T)
    np.testing.assert_allclose(token_noise(tokens, e, kind).covariance, total / 24**2, atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "causal", "numbers"])
def test_token_noise_is_the_sum_over_positions(kind):
    w = np.linspace(-0.5, 1, T) if kind == "numbers" else getattr(weights, kind)(T)
    tokens, e = topical(), table() + 100  # a common mean changes nothing
    direct = sum(w[l] ** 2 * np.cov(e[tokens[:, l]].T) for l in range(T))
    null = token_noise(tokens, e, w if kind == "numbers" else kind)
    np.testing.assert_allclose(null.covariance, direct, rtol=1e-9, atol=1e-11 * np.trace(direct))
    np.testing.assert_allclose(null.features, np.einsum("l,nld->nd", w, e[tokens]))
    identity = null.whitener.T @ null.covariance @ null.whitener
    np.testing.assert_allclose(identity, np.eye(D), atol=1e-9)
    assert (null.rank, null.length, null.samples, null.design_effect) == (D, T, np.inf, 1)
    assert null.effective_tokens == T / null.document_effect


def test_a_table_of_less_rank_is_whitened_where_it_varies():
    e = table()
    null = token_noise(zipf(), np.hstack([e, e[:, :10]]))
    assert null.rank == D
    np.testing.assert_allclose(null.whitener.T @ null.covariance @ null.whitener, np.eye(D), atol=1e-8)
    assert diagnose(null.features, null=null).rank == D


@pytest.mark.parametrize("seed", range(3))
def test_what_permuted_documents_hold(seed):
    tokens, e = permute_tokens(topical(seed), seed=seed), table()
    null = token_noise(tokens, e)
    assert diagnose(null.features, null=null).components <= 1
    # the twin: one noise level takes the table's anisotropy for structure
    assert diagnose(null.features, law="plain").count("bulk edge").count > 8


@pytest.mark.parametrize("seed", range(3))
def test_planted_topics_are_found(seed):
    tokens, e = topical(seed), table()
    null = token_noise(tokens, e)
    report = diagnose(null.features, null=null)
    assert report.components == 3  # four topics span three dimensions
    assert report.design_effect == 1
    assert null.document_effect > 1.1
    assert "token noise" in str(report)
    assert max(map(len, str(report).splitlines())) <= 110


def test_vector_noise_is_token_noise_where_vectors_are_rows_of_a_table():
    tokens, e = topical(), table()
    vectors = e[tokens]
    for kind in ("mean", "causal"):
        counted = token_noise(tokens, e, kind)
        null = vector_noise(vectors, kind, salad=e[permute_tokens(tokens, seed=5)])
        scale = np.trace(counted.covariance)
        np.testing.assert_allclose(null.covariance, counted.covariance, atol=1e-11 * scale)
        np.testing.assert_allclose(null.features, counted.features, atol=1e-10)
        assert 0.9 < null.design_effect < 1.1
        assert null.document_effect == pytest.approx(counted.document_effect)
    assert (
        diagnose(null.features, null=null).components == diagnose(counted.features, null=counted).components
    )


def test_vector_noise_refuses_tokens_that_depend_on_each_other():
    tokens = zipf()
    mixed = contextual(permute_tokens(tokens, seed=1))
    with pytest.raises(ValueError, match=r"design effect of 3\.\d+ on salad, above 1\.5"):
        vector_noise(contextual(tokens), salad=mixed)
    with pytest.raises(ValueError, match="on the documents, above"):
        vector_noise(contextual(tokens))


def test_salad_holds_where_independent_tokens_do_not():
    tokens = topical()
    null = salad(contextual, tokens, samples=2 * N, held_out=N)
    assert null.design_effect > 3
    assert null.effective_tokens == T / null.document_effect
    report = diagnose(null.held_out, null=null)
    assert report.law_name.startswith("Wachter")
    assert report.components <= 1
    assert diagnose(null.features, null=null).components == 3
    assert report.count("Gavish-Donoho").void
    # the twin: S₀ calls nearly every direction of permuted documents real
    mixed = contextual(permute_tokens(tokens, seed=9))
    wrong = vector_noise(mixed, limit=np.inf)
    assert diagnose(wrong.features, null=wrong).components > 20


def test_held_out_documents_show_components_as_seldom_as_they_should():
    found = []
    for seed in range(8):
        null = salad(contextual, zipf(seed), samples=2 * N, seed=seed)
        found.append(diagnose(null.held_out, null=null).components)
    assert sum(found) <= 2


def test_a_null_made_of_the_documents_themselves_hides_them():
    null = salad(contextual, topical(), held_out=0)
    assert null.held_out is None
    assert diagnose(null.features, null=null).components == 3
    covariance = np.cov(null.features.T)
    themselves = replace(null, covariance=covariance, whitener=nulls.whitener(covariance), samples=N)
    assert diagnose(null.features, null=themselves).components == 0


def test_permuted_documents_keep_the_tokens_of_every_position():
    tokens = topical()
    mixed = permute_tokens(tokens, 2 * N + 7, seed=3)
    assert mixed.shape == (2 * N + 7, T)
    np.testing.assert_array_equal(np.sort(mixed[N : 2 * N], axis=0), np.sort(tokens, axis=0))
    assert not np.array_equal(mixed[:N], mixed[N : 2 * N])
    assert (mixed[:N] == tokens).mean() < 0.2


def moments(vectors, keep):
    found = TokenMoments.empty("mean", T, keep)
    for part in np.array_split(vectors, 3):
        found.add(part)
    return found


def test_a_null_may_be_counted_by_hand():
    tokens = zipf(n=100)
    expected = salad(contextual, tokens, seed=4)
    mixed = contextual(permute_tokens(tokens, 200, seed=9))  # what salad draws for seed 4
    null = sampled_null(moments(mixed, False), moments(contextual(tokens), True), expected.held_out)
    np.testing.assert_allclose(null.covariance, expected.covariance, rtol=1e-9, atol=1e-13)
    for name in ("samples", "features", "held_out", "design_effect", "document_effect", "length"):
        np.testing.assert_allclose(getattr(null, name), getattr(expected, name))
    with pytest.raises(ValueError, match="must keep the pooled vectors"):
        sampled_null(moments(mixed, False), moments(contextual(tokens), False))
    with pytest.raises(ValueError, match="more than d \\+ 1 = 51 documents, got 40"):
        sampled_null(moments(mixed[:40], False), moments(contextual(tokens), True))


class Encoder:
    """Counts its calls, and is interrupted at one of them."""

    def __init__(self, stop=None, encode=contextual):
        self.calls, self.stop, self.encode = 0, stop, encode

    def __call__(self, ids):
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return self.encode(ids)


SMALL = {"samples": 200, "held_out": 50, "batch": 30}


@pytest.mark.parametrize("stop", [3, 5, 9, 13])
def test_an_interrupted_salad_goes_on(tmp_path, stop):
    tokens = zipf(n=100)
    whole = Encoder()
    expected = salad(whole, tokens, **SMALL)
    assert whole.calls == 2 + 4 + 7 + 2
    path = tmp_path / "salad.npz"
    broken = Encoder(stop)
    with pytest.raises(KeyboardInterrupt):
        salad(broken, tokens, checkpoint=path, **SMALL)
    assert path.exists() == (stop > 3)
    again = Encoder()
    null = salad(again, tokens, checkpoint=path, **SMALL)
    assert again.calls == whole.calls - (stop - 3)
    for name in ("covariance", "whitener", "features", "held_out", "design_effect", "document_effect"):
        np.testing.assert_array_equal(getattr(null, name), getattr(expected, name))
    assert list(tmp_path.iterdir()) == []


def interrupted(path, tokens=None, encode=contextual, **changes):
    with pytest.raises(KeyboardInterrupt):
        salad(
            Encoder(8, encode),
            zipf(n=100) if tokens is None else tokens,
            checkpoint=path,
            **(SMALL | changes),
        )
    return path.read_bytes()


def test_checkpoints_of_other_work_are_refused_and_kept(tmp_path):
    path = tmp_path / "salad.npz"
    kept = interrupted(path)
    others = {
        "documents": {"tokens": zipf(1, n=100)},
        "weights": {"weights": "causal"},
        "seed": {"seed": 1},
        "samples": {"samples": 300},
        "encoder": {"encode": lambda ids: 2 * contextual(ids)},
        "width": {"encode": lambda ids: contextual(ids)[..., :20]},
        "pooled": {"encode": lambda ids: contextual(ids).mean(axis=1)},
    }
    for other in others.values():
        call = {"encode": contextual, "tokens": zipf(n=100), **SMALL} | other
        with pytest.raises(ValueError, match="belongs to other"):
            salad(call.pop("encode"), call.pop("tokens"), checkpoint=path, **call)
        assert path.read_bytes() == kept


@pytest.mark.parametrize(
    "damage", [lambda kept: b"junk", lambda kept: kept[: len(kept) // 2], lambda kept: b""]
)
def test_damaged_checkpoints_are_named(tmp_path, damage):
    path = tmp_path / "salad.npz"
    path.write_bytes(damage(interrupted(path)))
    with pytest.raises(ValueError, match=r"salad\.npz' is damaged .*: remove it"):
        salad(contextual, zipf(n=100), checkpoint=path, **SMALL)


def test_a_pooled_encoder_is_enough_and_its_design_effect_unknown():
    tokens = topical()
    pooled = salad(lambda ids: contextual(ids).mean(axis=1), tokens)
    vectors = salad(contextual, tokens)
    np.testing.assert_allclose(pooled.covariance, vectors.covariance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(pooled.features, vectors.features)
    assert np.isnan(pooled.design_effect)
    assert np.isnan(pooled.effective_tokens)
    report = diagnose(pooled.features, null=pooled)
    assert report.components == 3
    assert "design effect" not in str(report)
    assert report.to_dict()["design_effect"] is None


def test_the_size_of_batches_does_not_matter():
    tokens = zipf(n=100)
    one, other = (salad(contextual, tokens, batch=batch) for batch in (7, 1000))
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-9, atol=1e-13)


def noisy(ids):
    return contextual(ids) + np.random.default_rng(len(CALLS.append(0) or CALLS)).standard_normal(
        (*ids.shape, D)
    )


CALLS: list[int] = []
IDS = zipf(n=60)
E = table()
VECTORS = np.random.default_rng(0).standard_normal((20, 5, 4))
HOLE = np.where(np.arange(V)[:, None] == 0, np.nan, E)
BAD = {
    "not deterministic": (lambda: salad(noisy, IDS), ["encode must be deterministic"]),
    "encode shape": (
        lambda: salad(lambda ids: E[ids].mean(axis=(1, 2)), IDS),
        ["encode must return", "(8,)"],
    ),
    "encode rows": (lambda: salad(lambda ids: E[ids][:3], IDS), ["encode must return", "(3, 30, 50)"]),
    "encode type": (lambda: salad(lambda ids: ids, IDS), ["encode must return real", "int64"]),
    "encode nothing": (lambda: salad(lambda ids: None, IDS), ["encode must return", "object"]),
    "encode nan": (lambda: salad(lambda ids: HOLE[ids], IDS), ["encode must return finite"]),
    "encode changes width": (
        lambda: salad(lambda ids: E[ids] if len(ids) == 8 else E[ids][..., :9], IDS),
        ["encode must return", "50", "9)"],
    ),
    "few samples": (lambda: salad(lambda ids: E[ids], IDS, samples=51), ["samples must exceed", "51"]),
    "samples": (lambda: salad(lambda ids: E[ids], IDS, samples=1), ["samples", "1"]),
    "held_out": (lambda: salad(lambda ids: E[ids], IDS, held_out=-1), ["held_out", "-1"]),
    "batch": (lambda: salad(lambda ids: E[ids], IDS, batch=0), ["batch", "0"]),
    "seed": (lambda: salad(lambda ids: E[ids], IDS, seed=-1), ["seed", "-1"]),
    "weights": (lambda: salad(lambda ids: E[ids], IDS, weights="median"), ["weights", "median"]),
    "tokens": (lambda: salad(lambda ids: E[ids], IDS / 2), ["tokens", "float64"]),
    "one document": (lambda: salad(lambda ids: E[ids], IDS[:1]), ["tokens", "2 documents", "1"]),
    "checkpoint": (lambda: salad(lambda ids: E[ids], IDS, checkpoint="a.npy"), ["checkpoint", "a.npy"]),
    "permute": (lambda: permute_tokens([1, 2]), ["tokens", "(2,)"]),
    "permute samples": (lambda: permute_tokens(IDS, 0), ["samples", "0"]),
    "outside": (lambda: token_noise(IDS + V, E), ["tokens", f"[0, {V})"]),
    "one row": (lambda: token_noise(IDS[:1], E), ["tokens", "2 documents", "1"]),
    "hole": (lambda: token_noise(IDS, HOLE), ["table must be finite", "row 0"]),
    "table": (lambda: token_noise(IDS, E[0]), ["table", "(50,)"]),
    "weights length": (lambda: token_noise(IDS, E, [1.0, 2.0]), ["weights", "30", "(2,)"]),
    "weights zero": (lambda: token_noise(IDS, E, np.zeros(T)), ["weights", "not all zero"]),
    "same documents": (lambda: token_noise(np.zeros((5, 3), int), E), ["null does not vary"]),
    "vectors": (lambda: vector_noise(VECTORS[0]), ["vectors", "(5, 4)"]),
    "vectors nan": (
        lambda: vector_noise(np.where(np.arange(20)[:, None, None] == 7, np.nan, VECTORS)),
        ["vectors must be finite", "document 7"],
    ),
    "salad shape": (lambda: vector_noise(VECTORS, salad=VECTORS[0]), ["salad", "(5, 4)"]),
    "limit": (lambda: vector_noise(VECTORS, limit=0), ["limit", "0"]),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_named(case):
    call, parts = BAD[case]
    with pytest.raises(ValueError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
