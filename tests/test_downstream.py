"""Ridge losses, the loss landscape over weights, and classifiers of convex loss: identities and simulations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from resolvent import PooledRidge, PooledSequences, Prefix, SingleFactor, ridge_accuracy
from resolvent.class_positions import ClassLoadings
from resolvent.downstream import (
    ClassRidge,
    PooledClassifier,
    convex,
    convex_limit,
    discriminant_weights,
    landscape,
    learned_limit,
    optimal_ridge,
    ridge_losses,
    spread_window,
)
from resolvent.downstream.classifier import draw_labelled, fit
from resolvent.models.classes import PooledClasses
from resolvent.pooling import pool
from resolvent.sparse_token.losses import LOSSES
from resolvent.tables import draw_tokens
from resolvent.weights import learned, mean, optimal

nan = np.nan
W = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
C = np.array([1.0, 0.8, 0.5, 0.1, 0.0, -0.3])
UNEQUAL = SingleFactor([0.9] * 4 + [0.25] * 16)


def moments(w, c):
    """(a, alpha, kappa) of weights and loadings."""
    return w @ c, (w @ c) ** 2 + w**2 @ (1 - c**2), w @ w


def score(values, expected):
    """Deviation of the mean over draws, in standard errors."""
    return (np.mean(values) - expected) / (np.std(values, ddof=1) / np.sqrt(len(values)) + 1e-12)


def within(values, expected, allowance):
    """Whether the mean over draws is within four standard errors plus the allowance."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return abs(np.mean(values) - expected) <= 4 * error + allowance


# --- ridge --------------------------------------------------------------------------------------------


def test_losses_are_one_theory():
    # the square loss through its own three equations, and the ridge classifier's closed form
    ridge, signal = np.logspace(-4, 1, 6)[:, None], np.array([0.0, 0.3, 1.0, 3.0])
    for delta, gamma, table in ((0.5, 0.7, "mixture"), (0.5, 2.0, "mixture"), (1.7, 0.4, "balanced")):
        own = convex_limit(signal, delta, gamma, W, C, ridge, loss="square", table=table)
        exact = ridge_losses(signal, delta, gamma, *moments(W, C), ridge, table=table)
        accuracy = ridge_accuracy(signal, delta, gamma, W, C, ridge, table=table)
        np.testing.assert_allclose(own.accuracy, accuracy, atol=1e-8)
        np.testing.assert_allclose(2 * own.loss, exact.error, rtol=1e-7)
        np.testing.assert_allclose(2 * own.training_loss, exact.training_error, rtol=1e-6)
        np.testing.assert_allclose(2 * own.objective, exact.objective, rtol=1e-7)


def test_ridge_accuracy_settles_at_huge_penalties():
    w, c = np.full(10, 0.1), np.r_[np.full(4, 0.9), np.zeros(6)]
    accuracy = ridge_accuracy(1.0, 0.5, 0.5, w, c, [1e9, 1e14, 1e16, 1e300])
    np.testing.assert_allclose(accuracy, accuracy[0], rtol=1e-8)
    assert ridge_accuracy(1.0, 0.5, 0.5, w, c, 1.0) != pytest.approx(accuracy[0], rel=1e-5)


def test_ridge_losses_at_the_ends():
    at = (1.0, 0.3, 0.5, *moments(W, C))
    heavy = ridge_losses(*at, 1e8)
    assert heavy.objective == pytest.approx(1, abs=1e-6)
    assert heavy.error == pytest.approx(1, abs=1e-6)
    light = ridge_losses(*at, 1e-9)  # without penalty the training error is (1 − gamma)² of the test error
    assert light.training_error == pytest.approx(light.objective, rel=1e-5)
    assert light.training_error == pytest.approx(0.25 * light.error, rel=1e-5)
    interpolates = ridge_losses(1.0, 0.3, 2.0, *moments(W, C), 1e-9)
    assert interpolates.objective < 1e-6
    assert (ridge_losses(*at, [0.1, 1.0]).objective < [0.5, 1.0]).all()


@pytest.mark.parametrize("by", ["error", "accuracy"])
def test_optimal_ridge_is_the_best_of_a_fine_grid(by):
    signal, gamma = np.array([[0.3], [1.0], [2.5]]), np.array([0.4, 1.0, 3.0])
    best = optimal_ridge(signal, 0.4, gamma, W, C, by=by)
    assert best.ridge.shape == (3, 3)
    ridge = np.geomspace(1e-6, 1e6, 601)[:, None, None]
    if by == "error":
        error = ridge_losses(signal, 0.4, gamma, *moments(W, C), ridge).error.min(axis=0)
        assert (best.error <= error * (1 + 1e-9)).all()
        np.testing.assert_allclose(best.error, error, rtol=1e-4)
        np.testing.assert_allclose(
            best.error, ridge_losses(signal, 0.4, gamma, *moments(W, C), best.ridge).error, rtol=1e-9
        )
    else:
        accuracy = ridge_accuracy(signal, 0.4, gamma, W, C, ridge).max(axis=0)
        assert (best.accuracy >= accuracy - 1e-9).all()
        np.testing.assert_allclose(best.accuracy, accuracy, atol=1e-4)


def test_optimal_ridge_may_be_at_an_end():
    four = np.full(20, 0.05), (np.arange(20) < 4).astype(float)
    found = optimal_ridge([0.5, 2.0], 0.3, 0.5, *four, by="accuracy")
    assert np.isinf(found.ridge[1])  # the difference of the class means is best
    assert np.isfinite(found.ridge[0])
    assert found.accuracy[1] >= ridge_accuracy(2.0, 0.3, 0.5, *four, [0.01, 1.0, 100.0]).max()
    assert np.isinf(optimal_ridge(0.0, 0.3, 0.5, *four, table="balanced").ridge)
    assert np.ndim(optimal_ridge(1.0, 0.3, 0.5, *four).ridge) == 0


# --- simulations --------------------------------------------------------------------------------------


def random_classifier(index, dimension, loss):
    """One of the random settings."""
    rng = np.random.default_rng([9, index])
    delta, gamma = np.exp(rng.uniform(np.log(0.2), np.log(2), 2))
    length = int(rng.integers(15, 50))
    positions = SingleFactor(rng.uniform(-0.3, 1, length)) if index % 2 else Prefix(length, length // 3)
    weights = rng.uniform(0.2, 1, length) if index % 3 else mean(length)
    model = PooledSequences(
        dimension,
        2 * int(dimension / delta / 2),
        int(dimension / gamma),
        positions,
        weights / weights.sum(),
        float(rng.uniform(0.3, 1.5)),
        table=("mixture", "balanced")[index % 2],
    )
    return PooledClassifier(model, float(np.exp(rng.uniform(np.log(2e-3), np.log(0.2)))), loss)


NAMES = ("accuracy", "loss", "training_loss", "objective", "norm")


@pytest.mark.parametrize("loss", ["logistic", "square"])
def test_classifiers_predict_their_simulation(loss):
    # twins: noise of an infinite vocabulary (isotropic features); infinitely many samples
    scores = []
    for index in range(10):
        model = random_classifier(index, 200, loss)
        draws = [model.simulate(1000 * index + seed, test_samples=4000) for seed in range(8)]
        seen = {name: [getattr(draw, name) for draw in draws] for name in NAMES}
        prediction = model.predict()
        for name, values in seen.items():
            value = getattr(prediction, name)
            assert within(values, value, 1.5 / 200 * max(1.0, value)), (index, name)
        s = model.sequences
        power = s.signal**2 + (s.delta if s.table == "mixture" else 0)
        rest = (s.pooling_weights, s.positions.loadings, model.regularisation)
        twins = [
            convex_limit(np.sqrt(power), delta, gamma, *rest, loss=loss, table="balanced")
            for delta, gamma in ((1e-9, s.gamma), (s.delta, 1e-6))
        ]
        scores.append([[score(seen[n], getattr(p, n)) for n in NAMES] for p in (prediction, *twins)])
    right, isotropic, population = np.mean(np.abs(scores), axis=0)
    assert (right < 2.2).all()  # E|t| of eight draws is 0.87
    assert (np.maximum(isotropic, population) > 5).all()
    assert isotropic[0] > 3


@pytest.mark.parametrize("loss", ["logistic", "square"])
@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_a_strong_penalty_leaves_the_mean_direction(loss, table):
    # b -> −l'(0) times the mean of y x over the penalty: mean a m, noise of variance kappa/N; V -> gamma kappa/lambda
    signal, delta, gamma, penalty = 1.3, 0.6, 0.8, 10.0 ** np.array([6, 8, 12, 30, 100])
    found = convex_limit(signal, delta, gamma, W, C, penalty, loss=loss, table=table)
    (a, _, kappa), M = moments(W, C), signal**2 + delta * (table == "mixture")
    push, zero = {"logistic": (0.5, np.log(2)), "square": (1.0, 0.5)}[loss]
    gain = a * M / np.sqrt(kappa * (a**2 * M + gamma * kappa * (1 + delta)))
    patterns = np.array(list(itertools.product((-1, 1), repeat=6)))
    accuracy = np.prod((1 + patterns * C) / 2, axis=1) @ stats.norm.cdf(gain * (patterns @ W))
    norm = push * np.sqrt(a**2 * M + gamma * kappa)
    near = 10 / penalty + 1e-12
    assert (abs(found.accuracy - accuracy) < near).all()
    assert (abs(penalty * found.norm / norm - 1) < near).all()
    assert (abs(found.slope / found.noise / gain - 1) < near).all()
    for value in (found.loss, found.training_loss, found.objective):
        assert (abs(value / zero - 1) < near).all()
    if loss == "square":
        ridge = ridge_accuracy(signal, delta, gamma, W, C, penalty[:2], table=table)
        np.testing.assert_allclose(found.accuracy[:2], ridge, atol=1e-8)
    # the isotropic noise of an infinite vocabulary is another: a twin that must fail
    twin = convex_limit(np.sqrt(M), 1e-9, gamma, W, C, 1e6, loss=loss, table="balanced")
    assert abs(twin.accuracy - accuracy) > 0.005


def test_a_strong_penalty_predicts_its_simulation():
    model = PooledClassifier(PooledSequences(200, 600, 400, Prefix(20, 4), "mean", 2.0), 1e6)
    draws = [model.simulate(seed, test_samples=4000) for seed in range(8)]
    for name in NAMES:
        value = getattr(model.predict(), name)
        assert within([getattr(draw, name) for draw in draws], value, 1.5 / 200 * value), name


def test_logistic_regression_is_not_ridge():
    sequences = PooledSequences(200, 600, 200, UNEQUAL, "optimal", 1.0)
    model = PooledClassifier(sequences, 1e-3)
    draws = [model.simulate(seed, test_samples=4000).accuracy for seed in range(8)]
    assert within(draws, model.predict().accuracy, 1.5 / 200)
    assert not within(draws, PooledClassifier(sequences, 1e-3, "square").predict().accuracy, 1.5 / 200)


def test_loadings_drawn_anew_for_every_sequence():
    rows, chances = np.array([[0.9] * 20, [0.05] * 20]), np.array([0.6, 0.4])
    d, vocabulary, samples, signal, penalty = 200, 600, 400, 1.2, 0.02
    w, parts = mean(20), [SingleFactor(row) for row in rows]
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        base = PooledSequences(d, vocabulary, samples, parts[0], w, signal)
        table, _, _ = draw_labelled(base, seed)

        def draw(n, rng=rng):
            drawn = [part.sample_labelled(n, rng=rng) for part in parts]
            which = rng.random(n) < chances[0]
            labels = np.where(which, drawn[0][0], drawn[1][0])
            signs = np.where(which[:, None], drawn[0][1], drawn[1][1])
            return labels.astype(float), draw_tokens(signs, vocabulary, rng=rng)

        labels, tokens = draw(samples)
        x = pool(tokens, w, table)
        centre = x.mean(axis=0)
        b, training = fit(x - centre, labels, penalty, LOSSES["logistic"])
        fresh, tokens = draw(8000)
        scores = (table @ b)[tokens] @ w - centre @ b
        found.append([np.mean(np.sign(scores) == fresh), training])
    found = np.array(found)
    at = (signal, d / vocabulary, d / samples, w)
    mixed = convex_limit(*at, rows, penalty, probabilities=chances)
    assert within(found[:, 0], mixed.accuracy, 1.5 / d)
    assert within(found[:, 1], mixed.training_loss, 1.5 / d)
    average = convex_limit(*at, chances @ rows, penalty)
    assert not within(found[:, 0], average.accuracy, 1.5 / d)
    same = convex_limit(*at, np.array([rows[0], rows[0]]), penalty)
    assert same.accuracy == pytest.approx(convex_limit(*at, rows[0], penalty).accuracy, abs=1e-9)


# --- the equations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 8, 64])
def test_quadrature_of_a_sum_of_signs_keeps_its_moments(n):
    patterns = np.array(list(itertools.product((-1, 1), repeat=6)))
    chance, sums = np.prod((1 + patterns * C) / 2, axis=1), patterns @ W
    nodes, share = convex.sum_nodes(W, C, n)
    assert nodes.size <= n
    for k in range(2 * n if n < 64 else 30):
        assert share @ nodes**k == pytest.approx(chance @ sums**k, abs=1e-12)


def test_jacobian_is_the_derivative_of_the_equations():
    nodes = convex.sum_nodes(W, C)
    for loss in LOSSES.values():
        system = convex._Equations(loss, *nodes, *(np.array([v]) for v in (1.3, 0.6, 0.8)), W @ W)
        x, penalty, every = np.array([[-1.0, 0.8, 0.3]]), np.array([0.05]), np.array([0])
        _, jacobian = system.at(x, penalty, every)
        step = 1e-6 * np.eye(3)
        sides = [[system.at(x + sign * e, penalty, every)[0][0] for e in step] for sign in (1, -1)]
        numeric = (np.array(sides[0]) - np.array(sides[1])).T / 2e-6
        # the second equation is divided by a size that moves: its slope counts at a root only
        rows = [0, 2]
        np.testing.assert_allclose(jacobian[0][rows], numeric[rows], rtol=1e-5, atol=1e-7)


def test_more_nodes_change_nothing(monkeypatch):
    at = (1.5, 0.5, 0.8, np.full(60, 1 / 60), np.linspace(1, 0, 60), [1e-4, 0.1])
    found = convex_limit(*at)
    monkeypatch.setattr(convex, "NORMAL_NODES", 640)
    finer = convex_limit(*at)
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(finer, name), rtol=2e-5)


def test_unsolved_equations_are_not_returned(monkeypatch):
    system = convex._Equations
    monkeypatch.setattr(system, "newton", lambda self, x, penalty, i: (x, np.zeros(len(x), dtype=bool)))
    with pytest.raises(RuntimeError, match="not solved"):
        convex_limit(1.0, 0.5, 0.5, W, C, 0.1)


# --- landscape ----------------------------------------------------------------------------------------


def test_gradient_of_the_landscape():
    w = np.random.default_rng(0).dirichlet(np.ones(6))
    for delta, gamma in ((0.4, 0.7), (1.5, 2.0)):
        value, gradient = landscape._loss(w, C, 1.3, delta, gamma, 0.2)
        exact = ridge_losses(np.sqrt(1.3), delta, gamma, *moments(w, C), 0.2, table="balanced")
        assert value == pytest.approx(exact.objective)
        numeric = [
            (
                landscape._loss(w + e, C, 1.3, delta, gamma, 0.2)[0]
                - landscape._loss(w - e, C, 1.3, delta, gamma, 0.2)[0]
            )
            / 2e-6
            for e in 1e-6 * np.eye(6)
        ]
        np.testing.assert_allclose(gradient, numeric, atol=1e-8)


@pytest.mark.parametrize(("ridge", "gamma"), [(0.01, 0.5), (0.5, 0.5), (5.0, 0.5), (0.1, 2.0)])
def test_learned_limit_is_the_least_of_a_grid(ridge, gamma):
    found = learned_limit(1.0, 0.4, gamma, Prefix(12, 4), ridge)
    # mass and concentration inside and outside the prefix
    mass = np.linspace(0, 1, 41)[:, None, None]
    inside, outside = np.linspace(1 / 4, 1, 41)[:, None], np.linspace(1 / 8, 1, 41)
    rest = (1 - mass) ** 2 * outside
    grid = ridge_losses(
        1.0, 0.4, gamma, mass, mass**2 + rest, mass**2 * inside + rest + 1e-12, ridge
    ).objective
    assert found.objective <= grid.min() + 1e-5  # softmax weights reach a corner only in the limit
    assert found.objective >= grid.min() - 1e-3
    assert found.weights.sum() == pytest.approx(1)


def test_a_vanishing_penalty_learns_the_discriminant_weights():
    found = learned_limit(1.5, 0.4, 0.5, UNEQUAL, 1e-6)
    best = discriminant_weights(1.5, 0.4, UNEQUAL)
    np.testing.assert_allclose(found.weights, best, atol=2e-3)
    by_r = optimal(UNEQUAL.matrix)
    error = [ridge_losses(1.5, 0.4, 0.5, *moments(w, UNEQUAL.loadings), 1e-6).error for w in (best, by_r)]
    assert found.error == pytest.approx(error[0], rel=1e-4)
    assert found.error < error[1] - 0.02  # where learned beats optimal-by-R
    np.testing.assert_allclose(
        discriminant_weights(1.5, 0.4, Prefix(5, 2)), optimal(Prefix(5, 2).matrix), atol=1e-12
    )


def test_a_prefix_spreads_inside_its_window_only():
    at = (1.0, 0.33)
    low, high = spread_window(*at, [0.5, 1.2, 2.0], 8)
    assert low[0] == 0
    assert np.isnan([low[2], high[2]]).all()
    for i, gamma in enumerate((0.5, 1.2)):
        ends = ridge_losses(*at, gamma, 1.0, 1.0, [1 / 8, 1.0], high[i]).objective
        assert ends[0] == pytest.approx(ends[1])
        assert learned_limit(*at, gamma, Prefix(20, 8), high[i] * 0.95).kappa == pytest.approx(
            1 / 8, rel=1e-2
        )
        assert learned_limit(*at, gamma, Prefix(20, 8), high[i] * 1.05).kappa == pytest.approx(1, rel=1e-2)
    assert learned_limit(*at, 1.2, Prefix(20, 8), low[1] * 0.9).kappa == pytest.approx(1, rel=1e-2)
    assert learned_limit(*at, 2.0, Prefix(20, 8), 0.2).kappa == pytest.approx(1, rel=1e-2)


def test_between_spread_and_one_position_there_is_no_minimum():
    rng = np.random.default_rng(0)
    ratios, power = (
        np.exp(rng.uniform(np.log(0.05), np.log(5), (2, 500, 1))),
        np.exp(rng.uniform(-3, 2.5, (500, 1))),
    )
    ridge, kappa = np.exp(rng.uniform(-10, 4, (500, 1))), np.geomspace(0.03, 1, 200)
    value = ridge_losses(np.sqrt(power), *ratios, 1.0, 1.0, kappa, ridge, table="balanced").objective
    inner = (value[:, 1:-1] < value[:, :-2] * (1 - 1e-9)) & (value[:, 1:-1] < value[:, 2:] * (1 - 1e-9))
    assert not inner.any()


@pytest.mark.parametrize(
    ("ridge", "gamma", "condenses"), [(0.1, 0.5, False), (6.0, 0.5, True), (0.1, 2.0, True)]
)
def test_learned_weights_end_where_the_limit_says(ridge, gamma, condenses):
    positions, d = Prefix(12, 4), 120
    limit = learned_limit(1.2, 1 / 3, gamma, positions, ridge)
    assert (limit.kappa > 0.9) == condenses
    kappas, objectives = [], []
    for seed in range(4):
        model = PooledSequences(d, 3 * d, round(d / gamma), positions, limit.weights, 1.2)
        table, tokens, labels = draw_labelled(model, seed)
        w = learned(table, tokens, labels, ridge=ridge, rng=seed)
        kappas.append(w @ w)
        objectives.append(
            2 * PooledClassifier(model, ridge, "square").simulate(seed, test_samples=1).objective
        )
    assert abs(np.mean(kappas) - limit.kappa) < 0.06
    # with one position tokens repeat and the limit is approximate
    assert within(objectives, limit.objective, (9 if condenses else 2) / d)


def test_learned_weights_lose_to_optimal_ones_beyond_the_window():
    positions = Prefix(20, 8)
    model = PooledSequences(120, 360, 240, positions, "optimal", 1.0)
    optimal_accuracy = PooledRidge(model, 6.0).simulate(0).accuracy
    trained = PooledRidge(model, 6.0).simulate(0, weights=lambda *a: learned(*a, ridge=6.0)).accuracy
    assert trained < optimal_accuracy - 0.1
    assert learned_limit(1.0, 1 / 3, 0.5, positions, 6.0).accuracy == pytest.approx(trained, abs=0.06)


# --- several classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_two_classes_are_the_ridge_classifier(table):
    at = (200, 600, 300, SingleFactor(np.linspace(0.9, 0, 20)), "mean")
    two = ClassRidge(PooledClasses(*at, np.array([[1.3], [-1.3]]), table=table), 0.05).predict()
    one = PooledRidge(PooledSequences(*at, 1.3, table=table), 0.05).predict()
    np.testing.assert_allclose(4 * two.error, one.error * np.array([[1, -1], [-1, 1]]), rtol=1e-10)
    assert abs(two.accuracy - one.accuracy) < 4 * two.standard_error


def random_classes(index, dimension, **changes):
    """One of the random settings of several, unequal classes."""
    rng = np.random.default_rng([10, index])
    many, length = int(rng.integers(3, 6)), int(rng.integers(15, 40))
    positions = (
        Prefix(length, length // 3),
        SingleFactor(rng.uniform(0, 0.9, length)),
        ClassLoadings(rng.uniform(0.2, 0.8, (length, many))),
    )[index % 3]
    sizes = (int(dimension / r) for r in rng.uniform(0.25, 1.5, 2))
    known = {
        "weights": rng.dirichlet(5 * np.ones(length)),
        "means": rng.standard_normal((many, 3)) * rng.uniform(0.5, 1.2),
        "proportions": rng.dirichlet(8 * np.ones(many)),
    }
    return ClassRidge(PooledClasses(dimension, *sizes, positions, **{**known, **changes}), 0.03)


def test_several_classes_predict_their_simulation():
    # twin: a table whose own class means, of norm² delta/pi_a, are left out
    scores = []
    for index in range(10):
        model = random_classes(index, 150)
        prediction, twin = model.predict(), random_classes(index, 150, table="balanced").predict(points=1000)
        draws = [model.simulate(1000 * index + seed, test_samples=4000) for seed in range(8)]
        assert within([draw.accuracy for draw in draws], prediction.accuracy, 1.5 / 150)
        for name in ("error", "training_error"):
            seen = np.array([getattr(draw, name) for draw in draws])
            value, total = getattr(prediction, name), np.trace(seen, axis1=1, axis2=2)
            assert within(total, np.trace(value), 2 / 150 * np.trace(value))
            assert within(seen[:, 0, 1], value[0, 1], 2 / 150 * value[0, 0])
            scores.append([score(total, np.trace(getattr(found, name))) for found in (prediction, twin)])
    right, wrong = np.mean(np.abs(scores), axis=0)
    assert right < 2.2
    assert wrong > 5


# --- bad input ----------------------------------------------------------------------------------------

LOSS = {"signal": 1.0, "delta": 0.5, "gamma": 0.5, "a": 0.5, "alpha": 0.3, "kappa": 0.2, "ridge": 0.1}
FIT = {"signal": 1.0, "delta": 0.5, "gamma": 0.5, "weights": W, "loadings": C, "regularisation": 0.1}
BEST = {name: FIT[name] for name in ("signal", "delta", "gamma", "weights", "loadings")}
LEARN = {"signal": 1.0, "delta": 0.5, "gamma": 0.5, "positions": Prefix(4, 2), "ridge": 0.1}
MODEL = {"sequences": PooledSequences(10, 20, 30, Prefix(4, 2), "mean", 1.0), "regularisation": 0.1}
KINDS = {"sequences": PooledClasses(10, 30, 30, Prefix(4, 2), "mean", np.eye(3)), "ridge": 0.1}

REFUSED = [
    *[(ridge_losses, LOSS, {name: bad}, name) for name in LOSS if name != "a" for bad in (-1.0, nan, "x")],
    (ridge_losses, LOSS, {"alpha": 0.2}, "alpha"),
    (ridge_losses, LOSS, {"table": "other"}, "table"),
    *[(convex_limit, FIT, {name: -1.0}, name) for name in ("signal", "delta", "gamma", "regularisation")],
    (convex_limit, FIT, {"regularisation": 0.0}, "regularisation"),
    (convex_limit, FIT, {"loadings": C[:3]}, "loadings"),
    (convex_limit, FIT, {"loadings": 2 * C}, "loadings"),
    (convex_limit, FIT, {"weights": 0 * W}, "weights"),
    (convex_limit, FIT, {"loss": "hinge"}, "loss"),
    (convex_limit, FIT, {"loadings": [C, C], "probabilities": [0.5, 0.6]}, "probabilities"),
    (convex_limit, FIT, {"loadings": [C, C], "probabilities": [1.0]}, "probabilities"),
    *[(optimal_ridge, BEST, {name: nan}, name) for name in ("signal", "delta", "gamma")],
    (optimal_ridge, BEST, {"by": "luck"}, "by"),
    (optimal_ridge, BEST, {"loadings": C[:2]}, "loadings"),
    *[(learned_limit, LEARN, {name: -1.0}, name) for name in ("signal", "delta", "gamma", "ridge")],
    (learned_limit, LEARN, {"positions": None}, "positions"),
    (
        spread_window,
        {"signal": 1.0, "delta": 0.5, "gamma": 0.5, "informative": 4},
        {"informative": 1},
        "informative",
    ),
    (PooledClassifier, MODEL, {"regularisation": 0.0}, "regularisation"),
    (PooledClassifier, MODEL, {"regularisation": 1e300}, "regularisation must be .*at most 1e.100"),
    (PooledClassifier, MODEL, {"sequences": 3}, "sequences"),
    (PooledClassifier, MODEL, {"loss": "hinge"}, "loss"),
    (ClassRidge, KINDS, {"ridge": 0.0}, "ridge"),
    (ClassRidge, KINDS, {"sequences": 3}, "sequences"),
]


@pytest.mark.parametrize(("function", "known", "change", "name"), REFUSED)
def test_bad_input_is_refused_by_name(function, known, change, name):
    with pytest.raises(ValueError, match=name):
        function(**{**known, **change})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"signal": -1}, "signal"),
        ({"signal": np.nan}, "signal"),
        ({"delta": -1}, "delta"),
        ({"delta": np.nan}, "delta"),
        ({"positions": None}, "positions"),
        ({"table": "x"}, "table"),
    ],
)
def test_discriminant_weights_refuse_by_name(change, name):
    with pytest.raises(ValueError, match=f"{name} must"):
        discriminant_weights(**{"signal": 1.0, "delta": 0.5, "positions": SingleFactor([1.0, 0.5])} | change)
