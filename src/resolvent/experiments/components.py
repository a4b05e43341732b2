"""Extra 5: how many components are real? Every counting rule on samples of a two-factor law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import spikes
from resolvent.diagnosis import diagnose
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run", "sample"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"dimension": 400, "seeds": 5},
    "paper": {"dimension": 400, "seeds": 10},
    "large": {"dimension": 1000, "seeds": 20},
}
DELTA, GAMMA = 1 / 4, 1 / 3
SPIKES = (5.0, 3.0, 1.75)  # net, in units of the noise: the last has overlap 0.63
PERMUTATIONS = 20

# name -> (law of `diagnose`, its rule)
RULES = {
    "two factors, Tracy-Widom": ("auto", "Tracy-Widom"),
    "two factors, edge": ("auto", "bulk edge"),
    "Marchenko-Pastur, Tracy-Widom": ("plain", "Tracy-Widom"),
    "Marchenko-Pastur, edge": ("plain", "bulk edge"),
    "Gavish-Donoho": ("plain", "Gavish-Donoho"),
    "parallel analysis, limit": ("auto", "parallel analysis"),
    "parallel analysis, drawn": ("plain", "parallel analysis"),
}


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Count samples without and with spikes, by every rule."""
    import xarray as xr

    dimension, seeds = SIZES[scale]["dimension"], range(SIZES[scale]["seeds"])
    truths = (0, len(SPIKES))
    tasks = [{"dimension": dimension, "truth": truth, "seed": seed} for truth in truths for seed in seeds]
    found = np.array(run_all(counts, tasks, label="Extra 5", **options))
    found = np.moveaxis(found.reshape(len(truths), len(seeds), len(RULES), 2), 2, 0)
    coords = {"rule": list(RULES), "spikes": list(truths), "seed": list(seeds)}
    count = xr.DataArray(found[..., 0].astype(int), coords, ("rule", "spikes", "seed"))
    void = xr.DataArray(found[..., 1].astype(int), coords, ("rule", "spikes", "seed"))
    described = "; ".join(
        f"{rule} "
        + " and ".join(
            f"{part.min():.0f}" + (f" to {part.max():.0f}" if part.max() > part.min() else "")
            for part in count.sel(rule=rule).values
        )
        + f", right in {int((count.sel(rule=rule) == count.spikes).sum())}"
        for rule in RULES
    )
    overlaps = spikes.overlap(np.array(SPIKES), DELTA, GAMMA)
    return xr.Dataset(
        {
            "count": count,
            "void": void,
            "outlier": ("spike", spikes.outlier(np.array(SPIKES), DELTA, GAMMA)),
            "overlap": ("spike", overlaps),
        },
        coords={"spike": list(SPIKES)},
        attrs={
            "title": "How many components are real?",
            "caption": f"Components counted by each rule in {len(seeds)} samples of {round(dimension / GAMMA)} x "
            f"{dimension} of the two-factor model (delta = {DELTA:g}, gamma = {GAMMA:.3g}) without a spike and with three "
            f"(squared overlaps {', '.join(f'{o:.2f}' for o in overlaps)}), one dot a sample; lines mark the right answers, "
            f"0 and {len(SPIKES)}. Counted without and with spikes, and right in how many of {len(tasks)}: {described}. The first rule is the answer of diagnose, which fits "
            "the law; the others assume one factor, white noise or independent columns. Open dots: counts that diagnose "
            f"itself marks as void. Parallel analysis: the limit, and the 95 % quantile of {PERMUTATIONS} permutations.",
        },
    )


def sample(dimension: int, truth: int, seed: int) -> np.ndarray:
    """One sample X = G Z/√V + sum_k √q_k g_k u_kᵀ, shape (N, d), with the first `truth` of the spikes q_k."""
    rng = np.random.default_rng(seed)
    vocabulary, samples = round(dimension / DELTA), round(dimension / GAMMA)
    table = rng.standard_normal((vocabulary, dimension)) / np.sqrt(vocabulary)
    x = rng.standard_normal((samples, vocabulary)) @ table
    directions, _ = np.linalg.qr(rng.standard_normal((dimension, len(SPIKES))))
    scores = rng.standard_normal((samples, len(SPIKES))) * np.sqrt(SPIKES)
    return x + scores[:, :truth] @ directions[:, :truth].T


def counts(dimension: int, truth: int, seed: int) -> np.ndarray:
    """Count of one sample by each of `RULES`, and whether it is void, shape (rules, 2)."""
    x = sample(dimension, truth, seed)
    reports = {
        "auto": diagnose(x),
        "plain": diagnose(x, law="plain", permutations=PERMUTATIONS, rng=seed),
    }
    found = [reports[law].count(rule) for law, rule in RULES.values()]
    return np.array([(np.nan if c.count is None else c.count, c.void is not None) for c in found])


def draw(dataset: xarray.Dataset) -> Figure:
    """One row a rule, one colour a setting."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    names = [str(name) for name in dataset.rule.values]
    figure, ax = plt.subplots(figsize=(9, 4.6))
    styles = ((plots.COLOURS["mean"], "o", "no spike"), (plots.COLOURS["causal"], "D", "three spikes"))
    seeds = dataset.sizes["seed"]
    for i, (colour, marker, label) in enumerate(styles):
        truth = int(dataset.spikes[i])
        line = ("-", "--")[i]
        ax.axvline(truth, color=colour, lw=1.6, ls=line, zorder=1, label=f"right answer, {label}: {truth}")
        for y, name in enumerate(names):
            part = dataset.sel(rule=name).isel(spikes=i)
            offset = (0.2, -0.2)[1 - i] + np.linspace(-0.12, 0.12, seeds) * (seeds > 1)
            for value, void, height in zip(part["count"].values, part.void.values, y + offset):
                ax.plot(value, height, marker, ms=5, color=colour, mfc="white" if void else colour, zorder=3)
        ax.plot([], [], marker, ls="", ms=5, color=colour, label=label)
    ax.plot([], [], "o", ls="", ms=5, color=plots.COLOURS["grey"], mfc="white", label="open: void")
    ax.set_xscale("symlog", linthresh=3, linscale=1.1)
    top = int(dataset["count"].max())
    ticks = [t for t in (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if t <= 1.3 * top]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlim(-0.4, 1.35 * max(top, 3))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("components counted (linear up to 3, logarithmic beyond)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=8.5)
    return figure
