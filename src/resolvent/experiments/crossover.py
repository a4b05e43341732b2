"""Extra: where attention with a poorly aligned query loses to pooling."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models import SparseTokenClassification
from resolvent.sparse_token import Query, attention, pooled, readout
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 100, "seeds": 8, "map": 31, "kappas": 13},
    "paper": {"dimension": 400, "seeds": 16, "map": 81, "kappas": 41},
    "large": {"dimension": 800, "seeds": 32, "map": 121, "kappas": 61},
}
LENGTH, INFORMATIVE, RARITY, KAPPA, ALPHA, PENALTY = 10, 1, 0.5, 1.0, 10, 1e-5
MAP_SIGNALS, KAPPAS = (1.0, 8.0), (0.1, 10.0)
SIGNALS, ALIGNMENTS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0), (0.05, 0.15, 0.25, 0.35, 0.5, 0.7, 0.9)
CURVES = (0.5, 1.0, 2.0, 4.0, 8.0)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """One task a column of the map, a crossover, or a simulated pair of classifiers."""
    import xarray as xr

    size = SIZES[scale]
    seeds = size["seeds"]
    signals, alignments = np.linspace(*MAP_SIGNALS, size["map"]), np.linspace(0, 1, size["map"])
    kappas = np.geomspace(*KAPPAS, size["kappas"])
    columns = run_all(
        log_ratio,
        [{"signal": float(theta), "alignments": alignments} for theta in signals],
        label="crossover: map",
        **options,
    )
    places = [(theta, KAPPA) for theta in signals] + [(theta, k) for theta in CURVES for k in kappas]
    crossings = run_all(
        crossover,
        [{"signal": float(theta), "kappa": float(kappa)} for theta, kappa in places],
        label="crossover: lines",
        **options,
    )
    tasks = [
        {"dimension": size["dimension"], "signal": theta, "alignment": s, "seed": place * seeds + seed}
        for place, (theta, s) in enumerate(product(SIGNALS, ALIGNMENTS))
        for seed in range(seeds)
    ]
    results = run_all(difference, tasks, label="crossover: simulation", **options)
    return xr.Dataset(
        {
            "log_ratio": (("map_signal", "map_alignment"), columns),
            "boundary": ("map_signal", crossings[: signals.size]),
            "crossover": (
                ("curve_signal", "kappa"),
                np.reshape(crossings[signals.size :], (len(CURVES), kappas.size)),
            ),
            "difference": (
                ("signal", "alignment", "seed"),
                np.reshape(results, (len(SIGNALS), len(ALIGNMENTS), seeds)),
            ),
        },
        coords={
            "map_signal": signals,
            "map_alignment": alignments,
            "kappa": kappas,
            "curve_signal": list(CURVES),
            "signal": list(SIGNALS),
            "alignment": list(ALIGNMENTS),
        },
        attrs={
            "title": "Where attention with a poorly aligned query loses to pooling",
            "caption": f"Left: decimal logarithm of the test error of attention over that of pooling, against the signal theta "
            f"and the alignment of a frozen query with it; kappa = {KAPPA:g}, square loss, alpha_1 = {ALPHA}, "
            f"lambda = {PENALTY:g}, L = {LENGTH}, R = {INFORMATIVE}, pi = {RARITY:g}. Colours and dashed line, where both err "
            f"alike: limit. Circles: attention errs less, triangles: more, by over two standard errors, in {seeds} "
            f"pairs of draws at d = {size['dimension']}; crosses: undecided. Right: that crossover alignment against kappa; "
            "a line ends where attention loses at every alignment.",
        },
    )


def model(signal: float, dimension: int = 1000) -> SparseTokenClassification:
    """The model of this figure; its query is always given."""
    return SparseTokenClassification(
        dimension,
        LENGTH,
        INFORMATIVE,
        signal,
        RARITY,
        samples_query=dimension,
        samples_readout=ALPHA * dimension,
        loss="square",
        regularisation=PENALTY,
    )


def log_ratio(signal: float, alignments: np.ndarray) -> list[float]:
    """Decimal logarithm of attention's error over pooling's, along alignments."""
    tokens = model(signal).tokens

    def error(law: Any) -> float:
        return float(readout(law, ALPHA, loss="square", regularisation=PENALTY).error)

    level = error(pooled(tokens))
    return [
        float(np.log10(error(attention(tokens, Query(float(s), KAPPA), points=2**11)) / level))
        for s in alignments
    ]


def crossover(signal: float, kappa: float) -> float:
    """Query alignment at which both err alike."""
    return model(signal).crossover(kappa)


def difference(dimension: int, signal: float, alignment: float, seed: int) -> float:
    """Error of attention less that of pooling, of one run."""
    found = model(signal, dimension).simulate(
        seed, Query(alignment, KAPPA), classifiers=("attention", "pooled")
    )
    return found.attention.error - found.pooled.error


def draw(dataset: xarray.Dataset) -> Figure:
    """Map of the ratio of errors on the left, crossover against kappa on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, side) = plt.subplots(1, 2, figsize=(11.5, 4.2))
    figure.set_layout_engine("constrained", w_pad=0.1)
    mesh = ax.pcolormesh(
        dataset.map_signal,
        dataset.map_alignment,
        dataset.log_ratio.transpose("map_alignment", "map_signal"),
        vmin=-1,
        vmax=1,
        cmap="PuOr",
        shading="gouraud",
        rasterized=True,
    )
    ax.plot(dataset.map_signal, dataset.boundary, "--", color="black", lw=1.6)
    mean = dataset.difference.mean("seed")
    error = dataset.difference.std("seed", ddof=1) / np.sqrt(dataset.sizes["seed"])
    for mark, size, chosen in (
        ("o", 5, mean < -2 * error),
        ("^", 6, mean > 2 * error),
        ("x", 6, np.abs(mean) <= 2 * error),
    ):
        i, j = np.nonzero(chosen.values)
        ax.plot(
            dataset.signal.values[i],
            dataset.alignment.values[j],
            mark,
            color="black",
            ms=size,
            mfc="white",
            mew=1.2,
        )
    ax.set_xlim(*dataset.map_signal.values[[0, -1]])
    ax.set_ylim(0, 1)
    ax.set_xlabel("signal theta")
    ax.set_ylabel("alignment of the query")
    ax.set_title("simulation: ○ attention errs less, △ more, × undecided")
    ax.grid(False)
    figure.colorbar(mesh, ax=ax, extend="min", label="log10 of attention's error over pooling's")
    palette = ("mean", "causal", "optimal", "learned", "published")
    for theta, name in zip(dataset.curve_signal.values, palette):
        one = dataset.crossover.sel(curve_signal=theta)
        plots.curve(side, dataset.kappa, one, colour=plots.COLOURS[name], label=f"theta = {theta:g}")
    side.set_xscale("log")
    side.set_xlabel("kappa = β‖q‖")
    side.set_ylabel("crossover alignment")
    side.set_ylim(0, 1)
    side.legend(loc="upper left")
    return figure
