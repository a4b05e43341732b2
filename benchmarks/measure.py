"""What the benchmarks share: one thread, medians, and a table of measurements against targets.

Import it before NumPy: it fixes the number of threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
for name in THREADS:
    os.environ.setdefault(name, "1")


def seconds(function: Callable[[], Any], calls: int = 1) -> float:
    """Time of one call, averaged over `calls`."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def side_by_side(functions: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """Median time of each function over rounds that run them in turn, so that a slow spell hits all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function, _ in functions.values():
        function()  # imports and caches are warm from here on
    for _ in range(rounds):
        for name, (function, calls) in functions.items():
            times[name].append(seconds(function, calls))
    return {name: median(values) for name, values in times.items()}


def child(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run Python afresh with these arguments and return the JSON on the last line it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


class Report:
    """Rows of what, measured, target; `finish` prints them and gives the exit status."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[tuple[str, str, str, str]] = []
        self.missed = 0

    def row(
        self,
        what: str,
        value: float,
        unit: str = "",
        *,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        """Add a measurement, with what it must reach or may not exceed."""
        good = (least is None or value >= least) and (most is None or value <= most)
        self.missed += not good
        target = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
        self.rows.append((what, f"{value:.3g} {unit}".strip(), target, "" if good else "MISSED"))

    def finish(self) -> int:
        """Print the table; 1 when a target was missed, else 0."""
        print(f"\n{self.title}")
        widths = [max(len(row[i]) for row in self.rows) for i in range(3)]
        for row in self.rows:
            print("  " + "  ".join(_padded(row, widths)).rstrip())
        return int(self.missed > 0)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3]]
