"""Sequences whose correlations differ (`Mixture`): what ridge classification of their pooled features makes of it.

Spectra know the mean of R only. Errors know the mean loading and the mean of R; accuracy averages over the
models, each with its own law of the pooled label (derived in docs/theory/classes.md, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, seed_number
from resolvent.laws.inverse_map import InverseMap
from resolvent.models.claims import Claim
from resolvent.models.pooled import PooledSequences
from resolvent.models.ridge import _mean_normal_cdf, ridge_risks
from resolvent.pooling import pool
from resolvent.positions import Mixture, SingleFactor
from resolvent.tables import draw_noise, draw_tokens, token_signs
from resolvent.weights.estimated import ridge_coefficients

__all__ = ["MixedRidge", "MixedRidgePrediction", "MixedRidgeSimulation"]

MIXED_ALLOWANCE = 3.0  # c of `claims`: tests/test_classes.py


@dataclass(frozen=True, eq=False)
class MixedRidgePrediction:
    """Limits of a ridge classifier over a mixture of position models.

    Attributes
    ----------
    accuracy, error : float or array
        Test accuracy, and test mean squared error.
    accuracies : array, shape (models, ...)
        Test accuracy on the sequences of each model.
    training_error : float or array
        Mean squared error on the training sequences.
    """

    accuracy: Any
    error: Any
    accuracies: np.ndarray
    training_error: Any


@dataclass(frozen=True, eq=False)
class MixedRidgeSimulation:
    """One trained classifier; field names are those of `MixedRidgePrediction`."""

    seed: int
    accuracy: float
    error: float
    accuracies: np.ndarray
    training_error: float


@dataclass(frozen=True, eq=False)
class MixedRidge:
    """Ridge classification of pooled sequences whose correlations are drawn for each sequence.

    Parameters
    ----------
    sequences : PooledSequences
        Its positions are a `Mixture` of models with a label (`Prefix`, `SingleFactor`).
    ridge : float
        Penalty > 0.

    Raises
    ------
    ValueError
        If positions are no such mixture, data are not centred, or `ridge` is not positive.

    References
    ----------
    Derived in docs/theory/classes.md, section 5.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> positions = Mixture([Prefix(20, 12), Prefix(20, 2)], [0.5, 0.5])
    >>> model = MixedRidge(PooledSequences(200, 600, 400, positions, "mean", 2.0), ridge=0.1)
    >>> np.round(model.predict().accuracies, 2)
    array([1.  , 0.65])
    >>> bool(abs(model.predict().accuracy - model.simulate(seed=0).accuracy) < 0.02)
    True
    """

    sequences: PooledSequences
    ridge: float

    def __post_init__(self) -> None:
        if not isinstance(self.sequences, PooledSequences):
            raise ValueError(f"sequences must be a PooledSequences, got {self.sequences!r}")
        if not isinstance(self.sequences.positions, Mixture):
            raise ValueError(f"sequences.positions must be a Mixture, got {self.sequences.positions!r}")
        for _, model in self.parts:
            if not isinstance(model, SingleFactor):
                raise ValueError(
                    f"sequences.positions must mix models with a label (Prefix or SingleFactor), got {model!r}"
                )
        if not self.sequences.centred:
            raise ValueError("sequences must have centred=True: the classifier centres its features")
        object.__setattr__(self, "ridge", number("ridge", self.ridge, above=0))

    @property
    def parts(self) -> list[tuple[float, Any]]:
        """Probability and model of every part of the mixture; nested ones are unfolded."""
        return _unfolded(1.0, self.sequences.positions)

    def predict(self) -> MixedRidgePrediction:
        """Accuracy and errors in the proportional limit; they broadcast with the signal."""
        model, w = self.sequences, self.sequences.pooling_weights
        delta, gamma, kappa = model.delta, model.gamma, float(w @ w)
        loading = sum(share * float(w @ part.loadings) for share, part in self.parts)
        signal = np.asarray(model.signal, dtype=float)
        power = signal**2 + delta if model.table == "mixture" else signal**2
        p = np.real(InverseMap((delta, gamma), kappa).physical(-self.ridge))
        alpha = model.positions.pooled_signal(w)
        risks = ridge_risks(np, power, delta, gamma, loading, alpha, kappa, p)
        gain = np.asarray(risks.gain)
        accuracies = np.array([_mean_normal_cdf(np, gain, w, part.loadings) for _, part in self.parts])
        shares = np.array([share for share, _ in self.parts])
        return MixedRidgePrediction(
            accuracy=np.tensordot(shares, accuracies, axes=1)[()],
            error=risks.error,
            accuracies=accuracies,
            training_error=risks.training_error,
        )

    def simulate(self, seed: int, *, test_samples: int = 20_000) -> MixedRidgeSimulation:
        """Train on N sequences of the mixture, test on fresh ones of every model from the same table.

        Parameters
        ----------
        seed : int
        test_samples : int, default 20000
            Fresh sequences of each model.
        """
        model, w = self.sequences, self.sequences.pooling_weights
        if np.ndim(model.signal):
            raise ValueError("signal must be one number to simulate")
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(5)]
        positions: Any = model.positions
        labels, signs = positions.sample_labelled(model.samples, rng=streams[0])
        tokens = draw_tokens(signs, model.vocabulary, rng=streams[1])
        table = draw_noise(
            model.vocabulary, model.dimension, noise=model.noise, table=model.table, rng=streams[2]
        )
        table[:, 0] += float(model.signal) * token_signs(model.vocabulary)
        x = pool(tokens, w, table)
        mean = x.mean(axis=0)
        b = ridge_coefficients(x - mean, labels.astype(float), self.ridge)
        tests = natural("test_samples", test_samples)
        hits, errors = [], []
        for _, part in self.parts:
            fresh, signs = part.sample_labelled(tests, rng=streams[3])
            scores = (table @ b)[draw_tokens(signs, model.vocabulary, rng=streams[4])] @ w - mean @ b
            hits.append(float(np.mean(np.sign(scores) == fresh)))
            errors.append(float(np.mean((scores - fresh) ** 2)))
        shares = np.array([share for share, _ in self.parts])
        return MixedRidgeSimulation(
            seed=int(seed),
            accuracy=float(shares @ hits),
            error=float(shares @ errors),
            accuracies=np.array(hits),
            training_error=float(np.mean(((x - mean) @ b - labels) ** 2)),
        )

    def claims(self) -> list[Claim]:
        """Accuracy and errors, and the accuracy on the sequences of each model."""
        found, d = self.predict(), self.sequences.dimension
        values = {name: getattr(found, name) for name in ("accuracy", "error", "training_error")}
        values |= {f"accuracies[{i}]": value for i, value in enumerate(found.accuracies)}
        return [Claim(name, value, None, MIXED_ALLOWANCE, d) for name, value in values.items()]


def _unfolded(share: float, positions: Any) -> list[tuple[float, Any]]:
    if not isinstance(positions, Mixture):
        return [(share, positions)]
    return [
        part
        for probability, model in zip(positions.probabilities, positions.models)
        for part in _unfolded(share * float(probability), model)
    ]
