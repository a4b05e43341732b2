"""Pooled sequences of a finite size: what means over draws are expected to be, and what they may still miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from resolvent.models.claims import ALLOWANCE, TRACY_WIDOM_MEANS, Claim, edge_shifts

if TYPE_CHECKING:
    from resolvent.models.pooled import PooledSequences

__all__ = ["QUANTITIES", "expected", "expected_at_size", "pooled_claims"]

QUANTITIES = ("top_eigenvalue", "second_eigenvalue", "overlap")

# c where the theory knows the sample's own degrees of freedom and corrections: of eigenvalues, of overlaps, and of overlaps
# where q/q_c is small enough for their curve to bend (docs/theory/fluctuations.md, section 6)
EIGENVALUE_ALLOWANCE, OVERLAP_ALLOWANCE, BENT_ALLOWANCE = 1.0, 1.0, 4.0


def expected(model: PooledSequences) -> np.ndarray:
    """Predicted means of `QUANTITIES` at the model's dimension, shape (3,).

    Where the limit of an eigenvalue is the edge, the Tracy-Widom mean is added to it.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> expected(PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0)).round(3)
    array([0.523, 0.191, 0.843])
    """
    if np.ndim(model.signal):
        raise ValueError(f"signal must be one number to compare, got {np.size(model.signal)}")
    prediction = model.predict()
    means = edge_shifts(prediction.bulk.inverse_map, model.dimension)
    eigenvalues = [float(prediction.top_eigenvalue), float(prediction.second_eigenvalue)]
    for i, value in enumerate(eigenvalues):
        if value == float(prediction.edge):
            eigenvalues[i] = value + means.pop(0)
    return np.array([*eigenvalues, float(prediction.overlap)])


def expected_at_size(model: PooledSequences) -> tuple[np.ndarray, np.ndarray]:
    """Means of `QUANTITIES` for a sample of this size, and what they may still miss, each of shape (3,).

    With the degrees of freedom and 1/d corrections of `resolvent.error_bars` where its laws hold; elsewhere the
    limit (see `expected`) with `ALLOWANCE`.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> expected_at_size(PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0))[0].round(3)
    array([0.52 , 0.186, 0.844])
    """
    values, c = _at_size(model)
    return values, c * np.array([abs(values[0]), abs(values[1]), 1.0]) / model.dimension


def pooled_claims(model: PooledSequences) -> list[Claim]:
    """The claims of a model of pooled sequences, see `expected_at_size`."""
    limit, (values, c) = expected(model), _at_size(model)
    return [
        Claim(name, limit[i], values[i], c[i], model.dimension, relative=name != "overlap")
        for i, name in enumerate(QUANTITIES)
    ]


def _at_size(model: PooledSequences) -> tuple[np.ndarray, np.ndarray]:
    """Means of `QUANTITIES`, and the c of each."""
    values, c = expected(model), np.full(3, ALLOWANCE)
    bars = model.predict().error_bars
    sample, above = bars.sample, bool(bars.sample.ratio > 1)
    if not bars.edge.reason:
        seconds = sample.edge_centre() + bars.shifts[0] + TRACY_WIDOM_MEANS[1] * sample.edge_scale
        values[int(above)], c[int(above)] = bars.edge.value, EIGENVALUE_ALLOWANCE
        if not above:
            values[1], c[1] = seconds, EIGENVALUE_ALLOWANCE
    if above and not bars.outlier.reason:
        values[0], c[0] = bars.outlier.value, EIGENVALUE_ALLOWANCE
    if not bars.overlap.reason:
        values[2] = bars.overlap.value
        if above:
            c[2] = BENT_ALLOWANCE if bars.bent else OVERLAP_ALLOWANCE
    if model.noise != "gaussian":  # its fourth moment enters at order 1/d
        c = np.full(3, ALLOWANCE)
    return values, c
