"""The model's two worlds: every simulation route gives the same numbers, and the limit predicts them."""

import dataclasses
import itertools
import pickle

import cases
import numpy as np
import oracles
import pytest
from scipy import stats

from resolvent import PooledRidge, PooledSequences, Prefix, SingleFactor, ridge_accuracy, spikes
from resolvent.models import Prediction, Simulation, ridge
from resolvent.models.claims import ALLOWANCE
from resolvent.models.finite_size import QUANTITIES, expected_at_size
from resolvent.models.ridge import RidgePrediction, RidgeSimulation

SEEDS = range(16)


def standard_error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


def agrees(values, predicted, allowance):
    return abs(np.mean(values) - predicted) <= cases.STANDARD_ERRORS * standard_error(values) + allowance


def agreement(draws, model):
    """Whether means over draws agree with what a model expects at its size: (top eigenvalue or None, overlap)."""
    (top, _, overlap), (some, _, more) = expected_at_size(model)
    return (
        None if np.isnan(model.predict().outlier) else agrees([d.top_eigenvalue for d in draws], top, some),
        agrees([d.overlap for d in draws], overlap, more),
    )


# --- one draw, several routes -------------------------------------------------------------------------


@cases.every_model
def test_simulation_is_the_naive_one(model):
    for seed in (0, 1):
        values, overlap = oracles.simulate_naively(model, seed)
        draw = model.simulate(seed)
        np.testing.assert_allclose(draw.eigenvalues, values, atol=1e-8 * values[0])
        assert draw.top_eigenvalue == pytest.approx(values[0], rel=1e-8)
        assert draw.second_eigenvalue == pytest.approx(values[1], rel=1e-8)
        assert draw.overlap == pytest.approx(overlap, abs=1e-8)


@cases.every_model
def test_sweep_is_a_loop_of_simulations(model):
    signals = np.array([0.0, 0.4, 1.5, 4.0])
    sweep = model.sweep(signals, [0, 3])
    assert sweep.overlap.dims == ("signal", "seed")
    for i, signal in enumerate(signals):
        for j, seed in enumerate((0, 3)):
            draw = dataclasses.replace(model, signal=float(signal)).simulate(seed)
            assert sweep.top_eigenvalue.values[i, j] == pytest.approx(draw.top_eigenvalue, rel=1e-8)
            assert sweep.second_eigenvalue.values[i, j] == pytest.approx(draw.second_eigenvalue, rel=1e-8)
            assert sweep.overlap.values[i, j] == pytest.approx(draw.overlap, abs=1e-8)


@cases.every_model
def test_sweep_carries_the_predictions(model):
    signals = np.array([0.0, 0.8, 3.0])
    sweep = model.sweep(signals, [0])
    for i, signal in enumerate(signals):
        prediction = dataclasses.replace(model, signal=float(signal)).predict()
        for name in ("top_eigenvalue", "second_eigenvalue", "overlap"):
            assert sweep[f"predicted_{name}"].values[i] == pytest.approx(getattr(prediction, name))
            assert sweep[f"published_{name}"].values[i] == pytest.approx(getattr(prediction.published, name))


@cases.every_model
def test_leading_pairs_are_those_of_the_full_spectrum(model):
    if model.dimension < 10:
        pytest.skip("fewer dimensions than leading eigenvalues asked for")
    full, top = model.simulate(2), model.simulate(2, top=4)
    np.testing.assert_allclose(top.eigenvalues, full.eigenvalues[:4], rtol=1e-8)
    assert top.overlap == pytest.approx(full.overlap, abs=1e-7)


@cases.every_model
@pytest.mark.parametrize("top", [None, 4])
def test_single_precision_is_close(model, top):
    if model.dimension < 10:
        pytest.skip("fewer dimensions than leading eigenvalues asked for")
    double, single = model.simulate(1), model.simulate(1, dtype=np.float32, top=top)
    # another precision is another random stream: close in law, not in value
    assert single.eigenvalues.dtype in (np.float32, np.float64)
    assert single.top_eigenvalue == pytest.approx(double.top_eigenvalue, rel=0.5)
    repeated = model.simulate(1, dtype=np.float32)
    assert single.top_eigenvalue == pytest.approx(repeated.top_eigenvalue, rel=1e-4)


@cases.every_model
def test_simulation_is_reproducible(model):
    first, second, other = model.simulate(5), model.simulate(5), model.simulate(6)
    np.testing.assert_array_equal(first.eigenvalues, second.eigenvalues)
    assert (first.overlap, first.seed) == (second.overlap, 5)
    assert first.top_eigenvalue != other.top_eigenvalue


def test_simulation_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is watched)
    cases.MODELS["mixture, d < N"].simulate(0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_seed_fixes_the_draw_whatever_signal_and_weights():
    # tables and tokens do not move: only the pooling differs
    model = cases.MODELS["mixture, d < N"]
    doubled = dataclasses.replace(model, weights=2 * model.pooling_weights)
    np.testing.assert_allclose(doubled.simulate(3).eigenvalues, 4 * model.simulate(3).eigenvalues, rtol=1e-10)
    assert doubled.simulate(3).overlap == pytest.approx(model.simulate(3).overlap)


@cases.every_model
def test_pickled_models_simulate_alike(model):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.simulate(0).eigenvalues, model.simulate(0).eigenvalues)


def test_prediction_and_simulation_share_names():
    shared = {f.name for f in dataclasses.fields(Prediction)} & {
        f.name for f in dataclasses.fields(Simulation)
    }
    assert shared == {"top_eigenvalue", "second_eigenvalue", "overlap"}
    shared = {f.name for f in dataclasses.fields(RidgePrediction)} & {
        f.name for f in dataclasses.fields(RidgeSimulation)
    }
    assert shared == {"accuracy", "error"}


def test_results_are_shown_in_short():
    model = PooledSequences(400, 1600, 1200, Prefix(50, 10), "mean", np.linspace(0, 2, 41), centred=False)
    found = model.predict()
    for shown in (
        repr(found),
        repr(found.published),
        repr(dataclasses.replace(model, signal=1.0).simulate(0)),
    ):
        assert len(shown) < 1500
        assert "float64" not in shown
    assert "snr=2.8, " in repr(found)
    assert "mean_spike=MeanSpike(q=12.25, outlier=0.277766, overlap=0.969097), " in repr(found)
    assert "published=Prediction(...), " in repr(found)
    assert "None" not in repr(found)
    # as a data class shows it, but for the digits
    names = [f.name for f in dataclasses.fields(found) if f.repr]
    assert [name for name in names if f"{name}=" not in repr(found)] == []


# --- predictions --------------------------------------------------------------------------------------


@cases.every_model
def test_prediction_is_assembled_from_the_spikes(model):
    prediction = model.predict(theory="infinite length")
    w, R = model.pooling_weights, model.positions.matrix
    assert prediction.kappa == pytest.approx(w @ w)
    assert prediction.alpha == pytest.approx(w @ R @ w)
    assert prediction.snr == pytest.approx(prediction.alpha / prediction.kappa)
    arguments = (model.signal, prediction.snr, model.delta, model.gamma)
    assert prediction.overlap == pytest.approx(spikes.alignment(*arguments, model.table))
    factors = prediction.population_overlap * prediction.sample_overlap * prediction.direction_factor
    assert prediction.overlap == pytest.approx(factors)
    assert prediction.published.overlap == pytest.approx(spikes.alignment(*arguments, "balanced"))
    assert prediction.published.published is None
    assert prediction.edge == pytest.approx(prediction.bulk.support[0][1])
    assert prediction.bulk.mean() == pytest.approx(prediction.kappa)
    assert prediction.top_eigenvalue >= prediction.second_eigenvalue >= prediction.edge * (1 - 1e-12)


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_prediction_of_a_curve(table):
    signals = np.linspace(0, 3, 7)
    model = PooledSequences(50, 100, 80, Prefix(20, 5), "mean", signals, table=table)
    curve = model.predict()
    assert curve.overlap.shape == curve.outlier.shape == curve.top_eigenvalue.shape == (7,)
    for i, signal in enumerate(signals):
        single = dataclasses.replace(model, signal=signal).predict()
        assert curve.overlap[i] == pytest.approx(single.overlap)
        assert curve.top_eigenvalue[i] == pytest.approx(single.top_eigenvalue)
        assert np.isfinite(single.outlier) == (signal > single.critical_signal)
    with pytest.raises(ValueError, match="signal"):
        model.simulate(0)


def test_balanced_prediction_is_the_published_one():
    model = PooledSequences(50, 100, 80, Prefix(20, 5), "mean", 1.5, table="balanced")
    prediction = model.predict()
    assert prediction.overlap == prediction.published.overlap
    assert prediction.outlier == prediction.published.outlier


# --- the limit against simulation ---------------------------------------------------------------------

SETTINGS = cases.random_settings()


@pytest.mark.slow
@pytest.mark.parametrize("model", SETTINGS, ids=range(len(SETTINGS)))
def test_random_settings_follow_the_theory(model):
    draws = [model.simulate(seed) for seed in SEEDS]
    values, allowance = expected_at_size(model)
    bars, drawn = model.predict().error_bars, np.array([[getattr(d, q) for q in QUANTITIES] for d in draws])
    above = not np.isnan(bars.outlier.value)
    errors = [
        bars.outlier.standard_error if above else bars.edge.standard_error,
        bars.edge.standard_error if above else np.nan,
        bars.overlap.standard_error,
    ]
    # as spread as predicted, where the theory has a standard error
    errors = np.where(np.isfinite(errors), errors, drawn.std(axis=0, ddof=1)) / np.sqrt(len(draws))
    assert (np.abs(drawn.mean(axis=0) - values) <= cases.STANDARD_ERRORS * errors + allowance).all()


def test_random_settings_cover_the_conventions():
    predictions = [model.predict() for model in SETTINGS]
    ratios = np.array([p.q / p.threshold for p in predictions])
    assert np.all((ratios < 0.6) | (ratios > 1.5))
    assert min(np.sum(ratios > 1), np.sum(ratios < 1)) >= 3
    assert {model.table for model in SETTINGS} == {"mixture", "balanced"}
    assert {type(model.positions).__name__ for model in SETTINGS} == {"SingleFactor", "Correlated"}
    assert any(model.delta > 1 for model in SETTINGS)
    assert any(model.gamma > 1 for model in SETTINGS)


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_the_other_table_convention_fails(table):
    model = PooledSequences(240, 240, 480, Prefix(40, 8), "optimal", 1.0, table=table)
    draws = [model.simulate(seed) for seed in SEEDS]
    assert agreement(draws, model) == (True, True)
    other = dataclasses.replace(model, table={"mixture": "balanced", "balanced": "mixture"}[table])
    assert agreement(draws, other) == (False, False)


@pytest.mark.parametrize(
    "wrong", [{"samples": 60}, {"vocabulary": 400}, {"signal": 1.3}, {"weights": "mean"}]
)
def test_other_parameters_fail(wrong):
    model = PooledSequences(240, 240, 480, Prefix(40, 8), "optimal", 1.0)
    draws = [model.simulate(seed) for seed in SEEDS]
    assert False in agreement(draws, dataclasses.replace(model, **wrong))


@pytest.mark.parametrize("table", ["mixture", "balanced"])
@pytest.mark.parametrize("noise", ["uniform", "rademacher", "student_t"])
def test_any_noise_has_the_same_limit(noise, table):
    model = PooledSequences(240, 320, 400, Prefix(40, 10), "mean", 1.6, noise=noise, table=table)
    assert agreement([model.simulate(seed) for seed in SEEDS], model) == (True, True)


def test_eigenvalues_fill_the_bulk_law():
    model = PooledSequences(300, 400, 500, Prefix(60, 10), "causal", 0.0)
    wrong = dataclasses.replace(model, vocabulary=600)
    values = np.sort(model.simulate(0).eigenvalues)
    middle = (np.arange(300) + 0.5) / 300
    assert np.abs(model.predict().bulk.cdf(values) - middle).max() < 0.02
    assert np.abs(wrong.predict().bulk.cdf(values) - middle).max() > 0.03


def test_an_atom_of_eigenvalues_at_zero():
    model = PooledSequences(120, 80, 100, Prefix(30, 5), "mean", 1.0)
    values = model.simulate(0).eigenvalues
    # one more zero than the atom: centring costs a degree of freedom
    assert abs(np.sum(values < 1e-9 * values[0]) / 120 - model.predict().bulk.atom) <= 2 / 120


def test_uncentred_spike_along_the_mean():
    model = PooledSequences(240, 240, 480, Prefix(30, 8), "mean", 1.0, centred=False)
    spurious = model.predict().mean_spike
    assert spurious.q == pytest.approx(1.0 * (1 / model.predict().kappa - 1))
    draws = [model.simulate(seed) for seed in SEEDS]
    outliers, overlaps = [d.mean_outlier for d in draws], [d.mean_overlap for d in draws]
    assert agrees(outliers, spurious.outlier, ALLOWANCE * spurious.outlier / 240)
    assert agrees(overlaps, spurious.overlap, ALLOWANCE / 240)
    # the twin: it is not the signal's spike
    assert not agrees(outliers, model.predict().outlier, ALLOWANCE * spurious.outlier / 240)
    # the signal keeps its own spike, now second
    assert agrees(
        [d.second_eigenvalue for d in draws],
        model.predict().outlier,
        ALLOWANCE * model.predict().outlier / 240,
    )
    assert agrees([d.overlap for d in draws], model.predict().overlap, ALLOWANCE / 240)
    assert model.predict().top_eigenvalue == pytest.approx(spurious.outlier)
    assert model.predict().second_eigenvalue == pytest.approx(model.predict().outlier)


def test_uncentred_simulation_is_the_naive_one():
    model = PooledSequences(40, 60, 90, Prefix(12, 4), "mean", 2.0, centred=False)
    table, features = oracles.draw_naively(model, 1)
    values, vectors = np.linalg.eigh(features.T @ features / 90)
    mean = table.mean(axis=0)
    along_mean = (mean @ vectors) ** 2 / (mean @ mean)
    draw, top = model.simulate(1), model.simulate(1, top=3)
    np.testing.assert_allclose(draw.eigenvalues, values[::-1], atol=1e-10)
    assert draw.mean_overlap == pytest.approx(along_mean[-2:].max())
    assert draw.mean_outlier == pytest.approx(values[-2:][along_mean[-2:].argmax()])
    assert top.mean_outlier == pytest.approx(draw.mean_outlier)
    assert top.overlap == pytest.approx(draw.overlap)


def test_weights_that_sum_to_zero_have_no_mean_spike():
    w = np.array([1.0, -1.0] * 15)
    model = PooledSequences(100, 150, 200, SingleFactor(np.full(30, 0.5)), w, 1.0, centred=False)
    assert model.predict().mean_spike.q == pytest.approx(-model.delta)
    assert np.isnan(model.predict().mean_spike.outlier)


def test_uncentred_sweep_is_a_loop_of_simulations():
    model = PooledSequences(60, 120, 90, Prefix(12, 3), "mean", 0.0, centred=False)
    sweep = model.sweep([0.5, 3.0], [0, 1])
    for i, signal in enumerate((0.5, 3.0)):
        draw = dataclasses.replace(model, signal=signal).simulate(1)
        assert sweep.overlap.values[i, 1] == draw.overlap
        assert sweep.top_eigenvalue.values[i, 1] == draw.top_eigenvalue


# --- ridge classification -----------------------------------------------------------------------------

RIDGE_CASES = [
    # signal, delta, gamma, weights, loadings, ridge
    (1.0, 0.5, 0.7, [0.25] * 4, [1.0, 1.0, 0.0, 0.0], 0.1),
    (2.0, 0.3, 1.5, [0.5, 0.3, 0.2], [1.0, 0.5, 0.0], 0.01),
    (0.5, 2.0, 0.5, [0.4, 0.3, 0.3, 0.1, 0.1], [0.9, 0.8, -0.5, 0.0, 0.3], 1.0),
    (3.0, 1.0, 1.0, [1.0], [1.0], 0.2),
    (1.5, 0.8, 0.2, [1.0, -1.0], [1.0, -1.0], 0.05),
]
every_ridge = pytest.mark.parametrize("case", RIDGE_CASES, ids=range(len(RIDGE_CASES)))
tables = pytest.mark.parametrize("table", ["mixture", "balanced"])


def ridge_model(case, table, dimension=120):
    signal, delta, gamma, weights, loadings, ridge = case
    sizes = (dimension, round(dimension / delta / 2) * 2, round(dimension / gamma))
    return PooledRidge(PooledSequences(*sizes, SingleFactor(loadings), weights, signal, table=table), ridge)


@every_ridge
@tables
def test_ridge_is_the_solution_of_its_equations(case, table):
    accuracy, error = oracles.ridge_limit(*case, table)
    assert ridge_accuracy(*case, table=table) == pytest.approx(accuracy, abs=1e-8)
    model = ridge_model(case, table)
    sequences = model.sequences
    accuracy, error = oracles.ridge_limit(case[0], sequences.delta, sequences.gamma, *case[3:], table)
    assert model.predict().accuracy == pytest.approx(accuracy, abs=1e-8)
    assert model.predict().error == pytest.approx(error, rel=1e-8)


@tables
def test_ridge_predicts_its_simulation(table):
    sequences = PooledSequences(200, 600, 400, Prefix(20, 4), "mean", 2.0, table=table)
    model = PooledRidge(sequences, 0.1)
    draws = [model.simulate(seed, test_samples=8000) for seed in range(8)]
    accuracy, error = [d.accuracy for d in draws], [d.error for d in draws]
    assert agrees(accuracy, model.predict().accuracy, 2.5 / 200)
    assert agrees(error, model.predict().error, 2.5 / 200)
    weaker = PooledRidge(dataclasses.replace(sequences, signal=1.2), 0.1).predict()
    assert not agrees(accuracy, weaker.accuracy, 2.5 / 200)
    assert not agrees(error, weaker.error, 2.5 / 200)


@pytest.mark.parametrize("gain", [0.0, 0.3, 5.0, 40.0, 110.0, -20.0])
def test_mean_of_the_normal_distribution_function_over_signs(gain):
    # steep ones too, which the models above do not reach
    w, c = np.array([0.5, 0.3, 0.25, -0.1]), np.array([0.8, 0.5, 0.3, 1.0])
    patterns = np.array(list(itertools.product((-1, 1), repeat=4)))
    wanted = np.sum(np.prod((1 + patterns * c) / 2, axis=1) * stats.norm.cdf(gain * patterns @ w))
    assert ridge._mean_normal_cdf(np, np.asarray(gain), w, c) == pytest.approx(wanted, abs=1e-9)


def test_ridge_simulation_is_reproducible():
    model = ridge_model(RIDGE_CASES[0], "mixture")
    assert model.simulate(1, test_samples=500) == model.simulate(1, test_samples=500)
    assert model.simulate(1, test_samples=500) != model.simulate(2, test_samples=500)


def test_ridge_limits():
    w, c = np.full(6, 1 / 6), np.array([1.0, 1, 1, 0, 0, 0])
    assert ridge_accuracy(0.0, 0.5, 0.5, w, c, 0.1, table="balanced") == pytest.approx(0.5)
    # no informative position: chance
    assert ridge_accuracy(2.0, 0.5, 0.5, w, np.zeros(6), 0.1) == pytest.approx(0.5)
    # a loud signal on equal signs is read off perfectly; half the weight on noise is not
    assert ridge_accuracy(1e3, 0.5, 0.5, [0.5, 0.5], [1, 1], 0.1, table="balanced") == pytest.approx(
        1, abs=1e-6
    )
    assert ridge_accuracy(1e3, 0.5, 0.5, w, c, 0.1) < 1 - 1e-3


def test_ridge_accuracy_broadcasts():
    signal, ridge = np.array([[0.5], [2.0]]), np.array([0.01, 0.1, 1.0])
    grid = ridge_accuracy(signal, 0.5, 0.7, [0.5, 0.5], [1, 0], ridge)
    assert grid.shape == (2, 3)
    assert grid[1, 2] == pytest.approx(ridge_accuracy(2.0, 0.5, 0.7, [0.5, 0.5], [1, 0], 1.0))


def test_ridge_with_learned_weights():
    from resolvent.weights import learned

    model = PooledRidge(PooledSequences(60, 300, 500, Prefix(8, 2), "mean", 2.0), 0.1)
    plain = np.mean([model.simulate(s, test_samples=3000).accuracy for s in range(3)])
    better = np.mean([model.simulate(s, test_samples=3000, weights=learned).accuracy for s in range(3)])
    assert better > plain + 0.02


@pytest.mark.parametrize(("penalty", "wanted"), [(1e6, 0.779203), (1e8, 0.779203), (1e12, 0.779203)])
def test_ridge_accuracy_stays_exact_at_large_penalties(penalty, wanted):
    # against 60 digits: the classifier tends to the difference of the class means
    found = ridge_accuracy(1.0, 0.3, 0.5, [0.25] * 4, [1, 1, 0, 0], penalty)
    assert found == pytest.approx(wanted, abs=1e-6)


def test_ridge_accuracy_is_a_probability():
    found = ridge_accuracy(1.0, 0.3, 0.5, np.full(1000, 1e-3), np.full(1000, 0.5), 0.1)
    assert 0.5 <= found <= 1


def test_ridge_needs_centred_models():
    with pytest.raises(ValueError, match="centred=True"):
        PooledRidge(PooledSequences(10, 20, 30, Prefix(4, 2), "mean", 1.0, centred=False), 0.1)


def test_long_sequences_predict_without_the_matrix():
    positions = Prefix(2_000_000, 10)  # its matrix would take 30 TB
    assert PooledSequences(10, 20, 30, positions, "causal", 1.0).predict().snr > 0
    assert "matrix" not in vars(positions)


def test_pooled_signal_is_the_quadratic_form():
    w = np.random.default_rng(0).standard_normal(6)
    for positions in (Prefix(6, 3), SingleFactor([0.9, -0.5, 0.2, 0.0, 1.0, -1.0])):
        assert positions.pooled_signal(w) == pytest.approx(w @ positions.matrix @ w)
