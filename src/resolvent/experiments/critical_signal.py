"""Figure 5: (a) critical signal against prefix length, theory and empirical crossing; (b) snr against T."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import spikes
from resolvent import weights as weighting
from resolvent.models import PooledSequences
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

# two sizes whose scaled curves cross, with enough seeds each
SIZES: dict[str, dict[str, tuple[int, int]]] = {
    "quick": {"dimensions": (100, 600), "seeds": (400, 32)},
    "paper": {"dimensions": (150, 1500), "seeds": (800, 60)},
    "large": {"dimensions": (200, 3000), "seeds": (1600, 100)},
}
LENGTH, DELTA, GAMMA = 100, 0.25, 1 / 3
PREFIXES = (1, 4, 7, 10, 13, 16)
WEIGHTS = ("mean", "causal")
INFORMATIVE = 10  # of panel b


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Overlap curves at two dimensions; where d^(1/3)·overlap crosses is the empirical critical signal."""
    import xarray as xr

    size = SIZES[scale]
    prefixes = np.arange(1, 26)
    theory = {
        table: [
            [
                spikes.critical_signal(
                    weighting.snr(w(LENGTH), Prefix(LENGTH, int(r)).matrix), DELTA, GAMMA, table
                )
                for r in prefixes
            ]
            for w in (weighting.mean, weighting.causal)
        ]
        for table in spikes.TABLES
    }
    tasks = [
        {"dimension": d, "seeds": seeds, "prefix": prefix, "weights": name}
        for name in WEIGHTS
        for prefix in PREFIXES
        for d, seeds in zip(size["dimensions"], size["seeds"])
    ]
    curves = run_all(overlap_curves, tasks, label="Figure 5", **options)
    crossing, error = [], []
    for small, large in zip(curves[::2], curves[1::2]):
        value, spread = crossing_with_error(small, large, size["dimensions"])
        crossing.append(value)
        error.append(spread)
    shape = (len(WEIGHTS), len(PREFIXES))
    lengths = np.unique(np.geomspace(INFORMATIVE, 1000, 60).round().astype(int))
    by_length = [snr_by_length(int(T)) for T in lengths]
    return xr.Dataset(
        {
            "critical_signal": (("weights", "prefix"), np.array(theory["mixture"], dtype=float)),
            "published_critical_signal": (("weights", "prefix"), np.array(theory["balanced"], dtype=float)),
            "crossing": (("weights", "simulated_prefix"), np.reshape(crossing, shape)),
            "crossing_error": (("weights", "simulated_prefix"), np.reshape(error, shape)),
            "snr": (("rule", "length"), np.transpose(by_length)),
        },
        coords={
            "weights": list(WEIGHTS),
            "prefix": prefixes,
            "simulated_prefix": list(PREFIXES),
            "rule": ["mean", "causal", "optimal"],
            "length": lengths,
        },
        attrs={
            "title": "Critical signal and snr",
            "caption": f"(a) Signal at which the outlier appears, against the number of correlated first positions; "
            f"T = {LENGTH}, delta = {DELTA:g}, gamma = 1/3. Lines: exact theory (dotted: as published, for a balanced "
            "table); zero means that every signal shows. Dots: empirical, the signal at which the curves of "
            f"d^(1/3)·overlap at d = {size['dimensions'][0]} and {size['dimensions'][1]} cross, with bootstrap standard "
            f"errors over {size['seeds'][0]} and {size['seeds'][1]} seeds; where every signal shows it tends to zero with d. (b) snr against the length T, first "
            f"{INFORMATIVE} positions correlated.",
        },
    )


def snr_by_length(length: int) -> list[float]:
    """snr of mean, causal and optimal weights for a prefix of `INFORMATIVE`."""
    positions = Prefix(length, INFORMATIVE)
    rules = (weighting.mean(length), weighting.causal(length))
    return [*(positions.pooled_signal(w) / float(w @ w) for w in rules), float(INFORMATIVE)]


def signals_around(prefix: int, weights: str) -> np.ndarray:
    """Grid that brackets the theory's critical signal widely."""
    w = getattr(weighting, weights)(LENGTH)
    centre = float(spikes.critical_signal(weighting.snr(w, Prefix(LENGTH, prefix).matrix), DELTA, GAMMA))
    return np.linspace(0.02, 1.6 * centre + 0.3, 61)


def overlap_curves(dimension: int, seeds: int, prefix: int, weights: str) -> np.ndarray:
    """Overlap over (signal, seed)."""
    model = PooledSequences(
        dimension,
        2 * round(dimension / DELTA / 2),
        round(dimension / GAMMA),
        Prefix(LENGTH, prefix),
        weights,
        0.0,
    )
    signals = signals_around(prefix, weights)
    sweep = model.sweep(signals, range(seeds), jobs=1)
    return np.column_stack([signals, sweep.overlap.values])


def crossing_with_error(
    small: np.ndarray, large: np.ndarray, dimensions: tuple[int, int]
) -> tuple[float, float]:
    """Crossing of the scaled mean curves, and its bootstrap standard error over seeds."""
    rng = np.random.default_rng(0)
    signals = small[:, 0]
    found = []
    for draw in range(201):
        means = []
        for curve, d in zip((small, large), dimensions):
            seeds = curve[:, 1:]
            pick = np.arange(seeds.shape[1]) if draw == 0 else rng.integers(0, seeds.shape[1], seeds.shape[1])
            means.append(seeds[:, pick].mean(axis=1) * d ** (1 / 3))
        above = means[1] >= means[0]
        # the last signal at which the larger dimension is still below; zero when it never is
        below = np.flatnonzero(~above)
        if below.size and below[-1] + 1 < signals.size:
            i = below[-1]
            gap = (means[1] - means[0])[i : i + 2]
            found.append(signals[i] - gap[0] * (signals[i + 1] - signals[i]) / (gap[1] - gap[0]))
        else:
            found.append(0.0 if not below.size else np.nan)
    return float(found[0]), float(np.nanstd(found[1:]))


def draw(dataset: xarray.Dataset) -> Figure:
    """Critical signal on the left, snr on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name in dataset.weights.values:
        part, colour = dataset.sel(weights=name), plots.COLOURS[str(name)]
        plots.curve(
            left,
            part.prefix,
            part.critical_signal,
            at=part.simulated_prefix,
            simulated=part.crossing,
            error=part.crossing_error,
            colour=colour,
            label=f"{name}: exact",
        )
        dots = (0, (1, 1)) if name == "mean" else (0, (1, 2.5))
        left.plot(
            part.prefix, part.published_critical_signal, ls=dots, color=colour, label=f"{name}: published"
        )
    left.set_xlabel("prefix length r")
    left.set_ylabel("critical signal ‖μ‖")
    left.set_ylim(bottom=-0.03)
    left.set_title("(a) where the outlier appears")
    left.legend()
    for name in dataset.rule.values:
        colour, rule = plots.COLOURS[str(name)], dataset.snr.sel(rule=name)
        plots.curve(right, dataset.length, rule, colour=colour, label=str(name))
    right.set_xscale("log")
    right.set_xlabel("sequence length T")
    right.set_ylabel("snr")
    right.set_title("(b) snr of the weights")
    right.legend()
    return figure
