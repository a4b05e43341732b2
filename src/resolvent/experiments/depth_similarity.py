"""Extra: do tokens grow alike with depth? Cosine between tokens in trained transformers, elliptical and controls."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import torch
    import xarray
    from matplotlib.figure import Figure

__all__ = ["SIZES", "VARIANTS", "draw", "missing", "run"]

# Settings of "paper": docs/theory/elliptical.md, section 5
SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "seeds": 3,
        "digits": {"layers": 3, "width": 32, "heads": 4, "batch": 32, "rate": 5e-3, "epochs": 8},
        "text": {"layers": 3, "width": 32, "heads": 4, "batch": 16, "rate": 1e-2, "steps": 150}
        | {"context": 32, "vocabulary": 500},
    },
    "paper": {
        "seeds": 5,
        "digits": {"layers": 6, "width": 64, "heads": 4, "batch": 64, "rate": 1.5e-3, "epochs": 25},
        "text": {"layers": 4, "width": 64, "heads": 4, "batch": 16, "rate": 3e-3, "steps": 1200}
        | {"context": 64, "vocabulary": 2000},
    },
    "large": {
        "seeds": 20,
        "digits": {"layers": 6, "width": 64, "heads": 4, "batch": 64, "rate": 1.5e-3, "epochs": 50},
        "text": {"layers": 6, "width": 128, "heads": 8, "batch": 32, "rate": 2e-3, "steps": 4000}
        | {"context": 64, "vocabulary": 4000},
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "dot": {"attention": "dot"},
    "elliptical": {"attention": "elliptical", "scaling": "max"},
    "elliptical_mean": {"attention": "elliptical", "scaling": "mean"},
    "temperature": {"attention": "temperature", "scaling": "max"},
    "random": {"attention": "random"},
    "look_ahead": {"attention": "elliptical", "scaling": "max", "look_ahead": "sequence"},
}
NAMES = {"digits": "digits", "text": "docstrings (causal)"}
SOURCES = tuple(NAMES)
KINDS = {"residual": "residual stream", "output": "attention output"}
LINES = {
    "dot": ("grey", "-"),
    "elliptical": ("mean", "-"),
    "elliptical_mean": ("optimal", "-"),
    "temperature": ("causal", "--"),
    "random": ("learned", ":"),
    "look_ahead": ("published", "-."),
}
UNKNOWN = 0  # the word for all words outside the vocabulary
DECAY = 0.05  # of AdamW
TEST_WINDOWS = 200


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if find_spec("torch") and find_spec("sklearn") and "docstrings" in corpora.available():
        return None
    return "needs PyTorch and scikit-learn's digits: pip install 'resolvent[torch,sklearn]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Cosine between tokens after every layer of every trained network."""
    import xarray as xr

    size = SIZES[scale]
    seeds = size["seeds"]
    data: dict[str, Any] = {}
    lines = []
    for source in SOURCES:
        todo = tasks(source, size)
        networks = run_all(trained, todo, label=f"training on {source}", **options)
        names = list(dict.fromkeys(task["variant"] for task in todo))
        for kind in ("residual", "output"):
            found = np.reshape([one[kind] for one in networks], (len(names), seeds, -1))
            data[f"{source}_{kind}"] = ((f"{source}_variant", "seed", f"{source}_layer"), found)
            last = ", ".join(
                f"{label(name)} {mean:.3f} ± {error:.3f}"
                for name, mean, error in zip(names, *mean_and_error(found[..., -1]))
            )
            lines.append(f"{NAMES[source]}, {KINDS[kind]}: {last}")
        data[f"{source}_loss"] = (
            (f"{source}_variant", "seed"),
            np.reshape([one["loss"] for one in networks], (len(names), seeds)),
        )
    digits, text = size["digits"], size["text"]
    return xr.Dataset(
        data,
        coords={f"{source}_variant": list(variants(source)) for source in SOURCES}
        | {f"{source}_layer": range(1, size[source]["layers"] + 1) for source in SOURCES},
        attrs={
            "title": "Token similarity across depth",
            "caption": "Mean cosine between different tokens of an input, against the layer, in the residual stream "
            "after the layer and in what its attention adds, on test inputs of trained transformers: "
            f"digits ({digits['layers']} layers, width {digits['width']}, {digits['epochs']} epochs) and docstrings "
            f"(causal, {text['layers']} layers, width {text['width']}, {text['steps']} steps). Lines: means over {seeds} seeds; bands: "
            "standard error of the paired difference to dot; the first layer of every variant is plain attention. temperature is an "
            "isotropic metric of the same root mean square as the max-scaled one, random a uniform one, max-scaled; "
            f"look-ahead averages the metric over future words too. Last layer: {'; '.join(lines)}.",
        },
    )


def variants(source: str) -> tuple[str, ...]:
    """Those of a source: only a causal metric could look ahead."""
    return tuple(name for name in VARIANTS if source == "text" or name != "look_ahead")


def tasks(source: str, size: dict[str, Any]) -> list[dict[str, Any]]:
    """One for every variant and seed."""
    return [
        {"source": source, "variant": name, "seed": seed, **size[source]}
        for name in variants(source)
        for seed in range(size["seeds"])
    ]


def label(variant: str) -> str:
    """As a legend calls it."""
    return {
        "elliptical": "elliptical (max)",
        "elliptical_mean": "elliptical (mean)",
        "look_ahead": "look-ahead (max)",
    }.get(variant, variant)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the last axis; the error of a single value is NaN."""
    n = values.shape[-1]
    spread = values.std(-1, ddof=1) if n > 1 else np.full(values.shape[:-1], np.nan)
    return values.mean(-1), spread / np.sqrt(n)


@cache
def images() -> tuple[torch.Tensor, ...]:
    """Digits of scikit-learn, pixels from 0 to 1: 1437 to train on and 360 to test, with their classes."""
    import torch
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(y.size)
    pixels = torch.tensor(x[order] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    classes = torch.tensor(y[order])
    return pixels[:1437], classes[:1437], pixels[1437:], classes[1437:]


@cache
def windows(context: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Docstrings as word numbers, commonest first: a long row to train on, and test windows one word longer."""
    import torch

    documents = corpora.texts("docstrings")[0]
    order = np.random.default_rng(0).permutation(len(documents))
    words = [re.findall(r"[a-z]+|[^\sa-z]", documents[i].lower()) for i in order]
    split = len(words) * 4 // 5
    parts = [[word for document in part for word in document] for part in (words[:split], words[split:])]
    known = [word for word, _ in Counter(parts[0]).most_common(vocabulary - 1)]
    number = {word: i for i, word in enumerate(known, UNKNOWN + 1)}
    train, test = (torch.tensor([number.get(word, UNKNOWN) for word in part]) for part in parts)
    return train, test.unfold(0, context + 1, context)[:TEST_WINDOWS]


def trained(source: str, variant: str, seed: int, **size: Any) -> dict[str, Any]:
    """Weights of one network, its last training losses, and its token cosines by layer on test inputs.

    Equal seeds start from equal weights and see equal batches, whatever the variant.
    """
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    model = network(source, variant, seed, **size).train()
    generator = torch.Generator().manual_seed(seed)
    if source == "digits":
        x, y, test, _ = images()
        order = torch.cat([torch.randperm(len(x), generator=generator) for _ in range(size["epochs"])])
        batches = [(x[at], y[at]) for at in order.split(size["batch"])]
    else:
        row, windowed = windows(size["context"], size["vocabulary"])
        test, reach = windowed[:, :-1], torch.arange(size["context"] + 1)
        starts = torch.randint(len(row) - len(reach), (size["steps"], size["batch"]), generator=generator)
        batches = [(w[:, :-1], w[:, 1:]) for w in (row[at[:, None] + reach] for at in starts)]
    optimiser = torch.optim.AdamW(model.parameters(), size["rate"], weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, size["rate"], len(batches))
    losses = []
    for x, y in batches:
        loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    if not np.isfinite(losses).all():
        raise RuntimeError(f"training of {variant} on {source} with seed {seed} diverged: loss {losses[-1]}")
    model.eval()
    with torch.no_grad():
        _, cosines = model(test, similarity=True)
    weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    residual, output = (cosines[kind].mean(1).numpy() for kind in ("residual", "attention"))
    return {"weights": weights, "loss": float(np.mean(losses[-20:])), "residual": residual, "output": output}


def network(
    source: str,
    variant: str,
    seed: int,
    *,
    layers: int,
    width: int,
    heads: int,
    weights: np.ndarray | None = None,
    detach: bool = True,
    context: int = 0,
    vocabulary: int = 0,
    **training: int,
) -> Any:
    """A transformer at its initial weights, or at `weights`, then for evaluation."""
    import torch

    from resolvent.torch.transformer import CausalLanguageModel, VisionTransformer

    options: dict[str, Any] = {"width": width, "depth": layers, "heads": heads, "seed": seed, "check": False}
    options |= VARIANTS[variant]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that one variant looks ahead is the point of it
        torch.manual_seed(seed)
        model: Any = (
            VisionTransformer(8, 2, 10, **options)
            if source == "digits"
            else CausalLanguageModel(vocabulary, context, **options)
        )
    model.set_detach(detach)
    if weights is None:
        return model
    torch.nn.utils.vector_to_parameters(torch.tensor(weights), model.parameters())
    return model.eval()


def draw(dataset: xarray.Dataset) -> Figure:
    """Residual stream above attention output, digits beside text."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 2, figsize=(10, 6.8), sharex="col")
    for column, source in zip(axes.T, SOURCES):
        for ax, (kind, title) in zip(column, KINDS.items()):
            values = (
                dataset[f"{source}_{kind}"].transpose(f"{source}_variant", f"{source}_layer", "seed").values
            )
            layers = dataset[f"{source}_layer"].values
            for i, name in enumerate(dataset[f"{source}_variant"].values):
                mean, (_, error) = values[i].mean(-1), mean_and_error(values[i] - values[0])
                key, style = LINES[str(name)]
                colour = plots.COLOURS[key]
                ax.plot(
                    layers,
                    mean,
                    style,
                    color=colour,
                    label=label(str(name)),
                    marker=plots.MARKERS[colour],
                    ms=4,
                )
                ax.fill_between(layers, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
            ax.set_title(f"{NAMES[source]}: {title}")
            ax.set_xticks(layers)
        column[1].set_xlabel("layer")
    for ax in axes[:, 0]:
        ax.set_ylabel("cosine between tokens")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
