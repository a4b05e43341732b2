"""Both risks in the proportional limit n, d → infinity with d/n fixed, from the law of S's eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import number
from resolvent.laws import GeneralisedMarchenkoPastur

__all__ = ["ProportionalLimit", "proportional_limit"]


@dataclass(frozen=True)
class ProportionalLimit:
    """Risks divided by the dimension.

    Attributes
    ----------
    zero, attention, ridge : float
        Of predicting zero, of optimal linear attention, and of ridge regression at its best (Bayes).
    """

    zero: float
    attention: float
    ridge: float


def proportional_limit(
    gamma: float, population: Any, weights: Any = None, *, noise: float = 0.0
) -> ProportionalLimit:
    """Risks a dimension of one-step preconditioned gradient descent and of ridge regression, one task a prompt.

    attention: ∫ l + noise − ∫ l²/(l + gamma (∫ l + noise)). ridge: 1/(gamma m̃(−gamma noise)), m̃ the companion Stieltjes
    transform of the generalised Marchenko–Pastur law of this population.

    Parameters
    ----------
    gamma : float
        d/n > 0.
    population, weights : array
        Eigenvalues of S = Σ_x^(1/2) Σ_β Σ_x^(1/2) and their probabilities, as in `GeneralisedMarchenkoPastur`.
    noise : float, default 0
        Label noise variance over d.

    References
    ----------
    Derived in docs/theory/in_context.md, section 9.

    Examples
    --------
    >>> limit = proportional_limit(0.5, [1.0], noise=0.1)
    >>> round(limit.attention, 3), round(limit.ridge, 3)
    (0.455, 0.184)
    """
    gamma = number("gamma", gamma, above=0)
    noise = number("noise", noise, least=0)
    law = GeneralisedMarchenkoPastur(gamma, population, weights)
    values = np.asarray(law.population, dtype=float)
    share = np.full(values.size, 1 / values.size) if law.weights is None else np.asarray(law.weights)
    zero = float(share @ values + noise)
    attention = zero - float(share @ (values**2 / (values + gamma * zero)))
    penalty = max(
        gamma * noise, 1e-9 * float(share @ values)
    )  # without noise, the limit of a vanishing penalty
    companion = gamma * float(np.real(law.stieltjes(-penalty))) + (1 - gamma) / penalty
    return ProportionalLimit(zero, attention, 1 / (gamma * companion))
