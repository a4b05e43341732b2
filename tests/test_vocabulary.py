"""Token frequencies, correlated noise, both together; heavy tokens; a real table under its predicted law."""

import pickle

import numpy as np
import pytest

from resolvent import PooledSequences, Prefix, corpora, datasets
from resolvent.laws import GeneralisedMarchenkoPastur, MarchenkoPasturProduct, SeparableLaw
from resolvent.laws.compression import compress
from resolvent.laws.poles import Poles
from resolvent.laws.separable_map import SeparableMap
from resolvent.models.vocabulary import PooledVocabulary
from resolvent.nulls import permute_tokens, token_noise
from resolvent.pooling import pool
from resolvent.vocabulary import VocabularySpikes, class_frequencies, counts_law, token_covariance, zipf

ALLOWANCE = 9.0  # c of c/d, as for the model of equal tokens: docs/theory/pooled.md, section 7


def two_levels(d, loud=2.2, quiet=0.6):
    return np.repeat([loud, quiet], [d // 4, d - d // 4])


def random_setting(index, d):
    """Sizes, frequencies (Zipf or log-normal), noise (two levels, log-normal, power law), signal, direction."""
    rng = np.random.default_rng([8, index])
    vocabulary, samples = 2 * int(d * rng.uniform(1, 3)), int(d * rng.uniform(1, 4))
    length = int(rng.integers(50, 120))
    positions = Prefix(length, int(rng.integers(0, length // 3)))
    exponent, kind = rng.uniform(0, 0.7), rng.integers(3)
    if kind == 0:
        noise = two_levels(d, rng.uniform(1.5, 3), rng.uniform(0.3, 0.9))
    elif kind == 1:
        noise = np.exp(rng.uniform(0.3, 0.8) * rng.standard_normal(d))
    else:
        noise = np.arange(1, d + 1.0) ** -rng.uniform(0.1, 0.4)
    noise = np.sort(noise / noise.mean())[::-1]
    frequencies = ("zipf", exponent) if index % 2 else np.exp(exponent * rng.standard_normal(vocabulary))
    direction = rng.standard_normal(d) * noise ** rng.uniform(-3, 3)
    signal = rng.uniform(0.5, 2.5)
    return PooledVocabulary(d, vocabulary, samples, positions, "mean", signal, frequencies, noise, direction)


def draws(model, seeds):
    found = [model.simulate(seed) for seed in range(seeds)]
    return {name: np.array([getattr(draw, name) for draw in found]) for name in ("outlier", "overlap")}


def misses(prediction, model, drawn):
    """How far theory lies outside four standard errors plus c/d: positive where it fails."""
    out = []
    for name in ("outlier", "overlap"):
        target = getattr(prediction, name)
        if not np.isfinite(target):
            continue
        unit = target if name == "outlier" else 1.0
        error = drawn[name].std(ddof=1) / np.sqrt(drawn[name].size)
        out.append(abs(drawn[name].mean() - target) / unit - 4 * error / unit - ALLOWANCE / model.dimension)
    return max(out)


# the law


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("gamma", [0.2, 1.0, 3.0])
def test_equal_tokens_and_noise_are_the_product_of_two_factors(delta, gamma):
    law, product = SeparableLaw(delta, gamma, [1.0], scale=0.7), MarchenkoPasturProduct((delta, gamma), 0.7)
    assert np.allclose(law.support, product.support, rtol=1e-12, atol=1e-15)
    assert law.atom == pytest.approx(product.atom)
    x = np.linspace(product.support[0][0], product.support[0][1], 203)[1:-1]
    assert np.allclose(law.pdf(x), product.pdf(x), rtol=1e-9)
    assert np.allclose(law.cdf(x), product.cdf(x), atol=1e-12)
    assert np.allclose([law.moment(k) for k in range(7)], [product.moment(k) for k in range(7)], rtol=1e-12)
    z = np.array([-1.0, -0.01, 2 * x[-1], 1 + 1j, 1 - 0.1j, 0.5 * product.support[0][0] + 1e-3])
    assert np.allclose(law.stieltjes(z), product.stieltjes(z), rtol=1e-9)
    ours, theirs = law.inverse_map, product.inverse_map
    assert ours.edge_scale() == pytest.approx(theirs.edge_scale(), rel=1e-9)
    assert np.allclose(ours.critical_spikes()[0], theirs.critical_spikes()[0])
    q = np.array([2.0, 5.0]) * ours.critical_spikes()[0]
    assert np.allclose(ours.at_spike(q), theirs.at_spike(q))
    assert np.allclose(ours.slope(q), theirs.slope(q))


def test_frequencies_alone_are_a_population_of_tokens():
    # (1/V) Zᵀ diag(t) Z and D^(1/2) Z Zᵀ D^(1/2) / V share their eigenvalues but zeros
    frequencies, delta = np.array([0.5, 1.0, 2.0, 4.0]), 0.4
    law = SeparableLaw(delta, 0.0, frequencies)
    tokens = GeneralisedMarchenkoPastur(1 / delta, frequencies)
    ends = np.array(tokens.support) * delta
    assert np.allclose(law.support[0], [ends[0, 0], ends[-1, 1]])
    x = np.linspace(ends[0, 0], ends[-1, 1], 103)[1:-1]
    assert np.allclose(law.pdf(x), tokens.pdf(x / delta) / delta**2, rtol=1e-8)


def test_noise_alone_is_a_population_with_gaps():
    noise = np.repeat([1.0, 8.0], [30, 10])
    law = SeparableLaw(0.05, 0.0, [1.0], noise)
    other = GeneralisedMarchenkoPastur(0.05, noise)
    assert len(other.support) == 2
    assert np.allclose(law.support[0], [other.support[0][0], other.support[1][1]])
    x = np.linspace(0.3, 12, 400)
    assert np.allclose(law.pdf(x), other.pdf(x), atol=1e-8)
    assert np.allclose(law.cdf(x), other.cdf(x), atol=1e-9)
    assert np.allclose(law.ppf([0.2, 0.9]), other.ppf([0.2, 0.9]), rtol=1e-6)


def test_three_causes_together_match_a_matrix_and_their_absence_does_not():
    d, vocabulary, samples = 300, 500, 700
    rng = np.random.default_rng(3)
    t, noise = np.exp(0.8 * rng.standard_normal(vocabulary)), two_levels(d, 3.0, 0.4)
    table = rng.standard_normal((vocabulary, d)) * np.sqrt(noise) * np.sqrt(t / vocabulary)[:, None]
    sample = rng.standard_normal((samples, vocabulary)) @ table / np.sqrt(samples)
    values = np.linalg.eigvalsh(sample.T @ sample)
    ranks = np.arange(1, d + 1) / d

    def distance(law):
        return np.abs(law.cdf(values) - ranks).max()

    delta, gamma = d / vocabulary, d / samples
    assert distance(SeparableLaw(delta, gamma, t, noise)) < 0.012
    for wrong in (
        SeparableLaw(delta, gamma, [t.mean()], noise),
        SeparableLaw(delta, gamma, t, [noise.mean()]),
        SeparableLaw(delta, 0.0, t, noise),
    ):
        assert distance(wrong) > 0.04


def test_the_law_holds_together():
    rng = np.random.default_rng(0)
    law = SeparableLaw(0.6, 0.4, rng.gamma(2.0, 0.5, 200), rng.gamma(3.0, 0.5, 150), scale=0.3)
    left, right = law.support[0]
    angle = np.linspace(0, np.pi, 4001)
    x = left + (right - left) * np.sin(angle / 2) ** 2
    weight = law.pdf(x) * (right - left) / 2 * np.sin(angle)
    assert np.trapezoid(weight, angle) == pytest.approx(1, abs=1e-6)
    for k in (1, 2, 3):
        assert np.trapezoid(weight * x**k, angle) == pytest.approx(law.moment(k), rel=1e-5)
    middle = x[400:3600]
    slope = (law.cdf(middle + 1e-5) - law.cdf(middle - 1e-5)) / 2e-5
    assert np.allclose(slope, law.pdf(middle), rtol=1e-5)
    z = np.array([0.2 + 0.05j, right + 1.0, -0.5])
    density = law.pdf(x)[:, None] / (x[:, None] - z)
    transform = np.trapezoid(density * ((right - left) / 2 * np.sin(angle))[:, None], angle, axis=0)
    assert np.allclose(law.stieltjes(z), transform, rtol=1e-4)
    assert law.cdf(left) == pytest.approx(0, abs=1e-9)
    assert law.sf(right) == pytest.approx(0, abs=1e-9)


def test_a_zero_frequency_or_variance_is_a_rank_less():
    law = SeparableLaw(0.5, 0.3, [0.0, 2.0], [0.0, 1.0, 3.0])
    assert law.atom == pytest.approx(1 / 3)
    assert law.cdf(law.support[0][0]) == pytest.approx(1 / 3)
    same = SeparableLaw(0.5, 0.3, [2.0], [1.0, 3.0], [0.5], [1 / 3, 1 / 3])
    assert np.allclose(law.support, same.support)
    assert SeparableLaw(2.0, 0.3, [0.0, 2.0]).atom == pytest.approx(0.75)


@pytest.mark.parametrize("exponent", [0.3, 1.0])
def test_atoms_that_are_merged_leave_no_trace(exponent):
    size, d = 20_000, 400
    t = np.arange(1.0, size + 1) ** -exponent
    t = np.sort(t / t.mean())
    few, _ = compress(t, np.full(size, 1 / size), size / d)
    assert few.size < 400
    assert np.array_equal(few[-5:], t[-5:])  # heavy tokens as they are
    law = SeparableLaw(d / size, 0.5, t[: size - 60], frequency_weights=np.full(size - 60, 1 / size))
    x = np.linspace(*law.support[0], 42)[1:-1]
    xi, eta, _ = law.inverse_map._bulk(x)
    light = t[: size - 60]
    p = np.array([(light / (point - light)).sum() for point in xi]) / d
    assert np.allclose(p * (eta - 1), 1, atol=1e-11)
    assert np.allclose(law.inverse_map.value(p, xi, eta), x, rtol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("gamma", [0.0, 0.4])
def test_gaps_between_heavy_tokens_hold_no_mass_and_end_at_edges(gamma, scale):
    t = np.arange(1, 20_001) ** -1.0
    t /= t.mean()
    law = SeparableLaw(0.3, gamma, t, [2.0], None, [0.7], scale)
    xi, ends = law.inverse_map._isotropic.ends
    assert len(ends) > 12  # spacing t/k of token k against the reach π t/sqrt(0.3·0.7·V) of its neighbours
    assert (np.diff(ends.ravel()) > 0).all()
    inside = ends[:, :1] + np.diff(ends, axis=1) * [1e-6, 0.1, 0.5, 0.9, 1 - 1e-6]
    assert (law.pdf(inside) == 0).all()
    assert (law.pdf(np.stack([ends[:, 0] * (1 - 1e-8), ends[:, 1] * (1 + 1e-8)])) > 0).all()
    # a whole number of tokens lies above each gap
    tokens = np.sum(t > xi[:, :1], axis=1)
    above = 0.3 * t.size * law.sf(inside)
    np.testing.assert_allclose(above, np.broadcast_to(tokens[:, None], above.shape), rtol=0, atol=1e-7)
    # the equations of section 2 over all tokens, and the root that is followed down from above the axis
    x = np.concatenate([inside[:, 1:4].ravel(), (ends[:-1, 1] + ends[1:, 0]) / 2])
    p = law.inverse_map.physical(x)
    root = x / (scale * 0.3 * 2.0 * (p + 0.7) * (1 + gamma * p))
    np.testing.assert_allclose((t / (root[:, None] - t)).mean(axis=1) / 0.3, p, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(law.inverse_map.physical(x * (1 + 1e-9j)), p, rtol=0, atol=1e-6)


def test_gaps_are_found_where_they_are_and_only_there():
    def found(*arguments, **weights):
        return len(SeparableLaw(0.5, 0.2, *arguments, **weights).inverse_map._isotropic.ends[0])

    assert found(np.ones(3)) == 0
    assert found([1.0, 1.5], frequency_weights=[0.9, 0.1]) == 0
    assert found([1.0, 100.0], frequency_weights=[0.9, 0.1]) == 1
    assert SeparableLaw(0.5, 0.2, [1.0, 100.0], [1.0, 2.0]).inverse_map._isotropic is None


def test_refused_laws():
    for arguments, message in (
        ((0.0, 1.0, [1.0]), "delta must be"),
        ((1.0, -1.0, [1.0]), "gamma must be"),
        ((1.0, 1.0, [-1.0, 2.0]), "frequencies must be finite and >= 0"),
        ((1.0, 1.0, [0.0, 0.0]), "frequencies must hold a positive number"),
        ((1.0, 1.0, [1.0], [1.0, -1.0]), "covariance must be finite and >= 0"),
        ((1.0, 1.0, [[1.0]]), "frequencies must be one row"),
        ((1.0, 1.0, [1.0], (1.0,), [0.5, 0.5]), "frequencies_weights must hold one number for each of the 1"),
        ((1.0, 1.0, [1.0], (1.0,), [1.5]), "must sum to at most one"),
    ):
        with pytest.raises(ValueError, match=message):
            SeparableLaw(*arguments)


# the model


@pytest.mark.parametrize(("informative", "signal"), [(10, 0.7), (10, 0.2), (0, 1.4), (0, 0.4), (10, 0.0)])
def test_equal_tokens_in_isotropic_noise_are_the_plain_model(informative, signal):
    arguments = (240, 480, 600, Prefix(40, informative), "mean", signal)
    ours, plain = PooledVocabulary(*arguments).predict(), PooledSequences(*arguments).predict()
    for name in ("alpha", "kappa", "snr", "edge", "threshold", "outlier", "overlap", "critical_signal"):
        assert getattr(ours, name) == pytest.approx(getattr(plain, name), rel=1e-9, abs=1e-9, nan_ok=True), (
            name
        )
    assert ours.top_eigenvalue == pytest.approx(plain.top_eigenvalue)
    assert ours.second_eigenvalue == pytest.approx(plain.second_eigenvalue)
    if np.isfinite(plain.outlier):
        assert ours.q == pytest.approx(plain.q)
        assert ours.sample_overlap == pytest.approx(plain.sample_overlap if signal else 0, abs=1e-12)
        assert ours.population_overlap == pytest.approx(plain.population_overlap * plain.direction_factor)


def test_frequencies_alone_follow_the_map_of_u():
    # z(u) = kappa (1+p)(1+gamma p)/u, p = u h(u), h(u) = E t/(1 − delta t u), written out
    rng = np.random.default_rng(1)
    t = class_frequencies(rng.uniform(0.5, 1.5, 600))
    model = PooledVocabulary(240, 600, 500, Prefix(40, 10), "mean", 1.1, t)
    found, delta, gamma, rho = model.predict(), 0.4, 0.48, model.predict().snr
    half = t.reshape(2, -1)

    def h(u, row=t):
        return np.mean(row / (1 - delta * row * u))

    def z(u):
        p = u * h(u)
        return found.kappa * (1 + p) * (1 + gamma * p) / u

    low, high = 1e-6, 1 / (delta * t.max()) * 0.999
    for _ in range(200):  # |mu|² u = 1/rho − 1 + 1/h(u), with the mean of 1/h over the classes
        u = (low + high) / 2
        inside = 1.1**2 * u < 1 / rho - 1 + 0.5 * sum(1 / h(u, row) for row in half)
        low, high = (u, high) if inside else (low, u)
    assert found.outlier == pytest.approx(z(u), rel=1e-9)
    grid = np.linspace(1e-3, 1 / (delta * t.max()) * 0.995, 4000)
    assert found.edge == pytest.approx(min(z(v) for v in grid), rel=1e-5)


def test_noise_alone_follows_the_map_of_y():
    # z(y) = kappa (1+delta p)(1+gamma p)/y, p = E y t/(1 − y t); spike: rho A(y) = 1 + delta p (1 − rho)
    noise = two_levels(240)
    model = PooledVocabulary(240, 600, 500, Prefix(40, 10), "mean", 1.1, None, noise, np.arange(240))
    found, delta, gamma, rho = model.predict(), 0.4, 0.48, model.predict().snr
    mu = 1.1**2 * np.arange(240) ** 2 / np.sum(np.arange(240) ** 2)

    def parts(y):
        return np.mean(y * noise / (1 - y * noise)), np.sum(y * mu / (1 - y * noise))

    def z(y):
        p = parts(y)[0]
        return found.kappa * (1 + delta * p) * (1 + gamma * p) / y

    low, high = 1e-9, 0.9999 / noise.max()
    for _ in range(200):
        y = (low + high) / 2
        p, a = parts(y)
        low, high = (y, high) if rho * a < 1 + delta * p * (1 - rho) else (low, y)
    assert found.outlier == pytest.approx(z(y), rel=1e-9)

    # population overlap by the residue, with numerical derivatives
    def forms(y):
        p, a = parts(y)
        level = (1 + delta * p) / y
        return level, -a / (y * level), -(a + delta * p) / (y * level)

    step = 1e-5 * y
    ahead, behind = forms(y + step), forms(y - step)
    slope = (ahead[2] - behind[2]) / (ahead[0] - behind[0])
    assert found.population_overlap == pytest.approx(forms(y)[1] ** 2 / (1.1**2 * slope), rel=1e-6)


def test_ten_random_settings_and_what_leaves_something_out():
    d, seeds, kept = 240, 8, 0
    names = ("frequencies", "covariance", "both")
    failed, away = dict.fromkeys(names, 0), {name: [] for name in ("nothing", *names)}
    for index in range(100, 160):
        model = random_setting(index, d)
        found = model.predict()
        if found.critical_signal and 0.6 < model.signal / found.critical_signal < 1.5:
            continue  # the window of the transition at this dimension
        kept += 1
        drawn = draws(model, seeds)
        assert misses(found, model, drawn) < 0, index
        away["nothing"].append(drawn["overlap"].mean() - found.overlap)
        parameters = [model.dimension, model.vocabulary, model.samples, model.positions, "mean", model.signal]
        given = {key: getattr(model, key) for key in ("frequencies", "covariance", "direction")}
        for name in names:
            left_out = {"frequencies": ["frequencies"], "covariance": ["covariance", "direction"]}.get(
                name, given
            )
            some = {key: value for key, value in given.items() if key not in left_out}
            wrong = PooledVocabulary(*parameters, **some).predict()
            failed[name] += misses(wrong, model, drawn) > 0
            away[name].append(drawn["overlap"].mean() - wrong.overlap)
        if kept == 10:
            break
    assert kept == 10
    error = {name: np.sqrt(np.mean(np.square(values))) for name, values in away.items()}
    assert min(failed.values()) >= 1
    assert failed["both"] >= 4
    assert min(error[name] for name in names) > 2 * error["nothing"], error


@pytest.mark.parametrize("where", ["loud", "quiet"])
def test_where_the_signal_points_matters(where):
    d = 240
    direction = np.eye(d)[0 if where == "loud" else -1]
    arguments = (d, 3 * d, 2 * d, Prefix(80, 12), "mean", 1.1, ("zipf", 0.4))
    model = PooledVocabulary(*arguments, two_levels(d), direction)
    drawn = draws(model, 12)
    assert misses(model.predict(), model, drawn) < 0
    other = PooledVocabulary(*arguments, two_levels(d), direction[::-1])
    assert misses(other.predict(), model, drawn) > 0


def test_heavy_tokens_are_named_and_placed():
    d = 240
    model = PooledVocabulary(d, 3 * d, 2 * d, Prefix(80, 20), "mean", 1.6, ("zipf", 1.0))
    found = model.predict()
    assert found.heavy_tokens[:4].tolist() == [0, 360, 1, 361]
    assert found.spurious_outliers.size == found.heavy_tokens.size >= 8
    spectra = np.array([model.simulate(seed).eigenvalues[:5] for seed in range(16)])
    expected = -np.sort(-np.append(found.outlier, found.spurious_outliers))[:5]
    error = spectra.std(axis=0, ddof=1) / 4
    assert np.all(np.abs(spectra.mean(axis=0) - expected) < 4 * error + 9 / d * expected)
    # a token is a large share of its class, whose mean moves with it: without that its place is wrong
    t = model.token_frequencies
    light = Poles(np.unique(t)[:-1], np.full(np.unique(t).size - 1, 2 / t.size))
    p = light.sums(np.array([t.max()]), 1)[0] / model.delta
    unit = Poles(np.ones(1), np.ones(1))
    naive = SeparableMap(model.delta, model.gamma, light, unit, found.kappa).value(
        p, t.max(), unit.inverse(p)
    )
    assert abs(spectra[:, 1].mean() - naive) > 4 * error[1] + 9 / d * naive


def test_tokens_of_nearly_equal_frequency_do_not_hide_each_other():
    t = zipf(600, 1.0)
    same = VocabularySpikes(0.4, 0.5, 1.0, t, np.ones(240), np.full(240, 1 / 240))
    shaken = t * np.random.default_rng(0).uniform(0.999, 1.001, t.size)
    near = VocabularySpikes(0.4, 0.5, 1.0, class_frequencies(shaken), same.covariance, same.direction)
    assert abs(near.heavy.size - same.heavy.size) <= 2
    assert set(near.heavy[:8]) == set(same.heavy[:8])
    assert near.bulk.support[0][1] == pytest.approx(same.bulk.support[0][1], rel=0.05)
    a, b = same.modes(1.5, 4.0), near.modes(1.5, 4.0)
    assert b.overlap.max() == pytest.approx(a.overlap.max(), abs=5e-3)
    assert b.eigenvalue[0] == pytest.approx(a.eigenvalue[0], rel=5e-3)


def test_two_equal_heavy_tokens_of_one_class_make_two_outliers():
    d, frequencies = 200, np.ones(600)
    frequencies[[3, 8]] = 40.0
    model = PooledVocabulary(d, 600, 500, Prefix(60, 0), "mean", 0.5, frequencies)
    found = model.predict()
    assert found.heavy_tokens.tolist() == [3, 8]
    spectra = np.array([model.simulate(seed).eigenvalues[:3] for seed in range(12)])
    # their difference keeps its place and their sum loses its share of the class; draws mix the two
    both = spectra[:, :2].mean(axis=1)
    expected = found.spurious_outliers.mean()
    assert abs(both.mean() / expected - 1) < 9 / d + 4 * both.std(ddof=1) / np.sqrt(12) / expected
    assert abs(both.mean() / found.spurious_outliers[0] - 1) > 0.04
    assert spectra[:, 2].mean() < 1.02 * found.edge


def test_no_signal_and_no_correlation_with_a_loud_direction():
    noise = np.ones(100)
    noise[0] = 8.0
    found = PooledVocabulary(
        100, 300, 250, Prefix(2, 2), [1.0, -1.0], 1.0, ("zipf", 1.0), noise, np.ones(100)
    ).predict()
    assert found.overlap == 0
    assert np.isfinite(found.top_eigenvalue)


def test_a_loud_direction_is_an_outlier_of_its_own_and_may_carry_the_signal():
    d = 240
    noise = np.ones(d)
    noise[0] = 6.0
    arguments = (d, 3 * d, 2 * d, Prefix(40, 0), "mean", 0.8, None, noise)
    apart = PooledVocabulary(*arguments, np.eye(d)[1]).predict()
    assert apart.loud_directions.tolist() == [0]
    assert apart.spurious_outliers.shape == (1,)
    assert apart.top_eigenvalue == apart.spurious_outliers[0]
    along = PooledVocabulary(*arguments, np.eye(d)[0])
    found = along.predict()
    assert found.critical_signal == 0
    assert found.overlap > 0.8 > apart.overlap
    assert misses(found, along, draws(along, 10)) < 0
    assert misses(apart, along, draws(along, 10)) > 0 if np.isfinite(apart.outlier) else apart.overlap < 0.1


def test_the_critical_signal_is_where_the_outlier_leaves_the_edge():
    for index in (0, 2, 7, 12, 22):
        model = random_setting(index, 120)
        found = model.predict()
        if not found.critical_signal:
            continue
        spikes, critical = model.spikes, float(found.critical_signal)
        below, above = spikes.modes(np.array([0.999, 1.001]) * critical, found.snr).eigenvalue[:, -1]
        assert np.isnan(below)
        assert above == pytest.approx(found.edge, rel=1e-4)
        assert spikes.modes(1.001 * critical, found.snr).overlap[-1] < 0.02


def test_a_curve_is_its_points():
    signals = np.array([0.0, 0.4, 1.0, 2.0])
    parameters = (100, 300, 250, Prefix(30, 8), "mean")
    rest = (("zipf", 0.8), two_levels(100), np.arange(100))
    curve = PooledVocabulary(*parameters, signals, *rest).predict()
    for i, signal in enumerate(signals):
        point = PooledVocabulary(*parameters, signal, *rest).predict()
        for name in ("outlier", "overlap", "q", "top_eigenvalue", "second_eigenvalue", "population_overlap"):
            assert getattr(curve, name)[i] == pytest.approx(getattr(point, name), nan_ok=True), name
        assert np.allclose(curve.spurious_outliers[i], point.spurious_outliers, equal_nan=True)
    assert (np.diff(curve.overlap) > 0).all()
    assert curve.overlap[0] == 0


def test_no_correlated_signal_leaves_tokens_only():
    model = PooledVocabulary(100, 300, 250, Prefix(2, 2), [1.0, -1.0], 1.0, ("zipf", 1.0))
    found = model.predict()
    assert found.snr == 0
    assert np.isnan(found.outlier)
    assert found.overlap == 0
    assert found.critical_signal == np.inf
    assert found.top_eigenvalue > found.edge


def test_a_matrix_and_its_eigenvalues_are_one_model():
    d = 60
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    noise, mu = two_levels(d), rng.standard_normal(d)
    arguments = (d, 180, 150, Prefix(20, 5), "mean", 1.2, None)
    by_values = PooledVocabulary(*arguments, noise, mu).predict()
    by_matrix = PooledVocabulary(*arguments, basis @ np.diag(noise) @ basis.T, basis @ mu).predict()
    assert by_matrix.outlier == pytest.approx(by_values.outlier)
    assert by_matrix.overlap == pytest.approx(by_values.overlap)


def test_models_pickle_and_repeat():
    model = random_setting(3, 60)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.simulate(1).eigenvalues, model.simulate(1).eigenvalues)
    assert again.predict().outlier == model.predict().outlier


def test_refused_models():
    good = {"signal": 1.0, "frequencies": None, "covariance": None, "direction": None}
    for change, message in (
        ({"frequencies": [1.0, -1.0, 1.0, 1.0]}, "frequencies must be finite and >= 0"),
        ({"frequencies": np.zeros(4)}, "frequencies must be positive for some token of each class"),
        ({"frequencies": [0.0, 0.0, 1.0, 1.0]}, "frequencies must be positive for some token of each class"),
        ({"frequencies": np.ones(6)}, "frequencies must hold one number for each of the 4 tokens, got 6"),
        ({"frequencies": np.ones(3)}, "frequencies must be an even number"),
        ({"frequencies": ("zipf", -1)}, "exponent of frequencies must be"),
        ({"frequencies": ("heaps", 1)}, 'frequencies must be numbers or \\("zipf", exponent\\)'),
        ({"covariance": [1.0, 1.0, -0.5]}, "covariance must be positive semi-definite"),
        ({"covariance": np.diag([1.0, 1.0, -0.5])}, "covariance must be positive semi-definite"),
        ({"covariance": np.zeros(3)}, "covariance must be positive semi-definite and not zero"),
        ({"covariance": [[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]}, "covariance must be symmetric"),
        ({"covariance": np.ones(4)}, "covariance must have shape \\(3,\\) or \\(3, 3\\)"),
        ({"covariance": [1.0, np.nan, 1.0]}, "covariance must be finite"),
        ({"direction": np.zeros(3)}, "direction must be finite and not zero"),
        ({"direction": np.ones(2)}, "direction must have shape \\(3,\\)"),
        ({"signal": -1.0}, "signal must be"),
    ):
        with pytest.raises(ValueError, match=message):
            PooledVocabulary(3, 4, 5, Prefix(4, 1), "mean", **(good | change))
    with pytest.raises(ValueError, match="signal must be one number"):
        PooledVocabulary(3, 4, 5, Prefix(4, 1), "mean", [1.0, 2.0]).simulate(0)


# a real table


def test_the_covariance_of_counts_is_the_analytic_null():
    rng = np.random.default_rng(0)
    table, tokens = rng.standard_normal((50, 6)), rng.integers(0, 40, (300, 7))
    counts = np.stack([np.bincount(column, minlength=50) for column in tokens.T])
    unbiased = token_covariance(table, counts, "causal") * 300 / 299
    assert np.allclose(unbiased, token_noise(tokens, table, "causal").covariance)
    from scipy import sparse

    assert np.allclose(token_covariance(table, sparse.csr_array(counts)), token_covariance(table, counts))
    alike = token_covariance(table, counts.sum(axis=0), length=7)
    assert np.allclose(alike, np.cov(table[tokens.ravel()].T, bias=True) / 7)


def test_counts_with_no_signal_agree_with_the_model():
    # a Gaussian table given its rows, against the law over tables
    d, size, samples = 200, 600, 500
    rng = np.random.default_rng(0)
    t = zipf(size, 0.4)
    table = rng.standard_normal((size, d)) * np.sqrt(two_levels(d))
    given = counts_law(table, t, samples, length=10)
    over = SeparableLaw(d / size, d / samples, t, two_levels(d), scale=0.1)
    x = np.linspace(*over.support[0], 200)
    assert np.abs(given.cdf(x) - over.cdf(x)).max() < 0.02


def test_refused_counts():
    table = np.eye(3)
    for arguments, message in (
        (([1, 1],), "counts must hold one number for each of the 3 rows"),
        (([1, -1, 1],), "counts must be finite and >= 0"),
        (([0, 0, 0],), "counts must be positive for some token"),
        (([1, 1, 1],), "length must be given"),
        (([[1, 1, 1], [1, 0, 0]], "mean", 5), "counts must have one row, or one for each of the 5"),
        ((np.ones((1, 1, 3)),), "counts must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            token_covariance(table, *arguments)
    with pytest.raises(ValueError, match="counts must reach tokens whose rows differ"):
        counts_law(table, [1, 0, 0], 10, length=2)
    with pytest.raises(ValueError, match="samples must be"):
        counts_law(table, [1, 1, 1], 1, length=2)


@pytest.mark.skipif("minilm-tokens" not in datasets.installed(), reason="needs resolvent[data]")
@pytest.mark.parametrize("name", ["tweets", "bbc"])
def test_a_real_table_predicts_permuted_text_with_nothing_fitted(name):
    if name not in corpora.available():
        pytest.skip("needs resolvent[data]")
    table = datasets.load("minilm-tokens")
    tokens = corpora.tokens(name, corpora.LENGTHS[name], limit=1500).tokens
    n, length = tokens.shape
    counts = np.stack([np.bincount(column, minlength=len(table)) for column in tokens.T])
    law = counts_law(table, counts, n)

    def distance(ids, law=law):
        x = pool(ids, np.full(length, 1 / length), table).astype(float)
        values = np.linalg.eigvalsh(np.cov(x.T))
        return np.abs(law.cdf(values) - np.arange(1, values.size + 1) / values.size).max()

    permuted = permute_tokens(tokens, seed=1)
    assert distance(permuted) < 0.011  # Gaussian features of the same covariance: 0.006 to 0.009
    assert distance(tokens) > 0.018  # documents have structure
    # the frequencies are what it rests on
    blind = counts_law(table, counts.sum(axis=0) > 0, n, length=length)
    assert distance(permuted, blind) > 0.1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [25.0, 50.0, 150.0, 500.0])
def test_frequencies_that_underflow_count_as_zero(exponent):
    models = [
        PooledVocabulary(60, 120, 120, Prefix(60, 10), "mean", 1.0, ("zipf", e)) for e in (15.0, exponent)
    ]
    before, found = (model.predict() for model in models)
    assert found.top_eigenvalue == pytest.approx(before.top_eigenvalue, rel=0.05)
    assert found.overlap == pytest.approx(before.overlap, abs=0.01)
    assert found.edge >= 0
    assert models[1].token_frequencies[0] == pytest.approx(60)
