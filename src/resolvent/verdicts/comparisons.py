"""Differences between theory and simulation in a figure's data, and the verdict on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.experiments import load
from resolvent.models.claims import ALLOWANCE

if TYPE_CHECKING:
    import xarray

__all__ = [
    *(
        "ERRORS",
        "ONE_DRAW",
        "Verdict",
        "at",
        "together",
        "mean_and_error",
        "none_expected",
        "pooled_points",
        "size_of",
        "within",
    ),
]

ERRORS = 4.0  # standard errors, as in `resolvent.compare`
ROUNDING = 1e-9  # where both are exact
ONE_DRAW = "no standard errors: one draw a point"


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
    difference: Any, error: Any, allowance: Any = 0.0, *, what: str = "points", plus: str | None = ""
) -> Verdict:
    """All differences within four standard errors plus an allowance; NaN are left out.

    `plus` names the allowance; None where the comparison before it in a sentence has stated the same rule.

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
        why = ONE_DRAW if np.isnan(error).any() else f"no {what} to compare"
        return Verdict("void", why)
    difference, error, allowance = difference[known], error[known], allowance[known]
    good = np.abs(difference) <= ERRORS * error + allowance + ROUNDING
    clear = error > 1e-12
    z = np.abs(difference[clear]) / error[clear]
    word, found = "agree" if good.all() else "differ", f"{good.sum()} of {good.size} {what}"
    if plus is None:
        return Verdict(word, found + (f" (largest {z.max():.1f})" if z.size else ""))
    largest = f"; largest difference {z.max():.1f} standard errors" if z.size else ""
    return Verdict(word, f"{found} within {ERRORS:g} standard errors{plus}{largest}")


def pooled_points(
    difference: Any, error: Any, dimension: float, where: str = ", away from the transition"
) -> Verdict:
    plus = f" plus {ALLOWANCE:g}/d, d = {dimension:g}{where}"
    return within(difference, error, ALLOWANCE / dimension, plus=plus)


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


def together(*verdicts: Verdict, more: str = "") -> Verdict:
    """Comparisons that must hold together, as far as there is anything to compare."""
    words = {one.word for one in verdicts}
    word = next((word for word in ("differ", "agree") if word in words), "void")
    return Verdict(word, "; ".join(one.detail for one in verdicts) + more)
