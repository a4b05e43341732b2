"""Drawing on given Axes: never computes, never saves. Needs the ``plot`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from resolvent.diagnosis import Diagnosis
    from resolvent.laws import Law

__all__ = ["COLOURS", "DASHES", "MARKERS", "STYLE", "alignment_map", "curve", "diagnosis", "spectrum"]

# Okabe and Ito's palette, told apart by colour-blind readers; one colour a weighting or predictor, everywhere
COLOURS = {
    "mean": "#0072B2",
    "causal": "#E69F00",
    "optimal": "#009E73",
    "learned": "#CC79A7",
    "attention": "#CC79A7",
    "pooled": "#0072B2",
    "vectorised": "#E69F00",
    "exact": "#0072B2",
    "published": "#D55E00",
    "grey": "#777777",
    "h3": "#E69F00",
    "per_channel": "#009E73",
    "bayes": "#0072B2",
}

# and one marker and one dash a colour, for print in black and white
MARKERS = {
    "#0072B2": "o",
    "#E69F00": "s",
    "#009E73": "^",
    "#CC79A7": "D",
    "#D55E00": "v",
    "#777777": "X",
}
DASHES: Any = {
    "#0072B2": "-",
    "#E69F00": (0, (5, 1.5)),
    "#009E73": (0, (6, 1.5, 1.2, 1.5)),
    "#CC79A7": (0, (1.2, 1.2)),
    "#D55E00": (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
    "#777777": (0, (3, 1, 3, 1, 1, 1)),
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
    beyond: float | None = None,
    log: bool = False,
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
    beyond : float, optional
        Eigenvalues above it are marked one by one; 2 % above the right edge by default.
    log : bool, default False
        Logarithmic eigenvalues, with densities of the logarithm, so that areas stay shares.
    """
    values = np.asarray(eigenvalues)
    if beyond is None:
        beyond = law.support[-1][1] * 1.02
    shown = values[values > 1e-9 * values.max()]
    inside = shown[shown <= beyond]
    bins = bins or int(np.clip(np.sqrt(inside.size) * 2, 15, 80))
    scaled = np.log(inside) if log else inside
    counts, edges = np.histogram(scaled, bins=bins)
    heights = counts / np.diff(edges) / values.size
    if inside.size:
        ax.stairs(heights, np.exp(edges) if log else edges, fill=True, color="#cfd8dc", label="eigenvalues")
    top = heights.max() * 1.15
    for i, (left, right) in enumerate(law.support):
        x = middle(left, right)
        density = law.pdf(x) * (x if log else 1)
        ax.plot(x, density, color=colour, label=label if i == 0 else None)
        top = top or density.max() * 1.15
    observed = shown[shown > beyond]
    if observed.size:
        # height only lifts the marks off the axis, so that they can be seen
        ax.plot(
            observed, np.full(observed.size, 0.03 * top), "o", color="#37474f", ms=5, label="outside the bulk"
        )
    if predicted is not None and np.isfinite(predicted):
        ax.axvline(predicted, color=COLOURS["published"], ls="--", lw=1.4, label="predicted outlier")
    if log:
        ax.set_xscale("log")
    ax.set_ylim(0, top)
    ax.set_xlabel("eigenvalue")
    ax.set_ylabel("density of the log eigenvalue" if log else "density")
    return ax


def diagnosis(ax: Axes, report: Diagnosis) -> Axes:
    """Draw a diagnosis: eigenvalues under the law of the bulk, Tracy–Widom threshold and what lies beyond it.

    The axis is logarithmic where an eigenvalue lies above five times the right edge. Zeros of d > N are
    counted in the legend. Where counting is void, nothing is marked.

    Parameters
    ----------
    ax : matplotlib Axes
    report : Diagnosis
    """
    rule = report.count("Tracy-Widom")
    far = bool(report.eigenvalues[0] > 5 * report.law.support[-1][1])
    zeros = int((report.eigenvalues <= 0).sum())
    label = f"{_law_name(report)} ({zeros} eigenvalues are zero)" if zeros else _law_name(report)
    beyond = rule.threshold if rule.void is None else np.inf
    spectrum(ax, report.eigenvalues, report.law, label=label, beyond=beyond, log=far)
    if rule.void is None:
        ax.axvline(
            beyond,
            color=COLOURS["published"],
            ls="--",
            lw=1.4,
            label=f"Tracy-Widom threshold, p < {report.level:g}",
        )
    ax.set_ylim(0, ax.get_ylim()[1] * (1.3 if far else 1.0))
    degrees = "N − 1" if report.centred else "N"
    whitened = "" if report.null is None else ", null whitened"
    ax.set_xlabel(f"eigenvalue of the covariance (sum over rows / ({degrees}){whitened})")
    ax.set_title(_verdict(report))
    ax.legend(loc="upper left" if far else "upper right")
    return ax


def _law_name(report: Diagnosis) -> str:
    """The law in a few words; its parameters stay with the printed report."""
    if report.law_name == repr(report.law):
        return type(report.law).__name__
    return report.law_name.partition(",")[0].replace("Marchenko-Pastur", "Marchenko–Pastur")


def _verdict(report: Diagnosis) -> str:
    """What a diagnosis says, in one short line."""
    void = report.count("Tracy-Widom").void
    if void is None:
        many = "" if report.components == 1 else "s"
        return f"{report.components} real component{many} (ratio {report.ratio:.2g}, {_law_name(report)})"
    reasons = {
        "ratio": "ratio below 0.05",
        "only": "too few samples",
        "no bulk": "no bulk law fits",
    }
    reason = next(
        (short for start, short in reasons.items() if void.startswith(start)), "not one noise level"
    )
    return f"not countable: {reason}"


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
    line: Any = None,
) -> Axes:
    """Draw a theory curve and, with error bars, simulated points at `x` (or `at`).

    Points take the marker of their colour (`MARKERS`), and the legend shows it. A curve is solid where points tell it
    from others, else it takes the dash of its colour (`DASHES`); `line` gives another.
    """
    mark = MARKERS.get(colour, "o")
    if line is None:
        line = "-" if simulated is not None else DASHES.get(colour, "-")
    if theory is not None:
        ax.plot(x, theory, ls=line, color=colour)
    if simulated is not None:
        ax.errorbar(
            x if at is None else at, simulated, yerr=error, fmt=mark, ms=4, color=colour, capsize=2, lw=1
        )
    ax.plot(
        [],
        [],
        ls=line if theory is not None else "",
        marker=mark if simulated is not None else "",
        ms=4,
        color=colour,
        label=label,
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
