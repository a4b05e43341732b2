"""A spectral law: a theorem supplies the inverse map, everything else is derived here, once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, plain, require
from resolvent.laws.inverse_map import InverseMap

__all__ = ["Law"]


class Law(ABC):
    """A law on the half line, given by its inverse map z(p), with p = -1 - z m(z).

    Methods take scalars or arrays and broadcast; `pdf`, `cdf`, `stieltjes` and `moment` follow the
    array API for laws of one and two factors. `pdf` is the density of the continuous part; the mass
    at zero is `atom`, and `cdf`, `ppf`, `rvs` and `moment` include it.
    """

    @property
    @abstractmethod
    def inverse_map(self) -> InverseMap:
        """The map z(p) (docs/theory/pooled.md, equation 1)."""

    @property
    def support(self) -> tuple[tuple[Any, Any], ...]:
        """Intervals that carry the continuous part, as a tuple of (left, right)."""
        left, right = self.inverse_map.edges()
        if getattr(left, "ndim", 0) == 0 and isinstance(left, (np.ndarray, np.generic)):
            return ((float(left), float(right)),)
        return ((left, right),)

    @property
    def atom(self) -> Any:
        """Mass at zero: max(0, 1 - 1/c_i over the factors)."""
        xp, *ratios = arrays(*self.inverse_map.ratios)
        mass = 0 * ratios[0]
        for c in ratios:
            mass = xp.maximum(*xp.broadcast_arrays(mass, 1 - 1 / xp.where(c > 1, c, xp.ones_like(c))))
        return float(mass) if isinstance(mass, (np.ndarray, np.generic)) and mass.ndim == 0 else mass

    def pdf(self, x: Any) -> Any:
        """Density of the continuous part at `x`; zero outside the support.

        Where the support touches zero the density is infinite there.
        """
        _, imaginary = self.inverse_map.bulk_root(x)
        xp, x, imaginary = arrays(x, imaginary)
        positive = x > 0
        density = imaginary / (-math.pi * xp.where(positive, x, 1.0))
        left, _ = self.inverse_map.edges()
        density = xp.where(positive, density, 0.0)
        return plain(xp.where((x == 0) & (left == 0), math.inf, density))

    def cdf(self, x: Any) -> Any:
        """Probability of values <= `x`, the atom at zero included (closed form, no quadrature)."""
        xp, x = arrays(x)
        tail = self.inverse_map.tail(x)
        whole = xp.clip(1 - tail, 0.0, 1.0)
        return plain(xp.where(x < 0, 0.0, whole))

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
        u = np.asarray(u, dtype=float)
        require("u", u, (u >= 0) & (u <= 1), "probabilities in [0, 1]")
        (left, right), atom = self.support[0], self.atom
        shape = np.broadcast_shapes(u.shape, np.shape(left), np.shape(atom))
        target = np.broadcast_to(u, shape)
        low, high = np.zeros(shape), np.full(shape, math.pi)
        middle, half = np.add(left, right) / 2, np.subtract(right, left) / 2
        angle = np.full(shape, math.pi / 2)
        for _ in range(200):
            x = middle - half * np.cos(angle)
            error = self.cdf(x) - target
            low, high = np.where(error < 0, angle, low), np.where(error >= 0, angle, high)
            slope = self.pdf(x) * half * np.sin(angle)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = angle - error / slope
            inside = np.isfinite(step) & (step > low) & (step < high)
            new = np.where(inside, step, (low + high) / 2)
            moved = np.max(np.abs(new - angle), initial=0.0)
            angle = new
            if moved < 1e-14:
                break
        x = middle - half * np.cos(angle)
        x = np.where(target <= atom, 0.0, np.where(target >= 1, right, x))
        return plain(np.where((target == 0) & (atom == 0), left, x))

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
        p = self.inverse_map.physical(z)
        _, p, z = arrays(p, z)
        return plain(-(1 + p) / z)
