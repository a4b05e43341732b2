"""What pooled-sequence models return: the limit and the finite draw, with the same field names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.laws import MarchenkoPasturProduct

__all__ = ["MeanSpike", "Prediction", "Simulation"]


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


@dataclass(frozen=True)
class Prediction:
    """What the theory says of a pooled-sequence model; fields broadcast with the signal.

    Attributes
    ----------
    alpha, kappa, snr : float
        Pooled signal, pooled noise and their ratio.
    bulk : MarchenkoPasturProduct
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
        The same quantities by the formulas as published (a balanced table).
    """

    alpha: Any
    kappa: Any
    snr: Any
    bulk: MarchenkoPasturProduct
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
