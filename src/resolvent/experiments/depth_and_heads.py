"""Extra: the best depth of a causal stack, and what random value matrices between its layers cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.heads import best_depth, mix
from resolvent.models import PooledSequences
from resolvent.models.value_layers import ValueLayers
from resolvent.positions import Prefix
from resolvent.sweeps import run_all
from resolvent.weights import causal, kappa

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 200, "seeds": 5},
    "paper": {"dimension": 600, "seeds": 12},
    "large": {"dimension": 1200, "seeds": 20},
}
LENGTH, PREFIXES, DEPTHS = 200, (3, 10, 30, 100, 200), 7
INFORMATIVE, LAYERS, SHARES = 30, 4, (1.0, 2.0, 4.0)
SIGNAL, SPECTRUM_LAYERS, POINTS = 1.0, (0, 1, 3), 400


def run(scale: str, **options: Any) -> xarray.Dataset:
    """snr against depth, exactly; spectra and overlaps behind value matrices, theory and simulation."""
    import xarray as xr

    size = SIZES[scale]
    d, seeds = size["dimension"], size["seeds"]
    depths, layers = np.arange(DEPTHS), np.arange(LAYERS + 1)
    stacks = [causal(LENGTH, int(k)) for k in depths]
    places = [Prefix(LENGTH, r) for r in PREFIXES]
    snr = [[p.pooled_signal(w) / float(kappa(w)) for w in stacks] for p in places]
    span = [[mix(stacks[: k + 1], p).snr for k in range(DEPTHS)] for p in places]
    predicted = [
        [[overlaps(stack_model(d, kind, int(k), share).predict()) for k in layers] for share in SHARES]
        for kind in ("fixed", "stack")
    ]
    tasks = [
        {"dimension": d, "kind": kind, "layers": int(k), "share": share, "seed": seed}
        for kind in ("fixed", "stack")
        for share in SHARES
        for k in layers
        for seed in range(seeds)
    ]
    simulated = np.reshape(
        run_all(simulated_overlaps, tasks, label="Depth and heads", **options),
        (2, len(SHARES), layers.size, seeds, 2),
    )
    spectra: dict[str, Any] = {}
    for k in SPECTRUM_LAYERS:
        model = stack_model(d, "fixed", k, 1.0)
        law, outlier = model.predict().bulk, model.predict().outlier
        x = np.geomspace(law.support[-1][1] * 1e-4, law.support[-1][1], POINTS)
        spectra |= {
            f"eigenvalues_{k}": (f"index_{k}", model.simulate(0).eigenvalues),
            f"x_{k}": ("point", x),
            f"density_{k}": ("point", law.pdf(x)),
            f"outlier_{k}": float(outlier),
        }
    at = ("kind", "share", "layers")
    return xr.Dataset(
        {
            "snr": (("prefix", "depth"), snr),
            "span_snr": (("prefix", "depth"), span),
            "best_depth": ("prefix", [best_depth(p).depth for p in places]),
            "predicted_overlap": (at, np.array(predicted)[..., 0]),
            "predicted_pulled_back_overlap": (at, np.array(predicted)[..., 1]),
            "overlap": ((*at, "seed"), simulated[..., 0]),
            "pulled_back_overlap": ((*at, "seed"), simulated[..., 1]),
            **spectra,
        },
        coords={
            "prefix": list(PREFIXES),
            "depth": depths,
            "kind": ["fixed", "stack"],
            "share": list(SHARES),
            "layers": layers,
            "seed": range(seeds),
        },
        attrs={
            "title": "Depth, heads and random value matrices",
            "caption": f"(a) snr of mean pooling after k score-free causal layers, T = {LENGTH}, first r positions equal "
            "(filled: best depth); dashed: the best mixture of depths 0 to k, as heads or skip connections offer it. "
            f"(b) Spectrum behind k random value matrices of d rows: one Marchenko-Pastur factor each; d = {d}, "
            f"V = N = 2d, prefix {INFORMATIVE}, mean weights, ‖mu‖ = {SIGNAL:g}. (c) The same weights: squared overlap of the "
            "top eigenvector with the image of mu, and (dashed) of mu with that eigenvector taken back. (d) k causal "
            "layers with k value matrices: depth first concentrates on the signal, then pays for its matrices. Lines: "
            f"exact theory; dots: mean and standard error of {seeds} draws.",
        },
    )


def stack_model(dimension: int, kind: str, layers: int, share: float) -> ValueLayers:
    """Value matrices of share·d rows behind mean weights, or behind a causal stack as deep."""
    weights: Any = "mean" if kind == "fixed" else causal(LENGTH, layers)
    sequences = PooledSequences(
        dimension, 2 * dimension, 2 * dimension, Prefix(LENGTH, INFORMATIVE), weights, SIGNAL
    )
    return ValueLayers(sequences, [round(share * dimension)] * layers)


def overlaps(found: Any) -> list[float]:
    """Overlap with the image of the signal, and of the signal with what is pulled back."""
    return [float(found.overlap), float(found.pulled_back_overlap)]


def simulated_overlaps(dimension: int, kind: str, layers: int, share: float, seed: int) -> list[float]:
    """Both overlaps in one draw."""
    return overlaps(stack_model(dimension, kind, layers, share).simulate(seed))


def draw(dataset: xarray.Dataset) -> Figure:
    """Depth, spectra, layers, depth with layers."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, ((first, second), (third, fourth)) = plt.subplots(2, 2, figsize=(11, 8))
    palette = [plots.COLOURS[name] for name in ("mean", "causal", "optimal", "learned", "published")]
    for prefix, colour in zip(dataset.prefix.values, palette):
        part = dataset.sel(prefix=prefix)
        mark = plots.MARKERS[colour]
        first.plot(part.depth, part.snr, marker=mark, ms=4, mfc="white", color=colour, label=f"r = {prefix}")
        first.plot(part.depth, part.span_snr, "--", color=colour, lw=1.2)
        best = int(part.best_depth)
        first.plot(best, part.snr.sel(depth=best), mark, color=colour, ms=8)
    first.set_yscale("log")
    first.set_xlabel("causal layers k")
    first.set_ylabel("snr of the weights")
    first.set_title("(a) depth alone; dashed: best mixture of depths")
    first.legend(ncols=2)
    for k, colour in zip(SPECTRUM_LAYERS, palette):
        values, x, density = (dataset[f"{name}_{k}"].values for name in ("eigenvalues", "x", "density"))
        bulk = values[(values <= x[-1] * 1.05) & (values > x[0])]
        heights, edges = np.histogram(np.log10(bulk), bins=22)
        second.stairs(heights / np.diff(edges) / values.size, 10**edges, fill=True, color=colour, alpha=0.25)
        line, mark = plots.DASHES[colour], plots.MARKERS[colour]
        second.plot(x, density * x * np.log(10), ls=line, color=colour, label=f"k = {k}")
        second.axvline(float(dataset[f"outlier_{k}"]), color=colour, ls="--", lw=1.2)
        second.plot(values[0], 0.04, mark, color=colour, ms=6)
    second.set_xscale("log")
    second.set_xlabel("eigenvalue")
    second.set_ylabel("density of the log eigenvalue")
    second.set_title("(b) spectra; dashed and dot: outlier, predicted and seen")
    second.legend(loc="upper left")
    for ax, kind in ((third, "fixed"), (fourth, "stack")):
        for share, colour in zip(dataset.share.values, palette):
            part = dataset.sel(kind=kind, share=share)
            for name, line, fill in (("overlap", "-", None), ("pulled_back_overlap", "--", "white")):
                mean, spread = part[name].mean("seed"), part[name].std("seed", ddof=1)
                ax.plot(
                    part.layers,
                    part[f"predicted_{name}"],
                    line,
                    color=colour,
                )
                ax.errorbar(
                    part.layers,
                    mean,
                    yerr=spread / np.sqrt(part.sizes["seed"]),
                    fmt=plots.MARKERS[colour],
                    ms=4,
                    color=colour,
                    mfc=fill or colour,
                    capsize=2,
                    lw=1,
                    label=f"width {share:g} d" if line == "-" else None,
                )
        ax.set_ylim(0, 1)
        ax.set_xticks(dataset.layers.values)
        ax.set_ylabel("squared overlap")
        ax.legend(loc="upper right")
    third.set_xlabel("value matrices k, weights fixed")
    third.set_title("(c) with the image of μ; dashed: pulled back")
    fourth.set_xlabel("causal layers k, each with a value matrix")
    fourth.set_title("(d) depth concentrates, value matrices cost")
    return figure
