"""A classifier of convex loss trained on pooled features: its limit and a finite draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, one_of, seed_number
from resolvent.downstream.convex import LARGEST, ClassifierPrediction, convex_limit
from resolvent.models.claims import Claim
from resolvent.models.pooled import PooledSequences
from resolvent.pooling import pool
from resolvent.positions import SingleFactor
from resolvent.sparse_token.losses import LOSSES, Loss
from resolvent.tables import draw_noise, draw_tokens, token_signs

__all__ = ["ClassifierSimulation", "PooledClassifier"]

CLASSIFIER_ALLOWANCE = 1.5  # c of `claims`, relative above one: docs/theory/downstream.md, section 3


@dataclass(frozen=True, eq=False)
class ClassifierSimulation:
    """One trained classifier; field names are those of `ClassifierPrediction`.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> draw = PooledClassifier(PooledSequences(20, 60, 100, Prefix(10, 5), "mean", 2.0), 0.1).simulate(0)
    >>> bool(draw.training_loss < draw.objective)
    True
    """

    seed: int
    accuracy: float
    loss: float
    training_loss: float
    objective: float
    norm: float


@dataclass(frozen=True, eq=False)
class PooledClassifier:
    """A classifier of convex loss on top of a pooled-sequence model.

    Parameters
    ----------
    sequences : PooledSequences
        Centred; its positions must have a label: `Prefix` or `SingleFactor`.
    regularisation : float
        Penalty > 0, at most 1e100.
    loss : {"logistic", "square"}
        See `convex_limit`.

    Raises
    ------
    ValueError
        If the positions have no label or `regularisation` is out of range.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = PooledClassifier(PooledSequences(200, 600, 400, Prefix(20, 4), "mean", 2.0), 0.01)
    >>> bool(abs(model.predict().accuracy - model.simulate(seed=0).accuracy) < 0.03)
    True
    """

    sequences: PooledSequences
    regularisation: float
    loss: str = "logistic"

    def __post_init__(self) -> None:
        if not isinstance(self.sequences, PooledSequences):
            raise ValueError(f"sequences must be a PooledSequences, got {self.sequences!r}")
        if not isinstance(self.sequences.positions, SingleFactor):
            raise ValueError(
                f"sequences.positions must have a label (Prefix or SingleFactor), got {self.sequences.positions!r}"
            )
        if not self.sequences.centred:
            raise ValueError("sequences must have centred=True: the classifier centres its features")
        one_of("loss", self.loss, tuple(LOSSES))
        penalty = number("regularisation", self.regularisation, above=0)
        if penalty > LARGEST:
            raise ValueError(f"regularisation must be > 0 and at most {LARGEST:g}, got {penalty!r}")
        object.__setattr__(self, "regularisation", penalty)

    def predict(self) -> ClassifierPrediction:
        """The proportional limit, see `convex_limit`."""
        model = self.sequences
        return convex_limit(
            model.signal,
            model.delta,
            model.gamma,
            model.pooling_weights,
            model.positions.loadings,  # type: ignore[attr-defined]
            self.regularisation,
            loss=self.loss,
            table=model.table,
        )

    def simulate(self, seed: int, *, test_samples: int = 20_000) -> ClassifierSimulation:
        """Train on N sequences by Newton's method, test on fresh ones from the same table.

        Raises
        ------
        ValueError
            If the signal is an array, or the seed or `test_samples` is not one.
        RuntimeError
            If training did not converge.
        """
        model, loss = self.sequences, LOSSES[self.loss]
        positions: SingleFactor = model.positions  # type: ignore[assignment]
        if np.ndim(model.signal):
            raise ValueError("signal must be one number to simulate")
        table, tokens, labels = draw_labelled(model, seed)
        w = model.pooling_weights
        x = pool(tokens, w, table)
        mean = x.mean(axis=0)
        b, training = fit(x - mean, labels.astype(float), self.regularisation, loss)
        rng = np.random.default_rng(np.random.SeedSequence(seed_number(seed)).spawn(4)[3])
        fresh, signs = positions.sample_labelled(natural("test_samples", test_samples), rng=rng)
        scores = (table @ b)[draw_tokens(signs, model.vocabulary, rng=rng)] @ w - mean @ b
        return ClassifierSimulation(
            seed=int(seed),
            accuracy=float(np.mean(np.sign(scores) == fresh)),
            loss=float(loss.value(fresh.astype(float), scores).mean()),
            training_loss=training,
            objective=training + self.regularisation * float(b @ b) / 2,
            norm=float(np.linalg.norm(b)),
        )

    def claims(self) -> list[Claim]:
        """Accuracy and loss on fresh sequences, loss and objective on the training sequences, and the norm."""
        found, d = self.predict(), self.sequences.dimension
        names = ("accuracy", "loss", "training_loss", "objective", "norm")
        return [
            Claim(name, value, None, CLASSIFIER_ALLOWANCE, d, relative=bool(np.max(value) > 1))
            for name, value in ((name, getattr(found, name)) for name in names)
        ]


def draw_labelled(model: PooledSequences, seed: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Table (V, d), tokens (N, T) and labels (N,) of one draw of a model whose positions have a label."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
    labels, signs = model.positions.sample_labelled(model.samples, rng=streams[0])  # type: ignore[attr-defined]
    tokens = draw_tokens(signs, model.vocabulary, rng=streams[1])
    table = draw_noise(
        model.vocabulary, model.dimension, noise=model.noise, table=model.table, rng=streams[2]
    )
    table[:, 0] += float(model.signal) * token_signs(model.vocabulary)
    return table, tokens, labels


def fit(x: np.ndarray, y: np.ndarray, penalty: float, loss: Loss) -> tuple[np.ndarray, float]:
    """The minimiser b and its mean training loss, by damped Newton steps."""
    from scipy import linalg

    n, d = x.shape
    b = np.zeros(d)
    u = np.zeros(n)
    value = float(loss.value(y, u).mean())
    for _ in range(100):
        gradient = x.T @ loss.first(y, u) / n + penalty * b
        if np.abs(gradient).max() < 1e-11 * max(1.0, float(np.abs(x).max())):
            break
        curve = loss.second(y, u)
        hessian = (x.T * curve) @ x / n
        hessian.flat[:: d + 1] += penalty
        step = linalg.solve(hessian, gradient, assume_a="pos")
        along, slope = x @ step, float(gradient @ step)
        size, done = 1.0, False
        for _ in range(40):
            trial = (
                float(loss.value(y, u - size * along).mean())
                + penalty * float((b - size * step) @ (b - size * step)) / 2
            )
            if trial <= value - 1e-4 * size * slope + 1e-15 * abs(value):
                done = True
                break
            size /= 2
        if not done:
            break
        b, u, value = b - size * step, u - size * along, trial
    gradient = x.T @ loss.first(y, u) / n + penalty * b
    if not np.abs(gradient).max() < 1e-7:
        raise RuntimeError(f"training did not converge: largest gradient {np.abs(gradient).max():.1e}")
    return b, float(loss.value(y, u).mean())
