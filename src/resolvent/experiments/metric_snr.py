"""Signal to noise of attention-pooled tokens against the inverse temperature, by metric; theory and simulation."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.models.elliptical import EllipticalPooling
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"points": 21, "simulated": 5, "seeds": 4},
    "paper": {"points": 61, "simulated": 9, "seeds": 10},
    "large": {"points": 81, "simulated": 13, "seeds": 20},
}
DIMENSION, LENGTH, SAMPLES, SIGNAL, AGREEMENT, LARGEST = 128, 64, 512, 1.5, 0.6, 0.4
CASES: dict[str, dict[str, Any]] = {
    "isotropic": {"metric": "isotropic"},
    "estimated diagonal": {"metric": "estimated"},
    "oracle, b = a/10": {"metric": (1.0, 0.1)},
    "wrong coordinate, b = a/10": {"metric": (1.0, 0.1), "axis": 0.0},
    "spread signal: estimated diagonal": {"metric": "estimated", "localised": False},
    "spread signal: full": {"metric": "full", "localised": False},
}
PANELS = (tuple(CASES)[:4], (*tuple(CASES)[4:],))
COLOURS = dict(zip(CASES, ("#0072B2", "#E69F00", "#009E73", "#777777", "#E69F00", "#CC79A7")))


def run(scale: str, **options: Any) -> xarray.Dataset:
    """The snr by theory, exact at this length and in the limit, and simulated."""
    import xarray as xr

    size = SIZES[scale]
    fine = np.linspace(0, LARGEST, size["points"])
    beta = np.linspace(0, LARGEST, size["simulated"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # moments are exact where weights condense
        theory = [[model(case, b).predict() for b in fine] for case in CASES]
    tasks = [
        {"case": case, "beta": float(b), "seed": seed}
        for case in CASES
        for b in beta
        for seed in range(size["seeds"])
    ]
    simulated = np.reshape(
        run_all(snr, tasks, label="snr by metric", **options), (len(CASES), beta.size, size["seeds"])
    )
    return xr.Dataset(
        {
            "predicted_snr": (("case", "fine_beta"), [[p.snr for p in row] for row in theory]),
            "limit_snr": (
                ("case", "fine_beta"),
                [[np.nan if p.condensed else p.limit[2] for p in row] for row in theory],
            ),
            "snr": (("case", "beta", "seed"), simulated),
        },
        coords={"case": list(CASES), "fine_beta": fine, "beta": beta, "seed": range(size["seeds"])},
        attrs={
            "title": "What a metric gains in the signal-to-noise ratio of pooled tokens",
            "caption": f"θ² alpha/kappa_perp against the inverse temperature; d = {DIMENSION}, L = {LENGTH}, N = {SAMPLES}, "
            f"θ = {SIGNAL:g}, p = {AGREEMENT:g}. Lines: theory, exact at this length; dashed: limit of long sequences, "
            f"while the weights do not condense; dots: mean and standard error over {size['seeds']} seeds. Right: a "
            "signal spread over all coordinates, for which a diagonal metric gains nothing.",
        },
    )


def model(case: str, beta: float) -> EllipticalPooling:
    """The model of one curve at one inverse temperature."""
    return EllipticalPooling(
        DIMENSION, LENGTH, SAMPLES, SIGNAL, AGREEMENT, inverse_temperature=float(beta), **CASES[case]
    )


def snr(case: str, beta: float, seed: int) -> float:
    """The snr of one draw."""
    return model(case, beta).simulate(seed).snr


def draw(dataset: xarray.Dataset) -> Figure:
    """A localised signal on the left, a spread one on the right."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for ax, cases in zip(axes, PANELS):
        for case in cases:
            part = dataset.sel(case=case)
            ax.plot(part.fine_beta, part.limit_snr, "--", color=COLOURS[case], lw=1)
            plots.curve(
                ax,
                part.fine_beta,
                part.predicted_snr,
                at=part.beta,
                simulated=part.snr.mean("seed"),
                error=part.snr.std("seed", ddof=1) / np.sqrt(part.sizes["seed"]),
                colour=COLOURS[case],
                label=case.removeprefix("spread signal: "),
            )
        if "isotropic" not in cases:  # the same whatever the direction of the signal
            ax.plot(
                dataset.fine_beta,
                dataset.predicted_snr.sel(case="isotropic"),
                ":",
                color="#0072B2",
                label="isotropic",
            )
        ax.set_xlabel("inverse temperature β")
        ax.legend(loc="upper right")
    axes[0].set_title("signal on one coordinate")
    axes[1].set_title("signal spread over all coordinates")
    axes[0].set_ylabel("snr θ² alpha / kappa_perp")
    axes[0].set_ylim(0, 36)
    return figure
