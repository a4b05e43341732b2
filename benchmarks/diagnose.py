"""`diagnose` on tall tables: time against a covariance by hand, memory, and (--large) a file of 10 million rows."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import measure
import numpy as np

from resolvent import datasets
from resolvent.diagnosis import diagnose

SHAPES = ((30_522, 384), (400_000, 50))
LARGE = (10_000_000, 64)
ROUNDS = 9
BLOCK = 100_000


def generated(rows: int, dimension: int) -> np.ndarray:
    """Gaussian noise of decaying scales, float32."""
    scales = np.linspace(1, 0.2, dimension, dtype=np.float32)
    return np.random.default_rng(0).standard_normal((rows, dimension), dtype=np.float32) * scales


def by_hand(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of a covariance, in the obvious three lines."""
    c = x - x.mean(axis=0)
    return np.linalg.eigvalsh(c.T @ c / len(x))


class Private(threading.Thread):
    """Peak of this process's private memory, in bytes (mapped files do not count); zero outside Linux."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.start_value, self.stopped = 0, self.now(), threading.Event()

    @staticmethod
    def now() -> int:
        status = Path("/proc/self/status")
        if not status.is_file():
            return 0
        return 1024 * int(status.read_text().split("RssAnon:")[1].split()[0])

    def run(self) -> None:
        while not self.stopped.wait(0.002):
            self.peak = max(self.peak, self.now())

    def growth(self) -> int:
        self.stopped.set()
        self.join()
        return max(self.peak - self.start_value, 0)


def memory(x: np.ndarray) -> dict[str, float]:
    """Time, peak allocated and growth of private memory of `diagnose(x)` in this (fresh) process."""
    diagnose(np.array(x[:2000]))  # imports, before anything is counted
    private = Private()
    private.start()
    start = time.perf_counter()
    report = diagnose(x)
    elapsed = time.perf_counter() - start
    growth = private.growth()
    tracemalloc.start()
    diagnose(x[: min(len(x), 2_000_000)])
    return {
        "seconds": elapsed,
        "private": growth,
        "traced": tracemalloc.get_traced_memory()[1],
        "trace": float(report.eigenvalues.sum()),
    }


def write(path: Path) -> float:
    """Write the large table by blocks; returns the trace of its covariance in truth."""
    rows, dimension = LARGE
    scales = np.linspace(1, 0.2, dimension, dtype=np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, LARGE)
    rng = np.random.default_rng(0)
    for start in range(0, rows, BLOCK):
        out[start : start + BLOCK] = rng.standard_normal((BLOCK, dimension), dtype=np.float32) * scales
    out.flush()
    return float((scales.astype(float) ** 2).sum())


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        where = sys.argv[2]
        x = (
            np.load(where, mmap_mode="r")
            if where.endswith(".npy")
            else generated(*map(int, where.split(",")))
        )
        print(json.dumps(memory(x)))
        return 0

    report = measure.Report(
        f"diagnose, float32, one thread, medians of {ROUNDS} rounds; memory of fresh processes"
    )
    tables = {f"{rows:,} x {dimension}": generated(rows, dimension) for rows, dimension in SHAPES}
    tables |= {name: datasets.load(name) for name in datasets.installed()}
    for name, x in tables.items():
        x = np.array(x)  # in memory, where it was mapped
        times = measure.side_by_side(
            {"diagnose": (lambda x=x: diagnose(x), 1), "by hand": (lambda x=x: by_hand(x), 1)}, ROUNDS
        )
        report.row(f"{name}: diagnose", times["diagnose"], "s", most=1)
        report.row(f"{name}: covariance and eigenvalues by hand", times["by hand"], "s")
        report.row(f"{name}: diagnose / by hand", times["diagnose"] / times["by hand"], most=1.5)
        error = abs(diagnose(x).eigenvalues.sum() / by_hand(x).sum() - 1)
        report.row(f"{name}: difference of the traces, relative", error, most=1e-3)
    for rows, dimension in SHAPES:
        found, size = measure.child(__file__, "--child", f"{rows},{dimension}"), 4 * rows * dimension
        what = f"{rows:,} x {dimension}: (table + peak"
        report.row(f"{what} allocated) / table", 1 + found["traced"] / size, most=1.5)
        report.row(f"{what} growth of private memory) / table", 1 + found["private"] / size, most=1.5)
    status = report.finish()

    if "--large" in sys.argv:
        rows, dimension = LARGE
        report = measure.Report(
            f"diagnose, memory-mapped {rows:,} x {dimension} float32 file, one run, fresh process"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.npy"
            trace = write(path)
            report.row("size of the file", path.stat().st_size / 1e9, "GB")
            found = measure.child(__file__, "--child", str(path))
        report.row("diagnose", found["seconds"], "s")
        report.row("peak growth of private memory", found["private"] / 1e6, "MB", most=200)
        report.row("peak allocated, first 2 million rows", found["traced"] / 1e6, "MB", most=200)
        report.row(
            "trace of the covariance against the truth, relative", abs(found["trace"] / trace - 1), most=1e-3
        )
        status |= report.finish()
    return status


if __name__ == "__main__":
    sys.exit(main())
