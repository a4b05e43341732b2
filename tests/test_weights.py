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


# of measured matrices, and of sequences


def quotient(w, signal, noise):
    return w @ signal @ w / (w @ noise @ w)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_generalised_weights_maximise_the_quotient(ridge):
    rng = np.random.default_rng(0)
    signal, noise = (m @ m.T for m in rng.standard_normal((2, 6, 9)))
    w = weights.generalised(signal, noise, ridge=ridge)
    assert np.abs(w).sum() == pytest.approx(1)
    assert w.sum() >= 0
    ridged = noise + ridge * np.trace(noise) / 6 * np.eye(6)
    best = quotient(w, signal, ridged)
    assert all(quotient(v, signal, ridged) < best for v in rng.standard_normal((200, 6)))
    np.testing.assert_allclose(weights.generalised(3 * signal, 7 * noise, ridge=ridge), w, atol=1e-12)
    # the twin: noise without its off-diagonal part is another problem
    alone = weights.generalised(signal, np.diag(np.diag(noise)), ridge=ridge)
    assert quotient(alone, signal, ridged) < 0.9 * best


def test_generalised_weights_subtract_what_only_carries_shared_noise():
    # signal at position 0 only, noise of correlation c: w is proportional to (1, -c)
    for c in (0.0, 0.5, 0.9):
        w = weights.generalised([[1.0, 0.0], [0.0, 0.0]], [[1.0, c], [c, 1.0]], ridge=0.0)
        np.testing.assert_allclose(w, np.array([1, -c]) / (1 + c), atol=1e-12)


@pytest.mark.parametrize(
    ("signal", "noise", "message"),
    [
        (np.eye(2), np.eye(3), r"signal and noise must have one shape, got \(2, 2\) and \(3, 3\)"),
        (np.eye(2), np.zeros((2, 2)), r"noise must have a positive trace, got 0"),
        (-np.eye(2), np.eye(2), r"signal must have a positive eigenvalue"),
        (
            np.eye(2),
            np.array([[1.0, 2.0], [2.0, 1.0]]),
            r"noise must be positive definite with its ridge, got ridge 0",
        ),
        (np.ones((2, 3)), np.eye(2), r"signal must be a square matrix, got shape \(2, 3\)"),
        (np.eye(2) * np.nan, np.eye(2), r"signal must be finite"),
        (np.array([[1.0, 1.0], [0.0, 1.0]]), np.eye(2), r"signal must be symmetric"),
    ],
)
def test_generalised_names_what_is_wrong(signal, noise, message):
    with pytest.raises(ValueError, match=message):
        weights.generalised(signal, noise, ridge=0.0)


@pytest.mark.parametrize("start", ["mean", "causal"])
def test_alternating_weights_are_a_fixed_point(start):
    table, tokens, _ = learning_problem([1.0, 1.0, 0, 0, 0, 1.0], samples=900)
    w = weights.alternating(tokens, table=table, start=start)
    x = table[tokens] - table[tokens].mean(axis=0)
    z = np.einsum("ntd,t->nd", x, w)
    along = x @ np.linalg.eigh(z.T @ z)[1][:, -1]
    G = along.T @ along
    np.fill_diagonal(G, 0)
    top = np.linalg.eigh(G)[1][:, -1]
    assert abs(top @ w) / np.linalg.norm(w) == pytest.approx(1, abs=1e-8)
    assert w[[0, 1, 5]].sum() > 0.85
    np.testing.assert_allclose(weights.alternating(table[tokens], start=start), w, atol=1e-6)


def test_alternating_takes_the_first_tokens_of_those_that_have_them():
    table, tokens, _ = learning_problem([1.0, 1.0, 0, 0, 0, 1.0], samples=300)
    ragged = [*(row[:4] for row in tokens[:200]), *tokens[200:], *(row[:3] for row in tokens[:50])]
    whole = weights.alternating(tokens[:, :4], table=table)
    np.testing.assert_allclose(weights.alternating(ragged, table=table, length=4), whole, atol=1e-6)
    with pytest.raises(ValueError, match="more than T = 6 sequences of at least so many tokens, got 6"):
        weights.alternating(tokens[:6], table=table)
    with pytest.raises(RuntimeError, match=r"alternating weights still move by .* after 1 rounds"):
        weights.alternating(tokens, table=table, rounds=1)
    with pytest.raises(ValueError, match="start must be one of 'mean', 'causal', got 'first'"):
        weights.alternating(tokens, table=table, start="first")


def many_classes(samples=900, seed=0):
    """Three classes, told by position 1 alone."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    x = rng.standard_normal((samples, 4, 10))
    x[:, 1, :3] += 2.5 * np.eye(3)[labels]
    return x, labels


@pytest.mark.parametrize("relative", [False, True])
def test_learned_weights_of_several_classes_and_of_vectors(relative):
    x, labels = many_classes()
    w = weights.learned(None, x, labels, relative=relative)
    assert w[1] > 0.7
    named = np.array(["a", "b", "c"])[labels]
    np.testing.assert_allclose(weights.learned(None, x, named, relative=relative), w, atol=1e-12)
    # the twin: labels of others
    other = weights.learned(None, x, np.random.default_rng(1).permutation(labels), relative=True)
    assert other[1] < 0.7
    table, tokens, two = learning_problem([1.0, 0.5, 0.0], samples=200)
    by_ids, by_vectors = (
        weights.learned(t, s, two, relative=relative) for t, s in ((table, tokens), (None, table[tokens]))
    )
    np.testing.assert_allclose(by_ids, by_vectors, atol=1e-3)


def relative_loss(x, labels, w, ridge):
    z = np.einsum("ntd,t->nd", x, w)
    z, Y = z - z.mean(axis=0), (labels[:, None] == np.unique(labels)).astype(float)
    Y -= Y.mean(axis=0)
    penalty = ridge * z.var(axis=0).mean()
    b = np.linalg.solve(z.T @ z / len(Y) + penalty * np.eye(z.shape[1]), z.T @ Y / len(Y))
    return ((Y - z @ b) ** 2).sum() / len(Y) + penalty * (b**2).sum()


def equal_positions():
    """Every position says the same of the class: equal weights are best."""
    rng = np.random.default_rng(0)
    labels = rng.choice([-1, 1], 600)
    x = rng.standard_normal((600, 8, 20))
    x[:, :, 0] += 0.5 * labels[:, None]
    return x, labels


def test_the_relative_penalty_has_no_scale():
    x, labels = many_classes()
    w = weights.learned(None, x, labels, ridge=2.0, relative=True)
    np.testing.assert_allclose(weights.learned(None, 10 * x, labels, ridge=2.0, relative=True), w, atol=1e-4)
    least = relative_loss(x, labels, w, 2.0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = w * np.exp(0.05 * rng.standard_normal(4))
        assert relative_loss(x, labels, moved / moved.sum(), 2.0) > least - 1e-6
    # the twin: the penalty of fixed size has one
    x, labels = equal_positions()
    apart = weights.learned(None, x, labels, ridge=1.0) - weights.learned(None, 10 * x, labels, ridge=1.0)
    assert np.abs(apart).max() > 0.01


def test_a_penalty_of_fixed_size_rewards_concentration_alone():
    # docs/theory/pooling_weights.md, section 6: positions in use, 1/kappa, of 8
    x, labels = equal_positions()
    used = {ridge: 1 / weights.kappa(weights.learned(None, x, labels, ridge=ridge)) for ridge in (0.1, 1, 10)}
    assert 7 < used[0.1] < 8
    assert 4 < used[1] < 6
    assert used[10] < 1.1
    for ridge in used:  # the same penalty at equal weights, where the variance is 1/8
        w = weights.learned(None, x, labels, ridge=8 * ridge, relative=True)
        assert 1 / weights.kappa(w) > 7.7


def test_learned_names_what_is_wrong():
    with pytest.raises(ValueError, match="tokens must differ between sequences"):
        weights.learned(None, np.ones((30, 3, 2)), np.arange(30) % 2, relative=True)
    with pytest.raises(ValueError, match="tolerance must be a finite number >= 0, got -1"):
        weights.learned(*learning_problem([1.0, 0.5], samples=30), tolerance=-1)
