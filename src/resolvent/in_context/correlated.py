"""Prompts whose context knows something of the query or of the task: retrieved examples, features along the task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resolvent.arguments import natural, number, one_of

__all__ = ["QUERIES", "AlignedTasks", "RetrievedTasks"]

QUERIES = ("aligned", "independent", "independent_scaled")


def _traces(W: np.ndarray) -> tuple[float, float, float]:
    """tr W, ‖W‖² and E (xᵀWx)² of a standard normal x."""
    trace, symmetric = float(np.trace(W)), (W + W.T) / 2
    return trace, float(np.sum(W**2)), trace**2 + 2 * float(np.sum(symmetric**2))


@dataclass(frozen=True)
class RetrievedTasks:
    """Examples retrieved for the query: x_i = a x + sqrt(1 − a²) g_i; β, x and g_i are standard normal, y = βᵀx + noise.

    Parameters
    ----------
    dimension : int
        d.
    correlation : float
        a in [0, 1], of query and context.
    noise : float, default 0
        Variance >= 0 of the noise of labels, the query's included.

    Raises
    ------
    ValueError
        If `correlation` is outside [0, 1] or `noise` negative.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; exact at every d, docs/theory/in_context.md, section 5.

    Examples
    --------
    >>> tasks = RetrievedTasks(20, 0.4, noise=0.5)
    >>> tasks.zero
    20.5
    """

    dimension: int
    correlation: float
    noise: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if self.correlation > 1:
            raise ValueError(f"correlation must be in [0, 1], got {self.correlation}")

    length = None
    exchangeable = True

    @property
    def zero(self) -> float:
        """Risk of predicting zero, d + noise."""
        return self.dimension + self.noise

    def terms(self, W: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        """E y f and E f² of f = xᵀW Σ_j w_j x_j y_j, for any W and w."""
        d, a2 = self.dimension, self.correlation**2
        t = 1 - a2
        trace, size, square = _traces(W)
        total, own = weights.sum(), weights @ weights
        linear = total * (a2 * (d + 2) + t) * trace
        together = (a2**2 * (d + 4) + 2 * a2 * t) * square + t**2 * size
        apart = a2 * t * (d + 2) * size + a2 * t * (d + 2) * square + t**2 * (d + 1) * size
        noise = self.noise * own * (a2 * square + t * size)
        return float(linear), float(total**2 * together + own * apart + noise)

    def preconditioner(self, weights: np.ndarray) -> np.ndarray:
        """The best W for these weights, a multiple of the identity."""
        return _multiple(self, weights)

    def weights(self, length: int) -> np.ndarray:
        """The best weights: all ones, as positions are alike."""
        return np.ones(length)

    def sample(self, prompts: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Prompts: context features (m, n, d), labels (m, n), query (m, d), its label (m,)."""
        d, a = self.dimension, self.correlation
        query = rng.standard_normal((prompts, d))
        x = rng.standard_normal((prompts, length, d))
        x *= np.sqrt(1 - a**2)
        x += a * query[:, None, :]
        beta = rng.standard_normal((prompts, d))
        labels = (x @ beta[:, :, None])[:, :, 0] + np.sqrt(self.noise) * rng.standard_normal(
            (prompts, length)
        )
        return (
            x,
            labels,
            query,
            (query * beta).sum(axis=1) + np.sqrt(self.noise) * rng.standard_normal(prompts),
        )

    def posterior(
        self, x: np.ndarray, labels: np.ndarray, query: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the query's label given the prompt: ridge regression, as features say nothing of β."""
        n = x.shape[1]
        gram = x @ x.transpose(0, 2, 1)
        gram[:, np.arange(n), np.arange(n)] += self.noise + 1e-10 * self.dimension
        cross = x @ query[:, :, None]
        solved = np.linalg.solve(gram, np.concatenate([labels[:, :, None], cross], axis=2))
        both = cross.transpose(0, 2, 1) @ solved
        return both[:, 0, 0], (query**2).sum(axis=1) - both[:, 0, 1] + self.noise

    def approximation(self, length: int) -> tuple[float, float]:
        """Multiplier of the sample size a²d + 1, and the risk it gives, for a = O(1/√d) and n ~ d."""
        d, multiplier = self.dimension, self.correlation**2 * self.dimension + 1
        n = multiplier * length
        return multiplier, d + self.noise - n * d / (n + d + self.noise)


@dataclass(frozen=True)
class AlignedTasks:
    """Features along the task: x_i ~ N(aβ, I), y_i = g βᵀx_i + noise, g² = 1/(a²d + 1), β standard normal.

    Parameters
    ----------
    dimension : int
        d.
    correlation : float
        a >= 0, of features and task.
    query : {"aligned", "independent", "independent_scaled"}
        "aligned": the query is drawn like the context, x ~ N(aβ, I), y = g βᵀx + noise. "independent":
        x ~ N(0, I), y = βᵀx + noise. "independent_scaled": x ~ N(0, I), y = g βᵀx + noise. No convention is the
        default: the sample size is worth (a²d + 1)² times as much in the first, a²d + 1 times in the others.
    noise : float, default 0
        Variance >= 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; exact at every d, docs/theory/in_context.md, section 6.

    Examples
    --------
    >>> AlignedTasks(20, 0.0, query="independent").zero
    20.0
    """

    dimension: int
    correlation: float
    query: str
    noise: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        one_of("query", self.query, QUERIES)

    length = None
    exchangeable = True

    @property
    def gain(self) -> float:
        """g² = 1/(a²d + 1)."""
        return 1 / (self.correlation**2 * self.dimension + 1)

    @property
    def zero(self) -> float:
        """Risk of predicting zero, E y²."""
        d, a2 = self.dimension, self.correlation**2
        power = {
            "aligned": self.gain * d * (1 + a2 * (d + 2)),
            "independent": d,
            "independent_scaled": self.gain * d,
        }
        return power[self.query] + self.noise

    def terms(self, W: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        """E y f and E f² of f = xᵀW Σ_j w_j x_j y_j, for any W and w."""
        d, a2, g2 = self.dimension, self.correlation**2, self.gain
        p = np.cumprod([1.0, d + 2, d + 4, d + 6])  # p[k] = E of |β|^2k over those of lower degree
        trace, size, square = _traces(W)
        total, own = weights.sum(), weights @ weights
        pairs = total**2 - own
        mean1 = 1 + a2 * p[1]  # E (1 + a²|β|²) on a form of degree two
        mean2 = 1 + 2 * a2 * p[1] + a2**2 * p[2]
        # a form of degree two in β (βᵀWᵀWβ, or |β|² tr WᵀW) times |β|^2k has mean p[k] times its own
        single = size * (a2**2 * p[2] + 5 * a2 * p[1] + 2 + d * (1 + a2 * p[1]))
        if self.query != "aligned":
            scale = np.sqrt(g2) if self.query == "independent" else g2
            noise = self.noise * own * (a2 * size + size)
            return float(scale * total * mean1 * trace), float(
                g2 * (pairs * mean2 * size + own * single) + noise
            )
        q = np.array([1.0, d + 4, (d + 4) * (d + 6)])  # the same of (βᵀWβ)²
        linear = g2 * total * mean2 * trace
        along_pairs = a2 * square * (1 + 2 * a2 * q[1] + a2**2 * q[2])
        along_single = square * (a2**2 * q[2] + a2 * q[1] + 4 * a2 * q[1] + 2) + size * (a2 * p[2] + p[1])
        quadratic = g2 * (pairs * mean2 * size + own * single + pairs * along_pairs + own * a2 * along_single)
        noise = self.noise * own * (a2 * size + size + a2 * (a2 * square + size))
        return float(linear), float(quadratic + noise)

    def preconditioner(self, weights: np.ndarray) -> np.ndarray:
        """The best W for these weights, a multiple of the identity."""
        return _multiple(self, weights)

    def weights(self, length: int) -> np.ndarray:
        """The best weights: all ones, as positions are alike."""
        return np.ones(length)

    def sample(self, prompts: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Prompts: context features (m, n, d), labels (m, n), query (m, d), its label (m,)."""
        d, a, g = self.dimension, self.correlation, np.sqrt(self.gain)
        beta = rng.standard_normal((prompts, d))
        x = rng.standard_normal((prompts, length, d)) + a * beta[:, None, :]
        query = rng.standard_normal((prompts, d))
        if self.query == "aligned":
            query += a * beta
        labels = g * (x @ beta[:, :, None])[:, :, 0] + np.sqrt(self.noise) * rng.standard_normal(
            (prompts, length)
        )
        last = (query * beta).sum(axis=1) * (1.0 if self.query == "independent" else g)
        return x, labels, query, last + np.sqrt(self.noise) * rng.standard_normal(prompts)

    def posterior(
        self, x: np.ndarray, labels: np.ndarray, query: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the query's label given the prompt: features are evidence of β beside labels."""
        d, a, g = self.dimension, self.correlation, np.sqrt(self.gain)
        s2 = max(self.noise, 1e-10)
        features = x if self.query != "aligned" else np.concatenate([x, query[:, None, :]], axis=1)
        precision = (1 + a**2 * features.shape[1]) * np.eye(d) + g**2 / s2 * (x.transpose(0, 2, 1) @ x)
        evidence = a * features.sum(axis=1) + g / s2 * (x.transpose(0, 2, 1) @ labels[:, :, None])[:, :, 0]
        solved = np.linalg.solve(precision, np.stack([evidence, query], axis=2))
        scale = 1.0 if self.query == "independent" else g
        both = query[:, None, :] @ solved
        return scale * both[:, 0, 0], scale**2 * both[:, 0, 1] + self.noise

    def approximation(self, length: int) -> tuple[float, float]:
        """Multiplier of the sample size, and the risk it gives, for a = O(1/√d) and n ~ d."""
        d, s2, k = self.dimension, self.noise, 1 / self.gain
        multiplier = k**2 if self.query == "aligned" else k
        n = multiplier * length
        if self.query == "independent_scaled":
            return multiplier, s2 + d / k * (1 - n / (n + d + s2))
        return multiplier, d + s2 - n * d / (n + d + s2)


def _check(tasks: RetrievedTasks | AlignedTasks) -> None:
    object.__setattr__(tasks, "dimension", natural("dimension", tasks.dimension))
    object.__setattr__(tasks, "correlation", number("correlation", tasks.correlation, least=0))
    object.__setattr__(tasks, "noise", number("noise", tasks.noise, least=0))


def _multiple(tasks: RetrievedTasks | AlignedTasks, weights: np.ndarray) -> np.ndarray:
    """The law is that of rotated features and tasks, and the risk convex in W: the best W commutes with rotations."""
    linear, quadratic = tasks.terms(np.eye(tasks.dimension), weights)
    return np.eye(tasks.dimension) * (linear / quadratic)
