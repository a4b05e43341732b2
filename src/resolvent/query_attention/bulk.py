r"""The bulk of tokens pooled by one query: token types in the map of the sample covariance.

With y = (1/V) tr (λ − S)⁻¹, in units of 1/T, and the two classes c = ± of sequences,

.. math:: \lambda(y) = \frac{\delta}{y} + E\frac{\Omega_0}{1-y\Omega_0}, \qquad
          \Omega_0 = \tfrac12\sum_c \rho_c D_c^2 (1+c\theta s)\varphi^2,

where ρ± ≥ 1 is the smallest solution of two scalar equations. Derived in docs/theory/attention_query.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.query_attention.types import TokenTypes

__all__ = ["AttentionBulk", "BulkPoint", "Composition", "CondensedError"]

CLASSES = np.array([1.0, -1.0])


class CondensedError(ValueError):
    """Single tokens hold so much weight that the theory of the signal ends.

    Examples
    --------
    >>> issubclass(CondensedError, ValueError)
    True
    """


@dataclass(frozen=True)
class Composition:
    """What the positions say of a sequence's mean sign ȳ: ±theta with its label, and T Var(ȳ | label) = spread.

    Attributes
    ----------
    theta : float
        |mean loading|, in [0, 1].
    spread : float
        v = 1 − mean squared loading.
    length : int
        T.

    Examples
    --------
    >>> Composition.of([1.0, 1.0, 0.0, 0.0])
    Composition(theta=0.5, spread=0.5, length=4)
    """

    theta: float
    spread: float
    length: int

    @classmethod
    def of(cls, loadings: Any) -> Composition:
        """From the correlations c_l of the positions with the label."""
        c = np.asarray(loadings, dtype=float)
        return cls(abs(float(c.mean())), float(1 - (c**2).mean()), c.size)


@dataclass(frozen=True, eq=False)
class BulkPoint:
    """The map at points y, arrays of shape (m,); NaN where y lies beyond the reach of the map.

    Attributes
    ----------
    y, eigenvalue, slope : arrays, shape (m,)
        y, λ and dλ/dy, with λ in units of 1/T.
    rho : array, shape (m, 2)
        ρ₊ and ρ₋.
    rates : array, shape (m, 2)
        y Ω₀/φ² of tokens of sign + and −.
    """

    y: np.ndarray
    eigenvalue: np.ndarray
    slope: np.ndarray
    rho: np.ndarray
    rates: np.ndarray

    def pick(self, i: int) -> BulkPoint:
        """One of the points."""
        return BulkPoint(self.y[i], self.eigenvalue[i], self.slope[i], self.rho[i], self.rates[i])


@dataclass(frozen=True, eq=False)
class AttentionBulk:
    """The inverse map λ(y) of the bulk, its critical point and its edge.

    Parameters
    ----------
    types : TokenTypes
    composition : Composition
    delta, gamma : float
        d/V and d/N.
    left_out : int, default 0
        How many of the heaviest tokens are taken out of the map: they are outliers, not bulk.

    Raises
    ------
    RuntimeError
        If the map does not converge.

    References
    ----------
    docs/theory/attention_query.md, section 4.

    Examples
    --------
    >>> from resolvent import spikes
    >>> from resolvent.query_attention import token_types
    >>> flat = token_types(2000, 0.0, 0.0, length=100)
    >>> bulk = AttentionBulk(flat, Composition(0.0, 1.0, 100), 0.25, 0.5)
    >>> round(bulk.edge, 6) == round(float(spikes.edge(0.25, 0.5)), 6)
    True
    """

    types: TokenTypes
    composition: Composition
    delta: float
    gamma: float
    left_out: int = 0

    @cached_property
    def damping(self) -> np.ndarray:
        """D± = 1/(1 ± theta·th): what the normaliser leaves of a class, shape (2,)."""
        return 1 / (1 + CLASSES * self.composition.theta * self.types.balance)

    @cached_property
    def mixing(self) -> np.ndarray:
        """½ D_c² (1 + c·theta·s), shape (2, 2): class c of the sequence, sign s = +, − of the token."""
        theta = self.composition.theta
        return 0.5 * self.damping[:, None] ** 2 * (1 + theta * np.outer(CLASSES, CLASSES))

    @cached_property
    def _pairs(self) -> np.ndarray:
        """mixing[c, s] mixing[d, s], shape (2, 4): sign s, classes c and d."""
        return (self.mixing[:, None, :] * self.mixing[None, :, :]).reshape(4, 2).T

    @cached_property
    def heaviest(self) -> np.ndarray:
        """Single tokens, by decreasing weight in the map."""
        types = self.types
        weight = types.factors**2 * self.mixing.sum(axis=0)[(types.signs < 0).astype(int)]
        order = np.argsort(-weight, kind="stable")
        return order[types.single[order]][: types.signs.size - 1]  # some token is bulk

    @cached_property
    def _parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(φ², probabilities) of the tokens of sign + and − that are bulk."""
        keep = np.ones(self.types.signs.size, dtype=bool)
        keep[self.heaviest[: self.left_out]] = False
        return [
            (self.types.factors[part] ** 2, self.types.shares[part])
            for part in (keep & (self.types.signs > 0), keep & (self.types.signs < 0))
        ]

    def at(self, y: Any, start: np.ndarray | None = None) -> BulkPoint:
        """The map at y.

        Newton's method for ρ from below (from one, or from a lower bound `start`, such as ρ at a smaller y), where it
        is monotone: the right sides are increasing and convex in ρ.
        """
        y = np.atleast_1d(np.asarray(y, dtype=float))
        ratio, mixing = self.gamma / self.delta, self.mixing
        rho = np.ones((y.size, 2)) if start is None else start.copy()
        good = np.ones(y.size, dtype=bool)
        todo = np.arange(y.size)
        for _ in range(60):
            now, here = rho[todo], y[todo]
            first, second = self._sums(here[:, None] * (now @ mixing))
            inside = np.isfinite(first).all(axis=1)
            x = 2 * ratio * here[:, None] * (first @ mixing.T)  # 1 − 1/ρ
            inside &= (x < 1).all(axis=1)
            x = np.where(inside[:, None], x, 0.0)
            pairs = (np.where(inside[:, None], second, 0.0) @ self._pairs).reshape(-1, 2, 2)
            jacobian = (2 * ratio * here**2)[:, None, None] * pairs
            system = np.eye(2) - jacobian / ((1 - x) ** 2)[:, :, None]
            residual = 1 / (1 - x) - now
            determinant = system[:, 0, 0] * system[:, 1, 1] - system[:, 0, 1] * system[:, 1, 0]
            inside &= (determinant > 0) & (system[:, 0, 0] > 0)  # lost where no solution exists
            step = (
                np.stack(
                    [
                        system[:, 1, 1] * residual[:, 0] - system[:, 0, 1] * residual[:, 1],
                        system[:, 0, 0] * residual[:, 1] - system[:, 1, 0] * residual[:, 0],
                    ],
                    axis=1,
                )
                / np.where(inside, determinant, 1.0)[:, None]
            )
            rho[todo] = np.where(inside[:, None], now + step, np.nan)
            good[todo[~inside]] = False
            moving = inside & (np.abs(step) > 1e-13 * now).any(axis=1)
            todo = todo[moving]
            if not todo.size:
                break
        else:
            worst = float(y[todo[0]])
            raise RuntimeError(
                f"the map of the bulk has not converged at y = {worst:.6g}: ρ = {rho[todo[0]]}"
            )
        rates = y[:, None] * (rho @ mixing)
        first, second = self._sums(rates)
        # dρ/dy by the implicit function theorem, then dλ/dy
        x = 1 - 1 / rho
        slopes = (first + second * rates) @ mixing.T
        explicit = rho**2 * 2 * ratio * slopes
        jacobian = (2 * ratio * y**2)[:, None, None] * (second @ self._pairs).reshape(-1, 2, 2)
        system = np.eye(2) - rho[:, :, None] ** 2 * jacobian
        change = np.full_like(rho, np.nan)
        change[good] = np.linalg.solve(system[good], explicit[good][..., None])[..., 0]
        grown = rates / y[:, None] + y[:, None] * (change @ mixing)  # d(rates)/dy
        value = self.delta / y + (rates * first).sum(axis=1) / y
        slope = (
            -self.delta / y**2
            - (rates * first).sum(axis=1) / y**2
            + (grown * (first + rates * second)).sum(axis=1) / y
        )
        return BulkPoint(y, value, slope, rho, rates)

    def _sums(self, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of P φ²/(1 − aφ²) and of P φ⁴/(1 − aφ²)² over the tokens of either sign, NaN beyond a pole."""
        first, second = np.full_like(rates, np.nan), np.full_like(rates, np.nan)
        for s, (square, share) in enumerate(self._parts):
            inside = rates[:, s] * square.max(initial=0.0) < 1
            r = square / (1 - rates[inside, s, None] * square)
            first[inside, s] = r @ share
            r *= r
            second[inside, s] = r @ share
        return first, second

    @cached_property
    def critical(self) -> float:
        """y_c of the right edge, where dλ/dy = 0."""
        for bracket in self._brackets():
            low = bracket[0].y
        return float(low)

    def _brackets(self) -> Iterator[tuple[BulkPoint, BulkPoint]]:
        """Ever closer points on either side of y_c; the map may not reach the second (NaN)."""
        low, rho = 0.0, np.ones(2)
        weights = self.mixing.sum(axis=0)
        most = max(
            weight * square.max(initial=0.0) for (square, _), weight in zip(self._parts, weights, strict=True)
        )
        if not most > 0:
            raise CondensedError("the factors of all tokens of the bulk underflow; lower query_norm")
        high = 1 / most
        for _ in range(5):
            grid = np.linspace(low, high, 18)[1:]
            point = self.at(grid, np.tile(rho, (grid.size, 1)))
            falls = point.slope < 0  # NaN, beyond the reach of the map, does not
            if not falls[0]:
                high = grid[0]
                continue
            last = (grid.size if falls.all() else int(np.argmin(falls))) - 1
            low, rho, high = grid[last], point.rho[last], grid[min(last + 1, grid.size - 1)]
            yield point.pick(last), point.pick(min(last + 1, grid.size - 1))

    @property
    def edge(self) -> float:
        """Right edge, in units of 1/T."""
        return float(self.at(self.critical).eigenvalue[0])

    def without_outlying_tokens(self) -> AttentionBulk:
        """The bulk less the heaviest tokens, those whose own pole y Ω₀ = 1 lies above its edge.

        A token is seen by the bulk that holds neither it nor heavier ones.

        Raises
        ------
        CondensedError
            If all tokens that stand for themselves are outliers.
        """
        low, high, step = 0, None, 1  # tokens before `low` are outliers, token `high` is not
        while high is None or high - low > 0:
            trial = min(low + step, self.heaviest.size) if high is None else (low + high + 1) // 2
            if self._is_outlying(trial):
                low, step = trial, 2 * step
                if low == self.heaviest.size:
                    raise CondensedError(
                        f"all {low} heavy tokens are outliers and no bulk is left; lower query_norm or enlarge the vocabulary"
                    )
            else:
                high = trial - 1
        return replace(self, left_out=low)

    def _is_outlying(self, rank: int) -> bool:
        """Whether the pole of the heaviest token but rank − 1 lies below y_c of the bulk without them."""
        token = self.heaviest[rank - 1]
        sign, square = int(self.types.signs[token] < 0), self.types.factors[token] ** 2
        weight = 0.0
        for below, above in replace(self, left_out=rank)._brackets():
            weight = below.rates[sign] * square
            if weight > 1 or above.rates[sign] * square < 1:
                break
        return bool(weight > 1)
