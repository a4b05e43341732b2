"""In-context linear regression by one layer: exact risks of attention and H3, and prompts drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import natural, seed_number
from resolvent.in_context import AlignedTasks, GaussianTasks, RetrievedTasks
from resolvent.in_context.tasks import root
from resolvent.models.claims import Claim

__all__ = ["InContextPrediction", "InContextRegression", "InContextSimulation", "Multiplier"]

Tasks = GaussianTasks | RetrievedTasks | AlignedTasks


@dataclass(frozen=True)
class Multiplier:
    """By how much prompts are worth more than independent ones.

    Attributes
    ----------
    exact : float
        Length of an isotropic independent context that explains the same share of the query's variance, over n.
    approximate, risk : float
        a²d + 1 (its square for aligned queries), and the risk it gives.
    error : float
        Relative difference of that risk and the exact one.
    regime : str
        Where the approximation holds, and how far off it is here.
    """

    exact: float
    approximate: float
    risk: float
    error: float
    regime: str


@dataclass(frozen=True, eq=False)
class InContextPrediction:
    """Exact risks, the noise of the query's label included.

    Attributes
    ----------
    zero : float
        Of predicting zero.
    attention : float
        Least risk of linear attention, that is of preconditioned gradient descent.
    h3 : float
        Least risk of H3 with one filter, that is with weighted positions.
    per_channel : float or None
        Least risk of H3 with a filter for every channel; Gaussian tasks only.
    preconditioner, h3_preconditioner : array, shape (d, d)
        W of attention, and of H3 with the weights below.
    weights : array, shape (n,)
        w of H3, the largest entry one.
    multiplier : Multiplier or None
        For retrieved and aligned tasks.
    """

    model: InContextRegression
    zero: float
    attention: float
    h3: float
    per_channel: float | None
    preconditioner: np.ndarray
    h3_preconditioner: np.ndarray
    weights: np.ndarray
    multiplier: Multiplier | None

    @cached_property
    def bayes(self) -> float:
        """Risk of the best prediction whatever: ridge regression, Kalman's filter; posterior variance over 20,000 prompts."""
        return self._bayes[0]

    @property
    def bayes_spread(self) -> float:
        """Its standard error."""
        return self._bayes[1]

    @cached_property
    def _bayes(self) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        tasks, n = self.model.tasks, self.model.length
        found = []
        for _ in range(10):
            x, labels, query, _ = tasks.sample(2_000, n, rng)
            found.append(tasks.posterior(x, labels, query)[1])
        values = np.concatenate(found)
        return float(values.mean()), float(values.std() / np.sqrt(values.size))


@dataclass(frozen=True)
class InContextSimulation:
    """Mean squared errors over the same prompts; names are those of `InContextPrediction`.

    Attributes
    ----------
    seed, prompts : int
    zero, attention, h3, per_channel, bayes : float or None
    standard_error : dict of float
        Of each of them.
    paired : dict of (float, float)
        Difference to attention on the same prompts, and its standard error: errors have heavy tails, of which a
        difference is largely free.
    """

    seed: int
    prompts: int
    zero: float
    attention: float
    h3: float
    per_channel: float | None
    bayes: float | None
    standard_error: dict[str, float] = field(default_factory=dict)
    paired: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class InContextRegression:
    """Prompts (x_1, y_1, …, x_n, y_n, x), from which a layer predicts y.

    One layer of linear attention is one step of preconditioned gradient descent, xᵀW Σ y_i x_i; H3 weighs the positions too,
    xᵀW Σ w_i y_i x_i. All risks are exact at every d and n.

    Parameters
    ----------
    tasks : GaussianTasks, RetrievedTasks or AlignedTasks
        Law of the prompts.
    length : int, optional
        n >= 1; needed unless the tasks fix it.

    Raises
    ------
    ValueError
        If the length is missing, not a whole number >= 1 or not the tasks' own, or labels are always zero.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; the equivalence is proved in docs/theory/in_context.md, section 3.

    Examples
    --------
    >>> from resolvent.in_context import GaussianTasks, autoregressive
    >>> R, r = autoregressive(15, 0.8)
    >>> model = InContextRegression(GaussianTasks(5, noise=0.1, correlation=R, query_correlation=r))
    >>> prediction = model.predict()
    >>> round(prediction.attention, 3), round(prediction.h3, 3)
    (4.704, 4.226)
    >>> draw = model.simulate(seed=0, prompts=20_000)
    >>> bool(abs(draw.h3 - prediction.h3) < 4 * draw.standard_error["h3"])
    True
    """

    tasks: Tasks
    length: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.tasks, GaussianTasks | RetrievedTasks | AlignedTasks):
            raise ValueError(
                f"tasks must be GaussianTasks, RetrievedTasks or AlignedTasks, got {self.tasks!r}"
            )
        own = self.tasks.length
        length = own if self.length is None else natural("length", self.length)
        if length is None:
            raise ValueError("length must be given, as these tasks do not fix it, got None")
        if own is not None and length != own:
            raise ValueError(f"length must be the tasks' own {own}, got {length}")
        object.__setattr__(self, "length", length)
        if self.tasks.zero <= 0:
            raise ValueError("tasks must have labels that are not always zero, got a variance of 0")

    def risk(self, W: Any, weights: Any = None) -> float:
        """Exact risk of xᵀW Σ w_i y_i x_i, for any W and w, trained ones too.

        Parameters
        ----------
        W : array, shape (d, d)
        weights : array, shape (n,), optional
            All ones by default.
        """
        d, n = self.tasks.dimension, self.length
        W = np.asarray(W, dtype=float)
        w = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
        if W.shape != (d, d):
            raise ValueError(f"W must have shape ({d}, {d}), got {W.shape}")
        if w.shape != (n,):
            raise ValueError(f"weights must have shape ({n},), got {w.shape}")
        if not (np.isfinite(W).all() and np.isfinite(w).all()):
            raise ValueError("W and weights must be finite, got NaN or infinite entries")
        linear, quadratic = self.tasks.terms(W, w)
        return float(self.tasks.zero - 2 * linear + quadratic)

    def predict(self) -> InContextPrediction:
        """The optimal layers and their exact risks."""
        tasks, n = self.tasks, self.length
        ones = np.ones(n)
        W = tasks.preconditioner(ones)
        attention = self.risk(W)
        gaussian = isinstance(tasks, GaussianTasks)
        w, weighted, h3, per_channel = ones, W, attention, attention  # where positions are alike
        if isinstance(tasks, GaussianTasks) and not tasks.exchangeable:
            w = tasks.weights(n)
            weighted = tasks.preconditioner(w)
            h3, per_channel = self.risk(weighted, w), tasks.per_channel(n)
        return InContextPrediction(
            model=self,
            zero=tasks.zero,
            attention=attention,
            h3=h3,
            per_channel=per_channel if gaussian else None,
            preconditioner=W,
            h3_preconditioner=weighted,
            weights=w,
            multiplier=None if gaussian else self._multiplier(attention),
        )

    def _multiplier(self, attention: float) -> Multiplier:
        tasks = self.tasks
        assert not isinstance(tasks, GaussianTasks)
        share = (tasks.zero - attention) / (tasks.zero - tasks.noise)
        length = share * (tasks.dimension + 1 + tasks.noise) / (1 - share) if share < 1 else np.inf
        approximate, risk = tasks.approximation(self.length)
        error = abs(risk - attention) / attention
        spread = tasks.correlation**2 * tasks.dimension
        regime = (
            f"a²d of order one and n ~ d; here a²d = {spread:.3g}, n/d = {self.length / tasks.dimension:.3g}, "
            f"risk {100 * error:.2g} % off"
        )
        return Multiplier(float(length / self.length), approximate, risk, error, regime)

    def simulate(self, seed: int, *, prompts: int = 100_000, bayes: bool = True) -> InContextSimulation:
        """Mean squared errors of the optimal predictors on prompts drawn at random, all on the same ones.

        Parameters
        ----------
        seed : int
        prompts : int, default 100000
            At least 2. Drawn a few at a time.
        bayes : bool, default True
            Also the posterior mean, which takes a linear system a prompt.

        Returns
        -------
        InContextSimulation
        """
        rng = np.random.default_rng(seed_number(seed))
        count, tasks, n = natural("prompts", prompts, least=2), self.tasks, self.length
        found = self.predict()
        size = max(1, 2**21 // (n * tasks.dimension))
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, count, size):
            x, labels, query, last = tasks.sample(min(size, count - start), n, rng)

            def read(W: np.ndarray, w: np.ndarray) -> np.ndarray:
                pooled = ((w * labels)[:, None, :] @ x)[:, 0]  # noqa: B023 (used within this turn)
                return np.sum((query @ W) * pooled, axis=1)  # noqa: B023

            made = {
                "zero": np.zeros(last.size),
                "attention": read(found.preconditioner, np.ones(n)),
                "h3": read(found.h3_preconditioner, found.weights),
            }
            if isinstance(tasks, GaussianTasks) and not tasks.exchangeable:
                made["per_channel"] = _per_channel(tasks, x, labels, query)
            if bayes:
                made["bayes"] = tasks.posterior(x, labels, query)[0]
            parts.append({name: (last - value) ** 2 for name, value in made.items()})
        errors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        root_count = np.sqrt(count)
        paired = {
            name: (
                float((e - errors["attention"]).mean()),
                float((e - errors["attention"]).std(ddof=1) / root_count),
            )
            for name, e in errors.items()
            if name != "attention"
        }
        means: dict[str, Any] = {name: float(e.mean()) for name, e in errors.items()}
        return InContextSimulation(
            seed=int(seed),
            prompts=count,
            zero=means["zero"],
            attention=means["attention"],
            h3=means["h3"],
            per_channel=means.get(
                "per_channel", means["attention"] if isinstance(tasks, GaussianTasks) else None
            ),
            bayes=means.get("bayes"),
            standard_error={name: float(e.std(ddof=1) / root_count) for name, e in errors.items()},
            paired=paired,
        )

    def claims(self) -> list[Claim]:
        """Risks, which are exact at every size."""
        found = self.predict()
        risks = {name: getattr(found, name) for name in ("zero", "attention", "h3", "per_channel")}
        return [Claim(name, risk) for name, risk in risks.items() if risk is not None]

    def paired(self, seed: int) -> tuple[InContextSimulation, InContextPrediction]:
        """A draw without the posterior mean, whose risk is not claimed, and the prediction."""
        return self.simulate(seed, bayes=False), self.predict()


def _per_channel(tasks: GaussianTasks, x: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Σ_k (query_k) Σ_j w_kj x_jk y_j in the eigenbasis of S, w_k = l_k (l_k K + E)⁻¹ r."""
    values, vectors = np.linalg.eigh(tasks.whitened)
    K, E, r = tasks.positions(x.shape[1])
    systems = np.maximum(values, 0)[:, None, None] * K + np.diag(E)
    filters = (
        values[:, None]
        * np.linalg.solve(systems + 1e-300, np.broadcast_to(r[:, None], (values.size, r.size, 1)))[..., 0]
    )
    basis = np.linalg.pinv(root(tasks.feature_covariance), hermitian=True) @ vectors
    return np.einsum("mk,kj,mjk,mj->m", query @ basis, filters, x @ basis, labels, optimize=True)
