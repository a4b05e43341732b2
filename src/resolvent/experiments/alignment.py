"""Figure 4: alignment against the signal for mean, causal and optimal weights, theory and simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models import PooledSequences
from resolvent.positions import Prefix, SingleFactor

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 500, "seeds": 6},
    "paper": {"dimension": 1000, "seeds": 20},
    "large": {"dimension": 2000, "seeds": 20},
}
LENGTH, INFORMATIVE, LOADING = 50, 10, 0.9
SIGNS = (1, 1, -1, 1, 1, -1, 1, 1, -1, 1)
WEIGHTS = ("mean", "causal", "optimal")
PANELS = ("prefix", "sign pattern")


def run(scale: str, **options: Any) -> xarray.Dataset:
    """One sweep a panel and weighting."""
    import xarray as xr

    size = SIZES[scale]
    dimension = size["dimension"]
    signals = np.linspace(0, 2.0, 21)
    loadings = np.zeros(LENGTH)
    loadings[: len(SIGNS)] = LOADING * np.array(SIGNS)
    panels = []
    for positions in (Prefix(LENGTH, INFORMATIVE), SingleFactor(loadings)):
        sweeps = [
            PooledSequences(dimension, 4 * dimension, 3 * dimension, positions, name, 0.0).sweep(
                signals, range(size["seeds"]), **options
            )
            for name in WEIGHTS
        ]
        snr = xr.DataArray([s.snr for s in sweeps], dims="weights")
        panels.append(xr.concat(sweeps, "weights", combine_attrs="drop").assign(snr=snr))
    dataset = xr.concat(panels, "panel").assign_coords(weights=list(WEIGHTS), panel=list(PANELS))
    dataset.attrs = {
        "title": "Alignment against the signal",
        "caption": f"Squared overlap with the signal; lines theory, dots mean and standard deviation over "
        f"{size['seeds']} seeds at d = {dimension}, V = 4d, N = 3d, T = {LENGTH}. (a) First {INFORMATIVE} positions "
        f"equal. (b) Single factor: correlations ±{LOADING:g} on the first {len(SIGNS)} positions with signs "
        f"{''.join('+' if s > 0 else '−' for s in SIGNS)}: weights that know no signs lose most of the signal.",
    }
    return dataset


def draw(dataset: xarray.Dataset) -> Figure:
    """Panel a prefix, panel b sign pattern."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for ax, letter, panel in zip(axes, "ab", dataset.panel.values):
        for name in dataset.weights.values:
            part = dataset.sel(panel=panel, weights=name)
            plots.curve(
                ax,
                part.signal,
                part.predicted_overlap,
                simulated=part.overlap.mean("seed"),
                error=part.overlap.std("seed"),
                colour=plots.COLOURS[str(name)],
                label=f"{name}, snr {float(part.snr):.2f}",
            )
        ax.set_title(f"({letter}) {panel}")
        ax.set_xlabel("signal ‖μ‖")
        ax.legend()
    axes[0].set_ylabel("squared overlap with the signal")
    return figure
