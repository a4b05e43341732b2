"""Attention with one fixed query: the map, every outlier, and the model against its simulation."""

import pickle

import numpy as np
import pytest

from resolvent import Correlated, PooledSequences, Prefix, SingleFactor
from resolvent.models.query_attention import AttentionPooling
from resolvent.query_attention import (
    AttentionBulk,
    Composition,
    CondensedError,
    OutlierProblem,
    attention_factors,
    null_test,
    table_types,
    token_types,
)
from resolvent.tables import draw_tokens

STANDARD_ERRORS = 4.0
ALLOWANCE = (
    3.0  # over d: bias of finite size, relative for eigenvalues; docs/theory/attention_query.md, section 9
)


def problem_of(model, kind=OutlierProblem):
    """The outlier problem of a model at its quantiles; `kind` may be a twin."""
    composition = Composition.of(model.positions.loadings)
    bulk = AttentionBulk(model.types, composition, model.delta, model.gamma).without_outlying_tokens()
    cos = model.query_alignment
    return kind(bulk, model.signal * cos, model.signal * np.sqrt(1 - cos**2), model.centred)


class NotRecentred(OutlierProblem):
    """Twin: the normaliser's own noise inside a sequence is neglected, so that tokens are not seen from x*."""

    def coupling(self, rho):
        out, bulk, moments = OutlierProblem.coupling(self, rho), self.bulk, self._moments
        for c, sign in enumerate((1.0, -1.0)):
            tilt = sign * bulk.composition.theta
            x, t = bulk.damping[c] * np.array([1, tilt, 0, 0]), np.array([0, 0, 1.0, tilt])
            part = (moments[2, 2] + tilt * moments[2, 3]) * np.outer(x, x) - np.outer(x, t) - np.outer(t, x)
            out = out - (0.5 * bulk.damping[c] ** 2 * rho[:, c])[:, None, None] * part
        return out


class WithQuery(OutlierProblem):
    """Twin: the composition mode keeps the query, E[s φ e] in place of E[(s − th) φ e]."""

    @property
    def mode(self):
        return np.array([0.0, 1.0, 0.0, 0.0])


# ---------------------------------------------------------------- types


def test_types_have_the_moments_of_a_gaussian_table():
    beta, shift = 0.3, 0.7
    types = token_types(10**6, beta, shift, length=10**9)
    s, g, phi, p = types.signs, types.scores, types.factors, types.shares
    h = beta * shift
    assert types.balance == pytest.approx(np.tanh(h), abs=1e-4)
    assert types.second_moment == pytest.approx(np.exp(beta**2) * (1 + np.tanh(h) ** 2), rel=1e-3)
    # the composition mode: no component along the query besides mu's own
    assert p @ ((s - types.balance) * phi * (g + s * shift)) == pytest.approx(
        shift / np.cosh(h) ** 2, rel=1e-3
    )
    even = token_types(10**6, beta, shift, length=10**9, score="cosh")
    expected = (1 + np.exp(2 * beta**2) * np.cosh(2 * h)) / (2 * np.exp(beta**2) * np.cosh(h) ** 2)
    assert even.second_moment == pytest.approx(expected, rel=1e-3)
    assert even.balance == pytest.approx(0, abs=1e-12)
    assert p @ ((s * even.factors) * (g + s * shift)) == pytest.approx(shift + beta * np.tanh(h), rel=1e-3)


@pytest.mark.parametrize("score", ["softmax", "cosh"])
def test_few_types_stand_for_all_quantiles(score, monkeypatch):
    def outliers():
        model = AttentionPooling(300, 1200, 900, Prefix(120, 30), 0.4, 0.6, 1.0, score)
        return [[o.eigenvalue, o.overlap, o.query_overlap] for o in model.predict().outliers]

    few = outliers()
    monkeypatch.setattr("resolvent.query_attention.types.TAIL", 10**6)
    np.testing.assert_allclose(few, outliers(), rtol=2e-3, atol=1e-3)


def test_scores():
    sigma = np.array([-3.0, 0.0, 2.0])
    for name, f in (("softmax", np.exp), ("cosh", np.cosh)):
        np.testing.assert_allclose(attention_factors(sigma, name), f(sigma) / f(sigma).max(), rtol=1e-14)
        np.testing.assert_array_equal(attention_factors(1000 * sigma, name).max(), 1.0)
    np.testing.assert_array_equal(attention_factors(sigma, lambda s: 1 + s**2), 1 + sigma**2)
    g = np.random.default_rng(0).standard_normal(40)
    signs = np.repeat([1, -1], 20)
    own = table_types(signs, g, 0.3, 0.5, length=50)
    assert own.shares @ own.factors == pytest.approx(1)
    assert (np.argsort(own.factors) == np.argsort(g + 0.5 * signs)).all()


# ---------------------------------------------------------------- map


@pytest.mark.parametrize("theta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("score", ["softmax", "cosh"])
def test_map_solves_its_equations_and_its_slope_is_its_derivative(theta, score):
    types = token_types(600, 0.3, 0.6, length=100, score=score)
    delta, gamma = 0.4, 0.7
    bulk = AttentionBulk(types, Composition(theta, 1 - theta**2, 100), delta, gamma)
    y = np.linspace(0.05, 1, 7) * bulk.critical
    point = bulk.at(y)
    th, s = types.balance, types.signs
    damping = [1 / (1 + theta * th), 1 / (1 - theta * th)]
    weights = [d**2 * (1 + c * theta * s) * types.factors**2 for c, d in zip((1, -1), damping)]
    for i in range(y.size):
        rho = np.ones(2)
        for _ in range(3000):  # the plain iteration from one
            omega = 0.5 * (rho[0] * weights[0] + rho[1] * weights[1])
            rho = 1 / (
                1
                - np.array(
                    [y[i] * gamma / delta * (types.shares @ (w / (1 - y[i] * omega))) for w in weights]
                )
            )
        np.testing.assert_allclose(point.rho[i], rho, rtol=1e-8)
        p = types.shares @ (y[i] * omega / (1 - y[i] * omega)) / delta
        assert point.eigenvalue[i] == pytest.approx(delta * (1 + p) / y[i], rel=1e-8)
    step = 1e-6 * y[:-1]
    numerical = (bulk.at(y[:-1] + step).eigenvalue - bulk.at(y[:-1] - step).eigenvalue) / (2 * step)
    np.testing.assert_allclose(point.slope[:-1], numerical, rtol=1e-5)
    around = bulk.at(bulk.critical * np.array([0.99, 1.0, 1.01])).eigenvalue
    assert around[1] == pytest.approx(bulk.edge, rel=1e-12)
    assert around[1] < around[0]
    assert not around[2] < around[1]  # NaN where the map does not reach


def test_the_map_is_not_reached_beyond_its_end():
    bulk = AttentionBulk(token_types(600, 0.3, 0.0, length=100), Composition(0.0, 1.0, 100), 0.4, 0.7)
    assert np.isnan(bulk.at(50 * bulk.critical).eigenvalue).all()


# ---------------------------------------------------------------- outliers


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    ("length", "prefix", "signal"), [(100, 30, 1.0), (50, 50, 0.6), (200, 10, 1.5), (60, 5, 0)]
)
def test_without_query_it_is_pooling_by_equal_weights(length, prefix, signal, centred):
    args = 300, 1200, 900, Prefix(length, prefix)
    found = AttentionPooling(*args, 0.0, 0.0, signal, centred=centred).predict()
    fixed = PooledSequences(*args, "mean", signal, centred=centred).predict()
    assert found.kappa == pytest.approx(fixed.kappa)
    assert found.snr == pytest.approx(fixed.snr)
    assert found.edge == pytest.approx(fixed.edge, rel=1e-7)
    own = next((o for o in found.outliers if o.name in ("signal", "composition")), None)
    if np.isnan(fixed.outlier):
        assert own is None
    else:
        assert own.eigenvalue == pytest.approx(fixed.outlier, rel=1e-4)
        assert own.overlap == pytest.approx(fixed.overlap, abs=1e-4)
    if not centred:
        mean = next(o for o in found.outliers if o.name == "mean")
        assert mean.eigenvalue == pytest.approx(fixed.mean_spike.outlier, rel=1e-6)
        assert mean.mean_overlap == pytest.approx(fixed.mean_spike.overlap, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_every_zero_of_the_determinant_is_found_and_no_other(seed):
    """det D · det C on a fine grid between the poles, as an oracle of the count by inertia."""
    rng = np.random.default_rng(seed)
    model = AttentionPooling(
        200,
        800,
        600,
        Prefix(80, int(rng.integers(0, 60))),
        rng.uniform(0, 0.6),
        rng.uniform(-1, 1),
        rng.uniform(0, 1.5),
        "softmax" if seed % 3 else "cosh",
        centred=bool(seed % 2),
    )
    problem = problem_of(model)
    bulk, types = problem.bulk, problem.bulk.types
    heavy = bulk.heaviest[: bulk.left_out]
    y = np.geomspace(1e-6, 1, 60_000)[:-1] * bulk.critical
    parts = []
    for some in np.array_split(y, 20):
        point = bulk.at(some)
        _, gram, noise = problem.resolvent_sums(point)
        coupling = problem.coupling(point.rho)
        inside = np.eye(4) - some[:, None, None] * coupling @ gram[:, 2:, 2:]
        seen = gram[:, :2, 2:]
        D = -noise - seen @ np.linalg.solve(inside, coupling) @ seen.swapaxes(1, 2)
        D[:, 0, 0] += point.eigenvalue
        D[:, 1, 1] += bulk.delta / some
        poles = 1 - point.rates[:, (types.signs[heavy] < 0).astype(int)] * types.factors[heavy] ** 2
        parts.append(np.linalg.det(D) * np.linalg.det(inside) * poles.prod(axis=1))
    changes = y[1:][np.diff(np.sign(np.concatenate(parts))) != 0]
    roots = problem.roots()
    roots = roots[(roots > y[0]) & (roots < y[-1] * (1 - 1e-3))]
    changes = changes[changes < y[-1] * (1 - 1e-3)]
    assert roots.size == changes.size > 0
    np.testing.assert_allclose(roots, changes, rtol=1e-3)


def test_nothing_depends_on_which_class_is_called_plus():
    args = 200, 800, 600, Prefix(80, 20), 0.4
    one, other = (AttentionPooling(*args, cos, 1.0).predict().outliers for cos in (0.7, -0.7))
    for a, b in zip(one, other, strict=True):
        assert a.name == b.name
        np.testing.assert_allclose([a.eigenvalue, a.overlap], [b.eigenvalue, b.overlap], rtol=1e-9)


def test_outliers_are_named():
    def names(*args, **options):
        return [o.name for o in AttentionPooling(*args, **options).predict().outliers]

    wide = 100, 20_000, 4000, Prefix(200, 20)
    assert names(*wide, 0.6, 0.0, 0.6) == ["signal", "query"]
    assert names(*wide, 0.6, 0.0, 0.0) == ["query"]
    assert names(500, 2000, 1500, Prefix(200, 60), 0.4, 0.0, 0.0) == ["composition", "token", "token"]
    assert names(500, 2000, 1500, Prefix(200, 60), 0.4, 0.5, 1.0, centred=False)[:2] == ["mean", "signal"]
    assert names(500, 2000, 1500, Prefix(200, 60), 0.4, 1.0, 1.0, "cosh") == ["signal"]
    # along the query, but made by the signal: the query alone makes none
    near = AttentionPooling(100, 4000, 4000, Prefix(400, 1), 0.2, 1.0, 0.5).predict()
    assert [o.name for o in near.outliers] == ["signal"]
    assert [o.spurious for o in near.outliers] == [False]


# ---------------------------------------------------------------- against simulation


def random_model(index):
    """A random setting in which the signal's outlier leads."""
    rng = np.random.default_rng([8, index])
    while True:
        d = int(rng.integers(20, 33)) * 10
        length = int(rng.integers(80, 181))
        if rng.random() < 0.5:
            positions = Prefix(length, int(rng.integers(5, length // 2)))
        else:
            slope = rng.uniform(-0.3, 0.4) * np.linspace(-1, 1, length)
            positions = SingleFactor(np.clip(rng.uniform(0.05, 0.5) + slope, -1, 1))
        model = AttentionPooling(
            d,
            2 * round(d / rng.uniform(0.1, 0.5) / 2),
            round(d / rng.uniform(0.15, 0.6)),
            positions,
            rng.uniform(0.1, 0.55),
            rng.uniform(-1, 1),
            rng.uniform(0.6, 2),
            ("softmax", "cosh")[int(rng.random() < 0.3)],
        )
        try:
            found = model.predict()
        except CondensedError:
            continue
        if found.outliers and found.outliers[0].name == "signal" and found.overlap > 0.2:
            return model


def simulated(model, seeds):
    """(eigenvalue, overlaps with mu, q, mu orthogonal to q) of the leading eigenvector, a row a seed."""
    draws = [model.simulate(seed) for seed in seeds]
    return np.array([[d.top_eigenvalue, d.overlap, d.query_overlap, d.perpendicular_overlap] for d in draws])


def quantities(outlier):
    return np.array(
        [outlier.eigenvalue, outlier.overlap, outlier.query_overlap, outlier.perpendicular_overlap]
    )


def agrees(draws, theory, d):
    unit = np.array([theory[0], 1.0, 1.0, 1.0])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    return np.abs(draws.mean(axis=0) - theory) < STANDARD_ERRORS * error + ALLOWANCE / d * unit


@pytest.mark.parametrize("index", range(10))
def test_random_settings(index):
    model = random_model(index)
    theory = quantities(model.predict().outliers[0])
    assert agrees(simulated(model, range(8)), theory, model.dimension).all()


def test_twins_of_the_signal_fail():
    model = AttentionPooling(300, 1200, 900, Prefix(150, 60), 0.4, 0.6, 1.0)
    draws = simulated(model, range(12))
    for kind, right in ((OutlierProblem, True), (WithQuery, False)):
        theory = quantities(problem_of(model, kind).find()[0])
        theory[0] /= model.positions.length
        assert bool(agrees(draws, theory, model.dimension).all()) is right


def test_the_querys_own_outlier_and_its_twin():
    """Without signal: of net strength β², not 4β², because the normaliser re-centres the table."""
    model = AttentionPooling(60, 12_000, 3000, Prefix(100, 0), 0.5, 0.0, 0.0)
    draws = simulated(model, range(8))
    for kind, right in ((OutlierProblem, True), (NotRecentred, False)):
        found = problem_of(model, kind).find()[0]
        assert found.name == "query"
        theory = quantities(found)
        theory[0] /= model.positions.length
        assert bool(agrees(draws, theory, model.dimension).all()) is right


def test_one_tables_own_tokens_are_predicted():
    """Where tokens scatter from table to table, the table's own scores tell which is on top, and how far."""
    model = AttentionPooling(300, 1200, 900, Prefix(100, 30), 0.7, 0.5, 1.0)
    own, typical, draws = [], model.predict(condensed=True).outliers[0], []
    for seed in range(12):
        found, draw = model.predict(seed=seed, condensed=True).outliers[0], model.simulate(seed)
        own.append([np.log(found.eigenvalue), found.overlap])
        draws.append([np.log(draw.top_eigenvalue), draw.overlap])
    own, draws = np.array(own), np.array(draws)
    right = ((draws - own) ** 2).mean(axis=0)
    wrong = ((draws - [np.log(typical.eigenvalue), typical.overlap]) ** 2).mean(axis=0)
    assert (right < 0.35 * wrong).all()
    assert np.corrcoef(own[:, 0], draws[:, 0])[0, 1] > 0.7


def test_uncentred_the_mean_leads_and_the_signal_is_second():
    model = AttentionPooling(250, 1000, 750, Prefix(100, 30), 0.3, 0.4, 1.0, centred=False)
    mean, signal = model.predict().outliers[:2]
    assert (mean.name, signal.name) == ("mean", "signal")
    draws = [model.simulate(seed) for seed in range(8)]
    values = np.array([[d.top_eigenvalue, d.mean_overlaps[0], d.second_eigenvalue, d.overlap] for d in draws])
    theory = np.array([mean.eigenvalue, mean.mean_overlap, signal.eigenvalue, signal.overlap])
    assert agrees(values, theory, model.dimension).all()


def test_an_even_score_beats_the_optimal_fixed_weights():
    model = AttentionPooling(200, 800, 600, Prefix(200, 40), 0.5, 1.0, 0.5, "cosh")
    found = model.predict()
    assert found.overlap > found.optimal.overlap + 0.05
    best = PooledSequences(200, 800, 600, Prefix(200, 40), "optimal", 0.5)
    gains = [model.simulate(seed).overlap - best.simulate(seed).overlap for seed in range(10)]
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / np.sqrt(10)


@pytest.mark.parametrize(("samples", "wide", "critical"), [(2000, 20_000, 0.913), (40_000, 40_000, 0.635)])
def test_where_softmax_helps_without_correlation(samples, wide, critical):
    """Equation (11): the overlap grows with the query's norm below this signal, and falls above it."""

    def gain(signal):
        overlaps = [
            AttentionPooling(40, wide, samples, Prefix(4000, 1), beta, 1.0, signal).predict().overlap
            for beta in (0.0, 0.06)
        ]
        return overlaps[1] - overlaps[0]

    assert gain(0.93 * critical) > 0 > gain(1.07 * critical)


# ---------------------------------------------------------------- limits, refusals


def test_condensed_regimes_are_refused_by_name():
    cases = {
        "of a sequence's weight": AttentionPooling(500, 2000, 1500, Prefix(200, 60), 1.3, 0.5, 1.0),
        "the heaviest token's pole": AttentionPooling(500, 2000, 1500, Prefix(200, 14), 0.3, 1.0, 3.0),
        "tokens' eigenvectors hold": AttentionPooling(500, 2000, 1500, Prefix(200, 30), 0.6, 0.5, 1.0),
    }
    for message, model in cases.items():
        with pytest.raises(CondensedError, match=message) as refused:
            model.predict()
        assert f"query_norm = {model.query_norm:g}" in str(refused.value)
        found = model.predict(condensed=True)
        assert found.condensed
        assert found.outliers
    assert not AttentionPooling(500, 2000, 1500, Prefix(200, 60), 0.4, 0.5, 1.0).predict().condensed
    with pytest.raises(CondensedError, match="no bulk is left"):
        AttentionPooling(20, 2, 40, Prefix(50, 20), 0.3, 0.5, 1.0).predict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": Correlated(np.eye(3))}, "positions must be Prefix"),
        ({"vocabulary": 7}, "vocabulary must be even"),
        ({"query_norm": -1}, "query_norm"),
        ({"query_norm": np.nan}, "query_norm"),
        ({"query_alignment": 1.5}, "query_alignment"),
        ({"query_alignment": -2}, "query_alignment"),
        ({"signal": -0.1}, "signal"),
        ({"signal": 1e9}, "signal must be between 0 and 10000 .*, got 1e"),
        ({"signal": 1.0001e4}, "signal must be between 0 and 10000"),
        ({"score": "tanh"}, "score must be one of"),
        ({"score": lambda s: s}, "positive finite"),
        ({"score": lambda s: 1.0}, "one real number a score"),
        ({"dimension": 1}, "dimension"),
    ],
)
def test_bad_input(change, message):
    good = {"dimension": 20, "vocabulary": 40, "samples": 50, "positions": Prefix(20, 5), "query_norm": 0.2}
    good |= {"query_alignment": 0.5, "signal": 1.0}
    with pytest.raises(ValueError, match=message):
        AttentionPooling(**(good | change))


def test_bad_input_of_the_parts():
    with pytest.raises(ValueError, match="vocabulary must be even"):
        token_types(7, 0.1, 0.0, length=10)
    with pytest.raises(ValueError, match="signs and scores"):
        table_types([1, 1], [0.0, 0.0], 0.1, 0.0, length=10)
    with pytest.raises(ValueError, match="query must be"):
        null_test(np.eye(4), [[0, 1]], np.zeros(4))
    with pytest.raises(ValueError, match="seed"):
        AttentionPooling(20, 40, 50, Prefix(20, 5), 0.2, 0.5, 1.0).predict(seed=-1)


def test_equal_models_pickle_alike():
    one, other = (AttentionPooling(60, 240, 200, Prefix(50, 15), 0.2, 0.5, 1.0) for _ in range(2))
    one.predict()
    assert pickle.dumps(one) == pickle.dumps(other)
    assert one.simulate(3).top_eigenvalue == pickle.loads(pickle.dumps(one)).simulate(3).top_eigenvalue


# ---------------------------------------------------------------- null test


def outcome(model, seed):
    streams = np.random.SeedSequence(seed).spawn(3)
    signs = model.positions.sample(model.samples, rng=np.random.default_rng(streams[0]))
    tokens = draw_tokens(signs, model.vocabulary, rng=np.random.default_rng(streams[1]))
    table, query = model._draw_table(streams[2])
    return null_test(table, tokens, model.query_norm * query, draws=19, rng=seed)


def test_null_test_sees_the_signal_and_not_the_query():
    shape = 50, 2000, 800, Prefix(50, 15), 0.5
    null = [outcome(AttentionPooling(*shape, 0.0, 0.0), seed) for seed in range(10)]
    signal = [outcome(AttentionPooling(*shape, 0.0, 0.8), seed) for seed in range(4)]
    assert np.mean([t.p_value for t in null]) > 0.3
    assert all(t.p_value == 0.05 for t in signal)
    # the placebo: the signal stays where it is, the query's own outlier goes with the query
    assert np.mean([t.placebo_agreement for t in signal]) > 0.7
    assert np.mean([t.placebo_agreement for t in null]) < 0.3
    assert np.mean([t.placebo_query_overlap for t in null]) > 2 / shape[0]


@pytest.mark.parametrize("norm", [5.0, 20.0, 30.0, 100.0, 1e3, 1e300])
def test_huge_queries_are_refused_by_name(norm):
    model = AttentionPooling(100, 400, 300, Prefix(60, 20), norm, 0.5, 1.0)
    with pytest.raises(CondensedError, match=r"query_norm = .*of a sequence's weight") as refused:
        model.predict()
    held = float(str(refused.value).split("one token holds ")[1].split()[0])
    assert 0.1 < held <= 1
    with np.errstate(all="ignore"):
        try:
            assert model.predict(condensed=True).heaviest_share <= 1
        except CondensedError as error:  # not even that
            assert "pass condensed=True" not in str(error)  # noqa: PT017


def test_attention_to_one_class_sees_no_signal():
    # centred, and with all weight on one class, nothing depends on where the classes' means are
    models = [AttentionPooling(400, 1600, 1600, Prefix(100, 30), 0.3, 0.5, m) for m in (100.0, 1e3, 1e4)]
    found = [model.predict() for model in models]
    for prediction in found:
        assert [outlier.name for outlier in prediction.outliers] == ["token"]
        assert prediction.overlap == 0
        assert prediction.top_eigenvalue == pytest.approx(found[0].top_eigenvalue, rel=1e-7)
        assert prediction.edge == pytest.approx(found[0].edge, rel=1e-7)
    draws = [model.simulate(0) for model in models[1:]]
    assert draws[0].top_eigenvalue == pytest.approx(draws[1].top_eigenvalue, rel=1e-7)
    assert draws[0].overlap < 0.02
    assert found[1].top_eigenvalue == pytest.approx(draws[0].top_eigenvalue, rel=0.1)


@pytest.mark.parametrize("alignment", [0.0, 1e-5])
def test_the_largest_signals(alignment):
    model = AttentionPooling(200, 800, 800, Prefix(100, 30), 0.3, alignment, 1e4)
    prediction, draw = model.predict(), model.simulate(0)
    weak = AttentionPooling(200, 800, 800, Prefix(100, 30), 0.3, alignment * 100, 100.0).predict()
    assert prediction.overlap == pytest.approx(1, abs=1e-8)
    assert draw.overlap == pytest.approx(1, abs=1e-8)
    assert prediction.outlier / 1e8 == pytest.approx(weak.outlier / 1e4, rel=1e-3)
    assert prediction.outlier == pytest.approx(draw.top_eigenvalue, rel=0.1)


def test_where_all_positions_agree_a_class_without_weight_is_refused():
    with pytest.raises(
        ValueError, match=r"query_norm.* = 18.9 is too large .* attention sees one class alone"
    ):
        AttentionPooling(200, 5000, 100, Prefix(20, 20), 0.0870602, 1.0, 216.686).predict(condensed=True)
    assert AttentionPooling(200, 5000, 100, Prefix(20, 20), 0.01, 1.0, 50.0).predict().overlap > 0
    with pytest.raises(CondensedError, match="factors of all tokens of the bulk underflow; lower query_norm"):
        AttentionPooling(200, 100, 800, Prefix(400, 200), 1.12, 0.934, 1204.8).predict()


@pytest.mark.parametrize("given", [(1e4, 0.0, 1.5, "softmax"), (700.0, 1e-9, 1.5, "softmax")])
def test_single_tokens_of_one_class_are_not_blamed_on_the_signal(given):
    for condensed in (False, True):
        with pytest.raises(CondensedError, match=f"query_norm = {given[0]:g} is beyond the theory here"):
            AttentionPooling(100, 400, 300, Prefix(100, 100), *given).predict(condensed=condensed)


def test_refused_scores_queries_and_tables():
    for bad in ([0.0, np.nan], [np.inf, 0.0], [], "much"):
        with pytest.raises(ValueError, match="scores must be"):
            attention_factors(bad)
    table, tokens = np.random.default_rng(0).standard_normal((60, 8)), np.arange(60).reshape(15, 4)
    with pytest.raises(ValueError, match="query is too long, of norm 10000"):
        null_test(table, tokens, 1e4 * np.eye(8)[0])
    with pytest.raises(ValueError, match="query must be"):
        null_test(table, tokens, "x")
    with pytest.raises(ValueError, match="table must be finite"):
        null_test(np.where(table > 2, np.nan, table), tokens, np.eye(8)[0])
