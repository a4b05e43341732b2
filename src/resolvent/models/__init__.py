"""Solvable models, one file each: ``predict()`` for the limit, ``simulate(seed)`` for a finite draw."""

from resolvent.models.elliptical import EllipticalPooling, EllipticalPrediction, EllipticalSimulation
from resolvent.models.in_context import InContextPrediction, InContextRegression, InContextSimulation
from resolvent.models.outcomes import (
    MeanSpike,
    Prediction,
    Simulation,
    SparseTokenPrediction,
    SparseTokenSimulation,
)
from resolvent.models.pooled import PooledSequences
from resolvent.models.ridge import PooledRidge, RidgePrediction, RidgeSimulation, ridge_accuracy
from resolvent.models.sparse_token import SparseTokenClassification

__all__ = [
    "EllipticalPooling",
    "EllipticalPrediction",
    "EllipticalSimulation",
    "InContextPrediction",
    "InContextRegression",
    "InContextSimulation",
    "MeanSpike",
    "PooledRidge",
    "PooledSequences",
    "Prediction",
    "RidgePrediction",
    "RidgeSimulation",
    "Simulation",
    "SparseTokenClassification",
    "SparseTokenPrediction",
    "SparseTokenSimulation",
    "ridge_accuracy",
]
