"""The pooling transformer: every form of input, conventions, planted positions, guards that must and must not act."""

import pickle
import re
import warnings
from functools import cache

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from resolvent import weights
from resolvent.accumulate import accumulate
from resolvent.estimators import PositionalPooling
from resolvent.estimators.against_mean import gain_and_error, labels_among
from resolvent.estimators.positional_pooling import METHODS
from resolvent.nulls import permute_tokens
from resolvent.positions import Prefix, SingleFactor
from resolvent.sources import batches
from resolvent.tables import draw_noise, draw_tokens, token_signs
from resolvent.token_moments import TokenMoments

INFORMATIVE = [method for method in METHODS if method not in ("mean", "causal")]
ONE_PASS = [method for method in METHODS if method not in ("alternating", "learned")]


@cache
def prefix(n=800, length=8, informative=2, d=20, vocabulary=200, mu=2.0, seed=0):
    """Tokens whose first positions follow the label, a null without documents, a table, labels."""
    rng = np.random.default_rng(seed)
    labels, signs = Prefix(length, informative).sample_labelled(n, rng=rng)
    table = draw_noise(vocabulary, d, rng=rng)
    table[:, 0] += mu * token_signs(vocabulary)
    ids = draw_tokens(signs, vocabulary, rng=rng)
    return ids, permute_tokens(ids, 2000, seed=seed), table, labels


def planted(**settings):
    ids, null, table, y = prefix(**settings)
    return table[ids], table[null], y


def options(method, null):
    return {"method": method, "random_state": 0} | ({"null": null} if method.startswith("excess") else {})


def fitted(method, x, y, null, **more):
    return PositionalPooling(**options(method, null) | more).fit(x, y)


def padded(n=60, seed=0, d=5):
    """Lengths 3 to 7, padded on the right with what must never be read."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 8, n)
    mask = np.arange(7) < lengths[:, None]
    x = rng.standard_normal((n, 7, d))
    y = rng.integers(0, 2, n)
    x[:, 0, 0] += 3 * y
    x[~mask] = np.nan
    return x, y, mask


def naive(sequence, w):
    """The rule for lengths, a token at a time."""
    total, size = np.zeros(sequence.shape[1]), 0.0
    for place, token in enumerate(sequence):
        weight = w[min(place, len(w) - 1)]
        total, size = total + weight * token, size + abs(weight)
    return total / size if size else sequence.mean(axis=0)


# conventions


def test_scikit_learns_own_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        for method in METHODS:  # inputs of three dimensions: few of them run
            outcomes = check_estimator(PositionalPooling(method=method), on_fail=None)
            assert outcomes
            assert {o["check_name"] for o in outcomes if o["status"] == "failed"} == set()


@pytest.mark.parametrize("method", METHODS)
def test_clone_pickle_and_refit(method):
    x, null, y = planted(n=120)
    model = fitted(method, x, y, null, cv=3)
    copy = clone(model)
    assert not hasattr(copy, "weights_")
    assert repr(copy.get_params()) == repr(model.get_params())
    for other in (copy.fit(x, y), pickle.loads(pickle.dumps(model)), model.fit(x, y)):
        np.testing.assert_array_equal(other.transform(x), model.transform(x))
        assert other.report_ == model.report_
    assert model.set_params(method="mean").fit(x).chosen_ == "mean"
    assert (model.n_positions_, model.n_features_in_) == (8, 20)
    np.testing.assert_allclose(np.abs(model.weights_).sum(), 1)


@pytest.mark.parametrize("method", ONE_PASS)
def test_pieces_are_the_whole(method):
    x, null, y = planted(n=200)
    model = options(method, null) | {"validate": False, "ridge": 0.3}
    whole = PositionalPooling(**model).fit(x, y)
    pieces = PositionalPooling(**model)
    for rows in (slice(0, 5), slice(5, 120), slice(120, 200)):
        pieces.partial_fit(x[rows], y[rows], classes=[-1, 1])
    np.testing.assert_allclose(pieces.weights_, whole.weights_, atol=1e-9)
    classes = 2 if method == "supervised" else 1
    moments = TokenMoments.empty("mean", 8, noise=False, gram=True, classes=classes)
    for rows in (slice(0, 90), slice(90, 200)):
        moments.add(x[rows], labels=(y[rows] > 0).astype(int) if classes == 2 else None)
    elsewhere = PositionalPooling(**model).fit_moments(moments)
    np.testing.assert_allclose(elsewhere.weights_, whole.weights_, atol=1e-9)
    half = PositionalPooling(**model).fit(x[:100], y[:100])
    if method not in ("mean", "causal"):  # the twin
        assert np.abs(half.weights_ - whole.weights_).max() > 1e-4
    assert elsewhere.validation_ == pieces.validation_ == {}


def test_a_first_batch_may_be_too_small_to_say_anything():
    x, _, _ = planted(n=200)
    model = PositionalPooling(method="perron").partial_fit(x[:6])
    assert (model.chosen_, set(model.weights_)) == ("mean", {1 / 8})
    assert "6 sequences of T = 8 tokens so far" in model.report_
    assert model.partial_fit(x[6:]).chosen_ == "perron"


@pytest.mark.parametrize(("given", "kept"), [(np.float64,) * 2, (np.float32,) * 2, (np.float16, np.float32)])
@pytest.mark.parametrize("method", ["mean", "supervised", "alternating", "learned"])
def test_floating_types_are_kept(method, given, kept):
    x, _, y = planted(n=120)
    model = PositionalPooling(method=method, validate=False)
    single = model.fit_transform(x.astype(given), y)
    assert single.dtype == kept
    near = (
        0.1 if given == np.float16 or method == "learned" else 1e-3
    )  # where a search stops, it depends on bits
    np.testing.assert_allclose(single, clone(model).fit_transform(x, y), atol=near)
    ids, _, table, _ = prefix(n=120)
    assert model.set_params(table=table.astype(given)).fit_transform(ids, y).dtype == kept


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_changed(method):
    ids, null, table, y = prefix(n=120)
    kept = [a.copy() for a in (ids, null, table, y)]
    mask = np.ones(ids.shape, dtype=bool)
    for a in (ids, null, table, y, mask):
        a.flags.writeable = False
    PositionalPooling(**options(method, null), table=table, cv=3).fit(ids, y, mask=mask).transform(
        ids, mask=mask
    )
    vectors = table[ids]
    vectors.flags.writeable = False
    fitted(method, vectors, y, table[null], cv=3).transform(vectors)
    for a, b in zip((ids, null, table, y), kept):
        np.testing.assert_array_equal(a, b)


def test_names_of_features_and_data_frames():
    pandas = pytest.importorskip("pandas")
    x, _, y = planted(n=60)
    model = PositionalPooling().set_output(transform="pandas").fit(x, y)
    out = model.transform(x)
    assert isinstance(out, pandas.DataFrame)
    assert (
        list(out.columns)
        == list(model.get_feature_names_out())
        == [f"positionalpooling{i}" for i in range(20)]
    )
    assert isinstance(clone(model).set_output(transform="pandas").fit_transform(x, y), pandas.DataFrame)


def test_in_a_pipeline_and_a_search():
    x, null, y = planted(n=240, length=12, d=30, mu=0.9, seed=1)
    pipe = make_pipeline(PositionalPooling(null=null, cv=3, random_state=0), LogisticRegression())
    grid = {"positionalpooling__method": ["mean", "excess", "supervised"]}
    search = GridSearchCV(pipe, grid, cv=3).fit(x[:180], y[:180])
    scores = dict(zip(grid["positionalpooling__method"], search.cv_results_["mean_test_score"]))
    assert search.best_params_["positionalpooling__method"] != "mean"
    assert scores["mean"] + 0.1 < scores["supervised"]
    assert search.score(x[180:], y[180:]) > 0.85


def test_masks_can_be_routed():
    x, y, mask = padded(120)
    with config_context(enable_metadata_routing=True):
        pooling = PositionalPooling().set_fit_request(mask=True).set_transform_request(mask=True)
        pipe = make_pipeline(pooling, LogisticRegression())
        search = GridSearchCV(pipe, {"positionalpooling__method": ["mean", "supervised"]}, cv=3)
        search.fit(x, y, mask=mask)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert pipe.fit(x, y, mask=mask).predict(x, mask=mask).shape == y.shape
        with pytest.raises(ValueError, match="X must be finite"):  # the twin: padding is read
            pipe.fit(x, y)


def test_transform_comes_after_fit():
    with pytest.raises(NotFittedError):
        PositionalPooling().transform(np.ones((2, 3, 4)))


# forms of input, and the rule for lengths


def test_all_forms_of_input_agree():
    rng = np.random.default_rng(2)
    table, lengths = rng.standard_normal((30, 5)), rng.integers(3, 8, 90)
    ids = [rng.integers(0, 30, length) for length in lengths]
    y = np.array([int(row[0] > 14) for row in ids])
    right, left = np.full((90, 7), 10**6), np.full((90, 7), -1)
    for i, row in enumerate(ids):
        right[i, : row.size], left[i, 7 - row.size :] = row, row
    ahead, behind = np.arange(7) < lengths[:, None], np.arange(7) >= 7 - lengths[:, None]
    x = np.full((90, 7, 5), np.nan)
    for i, row in enumerate(ids):
        x[i, : row.size] = table[row]
    flipped = np.full_like(x, np.inf)
    flipped[behind] = x[ahead]
    settings = {"method": "supervised", "validate": False, "ridge": 0.3, "positions": 5}
    reference = PositionalPooling(**settings).fit([table[row] for row in ids], y)
    z = reference.transform([table[row] for row in ids])
    forms = [
        ({"table": table}, ids, None),
        ({"table": table}, right, ahead),
        ({"table": table}, left, behind.astype(int)),
        ({}, x, ahead),
        ({}, flipped, behind),
        ({}, np.array([table[row] for row in ids], dtype=object), None),
    ]
    for more, form, mask in forms:
        model = PositionalPooling(**settings, **more).fit(form, y, mask=mask)
        np.testing.assert_allclose(model.weights_, reference.weights_, atol=1e-12)
        np.testing.assert_allclose(model.transform(form, mask=mask), z, atol=1e-12)
    np.testing.assert_allclose(z, [naive(table[row], reference.weights_) for row in ids], atol=1e-12)
    # the twin: positions counted from the other end
    other = [naive(table[row][::-1], reference.weights_) for row in ids]
    assert np.abs(z - other).max() > 0.1


def test_the_rule_for_lengths_with_signs_and_zeros():
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((length, 3)) for length in (1, 2, 3, 4, 6, 9)]
    model = PositionalPooling(positions=4).fit(sequences)
    for w in ([0, 0, 0.5, 0.5], [0.5, -0.2, 0.2, -0.1], [0.7, 0.3, 0, 0]):
        model.weights_ = np.array(w)
        np.testing.assert_allclose(
            model.transform(sequences), [naive(s, np.array(w)) for s in sequences], atol=1e-12
        )


def test_positions_are_what_half_of_the_sequences_reach():
    lengths = [2, 3, 5, 5, 6, 9]
    sequences = [np.ones((length, 1)) for length in lengths]
    assert PositionalPooling().fit(sequences).n_positions_ == 5
    assert PositionalPooling().fit(sequences[:5]).n_positions_ == 5
    assert PositionalPooling().fit([*sequences, sequences[0]]).n_positions_ == 5
    assert PositionalPooling(positions=2).fit(sequences).n_positions_ == 2


def test_the_default_is_plain_mean_pooling():
    x, y, mask = padded()
    z = PositionalPooling().fit_transform(x, y, mask=mask)
    np.testing.assert_allclose(z, np.nanmean(x, axis=1), atol=1e-12)
    model = PositionalPooling().fit(x, mask=mask)
    assert (model.method, model.chosen_, model.report_) == ("mean", "mean", "mean: given")
    assert len(set(model.weights_)) == 1
    # no labels are looked at: one class, or too rare a one, is no obstacle
    for labels in (np.zeros(60), np.r_[1, np.zeros(59)], np.linspace(0, 1, 60)):
        assert PositionalPooling().fit(x, labels, mask=mask).chosen_ == "mean"


@pytest.mark.parametrize("method", ["perron", "supervised"])
@pytest.mark.parametrize("kind", ["parquet", "zarr", "dataset", "batches"])
def test_streams(tmp_path, method, kind):
    ids, _, table, y = prefix(n=300)
    numbers = (y > 0).astype(int)
    vectors = table[ids].astype(np.float32)
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "ids.parquet"
        parquet.write_table(arrow.table({"input_ids": list(ids), "label": numbers}), path, row_group_size=70)
        source, more, reference = path, {"batch_size": 50}, ids
    elif kind == "zarr":
        zarr = pytest.importorskip("zarr")
        source = zarr.create_array(tmp_path / "x.zarr", data=vectors, chunks=(64, 8, 20))
        more, reference, table = {"labels": numbers}, vectors, None
    elif kind == "dataset":
        source = pytest.importorskip("datasets").Dataset.from_dict({"input_ids": ids, "label": numbers})
        more, reference = {}, ids
    else:
        source, more, reference = (
            [(ids[:100], None, numbers[:100]), (ids[100:], None, numbers[100:])],
            {},
            ids,
        )
    classes = 2 if method == "supervised" else 1
    empty = TokenMoments.empty("mean", 8, noise=False, gram=True, classes=classes)
    moments = accumulate(source, empty, table=table, **more).moments
    model = PositionalPooling(method=method, table=table).fit_moments(moments)
    whole = PositionalPooling(method=method, table=table, validate=False).fit(reference, y)
    np.testing.assert_allclose(model.weights_, whole.weights_, atol=1e-5)
    z = np.concatenate([model.transform(b.X, mask=b.mask) for b in batches(source, **more)])
    np.testing.assert_allclose(z, whole.transform(reference), atol=1e-4)


# what is found


@pytest.mark.parametrize("method", INFORMATIVE)
def test_planted_positions_are_found(method):
    x, null, y = planted()
    model = fitted(method, x, y, null, cv=3)
    assert model.chosen_ == method, model.report_
    assert np.abs(model.weights_[:2]).sum() > 0.75
    assert model.diagnostics_["cosine to uniform"] < 0.75
    assert "times uniform" in model.report_
    blind = fitted(method, x, y, null, validate=False)  # the same without a look at the folds
    np.testing.assert_allclose(blind.weights_, model.weights_, atol=0.2)
    assert "(validate=False)" in blind.report_


@pytest.mark.parametrize("method", INFORMATIVE)
def test_where_nothing_is_planted_pooling_stays_uniform(method):
    # labels that say nothing, positions alike: the twin
    x, null, _ = planted(informative=0)
    kept = []
    for seed in range(4):
        y = np.random.default_rng(seed).integers(0, 2, 800)
        model = fitted(method, x, y, null, cv=3)
        kept.append(model.chosen_ == "mean")
        if kept[-1]:
            np.testing.assert_allclose(model.weights_, 1 / 8)
            assert "mean pooling is kept" in model.report_ or "uniform" in model.report_
    assert sum(kept) >= 3


def test_the_noise_of_the_positional_gram():
    # docs/theory/pooling_weights.md, (1) and (2): gamma = 1/4, delta = 1, signs independent but for one pair
    rng = np.random.default_rng(0)
    loadings = np.r_[1.0, 1.0, np.zeros(28)]
    table = draw_noise(400, 400, rng=rng)
    table[:, 0] += 1.5 * token_signs(400)
    ids = draw_tokens(SingleFactor(loadings).sample(1600, rng=rng), 400, rng=rng)
    K = TokenMoments.empty("mean", 30, noise=False, gram=True).add(ids, table=table).positional_gram()
    noise = K[2:, 2:][np.triu_indices(28, 1)]
    assert noise.std() == pytest.approx(np.sqrt(0.25 * (1 + 1)), rel=0.12)
    assert noise.std() != pytest.approx(np.sqrt(0.25), rel=0.12)  # the twin: no finite vocabulary
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size)
    assert K[0, 1] == pytest.approx(1.5**2 + 1, abs=4 * noise.std())
    assert K[0, 1] != pytest.approx(0, abs=4 * noise.std())


def alternating_case(mu, seed):
    rng = np.random.default_rng(seed)
    _, signs = Prefix(20, 5).sample_labelled(2400, rng=rng)
    table = draw_noise(1600, 400, rng=rng)
    table[:, 0] += mu * token_signs(1600)
    return draw_tokens(signs, 1600, rng=rng), table


@pytest.mark.parametrize(("mu", "seed"), [(0.6, 0), (0.8, 1)])
def test_alternating_pooling_reaches_the_optimum(mu, seed):
    # docs/theory/pooling_weights.md, section 2: the optimum is 5, mean pooling has 2
    ids, table = alternating_case(mu, seed)
    R = Prefix(20, 5).matrix
    assert weights.snr(weights.optimal(R), R) == pytest.approx(5)
    w = PositionalPooling(method="alternating", table=table).fit(ids).weights_
    assert weights.snr(w, R) > 0.95 * 5
    # the twin: the positional Gram matrix of the same documents is not enough, gated or not
    for gate in (True, False):
        gram = PositionalPooling(method="perron", table=table, gate=gate).fit(ids).weights_
        assert weights.snr(gram, R) < 0.95 * 5


def templates(n=600, length=12, d=16, seed=0):
    """Even and odd positions hold a document's two fields, of opposite sign, as headers do."""
    rng = np.random.default_rng(seed)
    table = np.concatenate([rng.standard_normal((40, d)), rng.standard_normal((40, d))])
    table[:40, 0], table[40:, 0] = 3, -3
    first = rng.integers(0, 2, n)[:, None] == np.arange(length) % 2
    return rng.integers(0, 40, (n, length)) + 40 * first, table


@pytest.mark.parametrize("method", ["perron", "alternating", "excess"])
def test_templates_are_refused_with_a_table(method):
    ids, table = templates()
    rows = permute_tokens(ids, 2000, seed=1) if method == "excess" else None
    null = None if rows is None else table[rows]
    gated = PositionalPooling(method=method, table=table, null=rows).fit(ids)
    assert gated.chosen_ == "mean"
    assert "positive and negative weights cancel (signed mass" in gated.report_
    np.testing.assert_allclose(gated.weights_, 1 / 12)
    for free in (
        PositionalPooling(method=method, table=table, null=rows, gate=False).fit(ids),
        PositionalPooling(method=method, null=null).fit(table[ids]),  # contextual: the gate is blind there
    ):
        assert free.chosen_ == method
        assert (free.weights_ > 0.1).sum() == 6  # one half of the template
    assert PositionalPooling(method=method, null=null, gate=True).fit(table[ids]).chosen_ == "mean"


@pytest.mark.parametrize("seed", range(5))
def test_the_gate_keeps_the_excess_of_planted_positions(seed):
    ids, null, table, _ = prefix(n=3000, seed=seed)  # of 800 the gate refuses 3 in 20, of "perron" too
    gated, free = (
        PositionalPooling(method="excess", table=table, null=null, gate=gate).fit(ids)
        for gate in ("auto", False)
    )
    assert gated.chosen_ == "excess"
    np.testing.assert_array_equal(gated.weights_, free.weights_)
    assert gated.weights_[:2].sum() > 0.8


def test_weights_that_hurt_are_replaced_by_the_mean():
    # documents share most in their last half, which says nothing about the class
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    x = rng.standard_normal((400, 8, 10))
    x[:, :4, 0] += 0.8 * (2 * y - 1)[:, None]
    x[:, 4:, 1:] += 3 * rng.standard_normal((400, 1, 9))
    guarded = PositionalPooling(method="perron", random_state=0).fit(x, y)
    assert guarded.chosen_ == "mean"
    np.testing.assert_array_equal(guarded.weights_, 1 / 8)
    gain, error = gain_and_error(guarded.validation_["perron"] - guarded.validation_["mean"])
    assert gain < -0.1
    assert f"{100 * gain:+.1f} ± {100 * error:.1f} points" in guarded.report_
    assert "mean pooling is kept: no gain beyond one standard error" in guarded.report_
    free = PositionalPooling(method="perron", validate=False).fit(x, y)
    assert free.weights_[4:].sum() > 0.9


def test_a_contaminated_position_is_subtracted():
    # positions 0 and 1 share noise, as a transformer's tokens do; only 0 has the class
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1000)
    shared = 2 * rng.standard_normal((1000, 1, 6))
    x = rng.standard_normal((1000, 4, 6)) * 0.7
    x[:, :2] += shared
    x[:, 0, 0] += 0.8 * (2 * y - 1)
    model = PositionalPooling(method="supervised", random_state=0).fit(x, y)
    assert model.chosen_ == "supervised"
    assert model.weights_[0] > 0.35
    assert model.weights_[1] < -0.35
    positive = PositionalPooling(method="learned", random_state=0).fit(x, y)  # w >= 0
    own, best = (m.validation_ for m in (model, positive))
    chosen = re.match(r"[^:]*", model.report_).group()
    assert own[chosen].mean() > best["learned"].mean() + 0.05
    gate = PositionalPooling(method="supervised", gate=True, random_state=0).fit(x, y)
    assert gate.chosen_ == "supervised"  # never gated


def test_excess_sees_past_what_the_encoder_makes():
    # the "encoder" correlates late positions in any document; only the first two are of the document
    rng = np.random.default_rng(0)
    x, null = rng.standard_normal((2, 1500, 8, 6))
    for part in (x, null):
        part[:, 3:] += 2 * rng.standard_normal((1500, 1, 6))
    x[:, :2] += 1.5 * rng.standard_normal((1500, 1, 6))
    found = {
        m: PositionalPooling(**options(m, null)).fit(x).weights_
        for m in ("perron", "excess", "excess-generalised")
    }
    assert found["perron"][:2].sum() < 0.2
    assert found["excess"][:2].sum() > 0.8
    assert np.abs(found["excess-generalised"][:2]).sum() > 0.8
    own = TokenMoments.empty("mean", 8, noise=False, gram=True).add(null)
    np.testing.assert_allclose(PositionalPooling(method="excess", null=own).fit(x).weights_, found["excess"])
    # the twin: documents that are their own null have nothing
    blank = PositionalPooling(method="excess-generalised", null=x).fit(x)
    assert (blank.chosen_, "uniform" in blank.report_) == ("mean", True)


def test_the_ridge_is_chosen_on_the_folds():
    x, null, y = planted()
    for method in ("supervised", "excess-generalised"):
        model = fitted(method, x, y, null)
        names = [f"{method}, ridge {r}" for r in ("0.1", "0.3", "1")]
        assert list(model.validation_) == ["mean", *names]
        best = max(names, key=lambda name: model.validation_[name].mean())
        assert model.report_.startswith(best)
        assert list(fitted(method, x, y, null, ridge=0.5).validation_)[1:] == [f"{method}, ridge 0.5"]
        assert fitted(method, x, y, null, validate=False).report_.startswith(names[-1])


def test_the_corrected_standard_error():
    gains = np.array([0.01, 0.03, 0.02, 0.02])
    gain, error = gain_and_error(gains)
    assert gain == pytest.approx(0.02)
    assert error == pytest.approx(np.std(gains, ddof=1) * np.sqrt(1 / 4 + 1 / 3))


# what is refused

X, Y, MASK = padded()
CLEAN = np.where(MASK[..., None], X, 0.0)
HOLE, WILD = CLEAN.copy(), CLEAN.copy()
HOLE[5, 2, 1], WILD[9, 0, 0] = np.nan, np.inf
NOWHERE = MASK.copy()
NOWHERE[7] = False
IDS = np.arange(60 * 3).reshape(60, 3) % 9
TABLE = np.random.default_rng(0).standard_normal((9, 5))
SUPERVISED = {"method": "supervised"}

BAD = [
    ({}, HOLE, Y, MASK, r"X must be finite.*nan or infinity in sample 5"),
    ({}, WILD, Y, MASK, r"X must be finite.*nan or infinity in sample 9"),
    ({"method": "perron"}, HOLE, Y, MASK, r"X must be finite, got NaN or infinite entries in sequence 5"),
    ({"method": "alternating"}, HOLE, None, MASK, r"X must be finite.*nan or infinity in sample 5"),
    ({"method": "learned"}, WILD, Y, MASK, r"X must be finite.*nan or infinity in sample 9"),
    ({}, X, Y, NOWHERE, r"X must hold at least one token in each sample, got none in sample 7"),
    ({}, [*X[:59], X[0, :0]], Y, None, r"at least one token in each sample, got none in sample 59"),
    ({}, X, Y, MASK[:, :3], r"mask must be boolean and of shape \(60, 7\), as X, got \(60, 3\)"),
    ({}, X, Y, MASK * 2, r"mask must be boolean"),
    ({"table": TABLE}, IDS + 1, Y, None, r"X must hold ids from 0 to 8, got 1 to 9, first in sequence 2"),
    ({"table": TABLE}, IDS - 1, Y, None, r"X must hold ids from 0 to 8, got -1 to 7, first in sequence 0"),
    ({}, X[:, 0], Y, None, r"X must be of shape \(n, L, d\).*got \(60, 5\) of float64"),
    ({}, [*X[:59], X[0, :, :3]], Y, None, r"one number >= 1 of features for all tokens, got \[3, 5\]"),
    (
        {"method": "perron"},
        HOLE[:6],
        None,
        None,
        r"more than T = 7 sequences of at least so many tokens, got 6",
    ),
    (SUPERVISED | {"cv": 2}, CLEAN[:12], Y[:12], None, r"more than T = 7 .* besides each of 2 folds, got 6"),
    (SUPERVISED, X, None, MASK, r"y must hold class labels for method 'supervised', got None"),
    (SUPERVISED, X, np.linspace(0, 1, 60), MASK, r"y must hold class labels .*, got continuous values"),
    (SUPERVISED, X, np.ones(60), MASK, r"y must hold 60 labels of at least two classes, got 60 of 1"),
    (SUPERVISED, X, Y[:50], MASK, r"y must hold 60 labels of at least two classes, got 50 of 2"),
    (SUPERVISED, X, np.r_[1, [0] * 59], MASK, r"cv must be at most 1, the rarest class's sequences, got 5"),
    ({"method": "excess"}, X, Y, MASK, r"null must be given for method 'excess', got None"),
    (
        {"method": "excess", "null": CLEAN[..., :3]},
        X,
        Y,
        MASK,
        r"null must have 5 features a token, as X, got 3",
    ),
    (
        {"method": "excess", "positions": 4, "null": TokenMoments.empty("mean", 3, gram=True).add(CLEAN[:9])},
        *(X, Y, MASK, r"null must be of 4 positions, as X, got 3"),
    ),
    (
        {"method": "excess", "positions": 4, "null": TokenMoments.empty("mean", 4).add(CLEAN[:9])},
        *(X, Y, MASK, r"null must be moments made with gram=True"),
    ),
    ({"method": "max"}, X, Y, MASK, r"method must be one of 'mean', .*'learned', got 'max'"),
    ({"gate": "on"}, X, Y, MASK, r"gate must be 'auto', True or False, got 'on'"),
    ({"ridge": -1}, X, Y, MASK, r"ridge must be a finite number >= 0, got -1"),
    ({"ridge": "auto"}, X, Y, MASK, r"ridge must be a finite number >= 0, got 'auto'"),
    ({"cv": 1}, X, Y, MASK, r"cv must be a whole number >= 2, got 1"),
    ({"positions": 0}, X, Y, MASK, r"positions must be a whole number >= 1, got 0"),
]


@pytest.mark.parametrize(("settings", "x", "y", "mask", "message"), BAD, ids=[case[-1][:50] for case in BAD])
def test_bad_input_is_named(settings, x, y, mask, message):
    with pytest.raises(ValueError, match=message):
        PositionalPooling(**settings).fit(x, y, mask=mask)


def test_transform_names_what_is_wrong():
    model = PositionalPooling().fit(X, mask=MASK)
    with pytest.raises(ValueError, match="X must have 5 features a token, as in fit, got 4"):
        model.transform(X[..., :4], mask=MASK)
    with pytest.raises(ValueError, match="X must be finite, got NaN or infinite entries in sequence 9"):
        model.transform(WILD, mask=MASK)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :, :4], Y, r"X must have 5 features a token, as before, got 4"),
        (HOLE, Y, r"X must be finite, got NaN or infinite entries in sequence 5"),
        (X, None, r"y must hold 60 labels out of \[0, 1\], got None"),
        (X, Y[:9], r"y must hold 60 labels out of \[0, 1\], got 9"),
        (X, Y + 1, r"y must hold 60 labels out of \[0, 1\], got 2"),
        (X, Y.astype(str), r"y must hold 60 labels out of \[0, 1\], got '0'"),
    ],
)
def test_what_was_accumulated_stays(x, y, message):
    model = PositionalPooling(**SUPERVISED).partial_fit(X, Y, mask=MASK, classes=[0, 1])
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(x, y, mask=MASK)
    assert pickle.dumps(model) == before
    assert model.partial_fit(X, Y, mask=MASK).moments_.count == 120


def test_partial_fit_and_moments_name_what_is_wrong():
    def refused(message, call):
        with pytest.raises(ValueError, match=message):
            call()

    refused(
        "classes must list all labels in the first partial_fit of method 'supervised', got None",
        lambda: PositionalPooling(**SUPERVISED).partial_fit(X, Y, mask=MASK),
    )
    made = TokenMoments.empty("mean", 4, gram=True).add(CLEAN[:20, :4])
    for method in ("alternating", "learned"):
        model, several = (
            PositionalPooling(method=method),
            f"method '{method}' needs several passes over the data",
        )
        refused(several, lambda m=model: m.partial_fit(X, Y, mask=MASK))
        refused(several, lambda m=model: m.fit_moments(made))
    perron, plain = PositionalPooling(method="perron"), TokenMoments.empty("mean", 4)
    refused("moments must hold sequences, got none", lambda: perron.fit_moments(plain))
    refused(
        "made with gram=True for 'perron', got gram=False",
        lambda: perron.fit_moments(plain.add(CLEAN[:2, :4])),
    )
    refused(
        "number of classes for 'supervised', got 1", lambda: PositionalPooling(**SUPERVISED).fit_moments(made)
    )
    refused(
        "moments must be of positions = 3 positions, got 4",
        lambda: PositionalPooling(positions=3).fit_moments(made),
    )
    few = TokenMoments.empty("mean", 4, gram=True).add(CLEAN[:3, :4])
    refused("more than T = 4 sequences of at least so many tokens, got 3", lambda: perron.fit_moments(few))


def test_labels_among_classes():
    np.testing.assert_array_equal(labels_among(np.array(["a", "b", "d"]), ["d", "a"], 2), [2, 0])


def test_the_method_may_change_between_batches():
    x, null, _ = planted(n=200)
    model = PositionalPooling(method="perron").fit(x[:100])
    model.set_params(method="excess", null=null).partial_fit(x[100:])
    assert model.moments_.count == 200
    np.testing.assert_allclose(
        model.weights_, PositionalPooling(method="excess", null=null).fit(x).weights_, atol=1e-9
    )


@pytest.mark.parametrize("kind", ["u1", "f8", "?"])
def test_labels_are_compared_by_value(kind):
    np.testing.assert_array_equal(labels_among(np.array([0, 1]), np.array([1, 0], dtype=kind), 2), [1, 0])
    words = np.array(["ham", "spam"], dtype=object)
    np.testing.assert_array_equal(labels_among(np.unique(words), words.astype(str), 2), [0, 1])
    np.testing.assert_array_equal(labels_among(np.array(["ham", "spam"]), words, 2), [0, 1])


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_are_named(missing):
    x, _, _ = planted(n=60)
    for y in (["a", "b", missing] * 20, [0.0, 1.0, np.nan] * 20):
        with pytest.raises(
            ValueError, match="y must hold a label for each sequence, got none for sequence 2"
        ):
            PositionalPooling(method="perron").fit(x, y)


def test_constant_classes_small_nulls_and_what_is_no_moments():
    x, null, y = planted(n=60)
    constant = np.ones((60, 3, 2)) * (y > 0)[:, None, None]
    assert "uniform: there is no noise" in PositionalPooling(method="supervised").fit(constant, y).report_
    with pytest.raises(ValueError, match=r"null must hold more than T = 8 sequences .* got 4"):
        PositionalPooling(method="excess", null=null[:4]).fit(x)
    with pytest.raises(ValueError, match="null: X must be finite"):
        PositionalPooling(method="excess", null=null * np.nan).fit(x)
    with pytest.raises(ValueError, match="moments must be TokenMoments, got ndarray"):
        PositionalPooling(method="perron").fit_moments(x)
    with pytest.raises(ValueError, match="validate must be True or False, got 'no'"):
        PositionalPooling(method="perron", validate="no").fit(x, y)


def test_columns_of_data_frames():
    pandas = pytest.importorskip("pandas")
    x, _, mask = padded()
    rows = [own[real] for own, real in zip(x, mask)]
    column = pandas.Series(rows, index=np.arange(60) + 7)
    np.testing.assert_array_equal(
        PositionalPooling().fit(column).transform(column), PositionalPooling().fit_transform(rows)
    )


def test_tensors_that_numpy_cannot_take_over():
    torch = pytest.importorskip("torch")
    for x in (torch.ones(9, 2, 3).bfloat16(), torch.ones(9, 2, 3).requires_grad_()):
        with pytest.raises(ValueError, match="X must be of arrays that NumPy can take over, got Tensor"):
            PositionalPooling().fit(x)
