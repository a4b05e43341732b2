"""Figure 2: alignment over (‖mu‖, delta), mean pooling beside optimal weights, theory above simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import spikes
from resolvent import weights as weighting
from resolvent.models import PooledSequences
from resolvent.positions import SingleFactor
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 300, "signals": 24, "deltas": 12, "seeds": 2},
    "paper": {"dimension": 800, "signals": 40, "deltas": 20, "seeds": 5},
    "large": {"dimension": 1500, "signals": 60, "deltas": 30, "seeds": 10},
}
LENGTH, INFORMATIVE, LOADING, GAMMA = 50, 10, 0.8, 1 / 3
SIGNALS, DELTAS = (0.0, 2.0), (0.05, 2.0)
WEIGHTS = ("mean", "optimal")


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Theory on a fine grid, simulation on a coarse one (one factorisation a delta and seed)."""
    import xarray as xr

    size = SIZES[scale]
    positions = SingleFactor(LOADING * (np.arange(LENGTH) < INFORMATIVE))
    signal, delta = np.linspace(*SIGNALS, 201), np.geomspace(*DELTAS, 201)
    snr = np.array(
        [
            weighting.snr(w, positions.matrix)
            for w in (weighting.mean(LENGTH), weighting.optimal(positions.matrix))
        ]
    )
    theory = spikes.alignment(signal, snr[:, None, None], delta[:, None], GAMMA)
    boundary = spikes.critical_signal(snr[:, None], delta, GAMMA)
    coarse = np.linspace(*SIGNALS, size["signals"] + 1)[1:]
    dimension = size["dimension"]
    vocabularies = [2 * round(dimension / d / 2) for d in np.geomspace(*DELTAS, size["deltas"])]
    tasks = [
        {
            "dimension": dimension,
            "vocabulary": vocabulary,
            "weights": name,
            "signals": coarse,
            "seeds": size["seeds"],
        }
        for name in WEIGHTS
        for vocabulary in vocabularies
    ]
    results = run_all(simulated_row, tasks, label="Figure 2", **options)
    shape = (len(WEIGHTS), len(vocabularies), coarse.size)
    return xr.Dataset(
        {
            "alignment": (("weights", "delta", "signal"), theory),
            "boundary": (("weights", "delta"), boundary),
            "simulated": (("weights", "simulated_delta", "simulated_signal"), np.reshape(results, shape)),
        },
        coords={
            "weights": list(WEIGHTS),
            "delta": delta,
            "signal": signal,
            "simulated_delta": [dimension / v for v in vocabularies],
            "simulated_signal": coarse,
        },
        attrs={
            "title": "Alignment over signal and vocabulary",
            "caption": f"Squared overlap of the top eigenvector with the signal, over its norm and delta = d/V; "
            f"T = {LENGTH}, single-factor correlation {LOADING} on the first {INFORMATIVE} positions, gamma = 1/3. "
            f"Left mean pooling (snr {snr[0]:.2f}), right optimal weights (snr {snr[1]:.2f}). Above theory, with the "
            f"phase boundary dashed; below simulation at d = {dimension}, mean of {size['seeds']} seeds.",
        },
    )


def simulated_row(
    dimension: int, vocabulary: int, weights: str, signals: np.ndarray, seeds: int
) -> np.ndarray:
    """Mean simulated alignment along signals at one delta."""
    positions = SingleFactor(LOADING * (np.arange(LENGTH) < INFORMATIVE))
    model = PooledSequences(dimension, vocabulary, round(dimension / GAMMA), positions, weights, 0.0)
    return model.sweep(signals, range(seeds), jobs=1).overlap.mean("seed").values


def draw(dataset: xarray.Dataset) -> Figure:
    """Two columns (weights), theory above simulation."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.8), sharex=True, sharey=True)
    for column, name in enumerate(dataset.weights.values):
        part = dataset.sel(weights=name)
        boundary = part.boundary.values
        mesh = plots.alignment_map(
            axes[0, column], part.signal, part.delta, part.alignment, boundary=boundary
        )
        plots.alignment_map(axes[1, column], part.simulated_signal, part.simulated_delta, part.simulated)
        axes[1, column].plot(boundary, part.delta, "--", color="white", lw=1.6)
        axes[0, column].set_title(f"{name} weights: theory")
        axes[1, column].set_title(f"{name} weights: simulation")
        axes[0, column].set_xlabel("")
    for ax in axes.flat:
        ax.set_yscale("log")
        ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
        ax.minorticks_off()
        ax.set_ylim(*DELTAS)
    for ax in axes[:, 1]:
        ax.set_ylabel("")
    figure.colorbar(mesh, ax=axes, label="squared overlap with the signal", shrink=0.8)
    return figure
