"""Gradient descent of the whole attention layer (w, b, q) at finite size, on the samples of the model as defined.

A step needs one pass over the samples: X enters through its products with w and q and through two weighted sums of
tokens. What a trajectory reports, the test error included, depends on the Gram matrix of (ξ, w, q) and on b only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import natural, number, one_of, seed_number
from resolvent.sparse_token.features import POINTS, Query, attention, softmax
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.tokens import SparseTokens

__all__ = ["Descent", "Trajectory", "checked", "descend", "error_of", "take_two_steps"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Gradient descent, after 0, 1, …, T steps; simulation and limit share these fields.

    Attributes
    ----------
    tokens : SparseTokens
    inverse_temperature : float
        β.
    gram : array, shape (T + 1, K + 2, K + 2)
        Inner products of (ξ_1, …, ξ_K, w, q).
    bias : array, shape (T + 1,)
        b.
    loss : array, shape (T + 1,)
        Training loss on the samples that the next step uses, without the penalty.

    Examples
    --------
    >>> from resolvent.sparse_token import SparseTokens, online
    >>> run = online(SparseTokens(10, 3, 6.0, 0.2), 3, alpha=1.0, rates=(0.5, 0.5, 0.5))
    >>> run.alignment[2:].round(2)
    array([0.83, 0.91])
    """

    tokens: SparseTokens
    inverse_temperature: float
    gram: np.ndarray
    bias: np.ndarray
    loss: np.ndarray

    @property
    def kappa(self) -> np.ndarray:
        """β‖q‖, shape (T + 1,)."""
        return self.inverse_temperature * np.sqrt(self.gram[:, -1, -1])

    @property
    def alignment(self) -> np.ndarray:
        """Cosine of the query with the (mean) signal direction, shape (T + 1,); NaN while q = 0."""
        return self._cosine(-1)

    @property
    def readout_alignment(self) -> np.ndarray:
        """Cosine of w with the (mean) signal direction, shape (T + 1,); NaN while w = 0."""
        return self._cosine(-2)

    @cached_property
    def error(self) -> np.ndarray:
        """Exact test error of (w, b, q), see `error_of`, shape (T + 1,)."""
        states = zip(self.gram, self.bias, strict=True)
        return np.array(
            [
                error_of(self.tokens, gram, b, inverse_temperature=self.inverse_temperature)
                for gram, b in states
            ]
        )

    def _cosine(self, row: int) -> np.ndarray:
        K = self.tokens.signals
        inner, length = self.gram[:, row, :K].sum(axis=1) / np.sqrt(K), np.sqrt(self.gram[:, row, row])
        return np.divide(inner, length, out=np.full_like(inner, np.nan), where=length > 0)


@dataclass(frozen=True, eq=False)
class Descent(Trajectory):
    """One simulated run.

    Attributes
    ----------
    w, q : array, shape (d,)
        Read-out and query after the last step.
    gradient : array, shape (T + 1,)
        Length of the gradient of the penalised loss in (w, b, q): how far from a stationary point each state is.

    Examples
    --------
    >>> tokens = SparseTokens(10, 3, 6.0, 0.2)
    >>> run = descend(tokens, 50, 100, 2, rates=(0.5, 0.5, 0.5), seed=0)
    >>> run.q.shape
    (50,)
    """

    w: np.ndarray
    q: np.ndarray
    gradient: np.ndarray


def error_of(
    tokens: SparseTokens, gram: Any, bias: float, *, inverse_temperature: float, points: int = POINTS
) -> float:
    """Exact test error P(y·score < 0) of a trained layer, from inner products alone.

    Given the label and the noise along q, the score is normal, so the error is E Φ(−y·mean/deviation).

    Parameters
    ----------
    tokens : SparseTokens
    gram : array, shape (K + 2, K + 2)
        Inner products of (ξ_1, …, ξ_K, w, q).
    bias : float
        b.
    inverse_temperature : float
        β > 0.
    points : int, default 8192
        Quasi-random points a label.

    Returns
    -------
    float
        A score that is always zero counts as half an error.

    Raises
    ------
    ValueError
        If `gram` has another shape or an argument is out of range.

    References
    ----------
    Derived in docs/theory/sparse_token.md, section 7.

    Examples
    --------
    >>> tokens = SparseTokens(10, 1, 6.0, 0.5)
    >>> ideal = np.ones((3, 3))  # w = q = ξ
    >>> round(error_of(tokens, ideal, -3.0, inverse_temperature=1.5), 3)
    0.004
    """
    from scipy.special import ndtr

    beta = number("inverse_temperature", inverse_temperature, above=0)
    gram = np.asarray(gram, dtype=float)
    K = tokens.signals
    if gram.shape != (K + 2, K + 2):
        raise ValueError(f"gram must have shape {(K + 2, K + 2)}, got {gram.shape}")
    length = float(np.sqrt(gram[-1, -1]))
    along = gram[K, -1] / length if length > 0 else 0.0
    cosines = gram[:K, -1] / length if length > 0 else np.zeros(K)
    cosines = cosines / max(1.0, float(np.linalg.norm(cosines)))  # rounding
    law = attention(tokens, Query(tuple(cosines), beta * length), points=points)
    # coordinates of w in the basis of the features: along q̂, and in the rest of the signals' span
    values, vectors = np.linalg.eigh(np.eye(K) - np.outer(cosines, cosines))
    inverse = np.where(values > 1e-12, 1 / np.sqrt(np.maximum(values, 1e-12)), 0.0)
    rest = (vectors * inverse) @ vectors.T @ (gram[:K, K] - cosines * along)
    mean = law.y * (bias + along * law.p + law.t @ rest)
    deviation = np.sqrt(max(gram[K, K] - along**2, 0.0)) * law.omega
    certain = 1e3 * np.sign(mean)  # where there is no noise
    return float(law.weight @ ndtr(-np.divide(mean, deviation, out=certain, where=deviation > 0)))


def descend(
    tokens: SparseTokens,
    dimension: int,
    samples: int,
    steps: int,
    *,
    rates: Any,
    inverse_temperature: float = 1.0,
    loss: str = "logistic",
    seed: int,
    fresh: bool = False,
    joint: bool = True,
    regularisation: float = 0.0,
    start: tuple[Any, float, Any] | None = None,
    progress: bool = False,
) -> Descent:
    """Train (w, b, q) by full-batch gradient descent on (1/n)·sum l(y; <w, X ᵀsoftmax(βXq)> + b) + (lambda/2)‖w‖².

    Parameters
    ----------
    tokens : SparseTokens
    dimension : int
        d.
    samples : int
        n_0, samples a step.
    steps : int
        T >= 0.
    rates : tuple of three floats
        Step sizes (eta_w, eta_b, eta_q) >= 0.
    inverse_temperature : float, default 1
        β > 0.
    loss : {"logistic", "square"}
    seed : int
    fresh : bool, default False
        Draw new samples for every step; otherwise all steps use the same ones.
    joint : bool, default True
        Move w, b and q in every step. False is the paper's protocol: the first step moves w and b, later ones q alone.
    regularisation : float, default 0
        lambda >= 0.
    start : tuple (w, b, q), optional
        Where to start; zero by default.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    Descent

    Raises
    ------
    ValueError
        If an argument is out of range.
    RuntimeError
        If the descent diverges.

    References
    ----------
    Two steps are those of Barnfield, Cui and Lu [barnfield2026]_; more steps and the joint descent are ours,
    docs/theory/sparse_token.md, section 7.

    Examples
    --------
    >>> tokens = SparseTokens(6, 2, 4.0, 0.5)
    >>> run = descend(tokens, 50, 200, 6, rates=(1, 1, 1), seed=0)
    >>> run.gram.shape, run.loss.round(2).tolist()[0], bool(run.error[-1] < run.error[1] < run.error[0])
    ((7, 3, 3), 0.69, True)
    """
    eta, beta, penalty = checked(rates, inverse_temperature, loss, regularisation)
    dimension, samples = natural("dimension", dimension, tokens.signals), natural("samples", samples)
    steps, seed = natural("steps", steps, 0), seed_number(seed)
    w, b, q = _start(start, dimension)
    turns: Iterable[int] = range(steps + 1)
    if progress:
        from tqdm.auto import tqdm

        turns = tqdm(turns, desc="gradient descent", leave=False)
    grams, biases, losses, norms = [], [], [], []
    for t in turns:
        chunks = tokens.chunks(samples, dimension=dimension, seed=[seed, t] if fresh else seed)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            value, g_w, g_b, g_q = _gradient(chunks, w, b, q, beta, loss)
            g_w = g_w + penalty * w
            norms.append(np.sqrt(g_w @ g_w + g_b**2 + g_q @ g_q))
            frame = np.vstack([np.eye(tokens.signals, dimension), w, q])
            grams.append(frame @ frame.T)
        biases.append(b)
        losses.append(value)
        if not (np.isfinite(norms[-1]) and np.isfinite(value)):
            raise RuntimeError(
                f"descent diverged: the loss is {value:g} after {t} steps; lower the rates {eta}"
            )
        if t == steps:
            break
        if joint or t == 0:
            w, b = w - eta[0] * g_w, b - eta[1] * g_b
        if joint or t > 0:
            q = q - eta[2] * g_q
    return Descent(tokens, beta, np.array(grams), np.array(biases), np.array(losses), w, q, np.array(norms))


def take_two_steps(
    tokens: SparseTokens,
    dimension: int,
    samples: int,
    *,
    rates: Any,
    inverse_temperature: float = 1.0,
    loss: str = "logistic",
    seed: int,
) -> tuple[np.ndarray, float, np.ndarray]:
    """The paper's protocol: one step of (w, b) from zero, then one of q on the same samples.

    Parameters
    ----------
    tokens : SparseTokens
    dimension, samples : int
        d and n_0.
    rates : tuple of three floats
        Step sizes (eta_w, eta_b, eta_q); negative ones go uphill.
    inverse_temperature : float, default 1
        β > 0.
    loss : {"logistic", "square"}
    seed : int
        The samples are ``tokens.chunks(samples, dimension=dimension, seed=seed)``.

    Returns
    -------
    w1 : array, shape (d,)
    b1 : float
    q2 : array, shape (d,)

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, stages 1 to 3.

    Examples
    --------
    >>> w, b, q = take_two_steps(SparseTokens(10, 3, 6.0, 0.2), 200, 400, rates=(0.5, 0.5, 0.5), seed=0)
    >>> round(float(q[0] / np.linalg.norm(q)), 1)  # the signal is the first axis
    0.9
    """
    eta, beta, _ = checked(rates, inverse_temperature, loss, 0.0, least=-np.inf)
    zero = np.zeros(natural("dimension", dimension, tokens.signals))
    samples, seed = natural("samples", samples), seed_number(seed)

    def gradient(w: np.ndarray, b: float) -> tuple[float, np.ndarray, float, np.ndarray]:
        return _gradient(tokens.chunks(samples, dimension=zero.size, seed=seed), w, b, zero, beta, loss)

    _, g_w, g_b, _ = gradient(zero, 0.0)
    w, b = -eta[0] * g_w, -eta[1] * g_b
    return w, b, -eta[2] * gradient(w, b)[3]


def _gradient(
    chunks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    w: np.ndarray,
    b: float,
    q: np.ndarray,
    beta: float,
    loss: str,
) -> tuple[float, np.ndarray, float, np.ndarray]:
    """Mean loss and its gradients in w, b and q: E l' X ᵀa, E l' and β E l' X ᵀ(diag(a) − aaᵀ)Xw."""
    f = LOSSES[loss]
    n, value, g_b, sums = 0, 0.0, 0.0, np.zeros((2, w.size))
    both = np.column_stack([w, q])
    for x, y, mask in chunks:
        tokens = x.reshape(-1, w.size)
        x_w, x_q = (tokens @ both).reshape(*mask.shape, 2).transpose(2, 0, 1)
        a = softmax(beta * x_q, mask)
        mean = (a * x_w).sum(axis=1, keepdims=True)
        u = mean[:, 0] + b
        slope = f.first(y, u)
        weight = slope[:, None] * a
        sums += np.stack([weight, beta * weight * (x_w - mean)]).reshape(2, -1) @ tokens
        value += f.value(y, u).sum()
        g_b += slope.sum()
        n += y.size
    return float(value / n), sums[0] / n, float(g_b / n), sums[1] / n


def _start(start: tuple[Any, float, Any] | None, dimension: int) -> tuple[np.ndarray, float, np.ndarray]:
    if start is None:
        return np.zeros(dimension), 0.0, np.zeros(dimension)
    if len(start) != 3:
        raise ValueError(f"start must be (w, b, q), got {len(start)} values")
    w, q = (np.array(vector, dtype=float) for vector in (start[0], start[2]))
    if w.shape != (dimension,) or q.shape != (dimension,) or not np.isfinite([w, q]).all():
        raise ValueError(
            f"start must hold finite w and q of shape ({dimension},), got {w.shape} and {q.shape}"
        )
    return w, number("start", start[1]), q


def checked(
    rates: Any, inverse_temperature: float, loss: str, regularisation: float, *, least: float = 0.0
) -> tuple[tuple[float, ...], float, float]:
    """The step sizes (eta_w, eta_b, eta_q), β and lambda, once they are what they have to be."""
    several = tuple(rates) if np.iterable(rates) and not isinstance(rates, str) else ()
    if len(several) != 3:
        raise ValueError(f"rates must be three numbers (eta_w, eta_b, eta_q), got {rates!r}")
    one_of("loss", loss, tuple(LOSSES))
    eta = tuple(number("rates", rate, least=least) for rate in several)
    beta = number("inverse_temperature", inverse_temperature, above=0)
    return eta, beta, number("regularisation", regularisation, least=0)
