"""Minima of the exact risk over all parameters of a layer, good and bad. Needs PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resolvent.arguments import number, seed_number
from resolvent.in_context.tasks import GaussianTasks
from resolvent.in_context_training.layers import begin, exact_risk, one_thread
from resolvent.in_context_training.trained import Trained, measured

if TYPE_CHECKING:
    from resolvent.models.in_context import InContextRegression

__all__ = ["descend"]


def descend(
    model: InContextRegression,
    layer: str = "attention",
    *,
    seed: int,
    start: str = "random",
    width: int | None = None,
    tolerance: float = 1e-2,
) -> Trained:
    """Minimise the exact risk of a whole layer from a start (L-BFGS, then Newton in a trust region): where training ends when prompts are many.

    Parameters
    ----------
    model : InContextRegression
        With `GaussianTasks`.
    layer, seed, start, width, tolerance
        As in `train`.

    Returns
    -------
    Trained
        `excess` and `rest` are exact, `excess_error` is zero.

    Raises
    ------
    ValueError
        If the tasks are not Gaussian, or an argument is out of range.
    RuntimeError
        If the gradient does not vanish.

    References
    ----------
    The exact risk is derived in docs/theory/in_context.md, section 10.

    Examples
    --------
    >>> from resolvent.in_context import GaussianTasks
    >>> from resolvent.models.in_context import InContextRegression
    >>> model = InContextRegression(GaussianTasks(2, noise=0.1), length=10)
    >>> run = descend(model, seed=0)
    >>> bool(run.excess < 1e-8), bool(run.rest < 1e-8)
    (True, True)
    """
    from scipy.optimize import minimize

    tasks = getattr(model, "tasks", None)
    if not isinstance(tasks, GaussianTasks):
        raise ValueError(f"model must have GaussianTasks, got {model!r}")
    tolerance = number("tolerance", tolerance, above=0)
    net = begin(model, layer, start, width, np.random.default_rng(seed_number(seed)))
    parameters, n = list(net.parameters()), int(model.length or 0)
    losses: list[float] = []

    def risk_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        torch.nn.utils.vector_to_parameters(torch.from_numpy(flat.copy()), parameters)
        risk = exact_risk(net, tasks, n)[0]
        losses.append(risk.item())
        return losses[-1], _flat(torch.autograd.grad(risk, parameters)).numpy()

    def hessian(flat: np.ndarray) -> np.ndarray:
        torch.nn.utils.vector_to_parameters(torch.from_numpy(flat.copy()), parameters)
        risk = exact_risk(net, tasks, n)[0]
        gradient = _flat(torch.autograd.grad(risk, parameters, create_graph=True))
        each = torch.eye(flat.size, dtype=torch.float64)
        rows = torch.autograd.grad(gradient, parameters, each, is_grads_batched=True)
        return torch.cat([part.reshape(flat.size, -1) for part in rows], dim=1).numpy()

    with one_thread():
        first = torch.nn.utils.parameters_to_vector(parameters).detach().numpy()
        options: dict[str, Any] = {"maxiter": 200, "ftol": 0.0, "gtol": 1e-6, "maxcor": 30}
        near = minimize(risk_and_gradient, first, jac=True, method="L-BFGS-B", options=options)
        # close to the optimum the risk is quartic in some directions, where only curvature helps
        options = {"maxiter": 3000, "gtol": 1e-7 * tasks.zero}
        end = minimize(
            risk_and_gradient, near.x, jac=True, hess=hessian, method="trust-exact", options=options
        )
        size = float(np.abs(end.jac).max())
        if not end.success and size > 1e-5 * tasks.zero:  # rounding may stop it a little above its goal
            raise RuntimeError(
                f"no minimum was found: risk {end.fun:.8g}, largest gradient {size:.1e} ({end.message})"
            )
        least = float(np.linalg.eigvalsh(hessian(end.x))[0])
        return measured(model, net, layer, start, seed, np.array(losses), tolerance, least_curvature=least)


def _flat(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
