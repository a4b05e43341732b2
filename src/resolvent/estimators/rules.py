"""From moments, or sequences and labels, to weights over positions and a reason: a rule for each method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent import weights as weighting
from resolvent.estimators.against_mean import best_penalty
from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import TokenSequences

__all__ = [
    *("FIXED", "LABELLED", "METHODS", "SEVERAL_PASSES"),
    *("Rule", "diagnostics", "enough", "null_moments", "rules_of"),
]

METHODS = (
    *("mean", "causal", "perron", "alternating"),
    *("excess", "excess-generalised", "supervised", "learned"),
)
FIXED = ("mean", "causal")
LABELLED = ("supervised", "learned")
SEVERAL_PASSES = ("alternating", "learned")
RIDGES = (0.1, 0.3, 1.0)  # in units of the noise's mean diagonal
LEAST_MASS = 0.7
TOLERANCE = 1e-5  # of the learned loss: cosine to the minimum .997 to 1.000 on text, three times as fast


@dataclass(frozen=True, eq=False)
class Rule:
    """Weights over `length` positions by one method; called with sequences, labels and moments, of which it uses what it needs.

    Parameters
    ----------
    method : str
        One of ``METHODS``.
    length : int
        T.
    ridge : float
        Of the generalised methods.
    least_mass : float
        Smallest signed mass of "perron", "excess" and "alternating" that is accepted; 0 accepts any.
    null : array, shape (T, T), optional
        Positional Gram matrix of the null, for the excess methods.

    Examples
    --------
    >>> Rule("mean", 4)(None, None, None)
    (array([0.25, 0.25, 0.25, 0.25]), 'given')
    """

    method: str
    length: int
    ridge: float = 1.0
    least_mass: float = 0.0
    null: np.ndarray | None = None

    def __call__(
        self, data: TokenSequences | None, labels: Any, moments: TokenMoments | None
    ) -> tuple[np.ndarray, str]:
        """Weights, and what was done in words; these begin with "uniform" where it is refused."""
        if self.method in FIXED:
            return getattr(weighting, self.method)(self.length), "given"
        if self.method == "alternating":
            return self._alternating(data)
        if self.method == "learned":
            assert data is not None
            return self._learned(data, labels)
        assert moments is not None
        if self.method == "supervised":
            return self._generalised(moments.between(), moments.within())
        K = moments.positional_gram()
        if self.method == "perron":
            return weighting.spectral(K, least_mass=self.least_mass)
        assert self.null is not None
        if self.method == "excess":
            return weighting.spectral(K - self.null, least_mass=self.least_mass)
        return self._generalised(K - self.null, self.null)

    def _alternating(self, data: Any) -> tuple[np.ndarray, str]:
        uniform = weighting.mean(self.length)
        try:
            w = weighting.alternating(data, length=self.length)
        except RuntimeError as error:
            return uniform, f"uniform: {error}"
        if w.sum() < self.least_mass:
            cancel = f"(signed mass {w.sum():.2f} < {self.least_mass:g})"
            return uniform, f"uniform: positive and negative weights cancel {cancel}"
        w = np.maximum(w, 0)
        return w / w.sum(), "direction and weights in turn"

    def _generalised(self, signal: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, str]:
        if np.linalg.eigvalsh(signal)[-1] <= 0:
            return weighting.mean(self.length), "uniform: no more signal than noise at any position"
        if np.trace(noise) <= 1e-12 * np.trace(signal):  # nothing but rounding
            return weighting.mean(self.length), "uniform: there is no noise at any position"
        return weighting.generalised(signal, noise, ridge=self.ridge), "most signal per unit of noise"

    def _learned(self, data: TokenSequences, labels: np.ndarray) -> tuple[np.ndarray, str]:
        full = np.flatnonzero(data.lengths >= self.length)
        ridge = best_penalty(data.combine(data.weights(weighting.mean(self.length))), labels) / data.n
        # a penalty in the features' own units falls when weights concentrate: the relative one does not
        part = data.first(full, self.length)
        w = weighting.learned(
            None, part, labels[full], ridge=ridge, relative=True, restarts=1, tolerance=TOLERANCE
        )
        return w, "least training loss"


def rules_of(
    method: str, length: int, *, ridge: Any, several: bool, gated: bool, null: np.ndarray | None
) -> dict[str, Rule]:
    """The rules to compare, by name: one, or one for each ridge where `several` can be told apart."""
    least = LEAST_MASS if gated else 0.0
    if method not in ("supervised", "excess-generalised"):
        return {method: Rule(method, length, least_mass=least, null=null)}
    automatic = isinstance(ridge, str)
    ridges = RIDGES if automatic and several else (1.0 if automatic else float(ridge),)
    return {f"{method}, ridge {one:g}": Rule(method, length, one, least, null) for one in ridges}


def null_moments(null: Any, table: Any, length: int, width: int) -> TokenMoments:
    """Moments of the null, which must be of as many positions and features as the sequences."""
    if not isinstance(null, TokenMoments):
        try:
            null = TokenMoments.empty("mean", length, noise=False, gram=True).add(null, table=table)
        except ValueError as error:
            raise ValueError(f"null: {error}") from error
    if null.length != length:
        raise ValueError(f"null must be of {length} positions, as X, got {null.length}")
    if null.width != width:
        raise ValueError(f"null must have {width} features a token, as X, got {null.width}")
    if not null.gram:
        raise ValueError("null must be moments made with gram=True, got gram=False")
    enough(null.position_count, length, name="null")
    return null


def diagnostics(w: np.ndarray, moments: TokenMoments | None) -> dict[str, float]:
    """Numbers to print beside the weights; none of them was found to be a gate that can be trusted."""
    out = {
        "cosine to uniform": float(w.sum() / np.linalg.norm(w) / np.sqrt(w.size)),
        "signed mass": float(w.sum() / np.abs(w).sum()),
    }
    if moments is not None and w.size > 1:
        K = moments.positional_gram()
        second, leading = np.linalg.eigvalsh(K - np.diag(np.diag(K)))[-2:]
        if second > 0:
            out["leading eigenvalues"] = float(leading / second)
    return out


def enough(count: int, length: int, where: str = "", name: str = "X") -> None:
    """Refuse fewer sequences than positions."""
    if count <= length:
        raise ValueError(
            f"{name} must hold more than T = {length} sequences of at least so many tokens{where}, got {count}"
        )
