"""Figure 3: eigenvalues of pooled sequences against the bulk law, for mean and causal weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.laws import MarchenkoPasturProduct
from resolvent.models import PooledSequences
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES = {"quick": 600, "paper": 1500, "large": 3000}
LENGTH, INFORMATIVE, SIGNAL = 50, 8, 1.0
WEIGHTS = ("mean", "causal")


def run(scale: str, **options: Any) -> xarray.Dataset:
    """One draw for each weighting, from the same table and tokens."""
    import xarray as xr

    dimension = SIZES[scale]
    predictions = [model(dimension, name).predict() for name in WEIGHTS]
    values = run_all(
        eigenvalues,
        [{"dimension": dimension, "weights": name} for name in WEIGHTS],
        label="Figure 3",
        **options,
    )
    return xr.Dataset(
        {
            "eigenvalues": (("weights", "index"), np.array(values)),
            "outlier": ("weights", [float(p.outlier) for p in predictions]),
            "kappa": ("weights", [float(p.kappa) for p in predictions]),
        },
        coords={"weights": list(WEIGHTS)},
        attrs={
            "title": "Bulk and outlier of the pooled covariance",
            "caption": f"All eigenvalues of one sample at d = {dimension}, V = 4d, N = 3d, T = {LENGTH}, first "
            f"{INFORMATIVE} positions correlated, ‖mu‖ = {SIGNAL:g}: histogram, density of kappa·(MP ⊠ MP), outlier "
            "predicted (dashed) and observed (dot). Left mean pooling, right causal weights.",
            "delta": 0.25,
            "gamma": 1 / 3,
        },
    )


def model(dimension: int, weights: str) -> PooledSequences:
    """The model of this figure."""
    return PooledSequences(
        dimension, 4 * dimension, 3 * dimension, Prefix(LENGTH, INFORMATIVE), weights, SIGNAL
    )


def eigenvalues(dimension: int, weights: str) -> np.ndarray:
    """Eigenvalues of one draw."""
    return model(dimension, weights).simulate(0).eigenvalues


def draw(dataset: xarray.Dataset) -> Figure:
    """One panel a weighting."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
    for ax, name in zip(axes, dataset.weights.values):
        part = dataset.sel(weights=name)
        law = MarchenkoPasturProduct((dataset.delta, dataset.gamma), float(part.kappa))
        plots.spectrum(
            ax,
            part.eigenvalues.values,
            law,
            predicted=float(part.outlier),
            colour=plots.COLOURS[str(name)],
            label="MP ⊠ MP",
        )
        ax.set_title(f"{name} weights")
    axes[0].legend()
    return figure
