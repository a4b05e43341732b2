r"""What one finite sample adds to the limit: degrees of freedom, the edge's law, standard errors of a spike.

All of it is read off the inverse map of the bulk, :math:`z(p) = (1+p)(1+\delta p)(1+\gamma p)/p` with the
sample's own degrees of freedom, and its derivatives at p = 1/q (docs/theory/fluctuations.md). Closed forms,
vectorised over the signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, natural, number, one_of, require
from resolvent.laws.inverse_map import InverseMap
from resolvent.positions import Positions, SingleFactor
from resolvent.spikes import TABLES

__all__ = ["FiniteSample", "pooled_kurtosis"]

DRAWS = 2**16  # of the pooled sign sum, where its fourth moment has no closed form
BLOCK = 2**22  # signs held at once


def pooled_kurtosis(positions: Positions, weights: Any, *, draws: int = DRAWS, rng: Any = 0) -> float:
    """K = E a⁴/(E a²)² of the pooled sign sum a = sum_l w_l y_l: what a spike's fluctuations know of the signs.

    Closed form for `SingleFactor` (and `Prefix`); other models are sampled, with a standard error below 0.02
    at the default number of draws. K is not a function of R alone.

    Parameters
    ----------
    positions : Positions
    weights : array, shape (T,)
    draws : int
        Number of sampled sequences, where sampling is needed.
    rng : numpy.random.Generator or int, default 0

    Returns
    -------
    float
        1 for a sum that is ±1, near 3 for many independent signs.

    Raises
    ------
    ValueError
        If weights do not have one entry a position, or the pooled sum is always zero.

    References
    ----------
    docs/theory/fluctuations.md, section 3.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> pooled_kurtosis(Prefix(4, 2), [0.5, 0.5, 0.0, 0.0]), pooled_kurtosis(Prefix(4, 0), [0.25] * 4)
    (1.0, 2.5)
    """
    _, w = arrays(weights, names="weights")
    if w.shape != (positions.length,):
        raise ValueError(f"weights must have shape ({positions.length},), got {w.shape}")
    size = np.abs(w).max()
    require("weights", weights, np.isfinite(size) and size > 0, "finite and not all zero")
    w = w / size
    if isinstance(positions, SingleFactor):
        c = positions.loadings
        free = 1 - c**2
        k1, k2, k3 = w @ c, w**2 @ free, -2 * w**3 @ (c * free)
        k4 = w**4 @ (free * (6 * c**2 - 2))  # cumulants of sum_l w_l σ_l, signs σ_l of mean c_l
        second = k1**2 + k2
        fourth = k4 + 4 * k3 * k1 + 3 * k2**2 + 6 * k2 * k1**2 + k1**4
    else:
        generator = np.random.default_rng(rng) if not isinstance(rng, np.random.Generator) else rng
        second, fourth = 0.0, 0.0
        left = natural("draws", draws)
        while left:
            n = min(left, max(1, BLOCK // w.size))
            a = positions.sample(n, rng=generator) @ w
            second, fourth, left = second + a @ a / draws, fourth + (a**2) @ (a**2) / draws, left - n
    if not second > 0:
        raise ValueError("weights must not pool the signs to zero in every sequence")
    return float(fourth / second**2)


@dataclass(frozen=True, eq=False)
class FiniteSample:
    """One sample of d dimensions, V tokens and N sequences: centre and spread of edge, outlier and overlap.

    Everything broadcasts with the signal. Formulas hold away from the transition q = q_c, whose window
    `ErrorBars` leaves out; here they are the bare formulas.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d, V >= 4 and N >= 3.
    alpha, kappa, kurtosis : float
        Pooled signal wᵀRw >= 0, pooled noise ‖w‖² > 0, and `pooled_kurtosis` >= 1.
    signal : float or array
        ‖mu‖ >= 0.
    table : {"mixture", "balanced"}
    centred : bool, default True
        Whether the pooled data are centred: N − 1 degrees of freedom, not N.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    docs/theory/fluctuations.md, sections 1 to 4. The classical limits are Johnstone [johnstone2001]_ and
    Paul [paul2007]_.

    Examples
    --------
    >>> sample = FiniteSample(400, 800, 1200, alpha=1.0, kappa=0.1, kurtosis=1.0, signal=0.7)
    >>> round(float(sample.outlier), 3), round(float(sample.outlier_error), 3)
    (1.133, 0.063)
    >>> round(float(sample.overlap), 3), round(float(sample.overlap_error), 3)
    (0.472, 0.032)
    """

    dimension: int
    vocabulary: int
    samples: int
    alpha: float
    kappa: float
    kurtosis: float
    signal: Any
    table: str = "mixture"
    centred: bool = True

    def __post_init__(self) -> None:
        for name, least in (("dimension", 1), ("vocabulary", 4), ("samples", 3)):
            natural(name, getattr(self, name), least=least)
        number("alpha", self.alpha, least=0)
        number("kappa", self.kappa, above=0)
        number("kurtosis", self.kurtosis, least=1 - 1e-9)
        one_of("table", self.table, TABLES)
        _, signal = arrays(self.signal, names="signal")
        require("signal", self.signal, np.isfinite(signal) & (signal >= 0), "finite and >= 0")

    # --- degrees of freedom (section 1) ---------------------------------------------------------------

    @property
    def sequences(self) -> int:
        """Degrees of freedom of the sequences, N − 1 of centred data."""
        return self.samples - self.centred

    @property
    def delta(self) -> float:
        """d/(V − 2): the noise inside two classes has V − 2 degrees of freedom."""
        return self.dimension / (self.vocabulary - 2)

    @property
    def gamma(self) -> float:
        """d over the degrees of freedom of the sequences."""
        return self.dimension / self.sequences

    @property
    def table_noise(self) -> float:
        """Level of the noise inside classes, kappa (V − 2)/V."""
        return self.kappa * (self.vocabulary - 2) / self.vocabulary

    @property
    def level(self) -> float:
        """Scale of the sample's bulk, in which eigenvalues are measured."""
        return self.table_noise * self.sequences / self.samples

    @property
    def own_means(self) -> float:
        """Squared norm d/V of the table's own half difference of class means; zero in a balanced table."""
        return self.dimension / self.vocabulary if self.table == "mixture" else 0.0

    @cached_property
    def bulk(self) -> InverseMap:
        """The map z(p) with the sample's degrees of freedom."""
        return InverseMap((self.delta, self.gamma), self.level)

    @cached_property
    def q(self) -> Any:
        """Net spike."""
        _, signal = arrays(self.signal)
        return (self.alpha / self.table_noise) * (signal**2 + self.own_means) - self.delta

    @property
    def threshold(self) -> float:
        """q_c."""
        return float(self.bulk.critical_spikes()[0])

    @property
    def ratio(self) -> Any:
        """q/q_c."""
        return self.q / self.threshold

    @property
    def outlier(self) -> Any:
        """Outlier, NaN where q <= q_c."""
        return np.where(self.ratio > 1, self.bulk.at_spike(self._above), np.nan)[()]

    @property
    def overlap(self) -> Any:
        """Squared overlap with mu, zero where q <= q_c."""
        return np.where(self.ratio > 1, self._factor * self._own_overlap(self._above), 0.0)[()]

    def overlap_at(self, q: Any) -> Any:
        """Squared overlap with mu if the net spike were `q`, zero at or below q_c."""
        above = np.asarray(q) > self.threshold
        return self._factor * np.where(above, self._own_overlap(np.where(above, q, 2 * self.threshold)), 0.0)

    @property
    def overlap_below(self) -> Any:
        """Mean squared overlap below the threshold, of order 1/d and growing towards it; NaN above."""
        top, q = 1 / self.threshold, np.where(self.ratio < 1, self.q, 0.0)
        drawn = (1 + self.gamma * q * top**2) / (1 - self.gamma * self.delta * top**2)
        drawn = drawn * ((1 + self.delta * top) / (1 - q * top)) ** 2
        mean = (self._factor * drawn + 1 - self._factor) / self.dimension
        return np.where(self.ratio < 1, np.clip(mean, 0, 1), np.nan)[()]

    # --- the edge (section 2) -------------------------------------------------------------------------

    @cached_property
    def edge_scale(self) -> float:
        """Width of the largest bulk eigenvalue: centre + scale·TW1 in law."""
        return float(self.bulk.edge_scale()) * self.dimension ** (-2 / 3)

    def edge_centre(self, *, spike: bool = True) -> Any:
        """Centre of the largest bulk eigenvalue, with half a degree of freedom less in each of d, V and N.

        Parameters
        ----------
        spike : bool, default True
            Add what a spike at q, outside the bulk or dissolved in it, adds to the centre at order 1/d.
        """
        tokens, sequences = self.vocabulary - 2.5, self.sequences - 0.5
        d = self.dimension - 0.5
        scale = self.kappa * tokens * sequences / (self.vocabulary * self.samples)
        centre = InverseMap((d / tokens, d / sequences), scale).edges()[1]
        if not spike:
            return centre
        right, top = self.bulk.edges()[1], 1 / self.threshold
        q = np.where(self.ratio == 1, np.nan, self.q)
        with np.errstate(invalid="ignore"):
            pull = q / (q * top - 1) - self.delta / (1 + self.delta * top)
        return (centre - right / self.dimension * pull)[()]

    # --- the outlier (section 3) ----------------------------------------------------------------------

    @property
    def outlier_error(self) -> Any:
        """Standard deviation of the outlier over samples; NaN where there is none."""
        return self._outlier_error(self._table_spread + self._sampling_spread)

    @property
    def outlier_error_given_table(self) -> Any:
        """Its part for new sequences of the same table."""
        p = 1 / self._above
        table = self._table_spread + 2 * self.delta * p**2 / (1 - self.delta * p**2)
        return self._outlier_error(self._table_spread + self._sampling_spread - table)

    def _outlier_error(self, spread: Any) -> Any:
        q = self._above
        relative = np.sqrt(np.maximum(spread, 0) / self.dimension)
        error = self.level * self.bulk.slope(q) * (q + self.delta) * relative
        return np.where(self.ratio > 1, error, np.nan)[()]

    @property
    def spike_error(self) -> Any:
        """Standard deviation of the net spike as the outlier shows it, (q + delta) tau."""
        return (self.q + self.delta) * np.sqrt((self._table_spread + self._sampling_spread) / self.dimension)

    @property
    def _table_spread(self) -> Any:
        """d times the relative variance of ‖m‖², m = mu + g."""
        g2, power, total = self.own_means, arrays(self.signal)[1] ** 2, self._power
        return (4 * g2 * power + 2 * g2**2) / np.where(total > 0, total, 1.0) ** 2

    @property
    def _sampling_spread(self) -> Any:
        """d times the relative variance from the signs and the two Wishart factors."""
        q = self._above
        wishart = 2 * ((1 + self.gamma + 2 * self.gamma / q) / self.bulk.slope(q) - 1)
        return self.gamma * (self.kurtosis - 3) + wishart

    # --- the overlap (section 4) ----------------------------------------------------------------------

    @property
    def overlap_error(self) -> Any:
        """Standard deviation of the squared overlap with mu, to first order; NaN where there is no outlier."""
        return np.where(self.ratio > 1, 2 * np.sqrt(self.overlap) * self.cosine_error, np.nan)[()]

    @cached_property
    def cosine_error(self) -> Any:
        """Standard deviation of the eigenvector's cosine with mu, which for weak signals is the Gaussian one."""
        d, n, delta = self.dimension, self.sequences, self.delta
        q, g2, total = self._above, self.own_means, self._power
        total = np.where(total > 0, total, 1.0)
        power, p = total - g2, 1 / q
        own, slope = self._own_overlap(q), self.bulk.slope(q)
        s, r = slope * (q + delta), (q + delta) * self._log_slope(q)
        z, (a, b) = self.bulk(p) / self.level, self._coefficients(p)
        (a00, a01, a11), (b00, b01, b11) = (_bilinear(x) for x in (a, b))
        vocabulary = (2 / d) * ((r + 1) ** 2 * (a00 - 1) + 2 * (r + 1) * s * a01 + s**2 * a11)
        signs = (r**2 * (self.kurtosis - 3) + 2 * (r**2 * b00 + 2 * r * s * b01 + s**2 * b11)) / n
        a1, a2, a3, a4 = a
        crossed = (r + 1) ** 2 * (z * a2 - a1) - 2 * (r + 1) * s * (z * a3 - a2) + s**2 * (z * a4 - a3)
        snr, factor = self.alpha / self.table_noise, power / total
        sampling = vocabulary + signs + (4 * snr * total / n) * crossed
        length = (r - 1) ** 2 * 2 * (g2 / total) ** 2 / d  # of g, and its component along mu
        along = own * g2 / (d * total) * ((r * power + g2) / total) ** 2
        turn = (1 - factor) * (1 - own) / d  # direction of g across the eigenvector
        variance = factor * own * (sampling + length) / 4 + along + turn
        return np.where(self.ratio > 1, np.sqrt(np.maximum(variance, 0)), np.nan)[()]

    def overlap_slope(self) -> Any:
        """Derivative of the overlap with respect to q, above the threshold."""
        q = self._above
        return self._factor * self._own_overlap(q) * self._log_slope(q)

    # --- pieces ---------------------------------------------------------------------------------------

    @cached_property
    def _above(self) -> Any:
        """q where there is an outlier, something harmless elsewhere."""
        return np.where(self.ratio > 1, self.q, 2 * self.threshold)

    @property
    def _power(self) -> Any:
        """‖m‖² = ‖mu‖² + g²."""
        return arrays(self.signal)[1] ** 2 + self.own_means

    @property
    def _factor(self) -> Any:
        """Squared cosine between m and mu."""
        total = self._power
        return np.where(total > 0, (total - self.own_means) / np.where(total > 0, total, 1.0), 0.0)

    def _own_overlap(self, q: Any) -> Any:
        return self.bulk.slope(q) / (1 + self.gamma / q)

    def _log_slope(self, q: Any) -> Any:
        """d log(overlap with m)/dq."""
        return self._slope_of_slope(q) / self.bulk.slope(q) + self.gamma / q**2 / (1 + self.gamma / q)

    def _slope_of_slope(self, q: Any) -> Any:
        pairs, product = self.delta + self.gamma + self.delta * self.gamma, self.delta * self.gamma
        return 2 * pairs / q**3 + 6 * product / q**4

    def _coefficients(self, p: Any) -> tuple[list[Any], list[Any]]:
        """Traces of powers of the resolvent, (1/d) tr (z − S)^{-j} and its companion's, j = 1 to 4."""
        delta, gamma = self.delta, self.gamma
        z = self.bulk(p) / self.level
        z1 = -self.bulk.slope(1 / p) / p**2  # dz/dp
        z2 = 2 * delta * gamma + 2 / p**3
        z3 = -6 / p**4
        p1, p2, p3 = 1 / z1, -z2 / z1**3, (3 * z2**2 - z1 * z3) / z1**5
        g1 = (1 + p) / z  # and its derivatives in z
        g2 = p1 / z - g1 / z
        g3 = p2 / z - 2 * g2 / z
        g4 = p3 / z - 3 * g3 / z
        a = [g1, -g2, g3 / 2, -g4 / 6]
        return a, [gamma * x + (1 - gamma) / z**j for j, x in enumerate(a, start=1)]


def _bilinear(x: list[Any]) -> tuple[Any, Any, Any]:
    """Covariances, over twice a size, of log of a random quadratic form and of its derivative."""
    x1, x2, x3, x4 = x
    return (
        x2 / x1**2,
        -x3 / x1**2 + x2**2 / x1**3,
        x4 / x1**2 - 2 * x2 * x3 / x1**3 + x2**3 / x1**4,
    )
