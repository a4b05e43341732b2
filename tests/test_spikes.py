"""Outliers, thresholds and overlaps: limits, identities, and independent routes to the same numbers."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent import spikes

ratio = st.floats(1e-3, 10.0)
excess = st.floats(0.02, 30.0)
GRID = [(0.25, 0.5), (1.0, 1.0), (2.0, 0.3), (0.3, 2.0), (1.0, 0.5), (4.0, 3.0), (1e-6, 0.7), (0.7, 1e-6)]
every_ratio = pytest.mark.parametrize(("delta", "gamma"), GRID)


@every_ratio
def test_threshold_is_the_largest_root_of_the_cubic(delta, gamma):
    roots = np.roots([1.0, 0.0, -(delta + gamma + delta * gamma), -2 * delta * gamma])
    assert spikes.threshold(delta, gamma) == pytest.approx(roots.real.max(), rel=1e-9)


@given(ratio, ratio)
def test_threshold_is_symmetric_and_above_either_stage(delta, gamma):
    critical = spikes.threshold(delta, gamma)
    assert critical == pytest.approx(spikes.threshold(gamma, delta), rel=1e-12)
    assert critical > np.sqrt(max(delta, gamma))


@every_ratio
def test_edge_is_the_outlier_at_the_threshold(delta, gamma):
    critical = spikes.threshold(delta, gamma)
    assert spikes.outlier(critical * (1 + 1e-7), delta, gamma, 2.0) == pytest.approx(
        spikes.edge(delta, gamma, 2.0)
    )


@every_ratio
def test_outlier_leaves_the_edge_with_zero_slope(delta, gamma):
    # square-root transition: at 1 + h the distance to the edge is of order h²
    critical, edge = spikes.threshold(delta, gamma), spikes.edge(delta, gamma)
    far, near = (spikes.outlier(critical * (1 + h), delta, gamma) - edge for h in (2e-3, 1e-3))
    assert far / near == pytest.approx(4, rel=0.02)


@every_ratio
def test_overlap_starts_from_zero_at_the_threshold(delta, gamma):
    critical = spikes.threshold(delta, gamma)
    assert spikes.overlap(critical, delta, gamma) == 0
    far, near = (spikes.overlap(critical * (1 + h), delta, gamma) for h in (2e-5, 1e-5))
    assert 0 < near < 1e-3
    assert far / near == pytest.approx(2, rel=1e-2)


@every_ratio
def test_below_the_threshold(delta, gamma):
    q = spikes.threshold(delta, gamma) * np.array([-1.0, 0.0, 0.5, 0.999])
    np.testing.assert_array_equal(spikes.outlier(q, delta, gamma), np.nan)
    np.testing.assert_array_equal(spikes.overlap(q, delta, gamma), 0.0)


@given(ratio, excess)
def test_no_sample_noise_is_the_population_covariance(delta, t):
    q = np.sqrt(delta) * (1 + t)
    assert spikes.threshold(delta, 0.0) == pytest.approx(np.sqrt(delta))
    assert spikes.edge(delta, 0.0) == pytest.approx((1 + np.sqrt(delta)) ** 2)
    assert spikes.outlier(q, delta, 0.0) == pytest.approx((q + 1) * (q + delta) / q)
    assert spikes.overlap(q, delta, 0.0) == pytest.approx(1 - delta / q**2)


@given(ratio, excess)
def test_infinite_vocabulary_is_the_classical_spiked_covariance(gamma, t):
    # Baik, Ben Arous, Peche (2005); Paul (2007): λ = (1+q)(1+gamma/q), overlap (1 − gamma/q²)/(1 + gamma/q)
    q = np.sqrt(gamma) * (1 + t)
    assert spikes.threshold(0.0, gamma) == pytest.approx(np.sqrt(gamma))
    assert spikes.outlier(q, 0.0, gamma) == pytest.approx((1 + q) * (1 + gamma / q))
    assert spikes.overlap(q, 0.0, gamma) == pytest.approx((1 - gamma / q**2) / (1 + gamma / q))


@given(ratio, excess)
def test_unit_snr_is_the_classical_spiked_covariance_of_the_table(delta, t):
    # alpha = kappa: the population covariance is that of V tokens of a mixture, and q = ‖mu‖²
    signal2 = np.sqrt(delta) * (1 + t)
    assert spikes.net_spike(np.sqrt(signal2), 1.0, delta) == pytest.approx(signal2)
    wanted = (1 - delta / signal2**2) / (1 + delta / signal2)
    assert spikes.alignment(np.sqrt(signal2), 1.0, delta, 0.0) == pytest.approx(wanted, rel=1e-9)
    assert spikes.critical_signal(1.0, delta, 0.0) ** 2 == pytest.approx(np.sqrt(delta))


def test_no_noise_at_all():
    assert spikes.threshold(0.0, 0.0) == 0
    assert spikes.edge(0.0, 0.0, 3.0) == pytest.approx(3.0)
    assert spikes.outlier(0.5, 0.0, 0.0) == pytest.approx(1.5)
    assert spikes.overlap(0.5, 0.0, 0.0) == pytest.approx(1.0)


def test_limits_are_reached_continuously():
    q = np.array([0.9, 2.0, 5.0])
    for function in (spikes.outlier, spikes.overlap):
        np.testing.assert_allclose(function(q, 0.3, 1e-9), function(q, 0.3, 0.0), rtol=1e-7)
        np.testing.assert_allclose(function(q, 1e-9, 0.3), function(q, 0.0, 0.3), rtol=1e-7)


@given(ratio, ratio, excess, st.floats(0.01, 100.0))
def test_invert_undoes_outlier(delta, gamma, t, scale):
    q = spikes.threshold(delta, gamma) * (1 + t)
    # the outlier is quadratic at the threshold: close to it half of the digits are gone
    found = spikes.invert(spikes.outlier(q, delta, gamma, scale), delta, gamma, scale)
    assert found == pytest.approx(q, rel=1e-8)


@given(ratio, ratio, st.floats(1.01, 100.0))
def test_outlier_undoes_invert(delta, gamma, factor):
    eigenvalue = factor * spikes.edge(delta, gamma)
    assert spikes.outlier(spikes.invert(eigenvalue, delta, gamma), delta, gamma) == pytest.approx(
        eigenvalue, rel=1e-9
    )


def test_invert_is_nan_in_the_bulk():
    edge = spikes.edge(0.5, 0.5)
    np.testing.assert_array_equal(spikes.invert([-1.0, 0.0, 0.5 * edge, edge], 0.5, 0.5), np.nan)


@given(ratio, ratio, excess)
def test_overlap_is_the_slope_of_the_map(delta, gamma, t):
    q = spikes.threshold(delta, gamma) * (1 + t)
    h = 1e-5 * q
    if spikes.threshold(delta, gamma) < q - h:
        slope = (spikes.outlier(q + h, delta, gamma) - spikes.outlier(q - h, delta, gamma)) / (2 * h)
        assert spikes.overlap(q, delta, gamma) == pytest.approx(slope / (1 + gamma / q), rel=1e-4, abs=1e-6)


@every_ratio
def test_the_sample_factor_is_the_relative_slope_of_the_eigenvalues(delta, gamma):
    # total = population × sample, the sample's share being (ℓ/λ) dλ/dℓ
    q = spikes.threshold(delta, gamma) * np.array([1.2, 2.0, 7.0])
    h = 1e-6 * q
    up, down = ([spikes.outlier(q + s * h, delta, g) for g in (0.0, gamma)] for s in (1, -1))
    slope = (up[1] - down[1]) / (up[0] - down[0])
    share = spikes.outlier(q, delta, 0.0) / spikes.outlier(q, delta, gamma) * slope
    total = spikes.overlap(q, delta, gamma)
    np.testing.assert_allclose(total, spikes.overlap(q, delta, 0.0) * share, rtol=1e-6)


@pytest.mark.parametrize(("delta", "gamma"), [(0.25, 0.5), (1.0, 1.0), (2.0, 0.3), (0.3, 2.0)])
@pytest.mark.parametrize("times", [1.3, 3.0])
def test_two_stages_by_published_transforms(delta, gamma, times):
    # an additive rank-one spike over Marchenko-Pastur, then sampled: none of our map in it
    q = spikes.threshold(delta, gamma) * times
    population, population_overlap = oracles.additive_spike(q + delta, delta)
    assert spikes.outlier(q, delta, 0.0) == pytest.approx(population)
    assert spikes.overlap(q, delta, 0.0) == pytest.approx(population_overlap)
    outlier, sample_overlap = oracles.sampled_spike(population, delta, gamma)
    assert spikes.outlier(q, delta, gamma) == pytest.approx(outlier, rel=1e-7)
    assert spikes.overlap(q, delta, gamma) == pytest.approx(population_overlap * sample_overlap, rel=1e-6)


@given(st.floats(0.0, 5.0), st.floats(0.0, 20.0), ratio)
def test_net_spike_by_convention(signal, snr, delta):
    mixture, balanced = (spikes.net_spike(signal, snr, delta, table) for table in ("mixture", "balanced"))
    assert mixture == pytest.approx(snr * (signal**2 + delta) - delta, abs=1e-12)
    assert balanced == pytest.approx(snr * signal**2 - delta, abs=1e-12)
    assert spikes.direction_factor(signal, delta) == pytest.approx(signal**2 / (signal**2 + delta))
    assert spikes.direction_factor(signal, delta, "balanced") == 1


def test_direction_factor_without_signal_or_noise():
    assert spikes.direction_factor(0.0, 0.0) == 0
    assert spikes.direction_factor(0.0, 0.5) == 0
    assert spikes.direction_factor(1.0, 0.0) == 1


@given(st.floats(0.1, 20.0), ratio, ratio, st.sampled_from(["mixture", "balanced"]))
def test_critical_signal_is_where_the_outlier_appears(snr, delta, gamma, table):
    critical = spikes.critical_signal(snr, delta, gamma, table)
    shows = np.isfinite(
        spikes.outlier(spikes.net_spike(critical * 1.0001 + 1e-9, snr, delta, table), delta, gamma)
    )
    assert shows
    if critical > 1e-3:
        hidden = spikes.outlier(spikes.net_spike(critical * 0.9999, snr, delta, table), delta, gamma)
        assert np.isnan(hidden)


def test_a_strong_snr_leaves_no_threshold_in_a_mixture_only():
    # the table's own class means carry the spike: any signal tilts it
    assert spikes.critical_signal(50.0, 1.0, 0.1) == 0
    assert spikes.critical_signal(50.0, 1.0, 0.1, "balanced") > 0
    assert 0 < spikes.alignment(1e-3, 50.0, 1.0, 0.1) < 1e-5


def test_numbers_of_the_theory():
    # section 2: delta = 1, gamma = 0.5, T = 50, first 10 correlated, ‖mu‖ = 0.7, optimal weights
    assert spikes.alignment(0.7, 10.0, 1.0, 0.5) == pytest.approx(0.314, abs=5e-4)
    assert spikes.alignment(0.7, 10.0, 1.0, 0.5, "balanced") == pytest.approx(0.755, abs=5e-4)


@given(ratio, ratio, st.floats(0.1, 4.0), st.floats(0.5, 10.0), st.sampled_from(["mixture", "balanced"]))
def test_alignment_is_a_squared_cosine_that_grows(delta, gamma, signal, snr, table):
    here = spikes.alignment(signal, snr, delta, gamma, table)
    assert 0 <= here <= 1
    assert spikes.alignment(1.1 * signal, snr, delta, gamma, table) >= here
    assert spikes.alignment(signal, 1.1 * snr, delta, gamma, table) >= here
    assert spikes.alignment(signal, snr, delta, 1.1 * gamma, table) <= here


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_one_call_serves_a_grid(table):
    signal, snr = np.linspace(0, 3, 4)[:, None, None], np.array([1.0, 5.0])[:, None]
    delta, gamma = np.array([0.1, 1.0, 2.0]), 0.7
    grid = spikes.alignment(signal, snr, delta, gamma, table)
    assert grid.shape == (4, 2, 3)
    for i, j, k in np.ndindex(grid.shape):
        single = spikes.alignment(float(signal[i, 0, 0]), float(snr[j, 0]), float(delta[k]), gamma, table)
        assert grid[i, j, k] == pytest.approx(single, rel=1e-12)


@pytest.mark.parametrize("name", ["threshold", "edge", "outlier", "overlap", "invert"])
def test_shapes_broadcast(name):
    column, row = np.array([[0.2], [0.9]]), np.array([0.1, 0.5, 1.5])
    function = getattr(spikes, name)
    leading = {"outlier": (4.0,), "overlap": (4.0,), "invert": (40.0,)}.get(name, ())
    out = function(*leading, column, row)
    assert out.shape == (2, 3)
    assert out[1, 2] == pytest.approx(function(*leading, 0.9, 1.5))
    assert np.ndim(function(*leading, 0.9, 1.5)) == 0
    if leading:
        assert function(np.full((5, 1, 1), leading[0]), column, row).shape == (5, 2, 3)


def test_scale_multiplies_eigenvalues():
    scale = np.array([0.1, 3.0])
    np.testing.assert_allclose(spikes.outlier(5.0, 0.5, 0.7, scale), scale * spikes.outlier(5.0, 0.5, 0.7))
    np.testing.assert_allclose(spikes.edge(0.5, 0.7, scale), scale * spikes.edge(0.5, 0.7))
    np.testing.assert_allclose(spikes.invert(scale * 30.0, 0.5, 0.7, scale), spikes.invert(30.0, 0.5, 0.7))


def test_a_monte_carlo_of_the_definition():
    """λ and overlap of a table with fixed class means; the other convention's numbers must fail."""
    d, vocabulary, samples, signal, snr = 200, 200, 400, 1.2, 6.0
    outliers, overlaps = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        # population covariance of one spike of net strength q over MP_delta, then Gaussian samples
        noise = rng.standard_normal((vocabulary, d))
        signs = np.repeat([1.0, -1.0], vocabulary // 2)
        m = signs @ noise / vocabulary
        noise -= np.outer(signs, m) + noise.mean(axis=0)
        m[0] += signal
        root = np.concatenate([noise / np.sqrt(vocabulary), np.sqrt(snr) * m[None]])
        x = rng.standard_normal((samples, vocabulary + 1)) @ root
        values, vectors = np.linalg.eigh(x.T @ x / samples)
        outliers.append(values[-1])
        overlaps.append(vectors[0, -1] ** 2)
    q = spikes.net_spike(signal, snr, 1.0)
    error = 4 * np.std(outliers) / np.sqrt(12) + 4 * spikes.outlier(q, 1.0, 0.5) / d
    assert abs(np.mean(outliers) - spikes.outlier(q, 1.0, 0.5)) < error
    error = 4 * np.std(overlaps) / np.sqrt(12) + 2.5 / d
    assert abs(np.mean(overlaps) - spikes.alignment(signal, snr, 1.0, 0.5)) < error
    assert abs(np.mean(overlaps) - spikes.alignment(signal, snr, 1.0, 0.5, "balanced")) > error
