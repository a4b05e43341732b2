"""Extra: attention of low rank, and its adaptation of low rank (LoRA) to tasks of another covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.in_context import GaussianTasks, lora, low_rank
from resolvent.models.in_context import InContextRegression
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SIZES: dict[str, dict[str, int]] = {
    "quick": {"prompts": 50_000, "lengths": 7},
    "paper": {"prompts": 400_000, "lengths": 12},
    "large": {"prompts": 2_000_000, "lengths": 16},
}
DIMENSION, LENGTH, LONGEST, NOISE = 20, 40, 80, 0.2
DECAYS = (0.0, 1.0, 2.0)
RANKS = (1, 5, 10, 20)
DECAY, EXCHANGED = 1.0, 2
# how the eigenvectors of the new tasks lie to those of the old ones; eigenvalues are the same
SHIFTS = ("reversed", "exchanged", "random", "turned")


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Exact risks at every rank and length, simulated ones of the same preconditioners."""
    import xarray as xr

    size = SIZES[scale]
    every, fine = np.arange(DIMENSION + 1), np.arange(1, LONGEST + 1)
    lengths = np.unique(np.round(np.geomspace(3, LONGEST, size["lengths"])).astype(int))
    full = InContextRegression(tasks(DECAY), LENGTH).predict()
    by_length = np.array([[low_rank(tasks(DECAY), r, int(n)).risk for n in fine] for r in RANKS])
    adapted = np.array([[adaptation(shift, int(r)).risk for r in every] for shift in SHIFTS])
    exact = {  # at the dots
        "by_rank": np.array(
            [[low_rank(tasks(decay), int(r), LENGTH).risk for r in every] for decay in DECAYS]
        ),
        "by_length": by_length[:, lengths - 1],
        "adapted": adapted,
    }
    settings: dict[str, list[dict[str, Any]]] = {
        "by_rank": [{"decay": decay, "length": LENGTH, "ranks": tuple(every)} for decay in DECAYS],
        "by_length": [{"length": int(n), "ranks": RANKS} for n in lengths],
        "adapted": [{"shift": shift, "length": LENGTH, "ranks": tuple(every)} for shift in SHIFTS],
    }
    jobs = [
        setting | {"prompts": size["prompts"], "seed": seed}
        for seed, setting in enumerate(setting for rows in settings.values() for setting in rows)
    ]
    found = iter(run_all(simulated_risks, jobs, label="Low rank", **options))
    drawn = {  # mean or its error, then as `exact`
        name: np.array([next(found) for _ in rows]).transpose((1, 2, 0) if name == "by_length" else (1, 0, 2))
        for name, rows in settings.items()
    }
    z = np.concatenate([((drawn[name][0] - exact[name]) / drawn[name][1]).ravel() for name in exact])
    part = "; ".join(
        f"{shift} {', '.join(f'{risks[r] / DIMENSION:.3f}' for r in (0, 2, 4, 8))}"
        for shift, risks in zip(SHIFTS, adapted)
    )
    axes = {"by_rank": ("decay", "rank"), "by_length": ("low", "length"), "adapted": ("shift", "rank")}
    return xr.Dataset(
        {
            "by_rank": (axes["by_rank"], exact["by_rank"] / DIMENSION),
            "by_length": (("low", "fine_length"), by_length / DIMENSION),
            "adapted": (axes["adapted"], adapted / DIMENSION),
            **{f"simulated_{name}": (axes[name], drawn[name][0] / DIMENSION) for name in axes},
            **{f"error_{name}": (axes[name], drawn[name][1] / DIMENSION) for name in axes},
            "full": full.attention / DIMENSION,
            "zero": full.zero / DIMENSION,
        },
        coords={
            "decay": list(DECAYS),
            "rank": every,
            "low": list(RANKS),
            "shift": list(SHIFTS),
            "fine_length": fine,
            "length": lengths,
        },
        attrs={
            "title": "Attention of low rank, and LoRA",
            "caption": f"Least risk over d of one layer of linear attention whose preconditioner has low rank; d = "
            f"{DIMENSION}, noise variance {NOISE:g}, task covariance of trace d with eigenvalues ∝ k^−p. Lines: exact; dots: "
            f"mean and standard error over {size['prompts']:,} fresh prompts, shared by the ranks of a curve (largest of {z.size} "
            f"deviations {np.abs(z).max():.1f} standard errors). (a) Against the rank, n = {LENGTH} examples. (b) Against n, "
            f"p = {DECAY:g}. (c) LoRA, n = {LENGTH}, p = {DECAY:g}: attention made for one task covariance, plus a change of "
            "the rank on the axis, on tasks of the same eigenvalues in other directions. Exchanged: the first "
            f"{EXCHANGED} eigenvectors with the last {EXCHANGED}; reversed: all of them, d + 1 − k for k; random: a rotation at "
            "random; turned: by 45° in the planes of eigenvectors k and d + 1 − k. The last two do not commute with the old "
            f"covariance. Thin lines: predicting zero, {full.zero / DIMENSION:.3f}; attention made for the new tasks, "
            f"{full.attention / DIMENSION:.3f}. Unadapted, then of ranks 2, 4 and 8: {part}.",
        },
    )


def tasks(decay: float, shift: str | None = None) -> GaussianTasks:
    """Tasks of power-law covariance, in the old directions or in shifted ones."""
    values = np.arange(1, DIMENSION + 1) ** -decay
    values *= DIMENSION / values.sum()
    turn = np.eye(DIMENSION) if shift is None else rotation(shift)
    return GaussianTasks(task_covariance=(turn * values) @ turn.T, noise=NOISE)


def rotation(shift: str) -> np.ndarray:
    """New eigenvectors, as columns, in the basis of the old ones."""
    identity = np.eye(DIMENSION)
    if shift == "exchanged":
        kept = slice(EXCHANGED, DIMENSION - EXCHANGED)
        order = np.arange(DIMENSION)[::-1]
        order[kept] = order[kept][::-1].copy()  # a view of itself otherwise
        return identity[:, order]
    if shift == "turned":
        signs = np.where(np.arange(DIMENSION) < DIMENSION // 2, 1, -1)
        return (identity + identity[::-1] * signs) / np.sqrt(2)
    if shift == "reversed":
        return identity[:, ::-1]
    return np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION)))[0]


def adaptation(shift: str, rank: int) -> Any:
    """Attention of the old tasks, adapted to the new ones."""
    old = tasks(DECAY).preconditioner(np.ones(LENGTH))
    return lora(tasks(DECAY, shift), old, rank, LENGTH)


def simulated_risks(
    length: int,
    ranks: tuple[int, ...],
    prompts: int,
    seed: int,
    decay: float = DECAY,
    shift: str | None = None,
) -> np.ndarray:
    """Mean squared errors at these ranks on the same prompts and their standard errors, shape (2, ranks)."""
    law, rng = tasks(decay, shift), np.random.default_rng(seed)
    made = np.array(
        [
            low_rank(law, int(r), length).preconditioner
            if shift is None
            else adaptation(shift, int(r)).preconditioner
            for r in ranks
        ]
    )
    size = max(1, 2**20 // (length * DIMENSION))
    errors = []
    for start in range(0, prompts, size):
        x, labels, query, last = law.sample(min(size, prompts - start), length, rng)
        pooled = (labels[:, None, :] @ x)[:, 0]
        errors.append((last - ((query @ made) * pooled).sum(axis=2)) ** 2)
    every = np.concatenate(errors, axis=1)
    return np.array([every.mean(axis=1), every.std(axis=1, ddof=1) / np.sqrt(prompts)])


def draw(dataset: xarray.Dataset) -> Figure:
    """Risk against the rank, against the length, and against the rank of an adaptation."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    hues = ("mean", "causal", "optimal", "learned")
    panels = (
        ("by_rank", "decay", "rank", "rank", "p = {:g}"),
        ("by_length", "low", "fine_length", "length", "rank {:g}"),
        ("adapted", "shift", "rank", "rank", "{}"),
    )
    for ax, (name, group, fine, at, label) in zip(axes, panels):
        for value, hue in zip(dataset[group].values, hues):
            part = dataset.sel({group: value})
            plots.curve(
                ax,
                part[fine],
                part[name],
                at=part[at],
                simulated=part[f"simulated_{name}"],
                error=part[f"error_{name}"],
                colour=plots.COLOURS[hue],
                label=label.format(value),
            )
    thin = {"color": plots.COLOURS["grey"], "lw": 1, "zorder": 1}
    for ax in axes[:2]:
        ax.axhline(dataset.zero.item(), label="predicting zero", **thin)
    axes[2].axhline(dataset.full.item(), label="made for the new tasks", **thin)
    axes[0].legend(loc="upper right", bbox_to_anchor=(1, 0.94))
    axes[1].legend(loc="lower left")
    axes[2].legend()
    for ax, title, axis in zip(
        axes,
        (f"(a) low rank, n = {LENGTH}", f"(b) low rank, p = {DECAY:g}", f"(c) LoRA, n = {LENGTH}"),
        ("rank of the preconditioner", "examples n", "rank of the change"),
    ):
        ax.set_title(title)
        ax.set_xlabel(axis)
    for ax in (axes[0], axes[2]):
        ax.set_xticks(range(0, DIMENSION + 1, 5))
    for ax in axes[:2]:
        ax.set_ylim(0, 1.05)
    axes[0].set_ylabel("risk / d")
    return figure
