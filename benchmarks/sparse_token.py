"""Sparse tokens: a theory point, and features drawn by the reduction beside features of explicit tokens."""

from __future__ import annotations

import sys

import measure
import numpy as np

from resolvent import SparseTokenClassification
from resolvent.sparse_token import Query, attention, capacity, draw, readout
from resolvent.sparse_token.features import scores, softmax

DIMENSION, SAMPLES = 500, 2_000
QUERY = Query(0.7, 1.0)
MODEL = SparseTokenClassification(DIMENSION, 10, 1, 5.0, 0.5, 4 * DIMENSION, SAMPLES)


def point(loss: str, alpha: float = 2.0) -> float:
    """One theory point from nothing: quasi-random points, equations, test error."""
    return float(readout(attention(MODEL.tokens, QUERY), alpha, loss=loss).error)


def solved(loss: str, law: object = attention(MODEL.tokens, QUERY)) -> float:
    """The same with the law of the features at hand, as along a curve."""
    return float(readout(law, 2.0, loss=loss).error)


def explicit() -> np.ndarray:
    """Attention features of explicit tokens, n x L x d."""
    x, _, _ = MODEL.tokens.sample(SAMPLES, dimension=DIMENSION, rng=0)
    q = np.zeros(DIMENSION)
    q[:2] = QUERY.alignment, np.sqrt(1 - QUERY.alignment**2)
    return np.einsum("nl,nld->nd", softmax(QUERY.kappa * (x @ q)), x)


def main() -> int:
    report = measure.Report("A theory point of SparseTokenClassification, one thread, median of 7")
    times = measure.side_by_side(
        {
            "logistic": (lambda: point("logistic"), 1),
            "near capacity": (lambda: point("logistic", 15.0), 1),
            "square": (lambda: point("square"), 1),
            "square, law at hand": (lambda: solved("square"), 5),
            "logistic, law at hand": (lambda: solved("logistic"), 1),
            "capacity": (lambda: capacity(attention(MODEL.tokens, QUERY)), 1),
            "three classifiers and two steps": (lambda: MODEL.predict(), 1),
        },
        7,
    )
    for name in ("logistic", "near capacity", "capacity", "three classifiers and two steps"):
        report.row(name, times[name], "s", most=0.3)
    report.row("logistic, law at hand", times["logistic, law at hand"], "s", most=0.3)
    report.row("square, law at hand", times["square, law at hand"], "s", most=0.02)
    report.row("square", times["square"], "s", most=0.02)
    status = report.finish()

    report = measure.Report(f"Attention features, n={SAMPLES}, L=10, d={DIMENSION}, one thread, median of 5")
    times = measure.side_by_side(
        {
            "reduction": (lambda: draw(MODEL.tokens, QUERY, SAMPLES, DIMENSION, rng=0), 1),
            "explicit": (explicit, 1),
            "scalars": (lambda: scores(MODEL.tokens, QUERY, 1_000_000, rng=0), 1),
        },
        5,
    )
    report.row("drawn by the reduction", times["reduction"], "s")
    report.row("of explicit tokens", times["explicit"], "s")
    report.row("explicit / reduction", times["explicit"] / times["reduction"], least=3)
    report.row("scalars of 10⁶ samples", times["scalars"], "s", most=5)
    return status | report.finish()


if __name__ == "__main__":
    sys.exit(main())
