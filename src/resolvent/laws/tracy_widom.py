r"""Tracy and Widom's law of a largest eigenvalue, real matrices (beta = 1).

:math:`F_1(s) = \det(I - B_s)` on :math:`L^2(0,\infty)` with the kernel
:math:`B_s(x, y) = \mathrm{Ai}(x + y + s)` (Ferrari and Spohn [ferrari2005]_). A Gauss-Legendre rule turns it into
the determinant of a symmetric matrix, with exponential convergence (Bornemann [bornemann2010]_).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from resolvent.arguments import arrays, plain, require

__all__ = ["TracyWidom"]

NODES = 40  # of the quadrature; more change nothing above rounding
REACH = 57.0  # the kernel is cut where Ai has fallen by about exp(-2/3 REACH)
LOWEST = -9.0  # below, where cdf < 1e-16, the eigenvalues of the kernel round to one
HIGHEST = 104.0  # beyond, sf underflows
RANK_ONE = 16.0  # beyond, where sf < 1e-20, the trace of the kernel is its determinant
LEFT_CONSTANT = -11 / 48 * math.log(2) - 0.1654211437004509 / 2  # -11/48 log 2 + zeta'(-1)/2
BLOCK = 512  # points whose matrices are held at once


@dataclass(frozen=True)
class TracyWidom:
    """Limit law of the largest eigenvalue of real sample covariances, beta = 1, centred and scaled.

    The top bulk eigenvalue of d is edge + edge_scale·d^(-2/3)·TW in law, with the right edge of a law's
    `support` and its `inverse_map.edge_scale()`. Upper tail probabilities keep their relative accuracy
    down to 1e-290. Lower ones have an absolute accuracy of about 1e-15; below 1e-16 they come from the
    asymptotic series of Baik, Buckingham and DiFranco [baik2008]_, within 2e-5 in relative terms.

    References
    ----------
    Tracy and Widom [tracy1996]_, Ferrari and Spohn [ferrari2005]_, Bornemann [bornemann2010]_; for sample covariances Johnstone
    [johnstone2001]_. docs/theory/laws.md, section 4.

    Examples
    --------
    >>> law = TracyWidom()
    >>> round(float(law.cdf(0.9793)), 4)
    0.95
    >>> round(float(law.isf(0.01)), 4)
    2.0234
    """

    def cdf(self, s: Any) -> Any:
        """Probability of values <= `s`; NaN for NaN, as SciPy's distributions have it."""
        return self._apply(np.exp, s, 0.0, 1.0)

    def sf(self, s: Any) -> Any:
        """Probability of values > `s`, accurate in relative terms; NaN for NaN."""
        return self._apply(lambda log: -np.expm1(log), s, 1.0, 0.0)

    def ppf(self, u: Any) -> Any:
        """The s with cdf(s) = `u`.

        Raises
        ------
        ValueError
            If any `u` lies outside [0, 1].
        """
        _, u = arrays(u, names="u")
        require("u", u, (u >= 0) & (u <= 1), "probabilities in [0, 1]")
        return self._inverse(u, lower=True)

    def isf(self, u: Any) -> Any:
        """The s with sf(s) = `u`, accurate for the smallest `u` too.

        Raises
        ------
        ValueError
            If any `u` lies outside [0, 1].
        """
        _, u = arrays(u, names="u")
        require("u", u, (u >= 0) & (u <= 1), "probabilities in [0, 1]")
        return self._inverse(u, lower=False)

    def mean(self) -> float:
        """Mean."""
        return -1.2065335745820

    def var(self) -> float:
        """Variance."""
        return 1.6077810345810

    def _apply(self, function: Callable[[Any], Any], s: Any, below: float, above: float) -> Any:
        _, s = arrays(s, names="s")
        out = np.where(np.isnan(s), np.nan, np.where(s < 0, below, above))
        inside = s < HIGHEST
        out[inside] = function(_log_cdf(s[inside]))
        return plain(out)

    def _inverse(self, u: np.ndarray, *, lower: bool) -> Any:
        """Secants on the logarithm of the smaller of the two tails, from a bracket in a table."""
        s, left, right = _table()
        out = np.full(u.shape, np.inf if lower else -np.inf)
        out = np.where(u == 0, -out, out)
        for left_tail in (True, False):
            mine = (u > 0) & (u < 1) & ((u <= 0.5) == (left_tail == lower))
            target = np.log(u[mine] if left_tail == lower else 1 - u[mine])
            grid, known = (s, left) if left_tail else (s[::-1], right[::-1])
            out[mine] = _on_the_table(self.cdf if left_tail else self.sf, target, grid, known)
        return plain(out)


def _on_the_table(
    tail: Callable[[Any], Any], target: np.ndarray, grid: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Points where log tail = target, with the increasing logarithms known on a grid."""
    i = np.clip(np.searchsorted(known, target), 1, grid.size - 1)
    below, above = known[i - 1] - target, known[i] - target
    return _root(lambda x: np.log(tail(x)) - target, grid[i - 1], grid[i], below, above)


def _root(function: Callable[[Any], Any], a: Any, b: Any, fa: Any, fb: Any) -> np.ndarray:
    """Roots between a and b by the false position, Illinois' variant, for nearly linear functions."""
    for _ in range(60):
        with np.errstate(invalid="ignore"):
            x = np.where(fa == fb, a, b - fb * (b - a) / (fb - fa))
        f = function(x)
        crossed = f * fb < 0
        a, fa = np.where(crossed, b, a), np.where(crossed, fb, fa / 2)
        moved = np.abs(x - b)
        b, fb = x, f
        if np.all((moved <= 1e-13 * np.maximum(1, np.abs(x))) | (np.abs(f) <= 1e-15)):
            return x
    raise RuntimeError("a quantile of the Tracy-Widom law has not converged")


@cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, from left to right, with the logarithms of cdf and sf."""
    s = np.concatenate([np.arange(-26, 6, 0.25), np.arange(6, 30, 1.0), np.arange(30, 104, 2.0)])
    log = _log_cdf(s)
    return s, log, np.log(-np.expm1(log))


def _log_cdf(s: np.ndarray) -> np.ndarray:
    low = s < LOWEST
    out = np.empty(s.shape)
    out[low], out[~low] = _lower_series(s[low]), _log_determinant(s[~low])
    return out


def _lower_series(s: np.ndarray) -> np.ndarray:
    size = -s
    leading = LEFT_CONSTANT - size**3 / 24 - size**1.5 / (3 * math.sqrt(2)) - np.log(size) / 16
    return leading - size**-1.5 / (24 * math.sqrt(2)) + 3 / (128 * size**3)


@cache
def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights of the quadrature, and the lower triangle of its matrix."""
    return (*np.polynomial.legendre.leggauss(NODES), *np.tril_indices(NODES))


def _log_determinant(s: np.ndarray) -> np.ndarray:
    from scipy.special import airy  # importing the package stays light

    nodes, weights, i, j = _rule()
    out = np.empty(s.shape)
    far = s > RANK_ONE
    if far.any():
        width = ((s[far] ** 1.5 + REACH) ** (2 / 3) - s[far])[:, None] / 2
        out[far] = -(width * weights * airy(2 * width * (nodes + 1) + s[far, None])[0]).sum(-1)
        out[~far] = _log_determinant(s[~far])
        return out
    for start in range(0, s.size, BLOCK):
        block = s[start : start + BLOCK]
        lowest = np.maximum(block, 0.0)
        width = (lowest**1.5 + REACH) ** (2 / 3) - block
        x = width[:, None] * (nodes + 1) / 2
        root = np.sqrt(width[:, None] * weights / 2)
        kernel = np.empty((*x.shape, NODES))
        kernel[:, i, j] = kernel[:, j, i] = airy(x[:, i] + x[:, j] + block[:, None])[0]
        values = np.linalg.eigvalsh(root[:, :, None] * kernel * root[:, None, :])
        with np.errstate(divide="ignore"):
            out[start : start + BLOCK] = np.log1p(-np.minimum(values, 1.0)).sum(-1)
    return out
