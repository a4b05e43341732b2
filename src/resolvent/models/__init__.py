"""Solvable models, one file each: ``predict()`` for the limit, ``simulate(seed)`` for a finite draw."""

from resolvent.models.claims import Claim
from resolvent.models.class_outcomes import ClassPrediction, ClassSimulation
from resolvent.models.classes import PooledClasses, class_means
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
from resolvent.models.query_attention import AttentionPooling, AttentionPrediction, AttentionSimulation
from resolvent.models.ridge import PooledRidge, RidgePrediction, RidgeSimulation, ridge_accuracy
from resolvent.models.sparse_token import SparseTokenClassification
from resolvent.models.value_layers import ValueLayers, ValuePrediction, ValueSimulation
from resolvent.models.vocabulary import PooledVocabulary, VocabularyPrediction, VocabularySimulation

__all__ = [
    "AttentionPooling",
    "AttentionPrediction",
    "AttentionSimulation",
    "Claim",
    "ClassPrediction",
    "ClassSimulation",
    "EllipticalPooling",
    "EllipticalPrediction",
    "EllipticalSimulation",
    "InContextPrediction",
    "InContextRegression",
    "InContextSimulation",
    "MeanSpike",
    "PooledClasses",
    "PooledRidge",
    "PooledSequences",
    "PooledVocabulary",
    "Prediction",
    "RidgePrediction",
    "RidgeSimulation",
    "Simulation",
    "SparseTokenClassification",
    "SparseTokenPrediction",
    "SparseTokenSimulation",
    "ValueLayers",
    "ValuePrediction",
    "ValueSimulation",
    "VocabularyPrediction",
    "VocabularySimulation",
    "class_means",
    "ridge_accuracy",
]
