r"""The bulk law of short sequences: one more factor of the inverse map, of order 1/T_eff².

Corrections of order 1/T_eff cancel, with T_eff = kappa²/sum w⁴; what is left is

.. math:: z(p) = \text{scale}\,\frac{(1+p)(1+\delta p)(1+\gamma p)}{p}\,(1 + c\,p^3),\qquad c = \delta\gamma^2/T_{\text{eff}}^2,

derived in docs/theory/finite_length.md, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, require
from resolvent.laws.inverse_map import InverseMap
from resolvent.laws.law import Law
from resolvent.laws.spectral_map import SpectralMap, lagrange_moment, phases

__all__ = ["FiniteLength", "FiniteLengthMap"]

SHORTEST = 1.0
TURNS = (1.0, np.exp(2j * np.pi / 3), np.exp(-2j * np.pi / 3))


@dataclass(frozen=True)
class FiniteLengthMap(SpectralMap):
    """The map z(p) of pooled sequences of a finite effective length, to order 1/T_eff².

    Parameters
    ----------
    delta, gamma : float
        d/V and d/N.
    effective_length : float
        T_eff >= 1; infinity gives `InverseMap`.
    scale : float
        Pooled noise kappa.

    References
    ----------
    docs/theory/finite_length.md, equation 5.

    Examples
    --------
    >>> short, long = FiniteLengthMap(1.0, 1.0, 2.0), FiniteLengthMap(1.0, 1.0, np.inf)
    >>> round(float(short.edges()[1]), 3), round(float(long.edges()[1]), 3)
    (6.929, 6.75)
    """

    delta: float
    gamma: float
    effective_length: float
    scale: float = 1.0

    @property
    def is_plain(self) -> bool:
        """True: parameters are numbers."""
        return True

    @cached_property
    def limit(self) -> InverseMap:
        """The map of infinite length."""
        return InverseMap((self.delta, self.gamma), self.scale)

    @property
    def constant(self) -> float:
        """c = delta·gamma²/T_eff²."""
        return self.delta * self.gamma**2 / self.effective_length**2

    @property
    def atom(self) -> Any:
        """Mass at zero, that of infinite length."""
        return self.limit.atom

    def __call__(self, p: Any) -> Any:
        """z(p)."""
        return self.limit(p) * (1 + self.constant * arrays(p)[1] ** 3)

    def at_spike(self, q: Any) -> Any:
        """z(1/q)."""
        return self.limit.at_spike(q) * (1 + self.constant / arrays(q)[1] ** 3)

    def slope(self, q: Any) -> Any:
        """(dz/dq) / scale at p = 1/q."""
        _, q = arrays(q)
        turned = 3 * self.constant / q**4 * self.limit.at_spike(q) / self.scale
        return self.limit.slope(q) * (1 + self.constant / q**3) - turned

    @cached_property
    def _numerator(self) -> np.ndarray:
        """Coefficients, highest first, of (q + 1)(q + delta)(q + gamma)(q³ + c), which is z·q⁵."""
        cubic = np.poly([-1.0, -self.delta, -self.gamma])
        return np.polymul(cubic, [1.0, 0.0, 0.0, self.constant])

    @cached_property
    def _critical(self) -> tuple[float, ...]:
        power = np.arange(self._numerator.size - 1, -1, -1)
        roots = np.roots(self._numerator * (power - 5))
        real = roots.real[np.abs(roots.imag) < 1e-7 * np.maximum(np.abs(roots), 1e-3)]
        top = real.max()
        zeros = np.sort([-1.0, -self.delta, -self.gamma, -np.cbrt(self.constant)])
        between = real[(real >= zeros[0] - 1e-6) & (real <= zeros[1] + 1e-6)]
        bottom = between[np.argmax(self.at_spike(between))] if between.size else zeros[0]
        return float(top), float(bottom)

    def critical_spikes(self) -> tuple[Any, ...]:
        """The threshold q_c and the left edge's q."""
        return self._critical

    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the bulk."""
        top, bottom = self._critical
        zeros = sorted([1.0, self.delta, self.gamma, float(np.cbrt(self.constant))])
        left = 0.0 if zeros[-1] == zeros[-2] else max(0.0, float(self.at_spike(bottom)))
        return left, float(self.at_spike(top))

    def edge_scale(self) -> Any:
        """Width of the right edge: edge + edge_scale·d^(-2/3)·TW1 in law."""
        p, c = 1 / self._critical[0], self.constant
        curvature = 1 / p**2 - sum((k / (1 + k * p)) ** 2 for k in (1.0, self.delta, self.gamma))
        curvature += (6 * c * p - 3 * c**2 * p**4) / (1 + c * p**3) ** 2
        return self.edges()[1] * (curvature / 2) ** (1 / 3)

    @cached_property
    def _shift(self) -> tuple[float, list[tuple[float, float]]]:
        """Base b and factors 1 + c_j p = e_j + c_j s in s = p + b, see `InverseMap`: nothing cancels where z = 0."""
        _, base, _, factors = self.limit._shifted()
        return float(base), [(float(e), float(c)) for e, c in factors]

    def _offset(self, z: Any) -> np.ndarray:
        """s = p + b at the law's own root, of all roots in the other half plane the smallest in p."""
        z = np.asarray(z, dtype=complex)
        base, factors = self._shift
        lower = z.imag < 0
        target = np.where(lower, z.conj(), z) / self.scale
        cube = np.array([1.0, -3 * base, 3 * base**2, -(base**3)])
        rising = self.constant * cube + np.array([0.0, 0.0, 0.0, 1.0])
        for e, c in factors:
            rising = np.polymul(rising, [c, e])
        roots = _roots(rising, target, base)
        size = np.abs(roots - base)
        tiny = 1e-9 * np.abs(roots)
        right, real = roots.imag < -tiny, np.abs(roots.imag) <= tiny
        on_axis = (target.imag == 0) & ~self._inside(target.real * self.scale)
        outside = ~right.any(axis=-1) | on_axis
        chosen = np.where(np.where(outside[..., None], real, right), size, np.inf).argmin(axis=-1)
        found = np.take_along_axis(roots, chosen[..., None], axis=-1)[..., 0]
        return np.where(lower, found.conj(), found)

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z: of the roots in the other half plane the smallest."""
        return self._offset(z) - self._shift[0]

    def _inside(self, x: np.ndarray) -> np.ndarray:
        left, right = self.edges()
        return (x > left) & (x < right)

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of s = p + 1/max(1, delta, gamma) at real x; off the bulk those of the nearer edge."""
        _, x = arrays(x)
        inside = self._inside(x)
        left, right = self.edges()
        base, (top, bottom) = self._shift[0], self._critical
        s = self._offset(np.where(inside, x, (left + right) / 2))
        near = np.where(x < (left + right) / 2, 1 / bottom + base if left > 0 else 0.0, 1 / top + base)
        return np.where(inside, s.real, near), np.where(inside, -np.abs(s.imag), -0.0)

    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z."""
        return -(self._shift[1][0][0] + self._offset(z)) / np.asarray(z)

    def tail(self, x: Any) -> Any:
        """Mass above x, in closed form: 1 + c p³ is a product of three more factors of complex ratios."""
        real, imaginary = self.bulk_root(x)
        base, factors = self._shift
        total = 5 * imaginary - phases(np, real, imaginary, factors)
        if self.constant:
            p = real - base + 1j * imaginary
            for turn in TURNS:
                k = np.cbrt(self.constant) * turn
                total = total - (np.log1p(k * p) / k).imag
        else:
            total = total - 3 * imaginary
        return total / np.pi

    def moment(self, n: int) -> Any:
        """n-th moment by Lagrange inversion; the first three are those of infinite length."""
        if n == 0:
            return 1.0
        base = np.polymul(
            np.polymul([1.0, 1.0], [self.delta, 1.0]),
            np.polymul([self.gamma, 1.0], [self.constant, 0.0, 0.0, 1.0]),
        )
        return lagrange_moment(self.scale, list(base[::-1]), n, n - 1)


def _roots(coefficients: np.ndarray, z: np.ndarray, base: float) -> np.ndarray:
    """All roots s, along a new last axis, of Q(s) = z (s − base) with Q given highest power first, polished."""
    degree = coefficients.size - 1
    while degree > 1 and coefficients[-degree - 1] == 0:
        degree -= 1
    stack = np.broadcast_to(coefficients[-degree - 1 :], (*z.shape, degree + 1)).astype(complex)
    stack[..., -2] -= z
    stack[..., -1] += z * base
    companion = np.zeros((*z.shape, degree, degree), dtype=complex)
    companion[..., np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[..., 0, :] = -stack[..., 1:] / stack[..., :1]
    roots = np.linalg.eigvals(companion)
    for _ in range(3):
        value, slope = np.zeros_like(roots), np.zeros_like(roots)
        for j in range(degree + 1):
            slope = slope * roots + value
            value = value * roots + stack[..., j, None]
        step = value / np.where(slope == 0, 1, slope)
        roots = roots - np.where(np.abs(step) < 0.1 * np.abs(roots), step, 0)
    return roots


@dataclass(frozen=True)
class FiniteLength(Law):
    """Bulk law of pooled sequences of a finite effective length, to order 1/T_eff².

    Its first three moments are those of Marchenko-Pastur ⊠ Marchenko-Pastur, its fourth is exact.

    Parameters
    ----------
    delta, gamma : float
        d/V and d/N.
    effective_length : float
        T_eff = kappa²/sum w⁴ >= 1. The expansion is good from about 2 on.
    scale : float, default 1
        Pooled noise kappa, the mean.

    Raises
    ------
    ValueError
        If a parameter is not positive and finite, or the length is below 1.

    References
    ----------
    docs/theory/finite_length.md, section 3.

    Examples
    --------
    >>> law = FiniteLength(0.5, 0.5, 2.0)
    >>> round(float(law.moment(4) - FiniteLength(0.5, 0.5, 1e9).moment(4)), 6)  # delta·gamma²/T_eff²
    0.03125
    >>> round(law.support[0][1], 4)
    4.4691
    """

    delta: float
    gamma: float
    effective_length: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("delta", "gamma", "scale"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        require("effective_length", self.effective_length, self.effective_length >= SHORTEST, ">= 1")

    @cached_property
    def inverse_map(self) -> FiniteLengthMap:
        """The map z(p)."""
        return FiniteLengthMap(self.delta, self.gamma, self.effective_length, self.scale)
