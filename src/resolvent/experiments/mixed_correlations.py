"""Extra: correlations drawn for each sequence: the spectrum knows their mean, its spread and accuracy do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.fluctuations import FiniteSample, pooled_kurtosis
from resolvent.mixed_positions import MixedRidge
from resolvent.models import PooledRidge, PooledSequences
from resolvent.positions import Mixture, Prefix, SingleFactor
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 160, "draws": 60, "classifiers": 6},
    "paper": {"dimension": 400, "draws": 300, "classifiers": 20},
    "large": {"dimension": 800, "draws": 600, "classifiers": 40},
}
LENGTH, SIGNAL, RIDGE = 40, 1.0, 0.05
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
GRID = 40
KINDS = ("some sequences share fully", "all sequences share a little")


def sequences(dimension: int, share: float, kind: str) -> PooledSequences:
    """Off-diagonal correlations `share` in the mean: one of two ways to have the same R."""
    everything = Prefix(LENGTH, LENGTH)
    positions: Any = SingleFactor(np.full(LENGTH, np.sqrt(share)))
    if kind == KINDS[0]:
        positions = Mixture([everything, Prefix(LENGTH, 0)], [share, 1 - share]) if share < 1 else everything
    return PooledSequences(dimension, 3 * dimension, dimension, positions, "mean", SIGNAL)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Outlier, overlap, their spread and ridge accuracy of two models of one mean R."""
    import xarray as xr

    size = SIZES[scale]
    d, draws, many = size["dimension"], size["draws"], size["classifiers"]
    grid = np.geomspace(min(SHARES), 1.0, GRID)
    points = [(kind, share) for kind in KINDS for share in SHARES]
    tasks = [
        {"dimension": d, "kind": kind, "share": share, "seed": seed}
        for kind, share in points
        for seed in range(draws)
    ]
    spectra = np.reshape(
        run_all(top_pair, tasks, label="Mixed correlations: spectra", **options),
        (len(KINDS), len(SHARES), draws, 2),
    )
    tasks = [
        {"dimension": d, "kind": kind, "share": share, "seed": seed}
        for kind, share in points
        for seed in range(many)
    ]
    hits = np.reshape(
        run_all(simulated_accuracy, tasks, label="Mixed correlations: ridge", **options),
        (len(KINDS), len(SHARES), many),
    )
    limits = [sequences(d, share, KINDS[1]).predict() for share in grid]
    over = ("kind", "share")
    outliers, overlaps = spectra[..., 0], spectra[..., 1]
    centre = np.array([sequences(d, share, KINDS[1]).predict().outlier for share in SHARES])[:, None]
    outliers = outliers / centre  # relative
    spread = outliers.std(axis=-1, ddof=1)
    return xr.Dataset(
        {
            "outlier": ("grid", [p.outlier for p in limits]),
            "overlap": ("grid", [p.overlap for p in limits]),
            "spread": (("kind", "grid"), [[_spread(d, x, kind) for x in grid] for kind in KINDS]),
            "accuracy": (("kind", "grid"), [[_accuracy(d, x, kind) for x in grid] for kind in KINDS]),
            "simulated_outlier": (over, outliers.mean(axis=-1) * centre[:, 0]),
            "outlier_error": (over, spread * centre[:, 0] / np.sqrt(draws)),
            "simulated_overlap": (over, overlaps.mean(axis=-1)),
            "overlap_error": (over, overlaps.std(axis=-1, ddof=1) / np.sqrt(draws)),
            "simulated_spread": (over, spread * np.sqrt(d)),
            "spread_error": (over, spread * np.sqrt(d / (2 * (draws - 1)))),
            "simulated_accuracy": (over, hits.mean(axis=-1)),
            "accuracy_error": (over, hits.std(axis=-1, ddof=1) / np.sqrt(many)),
        },
        coords={"kind": list(KINDS), "share": list(SHARES), "grid": grid},
        attrs={
            "title": "Correlations drawn for each sequence",
            "caption": f"Two models of one mean R, ones on the diagonal and rho off it: a share rho of the sequences has {LENGTH} "
            "equal signs and the others independent ones, or all sequences follow their label with correlation √rho. "
            f"d = {d}, V = 3d, N = d, mean weights, ‖mu‖ = {SIGNAL:g}. (a) Outlier and overlap with mu: one curve, the limit, "
            f"for both ({draws} draws). (b) Its relative standard deviation over draws, times √d: it knows the fourth "
            f"moment of the pooled signs. (c) Test accuracy of ridge classification (penalty {RIDGE:g}), {many} classifiers: it knows the "
            "whole law of the pooled signs. Curves are theory, points simulation with standard errors. "
            f"Rare strong sequences make a finite sample worse than the limit: at rho = {SHARES[0]:g} it holds about "
            f"{round(d * SHARES[0])} of them.",
        },
    )


def top_pair(dimension: int, kind: str, share: float, seed: int) -> tuple[float, float]:
    """Top eigenvalue and overlap of one draw."""
    draw = sequences(dimension, share, kind).simulate(seed, top=2)
    return draw.top_eigenvalue, draw.overlap


def simulated_accuracy(dimension: int, kind: str, share: float, seed: int) -> float:
    """Test accuracy of one classifier."""
    model = sequences(dimension, share, kind)
    mixed = isinstance(model.positions, Mixture)
    classifier = MixedRidge(model, RIDGE) if mixed else PooledRidge(model, RIDGE)
    return classifier.simulate(seed).accuracy


def _accuracy(dimension: int, share: float, kind: str) -> float:
    model = sequences(dimension, share, kind)
    mixed = isinstance(model.positions, Mixture)
    return float((MixedRidge(model, RIDGE) if mixed else PooledRidge(model, RIDGE)).predict().accuracy)


def _spread(dimension: int, share: float, kind: str) -> float:
    model = sequences(dimension, share, kind)
    prediction, w = model.predict(), model.pooling_weights
    parts = [(1.0, model.positions)]
    if isinstance(model.positions, Mixture):
        parts = list(zip(model.positions.probabilities, model.positions.models))
    fourth = sum(p * pooled_kurtosis(part, w) * part.pooled_signal(w) ** 2 for p, part in parts)
    kurtosis = fourth / prediction.alpha**2
    size = (model.dimension, model.vocabulary, model.samples)
    sample = FiniteSample(*size, prediction.alpha, prediction.kappa, kurtosis, SIGNAL)
    return float(sample.outlier_error / sample.outlier) * np.sqrt(dimension)


def draw(dataset: xarray.Dataset) -> Figure:
    """Mean spectrum, its spread, accuracy."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    colours = dict(zip(dataset.kind.values, (plots.COLOURS["published"], plots.COLOURS["mean"])))
    second = left.twinx()
    for axis, name, line in ((left, "overlap", "-"), (second, "outlier", "--")):
        axis.plot(dataset.grid, dataset[name], line, color=plots.COLOURS["grey"], label=f"{name}, both")
        for kind, colour in colours.items():
            part = dataset.sel(kind=kind)
            face = colour if name == "overlap" else "white"
            axis.errorbar(
                part.share,
                part[f"simulated_{name}"],
                yerr=part[f"{name}_error"],
                fmt="o",
                ms=5,
                lw=1,
                capsize=2,
                color=colour,
                mfc=face,
                alpha=0.8,
            )
    left.set_ylabel("squared overlap with μ (filled)")
    second.set_ylabel("outlier (open)")
    second.set_yscale("log")
    second.set_yticks([0.2, 0.5, 1.0], ["0.2", "0.5", "1"])
    second.minorticks_off()
    second.grid(False)
    second.spines["right"].set_visible(True)
    handles = [*left.get_legend_handles_labels()[0], *second.get_legend_handles_labels()[0]]
    left.legend(handles, [h.get_label() for h in handles], loc="upper left")
    left.set_title("(a) the mean of R is all that the spectrum knows")
    for axis, name in ((middle, "spread"), (right, "accuracy")):
        for kind, colour in colours.items():
            part = dataset.sel(kind=kind)
            plots.curve(
                axis,
                part.grid,
                part[name],
                at=part.share,
                simulated=part[f"simulated_{name}"],
                error=part[f"{name}_error"],
                colour=colour,
                label=str(kind),
            )
        axis.legend()
    middle.set_ylim(top=1.2 * middle.get_ylim()[1])  # room for the legend
    middle.set_ylabel("relative standard deviation of the outlier · √d")
    middle.set_title("(b) its spread knows more")
    right.set_ylabel("test accuracy of ridge")
    right.set_title("(c) so does accuracy")
    for axis in (left, middle, right):
        axis.set_xscale("log")
        axis.set_xticks(dataset.share.values, [f"{x:g}" for x in dataset.share.values])
        axis.minorticks_off()
        axis.set_xlabel("mean correlation rho")
    return figure
