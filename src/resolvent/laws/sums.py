"""Sums over the poles of a population's map, a block of points at a time, and the equations they solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["PoleSums", "increasing_root"]

BLOCK = 2**14  # points times poles whose intermediate arrays stay in cache together
Equation = Callable[[np.ndarray, Any], tuple[np.ndarray, np.ndarray]]


def increasing_root(
    equation: Equation, low: np.ndarray, high: np.ndarray, start: np.ndarray, tolerance: float = 4e-16
) -> np.ndarray:
    """Roots of increasing functions between `low` and `high`: Newton kept inside a shrinking bracket.

    `equation(x, which)` returns values and slopes of the functions numbered `which` at their points x.
    """
    low, high, x = low.astype(float), high.astype(float), start.astype(float)
    todo = np.arange(x.size)
    last = np.full(x.size, np.inf)
    for _ in range(250):
        now = x[todo]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value, slope = equation(now, todo)
            low[todo] = np.where(value < 0, now, low[todo])
            high[todo] = np.where(value < 0, high[todo], now)
            new = now - value / slope
        # a Newton step that does not halve the value gives way to a bisection
        good = (new >= low[todo]) & (new <= high[todo]) & (np.abs(value) <= last[todo] / 2)
        last[todo] = np.abs(value)
        middle = (low[todo] + high[todo]) / 2
        new = np.where(good, new, middle)
        x[todo] = np.where(value == 0, now, new)
        size = tolerance * np.maximum(np.abs(now), 1e-300)
        moving = (value != 0) & (np.abs(new - now) > size) & (high[todo] - low[todo] > size)
        todo = todo[moving]
        if not todo.size:
            return x
    raise RuntimeError(f"{todo.size} scalar equations of the law have not converged")


@dataclass(frozen=True, eq=False)
class PoleSums:
    """z(ω) = ω (e + c ω sum_k w_k/(ω−t_k)), e = 1 − c + c·zero, and what goes with it.

    This form of the map loses nothing near ω = 0 where the bulk touches zero.
    """

    values: np.ndarray
    weights: np.ndarray
    ratio: float
    zero: float

    @cached_property
    def rest(self) -> float:
        """e = 1 − c (1 − zero), exactly zero where the bulk touches zero."""
        return (1 - self.ratio) + self.ratio * self.zero

    @cached_property
    def squares(self) -> np.ndarray:
        """c w_k t_k²."""
        return self.ratio * self.weights * self.values**2

    def _blocks(self, count: int) -> list[slice]:
        rows = max(1, BLOCK // self.values.size)
        return [slice(i, i + rows) for i in range(0, count, rows)]

    def first_and_second(self, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """sum_k w_k/(ω−t_k) and sum_k w_k/(ω−t_k)²; in real arithmetic, twice as fast as complex."""
        flat, w = omega.ravel(), self.weights
        first, second = np.empty_like(flat), np.empty_like(flat)
        if not np.iscomplexobj(flat):
            for block in self._blocks(flat.size):
                r = 1 / (flat[block, None] - self.values)
                first[block] = r @ w
                r *= r
                second[block] = r @ w
            return first.reshape(omega.shape), second.reshape(omega.shape)
        for block in self._blocks(flat.size):
            v = flat[block].imag.copy()
            d = flat[block].real[:, None] - self.values
            q = d * d
            q += (v * v)[:, None]
            np.reciprocal(q, out=q)
            d *= q
            a = q @ w
            first[block] = d @ w - 1j * (v * a)
            d *= q
            q *= q
            second[block] = a - 2 * v**2 * (q @ w) - 2j * (v * (d @ w))
        return first.reshape(omega.shape), second.reshape(omega.shape)

    def first(self, omega: np.ndarray) -> np.ndarray:
        """sum_k w_k/(ω−t_k)."""
        return self.first_and_second(omega)[0]

    def p(self, omega: Any) -> np.ndarray:
        """p = sum_k w_k t_k/(ω−t_k)."""
        return self.p_and_slope(np.asarray(omega))[0]

    def p_and_slope(self, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p and dp/dω."""
        flat = omega.ravel()
        value, slope = np.empty_like(flat), np.empty_like(flat)
        weights = self.weights * self.values
        for block in self._blocks(flat.size):
            r = 1 / (flat[block, None] - self.values)
            value[block], slope[block] = r @ weights, -((r * r) @ weights)
        return value.reshape(omega.shape), slope.reshape(omega.shape)

    def z_over_omega(self, omega: np.ndarray) -> np.ndarray:
        """z(ω)/ω."""
        return self.rest + self.ratio * omega * self.first(omega)

    def z(self, omega: np.ndarray) -> np.ndarray:
        """z(ω)."""
        return omega * self.z_over_omega(omega)

    def z_and_slope(self, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z and dz/dω."""
        first, second = self.first_and_second(omega)
        turn = self.ratio * omega
        return omega * (self.rest + turn * first), self.rest + turn * (2 * first - omega * second)

    def arguments(self, omega: np.ndarray) -> np.ndarray:
        """sum_k w_k arg(ω−t_k), from 0 to pi each."""
        flat = omega.ravel()
        out = np.empty(flat.size)
        for block in self._blocks(flat.size):
            d = flat[block].real[:, None] - self.values
            out[block] = np.arctan2(flat[block].imag[:, None], d) @ self.weights
        return out.reshape(omega.shape)

    def steepness(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f(u) = c sum_k w_k t_k²/(u−t_k)² at real u and its two derivatives; dz/dω = 1 − f."""
        out = np.empty((3, u.size))
        for block in self._blocks(u.size):
            r = 1 / (u[block, None] - self.values)
            square = r * r
            out[0, block] = square @ self.squares
            out[1, block] = -2 * ((square * r) @ self.squares)
            square *= square
            out[2, block] = 6 * (square @ self.squares)
        return out[0], out[1], out[2]

    def heights(self, u: np.ndarray, start: np.ndarray) -> np.ndarray:
        """v > 0 with c sum_k w_k t_k²/((u−t_k)² + v²) = 1, for u inside the image of the support.

        One over the sum increases with v² and is concave in it.
        """

        def equation(s: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            value, slope = np.empty(s.size), np.empty(s.size)
            for block in self._blocks(s.size):
                d = u[which[block], None] - self.values
                d *= d
                d += s[block, None]
                np.reciprocal(d, out=d)
                f = d @ self.squares
                d *= d
                value[block], slope[block] = 1 / f - 1, (d @ self.squares) / f**2
            return value, slope

        top = np.full(u.size, self.squares.sum())
        s = increasing_root(equation, np.zeros(u.size), top, np.minimum(start**2, top), 1e-12)
        return np.sqrt(s)

    def critical_points(self) -> np.ndarray:
        """Zeros of dz/dω on the real axis, a row (left, right) an interval of the support.

        Between two poles f is convex: the support has a gap there where its minimum is below one.
        """
        t, a = self.values, self.squares
        width = np.diff(t)
        # the two poles next to a gap alone add this much at least to f
        bound = (np.cbrt(a[:-1]) + np.cbrt(a[1:])) ** 3
        gaps = np.flatnonzero(bound < width**2)
        share = 1 / (1 + np.cbrt(a[1:][gaps] / a[:-1][gaps]))
        lowest = increasing_root(
            lambda u, _: self.steepness(u)[1:], t[gaps], t[gaps + 1], t[gaps] + share * width[gaps]
        )
        open_ = self.steepness(lowest)[0] < 1
        gaps, lowest = gaps[open_], lowest[open_]

        reach = np.sqrt(a.sum())

        def rising(side: float) -> Equation:
            # f^(-1/2) is nearly linear beside a pole
            def equation(u: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
                f, slope, _second = self.steepness(u)
                return side * (f**-0.5 - 1), -side * 0.5 * slope * f**-1.5

            return equation

        at = np.append(gaps, t.size - 1)  # right ends lie above these poles, left ends below those after
        far = np.append(lowest, t[-1] + reach)
        right = increasing_root(rising(1), t[at], far, np.minimum(t[at] + np.sqrt(a[at]), (t[at] + far) / 2))
        at = np.append(0, gaps + 1)
        far = np.append(t[0] - reach, lowest)
        if self.rest == 0:
            left = np.zeros(1)  # f(0) = 1 - e: the bulk touches zero
            at, far = at[1:], far[1:]
        else:
            left = np.empty(0)
        found = increasing_root(rising(-1), far, t[at], np.maximum(t[at] - np.sqrt(a[at]), (t[at] + far) / 2))
        return np.column_stack([np.concatenate([left, found]), right])

    def newton(self, omega: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The root of z(ω) = z in the upper half plane near `omega`: there is only one there.

        Raises
        ------
        RuntimeError
            If a point has not converged.
        """
        omega, failed = self.try_newton(omega, z)
        if failed.any():
            stuck = np.flatnonzero(failed)
            above = z[stuck] + 1j * np.abs(omega[stuck].imag)
            omega[stuck], again = self.try_newton(self.descend(above), z[stuck])
            if again.any():
                raise RuntimeError(f"no root of the law's map found at z = {z[stuck[again][0]]!r}")
        return omega

    def try_newton(self, omega: np.ndarray, z: np.ndarray, steps: int = 12) -> tuple[np.ndarray, np.ndarray]:
        """Newton steps from `omega`; the result, and which points left the half plane or did not settle."""
        omega, failed = omega.copy(), np.ones(omega.size, dtype=bool)
        todo = np.arange(omega.size)
        for _ in range(steps):
            now = omega[todo]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                value, slope = self.z_and_slope(now)
                step = (value - z[todo]) / slope
            new = now - step
            good = (new.imag > 0) & np.isfinite(new)
            new = np.where(good, new, now.real + 0.5j * now.imag)
            # quadratic: the error left is about the square of the step, in units of the height; beside an
            # edge the step is rounding alone, that of the terms of z over the slope
            terms = np.abs(now * self.rest) + np.abs(value - now * self.rest)
            floor = 8 * np.finfo(float).eps * terms / np.maximum(np.abs(slope), 1e-300)
            settled = good & (np.abs(step) <= np.maximum(1e-8 * new.imag, floor))
            omega[todo] = new
            failed[todo[settled]] = False
            todo = todo[~settled]
            if not todo.size:
                break
        return omega, failed

    def descend(self, z: np.ndarray) -> np.ndarray:
        """ω(z) in the upper half plane, followed from far above the axis down to z.

        Raises
        ------
        RuntimeError
            If the path cannot be followed.
        """
        height = z.imag + 4 * self.values[-1] * (1 + self.ratio) + np.abs(z)
        omega = z.real + 1j * height - self.ratio * (self.weights @ self.values)
        omega, failed = self.try_newton(omega, z.real + 1j * height, 50)
        ratio = np.full(z.size, 0.25)
        todo = np.flatnonzero(~failed)
        for _ in range(400):
            # heights are multiplied by the ratio until the target's is within reach
            new = np.where(
                height[todo] * ratio[todo] <= z.imag[todo], z.imag[todo], height[todo] * ratio[todo]
            )
            slope = self.z_and_slope(omega[todo])[1]
            guess = omega[todo] - 1j * (height[todo] - new) / slope
            guess = np.where(guess.imag > 0, guess, guess.real + 0.5j * omega[todo].imag)
            found, lost = self.try_newton(guess, z.real[todo] + 1j * new)
            done = todo[~lost]
            omega[done], height[done] = found[~lost], new[~lost]
            ratio[todo] = np.where(lost, np.sqrt(ratio[todo]), np.maximum(ratio[todo] ** 1.5, 0.05))
            todo = todo[lost | (new > z.imag[todo])]
            if not todo.size:
                break
        if failed.any() or todo.size:
            raise RuntimeError(f"the law's map could not be inverted at {failed.sum() + todo.size} points")
        return omega
