"""Extra: attention with a fixed query: its outliers, which are spurious, and what it learns beyond its query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models.query_attention import AttentionPooling
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"fine": 13, "points": 4, "seeds": 4},
    "paper": {"fine": 41, "points": 7, "seeds": 12},
    "large": {"fine": 81, "points": 11, "seeds": 40},
}
SCORES = ("softmax", "cosh")
LARGEST = 0.6  # of β
ALIGNMENT = 0.5  # of panel b
NORM = 0.4  # of panel c
NAMES = ("signal", "query", "token")
COLOURS = {"softmax": "#CC79A7", "cosh": "#56B4E9", "optimal": "#009E73"}
MARKED = {"signal": "#0072B2", "query": "#D55E00", "token": "#E69F00"}


def across(beta: float) -> AttentionPooling:
    """A query orthogonal to the signal and a large vocabulary: the query's own outlier shows."""
    return AttentionPooling(50, 10000, 4000, Prefix(200, 20), beta, 0.0, 0.5)


def aligned(score: str, beta: float, alignment: float) -> AttentionPooling:
    """A query that knows part of the signal."""
    return AttentionPooling(200, 800, 600, Prefix(200, 40), beta, alignment, 1.0, score)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Outliers by name against β; overlaps against β and against the query's alignment."""
    import xarray as xr

    size = SIZES[scale]
    seeds = range(size["seeds"])
    fine, cosines = np.linspace(0, LARGEST, size["fine"]), np.linspace(0, 1, size["fine"])
    beta, alignment = np.linspace(0, LARGEST, size["points"] + 1)[1:], np.linspace(0, 1, size["points"])
    by_name = np.array([named(across(float(b))) for b in fine])
    tasks = [{"model": across(float(b)), "seed": s} for b in beta for s in seeds]
    leading = np.reshape(
        run_all(one_draw, tasks, label="query: outliers", **options), (beta.size, len(seeds), 4)
    )
    by_beta = np.array([[limits(aligned(f, float(b), ALIGNMENT)) for b in fine] for f in SCORES])
    by_cosine = np.array([[limits(aligned(f, NORM, float(c))) for c in cosines] for f in SCORES])
    tasks = [
        {"model": aligned(f, float(b), ALIGNMENT), "seed": s} for f in SCORES for b in beta for s in seeds
    ]
    tasks += [
        {"model": aligned(f, NORM, float(c)), "seed": s} for f in SCORES for c in alignment for s in seeds
    ]
    found = np.reshape(
        run_all(one_draw, tasks, label="query: overlaps", **options),
        (2, len(SCORES), size["points"], len(seeds), 4),
    )
    optimal = aligned("softmax", 0.0, 0.0).predict().optimal
    one, other = across(0.0), aligned("softmax", 0.0, 0.0)
    return xr.Dataset(
        {
            "edge": ("fine_beta", by_name[:, 0]),
            "outlier": (("name", "fine_beta"), by_name[:, 1:].T),
            "eigenvalues": (("beta", "seed", "rank"), leading[..., :2]),
            "predicted": (("score", "fine_beta", "part"), by_beta[..., :2]),
            "condensed": (("score", "fine_beta"), by_beta[..., 2].astype(int)),
            "predicted_by_alignment": (("score", "fine_alignment", "part"), by_cosine[..., :2]),
            "simulated": (("score", "beta", "seed", "part"), found[0, ..., 2:]),
            "simulated_by_alignment": (("score", "alignment", "seed", "part"), found[1, ..., 2:]),
        },
        coords={
            "fine_beta": fine,
            "beta": beta,
            "fine_alignment": cosines,
            "alignment": alignment,
            "name": list(NAMES),
            "score": list(SCORES),
            "part": ["signal", "orthogonal"],
            "seed": seeds,
        },
        attrs={
            "optimal": float(optimal.overlap),
            "title": "Attention with a fixed query: outliers, spurious ones, and what it learns",
            "caption": f"(a) Eigenvalues times T against β = ‖q‖, query orthogonal to mu: d = {one.dimension}, V = "
            f"{one.vocabulary}, N = {one.samples}, T = {one.positions.length}, prefix 20, ‖mu‖ = {one.signal:g}, softmax. "
            f"Lines: theory, by what makes the outlier (dashed: spurious; token: the heaviest of a typical table); dots: two leading eigenvalues, mean and standard error over {len(seeds)} seeds. (b) "
            "Squared overlap of the signal's eigenvector with mu (solid) and with the part of mu orthogonal to q (dashed) "
            f"against β at cos(q, mu) = {ALIGNMENT:g}; (c) against the cosine at β = {NORM:g}. d = {other.dimension}, V = "
            f"{other.vocabulary}, N = {other.samples}, T = {other.positions.length}, prefix 40, ‖mu‖ = {other.signal:g}; dots: "
            "leading eigenvector of simulations. Green: optimal fixed weights, which know the positions and not mu. "
            "Grey: single tokens end the softmax theory (see docs/theory/attention_query.md, section 7).",
        },
    )


def named(model: AttentionPooling) -> list[float]:
    """Edge, and first outlier of each name (NaN where there is none), times T."""
    found, length = model.predict(condensed=True), model.positions.length
    first = [next((o.eigenvalue for o in found.outliers if o.name == name), np.nan) for name in NAMES]
    return [length * value for value in (found.edge, *first)]


def limits(model: AttentionPooling) -> list[float]:
    """Overlaps with mu and with its part orthogonal to q, and whether the theory of the signal has ended (then NaN)."""
    found = model.predict(condensed=True)
    shown = np.nan if found.condensed else 1.0
    return [shown * found.overlap, shown * found.perpendicular_overlap, found.condensed]


def one_draw(model: AttentionPooling, seed: int) -> list[float]:
    """Two leading eigenvalues times T, and the overlaps of the first eigenvector."""
    found, length = model.simulate(seed), model.positions.length
    return [
        length * found.top_eigenvalue,
        length * found.second_eigenvalue,
        found.overlap,
        found.perpendicular_overlap,
    ]


def draw(dataset: xarray.Dataset) -> Figure:
    """Outliers, overlaps against β, overlaps against the cosine."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2))
    root = np.sqrt(dataset.sizes["seed"])
    grey = plots.COLOURS["grey"]
    left.plot(dataset.fine_beta, dataset.edge, ls=plots.DASHES[grey], color=grey, label="edge of the bulk")
    for name in dataset.name.values:
        if not dataset.outlier.sel(name=name).notnull().any():
            continue
        line = {"signal": "-", "query": "--", "token": ":"}[str(name)]
        label = str(name) if name == "signal" else f"{name} (spurious)"
        left.plot(
            dataset.fine_beta, dataset.outlier.sel(name=name), line, color=MARKED[str(name)], label=label
        )
    for rank, (label, face) in enumerate((("largest, simulated", "black"), ("second, simulated", "white"))):
        part = dataset.eigenvalues.isel(rank=rank)
        left.errorbar(
            dataset.beta,
            part.mean("seed"),
            yerr=part.std("seed", ddof=1) / root,
            fmt="o",
            ms=5,
            mfc=face,
            lw=1,
            capsize=2,
            color="black",
            label=label,
        )
    signal = dataset.outlier.sel(name="signal")
    left.set_ylim(float(dataset.edge.min()) * 0.9, float(signal.max()) * 1.15)
    left.set_ylabel("T × eigenvalue")
    left.set_title("(a) outliers, query orthogonal to mu")
    left.legend(loc="upper left", fontsize=8)
    ended = dataset.condensed.sel(score="softmax").values.astype(bool)
    if ended.any():
        first = float(dataset.fine_beta.values[ended].min())
        middle.axvspan(first, LARGEST, color="#dddddd", lw=0)
        middle.text(first, 0.02, "softmax theory ends ", ha="right", fontsize=8, color="#555555")
    for ax, x, theory, at, simulated in (
        (middle, dataset.fine_beta, dataset.predicted, dataset.beta, dataset.simulated),
        (
            right,
            dataset.fine_alignment,
            dataset.predicted_by_alignment,
            dataset.alignment,
            dataset.simulated_by_alignment,
        ),
    ):
        ax.axhline(dataset.attrs["optimal"], color=COLOURS["optimal"], label="optimal fixed weights")
        for score in dataset.score.values:
            for part, line in (("signal", "-"), ("orthogonal", "--")):
                values = simulated.sel(score=score, part=part)
                plots.curve(
                    ax,
                    x,
                    theory.sel(score=score, part=part),
                    at=at,
                    simulated=values.mean("seed"),
                    error=values.std("seed", ddof=1) / root,
                    colour=COLOURS[str(score)],
                    label=f"{score}, {'mu' if part == 'signal' else 'part of mu orthogonal to q'}",
                    line=line,
                )
        ax.set_ylim(0, 1)
        ax.set_ylabel("squared overlap")
    for ax in (left, middle):
        ax.set_xlabel("norm of the query β")
    right.set_xlabel("cosine between query and mu")
    middle.set_title("(b) overlaps against β")
    right.set_title("(c) overlaps against the cosine")
    right.legend(fontsize=8, loc="lower left", handlelength=4)
    return figure
