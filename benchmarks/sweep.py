"""A million alignments, and alignment curves by simulation beside the loop that one writes by hand."""

from __future__ import annotations

import sys
import time
from statistics import median

import measure
import numpy as np
from scipy import linalg

from resolvent import PooledSequences, Prefix, spikes
from resolvent.tables import token_signs

DIMENSION, VOCABULARY, SAMPLES, LENGTH, INFORMATIVE = 1_000, 4_000, 3_000, 50, 10
SIGNALS = np.linspace(0.0, 2.0, 40)
WEIGHTS = ("mean", "causal", "optimal")
SAMPLE = (1, 20, 39)  # the signals, by position, at which the loop by hand is timed and compared
ROUNDS = 5
QUANTITIES = ("top_eigenvalue", "second_eigenvalue", "overlap")


def alignment_map() -> np.ndarray:
    """1000 x 1000: signal against delta."""
    return spikes.alignment(np.linspace(0.0, 2.0, 1_000)[:, None], 10.0, np.linspace(0.01, 2.0, 1_000), 0.5)


def model(weights: str) -> PooledSequences:
    return PooledSequences(DIMENSION, VOCABULARY, SAMPLES, Prefix(LENGTH, INFORMATIVE), weights, signal=0.0)


def by_hand(noise: np.ndarray, pooling: object, signal: float) -> tuple[float, float, float]:
    """One point: pool by a sparse product, covariance, full eigendecomposition."""
    table = noise.copy()
    table[:, 0] += signal * token_signs(VOCABULARY)
    x = pooling @ table
    x -= x.mean(axis=0)
    values, vectors = linalg.eigh(x.T @ x / len(x))
    return float(values[-1]), float(values[-2]), float(vectors[0, -1] ** 2)


def main() -> int:
    report = measure.Report("Alignment map of 1000 x 1000, one thread, median of 7")
    times = measure.side_by_side({"map": (alignment_map, 1)}, 7)
    report.row("spikes.alignment", times["map"], "s", most=0.5)
    status = report.finish()

    model("mean").sweep(SIGNALS[:2], [0])  # imports
    sweeps, loops, worst = [], [], 0.0
    for _ in range(ROUNDS):
        sweep_time, points = 0.0, []
        for weights in WEIGHTS:
            start = time.perf_counter()
            curves = model(weights).sweep(SIGNALS, [0])
            sweep_time += time.perf_counter() - start
            noise, pooling = model(weights)._draw(0, np.dtype(float))  # outside the loop's time
            for i in SAMPLE:
                start = time.perf_counter()
                found = by_hand(noise, pooling, SIGNALS[i])
                points.append(time.perf_counter() - start)
                swept = [float(curves[name][i, 0]) for name in QUANTITIES]
                worst = max(worst, np.abs(np.subtract(found, swept)).max())
        sweeps.append(sweep_time)
        loops.append(float(np.mean(points)))
    count = len(SIGNALS) * len(WEIGHTS)
    ratios = [count * loop / sweep for loop, sweep in zip(loops, sweeps, strict=True)]

    report = measure.Report(
        f"Alignment curves: {len(SIGNALS)} signals x {len(WEIGHTS)} weightings, d={DIMENSION}, V={VOCABULARY}, "
        f"N={SAMPLES}, T={LENGTH}, one seed, one thread, medians of {ROUNDS} rounds"
    )
    report.row("PooledSequences.sweep, drawing included", median(sweeps), "s")
    report.row(f"loop by hand, a point (mean of {len(points)}, drawing excluded)", median(loops), "s")
    report.row(f"loop by hand, times {count}", count * median(loops), "s")
    report.row("loop by hand / sweep", median(ratios), least=25)
    report.row("worst difference at the points in common", worst, most=1e-8)
    return status | report.finish()


if __name__ == "__main__":
    sys.exit(main())
