"""Exact high-dimensional theory of attention: compute with it, simulate it, apply it to embeddings."""

from resolvent import datasets, positions, spikes, weights
from resolvent.laws import MarchenkoPastur, MarchenkoPasturProduct
from resolvent.models import PooledRidge, PooledSequences, ridge_accuracy
from resolvent.planning import plan
from resolvent.positions import Correlated, Prefix, SingleFactor

__version__ = "0.1.0"

__all__ = [
    "Correlated",
    "MarchenkoPastur",
    "MarchenkoPasturProduct",
    "PooledRidge",
    "PooledSequences",
    "Prefix",
    "SingleFactor",
    "__version__",
    "datasets",
    "plan",
    "positions",
    "ridge_accuracy",
    "spikes",
    "weights",
]
