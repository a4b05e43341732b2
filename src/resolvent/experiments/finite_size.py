"""Extra: how fast finite samples approach the theory, and where short sequences leave the bulk law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.experiments.agreement import SETTINGS, random_model
from resolvent.models import PooledSequences
from resolvent.models.claims import ALLOWANCE
from resolvent.models.finite_size import QUANTITIES, expected
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "dimensions": (50, 100, 200, 400, 800),
        "seeds": 24,
        "draws": 50,
        "bulk": 400,
        "bulk_draws": 48,
    },
    "paper": {
        "dimensions": (50, 100, 200, 400, 800, 1600),
        "seeds": 60,
        "draws": 400,
        "bulk": 800,
        "bulk_draws": 200,
    },
    "large": {
        "dimensions": (50, 100, 200, 400, 800, 1600, 3200),
        "seeds": 60,
        "draws": 1000,
        "bulk": 1600,
        "bulk_draws": 400,
    },
}
ERRORS = ("outlier", "overlap", "edge", "cdf")
LENGTHS = (1, 2, 3, 5, 10, 20, 50)
BIAS_DIMENSION = 300
BIAS_SETTINGS = range(SETTINGS, SETTINGS + 24)  # none of the twenty that are tested


def reference(dimension: int) -> PooledSequences:
    """The setting whose errors are followed over dimensions."""
    return PooledSequences(dimension, 2 * dimension, 2 * dimension, Prefix(40, 10), "mean", 1.5)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Errors against d with fitted exponents, biases at random settings, bulk distance against T."""
    import xarray as xr

    size = SIZES[scale]
    dimensions, seeds = size["dimensions"], size["seeds"]
    tasks = [{"dimension": d, "seed": s} for d in dimensions for s in range(seeds)]
    errors = np.reshape(
        run_all(one_error, tasks, label="Finite size: errors", **options),
        (len(dimensions), seeds, len(ERRORS)),
    )
    rms = np.sqrt((errors**2).mean(axis=1))
    exponents = [np.polyfit(np.log(dimensions), np.log(rms[:, j]), 1)[0] for j in range(len(ERRORS))]
    bias_tasks = [{"index": i, "seeds": size["draws"]} for i in BIAS_SETTINGS]
    bias = np.array(run_all(scaled_bias, bias_tasks, label="Finite size: allowance", **options))
    worst = np.unravel_index(np.abs(bias[..., 0]).argmax(), bias.shape[:2])
    largest, its_error = np.abs(bias[worst])
    draws = size["bulk_draws"]
    short_tasks = [
        {"dimension": size["bulk"], "length": length, "seed": seed}
        for length in LENGTHS
        for seed in range(draws)
    ]
    short = np.reshape(
        run_all(bulk_moments, short_tasks, label="Finite size: short sequences", **options),
        (len(LENGTHS), draws, 5),
    )
    excess, excess_error = fourth_moment_excess(short[..., :4])
    return xr.Dataset(
        {
            "rms": (("dimension", "error_of"), rms),
            "exponent": ("error_of", exponents),
            "scaled_bias": (("random_setting", "bias_of"), bias[..., 0]),
            "scaled_bias_error": (("random_setting", "bias_of"), bias[..., 1]),
            "excess": ("length", excess),
            "excess_error": ("length", excess_error),
            "distance": ("length", short[..., 4].mean(axis=1)),
        },
        coords={
            "dimension": list(dimensions),
            "error_of": list(ERRORS),
            "bias_of": list(QUANTITIES),
            "random_setting": list(BIAS_SETTINGS),
            "length": list(LENGTHS),
        },
        attrs={
            "title": "Finite size: rates, allowance and short sequences",
            "caption": f"(a) Root-mean-square error of theory against d ({seeds} draws; outlier and edge relative, cdf "
            "Kolmogorov-Smirnov distance of the bulk), with fitted exponents; delta = gamma = 1/2, T = 40, prefix 10, "
            "mean weights, ‖mu‖ = 1.5. (b) |bias|·d at "
            f"{len(BIAS_SETTINGS)} random settings, d = {BIAS_DIMENSION}, {size['draws']} draws: what the allowance c/d "
            f"must cover (c = {ALLOWANCE:g}; largest here {largest:.1f} ± {its_error:.1f}). Eigenvalues relative. (c) Short sequences, no signal, d = V = N = {size['bulk']}, "
            f"{draws} draws: Kolmogorov-Smirnov distance of the bulk to MP ⊠ MP, and excess of its fourth moment over "
            f"that at T = {LENGTHS[-1]} (theory: delta·gamma²/T²; the first three moments do not depend on T).",
        },
    )


def one_error(dimension: int, seed: int) -> list[float]:
    """Errors of outlier, overlap, edge and cdf in one draw."""
    model = reference(dimension)
    prediction, draw = model.predict(), model.simulate(seed)
    bulk = draw.eigenvalues[1:]
    ranks = np.arange(bulk.size, 0, -1) / bulk.size
    distance = np.abs(prediction.bulk.cdf(bulk) - ranks).max()
    return [
        draw.top_eigenvalue / prediction.outlier - 1,
        draw.overlap - prediction.overlap,
        draw.second_eigenvalue / prediction.edge - 1,
        float(distance),
    ]


def scaled_bias(index: int, seeds: int) -> list[list[float]]:
    """d·(mean error), relative for eigenvalues, and its standard error, at one random setting."""
    model = random_model(index, BIAS_DIMENSION)
    target = expected(model)
    unit = np.array([target[0], target[1], 1.0])
    draws = [model.simulate(seed) for seed in range(seeds)]
    errors = np.array([[getattr(draw, name) for name in QUANTITIES] for draw in draws])
    errors = model.dimension * (errors - target) / unit
    return np.stack([errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(seeds)], axis=1).tolist()


def bulk_moments(dimension: int, length: int, seed: int) -> list[float]:
    """First four moments of the bulk over kappa's powers, and its distance to the law, in one draw."""
    model = PooledSequences(dimension, dimension, dimension, Prefix(length, 0), "mean", 0.0)
    long, values = model.predict(theory="infinite length"), model.simulate(seed).eigenvalues
    distance = np.abs(long.bulk.cdf(values) - np.arange(values.size, 0, -1) / values.size).max()
    values = values / float(long.kappa)
    return [*(float(np.mean(values**k)) for k in (1, 2, 3, 4)), float(distance)]


def fourth_moment_excess(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Excess over the longest length, (L,), and standard errors, from moments (L, draws, 4).

    The lower moments, whose means do not depend on the length, serve as control variates.
    """
    centred = moments - moments.mean(axis=1, keepdims=True)
    flat = centred.reshape(-1, 4)
    slope, *_ = np.linalg.lstsq(flat[:, :3], flat[:, 3], rcond=None)
    adjusted = moments[..., 3] - moments[..., :3] @ slope
    mean = adjusted.mean(axis=1)
    error = adjusted.std(axis=1, ddof=1) / np.sqrt(moments.shape[1])
    return mean - mean[-1], np.hypot(error, error[-1])


def draw(dataset: xarray.Dataset) -> Figure:
    """Errors, biases, short sequences."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    palette = [plots.COLOURS[name] for name in ("mean", "causal", "optimal", "learned")]
    for name, colour in zip(dataset.error_of.values, palette):
        part = dataset.sel(error_of=name)
        style = {"ls": plots.DASHES[colour], "marker": plots.MARKERS[colour], "ms": 4, "color": colour}
        left.loglog(part.dimension, part.rms, label=f"{name}: d^{float(part.exponent):.2f}", **style)
    left.set_xticks(dataset.dimension.values, [str(d) for d in dataset.dimension.values])
    left.minorticks_off()
    left.set_xlabel("dimension d")
    left.set_ylabel("root-mean-square error")
    left.set_title("(a) rates")
    left.legend()
    for name, colour in zip(dataset.bias_of.values, palette):
        part = dataset.sel(bias_of=name)
        middle.errorbar(
            np.arange(part.random_setting.size),
            np.abs(part.scaled_bias),
            yerr=part.scaled_bias_error,
            fmt=plots.MARKERS[colour],
            ms=4,
            lw=1,
            capsize=2,
            color=colour,
            label=str(name).replace("_", " "),
        )
    middle.axhline(ALLOWANCE, color=plots.COLOURS["published"], ls="--", label=f"allowance c = {ALLOWANCE:g}")
    middle.set_xlabel("random setting")
    middle.set_ylabel("|bias| · d")
    middle.set_title("(b) finite-size allowance")
    middle.set_ylim(top=1.8 * ALLOWANCE)  # room for the legend
    middle.legend(ncols=2)
    lengths = dataset.length
    right.loglog(lengths, 1 / lengths**2, color=plots.COLOURS["mean"], label="δγ²/T²")
    seen = dataset.sel(length=lengths[dataset.excess > 2 * dataset.excess_error])
    right.errorbar(
        seen.length,
        seen.excess,
        yerr=seen.excess_error,
        fmt="o",
        ms=4,
        lw=1,
        capsize=2,
        color=plots.COLOURS["mean"],
        label="excess fourth moment",
    )
    right.loglog(lengths, dataset.distance, "s-", color=plots.COLOURS["causal"], ms=4, label="cdf distance")
    right.set_xlabel("sequence length T")
    right.set_title("(c) short sequences")
    right.legend()
    return figure
