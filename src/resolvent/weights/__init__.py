"""Pooling weights w over positions: given in closed form, or estimated from data."""

from resolvent.weights.estimated import alternating, generalised, learned, spectral
from resolvent.weights.given import alpha, causal, kappa, mean, optimal, snr, softmax_causal

__all__ = [
    "alpha",
    "alternating",
    "causal",
    "generalised",
    "kappa",
    "learned",
    "mean",
    "optimal",
    "snr",
    "softmax_causal",
    "spectral",
]
