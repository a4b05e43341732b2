"""Classification on pooled features in the limit: ridge, its loss landscape over weights, any convex loss, classes."""

from resolvent.downstream.classes import ClassRidge, ClassRidgePrediction, ClassRidgeSimulation
from resolvent.downstream.classifier import ClassifierSimulation, PooledClassifier
from resolvent.downstream.convex import ClassifierPrediction, convex_limit
from resolvent.downstream.landscape import LearnedLimit, discriminant_weights, learned_limit, spread_window
from resolvent.downstream.ridge import OptimalRidge, RidgeLosses, optimal_ridge, ridge_losses

__all__ = [
    "ClassRidge",
    "ClassRidgePrediction",
    "ClassRidgeSimulation",
    "ClassifierPrediction",
    "ClassifierSimulation",
    "LearnedLimit",
    "OptimalRidge",
    "PooledClassifier",
    "RidgeLosses",
    "convex_limit",
    "discriminant_weights",
    "learned_limit",
    "optimal_ridge",
    "ridge_losses",
    "spread_window",
]
