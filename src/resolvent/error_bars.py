"""Intervals for the outlier, the overlap and the edge of one finite sample, and p-values of its top eigenvalue.

Standard errors come from `resolvent.fluctuations`; here are the intervals built on them and the windows around
the transition where no law is known (docs/theory/fluctuations.md, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, plain
from resolvent.fluctuations import FiniteSample
from resolvent.laws.tracy_widom import TracyWidom

__all__ = ["ErrorBar", "ErrorBars"]

# where the laws begin to hold, as distances of q/q_c from one at d = REFERENCE; windows shrink as d^(-1/3)
REFERENCE = 300
EDGE_BELOW, EDGE_ABOVE, OUTLIER_FROM, OVERLAP_FROM, OVERLAP_STRAIGHT = 0.4, 0.5, 0.2, 0.3, 1.2
# in units of q_c, the strength of the heaviest single token that disturbs the edge, the overlap, the outlier
HEAVY_EDGE, HEAVY_OVERLAP, HEAVY_OUTLIER = 0.8, 1.1, 1.4
NODES = 256  # of the mixture that bends an interval along the curve of the overlap

SECOND_SPIKE = "an uncentred mixture table has a second spike, which the theory of error bars leaves out"
HEAVY = "single heavy tokens disturb it: sequences are too short (the heaviest is a spike of {:.2g} q_c)"
WINDOW = "q/q_c = {:.3g} is inside the window around the transition, where the law is not known"
NO_OUTLIER = "q is not above its threshold: there is no outlier"


@dataclass(frozen=True, eq=False)
class ErrorBar:
    """One quantity of one finite sample: its expected value, standard error and interval.

    Attributes
    ----------
    value : float or array
        Expected value with the sample's own degrees of freedom.
    standard_error : float or array
        Standard deviation over samples; NaN where no law is known.
    low, high : float or array
        Interval, NaN where no law is known.
    reason : str or array of str
        Why there is none; empty where there is.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = PooledSequences(400, 800, 1200, Prefix(50, 10), "optimal", signal=0.7)
    >>> model.predict().error_bars.outlier
    ErrorBar(1.133 ± 0.0634, [1.009, 1.257])
    """

    value: Any
    standard_error: Any
    low: Any
    high: Any
    reason: Any = ""

    def __repr__(self) -> str:
        if np.ndim(self.value):
            return f"ErrorBar(of {np.shape(self.value)} values)"
        if self.reason:
            return f"ErrorBar({self.value:.4g}, no interval: {self.reason})"
        return f"ErrorBar({self.value:.4g} ± {self.standard_error:.3g}, [{self.low:.4g}, {self.high:.4g}])"


@dataclass(frozen=True, eq=False)
class ErrorBars:
    """Error bars of one sample's outlier, overlap and edge, and p-values of its top eigenvalue.

    ``predict().error_bars`` makes one. Fields broadcast with the signal.

    Parameters
    ----------
    sample : FiniteSample
    heaviest : float, default 0
        Strength of the heaviest single token in units of q_c, see `resolvent.finite_length.heaviest_token`.
    shifts : tuple of float or array, default (0, 0, 0)
        What the finite length adds to edge, outlier and overlap.
    confidence : float, default 0.95
        Coverage of the intervals, in (0, 1).

    Raises
    ------
    ValueError
        If `confidence` is not inside (0, 1).

    References
    ----------
    docs/theory/fluctuations.md, section 5.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> bars = PooledSequences(400, 800, 1200, Prefix(50, 10), "optimal", signal=0.7).predict().error_bars
    >>> bars.overlap, bars.edge
    (ErrorBar(0.473 ± 0.0319, [0.412, 0.537]), ErrorBar(0.3889 ± 0.0069, [0.3763, 0.4033]))
    >>> bars.at(0.5).overlap
    ErrorBar(0.473 ± 0.0319, [0.4512, 0.4942])
    """

    sample: FiniteSample
    heaviest: float = 0.0
    shifts: tuple[Any, Any, Any] = (0.0, 0.0, 0.0)
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not number("confidence", self.confidence, above=0) < 1:
            raise ValueError(f"confidence must be inside (0, 1), got {self.confidence!r}")

    def at(self, confidence: float) -> ErrorBars:
        """The same with intervals of another coverage."""
        return replace(self, confidence=confidence)

    @cached_property
    def outlier(self) -> ErrorBar:
        """Of the signal's outlier."""
        sample = self.sample
        value, error = sample.outlier + self.shifts[1], sample.outlier_error
        reason = self._reasons(
            (sample.ratio <= 1, NO_OUTLIER),
            (sample.ratio < 1 + OUTLIER_FROM * self._widening, WINDOW),
            heavy=HEAVY_OUTLIER,
        )
        reach = self._normal(self._tails[1]) * error
        return _bar(value, error, value - reach, value + reach, reason)

    @cached_property
    def overlap(self) -> ErrorBar:
        """Of the squared overlap with the signal's direction.

        It is the square of a cosine, which is Gaussian: about zero below the threshold, above it about a curve
        that bends along q at first and is straight beyond.
        """
        sample, ratio = self.sample, np.asarray(self.sample.ratio)
        window = (ratio > 1 - EDGE_BELOW * self._widening) & (ratio < 1 + OVERLAP_FROM * self._widening)
        reason = self._reasons((window, WINDOW), heavy=HEAVY_OVERLAP)
        known = (ratio > 1) & (np.asarray(reason) == "")
        limit = np.clip(sample.overlap + self.shifts[2], 0, 1)
        along, across = self._spreads()
        value = np.where(ratio > 1, np.clip(limit + across**2, 0, 1), limit)
        error = np.sqrt(4 * limit * sample.cosine_error**2 + 2 * across**4)
        ends = np.full((2, *ratio.shape), np.nan)
        if known.any():
            ends[:, known] = self._quantiles(known, along, across)
        below = (ratio < 1) & ~window
        if below.any():
            mean = np.broadcast_to(sample.overlap_below, ratio.shape)
            value, error = (np.where(below, f * mean, x) for f, x in ((1.0, value), (2**0.5, error)))
            reach = [self._normal((1 + u) / 2) ** 2 for u in self._tails]
            ends = np.where(below, np.clip([r * mean for r in reach], 0, 1), ends)
        return _bar(value, error, ends[0], ends[1], reason)

    @cached_property
    def edge(self) -> ErrorBar:
        """Of the largest eigenvalue of the bulk: the first below the threshold, the second above it."""
        sample, law = self.sample, TracyWidom()
        reason = self._reasons((self._edge_window, WINDOW), heavy=HEAVY_EDGE)
        centre, scale = sample.edge_centre() + self.shifts[0], sample.edge_scale
        low, high = (centre + scale * law.ppf(u) for u in self._tails)
        error = np.full(np.shape(centre), scale * law.var() ** 0.5)
        return _bar(centre + scale * law.mean(), error, low, high, reason)

    @property
    def bent(self) -> Any:
        """Whether q is so near its threshold that the overlap's interval bends along its curve."""
        return self.sample.ratio < 1 + OVERLAP_STRAIGHT * self._widening

    def p_value(self, top_eigenvalue: Any) -> Any:
        """Probability that a sample without signal has a top eigenvalue at least this large.

        Without signal the table's own class means still make a spike of net strength (snr − 1)·delta in a
        mixture table. Below the threshold the top eigenvalue follows Tracy and Widom's law, above it that of the
        spurious outlier; inside the window around the threshold the result is NaN.

        Parameters
        ----------
        top_eigenvalue : float or array

        Returns
        -------
        float or array
            In [0, 1], accurate down to 1e-290; NaN for NaN, as SciPy's distributions have it.
        """
        from scipy.special import ndtr

        _, x = arrays(top_eigenvalue, names="top_eigenvalue")
        null = replace(self, sample=replace(self.sample, signal=0.0), shifts=(self.shifts[0], 0.0, 0.0))
        sample = null.sample
        if sample.ratio > 1:
            if null.outlier.reason:
                return plain(np.full(x.shape, np.nan))
            return plain(ndtr((sample.outlier - x) / sample.outlier_error))
        if null.edge.reason:
            return plain(np.full(x.shape, np.nan))
        centre = sample.edge_centre() + null.shifts[0]
        return plain(np.asarray(TracyWidom().sf((x - centre) / sample.edge_scale)))

    # --- pieces ---------------------------------------------------------------------------------------

    @property
    def _widening(self) -> float:
        return (REFERENCE / self.sample.dimension) ** (1 / 3)

    @property
    def _tails(self) -> tuple[float, float]:
        return (1 - self.confidence) / 2, (1 + self.confidence) / 2

    @staticmethod
    def _normal(u: float) -> float:
        from scipy.special import ndtri

        return float(ndtri(u))

    @property
    def _edge_window(self) -> Any:
        ratio, wide = np.asarray(self.sample.ratio), self._widening
        return (ratio > 1 - EDGE_BELOW * wide) & (ratio < 1 + EDGE_ABOVE * wide)

    def _reasons(self, *cases: tuple[Any, str], heavy: float) -> Any:
        """The first reason that applies, as text of the signal's shape; empty where none does."""
        ratio = np.asarray(self.sample.ratio)
        spurious = not self.sample.centred and self.sample.table == "mixture"
        every = [(spurious, SECOND_SPIKE), (self.heaviest > heavy, HEAVY.format(self.heaviest)), *cases]
        out = np.full(ratio.shape, "", dtype=object)
        for holds, text in reversed(every):
            here = np.broadcast_to(holds, ratio.shape)
            out[here] = [text.format(r) for r in ratio[here]]
        return out.astype(str) if out.ndim else out.item()

    def _spreads(self) -> tuple[Any, Any]:
        """Standard deviations of the overlap along its curve O(q), and of the cosine across it."""
        sample = self.sample
        along = np.minimum(sample.overlap_error, sample.overlap_slope() * sample.spike_error)
        overlap = np.asarray(sample.overlap)
        moved = along / (2 * np.sqrt(np.where(overlap > 0, overlap, 1.0)))
        across2 = sample.cosine_error**2 - np.where(overlap > 0, moved, 0.0) ** 2
        return along, np.sqrt(np.maximum(across2, (0.02 * sample.cosine_error) ** 2))

    def _quantiles(self, known: np.ndarray, along: Any, across: Any) -> np.ndarray:
        """Quantiles of (A + s ε2)², with A² = O(q + along·ε1/O') near the threshold and O(q) beyond."""
        from scipy.special import ndtr, ndtri

        sample = self.sample

        def of(value: Any) -> np.ndarray:
            return np.broadcast_to(value, known.shape)[known][:, None]

        one = replace(sample, signal=of(arrays(sample.signal)[1]))
        near = replace(self, sample=one).bent
        slope, shift = one.overlap_slope(), of(self.shifts[2])
        steps = np.where(near & (slope > 0), of(along) / np.where(slope > 0, slope, 1.0), 0.0)
        curve = one.overlap_at(one.q + steps * ndtri((np.arange(NODES) + 0.5) / NODES)) + shift
        middle, spread = np.sqrt(np.clip(curve, 0, 1)), np.where(near, of(across), one.cosine_error)
        found = []
        for u in self._tails:
            low, high = np.zeros(middle.shape[0]), np.full(middle.shape[0], 2.0)
            for _ in range(50):
                x = (low + high) / 2
                inside = ndtr((x[:, None] - middle) / spread) - ndtr((-x[:, None] - middle) / spread)
                below = inside.mean(axis=1) < u
                low, high = np.where(below, x, low), np.where(below, high, x)
            found.append(np.clip((low + high) / 2, 0, 1) ** 2)
        return np.stack(found)


def _bar(value: Any, error: Any, low: Any, high: Any, reason: Any) -> ErrorBar:
    """Numbers of one shape, NaN where there is a reason against them (the value stays)."""
    known = np.asarray(reason) == ""
    value = np.broadcast_to(value, known.shape)
    error, low, high = (plain(np.where(known, x, np.nan)) for x in (error, low, high))
    return ErrorBar(plain(np.asarray(value)), error, low, high, reason)
