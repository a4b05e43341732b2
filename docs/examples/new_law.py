"""A new law

A table that is itself a product of two random matrices (V×k and k×d, as in factorised embeddings) adds one more sampling stage,
of ratio d/k. A law is its inverse map; density, distribution function, edges, quantiles, moments and draws follow.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from resolvent import plots
from resolvent.laws import InverseMap, Law


@dataclass(frozen=True)
class FactorisedTable(Law):
    """Eigenvalues of pooled sequences whose table is a product through an inner dimension."""

    delta: float  # d/V
    gamma: float  # d/N
    inner: float  # d/k
    scale: float = 1.0  # ‖w‖²

    @property
    def inverse_map(self) -> InverseMap:
        return InverseMap((self.delta, self.gamma, self.inner), self.scale)


d, V, N, T, k = 300, 1200, 900, 20, 600
rng = np.random.default_rng(0)
table = rng.standard_normal((V, k)) @ rng.standard_normal((k, d)) / np.sqrt(k)
pooled = table[rng.integers(V, size=(N, T))].mean(axis=1)
pooled -= pooled.mean(axis=0)
eigenvalues = np.linalg.eigvalsh(pooled.T @ pooled / N)[::-1]

law = FactorisedTable(d / V, d / N, d / k, 1 / T)
print(f"edge: theory {law.support[0][1]:.4f}, largest eigenvalue {eigenvalues[0]:.4f}")
print(f"variance: theory {law.var():.3e}, simulated {eigenvalues.var():.3e}")
plots.spectrum(plt.gca(), eigenvalues, law, label="the new law").legend()
plt.savefig("new_law.png")
