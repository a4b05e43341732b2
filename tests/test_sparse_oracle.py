"""Oracle errors of sparse tokens against the model as defined, quadrature, brute force and published bounds."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln, ndtr
from scipy.stats import norm

from resolvent.sparse_token import oracle
from resolvent.sparse_token.oracle import hardmax_error, oracle_errors, pooled_error, vectorised_bound
from resolvent.sparse_token.tokens import SparseTokens

SETTINGS = [  # length, informative, signal, rarity
    (10, 1, 3.0, 0.5),
    (10, 3, 2.0, 0.2),
    (30, 2, 3.0, 0.7),
    (100, 1, 5.0, 0.05),
    (100, 5, 2.5, 0.02),
    (6, 5, 1.0, 0.4),
    (2, 1, 0.3, 0.5),
]


def wrong(score, labels):
    return (np.sign(score) != labels).astype(float)


def z(values, expected):
    return (values.mean() - expected) / (values.std(ddof=1) / np.sqrt(values.size))


def simulate(tokens, kappa, b, samples=20_000, seed=0):
    """Errors of attention as defined: X in full, q = kappa xi (beta = 1), w = xi, here the first axis."""
    parts = []
    for x, labels, _ in tokens.chunks(samples, dimension=3, seed=seed):
        scores = kappa * x[:, :, 0]
        a = np.exp(scores - scores.max(axis=1, keepdims=True))
        feature = np.einsum("nl,nld->nd", a / a.sum(axis=1, keepdims=True), x)
        parts.append(wrong(feature[:, 0] + b, labels))
    return np.concatenate(parts)


@pytest.mark.parametrize("setting", SETTINGS)
def test_pooled_is_the_error_of_pooled_classifiers(setting):
    tokens = SparseTokens(*setting)
    length, informative, signal, rarity = setting
    mu = signal * informative / np.sqrt(length)
    t = mu / 2 + np.log((1 - rarity) / rarity) / mu
    errors = simulate(tokens, 0.0, -t / np.sqrt(length), samples=40_000)
    assert abs(z(errors, pooled_error(mu, rarity))) < 4
    # no other threshold is better, nor is a weight off the signal, which only lowers mu
    cost = minimize_scalar(
        lambda s: rarity * ndtr(s - mu) + (1 - rarity) * ndtr(-s), bracket=(t - 1, t), tol=1e-12
    )
    assert pooled_error(mu, rarity) == pytest.approx(min(cost.fun, rarity, 1 - rarity), abs=1e-10)


def test_pooled_with_the_wrong_scale_fails():
    tokens = SparseTokens(10, 3, 2.0, 0.4)
    mu = 6 / np.sqrt(10)
    errors = simulate(tokens, 0.0, -(mu / 2 + np.log(1.5) / mu) / np.sqrt(10), samples=40_000)
    assert abs(z(errors, pooled_error(mu, 0.4))) < 4
    assert abs(z(errors, pooled_error(6 / 10, 0.4))) > 10
    assert abs(z(errors, pooled_error(2 * np.sqrt(3 / 10), 0.4))) > 10


def test_pooled_at_its_ends():
    rarity = np.array([1e-300, 1e-9, 0.2, 0.5, 0.9, 1 - 1e-15])
    chance = np.minimum(rarity, 1 - rarity)
    for mu in (0.0, 1e-320, 1e-12):
        assert np.allclose(pooled_error(mu, rarity), chance, rtol=1e-11, atol=0)
    assert np.array_equal(pooled_error(np.inf, rarity), 0 * rarity)
    mu = np.linspace(0, 30, 301)[:, None]
    errors = pooled_error(mu, rarity)
    assert (np.diff(errors, axis=0) <= 1e-16).all()
    assert (errors <= chance).all()
    assert np.allclose(pooled_error(mu, 0.25), pooled_error(mu, 0.75), rtol=1e-13)
    # relative precision where errors are tiny
    assert pooled_error(20.0, 0.5) == pytest.approx(norm.sf(10), rel=1e-13, abs=0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_attention_is_the_error_of_attention_as_defined(setting):
    tokens = SparseTokens(*setting)
    found = oracle_errors(tokens, draws=20_000, seed=3)
    kappa = min(found.kappa, 1e4)  # the hard max
    errors = simulate(tokens, kappa, found.intercept, samples=40_000, seed=5)
    spread = np.hypot(errors.std(ddof=1) / 200, found.attention_spread)
    assert abs(errors.mean() - found.attention) < 4 * spread + 1e-15


def test_attention_of_another_temperature_fails():
    tokens = SparseTokens(10, 3, 2.0, 0.4)
    found = oracle_errors(tokens, draws=20_000)
    for kappa in (0.0, 5 * found.kappa):
        assert z(simulate(tokens, kappa, found.intercept), found.attention) > 5


@pytest.mark.parametrize("setting", SETTINGS)
def test_orders(setting):
    length, informative, signal, rarity = setting
    found = oracle_errors(SparseTokens(*setting), draws=4000)
    mu = signal * informative / np.sqrt(length)
    assert found.pooled == pooled_error(mu, rarity) <= min(rarity, 1 - rarity)
    assert found.hardmax == hardmax_error(*setting)
    assert found.vectorised_bound <= found.vectorised <= found.pooled
    # Bayes is below every classifier, but below no lower bound of one
    slack = 4 * found.bayes_spread
    for error in (found.pooled, found.vectorised, found.hardmax):
        assert found.bayes <= error + slack
    assert found.bayes <= found.attention + slack * (found.attention_spread == 0)
    assert found.attention <= min(found.pooled, found.hardmax) + 4 * found.attention_spread


def test_bayes_may_lie_on_either_side_of_the_vectorised_bound():
    # near zero signal nothing separates them; above, Bayes wins by far
    found = oracle_errors(SparseTokens(100, 1, 5.0, 0.5), draws=2000)
    assert found.bayes < found.vectorised_bound / 5


def quadrature(length, informative, signal, rarity, constant=0.5):
    """Bayes error: exact in the first number, where the likelihood ratio is monotone, a grid for the others."""
    nodes = np.linspace(-8, 8 + signal, 40_001 if length == 2 else 1001)  # fine: the threshold falls steeply
    x = np.stack(np.meshgrid(*[nodes] * (length - 1), indexing="ij"))

    def symmetric(degree):
        some = itertools.combinations(range(length - 1), degree)
        return sum(np.exp(signal * sum((x[i] for i in one), 0 * x[0])) for one in some) + 0 * x[0]

    without, per_first = symmetric(informative), symmetric(informative - 1)
    level = math.comb(length, informative) * np.exp(
        informative * constant * signal**2
    )  # e_R where the ratio is 1
    room = level * (1 - rarity) / rarity - without
    with np.errstate(divide="ignore"):
        first = np.log(np.maximum(room, 0) / per_first) / signal
    missed = without * ndtr(first) + per_first * np.exp(constant * signal**2) * ndtr(first - signal)
    error = (1 - rarity) * ndtr(-first) + rarity * missed / level
    return (error * norm.pdf(x).prod(axis=0)).sum() * (nodes[1] - nodes[0]) ** (length - 1)


@pytest.mark.parametrize("setting", [(2, 1, 1.5, 0.5), (2, 1, 3.0, 0.2), (3, 2, 1.2, 0.6), (3, 1, 2.0, 0.03)])
def test_bayes_agrees_with_quadrature(setting):
    found = oracle_errors(SparseTokens(*setting), draws=40_000, seed=1)
    assert abs(found.bayes - quadrature(*setting)) < 4 * found.bayes_spread
    assert abs(found.bayes - quadrature(*setting, constant=0.4)) > 20 * found.bayes_spread


def naive_log_ratio(x, informative, signal):
    """Likelihood ratio by enumeration of subsets, in long double."""
    x = np.asarray(x, dtype=np.longdouble)
    subsets = list(itertools.combinations(range(x.shape[1]), informative))
    logs = np.stack([signal * x[:, list(some)].sum(axis=1) for some in subsets]) - informative * signal**2 / 2
    return (np.logaddexp.reduce(logs) - np.log(len(subsets))).astype(float)


@pytest.mark.parametrize("setting", [(8, 3, 1.5, 0.3), (9, 1, 3.0, 0.5), (7, 6, 1.0, 0.2)])
def test_bayes_agrees_with_a_naive_simulation(setting):
    length, informative, signal, rarity = setting
    rng = np.random.default_rng(7)
    labels, _, marked, _ = SparseTokens(*setting).draw(40_000, rng=rng)
    x = rng.standard_normal((40_000, length)) + signal * marked
    ratio = naive_log_ratio(x, informative, signal)
    errors = wrong(ratio - np.log((1 - rarity) / rarity), labels)
    found = oracle_errors(SparseTokens(*setting), draws=20_000)
    spread = np.hypot(errors.std(ddof=1) / 200, found.bayes_spread)
    assert abs(errors.mean() - found.bayes) < 4 * spread
    # prior forgotten: a worse classifier, and seen as one
    if rarity < 0.5:
        assert wrong(ratio, labels).mean() - found.bayes > 5 * spread


@pytest.mark.parametrize(("length", "degree"), [(2, 1), (5, 2), (8, 7), (9, 4), (13, 3)])
def test_elementary_symmetric_polynomials(length, degree):
    x = np.random.default_rng(0).standard_normal((6, length)) * np.array([0, 0.1, 1, 30, 300, 3000])[:, None]
    logs = [x[:, list(some)].sum(axis=1) for some in itertools.combinations(range(length), degree)]
    assert np.allclose(oracle._log_symmetric(x, degree), np.logaddexp.reduce(logs), rtol=1e-12)


def test_a_huge_signal_does_not_overflow():
    for informative in (1, 4):
        found = oracle_errors(SparseTokens(20, informative, 1e4, 0.3), draws=200)
        assert found.bayes == found.attention == found.hardmax == 0
        assert 0 < found.bayes_spread <= 0.3 / 200 * (1 + 1e-12)  # unseen is not impossible


def test_spreads_are_standard_errors():
    tokens = SparseTokens(10, 3, 2.0, 0.2)
    many = [oracle_errors(tokens, draws=500, seed=seed) for seed in range(60)]
    truth = oracle_errors(tokens, draws=100_000, seed=99).bayes
    scores = np.array([(one.bayes - truth) / one.bayes_spread for one in many])
    assert abs(scores.mean()) < 4 / np.sqrt(60)
    assert 0.7 < scores.std() < 1.35


def test_tuning_does_not_flatter():
    """Choosing on the draws that report the error understates it; ours never lies below what is attainable."""
    tokens = SparseTokens(20, 2, 2.5, 0.5)
    best = oracle_errors(tokens, draws=60_000, seed=50)
    fair, flattered = [], []
    for seed in range(40):
        fair.append(oracle_errors(tokens, draws=200, seed=seed).attention)
        scores = oracle._sample(tokens, 200, seed, np.geomspace(0.1, 5, 16))[2]
        labels = np.repeat([-1, 1], 200)
        least = min(
            np.mean(wrong(score.ravel() - cut, labels)) for score in scores for cut in score.ravel() + 1e-9
        )
        flattered.append(least)
    assert z(np.array(fair), best.attention) > -4
    assert z(np.array(flattered), best.attention) < -6


@pytest.mark.parametrize("setting", SETTINGS)
def test_hard_max(setting):
    length, informative, signal, rarity = setting
    tokens = SparseTokens(*setting)
    error, threshold = oracle._hardmax(*setting)
    labels, _, marked, _ = tokens.draw(40_000, rng=1)
    x = np.random.default_rng(2).standard_normal((40_000, length)) + signal * marked
    assert abs(z(wrong(x.max(axis=1) - threshold, labels), float(error))) < 4

    def at(c):
        missed = ndtr(c) ** (length - informative) * ndtr(c - signal) ** informative
        return rarity * missed + (1 - rarity) * (1 - ndtr(c) ** length)

    assert float(error) == pytest.approx(at(np.linspace(-6, 12, 20_001)).min(), abs=1e-7)
    assert float(error) <= at(np.linspace(-6, 12, 20_001)).min() + 1e-12


def test_the_ends_of_the_temperature():
    tokens = SparseTokens(12, 2, 2.0, 0.4)
    g = np.random.default_rng(0).standard_normal((50, 12))
    plus = g + 2.0 * (np.arange(12) < 2)
    assert np.allclose(oracle._scores(tokens, 0.0, g), [g.mean(axis=1), plus.mean(axis=1)])
    assert np.allclose(oracle._scores(tokens, 1e5, g), [g.max(axis=1), plus.max(axis=1)])
    assert np.array_equal(oracle._scores(tokens, np.inf, g), [g.max(axis=1), plus.max(axis=1)])
    a = np.exp(1.3 * plus)
    assert np.allclose(oracle._scores(tokens, 1.3, g)[1], (a * plus).sum(axis=1) / a.sum(axis=1))
    found = oracle_errors(tokens, draws=200, largest_kappa=0)
    assert (found.kappa, found.attention, found.attention_spread) == (0.0, found.pooled, 0.0)
    # and as a sampled temperature, the exact pooled error within sampling error
    _, loss, scores = oracle._sample(tokens, 40_000, np.random.SeedSequence(1), [0.0])
    posterior = oracle._sample(tokens, 40_000, np.random.SeedSequence(1), [])[0]
    errors = posterior + oracle._excess(loss, scores[0], oracle._exact(tokens, 0.0)[1])
    assert abs(z(errors, found.pooled)) < 4


def exact_error(weights, b, tokens):
    """Error of <W, X> + b, W_l = weights_l xi, by enumeration of subsets."""
    size = np.linalg.norm(weights)
    sets = itertools.combinations(range(len(weights)), int(tokens.informatives[0]))
    s = np.array([tokens.signal * weights[list(some)].sum() / size for some in sets])
    return tokens.rarity * ndtr(-b - s).mean() + (1 - tokens.rarity) * ndtr(b)


@pytest.mark.parametrize(
    "setting",
    [
        (6, 1, 4.0, 0.5),
        (8, 1, 4.0, 0.01),
        (12, 1, 6.0, 0.002),
        (6, 2, 3.0, 0.02),
        (7, 3, 4.0, 0.9),
        (9, 2, 9.0, 0.1),
    ],
)
def test_vectorised_lies_between_its_bounds(setting):
    """General weights, searched from many starts, reach the upper bound and never pass the lower."""
    tokens = SparseTokens(*setting)
    length, informative, signal, rarity = setting
    bound = vectorised_bound(signal * informative / np.sqrt(length), rarity)
    upper = min(oracle._two_levels(tokens), pooled_error(signal * informative / np.sqrt(length), rarity))
    rng, best = np.random.default_rng(0), np.inf
    for _ in range(12):
        start = np.r_[0.3 * rng.standard_normal(length) + 0.5, -3 * rng.random()]
        start[: rng.integers(0, length)] += 3
        found = minimize(lambda p: exact_error(p[:-1], p[-1], tokens) / rarity, start, method="BFGS")
        assert found.fun * rarity >= bound - 1e-12
        best = min(best, found.fun * rarity)
    assert best == pytest.approx(upper, rel=1e-3)
    assert upper >= bound - 1e-12


def test_pooling_is_not_always_the_best_vectorised_classifier():
    tokens = SparseTokens(100, 1, 5.0, 0.05)
    found = oracle_errors(tokens, draws=100)
    assert found.vectorised < 0.993 * found.pooled  # so a bound that equalled the pooled error would be wrong
    assert found.vectorised == pytest.approx(found.vectorised_bound, rel=5e-4)  # R = 1: all but closed
    weights = np.r_[np.ones(17), np.zeros(83)]
    least = minimize_scalar(lambda b: exact_error(weights, b, tokens), bracket=(-3, -2))
    assert found.vectorised < least.fun < found.pooled


def markov(mu, rarity):
    """Cruder lower bound: P(s > M) <= mu/M, from the mean of the signal alone."""
    b = np.linspace(-45, 10, 2000)
    large = mu + np.geomspace(1e-4, 60, 200)[:, None] if mu else np.geomspace(1e-4, 60, 200)[:, None]
    return (rarity * (1 - mu / large) * ndtr(-b - large) + (1 - rarity) * ndtr(b)).min(axis=1).max()


def test_vectorised_bound_is_above_the_crude_one_and_below_pooled():
    for rarity in (1e-4, 0.01, 0.1, 0.5, 0.8):
        for mu in (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0):
            bound = vectorised_bound(mu, rarity)
            assert markov(mu, rarity) <= bound + 1e-9 * rarity
            assert 0 < bound <= pooled_error(mu, rarity)
    assert vectorised_bound(np.inf, 0.3) == 0
    assert vectorised_bound(0.0, 0.3) == pytest.approx(0.3, abs=1e-12)
    grid = vectorised_bound(np.linspace(0.1, 6, 9)[:, None], [0.01, 0.5])
    assert grid.shape == (9, 2)
    assert grid[3, 0] == pytest.approx(vectorised_bound(np.linspace(0.1, 6, 9)[3], 0.01), rel=1e-9)


def hull_bound(mu, rarity):
    """The same bound by brute force: the convex hull of Φ(−b − √x) at mu², from all pairs of grid points."""
    best = np.inf
    s = np.r_[0, np.geomspace(1e-6, 40, 900)]
    low, high = s[s < mu], s[s > mu]
    share = (high**2 - mu**2) / (high**2 - low[:, None] ** 2)
    for b in np.linspace(-8, 1, 181):
        hull = (share * ndtr(-b - low)[:, None] + (1 - share) * ndtr(-b - high)).min()
        best = min(best, rarity * min(hull, ndtr(-b - mu)) + (1 - rarity) * ndtr(b))
    return best


@pytest.mark.parametrize(("mu", "rarity"), [(0.3, 0.2), (0.5, 0.05), (1.0, 0.01), (2.0, 0.001), (4.0, 1e-5)])
def test_chords_are_those_of_the_convex_hull(mu, rarity):
    assert vectorised_bound(mu, rarity) == pytest.approx(hull_bound(mu, rarity), rel=2e-3)
    assert vectorised_bound(mu, rarity) <= hull_bound(mu, rarity) * (1 + 1e-9)
    assert vectorised_bound(mu, rarity) < 0.999 * pooled_error(mu, rarity)


def test_long_sequences():
    lengths = np.array([1e2, 1e4, 1e8, 1e16])
    edge = np.sqrt(2 * np.log(lengths))
    assert (np.diff(hardmax_error(lengths, 1, 1.5 * edge, 0.5)) < 0).all()
    assert hardmax_error(lengths[-1], 1, 1.5 * edge[-1], 0.5) < 3e-4
    assert (np.diff(hardmax_error(lengths, 2, 0.6 * edge, 0.5)) > 0).all()
    assert hardmax_error(lengths[-1], 2, 0.6 * edge[-1], 0.5) > 0.49
    # signal log L, far below the √L of linear classifiers
    assert (np.diff(hardmax_error(lengths, 1, np.log(lengths), 0.3)) < 0).all()
    linear = vectorised_bound(np.log(lengths) / np.sqrt(lengths), 0.3)
    assert (np.diff(linear) > 0).all()
    assert linear[-1] > 0.29999


def test_a_bounded_temperature_needs_a_signal_of_log_length_over_twice_it():
    def at(factor, length, draws):
        tokens = SparseTokens(length, 1, factor * np.log(length), 0.5)
        return oracle_errors(tokens, draws=draws, largest_kappa=1.0)

    # between log(L)/2 and log L the error falls, below it rises (it would fall at neither were log L the scale)
    falls = [at(0.75, length, draws) for length, draws in ((30, 4000), (300, 4000), (3000, 2000))]
    rises = [at(0.25, length, draws) for length, draws in ((30, 4000), (300, 4000), (3000, 2000))]
    assert [one.kappa for one in falls] == pytest.approx([1, 1, 1], rel=0.2)
    for first, second in itertools.pairwise(falls):
        assert second.attention < first.attention / 1.7
    for first, second in itertools.pairwise(rises):
        assert second.attention > first.attention + 4 * np.hypot(
            first.attention_spread, second.attention_spread
        )
    assert falls[-1].hardmax < falls[-1].attention  # a hard max is better still


@pytest.mark.parametrize(
    "tokens",
    [
        SparseTokens((10, 12), 1, 2.0, 0.5),
        SparseTokens(10, (1, 2), 2.0, 0.5),
        SparseTokens(10, 1, 2.0, 0.5, signals=2),
    ],
)
def test_mixtures_are_refused(tokens):
    with pytest.raises(ValueError, match="one length, one informative and signals=1, got SparseTokens"):
        oracle_errors(tokens)


def test_bad_input():
    tokens = SparseTokens(10, 1, 2.0, 0.5)
    for options in (
        {"draws": 99},
        {"draws": 1e3},
        {"seed": -1},
        {"largest_kappa": -1.0},
        {"largest_kappa": np.nan},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            oracle_errors(tokens, **options)
    for function in (pooled_error, vectorised_bound):
        with pytest.raises(ValueError, match="mu must be >= 0"):
            function(-1.0, 0.5)
        with pytest.raises(ValueError, match="rarity must be strictly between 0 and 1"):
            function(1.0, [0.5, 1.0])
    for bad, name in (((1, 1, 2, 0.5), "informative"), ((9, 1, -2, 0.5), "signal"), ((9, 1, 2, 0), "rarity")):
        with pytest.raises(ValueError, match=name):
            hardmax_error(*bad)
    assert SparseTokens((10,), (1,), 2.0, 0.5).kinds.shape == (1, 3)
    assert oracle_errors(SparseTokens((10,), (1,), 2.0, 0.5), draws=100) == oracle_errors(tokens, draws=100)


def test_chunks_do_not_change_the_draws():
    tokens = SparseTokens(2**19, 1, 8.0, 0.5)  # two draws at a time
    whole = np.concatenate(list(oracle._normals(tokens, 5, np.random.SeedSequence(0))))
    assert np.array_equal(whole, np.random.default_rng(np.random.SeedSequence(0)).standard_normal((5, 2**19)))
    subsets = gammaln(2**19 + 1) - gammaln(2**19)
    assert subsets == pytest.approx(np.log(2**19), rel=1e-8)  # the binomial coefficient of long sequences


def test_the_figure(monkeypatch):
    pytest.importorskip("matplotlib")
    from resolvent.experiments import oracle_error

    monkeypatch.setitem(oracle_error.SIZES, "quick", {"longest": 200, "lengths": 3, "draws": 200})
    data = oracle_error.run("quick")
    assert data.attrs["title"]
    assert "R = 1 of L" in data.attrs["caption"]
    logarithm, root = data.sel(growth="log L"), data.sel(growth="√L")
    assert (np.diff(logarithm.pooled) > 0).all()
    assert np.allclose(root.pooled, root.pooled_limit)
    assert np.allclose(data.pooled, data.vectorised_bound)
    assert (np.diff(data.attention, axis=1) < 0).all()
    figure = oracle_error.draw(data)
    assert len(figure.axes) == 2
