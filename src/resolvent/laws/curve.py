"""The curve ω(x) above the support of a population's map, tabulated so that any x finds a start on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from resolvent.laws.sums import PoleSums

__all__ = ["Curve", "tabulate"]

NODES = 24  # of an interval's first table, fewer where there are many intervals
CLOSE = 3e-4  # wanted error of the table, in units of the height v: two Newton steps end at rounding
ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Curve:
    """Nodes of the curve, with 2j + angle/pi as place in interval j and x = left + width·sin²(angle/2).

    Both square-root edges are opened by the angle: ω is smooth in it up to the ends.
    """

    critical: np.ndarray  # (intervals, 2), ω at the ends
    ends: np.ndarray  # (intervals, 2), x there
    place: np.ndarray  # of the nodes, increasing
    omega: np.ndarray
    tangent: np.ndarray  # dω/dplace

    def start(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ω near x, and whether x is inside the support; outside, ω at the next end below (or the first)."""
        interval = np.maximum(np.searchsorted(self.ends[:, 0], x, side="left") - 1, 0)
        left, right = self.ends[interval].T
        inside = (x > left) & (x < right)
        omega = np.where(x <= left, *self.critical[interval].T).astype(complex)
        here = np.flatnonzero(inside)
        omega[here] = self.at(_place(self.ends, interval[here], x[here]))
        return omega, inside

    def at(self, place: np.ndarray) -> np.ndarray:
        """Cubic Hermite interpolation, kept in the upper half plane."""
        i = np.clip(np.searchsorted(self.place, place) - 1, 0, self.place.size - 2)
        h = self.place[i + 1] - self.place[i]
        s = (place - self.place[i]) / h
        a, b = self.omega[i], self.omega[i + 1]
        bend = (1 - s) * self.tangent[i] - s * self.tangent[i + 1]
        out = a + s**2 * (3 - 2 * s) * (b - a) + h * s * (1 - s) * bend
        return out.real + 1j * np.maximum(out.imag, 1e-3 * s * (1 - s) * np.maximum(a.imag, b.imag))

    def with_nodes(self, place: np.ndarray, omega: np.ndarray, tangent: np.ndarray) -> Curve:
        """The same curve with more nodes, whose places may coincide with those there are."""
        places, first = np.unique(np.concatenate([self.place, place]), return_index=True)
        omegas, tangents = np.concatenate([self.omega, omega]), np.concatenate([self.tangent, tangent])
        return Curve(self.critical, self.ends, places, omegas[first], tangents[first])


def _place(ends: np.ndarray, interval: np.ndarray, x: np.ndarray) -> np.ndarray:
    left, right = ends[interval].T
    angle = 2 * np.arctan2(np.sqrt(np.maximum(x - left, 0)), np.sqrt(np.maximum(right - x, 0)))
    return 2 * interval + angle / math.pi


def tabulate(poles: PoleSums, critical: np.ndarray, ends: np.ndarray) -> Curve:
    """Tabulate the curve between the critical points, halving cells until they interpolate well."""
    count = len(critical)
    width = ends[:, 1] - ends[:, 0]

    def nodes(u: np.ndarray, interval: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, ...]:
        omega = u + 1j * poles.heights(u, guess)
        x, slope = poles.z_and_slope(omega)
        place = _place(ends, interval, x.real)
        return place, omega, math.pi / 2 * width[interval] * np.sin(math.pi * (place % 2)) / slope

    # at the ends z - x is curvature/2 (ω - u)², with the curvature −f'(u)
    curvature = -poles.steepness(critical.ravel())[1].reshape(critical.shape)
    tangent = 1j * math.pi * np.sqrt(width[:, None] / (2 * np.abs(curvature))) * np.array([1, -1])
    place = 2 * np.arange(count)[:, None] + np.array([0, 1])
    curve = Curve(critical, ends, place.ravel(), critical.ravel().astype(complex), tangent.ravel())

    share = np.sin(np.linspace(0, math.pi, max(6, NODES - count) + 2)[1:-1] / 2) ** 2
    some = poles.values[:: 1 + poles.values.size // 64]  # the scales of the population
    u = np.concatenate([(critical[:, :1] + np.diff(critical) * share).ravel(), some])
    interval = np.searchsorted(critical[:, 0], u) - 1
    left, right = critical[interval].T
    curve = curve.with_nodes(*nodes(u, interval, np.sqrt((u - left) * (right - u))))

    cells = np.flatnonzero(np.diff(curve.place // 2) == 0)
    for _ in range(ROUNDS):
        # the right end's place is odd, 2j + 1, and every other node of interval j lies below it
        low, high = curve.omega[cells], curve.omega[cells + 1]
        u, interval = (low.real + high.real) / 2, (curve.place[cells] // 2).astype(int)
        guess = curve.at((curve.place[cells] + curve.place[cells + 1]) / 2).imag
        new = nodes(u, interval, guess)
        bad = np.abs(curve.at(new[0]) - new[1]) > CLOSE * new[1].imag
        curve = curve.with_nodes(*new)
        if not bad.any():
            break
        at = np.searchsorted(curve.place, new[0][bad])
        cells = np.unique(np.concatenate([at - 1, at]))
    return curve
