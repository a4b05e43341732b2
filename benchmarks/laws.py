"""Laws of F-matrices and of whole empirical populations on 1,000 points, beside fixed points by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable

import measure
import numpy as np

from resolvent import MarchenkoPastur
from resolvent.laws import GeneralisedMarchenkoPastur, TracyWidom, Wachter

POINTS = 1_000
ATOMS = (384, 1_000)
ROUNDS = 5
RATIO = 0.5
HEIGHT = 1e-3  # of the fixed points above the axis, where they still converge


def by_roots(ratio: float, null: float, x: np.ndarray) -> np.ndarray:
    """One np.roots a point: (c + c2 x) p² + (1 + c − (1−c2) x) p + 1 = 0."""
    roots = [np.roots([ratio + null * t, 1 + ratio - (1 - null) * t, 1]) for t in x]
    return np.array([-p.imag.min() for p in roots]) / (np.pi * x)


def by_fixed_point(population: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Silverstein's equation for the companion, iterated until it moves by less than 1e-6."""
    z = x + 1j * HEIGHT
    companion = -1 / z
    for _ in range(20_000):
        new = -1 / (z - RATIO * (population / (1 + population * companion[:, None])).mean(1))
        moved = np.abs(new - companion).max()
        companion = new
        if moved < 1e-6:
            break
    return (companion + (1 - RATIO) / z).imag / (RATIO * np.pi)


def rows(report: measure.Report, atoms: int) -> None:
    population = np.array(MarchenkoPastur(0.3).ppf((np.arange(atoms) + 0.5) / atoms))
    law = GeneralisedMarchenkoPastur(RATIO, population)
    left, right = law.support[0][0], law.support[-1][1]
    x = np.linspace(left, right, POINTS + 2)[1:-1]
    few = x[:: POINTS // 50]

    def constructed() -> None:
        GeneralisedMarchenkoPastur(RATIO, population).pdf(x)

    routes: dict[str, tuple[Callable[[], object], int]] = {
        "pdf": (lambda: law.pdf(x), 3),
        "cdf": (lambda: law.cdf(x), 3),
        "constructed": (constructed, 3),
        "stieltjes": (lambda: law.stieltjes(x + 0.1j), 1),
        "fixed point": (lambda: by_fixed_point(population, few), 1),
    }
    times = measure.side_by_side(routes, ROUNDS)
    by_hand = times["fixed point"] * POINTS / few.size
    report.row(f"{atoms} atoms: density", 1e3 * times["pdf"], "ms", most=50)
    report.row(f"{atoms} atoms: distribution function", 1e3 * times["cdf"], "ms", most=50)
    report.row(
        f"{atoms} atoms: density, a new law constructed too", 1e3 * times["constructed"], "ms", most=50
    )
    report.row(f"{atoms} atoms: Stieltjes transform off the axis", 1e3 * times["stieltjes"], "ms")
    report.row(f"{atoms} atoms: fixed point at height {HEIGHT:g}", 1e3 * by_hand, "ms")
    report.row(f"{atoms} atoms: fixed point / density", by_hand / times["pdf"], least=20)
    same = np.abs(by_fixed_point(population, few) - law.stieltjes(few + 1j * HEIGHT).imag / np.pi).max()
    report.row(f"{atoms} atoms: difference of the two at that height", same, most=1e-3)
    omega, _ = law.inverse_map._bulk(x)
    residual = omega + RATIO * (population * omega[:, None] / (omega[:, None] - population)).mean(1) - x
    report.row(f"{atoms} atoms: worst residual |z(ω) − x|/x", np.abs(residual / x).max(), most=1e-12)


def main() -> int:
    report = measure.Report(
        f"Further laws, {POINTS} points, one thread, medians of {ROUNDS} interleaved rounds"
    )
    law = Wachter(0.25, 0.5)
    x = np.linspace(*law.support[0], POINTS + 2)[1:-1]
    top = np.linspace(-5, 5, 100)
    times = measure.side_by_side(
        {
            "pdf": (lambda: law.pdf(x), 100),
            "cdf": (lambda: law.cdf(x), 100),
            "np.roots": (lambda: by_roots(0.25, 0.5, x), 1),
            "top": (lambda: TracyWidom().sf(top), 1),
        },
        ROUNDS,
    )
    report.row("F-matrix: density", 1e3 * times["pdf"], "ms", most=50)
    report.row("F-matrix: distribution function", 1e3 * times["cdf"], "ms", most=50)
    report.row("F-matrix: np.roots loop / density", times["np.roots"] / times["pdf"], least=20)
    report.row(
        "F-matrix: difference of the two", np.abs(by_roots(0.25, 0.5, x) - law.pdf(x)).max(), most=1e-8
    )
    for atoms in ATOMS:
        rows(report, atoms)
    report.row("Tracy-Widom: upper tail, a point", 1e3 * times["top"] / top.size, "ms", most=10)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
