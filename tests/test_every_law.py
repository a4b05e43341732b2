"""Every quantity of every law, computed two ways."""

import itertools
from functools import lru_cache

import cases
import mpmath
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resolvent import MarchenkoPastur, MarchenkoPasturProduct

positive_ratio = st.floats(0.02, 8.0)
PRODUCTS = set(cases.PRODUCTS.values())


def ends(law):
    """Left and right end of the support."""
    return law.support[0][0], law.support[-1][1]


def slack(law):
    """How much mass may hide below the rounding of the right edge: laws tied at zero grow like x^(−k/(k+1))."""
    if law not in PRODUCTS:
        return 1e-8 if law.support[0][0] > 0 else 1e-7
    ordered = sorted([1.0, *cases.ratios(law)])
    ties = ordered.count(ordered[-1])
    return {1: 1e-8, 2: 1e-7, 3: 1e-4}.get(ties, 1e-2)


@lru_cache(maxsize=64)
def draw(law):
    return law.rvs(1500, rng=11)


def inside(law, count=25):
    """Points of the bulk, dense towards all edges."""
    angle = np.linspace(0.02, np.pi - 0.02, count)
    return np.concatenate([left + (right - left) * np.sin(angle / 2) ** 2 for left, right in law.support])


@cases.every_product
def test_density_is_what_polynomial_roots_give(law):
    x = inside(law)
    wanted = oracles.density_by_roots(cases.ratios(law), cases.scale(law), x)
    # np.roots loses digits where tiny ratios send two roots to infinity
    rtol = 1e-9 if min(cases.ratios(law)) > 1e-3 else 1e-3
    np.testing.assert_allclose(law.pdf(x), wanted, rtol=rtol, atol=1e-9 * wanted.max())


@pytest.mark.parametrize("ratio", [1e-6, 0.1, 0.5, 1.0, 1.7, 30.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_one_factor_is_the_classical_law(ratio, scale):
    law = MarchenkoPastur(ratio, scale)
    x = inside(law)
    np.testing.assert_allclose(law.pdf(x), oracles.classical_density(ratio, scale, x), rtol=1e-8)
    # absolute: at ratio one the left edge is zero
    edges = scale * (1 + np.array([-1, 1]) * np.sqrt(ratio)) ** 2
    np.testing.assert_allclose(law.support[0], edges, rtol=1e-12, atol=1e-14 * scale)


@pytest.mark.parametrize(
    ("ratios", "scale"),
    [
        ((0.25, 1 / 3), 1.0),
        ((1.0, 1.0), 1.0),
        ((2.0, 2.0), 0.3),
        ((0.5, 3.0), 1.0),
        ((1e-6, 0.5), 1.0),
        ((5.0, 0.01), 2.0),
    ],
)
def test_two_factors_in_forty_digits(ratios, scale):
    law = MarchenkoPasturProduct(ratios, scale)
    left, right = law.support[0]
    for x in left + (right - left) * np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98]):
        wanted = oracles.density_by_mpmath(ratios, scale, x)
        assert law.pdf(x) == pytest.approx(wanted, rel=1e-12)


@cases.every_law
def test_density_is_the_imaginary_part_of_stieltjes_over_pi(law):
    x = inside(law)
    np.testing.assert_allclose(
        law.pdf(x), law.stieltjes(x).imag / np.pi, rtol=1e-6, atol=1e-8 * law.pdf(x).max()
    )


@cases.every_law
def test_density_vanishes_outside(law):
    left, right = ends(law)
    width = right - left
    outside = np.array([-1.0, left - 1e-3 * width if left > 0 else -2.0, right + 1e-3 * width, 10 * right])
    np.testing.assert_array_equal(law.pdf(outside), 0.0)
    for (_, before), (after, _) in itertools.pairwise(law.support):
        gap = np.linspace(before, after, 7)[1:-1]
        np.testing.assert_array_equal(law.pdf(gap), 0.0)
        np.testing.assert_allclose(law.cdf(gap), law.cdf(before), rtol=0, atol=1e-14)


@cases.every_law
def test_mass_is_one(law):
    assert oracles.expectation(law, np.ones_like) + law.atom == pytest.approx(1, abs=slack(law))


@cases.every_product
def test_atom_is_the_missing_rank(law):
    assert law.atom == pytest.approx(max(0.0, *(1 - 1 / c for c in cases.ratios(law))), abs=1e-15)


@cases.every_law
def test_cdf_is_the_integral_plus_the_atom(law):
    for x in inside(law, 9):
        wanted = oracles.expectation(law, np.ones_like, upto=x) + law.atom
        assert law.cdf(x) == pytest.approx(wanted, abs=10 * slack(law))


@cases.every_law
def test_cdf_at_the_ends(law):
    left, right = ends(law)
    assert law.cdf(-1e-300) == 0
    assert law.cdf(0.0) == pytest.approx(law.atom, abs=1e-12)
    assert law.cdf(left) == pytest.approx(law.atom, abs=1e-7)
    assert law.cdf(right) == pytest.approx(1, abs=1e-12)
    assert law.cdf(np.inf) == 1
    assert law.cdf(-np.inf) == 0


@cases.every_law
def test_cdf_rises(law):
    x = np.linspace(-0.1, 1.1, 400) * ends(law)[1]
    assert np.all(np.diff(law.cdf(x)) >= -1e-13)


@cases.every_law
def test_sf_complements_cdf(law):
    x = inside(law)
    np.testing.assert_allclose(law.sf(x) + law.cdf(x), 1, atol=1e-14)


@cases.every_law
def test_ppf_inverts_cdf(law):
    # below the first of these, quantiles of laws tied at zero round against the right edge
    least = 1e-4 if slack(law) < 1e-5 else 0.03
    u = law.atom + (1 - law.atom) * np.array([least, 0.1, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6])
    np.testing.assert_allclose(law.cdf(law.ppf(u)), u, atol=1e-9)


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("x", [1e-15, 1e-12, 1e-9])
def test_growth_at_zero_when_all_ratios_are_one(factors, x):
    # (1+p)^(k+1) = x p there, so 1 + p = x^(1/(k+1)) exp(−i pi/(k+1)) to first order
    law, power = MarchenkoPasturProduct((1.0,) * factors), 1 / (factors + 1)
    assert law.pdf(x) == pytest.approx(np.sin(np.pi * power) * x ** (power - 1) / np.pi, rel=0.06)
    assert law.cdf(x) == pytest.approx(np.sin(np.pi * power) * x**power / (np.pi * power), rel=0.06)


@cases.every_law
def test_ppf_at_the_ends(law):
    left, right = ends(law)
    assert law.ppf(1.0) == pytest.approx(right)
    assert law.ppf(0.0) == pytest.approx(0.0 if law.atom > 0 else left)
    if law.atom > 0:
        np.testing.assert_array_equal(law.ppf([law.atom / 2, law.atom]), 0.0)
        assert law.ppf(law.atom + 1e-6 * (1 - law.atom)) >= left


@cases.every_law
def test_ppf_rises_and_stays_in_the_support(law):
    values = law.ppf(np.linspace(0, 1, 101))
    assert np.all(np.diff(values) >= 0)
    left, right = ends(law)
    positive = values[values > 0]
    assert positive.min() >= left * (1 - 1e-12)
    assert positive.max() <= right * (1 + 1e-12)


@cases.every_law
def test_moments_are_integrals(law):
    for k in range(5):
        wanted = oracles.expectation(law, lambda x, k=k: x**k) + (law.atom if k == 0 else 0.0)
        assert law.moment(k) == pytest.approx(wanted, rel=1e-7 if k else slack(law))


@cases.every_product
def test_mean_and_variance_have_closed_forms(law):
    # free cumulants: the mean is the scale, the variance scale² times the sum of the ratios
    assert law.mean() == pytest.approx(cases.scale(law))
    variance = cases.scale(law) ** 2 * sum(cases.ratios(law))
    assert law.var() == pytest.approx(variance, rel=1e-9, abs=1e-14 * cases.scale(law) ** 2)


@cases.every_law
def test_edges_are_critical_values_of_the_map(law):
    z = law.inverse_map
    left, right = ends(law)
    for edge, q in ((left, z.critical_spikes()[-1]), (right, z.critical_spikes()[0])):
        assert z(1 / q) == pytest.approx(edge, rel=1e-9, abs=1e-12 * right)
        # slope changes sign, or is flat, at a critical point: compare two sides at the square-root scale
        order = len(cases.ratios(law)) + 1 if law in PRODUCTS else 2
        assert abs(z.slope(q)) < 1e-7 * max(1.0, 1 / abs(q)) ** order


@cases.every_product
def test_edges_are_zeros_of_the_discriminant(law):
    # a double root of (1+p) prod(1 + c_i p) − x p / scale: two roots of np.roots meet there
    for x in law.support[0]:
        if x == 0:
            continue  # the polynomial itself has the roots −1/c there, tied by the tie of ratios
        polynomial = np.poly1d([1.0, 1.0])
        for c in cases.ratios(law):
            polynomial = polynomial * np.poly1d([c, 1.0])
        roots = (polynomial - np.poly1d([x / cases.scale(law), 0.0])).roots
        gaps = np.abs(np.subtract.outer(roots, roots)) / np.abs(roots[:, None])
        np.fill_diagonal(gaps, np.inf)
        assert gaps.min() < 1e-3


@cases.every_product
def test_left_edge_touches_zero_only_in_a_tie(law):
    ordered = sorted([1.0, *cases.ratios(law)])
    assert (law.support[0][0] == 0) == (ordered[-1] == ordered[-2])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_method_honours_the_scale(k):
    shape = (0.5, 2.0, 0.3, 1.2)[:k]
    unit, scaled = MarchenkoPasturProduct(shape), MarchenkoPasturProduct(shape, scale=7.0)
    x, u, z = inside(unit), np.array([0.1, 0.7, 0.95]), np.array([1 + 1j, -2.0, 3 - 0.5j])
    np.testing.assert_allclose(scaled.support, 7 * np.array(unit.support))
    np.testing.assert_allclose(scaled.pdf(7 * x), unit.pdf(x) / 7, rtol=1e-9)
    np.testing.assert_allclose(scaled.cdf(7 * x), unit.cdf(x), atol=1e-12)
    np.testing.assert_allclose(scaled.sf(7 * x), unit.sf(x), atol=1e-12)
    np.testing.assert_allclose(scaled.ppf(u), 7 * unit.ppf(u), atol=1e-10)
    np.testing.assert_allclose(scaled.rvs(20, rng=3), 7 * unit.rvs(20, rng=3), atol=1e-9)
    np.testing.assert_allclose(scaled.stieltjes(7 * z), unit.stieltjes(z) / 7, rtol=1e-10)
    np.testing.assert_allclose(scaled.moment(3), 7**3 * unit.moment(3))
    np.testing.assert_allclose([scaled.mean(), scaled.var()], [7 * unit.mean(), 49 * unit.var()])
    assert scaled.atom == unit.atom


@cases.every_law
def test_stieltjes_is_an_integral(law):
    left, right = ends(law)
    size = law.mean()
    width = right - left
    points = [
        x + y * 1j for x in (left, (left + right) / 2, right + width) for y in (0.4 * width, -0.4 * width)
    ]
    points += [
        -0.3 * size,
        -20 * size,
        right + 0.2 * width,
        50 * right,
        complex(-size, size),
        complex(-size, -size),
    ]
    if left > 0.05 * right:
        points += [0.5 * left]
    for z in points:
        real = oracles.expectation(law, lambda x, z=z: (1 / (x - z)).real)
        imaginary = oracles.expectation(law, lambda x, z=z: np.imag(1 / (x - z)))
        wanted = real + 1j * imaginary - law.atom / z
        assert complex(law.stieltjes(z)) == pytest.approx(wanted, rel=max(2e-7, slack(law)))


@cases.every_law
def test_stieltjes_far_away_is_the_moment_series(law):
    z = 1e3 * ends(law)[1]
    wanted = -sum(law.moment(k) / z ** (k + 1) for k in range(4))
    assert complex(law.stieltjes(z)) == pytest.approx(wanted, rel=1e-9)


@cases.every_law
def test_stieltjes_is_conjugate_across_the_axis(law):
    z = ends(law)[1] * np.array([0.3 + 0.2j, 1.4 + 1e-3j, -0.2 + 0.1j])
    np.testing.assert_allclose(law.stieltjes(z.conj()), law.stieltjes(z).conj(), rtol=1e-12)


@pytest.mark.parametrize("law", [MarchenkoPastur(0.25), MarchenkoPasturProduct((0.25, 0.5))])
def test_stieltjes_at_zero_is_the_mean_inverse(law):
    # finite when the support stays away from zero: E 1/t = prod 1/(1 − c_i)
    wanted = 1 / np.prod([1 - c for c in cases.ratios(law)])
    assert complex(law.stieltjes(0.0)) == pytest.approx(wanted, rel=1e-8)


@given(positive_ratio, positive_ratio, st.floats(0.01, 0.99))
def test_symmetric_in_the_factors(delta, gamma, u):
    one, other = MarchenkoPasturProduct((delta, gamma)), MarchenkoPasturProduct((gamma, delta))
    np.testing.assert_allclose(one.support, other.support, rtol=1e-9, atol=1e-13)
    x = one.support[0][0] + u * (one.support[0][1] - one.support[0][0])
    assert one.pdf(x) == pytest.approx(other.pdf(x), rel=1e-7)
    assert one.cdf(x) == pytest.approx(other.cdf(x), abs=1e-10)


@given(positive_ratio, positive_ratio, st.floats(0.001, 0.999))
def test_cdf_and_ppf_invert_for_any_ratios(delta, gamma, u):
    law = MarchenkoPasturProduct((delta, gamma))
    x = law.ppf(u)
    assert law.cdf(x) == pytest.approx(max(u, law.atom), abs=1e-9)


@given(positive_ratio, positive_ratio)
def test_mass_is_one_for_any_ratios(delta, gamma):
    law = MarchenkoPasturProduct((delta, gamma))
    # near a tie the density has a spike that a fixed rule resolves to about 1e-4
    assert oracles.expectation(law, np.ones_like) + law.atom == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("ratios", [(0.5, 0.3), (2.0, 0.3), (1.5, 2.5)])
def test_a_tiny_third_factor_changes_nothing(ratios):
    two, three = MarchenkoPasturProduct(ratios), MarchenkoPasturProduct((*ratios, 1e-8))
    x = inside(two)[2:-2]
    np.testing.assert_allclose(three.support, two.support, rtol=1e-6)
    np.testing.assert_allclose(three.pdf(x), two.pdf(x), rtol=1e-5)
    np.testing.assert_allclose(three.cdf(x), two.cdf(x), atol=1e-6)
    np.testing.assert_allclose(three.stieltjes(x + 0.3j), two.stieltjes(x + 0.3j), rtol=1e-6)


def test_a_tiny_second_factor_changes_nothing():
    one, two = MarchenkoPastur(0.5), MarchenkoPasturProduct((0.5, 1e-9))
    x = inside(one)[2:-2]
    np.testing.assert_allclose(two.pdf(x), one.pdf(x), rtol=1e-6)
    np.testing.assert_allclose(two.cdf(x), one.cdf(x), atol=1e-7)


@pytest.mark.parametrize("method", ["pdf", "cdf", "ppf"])
def test_array_ratios_broadcast(method):
    ratios = np.array([0.5, 1.0, 2.0])
    x = np.array([[0.2], [0.9]])
    table = getattr(MarchenkoPasturProduct((ratios, 0.4), scale=np.array([1.0, 2.0, 3.0])), method)(x)
    for j, c in enumerate(ratios):
        single = getattr(MarchenkoPasturProduct((c, 0.4), scale=1.0 + j), method)(x[:, 0])
        np.testing.assert_allclose(table[:, j], single, rtol=1e-10)


@cases.every_law
def test_nan_in_nan_out(law):
    assert np.isnan(law.pdf(np.nan))
    assert np.isnan(law.cdf(np.nan))


@cases.every_law
def test_rvs_is_seeded(law):
    np.testing.assert_array_equal(law.rvs(5, rng=1), law.rvs(5, rng=np.random.default_rng(1)))
    assert not np.array_equal(law.rvs(50, rng=1), law.rvs(50, rng=2))
    assert law.rvs((2, 3), rng=0).shape == (2, 3)
    assert np.ndim(law.rvs(rng=0)) == 0


def test_rvs_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is watched)
    MarchenkoPastur(0.5).rvs(10)
    MarchenkoPastur(0.5).rvs(10, rng=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@cases.every_law
def test_rvs_has_the_atom(law):
    # one draw in a thousand may round to zero where the density piles up there
    zeros = np.mean(draw(law) == 0)
    assert abs(zeros - law.atom) < 4 * np.sqrt(law.atom * (1 - law.atom) / 1500) + 1e-3


def continuous_p_value(law, values):
    """Kolmogorov-Smirnov p-value of the positive part of a draw."""
    positive = values[values > 0]
    return stats.kstest(positive, lambda x: (law.cdf(x) - law.atom) / (1 - law.atom)).pvalue


@cases.every_law
def test_rvs_follows_the_law(law):
    assert continuous_p_value(law, draw(law)) > 1e-3


@cases.every_law
def test_rvs_does_not_follow_a_wrong_law(law):
    wrong = cases.stretched(law, 1.25)
    assert continuous_p_value(wrong, draw(law)) < 1e-3


MATRIX_CASES = [
    (0.25,),
    (2.0,),
    (0.25, 0.5),
    (1.0, 0.5),
    (2.0, 0.5),
    (1.5, 3.0),
    (0.5, 0.3, 0.2),
    (0.25, 0.5, 0.5, 2.0),
]


def distance_to_eigenvalues(law, values):
    """Largest gap of the two distribution functions, just below and just above each eigenvalue."""
    values = np.sort(np.where(values < 1e-9, 0.0, values))
    expected = law.cdf(values)
    count = np.searchsorted(values, values, side="right") / values.size
    below = np.where(values > 0, np.searchsorted(values, values, side="left") / values.size, 0.0)
    return np.max(
        np.abs(np.where(values > 0, np.maximum(expected - below, count - expected), expected - count))
    )


@pytest.mark.parametrize("ratios", MATRIX_CASES, ids=str)
def test_eigenvalues_of_matrices_follow_the_law(ratios):
    # eigenvalues are rigid: their distribution function is within about log(d)/d of the limit
    values = oracles.product_eigenvalues(ratios, 1.5, 240, np.random.default_rng(0))
    assert distance_to_eigenvalues(MarchenkoPasturProduct(ratios, 1.5), values) < 0.02


@pytest.mark.parametrize("ratios", MATRIX_CASES, ids=str)
def test_eigenvalues_of_matrices_do_not_follow_wrong_laws(ratios):
    values = oracles.product_eigenvalues(ratios, 1.5, 240, np.random.default_rng(0))
    for wrong in (
        MarchenkoPasturProduct((*ratios[:-1], 2 * ratios[-1]), 1.5),
        MarchenkoPasturProduct((*ratios, 2.0), 1.5),
        MarchenkoPasturProduct(ratios, 2.2),
    ):
        assert distance_to_eigenvalues(wrong, values) > 0.03


def physical_root(z, ratios):
    """p in 60 digits: the root in the lower half plane whose angles add up without a full turn."""
    coefficients = [mpmath.mpf(1)]
    for c in (1.0, *ratios):
        shifted = [0, *(mpmath.mpf(c) * v for v in coefficients)]
        coefficients = [x + y for x, y in zip([*coefficients, 0], shifted, strict=True)]
    coefficients[1] -= mpmath.mpmathify(z)
    for p in mpmath.polyroots(coefficients[::-1], maxsteps=2000, extraprec=800):
        turned = mpmath.arg(1 + p) - mpmath.arg(p) + sum(mpmath.arg(1 + mpmath.mpf(c) * p) for c in ratios)
        if p.imag < 0 and abs(turned - mpmath.arg(mpmath.mpc(z))) < 0.5:
            return p
    raise AssertionError(f"no physical root at {z}, {ratios}")


@pytest.mark.parametrize(
    "ratios", [(1e-8, 1e8), (1e8, 1e8), (1e-8, 1e-8), (3e-5, 2.0), (1.0, 1e6), (0.2, 0.3)]
)
def test_stieltjes_is_exact_at_extreme_ratios(ratios):
    law = MarchenkoPasturProduct(ratios)
    right = law.support[0][1]
    with mpmath.workdps(60):
        for z in (
            1j,
            complex(0.5 * right, 0.1 * right),
            complex(-right, 1e-3 * right),
            complex(2 * right, right),
        ):
            wanted = complex(-(1 + physical_root(z, ratios)) / mpmath.mpmathify(z))
            assert complex(law.stieltjes(z)) == pytest.approx(wanted, rel=1e-12)
