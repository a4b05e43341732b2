"""Verdicts on in-context regression, whose risks are exact at every size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent.verdicts.comparisons import Verdict, within

__all__ = ["JUDGES"]


def _equivalence(data: Any) -> Verdict:
    reached = data.reached.values.astype(bool)
    return Verdict(
        "agree" if reached.all() else "differ",
        f"{reached.sum()} of {reached.size} trained layers are the predicted gradient step, at its risk",
    )


def _drift(data: Any) -> Verdict:
    parts = [
        ((data.simulated - data.exact).values, data.standard_error.values),
        ((data.fitted - data.weights).values, data.fitted_error.values),
        ((data.simulated_excess - data.excess).values, data.excess_error.values),
    ]
    return within(*(np.concatenate([np.ravel(part[i]) for part in parts]) for i in range(2)))


def _low_rank(data: Any) -> Verdict:
    by_length = data.by_length.sel(fine_length=data.length.values).values
    exact = {"by_rank": data.by_rank.values, "by_length": by_length, "adapted": data.adapted.values}
    difference = [np.ravel(data[f"simulated_{key}"].values - exact[key]) for key in exact]
    return within(
        np.concatenate(difference), np.concatenate([np.ravel(data[f"error_{key}"].values) for key in exact])
    )


def _task_correlation(data: Any) -> Verdict:
    exact = data.exact.sel(fine_length=data.length.values).values
    return within(data.simulated.values - exact, data.standard_error.values)


def _bad_minima(data: Any) -> Verdict:
    reached = data.reached.astype(bool)
    good, stuck = reached.sel(start="structured"), ~reached.sel(start="random")
    return Verdict(
        "agree" if good.all() else "differ",
        f"{int(good.sum())} of {good.size} structured starts reach the optimum; {int(stuck.sum())} of {stuck.size} random "
        "ones do not",
    )


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "equivalence": _equivalence,
    "task_correlation": _task_correlation,
    "low_rank": _low_rank,
    "drift": _drift,
    "bad_minima": _bad_minima,
}
