"""Drawing on given Axes: never computes, never saves. Needs the ``plot`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from resolvent.laws import Law

__all__ = ["COLOURS", "STYLE", "alignment_map", "curve", "spectrum"]

# Okabe and Ito's palette, told apart by colour-blind readers; one colour a weighting, everywhere
COLOURS = {
    "mean": "#0072B2",
    "causal": "#E69F00",
    "optimal": "#009E73",
    "learned": "#CC79A7",
    "exact": "#0072B2",
    "published": "#D55E00",
    "grey": "#777777",
}

STYLE: Any = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "resolvent",
}


def spectrum(
    ax: Axes,
    eigenvalues: Any,
    law: Law,
    *,
    predicted: float | None = None,
    colour: str = COLOURS["mean"],
    label: str = "density",
    bins: int | None = None,
) -> Axes:
    """Draw a histogram of eigenvalues under a law's density; mark outliers, observed and predicted.

    Parameters
    ----------
    ax : matplotlib Axes
    eigenvalues : array
        Non-zero ones are drawn; the histogram's area is their share, as the density's is.
    law : Law
    predicted : float, optional
        Outlier predicted by theory; NaN or None draws none.
    colour, label : str
        Of the density.
    bins : int, optional
        Number of bins over the bulk.
    """
    values = np.asarray(eigenvalues)
    left, right = law.support[0]
    shown = values[values > 1e-9 * values.max()]
    inside = shown[shown <= right * 1.02]
    bins = bins or int(np.clip(np.sqrt(inside.size) * 2, 15, 80))
    counts, edges = np.histogram(inside, bins=bins)
    heights = counts / np.diff(edges) / values.size
    ax.stairs(heights, edges, fill=True, color="#cfd8dc", label="eigenvalues")
    x = middle(left, right)
    ax.plot(x, law.pdf(x), color=colour, label=label)
    observed = shown[shown > right * 1.02]
    top = heights.max() * 1.15
    if observed.size:
        # height only lifts the marks off the axis, so that they can be seen
        ax.plot(
            observed, np.full(observed.size, 0.03 * top), "o", color="#37474f", ms=5, label="outside the bulk"
        )
    if predicted is not None and np.isfinite(predicted):
        ax.axvline(predicted, color=COLOURS["published"], ls="--", lw=1.4, label="predicted outlier")
    ax.set_ylim(0, top)
    ax.set_xlabel("eigenvalue")
    ax.set_ylabel("density")
    return ax


def middle(left: float, right: float, n: int = 600) -> np.ndarray:
    """Points of an interval, denser towards both ends, ends excluded."""
    angle = np.linspace(0, np.pi, n + 2)[1:-1]
    return (left + right) / 2 - (right - left) / 2 * np.cos(angle)


def curve(
    ax: Axes,
    x: Any,
    theory: Any,
    *,
    simulated: Any = None,
    error: Any = None,
    at: Any = None,
    colour: str,
    label: str,
    line: str = "-",
) -> Axes:
    """Draw a theory curve and, with error bars, simulated points at `x` (or `at`)."""
    if theory is not None:
        ax.plot(x, theory, line, color=colour, label=label)
    if simulated is not None:
        ax.errorbar(
            x if at is None else at,
            simulated,
            yerr=error,
            fmt="o",
            ms=4,
            color=colour,
            capsize=2,
            lw=1,
            label=label if theory is None else None,
        )
    return ax


def alignment_map(ax: Axes, signal: Any, delta: Any, alignment: Any, *, boundary: Any = None) -> QuadMesh:
    """Draw alignment over (‖mu‖, delta), with the phase boundary dashed; returns the mesh."""
    mesh = ax.pcolormesh(signal, delta, alignment, vmin=0, vmax=1, cmap="viridis", rasterized=True)
    if boundary is not None:
        ax.plot(boundary, delta, "--", color="white", lw=1.6)
    ax.set_xlim(np.min(signal), np.max(signal))
    ax.set_xlabel("signal ‖μ‖")
    ax.set_ylabel("delta = d/V")
    ax.grid(False)
    return mesh
