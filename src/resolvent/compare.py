"""Theory beside simulation: one labelled table with z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import seed_numbers
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray

    from resolvent.models.pooled import PooledSequences

__all__ = ["ALLOWANCE", "compare"]

QUANTITIES = ("top_eigenvalue", "second_eigenvalue", "overlap")

# The theory is a limit: means over draws differ from it by c/d, eigenvalues relatively and overlaps
# absolutely. The largest c seen away from the transition (T_eff >= 10) is fitted in the finite-size study.
ALLOWANCE = 9.0

# The edge is approached only as d^(-2/3): means of the two largest Tracy-Widom (beta = 1) eigenvalues
TRACY_WIDOM_MEANS = (-1.2065335746, -3.2624279028)


def compare(
    model: PooledSequences,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Simulate a model at several seeds and set the means against its prediction.

    Parameters
    ----------
    model : PooledSequences
    seeds : sequence of int
        At least two.
    jobs, memory, progress
        See `resolvent.sweeps.run_all`.

    Returns
    -------
    xarray.Dataset
        Over ``quantity`` (top_eigenvalue, second_eigenvalue, overlap): ``predicted`` (see
        `expected`), ``simulated`` (mean over seeds), ``standard_error``, ``z`` = difference / standard error, ``allowance`` (what
        a finite dimension may add, c/d) and ``agrees``: whether the difference is within four standard
        errors plus the allowance.

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
    draws = run_all(
        _measure,
        [{"model": model, "seed": seed} for seed in seeds],
        label="simulations",
        jobs=jobs,
        memory=memory,
        progress=progress,
    )
    predicted = expected(model)
    simulated = np.mean(draws, axis=0)
    error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(seeds))
    size = np.array([predicted[0], predicted[1], 1.0])
    allowance = ALLOWANCE * size / model.dimension
    difference = simulated - predicted
    return xr.Dataset(
        {
            "predicted": ("quantity", predicted),
            "simulated": ("quantity", simulated),
            "standard_error": ("quantity", error),
            "z": ("quantity", difference / error),
            "allowance": ("quantity", allowance),
            "agrees": ("quantity", np.abs(difference) <= 4 * error + allowance),
        },
        coords={"quantity": list(QUANTITIES)},
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


def _measure(model: PooledSequences, seed: int) -> list[float]:
    draw = model.simulate(seed)
    return [getattr(draw, name) for name in QUANTITIES]
