"""Solvable models, one file each: ``predict()`` for the limit, ``simulate(seed)`` for a finite draw."""

from resolvent.models.outcomes import MeanSpike, Prediction, Simulation
from resolvent.models.pooled import PooledSequences
from resolvent.models.ridge import PooledRidge, RidgePrediction, RidgeSimulation, ridge_accuracy

__all__ = [
    "MeanSpike",
    "PooledRidge",
    "PooledSequences",
    "Prediction",
    "RidgePrediction",
    "RidgeSimulation",
    "Simulation",
    "ridge_accuracy",
]
