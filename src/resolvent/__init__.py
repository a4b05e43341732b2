"""Exact high-dimensional theory of attention: compute with it, simulate it, apply it to embeddings.

A first prediction, and the same for one finite draw:

>>> from resolvent import PooledSequences, Prefix
>>> model = PooledSequences(400, 1600, 1200, Prefix(50, 10), "mean", signal=0.8)
>>> print(f"{model.predict().overlap:.2f}, {model.simulate(0).overlap:.2f}")
0.53, 0.55

Own embeddings: `diagnose`. Drawing, comparison, estimators and PyTorch are modules to import by name, such as
`resolvent.plots`, `resolvent.compare`, `resolvent.estimators` and `resolvent.torch`.
"""

# fmt: off
# isort: off
from resolvent import (
    corpora, datasets, downstream, elliptical, encoders, heads, in_context, nulls, positions, query_attention,
    sparse_token, spikes, vocabulary, weights,
)
from resolvent.class_positions import ClassLoadings
from resolvent.diagnosis import diagnose
from resolvent.estimation import estimate
from resolvent.held_out import check_held_out
from resolvent.laws import (
    GeneralisedMarchenkoPastur, MarchenkoPastur, MarchenkoPasturProduct, SeparableLaw, Wachter,
)
from resolvent.mixed_positions import MixedRidge
from resolvent.models import (
    AttentionPooling, EllipticalPooling, InContextRegression, PooledClasses, PooledRidge, PooledSequences,
    PooledVocabulary, SparseTokenClassification, ValueLayers, class_means, ridge_accuracy,
)
from resolvent.planning import plan
from resolvent.positions import Correlated, Mixture, Prefix, SingleFactor

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 (by what they are for)
    "__version__",
    "GeneralisedMarchenkoPastur", "MarchenkoPastur", "MarchenkoPasturProduct", "SeparableLaw", "Wachter",
    "ClassLoadings", "Correlated", "Mixture", "Prefix", "SingleFactor",
    "PooledClasses", "PooledSequences", "PooledVocabulary", "ValueLayers", "AttentionPooling",
    "PooledRidge", "MixedRidge", "EllipticalPooling", "InContextRegression", "SparseTokenClassification",
    "check_held_out", "class_means", "diagnose", "estimate", "plan", "ridge_accuracy",
    "corpora", "datasets", "downstream", "elliptical", "encoders", "heads", "in_context", "nulls", "positions",
    "query_attention", "sparse_token", "spikes", "vocabulary", "weights",
]
# fmt: on
