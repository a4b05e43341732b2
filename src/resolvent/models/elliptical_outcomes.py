"""What elliptical attention pooling returns: the limit and the finite draw, with the same field names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["EllipticalPrediction", "EllipticalSimulation"]


@dataclass(frozen=True)
class EllipticalPrediction:
    """What the theory says; names are those of `EllipticalSimulation` where they mean the same.

    Attributes
    ----------
    alpha, kappa : float
        E (Σ w s)² and E Σ w², exact at this length and temperature.
    kappa_perp : float
        Pooled noise per coordinate: kappa and the mean of the selected noise.
    snr : float
        θ² alpha / kappa_perp, the signal's own part of the spike.
    spike : float
        Largest eigenvalue of the population covariance over kappa_perp, less one; the metric's own part included.
    edge, outlier, overlap : float
        Right edge of the sample spectrum, the outlier (NaN where there is none), and the squared overlap of the leading
        eigenvector with the signal's direction (at θ = 0: with the direction where the signal would be).
    label_correlation : float
        Correlation of the pooled vector along the signal with the label.
    stretch : float
        a/b of the metric.
    axis : float
        Squared overlap of the stretched direction with the signal.
    load : float
        β² E‖M q‖², the variance of the logits.
    condensed : bool
        load > log(L)/4: few tokens hold the weight, and edge, outlier and overlap are NaN.
    limit : tuple of three floats
        alpha, kappa and snr of the limit of long sequences (the tilted token law).
    """

    alpha: float
    kappa: float
    kappa_perp: float
    snr: float
    spike: float
    edge: float
    outlier: float
    overlap: float
    label_correlation: float
    stretch: float
    axis: float
    load: float
    condensed: bool
    limit: tuple[float, float, float]


@dataclass(frozen=True)
class EllipticalSimulation:
    """One finite draw; names are those of `EllipticalPrediction`.

    Attributes
    ----------
    seed : int
    alpha, kappa, kappa_perp, snr : float
    eigenvalues : array, shape (d,)
        Decreasing.
    outlier : float
        The largest.
    overlap : float
    label_correlation, leading_correlation : float
        |correlation| with the label of the signal's coordinate, and of the leading component.
    stretch, axis : float
        Of the metric that was used.
    """

    seed: int
    alpha: float
    kappa: float
    kappa_perp: float
    snr: float
    eigenvalues: np.ndarray
    outlier: float
    overlap: float
    label_correlation: float
    leading_correlation: float
    stretch: float
    axis: float
