"""In-context regression: which starts lead a layer to the optimum, and which to a bad local minimum."""

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

EXPONENTS = (0.0, 0.5, 1.0, 2.0)
SIZES: dict[str, dict[str, Any]] = {
    "quick": {"exponents": (0.0, 1.0), "dimension": 3, "length": 9, "seeds": 4},
    "paper": {"dimension": 5, "length": 15, "seeds": 32, "exponents": EXPONENTS},
    "large": {"dimension": 5, "length": 15, "seeds": 128, "exponents": EXPONENTS},
}
LAYERS = ("attention", "h3")
STARTS = ("structured", "random")
NOISE, TOLERANCE = 0.1, 0.01
FLOOR = 1e-12  # excesses below it are rounding


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if find_spec("torch"):
        return None
    return "needs PyTorch: pip install 'resolvent[torch]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Exact excess risk where descent ends, for every start."""
    import xarray as xr

    size = SIZES[scale]
    axes = (size["exponents"], LAYERS, STARTS, range(size["seeds"]))
    tasks = [
        {
            "exponent": e,
            "layer": layer,
            "start": start,
            "seed": seed,
            "dimension": size["dimension"],
            "length": size["length"],
        }
        for e in size["exponents"]
        for layer in LAYERS
        for start in STARTS
        for seed in axes[3]
    ]
    results = np.reshape(
        run_all(end, tasks, label="bad minima", **options), (*(len(axis) for axis in axes), 4)
    )
    dims = ("exponent", "layer", "start", "seed")
    stuck = results[..., 0] > TOLERANCE
    return xr.Dataset(
        {
            "excess": (dims, results[..., 0]),
            "rest": (dims, results[..., 1]),
            "least_curvature": (dims, results[..., 2]),
            "gradient_step": (dims, results[..., 3]),
            "reached": (dims, ~stuck),
        },
        coords=dict(zip(dims, map(list, axes))),
        attrs={
            "title": "Structured starts reach the optimum; random ones may end in bad local minima",
            "caption": f"Ends of descent on the exact risk over all parameters of a layer (L-BFGS, then Newton's method in a "
            f"trust region), d = {size['dimension']}, n = {size['length']}, noise {NOISE:g}, task covariance proportional to "
            f"k^(-a) with trace d, {size['seeds']} starts each. Structured: keys blind to labels, values blind to features. "
            "Left: share of starts that reach the optimum (excess below 1 % of the optimal risk), with the 95 % Wilson "
            f"interval. Right: relative excess of every run; those below {FLOOR:g} are drawn there. Least eigenvalue of the "
            f"Hessian at any end: {results[..., 2].min():.1e}; symmetries make it zero at a minimum.",
        },
    )


def end(exponent: float, layer: str, start: str, seed: int, dimension: int, length: int) -> list[float]:
    """Relative excess, what is not a gradient step, least curvature, and the relative excess of the gradient step alone."""
    from resolvent.in_context_training.descent import descend

    spectrum = np.arange(1.0, dimension + 1) ** -exponent
    spectrum *= dimension / spectrum.sum()
    model = InContextRegression(GaussianTasks(task_covariance=spectrum, noise=NOISE), length)
    found = descend(model, layer, seed=seed, start=start, tolerance=TOLERANCE)
    curvature = np.nan if found.least_curvature is None else found.least_curvature
    return [found.excess / found.optimum, found.rest, curvature, found.risk / found.optimum - 1]


def draw(dataset: xarray.Dataset) -> Figure:
    """Shares on the left, every run on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, strip) = plt.subplots(1, 2, figsize=(10.5, 4.2), width_ratios=(2, 3))
    seeds, rng = dataset.sizes["seed"], np.random.default_rng(0)
    groups = [(layer, start) for layer in LAYERS for start in STARTS]
    colours = ("mean", "causal", "optimal", "learned")
    at = np.arange(dataset.sizes["exponent"])
    for i, ((layer, start), colour) in enumerate(zip(groups, colours)):
        part = dataset.sel(layer=layer, start=start)
        share = part.reached.mean("seed").values
        middle = (share + 1.92 / seeds) / (1 + 3.84 / seeds)
        half = 1.96 * np.sqrt(share * (1 - share) / seeds + 0.96 / seeds**2) / (1 + 3.84 / seeds)
        x, name = at + (i - 1.5) * 0.18, f"{'H3' if layer == 'h3' else layer}, {start}"
        error = np.abs(np.stack([share - (middle - half), middle + half - share]))
        hue = plots.COLOURS[colour]
        mark = plots.MARKERS[hue]
        ax.errorbar(x, share, yerr=error, fmt=mark, ms=5, capsize=2, lw=1, color=hue, label=name)
        every = np.maximum(part.excess.values, FLOOR)
        spread = rng.uniform(-0.07, 0.07, every.shape)
        strip.plot((x[:, None] + spread).ravel(), every.ravel(), mark, ms=3.5, alpha=0.6, color=hue)
    for axis in (ax, strip):
        axis.set_xticks(at, [f"{e:g}" for e in dataset.exponent.values])
        axis.set_xlabel("exponent a of the task covariance k^(−a)")
    strip.axhline(TOLERANCE, color=plots.COLOURS["grey"], ls="--", lw=1)
    strip.set_yscale("log")
    strip.set_ylabel("relative excess risk at the end")
    ax.set_ylim(-0.03, 1.05)
    ax.set_ylabel("share of starts that reach the optimum")
    ax.legend(loc="lower left")
    return figure
