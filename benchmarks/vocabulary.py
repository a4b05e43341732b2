"""Vocabularies of 100,000 tokens of distinct frequencies on 1,000 points, beside sums over all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import measure
import numpy as np

from resolvent.laws import SeparableLaw
from resolvent.vocabulary import VocabularySpikes, class_frequencies

TOKENS = 100_000
DIMENSION = 1_000
SAMPLES = 3_000
POINTS = 1_000
ROUNDS = 5
CASES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Zipf 1/2": lambda rng: np.arange(1.0, TOKENS + 1) ** -0.5,
    "Zipf 1": lambda rng: np.arange(1.0, TOKENS + 1) ** -1.0,
    "log-normal": lambda rng: np.exp(rng.standard_normal(TOKENS)),
}


def rows(report: measure.Report, name: str) -> None:
    rng = np.random.default_rng(0)
    frequencies = class_frequencies(rng.permutation(CASES[name](rng)))
    noise = np.ones(DIMENSION)
    spikes = VocabularySpikes(
        DIMENSION / TOKENS, DIMENSION / SAMPLES, 1.0, frequencies, noise, noise / DIMENSION
    )
    law = spikes.bulk
    x = np.linspace(*law.support[0], POINTS + 2)[1:-1]
    signals = np.linspace(0, 3, 100)

    def constructed() -> None:
        SeparableLaw(law.delta, law.gamma, law.frequencies, (1.0,), law.frequency_weights).pdf(x)

    def naive() -> None:  # one sum over all tokens on twenty points
        xi = x[:: POINTS // 20, None] + 0.1j
        (law.frequencies / (xi - law.frequencies)).sum(axis=1)

    times = measure.side_by_side(
        {
            "pdf": (lambda: law.pdf(x), 3),
            "cdf": (lambda: law.cdf(x), 3),
            "constructed": (constructed, 1),
            "modes": (lambda: spikes.modes(signals, 3.0), 1),
            "naive": (naive, 1),
        },
        ROUNDS,
    )
    report.row(f"{name}: density", 1e3 * times["pdf"], "ms", most=50)
    report.row(f"{name}: distribution function", 1e3 * times["cdf"], "ms", most=50)
    report.row(f"{name}: density, a new law constructed too", 1e3 * times["constructed"], "ms")
    report.row(f"{name}: one sum over all tokens at every point", 50e3 * times["naive"], "ms")
    report.row(
        f"{name}: {spikes.heavy.size} heavy tokens, outliers at 100 signals", 1e3 * times["modes"], "ms"
    )
    few = x[:: POINTS // 20]
    xi, eta, _ = law.inverse_map._bulk(few)
    p = np.array([(law.frequencies / (point - law.frequencies)).sum() for point in xi]) / DIMENSION
    worst = max(np.abs(p * (eta - 1) - 1).max(), np.abs(law.inverse_map.value(p, xi, eta) / few - 1).max())
    report.row(f"{name}: worst residual, with sums over all tokens", worst, most=1e-11)


def main() -> int:
    report = measure.Report(
        f"Vocabulary of {TOKENS:,} distinct frequencies, {POINTS:,} points, d = {DIMENSION:,}, one thread"
    )
    for name in CASES:
        rows(report, name)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
