"""Pooling weights: closed forms, what is optimal, and true attention against its limit."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent import Correlated, Prefix, SingleFactor, weights
from resolvent.tables import draw_noise, draw_tokens, token_signs


def random_correlation(length, seed):
    # positive entries, so that the top eigenvector is (Perron and Frobenius)
    factor = np.random.default_rng(seed).uniform(0.1, 1.0, (length, length + 2))
    covariance = factor @ factor.T
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return (correlation + correlation.T) / 2


@given(st.integers(1, 300))
def test_mean_weights(length):
    w = weights.mean(length)
    assert w.shape == (length,)
    np.testing.assert_allclose(w, 1 / length)
    assert weights.kappa(w) == pytest.approx(1 / length)


@given(st.integers(1, 200))
def test_causal_is_the_harmonic_formula(length):
    w, kappa = oracles.causal_by_harmonic_numbers(length)
    np.testing.assert_allclose(weights.causal(length), w, atol=1e-14)
    assert weights.kappa(weights.causal(length)) == pytest.approx(kappa)


@given(st.integers(1, 40), st.integers(0, 6))
def test_depth_is_a_matrix_power(length, depth):
    np.testing.assert_allclose(
        weights.causal(length, depth), oracles.causal_by_matrix(length, depth), atol=1e-14
    )


@pytest.mark.parametrize(("length", "informative"), [(10, 1), (10, 4), (50, 49)])
def test_causal_mass_of_a_prefix(length, informative):
    # section 4: (1 + r (H_n − H_r + 1))/T for r <= n = T − 1
    n, r = length - 1, informative
    tail = np.sum(1 / np.arange(r + 1.0, n + 1))
    assert weights.causal(length)[:r].sum() == pytest.approx((1 + r * (tail + 1)) / length)


def test_depth_concentrates_early_and_has_a_best_value():
    first = [weights.causal(60, depth)[0] for depth in range(6)]
    assert np.all(np.diff(first) > 0)
    R = Prefix(60, 6).matrix
    snr = [weights.snr(weights.causal(60, depth), R) for depth in range(12)]
    assert 0 < int(np.argmax(snr)) < 11


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_optimal_attains_the_largest_eigenvalue(length, seed):
    R = random_correlation(length, seed)
    w = weights.optimal(R)
    assert w.sum() == pytest.approx(1)
    assert weights.snr(w, R) == pytest.approx(np.linalg.eigvalsh(R)[-1], rel=1e-9)
    other = np.random.default_rng(seed).standard_normal(length)
    assert weights.snr(other, R) <= weights.snr(w, R) * (1 + 1e-12)


def test_optimal_of_a_prefix_is_its_mean():
    np.testing.assert_allclose(weights.optimal(Prefix(7, 3).matrix), [1 / 3] * 3 + [0] * 4, atol=1e-12)


def test_optimal_of_independent_positions_is_the_mean():
    # every vector is a top eigenvector; the nearest to mean pooling is mean pooling
    np.testing.assert_allclose(weights.optimal(np.eye(5)), 0.2)


def test_optimal_of_repeated_blocks_takes_both():
    block = np.ones((2, 2))
    R = np.block([[block, 0 * block], [0 * block, block]])
    np.testing.assert_allclose(weights.optimal(R), 0.25)


def test_optimal_beyond_the_sum_constraint():
    R = np.array([[1.0, -0.5], [-0.5, 1.0]])
    with pytest.raises(ValueError, match=r"(?s)R .*1\.5.*orthogonal.*normalise=False"):
        weights.optimal(R)
    w = weights.optimal(R, normalise=False)
    assert np.linalg.norm(w) == pytest.approx(1)
    assert weights.snr(w, R) == pytest.approx(1.5)


@given(st.integers(2, 8), st.integers(0, 1000), st.floats(0.01, 100.0))
def test_snr_is_scale_free_and_alpha_over_kappa(length, seed, factor):
    rng = np.random.default_rng(seed)
    R, w = random_correlation(length, seed), rng.standard_normal(length)
    assert weights.alpha(w, R) == pytest.approx(w @ R @ w)
    assert weights.kappa(w) == pytest.approx(w @ w)
    assert weights.snr(w, R) == pytest.approx(w @ R @ w / (w @ w))
    assert weights.snr(factor * w, R) == pytest.approx(weights.snr(w, R))


def test_many_weightings_at_once():
    R = random_correlation(4, 0)
    many = np.random.default_rng(0).standard_normal((3, 2, 4))
    assert weights.kappa(many).shape == weights.alpha(many, R).shape == (3, 2)
    assert weights.snr(many, R)[2, 1] == pytest.approx(weights.snr(many[2, 1], R))


def test_independent_positions_gain_nothing():
    for w in (weights.mean(9), weights.causal(9), np.arange(9.0)):
        assert weights.snr(w, np.eye(9)) == pytest.approx(1)


def attention_case(dimension, sequences=6, length=9, seed=0):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((40, dimension))
    return table, np.stack([rng.permutation(40)[:length] for _ in range(sequences)])


@pytest.mark.parametrize("tau", [0.0, 1.0, -3.0, 20.0])
def test_softmax_is_the_definition(tau):
    table, tokens = attention_case(30)
    tokens[0] = 7  # repeated tokens attend to themselves strongly
    np.testing.assert_allclose(
        weights.softmax_causal(table, tokens, tau=tau), oracles.attend(table, tokens, tau)
    )


def test_softmax_at_zero_temperature_is_causal():
    table, tokens = attention_case(30)
    limit = np.broadcast_to(weights.causal(9), tokens.shape)
    np.testing.assert_allclose(weights.softmax_causal(table, tokens, tau=0.0), limit, atol=1e-15)


def test_softmax_rows_sum_to_one_even_at_extreme_scores():
    table, tokens = attention_case(30)
    for tau in (1.0, 1e4, -1e4):
        w = weights.softmax_causal(table, tokens, tau=tau)
        np.testing.assert_allclose(w.sum(axis=1), 1)
        assert w.min() >= 0


def softmax_error(dimension, tau=1.0):
    table, tokens = attention_case(dimension, sequences=60, seed=dimension)
    return np.abs(weights.softmax_causal(table, tokens, tau=tau) - weights.causal(9)).mean()


def test_softmax_converges_to_causal_at_the_stated_rate():
    # scores tau ⟨e, e'⟩/d of different tokens are of order d^(−1/2)
    sizes = np.array([64, 256, 1024, 4096])
    errors = [softmax_error(int(d)) for d in sizes]
    rate = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert rate == pytest.approx(-0.5, abs=0.08)
    assert errors[-1] < 0.005


def test_softmax_error_is_linear_in_tau():
    assert softmax_error(4096, 0.5) / softmax_error(4096, 0.25) == pytest.approx(2, rel=0.05)


def test_softmax_does_not_converge_when_the_scores_do_not_vanish():
    # the twin: scores scaled by d^(1/2) more keep the attention away from its limit
    table, tokens = attention_case(4096, sequences=20)
    assert np.abs(weights.softmax_causal(table, tokens, tau=64.0) - weights.causal(9)).mean() > 0.02


def test_softmax_blocks_agree():
    # long features force several blocks
    table, tokens = attention_case(3, sequences=3)
    wide = np.concatenate([table, np.zeros((40, 200_000))], axis=1)
    rescaled = wide.shape[1] / 3
    np.testing.assert_allclose(
        weights.softmax_causal(wide, tokens, tau=rescaled), weights.softmax_causal(table, tokens), rtol=1e-10
    )


def learning_problem(loadings, samples=800, vocabulary=300, dimension=40, signal=2.0, seed=0):
    rng = np.random.default_rng(seed)
    labels, signs = SingleFactor(loadings).sample_labelled(samples, rng=rng)
    table = draw_noise(vocabulary, dimension, rng=rng)
    table[:, 0] += signal * token_signs(vocabulary)
    return table, draw_tokens(signs, vocabulary, rng=rng), labels


def ridge_loss(table, tokens, labels, w, ridge):
    x = np.einsum("ntd,t->nd", table[tokens], w)
    x, y = x - x.mean(axis=0), labels - labels.mean()
    b = np.linalg.solve(x.T @ x / len(y) + ridge * np.eye(x.shape[1]), x.T @ y / len(y))
    return np.mean((y - x @ b) ** 2) + ridge * b @ b


def test_learned_weights_find_the_informative_positions():
    problem = learning_problem([0, 1.0, 0, 0, 1.0, 0])
    w = weights.learned(*problem, rng=0)
    assert w.sum() == pytest.approx(1)
    assert w[[1, 4]].sum() > 0.85
    # the twin: shuffled labels leave nothing to find
    shuffled = np.random.default_rng(1).permutation(problem[2])
    assert weights.learned(problem[0], problem[1], shuffled, rng=0)[[1, 4]].sum() < 0.85


def test_learned_weights_lower_the_loss_to_a_stationary_point():
    problem = learning_problem([1.0, 0.7, 0.3, 0.0], seed=1)
    w = weights.learned(*problem, ridge=0.2, rng=0)
    least = ridge_loss(*problem, w, 0.2)
    for other in (weights.mean(4), weights.causal(4)):
        assert least < ridge_loss(*problem, other, 0.2)
    rng = np.random.default_rng(0)
    for _ in range(10):
        moved = w * np.exp(0.05 * rng.standard_normal(4))
        assert ridge_loss(*problem, moved / moved.sum(), 0.2) > least - 1e-7


def test_learned_weights_by_either_gram_matrix():
    # more features than sequences: the other Gram matrix is solved
    wide = learning_problem([1.0, 1.0, 0.0, 0.0], samples=60, dimension=90)
    w = weights.learned(*wide, rng=0)
    assert ridge_loss(*wide, w, 0.1) <= ridge_loss(*wide, weights.mean(4), 0.1)


def test_learned_weights_are_seeded():
    problem = learning_problem([1.0, 0.0, 0.0], samples=100)
    np.testing.assert_array_equal(
        weights.learned(*problem, restarts=4, rng=3), weights.learned(*problem, restarts=4, rng=3)
    )


def test_optimal_accepts_what_the_position_models_offer():
    for positions in (Prefix(5, 2), SingleFactor([0.9, 0.1, 0.5]), Correlated(random_correlation(4, 2))):
        assert weights.optimal(positions.matrix).shape == (positions.length,)
