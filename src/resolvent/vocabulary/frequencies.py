"""Token frequencies of a table of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, require
from resolvent.tables import token_signs

__all__ = ["class_frequencies", "zipf"]

NEGLIGIBLE = 1e-30  # of the class's largest frequency: no eigenvalue above rounding knows of such tokens


def zipf(vocabulary: int, exponent: float) -> np.ndarray:
    """Frequencies that fall as rank^(−exponent), the same in each class; shape (V,), of mean one.

    Parameters
    ----------
    vocabulary : int
        V, even: ranks 1 to V/2 in each class.
    exponent : float
        >= 0; zero means equal frequencies, one is Zipf's law.

    Raises
    ------
    ValueError
        If the vocabulary is odd or the exponent is negative.

    Examples
    --------
    >>> zipf(6, 1.0).round(3)
    array([1.636, 0.818, 0.545, 1.636, 0.818, 0.545])
    """
    half = token_signs(vocabulary).size // 2
    return class_frequencies(np.tile(np.arange(1.0, half + 1) ** -number("exponent", exponent, least=0), 2))


def class_frequencies(frequencies: Any) -> np.ndarray:
    """Frequencies scaled to mean one within each class, so that both classes are equally frequent.

    Parameters
    ----------
    frequencies : array, shape (V,)
        Counts or probabilities >= 0; the first V/2 tokens are those of sign +1. What is below 1e-30 of its
        class's largest counts as zero.

    Raises
    ------
    ValueError
        If V is odd, a frequency is negative or not finite, or a class has no positive one.

    Examples
    --------
    >>> class_frequencies([3, 1, 8, 0])
    array([1.5, 0.5, 2. , 0. ])
    """
    _, t = arrays(frequencies, names="frequencies")
    t = np.asarray(t, dtype=float)
    if t.ndim != 1 or not t.size:
        raise ValueError(f"frequencies must be one row of numbers, got shape {t.shape}")
    if t.size % 2:
        raise ValueError(f"frequencies must be an even number of them, half in each class, got {t.size}")
    require("frequencies", t, np.isfinite(t) & (t >= 0), "finite and >= 0")
    classes = t.reshape(2, -1)
    total = classes.max(axis=1, keepdims=True)
    require(
        "frequencies", t, total > 0, "positive for some token of each class (the first and the second half)"
    )
    classes = classes / total  # their sum does not overflow
    classes = np.where(classes > NEGLIGIBLE, classes, 0.0)
    return (classes / classes.mean(axis=1, keepdims=True)).ravel()
