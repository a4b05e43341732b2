"""What the data of a figure say of its theory: agree, differ, or void where nothing can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolvent.verdicts import beyond_the_paper, elliptical, in_context, pooled, sparse_token
from resolvent.verdicts.comparisons import Verdict

if TYPE_CHECKING:
    import xarray

__all__ = ["verdict"]

JUDGES = {
    **pooled.JUDGES,
    **sparse_token.JUDGES,
    **in_context.JUDGES,
    **elliptical.JUDGES,
    **beyond_the_paper.JUDGES,
}

# figures of measurements that no theory predicts, or whose data are not enough for a verdict
UNPREDICTED = {
    "real_tables": "nothing is drawn from a model: laws are fitted, and their distances stand in the caption",
    "depth_similarity": "trained networks are measured, and no theory predicts their numbers",
    "pooling_static": "accuracies on real text are measured, and no theory predicts them",
    "pooling_contextual": "accuracies on real text are measured, and no theory predicts them",
}


def verdict(name: str, dataset: xarray.Dataset) -> Verdict:
    """Hold the simulation of a figure's data against its theory.

    Parameters
    ----------
    name : str
        One of `resolvent.experiments.FIGURES`.
    dataset : xarray.Dataset
        What `run` of that figure gives, with ``scale`` among its attributes.

    Returns
    -------
    Verdict
        "agree" where every difference lies within four standard errors plus what a finite dimension may add, "differ"
        where one does not, "void" where there is nothing to compare.

    Examples
    --------
    >>> import xarray
    >>> verdict("real_tables", xarray.Dataset()).word
    'void'
    """
    if name in UNPREDICTED:
        return Verdict("void", UNPREDICTED[name])
    try:
        return JUDGES[name](dataset)
    except (AttributeError, KeyError) as error:  # how xarray says that a variable is not there
        return Verdict("void", f"these data are of another version, and lack what is compared ({error})")
