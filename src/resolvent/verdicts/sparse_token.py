"""Verdicts on sparse-token classification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent.experiments import load
from resolvent.models.sparse_token import SPARSE_TOKEN_ALLOWANCE
from resolvent.verdicts.comparisons import ERRORS, Verdict, at, mean_and_error, size_of, together, within

__all__ = ["JUDGES"]


def _query_alignment(data: Any) -> Verdict:
    theory = data.predicted.sel(fine_alpha=data.alpha.values)
    mean, error = mean_and_error(np.abs(data.alignment))
    dimension = size_of("query_alignment", data)
    plus = f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d, d = {dimension:g}"
    difference = mean.values - np.abs(theory.values)
    return within(difference, error.values, SPARSE_TOKEN_ALLOWANCE / dimension, plus=plus)


def _learning_curves(data: Any) -> Verdict:
    module = load("learning_curves")
    off = np.abs(np.log2(data.alpha.values[:, None] / np.array([1.0, module.LENGTH]))).min(axis=1) > 0.4
    mean, error = mean_and_error(data.error)
    theory = at(data.predicted_error, fine_alpha=data.alpha)
    dims = ("trained_on", "classifier", "alpha")
    difference = np.where(off, mean.transpose(*dims).values - theory, np.nan)
    wide = (data.classifier.values == "vectorised")[:, None] & (data.alpha.values > module.WIDE)
    sizes = [size_of("learning_curves", data, key) for key in ("wide_dimension", "dimension")]
    allowance = SPARSE_TOKEN_ALLOWANCE / np.where(wide, *sizes)
    plus = f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d, off the peaks"
    return within(difference, error.transpose(*dims).values, allowance, what="test errors", plus=plus)


def _separability(data: Any) -> Verdict:
    mean, error = mean_and_error(data.by_signal)
    theory = at(data.predicted_by_signal, fine_signal=data.signal)
    sizes = [
        size_of("separability", data, "wide_dimension" if name == "vectorised" else "dimension")
        for name in data.classifier.values
    ]
    return within(
        mean.values - theory,
        error.values,
        SPARSE_TOKEN_ALLOWANCE * theory / np.array(sizes)[:, None],
        plus=f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d of the capacity",
    )


def _oracle_error(data: Any) -> Verdict:
    """Attention's best temperature can only help, and nothing beats Bayes."""
    hard = at(data.hardmax, fine_length=data.length)
    above = np.maximum(data.attention.values - hard, 0)
    first = within(above, data.attention_spread.values, what="errors of attention at most the hard max's,")
    below = np.maximum(data.bayes.values - data.attention.values, 0)
    spread = np.hypot(data.attention_spread.values, data.bayes_spread.values)
    second = within(below, spread, what="errors of Bayes at most attention's,")
    return together(first, second)


def _crossover(data: Any) -> Verdict:
    """Sides that theory and simulation give to a point, where the simulation decides."""
    mean, error = mean_and_error(data.difference)
    side = np.sign(
        data.log_ratio.interp(map_signal=data.signal.values, map_alignment=data.alignment.values).values
    )
    decided = np.abs(mean.values) > ERRORS * error.values
    wrong = int((decided & (np.sign(mean.values) != side)).sum())
    text = f"{int(decided.sum()) - wrong} of {int(decided.sum())} points that lie {ERRORS:g} standard errors from a tie"
    word = "differ" if wrong else "agree" if decided.any() else "void"
    return Verdict(word, f"{text} are on the predicted side; {int((~decided).sum())} undecided")


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "learning_curves": _learning_curves,
    "query_alignment": _query_alignment,
    "separability": _separability,
    "oracle_error": _oracle_error,
    "crossover": _crossover,
}
