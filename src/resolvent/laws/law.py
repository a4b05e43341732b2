"""A spectral law: a theorem supplies the inverse map, everything else is derived here, once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, plain, require
from resolvent.laws.spectral_map import SpectralMap

__all__ = ["Law"]

BLOCK = 4096  # points whose intermediate arrays stay in cache together


def _in_blocks(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Give a method of plain parameters its large NumPy argument block by block: faster, and no temporaries."""

    @wraps(method)
    def wrapped(self: Law, x: Any) -> Any:
        if not isinstance(x, np.ndarray) or x.size <= BLOCK or not self.inverse_map.is_plain:
            return method(self, x)
        flat = x.reshape(-1)
        parts = [method(self, flat[start : start + BLOCK]) for start in range(0, x.size, BLOCK)]
        return np.concatenate(parts).reshape(x.shape)

    return wrapped


class Law(ABC):
    """A law on the half line, given by its inverse map z(p), with p = -1 - z m(z).

    Methods take scalars or arrays and broadcast; `pdf`, `cdf`, `stieltjes` and `moment` follow the
    array API for laws of one and two Marchenko-Pastur factors. `pdf` is the density of the continuous
    part; the mass at zero is `atom`, and `cdf`, `ppf`, `rvs` and `moment` include it.
    """

    @property
    @abstractmethod
    def inverse_map(self) -> SpectralMap:
        """The map z(p) (docs/theory/pooled.md, equation 1)."""

    @property
    def support(self) -> tuple[tuple[Any, Any], ...]:
        """Intervals that carry the continuous part, as a tuple of (left, right)."""
        intervals = self.inverse_map.intervals()
        left = intervals[0][0]
        if getattr(left, "ndim", 0) == 0 and isinstance(left, (np.ndarray, np.generic)):
            return tuple((float(left), float(right)) for left, right in intervals)
        return intervals

    @property
    def atom(self) -> Any:
        """Mass at zero."""
        return self.inverse_map.atom

    @_in_blocks
    def pdf(self, x: Any) -> Any:
        """Density of the continuous part at `x`; zero outside the support.

        Where the support touches zero the density is infinite there.
        """
        _, imaginary = self.inverse_map.bulk_root(x)
        xp, x, imaginary, left = arrays(x, imaginary, self.inverse_map.edges()[0], names="x")
        density = imaginary / (-math.pi * xp.where(x > 0, x, 1.0))  # zero at x <= 0, as outside
        density = xp.where((x == 0) & (left == 0), math.inf, density)
        return plain(xp.where(xp.isnan(x), x, density))

    @_in_blocks
    def cdf(self, x: Any) -> Any:
        """Probability of values <= `x`, the atom at zero included (closed form, no quadrature)."""
        tail = self.inverse_map.tail(x)
        xp, x, tail, left, atom = arrays(x, tail, self.inverse_map.edges()[0], self.atom)
        above = xp.where(x > left, xp.clip(1 - tail, 0.0, 1.0), atom)
        below = xp.where(x < 0, 0.0, above)
        return plain(xp.where(xp.isnan(x), x, below))

    def sf(self, x: Any) -> Any:
        """Probability of values > `x`."""
        return 1 - self.cdf(x)

    def ppf(self, u: Any) -> Any:
        """Quantile: the smallest x with cdf(x) >= `u` (NumPy).

        Newton in the angle that opens both square-root edges, kept inside a shrinking bracket.

        Raises
        ------
        ValueError
            If any `u` lies outside [0, 1].
        """
        _, u = arrays(u, names="u")
        require("u", u, (u >= 0) & (u <= 1), "probabilities in [0, 1]")
        support, atom = self.support, self.atom
        shape = np.broadcast_shapes(u.shape, np.shape(support[0][0]), np.shape(atom))
        target = np.broadcast_to(u, shape)
        if self.inverse_map.is_plain:
            target = target.ravel()
            ends = np.array(support)
            place = np.searchsorted(self.cdf(ends[:-1, 1]), target)  # the interval that holds the quantile
            left, right = ends[place].T
            start = np.empty(target.shape)
            angle = np.linspace(0, math.pi, 33 + 480 // len(support))
            grid = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * np.sin(angle / 2) ** 2
            for i in np.unique(place):
                here = place == i
                start[here] = np.interp(target[here], self.cdf(grid[i]), angle)
            x = self._solve(target, start, left, right).reshape(shape)
            target = target.reshape(shape)
        else:
            left, right = (np.broadcast_to(end, shape) for end in support[0])
            x = self._solve(target, np.full(shape, math.pi / 2), left, right)
        x = np.where(target <= atom, 0.0, np.where(target >= 1, support[-1][1], x))
        return plain(np.where((target == 0) & (atom == 0), support[0][0], x))

    def _solve(
        self, target: np.ndarray, angle: np.ndarray, left: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        """Newton on cdf(x) = target in the angle of x = left + (right − left) sin²(angle/2), bracketed."""
        low, high, width = np.zeros(target.shape), np.full(target.shape, math.pi), right - left
        todo: Any = slice(None)  # elements still moving, where the law itself has no array parameters
        for _ in range(200):
            now = angle[todo]
            x = left[todo] + width[todo] * np.sin(now / 2) ** 2
            error = self.cdf(x) - target[todo]
            below = error < 0
            low[todo] = np.where(below, now, low[todo])
            high[todo] = np.where(below, high[todo], now)
            with np.errstate(divide="ignore", invalid="ignore"):
                new = now - error / (self.pdf(x) * width[todo] / 2 * np.sin(now))
            inside = np.isfinite(new) & (new > low[todo]) & (new < high[todo])
            new = np.where(inside, new, (low[todo] + high[todo]) / 2)
            moving = (np.abs(new - now) > 1e-14 * now) & (np.abs(error) > 1e-16)
            angle[todo] = np.where(moving, new, now)
            if not moving.any():
                break
            if self.inverse_map.is_plain:
                todo = np.flatnonzero(moving) if isinstance(todo, slice) else todo[moving]
        return left + width * np.sin(angle / 2) ** 2

    def rvs(self, size: int | tuple[int, ...] | None = None, *, rng: Any = None) -> Any:
        """Draw independent values by inversion (not eigenvalues of one matrix, which repel).

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draw; a scalar when None.
        rng : numpy.random.Generator or int, optional
            Generator or seed.
        """
        return self.ppf(generator(rng).random(size))

    def moment(self, k: int) -> Any:
        """k-th moment, exact for any k >= 0."""
        return plain(self.inverse_map.moment(natural("k", k, least=0)))

    def mean(self) -> Any:
        """Mean."""
        return self.moment(1)

    def var(self) -> Any:
        """Variance."""
        return self.moment(2) - self.moment(1) ** 2

    def stieltjes(self, z: Any) -> Any:
        r"""Stieltjes transform :math:`m(z) = \int \rho(t)/(t-z)\,dt`, complex.

        At real `z` inside the support it is the limit from the upper half plane.
        """
        return plain(self.inverse_map.stieltjes(z))
