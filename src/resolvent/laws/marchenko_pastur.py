"""Marchenko-Pastur laws: one factor, and free products of any number of factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resolvent.arguments import arrays, require
from resolvent.laws.inverse_map import InverseMap
from resolvent.laws.law import Law

__all__ = ["MarchenkoPastur", "MarchenkoPasturProduct"]


def _positive(name: str, value: Any) -> None:
    xp, checked = arrays(value, names=name)
    require(name, value, xp.isfinite(checked) & (checked > 0), "positive and finite")


@dataclass(frozen=True)
class MarchenkoPastur(Law):
    """Limit law of the eigenvalues of (1/n) X Xᵀ, X of d rows and n columns with unit-variance entries.

    Parameters
    ----------
    ratio : float or array
        d / n. Above one the law has an atom of mass 1 - 1/ratio at zero.
    scale : float or array, default 1
        Variance of the entries; the mean of the law.

    Raises
    ------
    ValueError
        If `ratio` or `scale` is not positive and finite.

    References
    ----------
    Marchenko and Pastur [marchenko1967]_.

    Examples
    --------
    >>> law = MarchenkoPastur(0.25)
    >>> law.support
    ((0.25, 2.25),)
    >>> round(float(law.cdf(1.0)), 4)
    0.5534
    """

    ratio: Any
    scale: Any = 1.0

    def __post_init__(self) -> None:
        _positive("ratio", self.ratio)
        _positive("scale", self.scale)

    @cached_property
    def inverse_map(self) -> InverseMap:
        """The map z(p) = scale (1+p)(1+ratio p)/p."""
        return InverseMap((self.ratio,), self.scale)


@dataclass(frozen=True)
class MarchenkoPasturProduct(Law):
    """Free multiplicative convolution of Marchenko-Pastur laws.

    With two factors, ratios (delta, gamma), this is the bulk of pooled sequences: delta = d/V from
    the finite vocabulary, gamma = d/N from the finite sample.

    Parameters
    ----------
    ratios : sequence of float or array
        One ratio a factor, in any order (the law is symmetric in them).
    scale : float or array, default 1
        Mean of the law.

    Raises
    ------
    ValueError
        If `ratios` is empty or any of them, or `scale`, is not positive and finite.

    References
    ----------
    Seddik [seddik2026]_ for two factors; the cubic, its edges and the closed-form distribution
    function are derived in docs/theory/pooled.md.

    Examples
    --------
    >>> law = MarchenkoPasturProduct([0.25, 1 / 3])
    >>> round(float(law.var()), 12)  # scale² (delta + gamma)
    0.583333333333
    >>> [round(edge, 4) for edge in law.support[0]]
    [0.1051, 3.3264]
    """

    ratios: Sequence[Any]
    scale: Any = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.ratios, (str, bytes)) or not hasattr(self.ratios, "__len__"):
            raise ValueError(f"ratios must be a sequence with one ratio a factor, got {self.ratios!r}")
        ratios = tuple(self.ratios)
        if not ratios:
            raise ValueError("ratios must hold at least one ratio, got an empty sequence")
        for i, ratio in enumerate(ratios):
            _positive(f"ratios[{i}]", ratio)
        _positive("scale", self.scale)
        object.__setattr__(self, "ratios", ratios)

    @cached_property
    def inverse_map(self) -> InverseMap:
        """The map z(p) = scale (1+p) prod (1+c_i p) / p."""
        return InverseMap(tuple(self.ratios), self.scale)
