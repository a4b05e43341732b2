"""Extra: what is claimed for elliptical attention, against controls, on digits and on a small text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.experiments.depth_similarity import (
    NAMES,
    SIZES,
    SOURCES,
    UNKNOWN,
    VARIANTS,
    images,
    label,
    mean_and_error,
    missing,
    network,
    tasks,
    trained,
    windows,
)
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import torch
    import xarray
    from matplotlib.figure import Figure

__all__ = ["CLAIMS", "COMPARISONS", "SIZES", "draw", "judged", "missing", "run"]

PATCHES, NOISE, FGSM, PGD, PGD_STEPS = 4, 0.3, 0.1, 0.05, 10  # of pixels in [0, 1]
SWAPS = (0.10, 0.25)
LEVEL = 0.01


@dataclass(frozen=True)
class Claim:
    """One row: the measured number, its name, and whether the claim is that it is higher (1) or lower (-1)."""

    source: str
    number: str
    label: str
    better: int


CLAIMS = (
    Claim("digits", "clean", "accuracy, clean", 1),
    Claim("digits", "patches", f"accuracy, {PATCHES} of 16 patches noise", 1),
    Claim("digits", "noise", f"accuracy, Gaussian noise {NOISE:g}", 1),
    Claim("digits", "fgsm", f"accuracy, FGSM {FGSM:g}", 1),
    Claim("digits", "pgd", f"accuracy, PGD-{PGD_STEPS} {PGD:g}", 1),
    Claim("digits", "residual", "token cosine, residual stream", -1),
    Claim("digits", "output", "token cosine, attention output", -1),
    Claim("text", "clean", "perplexity, clean", -1),
    Claim("text", "swap_10", "perplexity, 10 % of words swapped", -1),
    Claim("text", "swap_25", "perplexity, 25 % of words swapped", -1),
    Claim("text", "residual", "token cosine, residual stream", -1),
    Claim("text", "output", "token cosine, attention output", -1),
)
# who must beat whom; the mean of a mean-scaled metric is 1, so that dot is its matched temperature already
COMPARISONS = (
    ("elliptical", "dot"),
    ("elliptical", "temperature"),
    ("elliptical_mean", "dot"),
    ("look_ahead", "elliptical"),
)
WORDS = {1: "reproduces", -1: "does not", 0: "undecided"}


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Every variant trained with every seed, attacked, and judged by paired differences."""
    import xarray as xr

    size = SIZES[scale]
    names, seeds = list(VARIANTS), size["seeds"]
    numbers: dict[tuple[str, str, int], dict[str, float]] = {}
    for source in SOURCES:
        todo = tasks(source, size)
        networks = run_all(trained, todo, label=f"training on {source}", **options)
        attacks = run_all(
            attacked,
            [{**task, "weights": found["weights"]} for task, found in zip(todo, networks)],
            label=f"attacks on {source}",
            **options,
        )
        for task, found, more in zip(todo, networks, attacks):
            last = {kind: float(found[kind][-1]) for kind in ("residual", "output")}
            numbers[source, task["variant"], task["seed"]] = {**more, **last}
    values = np.full((len(CLAIMS), len(names), seeds), np.nan)
    for i, claim in enumerate(CLAIMS):
        for j, name in enumerate(names):
            for seed in range(seeds):
                if found := numbers.get((claim.source, name, seed)):
                    values[i, j, seed] = found[claim.number]
    masked = [
        [
            numbers["digits", name, seed][key] - numbers["digits", name, seed][key[:-7]]
            for seed in range(seeds)
        ]
        for name in ("elliptical", "elliptical_mean")
        for key in ("fgsm_masked", "pgd_masked")
    ]
    benefit, error, p, verdict, of_mean = judged(values, names)
    pairs = ("claim", "comparison")
    dataset = xr.Dataset(
        {
            "value": (("claim", "variant", "seed"), values),
            "benefit": (pairs, benefit),
            "error": (pairs, error),
            "p": (pairs, p),
            "verdict": ("claim", verdict),
            "verdict_mean_scale": ("claim", of_mean),
            "masking": (("masked", "seed"), masked),
        },
        coords={
            "claim": [f"{NAMES[claim.source]}, {claim.label}" for claim in CLAIMS],
            "variant": names,
            "comparison": [f"{one} over {other}" for one, other in COMPARISONS],
            "masked": [f"{n} {a}" for n in ("elliptical", "elliptical_mean") for a in ("fgsm", "pgd")],
        },
    )
    title = "What is claimed for elliptical attention, with controls"
    return dataset.assign_attrs(title=title, caption=caption(dataset, size))


def caption(dataset: xarray.Dataset, size: dict[str, Any]) -> str:
    """Settings, the rule of the verdicts, and every difference, in words."""
    one, two = size["digits"], size["text"]
    p = dataset.p.values
    tests = int(np.isfinite(p).sum())

    def shown(i: int, j: int) -> str:
        return f"{dataset.benefit.values[i, j]:+.3f} ± {dataset.error.values[i, j]:.3f} (p = {p[i, j]:.2g})"

    lines = "; ".join(
        f"{dataset.claim.values[i]}: {shown(i, 0)} and {shown(i, 1)}, {WORDS[int(dataset.verdict[i])]}; "
        f"mean-scaled {shown(i, 2)}, {WORDS[int(dataset.verdict_mean_scale[i])]}"
        for i in range(len(CLAIMS))
    )
    leak = next(i for i, claim in enumerate(CLAIMS) if (claim.source, claim.number) == ("text", "clean"))
    return (
        f"Transformers of {one['layers']} layers, width {one['width']} on 8 by 8 digits ({one['epochs']} epochs) and of "
        f"{two['layers']} layers, width {two['width']} on docstrings (causal, {two['steps']} steps, context "
        f"{two['context']}, {two['vocabulary']} words); mean and standard error over {size['seeds']} seeds, paired: equal "
        "initial weights, batches and noise. Attacks see the gradient through the metric. temperature: isotropic metric of "
        "the same root mean square; random: uniform, max-scaled; look-ahead: the metric averages over the whole window, "
        "future words included. Token cosines are those of the last layer. A claim reproduces if max-scaled elliptical "
        "attention is better than dot and better than temperature, does not if it is worse than one of them, each by a "
        f"two-sided paired t-test at level {LEVEL:g}; else it is undecided. Mean-scaled attention is compared with dot, "
        f"which is its temperature matched in the mean of m. {tests} comparisons: {LEVEL * tests:.2f} false ones expected "
        f"if nothing differed. Benefit of max-scaled attention over dot and over temperature: {lines}. Benefit of looking "
        f"ahead over the causal metric, clean perplexity: {shown(leak, 3)}. Accuracy gained when attacks do not see the "
        f"metric's gradient: at most {dataset.masking.values.mean(1).max():.3f}."
    )


def judged(
    values: np.ndarray, variants: list[str], *, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paired benefits of `COMPARISONS` in the direction of the claim, their errors and p-values, and two verdicts.

    Parameters
    ----------
    values : array, shape (claims, variants, seeds)
        In the order of `CLAIMS`; NaN where a variant was not run.
    variants : list of str
    level : float
        Of every two-sided test.

    Returns
    -------
    benefit, error, p : array, shape (claims, comparisons)
        Look-ahead is compared on clean perplexity alone, NaN elsewhere.
    verdict, verdict_mean_scale : array of int, shape (claims,)
        1 reproduces, -1 does not, 0 undecided.
    """
    from scipy import special

    values = np.asarray(values, dtype=float)
    seeds = values.shape[-1]
    at = {name: i for i, name in enumerate(variants)}
    sign = np.array([claim.better for claim in CLAIMS])[:, None, None]
    pairs = [values[:, at[one]] - values[:, at[other]] for one, other in COMPARISONS]
    paired = sign * np.stack(pairs, 1)
    for i, claim in enumerate(CLAIMS):
        if claim.number != "clean":
            paired[i, 3] = np.nan
    benefit = paired.mean(-1)
    error = paired.std(-1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.full(benefit.shape, np.nan)
    spread = error > 1e-12  # seeds that all agree leave nothing to judge by
    t = np.abs(benefit) / np.where(spread, error, np.inf)
    p = np.where(np.isfinite(error), 2 * special.stdtr(max(seeds - 1, 1), -t), np.nan)
    better, worse = (benefit > 0) & (p < level), (benefit < 0) & (p < level)
    verdict = np.where(better[:, :2].all(1), 1, np.where(worse[:, :2].any(1), -1, 0))
    of_mean = better[:, 2].astype(int) - worse[:, 2]
    return benefit, error, p, verdict, of_mean


def attacked(source: str, variant: str, seed: int, weights: np.ndarray, **size: Any) -> dict[str, float]:
    """Accuracy or perplexity of one trained network on clean and on contaminated test inputs."""
    import torch

    torch.set_num_threads(1)
    if source == "text":
        return swapped(
            network(source, variant, seed, weights=weights, **size), seed, size["context"], size["vocabulary"]
        )
    _, _, x, y = images()
    noise = torch.Generator().manual_seed(seed)
    hit = (
        torch.rand(len(x), 4, 4, generator=noise).flatten(1).argsort(1).argsort(1).view(-1, 1, 4, 4) < PATCHES
    )
    hit = hit.repeat_interleave(2, 2).repeat_interleave(2, 3)
    patched = torch.where(hit, torch.rand(x.shape, generator=noise), x)
    noisy = (x + NOISE * torch.randn(x.shape, generator=noise)).clamp(0, 1)
    start = PGD * (2 * torch.rand(x.shape, generator=noise) - 1)
    full, masked = (
        network(source, variant, seed, weights=weights, detach=detach, **size) for detach in (False, True)
    )
    inputs = {"clean": x, "patches": patched, "noise": noisy}
    measured = VARIANTS[variant]["attention"] == "elliptical"  # elsewhere no gradient could be masked
    for name, seen in (("", full), ("_masked", masked))[: 1 + measured]:
        inputs[f"fgsm{name}"] = ascended(seen, x, y, torch.zeros_like(x), FGSM, FGSM, 1)
        inputs[f"pgd{name}"] = ascended(seen, x, y, start, PGD, PGD / 4, PGD_STEPS)
    with torch.no_grad():
        return {key: float((full(x).argmax(-1) == y).float().mean()) for key, x in inputs.items()}


def ascended(
    model: Any,
    x: torch.Tensor,
    y: torch.Tensor,
    start: torch.Tensor,
    radius: float,
    step: float,
    steps: int,
) -> torch.Tensor:
    """Images within `radius` of `x`, pixel by pixel, after steps up the loss by the sign of its gradient."""
    import torch
    from torch.nn import functional

    moved = (x + start).clamp(0, 1)
    for _ in range(steps):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(model(moved), y), moved)
        moved = moved.detach() + step * slope.sign()
        moved = torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(0, 1)
    return moved.detach()


def swapped(model: Any, seed: int, context: int, vocabulary: int) -> dict[str, float]:
    """Perplexity of the true next word, with a share of the words read replaced by the one for unknown words."""
    import torch
    from torch.nn import functional

    test = windows(context, vocabulary)[1]
    chance = torch.rand(test[:, :-1].shape, generator=torch.Generator().manual_seed(seed))
    found = {}
    for name, share in (("clean", 0.0), *((f"swap_{100 * share:.0f}", share) for share in SWAPS)):
        read = test[:, :-1].masked_fill(chance < share, UNKNOWN)
        with torch.no_grad():
            loss = functional.cross_entropy(model(read).flatten(0, 1), test[:, 1:].flatten())
        found[name] = float(loss.exp())
    return found


def draw(dataset: xarray.Dataset) -> Figure:
    """The table: claims by variants, with verdicts."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    values = dataset.value.values
    means, errors = mean_and_error(values)
    rows, seeds = values.shape[0], values.shape[-1]
    titles = [label(name).replace(" (", "\n(") for name in dataset.variant.values]
    heads = [*titles, "max against\ndot", "max against\ntemperature", "verdict\n(max)", "verdict\n(mean)"]
    at = [3.85 + 1.3 * i for i in range(len(heads))]
    figure, ax = plt.subplots(figsize=(15.5, 0.36 * rows + 2))
    colours = {1: plots.COLOURS["optimal"], -1: plots.COLOURS["published"], 0: plots.COLOURS["grey"]}
    for place, head in zip(at, heads):
        ax.text(place, -0.95, head, ha="center", va="center", weight="bold", fontsize=9)
    y = -1.0
    for i, claim in enumerate(CLAIMS):
        if i == 0 or claim.source != CLAIMS[i - 1].source:
            ax.text(
                0, -0.95 if i == 0 else y + 1.05, NAMES[claim.source], va="center", weight="bold", fontsize=9
            )
            y += bool(i)
        y += 1
        if i % 2 == 0:
            ax.axhspan(y - 0.5, y + 0.5, color="#eceff1", lw=0, zorder=0)
        ax.text(0.1, y, f"{'↑' if claim.better > 0 else '↓'}  {claim.label}", va="center", fontsize=9)
        digits = 2 if "perplexity" in claim.label else 3
        cells = [f"{mean:.{digits}f} ± {error:.{digits}f}" for mean, error in zip(means[i], errors[i])]
        pairs = zip(dataset.benefit.values[i, :2], dataset.error.values[i, :2])
        cells += [f"{claim.better * gain:+.{digits}f} ± {error:.{digits}f}" for gain, error in pairs]
        for place, cell in zip(at, cells):
            if "nan" not in cell[:3]:
                ax.text(place, y, cell, ha="center", va="center", fontsize=9)
        for place, key in zip(at[-2:], ("verdict", "verdict_mean_scale")):
            kind = int(dataset[key].values[i])
            ax.text(
                place,
                y,
                WORDS[kind],
                ha="center",
                va="center",
                fontsize=9,
                color=colours[kind],
                weight="bold",
            )
    ax.set_xlim(0, at[-1] + 0.65)
    tests = int(np.isfinite(dataset.p).sum())
    rule = (
        "reproduces: better than dot (max: and than temperature); does not: worse than one of them; "
        f"two-sided paired t-tests at level {LEVEL:g}, {tests} comparisons"
    )
    ax.text(0.1, y + 1.05, rule, va="center", fontsize=9, color=plots.COLOURS["grey"])
    ax.set_ylim(y + 1.5, -1.5)
    ax.axis("off")
    ax.set_title(
        f"Mean ± standard error over {seeds} seeds, differences paired by seed; arrows: the direction claimed to be better",
        loc="left",
    )
    return figure
