"""How long `import resolvent` and the command line's `predict` take in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

import measure

ROUNDS = 9
HEAVY = ("matplotlib", "torch", "dask", "scipy", "pandas", "xarray", "sklearn")
IMPORT = f"""
import json, sys, time
start = time.perf_counter()
import resolvent
elapsed = time.perf_counter() - start
print(json.dumps({{"seconds": elapsed, "heavy": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""
SIZES = ["-d", "400", "-V", "1600", "-N", "1200", "-T", "50", "--prefix", "10", "--signal", "0.8"]
PREDICT = [sys.executable, "-m", "resolvent", "predict", *SIZES]


def predict() -> None:
    subprocess.run(PREDICT, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    report = measure.Report(f"Fresh interpreters, {ROUNDS} of each")
    found = [measure.child("-c", IMPORT) for _ in range(ROUNDS)]
    times = [run["seconds"] for run in found]
    report.row("import resolvent, median", median(times), "s", most=0.4)
    report.row("import resolvent, best", min(times), "s")
    heavy = sorted({name for run in found for name in run["heavy"]})
    report.row(f"of {', '.join(HEAVY)}: imported", len(heavy), " ".join(heavy), most=0)
    times = [measure.seconds(predict) for _ in range(ROUNDS)]
    report.row("python -m resolvent predict, whole process, median", median(times), "s", most=1.0)
    report.row("python -m resolvent predict, whole process, best", min(times), "s")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
