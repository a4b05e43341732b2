"""The law of the largest eigenvalue, against published tables, its Painlevé equation and simulation."""

import numpy as np
import pytest
from scipy import integrate, linalg, special, stats

from resolvent import MarchenkoPastur
from resolvent.laws import TracyWidom, Wachter, tracy_widom

LAW = TracyWidom()


def quadrature(function, left, right):
    nodes, weights = np.polynomial.legendre.leggauss(150)
    middle, half = (left + right) / 2, (right - left) / 2
    return half * np.sum(weights * function(middle + half * nodes))


def by_painleve(points):
    """F1 = exp(−½ ∫ q + (x−s) q² dx) with the Hastings-McLeod solution q'' = s q + 2 q³ (Tracy and Widom 1996)."""
    start = 8.0
    ai, slope, _, _ = special.airy(start)
    tail = integrate.quad(lambda x: special.airy(x)[0], start, 30)[0]

    def right_side(s, y):  # y = q, q', ∫q, ∫q², ∫(x−s)q²
        return [y[1], s * y[0] + 2 * y[0] ** 3, -y[0], -(y[0] ** 2), -y[3]]

    first = [ai, slope, tail, 0.0, 0.0]
    solution = integrate.solve_ivp(
        right_side, (start, points.min()), first, t_eval=np.sort(points)[::-1], rtol=1e-12, atol=1e-15
    )
    return np.exp(-(solution.y[2] + solution.y[4]) / 2)[::-1]


def test_agrees_with_the_painleve_equation():
    points = np.linspace(-4.0, 3.0, 29)
    np.testing.assert_allclose(LAW.cdf(points), by_painleve(points), atol=1e-8)


@pytest.mark.parametrize(("u", "s"), [(0.95, 0.9793), (0.99, 2.0234), (0.999, 3.2724)])
def test_quantiles_are_the_published_ones(u, s):
    assert LAW.ppf(u) == pytest.approx(s, abs=3e-4)
    assert LAW.isf(1 - u) == pytest.approx(LAW.ppf(u), rel=1e-9)


def test_moments_are_the_published_ones():
    # Bornemann (2010)
    assert LAW.mean() == pytest.approx(-1.2065335745820, abs=1e-12)
    assert LAW.var() == pytest.approx(1.6077810345810, abs=1e-12)
    mean = quadrature(LAW.sf, 0, 20) - quadrature(LAW.cdf, -12, 0)
    second = quadrature(lambda s: 2 * s * LAW.sf(s), 0, 20) - quadrature(lambda s: 2 * s * LAW.cdf(s), -12, 0)
    assert mean == pytest.approx(LAW.mean(), abs=1e-11)
    assert second - mean**2 == pytest.approx(LAW.var(), abs=1e-11)


@pytest.mark.parametrize("s", [10.0, 30.0, 60.0, 90.0])
def test_tiny_tails_keep_their_relative_accuracy(s):
    # the trace of the kernel, half the integral of Ai from s on; the next term is its square
    scaled = integrate.quad(
        lambda t: special.airye(s + t)[0] * np.exp(-2 / 3 * ((s + t) ** 1.5 - s**1.5)), 0, 20
    )[0]
    assert np.log(LAW.sf(s)) == pytest.approx(np.log(scaled / 2) - 2 / 3 * s**1.5, rel=1e-12)


@pytest.mark.parametrize("u", [1e-280, 1e-100, 1e-20, 1e-5, 0.1, 0.5, 0.9])
def test_quantiles_invert(u):
    assert LAW.sf(LAW.isf(u)) == pytest.approx(u, rel=1e-11)
    assert LAW.cdf(LAW.ppf(u)) == pytest.approx(u, rel=1e-11)


def test_the_two_tails_complement():
    s = np.linspace(-9, 6, 31)
    np.testing.assert_allclose(LAW.cdf(s) + LAW.sf(s), 1, atol=1e-15)
    assert np.all(np.diff(LAW.cdf(np.linspace(-30, 8, 200))) >= 0)


def test_the_lower_series_joins_the_determinant():
    before, after = np.log(LAW.cdf([-9.0 - 1e-9, -9.0 + 1e-9]))
    assert before == pytest.approx(after, abs=2e-5)
    # and approaches it from there on
    s = np.array([-4.0, -5.0, -6.0, -7.0, -8.0])
    off = np.abs(tracy_widom._lower_series(s) - np.log(LAW.cdf(s)))
    assert np.all(np.diff(off) < 0)
    assert off[-1] < 1e-5


def test_ends_and_shapes():
    np.testing.assert_array_equal(LAW.cdf([-np.inf, np.inf]), [0, 1])
    np.testing.assert_array_equal(LAW.sf([-np.inf, np.inf]), [1, 0])
    np.testing.assert_array_equal(LAW.ppf([0.0, 1.0]), [-np.inf, np.inf])
    np.testing.assert_array_equal(LAW.isf([0.0, 1.0]), [np.inf, -np.inf])
    for function in (LAW.cdf, LAW.sf):
        np.testing.assert_array_equal(function([np.nan, 0.0]), [np.nan, function(0.0)])
    assert LAW.sf(np.zeros((2, 3))).shape == (2, 3)
    assert np.ndim(LAW.sf(0.0)) == 0
    assert LAW.sf(200.0) == 0


@pytest.mark.parametrize("method", ["ppf", "isf"])
def test_only_probabilities_have_quantiles(method):
    with pytest.raises(ValueError, match=r"u must be probabilities in \[0, 1\], got 1.5"):
        getattr(LAW, method)(1.5)


@pytest.mark.parametrize(("d", "n", "null"), [(2e5, 4e5, 8e5), (2e5, 1e5, 3e5)])
def test_edge_of_an_f_matrix_is_johnstones(d, n, null):
    # Johnstone (2008), theorem 1: log θ/(1−θ) has this centre and scale
    total = null + n - 1
    gamma = 2 * np.arcsin(np.sqrt((min(d, n) - 0.5) / total))
    phi = 2 * np.arcsin(np.sqrt((max(d, n) - 0.5) / total))
    centre = 2 * np.log(np.tan((phi + gamma) / 2))
    width = (16 / total**2 / (np.sin(phi + gamma) ** 2 * np.sin(phi) * np.sin(gamma))) ** (1 / 3)
    law = Wachter(d / n, d / null)
    edge = null / n * np.exp(centre)
    assert law.support[0][1] == pytest.approx(edge, rel=1e-4)
    assert law.inverse_map.edge_scale() * d ** (-2 / 3) == pytest.approx(edge * width, rel=1e-4)


def top_of_f_matrices(d, n, null, draws, seed):
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(draws):
        x, y = rng.standard_normal((d, n)), rng.standard_normal((d, null))
        out.append(
            linalg.eigh(x @ x.T / n, y @ y.T / null, eigvals_only=True, subset_by_index=[d - 1, d - 1])[0]
        )
    return np.array(out)


def test_the_top_eigenvalue_of_f_matrices_follows():
    d, n, null = 100, 200, 400
    law = Wachter(d / n, d / null)
    # a log, as Johnstone has it, halves the distance of finite sizes
    edge, width = law.support[0][1], law.inverse_map.edge_scale() * d ** (-2 / 3)
    s = np.log(top_of_f_matrices(d, n, null, 300, 5) / edge) * edge / width
    assert stats.kstest(s, LAW.cdf).pvalue > 1e-3
    # the twin: the edge of the sample alone
    other = MarchenkoPastur(d / n)
    wrong = np.log(top_of_f_matrices(d, n, null, 50, 6) / other.support[0][1]) * edge / width
    assert stats.kstest(wrong, LAW.cdf).pvalue < 1e-10
