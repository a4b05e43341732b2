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

from resolvent.arguments import arrays, plain
from resolvent.laws.spectral_map import SpectralMap, lagrange_moment, phases

__all__ = ["InverseMap"]


@dataclass(frozen=True)
class InverseMap(SpectralMap):
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

    @property
    def is_plain(self) -> bool:
        """Whether scale and ratios are all plain numbers, not arrays."""
        return all(isinstance(v, (int, float)) for v in (self.scale, *self.ratios))

    @property
    def atom(self) -> Any:
        """Mass at zero: max(0, 1 - 1/c_i over the factors)."""
        xp, *ratios = arrays(*self.ratios)
        mass = 0 * ratios[0]
        for c in ratios:
            mass = xp.maximum(*xp.broadcast_arrays(mass, 1 - 1 / xp.where(c > 1, c, xp.ones_like(c))))
        return float(mass) if isinstance(mass, (np.ndarray, np.generic)) and mass.ndim == 0 else mass

    def __call__(self, p: Any) -> Any:
        """z(p)."""
        _, p, scale, *ratios = arrays(p, self.scale, *self.ratios)
        z = scale * (1 + p) / p
        for c in ratios:
            z = z * (1 + c * p)
        return z

    def at_spike(self, q: Any) -> Any:
        """z(1/q), where a spike of net strength q puts its eigenvalue when it leaves the bulk."""
        xp, q, scale, *ratios = arrays(q, self.scale, *self.ratios)
        z = scale * (1 + q)
        q = xp.where(q == 0, 1.0, q)  # q_c is zero only where every ratio is, and all factors are one
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

    def edge_scale(self) -> Any:
        """Width of the right edge: the top bulk eigenvalue is edge + edge_scale·d^(-2/3)·TW1 in law.

        From the square-root edge of the density, (z² z''/2)^(1/3) at the critical point.
        """
        critical = self.critical_spikes()[0]
        _, q, *ratios = arrays(critical, *self.ratios)
        curvature = q**2 - (q / (1 + q)) ** 2  # second derivative of log z in p, with p = 1/q
        for c in ratios:
            curvature = curvature - (c * q / (q + c)) ** 2
        return self.edges()[1] * (curvature / 2) ** (1 / 3)

    def _constants(self) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
        # plain numbers are worth remembering; arrays may carry a gradient graph that must not be shared
        if self.is_plain:
            return _remembered_constants(self)
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
            cosine = xp.clip(a / safe**3, -1.0, 1.0 - 4 * xp.finfo(a.dtype).eps)
            angle = xp.acos(cosine) / 3
            top = 2 * radius * xp.cos(angle)
            bottom = 2 * radius * xp.cos(angle + 2 * math.pi / 3)
            product = top * bottom
            middle = 2 * a / xp.where(product < 0, product, -xp.ones_like(product))
            return top, middle, bottom
        _numpy_only(ratios[0], len(ratios))
        k, one = len(ratios), 1 + 0 * ratios[0]
        polynomial = _coefficients([(c, one) for c in (one, *ratios)])
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

    def _shifted(self, *values: Any) -> tuple[Any, ...]:
        """The map measured from its zero nearest to the origin: (xp, *values, base, scale, factors).

        With base = 1/max(1, c_1, ..., c_k) and s = p + base, 1 + c_j p = e_j + c_j s (c_0 = 1), where
        e_j = 1 − c_j·base is exactly zero for the largest: nothing cancels where the bulk touches zero.
        The factors are the pairs (e_j, c_j), j = 0, ..., k.
        """
        numbers = _remembered_shift(self) if self.is_plain else self._shift()
        xp, *out = arrays(*values, *numbers)
        n = len(values)
        return (xp, *out[: n + 2], list(zip(out[n + 2 :: 2], out[n + 3 :: 2])))

    def _shift(self) -> list[Any]:
        xp, one, scale, *ratios = arrays(1.0, self.scale, *self.ratios)
        top = one
        for c in ratios:
            top = xp.where(c > top, c, top)
        numbers = [1 / top, scale]
        for c in (one, *ratios):
            numbers += [1 - c / top, c]
        return numbers

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of s = p + 1/max(1, c_i) at real x, limit from the upper half plane.

        Outside the bulk the imaginary part is returned as zero and the real part is clamped to the
        nearer edge's, so that integrals of p saturate there.
        """
        spikes, edges = self._constants()
        xp, x, left, right, *critical, base, scale, factors = self._shifted(x, *edges, *spikes)
        middle = (left + right) / 2
        gap = (x - left) * (right - x) / scale**2
        inside = gap > 0
        ends = [xp.where(left > 0, 1 / critical[-1] + base, 0.0), 1 / critical[0] + base]
        outside = xp.where(x < middle, *ends)
        x = xp.where(inside, x, middle) / scale
        gap = xp.where(inside, gap, 1.0)
        if len(factors) == 2:
            (e0, _), (e1, c) = factors
            real, imaginary = (x - e0 * c - e1) / (2 * c), -xp.sqrt(gap) / (2 * c)
        elif len(factors) == 3:
            real, imaginary = self._cubic_pair(xp, x, gap, critical[1], base, factors)
        else:
            s = self._offset(x * scale)
            real, imaginary = s.real, -np.abs(s.imag)
        return xp.where(inside, real, outside), xp.where(inside, imaginary, -0.0)

    def _cubic_pair(
        self, xp: Any, x: Any, gap: Any, q: Any, base: Any, factors: list[tuple[Any, Any]]
    ) -> tuple[Any, Any]:
        """The complex pair of the cubic by Cardano, with the discriminant in factored form.

        The factors are the distances to the edges, so nothing cancels near an edge. The third edge is at
        the middle critical spike q. Of the two cube roots u and v only u v and u² + v² enter.
        """
        delta, gamma = factors[1][1], factors[2][1]
        third_edge = (1 + q) * (q + delta) * (q + gamma) / q**2
        third_edge = xp.where(third_edge < 0, third_edge, 0.0)
        a, shift, linear, constant = _depressed(x, base, factors)
        root = xp.sqrt(gap) * xp.sqrt(x - third_edge) / (a * xp.sqrt(27 * a))
        uv = shift**2 - linear / 3
        half = xp.abs(constant) / 2
        u2 = (half + root) ** (2 / 3)
        squares = u2 + uv**2 / u2
        # s_0, of p_0 < -1/min(1, delta, gamma), is the well-conditioned root; the pair follows from Vieta
        s0 = -constant / (squares - uv) - shift
        modulus2 = -(x * base / a) / s0
        return (linear - modulus2) / (2 * s0), -math.sqrt(3) * root / (squares + uv)

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex.

        Of all roots of z(p) = z it is the one, in the lower half plane, whose angles add up without
        a full turn: arg z = arg(1+p) - arg(p) + sum_i arg(1+c_i p). Outside the bulk two real roots
        can share that property; the smaller is the physical one.
        """
        _, s, base, _, _ = self._shifted(self._offset(z))
        return s - base

    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z, as −p/(scale·prod (1+c_i p)), which needs no division by z."""
        _, s, base, scale, factors = self._shifted(self._offset(z))
        m = (base - s) / scale
        for e, c in factors[1:]:
            m = m / (e + c * s)
        return m

    def _offset(self, z: Any) -> Any:
        """s = p + base at the physical root, see `physical` and `_shifted`."""
        xp, z, base, scale, factors = self._shifted(z)
        complex_type = xp.complex64 if z.dtype in (xp.float32, xp.complex64) else xp.complex128
        z = z / scale if xp.isdtype(z.dtype, "complex floating") else xp.astype(z / scale, complex_type)
        for _, c in factors:
            z = z + 0 * c  # array ratios meet array z
        lower = xp.imag(z) < 0
        z = xp.where(lower, xp.conj(z), z)
        best, best_score = z, None
        tolerance = 1e-3 if complex_type == xp.complex64 else 1e-6
        for s in self._candidates(xp, z, base, factors):
            size = xp.abs(s - base)
            real, imaginary = xp.real(s), xp.imag(s)
            upper = imaginary > tolerance * size
            imaginary = -xp.abs(imaginary)
            total = -xp.atan2(imaginary, real - base)
            for e, c in factors:
                total = total + xp.atan2(c * imaginary, e + c * real)
            missed = xp.abs(total - xp.atan2(xp.imag(z), xp.real(z)))
            wrong = upper | ((missed > 0.5) & (z != 0))
            score = size / (1 + size) + 4.0 * xp.astype(wrong, size.dtype)
            if best_score is None:
                best, best_score = s, score
            else:
                best = xp.where(score < best_score, s, best)
                best_score = xp.where(score < best_score, score, best_score)
        return xp.where(lower, xp.conj(best), best)

    def _candidates(self, xp: Any, z: Any, base: Any, factors: list[tuple[Any, Any]]) -> list[Any]:
        """All roots s of prod (e_j + c_j s) = z (s − base)."""
        if len(factors) == 2:
            (e0, _), (e1, c) = factors
            b = e0 * c + e1 - z
            root = xp.sqrt(b**2 - 4 * c * z * base)
            root = xp.where(xp.real(xp.conj(b) * root) < 0, -root, root)
            far = -(b + root) / (2 * c)
            return [z * base / (c * xp.where(far == 0, 1.0 + 0 * far, far)), far]
        if len(factors) == 3:
            a, shift, linear, constant = _depressed(z, base, factors)
            depressed = linear - 3 * shift**2
            root = xp.sqrt(constant**2 / 4 + depressed**3 / 27)
            root = xp.where(xp.real(xp.conj(constant) * root) < 0, -root, root)
            cube = -constant / 2 - root
            u = xp.exp(xp.log(xp.where(cube == 0, 1e-300 + 0 * cube, cube)) / 3)
            far = u - depressed / (3 * u) - shift
            for turn in (2 * math.pi / 3, -2 * math.pi / 3):
                w = u * complex(math.cos(turn), math.sin(turn))
                s = w - depressed / (3 * w) - shift
                far = xp.where(xp.abs(s) > xp.abs(far), s, far)
            # the largest root is well conditioned; Newton polishes it, and the others follow from Vieta
            for _ in range(2):
                value = far**3 + 3 * shift * far**2 + linear * far + z * base / a
                slope = 3 * far**2 + 6 * shift * far + linear
                flat = xp.abs(slope) < 1e-6 * xp.abs(far) ** 2
                far = far - xp.where(flat, 0 * far, value / xp.where(flat, 1 + 0 * far, slope))
            product = -(z * base / a) / far
            half = (linear - product) / far / 2  # half the sum of the others
            root = xp.sqrt(half**2 - product)
            root = xp.where(xp.real(xp.conj(half) * root) < 0, -root, root)
            near = half + root
            return [far, near, product / xp.where(near == 0, 1.0 + 0 * near, near)]
        _numpy_only(z, len(factors) - 1)
        coefficients = _coefficients(factors)
        coefficients[0] = coefficients[0] + z * base
        coefficients[1] = coefficients[1] - z
        return list(np.moveaxis(_polynomial_roots([v + 0 * z for v in coefficients]), -1, 0))

    def moment(self, n: int) -> Any:
        """n-th moment of the law by Lagrange inversion: scale^n [p^(n-1)] ((1+p) prod (1+c_i p))^n / n."""
        _, scale, one, *ratios = arrays(self.scale, 1.0, *self.ratios)
        if n == 0:
            return one + 0 * scale
        base = _coefficients([(one, c) for c in (one, *ratios)])
        return lagrange_moment(scale, base, n, n - 1)

    def tail(self, x: Any) -> Any:
        r"""Mass above x: (k Im p - arg(1+p) - sum_i arg(1+c_i p)/c_i) / pi, since p dx/x is exact in p."""
        real, imaginary = self.bulk_root(x)
        xp, real, imaginary, _, _, factors = self._shifted(real, imaginary)
        return ((len(factors) - 1) * imaginary - phases(xp, real, imaginary, factors)) / math.pi


def _numpy_only(value: Any, factors: int) -> None:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise ValueError(f"laws of {factors} factors take NumPy arrays only, got {type(value).__name__}")


def _coefficients(factors: list[tuple[Any, Any]]) -> list[Any]:
    """Coefficients, lowest first, of prod (e_j + c_j s)."""
    (e0, c0), *rest = factors
    out = [e0, c0]
    for e, c in rest:
        out = [
            x + y for x, y in zip([*(e * v for v in out), 0 * e], [0 * c, *(c * v for v in out)], strict=True)
        ]
    return out


def _depressed(x: Any, base: Any, factors: list[tuple[Any, Any]]) -> tuple[Any, Any, Any, Any]:
    """The cubic prod (e_j + c_j s) − x (s − base) as a((s + shift)³ + ...): a, shift, linear/a, constant."""
    (e0, _), (e1, delta), (e2, gamma) = factors
    a = delta * gamma
    shift = (e0 * a + e1 * gamma + e2 * delta) / (3 * a)
    linear = (e0 * e1 * gamma + e0 * e2 * delta + e1 * e2 - x) / a
    return a, shift, linear, 2 * shift**3 - shift * linear + x * base / a


@lru_cache(maxsize=512)
def _remembered_shift(inverse_map: InverseMap) -> list[Any]:
    return [plain(v) for v in inverse_map._shift()]  # scalars, unlike arrays, follow what they meet


@lru_cache(maxsize=512)
def _remembered_constants(inverse_map: InverseMap) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
    critical = inverse_map._critical()
    left, right = inverse_map._edges(critical)
    return tuple(plain(q) for q in critical), (plain(left), plain(right))


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
