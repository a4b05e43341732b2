"""The query after two gradient steps from zero, in the limit d, n_0 → infinity with n_0/d = alpha_0."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, one_of, require
from resolvent.sparse_token.features import Query
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["QueryLimit", "Rates", "optimal_rates", "rates", "two_steps"]

Rates = tuple[float, float, float]

_NODES = np.linspace(-8, 8, 161)
_DENSITY = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


@dataclass(frozen=True, eq=False)
class QueryLimit:
    """Two gradient steps, as the limit sees them; fields broadcast with alpha.

    Attributes
    ----------
    alignment : float or array
        Cosine of the query q2 with the (mean) signal direction; may be negative.
    kappa : float or array
        β‖q2‖.
    norm : float or array
        ‖q2‖.
    first_alignment : float or array
        Cosine of the read-out w1 after the first step with the signal.
    decay : float
        C in |alignment| = 1 − C/alpha_0 + o(1/alpha_0); infinite where the query's signal cancels.

    Examples
    --------
    >>> two_steps(SparseTokens(10, 3, 6.0, 0.2), 2.0, steps=0.5).query.kappa < 1
    True
    """

    alignment: Any
    kappa: Any
    norm: Any
    first_alignment: Any
    decay: float

    @property
    def query(self) -> Query:
        """The query as features see it (of a single alpha)."""
        return Query(float(self.alignment), float(self.kappa))


def rates(steps: Any) -> Rates:
    """Step sizes (eta_w, eta_b, eta_q) of one number for all, or three."""
    values = tuple(steps) if np.iterable(steps) and not isinstance(steps, str) else (steps,) * 3
    if len(values) != 3:
        raise ValueError(f"steps must be one number or three (eta_w, eta_b, eta_q), got {steps!r}")
    eta_w, eta_b, eta_q = (number("steps", value) for value in values)
    if eta_w == 0 or eta_q == 0:
        raise ValueError(
            f"steps must move the read-out and the query: eta_w and eta_q non-zero, got {steps!r} (with eta_w = 0 the "
            "read-out stays zero, and so does the gradient of the query)"
        )
    return eta_w, eta_b, eta_q


def two_steps(
    tokens: SparseTokens,
    alpha: Any,
    *,
    steps: Any = 1.0,
    inverse_temperature: float = 1.0,
    loss: str = "logistic",
    reused: bool = True,
) -> QueryLimit:
    """Limit of the query after one step of (w, b) from zero and one of q on the same samples.

    Parameters
    ----------
    tokens : SparseTokens
    alpha : float or array
        alpha_0 = n_0/d > 0.
    steps : float or tuple of three floats, default 1
        Step sizes (eta_w, eta_b, eta_q), or one for all.
    inverse_temperature : float, default 1
        β > 0.
    loss : {"logistic", "square"}
    reused : bool, default True
        The second step uses the samples of the first, as in the paper. False draws fresh ones: the term by which a
        sample meets itself in w1 is then absent.

    Returns
    -------
    QueryLimit

    Raises
    ------
    ValueError
        If an argument is out of range, or the query's length overflows or vanishes to rounding.

    Warns
    -----
    UserWarning
        If the two contributions to the query's signal cancel, so that it is blind.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, theorem 3 and its corollary; docs/theory/sparse_token.md, section 3.

    Examples
    --------
    >>> tokens = SparseTokens(10, 3, 6.0, 0.2)
    >>> limit = two_steps(tokens, [0.5, 1, 2, 4], steps=0.5)
    >>> limit.alignment.round(3)
    array([0.702, 0.828, 0.907, 0.952])
    """
    eta = rates(steps)
    beta = number("inverse_temperature", inverse_temperature, above=0)
    one_of("loss", loss, tuple(LOSSES))
    a0 = np.asarray(arrays(alpha, names="alpha")[1], dtype=float)
    require("alpha", a0, a0 > 0, "positive")
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        m, rho, A, B, noise = _moments(tokens, a0[..., None], eta, loss, reused)
        signal = A * m + B
        norm = eta[2] * beta * np.sqrt(A**2 * rho + 2 * A * B * m + B**2 + noise / a0)
        kappa = beta * np.abs(norm)
    require(
        "the length of the query",
        norm,
        np.isfinite(kappa) & (norm != 0),
        f"finite and not zero (steps are {eta}, signal {tokens.signal:g}, inverse_temperature {beta:g})",
    )
    at_infinity = _moments(tokens, np.array([np.inf]), eta, loss, reused)
    m_, _, A_, B_, noise_ = (float(x) for x in at_infinity)
    power = eta[0] ** 2 * LOSSES[loss].at_zero ** 2 * float(tokens.mean(lambda length, _: 1 / length))
    lost = (A_ * m_ + B_) ** 2
    size = (abs(A_ * m_) + abs(B_)) ** 2
    blind = lost <= 1e-20 * size
    if blind or (np.abs(signal) <= 1e-6 * (np.abs(A * m) + np.abs(B))).any():
        warnings.warn(
            "the two steps leave the query blind: what the noise and the signal contribute to its signal cancels; "
            "other steps (see optimal_rates) avoid it",
            stacklevel=2,
        )
    with np.errstate(divide="ignore"):
        return QueryLimit(
            alignment=(-eta[2] * beta * signal / np.abs(norm))[()],
            kappa=kappa[()],
            norm=np.abs(norm)[()],
            first_alignment=(m / np.sqrt(rho))[()],
            decay=np.inf if blind else (A_**2 * power + noise_) / lost / 2,
        )


def _moments(tokens: SparseTokens, a0: np.ndarray, eta: Rates, loss: str, reused: bool) -> Any:
    """m, rho, and the parts A, B of the query's mean A w1 + B ξ and its noise, per eta_q β; a0 ends in an axis of 1."""
    f = LOSSES[loss]
    pi, theta, K, s = tokens.rarity, np.float64(tokens.signal), tokens.signals, f.at_zero
    L, R, share = tokens.kinds.T
    eta_w = np.float64(eta[0])  # overflows to infinity
    m = (
        eta_w
        * pi
        * s
        * theta
        * float(tokens.mean(lambda length, informative: informative / length))
        / np.sqrt(K)
    )
    rho = m**2 + eta_w**2 * s**2 * float(tokens.mean(lambda length, _: 1 / length)) / a0
    b = eta[1] * s * (2 * pi - 1)
    own = eta_w * s / (a0 * L) if reused else 0.0
    spread = np.sqrt(rho / L)[..., None] * _NODES
    h = {}
    for y, shift in ((1.0, theta * R / L * m / np.sqrt(K)), (-1.0, 0.0)):
        u = (b + y * own + shift + np.zeros_like(rho * L))[..., None] + spread
        slope = f.first(np.full_like(u, y), u)
        h[y] = slope @ _DENSITY, slope**2 @ _DENSITY
    power = theta**2 * R * (1 - R / L)

    def over_kinds(x: np.ndarray) -> np.ndarray:
        return x @ share

    A = over_kinds((pi * h[1.0][0] + (1 - pi) * h[-1.0][0]) * (L - 1) / L)
    B = pi * over_kinds(h[1.0][0] * power / L) * m / K
    rho = rho[..., 0]
    noise = over_kinds((pi * h[1.0][1] + (1 - pi) * h[-1.0][1]) * (L - 1) / L**2) * rho
    noise = noise + pi * over_kinds(h[1.0][1] * power / L**2) * m**2 / K
    return m, rho, A, B, noise


def optimal_rates(
    tokens: SparseTokens, alpha: float, *, loss: str = "logistic", reused: bool = True
) -> Rates:
    """Step sizes that align the query best: eta_w and eta_b (eta_q only sets its length, and is 1).

    Parameters
    ----------
    tokens : SparseTokens
    alpha : float
        alpha_0 = n_0/d.
    loss : {"logistic", "square"}
    reused : bool, default True
        As in `two_steps`.

    Returns
    -------
    tuple of three floats
        (eta_w, eta_b, eta_q), with eta_w in [1e-3, 100] and eta_b such that |b1| <= 6 (where rarity is 1/2, b stays
        zero and eta_b is 1). The objective may have several optima: it is searched on a grid and refined. A small
        eta_w is often best: the sizes of the steps matter through the score's spread, which only adds noise.

    Examples
    --------
    >>> tokens = SparseTokens(10, 3, 6.0, 0.2)
    >>> best = optimal_rates(tokens, 1.0)
    >>> bool(two_steps(tokens, 1.0, steps=best).alignment > two_steps(tokens, 1.0, steps=0.5).alignment)
    True
    """
    from scipy.optimize import minimize

    alpha = number("alpha", alpha, above=0)
    slope = LOSSES[one_of("loss", loss, tuple(LOSSES))].at_zero * (2 * tokens.rarity - 1)  # b1 = eta_b slope

    def eta(x: np.ndarray) -> Rates:
        return float(np.exp(x[0])), float(x[1] / slope) if slope else 1.0, 1.0

    def misalignment(x: np.ndarray) -> float:
        m, rho, A, B, noise = _moments(tokens, np.array([alpha]), eta(x), loss, reused)
        return float((A * m + B) / np.sqrt(A**2 * rho + 2 * A * B * m + B**2 + noise / alpha))

    low, high = np.log([1e-3, 1e2])
    bounds = np.array([(low, high), (-6.0, 6.0) if slope else (0.0, 0.0)])
    grid = np.meshgrid(
        np.linspace(low, high, 13), np.linspace(bounds[1, 0], bounds[1, 1], 25 if slope else 1)
    )
    start = min(np.stack(grid, axis=-1).reshape(-1, 2), key=misalignment)
    free = 2 if slope else 1
    found = minimize(
        lambda x: misalignment(np.r_[x, start[free:]]),
        start[:free],
        method="Nelder-Mead",
        bounds=bounds[:free],
        options={"xatol": 1e-4, "fatol": 1e-9, "maxiter": 2000},
    )
    if not found.success:
        raise RuntimeError(f"the best step sizes were not found: stopped at {found.x} ({found.message})")
    return eta(np.r_[found.x, start[free:]])
