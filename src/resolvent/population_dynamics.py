r"""Very short sequences: the exact equations of the tree of tokens and sequences, solved by population dynamics.

Tokens and sequences form a tree: a token occurs Poisson(phi) times at each position, phi = N/V. The resolvent's
diagonal G and the spike's field e of a token satisfy equations in distribution (docs/theory/finite_length.md,
section 2), of which a population of samples is the solution. All values of y share one population's indices, so
that results are smooth in y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, require
from resolvent.positions import check_correlation

__all__ = ["PopulationDynamics"]

POSITIONS = 12  # treated one by one; the lighter ones act through their means
LIGHT = 1e-3  # share of sum w⁴ that those may hold
REACHES = (0.08, 0.2, 0.4)  # relative widths of the windows in p that are searched
SIZE, BURN_IN, SWEEPS = 2000, 16, 60
HEAVY = 0.15  # rare tokens whose self-energy comes this close to the smallest z would be outliers beside: left out
POLE = 0.15  # of the denominator of psi_s: closer to its pole the field does not settle
TOLERANCE = {"outlier": 0.02, "overlap": 0.04}  # relative, absolute, between two independent populations


@dataclass(frozen=True, eq=False)
class PopulationDynamics:
    """Bulk and spike of pooled sequences at any length, by population dynamics.

    Parameters
    ----------
    weights : array, shape (T,)
    matrix : array, shape (T, T)
        Correlations R of the signs.
    delta, gamma : float
        d/V and d/N, > 0.
    size : int, default 2000
        Samples in the population.
    seed : int, default 0

    Raises
    ------
    ValueError
        If arguments are out of range, or more than 12 positions carry weight that matters.

    References
    ----------
    docs/theory/finite_length.md, section 2.

    Examples
    --------
    >>> solver = PopulationDynamics([0.5, 0.5], [[1.0, 1.0], [1.0, 1.0]], 1.0, 1.0)
    >>> outlier, overlap = solver.spike(1.6**2 + 1.0)
    >>> abs(float(outlier) - 9.657) < 0.03, abs(float(overlap) * 2.56 / 3.56 - 0.557) < 0.01
    (True, True)
    """

    weights: Any
    matrix: Any
    delta: float
    gamma: float
    size: int = SIZE
    seed: int = 0

    def __post_init__(self) -> None:
        w = np.array(arrays(self.weights, names="weights")[1], dtype=float)
        require(
            "weights",
            self.weights,
            w.ndim == 1 and np.isfinite(w).all() and w.any(),
            "a vector, not all zero",
        )
        matrix = check_correlation("matrix", self.matrix)
        if matrix.shape != (w.size, w.size):
            raise ValueError(
                f"matrix must be square and match weights, got {matrix.shape} and {w.size} weights"
            )
        order = np.argsort(-np.abs(w), kind="stable")
        theta = w[order] / np.linalg.norm(w)
        rest = np.cumsum((theta**4)[::-1])[::-1]
        heavy = int(np.sum(rest > LIGHT * rest[0]))
        if heavy > POSITIONS:
            raise ValueError(
                f"weights must leave at most {POSITIONS} positions that matter, for population dynamics, got {heavy}; "
                "sequences this long follow the 1/T_eff^2 map"
            )
        object.__setattr__(self, "_theta", theta)
        object.__setattr__(self, "_pairs", matrix[np.ix_(order, order)] * np.outer(theta, theta))
        object.__setattr__(self, "_heavy", heavy)
        number("delta", self.delta, above=0)
        number("gamma", self.gamma, above=0)
        natural("size", self.size, least=100)

    @cached_property
    def _phi(self) -> float:
        return self.delta / self.gamma

    def functions(self, y: Any, *, rng: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """psi(y) and psi_s(y) of the token matrix; real or complex y, shape (m,).

        The bulk is lambda/kappa = (delta + psi)/y, the spike where ‖mu‖² psi_s = delta in a mixture table.
        """
        theta, pairs, heavy, phi = self._theta, self._pairs, self._heavy, self._phi  # type: ignore[attr-defined]
        rng, n = generator(self.seed if rng is None else rng), self.size
        y = np.atleast_1d(arrays(y, names="y")[1] if not np.iscomplexobj(y) else np.asarray(y))
        z = (1 / y)[:, None]
        omega, off = theta**2, pairs - np.diag(np.diag(pairs))
        green, field = np.repeat(-1 / z, n, axis=1), np.repeat(-1 / z, n, axis=1)
        # off the real axis nothing is singular; on it one limit for all z keeps results smooth in y
        limit = np.inf if np.iscomplexobj(z) else (1 - HEAVY) * np.abs(z).min()
        totals, kept = np.zeros((2, y.size), dtype=green.dtype), 0
        for sweep in range(BURN_IN + SWEEPS):
            mean, slow = green.mean(axis=1, keepdims=True), field.mean(axis=1, keepdims=True)
            energy, source = np.zeros_like(green), np.zeros_like(green)
            count, broken = np.zeros(n), np.zeros(green.shape, dtype=bool)
            for i in range(heavy, theta.size):
                h = 1 / (1 + (1 - omega[i]) * mean / phi)
                energy += omega[i] * h
                source += h * off[i].sum() * slow
            for i in range(heavy):
                uses = rng.poisson(phi, n)
                owner = np.repeat(np.arange(n), uses)
                near, pull = omega[heavy:].sum() * mean, off[i, heavy:].sum() * slow
                near, pull = (np.repeat(v, owner.size, axis=1) for v in (near, pull))
                for j in range(heavy):
                    if j != i:
                        picked = rng.integers(0, n, owner.size)
                        near += omega[j] * green[:, picked]
                        pull += off[i, j] * field[:, picked]
                below = 1 + near / phi
                bad = (below.real < HEAVY) & np.isfinite(limit)
                h = 1 / np.where(bad, 1.0, below)
                starts = np.concatenate([[0], np.cumsum(uses)[:-1]])
                energy += _grouped(omega[i] / phi * h, starts, uses)
                source += _grouped(h / phi * pull, starts, uses)
                broken |= _grouped(bad.astype(float), starts, uses) > 0
                count += omega[i] / phi * uses
            gap = z - energy
            broken |= energy.real > limit
            new = -1 / np.where(broken, z, gap)
            field = np.where(broken, field, new * (1 - source))
            green = np.where(broken, green, new)
            if sweep >= BURN_IN:
                # counts of tokens, of known moments, take most of the noise out
                centred = count - omega[:heavy].sum()
                controls = np.stack([centred, centred**2 - (omega[:heavy] ** 2).sum() / phi], axis=1)
                totals += np.stack([_controlled(x, controls) for x in (green, field)])
                kept += 1
        means = -1 - z[:, 0] * totals / kept
        return means[0], means[1]

    def spike(self, power: Any) -> tuple[Any, Any]:
        """Outlier in units of kappa and overlap with the direction of m, of ‖m‖² = `power`.

        Parameters
        ----------
        power : float or array
            ‖mu‖² + delta in a mixture table, ‖mu‖² in a balanced one.

        Returns
        -------
        outlier, overlap : float or array
                NaN and 0 where there is no outlier. For the weakest signals they are those of the 1/T_eff² map.

        Raises
        ------
        RuntimeError
            If two independent populations disagree by more than 2 % of the outlier or 0.04 of the overlap (their mean
            is then twice as good at least).
        """
        power = np.asarray(arrays(power, names="power")[1], dtype=float)
        require("power", power, np.isfinite(power) & (power >= 0), "finite and >= 0")
        tries = [self] if self.size > SIZE else [self, replace(self, size=8 * self.size)]
        for solver in tries:  # the larger population only where the smaller is too noisy
            (first, one), (second, two) = (solver._solve(power.ravel(), self.seed + i) for i in (0, 1))
            both = np.isfinite(first) & np.isfinite(second)
            gaps = {
                "outlier": np.abs(first - second)[both] / np.maximum(first, second)[both],
                "overlap": np.abs(one - two)[both],
            }
            worst = {name: gap.max(initial=0.0) for name, gap in gaps.items()}
            if all(worst[name] <= TOLERANCE[name] for name in worst):
                break
        else:
            raise RuntimeError(
                f"population dynamics has not converged: two populations of {tries[-1].size} differ by "
                f"{worst['outlier']:.2g} of the outlier and {worst['overlap']:.2g} of the overlap; their means are "
                f"{(first + second) / 2} and {(one + two) / 2}"
            )
        outlier = np.where(both, (first + second) / 2, np.nan).reshape(power.shape)
        overlap = np.where(both, (one + two) / 2, 0.0).reshape(power.shape)
        return outlier[()], overlap[()]

    def _solve(self, power: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        from resolvent.finite_length import ShortSpike
        from resolvent.laws.finite_length import FiniteLengthMap

        theta, pairs = self._theta, self._pairs  # type: ignore[attr-defined]
        bulk = FiniteLengthMap(self.delta, self.gamma, 1 / (theta**4).sum())
        start = ShortSpike(bulk, pairs.sum(), (theta**2) @ pairs.sum(axis=1), power)
        p = start.p
        outlier, overlap = np.array(start.outlier), np.array(start.overlap)
        # too near the pole of psi_s, where weak signals lie, its iteration does not settle: the map serves there
        left = np.isfinite(p) & (power > self.delta)
        left &= start.visible(np.where(left, p, 0.0))[1] > POLE
        outlier[left], overlap[left] = np.nan, 0.0
        for reach in REACHES:  # about the map's own place; what is found in none of them is no outlier
            if not left.any():
                break
            ends = np.array([(1 - reach) * p[left].min(), (1 + reach) * p[left].max()])
            while start.visible(ends[1])[1] < POLE / 2:
                ends[1] = (ends[1] + p[left].max()) / 2
            low, high = self.delta * (1 + ends) / bulk(ends)
            inside, level, share = self._between(float(low), float(high), power[left], seed)
            there = np.flatnonzero(left)[inside]
            seen = share[inside] > 0
            outlier[there] = np.where(seen, level[inside], np.nan)
            overlap[there] = np.where(seen, np.minimum(share[inside], 1), 0.0)
            left[there] = False
        return outlier, overlap

    def _between(
        self, low: float, high: float, power: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether (‖m‖² − delta) psi_s(y) = delta is solved between two y, and there lambda and the overlap."""
        degree, count = (3, 7) if high < 2 * low else (6, 13)
        unit = -np.cos(np.pi * (np.arange(count) + 0.5) / count)
        nodes = (low + high) / 2 + (high - low) / 2 * unit
        fits = [
            np.polynomial.Chebyshev.fit(nodes, f / nodes, degree, domain=[low, high])
            for f in self.functions(nodes, rng=seed)
        ]
        wanted = self.delta / (power - self.delta)
        left, right = np.full(power.shape, low), np.full(power.shape, high)
        inside = (low * fits[1](low) < wanted) & (high * fits[1](high) > wanted)
        for _ in range(60):
            y = (left + right) / 2
            below = y * fits[1](y) < wanted
            left, right = np.where(below, y, left), np.where(below, right, y)
        slope, visible = (fit(y) + y * fit.deriv()(y) for fit in fits)  # of psi and psi_s
        level = self.delta / y + fits[0](y)
        falling = (level - slope) / y  # −d lambda/dy, positive where there is an outlier
        return inside, level, y * falling * power / ((power - self.delta) ** 2 * visible)


def _grouped(values: np.ndarray, starts: np.ndarray, uses: np.ndarray) -> np.ndarray:
    """Sums over the uses of each token, along the last axis."""
    running = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    return running[..., starts + uses] - running[..., starts]


def _controlled(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Means over the last axis, less what controls of mean zero explain."""
    centred = controls - controls.mean(axis=0)
    slope = np.linalg.lstsq(centred, (values - values.mean(axis=1, keepdims=True)).T, rcond=None)[0]
    return values.mean(axis=1) - controls.mean(axis=0) @ slope
