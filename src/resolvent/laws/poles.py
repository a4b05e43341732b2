"""Sums over the poles of a discrete law on both sides of the real axis, and their inverse off the poles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.laws.sums import PoleSums, increasing_root

__all__ = ["Poles", "inverse_series"]


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
