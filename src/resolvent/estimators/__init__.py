"""scikit-learn estimators of token sequences (needs ``resolvent[sklearn]``)."""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    message = "resolvent.estimators needs scikit-learn: pip install 'resolvent[sklearn]'"
    raise ImportError(message, name="sklearn") from error

from resolvent.estimators.positional_pooling import PositionalPooling
from resolvent.estimators.sparse_token import SparseTokenClassifier

__all__ = ["PositionalPooling", "SparseTokenClassifier"]
