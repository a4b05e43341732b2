"""Theory beside simulation: one labelled table with z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import seed_numbers
from resolvent.models.pooled import PooledSequences
from resolvent.models.sparse_token import CLASSIFIERS, SparseTokenClassification
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray

__all__ = ["ALLOWANCE", "compare"]

QUANTITIES = ("top_eigenvalue", "second_eigenvalue", "overlap")

# The theory is a limit: means over draws differ from it by c/d, eigenvalues relatively and overlaps
# absolutely. The largest c seen away from the transition (T_eff >= 10) is fitted in the finite-size study.
ALLOWANCE = 9.0

# of the sparse-token model, whose read-outs are predicted given each run's own query
SPARSE_TOKEN_ALLOWANCE = 2.0

# The edge is approached only as d^(-2/3): means of the two largest Tracy-Widom (beta = 1) eigenvalues
TRACY_WIDOM_MEANS = (-1.2065335746, -3.2624279028)


def compare(
    model: PooledSequences | SparseTokenClassification,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Simulate a model at several seeds and set the means against its prediction.

    Parameters
    ----------
    model : PooledSequences or SparseTokenClassification
    seeds : sequence of int
        At least two.
    jobs, memory, progress
        See `resolvent.sweeps.run_all`.

    Returns
    -------
    xarray.Dataset
        Over ``quantity``, fields that prediction and simulation share: ``predicted``, ``simulated`` (means over seeds),
        ``standard_error`` of their difference, ``z`` = difference / standard error, ``allowance`` (what a finite
        dimension may add, c/d) and ``agrees``: whether the difference is within four standard errors plus the
        allowance. The quantities of pooled sequences are top_eigenvalue, second_eigenvalue and overlap (see `expected`);
        those of sparse tokens are the query after two steps, and error, loss and alignment of each read-out, which are
        predicted given each run's own query.

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
    sparse = isinstance(model, SparseTokenClassification)
    draws = run_all(
        _measure_sparse_token if sparse else _measure,
        [{"model": model, "seed": seed} for seed in seeds],
        label="simulations",
        jobs=jobs,
        memory=memory,
        progress=progress,
    )
    if sparse:
        quantities: Sequence[str] = _sparse_token_quantities(model)  # type: ignore[arg-type]
        values, limits = np.moveaxis(np.array(draws), 1, 0)
        predicted = limits.mean(axis=0)
        relative = [name.endswith(("kappa", "loss")) for name in quantities]
        allowance = SPARSE_TOKEN_ALLOWANCE * np.where(relative, predicted, 1.0) / model.dimension
    else:
        quantities, values = QUANTITIES, np.array(draws)
        predicted = limits = expected(model)  # type: ignore[arg-type]
        allowance = ALLOWANCE * np.array([predicted[0], predicted[1], 1.0]) / model.dimension
    difference = values - limits
    error = np.std(difference, axis=0, ddof=1) / np.sqrt(len(seeds))
    mean = values.mean(axis=0) - predicted
    return xr.Dataset(
        {
            "predicted": ("quantity", predicted),
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


def _measure(model: PooledSequences, seed: int) -> list[float]:
    draw = model.simulate(seed)
    return [getattr(draw, name) for name in QUANTITIES]


def _sparse_token_quantities(model: SparseTokenClassification) -> list[str]:
    names = CLASSIFIERS if np.unique(model.length).size == 1 else CLASSIFIERS[:2]
    trained = [f"{name}.{quantity}" for name in names for quantity in ("error", "loss", "alignment")]
    return ["query.alignment", "query.kappa", "query.first_alignment", *trained]


def _measure_sparse_token(model: SparseTokenClassification, seed: int) -> list[list[float]]:
    """Simulated quantities, and what the theory says of them: the two steps' limit, read-outs given the run's query."""
    draw, limit = model.simulate(seed), model.predict()
    given = model.predict(draw.query)
    names = _sparse_token_quantities(model)
    return [
        [float(attrgetter(name)(draw)) for name in names],
        [float(attrgetter(name)(limit if name.startswith("query.") else given)) for name in names],
    ]
