"""Heads, depth and random value matrices: identities, limits, and simulations with twins that must fail."""

import numpy as np
import pytest
from scipy import linalg, stats

from resolvent import Correlated, PooledSequences, Prefix, SingleFactor, spikes, weights
from resolvent.heads import _next_layer, best_depth, concatenate, mix
from resolvent.laws import InverseMap
from resolvent.models.claims import ALLOWANCE, TRACY_WIDOM_MEANS
from resolvent.models.value_layers import ValueLayers
from resolvent.pooling import pool
from resolvent.spectrum import covariance_spectrum
from resolvent.tables import draw_noise, draw_tokens, token_signs


def within(values, expected, allowance):
    """Whether the mean over draws is within four standard errors plus the allowance."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return abs(values.mean() - expected) <= 4 * error + allowance


def score(values, expected):
    """Deviation of the mean over draws, in standard errors."""
    return (np.mean(values) - expected) / (np.std(values, ddof=1) / np.sqrt(len(values)))


# --- heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_best_mixture_is_the_generalised_eigenvalue(seed):
    rng = np.random.default_rng(seed)
    positions = SingleFactor(rng.uniform(-1, 1, 12))
    heads = rng.standard_normal((4, 12))
    found = mix(heads, positions)
    wanted = linalg.eigh(heads @ positions.matrix @ heads.T, heads @ heads.T, eigvals_only=True)[::-1]
    np.testing.assert_allclose(found.snrs, wanted, rtol=1e-9)
    assert found.snr == pytest.approx(weights.snr(found.weights, positions.matrix))
    np.testing.assert_allclose(found.mixing @ heads, found.weights, atol=1e-12)
    assert found.weights.sum() == pytest.approx(1)
    assert found.snr >= weights.snr(heads, positions.matrix).max()
    several = rng.standard_normal((500, 4)) @ heads
    assert weights.snr(several, positions.matrix).max() <= found.snr


def test_dependent_heads_add_nothing():
    positions, heads = Prefix(20, 5), [weights.mean(20), weights.causal(20)]
    twice = [*heads, 0.3 * heads[0] - 2 * heads[1]]
    assert mix(twice, positions).snr == pytest.approx(mix(heads, positions).snr)
    assert mix(twice, positions).snrs.size == 2
    assert mix([heads[1]], positions).snr == pytest.approx(weights.snr(heads[1], positions.matrix))
    assert mix(np.eye(20), positions).snr == pytest.approx(5)


def test_mixture_that_sums_to_zero_has_unit_norm():
    found = mix([[1.0, -1.0]], Correlated([[1.0, -0.5], [-0.5, 1.0]]))
    assert found.snr == pytest.approx(1.5)
    assert np.linalg.norm(found.weights) == pytest.approx(1)


@pytest.mark.parametrize(
    "bad", [[0.5, 0.5], np.ones((2, 3)), np.zeros((1, 2)), [[np.nan, 1.0]], np.ones((0, 2))]
)
def test_bad_heads_are_refused(bad):
    with pytest.raises(ValueError, match="heads"):
        mix(bad, Prefix(2, 1))


def concatenated_draw(signal, heads, positions, sizes, table, seed):
    d, vocabulary, samples = sizes
    rng = np.random.default_rng(seed)
    tokens = draw_tokens(positions.sample(samples, rng=rng), vocabulary, rng=rng)
    embeddings = draw_noise(vocabulary, d, table=table, rng=rng)
    embeddings[:, 0] += signal * token_signs(vocabulary)
    x = np.hstack([pool(tokens, w, embeddings) for w in heads])
    values, vectors = covariance_spectrum(x, vectors=1)
    return values[0], values[1], vectors[0, 0] ** 2


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_concatenated_heads_predict_their_spectrum(table):
    sizes, positions = (120, 300, 120), Prefix(40, 12)
    stacks = np.array([weights.causal(40, k) for k in range(3)])
    basis = np.linalg.qr(stacks.T)[0].T
    best = np.linalg.eigh(basis @ positions.matrix @ basis.T)[1].T[::-1] @ basis  # the best head first
    draws = np.array([concatenated_draw(0.8, best, positions, sizes, table, seed) for seed in range(12)])
    found = concatenate(0.8, stacks, positions, 0.4, 1.0, table=table)
    assert within(draws[:, 0], found.outlier[0], 2 / 120 * found.outlier[0])
    assert within(draws[:, 2], found.overlap[0], 2 / 120)
    assert draws[:, 1].mean() == pytest.approx(found.edge, rel=0.1)
    # with d/N for H d/N
    factor = spikes.direction_factor(0.8, 0.4, table)
    assert not within(draws[:, 2], spikes.overlap(found.q[0], 0.4, 1.0) * factor, 2 / 120)
    assert draws[:, 1].mean() != pytest.approx(spikes.edge(0.4, 1.0), rel=0.2)


def test_one_head_concatenated_is_the_pooled_model():
    model = PooledSequences(100, 200, 300, Prefix(20, 8), "mean", [0.5, 1.5])
    found = concatenate([0.5, 1.5], [model.pooling_weights], model.positions, model.delta, model.gamma)
    prediction = model.predict()
    np.testing.assert_allclose(found.overlap[:, 0], prediction.overlap)
    np.testing.assert_allclose(found.outlier[:, 0] * prediction.kappa, prediction.outlier)
    assert found.outlier.shape == (2, 1)


# --- depth --------------------------------------------------------------------------------------------


def test_one_more_layer():
    for depth in range(4):
        np.testing.assert_allclose(_next_layer(weights.causal(9, depth)), weights.causal(9, depth + 1))


@pytest.mark.parametrize("seed", range(12))
def test_best_depth_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, 40))
    loadings = rng.uniform(-1 if seed % 3 == 0 else 0, 1, length) * (rng.random(length) < 0.5)
    positions = SingleFactor(loadings) if seed % 2 else Prefix(length, int(rng.integers(0, length + 1)))
    every = [weights.snr(weights.causal(length, k), positions.matrix) for k in range(length + 3)]
    found = best_depth(positions)
    assert found.snr == pytest.approx(max(every), rel=1e-12)
    assert found.depth == int(np.argmax(np.array(every) > max(every) - 1e-12))
    np.testing.assert_allclose(found.snrs, every[: found.snrs.size])


def test_search_for_depth_ends_early_and_at_the_latest_at_the_first_position():
    assert best_depth(Prefix(5000, 50)).snrs.size < 40
    against = Correlated(np.full((4, 4), -0.3) + 1.3 * np.eye(4))  # every mixture is below one
    found = best_depth(against)
    assert found.depth == 3
    assert found.snr == pytest.approx(1)
    assert best_depth(Prefix(1, 1)).depth == 0


# --- value matrices -----------------------------------------------------------------------------------


def random_layers(index, dimension):
    """One of the random settings, above its threshold and away from it."""
    rng = np.random.default_rng([8, index])
    while True:
        delta, gamma = np.exp(rng.uniform(np.log(0.2), np.log(2), 2))
        widths = [int(dimension * f) for f in np.exp(rng.uniform(np.log(0.4), np.log(3), rng.integers(1, 4)))]
        length = int(rng.integers(20, 60))
        model = ValueLayers(
            PooledSequences(
                dimension,
                2 * int(dimension / delta / 2),
                int(dimension / gamma),
                Prefix(length, int(rng.integers(4, length // 2))),
                ("mean", "optimal")[int(rng.integers(2))],
                float(rng.uniform(0.3, 2.5)),
                table=("mixture", "balanced")[index % 2],
            ),
            widths,
        )
        prediction = model.predict()
        if 1.5 < prediction.q / prediction.threshold < 6:
            return model


def test_value_layers_predict_their_simulation():
    # twins: no factor for the matrices, in the edge and the outlier; the overlap with a sample's factor l/lambda;
    # pulled back without the terms in 1/q
    scores = []
    for index in range(10):
        model = random_layers(index, 200)
        prediction, bare, c = model.predict(), model.sequences.predict(), 1.5 / 200
        # seeds of its own: settings that share seeds share the images of mu
        draws = [model.simulate(1000 * index + seed) for seed in range(12)]
        top, second, overlap, back = (
            [getattr(draw, name) for draw in draws]
            for name in ("top_eigenvalue", "second_eigenvalue", "overlap", "pulled_back_overlap")
        )
        ratios = np.array([200 / width for width in model.widths])
        sequences = model.sequences
        law = InverseMap((sequences.delta, sequences.gamma, *ratios), float(prediction.kappa))
        airy = TRACY_WIDOM_MEANS[0] * law.edge_scale() * 200 ** (-2 / 3)
        assert within(top, prediction.outlier, c * prediction.outlier)
        assert within(second, prediction.edge + airy, ALLOWANCE / 200 * prediction.edge)
        assert within(overlap, prediction.overlap, c)
        assert within(back, prediction.pulled_back_overlap, c)
        sampled = prediction.overlap / np.prod(1 + ratios / prediction.q)
        rough = prediction.overlap / np.prod(1 + ratios)
        pairs = [
            (top, prediction.outlier, bare.outlier),
            (overlap, prediction.overlap, sampled),
            (back, prediction.pulled_back_overlap, rough),
        ]
        assert not within(second, bare.edge, ALLOWANCE / 200 * bare.edge)
        scores.append([[score(seen, value) for value in values] for seen, *values in pairs])
    right, wrong = np.moveaxis(np.sum(scores, axis=0) / np.sqrt(10), 1, 0)
    assert (np.abs(right) < 4).all()
    assert (np.abs(wrong) > 7).all()


def test_bulk_behind_value_matrices():
    model = ValueLayers(PooledSequences(200, 400, 300, Prefix(40, 0), "mean", 0.0), [300, 120])
    law = model.predict().bulk
    values = np.sort(np.concatenate([model.simulate(seed).eigenvalues for seed in range(4)]))
    assert values.size == 4 * 120
    ranks = np.arange(1, values.size + 1) / values.size
    assert np.abs(law.cdf(values) - ranks).max() < 0.02
    fewer = ValueLayers(model.sequences, [120]).predict().bulk
    assert np.abs(fewer.cdf(values) - ranks).max() > 0.05
    wide = ValueLayers(model.sequences, [300]).predict().bulk  # 100 of 300 are zero
    assert wide.atom == pytest.approx(1 / 3)
    assert np.mean(ValueLayers(model.sequences, [300]).simulate(0).eigenvalues < 1e-12) == pytest.approx(
        1 / 3
    )


def test_value_layers_without_matrices_and_with_wide_ones():
    model = PooledSequences(100, 200, 300, Prefix(20, 8), "mean", [0.5, 1.5])
    plain, none = model.predict(), ValueLayers(model, []).predict()
    wide = ValueLayers(model, [10**9] * 2).predict()
    for name in (
        "outlier",
        "overlap",
        "edge",
        "threshold",
        "critical_signal",
        "top_eigenvalue",
        "second_eigenvalue",
    ):
        np.testing.assert_allclose(getattr(none, name), getattr(plain, name), rtol=1e-9)
        np.testing.assert_allclose(getattr(wide, name), getattr(plain, name), rtol=1e-5)
    np.testing.assert_allclose(none.pulled_back_overlap, plain.overlap)
    np.testing.assert_allclose(wide.pulled_back_overlap, plain.overlap, rtol=1e-5)
    assert none.bulk.ratios == plain.bulk.ratios
    one = PooledSequences(100, 200, 300, Prefix(20, 8), "mean", 1.5)
    assert ValueLayers(one, []).simulate(3).overlap == pytest.approx(one.simulate(3).overlap)


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_critical_signal_behind_value_matrices(table):
    def at(signal):
        model = PooledSequences(100, 200, 300, Prefix(20, 4), "mean", signal, table=table)
        return ValueLayers(model, [80, 150]).predict()

    critical = at(1.0).critical_signal
    assert critical > 0
    assert np.isnan(at(critical * 0.999).outlier)
    assert at(critical * 1.001).outlier == pytest.approx(at(1.0).edge, rel=1e-4)
    assert at(critical * 0.999).overlap == 0
    assert at(critical * 1.001).overlap < 0.01


def test_pulling_back_a_strong_spike():
    # without noise the image is V m, and VᵀV m has squared cosine 1/(1 + c) with m, 1/(1 + c_1 + c_2) for two
    model = PooledSequences(100, 10**6, 10**6, Prefix(20, 20), "mean", 1e3, table="balanced")
    assert ValueLayers(model, [50]).predict().pulled_back_overlap == pytest.approx(1 / 3, rel=1e-3)
    assert ValueLayers(model, [50, 200]).predict().pulled_back_overlap == pytest.approx(
        1 / (1 + 2 + 0.5), rel=1e-3
    )


def test_length_of_what_is_pulled_back():
    # ‖Vᵀv‖² = 1 + c + 2c/q of one layer, where q is small enough for its last term to count
    model = ValueLayers(
        PooledSequences(200, 2000, 2000, Prefix(40, 20), "mean", 0.35, table="balanced"), [600]
    )
    prediction, c = model.predict(), 1 / 3
    length = 1 + c + 2 * c / prediction.q
    assert prediction.q < 1.5
    assert prediction.overlap / prediction.pulled_back_overlap == pytest.approx(length)
    draws = [model.simulate(seed) for seed in range(12)]
    seen = [draw.overlap / draw.pulled_back_overlap for draw in draws]
    assert within(seen, length, 1.5 / 200)
    assert not within(seen, 1 + c + c / prediction.q, 1.5 / 200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": [1]}, ["widths", "1"]),
        ({"widths": [2.5]}, ["widths", "2.5"]),
        ({"widths": 3}, ["widths", "3"]),
        ({"sequences": None}, ["sequences", "None"]),
        (
            {"sequences": PooledSequences(10, 20, 30, Prefix(4, 2), "mean", 1.0, centred=False)},
            ["sequences", "centred"],
        ),
    ],
)
def test_bad_value_layers_are_refused(change, words):
    known = {"sequences": PooledSequences(10, 20, 30, Prefix(4, 2), "mean", 1.0), "widths": [5]}
    with pytest.raises(ValueError) as error:
        ValueLayers(**{**known, **change})
    assert all(word in str(error.value) for word in words)


def test_arrays_of_signals_are_not_simulated():
    with pytest.raises(ValueError, match="signal"):
        ValueLayers(PooledSequences(10, 20, 30, Prefix(4, 2), "mean", [1.0, 2.0]), [5]).simulate(0)


def test_draws_are_reproducible():
    model = ValueLayers(PooledSequences(30, 60, 60, Prefix(8, 4), "mean", 1.5), [20])
    first, again, other = model.simulate(1), model.simulate(1), model.simulate(2)
    np.testing.assert_array_equal(first.eigenvalues, again.eigenvalues)
    assert first.overlap == again.overlap != other.overlap
    assert stats.describe(first.eigenvalues).nobs == 20


def test_bad_positions_are_refused():
    for call in (lambda: mix(np.eye(3), None), lambda: best_depth(7), lambda: best_depth(None)):
        with pytest.raises(ValueError, match="positions must be a position model"):
            call()
