"""What every law is read off: the members that a map from p to the spectral variable z supplies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["SpectralMap", "lagrange_moment", "phases"]


class SpectralMap(ABC):
    """The map z(p), p = −1 − z·m(z), and what a law and its spikes need of it."""

    @property
    @abstractmethod
    def is_plain(self) -> bool:
        """Whether all parameters are plain numbers, not arrays that broadcast against arguments."""

    @property
    @abstractmethod
    def atom(self) -> Any:
        """Mass at zero."""

    @abstractmethod
    def __call__(self, p: Any) -> Any:
        """z(p)."""

    @abstractmethod
    def at_spike(self, q: Any) -> Any:
        """z(1/q), where a spike of net strength q puts its eigenvalue when it leaves the bulk."""

    @abstractmethod
    def slope(self, q: Any) -> Any:
        """(dz/dq) / scale at p = 1/q: zero at the threshold."""

    @abstractmethod
    def critical_spikes(self) -> tuple[Any, ...]:
        """Zeros of dz/dq in decreasing order: the threshold q_c first, the left edge's q last."""

    @abstractmethod
    def edges(self) -> tuple[Any, Any]:
        """Left and right end of the support."""

    def intervals(self) -> tuple[tuple[Any, Any], ...]:
        """The intervals of the support, from left to right: one, unless a map says otherwise."""
        return (self.edges(),)

    @abstractmethod
    def edge_scale(self) -> Any:
        """Width of the right edge: the top bulk eigenvalue is edge + edge_scale·d^(-2/3)·TW1 in law."""

    @abstractmethod
    def bulk_root(self, x: Any) -> tuple[Any, Any]:
        """Real part, up to a constant, and imaginary part of p at real x; the latter is 0 off the support."""

    @abstractmethod
    def tail(self, x: Any) -> Any:
        """Mass above x."""

    @abstractmethod
    def physical(self, z: Any) -> Any:
        """The p(z) of the law at complex z (real z: limit from the upper half plane), complex."""

    @abstractmethod
    def stieltjes(self, z: Any) -> Any:
        """m(z) = −(1+p)/z."""

    @abstractmethod
    def moment(self, n: int) -> Any:
        """n-th moment."""


def lagrange_moment(scale: Any, base: list[Any], n: int, order: int) -> Any:
    """scale^n [p^order] base(p)^n / n: Lagrange inversion of p = t·base(p), coefficients lowest first."""
    power: list[Any] = [1 + 0 * base[0]] + [0 * base[0]] * order
    for _ in range(n):
        power = [
            sum(base[i] * power[j - i] for i in range(min(j, len(base) - 1) + 1)) for j in range(order + 1)
        ]
    return scale**n * power[order] / n


def phases(xp: Any, real: Any, imaginary: Any, factors: list[tuple[Any, Any]]) -> Any:
    """Sum of arg(1 + c_j p)/c_j over factors (e_j, c_j), with 1 + c_j p = e_j + c_j (real + i·imaginary)."""
    total = 0.0
    for e, c in factors:
        total = total + xp.atan2(c * imaginary, e + c * real) / c
    return total
