"""Elliptical attention in NumPy: estimators, exact softmax moments, and the pooling model against its simulation."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from resolvent import Correlated, PooledSequences, spikes
from resolvent.elliptical import (
    best_bandwidth,
    coordinate_variability,
    finite_difference_variability,
    nadaraya_watson,
    plug_in_metric,
    pooled_moments,
    random_metric,
    residual_stretch,
    tilted_law,
)
from resolvent.elliptical.queries import chi_square, pool, queries, token_frequencies
from resolvent.elliptical.sampling import Sequences, full_metric
from resolvent.elliptical.stages import Stage, capped, top_of_spectrum
from resolvent.models.elliptical import EllipticalPooling

STANDARD_ERRORS = 4.0
BASE = {"dimension": 128, "length": 64, "samples": 512, "signal": 1.5, "agreement": 0.6}
FIELDS = ("alpha", "kappa", "kappa_perp", "snr")


def simulated(model, seeds, field):
    """Mean and standard error of several fields over seeds."""
    draws = [model.simulate(seed) for seed in range(seeds)]
    fields = (field,) if isinstance(field, str) else field
    values = np.array([[getattr(draw, name) for name in fields] for draw in draws])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(seeds)


def agrees(mean, error, theory, allowance=0.0):
    """Within sampling error, and a relative allowance for what is stated of finite size."""
    return np.abs(mean - theory) < STANDARD_ERRORS * error + allowance * np.abs(theory)


# ---------------------------------------------------------------- estimators


def test_over_layers_estimator_is_its_formula():
    rng = np.random.default_rng(0)
    v, before = rng.standard_normal((2, 2, 3, 7, 5))
    raw = np.abs(v - before).mean(axis=-2) / 5
    np.testing.assert_allclose(coordinate_variability(v, before, delta=5, scale="none"), raw, rtol=1e-14)
    np.testing.assert_allclose(
        coordinate_variability(v, before), raw / raw.max(axis=-1, keepdims=True), rtol=1e-14
    )
    np.testing.assert_allclose(coordinate_variability(v, before, scale="mean").mean(axis=-1), 1, rtol=1e-14)
    median = coordinate_variability(v, before, scale="none", statistic="median")
    np.testing.assert_allclose(median, np.median(np.abs(v - before), axis=-2))
    # the step is inert under scaling, and only there
    np.testing.assert_allclose(
        coordinate_variability(v, before, delta=5), coordinate_variability(v, before), rtol=1e-14
    )
    assert (coordinate_variability(v, v) == 1).all()


@pytest.mark.parametrize(
    ("kind", "against_input", "against_output"), [("diagonal", True, True), ("output-scaled", False, True)]
)
def test_what_the_over_layers_estimator_measures(kind, against_input, against_output):
    """It follows rows of the Jacobian, which are its columns only where it is near-diagonal."""
    rng = np.random.default_rng(1)
    scale, mix = np.geomspace(0.2, 2, 8), rng.standard_normal((8, 8))
    jacobian = np.diag(scale) if kind == "diagonal" else scale[:, None] * mix
    x = rng.standard_normal((2000, 8))
    moved = coordinate_variability((x + 0.1 * rng.standard_normal(x.shape)) @ jacobian.T, x @ jacobian.T)
    inputs = finite_difference_variability(lambda at: at @ jacobian.T, x[:20])
    outputs = finite_difference_variability(lambda at: at @ jacobian.T, x[:20], side="output")
    np.testing.assert_allclose(inputs, np.abs(jacobian).sum(0) / np.abs(jacobian).sum(0).max(), rtol=1e-9)
    rows = np.linalg.norm(jacobian, axis=1)
    np.testing.assert_allclose(outputs, rows / rows.max(), rtol=1e-9)
    assert bool(np.abs(moved - inputs).max() < 0.1) is against_input
    assert bool(np.abs(moved - outputs).max() < 0.1) is against_output


def test_nadaraya_watson_is_its_formula_and_chunks_agree(monkeypatch):
    rng = np.random.default_rng(0)
    x, q, y = rng.standard_normal((40, 3)), rng.standard_normal((25, 3)), rng.standard_normal((40, 2))
    m = np.array([1.0, 0.3, 0.0])
    distance = (((q[:, None] - x) ** 2) * m).sum(-1)
    w = np.exp(-distance / (2 * 0.4**2))
    direct = (w @ y) / w.sum(1, keepdims=True)
    np.testing.assert_allclose(nadaraya_watson(x, y, q, bandwidth=0.4, metric=m), direct, rtol=1e-10)
    monkeypatch.setattr("resolvent.elliptical.kernel_regression.CHUNK", 100)
    np.testing.assert_allclose(nadaraya_watson(x, y, q, bandwidth=0.4, metric=m), direct, rtol=1e-10)
    # scaling the metric is scaling the bandwidth
    np.testing.assert_allclose(
        nadaraya_watson(x, y, q, bandwidth=0.8, metric=4 * m),
        nadaraya_watson(x, y, q, bandwidth=0.4, metric=m),
    )
    left_out = [
        np.mean([(nadaraya_watson(np.delete(x, i, 0), np.delete(y, i, 0), x[i : i + 1], bandwidth=h)[0] - y[i]) ** 2
                 for i in range(40)])
        for h in (0.2, 0.5, 1.0, 2.0)
    ]  # fmt: skip
    assert best_bandwidth(x, y, bandwidths=[0.2, 0.5, 1.0, 2.0]) == [0.2, 0.5, 1.0, 2.0][np.argmin(left_out)]


def test_a_stretched_metric_pays_where_variability_is_unequal_and_nowhere_else():
    error = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, fresh = rng.standard_normal((400, 6)), rng.standard_normal((500, 6))
        c = np.array([1.0, 1, 0, 0, 0, 0])
        for name, weights in (("few", c), ("all", np.ones(6))):
            y = np.sin(2 * x) @ weights + 0.3 * rng.standard_normal(400)
            truth = np.sin(2 * fresh) @ weights
            for metric, m in (
                ("isotropic", None),
                ("oracle", weights),
                ("plug-in", plug_in_metric(x, y)),
                ("random", random_metric(6, rng=rng)),
            ):
                h = best_bandwidth(x, y, metric=m)
                fit = nadaraya_watson(x, y, fresh, bandwidth=h, metric=m)
                error.setdefault((name, metric), []).append(np.mean((fit - truth) ** 2))
    mean = {key: np.mean(value) for key, value in error.items()}
    assert mean["few", "oracle"] < 0.2 * mean["few", "isotropic"]
    assert mean["few", "plug-in"] < 0.85 * mean["few", "isotropic"]
    assert mean["all", "oracle"] == pytest.approx(mean["all", "isotropic"])
    assert mean["all", "plug-in"] > 0.95 * mean["all", "isotropic"]
    assert mean["few", "random"] > 2 * mean["few", "oracle"]  # unequal weights alone are not enough


# ---------------------------------------------------------------- softmax moments


@pytest.mark.parametrize(
    ("field", "shift", "variance", "length"),
    [(0.2, 0.3, 0.1, 64), (0.2, -0.3, 1.0, 64), (0.0, 0.0, 4.0, 64), (0.2, 0.5, 9.0, 16), (0.1, 0.2, 0.5, 3)],
)
def test_moments_are_exact_at_any_temperature(field, shift, variance, length):
    rng, n = np.random.default_rng(0), 20_000
    s = np.where(rng.random((n, length)) < 1 / (1 + np.exp(-2 * field)), 1.0, -1.0)
    g = rng.standard_normal((n, length))
    w = np.exp(shift * s + np.sqrt(variance) * g)
    w /= w.sum(axis=1, keepdims=True)
    S, G, K = (w * s).sum(1), (w * g).sum(1), (w**2).sum(1)
    found = pooled_moments(field, shift, variance, length)
    exact = [found.kappa, found.s, found.g, found.ss, found.sg, found.gg]
    for theory, values in zip(exact, (K, S, G, S * S, S * G, G * G)):
        assert agrees(values.mean(), values.std() / np.sqrt(n), theory)
    # the limit of long sequences is another number, unless weights are spread
    limit = float(tilted_law(field, shift, variance).participation) / length
    assert variance < 0.5 or not agrees(K.mean(), K.std() / np.sqrt(n), limit)


def test_moments_have_the_right_ends():
    flat = pooled_moments(0.3, 0.0, 0.0, 10)
    rho2 = np.tanh(0.3) ** 2
    np.testing.assert_allclose(flat.kappa, 0.1, rtol=1e-9)
    np.testing.assert_allclose(flat.ss, rho2 + 0.1 * (1 - rho2), rtol=1e-9)
    np.testing.assert_allclose([flat.sg, flat.gg], [0, 0.1], atol=1e-9)
    one = pooled_moments(0.3, 2.0, 3.0, 1)
    np.testing.assert_allclose([one.kappa, one.s, one.ss, one.gg], [1, np.tanh(0.3), 1, 1], rtol=1e-7)
    law = tilted_law(0.3, 0.5, 0.4)
    errors = []
    for length in (1000, 4000):
        long = pooled_moments(0.3, 0.5, 0.4, length)
        errors.append([long.s - law.magnetisation, long.kappa * length - law.participation])
    # corrections are of order 1/L
    np.testing.assert_allclose(np.divide(*errors), 4, rtol=0.02)
    np.testing.assert_allclose(pooled_moments(0.3, 0.5, 0.4, 4000).g, np.sqrt(0.4), rtol=1e-3)
    # flipping every sign flips the field
    a, b = pooled_moments(0.3, 0.5, 0.4, 20), pooled_moments(-0.3, -0.5, 0.4, 20)
    np.testing.assert_allclose([a.kappa, a.s, a.sg], [b.kappa, -b.s, -b.sg], rtol=1e-9)


def test_quadrature_over_queries():
    values, weights = chi_square(127, 5)
    np.testing.assert_allclose([weights.sum(), weights @ values, weights @ values**2], [1, 127, 127 * 129])
    np.testing.assert_allclose(weights @ np.exp(0.004 * values), (1 - 0.008) ** (-127 / 2), rtol=1e-6)
    found = queries(50, 1.3, (2.0, 0.5), 0.4, 0.7)
    a, b = 2.0, 0.5
    # E‖Mq‖² = E q_v² a² + E(‖q‖² − q_v²) b², with E q_v² = 1 + 0.4 θ²
    theory = a**2 * (1 + 0.4 * 1.3**2) + b**2 * (49 + 0.6 * 1.3**2)
    np.testing.assert_allclose(found.weight @ found.norm2, theory)


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize(
    ("metric", "beta", "alpha", "kappa", "snr"),
    [
        ("isotropic", 0.03, 0.0674, 0.0177, 8.16),
        ("isotropic", 0.06, 0.0952, 0.0256, 7.33),
        ((1, 0.5), 0.1, 0.1331, 0.0237, 11.45),
        ((1, 0.25), 0.2, 0.2708, 0.0303, 18.57),
        ((1, 0.1), 0.2, 0.2657, 0.0232, 25.34),
        ((1, 0.02), 0.2, 0.2650, 0.0221, 26.97),
    ],
)
def test_limit_of_long_sequences_is_the_closed_form(metric, beta, alpha, kappa, snr):
    """The proposition, evaluated independently beforehand."""
    model = EllipticalPooling(**BASE, metric=metric, inverse_temperature=beta)
    found = model.predict()
    np.testing.assert_allclose(found.limit, [alpha, kappa, snr], rtol=4e-3)
    assert abs(found.snr / snr - 1) < 0.06
    a, b = (1, 1) if metric == "isotropic" else metric
    rng = np.random.default_rng(0)
    q = rng.standard_normal(2_000_000) + 1.5 * np.where(rng.random(2_000_000) < 0.6, 1, -1)
    magnetisation = np.tanh(np.arctanh(0.2) + beta * a * 1.5 * q)
    tilted = np.exp(beta**2 * a**2 * q**2) * (1 - 2 * beta**2 * b**2) ** (-127 / 2) / 64
    C = np.cosh(np.arctanh(0.2) + 2 * beta * a * 1.5 * q) * np.cosh(np.arctanh(0.2))
    tilted *= C / np.cosh(np.arctanh(0.2) + beta * a * 1.5 * q) ** 2
    np.testing.assert_allclose(found.limit[1], tilted.mean(), rtol=2e-3)
    np.testing.assert_allclose(
        found.limit[0], (magnetisation**2 + tilted * (1 - magnetisation**2)).mean(), rtol=4e-3
    )


@pytest.mark.parametrize(
    ("options", "beta"),
    [
        ({"metric": "isotropic"}, 0.06),
        ({"metric": (1, 0.25)}, 0.2),
        ({"metric": (1, 0.1)}, 0.2),
        ({"metric": (1, 0.1), "query": "consistent"}, 0.1),
        ({"metric": (1, 0.1), "axis": 0.0}, 0.2),
        ({"metric": (1, 0.1), "axis": 0.5}, 0.2),
        ({"metric": "estimated"}, 0.1),
        ({"metric": "full", "localised": False}, 0.1),
        ({"metric": "isotropic"}, 0.2),  # condensed: moments are exact there too
    ],
)
@pytest.mark.filterwarnings("ignore:the weights condense")
def test_simulation_agrees_with_the_theory(options, beta):
    model = EllipticalPooling(**BASE, inverse_temperature=beta, **options)
    theory = model.predict()
    names = (*FIELDS, "label_correlation", "stretch")
    mean, error = simulated(model, 8, names)
    estimated = isinstance(model.metric, str) and model.metric != "isotropic"
    allowance = 0.01 if estimated else 0.0  # the metric's own fluctuations enter at second order
    assert agrees(mean, error + 1e-12, [getattr(theory, name) for name in names], allowance).all()
    assert abs(mean[3] / theory.snr - 1) < 0.06
    if not theory.condensed:
        mean, error = simulated(model, 8, ("outlier", "overlap"))
        assert agrees(mean, error, [theory.outlier, theory.overlap], 0.01).all()
    # and not with mean pooling, nor (where they condense) with the limit of long sequences
    flat = model.mean_pooling().predict()
    mean, error = simulated(model, 8, FIELDS[:3])
    assert not agrees(mean, error, [flat.alpha, flat.kappa, flat.kappa_perp], 0.01)[1:].any()
    if theory.condensed:
        assert not agrees(mean[1], error[1], theory.limit[1], 0.06)


def test_stretch_of_the_estimated_metric():
    theory = residual_stretch(64, 1.5, 0.6)
    model = EllipticalPooling(**BASE, metric="estimated")
    mean, error = simulated(model, 12, "stretch")
    assert agrees(mean, error, theory).all()
    assert abs(mean[0] / theory - 1) < 0.03
    # root mean squares are another number
    rms = np.sqrt(1 + 1.5**2 * model.predict().alpha * 64)
    assert rms == pytest.approx(2.97, abs=0.02)
    assert not agrees(mean, error, rms).any()
    # without the residual: v' = x moves by x − v
    rng, ratios = np.random.default_rng(0), []
    for _ in range(300):
        s = np.where(rng.random((8, 64)) < 0.6, 1.0, -1.0)
        z = rng.standard_normal((8, 64, 30))
        z[:, :, 0] += 1.5 * s
        moved = np.abs(z.mean(axis=1, keepdims=True) - z).mean(axis=(0, 1))
        ratios.append([moved[0], moved[1:].mean()])
    top, rest = np.mean(ratios, axis=0)
    assert top / rest == pytest.approx(residual_stretch(64, 1.5, 0.6, residual=False), rel=0.005)
    assert residual_stretch(64, 0.0, 0.6) == pytest.approx(1)
    assert residual_stretch(64, 0.0, 0.6, residual=False) == pytest.approx(1)


def test_gain_of_the_best_temperature_by_dimension():
    """Isotropic attention loses its gain as d grows, a stretched one keeps it."""
    gain = {}
    for d in (32, 384):
        for metric in ("isotropic", (1.0, 0.1)):
            model = EllipticalPooling(d, 64, 4 * d, 1.5, 0.6, metric).tuned()
            gain[d, metric] = model.predict().snr / model.mean_pooling().predict().snr
            around = [replace(model, inverse_temperature=model.inverse_temperature * k) for k in (0.8, 1.25)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                assert all(model.predict().snr >= other.predict().snr for other in around)
    assert gain[32, "isotropic"] == pytest.approx(1.159, rel=0.02)
    assert gain[384, "isotropic"] == pytest.approx(1.009, rel=0.01)
    assert gain[32, (1.0, 0.1)] == pytest.approx(3.53, rel=0.06)
    assert gain[384, (1.0, 0.1)] == pytest.approx(2.94, rel=0.06)
    assert EllipticalPooling(384, 64, 400, 0.0, 0.6, "isotropic").tuned().inverse_temperature == 0


def test_an_outlier_without_a_signal():
    base = BASE | {"signal": 0.0}
    models = [EllipticalPooling(**base, metric=(1, 0.1), inverse_temperature=b) for b in (0.0, 0.2, 0.4)]
    found = [model.predict() for model in models]
    assert np.isnan(found[0].outlier)
    assert found[0].overlap == 0
    # l is about L β² for long sequences; at L = 64, β = 0.2 the alignment is 0.85
    long = EllipticalPooling(128, 4096, 512, 0.0, 0.6, (1, 0.001), 0.03).predict()
    assert long.spike == pytest.approx(4096 * 0.03**2, rel=0.01)
    assert found[1].overlap == pytest.approx(0.856, abs=0.02)
    assert found[1].snr == 0
    assert abs(found[1].label_correlation) < 1e-12
    mean, error = simulated(models[1], 12, ("outlier", "overlap", "leading_correlation"))
    assert agrees(mean[:2], error[:2], [found[1].outlier, found[1].overlap]).all()
    assert mean[2] < 2.5 / np.sqrt(512)
    # the same alignment with a signal comes with the label
    real = EllipticalPooling(**(base | {"signal": 1.0}))
    mean, _ = simulated(real, 4, ("overlap", "leading_correlation"))
    assert mean[0] > 0.8
    assert mean[1] > 0.5


def test_consistent_queries_raise_the_correlation_with_the_label():
    flat = EllipticalPooling(**BASE).predict().label_correlation
    assert flat == pytest.approx(0.803, abs=0.005)
    random, consistent = (
        EllipticalPooling(**BASE, metric=(1, 0.1), inverse_temperature=0.1, query=query).predict()
        for query in ("random", "consistent")
    )
    assert consistent.label_correlation == pytest.approx(0.905, abs=0.01)
    assert random.label_correlation < flat < consistent.label_correlation
    iso = EllipticalPooling(**BASE, inverse_temperature=0.1, query="consistent")
    with pytest.warns(RuntimeWarning, match="condense"):
        assert iso.predict().label_correlation == pytest.approx(0.852, abs=0.01)


# ---------------------------------------------------------------- full metric


def test_a_full_metric_helps_a_spread_signal_where_a_diagonal_one_cannot():
    spread = EllipticalPooling(**BASE, localised=False)
    best = {metric: replace(spread, metric=metric).tuned() for metric in ("isotropic", "estimated", "full")}
    snr = {metric: model.predict().snr for metric, model in best.items()}
    assert snr["estimated"] == pytest.approx(snr["isotropic"], rel=1e-3)
    assert snr["full"] > 1.7 * snr["isotropic"]
    measured = {}
    for metric, model in best.items():
        mean, error = simulated(model, 6, ("snr", "stretch"))
        assert agrees(mean[0], error[0], snr[metric], 0.01)
        measured[metric] = mean
    assert measured["estimated"][1] == pytest.approx(1, abs=0.03)
    assert measured["full"][0] > 1.6 * measured["estimated"][0]
    # a localised signal gives the full metric the same
    on_axis = replace(best["full"], localised=True)
    mean, error = simulated(on_axis, 6, "snr")
    assert agrees(mean, error, snr["full"], 0.01).all()


def test_a_full_metric_is_isotropic_below_the_threshold():
    base = BASE | {"signal": 0.3}
    full = EllipticalPooling(**base, metric="full", inverse_temperature=0.03)
    assert full.metric_limit() == (1.0, 1.0, 0.0)
    isotropic = replace(full, metric="isotropic")
    assert full.predict().snr == pytest.approx(isotropic.predict().snr, rel=1e-9)
    (f, f_error), (i, i_error) = (simulated(model, 8, "snr") for model in (full, isotropic))
    assert abs(f[0] - i[0]) < STANDARD_ERRORS * np.hypot(f_error[0], i_error[0])
    # the twin: the leading eigenvector, taken at its word, makes an outlier out of nothing
    rng = np.random.default_rng(0)
    law = Sequences(np.eye(1, 128)[0], 64, 0.0, 0.6, 0.6)
    metric = full_metric(law.pooled(512, None, 0.0, rng)[0])
    assert metric.strength < 0.15
    weaker = replace(metric, scale=np.full(128, 0.3), strength=0.0)
    aligned = []
    for used in (replace(weaker, strength=0.7), weaker):
        x = law.pooled(512, used, 0.2, rng)[0]
        aligned.append((np.linalg.eigh(x.T @ x)[1][:, -1] @ metric.v) ** 2)
    assert aligned[0] > 0.5
    assert aligned[1] < 0.2


def test_full_metric_recovers_spike_and_overlap():
    rng, gamma, q = np.random.default_rng(3), 0.25, 4.0
    strengths, overlaps = [], []
    for _ in range(6):
        x = rng.standard_normal((1600, 400))
        x[:, 0] *= np.sqrt(1 + q)
        found = full_metric(0.1 * x)
        strengths.append(found.strength / found.scale[0])
        overlaps.append(found.v[0] ** 2)
    c2 = float(spikes.overlap(q, 0.0, gamma))
    assert np.mean(overlaps) == pytest.approx(c2, abs=0.02)
    assert np.mean(strengths) == pytest.approx((np.sqrt(1 + q) - 1) * c2, rel=0.05)
    assert np.mean(strengths) != pytest.approx(np.sqrt(1 + q) - 1, rel=0.05)  # the unshrunk one


# ---------------------------------------------------------------- a finite vocabulary


@pytest.mark.parametrize("vocabulary", [400, 1000])
@pytest.mark.parametrize("signal", [0.0, 0.5, 1.5])
def test_mean_weights_are_the_pooled_sequence_model(vocabulary, signal):
    R = np.full((20, 20), 0.3**2)
    np.fill_diagonal(R, 1)
    pooled = PooledSequences(400, vocabulary, 800, Correlated(R), "mean", signal).predict()
    found = EllipticalPooling(400, 20, 800, signal, 0.65, vocabulary=vocabulary).predict()
    np.testing.assert_allclose(found.alpha, pooled.alpha, rtol=1e-8)
    np.testing.assert_allclose(found.kappa, pooled.kappa, rtol=1e-8)
    np.testing.assert_allclose(found.edge, pooled.edge, rtol=1e-7)
    np.testing.assert_allclose(found.outlier, pooled.outlier, rtol=1e-7)
    np.testing.assert_allclose(found.overlap, pooled.overlap, atol=1e-7)


def test_a_large_vocabulary_is_none():
    model = EllipticalPooling(200, 64, 400, 0.7, 0.65, metric=(1, 0.1), inverse_temperature=0.2)
    endless, large = model.predict(), replace(model, vocabulary=10**8).predict()
    for name in ("outlier", "overlap", "edge", "kappa_perp"):
        assert getattr(large, name) == pytest.approx(getattr(endless, name), rel=1e-4)
    # equal rows and equal tokens: the classical spike
    one = np.ones(1)
    top = top_of_spectrum(Stage(0.0, one, one), Stage(0.5, one, one), np.array([[[4.0]]]), [[1.0]])
    assert top.outlier == pytest.approx(float(spikes.outlier(3.0, 0.0, 0.5)), rel=1e-10)
    assert top.overlap == pytest.approx(float(spikes.overlap(3.0, 0.0, 0.5)), rel=1e-7)
    assert top.edge == pytest.approx(float(spikes.edge(0.0, 0.5)), rel=1e-10)


@pytest.mark.parametrize(
    ("signal", "metric", "beta"), [(1.0, (1, 0.1), 0.2), (1.0, "isotropic", 0.03), (1.5, (1, 0.05), 0.2)]
)
def test_a_finite_vocabulary_agrees_with_simulation(signal, metric, beta):
    model = EllipticalPooling(200, 64, 400, signal, 0.6, metric, beta, vocabulary=200)
    theory = model.predict()
    names = ("snr", "outlier", "overlap")
    mean, error = simulated(model, 16, names)
    expected = np.array([getattr(theory, name) for name in names])
    # the table is one draw of finite size: 1/d
    assert agrees(mean, error, expected, 0.02).all()
    # an infinite vocabulary is another model, and so is a table without its own class means
    endless = replace(model, vocabulary=None).predict()
    assert not agrees(mean[2], error[2], endless.overlap, 0.02)
    published = spikes.alignment(signal, theory.alpha / theory.kappa, 1.0, 0.5, "balanced")
    assert metric == "isotropic" or not agrees(mean[2], error[2], published, 0.02)


def test_unequal_token_frequencies_move_the_edge():
    """Weighted rows against equal ones, same noise: edges at finite size lie below their limits by the same factor."""
    model = EllipticalPooling(400, 64, 800, 1.0, 0.6, (1, 0.0), 0.15, vocabulary=400)
    weights = token_frequencies(model._queries(), 1.0, model.field, 0.15, 400)
    assert weights.mean() == pytest.approx(1)
    one, p = np.ones(1), np.full(weights.size, 1 / weights.size)
    edges = [
        top_of_spectrum(stage, Stage(0.5, one, one), np.array([[[1e-9]]]), [[0.0]]).edge
        for stage in (Stage(1.0, weights, p), Stage(1.0, one, one))
    ]
    rng, ratios = np.random.default_rng(0), []
    for _ in range(4):
        table, rows = rng.standard_normal((400, 400)) / 20, rng.standard_normal((800, 400))
        tops = [np.linalg.norm(rows @ (np.sqrt(w)[:, None] * table), 2) ** 2 for w in (weights, np.ones(400))]
        ratios.append(tops[0] / tops[1])
    assert edges[0] / edges[1] > 1.04
    assert np.mean(ratios) == pytest.approx(edges[0] / edges[1], rel=0.01)


def test_stages_are_factors_of_the_map():
    one = Stage(0.5, np.ones(1), np.ones(1))
    p = 0.7
    assert one.factor(p) == pytest.approx(1 + 0.5 * p)
    rng = np.random.default_rng(0)
    values = rng.gamma(3.0, size=50)
    stage = Stage(0.8, values, np.full(50, 0.02))
    x = stage.x(p)
    assert np.mean(values * x / (1 + values * x)) == pytest.approx(-0.8 * p, rel=1e-12)
    assert -1 / values.max() < x < 0
    assert Stage(0.0, values, np.full(50, 0.02)).factor(p) == pytest.approx(values.mean())
    assert capped(np.array([1.0, 9.0]), np.array([0.9999, 0.0001]), 100).max() == 1
    assert capped(np.array([1.0, 9.0]), np.array([0.9, 0.1]), 100).max() == 9


# ---------------------------------------------------------------- what is refused


def test_condensation_is_said():
    with pytest.warns(RuntimeWarning, match="weights condense"):
        found = EllipticalPooling(**BASE, inverse_temperature=0.2).predict()
    assert found.condensed
    assert np.isnan(found.outlier)
    assert np.isfinite(found.snr)
    assert not EllipticalPooling(**BASE, inverse_temperature=0.05).predict().condensed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 2}, "dimension must be a whole number >= 3"),
        ({"length": 1}, "length"),
        ({"signal": -1}, "signal must be a finite number >= 0"),
        ({"agreement": 1.0}, "agreement must be strictly between 0 and 1"),
        ({"metric": "diagonal"}, "metric must be one of"),
        ({"metric": (1,)}, "metric must be a pair"),
        ({"metric": (0, 1)}, "metric must be a finite number > 0"),
        ({"inverse_temperature": -0.1}, "inverse_temperature"),
        ({"query": "own"}, "query must be one of"),
        ({"vocabulary": 7}, "vocabulary must be even"),
        ({"axis": 1.5, "metric": (1, 0.5)}, "axis must be between 0 and 1"),
        ({"axis": 0.5}, "axis must be 1 unless"),
        ({"metric": "full", "vocabulary": 100}, "vocabulary must be None"),
        ({"metric": (1, 0.1), "axis": 0.2, "vocabulary": 100}, "vocabulary must be None"),
    ],
)
def test_bad_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EllipticalPooling(**(BASE | change))


def test_what_is_not_proved_is_refused():
    model = EllipticalPooling(128, 2000, 512, 1.0, 0.6, inverse_temperature=0.05, vocabulary=128)
    with pytest.raises(ValueError, match="inverse_temperature must be smaller"):
        model.predict()
    assert np.isfinite(model.simulate(0).snr)
    with pytest.raises(ValueError, match="inverse_temperature must be smaller: logits"):
        EllipticalPooling(**BASE, inverse_temperature=2.0).predict()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coordinate_variability(np.ones((3, 2)), np.ones((2, 2))), "same shape"),
        (lambda: coordinate_variability(np.ones(3), np.ones(3)), "same shape"),
        (lambda: coordinate_variability([[np.nan]], [[0.0]]), "values must be finite"),
        (lambda: coordinate_variability([[1.0]], [[0.0]], delta=0), "delta"),
        (lambda: coordinate_variability([[1.0]], [[0.0]], scale="sum"), "scale must be one of"),
        (lambda: coordinate_variability([[1.0]], [[0.0]], statistic="mode"), "statistic must be one of"),
        (lambda: finite_difference_variability(np.sin, [1.0]), "points"),
        (lambda: finite_difference_variability(lambda x: x.sum(), np.ones((3, 2))), "function must return"),
        (lambda: nadaraya_watson([[1.0]], [1.0, 2.0], [[1.0]], bandwidth=1), "y must have shape"),
        (lambda: nadaraya_watson([[1.0]], [1.0], [[1.0, 2.0]], bandwidth=1), "queries must be finite"),
        (lambda: nadaraya_watson([[1.0]], [1.0], [[1.0]], bandwidth=0), "bandwidth"),
        (lambda: nadaraya_watson([[1.0]], [1.0], [[1.0]], bandwidth=1, metric=[0.0]), "metric"),
        (
            lambda: nadaraya_watson([[1.0]], [1.0], [[1.0]], bandwidth=1, metric=[1.0, 1.0]),
            "metric must have shape",
        ),
        (lambda: best_bandwidth([[1.0]], [1.0]), "two points"),
        (lambda: best_bandwidth([[1.0], [2.0]], [1.0, 2.0], bandwidths=[-1.0]), "bandwidths"),
        (lambda: pooled_moments(0.0, 0.0, -1.0, 5), "variance"),
        (lambda: pooled_moments(0.0, 0.0, 1.0, 0), "length"),
        (lambda: pooled_moments(0.0, 0.0, 65.0, 9), "variance must be at most 64"),
        (lambda: tilted_law(np.inf, 0.0, 1.0), "field"),
        (lambda: residual_stretch(64, 1.0, 1.2), "agreement"),
        (lambda: random_metric(0), "dimension"),
        (lambda: EllipticalPooling(**BASE).simulate(-1), "seed"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pool_averages_to_what_sequences_show():
    """Covariance in the plane of signal and axis, for a tilted axis."""
    found = queries(40, 1.2, (1.0, 0.2), 0.5, 0.6)
    pooled = pool(found, 1.2, np.arctanh(0.2), 0.3, 16)
    plane = np.einsum("q,qij->ij", found.weight, pooled.plane)
    model = EllipticalPooling(40, 16, 20_000, 1.2, 0.6, (1.0, 0.2), 0.3, axis=0.5)
    draw = model.simulate(0)
    assert draw.outlier == pytest.approx(np.linalg.eigvalsh(plane)[-1], rel=0.03)
    assert draw.overlap == pytest.approx(np.linalg.eigh(plane)[1][0, -1] ** 2, abs=0.02)
    assert draw.kappa_perp == pytest.approx(float(found.weight @ pooled.noise), rel=0.01)


@pytest.mark.parametrize("name", ["nadaraya_watson", "metric_snr", "spurious_outlier"])
def test_figures_run_and_draw(name, monkeypatch):
    import importlib

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    module = importlib.import_module(f"resolvent.experiments.{name}")
    tiny = {"sizes": 2, "seeds": 2, "points": 3, "simulated": 2}
    monkeypatch.setitem(module.SIZES, "quick", tiny)
    for size, value in (("DIMENSION", 32), ("SAMPLES", 64), ("LENGTH", 64)):
        if hasattr(module, size) and name != "nadaraya_watson":
            monkeypatch.setattr(module, size, value)
    dataset = module.run("quick")
    assert {"title", "caption"} <= set(dataset.attrs)
    figure = module.draw(dataset)
    assert figure.axes
    plt.close(figure)


def test_compare_joins_prediction_and_simulation():
    from resolvent.compare import compare

    model = EllipticalPooling(64, 64, 256, 1.5, 0.6, (1.0, 0.2), inverse_temperature=0.1)
    table = compare(model, range(4))
    assert list(table["quantity"].values) == ["alpha", "kappa", "kappa_perp", "snr", "outlier", "overlap"]
    assert bool(table.agrees.all())
    assert not bool(compare(replace(model, agreement=0.9), range(4)).predicted.equals(table.predicted))
