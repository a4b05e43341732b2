"""Errors of the best pooled, vectorised, attention and Bayes classifiers against the length of the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.sparse_token.oracle import hardmax_error, oracle_errors, pooled_error, vectorised_bound
from resolvent.sparse_token.tokens import SparseTokens
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"longest": 10_000, "lengths": 7, "draws": 2_000},
    "paper": {"longest": 30_000, "lengths": 8, "draws": 10_000},
    "large": {"longest": 100_000, "lengths": 13, "draws": 20_000},
}
SHORTEST, INFORMATIVE, RARITY, FACTOR = 10, 1, 0.5, 1.0
SIGNALS = {"log L": np.log, "√L": np.sqrt}


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Closed forms on a fine grid of lengths; attention and Bayes by Monte Carlo on a few."""
    import xarray as xr

    size = SIZES[scale]
    lengths = np.geomspace(SHORTEST, size["longest"], size["lengths"]).round().astype(int)
    fine = np.unique(np.geomspace(SHORTEST, size["longest"], 161).round().astype(int))
    theta = np.array([FACTOR * growth(fine) for growth in SIGNALS.values()])
    mu = theta * INFORMATIVE / np.sqrt(fine)
    tasks = [
        {"length": int(length), "signal": FACTOR * float(growth(length)), "draws": size["draws"]}
        for growth in SIGNALS.values()
        for length in lengths
    ]
    results = run_all(errors, tasks, label="oracle errors", **options)
    values = np.reshape(results, (len(SIGNALS), lengths.size, 4))
    return xr.Dataset(
        {
            "pooled": (("growth", "fine_length"), pooled_error(mu, RARITY)),
            "vectorised_bound": (("growth", "fine_length"), vectorised_bound(mu, RARITY)),
            "hardmax": (("growth", "fine_length"), hardmax_error(fine, INFORMATIVE, theta, RARITY)),
            "attention": (("growth", "length"), values[..., 0]),
            "attention_spread": (("growth", "length"), values[..., 1]),
            "bayes": (("growth", "length"), values[..., 2]),
            "bayes_spread": (("growth", "length"), values[..., 3]),
            "pooled_limit": ("growth", pooled_error([0.0, FACTOR * INFORMATIVE], RARITY)),
        },
        coords={"growth": list(SIGNALS), "length": lengths, "fine_length": fine},
        attrs={
            "title": "What the best classifiers of sparse tokens reach",
            "caption": f"Test error with the signal direction known; R = {INFORMATIVE} of L tokens carries the signal "
            f"theta = {FACTOR:g}·log L (left) or {FACTOR:g}·√L (right), P(y = +1) = {RARITY:g}. Pooled: exact; dotted: its "
            "limit. Vectorised: a lower bound that all L·d weights obey; where it meets the pooled error, pooling is the "
            f"best of them. Attention: kappa and intercept tuned, then reported on {size['draws']:,} fresh draws (dots); exact for "
            "the hard max, kappa = ∞ (line). Bayes: likelihood ratio, same draws. Bars: standard errors.",
        },
    )


def errors(length: int, signal: float, draws: int) -> list[float]:
    """Attention and Bayes, each with its standard error."""
    found = oracle_errors(SparseTokens(length, INFORMATIVE, signal, RARITY), draws=draws)
    return [found.attention, found.attention_spread, found.bayes, found.bayes_spread]


def draw(dataset: xarray.Dataset) -> Figure:
    """Error against length, one panel for each growth of the signal."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for ax, growth in zip(axes, dataset.growth.values):
        part = dataset.sel(growth=growth)
        ax.axhline(float(part.pooled_limit), ls=":", lw=1.2, color=plots.COLOURS["grey"])
        # wider, for the bound to show on top of it
        ax.plot(part.fine_length, part.pooled, lw=4, color=plots.COLOURS["pooled"], label="pooled")
        plots.curve(
            ax,
            part.fine_length,
            part.vectorised_bound,
            colour=plots.COLOURS["vectorised"],
            label="vectorised, lower bound",
            line="--",
        )
        plots.curve(
            ax,
            part.fine_length,
            part.hardmax,
            at=part.length,
            simulated=part.attention,
            error=part.attention_spread,
            colour=plots.COLOURS["attention"],
            label="attention (line: hard max)",
        )
        ax.plot(
            part.length,
            part.bayes,
            "x",
            ms=8,
            mew=1.6,
            color=plots.COLOURS["optimal"],
            label="Bayes",
            zorder=3,
        )
        ax.set_xscale("log")
        ax.set_xlabel("length L")
        ax.set_title(f"signal theta = {growth}")
        ax.set_ylim(-0.015, 0.53)
    axes[0].set_ylabel("test error")
    axes[0].legend(loc="center right", bbox_to_anchor=(1, 0.42))
    return figure
