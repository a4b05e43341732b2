"""Spectra of data against dense linear algebra, and fits of known laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent import MarchenkoPastur, MarchenkoPasturProduct
from resolvent.pooling import pooling_matrix
from resolvent.spectrum import SignalSweep, covariance_spectrum, fit, top_eigenpairs

shapes = pytest.mark.parametrize("shape", [(40, 15), (15, 40), (20, 20), (1, 5), (5, 1)])


def data(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape) + 0.7


@shapes
@pytest.mark.parametrize("centred", [True, False])
def test_eigenvalues_by_either_gram_matrix(shape, centred):
    x = data(shape)
    values, _ = covariance_spectrum(x, centred=centred)
    y = x - x.mean(axis=0) if centred else x
    wanted = np.linalg.eigvalsh(y.T @ y / len(y))[::-1]
    assert values.shape == (shape[1],)
    np.testing.assert_allclose(values, wanted, atol=1e-12 * max(1, wanted[0]))
    assert np.all(np.diff(values) <= 0)
    assert values.min() >= 0


@shapes
def test_eigenvectors_are_eigenvectors(shape):
    x = data(shape)
    values, vectors = covariance_spectrum(x, vectors=3)
    y = x - x.mean(axis=0)
    k = vectors.shape[1]
    assert k == min(3, *shape)
    np.testing.assert_allclose(y.T @ (y @ vectors) / len(y), vectors * values[:k], atol=1e-10)
    positive = values[:k] > 1e-10
    np.testing.assert_allclose(
        (vectors.T @ vectors)[np.ix_(positive, positive)], np.eye(positive.sum()), atol=1e-10
    )


def test_the_input_is_not_modified():
    x = data((10, 4))
    kept = x.copy()
    covariance_spectrum(x, vectors=2)
    covariance_spectrum(x, centred=False)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leading_pairs_without_the_covariance(centred, dtype):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((60, 40)).astype(dtype)
    table[:30, 0] += 3
    A = pooling_matrix(rng.integers(0, 60, (80, 6)), np.arange(1.0, 7.0), 60, dtype=dtype)
    values, vectors = top_eigenpairs(table, A, 4, centred=centred)
    wanted, basis = covariance_spectrum((A @ table).astype(float), centred=centred, vectors=4)
    tolerance = 1e-8 if dtype is np.float64 else 1e-4
    np.testing.assert_allclose(values, wanted[:4], rtol=tolerance)
    np.testing.assert_allclose(np.abs(np.sum(vectors * basis, axis=0)), 1, rtol=tolerance)


@given(st.integers(2, 25), st.integers(2, 12), st.integers(0, 100))
def test_sweep_is_a_loop_of_eigendecompositions(n, d, seed):
    rng = np.random.default_rng(seed)
    x, slope = rng.standard_normal((n, d)), rng.standard_normal(n)
    signals = np.array([0.0, 0.3, 1.0, 5.0])
    top, second, overlap = SignalSweep.factorise(x, slope).top(signals)
    for i, s in enumerate(signals):
        moved = x.copy()
        moved[:, 0] += s * slope
        values, vectors = np.linalg.eigh(moved.T @ moved / n)
        assert top[i] == pytest.approx(values[-1], rel=1e-9)
        assert second[i] == pytest.approx(values[-2], rel=1e-7, abs=1e-10)
        if values[-1] - values[-2] > 1e-6 * values[-1]:
            assert overlap[i] == pytest.approx(vectors[0, -1] ** 2, rel=1e-6, abs=1e-9)


def test_sweep_through_a_decoupled_column():
    # a first column orthogonal to the rest: its eigenvalue crosses the others without mixing
    x = np.zeros((6, 3))
    x[0, 1], x[1, 2] = 3.0, 2.0
    slope = np.array([0, 0, 1.0, 0, 0, 0])
    top, second, overlap = SignalSweep.factorise(x, slope).top(np.array([1.0, 2.5, 5.0]))
    np.testing.assert_allclose(top * 6, [9, 9, 25], rtol=1e-12)
    np.testing.assert_allclose(second * 6, [4, 6.25, 9], rtol=1e-9)
    np.testing.assert_allclose(overlap, [0, 0, 1], atol=1e-12)


def quantiles(law, count=400):
    return law.ppf((np.arange(count) + 0.5) / count)


@pytest.mark.parametrize(("ratio", "scale"), [(0.3, 1.0), (0.9, 0.01), (2.0, 5.0)])
def test_fit_recovers_one_factor(ratio, scale):
    found = fit(quantiles(MarchenkoPastur(ratio, scale)), ratio, kind="plain")
    assert found.law.scale == pytest.approx(scale, rel=0.01)
    assert found.outliers.size == 0
    assert found.distance < 0.01


@pytest.mark.parametrize(("ratios", "scale"), [((0.3, 0.5), 1.0), ((0.5, 1.5), 0.02), ((1.6, 0.4), 3.0)])
def test_fit_recovers_two_factors(ratios, scale):
    found = fit(quantiles(MarchenkoPasturProduct(ratios, scale)), ratios[0])
    assert found.law.scale == pytest.approx(scale, rel=0.03)
    assert found.law.ratios[1] == pytest.approx(ratios[1], rel=0.08)
    assert found.distance < 0.01


def test_fit_sets_outliers_aside():
    bulk = quantiles(MarchenkoPasturProduct((0.3, 0.5), 2.0))
    spiked = np.concatenate([bulk, [60.0, 25.0]])
    found = fit(spiked, 0.3)
    np.testing.assert_array_equal(found.outliers, [60.0, 25.0])
    assert found.law.scale == pytest.approx(2.0, rel=0.05)


def test_fit_of_a_sample():
    x = np.random.default_rng(0).standard_normal((600, 200)) * 3
    found = fit(covariance_spectrum(x)[0], 200 / 599, kind="plain")
    assert found.law.scale == pytest.approx(9.0, rel=0.02)
    assert found.distance < 0.02


def test_a_plain_law_does_not_fit_a_product():
    values = quantiles(MarchenkoPasturProduct((0.3, 1.0)))
    assert fit(values, 0.3, kind="plain").distance > 5 * fit(values, 0.3).distance
    assert fit(values, 0.3, kind="plain").distance > 0.05


def test_fit_does_not_depend_on_the_order_or_modify_it():
    values = quantiles(MarchenkoPastur(0.5), 100)
    shuffled = np.random.default_rng(0).permutation(values)
    kept = shuffled.copy()
    assert fit(shuffled, 0.5, kind="plain").law == fit(values, 0.5, kind="plain").law
    np.testing.assert_array_equal(shuffled, kept)
