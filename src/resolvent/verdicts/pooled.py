"""Verdicts on pooled sequences: the paper's figures, and components of real text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.experiments import load
from resolvent.models.claims import ALLOWANCE, WINDOW
from resolvent.verdicts.comparisons import (
    ERRORS,
    Verdict,
    at,
    mean_and_error,
    none_expected,
    pooled_points,
    size_of,
    together,
    within,
)

__all__ = ["JUDGES"]


def _far(
    signal: Any,
    snr: Any,
    delta: Any,
    gamma: Any,
    table: str = "mixture",
    window: tuple[float, float] = WINDOW,
) -> np.ndarray:
    """Whether a pooled model lies away from its transition."""
    q = snr * (np.square(signal) + (delta if table == "mixture" else 0.0)) - delta
    ratio = np.asarray(q / spikes.threshold(delta, gamma))
    return (ratio <= window[0]) | (ratio >= window[1])


def _alignment(data: Any) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    far = _far(data.signal.values, data.snr.values[..., None], 1 / 4, 1 / 3)  # as V = 4d, N = 3d
    dims = ("panel", "weights", "signal")
    difference = (mean - data.predicted_overlap).transpose(*dims).values
    return pooled_points(
        np.where(far, difference, np.nan), error.transpose(*dims).values, size_of("alignment", data)
    )


def _heat_map(data: Any) -> Verdict:
    """Rows of the map are independent: each gives the mean of its differences."""
    theory = data.alignment.interp(delta=data.simulated_delta.values, signal=data.simulated_signal.values)
    boundary = data.boundary.interp(delta=data.simulated_delta.values).values[..., None]
    far = np.abs(data.simulated_signal.values - boundary) > 0.25
    difference = np.where(far, data.simulated.values - theory.values, np.nan)
    rows = np.nanmean(difference, axis=-1)
    error = rows.std(axis=-1, ddof=1) / np.sqrt(rows.shape[-1])
    allowance = ALLOWANCE / size_of("heat_map", data)
    return within(
        rows.mean(axis=-1),
        error,
        allowance,
        what="maps, mean difference off the boundary",
        plus=f" plus {ALLOWANCE:g}/d",
    )


def _spectra(data: Any) -> Verdict:
    from resolvent.laws import MarchenkoPasturProduct

    found, good = [], True
    for name in data["weights"].values:
        part = data.sel(weights=name)
        law = MarchenkoPasturProduct((data.delta, data.gamma), float(part.kappa))
        values = part.eigenvalues.values
        beyond = int((values > 1.02 * law.support[-1][1]).sum())
        expected = int(np.isfinite(part.outlier))
        bulk = values[beyond:]
        distance = float(np.abs(law.cdf(bulk) - np.arange(bulk.size, 0, -1) / bulk.size).max())
        good &= beyond == expected and distance < ALLOWANCE / values.size
        found.append(
            f"{name} weights: {beyond} beyond the bulk, {expected} predicted, at {values[0]:.4g} against "
            f"{float(part.outlier):.4g}; distance of the bulk {distance:.4f}"
        )
    return Verdict("agree" if good else "differ", "; ".join(found) + " (one draw each)")


def _critical_signal(data: Any) -> Verdict:
    exact = data.critical_signal.sel(prefix=data.simulated_prefix.values).values
    seen = exact > 0  # else every signal shows, and there is no crossing
    difference = np.where(seen, data.crossing.values - exact, np.nan)
    return within(difference, data.crossing_error.values, what="crossings")


def _ridge(data: Any) -> Verdict:
    mean, error = mean_and_error(data.accuracy.sel(weights=data.fixed.values))
    theory = at(data.predicted_accuracy, fine_signal=data.signal)
    return within(
        mean.values - theory,
        error,
        1 / size_of("ridge", data),
        plus=f" plus 1/d, d = {size_of('ridge', data):g}",
    )


def _published(data: Any) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    module, own = load("published"), {}
    for formula, table in (("exact", "mixture"), ("published", "balanced")):
        theory = at(data[formula], fine_signal=data.signal)
        delta = data.delta.values[:, None]
        far = _far(data.signal.values, float(module.INFORMATIVE), delta, module.GAMMA, table)
        for drawn in ("mixture", "balanced"):
            both = far & _far(data.signal.values, float(module.INFORMATIVE), delta, module.GAMMA, drawn)
            difference = np.where(both, mean.sel(table=drawn).values - theory, np.nan)
            own[formula, drawn] = pooled_points(
                difference, error.sel(table=drawn).values, size_of("published", data)
            )
    exact, balanced = own["exact", "mixture"], own["published", "balanced"]
    wrong = own["published", "mixture"].detail.partition(" points")[0]
    return Verdict(
        together(exact, balanced).word,
        f"exact formula on its own table: {exact.detail}; published formula on a balanced table: {balanced.detail}. "
        f"The published formula on the mixture table: {wrong}",
    )


def _finite_size(data: Any) -> Verdict:
    bias = within(
        data.scaled_bias,
        data.scaled_bias_error,
        ALLOWANCE,
        what="biases times d",
        plus=f" plus {ALLOWANCE:g}",
    )
    lengths = data.length.values.astype(float)
    theory = 1 / lengths**2 - 1 / lengths[-1] ** 2
    short = within(
        data.excess.values[:-1] - theory[:-1], data.excess_error.values[:-1], what="fourth moments"
    )
    return together(bias, short)


def _agreement(data: Any) -> Verdict:
    agrees, z = data.agrees.values.astype(bool), np.abs(data.z.values)
    text = f"{agrees.sum()} of {agrees.size} within {ERRORS:g} standard errors plus the allowance"
    other = int(data.other_agrees.sum())
    return Verdict(
        "agree" if agrees.all() else "differ",
        f"{text}; median |z| {np.median(z):.1f}; against the other convention {other} do",
    )


def _components(data: Any) -> Verdict:
    """The rule that `diagnose` answers with may fail at its level of 1 %, no oftener."""
    from scipy import stats

    first = data["count"].isel(rule=0)
    wrong, many = int((first != data.spikes).sum()), first.size
    return Verdict(
        "agree" if wrong <= stats.binom.ppf(0.999, many, 0.01) else "differ",
        f"{first.rule.item()} is right in {many - wrong} of {many} samples (level 1 %)",
    )


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "heat_map": _heat_map,
    "spectra": _spectra,
    "alignment": _alignment,
    "critical_signal": _critical_signal,
    "ridge": _ridge,
    "published": _published,
    "finite_size": _finite_size,
    "agreement": _agreement,
    "static_null": lambda data: none_expected(data.whitened_null_tests, "components of permuted text"),
    "salad_null": lambda data: none_expected(data.salad_tests, "components of held-out salad"),
    "components": _components,
}
