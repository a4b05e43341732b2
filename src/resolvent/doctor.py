"""The command ``resolvent doctor``: what is installed, what the machine offers, what each missing extra would give."""

from __future__ import annotations

import json
import os
import platform
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

__all__ = ["EXTRAS", "doctor_command", "examine"]

# what users gain by each extra; what it requires is read from the package's own metadata
EXTRAS = {
    "plot": "figures: resolvent.plots, diagnose --plot, reproduce",
    "torch": "elliptical attention, in-context layers trained on prompts, pooling weights in PyTorch",
    "dask": "passes over large data on a Dask cluster",
    "parquet": "tables and tokens from .parquet, .arrow and .feather files",
    "sklearn": "PositionalPooling and SparseTokenClassifier for scikit-learn",
    "sentence-transformers": "pooling weights in sentence-transformers models",
    "data": "real tables, real corpora and a real transformer, for the examples and reproduce",
    "app": "the explorer in the browser: resolvent explore",
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
GIB = 2**30


def examine(cache: str | Path = "report/cache") -> dict[str, Any]:
    """Versions, BLAS, processor, memory, devices, cache and extras, as JSON knows them.

    Parameters
    ----------
    cache : path, default "report/cache"
        Where `resolvent reproduce` keeps finished work.

    Returns
    -------
    dict
        ``resolvent``, ``python`` and ``platform``; ``packages``, versions of what the core requires; ``blas``; ``threads``,
        the environment's limits; ``cpu``; ``memory`` in bytes, None where the system does not tell; ``devices``, None
        without PyTorch; ``cache``; ``extras``, each with ``installed``, ``missing``, ``gives`` and ``install``; None where
        the package itself is not installed.

    Examples
    --------
    >>> found = examine()
    >>> found["cpu"]["usable"] >= 1
    True
    >>> sorted(found["packages"])[:2]
    ['array-api-compat', 'click']
    """
    from resolvent import __version__

    required = _required()
    core = required.get("", []) if required else []
    devices = _devices()  # first: PyTorch brings thread pools of its own
    return {
        "resolvent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name, _ in core},
        "blas": _blas(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "cpu": _cpu(),
        "memory": _memory(),
        "devices": devices,
        "cache": _cache(Path(cache)),
        "extras": None if required is None else {name: _extra(name, required) for name in EXTRAS},
    }


def _required() -> dict[str, list[tuple[str, str]]] | None:
    """Distribution and least version of every requirement, by extra ("" for the core)."""
    try:
        lines = metadata.requires("resolvent") or []
    except metadata.PackageNotFoundError:
        return None
    found: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        name = re.match(r"[\w.-]+", requirement)
        least = re.search(r">=\s*([\d.]+)", requirement)
        if name and name.group() != "resolvent":  # extras may gather others
            entry = (name.group(), least.group(1) if least else "0")
            found.setdefault(extra.group(1) if extra else "", []).append(entry)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 14) of 2.14rc1."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", version)[0]))


def _extra(name: str, required: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    installed, missing = {}, []
    for package, least in required.get(name, []):
        version = _version(package)
        if version is None:
            missing.append(package)
        elif _numbers(version) < _numbers(least):
            missing.append(f"{package}>={least} (here {version})")
        else:
            installed[package] = version
    known = name in required  # an older installation may lack the newest extras
    return {
        "installed": installed,
        "missing": missing if known else ["this installation does not know it"],
        "gives": EXTRAS[name],
        "install": f"pip install 'resolvent[{name}]'",
    }


def _blas() -> list[dict[str, Any]]:
    """Each BLAS and OpenMP that is loaded, with its threads; what NumPy was built with where nothing tells."""
    import scipy.linalg  # noqa: F401 (loads the BLAS of SciPy)

    if find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        keys = ("internal_api", "version", "num_threads")
        return [
            {"used_by": Path(pool["filepath"]).parent.name, **{key: pool.get(key) for key in keys}}
            for pool in threadpool_info()
        ]
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return [
        {
            "used_by": "numpy",
            "internal_api": built["name"],
            "version": built["version"],
            "num_threads": None,
        }
    ]


def _cpu() -> dict[str, int]:
    """Cores of the machine, and those this process may use."""
    from joblib import cpu_count

    return {"count": os.cpu_count() or 1, "usable": cpu_count()}


def _memory() -> dict[str, int | None]:
    """Bytes in all and free, and the limit of a container."""
    total = available = limit = None
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        available = page * os.sysconf("SC_AVPHYS_PAGES")
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        if line := re.search(r"MemAvailable:\s+(\d+) kB", text):  # what caches would give back counts too
            available = 1024 * int(line.group(1))
    except (AttributeError, OSError, ValueError):  # not every system tells
        pass
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        limit = int(text) if text.isdigit() else None
    except OSError:
        pass
    return {"total": total, "available": available, "limit": limit}


def _devices() -> list[str] | None:
    """Where PyTorch can compute."""
    if not find_spec("torch"):
        return None
    try:
        import torch
    except Exception as error:  # a broken installation is what a doctor is for
        return [f"PyTorch cannot be imported: {type(error).__name__}: {error}"]
    found = [f"cpu ({_threads(torch.get_num_threads())})"]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            one = torch.cuda.get_device_properties(i)
            found.append(f"cuda:{i} ({one.name}, {one.total_memory / GIB:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _cache(folder: Path) -> dict[str, Any]:
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {"folder": str(folder), "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def printed(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    memory = found["memory"]
    sizes = {
        "in all": memory["total"],
        "available": memory["available"],
        "limit of the container": memory["limit"],
    }
    cache = found["cache"]
    kept = f"{cache['files']:,} files, {cache['bytes'] / 2**20:.1f} MiB" if cache["files"] else "empty"
    rows = [
        ("resolvent", found["resolvent"]),
        ("Python", f"{found['python']} on {found['platform']}"),
        *((name, version or "MISSING") for name, version in found["packages"].items()),
        *(("BLAS", _pool(pool)) for pool in found["blas"]),
        *((name, value) for name, value in found["threads"].items()),
        ("processors", f"{found['cpu']['usable']} usable of {found['cpu']['count']}"),
        ("memory", ", ".join(f"{size / GIB:.1f} GiB {what}" for what, size in sizes.items() if size) or "?"),
        ("devices", ", ".join(found["devices"]) if found["devices"] else "no PyTorch: the processor alone"),
        ("cache", f"{cache['folder']}: {kept}"),
    ]
    lines = [f"{name:22}{value}" for name, value in rows]
    if found["extras"] is None:
        return "\n".join([*lines, "", "The package itself is not installed: extras are not known."])
    have = [name for name, one in found["extras"].items() if not one["missing"]]
    lines += ["", f"{'extras installed':22}{', '.join(have) or 'none'}"]
    for name, one in found["extras"].items():
        if one["missing"]:
            lines += [
                "",
                f"missing: {name}",
                f"  gives    {one['gives']}",
                f"  lacks    {', '.join(one['missing'])}",
                f"  install  {one['install']}",
            ]
    return "\n".join(lines)


def _pool(pool: dict[str, Any]) -> str:
    many = pool["num_threads"]
    told = "threads not known: pip install threadpoolctl" if many is None else _threads(many)
    return f"{pool['internal_api']} {pool['version'] or ''}".strip() + f", {told} ({pool['used_by']})"


def _threads(many: int) -> str:
    return f"{many} thread{'s' * (many != 1)}"


@click.command("doctor")
@click.option(
    "--out", default="report", show_default=True, type=click.Path(path_type=Path), help="Folder of reproduce."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(out: Path, as_json: bool) -> None:
    """Say what is installed, what this machine offers, and what each missing extra would give.

    Prints versions, BLAS and its threads, processors, memory, devices of PyTorch, the cache of reproduce,
    and for every missing extra what it is good for and how to install it.

    \b
    Examples:
      resolvent doctor
      resolvent doctor --json
    """
    found = examine(out / "cache")
    click.echo(json.dumps(found, indent=2) if as_json else printed(found))
