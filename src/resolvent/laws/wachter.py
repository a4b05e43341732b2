r"""Wachter's law: eigenvalues of one sample covariance measured against another (F-matrices).

With c_1 the ratio of the sample, c_2 that of the null sample and :math:`b = -c_2/(1-c_2)`,

.. math:: z(p) = \text{scale}\;\frac{(1+p)(1+c_1 p)}{p\,(1-c_2-c_2 p)}
          = \frac{\text{scale}}{1-c_2}\;\frac{(1+p)(1+c_1 p)}{p\,(1+b p)}:

the inverse of a Marchenko-Pastur factor is a factor of negative ratio and power −1. Derived in
docs/theory/laws.md, section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resolvent.arguments import arrays, require
from resolvent.laws.inverse_map import InverseMap
from resolvent.laws.law import Law
from resolvent.laws.marchenko_pastur import _positive
from resolvent.laws.spectral_map import SpectralMap, lagrange_moment, phases

__all__ = ["Wachter", "WachterMap"]


@dataclass(frozen=True)
class WachterMap(SpectralMap):
    """The map z(p) of an F-matrix.

    Parameters
    ----------
    ratio, null_ratio : float or array
        Ratios of the sample (> 0) and of the null sample (in (0, 1)).
    scale : float or array
        Variance of the sample over that of the null.
    """

    ratio: Any
    null_ratio: Any
    scale: Any = 1.0

    @property
    def sample(self) -> InverseMap:
        """The map of the sample alone, which the null divides by 1 − c_2 − c_2 p."""
        return InverseMap((self.ratio,), self.scale)

    @property
    def is_plain(self) -> bool:
        """Whether all parameters are plain numbers."""
        return self.sample.is_plain and isinstance(self.null_ratio, (int, float))

    @property
    def atom(self) -> Any:
        """Mass at zero: max(0, 1 − 1/c_1)."""
        return self.sample.atom

    def __call__(self, p: Any) -> Any:
        """z(p)."""
        _, p, null = arrays(p, self.null_ratio)
        return self.sample(p) / (1 - null - null * p)

    def at_spike(self, q: Any) -> Any:
        """z(1/q), where a population spike of 1 + q against the null puts its eigenvalue."""
        _, q, c, null, scale = arrays(q, self.ratio, self.null_ratio, self.scale)
        return scale * (1 + q) * (q + c) / ((1 - null) * q - null)

    def slope(self, q: Any) -> Any:
        """(dz/dq) / scale: zero at the threshold, 1/(1−c_2) for q to infinity."""
        xp, q, null = arrays(q, self.null_ratio)
        return (1 - (self._spread(xp) / ((1 - null) * q - null)) ** 2) / (1 - null)

    def critical_spikes(self) -> tuple[Any, Any]:
        """Zeros (c_2 ± h)/(1−c_2) of dz/dq, h² = c_1 + c_2 − c_1 c_2."""
        xp, null = arrays(self.null_ratio)
        h = self._spread(xp)
        return (null + h) / (1 - null), (null - h) / (1 - null)

    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the support, scale ((1 ∓ h)/(1−c_2))²."""
        xp, c, null, scale = arrays(self.ratio, self.null_ratio, self.scale)
        h = self._spread(xp)
        # (1−h)(1+h) = (1−c_1)(1−c_2): exactly zero at c_1 = 1
        return scale * ((1 - c) / (1 + h)) ** 2, scale * ((1 + h) / (1 - null)) ** 2

    def edge_scale(self) -> Any:
        """Width of the right edge, (z² z''/2)^(1/3) at the critical point, which is (z² q⁴ scale/h)^(1/3)."""
        xp, scale = arrays(self.scale)
        return (self.edges()[1] ** 2 * self.critical_spikes()[0] ** 4 * scale / self._spread(xp)) ** (1 / 3)

    def _spread(self, xp: Any) -> Any:
        _, c, null = arrays(self.ratio, self.null_ratio)
        return xp.sqrt(c + null * (1 - c))

    def _shifted(self, *values: Any) -> tuple[Any, ...]:
        """(xp, *values, base, scale, b, factors) with factors (e, c): 1 + c p = e + c s, s = p + base.

        As for products, base = 1/max(1, c_1), so that nothing cancels where the bulk touches zero. The
        factors are those of 1, c_1 and b; the scale is divided by 1 − c_2.
        """
        xp, *given, one, c, null, scale = arrays(*values, 1.0, self.ratio, self.null_ratio, self.scale)
        b = -null / (1 - null)
        base = 1 / xp.where(c > 1, c, one)
        factors = [(1 - v * base, v) for v in (one, c, b)]
        return (xp, *given, base, scale / (1 - null), b, factors)

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of s = p + 1/max(1, c_1) at real x, clamped to the edges' outside.

        The quadratic (scale c_1 − b x) p² + (scale (1+c_1) − x) p + scale, the scale divided by 1 − c_2,
        has the discriminant (x − left)(x − right).
        """
        left, right = self.edges()
        xp, x, left, right, base, scale, b, (_, (_, c), _) = self._shifted(x, left, right)
        x = xp.where(x > left, x, left)
        x = xp.where(x < right, x, right)
        lead = scale * c - b * x
        real = (x - scale * (1 + c) + 2 * base * lead) / (2 * lead)
        return real, -xp.sqrt((x - left) * (right - x)) / (2 * lead)

    def tail(self, x: Any) -> Any:
        """Mass above x: (arg(1+bp)/b − arg(1+p) − arg(1+c_1 p)/c_1) / pi, since p dx/x is exact in p."""
        xp, real, imaginary, *_, factors = self._shifted(*self.bulk_root(x))
        sample, null = factors[:2], factors[2:]
        return (phases(xp, real, imaginary, null) - phases(xp, real, imaginary, sample)) / math.pi

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex."""
        _, s, base, *_ = self._shifted(self._offset(z))
        return s - base

    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z, as −p(1+bp)/(scale (1+c_1 p)), which needs no division by z."""
        _, s, base, scale, _, (_, (e, c), (e_b, b)) = self._shifted(self._offset(z))
        return (base - s) * (e_b + b * s) / (scale * (e + c * s))

    def _offset(self, z: Any) -> Any:
        """s = p + base; the square root is cut along the support alone, which makes its root physical."""
        left, right = self.edges()
        xp, z, left, right, base, scale, b, factors = self._shifted(z, left, right)
        (e0, _), (e1, c), (e_b, _) = factors
        complex_type = xp.complex64 if z.dtype in (xp.float32, xp.complex64) else xp.complex128
        z = z if xp.isdtype(z.dtype, "complex floating") else xp.astype(z, complex_type)
        lower = xp.imag(z) < 0
        z = xp.where(lower, xp.conj(z), z) + 0 * left
        root = xp.sqrt(z - left) * xp.sqrt(z - right)
        lead = scale * c - b * z
        middle = z * (e_b - b * base) - scale * (e0 * c + e1)
        # of −lead s² + middle s − z base e_b = 0, by the form of the two in which nothing cancels
        cancels = xp.real(xp.conj(middle) * root) > 0
        total = middle + xp.where(cancels, root, -root)
        safe = xp.where(total == 0, 1 + 0 * total, total)
        s = xp.where(
            cancels, 2 * z * base * e_b / safe, total / (2 * xp.where(lead == 0, 1 + 0 * lead, lead))
        )
        return xp.where(lower, xp.conj(s), s)

    def moment(self, n: int) -> Any:
        """n-th moment by Lagrange inversion of p = (scale/z) (1+p)(1+c_1 p)/(1+bp)."""
        _, one, _, scale, b, (_, (_, c), _) = self._shifted(1.0)
        if n == 0:
            return one + 0 * scale
        series = [one + 0 * c, 1 + c - b]  # of (1+p)(1+c_1 p)/(1+bp), whose coefficients are all positive
        for j in range(2, n):
            series.append((c + (0 - b) * (1 + c - b)) * (0 - b) ** (j - 2))
        return lagrange_moment(scale, series, n, n - 1)


@dataclass(frozen=True)
class Wachter(Law):
    """Limit law of the eigenvalues of S₀⁻¹ S for two independent samples of one population.

    Parameters
    ----------
    ratio : float or array
        d / N of the sample S. Above one the law has an atom of mass 1 - 1/ratio at zero.
    null_ratio : float or array
        d / N₀ of the null sample S₀, in (0, 1).
    scale : float or array, default 1
        Variance of the sample over that of the null.

    Raises
    ------
    ValueError
        If `ratio` or `scale` is not positive and finite, or `null_ratio` not inside (0, 1).

    References
    ----------
    Wachter [wachter1980]_; the edge against Tracy and Widom's law is Johnstone's [johnstone2008]_.
    docs/theory/laws.md, section 2.

    Examples
    --------
    >>> law = Wachter(0.25, 0.5)
    >>> [round(edge, 4) for edge in law.support[0]]
    [0.1754, 12.8246]
    >>> round(float(law.mean()), 12)  # scale / (1 - null_ratio)
    2.0
    """

    ratio: Any
    null_ratio: Any
    scale: Any = 1.0

    def __post_init__(self) -> None:
        _positive("ratio", self.ratio)
        _, null = arrays(self.null_ratio, names="null_ratio")
        allowed = "inside (0, 1) (0 is the law without a null sample: use MarchenkoPastur)"
        require("null_ratio", self.null_ratio, (null > 0) & (null < 1), allowed)
        _positive("scale", self.scale)

    @cached_property
    def inverse_map(self) -> WachterMap:
        """The map z(p) = scale (1+p)(1+ratio p) / (p (1 − null_ratio − null_ratio p))."""
        return WachterMap(self.ratio, self.null_ratio, self.scale)
