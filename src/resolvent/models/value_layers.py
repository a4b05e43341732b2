"""Random value matrices between layers: one more Marchenko-Pastur factor each (docs/theory/depth.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent import weights as weighting
from resolvent.arguments import natural, seed_number
from resolvent.laws import InverseMap, MarchenkoPasturProduct
from resolvent.models.claims import ALLOWANCE, WINDOW, Claim, edge_mean
from resolvent.models.pooled import PooledSequences
from resolvent.spectrum import covariance_spectrum
from resolvent.tables import token_signs

__all__ = ["ValueLayers", "ValuePrediction", "ValueSimulation"]

OUTLIER_ALLOWANCE = 1.5  # c of outlier and what is pulled back: docs/theory/depth.md, section 4


@dataclass(frozen=True, eq=False)
class ValuePrediction:
    """Limit after k random value matrices; names are those of `resolvent.models.Prediction`.

    Attributes
    ----------
    alpha, kappa, snr, q : float
        As without value matrices.
    bulk : MarchenkoPasturProduct
        Law of all d_k eigenvalues of the output's covariance.
    edge, threshold, critical_signal, outlier, top_eigenvalue, second_eigenvalue : float
        With one more factor a layer.
    overlap : float
        Squared overlap of the top eigenvector with the image of mu under the value matrices.
    pulled_back_overlap : float
        Squared overlap, in the input space, of mu with the top eigenvector taken back by the transposed matrices.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = PooledSequences(200, 400, 600, Prefix(50, 10), "optimal", 1.5)
    >>> [round(float(ValueLayers(model, [d]).predict().threshold), 3) for d in (100, 1000)]
    [2.553, 1.394]
    """

    alpha: Any
    kappa: Any
    snr: Any
    q: Any
    bulk: MarchenkoPasturProduct
    edge: Any
    threshold: Any
    critical_signal: Any
    outlier: Any
    top_eigenvalue: Any
    second_eigenvalue: Any
    overlap: Any
    pulled_back_overlap: Any


@dataclass(frozen=True, eq=False)
class ValueSimulation:
    """One draw; field names are those of `ValuePrediction`.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = PooledSequences(60, 120, 120, Prefix(50, 10), "optimal", 1.5)
    >>> ValueLayers(model, [20]).simulate(seed=0).eigenvalues.shape
    (20,)
    """

    seed: int
    eigenvalues: np.ndarray
    top_eigenvalue: float
    second_eigenvalue: float
    overlap: float
    pulled_back_overlap: float


@dataclass(frozen=True, eq=False)
class ValueLayers:
    """Pooled sequences seen through random value matrices, x -> V_k ... V_1 x.

    V_j is d_j x d_(j−1) with independent N(0, 1/d_j) entries, d_0 = d, so that norms are kept on average. Pooling
    and value matrices commute: a stack of k causal layers with values is ``weights=causal(T, depth=k)`` and k widths.

    Parameters
    ----------
    sequences : PooledSequences
        Centred.
    widths : sequence of int
        d_1, ..., d_k; empty for none.

    Raises
    ------
    ValueError
        If a width is not a whole number >= 2, or `sequences` is not a centred PooledSequences.

    References
    ----------
    docs/theory/depth.md, section 3.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model = ValueLayers(PooledSequences(200, 400, 600, Prefix(50, 10), "optimal", 1.5), widths=[300, 150])
    >>> prediction, draw = model.predict(), model.simulate(seed=0)
    >>> round(float(prediction.overlap), 3), round(float(prediction.pulled_back_overlap), 3)
    (0.802, 0.249)
    >>> bool(abs(draw.overlap - prediction.overlap) < 0.1)
    True
    """

    sequences: PooledSequences
    widths: Sequence[int]

    def __post_init__(self) -> None:
        if not isinstance(self.sequences, PooledSequences):
            raise ValueError(f"sequences must be a PooledSequences, got {self.sequences!r}")
        if not self.sequences.centred:
            raise ValueError(
                "sequences must have centred=True: the mean's spurious spike is not followed here"
            )
        if isinstance(self.widths, (str, bytes)) or not np.iterable(self.widths):
            raise ValueError(f"widths must be a sequence of whole numbers, got {self.widths!r}")
        widths = tuple(natural("widths", d, least=2) for d in self.widths)
        object.__setattr__(self, "widths", widths)

    def predict(self) -> ValuePrediction:
        """The limit of long sequences: one factor 1 + (d/d_j) p of the inverse map a layer."""
        model = self.sequences
        d, delta, gamma = model.dimension, model.delta, model.gamma
        w = model.pooling_weights
        kappa, alpha = float(weighting.kappa(w)), model.positions.pooled_signal(w)
        snr = alpha / kappa
        ratios = [d / width for width in self.widths]
        laws = InverseMap((delta, gamma, *ratios), kappa)
        critical, edge = laws.critical_spikes()[0], laws.edges()[1]
        net = spikes.net_spike(model.signal, snr, delta, model.table)
        q = np.asarray(net, dtype=float)
        above = q > critical
        q = np.where(above, q, critical + 1.0)
        outlier = np.where(above, laws.at_spike(q), np.nan)
        image = np.where(above, np.maximum(laws.slope(q), 0) / (1 + gamma / q), 0.0)
        product = np.prod([1 + c / q for c in ratios], axis=0)
        back = product * (1 + (1 + 1 / q) * sum(c / (1 + c / q) for c in ratios))
        factor = spikes.direction_factor(model.signal, delta, model.table)
        power = (critical + delta) / snr if snr > 0 else np.inf
        power = power - (delta if model.table == "mixture" else 0.0)
        width = d / (self.widths[-1] if self.widths else d)
        # counted in the output's dimension the last factor and the factor 1 + p change places
        others = (delta, gamma, *ratios[:-1]) + ((1.0,) if self.widths else ())
        return ValuePrediction(
            alpha=alpha,
            kappa=kappa,
            snr=snr,
            q=net,
            bulk=MarchenkoPasturProduct([c / width for c in others], kappa * width),
            edge=edge,
            threshold=critical,
            critical_signal=float(np.sqrt(max(power, 0.0))),
            outlier=outlier[()],
            top_eigenvalue=np.fmax(outlier, edge)[()],
            second_eigenvalue=edge,
            overlap=(image * factor)[()],
            pulled_back_overlap=(image * factor / back)[()],
        )

    def simulate(self, seed: int) -> ValueSimulation:
        """Draw a table, sequences and value matrices.

        Raises
        ------
        ValueError
            If the signal is an array or the seed is not one.
        """
        model = self.sequences
        if np.ndim(model.signal):
            raise ValueError("signal must be one number to simulate")
        table, matrix = model._draw(seed_number(seed), np.dtype(float))
        table[:, 0] += float(model.signal) * token_signs(model.vocabulary)
        rng = np.random.default_rng(np.random.SeedSequence(seed_number(seed)).spawn(4)[3])
        x = matrix @ table
        values = np.eye(model.dimension)
        for width in self.widths:
            values = rng.standard_normal((width, values.shape[0])) @ values / np.sqrt(width)
        eigenvalues, vectors = covariance_spectrum(x @ values.T, vectors=1)
        top = vectors[:, 0]
        image, back = values[:, 0], top @ values
        along = float(top @ image) ** 2
        return ValueSimulation(
            seed=int(seed),
            eigenvalues=eigenvalues,
            top_eigenvalue=float(eigenvalues[0]),
            second_eigenvalue=float(eigenvalues[1]),
            overlap=along / float(image @ image),
            pulled_back_overlap=along / float(back @ back),
        )

    def claims(self) -> list[Claim]:
        """The outlier with both of its overlaps, and the eigenvalue at the edge; nothing near the threshold.

        c = 1.5, but 9 of the overlap with the image and at the edge (docs/theory/depth.md, section 4).
        """
        found, model, claims = self.predict(), self.sequences, []
        d, names = model.dimension, ["top_eigenvalue", "second_eigenvalue"]
        outlier = Claim(names[0], found.outlier, None, OUTLIER_ALLOWANCE, d, relative=True)
        if WINDOW[0] < found.q / found.threshold < WINDOW[1]:
            return []
        if np.isfinite(found.outlier):
            claims = [
                outlier,
                Claim("overlap", found.overlap, None, ALLOWANCE, d),
                Claim("pulled_back_overlap", found.pulled_back_overlap, None, OUTLIER_ALLOWANCE, d),
            ]
            names.pop(0)
        edge = edge_mean(d, (model.vocabulary, model.samples, *self.widths), found.kappa, found.q)
        if np.isfinite(edge):
            claims.append(Claim(names[0], found.edge, edge, ALLOWANCE, d, relative=True))
        return claims
