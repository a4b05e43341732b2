"""What models return: the limit and the finite draw, with the same field names."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.error_bars import ErrorBars
from resolvent.finite_length import heaviest_token
from resolvent.fluctuations import FiniteSample, pooled_kurtosis
from resolvent.laws import Law
from resolvent.sparse_token import FeatureLaw, Query, capacity, expansion, oracle_errors
from resolvent.sparse_token.oracle import OracleErrors
from resolvent.sparse_token.readout import Expansion

if TYPE_CHECKING:
    import xarray

    from resolvent.models.pooled import PooledSequences
    from resolvent.models.sparse_token import SparseTokenClassification

__all__ = [
    "MeanSpike",
    "Prediction",
    "Simulation",
    "SparseTokenPrediction",
    "SparseTokenSimulation",
    "TrainedQuery",
]


def _short(found: Any) -> str:
    """The fields for a screen: six digits, arrays by their ends, no prediction inside another."""
    parts = []
    for one in fields(found):
        value = getattr(found, one.name)
        if not one.repr or value is None:
            continue
        if isinstance(value, Prediction):
            shown = "Prediction(...)"
        elif isinstance(value, np.ndarray) and value.ndim:
            shown = np.array2string(value, precision=6, separator=", ", threshold=8, edgeitems=3)
        else:
            shown = f"{value:.6g}" if isinstance(value, (float, np.floating)) else repr(value)
        parts.append(f"{one.name}={shown}")
    return f"{type(found).__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class MeanSpike:
    """The spurious spike of an uncentred second-moment matrix, along the mean embedding.

    Attributes
    ----------
    q : float
        Net spike delta·((1ᵀw)²/kappa − 1).
    outlier : float
        Its eigenvalue, NaN when it stays in the bulk.
    overlap : float
        Squared overlap of its eigenvector with the mean embedding (not with the signal).
    """

    q: Any
    outlier: Any
    overlap: Any

    __repr__ = _short


@dataclass(frozen=True)
class Prediction:
    """What the theory says of a pooled-sequence model; fields broadcast with the signal.

    Attributes
    ----------
    alpha, kappa, snr : float
        Pooled signal, pooled noise and their ratio.
    bulk : MarchenkoPasturProduct or FiniteLength
        Limit law of the eigenvalues.
    edge : float
        Its right edge.
    q, threshold : float
        Net spike, and the q_c above which it shows.
    critical_signal : float
        ‖mu‖ at which q = q_c; zero when every signal shows.
    outlier : float
        Eigenvalue of the signal's spike, NaN when there is none.
    top_eigenvalue, second_eigenvalue : float
        Limits of the two largest eigenvalues (an outlier, or the edge).
    overlap : float
        Squared overlap with mu/‖mu‖: population_overlap · sample_overlap · direction_factor.
    population_overlap, sample_overlap, direction_factor : float
        Share lost to the finite vocabulary, to the finite sample, and to the table's own class means.
    mean_spike : MeanSpike or None
        Only for uncentred models.
    published : Prediction or None
        The same quantities by the formulas as published (a balanced table, infinite length).
    theory : {"infinite length", "1/T_eff^2 map", "population dynamics"}
        Which theory of the sequence length was used.
    error_bars : ErrorBars
        Standard errors and 95 % intervals of outlier, overlap and edge of one finite sample.
    """

    alpha: Any
    kappa: Any
    snr: Any
    bulk: Law
    edge: Any
    q: Any
    threshold: Any
    critical_signal: Any
    outlier: Any
    top_eigenvalue: Any
    second_eigenvalue: Any
    overlap: Any
    population_overlap: Any
    sample_overlap: Any
    direction_factor: Any
    mean_spike: MeanSpike | None = None
    published: Prediction | None = None
    theory: str = "infinite length"
    model: PooledSequences | None = field(default=None, repr=False, compare=False)

    __repr__ = _short

    @cached_property
    def error_bars(self) -> ErrorBars:
        """Standard errors and intervals of one finite sample, around its own degrees of freedom.

        ``ValueError`` for vocabularies below 4 or fewer than 3 samples, which leave no degrees of freedom.
        """
        model = self.model
        if model is None:
            raise ValueError("error bars belong to what a model predicts, not to the published formulas")
        w = model.pooling_weights
        sample = FiniteSample(
            model.dimension,
            model.vocabulary,
            model.samples,
            alpha=float(self.alpha),
            kappa=float(self.kappa),
            kurtosis=pooled_kurtosis(model.positions, w) if self.alpha > 0 else 3.0,
            signal=model.signal,
            table=model.table,
            centred=model.centred,
        )
        heaviest = heaviest_token(w, model.dimension, model.vocabulary, model.samples).share
        bars = ErrorBars(sample, heaviest)
        if self.theory == "infinite length":
            return bars
        limit = model.predict(theory="infinite length")
        pairs = [(getattr(self, n), getattr(limit, n)) for n in ("edge", "outlier", "overlap")]
        return replace(bars, shifts=tuple(np.nan_to_num(a - b, nan=0.0)[()] for a, b in pairs))

    def p_value(self, top_eigenvalue: Any) -> Any:
        """Probability of a top eigenvalue at least this large without signal, see `ErrorBars.p_value`."""
        return self.error_bars.p_value(top_eigenvalue)


@dataclass(frozen=True)
class Simulation:
    """One finite-size draw; field names are those of `Prediction` where they mean the same.

    Attributes
    ----------
    seed : int
    eigenvalues : array
        Decreasing: all d of them, or the leading ones only.
    top_eigenvalue, second_eigenvalue : float
    overlap : float
        Squared overlap of the signal's eigenvector with mu/‖mu‖. Centred: of the top eigenvector.
    mean_outlier, mean_overlap : float or None
        Uncentred only: eigenvalue and squared overlap of the eigenvector along the mean embedding.
    """

    seed: int
    eigenvalues: np.ndarray
    top_eigenvalue: float
    second_eigenvalue: float
    overlap: float
    mean_outlier: float | None = None
    mean_overlap: float | None = None

    __repr__ = _short


@dataclass(frozen=True)
class TrainedQuery:
    """The query of a finite sample; names are those of `QueryLimit`.

    Attributes
    ----------
    alignment : float
        Cosine of q2 with the (mean) signal direction.
    kappa, norm : float
        β‖q2‖ and ‖q2‖.
    first_alignment : float
        Cosine of w1 with the signal; NaN for a query that was given.
    query : Query
        The query as features see it: with several signals, its cosine with each.
    """

    alignment: float
    kappa: float
    norm: float
    first_alignment: float
    query: Query


@dataclass(frozen=True, eq=False)
class SparseTokenPrediction:
    """What the theory says of a sparse-token model; the costly parts are computed when they are asked for.

    Attributes
    ----------
    model : SparseTokenClassification
    query : QueryLimit or TrainedQuery
        The query after two steps, or the one that was given.
    attention, pooled, vectorised : ReadoutLimit or None
        Test error, training loss, alignment of the trained read-outs; None where it was not asked for, and of the
        vectorised classifier where lengths vary.
    """

    model: SparseTokenClassification
    query: Any
    attention: Any
    pooled: Any
    vectorised: Any

    @cached_property
    def laws(self) -> dict[str, FeatureLaw]:
        """Law of the features of each classifier."""
        return self.model.laws(self.query.query)

    @cached_property
    def capacity(self) -> dict[str, float]:
        """Largest separable alpha of each classifier, see `resolvent.sparse_token.capacity`."""
        return {name: capacity(law) for name, law in self.laws.items()}

    @cached_property
    def expansion(self) -> dict[str, Expansion]:
        """Large-alpha expansion of the ridgeless square loss, of each classifier."""
        return {name: expansion(law) for name, law in self.laws.items()}

    @cached_property
    def oracle(self) -> OracleErrors:
        """Errors of the best classifier of each kind, see `resolvent.sparse_token.oracle_errors`.

        ``ValueError`` with several lengths, informative counts or signals.
        """
        return oracle_errors(self.model.tokens)

    @cached_property
    def crossover(self) -> float:
        """Query alignment below which attention errs more than pooling, at this kappa and sample size.

        Zero where attention is never worse, NaN where it always is.
        """
        return self.model.crossover(self.query.query.kappa)

    def to_dataset(self) -> xarray.Dataset:
        """Error, loss and alignment over ``classifier``, and over ``alpha`` where several sample sizes were predicted."""
        import xarray as xr

        solved = {name: getattr(self, name) for name in ("attention", "pooled", "vectorised")}
        solved = {name: found for name, found in solved.items() if found is not None}
        over = ("classifier", "alpha") if np.ndim(self.model.alpha_readout) else ("classifier",)
        return xr.Dataset(
            {
                name: (over, [getattr(found, name) for found in solved.values()])
                for name in ("error", "loss", "alignment", "intercept", "norm")
            },
            coords={"classifier": list(solved), "alpha": (over[1:], self.model.alpha_readout)},
            attrs={"query_alignment": float(self.query.alignment), "kappa": float(self.query.kappa)},
        )


@dataclass(frozen=True, eq=False)
class SparseTokenSimulation:
    """One finite draw; field names are those of `SparseTokenPrediction`.

    Attributes
    ----------
    seed : int
    query : TrainedQuery
    attention, pooled, vectorised : TrainedReadout or None
        None where it was not asked for, or lengths vary.
    capacity : dict of float, or None
        Longest separable prefix of a stream of samples, over d, where it was asked for; for this query, hence to be
        compared with ``model.predict(query).capacity``.
    """

    seed: int
    query: TrainedQuery
    attention: Any
    pooled: Any
    vectorised: Any
    capacity: dict[str, float] | None = None
