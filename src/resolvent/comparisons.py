"""Differences between theory and simulation in a figure's data, and the verdict on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.experiments import load

if TYPE_CHECKING:
    import xarray

__all__ = ["ERRORS", "Verdict", "at", "both", "mean_and_error", "none_expected", "size_of", "within"]

ERRORS = 4.0  # standard errors, as in `resolvent.compare`
ROUNDING = 1e-9  # where both are exact


@dataclass(frozen=True)
class Verdict:
    """One word, and the numbers behind it.

    Parameters
    ----------
    word : {"agree", "differ", "void"}
    detail : str
        What was compared, how many, how far apart.
    """

    word: str
    detail: str


def within(
    difference: Any, error: Any, allowance: Any = 0.0, *, what: str = "points", plus: str = ""
) -> Verdict:
    """All differences within four standard errors plus an allowance; NaN are left out.

    Examples
    --------
    >>> within([0.3, -0.1], 0.1).word, within([0.5, -0.1], 0.1).word
    ('agree', 'differ')
    """
    difference, error, allowance = (
        np.ravel(a)
        for a in np.broadcast_arrays(*(np.asarray(a, float) for a in (difference, error, allowance)))
    )
    known = np.isfinite(difference) & np.isfinite(error)
    if not known.any():
        return Verdict("void", "no standard errors: one draw a point")
    difference, error, allowance = difference[known], error[known], allowance[known]
    good = np.abs(difference) <= ERRORS * error + allowance + ROUNDING
    clear = error > 1e-12
    z = np.abs(difference[clear]) / error[clear]
    largest = f"; largest difference {z.max():.1f} standard errors" if z.size else ""
    rule = f"within {ERRORS:g} standard errors{plus}"
    return Verdict("agree" if good.all() else "differ", f"{good.sum()} of {good.size} {what} {rule}{largest}")


def mean_and_error(values: xarray.DataArray) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Mean over seeds and its standard error."""
    return values.mean("seed"), values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])


def at(theory: xarray.DataArray, **places: xarray.DataArray) -> np.ndarray:
    """A fine curve at the simulated points, linear between its own."""
    return theory.interp({key: place.values for key, place in places.items()}).values


def size_of(name: str, dataset: xarray.Dataset, key: str = "dimension") -> float:
    return float(load(name).SIZES[dataset.attrs["scale"]][key])


def none_expected(counts: Any, what: str) -> Verdict:
    counts = np.asarray(counts, dtype=float)
    return Verdict(
        "agree" if (counts < 1).all() else "differ",
        f"no {what} expected, at most {counts.max():g} found in {counts.size} case{'s' * (counts.size != 1)}",
    )


def both(first: Verdict, second: Verdict, more: str = "") -> Verdict:
    """Two comparisons that must hold together."""
    word = "agree" if first.word == second.word == "agree" else "differ"
    return Verdict(word, f"{first.detail}; {second.detail}{more}")
