"""Sums over the poles of a discrete law on both sides of the real axis, and their inverse off the poles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.laws.sums import PoleSums, increasing_root

__all__ = ["Gaps", "Poles", "angle", "inverse_series", "opened"]

NODES = 12  # points of a gap at which the map is looked at, a round
ROUNDS = 3
NARROW = 1e-6  # relative width of a gap that is not set apart


@dataclass(frozen=True, eq=False)
class Poles:
    """The sum s(ω) = sum_k a_k/(ω − t_k), a_k = w_k t_k, its slopes and its inverse off the poles.

    Parameters
    ----------
    values, weights : array
        Positive, increasing and distinct t_k, and w_k.
    """

    values: np.ndarray
    weights: np.ndarray

    @cached_property
    def _complex(self) -> PoleSums:
        return PoleSums(self.values, self.weights * self.values, 1.0, 0.0)

    def sums(self, omega: np.ndarray, powers: int = 3) -> tuple[np.ndarray, ...]:
        """sum_k a_k/(ω − t_k)^j at real ω for j = 1, ..., powers, each of the shape of ω."""
        r = 1 / (np.asarray(omega)[..., None] - self.values)
        a, out = self._complex.weights, []
        power = r.copy()
        for _ in range(powers):
            out.append(power @ a)
            power *= r
        return tuple(out)

    def value_and_slope(self, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """s and ds/dω at complex ω, in real arithmetic."""
        first, second = self._complex.first_and_second(omega)
        return first, -second

    def arguments(self, omega: np.ndarray) -> np.ndarray:
        """sum_k w_k arg(1 − t_k/ω), ω in the upper half plane or on its boundary."""
        total = PoleSums(self.values, self.weights, 1.0, 0.0).arguments(omega)
        return total - self.weights.sum() * np.angle(omega)

    def inverse(self, s: np.ndarray) -> np.ndarray:
        """The real ω with s(ω) = s: above all poles for s > 0, below them for s < 0."""
        s = np.asarray(s, dtype=float)
        if self.values.size == 1:
            return self.values[0] * (1 + self.weights[0] / s)
        flat = s.ravel()
        pole = np.where(flat < 0, self.values[0], self.values[-1])
        side, size = np.sign(flat), 1 / np.abs(flat)
        a = self._complex.weights
        near, far = np.where(flat < 0, a[0], a[-1]) * size, a.sum() * size

        def equation(omega: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            value, second = self.sums(omega, 2)
            return 1 / value - 1 / flat[which], second / value**2

        low, high = np.sort([pole + side * near, pole + side * far], axis=0)
        margin = 1e-12 * np.maximum(np.abs(low), np.abs(high))
        start = np.clip(pole + side * np.sqrt(near * far), low, high)
        return increasing_root(equation, low - margin * (side < 0), high + margin, start).reshape(s.shape)


def inverse_series(poles: Poles, order: int) -> np.ndarray:
    """Coefficients of s·ω(s) in powers of s, lowest first: g = sum_k T_k (s/g)^(k−1), T_k = sum_j w_j t_j^k."""
    top = poles.values[-1]
    moments = [float(poles.weights @ (poles.values / top) ** k) for k in range(1, order + 1)]
    g = np.zeros(order)
    g[0] = moments[0]
    for _ in range(order):  # each round makes one more coefficient exact
        reciprocal = np.zeros(order)
        reciprocal[0] = 1 / g[0]
        for i in range(1, order):
            reciprocal[i] = -(g[1 : i + 1] @ reciprocal[i - 1 :: -1][:i]) / g[0]
        argument = np.concatenate([[0.0], reciprocal[:-1]])
        g, power = np.zeros(order), np.eye(1, order)[0]
        for moment in moments:
            g = g + moment * power
            power = np.convolve(power, argument)[:order]
    return g * top


def opened(left: Any, right: Any, angle: np.ndarray) -> np.ndarray:
    """x = left + (right − left) sin²(angle/2), which opens square roots at both ends."""
    return left + (right - left) * np.sin(angle / 2) ** 2


def angle(x: np.ndarray, left: float, right: float) -> np.ndarray:
    """The angle of x between its ends, from 0 to pi."""
    return 2 * np.arctan2(np.sqrt(np.maximum(x - left, 0)), np.sqrt(np.maximum(right - x, 0)))


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gaps of the map z = unit·δξ(p + rank)(1 + γp), δp = s(ξ): token frequencies in isotropic noise.

    Parameters
    ----------
    poles : Poles
        Token frequencies.
    delta, gamma : float
        d/V and d/N.
    rank, unit : float
        Share of the directions that have noise, and the size of it.
    """

    poles: Poles
    delta: float
    gamma: float
    rank: float
    unit: float

    def at(self, xi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """z, d log z/dξ and 1 + rank/p."""
        first, second = self.poles.value_and_slope(xi)
        p = first / self.delta
        turn = self.gamma / (1 + self.gamma * p) + 1 / (p + self.rank)
        with np.errstate(divide="ignore"):
            ratio = 1 + self.rank / p
        z = self.unit * self.delta * xi * (p + self.rank) * (1 + self.gamma * p)
        return z, 1 / xi + second / self.delta * turn, ratio

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """ξ, and z, at both ends of every gap, a row each and increasing."""
        if self.poles.values.size == 1:
            return np.empty((0, 2)), np.empty((0, 2))
        xi = _open_gaps(self.poles, self.delta, self.gamma, self.rank)
        z = self.at(xi)[0]
        wide = z[:, 1] - z[:, 0] > NARROW * z[:, 1]
        return xi[wide], z[wide]

    def points(self, gap: int) -> tuple[np.ndarray, np.ndarray]:
        """Angles of z across a gap, increasing, and ξ there."""
        low, high = self.ends[0][gap]
        xi = np.linspace(low, high, NODES)
        angles = np.append(angle(self.at(xi[:-1])[0], *self.ends[1][gap]), np.pi)
        kept = np.insert(np.diff(np.maximum.accumulate(angles)) > 0, 0, True)
        return angles[kept], xi[kept]

    def inside(self, x: np.ndarray, start: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Real ξ at x in the gaps of these numbers: z increases with ξ there."""

        def equation(xi: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            z, growth, _ = self.at(xi)
            return z / x[which] - 1, z / x[which] * growth

        low, high = self.ends[0][gap].T
        return increasing_root(equation, low, high, np.clip(start, low, high), 1e-14)


def _open_gaps(poles: Poles, delta: float, gamma: float, rank: float) -> np.ndarray:
    """Real ξ, a row (left, right) a gap, between which z = ξ (p + rank)(1 + γp) increases; δp = s(ξ).

    These are all gaps of the law of isotropic rows: between two poles one at most is open. It is sought inside
    that of the population (γ = 0); one narrower than about 1e-3 of it may be missed
    (docs/theory/vocabulary.md, section 6).
    """
    intervals = PoleSums(poles.values, poles.weights, 1 / (delta * rank), 0.0).critical_points()
    low, high = intervals[:-1, 1], intervals[1:, 0]
    if not gamma or not low.size:
        return np.column_stack([low, high])

    def rise(xi: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
        p = first / delta  # d log z/dξ, and what its slope needs
        turn, spread = gamma / (1 + gamma * p), 1 / (p + rank)
        value = 1 / xi - second / delta * (turn + spread)
        good = (1 + gamma * p > 0) & (p + rank > 0) & np.isfinite(value)
        return np.where(good, value, -1 / xi), turn, spread

    share = np.sin(np.pi / 2 * np.arange(NODES + 2) / (NODES + 1)) ** 2
    brackets, todo = np.full((4, low.size), np.nan), np.arange(low.size)
    bottom, top = low.copy(), high.copy()
    for _ in range(ROUNDS):
        xi = bottom[todo, None] + (top - bottom)[todo, None] * share
        value = rise(xi, *poles._complex.first_and_second(xi))[0]
        value[:, [0, -1]] = np.where(value[:, [0, -1]] < 0, value[:, [0, -1]], 0.0)
        up, row = value > 0, np.arange(todo.size)
        a, b = np.argmax(up, axis=1), value.shape[1] - 1 - np.argmax(up[:, ::-1], axis=1)
        some = up.any(axis=1)
        found = np.stack([xi[row, a - 1], xi[row, a], xi[row, b], xi[row, np.minimum(b + 1, NODES + 1)]])
        brackets[:, todo[some]] = found[:, some]
        peak = np.clip(np.argmax(value[:, 1:-1], axis=1) + 1, 1, NODES)
        bottom[todo], top[todo] = xi[row, peak - 1], xi[row, peak + 1]
        todo = todo[~some]
        if not todo.size:
            break
    brackets = brackets[:, np.isfinite(brackets[0])]

    def end(side: float) -> Any:
        def equation(xi: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
            first, second, third = poles.sums(xi)
            value, turn, spread = rise(xi, first, second)
            slope = (
                2 * third / delta * (turn + spread)
                - 1 / xi**2
                - (second / delta) ** 2 * (turn**2 + spread**2)
            )
            return side * value, side * slope

        return equation

    starts = brackets[:2].mean(axis=0), brackets[2:].mean(axis=0)
    left = increasing_root(end(1.0), brackets[0], brackets[1], starts[0], 1e-14)
    right = increasing_root(end(-1.0), brackets[2], brackets[3], starts[1], 1e-14)
    return np.column_stack([left, right])
