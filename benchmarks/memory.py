"""Pooling without the N x T x d array, and (--large) the top pair at d = 20,000 without the covariance."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import tracemalloc

import measure

POOL = {"dimension": 1_000, "vocabulary": 4_000, "samples": 3_000, "length": 50}
TOP = {
    "dimension": 20_000,
    "vocabulary": 40_000,
    "samples": 30_000,
    "length": 64,
    "informative": 16,
    "signal": 1.0,
}


def resident() -> int:
    """Peak resident bytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pooling(route: str) -> dict[str, float]:
    """Peak memory and time of pooling in this (fresh) process."""
    import numpy as np

    from resolvent.pooling import pool
    from resolvent.tables import draw_noise

    rng = np.random.default_rng(0)
    n, length, vocabulary = POOL["samples"], POOL["length"], POOL["vocabulary"]
    weights = np.full(length, 1 / length)
    tokens = rng.integers(0, vocabulary, (n, length))
    pool(tokens[:2], weights, np.zeros((vocabulary, 1)))  # imports, before anything is counted
    before = resident()
    tracemalloc.start()
    table = draw_noise(vocabulary, POOL["dimension"], rng=rng)
    start = time.perf_counter()
    if route == "resolvent":
        x = pool(tokens, weights, table)
    else:
        x = np.einsum("l,nld->nd", weights, table[tokens])
    elapsed = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    return {
        "seconds": elapsed,
        "traced": peak / (table.nbytes + x.nbytes),
        "resident": (resident() - before) / (table.nbytes + x.nbytes),
        "checksum": float(np.abs(x).sum()),
    }


def top_pair() -> dict[str, float]:
    """Time, peak memory and answers of the top pair at large d."""
    from resolvent import PooledSequences, Prefix

    positions = Prefix(TOP["length"], TOP["informative"])
    model = PooledSequences(
        TOP["dimension"], TOP["vocabulary"], TOP["samples"], positions, "mean", signal=TOP["signal"]
    )
    prediction = model.predict()
    start = time.perf_counter()
    draw = model.simulate(0, top=2, dtype="float32")
    return {
        "seconds": time.perf_counter() - start,
        "resident": resident(),
        "table": 4.0 * TOP["dimension"] * TOP["vocabulary"],
        **{
            f"{name}_{where}": float(getattr(source, name))
            for where, source in (("predicted", prediction), ("drawn", draw))
            for name in ("top_eigenvalue", "second_eigenvalue", "overlap")
        },
    }


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(top_pair() if sys.argv[2] == "top" else pooling(sys.argv[2])))
        return 0

    sizes = ", ".join(f"{name} {value:,}" for name, value in POOL.items())
    report = measure.Report(
        f"Pooling, {sizes}, float64; peaks of fresh processes over table + pooled features"
    )
    mine, gather = (measure.child(__file__, "--child", route) for route in ("resolvent", "gather"))
    report.row("pool: peak allocated / (table + features)", mine["traced"], most=1.5)
    report.row("pool: growth of resident memory / (table + features)", mine["resident"], most=1.5)
    report.row("table[tokens] gathered: peak allocated / (table + features)", gather["traced"])
    report.row("pool", mine["seconds"], "s")
    report.row("table[tokens] gathered", gather["seconds"], "s")
    report.row("relative difference", abs(mine["checksum"] / gather["checksum"] - 1), most=1e-12)
    status = report.finish()

    if "--large" in sys.argv:
        sizes = ", ".join(f"{name} {value:,}" for name, value in TOP.items())
        report = measure.Report(f"Top pair, {sizes}, float32, all threads, one run in a fresh process")
        free = {name: value for name, value in os.environ.items() if name not in measure.THREADS}
        found = measure.child(__file__, "--child", "top", environment=free)
        report.row("simulate(top=2), drawing included", found["seconds"], "s")
        report.row("peak resident memory", found["resident"] / 2**30, "GiB", most=24)
        report.row("peak resident memory / table", found["resident"] / found["table"], most=1.5)
        report.row("the covariance alone would take", 4 * TOP["dimension"] ** 2 / 2**30, "GiB")
        for name in ("top_eigenvalue", "second_eigenvalue", "overlap"):
            drawn, predicted = found[f"{name}_drawn"], found[f"{name}_predicted"]
            report.row(f"{name.replace('_', ' ')}, drawn", drawn)
            report.row(f"{name.replace('_', ' ')}, predicted", predicted)
            error = abs(drawn - predicted) if name == "overlap" else abs(drawn / predicted - 1)
            report.row(f"{name.replace('_', ' ')}, difference", error, most=0.02)
        status |= report.finish()
    return status


if __name__ == "__main__":
    sys.exit(main())
