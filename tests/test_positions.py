"""Position models: the matrix they state is the matrix they sample."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent import Correlated, Prefix, SingleFactor

CHAIN = 0.7 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
MODELS = {
    "prefix": Prefix(6, 3),
    "prefix of none": Prefix(4, 0),
    "prefix of all": Prefix(4, 4),
    "single factor": SingleFactor([1.0, -1.0, 0.5, -0.3, 0.0]),
    "chain": Correlated(CHAIN),
    "signed": Correlated([[1.0, -0.4, 0.0], [-0.4, 1.0, 0.6], [0.0, 0.6, 1.0]]),
    "singular": Correlated(Prefix(4, 2).matrix),
}
every_positions = pytest.mark.parametrize("positions", list(MODELS.values()), ids=list(MODELS))
DRAWS = 20_000


def worst_z(signs, matrix):
    """Largest deviation of an empirical correlation from the matrix, in standard errors."""
    empirical = signs.T.astype(float) @ signs / len(signs)
    error = np.sqrt(np.maximum(1 - matrix**2, 0) / len(signs))
    exact = error == 0
    assert np.all(empirical[exact] == matrix[exact])
    return np.max(np.abs(empirical - matrix)[~exact] / error[~exact], initial=0.0)


@every_positions
def test_signs_are_correlated_as_stated(positions):
    signs = positions.sample(DRAWS, rng=0)
    assert worst_z(signs, positions.matrix) < 4


@every_positions
def test_signs_are_not_correlated_otherwise(positions):
    if positions.length == 4 and np.all(positions.matrix == 1):
        wrong = 0.95 * positions.matrix + 0.05 * np.eye(4)
    else:
        wrong = positions.matrix * 0.9 + 0.06
        np.fill_diagonal(wrong, 1.0)
    assert worst_z_inexact(positions.sample(DRAWS, rng=0), wrong) > 4


def worst_z_inexact(signs, matrix):
    empirical = signs.T.astype(float) @ signs / len(signs)
    error = np.sqrt(np.maximum(1 - matrix**2, 1e-12) / len(signs))
    np.fill_diagonal(error, 1.0)
    return np.max(np.abs(empirical - matrix) / error)


@every_positions
def test_signs_are_balanced_signs(positions):
    signs = positions.sample(DRAWS, rng=1)
    assert signs.shape == (DRAWS, positions.length)
    assert signs.dtype == np.int8
    assert set(np.unique(signs)) <= {-1, 1}
    assert np.abs(signs.mean(axis=0)).max() < 4 / np.sqrt(DRAWS)


@every_positions
def test_sampling_is_seeded(positions):
    first = positions.sample(50, rng=3)
    np.testing.assert_array_equal(first, positions.sample(50, rng=np.random.default_rng(3)))
    assert not np.array_equal(first, positions.sample(50, rng=4))


@every_positions
def test_sampling_leaves_the_global_generator_alone(positions):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is watched)
    positions.sample(5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@every_positions
def test_matrix_is_a_correlation_matrix(positions):
    R = positions.matrix
    assert R.shape == (positions.length, positions.length)
    np.testing.assert_array_equal(R, R.T)
    np.testing.assert_array_equal(np.diag(R), 1)
    assert np.linalg.eigvalsh(R)[0] > -1e-12


@every_positions
def test_pickles_to_the_same_sampler(positions):
    positions.sample(2, rng=0)  # fills what is cached, which must not travel
    again = pickle.loads(pickle.dumps(positions))
    np.testing.assert_array_equal(again.matrix, positions.matrix)
    np.testing.assert_array_equal(again.sample(20, rng=0), positions.sample(20, rng=0))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_single_factor_matrix_is_the_formula(loadings):
    c = np.array(loadings)
    np.testing.assert_allclose(SingleFactor(loadings).matrix, np.diag(1 - c**2) + np.outer(c, c), atol=1e-15)


def test_labels_follow_the_loadings():
    positions = SingleFactor([1.0, -1.0, 0.5, 0.0])
    labels, signs = positions.sample_labelled(DRAWS, rng=0)
    assert labels.dtype == np.int8
    assert labels.shape == (DRAWS,)
    agreement = (signs * labels[:, None]).mean(axis=0)
    assert agreement[0] == 1
    assert agreement[1] == -1
    assert np.abs(agreement[2:] - [0.5, 0.0]).max() < 4 / np.sqrt(DRAWS)
    np.testing.assert_array_equal(signs, positions.sample(DRAWS, rng=0))


def test_prefix_signs_are_equal_on_the_prefix():
    labels, signs = Prefix(5, 3).sample_labelled(200, rng=0)
    np.testing.assert_array_equal(signs[:, :3], np.repeat(labels[:, None], 3, axis=1))


def test_prefix_is_the_copula_with_the_same_matrix():
    # two samplers of one matrix: pairs agree, as both are exact
    R = Prefix(4, 2).matrix
    for sampler in (Prefix(4, 2), Correlated(R)):
        assert worst_z(sampler.sample(DRAWS, rng=9), R) < 4


def test_inputs_are_copied_and_frozen():
    loadings, matrix = np.array([1.0, 0.5]), np.eye(2)
    single, correlated = SingleFactor(loadings), Correlated(matrix)
    loadings[0], matrix[0, 1] = 0.0, 9.0
    np.testing.assert_array_equal(single.loadings, [1.0, 0.5])
    np.testing.assert_array_equal(correlated.matrix, np.eye(2))
    with pytest.raises(ValueError, match="read-only"):
        correlated.matrix[0, 1] = 1.0


def test_a_matrix_beyond_the_copula_is_still_a_model():
    # positive semi-definite, but sin(pi R/2) is not: theory yes, sampler no
    R = np.array([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]])
    positions = Correlated(R)
    with pytest.raises(ValueError, match=r"negative eigenvalue -0\.41"):
        positions.sample(3, rng=0)
