"""Theory beside simulation: one labelled table with z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import seed_numbers
from resolvent.models.elliptical import EllipticalPooling
from resolvent.models.in_context import InContextRegression
from resolvent.models.pooled import PooledSequences
from resolvent.models.sparse_token import CLASSIFIERS, SparseTokenClassification
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray

__all__ = ["ALLOWANCE", "compare"]

QUANTITIES = ("top_eigenvalue", "second_eigenvalue", "overlap")

# Means over draws differ from a limit by c/d, eigenvalues relatively and overlaps absolutely. The largest c seen
# away from the transition (T_eff >= 10) is fitted in the finite-size study.
ALLOWANCE = 9.0

# c of the pooled-sequence model where the theory knows the sample's own degrees of freedom and corrections: of
# eigenvalues, of overlaps, and of overlaps where q/q_c is small enough for their curve to bend
# (docs/theory/fluctuations.md, section 6)
EIGENVALUE_ALLOWANCE, OVERLAP_ALLOWANCE, BENT_ALLOWANCE = 1.0, 1.0, 4.0

# of the sparse-token model, whose read-outs are predicted given each run's own query
SPARSE_TOKEN_ALLOWANCE = 2.0

# The edge is approached only as d^(-2/3): means of the two largest Tracy-Widom (beta = 1) eigenvalues
TRACY_WIDOM_MEANS = (-1.2065335746, -3.2624279028)


def compare(
    model: PooledSequences | SparseTokenClassification | InContextRegression | EllipticalPooling,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Simulate a model at several seeds and set the means against its prediction.

    Parameters
    ----------
    model : PooledSequences, SparseTokenClassification, InContextRegression or EllipticalPooling
    seeds : sequence of int
        At least two.
    jobs, memory, progress
        See `resolvent.sweeps.run_all`.

    Returns
    -------
    xarray.Dataset
        Over ``quantity``, fields that prediction and simulation share: ``predicted``, ``expected`` (the same for a
        sample of this size, where the theory says how it differs), ``simulated`` (means over seeds),
        ``standard_error`` of simulated − expected, ``z`` = (simulated − expected) / standard error, ``allowance`` (what
        a finite dimension may still add, c/d) and ``agrees``: whether they differ by at most four standard errors plus
        the allowance. The quantities of pooled sequences are top_eigenvalue, second_eigenvalue and overlap (see `expected`);
        those of sparse tokens are the query after two steps, and error, loss and alignment of each read-out, which are
        predicted given each run's own query; those of in-context regression are risks, which are exact at every size,
        over 100,000 prompts a seed; those of elliptical pooling are alpha, kappa, kappa_perp and snr, and outlier and overlap
        where the theory has them.

    Raises
    ------
    ValueError
        If fewer than two seeds are given.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> table = compare(PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0), range(8))
    >>> bool(table.agrees.sel(quantity="overlap"))
    True
    """
    import xarray as xr

    seeds = seed_numbers(seeds)
    if len(seeds) < 2:
        raise ValueError(f"seeds must hold at least two seeds, for a standard error, got {len(seeds)}")
    measure, quantities = _measured(model)
    draws = run_all(
        measure,
        [{"model": model, "seed": seed} for seed in seeds],
        label="simulations",
        jobs=jobs,
        memory=memory,
        progress=progress,
    )
    values, limits = np.moveaxis(np.array(draws), 1, 0)
    predicted = expected(model) if isinstance(model, PooledSequences) else limits.mean(axis=0)
    finite, allowance = _finite(model, quantities, predicted)
    difference = values - limits
    error = np.std(difference, axis=0, ddof=1) / np.sqrt(len(seeds))
    mean = values.mean(axis=0) - finite
    return xr.Dataset(
        {
            "predicted": ("quantity", predicted),
            "expected": ("quantity", finite),
            "simulated": ("quantity", values.mean(axis=0)),
            "standard_error": ("quantity", error),
            "z": ("quantity", mean / error),
            "allowance": ("quantity", allowance),
            "agrees": ("quantity", np.abs(mean) <= 4 * error + allowance),
        },
        coords={"quantity": list(quantities)},
    )


def expected(model: PooledSequences) -> np.ndarray:
    """Predicted means of `QUANTITIES` at the model's dimension, shape (3,).

    Where the limit of an eigenvalue is the edge, the Tracy-Widom mean is added to it.
    """
    prediction = model.predict()
    width = float(prediction.bulk.inverse_map.edge_scale()) * model.dimension ** (-2 / 3)
    means = [mean * width for mean in TRACY_WIDOM_MEANS]
    eigenvalues = [float(prediction.top_eigenvalue), float(prediction.second_eigenvalue)]
    for i, value in enumerate(eigenvalues):
        if value == float(prediction.edge):
            eigenvalues[i] = value + means.pop(0)
    return np.array([*eigenvalues, float(prediction.overlap)])


def expected_at_size(model: PooledSequences) -> tuple[np.ndarray, np.ndarray]:
    """Means of `QUANTITIES` for a sample of this size, and what they may still miss, each of shape (3,).

    With the degrees of freedom and 1/d corrections of `resolvent.error_bars` where its laws hold; elsewhere the
    limit (see `expected`) with `ALLOWANCE`.
    """
    limit = expected(model)
    values, allowance = limit.copy(), np.full(3, ALLOWANCE)
    bars = model.predict().error_bars
    sample, above = bars.sample, bool(bars.sample.ratio > 1)
    if not bars.edge.reason:
        seconds = sample.edge_centre() + bars.shifts[0] + TRACY_WIDOM_MEANS[1] * sample.edge_scale
        values[int(above)], allowance[int(above)] = bars.edge.value, EIGENVALUE_ALLOWANCE
        if not above:
            values[1], allowance[1] = seconds, EIGENVALUE_ALLOWANCE
    if above and not bars.outlier.reason:
        values[0], allowance[0] = bars.outlier.value, EIGENVALUE_ALLOWANCE
    if not bars.overlap.reason:
        values[2] = bars.overlap.value
        if above:
            allowance[2] = BENT_ALLOWANCE if bars.bent else OVERLAP_ALLOWANCE
    if model.noise != "gaussian":  # its fourth moment enters at order 1/d
        allowance = np.full(3, ALLOWANCE)
    return values, allowance * np.array([abs(values[0]), abs(values[1]), 1.0]) / model.dimension


def _measured(model: Any) -> tuple[Any, list[str]]:
    """What draws a model once, and the names of the quantities it measures."""
    if isinstance(model, SparseTokenClassification):
        names = CLASSIFIERS if np.unique(model.length).size == 1 else CLASSIFIERS[:2]
        trained = [f"{name}.{quantity}" for name in names for quantity in ("error", "loss", "alignment")]
        return _sparse_token, ["query.alignment", "query.kappa", "query.first_alignment", *trained]
    if isinstance(model, InContextRegression):
        risks = ["zero", "attention", "h3", "per_channel"]
        return _in_context, risks if model.predict().per_channel is not None else risks[:3]
    if isinstance(model, PooledSequences):
        return _pooled, list(QUANTITIES)
    if isinstance(model, EllipticalPooling):
        every = ("alpha", "kappa", "kappa_perp", "snr", "outlier", "overlap")
        prediction = model.predict()
        return _elliptical, [name for name in every if np.isfinite(getattr(prediction, name))]
    raise ValueError(
        "model must be PooledSequences, SparseTokenClassification, InContextRegression or EllipticalPooling, "
        f"got {model!r}"
    )


def _finite(model: Any, quantities: list[str], predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means at the model's size, and what a finite dimension may add to the difference."""
    if isinstance(model, PooledSequences):
        return expected_at_size(model)
    if isinstance(model, InContextRegression):
        return predicted, np.zeros_like(predicted)
    if isinstance(model, SparseTokenClassification):
        relative = [name.endswith(("kappa", "loss")) for name in quantities]
        return predicted, SPARSE_TOKEN_ALLOWANCE * np.where(relative, predicted, 1.0) / model.dimension
    bounded = [name == "overlap" for name in quantities]
    return predicted, ALLOWANCE * np.where(bounded, 1.0, predicted) / model.dimension


def _values(names: list[str], outcome: Any) -> list[float]:
    return [float(attrgetter(name)(outcome)) for name in names]


def _pooled(model: PooledSequences, seed: int) -> list[list[float]]:
    return [
        _values(list(QUANTITIES), model.simulate(seed)),
        [0.0] * 3,
    ]  # one limit for all seeds, in `expected`


def _sparse_token(model: SparseTokenClassification, seed: int) -> list[list[float]]:
    """Simulated quantities, and what the theory says of them: the two steps' limit, read-outs given the run's query."""
    draw, limit = model.simulate(seed), model.predict()
    _, names = _measured(model)
    predicted = _values(names[:3], limit) + _values(names[3:], model.predict(draw.query))
    return [_values(names, draw), predicted]


def _in_context(model: InContextRegression, seed: int) -> list[list[float]]:
    _, names = _measured(model)
    return [_values(names, model.simulate(seed, bayes=False)), _values(names, model.predict())]


def _elliptical(model: EllipticalPooling, seed: int) -> list[list[float]]:
    _, names = _measured(model)
    return [_values(names, model.simulate(seed)), _values(names, model.predict())]
