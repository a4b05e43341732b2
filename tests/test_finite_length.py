"""Short sequences: the map of order 1/T_eff², its spike, population dynamics, heavy tokens."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, stats

from resolvent import (
    Correlated,
    MarchenkoPasturProduct,
    PooledSequences,
    Prefix,
    SingleFactor,
    spikes,
    weights,
)
from resolvent.finite_length import (
    THEORIES,
    ShortSpike,
    effective_length,
    heaviest_token,
    right_theory,
    signal_length,
)
from resolvent.laws.finite_length import FiniteLength, FiniteLengthMap
from resolvent.population_dynamics import PopulationDynamics

RATIOS = [(0.5, 0.5), (1.0, 1.0), (0.3, 1.5), (2.0, 0.4), (0.05, 3.0), (3.0, 3.0)]
every_ratio = pytest.mark.parametrize("ratios", RATIOS)


# --- the law ------------------------------------------------------------------------------------------


@every_ratio
def test_infinite_length_is_the_product_law(ratios):
    short, long = FiniteLength(*ratios, np.inf, 1.3), MarchenkoPasturProduct(ratios, 1.3)
    x = np.linspace(0.01, 1.1, 40) * long.support[0][1]
    np.testing.assert_allclose(short.pdf(x), long.pdf(x), atol=1e-10)
    np.testing.assert_allclose(short.cdf(x), long.cdf(x), atol=1e-10)
    np.testing.assert_allclose(short.support, long.support, atol=1e-10)
    assert short.inverse_map.edge_scale() == pytest.approx(long.inverse_map.edge_scale())
    assert short.inverse_map.slope(3.0) == pytest.approx(long.inverse_map.slope(3.0))


@every_ratio
@pytest.mark.parametrize("length", [2.0, 3.5])
def test_the_law_is_a_law(ratios, length):
    law = FiniteLength(*ratios, length, 0.7)
    left, right = law.support[0]
    angle = np.linspace(1e-3, np.pi - 1e-3, 4001)
    x = left + (right - left) * np.sin(angle / 2) ** 2
    mass = law.pdf(x) * (right - left) * np.sin(angle) / 2
    cumulated = law.cdf(x[0]) + integrate.cumulative_simpson(mass, x=angle, initial=0)
    np.testing.assert_allclose(cumulated, law.cdf(x), atol=5e-5)
    assert law.cdf(right) == pytest.approx(1)
    assert law.cdf(0) == pytest.approx(max(0, 1 - 1 / max(ratios)))
    for k in (1, 2, 4):
        assert integrate.simpson(mass * x**k, x=angle) == pytest.approx(law.moment(k), rel=1e-3)
    u = np.linspace(law.atom + 0.01, 1, 9)
    np.testing.assert_allclose(law.cdf(law.ppf(u)), u, atol=1e-9)
    z = np.array([0.3 + 0.1j, 2.0 + 0.01j])
    p = law.inverse_map.physical(z)
    np.testing.assert_allclose(law.inverse_map(p), z)
    assert (p.imag < 0).all()


def test_moments_and_edges():
    delta, gamma, length = 0.7, 1.2, 3.0
    law, limit = FiniteLength(delta, gamma, length, 2.0), MarchenkoPasturProduct((delta, gamma), 2.0)
    for k in (1, 2, 3):
        assert law.moment(k) == pytest.approx(limit.moment(k))
    assert law.moment(4) - limit.moment(4) == pytest.approx(2.0**4 * delta * gamma**2 / length**2)
    p = 1 / spikes.threshold(delta, gamma)
    first = limit.support[0][1] * (1 + delta * gamma**2 * p**3 / length**2)
    assert law.support[0][1] == pytest.approx(first, rel=0.005)
    found = law.inverse_map
    h = 1e-6
    slope = (found.at_spike(2.0 + h) - found.at_spike(2.0 - h)) / (2 * h) / 2.0
    assert found.slope(2.0) == pytest.approx(slope, rel=1e-6)
    assert found.slope(found.critical_spikes()[0]) == pytest.approx(0, abs=1e-10)


def test_edge_scale_is_the_densitys_square_root():
    law, near = FiniteLength(0.8, 1.2, 2.5, 1.7), 1e-5
    right = law.support[0][1]
    mass = 1 - law.cdf(right - near)
    assert mass == pytest.approx(2 / (3 * np.pi) * (near / law.inverse_map.edge_scale()) ** 1.5, rel=1e-3)


# --- the spike ----------------------------------------------------------------------------------------


def test_a_spike_of_infinite_length_is_the_old_one():
    for delta, gamma, snr, power in [(0.5, 0.5, 2.0, 2.0), (1.0, 2.0, 1.0, 6.0), (0.3, 1.0, 5.0, 0.2)]:
        spike = ShortSpike(FiniteLengthMap(delta, gamma, np.inf, 2.0), snr, 0.0, power)
        q = snr * power - delta
        np.testing.assert_allclose(spike.outlier, spikes.outlier(q, delta, gamma, 2.0))
        np.testing.assert_allclose(spike.overlap, spikes.overlap(q, delta, gamma))
        assert spike.threshold == pytest.approx(spikes.threshold(delta, gamma))


def test_the_spike_is_continuous_at_its_threshold():
    bulk = FiniteLengthMap(0.7, 1.1, 2.0)
    one = ShortSpike(bulk, 2.0, 1.0, 1.0)
    power = (one.threshold + 0.7) / 2.0 * np.array([1 - 1e-6, 1 + 1e-6, 1.2, 3.0])
    spike = ShortSpike(bulk, 2.0, 1.0, power)
    assert np.isnan(spike.outlier[0])
    assert spike.overlap[0] == 0
    assert spike.outlier[1] == pytest.approx(bulk.edges()[1], rel=1e-6)
    assert spike.overlap[1] < 1e-3
    assert (np.diff(spike.overlap) > 0).all()


@pytest.mark.parametrize("snr", [1.0, 2.0, 5.0])
def test_overlap_is_the_general_formula(snr):
    """−y lambda'(y) ‖m‖² / ((‖m‖² − delta)² psi_s'(y)), by differences; psi_s and y as functions of p."""
    delta, gamma, power = 0.6, 0.9, 3.0
    bulk = FiniteLengthMap(delta, gamma, 2.2)
    spike = ShortSpike(bulk, snr, 0.7, power)

    def psi_s(p):
        xi = delta**2 * gamma**2 * p**4 * (snr / 2.2**2 - 0.7**2)
        return (snr * delta * p - xi) / (1 - (snr - 1) * delta * p + xi)

    p, h = float(spike.p), 1e-6
    assert (power - delta) * psi_s(p) == pytest.approx(delta)
    y = delta * (1 + p) / bulk(p)
    ends = p - h, p + h
    places = [delta * (1 + v) / bulk(v) for v in ends]
    fall = (bulk(ends[1]) - bulk(ends[0])) / (places[1] - places[0])
    rise = (psi_s(ends[1]) - psi_s(ends[0])) / (places[1] - places[0])
    assert spike.overlap == pytest.approx(-y * fall * power / ((power - delta) ** 2 * rise), rel=1e-5)


def test_lengths_of_weights():
    w = np.array([0.6, -0.3, 0.1])
    c = np.array([0.9, -0.5, 0.2])
    positions = SingleFactor(c)
    kappa = w @ w
    assert effective_length(w) == pytest.approx(kappa**2 / (w**4).sum())
    assert signal_length(positions, w) == pytest.approx(w**3 @ positions.matrix @ w / kappa**2)
    assert effective_length(1e150 * w) == pytest.approx(effective_length(w))


# --- against simulation -------------------------------------------------------------------------------


def random_short(index, dimension=200):
    rng = np.random.default_rng([11, index])
    while True:
        delta, gamma = rng.uniform(0.3, 1.2, 2)
        length = int(rng.integers(2, 8))
        positions = (
            Prefix(length, int(rng.integers(0, length + 1))),
            SingleFactor(rng.uniform(0, 1, length)),
            Correlated(0.6 ** np.abs(np.subtract.outer(range(length), range(length)))),
        )[rng.integers(3)]
        w = (weights.mean(length), weights.causal(length), rng.uniform(0.3, 1, length))[rng.integers(3)]
        if not 2 <= effective_length(w) < 5:
            continue
        table = spikes.TABLES[index % 2]
        sizes = dimension, 2 * round(dimension / delta / 2), round(dimension / gamma)
        model = PooledSequences(*sizes, positions, w, 1.0, table=table)
        q = rng.uniform(1.8, 4.0) * float(model.predict(theory=THEORIES[0]).threshold)
        power = (q + model.delta) / weights.snr(w, positions.matrix)
        power -= model.delta if table == "mixture" else 0
        if power > 0:
            return dataclasses.replace(model, signal=float(np.sqrt(power)))


@pytest.mark.parametrize("index", range(10))
def test_random_short_settings(index):
    model = random_short(index)
    prediction = model.predict()
    assert prediction.theory == "1/T_eff^2 map"
    draws = [model.simulate(seed) for seed in range(60)]
    top, overlap = (np.array([getattr(d, name) for d in draws]) for name in ("top_eigenvalue", "overlap"))
    bars = prediction.error_bars  # around the sample's own degrees of freedom
    assert abs(top.mean() - bars.outlier.value) < 4 * top.std() / np.sqrt(60) + top.mean() / 200
    assert abs(overlap.mean() - bars.overlap.value) < 4 * overlap.std() / np.sqrt(60) + 4 / 200


def test_the_infinite_length_fails_where_it_should():
    model = PooledSequences(400, 800, 266, Prefix(2, 2), "mean", 1.3, table="balanced")
    overlap = np.array([model.simulate(seed, top=2).overlap for seed in range(80)])
    error = overlap.std() / np.sqrt(80)
    right, wrong = model.predict(), model.predict(theory="infinite length")
    assert abs(overlap.mean() - right.error_bars.overlap.value) < 3.5 * error
    assert abs(overlap.mean() - wrong.error_bars.overlap.value) > 3.5 * error


# --- population dynamics ------------------------------------------------------------------------------


def test_one_position_is_exact():
    delta, gamma = 0.5, 0.25
    phi, n = delta / gamma, np.arange(40)
    y = np.array([0.05, 0.1])
    t = n / phi
    chance, wanted = stats.poisson.pmf(n, phi), []
    for v in y:
        kept = t * v < 0.8
        wanted.append((chance * t * v)[kept] @ (1 / (1 - t[kept] * v)))
    psi, visible = PopulationDynamics([1.0], [[1.0]], delta, gamma).functions(y)
    np.testing.assert_allclose(psi, wanted, rtol=2e-3)
    np.testing.assert_allclose(psi, visible)


def test_population_meets_the_map_and_a_complex_plane():
    w, matrix = [0.5] * 4, np.eye(4)
    solver = PopulationDynamics(w, matrix, 0.5, 0.5)
    spike = ShortSpike(FiniteLengthMap(0.5, 0.5, 4.0), 1.0, 0.25, 3.06)
    outlier, overlap = solver.spike(3.06)
    assert outlier == pytest.approx(spike.outlier, rel=2e-3)
    assert overlap == pytest.approx(spike.overlap, abs=0.01)
    law = FiniteLength(0.5, 0.5, 4.0)
    z = 1.0 + 0.5j
    y = 0.5 * (1 + law.inverse_map.physical(z)) / z
    psi, _ = solver.functions(y)
    assert psi[0] == pytest.approx(0.5 * law.inverse_map.physical(z), abs=5e-3)


def test_population_of_the_shortest():
    model = PooledSequences(300, 300, 300, Prefix(2, 2), weights.causal(2), 2.5)
    prediction = model.predict()
    assert prediction.theory == "population dynamics"
    again = model.predict()
    assert prediction.outlier == again.outlier  # its populations have fixed seeds
    draws = [model.simulate(seed, top=2) for seed in range(40)]
    top, overlap = (np.array([getattr(d, name) for d in draws]) for name in ("top_eigenvalue", "overlap"))
    assert abs(top.mean() - prediction.outlier) < 4 * top.std() / np.sqrt(40) + top.mean() / 100
    assert abs(overlap.mean() - prediction.overlap) < 4 * overlap.std() / np.sqrt(40) + 5 / 300


def test_unconverged_populations_raise(monkeypatch):
    monkeypatch.setattr("resolvent.population_dynamics.TOLERANCE", {"outlier": 0.0, "overlap": 0.0})
    monkeypatch.setattr("resolvent.population_dynamics.SIZE", 100)
    solver = PopulationDynamics([0.5, 0.5], np.ones((2, 2)), 1.0, 1.0, size=150)
    with pytest.raises(RuntimeError, match="has not converged: two populations of 150 differ"):
        solver.spike(3.0)


# --- which theory, heavy tokens, bad input -----------------------------------------------------------


def test_predict_says_which_theory():
    def theory(length, **given):
        return PooledSequences(60, 120, 90, Prefix(length, 1), "mean", 1.0).predict(**given).theory

    assert theory(5) == theory(30) == "infinite length"
    assert theory(2) == theory(4) == "1/T_eff^2 map"
    assert theory(1) == "population dynamics"
    assert theory(3, theory="population dynamics") == "population dynamics"
    assert right_theory(1.0, "infinite length") == "infinite length"
    short = PooledSequences(60, 120, 90, Prefix(3, 1), "mean", np.array([0.5, 3.0])).predict()
    assert isinstance(short.bulk, FiniteLength)
    assert short.edge == short.bulk.support[0][1]
    assert short.published.theory == "infinite length"
    long = PooledSequences(60, 120, 90, Prefix(30, 1), "mean", 1.0)
    assert long.predict().edge == spikes.edge(long.delta, long.gamma, 1 / 30)


def test_heaviest_token_is_the_heaviest():
    w, tokens, samples = np.array([0.5, 0.3, 0.2]), 600, 900
    rng = np.random.default_rng(0)
    omega = w**2 / (w @ w) * tokens / samples
    tops = [max(rng.poisson(samples / tokens, (tokens, 3)) @ omega) for _ in range(300)]
    found = heaviest_token(w, 300, tokens, samples)
    assert found.weight == pytest.approx(np.median(tops), rel=0.06)
    assert found.q == pytest.approx(0.5 * (found.weight - 1))
    assert heaviest_token(np.full(50, 0.02), 300, tokens, samples).share < 0.3
    assert heaviest_token([1.0], 300, tokens, 200).share > 1


def test_heavy_tokens_are_outliers_without_signal():
    model = PooledSequences(300, 600, 200, Prefix(1, 1), "mean", 0.0)
    draws = [model.simulate(seed, top=2) for seed in range(12)]
    found = heaviest_token([1.0], 300, 600, 200)
    assert found.share > 1
    assert np.median([d.top_eigenvalue for d in draws]) > 1.05 * model.predict(theory="infinite length").edge
    placed = model.predict().bulk.inverse_map.at_spike(found.q)
    assert np.median([d.top_eigenvalue for d in draws]) == pytest.approx(placed, rel=0.2)


def test_bad_input():
    model = PooledSequences(60, 120, 90, Prefix(3, 1), "mean", 1.0)
    with pytest.raises(ValueError, match="theory must be one of"):
        model.predict(theory="exact")
    with pytest.raises(ValueError, match="at most 12 positions"):
        PooledSequences(60, 120, 90, Prefix(30, 1), "mean", 1.0).predict(theory="population dynamics")
    with pytest.raises(ValueError, match="match weights"):
        PopulationDynamics([1.0, 1.0], np.eye(3), 0.5, 0.5)
    with pytest.raises(ValueError, match="delta"):
        FiniteLength(-1.0, 0.5, 3.0)
    with pytest.raises(ValueError, match="effective_length"):
        FiniteLength(1.0, 0.5, 0.5)
    with pytest.raises(ValueError, match="not all zero"):
        effective_length([0.0, 0.0])
    with pytest.raises(ValueError, match="not all zero"):
        heaviest_token([0.0], 3, 4, 5)


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], [0.0, 0.0], [np.nan, 1.0], []])
def test_bad_weights(bad):
    for call in (
        effective_length,
        lambda w: signal_length(Prefix(2, 1), w),
        lambda w: heaviest_token(w, 9, 9, 9),
    ):
        with pytest.raises(ValueError, match="weights must"):
            call(bad)
    with pytest.raises(ValueError, match="weights must have shape"):
        signal_length(Prefix(2, 1), [1.0, 1.0, 1.0])


def test_bad_lengths_and_sizes():
    for bad in (np.nan, 0, -1.0, "long"):
        with pytest.raises(ValueError, match="length must be"):
            right_theory(bad)
    for name, sizes in (("dimension", (0, 1, 1)), ("vocabulary", (1, 0, 1)), ("samples", (1, 1, -1))):
        with pytest.raises(ValueError, match=name):
            heaviest_token([1.0], *sizes)
