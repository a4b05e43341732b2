r"""Outliers, thresholds and overlaps of the pooled-sequence model, as functions of the net spike q.

All of them are read off the inverse map z(p) of the bulk at p = 1/q (docs/theory/pooled.md,
sections 3 and 4): the outlier is its value, the threshold its critical point, the overlap its slope.
Every function is vectorised, follows the array API and is differentiable. ``gamma = 0`` means the
population covariance (infinitely many sequences); ``delta = 0`` an infinite vocabulary.
"""

from __future__ import annotations

from typing import Any

from resolvent.arguments import arrays, one_of, plain, require
from resolvent.laws.inverse_map import InverseMap

__all__ = [
    "alignment",
    "critical_signal",
    "direction_factor",
    "edge",
    "invert",
    "net_spike",
    "outlier",
    "overlap",
    "threshold",
]

TABLES = ("mixture", "balanced")


def _bulk(delta: Any, gamma: Any, scale: Any = 1.0) -> InverseMap:
    xp, d, g, s = arrays(delta, gamma, scale, names="delta gamma scale")
    require("delta", delta, xp.isfinite(d) & (d >= 0), "finite and >= 0")
    require("gamma", gamma, xp.isfinite(g) & (g >= 0), "finite and >= 0")
    require("scale", scale, xp.isfinite(s) & (s > 0), "positive and finite")
    return InverseMap((delta, gamma), scale)


def threshold(delta: Any, gamma: Any) -> Any:
    """Net spike q_c above which an eigenvalue leaves the bulk.

    The largest root of q³ − (delta+gamma+delta·gamma) q − 2 delta·gamma = 0; sqrt(delta) at gamma = 0.

    Parameters
    ----------
    delta, gamma : float or array
        Aspect ratios d/V and d/N, >= 0; broadcast.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If a ratio is negative or not finite.

    References
    ----------
    docs/theory/pooled.md, equation 3; the second of the two transitions of Seddik [seddik2026]_.

    Examples
    --------
    >>> round(float(threshold(0.25, 0.0)), 12)
    0.5
    >>> round(float(threshold(1.0, 1.0)), 6)
    2.0
    """
    return plain(_bulk(delta, gamma).critical_spikes()[0])


def edge(delta: Any, gamma: Any, scale: Any = 1.0) -> Any:
    """Right edge of the bulk: the value of the map at the threshold.

    Examples
    --------
    >>> round(float(edge(0.25, 0.0)), 12)
    2.25
    """
    return plain(_bulk(delta, gamma, scale).edges()[1])


def outlier(q: Any, delta: Any, gamma: Any, scale: Any = 1.0) -> Any:
    """Eigenvalue that a spike of net strength `q` detaches from the bulk, NaN when it does not.

    scale·(q+1)(q+delta)(q+gamma)/q² for q > q_c. At or below the threshold there is no outlier (the
    largest eigenvalue then sits at `edge`).

    Parameters
    ----------
    q : float or array
        Net spike, see `net_spike`.
    delta, gamma : float or array
        Aspect ratios d/V and d/N, >= 0; gamma = 0 gives the population eigenvalue.
    scale : float or array, default 1
        Pooled noise kappa.

    References
    ----------
    docs/theory/pooled.md, equation 2.

    Examples
    --------
    >>> float(outlier(2.0, 0.25, 0.0))
    3.375
    >>> float(outlier(0.4, 0.25, 0.0))
    nan
    """
    bulk = _bulk(delta, gamma, scale)
    xp, q, critical = arrays(q, bulk.critical_spikes()[0], names="q threshold")
    above = q > critical
    return plain(xp.where(above, bulk.at_spike(xp.where(above, q, critical + 1)), float("nan")))


def overlap(q: Any, delta: Any, gamma: Any) -> Any:
    """Squared overlap of the sample outlier's eigenvector with the spike's own direction.

    (1 − (delta+gamma+delta·gamma)/q² − 2 delta·gamma/q³) / (1 + gamma/q), zero at or below q_c. The
    numerator is the slope of the map. It factorises into the population overlap, ``overlap(q, delta,
    0) = 1 − delta/q²``, and the sample's share. For the overlap with the signal mu itself use
    `alignment`, which multiplies by the table convention's `direction_factor`.

    Examples
    --------
    >>> float(overlap(2.0, 0.25, 0.0))
    0.9375
    >>> round(float(overlap(2.0, 0.25, 0.5)), 4)
    0.6
    """
    bulk = _bulk(delta, gamma)
    xp, q, gamma, critical = arrays(q, gamma, bulk.critical_spikes()[0], names="q gamma threshold")
    above = q > critical
    safe = xp.where(above, q, critical + 1)
    value = bulk.slope(safe) / (1 + gamma / safe)
    return plain(xp.where(above & (value > 0), value, 0.0))


def invert(eigenvalue: Any, delta: Any, gamma: Any, scale: Any = 1.0) -> Any:
    """Net spike q whose outlier is `eigenvalue`; NaN at or below the edge. Inverse of `outlier`.

    Examples
    --------
    >>> round(float(invert(outlier(2.0, 0.25, 0.5), 0.25, 0.5)), 12)
    2.0
    """
    bulk = _bulk(delta, gamma, scale)
    xp, d, g = arrays(delta, gamma)
    require("delta", delta, d > 0, "positive")
    require("gamma", gamma, g > 0, "positive")
    xp, eigenvalue, right = arrays(eigenvalue, bulk.edges()[1], names="eigenvalue edge")
    above = eigenvalue > right
    p = xp.real(bulk.physical(xp.where(above, eigenvalue, 2 * right)))
    return plain(xp.where(above, 1 / p, float("nan")))


def net_spike(signal: Any, snr: Any, delta: Any, table: str = "mixture") -> Any:
    """Net spike q of a signal of norm ‖mu‖, in units of kappa.

    Parameters
    ----------
    signal : float or array
        ‖mu‖ >= 0.
    snr : float or array
        alpha / kappa of the pooling weights, >= 0.
    delta : float or array
        d / V.
    table : {"mixture", "balanced"}
        "mixture": the Gaussian-mixture table itself, q = snr (‖mu‖² + delta) − delta. "balanced":
        table noise with zero mean inside each class, q = snr ‖mu‖² − delta; the formulas as
        published (Seddik [seddik2026]_) correspond to this table.

    References
    ----------
    docs/theory/pooled.md, section 2.

    Examples
    --------
    >>> float(net_spike(1.0, 2.0, 0.5)), float(net_spike(1.0, 2.0, 0.5, table="balanced"))
    (2.5, 1.5)
    """
    extra = one_of("table", table, TABLES) == "mixture"
    xp, s, snr_, d = arrays(signal, snr, delta, names="signal snr delta")
    require("signal", signal, xp.isfinite(s) & (s >= 0), "finite and >= 0")
    require("snr", snr, xp.isfinite(snr_) & (snr_ >= 0), "finite and >= 0")
    require("delta", delta, xp.isfinite(d) & (d >= 0), "finite and >= 0")
    power = s**2 + d if extra else s**2
    return snr_ * power - d


def direction_factor(signal: Any, delta: Any, table: str = "mixture") -> Any:
    """Squared cosine between the spike's direction and mu: ‖mu‖²/(‖mu‖²+delta), or one if balanced.

    In a mixture table the half difference of the class means is mu + g with ‖g‖² -> delta, g
    orthogonal to mu, and the spike points along that.

    Examples
    --------
    >>> float(direction_factor(1.0, 0.25)), float(direction_factor(1.0, 0.25, table="balanced"))
    (0.8, 1.0)
    """
    mixture = one_of("table", table, TABLES) == "mixture"
    xp, s, d = arrays(signal, delta, names="signal delta")
    require("signal", signal, xp.isfinite(s) & (s >= 0), "finite and >= 0")
    require("delta", delta, xp.isfinite(d) & (d >= 0), "finite and >= 0")
    if not mixture:
        return plain(xp.ones_like(s * d))
    total = s**2 + d
    return s**2 / xp.where(total > 0, total, 1.0)


def alignment(signal: Any, snr: Any, delta: Any, gamma: Any, table: str = "mixture") -> Any:
    """Squared overlap of the top eigenvector with the signal direction mu/‖mu‖.

    `overlap` at the `net_spike`, times the `direction_factor`. One call serves a whole grid.

    Examples
    --------
    >>> round(float(alignment(0.7, 10.0, 1.0, 0.5)), 3)
    0.314
    >>> round(float(alignment(0.7, 10.0, 1.0, 0.5, table="balanced")), 3)
    0.755
    """
    _, signal, snr, delta, gamma = arrays(signal, snr, delta, gamma, names="signal snr delta gamma")
    q = net_spike(signal, snr, delta, table)
    return overlap(q, delta, gamma) * direction_factor(signal, delta, table)


def critical_signal(snr: Any, delta: Any, gamma: Any, table: str = "mixture", critical: Any = None) -> Any:
    """Smallest ‖mu‖ whose outlier leaves the bulk; zero when every non-zero signal does.

    `critical` is the q_c to be passed, `threshold` unless another law of the bulk has another.

    Examples
    --------
    >>> round(float(critical_signal(1.0, 0.25, 0.0)) ** 2, 12)
    0.5
    """
    critical = threshold(delta, gamma) if critical is None else critical
    xp, snr_, d, critical = arrays(snr, delta, critical, names="snr delta threshold")
    require("snr", snr, xp.isfinite(snr_) & (snr_ > 0), "positive and finite")
    mixture = one_of("table", table, TABLES) == "mixture"
    power = (critical + d) / snr_ - (d if mixture else 0 * d)
    positive = power > 0
    return plain(xp.where(positive, xp.sqrt(xp.where(positive, power, 1.0)), 0.0))
