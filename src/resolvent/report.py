"""The HTML report: what was asked, what theory says, what simulation says, and a verdict for every figure."""

from __future__ import annotations

import base64
import platform
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from resolvent.experiments import FIGURES
from resolvent.questions import QUESTIONS
from resolvent.verdicts import verdict

if TYPE_CHECKING:
    import xarray

__all__ = ["render", "sources"]

MARKS = {"agree": "✓", "differ": "✗", "void": "○"}  # verdicts are told apart without colour
LONGEST = 900  # characters of a caption shown at once
PACKAGES = ("numpy", "scipy", "xarray", "matplotlib", "joblib")


def render(datasets: dict[str, xarray.Dataset], pictures: dict[str, bytes]) -> str:
    """Write the report of some figures, in the order of `FIGURES`.

    Parameters
    ----------
    datasets : dict of str to xarray.Dataset
        By the name of a figure, with ``title``, ``caption`` and ``scale`` among the attributes.
    pictures : dict of str to bytes
        The same figures as PNG.

    Returns
    -------
    str
        HTML in one piece; links lead to ``figures``, ``data`` and ``code`` beside it.
    """
    from jinja2 import Template

    from resolvent import __version__

    names = [name for name in FIGURES if name in datasets]
    figures = [_figure(name, datasets[name], pictures[name]) for name in names]
    counts = {word: sum(one["word"] == word for one in figures) for word in MARKS}
    template = Template(
        resources.files("resolvent").joinpath("report.html").read_text(encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return template.render(
        figures=figures,
        counts=counts,
        marks=MARKS,
        rows=_rows(datasets["agreement"]) if "agreement" in datasets else [],
        version=__version__,
        python=platform.python_version(),
        versions={name: metadata.version(name) for name in PACKAGES},
    )


def sources(name: str) -> list[str]:
    """Files behind one figure, relative to the package: its experiment first, then its theory.

    Examples
    --------
    >>> sources("ridge")
    ['experiments/ridge.py', 'models/ridge.py']
    """
    return [f"experiments/{name}.py", *QUESTIONS[name].code]


def _figure(name: str, dataset: xarray.Dataset, picture: bytes) -> dict[str, Any]:
    question, found = QUESTIONS[name], verdict(name, dataset)
    return {
        "name": name,
        "number": FIGURES[name],
        "title": dataset.attrs["title"],
        "caption": _folded(dataset.attrs["caption"]),
        "scale": dataset.attrs["scale"],
        "asked": question.asked,
        "theory": question.theory,
        "simulation": question.simulation,
        "derived": question.derived,
        "sources": sources(name),
        "word": found.word,
        "mark": MARKS[found.word],
        "detail": found.detail,
        "png": base64.b64encode(picture).decode(),
    }


def _folded(caption: str) -> tuple[str, str]:
    """A caption, and what of it is folded away: some carry hundreds of numbers."""
    if len(caption) <= LONGEST + LONGEST // 2:
        return caption, ""
    end = caption.rfind(". ", 0, LONGEST) + 1 or caption.find(". ") + 1
    return caption[:end], caption[end:].strip()


def _rows(table: xarray.Dataset) -> list[dict[str, Any]]:
    rows = []
    for setting in table.setting.values:
        one = table.sel(setting=setting)
        for i, quantity in enumerate(table["quantity"].values):
            cell = one.sel(quantity=quantity)
            rows.append(
                {
                    "first": i == 0,
                    "setting": int(setting),
                    "table": str(one.table.item()),
                    "delta": f"{one.delta.item():.2f}",
                    "gamma": f"{one.gamma.item():.2f}",
                    "length": f"{one.length.item():.0f}",
                    "snr": f"{one.snr.item():.2f}",
                    "signal": f"{one.signal.item():.2f}",
                    "ratio": f"{one.ratio.item():.2f}",
                    "quantity": str(quantity).replace("_", " "),
                    "predicted": f"{cell.predicted.item():.4g}",
                    "simulated": f"{cell.simulated.item():.4g}",
                    "error": f"{cell.standard_error.item():.2g}",
                    "difference": f"{(cell.simulated - cell.predicted).item():+.2g}",
                    "allowance": f"{cell.allowance.item():.2g}",
                    "agrees": bool(cell.agrees.item()),
                    "other": bool(cell.other_agrees.item()),
                }
            )
    return rows
