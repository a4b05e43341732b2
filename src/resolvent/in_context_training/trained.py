"""What a trained layer has learned, beside the optimum of its kind. Needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from resolvent.in_context_training.layers import H3, LinearAttention, exact_risk, prompt

__all__ = ["Starts", "Trained", "measured"]


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained layer, compared with the optimum of its kind.

    Attributes
    ----------
    layer, start : str
    seed, steps : int
    preconditioner, weights : array, shape (d, d), (n,)
        W and w of the gradient step it has learned, the largest weight one.
    risk, optimum : float
        Exact risks, of that step and of the best one.
    excess, excess_error : float
        Of the whole layer over the best step: mean difference of squared errors on the same fresh prompts, and its
        standard error.
    rest : float
        E rest², mean square of the part of the layer's output that is not a gradient step, on those prompts.
    preconditioner_distance : float
        Relative distance of W to the best one, up to scale: sine of their angle.
    weights_distance : float
        Largest difference of w to the best weights.
    losses : array, shape (steps,)
    reached : bool
        Whether the excess is below `tolerance` times the optimum. Runs that have not reached it are reported as they are.
    least_curvature : float or None
        After `descend`: least eigenvalue of the risk's Hessian in the parameters, zero (for symmetries) or above at a minimum.
    """

    layer: str
    start: str
    seed: int
    steps: int
    preconditioner: np.ndarray
    weights: np.ndarray
    risk: float
    optimum: float
    excess: float
    excess_error: float
    rest: float
    preconditioner_distance: float
    weights_distance: float
    losses: np.ndarray
    reached: bool
    least_curvature: float | None = None


@dataclass(frozen=True, eq=False)
class Starts:
    """Trained layers from several starts: none is left out.

    Attributes
    ----------
    runs : tuple of Trained
    """

    runs: tuple[Trained, ...]

    @property
    def share(self) -> float:
        """Share of starts that have reached the optimum."""
        return float(np.mean([run.reached for run in self.runs]))

    @property
    def bad(self) -> tuple[int, ...]:
        """Seeds of those that have not."""
        return tuple(run.seed for run in self.runs if not run.reached)

    @property
    def best(self) -> Trained:
        """The run with the lowest training loss at its end (mean of the last tenth), a choice that needs no theory."""
        return min(self.runs, key=lambda run: float(run.losses[-max(1, len(run.losses) // 10) :].mean()))


def measured(
    model: Any,
    net: LinearAttention | H3,
    layer: str,
    start: str,
    seed: int,
    losses: np.ndarray,
    tolerance: float,
    prompts: int = 0,
    rng: np.random.Generator | None = None,
    least_curvature: float | None = None,
) -> Trained:
    """Compare with the optimum, on fresh prompts or, without any, exactly."""
    theory, n = model.predict(), model.length
    W, w = net.preconditioner(n), net.weights(n)
    attention = layer == "attention"
    best_W = theory.preconditioner if attention else theory.h3_preconditioner
    best_w = np.ones(n) if attention else theory.weights
    optimum = theory.attention if attention else theory.h3
    if rng is None:
        with torch.no_grad():
            risk, rest = (float(value) for value in exact_risk(net, model.tasks, n))
        excess, error = risk - optimum, 0.0
    else:
        parts = []
        size = max(1, 2**21 // (n * len(W)))
        for begin in range(0, prompts, size):
            x, labels, query, last = model.tasks.sample(min(size, prompts - begin), n, rng)
            with torch.no_grad():
                full = net(prompt(x, labels, query)).numpy()
            ours, best = (
                np.sum((query @ P) * ((v * labels)[:, None, :] @ x)[:, 0], axis=1)
                for P, v in ((W, w), (best_W, best_w))
            )
            parts.append(np.stack([(last - full) ** 2 - (last - best) ** 2, (full - ours) ** 2]))
        values = np.concatenate(parts, axis=1)
        excess, rest = (float(value) for value in values.mean(axis=1))
        error = float(values[0].std(ddof=1) / np.sqrt(prompts))
    size_W = np.linalg.norm(W) * np.linalg.norm(best_W)
    cosine = np.sum(W * best_W) / size_W if size_W > 0 else 0.0
    return Trained(
        layer=layer,
        start=start,
        seed=seed,
        steps=losses.size,
        preconditioner=W,
        weights=w,
        risk=model.risk(W, w),
        optimum=optimum,
        excess=excess,
        excess_error=error,
        rest=rest,
        preconditioner_distance=float(np.sqrt(max(0.0, 1 - cosine**2))),
        weights_distance=float(np.abs(w - best_w).max()),
        losses=losses,
        reached=bool(excess <= tolerance * optimum),
        least_curvature=least_curvature,
    )
