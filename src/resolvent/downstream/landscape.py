"""The loss landscape over pooling weights in the limit, and where joint training of weights and classifier ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent.arguments import arrays, generator, natural, number, one_of
from resolvent.downstream.ridge import ridge_losses
from resolvent.laws import InverseMap
from resolvent.models.ridge import ridge_accuracy
from resolvent.positions import SingleFactor
from resolvent.spikes import TABLES
from resolvent.weights import causal, mean, optimal

__all__ = ["LearnedLimit", "discriminant_weights", "learned_limit", "spread_window"]


@dataclass(frozen=True, eq=False)
class LearnedLimit:
    """The joint minimum over classifier and softmax weights, in the limit.

    Attributes
    ----------
    weights : array, shape (T,)
        Non-negative, of sum one. Positions of equal loading are interchangeable: one of several equal minima.
    objective, error, accuracy : float
        See `resolvent.downstream.RidgeLosses`; accuracy is on fresh sequences.
    kappa, snr : float
        ‖w‖² and wᵀRw/‖w‖².

    Examples
    --------
    >>> from resolvent import Prefix
    >>> found = learned_limit(1.0, 0.33, 0.5, Prefix(10, 4), 0.1)
    >>> round(found.kappa, 2), round(found.snr, 2)
    (0.25, 4.0)
    """

    weights: np.ndarray
    objective: float
    error: float
    accuracy: float
    kappa: float
    snr: float


def learned_limit(
    signal: float,
    delta: float,
    gamma: float,
    positions: SingleFactor,
    ridge: float = 0.1,
    *,
    table: str = "mixture",
    restarts: int = 4,
    rng: Any = 0,
) -> LearnedLimit:
    """Weights that `resolvent.weights.learned` converges to as d, V, N grow together at fixed T.

    The ridge training loss tends to a function of (a, alpha, kappa) uniformly over the simplex; it is minimised by
    L-BFGS-B from mean, causal, optimal-by-R and discriminant weights, every distinct loading's own position, and
    random starts. Exact where the minimum is spread; a minimum on one or two positions has T_eff near one,
    where the limit law itself is approximate (docs/theory/pooled.md, section 7).

    Parameters
    ----------
    signal, delta, gamma : float
        As in `ridge_losses`.
    positions : Prefix or SingleFactor
        With ``loadings``.
    ridge : float, default 0.1
        Penalty > 0.
    table : {"mixture", "balanced"}
        Table convention.
    restarts : int, default 4
        Random starts.
    rng : numpy.random.Generator or int, default 0
        For the random starts.

    Returns
    -------
    LearnedLimit

    Raises
    ------
    ValueError
        If an argument is out of range or positions have no label.

    References
    ----------
    docs/theory/downstream.md, section 2.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> for ridge in (0.1, 10.0):  # spread over the prefix, then condensed on one position
    ...     print(learned_limit(1.0, 0.33, 0.5, Prefix(20, 8), ridge).weights.round(3).max())
    0.125
    1.0
    """
    from scipy import optimize

    if not isinstance(positions, SingleFactor):
        raise ValueError(f"positions must have a label (Prefix or SingleFactor), got {positions!r}")
    mixture = one_of("table", table, TABLES) == "mixture"
    signal, ridge = number("signal", signal, least=0), number("ridge", ridge, above=0)
    delta, gamma = number("delta", delta, above=0), number("gamma", gamma, above=0)
    c = positions.loadings
    length, power = c.size, signal**2 + (delta if mixture else 0.0)
    rng = generator(rng)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w = np.exp(theta - theta.max())
        w /= w.sum()
        value, gradient = _loss(w, c, power, delta, gamma, ridge)
        return value, w * (gradient - w @ gradient)

    starts = [mean(length), causal(length), discriminant_weights(signal, delta, positions, table=table)]
    if c.any():
        starts.append(np.abs(optimal(positions.matrix, normalise=False)))
    _, ones = np.unique(c, return_index=True)
    starts += [np.eye(length)[i] for i in ones]
    starts += [np.exp(2 * rng.standard_normal(length)) for _ in range(natural("restarts", restarts, least=0))]
    found = []
    for w in starts:
        begin = np.log(np.maximum(w / w.sum(), 1e-3 / length))
        found.append(optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", options={"ftol": 1e-14}))
    theta = min(found, key=lambda f: f.fun).x
    w = np.exp(theta - theta.max())
    w /= w.sum()
    kappa, alpha = float(w @ w), positions.pooled_signal(w)
    losses = ridge_losses(signal, delta, gamma, float(w @ c), alpha, kappa, ridge, table=table)
    return LearnedLimit(
        weights=w,
        objective=float(losses.objective),
        error=float(losses.error),
        accuracy=float(ridge_accuracy(signal, delta, gamma, w, c, ridge, table=table)),
        kappa=kappa,
        snr=alpha / kappa,
    )


def _loss(
    w: np.ndarray, c: np.ndarray, power: float, delta: float, gamma: float, ridge: float
) -> tuple[float, np.ndarray]:
    """Training loss (1 + gamma p)(1 − a² h_1) and its gradient in w."""
    kappa, a, rest = float(w @ w), float(w @ c), 1 - c**2
    alpha = a**2 + float(w**2 @ rest)
    p = float(InverseMap((delta, gamma), kappa).physical(-ridge).real)
    f = -power * p / (1 + delta * p) / kappa
    h, dh = f / (1 + alpha * f), 1 / (1 + alpha * f) ** 2
    kept, fit = 1 + gamma * p, 1 - a**2 * h
    # d log z/d log kappa = 0 at fixed z = −ridge
    move = -1 / kappa / (1 / (1 + p) - 1 / p + delta / (1 + delta * p) + gamma / kept)
    in_p = gamma * fit + kept * a**2 * dh * power / (1 + delta * p) ** 2 / kappa
    in_kappa = in_p * move + kept * a**2 * dh * f / kappa
    in_a, in_alpha = -2 * a * h * kept, kept * (a * h) ** 2
    return kept * fit, in_a * c + in_alpha * 2 * (a * c + w * rest) + in_kappa * 2 * w


def discriminant_weights(
    signal: float, delta: float, positions: SingleFactor, *, table: str = "mixture"
) -> np.ndarray:
    """Weights w_l ∝ c_l/(1 + ‖m‖²φ(1 − c_l²)) of largest a²/(kappa + alpha ‖m‖²φ), φ = 1/(1 − delta), of sum one.

    The limit of `learned_limit` for a vanishing penalty with gamma and delta below one. Optimal-by-R weights
    maximise alpha/kappa instead, to which a position's own sign counts as signal even where it errs about the label.
    For delta >= 1 the limit φ -> infinity is taken.

    Parameters
    ----------
    signal, delta : float
        ‖mu‖ and d/V.
    positions : Prefix or SingleFactor
    table : {"mixture", "balanced"}
        Table convention.

    Raises
    ------
    ValueError
        If an argument is out of range or positions have no label.

    Examples
    --------
    >>> from resolvent import SingleFactor
    >>> discriminant_weights(2.0, 0.3, SingleFactor([0.9, 0.9, 0.3])).round(3)
    array([0.474, 0.474, 0.052])
    """
    if not isinstance(positions, SingleFactor):
        raise ValueError(f"positions must have a label (Prefix or SingleFactor), got {positions!r}")
    signal, delta = number("signal", signal, least=0), number("delta", delta, least=0)
    c = positions.loadings
    power = signal**2 + (delta if one_of("table", table, TABLES) == "mixture" else 0.0)
    if delta < 1:
        w = c / (1 + power / (1 - delta) * (1 - c**2))
    else:
        certain = np.abs(c) == 1
        w = np.where(certain, c, 0.0) if certain.any() else c / np.maximum(1 - c**2, 1e-300)
    total = w.sum()
    return w / total if abs(total) > 1e-12 else mean(c.size)


def spread_window(
    signal: Any, delta: Any, gamma: Any, informative: int, *, table: str = "mixture"
) -> tuple[Any, Any]:
    """Penalties between which joint training spreads the weight over a prefix; outside, one position takes it all.

    Within a prefix only kappa, from 1/r (spread) to 1 (one position), enters the training loss, whose minimum is
    at one of the two ends; they are equal at the two penalties. Without enough samples (gamma >= 1) a weak
    penalty condenses too.

    Parameters
    ----------
    signal, delta, gamma : float or array
        As in `ridge_losses`; broadcast.
    informative : int
        Prefix length r >= 2.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    low, high : float or array
        low = 0 where every small penalty spreads (gamma < 1); both NaN where none does.

    Raises
    ------
    ValueError
        If an argument is out of range.
    RuntimeError
        If a root was not found.

    References
    ----------
    docs/theory/downstream.md, section 2.

    Examples
    --------
    >>> low, high = spread_window(1.0, 0.33, [0.5, 1.2, 2.0], 8)
    >>> low.round(4), high.round(3)
    (array([0.    , 0.0069,    nan]), array([2.255, 0.331,   nan]))
    """
    from scipy.optimize.elementwise import find_root

    r = natural("informative", informative, least=2)
    _, s, d, g = arrays(signal, delta, gamma, names="signal delta gamma")
    shape = np.broadcast_shapes(s.shape, d.shape, g.shape)
    s, d, g = (np.broadcast_to(v, shape).ravel() for v in (s, d, g))

    def excess(x: Any, s: Any, d: Any, g: Any) -> Any:
        spread, one = (
            ridge_losses(s, d, g, 1.0, 1.0, k, np.exp(x), table=table).objective for k in (1 / r, 1.0)
        )
        return np.log(spread / one)

    grid = np.linspace(-8, 8, 129) * np.log(10)
    below = excess(grid, s[:, None], d[:, None], g[:, None]) < 0
    some = below.any(axis=1)
    first, last = below.argmax(axis=1), grid.size - 1 - below[:, ::-1].argmax(axis=1)
    ends = []
    for at, other, beyond in ((first, first - 1, 0.0), (last, last + 1, np.inf)):
        end = np.where(some, beyond, np.nan)
        crossed = some & (other >= 0) & (other < grid.size)
        if crossed.any():
            bracket = (grid[at[crossed]], grid[other[crossed]])
            found = find_root(excess, bracket, args=(s[crossed], d[crossed], g[crossed]))
            if not found.success.all():
                raise RuntimeError(f"the window's end was not found: log(ridge) = {found.x}")
            end[crossed] = np.exp(found.x)
        ends.append(end.reshape(shape)[()])
    return ends[0], ends[1]
