"""Extra: do 95 % intervals for one sample's outlier, overlap and edge hold what they say?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.experiments.agreement import random_model
from resolvent.models import PooledSequences
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["coverage", "draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 160, "draws": 240, "random_dimension": 120, "random_draws": 100},
    "paper": {"dimension": 300, "draws": 600, "random_dimension": 250, "random_draws": 600},
    "large": {"dimension": 600, "draws": 2000, "random_dimension": 500, "random_draws": 1000},
}
QUANTITIES = ("outlier", "overlap", "edge")
RATIOS = np.array(
    [0.1, 0.25, 0.4, 0.5, 0.6, 0.8, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0]
)
RANDOM = range(100, 110)  # settings that no other figure or test uses
NOMINAL, WANTED = 0.95, (0.92, 0.98)


def reference(dimension: int) -> PooledSequences:
    """The setting whose signal is turned up: a balanced table, which shows both sides of the transition."""
    model = PooledSequences(
        dimension, 2 * dimension, 2 * dimension, Prefix(40, 10), "mean", 1.0, table="balanced"
    )
    prediction = model.predict()
    q = RATIOS * float(prediction.threshold)
    return replace(model, signal=np.sqrt((q + model.delta) / float(prediction.snr)))


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Intervals and their coverage against q/q_c, and at ten random settings."""
    import xarray as xr

    size = SIZES[scale]
    model, draws = reference(size["dimension"]), size["draws"]
    bars, prediction = model.predict().error_bars, model.predict()
    found = model.sweep(model.signal, range(draws), **options)
    top, second = found.top_eigenvalue.values, found.second_eigenvalue.values
    above = (np.asarray(prediction.q) > float(prediction.threshold))[:, None]
    samples = {"outlier": top, "overlap": found.overlap.values, "edge": np.where(above, second, top)}
    rows = run_all(
        coverage,
        [{"index": i, "dimension": size["random_dimension"], "draws": size["random_draws"]} for i in RANDOM],
        label="Error bars: random settings",
        **options,
    )
    covered = np.array(rows)
    known = covered[np.isfinite(covered)]
    data: dict[str, Any] = {"random_coverage": (("random_setting", "quantity"), covered)}
    for name in QUANTITIES:
        bar, drawn = getattr(bars, name), samples[name]
        data |= {f"{name}_low": ("ratio", bar.low), f"{name}_high": ("ratio", bar.high)}
        data[f"{name}_value"] = ("ratio", bar.value)
        data[f"{name}_quantiles"] = (("ratio", "tail"), np.quantile(drawn, [0.025, 0.975], axis=1).T)
        share = _share(drawn, np.asarray(bar.low)[:, None], np.asarray(bar.high)[:, None])
        data[f"{name}_coverage"] = ("ratio", share)
    data["limit"] = ("ratio", np.asarray(prediction.outlier))
    data["limit_overlap"] = ("ratio", np.asarray(prediction.overlap))
    return xr.Dataset(
        data,
        coords={
            "ratio": RATIOS,
            "tail": [0.025, 0.975],
            "quantity": list(QUANTITIES),
            "random_setting": list(RANDOM),
        },
        attrs={
            "title": "Error bars of one finite sample",
            "draws": draws,
            "random_draws": size["random_draws"],
            "caption": f"(a, b) Predicted 95 % intervals of outlier and squared overlap against q/q_c (bands), beside the central "
            f"95 % of {draws} draws (bars) and the limit (line); no law is claimed near q_c. d = {model.dimension}, V = N = "
            f"{model.vocabulary}, T = 40, prefix 10, mean weights, balanced table. (c) Share of draws inside the intervals; "
            "outlier, overlap, and the largest eigenvalue of the bulk (edge); grey: 92 to 98 %. (d) The same at "
            f"{len(RANDOM)} random settings, d = {size['random_dimension']}, {size['random_draws']} draws each: "
            f"{known.min():.3f} to {known.max():.3f}, mean {known.mean():.3f}; a share of {size['random_draws']} draws has a "
            f"standard error of {(NOMINAL * (1 - NOMINAL) / size['random_draws']) ** 0.5:.3f}.",
        },
    )


def coverage(index: int, dimension: int, draws: int) -> list[float]:
    """Share of draws inside the intervals of outlier, overlap and edge at one random setting; NaN where none is."""
    model = random_model(index, dimension)
    bars = model.predict().error_bars
    found = [model.simulate(seed) for seed in range(draws)]
    top, second = ([getattr(d, f"{name}_eigenvalue") for d in found] for name in ("top", "second"))
    overlap, above = [d.overlap for d in found], bool(bars.sample.ratio > 1)
    samples = (top, overlap, second if above else top)
    return [
        float(_share(np.array(sample), bar.low, bar.high))
        for sample, bar in zip(samples, (bars.outlier, bars.overlap, bars.edge))
    ]


def _share(drawn: np.ndarray, low: Any, high: Any) -> Any:
    inside = ((drawn >= low) & (drawn <= high)).mean(axis=-1)
    return np.where(np.isfinite(np.ravel(low)) if np.ndim(low) else np.isfinite(low), inside, np.nan)


def draw(dataset: xarray.Dataset) -> Figure:
    """Intervals, and how often they hold."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.9))
    colours = dict(zip(QUANTITIES, (plots.COLOURS[name] for name in ("mean", "published", "optimal"))))
    limits = {"outlier": dataset.limit, "overlap": dataset.limit_overlap}
    for ax, name, letter in zip(axes, ("outlier", "overlap"), "ab"):
        ratio, colour = dataset.ratio, colours[name]
        ax.fill_between(ratio, dataset[f"{name}_low"], dataset[f"{name}_high"], color=colour, alpha=0.3, lw=0)
        ax.plot(ratio, limits[name], color=colour, lw=1)
        low, high = dataset[f"{name}_quantiles"].values.T
        shown = np.isfinite(dataset[f"{name}_low"]) | (name == "overlap")
        ax.vlines(ratio[shown], low[shown], high[shown], color="black", lw=1.2)
        ax.axvline(1, color="grey", lw=0.8, ls=":")
        ax.set_xlabel("q/q_c")
        ax.set_title(f"({letter}) {name}: band and draws")
    axes[0].set_xlim(left=0.9)
    for ax, letter in zip(axes[2:], "cd"):
        ax.axhspan(*WANTED, color="#cfd8dc", lw=0)
        ax.axhline(NOMINAL, color="grey", lw=0.8)
        ax.set_ylim(0.84, 1.0)
        ax.set_title(f"({letter}) coverage")
    for k, name in enumerate(QUANTITIES):
        colour, mark = colours[name], plots.MARKERS[colours[name]]
        axes[2].plot(dataset.ratio, dataset[f"{name}_coverage"], marker=mark, ms=4, color=colour, label=name)
        part = dataset.random_coverage.sel(quantity=name)
        axes[3].plot(np.arange(part.size) + 1 + 0.15 * (k - 1), part, mark, ms=5, color=colour)
    axes[2].set_xlabel("q/q_c")
    axes[2].legend(loc="lower right")
    axes[3].set_xlabel("random setting")
    return figure
