r"""The map of sample eigenvalues of any population, in the inverse companion variable ω.

With population eigenvalues t_k of probabilities w_k, ratio c and :math:`m_-` the companion's Stieltjes
transform, ω = −1/m₋ and

.. math:: z(\omega) = \omega\Big(1 + c\sum_k \frac{w_k t_k}{\omega - t_k}\Big), \qquad
          p(\omega) = \sum_k \frac{w_k t_k}{\omega - t_k}.

Above each real u of the support's image lies one point ω = u + iv with z real: v solves a scalar equation
of which one side is monotone, as in Ledoit and Wolf [ledoit2015]_. These points are tabulated once a law;
a query starts from the table and ends with Newton's method. Derived in docs/theory/laws.md, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, plain
from resolvent.laws.curve import Curve, tabulate
from resolvent.laws.spectral_map import SpectralMap, lagrange_moment
from resolvent.laws.sums import PoleSums, increasing_root

__all__ = ["PopulationMap"]


@dataclass(frozen=True, eq=False)
class PopulationMap(SpectralMap):
    """The map z(p) of sample eigenvalues.

    Parameters
    ----------
    ratio : float
        c = d/n > 0.
    values, weights : ndarray
        Positive population eigenvalues, increasing and distinct, and their probabilities.
    zero : float, default 0
        Probability of the population eigenvalue zero; all probabilities sum to one.
    """

    ratio: float
    values: np.ndarray
    weights: np.ndarray
    zero: float = 0.0

    is_plain = True

    @property
    def atom(self) -> float:
        """Mass at zero: max(share of zeros in the population, 1 − 1/c)."""
        return max(self.zero, 1 - 1 / self.ratio)

    @cached_property
    def poles(self) -> PoleSums:
        """Sums over the population."""
        return PoleSums(self.values, self.weights, self.ratio, self.zero)

    @cached_property
    def _critical(self) -> np.ndarray:
        """Real ω at the ends of the intervals, one row (left, right) an interval."""
        return self.poles.critical_points()

    @cached_property
    def _ends(self) -> np.ndarray:
        return self.poles.z(self._critical)

    @cached_property
    def _curve(self) -> Curve:
        return tabulate(self.poles, self._critical, self._ends)

    def intervals(self) -> tuple[tuple[Any, Any], ...]:
        """The intervals of the support, from left to right."""
        return tuple((left, right) for left, right in self._ends)

    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the support."""
        return self._ends[0, 0], self._ends[-1, 1]

    def edge_scale(self) -> float:
        """Width of the right edge, (z² z''(p)/2)^(1/3) = c ω (ω sum_k w_k t_k²/(ω−t_k)³)^(1/3)."""
        u = self._critical[-1, 1]
        cube = np.sum(self.weights * self.values**2 / (u - self.values) ** 3)
        return float(self.ratio * u * (u * cube) ** (1 / 3))

    def critical_spikes(self) -> tuple[Any, Any]:
        """1/p at the right and at the left end of the support."""
        left, right = self._critical[0, 0], self._critical[-1, 1]
        return float(1 / self.poles.p(right)), float(1 / self.poles.p(left))

    def __call__(self, p: Any) -> Any:
        """z(p) on the outer real branches: p > 0 beyond the right edge, p < 0 below the left one."""
        _, p = arrays(p)
        return self.at_spike(1 / p)

    def at_spike(self, q: Any) -> Any:
        """z(1/q), for q > 0 from the branch above the population, for q < 0 from the one below it."""
        return plain(self.poles.z(self._population_spike(q)[0]))

    def at_population_spike(self, value: Any) -> Any:
        """The outlier z(ω = value) of a population eigenvalue; NaN up to `population_threshold`."""
        _, value = arrays(value, names="value")
        exists = value > self.population_threshold
        return plain(
            np.where(exists, self.poles.z(np.where(exists, value, self.population_threshold)), np.nan)
        )

    @property
    def population_threshold(self) -> float:
        """The population eigenvalue above which a spike leaves the bulk."""
        return float(self._critical[-1, 1])

    def slope(self, q: Any) -> Any:
        """(dz/dq) / mean at p = 1/q."""
        spike, growth = self._population_spike(q)
        return plain(self.poles.z_and_slope(spike)[1] / (growth * (self.weights @ self.values)))

    def _population_spike(self, q: Any) -> tuple[np.ndarray, np.ndarray]:
        """ω with 1/p(ω) = q, and the slope of 1/p there."""
        _, q = arrays(q, names="q")
        pole = np.where(q < 0, self.values[0], self.values[-1]).ravel()
        side, size = np.where(q < 0, -1.0, 1.0).ravel(), np.abs(q).ravel()
        # p lies between what the next pole alone and what all of them at its place would give
        near = np.where(side < 0, self.weights[0], self.weights[-1]) * pole * size
        far = (self.weights @ self.values) * size

        def equation(omega: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            p, slope = self.poles.p_and_slope(omega)
            return 1 / p - q.ravel()[which], -slope / p**2

        low, high = np.sort([pole + side * near, pole + side * far], axis=0)
        omega = increasing_root(equation, low, high, pole + side * np.sqrt(near * far))
        return omega.reshape(q.shape), equation(omega, slice(None))[1].reshape(q.shape)

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of p at real x, the latter zero off the support."""
        _, x = arrays(x, names="x")
        omega, inside = self._bulk(x)
        p = (
            np.where(inside, x, self.poles.z(omega).real) / np.where(omega == 0, 1.0, omega) - 1
        ) / self.ratio
        return p.real, np.where(inside, p.imag, -0.0)

    def tail(self, x: Any) -> Any:
        """Mass above x: (Im p + arg(ω)/c + sum_k w_k (arg(ω−t_k) − arg ω)) / pi, by parts as for products."""
        _, x = arrays(x, names="x")
        omega, inside = self._bulk(x)
        height = np.where(inside, x, 0.0) * omega.imag / np.where(omega == 0, 1.0, np.abs(omega) ** 2)
        turn = np.arctan2(omega.imag, omega.real)
        total = turn * (1 / self.ratio - (1 - self.zero)) - height / self.ratio
        return (total + self.poles.arguments(omega)) / math.pi

    def _bulk(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ω at real x (off the support the nearest end below, or the left end), and whether inside."""
        omega, inside = self._curve.start(np.where(np.isnan(x), 0.0, x).ravel())
        here = np.flatnonzero(inside)
        if here.size:
            omega[here] = self.poles.newton(omega[here], x.ravel()[here])
        return omega.reshape(x.shape), inside.reshape(x.shape)

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex."""
        return plain(self.poles.p(self._inverse(z)))

    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z, with 1 + p = zero + ω sum_k w_k/(ω−t_k)."""
        _, z = arrays(z)
        z = z.astype(complex)
        omega = self._inverse(z)
        first, ratio = self.poles.first(omega), self.poles.z_over_omega(omega)
        safe = np.where(z == 0, 1.0, z)
        with np.errstate(divide="ignore", invalid="ignore"):
            m = -first * np.where(z == 0, 1 / ratio, omega / safe)
            return m - self.zero / z if self.zero else m

    def _inverse(self, z: Any) -> np.ndarray:
        """ω(z): the only root in the upper half plane, or its limit on the real axis."""
        _, z = arrays(z)
        flat = z.astype(complex).ravel()
        upper = np.where(flat.imag < 0, flat.conj(), flat)
        omega = np.full(flat.shape, complex(np.nan, np.nan))
        real = np.flatnonzero(upper.imag == 0)
        if real.size:
            omega[real] = self._on_the_axis(upper[real].real)
        off = np.flatnonzero(upper.imag > 0)
        if off.size:
            omega[off] = self.poles.descend(upper[off])
        return np.where(flat.imag < 0, omega.conj(), omega).reshape(z.shape)

    def _on_the_axis(self, x: np.ndarray) -> np.ndarray:
        omega, inside = self._bulk(x)
        for i in np.flatnonzero(~inside & np.isfinite(x)):
            omega[i] = self._in_a_gap(x[i])
        return np.where(np.isfinite(x), omega, np.nan)

    def _in_a_gap(self, x: float) -> float:
        """Real ω in a gap of the support or beyond its ends, where z(ω) increases."""
        ends, critical = self._ends, self._critical
        after = int(np.searchsorted(ends[:, 0], x))  # the first interval to the right of x
        reach = abs(x) + self.ratio * (self.weights @ self.values) + self.values[-1]
        low = critical[after - 1, 1] if after else min(-reach, critical[0, 0] - reach)
        high = critical[after, 0] if after < len(critical) else max(reach, low + reach)

        def equation(omega: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
            value, slope = self.poles.z_and_slope(omega)
            return value - x, slope

        start = min(max(x, 0.75 * low + 0.25 * high), 0.25 * low + 0.75 * high)
        return float(increasing_root(equation, np.array([low]), np.array([high]), np.array([start]))[0])

    def moment(self, n: int) -> float:
        """n-th moment, [y^n] (1 + c sum_k h_k y^k)^(n+1) / (c (n+1)) with the population's moments h_k."""
        if n == 0:
            return 1.0
        top = self.values[-1]  # scaled by the largest, so that powers do not overflow
        powers = (self.values[None, :] / top) ** np.arange(1, n + 1)[:, None]
        series = [1.0, *(self.ratio * float(h) for h in powers @ self.weights)]
        return float(top**n * lagrange_moment(1.0, series, n + 1, n) / self.ratio)
