"""Exact high-dimensional theory of attention: compute with it, simulate it, apply it to embeddings."""

from resolvent import (
    corpora,
    datasets,
    elliptical,
    encoders,
    in_context,
    nulls,
    positions,
    sparse_token,
    spikes,
    weights,
)
from resolvent.diagnosis import diagnose
from resolvent.estimation import estimate
from resolvent.held_out import check_held_out
from resolvent.laws import GeneralisedMarchenkoPastur, MarchenkoPastur, MarchenkoPasturProduct, Wachter
from resolvent.models import (
    EllipticalPooling,
    InContextRegression,
    PooledRidge,
    PooledSequences,
    SparseTokenClassification,
    ridge_accuracy,
)
from resolvent.planning import plan
from resolvent.positions import Correlated, Prefix, SingleFactor

__version__ = "0.1.0"

# fmt: off
__all__ = [  # noqa: RUF022 (by what they are for)
    "__version__",
    "GeneralisedMarchenkoPastur", "MarchenkoPastur", "MarchenkoPasturProduct", "Wachter",
    "Correlated", "Prefix", "SingleFactor",
    "EllipticalPooling", "InContextRegression", "PooledRidge", "PooledSequences", "SparseTokenClassification",
    "check_held_out", "diagnose", "estimate", "plan", "ridge_accuracy",
    "corpora", "datasets", "elliptical", "encoders", "in_context", "nulls", "positions", "sparse_token", "spikes", "weights",
]
# fmt: on
