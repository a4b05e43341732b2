"""Attention with one fixed query: token types, the bulk they make, every outlier with what makes it, and a null test."""

from resolvent.query_attention.bulk import AttentionBulk, Composition, CondensedError
from resolvent.query_attention.null_test import NullTest, null_test
from resolvent.query_attention.outliers import Outlier, OutlierProblem
from resolvent.query_attention.types import TokenTypes, attention_factors, table_types, token_types

__all__ = [
    "AttentionBulk",
    "Composition",
    "CondensedError",
    "NullTest",
    "Outlier",
    "OutlierProblem",
    "TokenTypes",
    "attention_factors",
    "null_test",
    "table_types",
    "token_types",
]
