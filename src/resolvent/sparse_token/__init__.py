"""Sparse-token classification: data, scalar reduction, query, read-out, capacity and oracle errors of one layer."""

from resolvent.sparse_token.capacity import capacity, separable, separable_prefix
from resolvent.sparse_token.descent import Descent, Trajectory, descend
from resolvent.sparse_token.features import FeatureLaw, Query, attention, pooled, vectorised
from resolvent.sparse_token.online import online
from resolvent.sparse_token.oracle import (
    OracleErrors,
    hardmax_error,
    oracle_errors,
    pooled_error,
    vectorised_bound,
)
from resolvent.sparse_token.query import QueryLimit, optimal_rates, two_steps
from resolvent.sparse_token.readout import Expansion, ReadoutLimit, expansion, readout
from resolvent.sparse_token.tokens import SparseTokens
from resolvent.sparse_token.trained import draw, fit

__all__ = [
    "Descent",
    "Expansion",
    "FeatureLaw",
    "OracleErrors",
    "Query",
    "QueryLimit",
    "ReadoutLimit",
    "SparseTokens",
    "Trajectory",
    "attention",
    "capacity",
    "descend",
    "draw",
    "expansion",
    "fit",
    "hardmax_error",
    "online",
    "optimal_rates",
    "oracle_errors",
    "pooled",
    "pooled_error",
    "readout",
    "separable",
    "separable_prefix",
    "two_steps",
    "vectorised",
    "vectorised_bound",
]
