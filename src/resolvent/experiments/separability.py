"""Extra: how many samples attention, pooled and vectorised features can separate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models import SparseTokenClassification
from resolvent.sparse_token import Query, SparseTokens, attention, capacity, pooled
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 30, "wide_dimension": 15, "seeds": 8, "fine": 31},
    "paper": {"dimension": 100, "wide_dimension": 32, "seeds": 12, "fine": 81},
    "large": {"dimension": 200, "wide_dimension": 48, "seeds": 24, "fine": 81},
}
CLASSIFIERS = ("attention", "pooled", "vectorised")
LENGTH, INFORMATIVE, RARITY, KAPPA = 5, 1, 0.5, 1.0
SIGNALS, ALIGNMENTS = (1.0, 2.0, 3.0, 4.0, 5.0), (0.0, 0.25, 0.5, 0.75, 1.0)
ALIGNMENT, SIGNAL = 0.8, 4.0  # what is fixed on the left and on the right


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Capacities on fine grids; linear programming at five points of each."""
    import xarray as xr

    size = SIZES[scale]
    fine_signal = np.linspace(SIGNALS[0] / 2, SIGNALS[-1], size["fine"])
    fine_alignment = np.linspace(0, 1, size["fine"])
    seeds = size["seeds"]
    places = [(name, theta, ALIGNMENT) for name in CLASSIFIERS for theta in SIGNALS]
    places += [("attention", SIGNAL, s) for s in ALIGNMENTS]
    tasks = [
        {
            "classifier": name,
            "signal": theta,
            "alignment": s,
            "dimension": size["wide_dimension" if name == "vectorised" else "dimension"],
            "seed": place * seeds + seed,
        }
        for place, (name, theta, s) in enumerate(places)
        for seed in range(seeds)
    ]
    results = np.reshape(run_all(measured, tasks, label="separability", **options), (-1, seeds))
    on_left = len(CLASSIFIERS) * len(SIGNALS)
    by_signal = np.transpose([predicted(float(theta), ALIGNMENT) for theta in fine_signal])
    by_alignment = np.transpose([predicted(SIGNAL, float(s)) for s in fine_alignment])
    return xr.Dataset(
        {
            "predicted_by_signal": (("classifier", "fine_signal"), by_signal),
            "predicted_by_alignment": (("classifier", "fine_alignment"), by_alignment),
            "by_signal": (
                ("classifier", "signal", "seed"),
                results[:on_left].reshape(len(CLASSIFIERS), len(SIGNALS), -1),
            ),
            "by_alignment": (("alignment", "seed"), results[on_left:]),
        },
        coords={
            "classifier": list(CLASSIFIERS),
            "fine_signal": fine_signal,
            "fine_alignment": fine_alignment,
            "signal": list(SIGNALS),
            "alignment": list(ALIGNMENTS),
        },
        attrs={
            "title": "Capacity: how many samples can be separated",
            "caption": f"Largest number of samples over d that some (w, b) separates, L = {LENGTH}, R = {INFORMATIVE}, "
            f"pi = {RARITY:g}, attention with kappa = {KAPPA:g}. Left: against the signal theta, query alignment "
            f"{ALIGNMENT:g}; right: against the query's alignment, theta = {SIGNAL:g} (the other two have no query). Lines: "
            f"limit (vectorised is exactly {LENGTH} times pooled); dots: longest separable prefix by linear programming, mean "
            f"and standard error over {seeds} streams at d = {size['dimension']} (vectorised, which has {LENGTH}d "
            f"weights, at d = {size['wide_dimension']}). Dots at small d "
            "can lie a few per cent above the limit, by O(1/d).",
        },
    )


def predicted(signal: float, alignment: float) -> list[float]:
    """Capacity of each classifier in the limit."""
    tokens = SparseTokens(LENGTH, INFORMATIVE, signal, RARITY)
    single = capacity(pooled(tokens))
    return [capacity(attention(tokens, Query(alignment, KAPPA))), single, LENGTH * single]


def measured(classifier: str, signal: float, alignment: float, dimension: int, seed: int) -> float:
    """Longest separable prefix of one stream, over d."""
    model = SparseTokenClassification(
        dimension,
        LENGTH,
        INFORMATIVE,
        signal,
        RARITY,
        samples_query=dimension,
        samples_readout=dimension,
        loss="square",
    )
    found = model.simulate(seed, Query(alignment, KAPPA), classifiers=(classifier,), separability=True)
    return float((found.capacity or {})[classifier])


def draw(dataset: xarray.Dataset) -> Figure:
    """Against the signal on the left, against the query's alignment on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, side) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    seeds = dataset.sizes["seed"]
    for name in dataset.classifier.values:
        part = dataset.sel(classifier=name)
        colour, label = plots.COLOURS[str(name)], str(name)
        dots: dict[str, Any] = {
            "at": dataset.signal,
            "simulated": part.by_signal.mean("seed"),
            "error": part.by_signal.std("seed", ddof=1) / np.sqrt(seeds),
        }
        plots.curve(ax, dataset.fine_signal, part.predicted_by_signal, colour=colour, label=label, **dots)
        dots = {
            "at": dataset.alignment,
            "simulated": dataset.by_alignment.mean("seed"),
            "error": dataset.by_alignment.std("seed", ddof=1) / np.sqrt(seeds),
        }
        plots.curve(
            side,
            dataset.fine_alignment,
            part.predicted_by_alignment,
            colour=colour,
            label=label,
            **(dots if name == "attention" else {}),
        )
    ax.set_yscale("log")
    ax.set_ylim(1.8, 45)
    ax.set_yticks([2, 5, 10, 20, 40], ["2", "5", "10", "20", "40"])
    ax.minorticks_off()
    ax.set_xlabel("signal theta")
    ax.set_ylabel("capacity alpha* (samples / d)")
    side.set_xlabel("alignment of the query with the signal")
    ax.legend(loc="upper left")
    return figure
