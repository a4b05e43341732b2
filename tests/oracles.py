"""Naive and published formulas, kept to check the fast ones. Sections are those of docs/theory/pooled.md."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
from scipy import integrate, optimize, stats


def density_by_roots(ratios, scale, x):
    """Density from equation 1 with ``np.roots``, one point at a time: −Im p/(pi x).

    Three factors or more have several complex pairs; the right one is followed from far above the
    axis, where p vanishes.
    """
    out = []
    product = np.poly1d([scale])
    for c in (1.0, *ratios):
        product = product * np.poly1d([c, 1.0])
    for point in np.atleast_1d(x):
        roots = (product - np.poly1d([point, 0.0])).roots
        p = roots[roots.imag.argmin()]
        if len(ratios) > 2:
            followed = 0.0
            for height in point * np.geomspace(1e4, 1e-3, 150):
                above = (product - np.poly1d([point + 1j * height, 0.0])).roots
                followed = above[np.abs(above - followed).argmin()]
            p = roots[np.abs(roots - followed).argmin()]
        out.append(-p.imag / (np.pi * point))
    return np.array(out)


def density_by_mpmath(ratios, scale, x, digits=40):
    """The same in 40 digits, for two factors."""
    with mpmath.workdps(digits):
        delta, gamma = (mpmath.mpf(c) for c in ratios)
        x = mpmath.mpf(float(x))
        coefficients = [
            delta * gamma,
            delta + gamma + delta * gamma,
            1 + delta + gamma - x / mpmath.mpf(scale),
            mpmath.mpf(1),
        ]
        roots = mpmath.polyroots(coefficients, maxsteps=500, extraprec=200)
        return float(-min(mpmath.im(r) for r in roots) / (mpmath.pi * x))


def classical_density(ratio, scale, x):
    """Marchenko and Pastur (1967), equation 1.12 (b): sqrt((b−x)(x−a))/(2 pi ratio scale x)."""
    left, right = scale * (1 - np.sqrt(ratio)) ** 2, scale * (1 + np.sqrt(ratio)) ** 2
    return np.sqrt(np.maximum((right - x) * (x - left), 0)) / (2 * np.pi * ratio * scale * x)


def classical_expectation(function, ratio):
    """E f under the Marchenko-Pastur law of mean one, its atom included."""
    left, right = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    middle, half = (left + right) / 2, (right - left) / 2

    def integrand(angle):
        x = middle - half * np.cos(angle)
        return function(x) * (half * np.sin(angle)) ** 2 / (2 * np.pi * ratio * x)

    value = integrate.quad(integrand, 0, np.pi, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
    return value + max(0.0, 1 - 1 / ratio) * (function(0.0) if ratio > 1 else 0.0)


NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(1000)


def expectation(law, function, upto=None):
    """∫ f(x) pdf(x) dx over the support (up to `upto`), without the atom.

    In the angle x = middle − half·cos(angle), stretched as its fourth power at the left end, where laws
    of k factors that touch zero grow like x^(−k/(k+1)).
    """
    total = 0.0
    for left, right in law.support:
        middle, half = (left + right) / 2, (right - left) / 2
        top = np.pi if upto is None else np.arccos(np.clip((middle - upto) / half, -1, 1))
        if top == 0:
            continue
        u = top**0.25 * (NODES + 1) / 2
        angle, slope = u**4, 4 * u**3 * top**0.25 / 2
        x = left + 2 * half * np.sin(angle / 2) ** 2  # middle − half cos(angle), without cancellation
        total += np.sum(function(x) * law.pdf(x) * half * np.sin(angle) * slope * NODE_WEIGHTS)
    return total


def product_eigenvalues(ratios, scale, dimension, rng):
    """Eigenvalues of a product of real Wishart matrices, the definition of the free product's limit."""
    root = np.eye(dimension)
    for c in ratios:
        columns = round(dimension / c)
        factor = root @ rng.standard_normal((dimension, columns)) / np.sqrt(columns)
        values, vectors = np.linalg.eigh(factor @ factor.T)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return scale * np.maximum(values, 0)


def additive_spike(theta, delta):
    """Rank-one deformation theta·u uᵀ of a Marchenko-Pastur matrix by its R-transform 1/(1 − delta g).

    Benaych-Georges and Nadakuditi (2011), theorem 2.1 and 2.2; the route of the published derivation
    (section 2), at theta = snr ‖mu‖². Returns the outlier and the squared overlap.
    """
    g = 1 / theta
    return 1 / (1 - delta * g) + theta, 1 - delta / (1 - delta * g) ** 2 / theta**2


def sampled_spike(population, delta, gamma):
    """Sample outlier of a population outlier over a population bulk MP_delta, and its sample overlap.

    Bai and Silverstein's map λ = ℓ(1 + gamma E t/(ℓ − t)); overlap (ℓ/λ) dλ/dℓ (section 3).
    """
    first = classical_expectation(lambda t: t / (population - t), delta)
    second = classical_expectation(lambda t: (t / (population - t)) ** 2, delta)
    outlier = population * (1 + gamma * first)
    return outlier, (population / outlier) * (1 - gamma * second)


def causal_by_harmonic_numbers(length):
    """Weights and kappa of score-free causal attention by the closed form of section 4."""
    n = length - 1
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1.0, n + 1))])
    w = np.empty(length)
    w[0] = (1 + harmonic[n]) / length
    for k in range(2, length + 1):
        w[k - 1] = (harmonic[n] - harmonic[k - 1]) / length
    return w, (2 * length - 1 + harmonic[n]) / length**2


def causal_by_matrix(length, depth):
    """(Aᵀ)^depth 1/T with the attention matrix written out (section 4)."""
    attention = np.zeros((length, length))
    attention[0, 0] = 1
    for k in range(1, length):
        attention[k, :k] = 1 / k
    return np.linalg.matrix_power(attention.T, depth) @ np.full(length, 1 / length)


def attend(table, tokens, tau):
    """Mean over positions of softmax causal attention, one score at a time (section 4)."""
    d = table.shape[1]
    out = np.zeros(tokens.shape)
    for i, row in enumerate(tokens):
        out[i, 0] += 1 / len(row)
        for k in range(1, len(row)):
            weights = np.exp([tau / d * (table[row[k]] @ table[row[l]]) for l in range(k)])
            out[i, :k] += weights / weights.sum() / len(row)
    return out


def ridge_limit(signal, delta, gamma, weights, loadings, ridge, table):
    """Section 5 with its equations solved numerically: bisection for the effective penalty, quadrature
    over Marchenko-Pastur for the traces, and all 2^T sign patterns for the accuracy."""
    w, c = np.asarray(weights, float), np.asarray(loadings, float)
    kappa, a = w @ w, w @ c
    alpha = a**2 + w**2 @ (1 - c**2)

    def freedom(penalty, power):
        return gamma * classical_expectation(lambda t: (kappa * t / (kappa * t + penalty)) ** power, delta)

    penalty = optimize.brentq(
        lambda v: v * (1 - freedom(v, 1)) - ridge,
        ridge,
        ridge + kappa * (1 + gamma) * 10,
        xtol=1e-13,
        rtol=1e-13,
    )
    norm2 = signal**2 + (delta if table == "mixture" else 0.0)
    f1 = norm2 * classical_expectation(lambda t: 1 / (kappa * t + penalty), delta)
    f2 = norm2 * classical_expectation(lambda t: 1 / (kappa * t + penalty) ** 2, delta)
    h1, h2 = f1 / (1 + alpha * f1), f2 / (1 + alpha * f1) ** 2
    base = 1 - 2 * a**2 * h1 + a**2 * (h1 - penalty * h2)
    error = base / (1 - freedom(penalty, 2))
    noise = np.sqrt(error - 1 + 2 * a**2 * h1 - alpha * (a * h1) ** 2)
    accuracy = 0.0
    for signs in itertools.product((-1, 1), repeat=len(w)):
        pattern = np.array(signs)
        probability = np.prod((1 + pattern * c) / 2)
        accuracy += probability * stats.norm.cdf((w @ pattern) * a * h1 / noise)
    return accuracy, error


def draw_naively(model, seed):
    """Table, tokens and labels' signs by the seed conventions of the model, features gathered one by one."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    signs = model.positions.sample(model.samples, rng=streams[0])
    half = model.vocabulary // 2
    tokens = streams[1].integers(0, half, signs.shape, dtype=np.int32)
    tokens[signs < 0] += half
    table = streams[2].standard_normal((model.vocabulary, model.dimension))
    if model.table == "balanced":
        table[:half] -= table[:half].mean(axis=0)
        table[half:] -= table[half:].mean(axis=0)
    table[:half, 0] += model.signal
    table[half:, 0] -= model.signal
    features = np.zeros((model.samples, model.dimension))
    for i in range(model.samples):
        for l, weight in enumerate(model.pooling_weights):
            features[i] += weight * table[tokens[i, l]]
    return table, features


def simulate_naively(model, seed):
    """Eigenvalues (decreasing) and the squared first component of the top vector, by a full ``eigh``."""
    _, features = draw_naively(model, seed)
    if model.centred:
        features = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(features.T @ features / model.samples)
    return values[::-1], vectors[0, -1] ** 2
