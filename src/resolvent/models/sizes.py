"""The sizes of a table and a sample that models share, and the two ratios that their limits know."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

__all__ = ["TableSizes"]


@dataclass(frozen=True, eq=False)
class TableSizes:
    """Dimension, vocabulary and samples of a model of pooled tokens; models add what else they know.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d, V and N; checked by the model.

    Examples
    --------
    >>> sizes = TableSizes(100, 200, 400)
    >>> sizes.delta, sizes.gamma
    (0.5, 0.25)
    """

    dimension: int
    vocabulary: int
    samples: int

    def __getstate__(self) -> dict[str, Any]:
        # only what defines the model, so that equal models pickle, and cache, alike
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def delta(self) -> float:
        """d / V."""
        return self.dimension / self.vocabulary

    @property
    def gamma(self) -> float:
        """d / N."""
        return self.dimension / self.samples
