r"""Oracle errors: how well pooled, vectorised, attention and Bayes classifiers do when ξ is known.

With ξ known only the L numbers x = Xξ are left: standard normal, R of them shifted by theta when y = +1. One
number, mu = theta R/√L, governs everything linear (derived in docs/theory/sparse_token.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, plain, require, seed_number
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["OracleErrors", "hardmax_error", "oracle_errors", "pooled_error", "vectorised_bound"]


@dataclass(frozen=True)
class OracleErrors:
    """Smallest test errors of each kind of classifier, ξ known.

    Attributes
    ----------
    pooled, hardmax : float
        Exact; the hard max is attention with kappa infinite.
    vectorised : float
        Exact error of the best weights of two levels, so an upper bound of the vectorised oracle.
    vectorised_bound : float
        What no vectorised classifier can go below; where it equals `pooled`, pooling is the vectorised oracle.
    attention, attention_spread, kappa, intercept : float
        Query and unit read-out along ξ; standard error; β‖q‖ (maybe infinite) and b, tuned on other draws.
    bayes, bayes_spread : float
        Likelihood ratio, the smallest error of all; its standard error.

    Examples
    --------
    >>> oracle_errors(SparseTokens(length=9, informative=1, signal=0.1, rarity=0.2), draws=100).pooled
    0.2
    """

    pooled: float
    hardmax: float
    vectorised: float
    vectorised_bound: float
    attention: float
    attention_spread: float
    kappa: float
    intercept: float
    bayes: float
    bayes_spread: float


def oracle_errors(
    tokens: SparseTokens, *, draws: int = 2**14, seed: int = 0, largest_kappa: float = np.inf
) -> OracleErrors:
    """Errors of all oracles: closed forms, and Monte Carlo over the L numbers Xξ for attention and Bayes.

    Attention is tuned on half as many draws and reported on others, so no choice flatters it. Standard errors
    are at least min(pi, 1 − pi)/draws, the size of errors too rare to be seen.

    Parameters
    ----------
    tokens : SparseTokens
        With one L, one R and one signal direction.
    draws : int, default 16384
    seed : int, default 0
    largest_kappa : float, default inf
        Attention is tuned over kappa in [0, largest_kappa].

    Raises
    ------
    ValueError
        If `tokens` have several lengths, informative counts or signals, or another argument is out of range.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_ compare the classifiers; derived in docs/theory/sparse_token.md, section 2.

    Examples
    --------
    >>> errors = oracle_errors(SparseTokens(length=20, informative=1, signal=4.0, rarity=0.5), draws=2000)
    >>> errors.bayes < errors.attention < errors.pooled
    True
    >>> errors.vectorised_bound == errors.vectorised == errors.pooled
    True
    """
    length, informative = _fixed(tokens)
    draws, seed, pi = natural("draws", draws, 100), seed_number(seed), tokens.rarity
    largest = np.inf if largest_kappa == np.inf else number("largest_kappa", largest_kappa, least=0)
    ends = {kappa: _exact(tokens, kappa) for kappa in (0.0, np.inf)}
    tuning, reporting = np.random.SeedSequence(seed).spawn(2)
    kappa, b = _tune(tokens, draws // 2, tuning, largest)
    posterior, loss, scores = _sample(tokens, draws, reporting, [*ends, kappa])
    lost = [_excess(loss, score, at) for score, at in zip(scores, [*(at for _, at in ends.values()), b])]
    # Bayes is the posterior's mean, or what is exact less what it loses to Bayes: whichever varies least
    bayes = min(posterior, *(error - e for (error, _), e in zip(ends.values(), lost)), key=np.std)
    floor = min(pi, 1 - pi) / draws
    attention = (ends[kappa][0], 0.0) if kappa in ends else _mean(bayes + lost[2], floor)
    bound = float(vectorised_bound(tokens.signal * informative / np.sqrt(length), pi))
    linear = min(max(_two_levels(tokens), bound), ends[0][0]), bound
    return OracleErrors(ends[0][0], ends[np.inf][0], *linear, *attention, kappa, b, *_mean(bayes, floor))


def pooled_error(mu: Any, rarity: Any) -> Any:
    """Error of the pooled oracle, exact at any length and the limit of long sequences.

    Parameters
    ----------
    mu, rarity : float or array
        theta R/√L in [0, ∞], where linear classifiers succeed at ∞ only; P(y = +1), strictly between 0 and 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    docs/theory/sparse_token.md, section 2; that mu governs the limit is due to [barnfield2026]_.

    Examples
    --------
    >>> print(pooled_error([0.0, 2.0], 0.5).round(4))
    [0.5    0.1587]
    """
    from scipy.special import ndtr

    mu, rarity = _checked(mu, rarity)
    odds = _odds(rarity)
    with np.errstate(divide="ignore", over="ignore"):
        away = odds / np.where(odds == 0, 1.0, mu)
    return plain(rarity * ndtr(away - mu / 2) + (1 - rarity) * ndtr(-away - mu / 2))


def vectorised_bound(mu: Any, rarity: Any) -> Any:
    r"""Lower bound of the error of every vectorised classifier <W, X> + b.

    The score's signal s has E s² <= mu², and Φ(−b − √x) is convex in x = s² for b >= −2: there pooling is best. Below,
    its convex hull has one chord, between (m ± delta)² with m = delta/tanh(u delta), b = −m − u and
    Φ(u + delta) − Φ(u − delta) = delta[φ(u + delta) + φ(u − delta)]. The least of pooled and chords is the bound.

    Parameters
    ----------
    mu, rarity : float or array
        As in `pooled_error`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Derived in docs/theory/sparse_token.md, section 2; that linear errors stay positive is due to [barnfield2026]_.

    Examples
    --------
    >>> print(np.round([vectorised_bound(1.0, 0.5), vectorised_bound(1.0, 0.01)], 5))
    [0.30854 0.00969]
    """
    mu, rarity = np.broadcast_arrays(*_checked(mu, rarity))
    size, share = np.where(np.isfinite(mu), mu, 0.0).reshape(-1, 1), rarity.reshape(-1, 1)
    # a threshold beyond 40 + mu is too far out for the rarest label a double can hold
    delta = np.geomspace(0.02, 40 + size.max(initial=0.0), 400)[None]
    for _ in range(8):
        error = _on_chord(delta, size, share)
        around = np.clip(error.argmin(axis=1)[:, None] + [-1, 1], 0, delta.shape[1] - 1)
        ends = np.take_along_axis(np.broadcast_to(delta, error.shape), around, 1)
        delta = ends[:, :1] + np.diff(ends) * np.linspace(0, 1, 9)
    chord = np.where(np.isfinite(mu), error.min(axis=1).reshape(mu.shape), np.inf)
    return plain(np.minimum(pooled_error(mu, rarity), chord))


def hardmax_error(length: Any, informative: Any, signal: Any, rarity: Any) -> Any:
    """Exact error of attention as kappa tends to infinity: a threshold on the largest of the L numbers Xξ.

    Parameters
    ----------
    length, informative, signal, rarity : float or array
        L, R, theta and P(y = +1); broadcast.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Derived in docs/theory/sparse_token.md, section 2.

    Examples
    --------
    >>> print(hardmax_error([100, 10000], 1, 8.0, 0.5).round(4))
    [0.0003 0.0017]
    """
    return plain(_hardmax(length, informative, signal, rarity)[0])


def _fixed(tokens: SparseTokens) -> tuple[int, int]:
    """L and R, where there is one of each."""
    if len(tokens.kinds) > 1 or tokens.signals > 1:
        raise ValueError(f"tokens must have one length, one informative and signals=1, got {tokens}")
    return int(tokens.lengths[0]), int(tokens.informatives[0])


def _checked(mu: Any, rarity: Any) -> list[np.ndarray]:
    _, m, pi = arrays(mu, rarity, names="mu rarity")
    require("mu", mu, m >= 0, ">= 0")
    require("rarity", rarity, (pi > 0) & (pi < 1), "strictly between 0 and 1")
    return [np.asarray(m), np.asarray(pi)]


def _odds(rarity: Any) -> Any:
    """Log-odds of y = −1."""
    return np.log1p(-rarity) - np.log(rarity)


def _mean(values: np.ndarray, floor: float) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std(ddof=1) / np.sqrt(values.size)), floor)


def _zoom(grid: np.ndarray, best: Any, size: int) -> np.ndarray:
    """A finer grid around the best point of one."""
    low, high = grid[np.clip([best - 1, best + 1], 0, grid.size - 1)]
    return np.linspace(low, high, size)


def _root(decreasing: Callable[[np.ndarray], np.ndarray], low: Any, high: Any) -> np.ndarray:
    """Where a function changes from positive to negative, by bisection to rounding."""
    for _ in range(64):
        middle = (low + high) / 2
        left = decreasing(middle) > 0
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return (low + high) / 2


def _on_chord(delta: np.ndarray, mu: np.ndarray, rarity: np.ndarray) -> np.ndarray:
    """Error with the signal at the two ends of a chord, second moment mu²; inf where it has no such point."""
    from scipy.special import ndtr

    def trapezoid(u: np.ndarray) -> np.ndarray:
        heights = np.exp(-((u + delta) ** 2) / 2) + np.exp(-((u - delta) ** 2) / 2)
        return ndtr(u + delta) - ndtr(u - delta) - delta * heights / np.sqrt(2 * np.pi)

    u = _root(trapezoid, 0.0, delta + 1)  # convex beyond 1: the rule is too large there
    m = delta / np.tanh(u * delta)
    low = ((m + delta) ** 2 - mu**2) / (4 * m * delta)  # probability of the lower end
    error = rarity * (low * ndtr(u + delta) + (1 - low) * ndtr(u - delta)) + (1 - rarity) * ndtr(-m - u)
    return np.where((low > 0) & (low < 1), error, np.inf)


def _two_levels(tokens: SparseTokens) -> float:
    """Least error of weights 1 on k tokens and `ratio` on the others, a grid over both and two finer ones."""
    from scipy.special import logsumexp, ndtr
    from scipy.stats import hypergeom

    (length, informative), pi = _fixed(tokens), tokens.rarity
    hits = np.arange(informative + 1)

    def error(k: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        chance = hypergeom.pmf(hits, length, informative, k)
        s = tokens.signal * (hits + ratio * (informative - hits)) / np.sqrt(k + ratio**2 * (length - k))
        over = {"b": chance, "axis": -1, "keepdims": True}
        b = _root(lambda b: logsumexp(-b * s - s**2 / 2, **over) - _odds(pi), -40 - s.max(), 40.0)
        return pi * (chance * ndtr(-b - s)).sum(axis=-1) + (1 - pi) * ndtr(b)[..., 0]

    k: np.ndarray = np.unique(np.geomspace(1, length, 33).round())
    ratio = np.linspace(0, 1, 17)
    for _ in range(3):
        found = error(k[:, None, None], ratio[None, :, None])
        i, j = np.unravel_index(found.argmin(), found.shape)
        k, ratio = np.unique(_zoom(k, i, 17).round()), _zoom(ratio, j, 17)
    return float(found.min())


def _hardmax(length: Any, informative: Any, signal: Any, rarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Error and threshold; the largest number has a monotone likelihood ratio, so the best one is one root."""
    from scipy.special import log_ndtr

    given = arrays(length, informative, signal, rarity, names="length informative signal rarity")
    L, R, theta, pi = np.broadcast_arrays(*given[1:])
    require("informative", informative, (R >= 1) & (R < L), ">= 1 and below length")
    require("signal", signal, np.isfinite(theta) & (theta > 0), "finite and > 0")
    require("rarity", rarity, (pi > 0) & (pi < 1), "strictly between 0 and 1")

    def absent(c: np.ndarray) -> np.ndarray:  # log-odds of y = −1 when the largest number is c
        ratio = log_ndtr(c - theta) - log_ndtr(c)
        present = np.logaddexp(np.log(L - R) + ratio, np.log(R) + theta * c - theta**2 / 2)
        return _odds(pi) + np.log(L) - present - (R - 1) * ratio

    c = _root(absent, -40.0, theta + 40.0)
    missed = np.exp((L - R) * log_ndtr(c) + R * log_ndtr(c - theta))
    return pi * missed - (1 - pi) * np.expm1(L * log_ndtr(c)), c


def _exact(tokens: SparseTokens, kappa: float) -> tuple[float, float]:
    """Error and intercept of attention at kappa zero or infinity."""
    (length, informative), pi = _fixed(tokens), tokens.rarity
    if kappa:
        error, threshold = _hardmax(length, informative, tokens.signal, pi)
        return float(error), -float(threshold)
    mean = tokens.signal * informative / length
    return float(pooled_error(mean * np.sqrt(length), pi)), -float(mean / 2 + _odds(pi) / (mean * length))


def _normals(tokens: SparseTokens, draws: int, seed: Any) -> Iterator[np.ndarray]:
    """The same draws of L normals at every call, about 2^20 normals at a time."""
    length, _ = _fixed(tokens)
    rng, size = np.random.default_rng(seed), max(1, 2**20 // length)
    for start in range(0, draws, size):
        yield rng.standard_normal((min(size, draws - start), length))


def _scores(tokens: SparseTokens, kappa: float, g: np.ndarray) -> np.ndarray:
    """Attention to Xξ at y = −1 and y = +1, shape (2, draws); the first R tokens are marked."""
    informative = _fixed(tokens)[1]
    marked, others = g[:, :informative], g[:, informative:]
    top = others.max(axis=1)
    if kappa == np.inf:
        return np.array([np.maximum(top, x.max(axis=1)) for x in (marked, marked + tokens.signal)])
    a = np.exp(kappa * (others - top[:, None]))  # used for both labels
    noise, weight = np.einsum("ij,ij->i", a, others), a.sum(axis=1)
    scores = []
    for x in (marked, marked + tokens.signal):
        peak = np.maximum(top, x.max(axis=1))
        rest, few = np.exp(kappa * (top - peak)), np.exp(kappa * (x - peak[:, None]))
        scores.append((rest * noise + (few * x).sum(axis=1)) / (rest * weight + few.sum(axis=1)))
    return np.array(scores)


def _sample(tokens: SparseTokens, draws: int, seed: Any, kappas: Any) -> tuple[np.ndarray, ...]:
    """Error of the posterior, loss of deciding −1 where +1 is likelier (or minus the reverse), and scores.

    Shapes (draws,), (2, draws) and (kappas, 2, draws). Every draw of the noise serves both labels, equally often
    and weighted, so that rare ones are seen.
    """
    from scipy.special import expit, gammaln

    (length, informative), pi, parts = _fixed(tokens), tokens.rarity, []
    subsets = gammaln(length + 1) - gammaln(informative + 1) - gammaln(length - informative + 1)
    shift = tokens.signal * (np.arange(length) < informative)
    for g in _normals(tokens, draws, seed):
        sums = np.array([_log_symmetric(tokens.signal * x, informative) for x in (g, g + shift)])
        ratio = sums - subsets - informative * tokens.signal**2 / 2
        weight = pi * expit(ratio) + (1 - pi) * expit(-ratio)  # over the sum of both labels' densities
        error, loss = weight * expit(-np.abs(ratio - _odds(pi))), weight * np.tanh((ratio - _odds(pi)) / 2)
        parts.append((error.sum(axis=0), loss, np.array([_scores(tokens, k, g) for k in kappas])))
    return tuple(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))


def _excess(loss: np.ndarray, score: np.ndarray, b: float) -> np.ndarray:
    """What a threshold loses to Bayes, each draw: |2 eta − 1| wherever it decides against the posterior eta."""
    return (np.abs(loss) * ((score + b > 0) != (loss > 0))).sum(axis=0)


def _tune(tokens: SparseTokens, draws: int, seed: Any, largest: float) -> tuple[float, float]:
    """Best kappa and intercept: half of the draws choose intercepts, the other half kappa."""
    ends = [0.0, np.inf] if largest == np.inf else [0.0]
    _, loss, scores = _sample(tokens, draws, seed, ends)
    choose, compare = loss[:, ::2].ravel(), loss[:, 1::2]
    found = []

    def add(kappa: float, score: np.ndarray, b: float) -> None:
        found.append((float(_excess(compare, score[:, 1::2], b).mean()), float(kappa), b))

    for kappa, score in zip(ends, scores):
        add(kappa, score, _exact(tokens, kappa)[1])
    high = min(max(8.0, 2 * tokens.signal), largest)
    grid = np.geomspace(high / 200, high, 16) if high > 0 else np.empty(0)
    for _ in range(2 if grid.size else 0):
        parts = [[_scores(tokens, kappa, g) for kappa in grid] for g in _normals(tokens, draws, seed)]
        for kappa, score in zip(grid, np.concatenate(parts, axis=-1)):
            order = np.argsort(score[:, ::2], axis=None)
            at = score[:, ::2].ravel()[order]
            edges = np.r_[at[0] - 1, (at[1:] + at[:-1]) / 2, at[-1] + 1]
            # the lowest scores are decided −1, as many as makes their total loss least
            add(kappa, score, -float(edges[np.argmin(np.r_[0.0, np.cumsum(choose[order])])]))
        grid = _zoom(grid, np.argmin([excess for excess, *_ in found[-grid.size :]]), 9)
    return min(found, key=lambda one: one[0])[1:]  # the exact ends come first where several are equal


def _log_symmetric(x: np.ndarray, degree: int) -> np.ndarray:
    """log e_R(e^x_1, …, e^x_L) of rows, by multiplying the polynomials 1 + e^x_l z in pairs, in logarithms."""
    if degree == 1:
        top = x.max(axis=1)
        return top + np.log(np.exp(x - top[:, None]).sum(axis=1))
    poly = np.stack([np.zeros_like(x), x])  # coefficients, rows, factors
    while poly.shape[2] > 1:
        if poly.shape[2] % 2:
            poly = np.pad(poly, ((0, 0), (0, 0), (0, 1)), constant_values=-np.inf)
            poly[0, :, -1] = 0
        left, right, last = poly[..., ::2], poly[..., 1::2], len(poly) - 1
        terms = [range(max(0, k - last), min(k, last) + 1) for k in range(min(degree, 2 * last) + 1)]
        sums = [[left[i] + right[k - i] for i in some] for k, some in enumerate(terms)]
        poly = np.array([np.logaddexp.reduce(some) for some in sums])
    return poly[degree, :, 0]
