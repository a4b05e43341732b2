"""Extra 23: pooling weights on a transformer's token vectors, where every one of them has seen all the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora, datasets
from resolvent import weights as weighting
from resolvent.encoders import encoder
from resolvent.nulls import permute_tokens
from resolvent.sweeps import run_all
from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import TokenSequences

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"documents": 400, "splits": 4},
    "paper": {"documents": 1300, "splits": 10},
    "large": {"documents": 1800, "splits": 10},
}
LAYERS = (3, 6)
MEASURES = ("ridge", "pca10", "few20", "knn10")
TEST_SHARE, DRAWS = 0.3, 3
Split = tuple[
    np.ndarray, np.ndarray, list[np.ndarray]
]  # training rows, test rows, few training rows, several times

# learned without looking back at mean pooling, and with
LEARNED: dict[str, dict[str, Any]] = {
    "perron": {"method": "perron"},
    "excess": {"method": "excess"},
    "excess-generalised": {"method": "excess-generalised", "ridge": 1.0},
    "supervised, ridge 0.1": {"method": "supervised", "ridge": 0.1},
    "supervised, ridge 1": {"method": "supervised", "ridge": 1.0},
}
GUARDED = {"perron + CV": "perron", "supervised + CV": "supervised"}
METHODS = ("mean", "causal", "decreasing", *LEARNED, "supervised + CV", "oracle")


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    packages = ("torch", "transformers", "sklearn")
    if "minilm-tokens" in datasets.installed() and corpora.available() and all(map(find_spec, packages)):
        return None
    return "needs a real transformer, real text and scikit-learn: pip install 'resolvent[data,sklearn]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Encode text, planted controls and salad; compare weights on each, at two layers."""
    size, here = SIZES[scale], corpora.available()
    default = ("bbc", "debian" if "debian" in here else "docstrings", "finefoods")
    names = [name for name in size.get("corpora", default) if name in here]
    tasks = [
        {"name": name, "control": control, "documents": size["documents"], "splits": size["splits"]}
        for name in names
        for control in (("", "planted iid", "planted coherent") if name == names[0] else ("",))
    ]
    pairs = run_all(measured, tasks, label="pooling transformer vectors", **options)
    cases = [
        f"{task['name']}{', ' * bool(task['control'])}{task['control']}, layer {layer}"
        for layer in LAYERS
        for task in tasks
    ]
    results = [pair[i] for i in range(len(LAYERS)) for pair in pairs]
    dataset = summary(cases, METHODS, MEASURES, results)
    mass = dataset.signed_mass.values
    dataset.attrs = {
        "title": "Pooling a transformer's tokens",
        "caption": f"Word pieces of MiniLM-L6, pooled with weights over positions learned on training documents; balanced "
        f"accuracy over {size['splits']} stratified splits, 30 % held out, by ridge classification (ridge), the same of ten "
        "principal components (pca10) and of 20 labels a class (few20), and the share of the ten nearest training documents "
        "that are of the same class (knn10). Planted: only the first quarter of the tokens belongs to the document, the "
        "rest to no document (iid) or to one other (coherent), before the encoder; oracle pools that quarter. The "
        "null of the excess methods is salad: tokens permuted across documents, then encoded. Bold: |t| above "
        f"{dataset.attrs['critical']:.2f} (paired, corrected for overlapping training sets). Signed mass of the leading "
        f"eigenvector, which a gate would look at: {mass.min():.2f} to {mass.max():.2f} in all cases, gains and losses "
        f"alike. Mean pooling, then differences to it, {'/'.join(MEASURES)}: {lines(dataset)}.",
    } | dataset.attrs
    return dataset


@cache
def text(name: str, documents: int) -> corpora.Corpus:
    """Documents of a corpus, at its usual length; reading some takes longer than all else."""
    return corpora.tokens(name, corpora.LENGTHS[name], limit=documents)


@cache  # not an argument of what is cached on disk: controls of one corpus share it, and it is large to write down
def salad(name: str, documents: int) -> list[TokenMoments]:
    """Moments of encoded documents of permuted tokens, one a layer."""
    ids, encode = permute_tokens(text(name, documents).tokens, seed=1), encoder(LAYERS, threads=1)
    out = [TokenMoments.empty("mean", ids.shape[1], noise=False, gram=True) for _ in LAYERS]
    for first in range(0, len(ids), 100):
        vectors = encode(ids[first : first + 100])
        for i, moments in enumerate(out):
            moments.add(vectors[:, i])
    return out


def measured(name: str, control: str, documents: int, splits: int) -> list[dict[str, Any]]:
    """Accuracies and weights of one case, one entry a layer."""
    labels, ids = text(name, documents).labels, planted(text(name, documents).tokens, control)
    encode = encoder(LAYERS, threads=1)
    vectors = np.empty((len(LAYERS), *ids.shape, datasets.load("minilm-tokens").shape[1]), dtype=np.float16)
    for first in range(0, len(ids), 100):
        vectors[:, first : first + 100] = encode(ids[first : first + 100]).swapaxes(0, 1)
    setting: dict[str, Any] = {"splits": splits, "informative": ids.shape[1] // 4 if control else None}
    return [
        compared(x.astype(np.float32), labels, METHODS, MEASURES, null=lambda train, m=m: m, **setting)
        for x, m in zip(vectors, salad(name, documents))
    ]


def planted(tokens: np.ndarray, control: str, seed: int = 3) -> np.ndarray:
    """Documents of which only the first quarter is left, by the kind of what follows it."""
    quarter, rng = tokens.shape[1] // 4, np.random.default_rng(seed)
    out = tokens.copy()
    if control == "planted iid":
        out[:, quarter:] = permute_tokens(tokens, seed=seed)[:, quarter:]
    elif control == "planted coherent":
        order = rng.permutation(len(tokens))
        out[order, quarter:] = tokens[np.roll(order, 1), quarter:]  # of another document, always
    return out


def compared(
    X: np.ndarray,
    labels: np.ndarray,
    methods: Sequence[str],
    measures: Sequence[str],
    *,
    splits: int,
    null: Any,
    table: np.ndarray | None = None,
    informative: int | None = None,
) -> dict[str, Any]:
    """Weights by each method, learned on training documents, and accuracies on the others, over splits."""
    from sklearn.model_selection import StratifiedShuffleSplit

    missed = [np.nan] * len(measures)
    cut = StratifiedShuffleSplit(splits, test_size=TEST_SHARE, random_state=0)
    found: dict[str, list[Any]] = {key: [] for key in ("accuracy", "weights", "gate", "refused", "spectrum")}
    for k, (train, test) in enumerate(cut.split(labels, labels)):
        w, facts = learned(X[train], labels[train], null(train), table, k, methods, informative)
        W = np.array([w[name] for name in methods])
        pooled = np.empty((len(methods), *labels.shape, X.shape[-1] if table is None else table.shape[1]))
        for rows, x in TokenSequences(X, None, table, dtype=None).prefixes(W.shape[1]):
            pooled[:, rows] = (np.nan_to_num(W) @ x.reshape(len(x), -1)).reshape(len(methods), *x.shape[1:])
        rng = np.random.default_rng(k)
        few = [few_labels(labels, train, 20, rng) for _ in range(DRAWS)]
        found["accuracy"].append(
            [
                accuracies(z, labels, (train, test, few), measures) if np.isfinite(own).all() else missed
                for z, own in zip(pooled, W)
            ]
        )
        found["weights"].append(W)
        for key, fact in facts.items():
            found[key].append(fact)
    return {key: np.array(values) for key, values in found.items()} | {"shape": np.array(X.shape[:2])}


def learned(
    X: np.ndarray,
    labels: np.ndarray,
    null: TokenMoments,
    table: np.ndarray | None,
    seed: int,
    methods: Sequence[str],
    informative: int | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights by name, of sum of magnitudes one; and what the guards said."""
    from resolvent.estimators import PositionalPooling

    T = X.shape[1]
    moments = TokenMoments.empty("mean", T, noise=False, gram=True, classes=int(labels.max()) + 1)
    moments.add(X, table=table, labels=labels)
    K = moments.positional_gram()
    np.fill_diagonal(K, 0.0)
    values, vectors = np.linalg.eigh(K)
    leading = vectors[:, -1] / np.abs(vectors[:, -1]).sum()
    ramp = np.arange(1.0, T + 1)
    w = {
        "mean": weighting.mean(T),
        "causal": weighting.causal(T),
        "increasing": ramp / ramp.sum(),
        "decreasing": ramp[::-1] / ramp.sum(),
        "eigenvector": leading * (1.0 if leading.sum() >= 0 else -1.0),
        "oracle": (np.arange(T) < informative) / informative if informative else np.full(T, np.nan),
    }
    for name, settings in LEARNED.items():
        rule = PositionalPooling(**settings, table=table, null=null, validate=False).fit_moments(moments)
        w[name] = rule.weights_
        if name == "perron":
            gate = float(rule.chosen_ == "mean")
    refused = []
    for name, method in GUARDED.items():
        if name in methods:
            rule = PositionalPooling(method=method, table=table, random_state=seed).fit(X, labels)
            w[name] = rule.weights_
            refused.append(float(rule.chosen_ == "mean"))
    spectrum = [float(w["eigenvector"].sum()), float(values[-1] / values[-2])]
    return w, {"gate": gate, "refused": refused, "spectrum": spectrum}


def few_labels(labels: np.ndarray, train: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` training documents of each class."""
    rows = (train[labels[train] == one] for one in np.unique(labels))
    return np.concatenate([rng.choice(own, min(count, own.size), replace=False) for own in rows])


def accuracies(z: np.ndarray, labels: np.ndarray, split: Split, measures: Sequence[str]) -> list[float]:
    """Of one pooling on one split, in points."""
    from scipy import linalg
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import balanced_accuracy_score

    train, test, few = split
    z = z - z[train].mean(axis=0)
    spread = z[train].std(axis=0)
    scaled = z / np.where(spread > 1e-6 * spread.max(), spread, np.inf)  # some coordinates are dead

    def ridge(x: np.ndarray, rows: np.ndarray) -> float:
        model = RidgeClassifierCV(tuple(10.0**k for k in range(-2, 5))).fit(x[rows], labels[rows])
        return 100 * float(balanced_accuracy_score(labels[test], model.predict(x[test])))

    out = {"ridge": ridge(scaled, train), "few20": float(np.mean([ridge(scaled, rows) for rows in few]))}
    d = z.shape[1]
    top = z @ linalg.eigh(z[train].T @ z[train], subset_by_index=[d - min(10, d), d - 1])[1]
    out["pca10"] = ridge(top / top[train].std(axis=0), train)
    if "knn10" in measures:
        unit = z / np.linalg.norm(z, axis=1, keepdims=True)
        nearest = np.argpartition(-unit[test] @ unit[train].T, 9, axis=1)[:, :10]
        same = (labels[train][nearest] == labels[test][:, None]).mean(axis=1)
        out["knn10"] = 100 * float(np.mean([same[labels[test] == one].mean() for one in np.unique(labels)]))
    return [out[name] for name in measures]


def summary(
    cases: list[str], methods: Sequence[str], measures: Sequence[str], results: list[dict[str, Any]]
) -> xarray.Dataset:
    """Means over splits, differences to mean pooling and their corrected t, and mean weights."""
    import xarray as xr
    from scipy import stats

    accuracy = np.array([r["accuracy"] for r in results]).transpose(
        0, 2, 3, 1
    )  # case, method, measure, split
    gap = accuracy - accuracy[:, :1]
    splits = gap.shape[-1]
    error = np.sqrt((1 / splits + TEST_SHARE / (1 - TEST_SHARE)) * gap.var(axis=-1, ddof=1))
    with np.errstate(divide="ignore", invalid="ignore"):  # no difference in any split
        t = np.where(error > 0, gap.mean(axis=-1) / error, 0.0)
    longest = max(r["weights"].shape[-1] for r in results)
    weights = np.full((len(cases), len(methods), longest), np.nan)
    for out, r in zip(weights, results):
        T = r["weights"].shape[-1]
        out[:, :T] = T * r["weights"].mean(axis=0)
    spectrum = np.array([r["spectrum"].mean(axis=0) for r in results])
    W = [r["weights"] for r in results]
    cosine = np.array([(w.sum(-1) / np.linalg.norm(w, axis=-1) / np.sqrt(w.shape[-1])).mean(0) for w in W])
    table = ("case", "pooling", "measure")
    return xr.Dataset(
        {
            "accuracy": (table, accuracy.mean(axis=-1)),
            "difference": (table, gap.mean(axis=-1)),
            "t": (table, t),
            "weights": (("case", "pooling", "position"), weights),
            "cosine": (("case", "pooling"), cosine),
            "gate": ("case", np.array([r["gate"].mean() for r in results])),
            "refused": (("case", "guarded"), np.array([r["refused"].mean(axis=0) for r in results])),
            "signed_mass": ("case", spectrum[:, 0]),
            "eigenvalue_ratio": ("case", spectrum[:, 1]),
            "documents": ("case", [int(r["shape"][0]) for r in results]),
            "length": ("case", [int(r["shape"][1]) for r in results]),
        },
        coords={
            "case": cases,
            "pooling": list(methods),
            "measure": list(measures),
            "guarded": [name for name in GUARDED if name in methods],
        },
        attrs={"critical": float(stats.t.ppf(0.975, splits - 1)), "splits": splits},
    )


def lines(dataset: xarray.Dataset) -> str:
    """All cases in words."""

    def row(values: Any, form: str) -> str:
        return "/".join(form.format(round(float(v), 1) + 0.0) for v in values)  # no −0.0

    out = []
    for i, case in enumerate(dataset.case.values):
        own = dataset.isel(case=i)
        gaps = ", ".join(
            f"{method} {row(own.difference.sel(pooling=method), '{:+.1f}')}"
            for method in dataset.pooling.values[1:]
            if np.isfinite(own.difference.sel(pooling=method)).all()
        )
        refused = ", ".join(f"{g} {float(own.refused.sel(guarded=g)):.0%}" for g in dataset.guarded.values)
        out.append(
            f"{case} (N = {int(own.documents)}, T = {int(own.length)}): {row(own.accuracy[0], '{:.1f}')}; {gaps}; "
            f"mean pooling kept: {refused}"
        )
    return ". ".join(out)


def draw(dataset: xarray.Dataset) -> Figure:
    """Differences to mean pooling, ridge and few labels; weights of plain text and of the controls."""
    half = dataset.sizes["case"] // 2
    cases = dataset.case.values[[*([0, 3] if half > 3 else [0]), 1, half + 1, half + 2]]
    return drawn(dataset, ("perron", "excess", "supervised, ridge 1"), cases, gated=False)


def drawn(dataset: xarray.Dataset, shown: Sequence[str], cases: Sequence[str], *, gated: bool) -> Figure:
    """Two tables of differences with what refused the weights, above weights by position."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    n = dataset.sizes["case"]
    figure = plt.figure(figsize=(12.5, 3.4 + 2 * (0.9 + 0.3 * n)))
    grid = figure.add_gridspec(3, len(cases), height_ratios=(1 + 0.3 * n, 1 + 0.3 * n, 2.4))
    for i, (measure, words) in enumerate({"ridge": "all labels", "few20": "20 labels a class"}.items()):
        ax = figure.add_subplot(grid[i, :])
        heat(ax, dataset, measure, gated)
        ax.set_title(f"({'ab'[i]}) ridge classification, {words}: points of accuracy against mean pooling")
    colours = ("optimal", "causal", "learned")
    for i, case in enumerate(cases):
        ax = figure.add_subplot(grid[2, i])
        own = dataset.sel(case=case)
        places = 1 + np.arange(int(own.length))
        for name, colour, style in zip(shown, colours, ("-", "--", "-.")):
            values = own.weights.sel(pooling=name).values[: places.size]
            ax.plot(places, values, style, color=plots.COLOURS[colour], lw=1.5, label=name)
        ax.axhline(1, color=plots.COLOURS["grey"], lw=0.8)
        ax.set_title(f"({'cdefgh'[i]}) " + str(case).replace(", layer", ",\nlayer"), fontsize=9.5)
        ax.set_xlabel("position")
    figure.axes[2].set_ylabel("weight × T (uniform: 1)")
    figure.legend(*figure.axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    return figure


def heat(ax: Axes, dataset: xarray.Dataset, measure: str, gated: bool) -> None:
    """One table: colours saturate on a logarithmic scale beyond two points."""
    from matplotlib.colors import SymLogNorm

    gap, level = dataset.difference.sel(measure=measure).values, dataset.accuracy.sel(measure=measure).values
    t, methods = dataset.t.sel(measure=measure).values, [str(m) for m in dataset.pooling.values]
    ax.imshow(
        np.where(np.arange(len(methods)) == 0, np.nan, gap),
        cmap="PuOr",
        norm=SymLogNorm(2, vmin=-60, vmax=60),
        aspect="auto",
    )
    for (i, j), value in np.ndenumerate(gap):
        words = (
            f"{level[i, 0]:.1f}" if j == 0 else f"{round(value, 1) + 0.0:+.1f}" if np.isfinite(value) else ""
        )
        strong = j > 0 and abs(t[i, j]) > dataset.attrs["critical"]
        colour = "white" if abs(value) > 9 else "black"
        weight = "bold" if strong else "normal"
        ax.text(j, i, words, ha="center", va="center", fontsize=8.5, color=colour, weight=weight)
    last, counts = len(methods), [("gate", dataset.gate.values)] if gated else []
    for name in dataset.guarded.values:
        counts.append((f"CV of\n{str(name).split(' +')[0]}", dataset.refused.sel(guarded=name).values))
    for k, (_, values) in enumerate(counts):
        for i, value in enumerate(values):
            ax.text(last + k, i, f"{value:.0%}", ha="center", va="center", fontsize=8.5, color="#444444")
    names = [f"refused:\n{name}" for name, _ in counts]
    labels = [name.replace(", ", "\n").replace(" + ", "\n+ ").replace("-gen", "-\ngen") for name in methods]
    ax.set_xticks(range(last + len(counts)), [*labels, *names], fontsize=8.5)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_xlim(-0.5, last + len(counts) - 0.5)
    ax.set_yticks(range(len(gap)), dataset.case.values, fontsize=8.5)
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
