"""Sparse-token classification: one attention layer, two gradient steps, a trained read-out; its limit and its sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, one_of, seed_number
from resolvent.models.claims import Claim
from resolvent.models.outcomes import SparseTokenPrediction, SparseTokenSimulation, TrainedQuery
from resolvent.sparse_token.capacity import capacity, separable_prefix
from resolvent.sparse_token.descent import take_two_steps
from resolvent.sparse_token.features import FeatureLaw, Query, attention, pooled, vectorised
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.query import QueryLimit, optimal_rates, rates, two_steps
from resolvent.sparse_token.readout import readout
from resolvent.sparse_token.tokens import SparseTokens
from resolvent.sparse_token.trained import draw, train

__all__ = ["CLASSIFIERS", "SparseTokenClassification"]

CLASSIFIERS = ("attention", "pooled", "vectorised")

# c of `claims`, kappa and losses relatively; read-outs are predicted given each run's own query
SPARSE_TOKEN_ALLOWANCE = 2.0


@dataclass(frozen=True)
class SparseTokenClassification:
    """A softmax attention layer that looks for rare, weak, sparsely placed signals.

    Samples are L tokens in d dimensions, X = theta v ξᵀ + Z with probability rarity (label +1; v marks R of the L
    tokens) and Z otherwise. The score is w·(Xᵀ softmax(βXq)) + b. From zero, one gradient step on n_0 samples moves w
    and b, a second on the same samples moves q; then q is frozen, and (w, b) are trained to the optimum on n_1 others.

    Parameters
    ----------
    dimension : int
        d.
    length, informative : int or sequence of int
        L and R, 1 <= R < L; of several values each sample draws one (shorter samples are padded and masked).
    signal : float
        theta > 0.
    rarity : float
        pi = P(y = +1), strictly between 0 and 1.
    samples_query : int
        n_0 >= 2, the samples of the two steps.
    samples_readout : int or sequence of int
        n_1 >= 2, the samples of the read-out; a sequence predicts a curve.
    inverse_temperature : float, default 1
        β > 0.
    steps : float or tuple of three floats, default 1
        Step sizes (eta_w, eta_b, eta_q), or one for all.
    loss : {"logistic", "square"}
        log(1 + exp(−yu)) or (u − y)²/2.
    regularisation : float, default 1e-5
        lambda >= 0 in (1/n_1) sum_i l(y_i; u_i) + (lambda/2)‖w‖²; b is free.
    signals : int, default 1
        K orthonormal signal directions, of which every sample has one.

    Raises
    ------
    ValueError
        If an argument is out of range; step sizes of zero leave the query at zero.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_; derivations and extensions in docs/theory/sparse_token.md.

    Examples
    --------
    >>> model = SparseTokenClassification(400, 10, 1, 5.0, 0.5, samples_query=1600, samples_readout=1600)
    >>> model = model.tuned()
    >>> prediction, draw = model.predict(), model.simulate(seed=0)
    >>> round(float(prediction.attention.error), 2), round(float(prediction.pooled.error), 2)
    (0.04, 0.29)
    >>> bool(abs(draw.query.alignment - prediction.query.alignment) < 0.02)
    True
    >>> bool(abs(draw.attention.error - model.predict(draw.query).attention.error) < 0.02)
    True
    """

    dimension: int
    length: Any
    informative: Any
    signal: float
    rarity: float
    samples_query: int
    samples_readout: Any
    inverse_temperature: float = 1.0
    steps: Any = 1.0
    loss: str = "logistic"
    regularisation: float = 1e-5
    signals: int = 1

    def __post_init__(self) -> None:
        tokens = SparseTokens(self.length, self.informative, self.signal, self.rarity, self.signals)
        for name in ("length", "informative", "signal", "rarity", "signals"):
            object.__setattr__(self, name, getattr(tokens, name))
        object.__setattr__(self, "dimension", natural("dimension", self.dimension, self.signals + 1))
        object.__setattr__(self, "samples_query", natural("samples_query", self.samples_query, 2))
        sizes = self.samples_readout
        if isinstance(sizes, (list, tuple, range, np.ndarray)) and np.iterable(sizes):
            if not len(sizes):
                raise ValueError("samples_readout must hold at least one whole number >= 2, got none")
            sizes = tuple(natural("samples_readout", one, 2) for one in sizes)
        else:
            sizes = natural("samples_readout", sizes, 2)
        object.__setattr__(self, "samples_readout", sizes)
        beta = number("inverse_temperature", self.inverse_temperature, above=0)
        object.__setattr__(self, "inverse_temperature", beta)
        object.__setattr__(self, "steps", rates(self.steps))
        one_of("loss", self.loss, tuple(LOSSES))
        object.__setattr__(self, "regularisation", number("regularisation", self.regularisation, least=0))

    @property
    def tokens(self) -> SparseTokens:
        """The law of the samples."""
        return SparseTokens(self.length, self.informative, self.signal, self.rarity, self.signals)

    @property
    def alpha_query(self) -> float:
        """alpha_0 = n_0/d."""
        return self.samples_query / self.dimension

    @property
    def alpha_readout(self) -> Any:
        """alpha_1 = n_1/d."""
        return np.asarray(self.samples_readout)[()] / self.dimension

    def laws(self, query: Query) -> dict[str, FeatureLaw]:
        """Law of the features of each classifier for a frozen query; no vectorised one where lengths vary."""
        found = {"attention": attention(self.tokens, query), "pooled": pooled(self.tokens)}
        if np.unique(self.length).size == 1:
            found["vectorised"] = vectorised(self.tokens)
        return found

    def predict(
        self,
        query: Query | TrainedQuery | QueryLimit | None = None,
        *,
        classifiers: Sequence[str] = CLASSIFIERS,
    ) -> SparseTokenPrediction:
        """The limit d → infinity at these ratios.

        Parameters
        ----------
        query : Query or the ``query`` of a simulation, optional
            Freeze this query instead of taking two steps: what the theory says given a run's own alignment and kappa.
        classifiers : sequence of {"attention", "pooled", "vectorised"}
            Whose read-out to solve.

        Returns
        -------
        SparseTokenPrediction

        Raises
        ------
        ValueError
            If regularisation is zero and leaves no finite minimum.
        RuntimeError
            If the equations of a read-out could not be solved.
        """
        names = _names(classifiers)
        found = self._query_limit() if query is None else self._given(query)
        solved = {}
        for name, law in self.laws(found.query).items():
            if name in names:
                try:
                    solved[name] = readout(
                        law, self.alpha_readout, loss=self.loss, regularisation=self.regularisation
                    )
                except ValueError as error:
                    raise ValueError(f"{error} (of the {name} classifier)") from None
        return SparseTokenPrediction(self, found, *(solved.get(name) for name in CLASSIFIERS))

    def simulate(
        self,
        seed: int,
        query: Query | TrainedQuery | None = None,
        *,
        classifiers: Sequence[str] = CLASSIFIERS,
        separability: bool = False,
    ) -> SparseTokenSimulation:
        """Draw samples, take the two steps, train the read-outs.

        Tokens are generated a chunk at a time for the two steps; read-outs train on features drawn by their exact
        reduction to a few scalars a sample. Test errors are exact given what was trained.

        Parameters
        ----------
        seed : int
        query : Query, optional
            Freeze this query instead of taking the two steps.
        classifiers : sequence of {"attention", "pooled", "vectorised"}
            Which to train. The vectorised one has L·d parameters.
        separability : bool, default False
            Measure the capacity too: bisection over prefixes of a fresh stream, by linear programming. Slow.

        Returns
        -------
        SparseTokenSimulation

        Raises
        ------
        ValueError
            If `samples_readout` is a sequence, or regularisation is zero and leaves no finite minimum.
        """
        if np.ndim(self.samples_readout):
            raise ValueError(f"samples_readout must be one number to simulate, got {self.samples_readout}")
        names = _names(classifiers)
        seeds = np.random.SeedSequence(seed_number(seed)).spawn(1 + 2 * len(CLASSIFIERS))
        found = self._take_steps(seeds[0]) if query is None else self._given(query)
        queries = {"attention": found.query, "pooled": Query(0.0, 0.0), "vectorised": None}
        laws = {name: law for name, law in self.laws(found.query).items() if name in names}
        trained, measured = {}, {}
        for i, name in enumerate(CLASSIFIERS):
            if name not in laws:
                continue
            law = laws[name]
            sample = draw(
                self.tokens, queries[name], self.samples_readout, self.dimension, rng=_rng(seeds[1 + i])
            )
            trained[name] = train(
                law, self.tokens, sample, loss=self.loss, regularisation=self.regularisation
            )
            if separability:
                measured[name] = self._separable(
                    capacity(law), queries[name], seeds[1 + len(CLASSIFIERS) + i]
                )
        return SparseTokenSimulation(
            seed=int(seed),
            query=found,
            **{name: trained.get(name) for name in CLASSIFIERS},
            capacity=measured if separability else None,
        )

    def claims(self) -> list[Claim]:
        """The query after two steps, and error, loss and alignment of each read-out (docs/theory/sparse_token.md, section 8)."""
        found, d, c = self.predict(), self.dimension, SPARSE_TOKEN_ALLOWANCE
        fields = {"query": ("alignment", "kappa", "first_alignment")}
        fields |= {n: ("error", "loss", "alignment") for n in CLASSIFIERS if getattr(found, n) is not None}
        return [
            Claim(
                f"{part}.{name}", getattr(getattr(found, part), name), None, c, d, name in ("kappa", "loss")
            )
            for part, names in fields.items()
            for name in names
        ]

    def paired(self, seed: int) -> tuple[SparseTokenSimulation, SparseTokenPrediction]:
        """A draw, and what the theory says of it: the two steps' limit, and the read-outs given the run's own query."""
        draw, limit = self.simulate(seed), self.predict(classifiers=())
        return draw, replace(self.predict(draw.query), query=limit.query)

    def tuned(self) -> SparseTokenClassification:
        """This model with the steps that align the query best, and the β at which its attention then errs least.

        β changes kappa = β‖q2‖ twice, ‖q2‖ being proportional to it. The best kappa is that of the last sample size.

        Examples
        --------
        >>> model = SparseTokenClassification(400, 10, 3, 6.0, 0.2, 400, 800, steps=0.5)
        >>> bool(model.tuned().predict().attention.error < model.predict().attention.error)
        True
        """
        from scipy.optimize import minimize_scalar

        best = replace(self, steps=optimal_rates(self.tokens, self.alpha_query, loss=self.loss))
        limit = best._query_limit()
        alpha = np.ravel(self.alpha_readout)[-1]

        def error(log_kappa: float) -> float:
            law = attention(
                self.tokens, Query(float(limit.alignment), float(np.exp(log_kappa))), points=2**11
            )
            return float(readout(law, alpha, loss=self.loss, regularisation=self.regularisation).error)

        grid = np.log(np.geomspace(0.05, 8, 12))
        near = int(np.argmin([error(x) for x in grid]))
        found = minimize_scalar(
            error, bounds=(grid[max(near - 1, 0)], grid[min(near + 1, grid.size - 1)]), method="bounded"
        )
        scale = np.sqrt(np.exp(found.x) / limit.kappa)
        return replace(best, inverse_temperature=self.inverse_temperature * float(scale))

    def crossover(self, kappa: float) -> float:
        """Query alignment at which attention, at this kappa, and pooling err alike; see `SparseTokenPrediction`.

        Of several `samples_readout`, at the last.
        """
        from scipy.optimize import brentq

        options: dict[str, Any] = {"loss": self.loss, "regularisation": self.regularisation}
        alpha = np.ravel(self.alpha_readout)[-1]
        level = float(readout(pooled(self.tokens), alpha, **options).error)

        def excess(s: float) -> float:
            return float(readout(attention(self.tokens, Query(s, kappa)), alpha, **options).error) - level

        if excess(0.0) <= 0:
            return 0.0
        if excess(1.0) > 0:
            return float("nan")
        return float(brentq(excess, 0.0, 1.0, xtol=1e-4))

    def _query_limit(self) -> QueryLimit:
        return two_steps(
            self.tokens,
            self.alpha_query,
            steps=self.steps,
            inverse_temperature=self.inverse_temperature,
            loss=self.loss,
        )

    def _given(self, query: Any) -> TrainedQuery:
        frozen = query if isinstance(query, Query) else getattr(query, "query", None)
        if not isinstance(frozen, Query):
            raise ValueError(f"query must be a Query or the query of a simulation, got {query!r}")
        alignment = float(frozen.cosines(self.signals).sum() / np.sqrt(self.signals))
        return TrainedQuery(
            alignment, frozen.kappa, frozen.kappa / self.inverse_temperature, float("nan"), frozen
        )

    def _take_steps(self, seed: np.random.SeedSequence) -> TrainedQuery:
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            w, _, q = take_two_steps(
                self.tokens,
                self.dimension,
                self.samples_query,
                rates=self.steps,
                inverse_temperature=self.inverse_temperature,
                loss=self.loss,
                seed=int(seed.generate_state(1)[0]),
            )
            norm, K = float(np.linalg.norm(q)), self.signals
        if not 0 < norm < np.inf:
            raise ValueError(
                f"steps must leave a query of finite length that is not zero, got {self.steps} and length {norm:g}"
            )
        cosines = q[:K] / norm
        return TrainedQuery(
            alignment=float(cosines.sum() / np.sqrt(K)),
            kappa=self.inverse_temperature * norm,
            norm=norm,
            first_alignment=float(w[:K].sum() / np.sqrt(K) / np.linalg.norm(w)),
            query=Query(tuple(cosines.tolist()), self.inverse_temperature * norm),
        )

    def _separable(self, limit: float, query: Query | None, seed: np.random.SeedSequence) -> float:
        """Longest separable prefix over d; the stream is drawn half as long again as the limit says."""
        if not np.isfinite(limit):
            return float("inf")
        for attempt, stream in enumerate(seed.spawn(3)):
            n = int(np.ceil(limit * 1.5 * 2**attempt * self.dimension)) + 10
            sample = draw(self.tokens, query, n, self.dimension, rng=_rng(stream))
            try:
                return separable_prefix(sample.features, sample.labels) / self.dimension
            except ValueError:
                continue
        raise RuntimeError(
            f"no inseparable stream was found up to {n} samples, where theory says {limit:.3g} d"
        )


def _names(classifiers: Any) -> list[str]:
    if isinstance(classifiers, str) or not np.iterable(classifiers):
        raise ValueError(f"classifiers must be a sequence of {CLASSIFIERS}, got {classifiers!r}")
    return [one_of("classifiers", name, CLASSIFIERS) for name in classifiers]


def _rng(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.default_rng(seed)
