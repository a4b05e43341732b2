"""Exact high-dimensional theory of attention: compute with it, simulate it, apply it to embeddings."""

from resolvent import corpora, datasets, encoders, nulls, positions, sparse_token, spikes, weights
from resolvent.diagnosis import diagnose
from resolvent.estimation import estimate
from resolvent.held_out import check_held_out
from resolvent.laws import GeneralisedMarchenkoPastur, MarchenkoPastur, MarchenkoPasturProduct, Wachter
from resolvent.models import PooledRidge, PooledSequences, SparseTokenClassification, ridge_accuracy
from resolvent.planning import plan
from resolvent.positions import Correlated, Prefix, SingleFactor

__version__ = "0.1.0"

__all__ = [
    "Correlated",
    "GeneralisedMarchenkoPastur",
    "MarchenkoPastur",
    "MarchenkoPasturProduct",
    "PooledRidge",
    "PooledSequences",
    "Prefix",
    "SingleFactor",
    "SparseTokenClassification",
    "Wachter",
    "__version__",
    "check_held_out",
    "corpora",
    "datasets",
    "diagnose",
    "encoders",
    "estimate",
    "nulls",
    "plan",
    "positions",
    "ridge_accuracy",
    "sparse_token",
    "spikes",
    "weights",
]
