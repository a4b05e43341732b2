"""Estimates against simulated truth, plans against simulation at the planned size, held-out checks and their twins."""

import json

import numpy as np
import pytest

from resolvent import spikes, weights
from resolvent.crossfit import Background, Frame, compact, cross_fit
from resolvent.estimation import estimate
from resolvent.held_out import check_held_out
from resolvent.models import PooledSequences
from resolvent.positions import Correlated, Prefix, SingleFactor
from resolvent.reading import effective_delta, realisable
from resolvent.tables import draw_noise, draw_tokens, token_signs

SETTINGS = {
    "prefix": (120, 480, 1000, Prefix(16, 7), 0.9),
    "decaying": (120, 240, 900, SingleFactor(np.linspace(0.9, 0.1, 12)), 1.0),
    "small vocabulary": (120, 96, 900, Prefix(14, 7), 0.8),
    "short": (150, 600, 700, Prefix(8, 5), 1.2),
    "exchangeable": (80, 320, 1500, Correlated(0.3 + 0.7 * np.eye(20)), 0.7),
}
SEEDS = range(4)


def documents(d, V, N, positions, signal, seed):
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, d]).spawn(3)]
    tokens = draw_tokens(positions.sample(N, rng=streams[0]), V, rng=streams[1])
    table = draw_noise(V, d, rng=streams[2])
    table[:, 0] += signal * token_signs(V)
    return tokens, table


def class_direction(table):
    return token_signs(len(table)) @ table / len(table)


def strength(table):
    """mᵀ Sigma⁻¹ m of the table as it is: G = R times this, off the diagonal."""
    m, centred = class_direction(table), table - table.mean(axis=0)
    return m @ np.linalg.pinv(centred.T @ centred / len(table), rcond=1e-9, hermitian=True) @ m


@pytest.fixture(scope="module", params=SETTINGS)
def runs(request):
    """Setting, and (table, estimate) of several seeds."""
    setting = SETTINGS[request.param]
    out = []
    for seed in SEEDS:
        tokens, table = documents(*setting, seed)
        out.append((table, estimate(tokens, table, folds=12)))
    return setting, out


def test_estimates_are_within_their_errors(runs):
    (d, V, _, positions, signal), out = runs
    R = positions.matrix
    off = np.triu_indices(len(R), 1)
    entries, norms, deltas, snrs, nets = [], [], [], [], []
    for table, answer in out:
        entries.append((answer.correlation - R)[off] / answer.correlation_error[off])
        norms.append((answer.signal - signal) / answer.signal_error)
        deltas.append((answer.delta - d / V) / answer.delta_error)
        for name, spike in answer.spikes.items():
            truth = weights.snr(spike.weights, R)
            snrs.append(
                (float(answer.table.snr.sel(weights=name)) - truth)
                / float(answer.table.snr_error.sel(weights=name))
            )
            nets.append((spike.q - (truth - 1) * strength(table)) / spike.error)
    entries = np.concatenate(entries)
    assert 0.7 < np.sqrt(np.mean(entries**2)) < 1.5
    assert np.mean(np.abs(entries) < 3) > 0.97
    for z in (norms, deltas, snrs, nets):
        assert np.abs(np.mean(z)) < 1.6
        assert np.sqrt(np.mean(np.square(z))) < 2


def test_predicted_alignment_is_that_with_the_true_direction(runs):
    _, out = runs
    for name in ("mean", "causal", "learned"):
        predicted, actual = [], []
        for table, answer in out:
            spike = answer.spikes[name]
            v = spike.frame.whitener.T @ class_direction(table)
            actual.append((spike.direction @ v) ** 2 / (v @ v))
            row = answer.table.sel(weights=name)
            predicted.append(float(row.alignment))
            assert row.alignment_low <= row.alignment <= row.alignment_high
            assert float(row.outlier) == pytest.approx(float(row.eigenvalue), rel=0.1)
        assert np.mean(actual) == pytest.approx(np.mean(predicted), abs=0.012)
        assert actual == pytest.approx(predicted, abs=0.06)


def test_outliers_are_predicted_to_a_percent(runs):
    # the in-sample frame shifts them by several percent in the short setting: this sees the correction
    _, out = runs
    ratio = [
        float(a.table.outlier.sel(weights=n) / a.table.eigenvalue.sel(weights=n))
        for _, a in out
        for n in a.spikes
    ]
    assert np.mean(ratio) == pytest.approx(1, abs=0.012)


def test_model_reproduces_the_setting(runs):
    (d, V, N, positions, _), out = runs
    _, answer = out[0]
    model = answer.model("mean")
    assert (model.dimension, model.samples) == (d, N)
    assert model.vocabulary == pytest.approx(V, rel=0.1)
    model.positions.sample(10, rng=0)
    true = weights.snr(weights.mean(positions.length), positions.matrix)
    assert model.predict().snr == pytest.approx(true, rel=0.2)


def test_planned_number_of_documents_reaches_the_alignment():
    setting = (120, 480, 900, Prefix(16, 6), 0.9)
    tokens, table = documents(*setting, 1)
    answer = estimate(tokens, table)
    needed = answer.samples_for(0.9, "mean")
    assert needed.samples > 900
    assert needed.more == needed.samples - 900
    assert needed.low < needed.samples < needed.high
    assert str(needed) == needed.reason
    reached = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        fresh = draw_tokens(Prefix(16, 6).sample(needed.samples, rng=rng), 480, rng=rng)
        frame = Frame.at(*compact(fresh, table), weights.mean(16))
        v = frame.whitener.T @ class_direction(table)
        reached.append((frame.top(1)[1][:, 0] @ v) ** 2 / (v @ v))
    assert np.mean(reached) == pytest.approx(0.9, abs=0.025)
    assert answer.samples_for(0.1).more == 0


def test_learned_weights_are_nearly_the_best_where_mean_pooling_shows_nothing():
    positions = Prefix(20, 5)
    tokens, table = documents(400, 1600, 2400, positions, 0.6, 0)
    answer = estimate(tokens, table, folds=10)
    assert weights.snr(answer.weights["learned"], positions.matrix) > 0.95 * 5
    assert answer.signal == pytest.approx(0.6, abs=4 * answer.signal_error)


def test_without_signal_nothing_is_claimed():
    found = []
    for seed in range(12):
        tokens, table = documents(60, 240, 400, Prefix(12, 0), 0.8, seed)
        answer = estimate(tokens, table, folds=10)
        found.append(answer.detected)
    assert not any(found)
    assert "no signal" in str(answer)
    assert answer.samples_for(0.5).samples is None
    assert "no signal" in answer.samples_for(0.5).reason
    assert not answer.table.alignment.any()
    assert np.isnan(answer.signal)
    with pytest.raises(ValueError, match="model needs a signal"):
        answer.model()


@pytest.mark.parametrize("name", SETTINGS)
def test_held_out_predictions_are_right_and_their_twins_wrong(name):
    d, V, N, positions, signal = SETTINGS[name]
    for seed in range(2):
        tokens, table = documents(d, V, 2 * N, positions, signal, 50 + seed)
        check = check_held_out(tokens, table, seed=seed, folds=6)
        assert check.right, str(check)
        assert not check_held_out(tokens, table, seed=seed, folds=6, noise="ignored").right
        assert not check_held_out(tokens, table, seed=seed, folds=6, salad=True).right
    assert str(check).count("right") == 9
    assert bool(check.table.right.all())
    json.dumps(check.to_dict(), allow_nan=False)


def test_background_without_companions_is_the_published_spike():
    plain = Background(50, np.empty(0))
    for q in (0.6, 1.0, 3.0):
        overlap, outlier, _, leak = plain.blur(q, 200)
        assert overlap == pytest.approx(spikes.overlap(q, 0.0, 0.25))
        assert outlier == pytest.approx(spikes.outlier(q, 0.0, 0.25))
        assert overlap + leak.sum() == pytest.approx(1)
        assert plain.unseen(plain.seen(q, 200), 200) == pytest.approx(q, rel=1e-6)
    assert plain.least(200) == pytest.approx(spikes.threshold(0.0, 0.25))
    assert plain.blur(0.4, 200)[0] == 0
    near = Background(50, np.array([2.5]))
    assert near.blur(3.0, 200)[0] < plain.blur(3.0, 200)[0]
    assert near.blur(2.55, 200)[0] == 0


def test_companions_blur_as_predicted():
    rng = np.random.default_rng(0)
    n, rank = 600, 100
    q = np.array([3.0, 2.0])
    overlaps = []
    for _ in range(30):
        x = rng.standard_normal((n, rank))
        x[:, :2] *= np.sqrt(1 + q)
        overlaps.append(np.linalg.eigh(x.T @ x / n)[1][0, -1] ** 2)
    both, alone = Background(rank, q[1:]).blur(3.0, n)[0], Background(rank, q[:0]).blur(3.0, n)[0]
    assert np.mean(overlaps) == pytest.approx(both, abs=0.012)
    assert abs(np.mean(overlaps) - alone) > 0.015


def test_held_out_signal_is_not_inflated_by_the_search():
    # scores along a direction found on the same documents would show signal where there is none
    seen, inside = [], []
    for seed in range(10):
        tokens, table = documents(60, 240, 300, Prefix(10, 0), 0.0, seed)
        spike = cross_fit(Frame.at(*compact(tokens, table), weights.mean(10)), 10)
        seen.append(spike.seen)
        inside.append(spike.eigenvalues[0] - 1)
    assert abs(np.mean(seen)) < 0.12
    assert np.mean(inside) > 0.5


def test_contrasts_between_positions_give_uniform_weights():
    contrast = np.outer(s := np.repeat([1.0, -1.0], 4), s)
    w, reason = weights.spectral(contrast)
    assert np.array_equal(w, weights.mean(8))
    assert "cancel" in reason
    block = np.zeros((8, 8))
    block[:3, :3] = 0.5
    noise = np.random.default_rng(0).standard_normal((8, 8)) * 0.02
    w, _ = weights.spectral(block + noise + noise.T)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1)
    assert w[:3].sum() > 0.9
    assert weights.spectral(-np.ones((3, 3)))[1].startswith("uniform")
    assert weights.spectral(np.zeros((3, 3)))[1].startswith("uniform")
    # projected power iteration finds the best of a grid
    g = np.array([[0, 0.6, -0.2], [0.6, 0, 0.3], [-0.2, 0.3, 0]])
    w, _ = weights.spectral(g)
    grid = np.abs(np.random.default_rng(1).standard_normal((20000, 3)))
    values = np.einsum("ij,jk,ik->i", grid, g, grid) / np.sum(grid**2, axis=1)
    assert w @ g @ w / (w @ w) >= values.max() - 1e-4


@pytest.mark.parametrize(
    ("matrix", "message"),
    [(np.ones((2, 3)), "square"), ([[0, np.nan], [np.nan, 0]], "finite"), ([[0, 1.0], [0, 0]], "symmetric")],
)
def test_spectral_refuses(matrix, message):
    with pytest.raises(ValueError, match=message):
        weights.spectral(matrix)


def test_delta_counts_frequencies_whatever_a_document_repeats():
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 201)
    p /= p.sum()
    z, naive, errors = [], [], []
    for _ in range(60):
        tokens = np.repeat(rng.choice(200, (60, 3), p=p), 10, axis=1)  # documents that repeat themselves
        delta, error = effective_delta(tokens, 30, 20)
        counts = np.bincount(tokens.ravel())
        naive.append(
            30 * np.sum(counts * (counts - 1.0)) / (tokens.size * (tokens.size - 1)) - 30 * np.sum(p**2)
        )
        z.append((delta - 30 * np.sum(p**2)) / error)
        errors.append(error)
    assert abs(np.mean(z)) < 0.5
    assert 0.75 < np.std(z) < 1.4
    assert np.mean(naive) > 4 * np.std(naive) / np.sqrt(60)


def test_realisable_is_a_correlation_matrix_that_can_be_drawn():
    rng = np.random.default_rng(0)
    for size in (3, 8, 20):
        noise = rng.standard_normal((size, size))
        wanted = 0.5 + 0.6 * (noise + noise.T)
        np.fill_diagonal(wanted, 1)
        Correlated(realisable(wanted)).sample(10, rng=0)
    fine = Prefix(6, 3).matrix
    assert realisable(fine) == pytest.approx(fine, abs=1e-7)


def test_same_seed_same_answer_and_any_integer_type():
    tokens, table = documents(*SETTINGS["short"], 0)
    first, second = estimate(tokens, table, seed=3), estimate(tokens.astype(np.uint16), table, seed=3)
    assert first.to_dict() == second.to_dict()
    assert estimate(tokens, table, seed=4).signal == pytest.approx(first.signal, abs=0.05)
    text = json.dumps(first.to_dict(), allow_nan=False)
    assert set(json.loads(text)["weights"]) == {"mean", "causal", "learned"}
    assert "learned" in str(first)


def test_a_shift_and_a_rotation_of_the_table_change_nothing():
    tokens, table = documents(*SETTINGS["short"], 0)
    d = table.shape[1]
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    first, second = estimate(tokens, table, folds=5), estimate(tokens, 3 * table @ turn + 7, folds=5)
    assert second.signal == pytest.approx(first.signal, rel=1e-2)
    assert second.noise == pytest.approx(9 * first.noise, rel=1e-3)
    for name, spike in first.spikes.items():
        assert second.spikes[name].q == pytest.approx(spike.q, rel=1e-3)


def test_smallest_sizes_do_not_crash():
    rng = np.random.default_rng(0)
    for d, V, N, T in [(1, 4, 40, 2), (2, 2, 40, 2), (50, 4, 40, 3), (3, 1000, 40, 40), (300, 400, 45, 5)]:
        answer = estimate(rng.integers(0, V, (N, T)), rng.standard_normal((V, d)))
        json.dumps(answer.to_dict(), allow_nan=False)
        str(answer)
        answer.samples_for(0.5)


GOOD = np.random.default_rng(0).integers(0, 30, (60, 10))
TABLE = np.random.default_rng(1).standard_normal((30, 5))


@pytest.mark.parametrize(
    ("tokens", "table", "message"),
    [
        (GOOD[:39], TABLE, "tokens must hold at least 40 documents, got 39"),
        (np.tile(GOOD, (1, 7)), TABLE, "at least as many documents as positions"),
        (GOOD[:, :1], TABLE, "tokens must have at least 2 positions, got 1"),
        (GOOD + 1, TABLE, r"tokens must lie in \[0, 30\)"),
        (GOOD * 1.0, TABLE, "tokens must be whole numbers"),
        (GOOD, np.where(np.arange(30)[:, None] == 3, np.nan, TABLE), "table must be finite.*row 3"),
        (GOOD, np.ones((30, 5)), "table must vary"),
        (GOOD * 0, TABLE, "table must vary"),
        (GOOD, TABLE[0], "table must be real numbers of shape"),
    ],
)
def test_what_cannot_be_estimated_is_refused(tokens, table, message):
    with pytest.raises(ValueError, match=message):
        estimate(tokens, table)


def test_wrong_options_are_refused():
    tokens, table = documents(*SETTINGS["short"], 0)
    for call, message in [
        (lambda: estimate(tokens, table, folds=1), "folds must be a whole number >= 2"),
        (lambda: estimate(tokens, table, seed=-1), "seed must be a whole number >= 0"),
        (lambda: check_held_out(tokens, table, noise="x"), "noise must be one of"),
        (lambda: check_held_out(tokens[:70], table), "at least 80 documents, got 70"),
        (lambda: estimate(tokens, table, folds=4).samples_for(1.0), r"in \(0, 1\)"),
        (lambda: estimate(tokens, table, folds=4).samples_for(0.5, "best"), "weights must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_simulated_models_are_recovered_by_prediction():
    # the model's own prediction of the outlier, unwhitened, at the parameters found
    d, V, N, positions, signal = SETTINGS["exchangeable"]
    found = []
    for seed in range(4):
        model = estimate(*documents(d, V, N, positions, signal, seed), folds=8).model("mean")
        found.append((model.predict().top_eigenvalue, model.predict().overlap))
    truth = PooledSequences(d, V, N, positions, "mean", signal).predict()
    assert np.mean(found, axis=0)[0] == pytest.approx(truth.top_eigenvalue, rel=0.12)
    assert np.mean(found, axis=0)[1] == pytest.approx(truth.overlap, abs=0.06)
