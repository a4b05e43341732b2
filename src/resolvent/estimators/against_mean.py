"""Learned pooling weights against mean pooling, by cross-validation: the guard that was found reliable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import type_of_target

from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import TokenSequences

__all__ = [
    "best_penalty",
    "class_labels",
    "cross_validated",
    "finite",
    "folds_of",
    "gain_and_error",
    "labels_among",
]

PENALTIES = tuple(10.0**k for k in range(-2, 5))  # of standardised features


def class_labels(y: Any, n: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Class numbers and classes; None where y holds no class labels."""
    if y is None:
        return None, None
    missing = _first_missing(np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y))
    if missing is not None:
        raise ValueError(f"y must hold a label for each sequence, got none for sequence {missing}")
    if type_of_target(y) not in ("binary", "multiclass"):
        return None, None
    classes, labels = np.unique(column_or_1d(y), return_inverse=True)
    if labels.size != n or classes.size < 2:
        raise ValueError(
            f"y must hold {n} labels of at least two classes, got {labels.size} of {classes.size}"
        )
    return labels, classes


def _first_missing(y: np.ndarray) -> int | None:
    """The first that is None or NaN, of a row of labels."""
    if y.ndim != 1 or y.dtype.kind not in "fO":
        return None
    kinds = ("NoneType", "NAType", "NaTType")
    gone = np.isnan(y) if y.dtype.kind == "f" else [type(own).__name__ in kinds or own != own for own in y]
    return int(np.argmax(gone)) if np.any(gone) else None


def labels_among(known: np.ndarray, y: Any, n: int) -> np.ndarray:
    """Numbers of the labels in a list of classes."""
    if y is None:
        raise ValueError(f"y must hold {n} labels out of {known.tolist()}, got None")
    y = column_or_1d(y)
    if y.size != n:
        raise ValueError(f"y must hold {n} labels out of {known.tolist()}, got {y.size}")
    # by equality, as Python sees it: 1, 1.0 and True are one label, whatever array holds them
    place = {label: i for i, label in enumerate(known.tolist())}
    different, inverse = np.unique(y, return_inverse=True)
    numbers = [place.get(label) for label in different.tolist()]
    for label, own in zip(different.tolist(), numbers):
        if own is None:
            raise ValueError(f"y must hold {n} labels out of {known.tolist()}, got {label!r}")
    return np.array(numbers, dtype=int)[inverse]


def folds_of(labels: np.ndarray, count: int, random_state: Any) -> list[np.ndarray]:
    """Rows held out in turn, with the classes in proportion."""
    rarest = int(np.bincount(labels).min())
    if rarest < count:
        raise ValueError(
            f"cv must be at most {rarest}, the rarest class's sequences, got {count}; or validate=False"
        )
    cut = StratifiedKFold(count, shuffle=True, random_state=check_random_state(random_state))
    return [rows for _, rows in cut.split(labels, labels)]


def cross_validated(
    data: TokenSequences,
    labels: np.ndarray,
    folds: list[np.ndarray],
    moments: Sequence[TokenMoments | None],
    rules: Mapping[str, Callable[..., tuple[np.ndarray, str]]],
) -> dict[str, np.ndarray]:
    """Balanced accuracy of ridge classification on each fold, by rule; weights are learned on the others.

    A rule takes sequences, labels and their moments, and returns weights.
    """
    scores: dict[str, list[float]] = {name: [] for name in rules}
    for held_out, part in zip(folds, moments):
        rows = np.setdiff1d(np.arange(data.n), held_out)
        train, test = data.subset(rows), data.subset(held_out)
        for name, rule in rules.items():
            w = rule(train, labels[rows], part)[0]
            z, unseen = (finite(some.combine(some.weights(w))) for some in (train, test))
            scale = StandardScaler().fit(z)
            model = RidgeClassifierCV(PENALTIES).fit(scale.transform(z), labels[rows])
            right = model.predict(scale.transform(unseen))
            scores[name].append(float(balanced_accuracy_score(labels[held_out], right)))
    return {name: np.array(values) for name, values in scores.items()}


def best_penalty(z: np.ndarray, labels: np.ndarray) -> float:
    """Penalty of ridge classification of standardised features, by cross-validation."""
    return float(RidgeClassifierCV(PENALTIES).fit(StandardScaler().fit_transform(z), labels).alpha_)


def gain_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Mean over folds, and its standard error corrected for overlapping training sets (Nadeau and Bengio)."""
    k = differences.size
    return float(differences.mean()), float(np.sqrt((1 / k + 1 / (k - 1)) * differences.var(ddof=1)))


def finite(z: np.ndarray) -> np.ndarray:
    """The pooled vectors, or ``ValueError`` naming the first sequence that is not finite."""
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if bad.size:
        raise ValueError(f"X must be finite, got NaN or infinite entries in sequence {bad[0]}")
    return z
