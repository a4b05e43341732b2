"""Extra: edge, outlier and overlap of short sequences, by three theories and by simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.finite_length import THEORIES
from resolvent.models import PooledSequences
from resolvent.models.claims import TRACY_WIDOM_MEANS
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"dimension": 200, "seeds": 300, "longest_population": 3},
    "paper": {"dimension": 800, "seeds": 60, "longest_population": 5},
    "large": {"dimension": 1600, "seeds": 100, "longest_population": 5},
}
LENGTHS = (1, 2, 3, 5, 10, 40)
SIGNAL = 2.1
QUANTITIES = ("edge", "outlier", "overlap")


def setting(dimension: int, length: int, signal: float) -> PooledSequences:
    """Independent signs, so that q = ‖mu‖² − 1 at every length, and delta = gamma = 1."""
    return PooledSequences(
        dimension, dimension, dimension, Prefix(length, 1), "mean", signal, table="balanced"
    )


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Theories and simulations against T."""
    import xarray as xr

    size = SIZES[scale]
    dimension, seeds = size["dimension"], size["seeds"]
    predicted = np.full((len(THEORIES), len(LENGTHS), 3), np.nan)
    for i, theory in enumerate(THEORIES):
        for j, length in enumerate(LENGTHS):
            if i == 2 and length > size["longest_population"]:
                continue
            found = setting(dimension, length, SIGNAL).predict(theory=theory)
            predicted[i, j] = [float(getattr(found, name)) / _unit(found, name) for name in QUANTITIES]
            if i == 2:
                predicted[i, j, 0] = np.nan  # trees of unbounded degrees have no edge
    tasks = [
        {"dimension": dimension, "length": t, "seed": s}
        for t in LENGTHS
        for s in range(1000 * t, 1000 * t + seeds)
    ]
    drawn = np.reshape(
        run_all(measured, tasks, label="Finite length: simulations", **options), (len(LENGTHS), seeds, 3)
    )
    error = drawn.std(axis=1, ddof=1) / np.sqrt(seeds)
    return xr.Dataset(
        {
            "predicted": (("theory", "length", "quantity"), predicted),
            "simulated": (("length", "quantity"), drawn.mean(axis=1)),
            "error": (("length", "quantity"), error),
        },
        coords={"theory": list(THEORIES), "length": list(LENGTHS), "quantity": list(QUANTITIES)},
        attrs={
            "title": "Short sequences: three theories",
            "caption": f"Mean pooling over T tokens of independent signs, delta = gamma = 1, d = {dimension}, balanced table, {seeds} "
            "draws (points, one standard error); eigenvalues in units of kappa, less what d, V and N take off at infinite "
            "length. (a) Right edge: mean top eigenvalue without signal. Below T = 3 single frequent tokens lie beyond the edge. "
            f"(b) Outlier and (c) squared overlap with mu at ‖mu‖ = {SIGNAL:g}, of whichever of the five leading eigenvectors "
            "overlaps most. Population dynamics up to T = "
            f"{size['longest_population']}.",
        },
    )


def _unit(found: Any, name: str) -> float:
    return 1.0 if name == "overlap" else float(found.kappa)


def measured(dimension: int, length: int, seed: int) -> list[float]:
    """Edge without signal (its finite-size bias taken off), outlier and overlap with it, in one draw."""
    from resolvent.spectrum import covariance_spectrum
    from resolvent.tables import token_signs

    model = setting(dimension, length, 0.0)
    kappa = 1 / length
    table, matrix = model._draw(seed, np.dtype(float))
    top = covariance_spectrum(matrix @ table)[0][0]
    table[:, 0] += SIGNAL * token_signs(dimension)
    values, vectors = covariance_spectrum(matrix @ table, vectors=5)
    signal = int(np.argmax(vectors[0] ** 2))
    limit = model.predict(theory=THEORIES[0])
    sample = limit.error_bars.sample
    bias = sample.edge_centre() + TRACY_WIDOM_MEANS[0] * sample.edge_scale - float(limit.edge)
    limit = replace(model, signal=SIGNAL).predict(theory=THEORIES[0])
    moved = float(limit.error_bars.outlier.value - limit.outlier)
    return [(top - bias) / kappa, (values[signal] - moved) / kappa, float(vectors[0, signal] ** 2)]


def draw(dataset: xarray.Dataset) -> Figure:
    """Edge, outlier and overlap against the length."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.9))
    styles = (("grey", "-", ""), ("mean", "--", ""), ("causal", ":", "s"))
    titles = ("(a) right edge / kappa", "(b) outlier / kappa", "(c) squared overlap")
    for ax, name, title in zip(axes, dataset["quantity"].values, titles):
        for theory, (colour, line, mark) in zip(dataset.theory.values, styles):
            part = dataset.predicted.sel(theory=theory, quantity=name)
            if np.isfinite(part).any():
                ax.plot(
                    dataset.length,
                    part,
                    line,
                    marker=mark,
                    ms=5,
                    mfc="none",
                    lw=1.6,
                    color=plots.COLOURS[colour],
                    label=str(theory).replace("1/T_eff^2", "1/T²"),
                )
        ax.errorbar(
            dataset.length,
            dataset.simulated.sel(quantity=name),
            yerr=dataset.error.sel(quantity=name),
            fmt="o",
            ms=4,
            lw=1,
            capsize=2,
            color="black",
            label="simulation",
        )
        ax.set_xscale("log")
        ax.set_xticks(dataset.length.values, [str(t) for t in dataset.length.values])
        ax.minorticks_off()
        ax.set_xlabel("sequence length T")
        ax.set_title(title)
    axes[2].legend(loc="lower right")
    return figure
