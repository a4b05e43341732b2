"""The two losses of the theory, with the derivatives and the proximal map that its equations need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["LOSSES", "Loss"]


@dataclass(frozen=True)
class Loss:
    """A convex loss l(y; u) of a score u and a label y = ±1; derivatives are in u.

    Attributes
    ----------
    value, first, second, third : callable
        ``(y, u)`` to l, l', l'', l'''.
    prox : callable
        ``(y, v, g, start=None)`` to argmin_u l(y; u) + (u − v)²/(2g).
    at_zero : float
        −y·l'(y; 0), the size of the first gradient.
    """

    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    first: Callable[[np.ndarray, np.ndarray], np.ndarray]
    second: Callable[[np.ndarray, np.ndarray], np.ndarray]
    third: Callable[[np.ndarray, np.ndarray], np.ndarray]
    prox: Callable[..., np.ndarray]
    at_zero: float


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1.0, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))


def _logistic_prox(
    y: np.ndarray, v: np.ndarray, g: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Root x = yu of x = a + g σ(−x), a = yv.

    With x = a + e^h the equation is h + log(1 + e^x) = log g: increasing and convex in h, so that Newton's method
    converges from anywhere, and stays well conditioned however large g is.
    """
    a = y * v
    log_g = np.log(g)
    highest = np.minimum(log_g, np.log(np.maximum(-a, 0) + np.log1p(g)))
    h = highest if start is None else np.minimum(np.log(np.maximum(y * start - a, 1e-300)), highest)
    for _ in range(100):
        rest = np.exp(h)
        x = a + rest
        low = np.exp(-np.abs(x))
        soft = np.maximum(x, 0) + np.log1p(low)
        step = (h + soft - log_g) / (1 + rest * np.where(x >= 0, 1.0, low) / (1 + low))
        h = np.minimum(h - step, highest)
        if np.abs(step).max() <= 1e-9:  # the next would be its square
            return y * (a + np.exp(h))
    raise RuntimeError(
        f"the proximal map of the logistic loss did not converge: last step {np.abs(step).max():.1e}"
    )


LOSSES = {
    "logistic": Loss(
        value=lambda y, u: np.logaddexp(0, -y * u),
        first=lambda y, u: -y * _sigmoid(-y * u),
        second=lambda y, u: _sigmoid(u) * _sigmoid(-u),
        third=lambda y, u: _sigmoid(u) * _sigmoid(-u) * (_sigmoid(-u) - _sigmoid(u)),
        prox=_logistic_prox,
        at_zero=0.5,
    ),
    "square": Loss(
        value=lambda y, u: (u - y) ** 2 / 2,
        first=lambda y, u: u - y,
        second=lambda y, u: np.ones_like(u),
        third=lambda y, u: np.zeros_like(u),
        prox=lambda y, v, g, start=None: (v + g * y) / (1 + g),
        at_zero=1.0,
    ),
}
