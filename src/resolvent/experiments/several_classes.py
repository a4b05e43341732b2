"""Extra: several token classes: every spike, spikes that are too close, correlations that depend on the class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.class_positions import ClassLoadings
from resolvent.models.classes import PooledClasses, class_means
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 240, "seeds": 10, "close_seeds": 40},
    "paper": {"dimension": 600, "seeds": 20, "close_seeds": 60},
    "large": {"dimension": 1000, "seeds": 40, "close_seeds": 200},
}
LENGTH, INFORMATIVE = 40, 20
PROPORTIONS = (0.4, 0.3, 0.2, 0.1)
STRENGTHS = (2.0, 0.7, 0.0)  # the last is a mode of the table's own class means
SIGNALS = (0.1, 0.3, 0.5, 0.8, 1.1, 1.5)
RATIOS = (1.0, 1.15, 1.3, 1.6, 2.2, 4.0)  # of the strengths of two spikes
PREFIXES = ((12, 12, 12), (16, 12, 8), (20, 12, 4), (24, 12, 0))  # of the classes
UNEQUAL = (1.0, 0.4)  # strengths of the three classes with these prefixes
GRID = 60


def classes(dimension: int, signal: Any) -> PooledClasses:
    """Four classes of unequal proportions; three spikes that grow with the signal."""
    scale = np.asarray(signal, dtype=float)[..., None, None]
    means = scale * class_means(strengths=STRENGTHS, proportions=PROPORTIONS)
    positions = Prefix(LENGTH, INFORMATIVE)
    return PooledClasses(dimension, 2 * dimension, 2 * dimension, positions, "mean", means, PROPORTIONS)


def close(dimension: int, ratio: float) -> PooledClasses:
    """Three equal classes with two spikes whose strengths have this ratio."""
    means = class_means(strengths=np.array([np.sqrt(ratio), 1 / np.sqrt(ratio)]))
    return PooledClasses(dimension, 2 * dimension, 2 * dimension, Prefix(LENGTH, INFORMATIVE), "mean", means)


def unequal(dimension: int, prefixes: tuple[int, ...], *, shared: bool = False) -> PooledClasses:
    """Three equal classes whose sequences share the class over prefixes of these lengths.

    ``shared=True`` neglects the difference: one R of the same mean pooled signal.
    """
    loadings = (np.arange(LENGTH)[:, None] < np.array(prefixes)).astype(float)
    means = class_means(strengths=UNEQUAL)
    own = PooledClasses(dimension, 2 * dimension, 2 * dimension, ClassLoadings(loadings), "mean", means)
    if not shared:
        return own
    alpha = own.predict().alpha * LENGTH**2
    informative = round(0.5 * (1 + np.sqrt(1 + 4 * (alpha - LENGTH))))  # r² − r + T = alpha T²
    return PooledClasses(dimension, 2 * dimension, 2 * dimension, Prefix(LENGTH, informative), "mean", means)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Eigenvalues and overlaps along the signal; close spikes; class-dependent prefixes."""
    import xarray as xr

    size = SIZES[scale]
    d, seeds, many = size["dimension"], size["seeds"], size["close_seeds"]
    grid = np.linspace(0.0, 1.1 * max(SIGNALS), GRID)
    curve = classes(d, grid).predict()
    models = [classes(d, s) for s in SIGNALS]
    along = _measured(models, seeds, "Several classes: signal", options)
    near = [close(d, ratio) for ratio in RATIOS]
    mixed = _measured(near, many, "Several classes: close spikes", options)
    own = [unequal(d, prefixes) for prefixes in PREFIXES]
    spread = _measured(own, seeds, "Several classes: unequal correlations", options)
    limits = [m.predict() for m in near]
    exact = [m.predict() for m in own]
    wrong = [unequal(d, prefixes, shared=True).predict() for prefixes in PREFIXES]
    spurious = float(curve.noise_part[0, -1] - d / (2 * d))
    return xr.Dataset(
        {
            "outlier": (("grid", "spike"), curve.leading[:, :-1]),
            "overlap": (("grid", "spike"), curve.overlap),
            "simulated_outlier": (("signal", "spike"), along["leading"].mean(axis=1)[:, :-1]),
            "outlier_error": (("signal", "spike"), _error(along["leading"])[:, :-1]),
            "simulated_overlap": (("signal", "spike"), along["overlap"].mean(axis=1)),
            "overlap_error": (("signal", "spike"), _error(along["overlap"])),
            "limit": (("ratio", "pair"), [p.overlap for p in limits]),
            "mixing": (("ratio", "pair"), [p.mixing for p in limits]),
            "grouped": ("ratio", [bool(p.group[1] == 0) for p in limits]),
            "close_overlap": (("ratio", "pair"), mixed["overlap"].mean(axis=1)),
            "close_error": (("ratio", "pair"), _error(mixed["overlap"])),
            "plane_overlap": ("ratio", _plane(mixed).mean(axis=1)),
            "plane_error": ("ratio", _error(_plane(mixed))),
            "unequal_outlier": (("prefixes", "pair"), [p.leading[:2] for p in exact]),
            "neglected_outlier": (("prefixes", "pair"), [p.leading[:2] for p in wrong]),
            "unequal_simulated": (("prefixes", "pair"), spread["leading"].mean(axis=1)[:, :2]),
            "unequal_error": (("prefixes", "pair"), _error(spread["leading"])[:, :2]),
            "edge": curve.edge,
            "unequal_edge": exact[0].edge,
        },
        coords={
            "grid": grid,
            "signal": list(SIGNALS),
            "spike": [1, 2, 3],
            "ratio": list(RATIOS),
            "pair": [1, 2],
            "prefixes": [", ".join(map(str, prefixes)) for prefixes in PREFIXES],
        },
        attrs={
            "title": "Several token classes",
            "caption": f"delta = gamma = 1/2, d = {d}, T = {LENGTH}, mean weights; points are means of {seeds} draws "
            f"({many} in (c)) with standard errors. (a), (b) Four classes of proportions "
            f"{', '.join(f'{p:g}' for p in PROPORTIONS)}, prefix {INFORMATIVE}, strengths b = "
            f"{', '.join(f'{b:g}' for b in STRENGTHS)} times the squared signal. The third spike is a mode of the table's "
            f"own class means (q = {spurious:.2f}, threshold {curve.threshold:.2f}): a spurious outlier at every signal. Where spikes are "
            "close, at weak signals, samples spread them. "
            f"(c) Three classes, prefix {INFORMATIVE}, two spikes of strengths √ratio and 1/√ratio: overlap of the first "
            "eigenvector with its own direction (limit, dotted; less the mixing expected at this d, dashed), and of both "
            "with the plane of the two (solid). Open: closer than four standard deviations, predicted as one group. "
            "(d) Three classes whose sequences share the class over prefixes of different lengths, b = "
            f"{UNEQUAL[0]:g}, {UNEQUAL[1]:g}: exact "
            "(solid), and with one R of the same mean signal for all classes (dashed).",
        },
    )


def _measured(
    models: list[PooledClasses], seeds: int, label: str, options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Leading eigenvalues (models, seeds, K) and overlaps of every draw."""
    tasks = [{"model": model, "seed": seed} for model in models for seed in range(seeds)]
    found = run_all(measure, tasks, label=label, **options)
    return {
        name: np.array([draw[i] for draw in found]).reshape(len(models), seeds, -1)
        for i, name in enumerate(("leading", "overlap", "overlaps"))
    }


def measure(model: PooledClasses, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading eigenvalues and overlaps of one draw."""
    draw = model.simulate(seed)
    return draw.leading, draw.overlap, draw.overlaps


def _plane(measured: dict[str, np.ndarray]) -> np.ndarray:
    """Mean over both eigenvectors of the squared overlap with the plane of both directions, (models, seeds)."""
    return measured["overlaps"].sum(axis=-1) / 2  # the directions are orthogonal


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error over seeds, the second axis."""
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])


def draw(dataset: xarray.Dataset) -> Figure:
    """Outliers and overlaps along the signal, close spikes, unequal correlations."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 2, figsize=(10, 7.4))
    (outliers, overlaps), (near, unequal_) = axes
    palette = [plots.COLOURS[name] for name in ("mean", "causal", "learned")]
    for spike, colour in zip(dataset.spike.values, palette):
        part = dataset.sel(spike=spike)
        label = f"spike {spike}" if spike < 3 else "mode of the class means"
        for axis, name in ((outliers, "outlier"), (overlaps, "overlap")):
            plots.curve(
                axis,
                part.grid,
                part[name],
                at=part.signal,
                simulated=part[f"simulated_{name}"],
                error=part[f"{name}_error"],
                colour=colour,
                label=label,
            )
    outliers.axhline(
        float(dataset.edge), color=plots.COLOURS["grey"], ls="--", lw=1.2, label="edge of the bulk"
    )
    outliers.set_yscale("log")
    outliers.set_ylabel("leading eigenvalues")
    outliers.set_title("(a) every outlier")
    overlaps.set_ylabel("squared overlap with its direction")
    overlaps.set_title("(b) overlaps")
    for axis in (outliers, overlaps):
        axis.set_xlabel("signal (all class means times)")
        axis.legend()
    first = dataset.sel(pair=1)
    ratio = dataset.ratio
    own, plane = plots.COLOURS["mean"], plots.COLOURS["optimal"]
    near.plot(ratio, first.limit, ":", color=own, label="own direction, limit")
    apart = ~dataset.grouped.values
    near.plot(
        ratio[apart], (first.limit * (1 - first.mixing))[apart], "--", color=own, label="less expected mixing"
    )
    for chosen, face in ((apart, own), (~apart, "white")):
        near.errorbar(
            ratio[chosen],
            first.close_overlap[chosen],
            yerr=first.close_error[chosen],
            fmt="o",
            ms=5,
            capsize=2,
            lw=1,
            color=own,
            mfc=face,
        )
    plots.curve(
        near,
        ratio,
        dataset.limit.mean("pair"),
        simulated=dataset.plane_overlap,
        error=dataset.plane_error,
        colour=plane,
        label="plane of both",
    )
    near.set_xscale("log")
    ticks = [1, 1.3, 1.6, 2.2, 4]
    near.set_xticks(ticks, [f"{t:g}" for t in ticks])
    near.minorticks_off()
    near.set_xlabel("ratio of the two strengths")
    near.set_ylabel("squared overlap")
    near.set_title("(c) spikes too close to tell apart")
    near.legend()
    places = np.arange(dataset.sizes["prefixes"])
    for pair, colour in zip(dataset.pair.values, palette):
        part = dataset.sel(pair=pair)
        unequal_.plot(places, part.neglected_outlier, "--", color=colour)
        plots.curve(
            unequal_,
            places,
            part.unequal_outlier,
            simulated=part.unequal_simulated,
            error=part.unequal_error,
            colour=colour,
            label=f"spike {pair}",
        )
    unequal_.plot([], [], "--", color=plots.COLOURS["grey"], label="one mean R for all classes")
    unequal_.axhline(float(dataset.unequal_edge), color=plots.COLOURS["grey"], ls=":", lw=1.2, label="edge")
    unequal_.set_xticks(places, dataset.prefixes.values)
    unequal_.set_xlabel("prefix lengths of the three classes")
    unequal_.set_ylabel("leading eigenvalues")
    unequal_.set_title("(d) correlations that depend on the class")
    unequal_.legend()
    return figure
