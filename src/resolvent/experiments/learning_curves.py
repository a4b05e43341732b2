"""Extra: test error and training loss of attention, pooling and vectorisation against the samples of the read-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models import SparseTokenClassification
from resolvent.sparse_token import Query, readout
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 200, "wide_dimension": 100, "alphas": 13, "seeds": 4, "fine": 31},
    "paper": {"dimension": 1000, "wide_dimension": 300, "alphas": 13, "seeds": 8, "fine": 61},
    "large": {"dimension": 2000, "wide_dimension": 600, "alphas": 13, "seeds": 20, "fine": 121},
}
LOSSES = ("square", "logistic")
CLASSIFIERS = ("attention", "pooled", "vectorised")
LENGTH, INFORMATIVE, SIGNAL, RARITY, PENALTY, ALPHA_QUERY = 10, 1, 5.0, 0.5, 1e-5, 4
ALPHAS, WIDE = (0.25, 16.0), 4.0  # the vectorised classifier beyond alpha = WIDE is simulated at smaller d
PEAKS = np.outer([1, LENGTH], [0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25]).ravel()  # interpolation, square loss


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Tuned steps, curves of the limit, then one task a query and one a trained read-out."""
    import xarray as xr

    size = SIZES[scale]
    fine = np.unique(np.r_[np.geomspace(*ALPHAS, size["fine"]), PEAKS].round(3))
    alphas = np.geomspace(*ALPHAS, size["alphas"])
    seeds, dimension, wide = range(size["seeds"]), size["dimension"], size["wide_dimension"]
    label = "learning curves"
    tuned = run_all(tuned_steps, [{"loss": loss} for loss in LOSSES], label=f"{label}: steps", **options)
    settings = [{"loss": loss, "steps": s, "inverse_temperature": b} for loss, (s, b) in zip(LOSSES, tuned)]
    grid = [(i, name) for i in range(len(LOSSES)) for name in CLASSIFIERS]
    limits = run_all(
        limit,
        [{**settings[i], "classifier": name, "alphas": fine} for i, name in grid],
        label=f"{label}: theory",
        **options,
    )
    queries = run_all(
        trained_query,
        [{**one, "dimension": dimension, "seed": seed} for one in settings for seed in seeds],
        label=f"{label}: two steps",
        **options,
    )
    tasks = [
        {
            "loss": LOSSES[i],
            "classifier": name,
            "alpha": float(alpha),
            "dimension": wide if name == "vectorised" and alpha > WIDE else dimension,
            "query": queries[i * len(seeds) + seed] if name == "attention" else [0.0, 0.0],
            "seed": seed,
        }
        for i, name in grid
        for alpha in alphas
        for seed in seeds
    ]
    results = np.reshape(
        run_all(error_and_loss, tasks, label=f"{label}: read-outs", **options),
        (len(LOSSES), len(CLASSIFIERS), alphas.size, len(seeds), 2),
    )
    theory = np.reshape(limits, (len(LOSSES), len(CLASSIFIERS), 2, fine.size))
    lines = ("trained_on", "classifier", "fine_alpha")
    dots = ("trained_on", "classifier", "alpha", "seed")
    return xr.Dataset(
        {
            "predicted_error": (lines, theory[:, :, 0]),
            "predicted_loss": (lines, theory[:, :, 1]),
            "error": (dots, results[..., 0]),
            "loss": (dots, results[..., 1]),
            "query": (("trained_on", "seed", "of_query"), np.reshape(queries, (len(LOSSES), -1, 2))),
        },
        coords={
            "trained_on": list(LOSSES),
            "classifier": list(CLASSIFIERS),
            "fine_alpha": fine,
            "alpha": alphas,
            "of_query": ["alignment", "kappa"],
        },
        attrs={
            "title": "Learning curves of sparse-token classification",
            "caption": f"Test error (left) and training loss (right) against alpha_1 = n_1/d, for the square (above) and the "
            f"logistic loss (below); L = {LENGTH}, R = {INFORMATIVE}, theta = {SIGNAL:g}, pi = {RARITY:g}, "
            f"lambda = {PENALTY:g}. Attention's query takes two steps on other samples, alpha_0 = {ALPHA_QUERY}, with steps "
            f"and temperature chosen by theory: {'; '.join(map(chosen, settings))} (eta_b has no effect at pi = 1/2). "
            f"Lines: limit; dots: mean and standard error over {size['seeds']} draws at d = {dimension} (vectorised, which "
            f"has {LENGTH}d weights, at d = {wide} beyond alpha_1 = {WIDE:g}). Under the square loss each error peaks where "
            f"samples are as many as weights.",
        },
    )


def model(
    loss: str, dimension: int = 1000, alpha: float = ALPHAS[1], **given: Any
) -> SparseTokenClassification:
    """The model of this figure."""
    return SparseTokenClassification(
        dimension,
        LENGTH,
        INFORMATIVE,
        SIGNAL,
        RARITY,
        samples_query=ALPHA_QUERY * dimension,
        samples_readout=round(alpha * dimension),
        loss=loss,
        regularisation=PENALTY,
        **given,
    )


def tuned_steps(loss: str) -> tuple[list[float], float]:
    """Best step sizes, and the β best at the last alpha, to three digits."""
    found = model(loss).tuned()
    return [float(f"{eta:.3g}") for eta in found.steps], float(f"{found.inverse_temperature:.3g}")


def chosen(setting: dict[str, Any]) -> str:
    """Steps, temperature and query of one loss, in words."""
    query = model(**setting).predict().query
    return (
        f"{setting['loss']}, eta_w = {setting['steps'][0]:g}, eta_q = {setting['steps'][2]:g}, "
        f"β = {setting['inverse_temperature']:g}, so that the query has alignment {query.alignment:.3f} and "
        f"kappa {query.kappa:.2f}"
    )


def limit(
    loss: str, steps: list[float], inverse_temperature: float, classifier: str, alphas: np.ndarray
) -> list[np.ndarray]:
    """Test error and training loss along alphas."""
    one = model(loss, steps=steps, inverse_temperature=inverse_temperature)
    law = one.laws(one.predict().query.query)[classifier]
    found = readout(law, alphas, loss=loss, regularisation=PENALTY)
    return [found.error, found.loss]


def trained_query(
    loss: str, steps: list[float], inverse_temperature: float, dimension: int, seed: int
) -> list[float]:
    """Alignment and kappa of one query."""
    one = model(loss, dimension, steps=steps, inverse_temperature=inverse_temperature)
    found = one.simulate(seed, classifiers=()).query
    return [found.alignment, found.kappa]


def error_and_loss(
    loss: str, classifier: str, alpha: float, dimension: int, query: list[float], seed: int
) -> list[float]:
    """Test error and training loss of one read-out."""
    one = model(loss, dimension, alpha).simulate(seed, Query(*query), classifiers=(classifier,))
    trained = getattr(one, classifier)
    return [trained.error, trained.loss]


def draw(dataset: xarray.Dataset) -> Figure:
    """Two losses above each other, test error beside training loss."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
    seeds = dataset.sizes["seed"]
    for row, loss in zip(axes, dataset.trained_on.values):
        for ax, quantity in zip(row, ("error", "loss")):
            for name in dataset.classifier.values:
                part = dataset.sel(trained_on=loss, classifier=name)
                plots.curve(
                    ax,
                    dataset.fine_alpha,
                    part[f"predicted_{quantity}"],
                    at=dataset.alpha,
                    simulated=part[quantity].mean("seed"),
                    error=part[quantity].std("seed", ddof=1) / np.sqrt(seeds),
                    colour=plots.COLOURS[str(name)],
                    label=str(name),
                )
        row[0].set_ylabel("test error")
        row[1].set_ylabel("training loss")
        for ax in row:
            ax.set_title(f"{loss} loss")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    for ax in axes.flat:
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[1, 1].set_yscale("log")
    for ax in axes[1]:
        ax.set_xlabel("samples of the read-out, alpha_1 = n_1/d")
    axes[0, 1].legend()
    return figure
