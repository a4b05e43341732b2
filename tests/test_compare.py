"""Theory beside simulation at twenty random settings, with one documented allowance, and the twin that fails."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from scipy import integrate

from resolvent import MarchenkoPastur, MarchenkoPasturProduct, PooledSequences, Prefix
from resolvent.compare import compare
from resolvent.experiments import finite_size
from resolvent.experiments.agreement import FIELDS, SETTINGS, compared, random_model
from resolvent.models.claims import ALLOWANCE, TRACY_WIDOM_MEANS
from resolvent.models.finite_size import (
    BENT_ALLOWANCE,
    EIGENVALUE_ALLOWANCE,
    OVERLAP_ALLOWANCE,
    expected,
    expected_at_size,
)

DIMENSION, SEEDS = 400, 24


@pytest.fixture(scope="module")
def settings():
    return [compared(index, DIMENSION, SEEDS) for index in range(SETTINGS)]


@pytest.mark.parametrize("index", range(SETTINGS))
def test_theory_meets_simulation(settings, index):
    fields = dict(zip(FIELDS, settings[index][0], strict=True))
    difference = np.abs(np.subtract(fields["simulated"], fields["expected"]))
    unit = np.array([*fields["expected"][:2], 1.0])
    bars = random_model(index, DIMENSION).predict().error_bars
    above = not np.isnan(bars.outlier.value)
    overlap = (BENT_ALLOWANCE if bars.bent else OVERLAP_ALLOWANCE) if above else ALLOWANCE
    allowed = np.array([EIGENVALUE_ALLOWANCE, EIGENVALUE_ALLOWANCE, overlap]) * unit / DIMENSION
    np.testing.assert_allclose(fields["allowance"], allowed)
    assert (difference <= 4 * np.array(fields["standard_error"]) + allowed).all()
    assert all(fields["agrees"])


@pytest.mark.parametrize("index", [24, 28, 34])
def test_the_bare_limit_fails_the_small_allowance(index):
    table = compare(random_model(index, 80), range(400))
    assert table.agrees.all()
    error = np.abs(table.simulated - table.predicted)  # without degrees of freedom and 1/d terms
    assert (error > 4 * table.standard_error + table.allowance).sel(quantity="second_eigenvalue")


def test_other_noise_keeps_the_large_allowance():
    model = random_model(24, 80)
    other = dataclasses.replace(model, noise="student_t")
    unit = np.array([*expected_at_size(model)[0][:2], 1.0]) / 80
    np.testing.assert_allclose(expected_at_size(other)[1], ALLOWANCE * unit)


def test_both_conventions_are_drawn():
    tables = [random_model(index, DIMENSION).table for index in range(SETTINGS)]
    assert tables.count("mixture") == tables.count("balanced") == SETTINGS // 2


def test_the_other_convention_fails(settings):
    told_apart = 0
    for own, other in settings:
        fields = dict(zip(FIELDS, own, strict=True))
        allowed = 4 * np.array(fields["standard_error"]) + fields["allowance"]
        if (np.abs(np.subtract(fields["expected"], other)) > 2 * allowed).any():  # at this size
            told_apart += 1
            assert (np.abs(np.subtract(fields["simulated"], other)) > allowed).any()
    assert told_apart >= 14


@pytest.mark.slow
@pytest.mark.parametrize("index", [24, 28, 33, 37])  # the largest biases of the finite-size study
def test_the_allowance_covers_the_largest_biases(index):
    bias = np.array(finite_size.scaled_bias(index, 60))
    assert (np.abs(bias[:, 0]) <= ALLOWANCE + 3 * bias[:, 1]).all()


def test_compare_is_labelled_and_reports_disagreement():
    model = PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0)
    table = compare(model, range(6))
    assert isinstance(table, xr.Dataset)
    assert list(table["quantity"].values) == ["top_eigenvalue", "second_eigenvalue", "overlap"]
    np.testing.assert_allclose(table.z, (table.simulated - table.expected) / table.standard_error)
    np.testing.assert_allclose(table.predicted, expected(model))
    np.testing.assert_allclose(table.expected, expected_at_size(model)[0])


def test_edges_carry_the_tracy_widom_mean():
    model = PooledSequences(400, 800, 1200, Prefix(20, 1), "mean", 0.0, table="balanced")
    prediction = model.predict()
    top, second, _ = expected(model)
    width = float(prediction.bulk.inverse_map.edge_scale()) * 400 ** (-2 / 3)
    assert top == pytest.approx(prediction.edge + TRACY_WIDOM_MEANS[0] * width)
    assert second == pytest.approx(prediction.edge + TRACY_WIDOM_MEANS[1] * width)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 3.0])
def test_edge_scale_of_one_factor_is_johnstones(ratio):
    # Johnstone (2001): (sqrt n + sqrt d)(1/sqrt n + 1/sqrt d)^(1/3)/n, for d variables and n samples
    d = 1000
    n = d / ratio
    wanted = (np.sqrt(n) + np.sqrt(d)) * (1 / np.sqrt(n) + 1 / np.sqrt(d)) ** (1 / 3) / n
    assert MarchenkoPastur(ratio).inverse_map.edge_scale() * d ** (-2 / 3) == pytest.approx(wanted)


@pytest.mark.parametrize("ratios", [(0.3,), (0.25, 1 / 3), (2.0, 0.5), (1.0, 1.0), (0.2, 0.5, 0.7)])
def test_edge_scale_is_the_densitys_square_root(ratios):
    # density ~ (1/pi) sqrt(edge − x) / scale^(3/2), hence mass (2/3pi) (edge − x)^(3/2) / scale^(3/2)
    law = MarchenkoPasturProduct(ratios, 1.7)
    right, near = law.support[0][1], 1e-5
    mass = integrate.quad(law.pdf, right - near, right)[0]
    scale = float(law.inverse_map.edge_scale())
    assert mass == pytest.approx(2 / (3 * np.pi) * (near / scale) ** 1.5, rel=1e-3)


def test_compare_needs_two_seeds():
    model = PooledSequences(10, 20, 30, Prefix(4, 2), "mean", 1.0)
    with pytest.raises(ValueError, match="seeds must hold at least two"):
        compare(model, [0])
