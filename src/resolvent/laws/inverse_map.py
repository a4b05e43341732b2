r"""The one map that holds the theory: from p to the spectral variable z.

For a free product of Marchenko-Pastur factors of ratios c_1, ..., c_k, with m the Stieltjes
transform :math:`\int \rho(t)/(t-z)` and :math:`p = -1 - z\,m(z)`,

.. math:: z(p) = \text{scale}\;\frac{1+p}{p}\prod_i (1 + c_i p).

Its complex root is the density, its critical points are the edges, and its values at p = 1/q are
the outliers of spikes of net strength q; their slopes are the overlaps. Derived in
docs/theory/pooled.md, sections 3 and 4. Closed forms follow the array API for one and two factors;
three or more factors go through companion matrices and are NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from resolvent.arguments import arrays

__all__ = ["InverseMap"]


@dataclass(frozen=True)
class InverseMap:
    """The map z(p) of a product of Marchenko-Pastur factors.

    Parameters
    ----------
    ratios : tuple of float or array
        Ratios c_i >= 0 of the factors; arrays broadcast against each other and against every argument.
    scale : float or array
        Mean of the law (the pooled noise kappa).
    """

    ratios: tuple[Any, ...]
    scale: Any = 1.0

    def __call__(self, p: Any) -> Any:
        """z(p)."""
        _, p, scale, *ratios = arrays(p, self.scale, *self.ratios)
        z = scale * (1 + p) / p
        for c in ratios:
            z = z * (1 + c * p)
        return z

    def at_spike(self, q: Any) -> Any:
        """z(1/q), where a spike of net strength q puts its eigenvalue when it leaves the bulk."""
        _, q, scale, *ratios = arrays(q, self.scale, *self.ratios)
        z = scale * (1 + q)
        for c in ratios:
            z = z * ((q + c) / q)
        return z

    def slope(self, q: Any) -> Any:
        """(dz/dq) / scale at p = 1/q: zero at the threshold, one for q to infinity."""
        _, q, *ratios = arrays(q, *self.ratios)
        product, slope = 1 + q, 1.0
        for c in ratios:  # product rule over the factors (1 + c/q)
            slope = slope * (1 + c / q) - product * c / q**2
            product = product * (1 + c / q)
        return slope

    def critical_spikes(self) -> tuple[Any, ...]:
        """Real zeros of dz/dq in decreasing order: the threshold q_c first, the left edge's q last."""
        return self._constants()[0]

    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the bulk, z at the last and the first critical point."""
        return self._constants()[1]

    def _constants(self) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
        # plain numbers are worth remembering; arrays may carry a gradient graph that must not be shared
        if all(isinstance(v, (int, float)) for v in (self.scale, *self.ratios)):
            return _remembered(self)
        critical = self._critical()
        return critical, self._edges(critical)

    def _critical(self) -> tuple[Any, ...]:
        xp, *ratios = arrays(*self.ratios)
        if len(ratios) == 1:
            root = xp.sqrt(ratios[0])
            return root, -root
        if len(ratios) == 2:
            # q^3 - b q - 2 a = 0 has three real roots since b^3 >= 27 a^2 (arithmetic-geometric mean)
            delta, gamma = ratios
            a, b = delta * gamma, delta + gamma + delta * gamma
            radius = xp.sqrt(b / 3)
            safe = xp.where(radius > 0, radius, xp.ones_like(radius))
            # below one by a hair: at delta = gamma = 1 the arccos has no derivative, the roots do
            cosine = xp.clip(a / safe**3, -1.0, 1.0 - 1e-15)
            angle = xp.acos(cosine) / 3
            top = 2 * radius * xp.cos(angle)
            bottom = 2 * radius * xp.cos(angle + 2 * math.pi / 3)
            product = top * bottom
            middle = 2 * a / xp.where(product < 0, product, -xp.ones_like(product))
            return top, middle, bottom
        polynomial = self._numerator()
        k = len(ratios)
        coefficients = [polynomial[j] * (j - k) for j in range(k + 2)]
        roots = np.sort(_polynomial_roots(coefficients).real, axis=-1)
        return tuple(np.moveaxis(roots[..., ::-1], -1, 0))

    def _edges(self, critical: tuple[Any, ...]) -> tuple[Any, Any]:
        xp, scale, *ratios = arrays(self.scale, *self.ratios)
        left = self.at_spike(critical[-1])
        # the left edge is exactly zero when the two largest of 1, c_1, ..., c_k are equal
        ordered = xp.sort(xp.stack(xp.broadcast_arrays(xp.ones_like(scale), *ratios)), axis=0)
        touches = ordered[-1, ...] == ordered[-2, ...]
        left = xp.where(touches | (left < 0), xp.zeros_like(left), left)
        return left, self.at_spike(critical[0])

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of p at real x, limit from the upper half plane; x inside the bulk.

        Outside the bulk the imaginary part is returned as zero and the real part is clamped to the
        nearer edge's, so that integrals of p saturate there.
        """
        xp, x, scale, *ratios = arrays(x, self.scale, *self.ratios)
        left, right = self.edges()
        gap = (x - left) * (right - x) / scale**2
        inside = gap > 0
        above = x - (left + right) / 2  # > 0 in the right half
        x = xp.where(inside, x / scale, (left + right) / (2 * scale))
        gap = xp.where(inside, gap, 1.0)
        if len(ratios) == 1:
            c = ratios[0]
            real, imaginary = (x - 1 - c) / (2 * c), -xp.sqrt(gap) / (2 * c)
        elif len(ratios) == 2:
            real, imaginary = self._cubic_pair(xp, x, gap, *ratios)
        else:
            p = self.physical(x * scale)
            real, imaginary = p.real, -np.abs(p.imag)
        critical = self.critical_spikes()
        outside = xp.where(above < 0, 1 / critical[-1], 1 / critical[0])
        return xp.where(inside, real, outside), xp.where(inside, imaginary, -0.0)

    def _cubic_pair(self, xp: Any, x: Any, gap: Any, delta: Any, gamma: Any) -> tuple[Any, Any]:
        """The complex pair of the cubic by Cardano, with the discriminant in factored form.

        The factors are the distances to the edges, so nothing cancels near an edge.
        """
        a, b, c = delta * gamma, delta + gamma + delta * gamma, 1 + delta + gamma - x
        q = self.critical_spikes()[1]
        third_edge = (1 + q) * (q + delta) * (q + gamma) / q**2  # < 0
        shift = b / (3 * a)
        linear = c / a - 3 * shift**2
        constant = 2 * shift**3 - shift * c / a + 1 / a
        root = xp.sqrt(gap * (x - third_edge) / (27 * a**3))
        half = xp.where(constant > 0, -constant / 2 - root, -constant / 2 + root)
        magnitude = xp.abs(half) ** (1 / 3)
        u = xp.where(half < 0, -magnitude, magnitude)
        v = -linear / (3 * u)
        imaginary = -math.sqrt(3) * root / (u**2 + u * v + v**2)
        # p_0 < -1/min(1, delta, gamma) is the well-conditioned root; the pair follows from Vieta
        p0 = -constant / (u**2 - u * v + v**2) - shift
        return (c + 1 / p0) / (2 * a * p0), imaginary

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex.

        Of all roots of z(p) = z it is the one, in the lower half plane, whose angles add up without
        a full turn: arg z = arg(1+p) - arg(p) + sum_i arg(1+c_i p). Outside the bulk two real roots
        can share that property; the smaller is the physical one.
        """
        xp, z, scale, *ratios = arrays(z, self.scale, *self.ratios)
        complex_type = xp.complex64 if z.dtype in (xp.float32, xp.complex64) else xp.complex128
        z = z / scale if xp.isdtype(z.dtype, "complex floating") else xp.astype(z / scale, complex_type)
        lower = xp.imag(z) < 0
        z = xp.where(lower, xp.conj(z), z)
        # a one-argument spread, so that array ratios meet array z
        spread = z
        for c in ratios:
            spread = spread + 0 * c
        candidates = self._candidates(xp, spread, ratios)
        best, best_score = candidates[0], None
        tolerance = 1e-3 if complex_type == xp.complex64 else 1e-6
        for p in candidates:
            size = xp.abs(p)
            real, imaginary = xp.real(p), xp.imag(p)
            upper = imaginary > tolerance * size
            imaginary = -xp.abs(imaginary)
            total = -xp.atan2(imaginary, real) + xp.atan2(imaginary, 1 + real)
            for c in ratios:
                total = total + xp.atan2(c * imaginary, 1 + c * real)
            missed = xp.abs(total - xp.atan2(xp.imag(spread), xp.real(spread)))
            wrong = upper | (missed > 0.5)
            score = size / (1 + size) + 4.0 * xp.astype(wrong, size.dtype)
            if best_score is None:
                best_score = score
            else:
                best = xp.where(score < best_score, p, best)
                best_score = xp.where(score < best_score, score, best_score)
        lower = lower | xp.zeros_like(lower)
        return xp.where(lower, xp.conj(best), best)

    def _candidates(self, xp: Any, z: Any, ratios: list[Any]) -> list[Any]:
        if len(ratios) == 1:
            c = ratios[0]
            b = 1 + c - z
            root = xp.sqrt(b**2 - 4 * c)
            root = xp.where(xp.real(xp.conj(b) * root) < 0, -root, root)
            far = -(b + root) / (2 * c)
            return [1 / (c * far), far]
        if len(ratios) == 2:
            delta, gamma = ratios
            a, b, c = delta * gamma, delta + gamma + delta * gamma, 1 + delta + gamma - z
            shift = b / (3 * a)
            linear = c / a - 3 * shift**2
            constant = 2 * shift**3 - shift * c / a + 1 / a
            root = xp.sqrt(constant**2 / 4 + linear**3 / 27)
            root = xp.where(xp.real(xp.conj(constant) * root) < 0, -root, root)
            cube = -constant / 2 - root
            u = xp.exp(xp.log(cube) / 3)
            roots = []
            for turn in (0.0, 2 * math.pi / 3, -2 * math.pi / 3):
                w = u * complex(math.cos(turn), math.sin(turn))
                p = w - linear / (3 * w) - shift
                for _ in range(3):  # Newton: repairs the cancellation against shift
                    value = (1 + p) * (1 + delta * p) * (1 + gamma * p) - z * p
                    slope = 3 * a * p**2 + 2 * b * p + c
                    flat = xp.abs(slope) < 1e-6 * (xp.abs(c) + 1)
                    p = p - xp.where(flat, 0 * p, value / xp.where(flat, 1 + 0 * p, slope))
                roots.append(p)
            return roots
        coefficients = [np.asarray(a, dtype=complex) for a in self._in_p()]
        coefficients[1] = coefficients[1] - z
        coefficients = [a + 0 * z for a in coefficients]
        return list(np.moveaxis(_polynomial_roots(coefficients), -1, 0))

    def _numerator(self) -> list[Any]:
        """Coefficients, lowest first, of (q+1) prod (q + c_i)."""
        return list(reversed(self._in_p()))

    def _in_p(self) -> list[Any]:
        """Coefficients, lowest first, of (1+p) prod (1 + c_i p)."""
        _, one, *ratios = arrays(1.0, *self.ratios)
        out = [one]
        for c in (one, *ratios):
            out = [x + y for x, y in zip([*out, 0 * one], [0 * one, *(c * a for a in out)], strict=True)]
        return out

    def moment(self, n: int) -> Any:
        """n-th moment of the law by Lagrange inversion: scale^n [p^(n-1)] ((1+p) prod (1+c_i p))^n / n."""
        _, scale, one = arrays(self.scale, 1.0)
        if n == 0:
            return one + 0 * scale
        power: list[Any] = [1.0] + [0.0] * (n - 1)
        base = self._in_p()
        for _ in range(n):
            power = [sum(base[i] * power[j - i] for i in range(min(j, len(base) - 1) + 1)) for j in range(n)]
        return scale**n * power[n - 1] / n

    def tail(self, x: Any) -> Any:
        r"""Mass above x: (k Im p - arg(1+p) - sum_i arg(1+c_i p)/c_i) / pi, since p dx/x is exact in p."""
        real, imaginary = self.bulk_root(x)
        xp, real, imaginary, *ratios = arrays(real, imaginary, *self.ratios)
        angle = len(ratios) * imaginary - xp.atan2(imaginary, 1 + real)
        for c in ratios:
            angle = angle - xp.atan2(c * imaginary, 1 + c * real) / c
        return angle / math.pi


@lru_cache(maxsize=512)
def _remembered(inverse_map: InverseMap) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
    critical = inverse_map._critical()
    return critical, inverse_map._edges(critical)


def _polynomial_roots(coefficients: list[Any]) -> Any:
    """Roots, along a new last axis, of polynomials given by coefficient arrays, lowest first."""
    stack = np.stack(np.broadcast_arrays(*coefficients), axis=-1)
    degree = stack.shape[-1] - 1
    companion = np.zeros((*stack.shape[:-1], degree, degree), dtype=stack.dtype)
    companion[..., np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[..., :, -1] = -stack[..., :-1] / stack[..., -1:]
    roots = np.linalg.eigvals(companion).astype(complex)
    for _ in range(2):  # Newton on what the eigenvalue solver left
        value = np.zeros_like(roots)
        slope = np.zeros_like(roots)
        for j in range(degree, -1, -1):
            slope = slope * roots + value
            value = value * roots + stack[..., j, None]
        steep = np.abs(slope) > 1e-8 * np.abs(stack).sum(-1)[..., None]
        roots = roots - np.where(steep, value / np.where(steep, slope, 1), 0)
    return roots
