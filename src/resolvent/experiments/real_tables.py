"""Figure 7: spectra of real pre-trained tables with fitted laws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import datasets
from resolvent.bulk import SMALLEST_RATIO
from resolvent.diagnosis import diagnose
from resolvent.laws import GeneralisedMarchenkoPastur, Law, MarchenkoPastur, MarchenkoPasturProduct
from resolvent.spectrum import covariance_spectrum, fit
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]

SUBSAMPLE_RATIO, SEED = 0.5, 0  # of the rows drawn from a table that has too many for a bulk


def run(
    scale: str, *, tables: tuple[str, ...] = (), packaged: tuple[str, ...] | None = None, **options: Any
) -> xarray.Dataset:
    """Fit the tables that ship with the package, the `packaged` ones (all that are installed, by default), and any
    files in `tables` (the scale changes nothing)."""
    import xarray as xr

    packaged = datasets.installed() if packaged is None else packaged
    names = [*datasets.TABLES, *packaged, *dict.fromkeys(tables)]
    tasks = [{"name": name, "stamp": stamp(name) if name in tables else None} for name in names]
    results = run_all(fitted, tasks, label="Figure 7", **options)
    spectra = {key: padded([result[key] for result in results]) for key in ("eigenvalues", "population")}
    numbers = {key: np.array([result[key] for result in results]) for key in results[0] if key not in spectra}
    short = [Path(name).name for name in names]
    labels = [name if short.count(brief) > 1 else brief for name, brief in zip(names, short)]
    missing = [name for name in datasets.PACKAGED if name not in packaged]
    return xr.Dataset(
        {key: (("table", "index"), values) for key, values in spectra.items()}
        | {key: ("table", values) for key, values in numbers.items()},
        coords={"table": labels},
        attrs={
            "title": "Real pre-trained tables",
            "caption": "Eigenvalues of the centred covariance of real embedding tables, on a log scale, with the fitted "
            "Marchenko-Pastur law and the fitted two-factor law; ticks mark eigenvalues outside the two-factor bulk. "
            "KS is the distance of the eigenvalues inside each law's own edge. "
            + "; ".join(described(label, result) for label, result in zip(labels, results))
            + ". A good fit says that the bulk is noise; where the distance is large, counting outliers means little. "
            f"Where d/N is below {SMALLEST_RATIO:g} the full covariance is known almost exactly and has no bulk: a random "
            f"sample of rows with d/N = {SUBSAMPLE_RATIO:g} is shown, and the generalised law of a population with the "
            "eigenvalues of the full table, to which nothing is fitted."
            + (f" Not included, or not installed: {', '.join(missing)}." if missing else ""),
        },
    )


def described(label: str, found: dict[str, Any]) -> str:
    """One table in words."""
    sampled = f"{found['used']:,} of " if found["used"] < found["rows"] else ""
    text = (
        f"{label}: {sampled}{found['rows']:,} rows of {found['dimension']}, plain fit leaves "
        f"{found['plain_outliers']} outliers (KS {found['plain_distance']:.3f}), two-factor "
        f"{found['product_outliers']} (KS {found['product_distance']:.3f})"
    )
    if sampled:
        text += (
            f", generalised {found['generalised_outliers']:.0f} (KS {found['generalised_distance']:.3f}); over all "
            f"eigenvalues KS is {found['plain_whole']:.3f}, {found['product_whole']:.3f} and "
            f"{found['generalised_whole']:.3f}"
        )
    return text + (", counting is void" if found["void"] else "")


def padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of unequal length as a matrix, NaN beyond their ends."""
    out = np.full((len(rows), max(row.size for row in rows)), np.nan)
    for place, row in zip(out, rows):
        place[: row.size] = row
    return out


def stamp(name: str) -> tuple[int, int]:
    """Size and time of a file, which stand for its content: a changed table is fitted again."""
    file = Path(name if Path(name).is_file() else name.rpartition(":")[0]).stat()
    return file.st_size, file.st_mtime_ns


def fitted(name: str, stamp: tuple[int, int] | None) -> dict[str, Any]:
    """Eigenvalues of one table or of some of its rows, and the numbers of all laws."""
    table = datasets.load(name) if stamp is None else datasets.read(name)
    rows, d = table.shape
    used, population = rows, np.full(d, np.nan)
    report = None
    if d / (rows - 1) < SMALLEST_RATIO:
        used = round(d / SUBSAMPLE_RATIO) + 1
        chosen = np.random.default_rng(SEED).choice(rows, used, replace=False)
        report = diagnose(table)
        population[:] = 0  # in directions without any variance
        # covariance_spectrum divides by the rows, not by the degrees of freedom
        population[: report.rank] = report.eigenvalues * (used - 1) / used
        table = table[np.sort(chosen)]
    values, _ = covariance_spectrum(np.asarray(table, dtype=float))
    gamma = d / (used - 1)
    plain, product = (fit(values, gamma, kind=kind) for kind in ("plain", "product"))
    assert isinstance(plain.law, MarchenkoPastur)
    assert isinstance(product.law, MarchenkoPasturProduct)
    found = {
        "eigenvalues": values,
        "population": population,
        "rows": rows,
        "used": used,
        "dimension": d,
        "gamma": gamma,
        "plain_scale": float(plain.law.scale),
        "plain_outliers": plain.outliers.size,
        "plain_distance": plain.distance,
        "plain_whole": distance(values, plain.law),
        "product_scale": float(product.law.scale),
        "product_ratio": float(product.law.ratios[1]),
        "product_outliers": product.outliers.size,
        "product_distance": product.distance,
        "product_whole": distance(values, product.law),
        "generalised_outliers": np.nan,
        "generalised_distance": np.nan,
        "generalised_whole": np.nan,
    }
    if report is None:
        report = diagnose(table)
    else:
        law = GeneralisedMarchenkoPastur(gamma, population)
        bulk = values[values <= law.support[-1][1]]
        found["generalised_outliers"] = float(values.size - bulk.size)
        found["generalised_distance"] = distance(bulk, law)
        found["generalised_whole"] = distance(values, law)
    return found | {"void": int(report.components is None)}


def distance(values: np.ndarray, law: Law) -> float:
    """Kolmogorov-Smirnov distance of all these eigenvalues to a law."""
    places, counts = np.unique(values, return_counts=True)
    upper = counts.cumsum() / values.size
    expected = law.cdf(places)
    below = np.where(places > 0, expected, 0.0)  # the atom at zero is reached by a jump
    return float(max(np.abs(expected - upper).max(), np.abs(below - upper + counts / values.size).max()))


def draw(dataset: xarray.Dataset) -> Figure:
    """One panel a table."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    count = dataset.sizes["table"]
    rows = 1 if count <= 3 else 2
    columns = -(-count // rows)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 4 * rows), squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, dataset.table.values):
        part = dataset.sel(table=name)
        values = part.eigenvalues.values
        values = values[np.isfinite(values)]
        values = values[values > 1e-10 * values.max()]
        cells = int(np.clip(3 * np.sqrt(values.size), 15, 60)) + 1
        bins = np.geomspace(values.min() / 1.05, values.max() * 1.05, cells)
        counts, _ = np.histogram(values, bins)
        log_width = np.log(bins[1] / bins[0])
        ax.stairs(
            counts / float(part.dimension) / log_width, bins, fill=True, color="#cfd8dc", label="eigenvalues"
        )
        gamma, dimension = float(part.gamma), float(part.dimension)
        sampled = int(part.used) < int(part.rows)
        laws: list[tuple[Law, str, str, str, str]] = [
            (MarchenkoPastur(gamma, float(part.plain_scale)), "plain", "causal", "Marchenko-Pastur", "--"),
            (
                MarchenkoPasturProduct((gamma, float(part.product_ratio)), float(part.product_scale)),
                "product",
                "mean",
                "two factors",
                "-",
            ),
        ]
        if sampled:
            population = part.population.values
            generalised = GeneralisedMarchenkoPastur(gamma, population[np.isfinite(population)])
            laws.append((generalised, "generalised", "optimal", "generalised", "-."))
        for law, key, colour, label, line in laws:
            outliers = int(part[f"{key}_outliers"])
            share = 1 - outliers / dimension  # the law describes the bulk only
            left, right = law.support[0][0], law.support[-1][1]
            x = np.geomspace(max(left, bins[0] * 0.5), right, 800)
            label = f"{label}, {outliers} outside"
            ax.plot(x, share * x * law.pdf(x), line, color=plots.COLOURS[colour], label=label)
        outside = values[: int(part.product_outliers)]
        ax.plot(outside, np.zeros(outside.size), "|", color=plots.COLOURS["published"], ms=14, mew=1.5)
        ax.set_xscale("log")
        notes = [str(name)]
        notes += [f"{int(part.used):,} of {int(part.rows):,} rows"] if sampled else []
        notes += ["counting is void"] if int(part.void) else []
        ax.set_title("; ".join(notes))
        ax.set_xlabel("eigenvalue")
        ax.set_ylabel("density of the logarithm")
        ax.set_ylim(top=1.45 * ax.get_ylim()[1])  # room for the legend
        ax.legend(loc="upper left", fontsize=8.5)
    return figure
