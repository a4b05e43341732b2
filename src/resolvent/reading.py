r"""A measured direction read in the pooled-sequence model, whose table noise is isotropic.

Effective delta from token counts; ‖mu‖, the noise and R from how much tokens vary along the direction. Derived in
docs/theory/estimation.md, section 5; it needs the isotropy that `resolvent.crossfit` does without.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from resolvent.crossfit import Frame, Spike
from resolvent.pooling import pooling_matrix

__all__ = ["effective_delta", "isotropic", "realisable"]


def effective_delta(tokens: np.ndarray, dimension: int, folds: int) -> tuple[float, float]:
    """d·sum p_v² from pairs of tokens in different documents, and its jackknife error."""
    counts = pooling_matrix(tokens, np.ones(tokens.shape[1]), int(tokens.max()) + 1)
    counts.sum_duplicates()
    n = tokens.shape[0]
    edges = np.linspace(0, n, folds + 1).astype(int)
    blocks = [counts[a:b] for a, b in itertools.pairwise(edges)]
    sums = np.array([block.sum(axis=0) for block in blocks])
    within = np.array([float(block.data @ block.data) for block in blocks])
    size = np.diff(edges)

    def value(total: np.ndarray, own: float, documents: float) -> float:
        pairs = documents * (documents - 1) * tokens.shape[1] ** 2
        return dimension * float(total @ total - own) / pairs

    total, own = sums.sum(axis=0), within.sum()
    left = np.array([value(total - sums[k], own - within[k], n - size[k]) for k in range(folds)])
    error = np.sqrt((folds - 1) / folds * np.sum((left - left.mean()) ** 2))
    return max(value(total, own, n), 1e-12), float(error)


def isotropic(spike: Spike, mean: Frame, dimension: int, delta: float) -> dict[str, Any]:
    """The model's parameters that make an isotropic table look as this one does along the direction."""
    length = spike.weights.size
    gram, grams = spike.gram.copy(), spike.grams
    if not spike.detected:
        unknown = np.full((length, length), np.nan)
        np.fill_diagonal(unknown, 1.0)
        nan = float("nan")
        return {
            "noise": nan,
            "signal": nan,
            "signal_error": nan,
            "correlation": unknown,
            "correlation_error": np.where(np.eye(length) > 0, 0.0, np.nan),
            "strength": nan,
            "strength_error": nan,
        }
    spectrum, folds = mean.spectrum, spike.sizes.size
    found = np.column_stack([spike.direction, spike.directions.T])
    # in the frame of mean pooling, whose covariance is the best known
    found = mean.whitener.T @ spike.frame.signals(found)
    variances = spectrum @ found**2 / np.sum(found**2, axis=0)
    overlap = spike.overlap(spike.q)
    step = 1e-3 * spike.q
    slope = (spike.overlap(spike.q + step) - overlap) / step
    level = spectrum.mean()
    along, left = float(variances[0]), variances[1:]
    power = (along - (1 - overlap) * level) / overlap
    power_error = np.hypot(
        np.sqrt((folds - 1) / folds * np.sum((left - left.mean()) ** 2)) / overlap,
        (along - level) / overlap**2 * slope * spike.error,
    )
    # vᵀ Sigma v / sigma² = X: 1 + ‖mu‖² below delta = 1, ‖mu‖² + delta above
    rest = dimension - 1 - delta if delta < 1 else dimension
    noise = float((spectrum.sum() - power) / max(rest, 1))
    ratio, ratio_error = power / noise, power_error / noise
    square = max(ratio - max(1.0, delta), 0.0)
    own = delta * (4 * square + 2) / dimension if delta < 1 else delta * (4 * square + 2 * delta) / dimension
    square_error = np.hypot(ratio_error, np.sqrt(own))
    signal = np.sqrt(square)
    # the error of a root near zero is that of its square's upper end
    signal_error = square_error / (2 * signal) if square > square_error else np.sqrt(square_error)
    if delta < 1:
        strength = max(1 - (1 - delta) / max(ratio, 1.0), 1e-6) if ratio > 1 - delta else 1e-6
        table_error = np.sqrt(2 * (1 - delta) * delta / dimension) / ratio
        strength_error = np.hypot((1 - delta) / ratio**2 * ratio_error, table_error)
    else:
        strength, strength_error = 1.0, 0.0
    scale = spike.scale() / strength
    correlation = gram * scale
    spread = np.sqrt(np.average((grams - gram) ** 2, axis=0, weights=spike.sizes) / (folds - 1)) * scale
    whole = np.sqrt(max(spike.error**2 - (spike.scale() * spike.seen_error) ** 2, 0.0)) / spike.q
    shared = np.hypot(strength_error / strength, whole)
    error = np.hypot(spread, correlation * shared)
    np.fill_diagonal(correlation, 1.0)
    return {
        "noise": noise,
        "signal": float(signal),
        "signal_error": float(signal_error),
        "correlation": correlation,
        "correlation_error": error,
        "strength": float(strength),
        "strength_error": float(strength_error),
    }


def realisable(matrix: np.ndarray) -> np.ndarray:
    """Nearest correlation matrix (Higham's alternating projections), shrunk until the copula can draw it."""
    off = np.clip(matrix, -1, 1)
    correction, current = np.zeros_like(off), off
    for _ in range(200):
        values, vectors = np.linalg.eigh(current - correction)
        projected = (vectors * np.maximum(values, 0)) @ vectors.T
        correction = projected - (current - correction)
        moved, current = current, np.clip(projected, -1, 1)
        np.fill_diagonal(current, 1.0)
        if np.abs(current - moved).max() < 1e-9:
            break
    identity = np.eye(len(current))

    def least(share: float) -> float:
        mixed = identity + share * (current - identity)
        return min(np.linalg.eigvalsh(mixed)[0], np.linalg.eigvalsh(np.sin(np.pi * mixed / 2))[0])

    low, high = 0.0, 1.0
    if least(1.0) >= 0:
        low = 1.0
    for _ in range(40 if low < 1 else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if least(middle) >= 0 else (low, middle)
    return identity + low * (current - identity)
