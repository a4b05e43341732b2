"""Passes over token ids: sequences a second, memory, Dask workers, and what 10⁸ and 10⁹ sequences would take.

Uniform ids touch every row of the table; ids of Zipf frequencies, p_r ~ 1/r, are those of text.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np
from memory import resident
from scipy.sparse import csr_array

from resolvent.accumulate import accumulate
from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import Panels

VOCABULARY, DIMENSION, LENGTH, SAMPLES = 30_522, 384, 32, 40_000
COVARIANCE = TokenMoments.empty("mean", LENGTH, noise=False)
GRAM = TokenMoments.empty("mean", LENGTH, noise=False, gram=True)


def draw(n: int, kind: str) -> np.ndarray:
    """Token ids, shape (n, T)."""
    rng = np.random.default_rng(0)
    if kind == "uniform":
        return rng.integers(0, VOCABULARY, (n, LENGTH), dtype=np.int32)
    p = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    return rng.permutation(VOCABULARY)[np.searchsorted(p, rng.uniform(0, p[-1], (n, LENGTH)))].astype(
        np.int32
    )


def table() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((VOCABULARY, DIMENSION), dtype=np.float32)


def covariance(z: np.ndarray) -> np.ndarray:
    z = z - z.mean(axis=0)
    return z.T @ z / (len(z) - 1)


def gather(ids: np.ndarray, e: np.ndarray) -> np.ndarray:
    """The straightforward way: all token vectors, their weighted mean, its covariance."""
    w = np.full(LENGTH, 1 / LENGTH, dtype=e.dtype)
    return covariance(np.einsum("l,nld->nd", w, e[ids]))


def blocks(ids: np.ndarray, e: np.ndarray, size: int = 1000) -> np.ndarray:
    """The same by blocks that fit in memory."""
    w = np.full(LENGTH, 1 / LENGTH, dtype=e.dtype)
    total, square = np.zeros(DIMENSION), np.zeros((DIMENSION, DIMENSION))
    for i in range(0, len(ids), size):
        z = np.einsum("l,nld->nd", w, e[ids[i : i + size]])
        total += z.sum(axis=0)
        square += z.T @ z
    n = len(ids)
    return (square - np.outer(total, total) / n) / (n - 1)


def bare(ids: np.ndarray, e: np.ndarray) -> np.ndarray:
    """SciPy's sparse times dense product, and one GEMM."""
    n = len(ids)
    w, starts = np.full(ids.size, 1 / LENGTH, dtype=e.dtype), np.arange(n + 1, dtype=np.int32) * LENGTH
    z = csr_array((w, ids.reshape(-1), starts), shape=(n, len(e))) @ e
    return z.T @ z


def rates(kind: str) -> tuple[int, float]:
    """Sequences a second against the alternatives; the status and seconds a sequence."""
    ids, e = draw(SAMPLES, kind), table()
    held = Panels(e)
    times = measure.side_by_side(
        {
            "ours": (lambda: accumulate(ids, COVARIANCE, table=held), 1),
            "gram": (lambda: accumulate(ids, GRAM, table=held), 1),
            "bare": (lambda: bare(ids, e), 1),
            "gather": (lambda: gather(ids, e), 1),
            "blocks": (lambda: blocks(ids, e), 1),
        },
        5,
    )
    found, wanted = accumulate(ids, COVARIANCE, table=held).moments.covariance(), gather(ids, e)
    report = measure.Report(
        f"{SAMPLES:,} sequences of {LENGTH} {kind} ids, table {VOCABULARY:,} x {DIMENSION} float32, one thread"
    )
    report.row("accumulate, covariance", SAMPLES / times["ours"] / 1e3, "10³ sequences/s")
    report.row("accumulate, with the Gram", SAMPLES / times["gram"] / 1e3, "10³ sequences/s")
    report.row("gathered as a whole / accumulate", times["gather"] / times["ours"], least=5)
    report.row("gathered by blocks of 1,000 / accumulate", times["blocks"] / times["ours"])
    report.row("accumulate / bare sparse product and GEMM", times["ours"] / times["bare"], most=2)
    report.row(
        "largest difference / largest entry", np.abs(found - wanted).max() / np.abs(wanted).max(), most=1e-5
    )
    return report.finish(), times["ours"] / SAMPLES


def stream(n: int) -> Iterator[np.ndarray]:
    """Batches of a block of ids that is turned each time."""
    ids = draw(8192, "Zipf")
    for i in range(0, n, len(ids)):
        yield np.roll(ids, i // len(ids), axis=1)[: n - i]


def peak(n: int) -> dict[str, float]:
    """Peak resident memory of a pass, in this (fresh) process."""
    held = Panels(table())
    before = resident()
    start = time.perf_counter()
    count = accumulate(stream(n), COVARIANCE, table=held).moments.count
    return {
        "count": count,
        "bytes": resident(),
        "grown": resident() - before,
        "seconds": time.perf_counter() - start,
    }


def memory() -> int:
    report = measure.Report("Peak memory of a pass over a stream, of fresh processes")
    found = {n: measure.child(__file__, "--child", str(n)) for n in (100_000, 1_000_000)}
    for n, values in found.items():
        report.row(f"{n:,} sequences: peak resident", values["bytes"] / 2**20, "MiB")
        report.row(f"{n:,} sequences: growth over the table", values["grown"] / 2**20, "MiB")
    report.row("10⁶ / 10⁵ sequences", found[1_000_000]["bytes"] / found[100_000]["bytes"], most=1.05)
    return report.finish()


def workers() -> int:
    """Dask, one and two workers; the files are read by the workers."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        return 0
    report = measure.Report("400,000 sequences of Zipf ids from a .npy file on Dask workers of one thread")
    times = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "ids.npy", draw(400_000, "Zipf"))
        np.save(folder / "table.npy", table())
        given: dict[str, Any] = {"table": folder / "table.npy", "shard_size": 16_384}
        for count in (1, 2):
            with (
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=":0",
                    local_directory=name,
                ) as cluster,
                Client(cluster) as client,
            ):

                def run(client: Any = client) -> Any:
                    return accumulate(folder / "ids.npy", COVARIANCE, client=client, **given)

                run()  # workers import and open the table
                times[count] = min(measure.seconds(run) for _ in range(3))
        here = measure.seconds(lambda: accumulate(folder / "ids.npy", COVARIANCE, **given))
    report.row("in this process", 0.4 / here, "10⁶ sequences/s")
    for count, spent in times.items():
        report.row(f"{count} worker{'s' * (count > 1)}", 0.4 / spent, "10⁶ sequences/s")
    report.row("two workers / one", times[1] / times[2], least=1.6)
    return report.finish()


def scale(cost: float) -> int:
    """What large numbers would take, from the cost of a sequence."""
    part = accumulate(draw(8192, "Zipf"), COVARIANCE, table=table()).moments
    other = accumulate(draw(8192, "uniform"), COVARIANCE, table=table()).moments
    merge = min(measure.seconds(lambda: part + other, 5) for _ in range(5))
    shard = 32_768
    size = sum(value.nbytes for value in part.state().values())
    report = measure.Report(
        "Extrapolated from the cost of one sequence (Zipf ids, covariance, 32 int32 ids each)"
    )
    report.row("10⁶ sequences, one core", cost * 1e6, "s")
    for n in (8, 9):
        for cores in (1, 16, 256):
            report.row(f"10^{n} sequences, {cores} core{'s' * (cores > 1)}", cost * 10**n / cores / 60, "min")
        report.row(f"10^{n} sequences: ids on disk", 10**n * LENGTH * 4 / 1e9, "GB")
    report.row("read for each busy core", LENGTH * 4 / cost / 1e6, "MB/s")
    report.row("merge of a shard, in the caller", merge * 1e3, "ms")
    report.row("sums of a shard, to the caller", size / 1e6, "MB")
    report.row(f"busy cores for which one caller can merge, shards of {shard:,}", cost * shard / merge)
    report.row("their sums, to the caller", size / merge / 1e6, "MB/s")
    return report.finish()


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(peak(int(sys.argv[2]))))
        return 0
    status = rates("uniform")[0]
    own, cost = rates("Zipf")
    return status | own | memory() | workers() | scale(cost)


if __name__ == "__main__":
    sys.exit(main())
