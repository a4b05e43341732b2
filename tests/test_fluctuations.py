"""One finite sample against what the theory says of its spread: standard errors, intervals, p-values."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from resolvent import Correlated, MarchenkoPasturProduct, PooledSequences, Prefix, SingleFactor
from resolvent.error_bars import ErrorBars
from resolvent.experiments import error_bars as figure
from resolvent.experiments.agreement import random_model
from resolvent.fluctuations import FiniteSample, pooled_kurtosis
from resolvent.laws.tracy_widom import TracyWidom

TW = TracyWidom()


def drawn(model, seeds):
    found = [model.simulate(seed) for seed in range(seeds)]
    return np.array([[d.top_eigenvalue, d.second_eigenvalue, d.overlap] for d in found]).T


def share(sample, bar):
    return np.mean((sample >= bar.low) & (sample <= bar.high))


def band(draws, coverage=0.95, width=4.0):
    return width * np.sqrt(coverage * (1 - coverage) / draws)


# --- the pooled sign sum ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_kurtosis_is_the_average_over_all_signs(seed):
    rng = np.random.default_rng(seed)
    w, c = rng.standard_normal(5), rng.uniform(-1, 1, 5)
    signs = np.array(list(itertools.product((-1, 1), repeat=5)))
    chance = (np.prod((1 + signs * c) / 2, axis=1) + np.prod((1 - signs * c) / 2, axis=1)) / 2
    a = signs @ w
    wanted = (chance @ a**4) / (chance @ a**2) ** 2
    assert pooled_kurtosis(SingleFactor(c), w) == pytest.approx(wanted)


def test_kurtosis_of_other_positions_is_sampled():
    chain = Correlated(0.6 ** np.abs(np.subtract.outer(range(6), range(6))))
    w = np.full(6, 1 / 6)
    found = pooled_kurtosis(chain, w)
    more = pooled_kurtosis(chain, w, draws=400_000, rng=5)
    assert found == pytest.approx(more, abs=0.03)
    assert pooled_kurtosis(Correlated(np.eye(6)), w) == pytest.approx(
        pooled_kurtosis(Prefix(6, 0), w), abs=0.03
    )
    # not a function of R: the same R from a label, another fourth moment
    c = np.full(6, 0.8)
    same_r = Correlated(SingleFactor(c).matrix)
    assert abs(pooled_kurtosis(same_r, w) - pooled_kurtosis(SingleFactor(c), w)) > 0.05


def test_kurtosis_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="shape"):
        pooled_kurtosis(Prefix(3, 1), [1.0, 2.0])
    with pytest.raises(ValueError, match="pool the signs to zero"):
        pooled_kurtosis(Prefix(2, 2), [1.0, -1.0])
    with pytest.raises(ValueError, match="not all zero"):
        pooled_kurtosis(Prefix(2, 2), [0.0, 0.0])


# --- formulas -----------------------------------------------------------------------------------------


def test_limits_are_the_classical_ones():
    # no table, Gaussian signs: the spiked covariance model
    for signal in (1.5, 2.0, 4.0):
        one = FiniteSample(500, 10**9, 1001, 1.0, 1.0, 3.0, signal, table="balanced")
        spike, gamma = 1 + signal**2, 0.5
        wanted = 2 * spike**2 * (1 - gamma / (spike - 1) ** 2) / 1000
        assert (one.outlier_error * 1001 / 1000) ** 2 == pytest.approx(wanted, rel=1e-4)
        # the angle: Paul (2007); all of the spread is along the curve, by sampling
        assert one.outlier_error_given_table == pytest.approx(one.outlier_error, rel=1e-4)
    # Johnstone's centring, with his halves
    d, n = 500, 1000
    centre = FiniteSample(d, 10**9, n + 1, 1.0, 1.0, 3.0, 0.0, table="balanced").edge_centre(spike=False)
    assert centre * (n + 1) == pytest.approx((np.sqrt(n - 0.5) + np.sqrt(d - 0.5)) ** 2, rel=1e-6)


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_slopes_are_those_of_the_curve(table):
    one = FiniteSample(200, 300, 250, 0.5, 0.1, 1.7, np.array([1.2, 2.0]), table=table)
    h = 1e-6
    slope = (one.overlap_at(one.q + h) - one.overlap_at(one.q - h)) / (2 * h)
    np.testing.assert_allclose(one.overlap_slope(), slope, rtol=1e-5)
    through = (one.bulk.at_spike(one.q + h) - one.bulk.at_spike(one.q - h)) / (2 * h)
    np.testing.assert_allclose(one.outlier_error, through * one.spike_error, rtol=1e-5)


def test_everything_broadcasts_with_the_signal():
    model = PooledSequences(100, 200, 150, Prefix(30, 6), "mean", np.linspace(0, 3, 13), table="balanced")
    bars = model.predict().error_bars
    for i, signal in enumerate(model.signal):
        single = dataclasses.replace(model, signal=float(signal)).predict().error_bars
        for name in ("outlier", "overlap", "edge"):
            many, one = getattr(bars, name), getattr(single, name)
            assert many.reason[i] == one.reason
            for field in ("value", "standard_error", "low", "high"):
                np.testing.assert_allclose(
                    getattr(many, field)[i], getattr(one, field), rtol=1e-9, atol=1e-12
                )


# --- against simulation -------------------------------------------------------------------------------


def test_standard_errors_and_the_twins_without_a_source():
    model = PooledSequences(150, 300, 100, Prefix(40, 10), "optimal", 0.8)
    top, _, overlap = drawn(model, 300)
    bars = model.predict().error_bars
    allowed = 4 / np.sqrt(2 * 300)
    assert bars.sample.kurtosis == pytest.approx(1)
    assert abs(top.std() / bars.sample.outlier_error - 1) < allowed
    assert abs(overlap.std() / bars.sample.overlap_error - 1) < allowed
    gaussian_signs = dataclasses.replace(bars.sample, kurtosis=3.0)
    assert abs(top.std() / gaussian_signs.outlier_error - 1) > allowed
    assert abs(top.std() / bars.sample.outlier_error_given_table - 1) > allowed


def test_a_table_held_fixed_spreads_less():
    model = PooledSequences(120, 160, 240, Prefix(30, 10), "optimal", 0.8)
    table, _ = model._draw(0, np.dtype(float))
    table[:, 0] += 0.8 * np.repeat([1, -1], 80)
    values = []
    for seed in range(250):
        _, matrix = model._draw(seed, np.dtype(float))
        x = matrix @ table
        x -= x.mean(axis=0)
        values.append(np.linalg.norm(x, 2) ** 2 / 240)
    sample, allowed = model.predict().error_bars.sample, 4 / np.sqrt(2 * 250)
    level = np.mean(values) / sample.outlier  # this table's own spike is larger or smaller
    assert abs(np.std(values) / (level * sample.outlier_error_given_table) - 1) < allowed
    assert abs(np.std(values) / (level * sample.outlier_error) - 1) > allowed


@pytest.mark.parametrize("index", [24, 29, 34, 41])
def test_intervals_hold_what_they_say(index):
    covered, draws = figure.coverage(index, 130, 250), 250
    assert np.isfinite(covered).sum() >= 2
    assert (np.abs(np.array(covered)[np.isfinite(covered)] - 0.95) < band(draws)).all()


def test_intervals_of_half_the_width_fail():
    model = random_model(28, 130)
    top, _, overlap = drawn(model, 250)
    bars = model.predict().error_bars
    for sample, bar in ((top, bars.outlier), (overlap, bars.overlap)):
        middle, half = (bar.low + bar.high) / 2, (bar.high - bar.low) / 4
        assert abs(share(sample, bar) - 0.95) < band(250)
        assert np.mean(np.abs(sample - middle) < half) < 0.95 - band(250)


def test_the_edge_with_half_degrees_of_freedom_and_its_twins():
    model = PooledSequences(120, 240, 200, Prefix(40, 0), "mean", 0.0, table="balanced")
    top, second, _ = drawn(model, 500)
    sample = model.predict().error_bars.sample
    error = TW.var() ** 0.5 / np.sqrt(500)
    scaled = (top - sample.edge_centre()) / sample.edge_scale
    assert abs(scaled.mean() - TW.mean()) < 4 * error
    assert stats.kstest(scaled, TW.cdf).pvalue > 1e-3
    limit = MarchenkoPasturProduct((model.delta, model.gamma), sample.kappa)
    assert abs(((top - limit.support[0][1]) / sample.edge_scale).mean() - TW.mean()) > 4 * error
    assert np.mean((second - sample.edge_centre()) / sample.edge_scale) == pytest.approx(-3.262, abs=0.2)


def test_a_dissolved_spike_pulls_the_edge():
    model = PooledSequences(200, 400, 300, Prefix(40, 10), "mean", 1.0, table="balanced")
    prediction = model.predict()
    power = (0.5 * prediction.threshold + model.delta) / prediction.snr
    model = dataclasses.replace(model, signal=float(np.sqrt(power)))
    top = drawn(model, 400)[0]
    sample = model.predict().error_bars.sample
    error = TW.var() ** 0.5 / np.sqrt(400)
    assert abs(((top - sample.edge_centre()) / sample.edge_scale).mean() - TW.mean()) < 4 * error
    without = (top - sample.edge_centre(spike=False)) / sample.edge_scale
    assert abs(without.mean() - TW.mean()) > 4 * error


@pytest.mark.parametrize("signal", [0.0, 0.06])
def test_weak_signals_under_a_loud_table(signal):
    # an outlier without signal: the overlap is that of a random direction, not zero
    model = PooledSequences(120, 120, 150, Prefix(40, 30), "optimal", signal)
    overlap = drawn(model, 300)[2]
    bar = model.predict().error_bars.overlap
    assert abs(share(overlap, bar) - 0.95) < band(300)
    assert abs(overlap.mean() - bar.value) < 4 * overlap.std() / np.sqrt(300)
    sample = model.predict().error_bars.sample
    plain = np.abs(overlap - sample.overlap) < 1.96 * sample.overlap_error  # Gaussian in the square: fails
    assert plain.mean() < 0.95 - band(300)


def test_overlap_below_the_threshold():
    model = PooledSequences(150, 300, 250, Prefix(40, 10), "mean", 0.55, table="balanced")
    prediction = model.predict()
    overlap, bar = drawn(model, 400)[2], prediction.error_bars.overlap
    assert 0.2 < prediction.q / prediction.threshold < 0.4
    assert abs(share(overlap, bar) - 0.95) < band(400)
    assert abs(overlap.mean() - bar.value) < 4 * overlap.std() / np.sqrt(400) + 2 / 150
    uniform = np.array([stats.chi2.ppf(u, 1) / 150 for u in (0.025, 0.975)])  # of a random direction: fails
    assert np.mean((overlap > uniform[0]) & (overlap < uniform[1])) < 0.95 - band(400)


# --- p-values and where there is no law ---------------------------------------------------------------


def test_p_values_are_uniform_without_signal():
    model = PooledSequences(100, 200, 160, Prefix(40, 1), "mean", 1.0)
    null = drawn(dataclasses.replace(model, signal=0.0), 500)[0]
    found = model.predict().p_value(null)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    limit = model.predict()
    width = float(limit.bulk.inverse_map.edge_scale()) * 100 ** (-2 / 3)
    assert stats.kstest(TW.sf((null - limit.edge) / width), "uniform").pvalue < 1e-4  # the bare limit fails
    assert 0 < limit.p_value(2 * limit.edge) < 1e-12
    own = limit.p_value([np.nan, limit.edge])  # NaN for NaN, and for nothing else
    np.testing.assert_array_equal(own, [np.nan, limit.p_value(limit.edge)])
    assert own[1] > 0


def test_p_values_know_an_outlier_without_signal():
    model = PooledSequences(100, 100, 150, Prefix(40, 30), "optimal", 0.3)
    null = drawn(dataclasses.replace(model, signal=0.0), 300)[0]
    assert stats.kstest(model.predict().p_value(null), "uniform").pvalue > 1e-3
    bulk_only = dataclasses.replace(model.predict().error_bars.sample, table="balanced", signal=0.0)
    fooled = TW.sf((null - bulk_only.edge_centre()) / bulk_only.edge_scale)
    assert np.median(fooled) < 1e-6


def test_reasons():
    model = PooledSequences(300, 600, 450, Prefix(40, 10), "mean", 1.0, table="balanced")
    q_c, snr = float(model.predict().threshold), float(model.predict().snr)

    def bars(ratio, **changed):
        signal = float(np.sqrt((ratio * q_c + model.delta) / snr))
        return dataclasses.replace(model, signal=signal, **changed).predict().error_bars

    assert "window" in bars(1.05).outlier.reason
    assert "window" in bars(1.05).overlap.reason
    assert "window" in bars(1.05).edge.reason
    assert np.isnan(bars(1.05).outlier.low)
    assert np.isfinite(bars(1.05).outlier.value)
    assert "no outlier" in bars(0.5).outlier.reason
    assert bars(0.5).edge.reason == bars(2.0).edge.reason == bars(2.0).outlier.reason == ""
    assert "heavy" in bars(2.0, positions=Prefix(1, 1)).overlap.reason
    assert np.isnan(bars(0.5, positions=Prefix(1, 1)).p_value(3.0))
    mixture = dataclasses.replace(model, table="mixture", signal=2.0)
    assert "second spike" in dataclasses.replace(mixture, centred=False).predict().error_bars.outlier.reason
    near = dataclasses.replace(mixture, positions=Prefix(40, 9), vocabulary=400)
    assert 0.8 < dataclasses.replace(near, signal=0.0).predict().error_bars.sample.ratio < 1.4
    assert np.isnan(near.predict().p_value(3.0))


def test_uncentred_balanced_tables_have_n_degrees_of_freedom():
    model = PooledSequences(100, 200, 150, Prefix(30, 6), "mean", 2.0, table="balanced", centred=False)
    assert model.predict().error_bars.sample.gamma == 100 / 150
    assert dataclasses.replace(model, centred=True).predict().error_bars.sample.gamma == 100 / 149


def test_bad_input():
    bars = PooledSequences(100, 200, 150, Prefix(30, 6), "mean", 2.0).predict()
    with pytest.raises(ValueError, match="confidence"):
        bars.error_bars.at(1.0)
    with pytest.raises(ValueError, match="published"):
        bars.published.error_bars  # noqa: B018
    good = {"alpha": 1.0, "kappa": 0.1, "kurtosis": 1.0, "signal": 1.0}
    for name, value in (
        ("alpha", -1.0),
        ("kappa", 0.0),
        ("kurtosis", 0.5),
        ("signal", -1.0),
        ("signal", np.nan),
    ):
        with pytest.raises(ValueError, match=name):
            FiniteSample(10, 20, 30, **(good | {name: value}))
    with pytest.raises(ValueError, match="vocabulary"):
        FiniteSample(10, 2, 30, **good)
    assert isinstance(bars.error_bars, ErrorBars)
    assert "interval" in repr(
        PooledSequences(100, 200, 150, Prefix(30, 6), "mean", 0.0).predict().error_bars.outlier
    )
