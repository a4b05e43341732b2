"""Average over queries: the covariance of what attention with a Mahalanobis query pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resolvent.elliptical.tilted import LARGEST, pooled_moments, tilted_law

__all__ = ["Pooled", "Queries", "pool", "queries"]

U_POINTS, N_POINTS, R_POINTS = 12, 6, 3  # moments then err by less than 1e-6


@dataclass(frozen=True)
class Queries:
    """Quadrature over queries of sequences of label +1 (label −1 is the mirror image).

    Attributes
    ----------
    weight : array, shape (Q,)
    u, n, r : arrays, shape (Q,)
        M q along the signal, along the rest of the stretched axis, and the length of what remains.
    rest : int
        Dimension of what remains.
    """

    weight: np.ndarray
    u: np.ndarray
    n: np.ndarray
    r: np.ndarray
    rest: int

    @property
    def norm2(self) -> np.ndarray:
        """‖M q‖²."""
        return self.u**2 + self.n**2 + self.r**2


@dataclass(frozen=True)
class Pooled:
    """Second moments of the pooled vector x = θ S u + G m + noise, m the direction of M q; first axis: queries.

    Attributes
    ----------
    alpha, kappa, noise : arrays, shape (Q,)
        E S², E Σ w² and the variance of a coordinate that neither the signal nor the metric singles out.
    plane : array, shape (Q, 2, 2)
        Second moments in the plane of the signal and of the stretched axis.
    features : array, shape (Q, 2, 2)
        Second moments of Σ w s and Σ w z, z the noise along the signal.
    mean : array, shape (Q,)
        E[y x·u].
    limit : arrays (3, Q)
        alpha, kappa and noise in the limit of long sequences.
    """

    alpha: np.ndarray
    kappa: np.ndarray
    noise: np.ndarray
    plane: np.ndarray
    features: np.ndarray
    mean: np.ndarray
    limit: np.ndarray


def chi_square(degrees: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of a chi-square law, from the recurrence of the Laguerre polynomials (no gamma function)."""
    if degrees < 1:
        return np.zeros(1), np.ones(1)
    i, shape = np.arange(points), degrees / 2 - 1
    off = np.sqrt(i[1:] * (i[1:] + shape))
    values, vectors = np.linalg.eigh(np.diag(2 * i + shape + 1.0) + np.diag(off, 1) + np.diag(off, -1))
    return 2 * values, vectors[0] ** 2


def queries(
    dimension: int, signal: float, metric: tuple[float, float], axis: float, agreement: float
) -> Queries:
    """M q for M = b I + (a − b) v vᵀ, v at squared overlap `axis` with the signal.

    Parameters
    ----------
    dimension : int
    signal : float
    metric : tuple of two floats
        a and b.
    axis : float
    agreement : float
        Probability that the query is of the sequence's label.

    Examples
    --------
    >>> found = queries(50, 1.0, (2.0, 1.0), 1.0, agreement=0.5)
    >>> round(float(found.weight @ found.norm2), 6)
    57.0
    """
    a, b = metric
    tilted = axis < 1 and a != b
    normal, weight = np.polynomial.hermite_e.hermegauss(U_POINTS)
    q_u = np.concatenate([normal + signal, normal - signal])
    w_u = np.concatenate([agreement * weight, (1 - agreement) * weight]) / weight.sum()
    q_u, w_u = q_u[w_u > 0], w_u[w_u > 0]
    q_n, w_n = np.polynomial.hermite_e.hermegauss(N_POINTS) if tilted else (np.zeros(1), np.ones(1))
    rest = dimension - (2 if tilted else 1)
    r2, w_r = chi_square(rest, R_POINTS)
    cos, sin = (np.sqrt(axis), np.sqrt(1 - axis)) if tilted else (1.0, 0.0)
    u, n, r = (x.ravel() for x in np.meshgrid(q_u, q_n, np.sqrt(r2), indexing="ij"))
    along = (a - b) * (cos * u + sin * n)
    all_weights = (w_u[:, None, None] * (w_n / w_n.sum())[None, :, None] * w_r[None, None, :]).ravel()
    return Queries(all_weights, b * u + along * cos, b * n + along * sin, b * r, rest)


def pool(found: Queries, signal: float, field: float, beta: float, length: int) -> Pooled:
    """Second moments of the pooled vector, exact at this length; and their limit for long sequences.

    Derived in docs/theory/elliptical.md, section 4.

    Examples
    --------
    >>> flat = pool(queries(50, 1.0, (1.0, 1.0), 1.0, 0.5), 1.0, 0.2, 0.0, 64)
    >>> bool(np.allclose(flat.kappa, 1 / 64)), bool(np.allclose(flat.alpha, 1 / 64 + np.tanh(0.2) ** 2 * 63 / 64))
    (True, True)
    """
    norm2 = found.norm2
    shift, variance = beta * signal * found.u, beta**2 * norm2
    if variance.max() > LARGEST:
        raise ValueError(
            f"inverse_temperature must be smaller: logits of variance {variance.max():.3g} (at most {LARGEST:g}), got {beta}"
        )
    exact = pooled_moments(field, shift, variance, length)
    long = tilted_law(field, shift, variance)
    length_of = np.sqrt(np.where(norm2 > 0, norm2, 1.0))
    m_u, m_n, rest = found.u / length_of, found.n / length_of, found.r**2 / length_of**2
    excess = exact.gg - exact.kappa
    zz, sz = exact.kappa + excess * m_u**2, exact.sg * m_u
    cross = signal * exact.sg * m_n + excess * m_u * m_n
    plane = [
        [signal**2 * exact.ss + 2 * signal * sz + zz, cross],
        [cross, exact.kappa + excess * m_n**2],
    ]
    share = max(found.rest, 1)
    kappa, magnet2 = long.participation / length, long.magnetisation**2
    return Pooled(
        exact.ss,
        exact.kappa,
        exact.kappa + excess * rest / share,
        np.moveaxis(np.array(plane), 2, 0),
        np.moveaxis(np.array([[exact.ss, sz], [sz, zz]]), 2, 0),
        signal * exact.s + m_u * exact.g,
        np.array([magnet2 + kappa * (1 - magnet2), kappa, kappa + beta**2 * found.r**2 / share]),
    )


def token_frequencies(
    found: Queries, signal: float, field: float, beta: float, vocabulary: int
) -> np.ndarray:
    """Squared weight that tokens of a table receive, relative to its mean: equally likely values.

    They are those of a typical table (or of one of 800 tokens, if it is larger): a law of unbounded support, whose far
    tail no table shows.
    """
    from scipy.special import ndtri

    points = min(vocabulary // 2, 400)
    z = ndtri((np.arange(points) + 0.5) / points)
    h, u = beta * signal * found.u, beta * found.u
    share = found.weight * tilted_law(field, h, beta**2 * found.norm2).participation
    odds = 1 / (
        1 + np.exp(-2 * (field + 2 * h) * np.array([[1.0], [-1.0]]))
    )  # (2, Q): signs under twice the tilt
    noise = np.exp(2 * u * z[:, None] - 2 * u**2)  # (Z, Q)
    values = (share * odds) @ noise.T
    values = (values + values[::-1, ::-1]).ravel()  # the other label
    return values / values.mean()
