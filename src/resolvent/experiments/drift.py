"""Extra: tasks that drift along the prompt, where H3 weighs positions and linear attention cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.in_context import GaussianTasks, autoregressive, online
from resolvent.models.in_context import InContextRegression
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"prompts": 10_000, "drifts": 10},
    "paper": {"prompts": 100_000, "drifts": 12},
    "large": {"prompts": 500_000, "drifts": 16},
}
DIMENSION, LENGTH, NOISE, DECAY = 10, 30, 0.5, 1.0
LAYERS = ("attention", "h3", "per_channel")
FAST, SLOW = 0.5, 0.001  # 1 - rho at the ends of the axis
RHOS = (0.8, 0.9, 0.95, 0.99)
FITTED = 0.05  # fitted weights are shown where the exact ones are above
ONLINE_DIMENSION, ONLINE = 20, 40
MORE = 4  # times the prompts, for what needs no posterior
BLOCK = 500


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Risks against the drift; weights against the lag; risks of one layer made for all lengths."""
    import xarray as xr

    prompts, drifts = SIZES[scale]["prompts"], SIZES[scale]["drifts"]
    some, fine = 1 - np.geomspace(FAST, SLOW, drifts), 1 - np.geomspace(FAST, SLOW, 81)
    predicted = [model(rho).predict() for rho in fine]
    zero = predicted[0].zero
    jobs = [{"rho": float(rho), "prompts": prompts, "seed": seed} for seed, rho in enumerate(some, 1)]
    found = np.array(run_all(risks, jobs, label="Drift", **options)).transpose(2, 1, 0)
    weights = np.array([model(rho).predict().weights[::-1] for rho in RHOS])
    jobs = [{"rho": rho, "prompts": MORE * prompts, "seed": seed} for seed, rho in enumerate(RHOS, 100)]
    fitted = np.array(run_all(fitted_weights, jobs, label="Drift, weights", **options)).transpose(1, 0, 2)
    shown = weights >= FITTED
    exact = excess()
    jobs = [{"prompts": MORE * prompts, "seed": 200}]
    (paired,) = run_all(simulated_excess, jobs, label="Drift, online", **options)

    deviations = (
        (found[0] - found[2]) / np.hypot(found[1], found[3]),
        ((fitted[0] - weights) / fitted[1])[shown],
        # attention for all lengths is the one made for (2N + 1)/3 = 27: there both are rounding only
        (paired[0] - exact) / np.hypot(paired[1], 1e-12),
    )
    worst = max(np.abs(z).max() for z in deviations)
    count = sum(z.size for z in deviations)
    still = model(1.0).predict()
    nine = model(0.9).predict()
    assert nine.per_channel is not None
    step = ", ".join(f"{w[9] / w[8]:.3f}" for w in weights)
    shared = online_layers()
    mean_risk = [shared[name].risk / ONLINE_DIMENSION for name in LAYERS[:2]]
    own = least() / ONLINE_DIMENSION
    return xr.Dataset(
        {
            "risk": (
                ("layer", "fine_rho"),
                [[getattr(p, name) / zero for p in predicted] for name in LAYERS],
            ),
            "exact": (("predictor", "rho"), found[2] / zero),
            "simulated": (("predictor", "rho"), found[0] / zero),
            "standard_error": (("predictor", "rho"), found[1] / zero),
            "weights": (("drift", "lag"), weights),
            "fitted": (("drift", "lag"), np.where(shown, fitted[0], np.nan)),
            "fitted_error": (("drift", "lag"), np.where(shown, fitted[1], np.nan)),
            "correlation": (("drift", "lag"), np.power.outer(RHOS, np.arange(LENGTH))),
            "excess": (("shared", "length"), exact / ONLINE_DIMENSION),
            "simulated_excess": (("shared", "length"), paired[0] / ONLINE_DIMENSION),
            "excess_error": (("shared", "length"), paired[1] / ONLINE_DIMENSION),
        },
        coords={
            "layer": list(LAYERS),
            "predictor": [*LAYERS, "bayes"],
            "shared": list(LAYERS[:2]),
            "fine_rho": fine,
            "rho": some,
            "drift": list(RHOS),
            "lag": np.arange(1, LENGTH + 1),
            "length": np.arange(1, ONLINE + 1),
        },
        attrs={
            "title": "Drifting tasks: attention and H3",
            "caption": f"(a) Risk over that of predicting zero, for tasks that drift as AR(1), E β_i β_jᵀ ∝ rho^|i − j|; "
            f"n = {LENGTH} examples, d = {DIMENSION}, noise variance {NOISE:g}, task covariance of trace d with eigenvalues ∝ "
            f"1/k. Lines: exact (Bayes, which is Kalman's filter: mean posterior variance of 20,000 prompts at the dots); dots: "
            f"mean and standard error over {prompts:,} fresh prompts. At rho = 0.9: attention {nine.attention / zero:.3f}, H3 "
            f"with one filter {nine.h3 / zero:.3f}, with a filter per channel {nine.per_channel / zero:.3f}; without "
            f"drift all three {still.attention / zero:.3f} and Bayes {still.bayes / zero:.3f}. (b) The best weights of H3, "
            "lag 1 the position before the query; thin: the correlation rho^(lag − 1), slower for every rho: from lag 9 to 10 "
            f"weights fall by the factors {step} for rho = {', '.join(map(str, RHOS))}. Dots: weights fitted by least squares to "
            f"{MORE * prompts:,} prompts, where the exact ones are above {FITTED:g}. (c) No drift, but one layer for all lengths "
            f"1 … {ONLINE} (d = {ONLINE_DIMENSION}, covariance I, no noise): risk over d beyond that of attention made for each "
            f"length alone, on the same {MORE * prompts:,} prompts. Mean over lengths: attention {mean_risk[0]:.4f}, H3 "
            f"{mean_risk[1]:.4f}, made for each {own.mean():.4f}. Largest of {count} deviations {worst:.1f} standard errors.",
        },
    )


def model(rho: float) -> InContextRegression:
    """Prompts of panels a and b."""
    values = np.arange(1, DIMENSION + 1) ** -DECAY
    R, r = autoregressive(LENGTH, float(rho))
    values *= DIMENSION / values.sum()
    return InContextRegression(
        GaussianTasks(task_covariance=values, noise=NOISE, correlation=R, query_correlation=r)
    )


def risks(rho: float, prompts: int, seed: int) -> list[list[float]]:
    """For every predictor: mean squared error, its standard error, exact risk and the spread of that."""
    found = model(rho)
    prediction, drawn = found.predict(), found.simulate(seed, prompts=prompts)
    return [
        [
            getattr(drawn, name),
            drawn.standard_error[name],
            getattr(prediction, name),
            prediction.bayes_spread if name == "bayes" else 0.0,
        ]
        for name in (*LAYERS, "bayes")
    ]


def fitted_weights(rho: float, prompts: int, seed: int) -> np.ndarray:
    """Weights by lag that least squares finds for H3's own W, and their standard errors, shape (2, n).

    Errors come from the scores of blocks of prompts, which holds for tails of any weight.
    """
    law, W = model(rho).tasks, model(rho).predict().h3_preconditioner
    rng = np.random.default_rng(seed)
    grams, sums = [], []
    for _ in range(max(2, prompts // BLOCK)):
        x, labels, query, last = law.sample(BLOCK, LENGTH, rng)
        terms = ((x @ (query @ W)[:, :, None])[:, :, 0] * labels)[:, ::-1]
        grams.append(terms.T @ terms)
        sums.append(last @ terms)
    inverse = np.linalg.inv(np.sum(grams, axis=0))
    w = inverse @ np.sum(sums, axis=0)
    scores = np.array(sums) - np.array(grams) @ w
    spread = scores.T @ scores * len(scores) / (len(scores) - 1)
    return np.array([w, np.sqrt(np.diag(inverse @ spread @ inverse))])


def online_layers() -> dict[str, Any]:
    """One layer for all lengths, of either kind."""
    tasks, lengths = GaussianTasks(ONLINE_DIMENSION), np.arange(1, ONLINE + 1)
    return {name: online(tasks, lengths, weighted=name == "h3") for name in LAYERS[:2]}


def least() -> np.ndarray:
    """Risk of attention made for each length alone."""
    tasks = GaussianTasks(ONLINE_DIMENSION)
    return np.array([InContextRegression(tasks, n).predict().attention for n in range(1, ONLINE + 1)])


def excess() -> np.ndarray:
    """Exact risk of the shared layers beyond the least one, shape (layers, lengths)."""
    return np.array([layer.risks for layer in online_layers().values()]) - least()


def simulated_excess(prompts: int, seed: int) -> np.ndarray:
    """The same as a difference on the same prompts, and its standard error, shape (2, layers, lengths)."""
    tasks, rng = GaussianTasks(ONLINE_DIMENSION), np.random.default_rng(seed)
    layers = [(layer.preconditioner, layer.filter) for layer in online_layers().values()]
    own = [tasks.preconditioner(np.ones(n))[0, 0] for n in range(1, ONLINE + 1)]
    moments = np.zeros((2, len(layers), ONLINE))
    for start in range(0, prompts, BLOCK):
        x, labels, query, last = tasks.sample(min(BLOCK, prompts - start), ONLINE, rng)

        def terms(keys: np.ndarray) -> np.ndarray:
            return ((x @ keys[:, :, None])[:, :, 0] * labels)[:, ::-1]  # noqa: B023 (used within this turn)

        alone = (last[:, None] - own * np.cumsum(terms(query), axis=1)) ** 2
        for i, (W, f) in enumerate(layers):
            difference = (last[:, None] - np.cumsum(terms(query @ W) * f, axis=1)) ** 2 - alone
            moments[:, i] += difference.sum(axis=0), (difference**2).sum(axis=0)
    mean, square = moments / prompts
    return np.array([mean, np.sqrt((square - mean**2) / (prompts - 1))])


def draw(dataset: xarray.Dataset) -> Figure:
    """Risk against the drift, weights against the lag, and what one layer for all lengths loses."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    names = {
        "attention": "attention",
        "h3": "H3",
        "per_channel": "H3, a filter per channel",
        "bayes": "Bayes (Kalman)",
    }
    for name in dataset.predictor.values:
        part = dataset.sel(predictor=name)
        lined = name in dataset.layer.values
        plots.curve(
            axes[0],
            1 - (dataset.fine_rho if lined else dataset.rho),
            dataset.risk.sel(layer=name) if lined else part.exact,
            at=1 - dataset.rho,
            simulated=part.simulated,
            error=part.standard_error,
            colour=plots.COLOURS[str(name)],
            label=names[str(name)],
            line="--" if name == "per_channel" else None,
        )
    axes[0].set_xscale("log")
    axes[0].invert_xaxis()
    ticks = [0.5, 0.2, 0.1, 0.05, 0.01, 0.001]
    axes[0].set_xticks(ticks, [f"{1 - t:g}" for t in ticks])
    axes[0].minorticks_off()
    axes[0].set(
        ylim=(0, 1.05), xlabel="rho (drift slows to the right)", ylabel="risk / risk of predicting zero"
    )
    axes[0].set_title(f"(a) drifting tasks, n = {LENGTH}")
    for rho, hue in zip(dataset.drift.values, ("mean", "causal", "optimal", "learned")):
        part, colour = dataset.sel(drift=rho), plots.COLOURS[hue]
        axes[1].plot(part.lag, part.correlation, lw=0.8, color=colour)
        plots.curve(
            axes[1],
            part.lag,
            part.weights,
            simulated=part.fitted,
            error=part.fitted_error,
            colour=colour,
            label=f"rho = {rho:g}",
        )
    axes[1].plot([], [], lw=0.8, color="black", label="rho^(lag − 1)")
    axes[1].set_yscale("log")
    axes[1].set(
        ylim=(1e-3, 1.5), xlabel="lag", ylabel="weight / weight of lag 1", title="(b) best weights of H3"
    )
    for name in dataset.shared.values:
        part = dataset.sel(shared=name)
        plots.curve(
            axes[2],
            part.length,
            part.excess,
            simulated=part.simulated_excess,
            error=part.excess_error,
            colour=plots.COLOURS[str(name)],
            label=names[str(name)],
        )
    axes[2].set(
        xlabel="examples n", ylabel="risk / d beyond the least at n", title="(c) one layer for all lengths"
    )
    for ax in axes:
        ax.legend()
    return figure
