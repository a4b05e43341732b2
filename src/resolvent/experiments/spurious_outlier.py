"""Alignment of the leading component with the stretched coordinate, with a signal and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models.elliptical import EllipticalPooling
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"points": 31, "simulated": 6, "seeds": 6},
    "paper": {"points": 41, "simulated": 9, "seeds": 12},
    "large": {"points": 61, "simulated": 13, "seeds": 30},
}
DIMENSION, LENGTH, SAMPLES, AGREEMENT, METRIC, LARGEST = 128, 64, 512, 0.6, (1.0, 0.05), 0.3
SIGNALS = (0.0, 0.35, 1.0)
COLOURS = dict(zip(SIGNALS, ("#777777", "#E69F00", "#0072B2")))


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Predicted and simulated alignment, and the correlation of the leading component with the label."""
    import xarray as xr

    size = SIZES[scale]
    fine = np.linspace(0, LARGEST, size["points"])
    beta = np.linspace(0, LARGEST, size["simulated"])
    predicted = [[model(s, b).predict().overlap for b in fine] for s in SIGNALS]
    tasks = [
        {"signal": s, "beta": float(b), "seed": seed}
        for s in SIGNALS
        for b in beta
        for seed in range(size["seeds"])
    ]
    found = np.reshape(
        run_all(alignment_and_correlation, tasks, label="spurious outlier", **options),
        (len(SIGNALS), beta.size, size["seeds"], 2),
    )
    return xr.Dataset(
        {
            "predicted_overlap": (("signal", "fine_beta"), predicted),
            "overlap": (("signal", "beta", "seed"), found[..., 0]),
            "label_correlation": (("signal", "beta", "seed"), found[..., 1]),
        },
        coords={"signal": list(SIGNALS), "fine_beta": fine, "beta": beta, "seed": range(size["seeds"])},
        attrs={
            "title": "A stretched metric makes an outlier without any signal",
            "caption": "Left: squared overlap of the leading component of attention-pooled tokens with the stretched "
            f"coordinate. Right: its correlation with the label. d = {DIMENSION}, L = {LENGTH}, N = {SAMPLES}, "
            f"p = {AGREEMENT:g}, a = {METRIC[0]:g}, b = {METRIC[1]:g}, query of the sequence's label. Lines: theory; dots: "
            f"mean and standard error over {size['seeds']} seeds; grey band: correlation of independent numbers.",
        },
    )


def model(signal: float, beta: float) -> EllipticalPooling:
    """The model of one point."""
    return EllipticalPooling(
        DIMENSION,
        LENGTH,
        SAMPLES,
        signal,
        AGREEMENT,
        METRIC,
        inverse_temperature=float(beta),
        query="consistent",
    )


def alignment_and_correlation(signal: float, beta: float, seed: int) -> list[float]:
    """Both for one draw."""
    found = model(signal, beta).simulate(seed)
    return [found.overlap, found.leading_correlation]


def draw(dataset: xarray.Dataset) -> Figure:
    """Alignment on the left, correlation with the label on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, side) = plt.subplots(1, 2, figsize=(10, 4))
    root = np.sqrt(dataset.sizes["seed"])
    for signal in dataset.signal.values:
        part, colour = dataset.sel(signal=signal), COLOURS[float(signal)]
        label = "no signal" if signal == 0 else f"θ = {signal:g}"
        for axis, theory, values in (
            (ax, part.predicted_overlap, part.overlap),
            (side, None, part.label_correlation),
        ):
            error = values.std("seed", ddof=1) / root
            if theory is None:
                axis.plot(part.beta, values.mean("seed"), ":", color=colour, lw=1)
            plots.curve(
                axis,
                part.fine_beta,
                theory,
                at=part.beta,
                simulated=values.mean("seed"),
                error=error,
                colour=colour,
                label=label,
            )
    side.axhspan(0, 2 / np.sqrt(SAMPLES), color="#cccccc", alpha=0.6, lw=0)
    for axis, name in (
        (ax, "squared overlap with the stretched coordinate"),
        (side, "correlation with the label"),
    ):
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("inverse temperature β")
        axis.set_ylabel(name)
    ax.legend(loc="lower right")
    return figure
