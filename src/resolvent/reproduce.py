"""Reproduce every figure into a folder: run (cached, resumable), save the data, draw, write the report."""

from __future__ import annotations

import ast
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolvent.arguments import one_of
from resolvent.experiments import FIGURES, SCALES, load
from resolvent.report import render, sources

if TYPE_CHECKING:
    import xarray

__all__ = ["redraw", "reproduce"]

# files and folders that change no number
PRESENTATION = {
    "__main__.py",
    "cli.py",
    "diagnose_command.py",
    "doctor.py",
    "explorer",
    "plots.py",
    "questions.py",
    "report.py",
    "reproduce.py",
    "verdicts",
}


def reproduce(
    folder: str | Path,
    *,
    scale: str = "quick",
    only: Sequence[str] = (),
    tables: Sequence[str] = (),
    jobs: int | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Path:
    """Run the experiments at `scale` and write data, figures, their code and ``index.html`` into `folder`.

    Finished work is kept in ``folder/cache``: an interrupted run continues where it stopped.

    Parameters
    ----------
    folder : path
        Created when missing.
    scale : {"quick", "paper", "large"}
    only : sequence of str
        Names of figures (see `resolvent.experiments.FIGURES`); all by default.
    tables : sequence of str
        Embedding tables (.npy, .safetensors) to add to the real ones.
    jobs : int, optional
        Parallel jobs, as in joblib.
    progress : bool, default False
        Show progress bars.
    say : callable, optional
        Receives one line a finished figure.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If a name is unknown or its data are not installed, a table cannot be read, or the folder cannot be
        written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     reproduce(folder, only=["spectra"]).name
    'index.html'
    """
    from joblib import Memory

    one_of("scale", scale, SCALES)
    names = list(FIGURES) if not only else [one_of("only", name, tuple(FIGURES)) for name in only]
    without = {name: reason for name in names if (reason := getattr(load(name), "missing", lambda: None)())}
    if only and without:
        raise ValueError("; ".join(f"{name} {reason}" for name, reason in without.items()))
    for table in tables:
        try:
            load("real_tables").fitted(str(table), stamp=(0, 0))  # before anything is written
        except ValueError as error:
            raise ValueError(f"table {str(table)!r} cannot be fitted: {error}") from error
    folder = _writable(Path(folder))
    cache = Memory(folder / "cache" / fingerprint(), verbose=0)
    for name in names:
        if name in without:
            say(f"{FIGURES[name]}: left out, {without[name]}")
            continue
        start = time.perf_counter()
        extra = {"tables": tuple(str(t) for t in tables)} if name == "real_tables" else {}
        dataset = load(name).run(scale, jobs=jobs, memory=cache, progress=progress, **extra)
        dataset.attrs |= {"name": name, "figure": FIGURES[name], "scale": scale, "version": _version()}
        _save(folder / "data" / f"{name}.nc", partial(dataset.to_netcdf, engine="scipy"))
        _draw(folder, name, dataset)
        say(f"{FIGURES[name]}: {dataset.attrs['title']} ({time.perf_counter() - start:.1f} s)")
    return _report(folder)


def redraw(folder: str | Path, *, only: Sequence[str] = ()) -> Path:
    """Draw figures and report again from the data files in `folder`; compute nothing.

    Raises
    ------
    ValueError
        If there is no data, a name is unknown, or the folder cannot be written.
    """
    folder = Path(folder)
    names = [one_of("only", name, tuple(FIGURES)) for name in only] or list(FIGURES)
    found = [name for name in names if (folder / "data" / f"{name}.nc").is_file()]
    if not found:
        raise ValueError(f"folder {str(folder)!r} holds no data to draw; run reproduce first")
    _writable(folder)
    for name in found:
        _draw(folder, name, _load(folder, name))
    return _report(folder)


def fingerprint() -> str:
    """Hash of the code that makes numbers: cached results of other code are not used.

    Comments, layout, drawing, report and command line do not count.
    """
    digest = hashlib.sha256()
    root = Path(str(resources.files("resolvent")))
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in PRESENTATION:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == "draw")]
        digest.update(f"{path.relative_to(root)}:{ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


def _version() -> str:
    from resolvent import __version__

    return __version__


def _load(folder: Path, name: str) -> xarray.Dataset:
    import xarray as xr

    path = folder / "data" / f"{name}.nc"
    try:
        dataset = xr.load_dataset(path, engine="scipy")
    except Exception as error:
        raise ValueError(f"{str(path)!r} is damaged ({type(error).__name__}): run reproduce again") from error
    if dataset.attrs.get("name") != name:
        raise ValueError(f"{str(path)!r} holds other data than this figure's: run reproduce again")
    return dataset


def _writable(folder: Path) -> Path:
    try:
        for part in (folder, folder / "data", folder / "figures"):
            part.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"folder must be a place that can be written, got {str(folder)!r}: {error.strerror}"
        ) from error
    return folder


def _save(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the target and rename, so that nothing half-written is ever seen."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _draw(folder: Path, name: str, dataset: xarray.Dataset) -> None:
    import matplotlib
    from matplotlib import pyplot as plt

    from resolvent.plots import STYLE

    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    try:
        with plt.rc_context(STYLE):
            figure = load(name).draw(dataset)
            for suffix in ("png", "svg"):
                meta = {"Date": None} if suffix == "svg" else None
                _save(folder / "figures" / f"{name}.{suffix}", partial(figure.savefig, metadata=meta))
            plt.close(figure)
    finally:
        plt.switch_backend(backend)


def _report(folder: Path) -> Path:
    datasets, pictures = {}, {}
    for name in FIGURES:
        drawn = folder / "figures" / f"{name}.png"
        if not (folder / "data" / f"{name}.nc").is_file() or not drawn.is_file():
            continue
        try:
            datasets[name] = _load(folder, name)
        except ValueError as error:  # another figure's: it must not stop this report
            warnings.warn(f"left out of the report: {error}", stacklevel=2)
            continue
        pictures[name] = drawn.read_bytes()
    package = resources.files("resolvent")
    for name in datasets:
        for source in sources(name):  # that the report can be read, and its code, wherever it is taken
            code = package.joinpath(source).read_bytes()
            target = folder / "code" / source
            target.parent.mkdir(parents=True, exist_ok=True)
            _save(target, partial(_write, code))
    html = render(datasets, pictures).encode()
    _save(folder / "index.html", partial(_write, html))
    return folder / "index.html"


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)
