"""Elliptical attention pooling: tokens of two classes, pooled by softmax weights of a Mahalanobis query; limit and sample."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.arguments import natural, number, one_of, seed_number
from resolvent.elliptical.queries import Pooled, Queries, pool, queries, token_frequencies
from resolvent.elliptical.sampling import Metric, Sequences, full_metric
from resolvent.elliptical.stages import Stage, Top, capped, top_of_spectrum
from resolvent.elliptical.variability import coordinate_variability, estimated_metric
from resolvent.models.claims import ALLOWANCE, Claim
from resolvent.models.elliptical_outcomes import EllipticalPrediction, EllipticalSimulation
from resolvent.spectrum import covariance_spectrum
from resolvent.tables import token_signs

__all__ = ["EllipticalPooling", "EllipticalPrediction", "EllipticalSimulation"]

METRICS = ("isotropic", "estimated", "full")
QUERIES = ("random", "consistent")
UNPROVED = 0.1  # largest share of a table's noise that is not of the law kappa W


@dataclass(frozen=True)
class EllipticalPooling:
    """Sequences of L tokens, pooled by softmax(β qᵀ M e_t) of a query token q.

    e_t = s_t θ u + z_t, s_t = y with probability p independently, y = ±1; M is a along one direction and b elsewhere.

    Parameters
    ----------
    dimension, length, samples : int
        d >= 3, L and N >= 2.
    signal : float
        θ >= 0. Zero is the null: what the metric alone makes.
    agreement : float
        p, strictly between 0 and 1.
    metric : tuple of two floats, or {"isotropic", "estimated", "full"}
        (a, b) on the stretched direction and elsewhere. "estimated": the diagonal metric mean |v' − v| of a residual
        update v' = v + x by mean pooling, largest entry one. "full": I + (sqrt(1 + q) − 1) c² v vᵀ over its largest
        eigenvalue, with v the leading eigenvector, q the spike and c² the overlap, all from the covariance of other N
        mean-pooled sequences.
    inverse_temperature : float, default 0
        β >= 0; zero is mean pooling.
    query : {"random", "consistent"}
        One more token of the sequence's law, or one that is surely of the sequence's label.
    vocabulary : int, optional
        V, even: tokens come from one table of V rows. None: tokens are always new.
    axis : float, default 1
        For a pair (a, b): squared overlap of the stretched direction with the signal; 0 is a wrong direction.
    localised : bool, default True
        The signal lies on one coordinate. False spreads it over all of them.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Nielsen et al. [nielsen2024]_ (the metric); derived in docs/theory/elliptical.md, sections 2 to 7.

    Examples
    --------
    >>> model = EllipticalPooling(128, 64, 512, 1.5, 0.6, metric=(1.0, 0.1), inverse_temperature=0.2)
    >>> prediction, draw = model.predict(), model.simulate(seed=0)
    >>> round(prediction.snr, 1), bool(abs(draw.snr / prediction.snr - 1) < 0.1)
    (24.7, True)
    """

    dimension: int
    length: int
    samples: int
    signal: float
    agreement: float
    metric: Any = "isotropic"
    inverse_temperature: float = 0.0
    query: str = "random"
    vocabulary: int | None = None
    axis: float = 1.0
    localised: bool = True

    def __post_init__(self) -> None:
        for name, least in (("dimension", 3), ("length", 2), ("samples", 2)):
            object.__setattr__(self, name, natural(name, getattr(self, name), least))
        object.__setattr__(self, "signal", number("signal", self.signal, least=0))
        object.__setattr__(self, "agreement", number("agreement", self.agreement, above=0))
        object.__setattr__(self, "axis", number("axis", self.axis, least=0))
        beta = number("inverse_temperature", self.inverse_temperature, least=0)
        object.__setattr__(self, "inverse_temperature", beta)
        if self.agreement >= 1:
            raise ValueError(f"agreement must be strictly between 0 and 1, got {self.agreement}")
        if self.axis > 1:
            raise ValueError(f"axis must be between 0 and 1, got {self.axis}")
        one_of("query", self.query, QUERIES)
        if isinstance(self.metric, str):
            one_of("metric", self.metric, METRICS)
            if self.axis != 1:
                raise ValueError(f"axis must be 1 unless metric is a pair (a, b), got {self.axis}")
        else:
            if not np.iterable(self.metric) or len(pair := tuple(self.metric)) != 2:
                raise ValueError(f"metric must be a pair (a, b) or one of {METRICS}, got {self.metric!r}")
            pair = (number("metric", pair[0], above=0), number("metric", pair[1], least=0))
            object.__setattr__(self, "metric", pair)
        if self.vocabulary is not None:
            object.__setattr__(self, "vocabulary", natural("vocabulary", self.vocabulary, 2))
            token_signs(self.vocabulary)
            if self.metric == "full" or self.axis != 1:
                raise ValueError(
                    "vocabulary must be None for a metric that is stretched off the signal (metric 'full', or axis "
                    f"below 1), got {self.vocabulary}"
                )

    @property
    def gamma(self) -> float:
        """d / N."""
        return self.dimension / self.samples

    @property
    def field(self) -> float:
        """Half the log odds of a token of the label's sign."""
        return float(np.arctanh(2 * self.agreement - 1))

    def mean_pooling(self) -> EllipticalPooling:
        """The same sequences at β = 0."""
        return replace(self, inverse_temperature=0.0, metric="isotropic", axis=1.0)

    def metric_limit(self) -> tuple[float, float, float]:
        """a, b and axis of the metric, in the limit where it is an estimate."""
        if not isinstance(self.metric, str):
            return (*self.metric, self.axis)
        if self.metric == "isotropic":
            return 1.0, 1.0, 1.0
        if self.metric == "estimated":
            signal = self.signal if self.localised else 0.0  # spread, it is the same for every coordinate
            found = estimated_metric(self.dimension, self.length, self.samples, signal, self.agreement)
            return (*found, 1.0)
        rho2 = (2 * self.agreement - 1) ** 2
        q = self.signal**2 * (rho2 * (self.length - 1) + 1)
        c2 = float(spikes.overlap(q, 0.0, self.gamma))
        return 1.0, 1 / (1 + (np.sqrt(1 + q) - 1) * c2), c2

    def _queries(self) -> Queries:
        *metric, axis = self.metric_limit()
        a, b = metric
        agreement = 1.0 if self.query == "consistent" else self.agreement
        return queries(self.dimension, self.signal, (a, b), axis, agreement)

    def predict(self) -> EllipticalPrediction:
        """The theory of this model.

        Moments are exact at this length, whatever the temperature; the spectrum is the limit d, N (and V) → infinity.

        Raises
        ------
        ValueError
            If logits have a variance above 64; with a vocabulary, if the query's own noise enters so strongly that the
            law of the noise is not proved.

        Warns
        -----
        RuntimeWarning
            If the weights condense on few tokens; edge, outlier and overlap are then NaN.
        """
        a, b, axis = self.metric_limit()
        beta, found = self.inverse_temperature, self._queries()
        pooled = pool(found, self.signal, self.field, beta, self.length)
        mean = found.weight
        load = beta**2 * float(mean @ found.norm2)
        condensed = load > np.log(self.length) / 4
        alpha, kappa, noise = (float(mean @ part) for part in (pooled.alpha, pooled.kappa, pooled.noise))
        plane = np.einsum("q,qij->ij", mean, pooled.plane)
        if self.vocabulary is not None:
            # two positions hold the same token with probability (1 + s s')/V, more where both are selected
            pairs = (1 - 2 * pooled.kappa + pooled.alpha) * np.exp(beta**2 * found.norm2)
            noise += float(mean @ pairs) / self.vocabulary
        size = 1 if axis == 1 or a == b else 2
        top = Top(float("nan"), float("nan"), float("nan"), float("nan"))
        if condensed:
            warnings.warn(
                f"the weights condense on few tokens: beta² E‖Mq‖² = {load:.3g} is not well below log L = "
                f"{np.log(self.length):.3g}; moments stay exact, edge, outlier and overlap are not given",
                RuntimeWarning,
                stacklevel=2,
            )
        elif self.vocabulary is None:
            top = top_of_spectrum(
                Stage(0.0, np.ones(1), np.ones(1)),
                Stage(self.gamma, capped(pooled.noise, mean, self.samples), mean),
                pooled.plane[:, :size, :size],
                np.eye(size),
            )
        else:
            top = self._table(found, pooled)
        long = pooled.limit @ mean
        return EllipticalPrediction(
            alpha=alpha,
            kappa=kappa,
            kappa_perp=noise,
            snr=self.signal**2 * alpha / noise,
            spike=float(np.linalg.eigvalsh(plane[:size, :size])[-1]) / noise - 1,
            edge=top.edge,
            outlier=top.outlier,
            overlap=top.overlap,
            label_correlation=float(mean @ pooled.mean / np.sqrt(plane[0, 0])),
            stretch=a / b if b else float("inf"),
            axis=axis,
            load=load,
            condensed=bool(condensed),
            limit=(float(long[0]), float(long[1]), self.signal**2 * float(long[0] / long[2])),
        )

    def _table(self, found: Queries, pooled: Pooled) -> Top:
        """The spectrum with a vocabulary; tokens of one table are seen again and again."""
        assert self.vocabulary is not None
        beta, b = self.inverse_temperature, self.metric_limit()[1]
        delta = self.dimension / self.vocabulary
        # what the query's own noise selects has a law of its own, which tends to that of the rest as delta -> 0
        noise = pooled.noise + np.expm1(beta**2 * b**2 * found.r**2) / self.vocabulary
        unproved = (1 - float(found.weight @ pooled.kappa / (found.weight @ noise))) * min(
            1.0, np.sqrt(delta)
        )
        if unproved > UNPROVED:
            raise ValueError(
                f"inverse_temperature must be smaller with this metric and vocabulary: {unproved:.2g} of the pooled "
                f"noise follows the query and not the law that is proved (at most {UNPROVED}), got {beta}"
            )
        weights = token_frequencies(found, self.signal, self.field, beta, self.vocabulary)
        tokens = Stage(delta, weights, np.full(weights.size, 1 / weights.size))
        sequences = Stage(self.gamma, capped(noise, found.weight, self.samples), found.weight)
        return top_of_spectrum(tokens, sequences, pooled.features, np.array([[self.signal], [1.0]]))

    def tuned(self) -> EllipticalPooling:
        """This model at the β of largest snr, among those that do not condense.

        Examples
        --------
        >>> model = EllipticalPooling(128, 64, 512, 1.5, 0.6, metric=(1.0, 0.1))
        >>> 0.1 < model.tuned().inverse_temperature < 0.3
        True
        """
        from scipy.optimize import minimize_scalar

        found = self._queries()
        norm2 = float(found.weight @ found.norm2)
        largest = float(np.sqrt(np.log(self.length) / 4 / norm2))

        def loss(beta: float) -> float:
            pooled = pool(found, self.signal, self.field, beta, self.length)
            return -float((found.weight @ pooled.alpha) / (found.weight @ pooled.noise))

        grid = np.linspace(0, largest, 9)
        near = int(np.argmin([loss(beta) for beta in grid]))
        bounds = (grid[max(near - 1, 0)], grid[min(near + 1, 8)])
        best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4 * largest})
        beta = float(best.x) if best.fun < loss(0.0) else 0.0
        return replace(self, inverse_temperature=beta)

    def simulate(self, seed: int) -> EllipticalSimulation:
        """Draw sequences and queries, pool them as the model says, and return the spectrum.

        An estimated metric is computed from other sequences of the same law. No array is larger than a chunk of sequences.

        Parameters
        ----------
        seed : int
        """
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
        d = self.dimension
        u = np.eye(1, d)[0] if self.localised else np.full(d, d**-0.5)
        table = None
        if self.vocabulary is not None:
            table = streams[2].standard_normal((self.vocabulary, d))
            table += self.signal * token_signs(self.vocabulary)[:, None] * u
        query = 1.0 if self.query == "consistent" else self.agreement
        law = Sequences(u, self.length, self.signal, self.agreement, query, table)
        metric, stretch, axis = self._metric(law, streams[1])
        x, y, s, w2 = law.pooled(self.samples, metric, self.inverse_temperature, streams[0])
        values, vectors = covariance_spectrum(x, vectors=1)
        special = np.linalg.qr(np.stack([u, metric.v], axis=1))[0] if axis < 1 else u[:, None]
        noise = float(((x**2).sum() - ((x @ special) ** 2).sum()) / (len(x) * (d - special.shape[1])))
        alpha = float(np.mean(s**2))
        return EllipticalSimulation(
            seed=int(seed),
            alpha=alpha,
            kappa=float(w2.mean()),
            kappa_perp=noise,
            snr=self.signal**2 * alpha / noise,
            eigenvalues=values,
            outlier=float(values[0]),
            overlap=float((vectors[:, 0] @ u) ** 2),
            label_correlation=abs(float(np.corrcoef(x @ u, y)[0, 1])),
            leading_correlation=abs(float(np.corrcoef(x @ vectors[:, 0], y)[0, 1])),
            stretch=stretch,
            axis=axis,
        )

    def claims(self) -> list[Claim]:
        """Moments, and outlier and overlap where the theory has them; c = 9, as of pooled sequences."""
        found, d = self.predict(), self.dimension
        values = {
            name: getattr(found, name)
            for name in ("alpha", "kappa", "kappa_perp", "snr", "outlier", "overlap")
        }
        return [
            Claim(name, value, None, ALLOWANCE, d, relative=name != "overlap")
            for name, value in values.items()
            if np.isfinite(value)
        ]

    def _metric(self, law: Sequences, rng: np.random.Generator) -> tuple[Metric, float, float]:
        """The metric of one draw, its stretch along the signal, and the squared overlap of its axis."""
        u, d = law.direction, self.dimension
        if self.metric == "estimated":
            x = law.pooled(self.samples, None, 0.0, rng)[0]
            scale = coordinate_variability(x, np.zeros_like(x))
            along = float(u @ (scale * u))
            return Metric(scale, 0.0, u), along * (d - 1) / (float(scale.sum()) - along), 1.0
        if self.metric == "full":
            found = full_metric(law.pooled(self.samples, None, 0.0, rng)[0])
            return found, 1 + found.strength / found.scale[0], float((found.v @ u) ** 2)
        a, b, axis = self.metric_limit()
        other = np.eye(d)[1] if self.localised else np.array([1.0, -1.0] + [0.0] * (d - 2)) / np.sqrt(2)
        v = np.sqrt(axis) * u + np.sqrt(1 - axis) * other
        return Metric(np.full(d, b), a - b, v), a / b if b else float("inf"), axis
