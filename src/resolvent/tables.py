"""Embedding tables of two token classes, and sequences of tokens drawn from them.

Tables are simulated in coordinates whose first axis is mu/‖mu‖: E = s mu·e₁ᵀ + Z, with the first V/2
tokens of sign +1. Gaussian noise is invariant under that rotation; other noise is drawn with mu along
(1, ..., 1)/sqrt(d), where no coordinate is special, and reflected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.arguments import generator, natural, one_of
from resolvent.spikes import TABLES

__all__ = ["NOISES", "draw_noise", "draw_tokens", "token_signs"]

NOISES = ("gaussian", "uniform", "rademacher", "student_t")
STUDENT_DF = 6.0  # the fourth moment, which universality needs, is finite above 4


def token_signs(vocabulary: int) -> np.ndarray:
    """Balanced token signs, shape (V,): +1 for the first half."""
    if natural("vocabulary", vocabulary) % 2:
        raise ValueError(f"vocabulary must be even, so that the signs balance, got {vocabulary}")
    return np.repeat([1.0, -1.0], vocabulary // 2)


def draw_noise(
    vocabulary: int,
    dimension: int,
    *,
    noise: str = "gaussian",
    table: str = "mixture",
    rng: Any = None,
    dtype: Any = float,
) -> np.ndarray:
    """Draw the noise part Z of a table.

    Parameters
    ----------
    vocabulary, dimension : int
        V (even) and d.
    noise : {"gaussian", "uniform", "rademacher", "student_t"}
        Law of the entries, of unit variance. "student_t" has 6 degrees of freedom.
    table : {"mixture", "balanced"}
        "balanced" subtracts the mean of each class.
    rng : numpy.random.Generator or int, optional
        Generator or seed.
    dtype : dtype, default float64
        float32 halves the memory of Gaussian tables. Another dtype is another draw.

    Returns
    -------
    array, shape (V, d)
    """
    rng, half = generator(rng), token_signs(vocabulary).size // 2
    shape = (vocabulary, natural("dimension", dimension))
    one_of("noise", noise, NOISES)
    one_of("table", table, TABLES)
    if noise == "gaussian":
        draw = rng.standard_normal(shape, dtype=dtype)
    elif noise == "uniform":
        draw = ((rng.random(shape, dtype=dtype) - 0.5) * np.sqrt(12)).astype(dtype, copy=False)
    elif noise == "rademacher":
        draw = (2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1).astype(dtype, copy=False)
    else:
        draw = rng.standard_t(STUDENT_DF, shape) * np.sqrt((STUDENT_DF - 2) / STUDENT_DF)
        draw = draw.astype(dtype, copy=False)
    if noise != "gaussian" and dimension > 1:
        # Householder reflection that takes (1, ..., 1)/sqrt(d) to the first axis
        mirror = np.full(dimension, 1 / np.sqrt(dimension))
        mirror[0] -= 1
        mirror = (mirror / np.linalg.norm(mirror)).astype(dtype)
        for rows in range(0, vocabulary, 1024):
            block = draw[rows : rows + 1024]
            block -= np.outer(2 * (block @ mirror), mirror)
    if table == "balanced":
        draw[:half] -= draw[:half].mean(axis=0)
        draw[half:] -= draw[half:].mean(axis=0)
    return draw


def draw_tokens(signs: np.ndarray, vocabulary: int, *, rng: Any = None) -> np.ndarray:
    """Draw tokens uniformly among those that carry the wanted signs.

    Parameters
    ----------
    signs : array, shape (N, T)
        Wanted signs in {-1, 1}.
    vocabulary : int
        V, even.

    Returns
    -------
    array of int32, shape (N, T)
        Rows of the table: [0, V/2) for sign +1, [V/2, V) for -1.
    """
    half = token_signs(vocabulary).size // 2
    return generator(rng).integers(0, half, signs.shape, dtype=np.int32) + np.where(
        signs > 0, np.int32(0), np.int32(half)
    )
