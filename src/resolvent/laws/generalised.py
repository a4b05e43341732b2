"""The generalised Marchenko-Pastur law: sample eigenvalues of any population."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import arrays, number, require
from resolvent.laws.law import Law
from resolvent.laws.population_map import PopulationMap

__all__ = ["GeneralisedMarchenkoPastur"]

NEGLIGIBLE = 1e-16  # probability below the rounding of a distribution function, which is left out


def _row(name: str, value: Any) -> np.ndarray:
    _, row = arrays(value, names=name)
    row = np.asarray(row, dtype=float)
    if row.ndim != 1 or not row.size:
        raise ValueError(f"{name} must be one row of numbers, got shape {row.shape}")
    require(name, row, np.isfinite(row) & (row >= 0), "finite and >= 0")
    return row


@dataclass(frozen=True)
class GeneralisedMarchenkoPastur(Law):
    """Limit law of the eigenvalues of a sample covariance whose population has the given eigenvalues.

    Parameters
    ----------
    ratio : float
        d / n > 0. Above one the law has an atom of mass 1 - 1/ratio at zero.
    population : (k,) array
        Eigenvalues of the population covariance, >= 0 and not all zero; equal ones may repeat. A whole
        empirical spectrum may stand here.
    weights : (k,) array, optional
        Their probabilities, which sum to one; equal by default.

    Raises
    ------
    ValueError
        If `ratio` is not positive and finite, or `population` or `weights` is not as above.

    Notes
    -----
    The support may have several intervals. `inverse_map.at_population_spike(value)` is the outlier of a
    population eigenvalue `value` above `inverse_map.population_threshold`.

    References
    ----------
    Silverstein and Bai [silverstein1995]_; the computation is in the spirit of Ledoit and Wolf
    [ledoit2015]_. docs/theory/laws.md, section 3.

    Examples
    --------
    >>> law = GeneralisedMarchenkoPastur(0.05, [1.0, 8.0])
    >>> [[round(end, 3) for end in interval] for interval in law.support]
    [[0.685, 1.307], [5.7, 10.758]]
    >>> round(float(law.cdf(3.0)), 12)
    0.5
    >>> round(law.mean(), 12)
    4.5
    """

    ratio: float
    population: Any
    weights: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", number("ratio", self.ratio, above=0))
        population = _row("population", self.population)
        object.__setattr__(self, "population", tuple(population.tolist()))
        if self.weights is not None:
            weights = _row("weights", self.weights)
            if weights.size != population.size:
                raise ValueError(
                    f"weights must hold one number for each of the {population.size} of population, "
                    f"got {weights.size}"
                )
            if not abs(weights.sum() - 1) <= 1e-8:
                raise ValueError(f"weights must sum to one, got {weights.sum():.8g}")
            object.__setattr__(self, "weights", tuple(weights.tolist()))
            population = population[weights > NEGLIGIBLE]
        if not (population > 0).any():
            raise ValueError("population must hold a positive eigenvalue, got zeros alone")

    @cached_property
    def inverse_map(self) -> PopulationMap:
        """The map z(ω) = ω (1 + ratio·sum_k w_k t_k/(ω − t_k)), with p = sum_k w_k t_k/(ω − t_k)."""
        values, place = np.unique(self.population, return_inverse=True)
        weights = np.bincount(place, weights=self.weights)
        weights = weights / weights.sum()
        kept = weights > NEGLIGIBLE
        values, weights = values[kept], weights[kept]
        positive = values > 0
        return PopulationMap(self.ratio, values[positive], weights[positive], float(weights[~positive].sum()))
