"""Elliptical attention: the metric's estimators, kernel regression with it, and the law of what its softmax pools."""

from resolvent.elliptical.kernel_regression import (
    best_bandwidth,
    nadaraya_watson,
    plug_in_metric,
    random_metric,
)
from resolvent.elliptical.tilted import PooledMoments, TiltedLaw, pooled_moments, tilted_law
from resolvent.elliptical.variability import (
    coordinate_variability,
    finite_difference_variability,
    residual_stretch,
)

__all__ = [
    "PooledMoments",
    "TiltedLaw",
    "best_bandwidth",
    "coordinate_variability",
    "finite_difference_variability",
    "nadaraya_watson",
    "plug_in_metric",
    "pooled_moments",
    "random_metric",
    "residual_stretch",
    "tilted_law",
]
