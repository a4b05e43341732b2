"""Figure 7: spectra of real pre-trained tables with fitted laws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import datasets
from resolvent.laws import MarchenkoPastur, MarchenkoPasturProduct
from resolvent.spectrum import covariance_spectrum, fit
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "run"]


def run(scale: str, *, tables: tuple[str, ...] = (), **options: Any) -> xarray.Dataset:
    """Fit the tables that ship with the package, and any files in `tables` (the scale changes nothing)."""
    import xarray as xr

    names = [*datasets.TABLES, *dict.fromkeys(tables)]
    tasks = [{"name": name, "stamp": stamp(name) if name in tables else None} for name in names]
    results = run_all(fitted, tasks, label="Figure 7", **options)
    width = max(values.size for values, _ in results)
    eigenvalues = np.full((len(names), width), np.nan)
    for row, (values, _) in zip(eigenvalues, results):
        row[: values.size] = values
    numbers = np.array([numbers for _, numbers in results])
    short = [Path(name).name for name in names]
    labels = [name if short.count(brief) > 1 else brief for name, brief in zip(names, short)]
    described = "; ".join(
        f"{label}: {rows:.0f} rows of {d:.0f}, plain fit leaves {plain:.0f} outliers (KS {ks1:.3f}), two-factor "
        f"{product:.0f} (KS {ks2:.3f})"
        for label, (rows, d, _, _, plain, ks1, _, product, ks2) in zip(labels, numbers)
    )
    return xr.Dataset(
        {
            "eigenvalues": (("table", "index"), eigenvalues),
            "gamma": ("table", numbers[:, 1] / (numbers[:, 0] - 1)),
            "dimension": ("table", numbers[:, 1]),
            "plain_scale": ("table", numbers[:, 3]),
            "plain_outliers": ("table", numbers[:, 4]),
            "plain_distance": ("table", numbers[:, 5]),
            "product_scale": ("table", numbers[:, 6]),
            "product_ratio": ("table", numbers[:, 2]),
            "product_outliers": ("table", numbers[:, 7]),
            "product_distance": ("table", numbers[:, 8]),
        },
        coords={"table": labels},
        attrs={
            "title": "Real pre-trained tables",
            "caption": "Eigenvalues of the centred covariance of real embedding tables, on a log scale, with the fitted "
            "Marchenko-Pastur law and the fitted two-factor law; ticks mark eigenvalues outside the two-factor bulk. "
            + described
            + ". A good fit says that the bulk is noise; where the distance is large, counting outliers means little.",
        },
    )


def stamp(name: str) -> tuple[int, int]:
    """Size and time of a file, which stand for its content: a changed table is fitted again."""
    file = Path(name if Path(name).is_file() else name.rpartition(":")[0]).stat()
    return file.st_size, file.st_mtime_ns


def fitted(name: str, stamp: tuple[int, int] | None) -> tuple[np.ndarray, list[float]]:
    """Eigenvalues of one table, and the numbers of both fits."""
    table = datasets.load(name) if stamp is None else datasets.read(name)
    rows, d = table.shape
    values, _ = covariance_spectrum(np.asarray(table, dtype=float))
    plain = fit(values, d / (rows - 1), kind="plain")
    product = fit(values, d / (rows - 1), kind="product")
    return values, [
        float(v)
        for v in (
            rows,
            d,
            product.law.inverse_map.ratios[1],
            plain.law.inverse_map.scale,
            plain.outliers.size,
            plain.distance,
            product.law.inverse_map.scale,
            product.outliers.size,
            product.distance,
        )
    ]


def draw(dataset: xarray.Dataset) -> Figure:
    """One panel a table."""
    import matplotlib.pyplot as plt

    from resolvent import plots

    count = dataset.sizes["table"]
    figure, axes = plt.subplots(1, count, figsize=(5 * count, 4), squeeze=False)
    for ax, name in zip(axes[0], dataset.table.values):
        part = dataset.sel(table=name)
        values = part.eigenvalues.values
        values = values[np.isfinite(values)]
        values = values[values > 1e-10 * values.max()]
        bins = np.geomspace(values.min() / 1.05, values.max() * 1.05, 60)
        counts, _ = np.histogram(values, bins)
        log_width = np.log(bins[1] / bins[0])
        ax.stairs(
            counts / float(part.dimension) / log_width, bins, fill=True, color="#cfd8dc", label="eigenvalues"
        )
        plain = MarchenkoPastur(float(part.gamma), float(part.plain_scale))
        product = MarchenkoPasturProduct(
            (float(part.gamma), float(part.product_ratio)), float(part.product_scale)
        )
        for law, outliers, colour, label, line in (
            (plain, int(part.plain_outliers), plots.COLOURS["causal"], "Marchenko-Pastur", "--"),
            (product, int(part.product_outliers), plots.COLOURS["mean"], "two factors", "-"),
        ):
            share = 1 - outliers / float(part.dimension)  # the law describes the bulk only
            left, right = law.support[0]
            x = np.geomspace(max(left, bins[0] * 0.5), right, 800)
            ax.plot(x, share * x * law.pdf(x), line, color=colour, label=f"{label}, {outliers} outside")
        outside = values[: int(part.product_outliers)]
        ax.plot(outside, np.zeros(outside.size), "|", color=plots.COLOURS["published"], ms=14, mew=1.5)
        ax.set_xscale("log")
        ax.set_title(str(name))
        ax.set_xlabel("eigenvalue")
        ax.set_ylabel("density of the logarithm")
        ax.set_ylim(top=1.45 * ax.get_ylim()[1])  # room for the legend
        ax.legend(loc="upper left", fontsize=8.5)
    return figure
