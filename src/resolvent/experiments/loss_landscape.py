"""Extra: the loss landscape over weights, where joint training ends in it, and logistic beside ridge classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.downstream import (
    PooledClassifier,
    convex_limit,
    discriminant_weights,
    learned_limit,
    optimal_ridge,
    ridge_losses,
    spread_window,
)
from resolvent.models import PooledRidge, PooledSequences, ridge_accuracy
from resolvent.positions import Prefix, SingleFactor
from resolvent.sweeps import run_all
from resolvent.weights import learned, optimal

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 120, "seeds": 4, "points": 6, "fine": 21},
    "paper": {"dimension": 300, "seeds": 8, "points": 8, "fine": 61},
    "large": {"dimension": 600, "seeds": 12, "points": 10, "fine": 61},
}
DELTA, SIGNAL, LENGTH, INFORMATIVE = 1 / 3, 1.0, 20, 8
UNEQUAL = tuple([0.9] * 4 + [0.25] * 16)
RIDGES, GAMMAS = (0.5, 2.0, 6.0), (0.5, 2.0)
KINDS = ("learned", "optimal", "discriminant")
LOGISTIC_GAMMA = 1.0


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Landscape, learned weights, errors and classifiers: exact, and simulated."""
    import xarray as xr

    size = SIZES[scale]
    d, seeds = size["dimension"], range(size["seeds"])
    fine, few = np.geomspace(1e-3, 20, size["fine"]), np.geomspace(1e-3, 20, size["points"])
    shares = np.linspace(0, 1, size["points"])
    prefix, unequal = Prefix(LENGTH, INFORMATIVE), SingleFactor(UNEQUAL)
    setting = (SIGNAL, DELTA)
    paths = [path(float(t)) for t in np.linspace(0, 1, 41)]
    kappas, near = (
        np.array([w @ w for w in paths]),
        np.array([path(float(t)) @ path(float(t)) for t in shares]),
    )
    ridges = np.array(RIDGES)[:, None]
    level = ridge_losses(*setting, GAMMAS[0], 1.0, 1.0, 1 / INFORMATIVE, ridges).objective
    limits = [[learned_limit(*setting, g, prefix, float(r)) for r in fine] for g in GAMMAS]
    curves = [[unequal_limit(kind, float(r)) for r in fine] for kind in KINDS]
    given = {"dimension": d, "gamma": GAMMAS[0]}
    seen = run_all(
        objective_on_path,
        [given | {"ridge": r, "share": float(t), "seed": s} for r in RIDGES for t in shares for s in seeds],
        label="Loss landscape: path",
        **options,
    )
    found = run_all(
        learned_kappa,
        [
            {"dimension": d, "gamma": g, "ridge": float(r), "seed": s}
            for g in GAMMAS
            for r in few
            for s in seeds
        ],
        label="Loss landscape: learned",
        **options,
    )
    tested = run_all(
        unequal_errors,
        [
            {"dimension": d, "kind": kind, "ridge": float(r), "seed": s}
            for kind in KINDS
            for r in few
            for s in seeds
        ],
        label="Loss landscape: errors",
        **options,
    )
    classified = run_all(
        classifier_accuracy,
        [
            {"dimension": d, "loss": name, "ridge": float(r), "seed": s}
            for name in LOSSES
            for r in few
            for s in seeds
        ],
        label="Loss landscape: classifiers",
        **options,
    )
    w, signals = optimal(unequal.matrix), np.linspace(0.1, 2, size["fine"])
    best = [optimal_ridge(signals, DELTA, GAMMAS[0], w, UNEQUAL, by=by).ridge for by in ("error", "accuracy")]
    shape = (few.size, size["seeds"])
    on_path = np.reshape(seen, (len(RIDGES), *shape))
    return xr.Dataset(
        {
            "predicted_objective": (
                ("ridge", "kappa"),
                ridge_losses(*setting, GAMMAS[0], 1.0, 1.0, kappas, ridges).objective / level,
            ),
            "objective": (
                ("ridge", "near_kappa", "seed"),
                on_path / on_path[:, :1],  # over the same draw's value when spread
            ),
            "predicted_kappa": (("gamma", "fine_ridge"), [[f.kappa for f in row] for row in limits]),
            "learned_kappa": (("gamma", "few_ridge", "seed"), np.reshape(found, (len(GAMMAS), *shape))),
            "window": ("end", np.array(spread_window(*setting, GAMMAS[0], INFORMATIVE))),
            "predicted_error": (("weights", "fine_ridge"), np.array(curves)[..., 0]),
            "predicted_accuracy": (("weights", "fine_ridge"), np.array(curves)[..., 1]),
            "error": (("weights", "few_ridge", "seed"), np.reshape(tested, (len(KINDS), *shape, 2))[..., 0]),
            "accuracy": (
                ("weights", "few_ridge", "seed"),
                np.reshape(tested, (len(KINDS), *shape, 2))[..., 1],
            ),
            "predicted_classifier": (
                ("loss", "fine_ridge"),
                [
                    convex_limit(*setting, LOGISTIC_GAMMA, w, UNEQUAL, fine, loss=name).accuracy
                    for name in LOSSES
                ],
            ),
            "classifier": (("loss", "few_ridge", "seed"), np.reshape(classified, (len(LOSSES), *shape))),
            "best_ridge": (("by", "signal"), best),
        },
        coords={
            "ridge": list(RIDGES),
            "kappa": kappas,
            "near_kappa": near,
            "gamma": list(GAMMAS),
            "fine_ridge": fine,
            "few_ridge": few,
            "weights": list(KINDS),
            "loss": list(LOSSES),
            "by": ["error", "accuracy"],
            "signal": signals,
            "seed": list(seeds),
        },
        attrs={
            "title": "The loss landscape over weights, and classifiers on pooled features",
            "caption": f"d = {d}, d/V = 1/3, ‖mu‖ = {SIGNAL:g}, T = {LENGTH}; lines: exact limits, dots: mean and standard "
            f"error of {size['seeds']} draws. (a) Ridge training objective along weights from spread over the prefix of "
            f"{INFORMATIVE} (left) to one position (right), over its value at the left in the same draw; d/N = {GAMMAS[0]:g}. (b) ‖w‖² of the "
            "jointly trained weights: between the dotted penalties they stay spread, outside one position takes all; "
            f"with d/N = {GAMMAS[1]:g} it always does. (c, d) Test error and accuracy with loadings 0.9 (4 positions) and 0.25 "
            f"(16), d/N = {GAMMAS[0]:g}: learned, optimal-by-R and discriminant weights (a finite sample's learned weights err more, in proportion to 1/d). (e) Accuracy of "
            f"logistic and square loss on optimal-by-R weights, same loadings, d/N = {LOGISTIC_GAMMA:g}. (f) Best penalty by test "
            "error and by accuracy (0 and infinity are not drawn).",
        },
    )


LOSSES = ("logistic", "square")


def path(share: float) -> np.ndarray:
    """Weights on the prefix, from equal ones to the first position alone."""
    w = np.zeros(LENGTH)
    w[:INFORMATIVE] = (1 - share) / INFORMATIVE
    w[0] += share
    return w


def sequences(dimension: int, gamma: float, positions: SingleFactor, weights: Any) -> PooledSequences:
    """The model of this figure."""
    vocabulary = 2 * round(dimension / DELTA / 2)
    return PooledSequences(dimension, vocabulary, round(dimension / gamma), positions, weights, SIGNAL)


def objective_on_path(dimension: int, gamma: float, ridge: float, share: float, seed: int) -> float:
    """Ridge training objective in one draw."""
    model = sequences(dimension, gamma, Prefix(LENGTH, INFORMATIVE), path(share))
    return 2 * PooledClassifier(model, ridge, "square").simulate(seed, test_samples=1).objective


def learned_kappa(dimension: int, gamma: float, ridge: float, seed: int) -> float:
    """‖w‖² of the weights learned in one draw."""
    found: list[np.ndarray] = []

    def learn(table: np.ndarray, tokens: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found.append(learned(table, tokens, labels, ridge=ridge, rng=seed))
        return found[0]

    model = sequences(dimension, gamma, Prefix(LENGTH, INFORMATIVE), "mean")
    PooledRidge(model, ridge).simulate(seed, test_samples=1, weights=learn)
    return float(found[0] @ found[0])


def unequal_limit(kind: str, ridge: float) -> list[float]:
    """Test error and accuracy in the limit, with unequal loadings."""
    positions = SingleFactor(UNEQUAL)
    if kind == "learned":
        found = learned_limit(SIGNAL, DELTA, GAMMAS[0], positions, ridge)
        return [found.error, found.accuracy]
    w, c = unequal_weights(kind), positions.loadings
    a, alpha, kappa = w @ c, positions.pooled_signal(w), w @ w
    error = ridge_losses(SIGNAL, DELTA, GAMMAS[0], a, alpha, kappa, ridge).error
    return [float(error), float(ridge_accuracy(SIGNAL, DELTA, GAMMAS[0], w, c, ridge))]


def unequal_weights(kind: str) -> np.ndarray:
    """Optimal-by-R or discriminant weights for the unequal loadings."""
    positions = SingleFactor(UNEQUAL)
    return optimal(positions.matrix) if kind == "optimal" else discriminant_weights(SIGNAL, DELTA, positions)


def unequal_errors(dimension: int, kind: str, ridge: float, seed: int) -> list[float]:
    """Test error and accuracy in one draw, with unequal loadings."""

    def learn(table: np.ndarray, tokens: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return learned(table, tokens, labels, ridge=ridge, rng=seed)

    weights = "mean" if kind == "learned" else unequal_weights(kind)
    model = PooledRidge(sequences(dimension, GAMMAS[0], SingleFactor(UNEQUAL), weights), ridge)
    draw = model.simulate(seed, weights=learn if kind == "learned" else None)
    return [draw.error, draw.accuracy]


def classifier_accuracy(dimension: int, loss: str, ridge: float, seed: int) -> float:
    """Test accuracy of one trained classifier."""
    model = sequences(dimension, LOGISTIC_GAMMA, SingleFactor(UNEQUAL), "optimal")
    return PooledClassifier(model, ridge, loss).simulate(seed).accuracy


def draw(dataset: xarray.Dataset) -> Figure:
    """Landscape, learned weights, errors, accuracies, classifiers, best penalties."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, ((first, second, third), (fourth, fifth, sixth)) = plt.subplots(2, 3, figsize=(14, 7.6))
    palette = [plots.COLOURS[name] for name in ("mean", "causal", "optimal")]
    seeds = np.sqrt(dataset.sizes["seed"])

    def both(ax: Any, x: Any, theory: Any, at: Any, simulated: Any, colour: str, label: str) -> None:
        plots.curve(
            ax,
            x,
            theory,
            at=at,
            simulated=simulated.mean("seed"),
            error=simulated.std("seed", ddof=1) / seeds,
            colour=colour,
            label=label,
        )

    for ridge, colour in zip(dataset.ridge.values, palette):
        part = dataset.sel(ridge=ridge)
        label = f"penalty {ridge:g}"
        both(first, part.kappa, part.predicted_objective, part.near_kappa, part.objective, colour, label)
    first.set_xlabel("‖w‖² at full weight on the prefix")
    first.set_ylabel("training objective, over its value when spread")
    first.set_title("(a) the ends are the minima")
    first.legend()
    for gamma, colour in zip(dataset.gamma.values, palette):
        part = dataset.sel(gamma=gamma)
        label = f"d/N = {gamma:g}"
        both(second, part.fine_ridge, part.predicted_kappa, part.few_ridge, part.learned_kappa, colour, label)
    for end in dataset.window.values[dataset.window.values > 0]:
        second.axvline(end, color=palette[0], ls=":", lw=1.2)
    second.set_ylabel("‖w‖² of learned weights")
    second.set_title("(b) learned weights spread or condense")
    second.legend(loc="center left")
    colours = [plots.COLOURS[name] for name in ("learned", "optimal", "mean")]
    for ax, name in ((third, "error"), (fourth, "accuracy")):
        for kind, colour in zip(dataset.weights.values, colours):
            part = dataset.sel(weights=kind)
            both(
                ax, part.fine_ridge, part[f"predicted_{name}"], part.few_ridge, part[name], colour, str(kind)
            )
        ax.legend()
    third.set_ylabel("test mean squared error")
    third.set_title("(c) unequal loadings: error")
    fourth.set_ylabel("test accuracy")
    fourth.set_title("(d) unequal loadings: accuracy")
    for name, colour in zip(dataset.loss.values, palette):
        part = dataset.sel(loss=name)
        both(
            fifth,
            part.fine_ridge,
            part.predicted_classifier,
            part.few_ridge,
            part.classifier,
            colour,
            str(name),
        )
    fifth.set_ylabel("test accuracy")
    fifth.set_title("(e) logistic and square loss")
    fifth.legend()
    for by, colour in zip(dataset.by.values, palette):
        best = dataset.best_ridge.sel(by=by)
        drawn = best.where((best > 0) & np.isfinite(best))
        sixth.plot(dataset.signal, drawn, ls=plots.DASHES[colour], color=colour, label=f"by {by}")
    sixth.set_yscale("log")
    sixth.set_xlabel("signal ‖μ‖")
    sixth.set_ylabel("best penalty")
    sixth.set_title("(f) best penalty")
    sixth.legend()
    for ax in (second, third, fourth, fifth):
        ax.set_xscale("log")
        ax.set_xlabel("penalty")
    return figure
