"""Read-outs trained on a finite sample: features drawn by their exact reduction, convex fits, exact test error."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import generator, natural, number, one_of
from resolvent.sparse_token.capacity import labelled, separable
from resolvent.sparse_token.features import FeatureLaw, Query, scores
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.readout import error_of
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["Sample", "TrainedReadout", "draw", "fit", "train"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Features of n samples in a basis where all but the first columns are pure noise.

    Attributes
    ----------
    features : array, shape (n, D)
        Columns: the query (attention only), the signals, then noise. Where there are more noise directions than
        samples they are rotated into as many as there are samples, which changes no fit.
    labels : array, shape (n,)
    direction : array, shape (D,)
        Mean signal direction, a unit vector.
    """

    features: np.ndarray
    labels: np.ndarray
    direction: np.ndarray


@dataclass(frozen=True)
class TrainedReadout:
    """A read-out trained on a finite sample; names are those of `ReadoutLimit`.

    Attributes
    ----------
    error : float
        Probability of the wrong sign on a fresh sample, exact given the read-out.
    loss : float
        Training loss, without the penalty.
    alignment : float
        Cosine of w with the (mean) signal direction.
    intercept, norm : float
        b and ‖w‖.
    """

    error: float
    loss: float
    alignment: float
    intercept: float
    norm: float


def draw(tokens: SparseTokens, query: Query | None, n: int, dimension: int, *, rng: Any = None) -> Sample:
    """Features of n samples for a frozen query; for the vectorised classifier, of all tokens, where `query` is None.

    Pooled features are those of the query ``Query(0, 0)``. Nothing of size n x L x d is formed.

    Examples
    --------
    >>> sample = draw(SparseTokens(10, 2, 4.0, 0.5), Query(0.5, 1.0), 30, 100, rng=0)
    >>> sample.features.shape
    (30, 32)
    """
    rng = generator(rng)
    n, dimension = natural("n", n), natural("dimension", dimension, least=tokens.signals + 1)
    K = tokens.signals
    if query is None:
        labels, mask, marked, which = tokens.draw(n, rng=rng)
        L = mask.shape[1]
        if not mask.all():
            raise ValueError(f"length must be one number for the vectorised classifier, got {tokens.length}")
        signal = tokens.signal * (marked[:, :, None] & (which[:, None, None] == np.arange(K))).reshape(
            n, L * K
        )
        head = signal + rng.standard_normal(signal.shape)
        rest = _noise(n, L * (dimension - K), rng)
        direction = np.full(L * K, (L * K) ** -0.5)
    else:
        labels, p, t, omega = scores(tokens, query, n, rng=rng)
        head = np.column_stack([p, t + omega[:, None] * rng.standard_normal(t.shape)])
        rest = omega[:, None] * _noise(n, dimension - 1 - K, rng)
        direction = _direction(query.cosines(K))
    features = np.hstack([head, rest])
    return Sample(features, labels, np.r_[direction, np.zeros(rest.shape[1])])


def _direction(cosines: np.ndarray) -> np.ndarray:
    from resolvent.sparse_token.features import root

    K = cosines.size
    return np.r_[cosines.sum(), root(np.eye(K) - np.outer(cosines, cosines)).sum(axis=0)] / np.sqrt(K)


def _noise(n: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal (n, width), or, where that is wide, the triangle T of Z = T Q, Q with orthonormal rows (Bartlett)."""
    if width <= n:
        return rng.standard_normal((n, width))
    triangle = np.tril(rng.standard_normal((n, n)), -1)
    triangle[np.diag_indices(n)] = np.sqrt(rng.chisquare(width - np.arange(n)))
    return triangle


def fit(
    features: Any, labels: Any, *, loss: str = "logistic", regularisation: float = 1e-5
) -> tuple[np.ndarray, float]:
    """Minimise (1/n) sum_i l(y_i; w·f_i + b) + (lambda/2)‖w‖² over w and b.

    Parameters
    ----------
    features : array, shape (n, D)
    labels : array, shape (n,)
        ±1.
    loss : {"logistic", "square"}
        "square" is solved as a linear system, "logistic" by SciPy's L-BFGS.
    regularisation : float, default 1e-5
        lambda >= 0; zero needs a unique minimum.

    Returns
    -------
    w : array, shape (D,)
    b : float

    Raises
    ------
    ValueError
        If lambda = 0 and the minimum is not unique or not finite, or unique only beyond rounding. If features are
        not a finite matrix or labels not as many ±1.
    RuntimeError
        If the logistic fit stopped before its gradient was small.

    Examples
    --------
    >>> w, b = fit([[0.0], [1.0], [2.0], [3.0]], [-1, -1, 1, 1], loss="square", regularisation=0)
    >>> w.round(3), round(b, 3)
    (array([0.8]), -1.2)
    """
    x, y = labelled(features, labels)
    one_of("loss", loss, tuple(LOSSES))
    penalty = number("regularisation", regularisation, least=0)
    if loss == "square":
        return _ridge(x, y, penalty)
    return _logistic(x, y, penalty)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    n, D = x.shape
    if penalty == 0 and n <= D:
        raise ValueError(
            f"regularisation must be positive for {n} samples of {D} features, got 0: the minimum is not unique"
        )
    mean, level = x.mean(axis=0), y.mean()
    x = x - mean
    if n >= D:
        gram = x.T @ x
        gram[np.diag_indices(D)] += n * penalty
        w = _solve(gram, x.T @ (y - level), penalty)
    else:
        gram = x @ x.T
        gram += np.trace(gram) / n**2  # along 1, of which centred samples and labels know nothing
        gram[np.diag_indices(n)] += n * penalty
        w = x.T @ _solve(gram, y - level, penalty)
    return w, float(level - mean @ w)


def _solve(gram: np.ndarray, right: np.ndarray, penalty: float) -> np.ndarray:
    from scipy.linalg import LinAlgError, LinAlgWarning, solve

    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        try:
            return solve(gram, right, assume_a="pos")
        except (LinAlgError, LinAlgWarning):
            raise ValueError(
                f"regularisation must be larger for these samples, got {penalty:g}: to rounding, the minimum is not unique"
            ) from None


def _logistic(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    from scipy.optimize import minimize

    if penalty == 0 and separable(x, y):
        raise ValueError(
            "regularisation must be positive for separable samples under the logistic loss, got 0: it has no finite "
            "minimum"
        )
    n, D = x.shape
    f = LOSSES["logistic"]

    def value(v: np.ndarray) -> tuple[float, np.ndarray]:
        u = x @ v[:-1] + v[-1]
        slope = f.first(y, u) / n
        gradient = np.r_[slope @ x + penalty * v[:-1], slope.sum()]
        return float(f.value(y, u).mean() + penalty / 2 * v[:-1] @ v[:-1]), gradient

    found = minimize(
        value,
        np.zeros(D + 1),
        jac=True,
        method="L-BFGS-B",
        options={
            "ftol": 0.0,
            "gtol": float(np.clip(1e-5 * penalty, 1e-11, 1e-5)),
            "maxcor": 50,
            "maxiter": 50_000,
            "maxfun": 100_000,
        },
    )
    size = float(np.linalg.norm(value(found.x)[1]))
    if size > 1e-3 * penalty * np.linalg.norm(found.x) + 1e-8:
        raise RuntimeError(f"the logistic fit did not converge: gradient {size:.1e} ({found.message})")
    return found.x[:-1], float(found.x[-1])


def train(
    law: FeatureLaw, tokens: SparseTokens, sample: Sample, *, loss: str, regularisation: float
) -> TrainedReadout:
    """Fit a read-out to a sample and give its exact test error under the law of its features."""
    w, b = fit(sample.features, sample.labels, loss=loss, regularisation=regularisation)
    size = float(np.linalg.norm(w))
    if law.width == 1:
        head = law.t.shape[1] + 1
        along = w[:head]
        error = error_of(law, [b], along[None], [np.linalg.norm(w[1:])])[0]
    else:
        error = _vectorised_error(tokens, w, b)
    value = LOSSES[loss].value(sample.labels, sample.features @ w + b).mean()
    return TrainedReadout(
        error=float(error),
        loss=float(value),
        alignment=float(w @ sample.direction / size) if size else 0.0,
        intercept=b,
        norm=size,
    )


def _vectorised_error(tokens: SparseTokens, w: np.ndarray, b: float) -> float:
    """Over where the signal sits: every place when there is one informative token, else 2^14 drawn subsets."""
    from scipy.special import ndtr

    L, K = int(tokens.lengths[0]), tokens.signals
    loads = w[: L * K].reshape(L, K)
    if np.array_equal(tokens.informatives, [1]):
        shift = loads.ravel()
    else:
        always = SparseTokens(L, tokens.informative, tokens.signal, 1 - 1e-12, K)
        _, _, marked, which = always.draw(2**14, rng=0)
        shift = (marked @ loads)[np.arange(marked.shape[0]), which]
    size = max(float(np.linalg.norm(w)), 1e-300)
    missed = ndtr(-(b + tokens.signal * shift) / size).mean()
    return float(tokens.rarity * missed + (1 - tokens.rarity) * ndtr(b / size))
