"""Several classes and mixed correlations: every spike against simulation, and what must not agree."""

import dataclasses
import pickle
from dataclasses import replace

import numpy as np
import pytest

from resolvent import Correlated, PooledRidge, PooledSequences, Prefix, SingleFactor, spikes
from resolvent.class_positions import ClassLoadings, class_transitions, pooled_classes, sample_classes
from resolvent.fluctuations import FiniteSample, pooled_kurtosis
from resolvent.mixed_positions import MixedRidge, MixedRidgePrediction, MixedRidgeSimulation
from resolvent.models.class_outcomes import ClassPrediction, ClassSimulation
from resolvent.models.classes import PooledClasses, class_means
from resolvent.positions import Mixture

PI = np.array([0.5, 0.3, 0.2])
SPREAD = np.diag(PI) - np.outer(PI, PI)
MEANS = class_means(strengths=[3.0, 0.4], proportions=PI)
RANDOM = np.random.default_rng(3)
LOADINGS = ClassLoadings(RANDOM.uniform(0, 1, (12, 3)) * (np.arange(12) < 8)[:, None])
MIXED = Mixture([Prefix(12, 12), SingleFactor(RANDOM.uniform(0, 0.6, 12)), Prefix(12, 0)], [0.2, 0.5, 0.3])
POSITIONS = {
    "prefix": Prefix(12, 5),
    "single factor": SingleFactor(RANDOM.uniform(-0.25, 1, 12)),
    "mixture": MIXED,
    "loadings": LOADINGS,
    "mixture of loadings": Mixture(
        [Prefix(12, 6), Mixture([Prefix(12, 12), Prefix(12, 2)], [0.5, 0.5])], [0.7, 0.3]
    ),
}
every_positions = pytest.mark.parametrize("positions", list(POSITIONS.values()), ids=list(POSITIONS))
# what a limit may miss at finite size beyond four standard errors, over d: none was needed in 50 settings of 40
# draws (docs/theory/classes.md, section 3)
ALLOWANCE = 2.0


def z(values, predicted):
    """Deviations of means over the first axis in standard errors."""
    values = np.asarray(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return (values.mean(axis=0) - predicted) / np.maximum(error, 1e-12)


def excess(values, predicted):
    """By how much means over the first axis differ beyond four standard errors."""
    values = np.asarray(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.maximum(np.abs(values.mean(axis=0) - predicted) - 4 * error, 0)


# --- positions ----------------------------------------------------------------------------------------


def worst_covariance(positions, w, matrix):
    """Largest deviation of the covariance of pooled indicators from a matrix, in standard errors."""
    _, classes = sample_classes(positions, 40_000, PI, rng=0)
    pooled = np.stack([(classes == a) @ w for a in range(3)], axis=1)
    pooled -= PI * w.sum()
    return np.abs(z(pooled[:, :, None] * pooled[:, None, :], matrix)).max()


@every_positions
def test_pooled_indicators_have_the_stated_covariance(positions):
    w = np.linspace(0.5, 1.5, 12)
    matrix = pooled_classes(positions, w, PI)
    assert worst_covariance(positions, w, matrix) < 4
    assert worst_covariance(positions, w, 1.1 * matrix) > 4
    np.testing.assert_allclose(matrix.sum(axis=0), 0, atol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-12


def test_class_dependent_loadings_are_not_one_correlation_matrix():
    w = np.ones(12)
    matrix = pooled_classes(LOADINGS, w, PI)
    mean = np.trace(matrix) / np.trace(SPREAD) * SPREAD
    assert worst_covariance(LOADINGS, w, mean) > 4


@every_positions
def test_every_position_holds_the_proportions(positions):
    _, classes = sample_classes(positions, 40_000, PI, rng=1)
    for a in range(3):
        assert np.abs(z(classes == a, PI[a])).max() < 4.5
    assert np.abs(z(classes == 0, PI[0] + 0.02)).max() > 4.5


@pytest.mark.parametrize("positions", [Prefix(6, 4), SingleFactor([1.0, 0.5, -0.2, 0.0])])
def test_shared_correlations_two_ways(positions):
    class Plain:  # the same transitions, without R
        length = positions.length

        def transitions(self, proportions):
            return class_transitions(positions, proportions)

    w = np.linspace(1, 2, positions.length)
    expected = positions.pooled_signal(w) * SPREAD
    np.testing.assert_allclose(pooled_classes(positions, w, PI), expected, atol=1e-12)
    np.testing.assert_allclose(pooled_classes(Plain(), w, PI), expected, atol=1e-12)
    same = ClassLoadings(np.repeat(np.abs(positions.loadings)[:, None], 3, axis=1))
    absolute = SingleFactor(np.abs(positions.loadings))
    np.testing.assert_allclose(pooled_classes(same, w, PI), absolute.pooled_signal(w) * SPREAD, atol=1e-12)


def test_two_classes_are_signs():
    half = np.array([0.5, 0.5])
    chances = class_transitions(SingleFactor([0.4, -1.0]), half)
    np.testing.assert_allclose(chances[0], [[0.7, 0.3], [0.3, 0.7]])
    np.testing.assert_allclose(chances[1], [[0, 1], [1, 0]])


def test_a_mixture_is_its_mean_and_samples_it():
    assert MIXED.length == 12
    mean = sum(p * m.matrix for p, m in zip(MIXED.probabilities, MIXED.models))
    np.testing.assert_allclose(MIXED.matrix, mean)
    w = np.linspace(1, 2, 12)
    assert MIXED.pooled_signal(w) == pytest.approx(w @ MIXED.matrix @ w)
    for signs in (MIXED.sample(40_000, rng=0), MIXED.sample_labelled(40_000, rng=1)[1]):
        products = np.einsum("nl,nm->nlm", signs.astype(float), signs)
        off = ~np.eye(12, dtype=bool)
        assert np.abs(z(products, MIXED.matrix)[off]).max() < 4.2
        assert np.abs(z(products, 0.9 * MIXED.matrix + 0.05)[off]).max() > 4.2
    labels, signs = MIXED.sample_labelled(40_000, rng=2)
    loading = sum(p * m.loadings for p, m in zip(MIXED.probabilities, MIXED.models))
    assert np.abs(z(labels[:, None] * signs, loading)).max() < 4
    again = pickle.loads(pickle.dumps(MIXED))
    np.testing.assert_array_equal(again.sample(5, rng=0), MIXED.sample(5, rng=0))
    assert repr(MIXED).startswith("Mixture([SingleFactor(")


def test_optimal_weights_of_a_mixture_are_those_of_its_mean():
    model = PooledSequences(50, 100, 80, MIXED, "optimal", 1.0)
    assert model.predict().snr == pytest.approx(np.linalg.eigvalsh(MIXED.matrix)[-1])


# --- the prediction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["mixture", "balanced"])
@pytest.mark.parametrize("positions", [Prefix(20, 5), SingleFactor(np.linspace(-0.5, 1, 20)), Prefix(20, 0)])
def test_two_classes_are_the_model_of_signs(table, positions):
    w = np.linspace(0.5, 1.5, 20)
    old = PooledSequences(60, 100, 90, positions, w, 1.3, table=table).predict()
    new = PooledClasses(60, 100, 90, positions, w, [[1.3], [-1.3]], table=table).predict()
    for name in ("alpha", "kappa", "snr", "edge", "threshold", "top_eigenvalue", "second_eigenvalue"):
        assert getattr(new, name) == pytest.approx(getattr(old, name)), name
    for name in ("q", "outlier", "overlap", "population_overlap", "sample_overlap", "direction_factor"):
        assert getattr(new, name) == pytest.approx([getattr(old, name)], nan_ok=True), name
    assert new.critical_strength == pytest.approx(old.critical_signal**2)


@pytest.mark.parametrize("table", ["mixture", "balanced"])
def test_shared_spikes_are_those_of_the_strengths(table):
    model = PooledClasses(300, 600, 900, Prefix(40, 10), "mean", MEANS, PI, table=table)
    p = model.predict()
    np.testing.assert_allclose(p.strength, [3.0, 0.4])
    np.testing.assert_allclose(p.q, spikes.net_spike(np.sqrt(p.strength), p.snr, model.delta, table))
    np.testing.assert_allclose(
        p.direction_factor, spikes.direction_factor(np.sqrt(p.strength), model.delta, table)
    )
    np.testing.assert_allclose(p.overlap, p.population_overlap * p.sample_overlap * p.direction_factor)
    own = p.snr * model.delta if table == "mixture" else 0.0
    np.testing.assert_allclose(p.noise_part, own, atol=1e-12)
    np.testing.assert_allclose(np.abs(p.directions), np.eye(2), atol=1e-8)


def test_noise_of_the_class_means_is_isotropic_whatever_the_proportions():
    # the between-class covariance of pure noise has K − 1 equal eigenvalues d/V
    counts, d = np.array([50, 200, 750]), 4000
    rng = np.random.default_rng(0)
    means = rng.standard_normal((3, d)) / np.sqrt(counts)[:, None]
    pi = counts / counts.sum()
    centred = np.sqrt(pi)[:, None] * (means - pi @ means)
    values = np.linalg.eigvalsh(centred @ centred.T)[1:]
    np.testing.assert_allclose(values, d / 1000, rtol=0.1)
    unweighted = means - means.mean(axis=0)
    assert np.ptp(np.linalg.eigvalsh(unweighted @ unweighted.T)[1:]) > 10  # equal weights: not so


def test_a_curve_is_its_points():
    scales = np.array([0.0, 0.2, 0.7, 2.0])
    curve = PooledClasses(60, 90, 80, LOADINGS, "mean", scales[:, None, None] * MEANS, PI).predict()
    for i, scale in enumerate(scales):
        point = PooledClasses(60, 90, 80, LOADINGS, "mean", scale * MEANS, PI).predict()
        for name in ("q", "outlier", "leading", "overlap", "group", "mixing", "subspace_overlap", "spurious"):
            np.testing.assert_allclose(
                getattr(curve, name)[i], getattr(point, name), err_msg=name, atol=1e-10
            )


def test_counts_are_rounded_by_largest_remainders():
    model = PooledClasses(20, 10, 30, Prefix(4, 2), "mean", np.eye(3), [0.55, 0.25, 0.2])
    assert model.counts.tolist() == [6, 2, 2]  # 5.5, 2.5, 2: the first of equal remainders
    np.testing.assert_allclose(model.pi, [0.6, 0.2, 0.2])
    exact = PooledClasses(20, 30, 30, Prefix(4, 2), "mean", np.eye(3))
    assert exact.counts.tolist() == [10, 10, 10]


def test_means_of_a_gram_matrix():
    gram = MEANS @ MEANS.T
    given = PooledClasses(60, 90, 80, Prefix(20, 8), "mean", class_means(gram=gram), PI).predict()
    np.testing.assert_allclose(
        given.q, PooledClasses(60, 90, 80, Prefix(20, 8), "mean", MEANS, PI).predict().q
    )
    shifted = PooledClasses(60, 90, 80, Prefix(20, 8), "mean", np.add(MEANS, [3.0, -2.0]), PI).predict()
    np.testing.assert_allclose(given.q, shifted.q)  # data are centred


# --- simulation ---------------------------------------------------------------------------------------


def random_model(index, d=240):
    """A model drawn at random (the draw is fixed), away from the transition and from short sequences."""
    rng = np.random.default_rng([88, index])
    while True:
        many = int(rng.integers(2, 7))
        pi = rng.dirichlet(np.full(many, 4.0))
        if pi.min() < 0.04:
            continue
        length = int(rng.integers(20, 61))
        vocabulary, samples = int(d / rng.uniform(0.3, 1.5)), int(d / rng.uniform(0.3, 1.5))
        prefixes = rng.integers(4, length // 2, size=2)
        positions = (
            lambda n, pi, r: Prefix(n, int(r[0])),
            lambda n, pi, r: SingleFactor(rng.uniform(-pi.min() / 2, 1, n)),
            lambda n, pi, r: Mixture(
                [Prefix(n, int(r[1])), SingleFactor(rng.uniform(0, 0.6, n)), Prefix(n, 0)],
                rng.dirichlet(np.full(3, 3.0)),
            ),
            lambda n, pi, r: ClassLoadings(
                rng.uniform(0, 1, (n, pi.size)) * (rng.uniform(0, 1, (n, 1)) < 0.5)
            ),
        )[index % 4](length, pi, prefixes)
        weights = ("mean", rng.uniform(0.5, 1.5, length))[rng.integers(2)]
        table = ("mixture", "balanced")[int(rng.random() < 0.3)]
        strengths = rng.uniform(0.1, 4, many - 1) * (rng.random(many - 1) < 0.8)
        means = class_means(strengths=strengths, proportions=pi)
        model = PooledClasses(d, vocabulary, samples, positions, weights, means, pi, table)
        ratio = model.predict().q / model.predict().threshold
        if ratio[0] > 1.5 and not ((ratio > 0.6) & (ratio < 1.5)).any():
            return model


def grouped(values, prediction):
    """Means over each group of outliers, last axis."""
    shown = np.isfinite(prediction.outlier)
    groups = [(prediction.group == g) & shown for g in np.unique(prediction.group[shown])]
    return np.stack([np.asarray(values)[..., own].mean(axis=-1) for own in groups], axis=-1)


def within(model, prediction, draws):
    """Whether (outliers, overlaps) of every group agree with a prediction."""
    count = prediction.q.size
    leading = np.array([draw.leading[:count] for draw in draws]) / prediction.leading[:count]
    overlap = np.array([draw.subspace_overlap for draw in draws])
    target = grouped(prediction.overlap * (1 - prediction.mixing), prediction)
    allowed = ALLOWANCE / model.dimension
    return (
        bool((excess(grouped(leading, prediction), 1.0) <= allowed).all()),
        bool((excess(grouped(overlap, prediction), target) <= allowed).all()),
    )


@pytest.mark.parametrize("index", range(12))
def test_random_settings_follow_the_theory(index):
    model = random_model(index)
    draws = [model.simulate(seed) for seed in range(16)]
    assert within(model, model.predict(), draws) == (True, True)


def test_random_settings_cover_the_model():
    models = [random_model(index) for index in range(12)]
    predictions = [model.predict() for model in models]
    assert {model.table for model in models} == {"mixture", "balanced"}
    assert {type(model.positions) for model in models} == {SingleFactor, Mixture, ClassLoadings}
    assert {model.counts.size for model in models} >= {2, 3, 4, 5, 6}
    assert any(p.spurious.any() for p in predictions)
    assert any((np.diff(p.group) == 0).any() for p in predictions)


class Wrong:
    """Predictions that neglect something."""

    @staticmethod
    def own_means(model):
        return replace(model, table="balanced").predict()

    @staticmethod
    def proportions(model):
        return replace(model, proportions=None).predict()

    @staticmethod
    def class_dependence(model):
        shared = replace(model, positions=Prefix(model.positions.length, 0))
        shared.__dict__["pooled"] = model.predict().alpha * (np.diag(model.pi) - np.outer(model.pi, model.pi))
        return shared.predict()


def test_neglecting_something_does_not_agree():
    model = PooledClasses(240, 360, 480, Prefix(30, 12), "mean", 0.5 * MEANS, PI)
    draws = [model.simulate(seed) for seed in range(16)]
    assert within(model, model.predict(), draws) == (True, True)
    assert within(model, Wrong.own_means(model), draws) == (False, False)
    rare = replace(model, means=2.5 * np.eye(3), proportions=[0.85, 0.1, 0.05])
    draws = [rare.simulate(seed) for seed in range(16)]
    assert within(rare, rare.predict(), draws) == (True, True)
    assert within(rare, Wrong.proportions(rare), draws) == (False, False)
    loadings = ClassLoadings(np.arange(30)[:, None] < [20, 12, 0])
    uneven = replace(model, positions=loadings)
    draws = [uneven.simulate(seed) for seed in range(16)]
    assert within(uneven, uneven.predict(), draws) == (True, True)
    assert within(uneven, Wrong.class_dependence(uneven), draws)[0] is False


def test_close_spikes_share_their_plane_only():
    model = PooledClasses(240, 480, 480, Prefix(40, 20), "mean", class_means(strengths=[1.05, 0.95]))
    prediction = model.predict()
    assert prediction.group.tolist() == [0, 0]
    draws = [model.simulate(seed) for seed in range(24)]
    plane = [draw.subspace_overlap[0] for draw in draws]
    assert excess(plane, prediction.subspace_overlap[0]) <= ALLOWANCE / 240
    own = [draw.overlap[0] for draw in draws]
    assert z(own, prediction.overlap[0]) < -4


def test_mixing_of_separate_spikes_is_the_predicted_share():
    model = PooledClasses(160, 320, 320, Prefix(40, 20), "mean", class_means(strengths=[1.6, 1 / 1.6]))
    prediction = model.predict()
    assert prediction.group.tolist() == [0, 1]
    draws = [model.simulate(seed, top=3) for seed in range(150)]
    crossed = np.array([draw.overlaps[0, 1] / draw.overlaps[0].sum() for draw in draws])
    assert crossed.mean() == pytest.approx(prediction.mixing[0], rel=0.4)
    assert crossed.mean() != pytest.approx(2 * prediction.mixing[0], rel=0.4)


def test_class_means_of_a_table_make_outliers_without_signal():
    model = PooledClasses(240, 480, 480, Prefix(30, 20), "mean", np.zeros((4, 1)), [0.4, 0.3, 0.2, 0.1])
    prediction = model.predict()
    assert prediction.spurious.all()
    assert not prediction.overlap.any()
    np.testing.assert_allclose(prediction.q, (prediction.snr - 1) * model.delta)
    draws = [model.simulate(seed) for seed in range(16)]
    leading = np.array([draw.leading[:3].mean() for draw in draws])
    assert excess(leading, prediction.outlier[0]) <= ALLOWANCE / 240 * prediction.outlier[0]
    assert min(draw.leading[2] for draw in draws) > 1.05 * prediction.edge
    assert max(draw.leading[3] for draw in draws) < 1.05 * prediction.edge
    quiet = replace(model, positions=Prefix(30, 0)).predict()
    assert not quiet.spurious.any()


def distance(model, draw, outliers):
    """Kolmogorov-Smirnov distance of a draw's bulk to the law."""
    bulk = draw.eigenvalues[outliers:]
    return np.abs(model.predict().bulk.cdf(bulk) - np.arange(bulk.size, 0, -1) / bulk.size).max()


def test_the_bulk_knows_nothing_of_the_classes_while_tokens_stay_equally_frequent():
    # every sequence stays in its own class: their noise covariances differ as much as they can
    model = PooledClasses(300, 300, 450, Prefix(40, 40), "mean", MEANS, PI)
    assert np.mean([distance(model, model.simulate(seed), 2) for seed in range(4)]) < 0.02
    # tokens of one class three times as frequent: another law
    rare = PooledClasses(300, 300, 450, Prefix(40, 0), "mean", 0 * MEANS, PI)
    rng = np.random.default_rng(0)
    far = []
    for _ in range(4):
        frequency = np.where(np.arange(300) < 150, 1.5, 0.5) / 300
        x = rng.multinomial(40, frequency, size=450) / 40 @ rng.standard_normal((300, 300))
        x -= x.mean(axis=0)
        far.append(np.linalg.eigvalsh(x.T @ x / 450)[::-1])
    parts = [np.abs(rare.predict().bulk.cdf(v) - np.arange(v.size, 0, -1) / v.size).max() for v in far]
    assert np.mean(parts) > 0.03


def test_simulations_are_reproducible_and_come_by_two_routes():
    model = PooledClasses(60, 90, 80, Prefix(20, 8), "mean", MEANS, PI)
    first, again = model.simulate(3), pickle.loads(pickle.dumps(model)).simulate(3)
    np.testing.assert_array_equal(first.eigenvalues, again.eigenvalues)
    assert first.seed == 3
    assert model.simulate(4).top_eigenvalue != first.top_eigenvalue
    leading = model.simulate(3, top=5)
    np.testing.assert_allclose(leading.eigenvalues, first.eigenvalues[:5], rtol=1e-8)
    np.testing.assert_allclose(leading.overlaps, first.overlaps, atol=1e-7)
    np.testing.assert_allclose(first.overlap, np.diag(first.overlaps))
    double = replace(model, weights=2 * model.pooling_weights)
    np.testing.assert_allclose(double.simulate(3).eigenvalues, 4 * first.eigenvalues, rtol=1e-10)


def test_fewer_samples_than_classes():
    draw = PooledClasses(10, 20, 2, Prefix(4, 2), "mean", np.eye(4)).simulate(0)
    assert draw.leading.shape == (4,)
    assert draw.overlap.shape == (3,)


def test_names_are_shared():
    shared = {f.name for f in dataclasses.fields(ClassPrediction)} & {
        f.name for f in dataclasses.fields(ClassSimulation)
    }
    assert shared == {"leading", "top_eigenvalue", "second_eigenvalue", "overlap", "subspace_overlap"}
    shared = {f.name for f in dataclasses.fields(MixedRidgePrediction)} & {
        f.name for f in dataclasses.fields(MixedRidgeSimulation)
    }
    assert shared == {"accuracy", "error", "accuracies", "training_error"}


# --- correlations drawn for each sequence ---------------------------------------------------------------

SOME = Mixture([Prefix(40, 40), Prefix(40, 0)], [0.15, 0.85])
ALL = SingleFactor(np.full(40, np.sqrt(0.15)))


def test_the_spectrum_knows_the_mean_of_R_and_its_spread_knows_more():
    np.testing.assert_allclose(SOME.matrix, ALL.matrix)
    some, other = (PooledSequences(160, 480, 160, positions, "mean", 1.2) for positions in (SOME, ALL))
    prediction, w = some.predict(), some.pooling_weights
    assert prediction.overlap == pytest.approx(other.predict().overlap)
    parts = zip(SOME.probabilities, SOME.models)
    fourth = sum(p * pooled_kurtosis(m, w) * m.pooled_signal(w) ** 2 for p, m in parts)
    kurtosis = {id(some): fourth / prediction.alpha**2, id(other): pooled_kurtosis(ALL, w)}
    assert pooled_kurtosis(SOME, w) == pytest.approx(kurtosis[id(some)], rel=0.05)
    found, theory = {}, {}
    for model in (some, other):
        draws = [model.simulate(seed, top=2) for seed in range(120)]
        top = np.array([draw.top_eigenvalue for draw in draws])
        sample = FiniteSample(160, 480, 160, prediction.alpha, prediction.kappa, kurtosis[id(model)], 1.2)
        found[id(model)], theory[id(model)] = top.std(ddof=1), sample.outlier_error
        assert excess(top / prediction.outlier, 1.0) <= ALLOWANCE / 160
        overlap = np.array([draw.overlap for draw in draws])
        assert excess(overlap, prediction.overlap) <= ALLOWANCE / 160
        none = replace(model, positions=Prefix(40, 12)).predict()  # another mean R
        assert excess(top / none.outlier, 1.0) > ALLOWANCE / 160
    for model, wrong in ((some, other), (other, some)):  # a standard deviation of 120 draws is known to 6.5 %
        assert found[id(model)] == pytest.approx(theory[id(model)], rel=0.26)
        assert found[id(model)] != pytest.approx(theory[id(wrong)], rel=0.26)


def ridge_model(index, d=240):
    """A ridge classifier on a mixture, drawn at random (the draw is fixed)."""
    rng = np.random.default_rng([5, index])
    length = int(rng.integers(20, 50))
    parts = [
        Prefix(length, int(rng.integers(length // 2, length))),
        SingleFactor(rng.uniform(-0.3, 0.9, length)),
        Prefix(length, int(rng.integers(0, 4))),
    ]
    weights = ("mean", "causal", "optimal", rng.uniform(0.5, 1.5, length))[index % 4]
    vocabulary, samples = 2 * int(d / rng.uniform(0.3, 1.5) / 2), int(d / rng.uniform(0.3, 1.5))
    positions = Mixture(parts, rng.dirichlet(np.full(3, 2.0)))
    table = ("mixture", "balanced")[index % 3 == 2]
    signal = rng.uniform(0.4, 2.0)
    model = PooledSequences(d, vocabulary, samples, positions, weights, signal, table=table)
    return MixedRidge(model, 10 ** rng.uniform(-3, 0))


def mean_loadings(model):
    """The twin: one label model of the same mean loadings."""
    loadings = sum(share * part.loadings for share, part in model.parts)
    return PooledRidge(replace(model.sequences, positions=SingleFactor(loadings)), model.ridge).predict()


def test_ridge_on_mixtures_follows_the_theory_and_not_its_twin():
    failed = 0
    for index in range(10):
        model = ridge_model(index)
        prediction, twin = model.predict(), mean_loadings(model)
        draws = [model.simulate(seed, test_samples=4000) for seed in range(8)]
        for name in ("accuracy", "error", "training_error", "accuracies"):
            values = np.array([getattr(draw, name) for draw in draws])
            assert (excess(values, getattr(prediction, name)) <= 3 / 240).all(), (index, name)
        accuracy = np.array([draw.accuracy for draw in draws])
        failed += bool(excess(accuracy, twin.accuracy) > 3 / 240)
        assert prediction.accuracy == pytest.approx(
            sum(share * a for (share, _), a in zip(model.parts, prediction.accuracies))
        )
    assert failed >= 8


def test_one_part_is_ridge_as_ever():
    plain = PooledSequences(60, 100, 90, Prefix(20, 5), "causal", np.array([0.5, 1.0, 2.0]))
    one = replace(plain, positions=Mixture([Mixture([Prefix(20, 5)], [1.0]), Prefix(20, 5)], [0.3, 0.7]))
    mixed, expected = MixedRidge(one, 0.1).predict(), PooledRidge(plain, 0.1).predict()
    np.testing.assert_allclose(mixed.accuracy, expected.accuracy)
    np.testing.assert_allclose(mixed.error, expected.error)
    assert mixed.accuracies.shape == (2, 3)


# --- bad input ----------------------------------------------------------------------------------------

GOOD = PooledClasses(20, 30, 40, Prefix(6, 3), "mean", np.eye(3), PI)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proportions": [0.5, 0.3, 0.3]}, "proportions must sum to one"),
        ({"proportions": [0.5, 0.5, 0.0]}, "proportions must be positive"),
        ({"proportions": [0.5, 0.5]}, "proportions must be one a class"),
        ({"proportions": [0.98, 0.01, 0.01]}, "every class a token"),
        ({"vocabulary": 2}, "no more classes than tokens"),
        ({"dimension": 2}, "means must fit into dimension 2"),
        ({"means": np.ones(3)}, "means must have shape"),
        ({"means": np.ones((1, 3))}, "at least two classes"),
        ({"means": [[np.nan], [0.0], [0.0]]}, "means must be finite"),
        ({"vocabulary": 2.5}, "vocabulary must be a whole number"),
        ({"table": "other"}, "table must be one of"),
        ({"weights": [1.0]}, "weights must have shape"),
        ({"positions": 3}, "positions must be a position model"),
        ({"positions": ClassLoadings(np.ones((4, 2)))}, "one column a class"),
        (
            {"positions": ClassLoadings(np.ones((4, 3))), "weights": "optimal"},
            "weights must not be 'optimal'",
        ),
        ({"positions": SingleFactor([1.0, -0.5])}, "loadings must be >= -0.25"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GOOD, **change)


def test_refused_elsewhere():
    class Skewed:
        length = 1

        def transitions(self, proportions):
            return np.full((1, 3, 3), 1 / 3)

    with pytest.raises(ValueError, match="equally frequent"):
        replace(GOOD, positions=Skewed())
    chain = Correlated(0.5 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6))))
    assert replace(GOOD, positions=chain).predict().snr > 1
    with pytest.raises(ValueError, match="positions must have a latent class"):
        replace(GOOD, positions=chain).simulate(0)
    with pytest.raises(ValueError, match="means must have shape"):
        replace(GOOD, means=np.ones((2, 3, 1))).simulate(0)
    with pytest.raises(ValueError, match="top must be below"):
        GOOD.simulate(0, top=20)
    with pytest.raises(ValueError, match="seed"):
        GOOD.simulate(-1)
    for loadings in ([0.5], [[1.5]], [[np.nan]]):
        with pytest.raises(ValueError, match="loadings must be"):
            ClassLoadings(loadings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "models must be several"),
        (([3], [1.0]), "models must be position models"),
        (([Prefix(3, 1), Prefix(4, 1)], [0.5, 0.5]), "one length"),
        (([Prefix(3, 1)], [0.5]), "probabilities must sum to one"),
        (([Prefix(3, 1), Prefix(3, 2)], [1.5, -0.5]), "probabilities must be positive"),
        (([Prefix(3, 1)], [0.5, 0.5]), "one a model"),
        (([Prefix(3, 1)], [[1.0]]), "non-empty vector"),
    ],
)
def test_mixtures_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)


def test_ridge_refused():
    plain = PooledSequences(20, 30, 40, Prefix(6, 3), "mean", 1.0)
    unlabelled = Mixture([Correlated(np.eye(6))], [1.0])
    with pytest.raises(ValueError, match="must be a PooledSequences"):
        MixedRidge(3, 0.1)
    with pytest.raises(ValueError, match="must be a Mixture"):
        MixedRidge(plain, 0.1)
    with pytest.raises(ValueError, match="must mix models with a label"):
        MixedRidge(replace(plain, positions=unlabelled), 0.1)
    with pytest.raises(ValueError, match="must have a label"):
        unlabelled.sample_labelled(3)
    mixed = replace(plain, positions=Mixture([Prefix(6, 3)], [1.0]))
    with pytest.raises(ValueError, match="centred"):
        MixedRidge(replace(mixed, centred=False), 0.1)
    with pytest.raises(ValueError, match="ridge"):
        MixedRidge(mixed, 0.0)
    with pytest.raises(ValueError, match="signal"):
        MixedRidge(replace(mixed, signal=[1.0, 2.0]), 0.1).simulate(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of"),
        ({"strengths": [1.0], "gram": np.eye(2)}, "give one of"),
        ({"strengths": [-1.0]}, "strengths must be finite and >= 0"),
        ({"strengths": [1.0], "proportions": [0.2, 0.3, 0.5]}, "one fewer"),
        ({"gram": [[1.0, 2.0], [2.0, 1.0]]}, "positive semi-definite"),
        ({"gram": [[1.0, 2.0], [0.0, 1.0]]}, "symmetric"),
        ({"gram": [1.0]}, "square"),
    ],
)
def test_class_means_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        class_means(**arguments)


def test_refused_gram_matrices_show_what_is_wrong():
    for gram, message in (
        ([[1.0, np.nan], [np.nan, 1.0]], "gram must be finite, got .*nan"),
        ([[1.0, 0.5], [0.0, 1.0]], "gram must be symmetric, got entries that differ by 0.5"),
        ([[1.0]], "gram must be a square matrix of two classes or more"),
    ):
        with pytest.raises(ValueError, match=message):
            class_means(gram=gram)
    with pytest.raises(ValueError, match=r"strengths must be .*got none"):
        class_means(strengths=[])
