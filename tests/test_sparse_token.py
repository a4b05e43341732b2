"""The sparse-token model: limit against finite samples, closed forms against each other, bad input."""

import dataclasses
import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from resolvent import SparseTokenClassification
from resolvent.sparse_token import (
    Query,
    SparseTokens,
    attention,
    capacity,
    draw,
    expansion,
    fit,
    optimal_rates,
    pooled,
    readout,
    separable,
    separable_prefix,
    two_steps,
    vectorised,
)
from resolvent.sparse_token.features import scores, softmax
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.trained import train

D, SEEDS = 1000, range(16)
ALLOWANCE = 0.5 / D


def agrees(values, expected, allowance):
    """Within four standard errors of the mean, plus an allowance."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return bool(abs(np.mean(values) - expected) <= 4 * error + allowance)


def random_settings(count=8, seed=11):
    """Models drawn at random (the draw is fixed), whose kappa is of order one."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        L = int(rng.integers(4, 12))
        model = SparseTokenClassification(
            D,
            L,
            int(rng.integers(1, max(L // 2, 2))),
            float(rng.uniform(2.5, 7)),
            float(rng.uniform(0.15, 0.7)),
            samples_query=int(D * rng.uniform(0.5, 2.5)),
            samples_readout=int(D * rng.uniform(0.5, 2.5)),
            steps=tuple(rng.uniform(0.2, 1.5, 3)),
            loss=("logistic", "square")[rng.integers(2)],
            regularisation=float(10 ** rng.uniform(-5, -1)),
        )
        limit = model.predict().query
        beta = np.sqrt(rng.uniform(0.5, 2) / limit.kappa)
        found.append(dataclasses.replace(model, inverse_temperature=float(beta)))
    return found


SETTINGS = random_settings()


def test_random_settings_cover_the_conventions():
    assert {model.loss for model in SETTINGS} == {"logistic", "square"}
    alignments = [model.predict().query.alignment for model in SETTINGS]
    assert min(alignments) < 0.6 < 0.9 < max(alignments)


@pytest.mark.slow
@pytest.mark.parametrize("model", SETTINGS, ids=range(len(SETTINGS)))
def test_random_settings_follow_the_theory(model):
    limit = model.predict()
    draws = [model.simulate(seed, classifiers=["attention"]) for seed in SEEDS]
    for name in ("alignment", "first_alignment"):
        values = [getattr(d.query, name) for d in draws]
        assert agrees(values, getattr(limit.query, name), ALLOWANCE), name
    kappas = [d.query.kappa for d in draws]
    assert agrees(kappas, limit.query.kappa, 4 * limit.query.kappa / D)
    # given each run's own query, what is left is the read-out's own error
    left = [d.attention.error - model.predict(d.query).attention.error for d in draws]
    assert agrees(left, 0.0, ALLOWANCE)
    # a query frozen at the limit's, for every classifier
    frozen = Query(float(limit.query.alignment), float(limit.query.kappa))
    names = ["attention", "pooled"]
    draws = [model.simulate(100 + seed, frozen, classifiers=names) for seed in SEEDS]
    for name in names:
        for quantity in ("error", "loss"):
            values = [getattr(getattr(d, name), quantity) for d in draws]
            expected = getattr(getattr(limit, name), quantity)
            # the training loss may be large: its allowance is relative
            assert agrees(values, expected, ALLOWANCE * (1 if quantity == "error" else 4 * expected)), (
                name,
                quantity,
            )


def test_a_query_frozen_at_random_fails():
    # the twin: error and alignment of a random query are those of alignment zero, not of the trained one
    model = SparseTokenClassification(400, 8, 1, 5.0, 0.5, 1600, 1200, steps=0.5, regularisation=1e-2)
    model = model.tuned()
    limit = model.predict()
    rng = np.random.default_rng(3)
    draws = []
    for seed in range(8):
        q = rng.standard_normal(400)
        random = Query(float(q[0] / np.linalg.norm(q)), float(limit.query.kappa))
        draws.append(model.simulate(seed, random, classifiers=["attention"]))
    errors = [d.attention.error for d in draws]
    assert not agrees(errors, limit.attention.error, 2 / 400)
    assert agrees(errors, model.predict(Query(0.0, float(limit.query.kappa))).attention.error, 5 / 400)
    assert agrees([d.attention.error - model.predict(d.query).attention.error for d in draws], 0.0, 2 / 400)


# --- the query ----------------------------------------------------------------------------------------


def test_two_steps_at_the_published_setting():
    # L=10, R=3, pi=.2, theta=6, eta=.5: values of the formulas, checked by simulation elsewhere in this file
    limit = two_steps(SparseTokens(10, 3, 6.0, 0.2), [0.5, 1, 2, 4], steps=0.5)
    np.testing.assert_allclose(limit.alignment, [0.702, 0.828, 0.908, 0.952], atol=1e-3)
    np.testing.assert_allclose(limit.first_alignment, [0.627, 0.751, 0.850, 0.916], atol=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize(
    "tokens", [SparseTokens(10, 3, 6.0, 0.2), SparseTokens((5, 9), (1, 2), 4.0, 0.4, signals=3)]
)
def test_alignment_approaches_one_like_c_over_alpha(tokens, loss):
    alphas = np.array([1e2, 1e3, 1e4])
    limit = two_steps(tokens, alphas, steps=0.5, loss=loss)
    gap = alphas * (1 - np.abs(limit.alignment))
    assert gap[-1] == pytest.approx(limit.decay, rel=1e-3)
    rates = np.diff(np.log(np.abs(gap - limit.decay))) / np.diff(np.log(alphas))
    np.testing.assert_allclose(rates, -1, atol=0.15)  # the next order


def test_the_self_interaction_matters_at_few_samples():
    tokens = SparseTokens(4, 1, 5.0, 0.3)
    reused, fresh = (
        two_steps(tokens, 0.3, steps=2.0, loss="square", reused=reused).alignment for reused in (True, False)
    )
    model = SparseTokenClassification(
        600, 4, 1, 5.0, 0.3, samples_query=180, samples_readout=2, steps=2.0, loss="square"
    )
    found = [model.simulate(seed, classifiers=[]).query.alignment for seed in range(24)]
    assert agrees(found, reused, 1 / 600)
    assert not agrees(found, fresh, 1 / 600)


def test_kappa_grows_with_the_square_of_beta_and_the_direction_does_not():
    tokens = SparseTokens(10, 3, 6.0, 0.2)
    one, two = (two_steps(tokens, 1.0, steps=(0.5, 0.5, 0.1), inverse_temperature=b) for b in (1.0, 2.0))
    assert two.kappa == pytest.approx(4 * one.kappa)
    assert two.alignment == pytest.approx(one.alignment)
    backwards = two_steps(tokens, 1.0, steps=(0.5, 0.5, -0.1))
    assert backwards.alignment == pytest.approx(-one.alignment)
    assert backwards.kappa == pytest.approx(one.kappa)


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize("rarity", [0.2, 0.5])
def test_optimal_rates_beat_a_search(loss, rarity):
    tokens = SparseTokens(8, 2, 4.0, rarity)
    best = two_steps(tokens, 1.0, steps=optimal_rates(tokens, 1.0, loss=loss), loss=loss).alignment
    rng = np.random.default_rng(0)
    others = [
        two_steps(tokens, 1.0, steps=(*np.exp(rng.uniform(-4, 4, 2)), 1.0), loss=loss).alignment
        for _ in range(200)
    ]
    assert best >= max(others) - 1e-6


def test_a_blind_query_is_said():
    # L = 10, R = 3, theta = 3, pi = .2, logistic: near eta = 1 the noise's share cancels the signal's
    from scipy.optimize import brentq

    tokens = SparseTokens(10, 3, 3.0, 0.2)

    def alignment(eta):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(two_steps(tokens, 1.0, steps=eta).alignment)

    eta = brentq(alignment, 0.8, 1.3, xtol=1e-14)
    with pytest.warns(UserWarning, match="blind"):
        assert two_steps(tokens, 1.0, steps=eta).alignment == pytest.approx(0, abs=1e-6)
    assert two_steps(tokens, 1.0, steps=optimal_rates(tokens, 1.0)).alignment > 0.5


# --- the reduction ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "query"),
    [
        (SparseTokens(6, 2, 3.0, 0.4), Query(0.6, 1.2)),
        (SparseTokens((4, 7), (1, 3), 3.0, 0.4, signals=2), Query((0.7, -0.2), 0.8)),
    ],
)
def test_scalars_are_those_of_the_tokens_themselves(tokens, query):
    d, n, K = 12, 40_000, tokens.signals
    cosines = query.cosines(K)
    q = np.zeros(d)
    q[:K], q[K] = cosines, np.sqrt(1 - cosines @ cosines)
    x, labels, mask = tokens.sample(n, dimension=d, rng=0)
    features = np.einsum("nl,nld->nd", softmax(query.kappa * (x @ q), mask), x)
    y, p, t, omega = scores(tokens, query, n, rng=1)
    law = attention(tokens, query)
    for label in (1, -1):
        full, own, points = labels == label, y == label, law.y == label
        weight = law.weight[points] / law.weight[points].sum()
        for power in (1, 2):
            direct = (features[full] @ q) ** power
            assert agrees(direct, weight @ law.p[points] ** power, 1e-3)
            assert agrees(p[own] ** power, weight @ law.p[points] ** power, 1e-3)
        assert agrees(features[full, -1] ** 2, weight @ law.omega[points] ** 2, 1e-3)
        assert agrees(omega[own], weight @ law.omega[points], 1e-3)
        # the signal outside the query, in the coordinates of the law
        assert agrees(t[own].sum(axis=1), weight @ law.t[points].sum(axis=1), 1e-3)
        if label > 0:
            spread = np.sqrt(np.mean(np.sum(t[own] ** 2, axis=1)))
            outside = features[full, :K] - np.outer(features[full] @ q, cosines)
            assert not agrees(outside[:, 0], 0.0, 0.0)
            assert spread > 0.1
    assert law.weight.sum() == pytest.approx(1)
    assert np.linalg.norm(law.direction) == pytest.approx(1)


def test_no_temperature_is_pooling():
    tokens = SparseTokens(8, 2, 4.0, 0.3)
    for loss in LOSSES:
        one, other = (
            readout(law, 3.0, loss=loss, regularisation=1e-2)
            for law in (pooled(tokens), attention(tokens, Query(0.0, 0.0)))
        )
        assert one.error == pytest.approx(other.error, abs=2e-4)
        assert one.loss == pytest.approx(other.loss, abs=1e-3)
    assert capacity(attention(tokens, Query(0.0, 0.0))) == pytest.approx(capacity(pooled(tokens)), rel=3e-3)


def test_vectorised_is_pooling_with_l_times_fewer_samples():
    tokens = SparseTokens(8, 2, 4.0, 0.3)
    for loss in LOSSES:
        wide = readout(vectorised(tokens), 4.0, loss=loss, regularisation=8e-2)
        narrow = readout(pooled(tokens), 0.5, loss=loss, regularisation=1e-2)
        assert wide.error == pytest.approx(narrow.error, abs=1e-8)
        assert wide.alignment == pytest.approx(narrow.alignment, abs=1e-8)
    assert capacity(vectorised(tokens)) == pytest.approx(8 * capacity(pooled(tokens)))


@pytest.mark.parametrize("classifier", ["attention", "vectorised"])
def test_drawn_features_are_those_of_the_tokens(classifier):
    """Fits on features by the reduction, and on features of explicit tokens, err alike (and a wrong query does not)."""
    tokens, d, n = SparseTokens(4, 1, 4.0, 0.4), 60, 100
    query = Query(0.6, 1.0)
    q = np.zeros(d)
    q[:2] = 0.6, 0.8
    law = attention(tokens, query) if classifier == "attention" else vectorised(tokens)
    reduced, explicit = [], []
    for seed in range(40):
        sample = draw(tokens, query if classifier == "attention" else None, n, d, rng=seed)
        reduced.append(train(law, tokens, sample, loss="square", regularisation=1e-2).loss)
        x, labels, _ = tokens.sample(n, dimension=d, rng=1000 + seed)
        features = (
            np.einsum("nl,nld->nd", softmax(x @ q), x) if classifier == "attention" else x.reshape(n, -1)
        )
        w, b = fit(features, labels, loss="square", regularisation=1e-2)
        explicit.append(np.mean((features @ w + b - labels) ** 2) / 2)
    error = np.hypot(*(np.std(v, ddof=1) / np.sqrt(40) for v in (reduced, explicit)))
    assert abs(np.mean(reduced) - np.mean(explicit)) < 4 * error
    if classifier == "attention":
        other = [
            train(
                law, tokens, draw(tokens, Query(-0.6, 1.0), n, d, rng=s), loss="square", regularisation=1e-2
            ).loss
            for s in range(40)
        ]
        assert abs(np.mean(other) - np.mean(explicit)) > 4 * error


def test_test_error_is_the_share_of_wrong_signs():
    tokens, query, d = SparseTokens(5, 2, 3.0, 0.3), Query(0.5, 1.0), 40
    for q, law in (
        (query, attention(tokens, query)),
        (Query(0.0, 0.0), pooled(tokens)),
        (None, vectorised(tokens)),
    ):
        sample = draw(tokens, q, 150, d, rng=0)
        trained = train(law, tokens, sample, loss="logistic", regularisation=1e-2)
        w, b = fit(sample.features, sample.labels, regularisation=1e-2)
        fresh = draw(tokens, q, 40_000, d, rng=1)
        features = fresh.features[:, : w.size]
        if (
            fresh.features.shape[1] != w.size
        ):  # noise directions were rotated into as many as there were samples
            head = 10 if q is None else 2
            rest = np.linalg.norm(w[head:]) * np.random.default_rng(2).standard_normal(40_000)
            found = features[:, :head] @ w[:head] + b + rest
        else:
            found = features @ w + b
        assert agrees(found * fresh.labels < 0, trained.error, 1e-3)


# --- the read-out -------------------------------------------------------------------------------------

LAWS = {
    "attention": attention(SparseTokens(10, 1, 5.0, 0.5), Query(0.7, 1.0)),
    "pooled": pooled(SparseTokens(10, 2, 4.0, 0.2)),
    "vectorised": vectorised(SparseTokens(5, 1, 4.0, 0.6)),
    "two signals, mixed": attention(
        SparseTokens((4, 7), (1, 3), 4.0, 0.4, signals=2), Query((0.6, 0.3), 0.9)
    ),
}
every_law = pytest.mark.parametrize("law", list(LAWS.values()), ids=list(LAWS))


def residuals(law, found, alpha, loss, penalty):
    """The five equations of docs/theory/sparse_token.md, written out with a plain average over the law's points."""
    f, gamma = LOSSES[loss], law.width / alpha
    w1, w2 = found.along[0], found.along[1:]
    r = np.sqrt(found.norm**2 - w1**2)
    rest = r**2 - w2 @ w2
    u_star = found.intercept + w1 * law.p + law.t @ w2 + r * law.omega * law.normal
    u = f.prox(law.y, u_star, found.variance * law.omega**2)
    slope, curve = f.first(law.y, u), f.second(law.y, u)
    k = curve / (1 + found.variance * law.omega**2 * curve)

    def mean(x):
        return np.tensordot(law.weight, x, axes=1)

    chi = mean(law.omega**2 * k)
    first = mean(slope)
    along = penalty * w1 + mean(law.p * slope) if law.query is not None else 0.0
    across = (penalty + chi) * w2 + mean(law.t * slope[:, None])
    return np.r_[
        first,
        along,
        across,
        found.variance * (penalty + chi) / gamma - 1,
        rest * (penalty + chi) ** 2 / (gamma * mean(law.omega**2 * slope**2)) - 1,
        mean(f.value(law.y, u)) - found.loss,
    ]


@every_law
@pytest.mark.parametrize("alpha", [0.4, 3.0, 30.0])
@pytest.mark.parametrize("penalty", [1e-5, 0.1, 10.0])
def test_the_logistic_read_out_solves_its_equations(law, alpha, penalty):
    found = readout(law, alpha, loss="logistic", regularisation=penalty)
    assert np.abs(residuals(law, found, alpha, "logistic", penalty)).max() < 1e-8


@pytest.mark.parametrize("name", ["pooled", "vectorised"])
@pytest.mark.parametrize("alpha", [0.4, 3.0, 30.0])
def test_the_square_read_out_solves_the_same_equations(name, alpha):
    # without a query the points integrate the score's noise exactly, as the closed form does
    found = readout(LAWS[name], alpha, loss="square", regularisation=1e-3)
    assert np.abs(residuals(LAWS[name], found, alpha, "square", 1e-3)).max() < 1e-8


@every_law
def test_the_square_read_out_broadcasts(law):
    alphas = np.array([[0.5, 2.0], [7.0, 40.0]])
    grid = readout(law, alphas, loss="square", regularisation=1e-3)
    assert grid.error.shape == (2, 2)
    assert grid.along.shape == (2, 2, law.size + 1)
    one = readout(law, 7.0, loss="square", regularisation=1e-3)
    assert grid.error[1, 0] == pytest.approx(one.error)
    assert grid.loss[1, 0] == pytest.approx(one.loss)


@given(alpha=st.floats(1.2, 50), mu=st.floats(0.2, 4), rarity=st.floats(0.05, 0.95), wide=st.booleans())
def test_ridgeless_linear_baselines_have_a_closed_form(alpha, mu, rarity, wide):
    L = 7
    tokens = SparseTokens(L, 1, mu * np.sqrt(L), rarity)
    law = vectorised(tokens) if wide else pooled(tokens)
    found = readout(law, alpha * (L if wide else 1), loss="square", regularisation=0)
    v = rarity * (1 - rarity)
    m = 2 * v * mu / (1 + mu**2 * v)
    mse = 4 * v / (1 + mu**2 * v)
    b = 2 * rarity - 1 - m * mu * rarity
    r = np.sqrt(m**2 + mse / (alpha - 1))
    error = rarity * stats.norm.cdf(-(b + m * mu) / r) + (1 - rarity) * stats.norm.cdf(b / r)
    assert found.error == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize(
    ("alignment", "limit"), [(0.0, 0.3235), (0.1, 0.2671), (0.2, 0.2115), (0.4, 0.1276), (0.8, 0.0495)]
)
def test_expansion_at_many_samples(alignment, limit):
    law = attention(SparseTokens(10, 1, 5.0, 0.5), Query(alignment, 1.0))
    found = expansion(law)
    assert found.limit == pytest.approx(limit, abs=4e-4)
    alphas = np.array([100.0, 400.0])
    left = readout(law, alphas, loss="square", regularisation=0).error - found.limit
    np.testing.assert_allclose(alphas * left, found.coefficient, rtol=0.15)
    rate = np.diff(np.log(np.abs(alphas * left - found.coefficient))) / np.diff(np.log(alphas))
    assert rate == pytest.approx(-1, abs=0.2)


def test_expansion_of_linear_baselines():
    tokens = SparseTokens(10, 1, 5.0, 0.5)
    one, other = expansion(pooled(tokens)), expansion(vectorised(tokens))
    assert one.limit == pytest.approx(0.2146, abs=1e-4)
    assert other.limit == pytest.approx(one.limit)
    assert other.coefficient == pytest.approx(10 * one.coefficient)
    assert np.isnan(expansion(attention(tokens, Query(1.0, 1.0))).coefficient)


@given(
    y=st.sampled_from([-1.0, 1.0]),
    v=st.floats(-1e3, 1e3),
    g=st.floats(1e-8, 1e8),
    start=st.one_of(st.none(), st.floats(-1e3, 1e3)),
)
def test_the_logistic_proximal_map(y, v, g, start):
    one = np.ones(1)
    found = LOSSES["logistic"].prox(y * one, v * one, g * one, None if start is None else start * one)
    slope = LOSSES["logistic"].first(y * one, found)
    # u − v + g l'(u) = 0, to rounding of its own terms
    assert abs(found - v + g * slope)[0] <= 1e-8 * (abs(v) + abs(found[0]) + g * abs(slope[0]) + 1e-300)


@pytest.mark.parametrize("loss", LOSSES)
def test_derivatives_of_the_losses(loss):
    f, u = LOSSES[loss], np.linspace(-4, 4, 17)
    for y in (1.0, -1.0):
        labels = np.full_like(u, y)
        for lower, upper in ((f.value, f.first), (f.first, f.second), (f.second, f.third)):
            slope = (lower(labels, u + 1e-5) - lower(labels, u - 1e-5)) / 2e-5
            np.testing.assert_allclose(slope, upper(labels, u), atol=1e-8)
        assert f.at_zero == pytest.approx(-y * f.first(np.array([y]), np.zeros(1))[0])


@pytest.mark.parametrize("rarity", [1e-6, 1 - 1e-9])
def test_labels_that_hardly_occur_are_solved_too(rarity):
    law = attention(SparseTokens(6, 2, 4.0, rarity), Query(0.5, 1.0))
    found = readout(law, 3.0, regularisation=1e-5)
    assert found.error == pytest.approx(min(rarity, 1 - rarity), rel=1e-6)
    assert np.abs(residuals(law, found, 3.0, "logistic", 1e-5)).max() < 1e-8


def test_unsolved_equations_are_not_returned(monkeypatch):
    module = importlib.import_module("resolvent.sparse_token.readout")
    monkeypatch.setattr(module, "_newton", lambda *arguments: None)
    with pytest.raises(RuntimeError, match="not solved"):
        module.readout(LAWS["pooled"], 1.0, loss="logistic")


# --- separability -------------------------------------------------------------------------------------


def test_capacity_of_labels_that_mean_nothing_is_covers():
    silent = [pooled(SparseTokens(4, 1, 1e-6, rarity)) for rarity in (0.5, 0.2)]
    assert capacity(silent[0]) == pytest.approx(2, abs=1e-6)
    assert capacity(silent[1]) == pytest.approx(2.6676, abs=1e-4)


def test_capacities_at_the_settings_of_the_theory_page():
    tokens = SparseTokens(5, 1, 3.0, 0.5)
    assert capacity(pooled(tokens)) == pytest.approx(2.650, abs=1e-3)
    for query, expected in ((Query(0, 1), 2.298), (Query(0.7, 1), 3.803), (Query(1, 1), 4.390)):
        assert capacity(attention(tokens, query)) == pytest.approx(expected, rel=2e-3)


def test_capacity_is_the_minimum_by_quadrature_too():
    tokens = SparseTokens(5, 1, 3.0, 0.3)
    mu = 3 / np.sqrt(5)

    def lost(b, w):
        total = 0.0
        for y, share in ((1, 0.3), (-1, 0.7)):
            m, s = y * (b + w * mu * (y > 0)), np.sqrt(1 + w**2)
            excess = integrate.quad(
                lambda g, m=m, s=s: (s * g - m) ** 2 * stats.norm.pdf(g), m / s, max(m / s, 0) + 12
            )
            total += share * excess[0]
        return total

    from scipy.optimize import minimize

    found = minimize(lambda x: lost(*x), [0.0, 0.5], method="Nelder-Mead", options={"fatol": 1e-10})
    assert capacity(pooled(tokens)) == pytest.approx(1 / found.fun, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("classifier", "d", "streams"), [("attention", 400, 6), ("pooled", 160, 10)])
def test_half_of_the_streams_are_separable_at_the_capacity(classifier, d, streams):
    tokens, query = SparseTokens(10, 1, 3.0, 0.5), Query(0.5, 1.0)
    laws = {"attention": attention(tokens, query), "pooled": pooled(tokens)}
    limits = {name: capacity(law) for name, law in laws.items()}
    limit = limits.pop(classifier)
    found = []
    for seed in range(streams):
        given = query if classifier == "attention" else Query(0, 0)
        sample = draw(tokens, given, int(1.2 * limit * d), d, rng=seed)
        found.append(separable_prefix(sample.features, sample.labels, tolerance=d // 40) / d)
    assert np.median(found) == pytest.approx(limit, rel=0.03)
    (other,) = limits.values()
    assert np.median(found) != pytest.approx(other, rel=0.03)


def test_simulated_capacity():
    model = SparseTokenClassification(30, 3, 1, 3.0, 0.5, 60, 60)
    draws = [model.simulate(seed, Query(0.6, 1.0), separability=True).capacity for seed in range(6)]
    limit = model.predict(Query(0.6, 1.0)).capacity
    assert set(draws[0]) == set(limit) == {"attention", "pooled", "vectorised"}
    for name, alpha in limit.items():
        assert agrees([d[name] for d in draws], alpha, 0.1 * alpha)  # d = 30


def test_separable():
    assert separable([[1.0], [2.0]], [1, 1])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    assert separable(x, np.sign(x[:, 0] + 0.1))
    assert not separable(x, np.sign(rng.standard_normal(30)))
    with pytest.raises(ValueError, match="features must hold more samples"):
        separable_prefix(x, np.sign(x[:, 0]))


# --- the model ----------------------------------------------------------------------------------------

MODEL = SparseTokenClassification(200, 6, 2, 4.0, 0.4, 400, 300, steps=0.5)


def test_prediction_and_simulation_share_names():
    from resolvent.models.outcomes import SparseTokenPrediction, SparseTokenSimulation, TrainedQuery
    from resolvent.sparse_token.query import QueryLimit
    from resolvent.sparse_token.readout import ReadoutLimit
    from resolvent.sparse_token.trained import TrainedReadout

    def shared(one, other):
        return {f.name for f in dataclasses.fields(one)} & {f.name for f in dataclasses.fields(other)}

    assert shared(SparseTokenPrediction, SparseTokenSimulation) == {
        "query",
        "attention",
        "pooled",
        "vectorised",
    }
    assert shared(ReadoutLimit, TrainedReadout) == {"error", "loss", "alignment", "intercept", "norm"}
    assert shared(QueryLimit, TrainedQuery) == {"alignment", "kappa", "norm", "first_alignment"}


def test_seeds_fix_the_draw():
    one, two, other = MODEL.simulate(1), MODEL.simulate(1), MODEL.simulate(2)
    assert one.query == two.query != other.query
    assert one.attention == two.attention != other.attention
    # and each part, whatever else is drawn
    assert MODEL.simulate(1, classifiers=["pooled"]).pooled == one.pooled
    assert MODEL.simulate(1, classifiers=["pooled"]).attention is None


def test_compare_joins_prediction_and_simulation():
    from resolvent.compare import compare as joined

    table = joined(MODEL, range(6))
    assert table.sizes["quantity"] == 12
    assert bool(table.agrees.all())
    worse = joined(dataclasses.replace(MODEL, signal=3.0), range(6))
    assert float(abs(worse.simulated - table.predicted).sel(quantity="attention.error")) > float(
        table.allowance.sel(quantity="attention.error")
    )


@pytest.mark.parametrize("loss", ["logistic", "square"])
def test_several_signals_mixed_lengths_and_places(loss):
    from resolvent.compare import compare as joined

    model = SparseTokenClassification(
        400, (5, 9), (1, 1, 3), 6.0, 0.4, 1200, 800, loss=loss, regularisation=1e-2, signals=2
    ).tuned()
    prediction = model.predict()
    assert prediction.vectorised is None
    table = joined(model, range(8))
    assert bool(table.agrees.all()), table.to_dataframe()
    # the twin: one signal, or the mean length, is another model
    for wrong in ({"signals": 1}, {"length": 7, "informative": 2}):
        other = dataclasses.replace(model, **wrong).predict()
        gap = abs(other.pooled.error - table.simulated.sel(quantity="pooled.error"))
        assert float(gap) > 4 * float(table.standard_error.sel(quantity="pooled.error"))


def test_mixed_kinds_that_are_all_alike_are_one_kind():
    one = SparseTokenClassification(200, 6, 2, 4.0, 0.4, 400, 300)
    same = dataclasses.replace(one, length=(6, 6), informative=(2,))
    assert same.predict().attention.error == pytest.approx(one.predict().attention.error, abs=1e-12)
    assert same.predict().query.alignment == pytest.approx(one.predict().query.alignment)


def test_tuned_is_better_than_its_neighbours():
    tuned = MODEL.tuned()
    best = tuned.predict().attention.error
    assert best < MODEL.predict().attention.error
    for factor in (0.7, 1.4):
        near = dataclasses.replace(tuned, inverse_temperature=factor * tuned.inverse_temperature)
        assert near.predict().attention.error > best


def test_crossover():
    # at many samples, square loss, kappa = 1: pooling errs .2146, attention .2671 at s = .1 and .2115 at .2
    model = SparseTokenClassification(
        100, 10, 1, 5.0, 0.5, 100, 10_000_000, loss="square", regularisation=0.0
    )
    assert model.crossover(1.0) == pytest.approx(0.195, abs=3e-3)
    assert model.crossover(1e-6) == 0.0
    assert np.isnan(dataclasses.replace(model, signal=1.0, length=300).crossover(8.0))


def test_an_array_of_sample_sizes_predicts_a_curve():
    curve = dataclasses.replace(MODEL, samples_readout=np.array([100, 300, 900]))
    errors = curve.predict().attention.error
    assert errors.shape == (3,)
    assert errors[1] == pytest.approx(MODEL.predict().attention.error, abs=1e-9)
    with pytest.raises(ValueError, match="samples_readout must be one number to simulate"):
        curve.simulate(0)
    table = curve.predict().to_dataset()
    assert table.error.dims == ("classifier", "alpha")
    np.testing.assert_allclose(table.error.sel(classifier="attention"), errors)
    np.testing.assert_allclose(table.alpha, [0.5, 1.5, 4.5])
    assert MODEL.predict().to_dataset().error.dims == ("classifier",)


def test_the_prediction_computes_the_rest_when_asked():
    prediction = MODEL.predict()
    assert prediction.capacity["vectorised"] == pytest.approx(6 * prediction.capacity["pooled"])
    assert prediction.oracle.bayes <= prediction.oracle.attention + 1e-3 <= prediction.oracle.pooled
    assert 0 <= prediction.crossover < prediction.query.alignment
    assert prediction.expansion["pooled"].limit < prediction.pooled.error


@given(
    length=st.integers(2, 20),
    signal=st.floats(0.1, 8),
    rarity=st.floats(0.02, 0.98),
    alignment=st.floats(-1, 1),
    kappa=st.floats(0, 4),
    alpha=st.floats(0.1, 50),
    penalty=st.floats(1e-6, 10),
    loss=st.sampled_from(["logistic", "square"]),
)
def test_errors_are_probabilities_whatever_the_setting(
    length, signal, rarity, alignment, kappa, alpha, penalty, loss
):
    law = attention(SparseTokens(length, 1, signal, rarity), Query(alignment, kappa), points=2**9)
    found = readout(law, alpha, loss=loss, regularisation=penalty)
    assert 0 <= found.error <= 1
    assert found.loss >= 0
    assert -1 <= found.alignment <= 1
    flipped = SparseTokens(length, 1, signal, rarity)
    assert capacity(pooled(flipped)) >= 2 - 1e-9


# --- bad input ----------------------------------------------------------------------------------------

GOOD = {
    "dimension": 50,
    "length": 6,
    "informative": 2,
    "signal": 4.0,
    "rarity": 0.4,
    "samples_query": 100,
    "samples_readout": 100,
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"informative": 6}, "informative must be below length, got informative 6 and length 6"),
        ({"length": (3, 8), "informative": (1, 4)}, "informative must be below length"),
        ({"informative": 0}, "informative must be a whole number >= 1, got 0"),
        ({"length": ()}, "length must hold at least one"),
        ({"length": 6.5}, "length must be a whole number"),
        ({"rarity": 0.0}, "rarity must be a finite number > 0, got 0.0"),
        ({"rarity": 1.0}, "rarity must be strictly between 0 and 1, got 1.0"),
        ({"rarity": float("nan")}, "rarity must be a finite number"),
        ({"signal": 0.0}, "signal must be a finite number > 0, got 0.0"),
        ({"signal": float("inf")}, "signal must be a finite number"),
        ({"inverse_temperature": 0.0}, "inverse_temperature must be a finite number > 0, got 0.0"),
        ({"inverse_temperature": -1.0}, "inverse_temperature must be a finite number > 0, got -1.0"),
        ({"samples_query": 1}, "samples_query must be a whole number >= 2, got 1"),
        ({"samples_readout": 1}, "samples_readout must be a whole number >= 2, got 1"),
        ({"samples_readout": np.array([10, 1])}, "samples_readout must be a whole number >= 2"),
        ({"samples_readout": []}, "samples_readout must hold at least one whole number >= 2"),
        ({"samples_readout": [[10], [20, 30]]}, "samples_readout must be a whole number >= 2"),
        ({"steps": (0.0, 1.0, 1.0)}, "steps must move the read-out and the query"),
        ({"steps": 0.0}, "steps must move the read-out and the query"),
        ({"steps": (1.0, 1.0)}, "steps must be one number or three"),
        ({"steps": "fast"}, "steps must be"),
        ({"loss": "hinge"}, "loss must be one of 'logistic', 'square', got 'hinge'"),
        ({"regularisation": -1.0}, "regularisation must be a finite number >= 0, got -1.0"),
        ({"signals": 0}, "signals must be a whole number >= 1"),
        ({"dimension": 1}, "dimension must be a whole number >= 2, got 1"),
        ({"dimension": 3, "signals": 3}, "dimension must be a whole number >= 4, got 3"),
    ],
)
def test_bad_input_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        SparseTokenClassification(**GOOD | wrong)


def test_separable_data_without_a_penalty_have_no_logistic_minimum():
    model = SparseTokenClassification(**GOOD, regularisation=0.0)
    with pytest.raises(ValueError, match="separable, and the logistic loss has no finite minimum"):
        model.predict()
    with pytest.raises(ValueError, match="separable samples under the logistic loss"):
        model.simulate(0, classifiers=["pooled"])
    # pooled features of many samples are not separable, those of all tokens still are
    many = dataclasses.replace(model, samples_readout=1000, rarity=0.5, signal=3.0)
    with pytest.raises(ValueError, match="of the vectorised classifier"):
        many.predict(Query(0.3, 0.3), classifiers=["vectorised"])
    limit = many.predict(Query(0.3, 0.3), classifiers=["pooled"])
    assert limit.attention is None
    draws = [many.simulate(seed, Query(0.3, 0.3), classifiers=["pooled"]).pooled.error for seed in range(8)]
    assert agrees(draws, limit.pooled.error, 2 / 50)


def test_interpolated_data_without_a_penalty_have_many_square_minima():
    model = SparseTokenClassification(**GOOD | {"samples_readout": 40}, regularisation=0.0, loss="square")
    with pytest.raises(ValueError, match="the minimum is not unique"):
        model.predict()
    with pytest.raises(ValueError, match="the minimum is not unique"):
        model.simulate(0)


def test_bad_queries_are_refused():
    with pytest.raises(ValueError, match="alignment must be a cosine"):
        Query(1.5, 1.0)
    with pytest.raises(ValueError, match="kappa must be a finite number >= 0"):
        Query(0.5, -1.0)
    with pytest.raises(ValueError, match="alignment must hold one cosine a signal"):
        MODEL.predict(Query((0.1, 0.2), 1.0))
    with pytest.raises(ValueError, match="query must be a Query"):
        MODEL.predict(0.5)
    with pytest.raises(ValueError, match="classifiers must be one of"):
        MODEL.simulate(0, classifiers=["linear"])
    with pytest.raises(ValueError, match="length must be one number for the vectorised"):
        vectorised(SparseTokens((4, 5), 1, 1.0, 0.5))
    with pytest.raises(ValueError, match="alpha must be positive"):
        two_steps(SparseTokens(4, 1, 1.0, 0.5), 0.0)
    with pytest.raises(ValueError, match="alpha must be positive"):
        readout(LAWS["pooled"], -1.0)


def test_bad_samples_are_refused():
    x = np.random.default_rng(0).standard_normal((20, 3))
    y = np.where(np.arange(20) < 10, 1, -1)
    for wrong, message in (
        ((x, y[:5]), r"labels must have shape \(20,\), one a sample, got \(5,\)"),
        ((x, (y + 1) / 2), r"labels must be \+1 or -1"),
        ((x, ["a"] * 20), "labels must be a number or an array of numbers"),
        ((np.where(x > 1, np.nan, x), y), "features must be finite"),
        ((x[:, 0], y), r"features must have shape \(n, D\)"),
        ((x[:0], y[:0]), r"features must have shape \(n, D\)"),
    ):
        for function in (fit, separable, separable_prefix):
            with pytest.raises(ValueError, match=message):
                function(*wrong)
    with pytest.raises(ValueError, match="tolerance must be a whole number >= 1, got 0"):
        separable_prefix(x, y, tolerance=0)
    with pytest.raises(ValueError, match="regularisation must be larger for these samples, got 0"):
        fit(np.c_[x, x], y, loss="square", regularisation=0)


def test_arguments_of_another_kind_are_refused():
    tokens = SparseTokens(4, 1, 1.0, 0.5)
    for wrong in ("a", None, 1 + 1j, np.nan):
        with pytest.raises(ValueError, match="alpha must be"):
            two_steps(tokens, wrong)
        with pytest.raises(ValueError, match="alpha must be"):
            readout(LAWS["pooled"], wrong)
    with pytest.raises(ValueError, match=r"query must be a Query, got 0\.5"):
        attention(tokens, 0.5)
    with pytest.raises(ValueError, match=r"query must be a Query, got 0\.5"):
        draw(tokens, 0.5, 5, 10)
    with pytest.raises(ValueError, match="alignment must hold at least one cosine"):
        Query((), 1.0)
    for wrong in (None, "attention"):
        with pytest.raises(ValueError, match="classifiers must be a sequence"):
            MODEL.predict(classifiers=wrong)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_a_query_whose_length_leaves_the_doubles_is_refused(size):
    model = dataclasses.replace(MODEL, steps=size)
    with pytest.raises(ValueError, match="length of the query must be finite and not zero"):
        model.predict()
    with pytest.raises(ValueError, match="steps must leave a query of finite length"):
        model.simulate(0, classifiers=[])


def test_steps_may_go_uphill():
    one, other = (
        dataclasses.replace(MODEL, steps=(0.5, 0.5, eta)).simulate(0, classifiers=[]) for eta in (0.5, -0.5)
    )
    assert other.query.alignment == pytest.approx(-one.query.alignment)
    assert other.query.kappa == pytest.approx(one.query.kappa)


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize("penalty", [1e5, 1e-14])
def test_fits_at_extreme_penalties(loss, penalty):
    model = dataclasses.replace(MODEL, loss=loss, regularisation=penalty, samples_readout=60)
    found = model.simulate(0, classifiers=["attention"]).attention
    if penalty > 1:  # nothing but the intercept is left: the labels' share of ones, wherever it lies
        assert found.norm < 1e-4
        assert found.loss == pytest.approx(model.predict().pooled.loss, abs=0.05)
    else:
        assert found.loss < 1e-9
