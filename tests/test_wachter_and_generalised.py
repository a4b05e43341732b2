"""The laws of F-matrices and of sample eigenvalues of any population, by limits, brute force and matrices."""

import cases
import mpmath
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from resolvent import MarchenkoPastur, MarchenkoPasturProduct
from resolvent.laws import GeneralisedMarchenkoPastur, Wachter

WACHTERS = [law for law in cases.LAWS.values() if isinstance(law, Wachter)]
POPULATIONS = [law for law in cases.LAWS.values() if isinstance(law, GeneralisedMarchenkoPastur)]
each_wachter = pytest.mark.parametrize("law", WACHTERS, ids=repr)
each_population = pytest.mark.parametrize(
    "law", POPULATIONS, ids=[name for name in cases.LAWS if name.startswith("population")]
)


def inside(law, count=15):
    angle = np.linspace(0.05, np.pi - 0.05, count)
    return np.concatenate([a + (b - a) * np.sin(angle / 2) ** 2 for a, b in law.support])


def probabilities(law):
    population = np.array(law.population)
    return population, np.full(population.size, 1 / population.size) if law.weights is None else np.array(
        law.weights
    )


# --- F-matrices


@each_wachter
def test_wachter_density_is_the_published_one(law):
    # Wachter (1980), as in Bai and Silverstein (2010), theorem 4.10: (1−y') sqrt((b−x)(x−a))/(2πx(y + y'x))
    x = inside(law) / law.scale
    h = np.sqrt(law.ratio + law.null_ratio - law.ratio * law.null_ratio)
    a, b = (1 + np.array([-1, 1]) * h) ** 2 / (1 - law.null_ratio) ** 2
    wanted = (
        (1 - law.null_ratio) * np.sqrt((b - x) * (x - a)) / (2 * np.pi * x * (law.ratio + law.null_ratio * x))
    )
    np.testing.assert_allclose(law.pdf(law.scale * x), wanted / law.scale, rtol=1e-10)
    np.testing.assert_allclose(law.support[0], law.scale * np.array([a, b]), rtol=1e-12, atol=1e-12)


@each_wachter
def test_wachter_transform_is_the_root_in_forty_digits(law):
    with mpmath.workdps(40):
        c, null, scale = (mpmath.mpf(v) for v in (law.ratio, law.null_ratio, law.scale))
        for z in (complex(law.mean(), 0.1 * law.mean()), complex(-law.mean(), 1e-3), complex(1e-3, 2)):
            # followed from far above the axis, where p vanishes
            followed = mpmath.mpf(0)
            for height in [*np.geomspace(1e6, 1e-3, 60) * law.mean(), 0]:
                point = mpmath.mpc(z) + 1j * mpmath.mpf(float(height))
                roots = mpmath.polyroots(
                    [scale * c + null * point, scale * (1 + c) - (1 - null) * point, scale],
                    maxsteps=200,
                    extraprec=200,
                )
                followed = min(roots, key=lambda p, f=followed: abs(p - f))
            wanted = complex(-(1 + followed) / mpmath.mpmathify(z))
            assert complex(law.stieltjes(z)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_wachter_without_a_null_is_marchenko_pastur(ratio):
    law, limit = Wachter(ratio, 1e-12, 1.5), MarchenkoPastur(ratio, 1.5)
    x, z = inside(limit), np.array([1j, 3 + 0.1j, -2.0])
    np.testing.assert_allclose(law.support, limit.support, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(law.pdf(x), limit.pdf(x), rtol=1e-8)
    np.testing.assert_allclose(law.cdf(x), limit.cdf(x), atol=1e-10)
    np.testing.assert_allclose(law.stieltjes(z), limit.stieltjes(z), rtol=1e-10)
    np.testing.assert_allclose(law.moment(4), limit.moment(4), rtol=1e-10)
    one, other = law.inverse_map, limit.inverse_map
    np.testing.assert_allclose(one.edge_scale(), other.edge_scale(), rtol=1e-10)
    np.testing.assert_allclose(one.critical_spikes(), other.critical_spikes(), rtol=1e-10)
    np.testing.assert_allclose(one.at_spike(3.0), other.at_spike(3.0), rtol=1e-10)
    np.testing.assert_allclose(one.slope(3.0), other.slope(3.0), rtol=1e-10)


def test_wachter_with_a_tiny_ratio_is_an_inverse_marchenko_pastur():
    # for N to infinity S is the identity, and S0^-1 has the reciprocals of S0's eigenvalues
    law, null = Wachter(1e-9, 0.4), MarchenkoPastur(0.4)
    u = np.array([0.05, 0.3, 0.8])
    np.testing.assert_allclose(law.ppf(u), 1 / null.ppf(1 - u), rtol=1e-6)


@each_wachter
def test_wachter_moments(law):
    b = law.null_ratio / (1 - law.null_ratio)
    mean = law.scale / (1 - law.null_ratio)
    assert law.mean() == pytest.approx(mean)
    assert law.var() == pytest.approx(mean**2 * (law.ratio + b))
    assert law.atom == pytest.approx(max(0, 1 - 1 / law.ratio), abs=1e-15)


@pytest.mark.parametrize("method", ["pdf", "cdf", "ppf", "stieltjes"])
def test_wachter_parameters_broadcast(method):
    ratios, nulls = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.6, 0.3])
    x = np.array([[0.2], [0.9]])
    table = getattr(Wachter(ratios, nulls, 2.0), method)(x)
    for j in range(3):
        single = getattr(Wachter(float(ratios[j]), float(nulls[j]), 2.0), method)(x[:, 0])
        np.testing.assert_allclose(table[:, j], single, rtol=1e-10)


@given(st.floats(1e-3, 30.0), st.floats(1e-6, 0.99), st.floats(0.001, 0.999))
def test_wachter_quantiles_invert_for_any_ratios(ratio, null, u):
    law = Wachter(ratio, null)
    assert law.cdf(law.ppf(u)) == pytest.approx(max(u, law.atom), abs=1e-9)


def f_eigenvalues(d, n, null, seed, spike=0.0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((d, n)), rng.standard_normal((d, null))
    x[0] *= np.sqrt(1 + spike)
    return linalg.eigh(x @ x.T / n, y @ y.T / null, eigvals_only=True)


def distance(law, values):
    values = np.sort(np.where(values < 1e-9, 0.0, values))
    count = np.arange(1, values.size + 1) / values.size
    gap = np.abs(law.cdf(values) - count)[values > 0]
    return max(gap.max(), abs(np.mean(values == 0) - law.atom))


@pytest.mark.parametrize(("n", "null"), [(960, 480), (160, 600), (240, 300)])
def test_f_matrices_follow_the_law(n, null):
    d = 240
    values = f_eigenvalues(d, n, null, 1)
    law = Wachter(d / n, d / null)
    assert distance(law, values) < 0.015
    width = law.inverse_map.edge_scale() * d ** (-2 / 3)
    assert abs(values[-1] - law.support[0][1]) < 5 * width
    # the twin: without a null sample, and with the ratios swapped
    assert distance(MarchenkoPastur(d / n), values) > 0.05
    assert values[-1] > 1.3 * MarchenkoPastur(d / n).support[0][1]


def test_f_matrix_edges_for_the_wrong_law():
    d = 240
    values = f_eigenvalues(d, 960, 480, 2)
    assert distance(Wachter(d / 480, d / 960 + 0.2), values) > 0.03


@pytest.mark.parametrize("times", [1.7, 3.0])
def test_outliers_of_f_matrices_are_the_map(times):
    d, n, null = 300, 600, 1200
    z = Wachter(d / n, d / null).inverse_map
    q = times * z.critical_spikes()[0]
    top = np.array([f_eigenvalues(d, n, null, seed, q)[-1] for seed in range(12)])
    assert z.at_spike(q) > z.edges()[1]
    assert abs(top.mean() - z.at_spike(q)) < 4 * top.std(ddof=1) / np.sqrt(12) + 5 / d * z.at_spike(q)
    assert abs(top.mean() - MarchenkoPastur(d / n).inverse_map.at_spike(q)) > 0.1 * z.at_spike(q)


def test_weak_spikes_of_f_matrices_stay_in_the_bulk():
    d, n, null = 300, 600, 1200
    law = Wachter(d / n, d / null)
    q = 0.4 * law.inverse_map.critical_spikes()[0]
    assert f_eigenvalues(d, n, null, 3, q)[-1] < 1.04 * law.support[0][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.5), "ratio must be positive and finite, got 0.0"),
        ((0.5, 0.0), r"null_ratio must be inside \(0, 1\).*use MarchenkoPastur.*got 0.0"),
        ((0.5, 1.0), r"null_ratio must be inside \(0, 1\).*got 1.0"),
        ((0.5, np.nan), "null_ratio must be inside"),
        ((0.5, 0.5, -1.0), "scale must be positive and finite, got -1.0"),
        ((0.5, "half"), "null_ratio must be a number"),
    ],
)
def test_wachter_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Wachter(*arguments)


# --- any population


@pytest.mark.parametrize("ratio", [1e-6, 0.3, 1.0, 4.0])
def test_one_population_eigenvalue_is_marchenko_pastur(ratio):
    law, wanted = GeneralisedMarchenkoPastur(ratio, [2.0, 2.0]), MarchenkoPastur(ratio, 2.0)
    x = inside(wanted)
    np.testing.assert_allclose(law.support, wanted.support, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(law.pdf(x), wanted.pdf(x), rtol=1e-9)
    np.testing.assert_allclose(law.cdf(x), wanted.cdf(x), atol=1e-11)
    z = np.array([1j, -2.0, 3 - 0.1j, 0.5 * law.support[0][0] + 1e-30, 1.3 * law.support[0][1]])
    np.testing.assert_allclose(law.stieltjes(z), wanted.stieltjes(z), rtol=1e-9)
    np.testing.assert_allclose([law.moment(k) for k in range(7)], [wanted.moment(k) for k in range(7)])
    assert law.atom == pytest.approx(wanted.atom, abs=1e-15)
    one, other = law.inverse_map, wanted.inverse_map
    q = 1.5 * other.critical_spikes()[0]
    np.testing.assert_allclose(one.critical_spikes(), other.critical_spikes(), rtol=1e-9)
    np.testing.assert_allclose([one.at_spike(q), one(1 / q)], other.at_spike(q), rtol=1e-12)
    np.testing.assert_allclose(one.slope(q), other.slope(q), rtol=1e-9)
    np.testing.assert_allclose(one.edge_scale(), other.edge_scale(), rtol=1e-9)


def test_quantiles_of_a_law_as_population_are_the_product():
    first = MarchenkoPastur(0.4)
    law = GeneralisedMarchenkoPastur(0.25, first.ppf((np.arange(1000) + 0.5) / 1000))
    product = MarchenkoPasturProduct((0.4, 0.25))
    x = inside(product)
    np.testing.assert_allclose(law.support, product.support, rtol=2e-3)
    np.testing.assert_allclose(law.cdf(x), product.cdf(x), atol=2e-4)
    np.testing.assert_allclose(law.pdf(x)[2:-2], product.pdf(x)[2:-2], rtol=2e-3)
    np.testing.assert_allclose(law.stieltjes(x + 0.3j), product.stieltjes(x + 0.3j), rtol=1e-4)
    assert law.inverse_map.edge_scale() == pytest.approx(product.inverse_map.edge_scale(), rel=1e-2)
    # a population spike of ell over the first stage is the second stage's net spike at the same p
    spike, q = product.inverse_map, 5.0
    population = first.inverse_map.at_spike(q)
    assert law.inverse_map.at_population_spike(population) == pytest.approx(spike.at_spike(q), rel=1e-4)


def by_polynomial(law, z):
    """All p-values of the fixed point: roots ω of z(ω) = z with the population's denominators multiplied out."""
    t, w = probabilities(law)
    denominators = np.poly1d(t, r=True)
    total = 0
    for k in range(t.size):
        total = total + w[k] * t[k] * np.poly1d(np.delete(t, k), r=True)
    omega = ((denominators + law.ratio * total) * np.poly1d([1.0, 0.0]) - z * denominators).roots
    best = omega[omega.imag.argmax()]
    return np.sum(w * t / (best - t))


@pytest.mark.parametrize("law", [law for law in POPULATIONS if len(law.population) < 5], ids=repr)
def test_population_density_is_what_polynomial_roots_give(law):
    x = inside(law)
    wanted = np.array([-by_polynomial(law, point).imag / (np.pi * point) for point in x])
    np.testing.assert_allclose(law.pdf(x), wanted, rtol=1e-8)


@each_population
def test_population_transform_solves_silversteins_equation(law):
    t, w = probabilities(law)
    right = law.support[-1][1]
    z = right * np.array([0.3 + 1e-6j, 0.05 + 0.01j, 1.5 + 1e-3j, -0.3, 2.0, 0.4 + 1j])
    m = law.stieltjes(z)
    # Silverstein (1995): m = ∫ dH(t)/(t (1 − c − c z m) − z)
    wanted = np.array([np.sum(w / (t * (1 - law.ratio - law.ratio * a * b) - a)) for a, b in zip(z, m)])
    np.testing.assert_allclose(m, wanted, rtol=1e-9)
    assert np.all(m.imag[z.imag > 0] > 0)


@each_population
def test_population_transform_is_what_fixed_points_reach(law):
    t, w = probabilities(law)
    z = law.support[-1][1] * np.array([0.5 + 0.5j, 1 + 0.3j, -0.4 + 0.2j])
    companion = -1 / z
    for _ in range(3000):
        companion = -1 / (z - law.ratio * (w * t / (1 + t * companion[:, None])).sum(1))
    wanted = (companion + (1 - law.ratio) / z) / law.ratio
    np.testing.assert_allclose(law.stieltjes(z), wanted, rtol=1e-10)


@each_population
def test_transform_in_gaps_is_the_limit_from_above(law):
    ends = [0.0, *(end for interval in law.support for end in interval)]
    for a, b in zip(ends[::2], ends[1::2]):
        if b - a > 1e-3:
            x = (a + b) / 2
            m = complex(law.stieltjes(x))
            assert m.imag == 0
            assert complex(law.stieltjes(x + 1e-7j)) == pytest.approx(m, rel=1e-4)


@each_population
def test_population_moments(law):
    t, w = probabilities(law)
    h = [np.sum(w * t**k) for k in range(4)]
    c = law.ratio
    # Yin and Krishnaiah (1983)
    wanted = [1, h[1], h[2] + c * h[1] ** 2, h[3] + 3 * c * h[1] * h[2] + c**2 * h[1] ** 3]
    np.testing.assert_allclose([law.moment(k) for k in range(4)], wanted, rtol=1e-12)
    assert law.atom == pytest.approx(max(w[t == 0].sum(), 1 - 1 / c), abs=1e-15)


@each_population
def test_density_is_the_derivative_of_the_distribution(law):
    for a, b in law.support:
        x = np.linspace(a, b, 12)[2:-2]
        step = 1e-5 * (b - a)
        slope = (law.cdf(x + step) - law.cdf(x - step)) / (2 * step)
        np.testing.assert_allclose(law.pdf(x), slope, rtol=2e-4)


@each_population
def test_population_edges_are_critical_values(law):
    t, w = probabilities(law)
    z = law.inverse_map
    critical = z.population_threshold
    assert law.ratio * np.sum(w * t**2 / (critical - t) ** 2) == pytest.approx(1, rel=1e-9)
    assert z.at_population_spike(critical * (1 + 1e-9)) == pytest.approx(law.support[-1][1], rel=1e-12)
    assert np.isnan(z.at_population_spike(0.99 * critical))
    # density near the edge: mass (2/3π) ((edge − x)/scale)^(3/2)
    near = 1e-6 * z.edge_scale()
    mass = law.sf(law.support[-1][1] - near)
    assert mass == pytest.approx(2 / (3 * np.pi) * (near / z.edge_scale()) ** 1.5, abs=2e-14)
    near = 1e-3 * z.edge_scale()
    mass = law.sf(law.support[-1][1] - near)
    assert mass == pytest.approx(2 / (3 * np.pi) * (near / z.edge_scale()) ** 1.5, rel=2e-2)


def test_separate_intervals_hold_their_share_of_the_population():
    law = GeneralisedMarchenkoPastur(0.01, [1.0, 3.0, 9.0], [0.5, 0.2, 0.3])
    assert len(law.support) == 3
    np.testing.assert_allclose([law.cdf(right) for _, right in law.support], [0.5, 0.7, 1.0], atol=1e-14)
    # quantiles at the very share of an interval end it
    assert law.ppf(0.5) == pytest.approx(law.support[0][1], rel=1e-6)
    assert law.ppf(0.5 + 1e-6) >= law.support[1][0]


def test_a_gap_closes_continuously():
    # the ratio at which the gap between 1 and 5 closes, by bisection on what the law itself says
    low, high = 0.05, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if len(GeneralisedMarchenkoPastur(middle, [1.0, 5.0]).support) > 1
            else (low, middle)
        )
    x = GeneralisedMarchenkoPastur(low, [1.0, 5.0]).support[0][1] * (1 + np.array([-1e-2, -1e-5, 1e-5, 1e-2]))
    open_, closed = (GeneralisedMarchenkoPastur(low + shift, [1.0, 5.0]) for shift in (-1e-9, 1e-9))
    np.testing.assert_allclose(open_.pdf(x), closed.pdf(x), rtol=0.05, atol=1e-5)
    np.testing.assert_allclose(open_.cdf(x), closed.cdf(x), atol=1e-8)


@given(st.integers(1, 40), st.floats(1e-3, 20.0), st.sampled_from([0.05, 1.0, 4.0]), st.integers(0, 10**6))
def test_any_population_is_solved(count, ratio, spread, seed):
    rng = np.random.default_rng(seed)
    t, w = np.exp(spread * rng.standard_normal(count)), rng.dirichlet(np.ones(count))
    law = GeneralisedMarchenkoPastur(ratio, t, w / w.sum())
    x = inside(law)
    assert np.all(law.pdf(x) > 0)
    assert np.all(np.diff(law.cdf(x)) > -1e-14)
    np.testing.assert_allclose(law.pdf(x), law.stieltjes(x).imag / np.pi, rtol=1e-8)
    u = np.array([0.01, 0.3, 0.77])
    np.testing.assert_allclose(law.cdf(law.ppf(u)), np.maximum(u, law.atom), atol=1e-11)


def sample_eigenvalues(population, n, seed):
    rng = np.random.default_rng(seed)
    x = np.sqrt(population)[:, None] * rng.standard_normal((len(population), n))
    return np.linalg.eigvalsh(x @ x.T / n)


@pytest.mark.parametrize("n", [1200, 200])
@pytest.mark.parametrize("kind", ["gap", "smooth", "zeros"])
def test_sample_eigenvalues_follow_their_population(kind, n):
    d = 300
    population = {
        "gap": np.repeat([1.0, 12.0], d // 2),
        "smooth": np.random.default_rng(0).gamma(2.0, size=d),
        "zeros": np.concatenate([np.zeros(60), np.linspace(1, 3, d - 60)]),
    }[kind]
    values = sample_eigenvalues(population, n, 1)
    law = GeneralisedMarchenkoPastur(d / n, population)
    assert distance(law, values) < 0.02
    wrong = MarchenkoPastur(d / n, float(population.mean()))
    assert distance(wrong, values) > 0.05
    assert distance(GeneralisedMarchenkoPastur(1.5 * d / n, population), values) > 0.025


def test_outliers_over_a_population_are_the_map():
    d, n = 300, 900
    population = np.repeat([1.0, 3.0], d // 2)
    z = GeneralisedMarchenkoPastur(d / n, population).inverse_map
    spike = 1.6 * z.population_threshold
    spiked = population.copy()
    spiked[0] = spike
    top = np.array([sample_eigenvalues(spiked, n, seed)[-1] for seed in range(12)])
    wanted = z.at_population_spike(spike)
    assert wanted > z.edges()[1]
    assert abs(top.mean() - wanted) < 4 * top.std(ddof=1) / np.sqrt(12) + 5 / d * wanted
    # its share of p: the same point by its net strength
    q = 1 / np.mean(population / (spike - population))
    assert z.at_spike(q) == pytest.approx(wanted, rel=1e-12)
    step = 1e-5 * q
    slope = (z.at_spike(q + step) - z.at_spike(q - step)) / (2 * step) / population.mean()
    assert z.slope(q) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, [1.0]), "ratio must be a finite number > 0, got 0.0"),
        (([0.5], [1.0]), "ratio must be a finite number"),
        ((0.5, 1.0), r"population must be one row of numbers, got shape \(\)"),
        ((0.5, []), "population must be one row of numbers"),
        ((0.5, [1.0, -2.0]), "population must be finite and >= 0, got"),
        ((0.5, [1.0, np.inf]), "population must be finite"),
        ((0.5, [0.0, 0.0]), "population must hold a positive eigenvalue, got zeros alone"),
        ((0.5, [1.0, 0.0], [0.0, 1.0]), "population must hold a positive eigenvalue"),
        ((0.5, [1.0, 2.0], [0.5]), "weights must hold one number for each of the 2 of population, got 1"),
        ((0.5, [1.0, 2.0], [0.5, 0.6]), "weights must sum to one, got 1.1"),
        ((0.5, [1.0, 2.0], [1.5, -0.5]), "weights must be finite and >= 0"),
        ((0.5, ["a"]), "population must be a number or an array of numbers"),
    ],
)
def test_populations_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GeneralisedMarchenkoPastur(*arguments)


def test_laws_are_values():
    one = GeneralisedMarchenkoPastur(0.5, np.array([1.0, 2.0]))
    assert one == GeneralisedMarchenkoPastur(0.5, [1, 2])
    assert hash(one) == hash(GeneralisedMarchenkoPastur(0.5, (1.0, 2.0)))
    # a repeated eigenvalue is a heavier one
    twice, weighted = (
        GeneralisedMarchenkoPastur(0.5, [1, 1, 2]),
        GeneralisedMarchenkoPastur(0.5, [1, 2], [2 / 3, 1 / 3]),
    )
    assert twice.pdf(0.9) == pytest.approx(weighted.pdf(0.9), rel=1e-12)


def test_expectations_of_both_agree_with_quadrature():
    for law in (Wachter(0.5, 0.25), GeneralisedMarchenkoPastur(0.5, [1.0, 2.0, 10.0])):
        for k in (1, 2, 5):
            wanted = oracles.expectation(law, lambda x, k=k: x**k)
            assert law.moment(k) == pytest.approx(wanted, rel=1e-9)
