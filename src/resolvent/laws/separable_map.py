r"""The map of a sample whose table is correlated along rows and columns: token frequencies and row covariance.

With atoms (t_k, w_k) of the token frequencies and (τ_j, h_j) of the row covariance, two inverse functions of p,

.. math:: \delta p = \sum_k \frac{w_k t_k}{\xi - t_k}, \qquad p = \sum_j \frac{h_j \tau_j}{\eta - \tau_j}, \qquad
          z(p) = \text{scale}\;\delta\, p\,(1+\gamma p)\,\xi(p)\,\eta(p).

Equal frequencies have δpξ = 1 + δp, an isotropic covariance pη = 1 + p, and the map is that of
`resolvent.laws.InverseMap`. Derived in docs/theory/vocabulary.md, sections 2 and 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, plain
from resolvent.laws.poles import Gaps, Poles, inverse_series, opened
from resolvent.laws.poles import angle as angle_of
from resolvent.laws.spectral_map import SpectralMap, lagrange_moment
from resolvent.laws.sums import increasing_root

__all__ = ["SeparableMap"]

TABLE = 128  # points of the curve that are solved from scratch; a query starts between them
FEWEST = 16  # the same of an interval of few tokens
FLAT = 1e-3  # height over a half circle's below which a start is not trusted
RESIDUAL = 1e-13  # relative, of a solved point
ROUNDING = 1e-9  # residual at which a point has settled that no longer improves: p is nearly zero in a gap
NEAR = 0.1  # relative change within which a real root continues a complex one
GAP = 1e-9  # −Im p/|p| below which a point lies in a gap


@dataclass(frozen=True, eq=False)
class SeparableMap(SpectralMap):
    """The map z(p) of token frequencies, row covariance and a finite sample.

    Parameters
    ----------
    delta : float
        d/V > 0.
    gamma : float
        d/N >= 0; zero for the population.
    frequencies, covariance : Poles
        The positive atoms of both; their probabilities may sum to less than one, the rest being zeros.
    scale : float
        Pooled noise kappa.
    """

    delta: float
    gamma: float
    frequencies: Poles
    covariance: Poles
    scale: float = 1.0

    is_plain = True

    @cached_property
    def _zeros(self) -> np.ndarray:
        """Increasing −p at which the map vanishes: rank of the rows, of the tokens, of the sample, over d."""
        ranks = [self.covariance.weights.sum(), self.frequencies.weights.sum() / self.delta]
        return np.sort([*ranks, 1 / self.gamma if self.gamma else np.inf])

    @property
    def atom(self) -> float:
        """Mass at zero."""
        return max(0.0, float(1 - self._zeros[0]))

    def pair(self, p: Any) -> tuple[np.ndarray, np.ndarray]:
        """ξ and η at real p, on the outer branches."""
        p = np.asarray(p, dtype=float)
        return self.frequencies.inverse(self.delta * p), self.covariance.inverse(p)

    def value(self, p: Any, xi: Any, eta: Any) -> Any:
        """z."""
        return self.scale * self.delta * p * (1 + self.gamma * p) * xi * eta

    def growth(self, p: Any, xi: Any, eta: Any) -> tuple[Any, Any]:
        """D = d log z/d log|p| at real p, with dD/d log|p|; both edges are its zeros.

        Increasing for p > 0, since s(ω) is a power series in 1/ω of positive coefficients.
        """
        turn = self.gamma * p / (1 + self.gamma * p)
        value, slope = 1 + turn, turn * (1 - turn)
        for poles, omega in ((self.frequencies, xi), (self.covariance, eta)):
            first, second, third = poles.sums(omega)
            share = -first / (omega * second)  # d log ω/d log|p|
            value = value + share
            slope = slope + share * (1 - share - 2 * first * third / second**2)
        return value, slope

    def _critical_point(self, low: float, high: float, side: float) -> float:
        def equation(s: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
            p = side * np.exp(s)
            value, slope = self.growth(p, *self.pair(p))
            return side * value, side * slope

        start = np.array([(low + high) / 2])
        return side * math.exp(increasing_root(equation, np.array([low]), np.array([high]), start, 1e-14)[0])

    @cached_property
    def critical(self) -> tuple[float, float]:
        """p at the left and at the right edge; −infinity where the support touches zero."""
        low, high = -1.0, 1.0
        while self.growth(math.exp(low), *self.pair(math.exp(low)))[0] > 0:
            low -= 4
        while self.growth(math.exp(high), *self.pair(math.exp(high)))[0] < 0:
            high += 4
        right = self._critical_point(low, high, 1.0)
        first, second = self._zeros[:2]
        if second - first <= 1e-12 * first:
            return -np.inf, right
        gap = np.log(second / first)
        return self._critical_point(np.log(first) + 1e-9 * gap, np.log(second) - 1e-9 * gap, -1.0), right

    @cached_property
    def _ends(self) -> tuple[float, float]:
        left, right = self.critical
        ends = [0.0 if np.isinf(p) else float(self(p)) for p in (left, right)]
        return max(ends[0], 0.0), ends[1]

    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the support, which may have gaps in between."""
        return self._ends

    def critical_spikes(self) -> tuple[Any, Any]:
        """1/p at the right and at the left edge."""
        left, right = self.critical
        return 1 / right, 1 / left

    def edge_scale(self) -> float:
        """Width of the right edge, (z² z''(p)/2)^(1/3)."""
        p = self.critical[1]
        return float(self._ends[1] * (self.growth(p, *self.pair(p))[1] / (2 * p**2)) ** (1 / 3))

    def __call__(self, p: Any) -> Any:
        """z(p) on the outer real branches: p > 0 beyond the right edge, p < 0 below the left one."""
        _, p = arrays(p, names="p")
        return plain(self.value(p, *self.pair(p)))

    def at_spike(self, q: Any) -> Any:
        """z(1/q), where a spike of net strength q puts its eigenvalue when it leaves the bulk."""
        _, q = arrays(q, names="q")
        return self(1 / q)

    def slope(self, q: Any) -> Any:
        """(dz/dq) / scale at p = 1/q: zero at the threshold."""
        _, q = arrays(q, names="q")
        xi, eta = self.pair(1 / q)
        return plain(-self.value(1 / q, xi, eta) * self.growth(1 / q, xi, eta)[0] / (q * self.scale))

    def moment(self, n: int) -> float:
        """n-th moment by Lagrange inversion of z = scale·Q(p)/p with the power series Q = δp²ξη(1+γp)."""
        if n == 0:
            return 1.0
        series = np.array([1.0, self.gamma] + [0.0] * n)[: n + 1]
        for poles, c in ((self.frequencies, self.delta), (self.covariance, 1.0)):
            g = inverse_series(poles, n + 1) * float(c) ** np.arange(n + 1)
            series = np.convolve(series, g)[: n + 1]
        return float(lagrange_moment(self.scale, list(series), n, n - 1))

    # the complex curve

    def _newton(
        self, z: np.ndarray, xi: np.ndarray, eta: np.ndarray, steps: int = 10
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Newton's method in (ξ, η) kept in the upper half planes, and which points have not settled."""
        xi, eta, failed = xi.copy(), eta.copy(), np.ones(z.size, dtype=bool)
        todo, last = np.arange(z.size), np.full(z.size, np.inf)
        for _ in range(steps):
            x, y, goal = xi[todo], eta[todo], z[todo]
            with np.errstate(all="ignore"):
                p, p_slope = self.frequencies.value_and_slope(x)
                p, p_slope = p / self.delta, p_slope / self.delta
                q, q_slope = self.covariance.value_and_slope(y)
                value = self.value(p, x, y)
                miss, gap = (goal - value) / value, q - p
                # log z moves by (1/p + γ/(1+γp)) dp + dξ/ξ + dη/η, and dq = dp + gap
                turn = 1 / p + self.gamma / (1 + self.gamma * p)
                dx = (miss + gap / (q_slope * y)) / (turn * p_slope + 1 / x + p_slope / (q_slope * y))
                dy = (p_slope * dx - gap) / q_slope
                # quadratic: what is left is about the square of the step, in units of the height; beside an
                # edge the step is rounding alone, and so is the residual
                residual = np.abs(miss) + np.abs(gap / p)
                settled = (residual <= RESIDUAL) | ((residual <= ROUNDING) & (residual >= last[todo] / 2))
                settled |= (np.abs(dx) <= 1e-8 * x.imag) & (np.abs(dy) <= 1e-8 * y.imag)
            last[todo] = residual
            xi[todo], eta[todo] = _kept_above(x + dx, x), _kept_above(y + dy, y)
            failed[todo[settled]] = False
            todo = todo[~settled]
            if not todo.size:
                break
        return xi, eta, failed

    def _descend(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ξ and η at points of the upper half plane or the real axis, followed down from far above."""
        both = self.frequencies, self.covariance
        size = 8 * self._ends[1]
        height = z.imag + size + np.abs(z)
        moments = [(m.weights @ m.values, (m.weights @ m.values**2)) for m in both]
        p = self.scale * moments[0][0] * moments[1][0] / (z.real + 1j * height)
        xi = moments[0][0] / (self.delta * p) + moments[0][1] / moments[0][0]
        eta = moments[1][0] / p + moments[1][1] / moments[1][0]
        xi, eta, failed = self._newton(z.real + 1j * height, xi, eta, 60)
        ratio, todo = np.full(z.size, 0.3), np.flatnonzero(~failed)
        floor = 1e-3 * np.minimum(np.abs(z), 1e-3 * self._ends[1])
        for _ in range(400):
            step = np.maximum(height[todo] * ratio[todo], z.imag[todo])
            new = np.where(step < floor[todo], z.imag[todo], step)
            x, y, lost = self._newton(z.real[todo] + 1j * new, xi[todo], eta[todo])
            gap = np.flatnonzero(lost & (new == 0))
            if gap.size:  # in a gap the root is real, and near what was followed so far
                a, b = xi[todo][gap], eta[todo][gap]
                c, d, off = self._newton(z[todo][gap], a.real + 0j, b.real + 0j, 40)
                off |= (np.abs(c - a) > NEAR * np.abs(a)) | (np.abs(d - b) > NEAR * np.abs(b))
                x[gap], y[gap], lost[gap] = c, d, off
            done = todo[~lost]
            xi[done], eta[done], height[done] = x[~lost], y[~lost], new[~lost]
            jumped = lost & (new < step)  # too early: closer to the axis first
            floor[todo] = np.where(jumped, 1e-2 * floor[todo], floor[todo])
            shorter = np.where(jumped, ratio[todo], np.sqrt(ratio[todo]))
            ratio[todo] = np.where(lost, shorter, np.maximum(ratio[todo] ** 1.5, 0.1))
            todo = todo[lost | (new > z.imag[todo])]
            if (
                not todo.size
                or (ratio[todo] > 1 - 1e-9).any()
                or (floor[todo] < 1e-15 * np.abs(z[todo])).any()
            ):
                break
        failed[todo] = True
        if failed.any():
            raise RuntimeError(
                f"the law's map could not be inverted at {int(failed.sum())} points, near z = {z[failed][0]!r}"
            )
        return xi, eta

    @cached_property
    def _isotropic(self) -> Gaps | None:
        """The gaps in isotropic noise; otherwise they are not sought."""
        if self.covariance.values.size > 1:
            return None
        unit, rank = self.scale * self.covariance.values[0], self.covariance.weights[0]
        return Gaps(self.frequencies, self.delta, self.gamma, float(rank), float(unit))

    def _eta(self, xi: np.ndarray) -> np.ndarray:
        assert self._isotropic is not None
        return self.covariance.values[0] * self._isotropic.at(xi)[2]

    @cached_property
    def _table(self) -> tuple[np.ndarray, list[Any]]:
        """Ends of intervals and gaps in turn, and splines over the angle of x in each, (ξ, η) and ξ.

        x = left + (right − left) sin²(angle/2) opens both ends.
        """
        from scipy.interpolate import CubicSpline

        gaps, inner = self._isotropic.ends if self._isotropic else np.empty((2, 0, 2))
        edges = np.array([self._ends[0], *inner.ravel(), self._ends[1]])
        ends: list[Any] = [self.pair(p) if np.isfinite(p) else None for p in self.critical]
        ends[1:1] = list(zip(gaps.ravel(), self._eta(gaps.ravel()))) if gaps.size else []
        t = self.frequencies.values
        held = np.diff([0, *np.searchsorted(t, gaps[:, 0]), t.size])
        count = np.clip(8 * held, FEWEST, TABLE) if gaps.size else [TABLE]
        angles = [np.pi * (np.arange(n) + 0.5) / n for n in count]
        x = [opened(low, top, a) for low, top, a in zip(edges[::2], edges[1::2], angles)]
        curve: list[Any] = [self._descend(x[0] + 0j)]
        if gaps.size:  # beside a token of its own ξ is nearly a half circle
            high = np.append(gaps[1:, 0], ends[-1][0])
            xi = [
                opened(low, top, a) + 0.5j * (top - low) * np.sin(a)
                for low, top, a in zip(gaps[:, 1], high, angles[1:])
            ]
            start, z = np.concatenate(xi), np.concatenate(x[1:]) + 0j
            *both, failed = self._newton(z, start, self._eta(start))
            failed |= both[0].imag < FLAT * start.imag
            if failed.any():
                both[0][failed], both[1][failed] = self._descend(z[failed])
            curve += zip(*(np.split(part, np.cumsum(count[1:])[:-1]) for part in both))
        pieces: list[Any] = []
        for i, (angle, part) in enumerate(zip(angles, curve)):
            for place, at, end in ((np.pi, angle.size, ends[2 * i + 1]), (0.0, 0, ends[2 * i])):
                if end is not None:
                    angle = np.insert(angle, at, place)
                    part = tuple(np.insert(each, at, value) for each, value in zip(part, end))
            pieces.append(CubicSpline(angle, np.stack(part, axis=1)))
            if self._isotropic and i < len(gaps):
                pieces.append(CubicSpline(*self._isotropic.points(i)))
        return edges, pieces

    def _bulk(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ξ, η at real x inside the ends of the support (i elsewhere), and whether x is inside."""
        left, right = self._ends
        flat = x.ravel()
        inside = (flat > left) & (flat < right)
        xi, eta = np.full((2, flat.size), 1j)
        here = np.flatnonzero(inside)
        if here.size:
            z = flat[here] + 0j
            edges, pieces = self._table
            piece = np.searchsorted(edges, z.real) - 1
            start = np.empty((2, z.size), dtype=complex)
            for i in np.unique(piece):
                mine = piece == i
                start[:, mine] = pieces[i](angle_of(z.real[mine], *edges[i : i + 2])).T
            gap = piece % 2 == 1
            if self._isotropic and gap.any():
                real = self._isotropic.inside(z.real[gap], start[0, gap].real, piece[gap] // 2)
                xi[here[gap]], eta[here[gap]] = real, self._eta(real)
                here, z, start = here[~gap], z[~gap], start[:, ~gap]
            a, b, failed = self._newton(
                z, *(s.real + 1j * np.maximum(s.imag, 1e-9 * np.abs(s)) for s in start)
            )
            if failed.any():
                a[failed], b[failed] = self._descend(z[failed])
            xi[here], eta[here] = a, b
        return xi.reshape(x.shape), eta.reshape(x.shape), inside.reshape(x.shape)

    def _p(self, xi: np.ndarray, eta: np.ndarray) -> np.ndarray:
        if self.covariance.values.size < self.frequencies.values.size:  # the shorter sum of the two
            return self.covariance.value_and_slope(eta)[0]
        return self.frequencies.value_and_slope(xi)[0] / self.delta

    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real and imaginary part of p at real x; the latter is zero off the support."""
        _, x = arrays(x, names="x")
        xi, eta, inside = self._bulk(x)
        p = np.where(inside, self._p(xi, eta), np.where(x <= self._ends[0], *self.critical) + 0j)
        solid = inside & (p.imag < -GAP * np.abs(p))
        return p.real, np.where(solid, p.imag, -0.0)

    def tail(self, x: Any) -> Any:
        """Mass above x: ∫ p dx/x by parts, closed in p, ξ and η (docs/theory/vocabulary.md, section 3)."""
        _, x = arrays(x, names="x")
        xi, eta, inside = self._bulk(x)
        p = self._p(xi, eta)
        total = 2 * p.imag + self.frequencies.arguments(xi) / self.delta + self.covariance.arguments(eta)
        total -= np.angle(1 + self.gamma * p) / self.gamma if self.gamma else p.imag
        return np.where(inside, total / math.pi, np.where(x < self._ends[1], 1 - self.atom, 0.0))

    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex."""
        _, z = arrays(z)
        flat = z.astype(complex).ravel()
        upper = np.where(flat.imag < 0, flat.conj(), flat)
        p = np.full(flat.shape, complex(np.nan, np.nan))
        left, right = self._ends
        real = upper.imag == 0
        beyond = real & np.isfinite(upper) & (upper != 0) & ((upper.real <= left) | (upper.real >= right))
        if beyond.any():
            p[beyond] = self._outside(upper.real[beyond])
        p[upper == 0] = -self._zeros[0]
        on_axis = np.flatnonzero(real & ~beyond & (upper != 0) & np.isfinite(upper))
        if on_axis.size:
            p[on_axis] = self._p(*self._bulk(upper.real[on_axis])[:2])
        off = np.flatnonzero(~real & np.isfinite(upper))
        if off.size:
            p[off] = self._p(*self._descend(upper[off]))
        return plain(np.where(flat.imag < 0, p.conj(), p).reshape(z.shape))

    def _outside(self, x: np.ndarray) -> np.ndarray:
        """Real p at real x off the ends of the support, where log|z| is monotone in log|p|."""
        left, right = self.critical
        first = np.log(self._zeros[0])
        side = np.where(x >= self._ends[1], 1.0, -1.0)
        rising = (x > 0) & (side < 0)  # between zero and the left edge
        low = np.where(rising, first, -80.0)
        high = np.where(side > 0, np.log(right), np.where(rising, np.log(-max(left, -1e300)), first))
        sign = np.where(rising, 1.0, -1.0)

        def equation(s: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            p = side[which] * np.exp(s)
            xi, eta = self.pair(p)
            miss = np.log(np.abs(self.value(p, xi, eta))) - np.log(np.abs(x[which]))
            return sign[which] * miss, sign[which] * self.growth(p, xi, eta)[0]

        with np.errstate(divide="ignore"):
            s = increasing_root(
                equation, low, high, np.where(rising, (low + high) / 2, np.minimum(high, 0) - 1)
            )
        return side * np.exp(s)

    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z."""
        _, z = arrays(z)
        return plain(-(1 + np.asarray(self.physical(z))) / z)


def _kept_above(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Newton's point, or half the way down where it would leave the upper half plane; to the axis in a gap."""
    size = np.abs(old)
    good = np.isfinite(new) & (new.imag >= 0)
    near = np.isfinite(new) & (np.abs(new - old) <= 1e-3 * size)  # only the side is wrong
    half = np.where(old.imag > 1e-10 * size, 0.5 * old.imag, 0.0)
    return np.where(good, new, np.where(near, new.real, old.real) + 1j * half)
