"""The law of a bulk: known from a null, or chosen and fitted, with its noise level and how that was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resolvent.counting import edge_statistics
from resolvent.laws import Law, MarchenkoPastur, MarchenkoPasturProduct, Wachter
from resolvent.nulls import Null
from resolvent.spectrum import fit

__all__ = ["SMALLEST_RATIO", "bulk_law", "textbook_law"]

SMALLEST_RATIO = 0.05  # below it the bulk of a noise level is narrower than real anisotropy ever is


def bulk_law(
    values: np.ndarray, freedom: int, ratio: float, null: Null | None, law: str | Law
) -> tuple[Law, str, float, str]:
    """The bulk law, its name, its distance to the bulk eigenvalues, and how the noise level was found."""
    if null is not None:
        if np.isinf(null.samples):
            bulk: Law = MarchenkoPastur(ratio)
            return bulk, f"Marchenko-Pastur, ratio {ratio:.4g}", _distance(values, bulk), "one, by the null"
        null_ratio = values.size / (null.samples - 1)
        if null_ratio >= 1:
            raise ValueError(
                f"null must rest on more than {values.size + 1} documents (its rank), got {null.samples:g}"
            )
        bulk = Wachter(ratio, null_ratio)
        name = f"Wachter (F-matrix), ratios {ratio:.4g} and {null_ratio:.4g}"
        return bulk, name, _distance(values, bulk), "one, by the null"
    if isinstance(law, Law):
        return law, repr(law), _distance(values, law), "given with the law"
    positive = values[values > 0]
    if (ratio < SMALLEST_RATIO and law == "auto") or positive.size < 10:
        bulk = textbook_law(values, ratio)
        how = "median eigenvalue over the median of the law"
        return bulk, f"Marchenko-Pastur, ratio {ratio:.4g}", _distance(values, bulk), how
    how = "trace of the bulk, its law fitted by Cramér-von Mises"
    found = fit(values, ratio, kind="product" if law == "product" else "plain")
    # distances of eigenvalues to their law shrink like 1/d: they repel each other
    if law == "auto" and found.distance > 6 / positive.size:
        two = fit(values, ratio, kind="product")
        if two.distance < 0.6 * found.distance:
            found = two
    bulk = _by_trace(values, found.law, ratio)
    name = f"Marchenko-Pastur, ratio {ratio:.4g}"
    if isinstance(bulk, MarchenkoPasturProduct):
        name = f"two Marchenko-Pastur factors, ratios {ratio:.4g} and {bulk.ratios[1]:.4g}"
    return bulk, name, _distance(values, bulk), how


def _by_trace(values: np.ndarray, law: Law, ratio: float) -> Law:
    """The law with its scale set by the trace of the bulk, which is unbiased (a fit is off by order 1/d).

    The trace is that of the population: k outliers at λ_i leave sum_bulk λ + sum_i (λ_i − ℓ_i) to the d − k
    other directions, and λ − ℓ = ratio·p λ/(1 + ratio·p) by the map of the law.
    """
    k = -1
    for _ in range(8):
        p_values, _, _ = edge_statistics(values, law, values.size)
        outliers = int(np.argmin(np.append(p_values < 0.01, False)))
        if outliers == k or outliers > values.size // 2:
            break
        k = outliers
        at = values[:k]
        p = (-1 - at * law.stieltjes(at)).real
        borrowed = ratio * p * at / (1 + ratio * p)
        scale = float((values[k:].sum() + borrowed.sum()) / (values.size - k))
        law = replace(law, scale=scale)  # type: ignore[type-var]
    return law


def _distance(values: np.ndarray, law: Law) -> float:
    """Kolmogorov–Smirnov distance between the eigenvalues up to the right edge and the law."""
    bulk = np.sort(values[(values > 0) & (values <= law.support[-1][1])])
    if not bulk.size:
        return 1.0
    expected = (law.cdf(bulk) - law.atom) / (1 - law.atom)
    steps = np.arange(bulk.size + 1) / bulk.size
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))


def textbook_law(values: np.ndarray, ratio: float) -> MarchenkoPastur:
    """Marchenko–Pastur with the noise level of the median eigenvalue, as most tools take it."""
    unit = MarchenkoPastur(ratio)
    return MarchenkoPastur(ratio, float(np.median(values[values > 0]) / unit.ppf((1 + unit.atom) / 2)))
