"""Extra: alignment of the query after two steps, and of the read-out after one, with the signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models import SparseTokenClassification
from resolvent.sparse_token import SparseTokens, optimal_rates, two_steps
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 200, "seeds": 10, "octaves": 6},
    "paper": {"dimension": 1000, "seeds": 10, "octaves": 6},
    "large": {"dimension": 2000, "seeds": 30, "octaves": 7},
}
TOKENS = SparseTokens(length=10, informative=3, signal=6.0, rarity=0.2)
STEP, LEAST, EACH = 0.5, 0.25, 4  # one step size for all; least alpha_0; theory points an octave
CHOICES = ("given", "best")


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Two choices of step sizes; theory four times an octave of alpha_0, simulation once."""
    import xarray as xr

    size = SIZES[scale]
    octaves, dimension, seeds = size["octaves"], size["dimension"], size["seeds"]
    fine = LEAST * 2 ** (np.arange(octaves * EACH + 1) / EACH)
    alphas = fine[::EACH]
    label = "query alignment"
    rates = run_all(best_rates, [{"alpha": float(a)} for a in fine], label=f"{label}: steps", **options)
    given = two_steps(TOKENS, fine, steps=STEP)
    best = [two_steps(TOKENS, a, steps=steps) for a, steps in zip(fine, rates)]
    far = 1e4  # samples enough for the step sizes to be those of the limit
    decay = [given.decay, two_steps(TOKENS, far, steps=best_rates(far)).decay]
    chosen = [[STEP] * 3] * alphas.size + rates[::EACH]
    tasks = [
        {"dimension": dimension, "alpha": float(alpha), "steps": steps, "seed": place * seeds + seed}
        for place, (alpha, steps) in enumerate(zip(np.tile(alphas, len(CHOICES)), chosen))
        for seed in range(seeds)
    ]
    results = np.reshape(
        run_all(alignments, tasks, label=label, **options), (len(CHOICES), alphas.size, seeds, 2)
    )
    return xr.Dataset(
        {
            "predicted": (("steps", "fine_alpha"), [given.alignment, [b.alignment for b in best]]),
            "predicted_first": ("fine_alpha", given.first_alignment),
            "decay": ("steps", decay),
            "best_rates": (("fine_alpha", "rate"), rates),
            "alignment": (("steps", "alpha", "seed"), results[..., 0]),
            "first_alignment": (("alpha", "seed"), results[0, ..., 1]),
        },
        coords={"steps": list(CHOICES), "fine_alpha": fine, "alpha": alphas, "rate": ["w", "b", "q"]},
        attrs={
            "title": "Alignment of the query after two gradient steps",
            "caption": "Cosine with the signal of the query q2 after two steps and of the read-out w1 after one, against "
            f"alpha_0 = n_0/d; logistic loss, L = {TOKENS.length}, R = {TOKENS.informative}, theta = {TOKENS.signal:g}, "
            f"pi = {TOKENS.rarity:g}; all steps {STEP:g}, or eta_w and eta_b chosen by theory for each alpha_0 (w1's "
            "direction depends on no step size). Lines: limit; dots: mean and one standard deviation of single runs, "
            f"{seeds} at d = {dimension}. Right: the distance to 1 on logarithmic axes, with its law C/alpha_0 dashed, "
            f"C = {decay[0]:.3f} for steps {STEP:g} and {decay[1]:.4f} for the best ones.",
        },
    )


def best_rates(alpha: float) -> list[float]:
    """Step sizes that align the query best."""
    return list(optimal_rates(TOKENS, alpha))


def alignments(dimension: int, alpha: float, steps: list[float], seed: int) -> list[float]:
    """Alignment of q2 and of w1 in one run."""
    found = SparseTokenClassification(
        dimension,
        TOKENS.length,
        TOKENS.informative,
        TOKENS.signal,
        TOKENS.rarity,
        samples_query=round(alpha * dimension),
        samples_readout=dimension,
        steps=steps,
    ).simulate(seed, classifiers=())
    return [found.query.alignment, found.query.first_alignment]


def draw(dataset: xarray.Dataset) -> Figure:
    """Alignments on the left, their distance to one on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, (ax, side) = plt.subplots(1, 2, figsize=(10, 4))
    given, best = dataset.sel(steps="given"), dataset.sel(steps="best")
    rows = (
        ("query q2, best steps", best.predicted, best.alignment, "optimal", best.decay),
        (f"query q2, steps {STEP:g}", given.predicted, given.alignment, "attention", given.decay),
        ("read-out w1", dataset.predicted_first, dataset.first_alignment, "mean", None),
    )
    for label, predicted, simulated, colour, decay in rows:
        shared = {"at": dataset.alpha, "colour": plots.COLOURS[colour], "label": label}
        mean, spread = simulated.mean("seed"), simulated.std("seed", ddof=1)
        plots.curve(ax, dataset.fine_alpha, predicted, simulated=mean, error=spread, **shared)
        if decay is not None:
            away, mean = 1 - np.abs(predicted), (1 - np.abs(simulated)).mean("seed")
            plots.curve(side, dataset.fine_alpha, away, simulated=mean, error=spread, **shared)
            law = float(decay) / dataset.fine_alpha
            side.plot(dataset.fine_alpha, law, "--", color=plots.COLOURS["grey"], lw=1.2, zorder=1)
    for one in (ax, side):
        one.set_xscale("log", base=2)
        one.set_xticks(dataset.alpha.values, [f"{a:g}" for a in dataset.alpha.values])
        one.set_xlabel("samples of the two steps, alpha_0 = n_0/d")
    ax.set_ylabel("cosine with the signal")
    ax.legend(loc="lower right")
    side.set_yscale("log")
    side.set_ylabel("1 − |cosine with the signal|")
    side.plot([], [], "--", color=plots.COLOURS["grey"], lw=1.2, label="C/alpha_0")
    side.legend(loc="lower left")
    return figure
