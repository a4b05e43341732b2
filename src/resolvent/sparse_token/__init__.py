"""Sparse-token classification: data, scalar reduction, query, read-out, capacity and oracle errors of one layer."""

from resolvent.sparse_token.capacity import capacity, separable, separable_prefix
from resolvent.sparse_token.descent import descend
from resolvent.sparse_token.features import FeatureLaw, Query, attention, pooled, vectorised
from resolvent.sparse_token.online import online
from resolvent.sparse_token.oracle import oracle_errors
from resolvent.sparse_token.query import optimal_rates, two_steps
from resolvent.sparse_token.readout import expansion, readout
from resolvent.sparse_token.tokens import SparseTokens
from resolvent.sparse_token.trained import draw, fit

__all__ = [
    "FeatureLaw",
    "Query",
    "SparseTokens",
    "attention",
    "capacity",
    "descend",
    "draw",
    "expansion",
    "fit",
    "online",
    "optimal_rates",
    "oracle_errors",
    "pooled",
    "readout",
    "separable",
    "separable_prefix",
    "two_steps",
    "vectorised",
]
