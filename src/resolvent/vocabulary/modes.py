r"""Outliers of a vocabulary: heavy tokens and the signal, on one map (docs/theory/vocabulary.md, sections 4 and 5).

With ξ, η of the bulk's map at p, the class sums h± = (2/V) sum_{v in ±} t_v ξ/(ξ − t_v) over all tokens, h₀ = δpξ
over the bulk's and A = sum_j mu_j²/(η − τ_j), outliers solve

.. math:: \Phi := \frac{A}{h_0} + 1 - \frac12\Big(\frac1{h_+}+\frac1{h_-}\Big) = \frac1{\mathrm{snr}} .

Φ falls with ξ from one pole to the next, a zero of h± or a loud direction η = τ_j: there is one outlier between each
two, and one above them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.laws import SeparableLaw
from resolvent.laws.compression import compress
from resolvent.laws.poles import Poles
from resolvent.laws.separable_map import SeparableMap
from resolvent.laws.sums import increasing_root

__all__ = ["Modes", "VocabularySpikes"]

TIES = 4  # frequencies, or variances, that may hide each other; more of them are an interval of the bulk


@dataclass(frozen=True)
class Modes:
    """Outliers in decreasing order, a last axis of k + 1 for k poles of Φ; the last is NaN where it is in the bulk.

    Attributes
    ----------
    p, eigenvalue, population, overlap : array, shape (..., k + 1)
        Place on the map, sample and population eigenvalue, and squared overlap of the sample's eigenvector with mu.
    population_overlap : array, shape (..., k + 1)
        The same at infinitely many sequences.

    Examples
    --------
    >>> from resolvent.vocabulary import zipf
    >>> spikes = VocabularySpikes(0.3, 0.5, 1.0, zipf(600, 1.0), np.ones(180), np.full(180, 1 / 180))
    >>> modes = spikes.modes([2.0, 4.0], 1.0)  # the signal passes the outliers of tokens
    >>> modes.eigenvalue.shape, modes.overlap.argmax(axis=-1)
    ((2, 5), array([2, 0]))
    """

    p: np.ndarray
    eigenvalue: np.ndarray
    population: np.ndarray
    overlap: np.ndarray
    population_overlap: np.ndarray


@dataclass(frozen=True, eq=False)
class VocabularySpikes:
    """Bulk and outliers of pooled tokens of given frequencies and noise covariance.

    Parameters
    ----------
    delta, gamma, scale : float
        d/V > 0, d/N >= 0 and kappa.
    frequencies : array, shape (V,)
        Of mean one in each half, see `class_frequencies`.
    covariance : array, shape (d,)
        Eigenvalues of the noise covariance.
    direction : array, shape (d,)
        Squared components of mu/‖mu‖ along its eigenvectors; they sum to one.

    Examples
    --------
    >>> from resolvent.vocabulary import zipf
    >>> spikes = VocabularySpikes(0.3, 0.5, 1.0, zipf(600, 0.5), np.ones(180), np.full(180, 1 / 180))
    >>> spikes.heavy.size, round(float(spikes.critical_signal(2.0)), 3)
    (2, 0.953)
    >>> modes = spikes.modes(1.5, 2.0)
    >>> modes.eigenvalue.round(2), modes.overlap.round(3)
    (array([7.37, 4.74]), array([0.659, 0.015]))
    """

    delta: float
    gamma: float
    scale: float
    frequencies: np.ndarray
    covariance: np.ndarray
    direction: np.ndarray

    @cached_property
    def _cuts(self) -> tuple[float, float]:
        """Token frequency and noise eigenvalue above which each one is an outlier of the bulk of all lower ones."""
        d, vocabulary = self.covariance.size, self.frequencies.size
        tokens = np.unique(self.frequencies[self.frequencies > 0], return_counts=True)
        noise = np.unique(self.covariance[self.covariance > 0], return_counts=True)
        token, axis = tokens[0].size - 1, noise[0].size - 1  # the last that are left in the bulk

        def last(
            values: np.ndarray, counts: np.ndarray, top: int, size: int, other: Poles, swap: bool
        ) -> int:
            crowd, i = 0, top
            while i > 0 and crowd <= TIES:
                light, at = Poles(values[:i], counts[:i] / size), values[i : i + 1]
                p = light.sums(at, 1)[0] / (1.0 if swap else self.delta)
                far = other.inverse(p * (self.delta if swap else 1.0))
                pairs = [(light, at), (other, far)][:: -1 if swap else 1]
                bulk = SeparableMap(self.delta, self.gamma, pairs[0][0], pairs[1][0], self.scale)
                crowd += counts[i]
                i -= 1
                if bulk.growth(p, pairs[0][1], pairs[1][1])[0][0] < 0 and crowd <= TIES:
                    top, crowd = i, 0
            return top

        while True:
            before = token, axis
            at = compress(noise[0][: axis + 1], noise[1][: axis + 1] / d, max(self.delta, self.gamma))
            token = last(*tokens, token, vocabulary, Poles(*at), False)
            at = compress(tokens[0][: token + 1], tokens[1][: token + 1] / vocabulary, 1 / self.delta)
            axis = last(*noise, axis, d, Poles(*at), True)
            if before == (token, axis):
                return float(tokens[0][token]), float(noise[0][axis])

    @cached_property
    def heavy(self) -> np.ndarray:
        """Tokens (rows of the table) so frequent that each makes an outlier of its own; most frequent first."""
        order = np.argsort(-self.frequencies, kind="stable")
        return order[self.frequencies[order] > self._cuts[0]]

    @cached_property
    def loud(self) -> np.ndarray:
        """Noise directions (indices of `covariance`) of so large a variance that each makes an outlier; largest first."""
        order = np.argsort(-self.covariance, kind="stable")
        return order[self.covariance[order] > self._cuts[1]]

    @cached_property
    def bulk(self) -> SeparableLaw:
        """Law of the bulk: all tokens and directions but the heavy and the loud ones."""
        light = self.frequencies[self.frequencies <= self._cuts[0]]
        quiet = self.covariance[self.covariance <= self._cuts[1]]
        share = quiet.size / self.covariance.size  # the bulk's own dimension takes the place of d
        return SeparableLaw(
            self.delta * share,
            self.gamma * share,
            light,
            quiet,
            np.full(light.size, 1 / self.frequencies.size),
            None,
            self.scale,
        )

    @cached_property
    def _classes(self) -> tuple[tuple[Poles, np.ndarray, np.ndarray], ...]:
        """Of both classes: all tokens of positive frequency, each of weight 2/V; the heavy frequencies, decreasing,
        and how often each occurs."""
        out = []
        for row in self.frequencies.reshape(2, -1):
            values, counts = np.unique(row[row > 0], return_counts=True)
            light = values <= self._cuts[0]
            weights = counts / row.size
            few, shares = compress(values[light], weights[light], 1 / (2 * self.delta))
            poles = Poles(np.append(few, values[~light]), np.append(shares, weights[~light]))
            out.append((poles, values[~light][::-1], counts[~light][::-1]))
        return tuple(out)

    @cached_property
    def _edge(self) -> float:
        """ξ at the right edge."""
        bulk = self.bulk.inverse_map
        return float(bulk.pair(bulk.critical[1])[0])

    @cached_property
    def _poles(self) -> tuple[np.ndarray, np.ndarray]:
        """ξ above the edge at which Φ has a pole, decreasing and distinct; and those of modes that mu does not touch.

        Poles are the zeros of h± and the loud directions. The others are combinations of tokens of equal frequency or
        of directions of equal variance, and directions orthogonal to mu.
        """
        found, others = [np.empty(0)], []
        for poles, heavy, counts in self._classes:
            others.append(np.repeat(heavy, counts - 1))
            low, high = np.append(heavy[1:], self._edge), heavy

            def equation(xi: np.ndarray, _: Any, poles: Poles = poles) -> tuple[np.ndarray, np.ndarray]:
                first, second = poles.sums(xi, 2)
                return -xi * first, xi * second - first

            if heavy.size:
                lowest = poles.sums(np.array([self._edge]), 1)[0][0]
                keep = np.append(np.ones(heavy.size - 1, dtype=bool), lowest > 0)
                low, high = low[keep], high[keep]
                found.append(increasing_root(equation, low, high, (low + high) / 2))
        bulk = self.bulk.inverse_map
        p = bulk.covariance.sums(self.covariance[self.loud], 1)[0]
        axes = bulk.frequencies.inverse(bulk.delta * p)
        touched = self.direction[self.loud] > 0
        places = np.sort(np.concatenate([*found, axes[touched]]))[::-1]
        twin = -np.diff(places, prepend=np.inf) <= 1e-9 * places
        return places[~twin], np.concatenate([places[twin], axes[~touched], *others])

    @property
    def untouched(self) -> np.ndarray:
        """Eigenvalues of outliers orthogonal to mu whatever the signal."""
        return self.bulk.inverse_map(
            self.bulk.inverse_map.frequencies.sums(self._poles[1], 1)[0] / self.bulk.delta
        )

    def _parts(self, xi: np.ndarray) -> dict[str, np.ndarray]:
        """p, η, and Φ = ‖mu‖²·a + c with its slopes, at real ξ above the edge."""
        bulk = self.bulk.inverse_map
        first, second = bulk.frequencies.sums(xi, 2)
        p, p_slope = first / bulk.delta, -second / bulk.delta
        eta = bulk.covariance.inverse(p)
        eta_slope = p_slope / -bulk.covariance.sums(eta, 2)[1]
        h0, h0_slope = xi * first, first - xi * second
        if np.ptp(self.covariance) == 0:
            r = 1 / (eta - self.covariance[0])
            signal, signal_slope = r, -(r**2) * eta_slope
        else:
            r = 1 / (eta[..., None] - self.covariance)
            signal, signal_slope = r @ self.direction, -(r**2 @ self.direction) * eta_slope
        c, c_slope = np.ones_like(xi), np.zeros_like(xi)
        for poles, *_ in self._classes:
            s1, s2 = poles.sums(xi, 2)
            c = c - 0.5 / (xi * s1)
            c_slope = c_slope + 0.5 * (s1 - xi * s2) / (xi * s1) ** 2
        return {
            "p": p,
            "p_slope": p_slope,
            "eta": eta,
            "a": signal / h0,
            "a_slope": (signal_slope - signal * h0_slope / h0) / h0,
            "c": c,
            "c_slope": c_slope,
        }

    def critical_signal(self, snr: Any) -> np.ndarray:
        """‖mu‖ above which an outlier carries the signal; zero when one always does.

        There is one more outlier than tokens and directions make from Φ(edge) = 1/snr on. A loud direction that holds
        most of mu carries it from the start.
        """
        at = self._parts(np.array(self._edge))
        snr = np.asarray(snr, dtype=float)
        if at["a"] <= 0:
            return np.zeros_like(snr)
        with np.errstate(divide="ignore"):
            return np.sqrt(np.maximum((1 / snr - at["c"]) / at["a"], 0.0))

    def modes(self, signal: Any, snr: float) -> Modes:
        """All outliers whose eigenvector mu may touch, for each ‖mu‖ of an array."""
        power = np.asarray(signal, dtype=float) ** 2
        shape, flat = power.shape, power.reshape(-1, 1)
        poles = self._poles[0]
        if snr <= 0:  # no class structure is left, only tokens
            xi = np.broadcast_to(np.append(poles, np.nan), (flat.size, poles.size + 1))
        else:
            xi = self._roots(flat, 1 / snr, poles)
        seen = np.isfinite(xi)
        place = np.where(seen, xi, self._edge)
        bulk = self.bulk.inverse_map
        with np.errstate(divide="ignore", invalid="ignore"):  # at the poles, where the snr is zero
            at = self._parts(place)
            fall = -flat * at["a"] ** 2 * at["p_slope"] / (flat * at["a_slope"] + at["c_slope"])
        p, eta = at["p"], at["eta"]
        eigenvalue = bulk.value(p, place, eta)
        population = eigenvalue / (1 + bulk.gamma * p)
        growth = bulk.growth(p, place, eta)[0]
        turn = bulk.gamma * p / (1 + bulk.gamma * p)
        fall = np.where(seen & (snr > 0), fall / (p * self.scale), 0.0)
        parts = (
            np.where(seen, p, np.nan),
            np.where(seen, eigenvalue, np.nan),
            np.where(seen, population, np.nan),
            np.maximum(fall * population * growth, 0.0),
            np.maximum(fall * population * (growth - turn), 0.0),
        )
        return Modes(*(part.reshape(*shape, -1) for part in parts))

    def _roots(self, power: np.ndarray, level: float, poles: np.ndarray) -> np.ndarray:
        """ξ with Φ(ξ) = level in every interval between poles, NaN where the lowest has none."""
        low = np.broadcast_to(np.append(poles, self._edge), (power.size, poles.size + 1)).copy()
        high = np.broadcast_to(np.append(np.inf, poles), low.shape).copy()
        top = np.full(power.size, 2 * max(low[0, 0], self._edge))
        for _ in range(60):
            at = self._parts(top)
            short = power[:, 0] * at["a"] + at["c"] >= level
            if not short.any():
                break
            top = np.where(short, 4 * top, top)
        high[:, 0] = top
        at = self._parts(np.array(self._edge))
        absent = power[:, 0] * at["a"] + at["c"] <= level
        powers = np.broadcast_to(power, low.shape).ravel()

        def equation(xi: np.ndarray, which: Any) -> tuple[np.ndarray, np.ndarray]:
            at = self._parts(xi)
            return level - powers[which] * at["a"] - at["c"], -powers[which] * at["a_slope"] - at["c_slope"]

        solved = np.ones(low.shape, dtype=bool)
        solved[absent, -1] = False
        index = np.flatnonzero(solved)
        xi = np.full(low.shape, np.nan)
        if index.size:
            ends = low.ravel()[index], high.ravel()[index]
            xi.ravel()[index] = increasing_root(
                lambda x, which: equation(x, index[which]), *ends, (ends[0] + ends[1]) / 2
            )
        return xi
