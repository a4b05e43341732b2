"""In-context regression: risk of trained attention and H3 layers against the exact optimum, by context length."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.in_context import GaussianTasks
from resolvent.models.in_context import InContextRegression
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "dimension": 5,
        "lengths": (3, 8, 15),
        "steps": 400,
        "batch": 512,
        "rate": 0.03,
        "prompts": 20_000,
    },
    "paper": {
        "dimension": 20,
        "lengths": (5, 10, 20, 30, 40, 50, 60),
        "steps": 3000,
        "batch": 1024,
        "rate": 0.01,
        "prompts": 100_000,
    },
    "large": {
        "dimension": 20,
        "lengths": (5, 10, 20, 30, 40, 50, 60, 80, 100),
        "steps": 10_000,
        "batch": 2048,
        "rate": 0.01,
        "prompts": 400_000,
    },
}
PANELS = ("noiseless", "noisy", "anisotropic")
LAYERS = ("attention", "h3")
NOISE = 1.0


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if find_spec("torch"):
        return None
    return "needs PyTorch: pip install 'resolvent[torch]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Exact risks of the optimum and of the gradient step that each trained layer has learned."""
    import xarray as xr

    size = SIZES[scale]
    d, lengths = size["dimension"], size["lengths"]
    fine = np.union1d(np.geomspace(1, 1.15 * lengths[-1], 40).astype(int), lengths)
    exact = [[model(panel, d, int(n)).predict() for n in fine] for panel in PANELS]
    keys = ("dimension", "steps", "batch", "rate", "prompts")
    tasks = [
        {"panel": panel, "layer": layer, "length": n, **{key: size[key] for key in keys}}
        for panel in PANELS
        for layer in LAYERS
        for n in lengths
    ]
    results = np.reshape(
        run_all(learned, tasks, label="in-context equivalence", **options),
        (len(PANELS), len(LAYERS), len(lengths), 5),
    )
    dims = ("panel", "layer", "length")
    return xr.Dataset(
        {
            "optimum": (("panel", "fine_length"), [[p.attention for p in row] for row in exact]),
            "zero": (("panel", "fine_length"), [[p.zero for p in row] for row in exact]),
            "bayes": (("panel", "fine_length"), [[p.bayes for p in row] for row in exact]),
            "risk": (dims, results[..., 0]),
            "excess": (dims, results[..., 1]),
            "excess_error": (dims, results[..., 2]),
            "rest": (dims, results[..., 3]),
            "reached": (dims, results[..., 4] > 0),
        },
        coords={"panel": list(PANELS), "layer": list(LAYERS), "length": list(lengths), "fine_length": fine},
        attrs={
            "title": "One layer of attention, or of H3, learns one step of preconditioned gradient descent",
            "caption": f"Risk against the number n of examples in the prompt, d = {d}, isotropic features. Noiseless and "
            f"anisotropic panels without label noise, the noisy one with variance {NOISE:g}; anisotropic: task covariance "
            "proportional to 1/k, trace d. Lines: exact optimum of linear attention (H3's is the same), the risk of "
            "predicting zero, and Bayes (ridge regression, 20,000 prompts). Dots: layers with all their parameters, trained "
            f"by Adam ({size['steps']} steps of {size['batch']} fresh prompts, rate {size['rate']:g} falling along a cosine, "
            "aligned start, one seed); the risk shown is the exact one of the step read out of the trained layer. Below: "
            f"its part above the optimum. Largest measured excess of a whole layer over the optimum, relative, on "
            f"{size['prompts']:,} fresh prompts: {_worst(results, exact, fine, lengths):.1e}.",
        },
    )


def _worst(results: np.ndarray, exact: list, fine: np.ndarray, lengths: tuple[int, ...]) -> float:
    """Largest excess, relative to the optimum at that length."""
    curves = [[p.attention for p in row] for row in exact]
    optimum = np.array([np.interp(lengths, fine, curve) for curve in curves])
    return float((results[..., 1] / optimum[:, None, :]).max())


def model(panel: str, dimension: int, length: int) -> InContextRegression:
    """The model of one panel."""
    spectrum = np.ones(dimension)
    if panel == "anisotropic":
        spectrum = 1 / np.arange(1.0, dimension + 1)
        spectrum *= dimension / spectrum.sum()
    noise = NOISE if panel == "noisy" else 0.0
    return InContextRegression(GaussianTasks(task_covariance=spectrum, noise=noise), length)


def learned(panel: str, layer: str, length: int, dimension: int, **options: Any) -> list[float]:
    """Exact risk of what one layer has learned; excess of the whole layer, its error, the rest; whether it got there."""
    from resolvent.in_context_training.training import train

    run = train(model(panel, dimension, length), layer, seed=0, start="aligned", **options)
    return [run.risk, run.excess, run.excess_error, run.rest, float(run.reached)]


def draw(dataset: xarray.Dataset) -> Figure:
    """Risks above, the excess of what was learned below; one column a panel."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 3, figsize=(10.5, 5.2), sharex=True, sharey="row", height_ratios=(3, 1))
    for column, panel in enumerate(dataset.panel.values):
        part = dataset.sel(panel=panel)
        ax, below = axes[:, column]
        ax.plot(part.fine_length, part.zero, ":", color=plots.COLOURS["grey"], lw=1, label="zero")
        ax.plot(part.fine_length, part.bayes, "--", color=plots.COLOURS["grey"], lw=1, label="Bayes (ridge)")
        ax.plot(part.fine_length, part.optimum, color=plots.COLOURS["mean"], label="exact optimum")
        for layer, colour, mark in zip(LAYERS, ("attention", "h3"), ("o", "x")):
            dots = part.sel(layer=layer)
            name = {"attention": "trained attention", "h3": "trained H3"}[layer]
            style: dict[str, Any] = {
                "color": plots.COLOURS[colour],
                "ms": 6 if mark == "o" else 7,
                "zorder": 3,
            }
            ax.plot(dots.length, dots.risk, mark, label=name, mew=1.6, **style)
            optimum = np.interp(dots.length, part.fine_length, part.optimum)
            below.plot(dots.length, dots.risk / optimum - 1, mark, mew=1.6, **style)
        ax.set_title(str(panel))
        below.set_yscale("log")
        below.set_xlabel("examples in the prompt n")
    low, high = np.log10(axes[1, 0].get_ylim())
    axes[1, 0].set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))  # whole decades
    axes[0, 0].set_ylabel("risk")
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylabel("relative excess")
    axes[0, 2].legend()
    return figure
