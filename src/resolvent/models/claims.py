"""What a theory claims of samples of a finite size: how a model tells `resolvent.compare` what to hold against what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.laws import InverseMap

__all__ = ["ALLOWANCE", "TRACY_WIDOM_MEANS", "WINDOW", "Claim", "edge_mean", "edge_shifts"]

# c of means over draws against the bare limit, eigenvalues relatively and overlaps absolutely: the largest seen away from
# the transition (T_eff >= 10), fitted in the finite-size study (docs/theory/pooled.md, section 7). Models that know better
# state their own.
ALLOWANCE = 9.0

# of q/q_c, where a finite size smooths the transition, and newer models claim nothing
WINDOW = (0.6, 1.5)

# The edge is approached only as d^(-2/3): means of the two largest Tracy-Widom (beta = 1) eigenvalues
TRACY_WIDOM_MEANS = (-1.2065335746, -3.2624279028)


@dataclass(frozen=True)
class Claim:
    """What a theory claims of one quantity: its mean over draws of one size, and by how much a finite size may miss it.

    A model lists its claims in a method ``claims()``, and `resolvent.compare.compare` holds its simulations against them.

    Parameters
    ----------
    quantity : str
        Where the outcome of ``simulate`` has the number: a field (``"overlap"``, ``"query.kappa"``), an entry of an array
        (``"leading[0]"``, ``"error[1,1]"``), or the mean of several (``"leading[0:2]"``).
    predicted : float
        The limit.
    expected : float, optional
        The mean at this size, where the theory says how it differs from `predicted`.
    c, dimension : float, default 0 and 1
        Means may miss what is expected by c/dimension. Zero where the theory is exact at every size.
    relative : bool, default False
        Whether c/dimension is relative, as for eigenvalues, or absolute, as for overlaps.
    standard_error : float, default 0
        Of the claim itself, where it is sampled.

    Raises
    ------
    ValueError
        If a value is not one number: the model is a curve.

    Examples
    --------
    >>> Claim("top_eigenvalue", 2.1, expected=2.0, c=9.0, dimension=100, relative=True).allowance(2.0)
    0.18
    """

    quantity: str
    predicted: Any
    expected: Any = None
    c: float = 0.0
    dimension: float = 1.0
    relative: bool = False
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.predicted, self.expected):
            if np.ndim(value):
                raise ValueError(
                    f"{self.quantity} must be one number to be compared, got shape {np.shape(value)}: "
                    "compare a model at one setting, not along a curve"
                )

    def allowance(self, expected: float) -> float:
        """What a finite size may add to a mean that is expected there."""
        return self.c * (abs(expected) if self.relative else 1.0) / self.dimension


def edge_shifts(inverse_map: Any, dimension: int) -> list[float]:
    """What the two largest eigenvalues of a bulk add to its edge on average; `dimension` is the map's own d.

    Examples
    --------
    >>> from resolvent.laws import InverseMap
    >>> [round(shift, 3) for shift in edge_shifts(InverseMap((0.5, 0.5)), 1000)]
    [-0.043, -0.117]
    """
    width = float(inverse_map.edge_scale()) * dimension ** (-2 / 3)
    return [mean * width for mean in TRACY_WIDOM_MEANS]


def edge_mean(
    dimension: int,
    sizes: Any,
    kappa: float,
    q: Any,
    *,
    classes: int = 2,
) -> float:
    """Mean of the largest eigenvalue of the bulk in a sample of this size, beside any number of spikes.

    Half a degree of freedom less at every size, and what each spike, outside the bulk or dissolved in it, adds to the edge at
    order 1/d; with the Tracy-Widom mean.

    Parameters
    ----------
    dimension : int
        d.
    sizes : array, shape (2,) or more
        V, N, and widths of value matrices if there are any.
    kappa : float
    q : array, shape (k,)
        Net spikes, none near the threshold.
    classes : int, default 2
        Of tokens, which have one degree of freedom each in V.

    Returns
    -------
    float
        NaN where the sizes leave no degrees of freedom.

    References
    ----------
    docs/theory/fluctuations.md, (3) and (4); docs/theory/classes.md, section 3, of several spikes.

    Examples
    --------
    >>> round(edge_mean(100, (200, 300), 0.05, [-0.5]), 4), round(edge_mean(100, (200, 300), 0.05, [3.0]), 4)
    (0.1877, 0.1848)
    """
    sizes = np.asarray(sizes, dtype=float)
    free = sizes - [classes, 1.0, *[0.0] * (sizes.size - 2)]  # classes and samples have means
    if (free <= 0.5).any():
        return float("nan")

    def law(d: float, sizes_left: np.ndarray) -> InverseMap:
        return InverseMap(tuple(d / sizes_left), kappa * float(np.prod(sizes_left / sizes)))

    bulk, centre = law(dimension, free), law(dimension - 0.5, free - 0.5).edges()[1]
    delta, top, right = dimension / free[0], 1 / bulk.critical_spikes()[0], bulk.edges()[1]
    own = (np.asarray(q) + dimension / sizes[0]) * sizes[0] / free[0] - delta
    pull = (own / (own * top - 1) - delta / (1 + delta * top)).sum()
    return float(centre - right / dimension * pull + edge_shifts(bulk, dimension)[0])
