"""The density of MP_delta ⊠ MP_gamma on 1,000 points, beside rmtool and a loop of np.roots."""

from __future__ import annotations

import sys

import measure
import mpmath
import numpy as np

from resolvent import MarchenkoPasturProduct

RATIOS = (0.25, 1 / 3)
POINTS = 1_000
ROUNDS = 7


def by_roots(x: np.ndarray) -> np.ndarray:
    """One np.roots a point: delta·gamma·p³ + (delta+gamma+delta·gamma)p² + (1+delta+gamma−x)p + 1 = 0."""
    delta, gamma = RATIOS
    roots = [np.roots([delta * gamma, delta + gamma + delta * gamma, 1 + delta + gamma - t, 1]) for t in x]
    return np.array([-p.imag.min() for p in roots]) / (np.pi * x)


def exactly(x: float) -> float:
    """The same in 40 digits, of the very doubles that the other routes get."""
    with mpmath.workdps(40):
        delta, gamma, t = (mpmath.mpf(v) for v in (*RATIOS, float(x)))
        cubic = [delta * gamma, delta + gamma + delta * gamma, 1 + delta + gamma - t, mpmath.mpf(1)]
        roots = mpmath.polyroots(cubic, maxsteps=200, extraprec=200)
        return float(-min(mpmath.im(p) for p in roots) / (mpmath.pi * t))


def main() -> int:
    law = MarchenkoPasturProduct(RATIOS)
    (left, right) = law.support[0]
    margin = 0.01 * (right - left)
    x = np.linspace(left - margin, right + margin, POINTS)  # the support widened by 2 %
    million = np.linspace(left - margin, right + margin, 1_000_000)
    fresh = iter(range(10**9))

    def constructed() -> None:
        # another law each time, so that nothing is remembered from the one before
        MarchenkoPasturProduct((RATIOS[0], RATIOS[1] + 1e-9 * next(fresh))).pdf(x)

    routes = {
        "resolvent": (lambda: law.pdf(x), 300),
        "resolvent, law constructed too": (constructed, 300),
        "np.roots": (lambda: by_roots(x), 1),
        "a million points": (lambda: law.pdf(million), 1),
    }
    try:
        import rmtool
    except ImportError:
        print("rmtool is not installed (pip install resolvent[bench]); its rows are left out")
        rmtool = None
    else:

        def by_rmtool() -> np.ndarray:
            curve = rmtool.AtimesWish(rmtool.wishartpol(RATIOS[0]), RATIOS[1])
            return rmtool.Lmz2pdf(curve, x).density

        routes["rmtool"] = (by_rmtool, 1)
        curve = rmtool.AtimesWish(rmtool.wishartpol(RATIOS[0]), RATIOS[1])
        routes["rmtool, evaluation alone"] = (lambda: rmtool.Lmz2pdf(curve, x), 1)
    times = measure.side_by_side(routes, ROUNDS)

    away = x[(x > left + margin) & (x < right - margin)]
    exact = np.array([exactly(t) for t in away])
    density = law.pdf(away)
    report = measure.Report(
        f"Density of MP(0.25) ⊠ MP(1/3), {POINTS} points, one thread, medians of {ROUNDS} interleaved rounds"
    )
    mine, whole = times["resolvent"], times["resolvent, law constructed too"]
    report.row("resolvent", 1e3 * mine, "ms")
    report.row("resolvent, a new law constructed too", 1e3 * whole, "ms")
    report.row("np.roots loop", 1e3 * times["np.roots"], "ms")
    report.row("np.roots loop / resolvent", times["np.roots"] / mine, least=80)
    report.row("np.roots loop / resolvent with construction", times["np.roots"] / whole)
    if rmtool is not None:
        report.row("rmtool AtimesWish", 1e3 * times["rmtool"], "ms")
        report.row("rmtool, evaluation alone", 1e3 * times["rmtool, evaluation alone"], "ms")
        report.row("rmtool / resolvent", times["rmtool"] / mine, least=200)
        report.row("rmtool / resolvent with construction", times["rmtool"] / whole)
        report.row("rmtool's evaluation / resolvent", times["rmtool, evaluation alone"] / mine)
    report.row("a million points, each", 1e6 * times["a million points"] / million.size, "µs", most=0.5)
    report.row("worst absolute error to 40 digits", np.abs(density - exact).max(), most=1e-12)
    report.row("worst relative error to 40 digits", np.abs(density / exact - 1).max(), most=1e-12)
    report.row("np.roots' worst absolute error", np.abs(by_roots(away) - exact).max())
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
