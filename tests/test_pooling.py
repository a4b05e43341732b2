"""Pooling without the tensor of token embeddings."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent.pooling import pool, pooling_matrix


def gather(tokens, weights, table):
    return np.einsum("ntd,nt->nd", table[tokens], np.broadcast_to(weights, tokens.shape))


@given(
    st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 6),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 99),
)
def test_pool_is_gather(n, length, vocabulary, dimension, own_weights, seed):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, vocabulary, (n, length))
    weights = rng.standard_normal((n, length) if own_weights else length)
    table = rng.standard_normal((vocabulary, dimension))
    np.testing.assert_allclose(pool(tokens, weights, table), gather(tokens, weights, table), atol=1e-12)


def test_repeated_tokens_add_up():
    A = pooling_matrix([[3, 3, 3], [0, 3, 0]], [0.2, 0.3, 0.5], 4)
    np.testing.assert_allclose(A.toarray(), [[0, 0, 0, 1.0], [0.7, 0, 0, 0.3]])


def test_rows_carry_the_whole_weight():
    rng = np.random.default_rng(0)
    A = pooling_matrix(rng.integers(0, 30, (50, 8)), np.arange(8.0), 30)
    np.testing.assert_allclose(A.sum(axis=1), 28.0)
    assert A.shape == (50, 30)
    assert A.nnz <= 50 * 8


@pytest.mark.parametrize(
    ("given_type", "out"), [("float32", "float32"), ("float64", "float64"), ("int64", "float64")]
)
def test_floating_type_follows_the_table(given_type, out):
    table = np.ones((3, 2), dtype=given_type)
    assert pool([[0, 1]], [0.5, 0.5], table).dtype == out


@pytest.mark.parametrize("token_type", [np.int32, np.int64, np.uint16])
def test_inputs_are_not_modified(token_type):
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 5, (6, 4)).astype(token_type)
    weights, table = rng.standard_normal(4), rng.standard_normal((5, 3))
    kept = tokens.copy(), weights.copy(), table.copy()
    for array in (tokens, weights, table):
        array.flags.writeable = False
    pool(tokens, weights, table)
    A = pooling_matrix(tokens, weights, 5)
    A.sum_duplicates()  # works in place on what A owns: it must own it
    A.data[:] = 0
    for array, before in zip((tokens, weights, table), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_matrix_owns_its_data_when_inputs_are_writable():
    tokens, weights = np.array([[2, 1, 2]], dtype=np.int32), np.array([[1.0, 2.0, 3.0]])
    A = pooling_matrix(tokens, weights, 3)
    A.sum_duplicates()
    A.data[:] = -1
    np.testing.assert_array_equal(tokens, [[2, 1, 2]])
    np.testing.assert_array_equal(weights, [[1.0, 2.0, 3.0]])


def test_memory_is_the_table_and_the_features():
    n, length, vocabulary, dimension = 3000, 20, 1500, 400
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, vocabulary, (n, length), dtype=np.int32)
    weights = np.full(length, 1 / length)
    tracemalloc.start()
    table = rng.standard_normal((vocabulary, dimension))
    x = pool(tokens, weights, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    allowed = 1.5 * (table.nbytes + x.nbytes)
    assert peak < allowed
    # the twin: the tensor of token embeddings alone would break that
    assert n * length * dimension * 8 > 5 * allowed
