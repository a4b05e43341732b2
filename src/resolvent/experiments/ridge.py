"""Figure 6: test accuracy of ridge classification on pooled features, theory and simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import weights as weighting
from resolvent.models import PooledRidge, PooledSequences
from resolvent.positions import Prefix
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 200, "signals": 8, "seeds": 6},
    "paper": {"dimension": 400, "signals": 12, "seeds": 10},
    "large": {"dimension": 800, "signals": 16, "seeds": 20},
}
LENGTH, INFORMATIVE, RIDGE = 20, 4, 0.1
FIXED = ("mean", "causal", "optimal")
SIGNALS = (0.1, 1.6)


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Exact curves for fixed weights; simulated classifiers for those and for learned weights."""
    import xarray as xr

    size = SIZES[scale]
    dimension = size["dimension"]
    signals, fine = np.linspace(*SIGNALS, size["signals"]), np.linspace(0, SIGNALS[1], 161)
    theory = [PooledRidge(sequences(dimension, name, fine), RIDGE).predict() for name in FIXED]
    names = (*FIXED, "learned")
    tasks = [
        {"dimension": dimension, "weights": name, "signal": float(signal), "seed": seed}
        for name in names
        for signal in signals
        for seed in range(size["seeds"])
    ]
    results = np.reshape(
        run_all(accuracy_and_snr, tasks, label="Figure 6", **options),
        (len(names), signals.size, size["seeds"], 2),
    )
    return xr.Dataset(
        {
            "predicted_accuracy": (("fixed", "fine_signal"), [np.asarray(t.accuracy) for t in theory]),
            "accuracy": (("weights", "signal", "seed"), results[..., 0]),
            "snr": (("weights", "signal", "seed"), results[..., 1]),
        },
        coords={
            "weights": list(names),
            "fixed": list(FIXED),
            "signal": signals,
            "fine_signal": fine,
            "seed": range(size["seeds"]),
        },
        attrs={
            "title": "Ridge classification on pooled features",
            "caption": f"Test accuracy (20,000 fresh sequences) of ridge regression, penalty {RIDGE:g}, trained on N = 2d "
            f"sequences; d = {dimension}, V = 3d, T = {LENGTH}, first {INFORMATIVE} positions equal to the label. Lines: "
            f"exact theory, for every fixed weighting; dots: mean and standard error over {size['seeds']} seeds. Learned "
            "weights (softmax weights trained jointly with the classifier) have dots only, joined by a dotted line.",
        },
    )


def sequences(dimension: int, weights: Any, signal: Any) -> PooledSequences:
    """The model of this figure."""
    return PooledSequences(
        dimension, 3 * dimension, 2 * dimension, Prefix(LENGTH, INFORMATIVE), weights, signal
    )


def accuracy_and_snr(dimension: int, weights: str, signal: float, seed: int) -> list[float]:
    """Test accuracy of one classifier, and the snr of its weights."""
    found: list[np.ndarray] = []

    def learn(table: np.ndarray, tokens: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found.append(weighting.learned(table, tokens, labels, ridge=RIDGE, restarts=2, rng=seed))
        return found[0]

    learning = weights == "learned"
    base = sequences(dimension, "mean" if learning else weights, signal)
    draw = PooledRidge(base, RIDGE).simulate(seed, weights=learn if learning else None)
    w = found[0] if found else base.pooling_weights
    return [draw.accuracy, float(weighting.snr(w, base.positions.matrix))]


def draw(dataset: xarray.Dataset) -> Figure:
    """Accuracy on the left, the snr that learning reaches on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, side) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2))
    seeds = dataset.sizes["seed"]
    for name in dataset.weights.values:
        part = dataset.sel(weights=name)
        colour = plots.COLOURS[str(name)]
        mean, error = part.accuracy.mean("seed"), part.accuracy.std("seed", ddof=1) / np.sqrt(seeds)
        exact = dataset.predicted_accuracy.sel(fixed=name) if name in dataset.fixed.values else None
        if exact is None:
            ax.plot(part.signal, mean, ":", color=colour)
        plots.curve(
            ax,
            dataset.fine_signal,
            exact,
            at=part.signal,
            simulated=mean,
            error=error,
            colour=colour,
            label=str(name),
        )
        side.plot(part.signal, part.snr.mean("seed"), plots.MARKERS[colour] + "-", color=colour, ms=4)
    ax.set_xlabel("signal ‖μ‖")
    ax.set_ylabel("test accuracy")
    ax.legend()
    side.set_xlabel("signal ‖μ‖")
    side.set_ylabel("snr of the weights")
    return figure
