"""Attention with one fixed query over a two-class table: data-dependent weights, their limit and their sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, seed_number
from resolvent.models.claims import Claim
from resolvent.models.outcomes import Prediction
from resolvent.models.pooled import PooledSequences
from resolvent.models.sizes import TableSizes
from resolvent.pooling import pooling_matrix
from resolvent.positions import SingleFactor
from resolvent.query_attention import (
    AttentionBulk,
    Composition,
    CondensedError,
    Outlier,
    OutlierProblem,
    TokenTypes,
    attention_factors,
    table_types,
    token_types,
)
from resolvent.spectrum import covariance_spectrum
from resolvent.tables import draw_noise, draw_tokens, token_signs

__all__ = ["AttentionPooling", "AttentionPrediction", "AttentionSimulation"]

LARGEST = 1e4  # ‖mu‖: the equations hold its square beside unit noise, and overlaps are one to 1e-8 there
SHOWN = 4  # eigenvectors of a draw that are looked at
TILTED = 5.0  # β m, from which on mu alone gives one class all weight but 1e-4
ONE_CLASS = 1e-8  # of the weights that the class which attention favours less must keep in its own sequences
SHARE = 0.1  # largest share of a sequence's weight that one token may hold
POLE = 2 / 3  # largest y Ω₀ of the heaviest token at the signal's outlier; tables scatter it by a quarter
OUTLIER_ALLOWANCE = 3.0  # c of `claims`: docs/theory/attention_query.md, section 9
LOST = 0.25  # largest squared overlap of M with tokens' eigenvectors where the signal has none of its own


@dataclass(frozen=True, eq=False)
class AttentionPrediction:
    """What the theory says; names are those of `AttentionSimulation` where they mean the same.

    Attributes
    ----------
    model : AttentionPooling
    kappa : float
        Pooled noise per coordinate.
    snr : float
        Effective snr of the composition: what fixed weights would need for the same spike along the class means.
    bulk : AttentionBulk
        The map of the bulk, in units of 1/T, less the tokens that are outliers.
    edge : float
        Its right edge.
    outliers : tuple of Outlier
        By decreasing eigenvalue, each with its name, its overlaps, and whether it is spurious.
    outlier : float
        Eigenvalue of the signal's outlier, NaN where there is none.
    top_eigenvalue, second_eigenvalue : float
    overlap, query_overlap, perpendicular_overlap : float
        Squared overlaps of the signal's eigenvector with mu/‖mu‖, with q/‖q‖, and with the part of mu orthogonal to q;
        zero where there is no outlier of the signal. The last is what attention has learnt that q did not know.
    heaviest_share : float
        Share of a sequence's weight that the table's heaviest token holds.
    condensed : bool
        Whether single tokens end the theory of the signal, see `AttentionPooling.predict`.
    """

    model: AttentionPooling
    kappa: float
    snr: float
    bulk: AttentionBulk
    edge: float
    outliers: tuple[Outlier, ...]
    outlier: float
    top_eigenvalue: float
    second_eigenvalue: float
    overlap: float
    query_overlap: float
    perpendicular_overlap: float
    heaviest_share: float
    condensed: bool

    @cached_property
    def optimal(self) -> Prediction:
        """The same sequences pooled by the optimal fixed weights."""
        m = self.model
        return PooledSequences(
            m.dimension, m.vocabulary, m.samples, m.positions, "optimal", m.signal, centred=m.centred
        ).predict()


@dataclass(frozen=True)
class AttentionSimulation:
    """One finite draw; names are those of `AttentionPrediction`.

    Attributes
    ----------
    seed : int
    eigenvalues : array, shape (d,)
        Decreasing.
    top_eigenvalue, second_eigenvalue : float
    overlaps, query_overlaps, perpendicular_overlaps, mean_overlaps, token_overlaps : arrays, shape (4,) or fewer
        Squared overlaps of the leading eigenvectors with mu/‖mu‖, q/‖q‖, the part of mu orthogonal to q, the mean of the
        attended embeddings, and the token that each holds most of.
    overlap, query_overlap, perpendicular_overlap : float
        Of the first eigenvector; uncentred, of the first that does not lie along the mean.
    """

    seed: int
    eigenvalues: np.ndarray
    top_eigenvalue: float
    second_eigenvalue: float
    overlaps: np.ndarray
    query_overlaps: np.ndarray
    perpendicular_overlaps: np.ndarray
    mean_overlaps: np.ndarray
    token_overlaps: np.ndarray
    overlap: float
    query_overlap: float
    perpendicular_overlap: float


@dataclass(frozen=True, eq=False)
class AttentionPooling(TableSizes):
    """Sequences of T tokens from a two-class table, pooled by attention with one fixed query.

    x_i = sum_l a_il e_{t_il} with a_il = F(q·e_{t_il}) / sum_k F(q·e_{t_ik}), tokens e_v = s_v mu + z_v.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d >= 2, V (even) and N.
    positions : Prefix or SingleFactor
        Position model.
    query_norm : float
        β = ‖q‖ >= 0; zero is mean pooling.
    query_alignment : float
        Cosine between q and mu.
    signal : float
        ‖mu‖ in [0, 1e4], in units of the noise.
    score : {"softmax", "cosh"} or callable
        F: exp; cosh, which is two opposite queries summed before normalising; or any positive function of an array.
    centred : bool, default True
        False uses the second-moment matrix, with a spurious outlier along the mean of the attended embeddings.

    Raises
    ------
    ValueError
        If a size is not a whole number, the vocabulary is odd, positions are of another model, or a number is out of
        range.

    References
    ----------
    Derived in docs/theory/attention_query.md.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> model = AttentionPooling(200, 800, 800, Prefix(100, 30), query_norm=0.3, query_alignment=0.5, signal=1.0)
    >>> prediction = model.predict()
    >>> [outlier.name for outlier in prediction.outliers][:1], round(prediction.overlap, 2)
    (['signal'], 0.76)
    >>> bool(abs(model.simulate(seed=0).overlap - prediction.overlap) < 0.1)
    True
    """

    positions: SingleFactor
    query_norm: float
    query_alignment: float
    signal: float
    score: Any = "softmax"
    centred: bool = True

    def __post_init__(self) -> None:
        for name, least in (("dimension", 2), ("vocabulary", 2), ("samples", 2)):
            object.__setattr__(self, name, natural(name, getattr(self, name), least))
        token_signs(self.vocabulary)
        if not isinstance(self.positions, SingleFactor):
            raise ValueError(
                f"positions must be Prefix(T, r) or SingleFactor(loadings), whose composition is known, got {self.positions!r}"
            )
        object.__setattr__(self, "query_norm", number("query_norm", self.query_norm, least=0))
        object.__setattr__(self, "signal", number("signal", self.signal, least=0))
        object.__setattr__(self, "query_alignment", number("query_alignment", self.query_alignment))
        if self.signal > LARGEST:
            raise ValueError(
                f"signal must be between 0 and {LARGEST:g} (units of the noise; all overlaps are at their ends long before), "
                f"got {self.signal:g}"
            )
        if abs(self.query_alignment) > 1:
            raise ValueError(f"query_alignment must be a cosine in [-1, 1], got {self.query_alignment}")
        attention_factors(np.zeros(1), self.score)

    @cached_property
    def types(self) -> TokenTypes:
        """Token types of this table and query."""
        shift = self.signal * self.query_alignment
        length = self.positions.length
        return token_types(self.vocabulary, self.query_norm, shift, length=length, score=self.score)

    def without_signal(self) -> AttentionPooling:
        """The same query at mu = 0: what is an outlier here needs no signal."""
        return replace(self, signal=0.0, query_alignment=0.0)

    def predict(self, *, seed: int | None = None, condensed: bool = False) -> AttentionPrediction:
        """The limit of this model, with the optimal fixed weights beside it.

        Parameters
        ----------
        seed : int, optional
            Predict for the table that ``simulate(seed)`` draws, from its own scores. Otherwise scores are at their
            quantiles: the typical table, whose heaviest tokens real tables scatter about.
        condensed : bool, default False
            Compute also where the theory of the signal ends.

        Raises
        ------
        ValueError
            If positions all agree with the label and attention sees but one class, so that nothing is left to see of
            the other class's sequences.
        CondensedError
            If one token holds more than a tenth of a sequence's weight, if the heaviest token's own outlier is not
            well below the signal's (y Ω₀ of the token above 2/3), or if tokens have taken the signal's outlier.
        """
        length = self.positions.length
        types = self.types if seed is None else self._table_types(seed_number(seed))
        composition = Composition.of(self.positions.loadings)
        if not 1 - composition.theta * abs(types.balance) > ONE_CLASS:
            tilt = self.query_norm * self.signal * abs(self.query_alignment)
            if tilt < TILTED:  # the weight is that of single tokens
                raise self._condensed("the tokens that hold all weight are of one class", hint=False)
            raise ValueError(
                f"query_norm·signal·|query_alignment| = {tilt:.3g} is too large where all positions agree with the label: "
                "attention sees one class alone; lower query_norm"
            )
        share = min(
            float(types.factors.max()) / length, 1.0
        )  # beyond the theory the mean factor loses its sense
        if share > SHARE and not condensed:
            raise self._condensed(f"one token holds {share:.2g} of a sequence's weight, more than {SHARE:g}")
        try:
            bulk = AttentionBulk(types, composition, self.delta, self.gamma)
            bulk = bulk.without_outlying_tokens()
            outliers = self._outliers(bulk)
        except (RuntimeError, np.linalg.LinAlgError) as error:
            if share > SHARE:
                raise self._condensed(f"its equations have no solution ({error})", hint=False) from error
            raise
        signal = next((outlier for outlier in outliers if outlier.name == "signal"), None)
        lost = sum(outlier.mode_overlap for outlier in outliers if outlier.name == "token")
        why = None
        if share > SHARE:
            why = f"one token holds {share:.2g} of a sequence's weight, more than {SHARE:g}"
        elif signal is not None and signal.token_pole > POLE:
            why = f"the heaviest token's pole is at {signal.token_pole:.2g} of its own outlier, above {POLE:.2g}"
        elif signal is None and self.signal > 0 and lost > LOST:
            why = f"tokens' eigenvectors hold {lost:.2g} of the signal's mode, more than {LOST:g}"
        if why is not None and not condensed:
            raise self._condensed(why)
        damping = bulk.damping
        squares = types.shares * types.factors**2
        noise = float((bulk.mixing @ [squares[types.signs > 0].sum(), squares[types.signs < 0].sum()]).sum())
        theta, spread = bulk.composition.theta, bulk.composition.spread
        excess = length * theta**2 * damping.prod() ** 2 + (spread - 1) * (damping**4).mean()
        edge = bulk.edge / length
        values = [outlier.eigenvalue for outlier in outliers]
        top, second = [*values, edge, edge][:2]
        return AttentionPrediction(
            model=self,
            kappa=noise / length,
            snr=float(1 + (1 - types.balance**2) ** 2 * excess / noise),
            bulk=bulk,
            edge=edge,
            outliers=outliers,
            outlier=float("nan") if signal is None else signal.eigenvalue,
            top_eigenvalue=top,
            second_eigenvalue=second,
            overlap=0.0 if signal is None else signal.overlap,
            query_overlap=0.0 if signal is None else signal.query_overlap,
            perpendicular_overlap=0.0 if signal is None else signal.perpendicular_overlap,
            heaviest_share=share,
            condensed=why is not None,
        )

    def _condensed(self, why: str, *, hint: bool = True) -> CondensedError:
        allowed = "lower query_norm or lengthen the sequences"
        if hint:
            allowed = "lower query_norm, lengthen the sequences, or pass condensed=True (with seed= for one table's own heavy tokens)"
        return CondensedError(f"query_norm = {self.query_norm:g} is beyond the theory here: {why}; {allowed}")

    def _outliers(self, bulk: AttentionBulk) -> tuple[Outlier, ...]:
        """Outliers in units of the eigenvalues of S, by decreasing eigenvalue."""
        cos = self.query_alignment
        parts = self.signal * cos, self.signal * np.sqrt(1 - cos**2)
        found = OutlierProblem(bulk, *parts, self.centred).find()
        queries = [i for i, outlier in enumerate(found) if outlier.name == "query"]
        if queries and self.signal > 0 and not any(outlier.name == "signal" for outlier in found):
            # along the query, but the signal's all the same if the query alone makes no outlier
            alone = self.without_signal().predict(condensed=True).outliers
            if not any(outlier.name == "query" for outlier in alone):
                found[queries[0]] = replace(found[queries[0]], name="signal")
        return tuple(
            replace(outlier, eigenvalue=outlier.eigenvalue / self.positions.length) for outlier in found
        )

    def _draw_table(self, stream: np.random.SeedSequence) -> tuple[np.ndarray, np.ndarray]:
        """The table, shape (V, d), with mu along the first axis, and q/‖q‖."""
        table = draw_noise(self.vocabulary, self.dimension, rng=np.random.default_rng(stream))
        table[:, 0] += self.signal * token_signs(self.vocabulary)
        query = np.zeros(self.dimension)
        query[:2] = self.query_alignment, np.sqrt(1 - self.query_alignment**2)
        return table, query

    def _table_types(self, seed: int) -> TokenTypes:
        table, query = self._draw_table(np.random.SeedSequence(seed).spawn(3)[2])
        signs, shift = token_signs(self.vocabulary), self.signal * self.query_alignment
        scores, length = table @ query - signs * shift, self.positions.length
        return table_types(signs, scores, self.query_norm, shift, length=length, score=self.score)

    def simulate(self, seed: int) -> AttentionSimulation:
        """Draw a table and sequences, attend to them, and return the spectrum.

        Parameters
        ----------
        seed : int
            Fixes table, signs and tokens whatever the signal and the query.
        """
        streams = np.random.SeedSequence(seed_number(seed)).spawn(3)
        signs = self.positions.sample(self.samples, rng=np.random.default_rng(streams[0]))
        tokens = draw_tokens(signs, self.vocabulary, rng=np.random.default_rng(streams[1]))
        table, query = self._draw_table(streams[2])
        factors = attention_factors(self.query_norm * (table @ query), self.score)
        weights = factors[tokens]
        total = weights.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            raise ValueError(
                f"query_norm = {self.query_norm:g} is too large: all factors of a sequence underflow"
            )
        x = pooling_matrix(tokens, weights / total, self.vocabulary) @ table
        values, vectors = covariance_spectrum(x, centred=self.centred, vectors=SHOWN)
        across = np.zeros(self.dimension)
        across[:2] = query[1], -query[0]  # the direction of mu less its part along q
        mean = factors @ table
        norms = (table**2).sum(axis=1)
        found = {
            "overlaps": vectors[0] ** 2,
            "query_overlaps": (query @ vectors) ** 2,
            "perpendicular_overlaps": (across @ vectors) ** 2,
            "mean_overlaps": (mean @ vectors) ** 2 / (mean @ mean),
            "token_overlaps": ((table @ vectors) ** 2 / norms[:, None]).max(axis=0),
        }
        first = int(not self.centred and bool(found["mean_overlaps"][0] > found["mean_overlaps"][1]))
        return AttentionSimulation(
            seed=int(seed),
            eigenvalues=values,
            top_eigenvalue=float(values[0]),
            second_eigenvalue=float(values[1]),
            **found,
            overlap=float(found["overlaps"][first]),
            query_overlap=float(found["query_overlaps"][first]),
            perpendicular_overlap=float(found["perpendicular_overlaps"][first]),
        )

    def claims(self) -> list[Claim]:
        """The leading outlier and its overlaps: of the signal, the query or the composition; uncentred, the mean's before it.

        Nothing of single tokens, which scatter from table to table about the typical one (docs/theory/attention_query.md,
        section 9); `predict` with a seed knows one table's own.
        """
        outliers, d, claims = list(self.predict().outliers[:2]), self.dimension, []
        values = ["top_eigenvalue", "second_eigenvalue"]
        if outliers and outliers[0].name == "mean":
            mean, value = outliers.pop(0), values.pop(0)
            claims.append(Claim(value, mean.eigenvalue, None, OUTLIER_ALLOWANCE, d, relative=True))
            claims.append(Claim("mean_overlaps[0]", mean.mean_overlap, None, OUTLIER_ALLOWANCE, d))
        if outliers and outliers[0].name != "token":
            claims.append(Claim(values[0], outliers[0].eigenvalue, None, OUTLIER_ALLOWANCE, d, relative=True))
            for name in ("overlap", "query_overlap", "perpendicular_overlap"):
                claims.append(Claim(name, getattr(outliers[0], name), None, OUTLIER_ALLOWANCE, d))
        return claims
