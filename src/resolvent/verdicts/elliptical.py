"""Verdicts on elliptical attention: its theory, and the claims made for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent.experiments import load
from resolvent.models.claims import ALLOWANCE
from resolvent.verdicts.comparisons import ONE_DRAW, Verdict, at, mean_and_error, pooled_points, within

__all__ = ["JUDGES"]


def _nadaraya_watson(data: Any) -> Verdict:
    """Where few coordinates matter, the oracle's metric errs less than the isotropic one."""
    few = data.error.isel(function=0)
    gain, error = mean_and_error(few.sel(metric="isotropic") - few.sel(metric="oracle"))
    if np.isnan(error).any():
        return Verdict("void", ONE_DRAW)
    better = gain.values > 2 * error.values
    return Verdict(
        "agree" if better.all() else "differ",
        f"{better.sum()} of {better.size} sample sizes at which the oracle's metric errs less, by over two standard errors, "
        f"where two of eight coordinates matter",
    )


def _metric_snr(data: Any) -> Verdict:
    mean, error = mean_and_error(data.snr)
    theory = at(data.predicted_snr, fine_beta=data.beta)
    dimension = float(load("metric_snr").DIMENSION)
    return within(
        mean.values - theory,
        error.values,
        ALLOWANCE * np.abs(theory) / dimension,
        plus=f" plus {ALLOWANCE:g}/d of it",
    )


def _spurious_outlier(data: Any) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    theory = at(data.predicted_overlap, fine_beta=data.beta)
    return pooled_points(mean.values - theory, error.values, float(load("spurious_outlier").DIMENSION), "")


def _elliptical_claims(data: Any) -> Verdict:
    found = data.verdict.values
    yes, no, open_ = (int((found == value).sum()) for value in (1, -1, 0))
    word = "differ" if no else "agree" if yes == found.size else "void"
    return Verdict(
        word, f"of {found.size} published claims {yes} reproduce, {no} do not, {open_} are undecided"
    )


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "nadaraya_watson": _nadaraya_watson,
    "metric_snr": _metric_snr,
    "spurious_outlier": _spurious_outlier,
    "elliptical_claims": _elliptical_claims,
}
