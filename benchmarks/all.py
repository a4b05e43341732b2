"""Run every benchmark: ``python benchmarks/all.py [--large]``. Exit status 1 when a target is missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import measure  # noqa: F401 (fixes the number of threads)

SCRIPTS = (
    "start_up.py",
    "density.py",
    "laws.py",
    "sweep.py",
    "memory.py",
    "diagnose.py",
    "spikes.py",
    "sparse_token.py",
    "in_context.py",
    "elliptical.py",
    "accumulate.py",
    "vocabulary.py",
)


def main() -> int:
    here, status = Path(__file__).parent, 0
    for script in SCRIPTS:
        extra = sys.argv[1:] if script in ("memory.py", "diagnose.py") else []
        status |= subprocess.run([sys.executable, here / script, *extra]).returncode
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
