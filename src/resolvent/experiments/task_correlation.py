"""Extra: what prompts that know of their query, or of their task, are worth: retrieved and aligned examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.in_context import AlignedTasks, RetrievedTasks
from resolvent.models.in_context import InContextRegression
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"prompts": 20_000, "lengths": 7},
    "paper": {"prompts": 200_000, "lengths": 12},
    "large": {"prompts": 1_000_000, "lengths": 16},
}
DIMENSION, LONGEST, COMPARED = 20, 60, 20
CORRELATIONS = (0.0, 0.2, 0.4, 0.6)
ALIGNMENTS = (0.2, 0.4)
QUERIES = ("aligned", "independent", "independent_scaled")
LARGER = (20, 80, 320)  # dimensions at which the approximation is held against the exact risk
SETTINGS = (
    *(("retrieved", a) for a in CORRELATIONS),
    *((query, a) for query in QUERIES for a in ALIGNMENTS),
)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Exact and approximate risks of every setting at all lengths; simulated ones at some."""
    import xarray as xr

    size = SIZES[scale]
    fine = np.arange(1, LONGEST + 1)
    lengths = np.unique(np.round(np.geomspace(3, LONGEST, size["lengths"])).astype(int))
    theory = np.array([[risks(kind, a, DIMENSION, int(n)) for n in fine] for kind, a in SETTINGS])
    exact, approximate = theory[..., 0], theory[..., 1]
    tasks = [
        {"kind": kind, "correlation": a, "length": int(n), "prompts": size["prompts"], "seed": seed}
        for seed, (kind, a, n) in enumerate((kind, a, n) for kind, a in SETTINGS for n in lengths)
    ]
    simulated = np.reshape(
        run_all(simulated_risk, tasks, label="Task correlation", **options),
        (len(SETTINGS), lengths.size, 2),
    )
    z = (simulated[..., 0] - exact[:, lengths - 1]) / simulated[..., 1]
    error = np.array(
        [
            [np.subtract(1, 1 / np.divide(*at)) for at in (scaled(kind, a, d) for d in LARGER)]
            for kind, a in SETTINGS
        ]
    )
    named = {
        f"{'retrieved, a' if kind == 'retrieved' else kind + ' query, a'} = {a:g}": error[i]
        for i, (kind, a) in enumerate(SETTINGS)
        if a > 0
    }
    parts = "; ".join(f"{name}: {', '.join(f'{e:.1%}' for e in row)}" for name, row in named.items())
    return xr.Dataset(
        {
            "exact": (("setting", "fine_length"), exact / DIMENSION),
            "approximate": (("setting", "fine_length"), approximate / DIMENSION),
            "simulated": (("setting", "length"), simulated[..., 0] / DIMENSION),
            "standard_error": (("setting", "length"), simulated[..., 1] / DIMENSION),
            "approximation_error": (("setting", "dimension"), error),
        },
        coords={
            "kind": ("setting", [kind for kind, _ in SETTINGS]),
            "correlation": ("setting", [a for _, a in SETTINGS]),
            "fine_length": fine,
            "length": lengths,
            "dimension": list(LARGER),
        },
        attrs={
            "title": "Examples that know of the query or the task",
            "caption": f"Least risk of one layer of linear attention over d, for d = {DIMENSION} and labels without noise, "
            "against the number of examples n. Solid lines: exact; thin dashed lines: the approximation that multiplies n; "
            f"dots: mean and standard error over {size['prompts']:,} fresh prompts (largest of {z.size} deviations "
            f"{np.abs(z).max():.1f} standard errors). (a) Examples retrieved for the query, correlation a: n is worth "
            "(a²d + 1) n. (b, c) Features along the task vector, x_i ~ N(aβ, I), for three conventions of the query. "
            "Aligned: drawn like the examples, worth (a²d + 1)² n. Independent: x ~ N(0, I), y = βᵀx, worth (a²d + 1) n. "
            "Independent, scaled: the same with the examples' factor, y = βᵀx/√(a²d + 1), so that the label itself is "
            f"smaller. The approximation is below the exact risk at n = d = {COMPARED} and, with a²d held fixed, at n = d = "
            f"{', '.join(map(str, LARGER[1:]))} by: {parts}.",
        },
    )


def law(kind: str, correlation: float, dimension: int) -> RetrievedTasks | AlignedTasks:
    """The prompts of a setting, without noise."""
    if kind == "retrieved":
        return RetrievedTasks(dimension, correlation)
    return AlignedTasks(dimension, correlation, kind)


def risks(kind: str, correlation: float, dimension: int, length: int) -> tuple[float, float]:
    """Exact and approximate least risk of attention."""
    found = InContextRegression(law(kind, correlation, dimension), length).predict()
    assert found.multiplier is not None
    return found.attention, found.multiplier.risk


def scaled(kind: str, correlation: float, dimension: int) -> tuple[float, float]:
    """The two risks at n = d, with the value of a²d that the figure has at its own dimension."""
    return risks(kind, correlation * np.sqrt(DIMENSION / dimension), dimension, dimension)


def simulated_risk(
    kind: str, correlation: float, length: int, prompts: int, seed: int
) -> tuple[float, float]:
    """Mean squared error of optimal attention on prompts drawn at random, and its standard error."""
    model = InContextRegression(law(kind, correlation, DIMENSION), length)
    found = model.simulate(seed, prompts=prompts, bayes=False)
    return found.attention, found.standard_error["attention"]


def draw(dataset: xarray.Dataset) -> Figure:
    """Retrieved examples on the left; then one panel an alignment, one colour a convention of the query."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.3), sharey=True)
    parts = [dataset.isel(setting=i) for i in range(dataset.sizes["setting"])]
    retrieved = [part for part in parts if part.kind.item() == "retrieved"]
    for part, colour in zip(retrieved, ("grey", "mean", "optimal", "causal")):
        a = part.correlation.item()
        _line(axes[0], part, plots.COLOURS[colour], f"a = {a:g}, n worth {a**2 * DIMENSION + 1:.3g} n")
    axes[0].set_title("(a) retrieved for the query")
    colours = dict(zip(QUERIES, ("published", "mean", "optimal")))
    for ax, letter, a in zip(axes[1:], "bc", ALIGNMENTS):
        k = a**2 * DIMENSION + 1
        _line(ax, retrieved[0], plots.COLOURS["grey"], "a = 0, every query")
        for part in parts:
            kind = part.kind.item()
            if kind != "retrieved" and part.correlation.item() == a:
                worth = f"{k**2 if kind == 'aligned' else k:.3g} n"
                name = kind.replace("_", ", ")
                _line(ax, part, plots.COLOURS[colours[kind]], f"query {name}: worth {worth}")
        ax.set_title(f"({letter}) along the task, a = {a:g}")
    axes[0].set_ylabel("risk / d")
    for ax in axes:
        ax.plot([], [], "--", lw=1, color="black", label="approximation")
        ax.set_yscale("log")
        ax.set_ylim(0.008, 1.2)
        ax.set_xlabel("examples n")
        ax.legend(loc="lower left", fontsize=8.5)
    return figure


def _line(ax: Axes, part: xarray.Dataset, colour: str, label: str) -> None:
    from resolvent import plots

    ax.plot(part.fine_length, part.approximate, "--", lw=1, color=colour)
    plots.curve(
        ax,
        part.fine_length,
        part.exact,
        at=part.length,
        simulated=part.simulated,
        error=part.standard_error,
        colour=colour,
        label=label,
    )
