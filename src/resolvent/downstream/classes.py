"""Ridge classification of several classes, one against the rest: test error in closed form, accuracy by sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, seed_number
from resolvent.class_positions import class_transitions, sample_classes
from resolvent.laws import InverseMap
from resolvent.models.claims import Claim
from resolvent.models.classes import PooledClasses
from resolvent.pooling import pool

__all__ = ["ClassRidge", "ClassRidgePrediction", "ClassRidgeSimulation"]

CLASS_ALLOWANCE = 2.0  # c of `claims`: docs/theory/downstream.md, section 4


@dataclass(frozen=True, eq=False)
class ClassRidgePrediction:
    """Limits of the K ridge regressions of the class indicators.

    Attributes
    ----------
    error : array, shape (K, K)
        Covariance of the test residuals; its diagonal holds the mean squared errors.
    training_error : array, shape (K, K)
        The same on the training sequences.
    accuracy : float
        Share of fresh sequences whose class has the largest score.
    standard_error : float
        Of `accuracy`, whose last average, over pooled classes and the noise of the scores, is taken by sampling.
    slope, noise : array, shape (K, K)
        Scores are (B − E B) slope + N(0, noise), B_a = sum_l w_l 1{position l holds class a}.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> from resolvent.models.classes import PooledClasses
    >>> model = PooledClasses(200, 600, 400, Prefix(20, 6), "mean", np.eye(3))
    >>> ClassRidge(model, 0.05).predict(points=100).error.shape
    (3, 3)
    """

    error: np.ndarray
    training_error: np.ndarray
    accuracy: float
    standard_error: float
    slope: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class ClassRidgeSimulation:
    """One trained classifier; field names are those of `ClassRidgePrediction`.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> from resolvent.models.classes import PooledClasses
    >>> model = PooledClasses(20, 60, 40, Prefix(20, 6), "mean", np.eye(3))
    >>> ClassRidge(model, 0.05).simulate(seed=0).error.shape
    (3, 3)
    """

    seed: int
    error: np.ndarray
    training_error: np.ndarray
    accuracy: float


@dataclass(frozen=True, eq=False)
class ClassRidge:
    """Ridge regression of the centred class indicators on pooled features; the largest fitted indicator decides.

    Parameters
    ----------
    sequences : PooledClasses
        Its positions must have a latent class: `Prefix`, `SingleFactor` or `ClassLoadings`.
    ridge : float
        Penalty > 0.

    Raises
    ------
    ValueError
        If positions have no latent class, means are a curve, or `ridge` is not positive.

    References
    ----------
    Derived in docs/theory/downstream.md, section 4.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> from resolvent.models.classes import PooledClasses, class_means
    >>> means = class_means(strengths=[1.5, 1.0])
    >>> model = ClassRidge(PooledClasses(200, 600, 400, Prefix(20, 6), "mean", means), ridge=0.05)
    >>> prediction, draw = model.predict(), model.simulate(seed=0)
    >>> bool(abs(prediction.accuracy - draw.accuracy) < 0.03)
    True
    """

    sequences: PooledClasses
    ridge: float

    def __post_init__(self) -> None:
        if not isinstance(self.sequences, PooledClasses):
            raise ValueError(f"sequences must be a PooledClasses, got {self.sequences!r}")
        if self.sequences.means.ndim > 2:
            raise ValueError(f"sequences.means must have shape (K, K'), got {self.sequences.means.shape}")
        class_transitions(self.sequences.positions, self.sequences.pi)
        object.__setattr__(self, "ridge", number("ridge", self.ridge, above=0))

    def predict(self, *, points: int = 100_000, rng: Any = 0) -> ClassRidgePrediction:
        """The proportional limit.

        Parameters
        ----------
        points : int, default 100000
            Sampled scores for the accuracy.
        rng : numpy.random.Generator or int, default 0
            For them.
        """
        model = self.sequences
        w, pi, delta, gamma = model.pooling_weights, model.pi, model.delta, model.gamma
        kappa, many = float(w @ w), pi.size
        p = float(np.real(InverseMap((delta, gamma), kappa).physical(-self.ridge)))
        effective = -kappa * (1 + p) * (1 + delta * p) / p
        gram = model.means @ model.means.T
        if model.table == "mixture":
            gram = gram + np.diag(delta / pi)  # the table's own class means, of V pi_a tokens each
        f1 = gram * -p / (1 + delta * p) / kappa
        f2 = gram * p**2 / ((1 + delta * p) ** 2 * (1 - delta * p**2)) / kappa**2
        df2 = gamma * p**2 * (1 + delta + 2 * delta * p) / (1 - delta * p**2)
        spread = np.diag(pi) - np.outer(pi, pi)
        held = np.einsum("l,lay->ay", w, class_transitions(model.positions, pi))  # E[B_a | label y]
        target = (held - (held @ pi)[:, None]) * pi  # Cov(B_a, 1{label = y})
        pulled = np.linalg.inv(np.eye(many) + f1 @ model.pooled)
        slope = pulled @ f1 @ target
        fit = target.T @ slope
        error = (spread - fit - effective * target.T @ (pulled @ f2 @ pulled.T) @ target) / (1 - df2)
        noise = error - spread + 2 * fit - slope.T @ model.pooled @ slope
        noise = (noise + noise.T) / 2
        rng = np.random.default_rng(rng)
        labels, classes = sample_classes(model.positions, natural("points", points, least=2), pi, rng=rng)
        held_here = np.stack([(classes == a) @ w for a in range(many)], axis=1)
        values, vectors = np.linalg.eigh(noise)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        scores = (held_here - pi * w.sum()) @ slope + rng.standard_normal((labels.size, many)) @ root.T
        right = np.argmax(scores + pi, axis=1) == labels
        return ClassRidgePrediction(
            error=error,
            training_error=error * (1 + gamma * p) ** 2,
            accuracy=float(right.mean()),
            standard_error=float(right.std(ddof=1) / np.sqrt(right.size)),
            slope=slope,
            noise=noise,
        )

    def simulate(self, seed: int, *, test_samples: int = 20_000) -> ClassRidgeSimulation:
        """Train on N sequences, test on fresh ones from the same table.

        Parameters
        ----------
        seed : int
        test_samples : int, default 20000
            Fresh sequences.
        """
        from scipy import linalg

        model = self.sequences
        w, pi, counts = model.pooling_weights, model.pi, model.counts
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
        starts = np.cumsum(counts) - counts
        table = streams[0].standard_normal((model.vocabulary, model.dimension))
        if model.table == "balanced":
            for start, count in zip(starts, counts):
                table[start : start + count] -= table[start : start + count].mean(axis=0)
        table[:, : model.means.shape[1]] += np.repeat(model.means, counts, axis=0)

        def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            labels, classes = sample_classes(model.positions, n, pi, rng=rng)
            tokens = starts[classes] + (rng.random(classes.shape) * counts[classes]).astype(int)
            return labels, tokens

        def residuals(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
            left = np.eye(pi.size)[labels] - shares - scores
            return left.T @ left / len(left)

        labels, tokens = draw(model.samples, streams[1])
        shares = np.eye(pi.size)[labels].mean(axis=0)
        x = pool(tokens, w, table)
        mean = x.mean(axis=0)
        x = x - mean
        gram = x.T @ x / len(x)
        gram.flat[:: model.dimension + 1] += self.ridge
        b = linalg.solve(gram, x.T @ (np.eye(pi.size)[labels] - shares) / len(x), assume_a="pos")
        fresh, tokens = draw(natural("test_samples", test_samples), streams[2])
        seen = np.stack([(column[tokens]) @ w for column in (table @ b).T], axis=1) - mean @ b
        return ClassRidgeSimulation(
            seed=int(seed),
            error=residuals(seen, fresh),
            training_error=residuals(x @ b, labels),
            accuracy=float(np.mean(np.argmax(seen + shares, axis=1) == fresh)),
        )

    def claims(self) -> list[Claim]:
        """Accuracy, and the mean squared errors of every class, on fresh and on training sequences."""
        found, d = self.predict(), self.sequences.dimension
        error = found.standard_error
        claims = [Claim("accuracy", found.accuracy, None, CLASS_ALLOWANCE, d, standard_error=error)]
        for name in ("error", "training_error"):
            for a, value in enumerate(np.diagonal(getattr(found, name))):
                claims.append(Claim(f"{name}[{a},{a}]", value, None, CLASS_ALLOWANCE, d, relative=True))
        return claims
