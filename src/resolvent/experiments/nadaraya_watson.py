"""Kernel regression error against sample size, by metric: where a stretched metric pays, and where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.elliptical import best_bandwidth, nadaraya_watson, plug_in_metric, random_metric
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"sizes": 4, "seeds": 6},
    "paper": {"sizes": 6, "seeds": 10},
    "large": {"sizes": 7, "seeds": 20},
}
DIMENSION, NOISE, TESTS = 8, 0.3, 1000
FUNCTIONS = {
    "2 of 8 relevant": np.array([1.0, 1.0, 0, 0, 0, 0, 0, 0]),
    "decaying 2⁻ⁱ": 0.5 ** np.arange(DIMENSION),
    "all equal": np.ones(DIMENSION),
}
METRICS = ("isotropic", "random", "plug-in", "oracle")
COLOURS = {"isotropic": "#0072B2", "random": "#777777", "plug-in": "#E69F00", "oracle": "#009E73"}


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Test error of every metric, its bandwidth chosen by leave-one-out."""
    import xarray as xr

    size = SIZES[scale]
    n = 125 * 2 ** np.arange(size["sizes"])
    tasks = [
        {"function": name, "n": int(k), "seed": seed}
        for name in FUNCTIONS
        for k in n
        for seed in range(size["seeds"])
    ]
    found = np.reshape(
        run_all(errors, tasks, label="kernel regression", **options),
        (len(FUNCTIONS), n.size, size["seeds"], len(METRICS)),
    )
    return xr.Dataset(
        {"error": (("function", "n", "seed", "metric"), found)},
        coords={
            "function": list(FUNCTIONS),
            "n": n,
            "seed": range(size["seeds"]),
            "metric": list(METRICS),
        },
        attrs={
            "title": "Kernel regression with a stretched metric",
            "caption": f"Mean squared error on {TESTS} fresh points of Nadaraya–Watson regression of Σ cᵢ sin(2xᵢ)/‖c‖, x "
            f"standard normal in {DIMENSION} dimensions, noise {NOISE:g}; bandwidth by leave-one-out. Oracle: metric ∝ "
            f"E|∂f/∂xᵢ|. Mean and standard error over {size['seeds']} seeds; fitted slopes in the legend.",
        },
    )


def errors(function: str, n: int, seed: int) -> list[float]:
    """Error of every metric on one draw."""
    rng = np.random.default_rng([seed, n])
    c = FUNCTIONS[function] / np.linalg.norm(FUNCTIONS[function])
    x, fresh = rng.standard_normal((n, DIMENSION)), rng.standard_normal((TESTS, DIMENSION))
    y = np.sin(2 * x) @ c + NOISE * rng.standard_normal(n)
    metrics = {
        "isotropic": np.ones(DIMENSION),
        "random": random_metric(DIMENSION, rng=rng),
        "plug-in": plug_in_metric(x, y),
        "oracle": c / c.max(),  # E|2 cos(2x)| is the same for every coordinate
    }
    found = []
    for name in METRICS:
        h = best_bandwidth(x, y, metric=metrics[name])
        fit = nadaraya_watson(x, y, fresh, bandwidth=h, metric=metrics[name])
        found.append(float(((fit - np.sin(2 * fresh) @ c) ** 2).mean()))
    return found


def draw(dataset: xarray.Dataset) -> Figure:
    """One panel a function, log-log."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, dataset.sizes["function"], figsize=(11, 4), sharey=True)
    n = dataset.n.values
    for ax, function in zip(axes, dataset.function.values):
        for name in dataset.metric.values:
            part = dataset.error.sel(function=function, metric=name)
            mean = part.mean("seed").values
            error = part.std("seed", ddof=1).values / np.sqrt(dataset.sizes["seed"])
            slope = np.polyfit(np.log(n), np.log(mean), 1)[0]
            ax.errorbar(
                n,
                mean,
                yerr=error,
                fmt=plots.MARKERS[COLOURS[name]],
                ls=plots.DASHES[COLOURS[name]],
                ms=4,
                capsize=2,
                color=COLOURS[name],
                label=f"{name}, {slope:.2f}",
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(n, [str(k) for k in n])
        ax.set_xticks([], minor=True)
        ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.4], ["0.02", "0.05", "0.1", "0.2", "0.4"])
        ax.set_yticks([], minor=True)
        ax.set_title(function)
        ax.set_xlabel("samples n")
        ax.legend(title="metric, slope")
    axes[0].set_ylabel("mean squared error")
    return figure
