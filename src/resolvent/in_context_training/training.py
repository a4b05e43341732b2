"""Layers of linear attention and H3 trained on fresh prompts, from one start or many. Needs PyTorch."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resolvent.arguments import natural, number, seed_number, seed_numbers
from resolvent.in_context_training.descent import descend
from resolvent.in_context_training.layers import begin, one_thread, prompt
from resolvent.in_context_training.trained import Starts, Trained, measured
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    from resolvent.models.in_context import InContextRegression

__all__ = ["train", "train_many"]

EVERY = 200  # steps between checkpoints


def train(
    model: InContextRegression,
    layer: str = "attention",
    *,
    seed: int,
    steps: int = 3000,
    batch: int = 1024,
    rate: float = 1e-2,
    start: str = "aligned",
    width: int | None = None,
    prompts: int = 100_000,
    tolerance: float = 1e-2,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train a layer with Adam on fresh prompts, its rate falling to zero along a cosine, and measure what it has learned.

    Parameters
    ----------
    model : InContextRegression
    layer : {"attention", "h3"}
    seed : int
        Of the start, the prompts and the test, from three streams.
    steps, batch : int
        Of Adam, and prompts a step.
    rate : float
        Learning rate at the beginning.
    start : {"aligned", "structured", "random"}
        Structured: keys blind to labels, values blind to features, a constant filter. Aligned: besides, keys equal to queries
        and heads of the values' sign, so that W begins positive semi-definite. From the others some runs end in bad minima.
    width : int, optional
        Columns of Wq and Wk, or channels of H3; d + 1 by default.
    prompts : int, default 100000
        Of the test, the same for layer and optimum.
    tolerance : float, default 0.01
        A run has reached the optimum if its excess is below this share of the optimal risk.
    checkpoint : path, optional
        File written every 200 steps, from which an interrupted run goes on; it then gives the same bits.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If an argument is out of range, or `checkpoint` is damaged or of another run.
    RuntimeError
        If the loss overflows.

    Examples
    --------
    >>> from resolvent.in_context import GaussianTasks
    >>> from resolvent.models.in_context import InContextRegression
    >>> model = InContextRegression(GaussianTasks(2, noise=0.1), length=10)
    >>> run = train(model, seed=0, steps=300, batch=512, rate=0.03, prompts=20_000)
    >>> run.reached
    True
    """
    seed, steps, batch = seed_number(seed), natural("steps", steps), natural("batch", batch)
    rate, tolerance = number("rate", rate, above=0), number("tolerance", tolerance, above=0)
    prompts = natural("prompts", prompts, least=2)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    net = begin(model, layer, start, width, streams[0])
    n, rng, parameters = int(model.length or 0), streams[1], list(net.parameters())
    adam = torch.optim.Adam(parameters, lr=rate)
    losses = np.zeros(steps)
    key = _fingerprint(model, layer, start, width, seed, steps, batch, rate)
    path = None if checkpoint is None else Path(checkpoint)
    done = 0
    if path is not None and path.exists():
        done = _load(path, key, net, adam, rng, losses)
    ticks = range(done, steps)
    if progress:
        from tqdm.auto import tqdm

        ticks = tqdm(ticks, total=steps, initial=done, desc=f"{layer}, seed {seed}", leave=False)
    with one_thread():
        for step in ticks:
            adam.param_groups[0]["lr"] = float(rate * (1 + np.cos(np.pi * step / steps)) / 2)
            x, labels, query, last = model.tasks.sample(batch, n, rng)
            loss = ((net(prompt(x, labels, query)) - torch.from_numpy(last)) ** 2).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses[step] = loss.item()
            if not np.isfinite(losses[step]):
                raise RuntimeError(
                    f"training failed: loss {losses[step]} at step {step}; lower the rate {rate:g}"
                )
            if path is not None and ((step + 1) % EVERY == 0 or step + 1 == steps):
                _save(path, key, net, adam, rng, losses, step + 1)
        return measured(model, net, layer, start, seed, losses, tolerance, prompts, streams[2])


def train_many(
    model: InContextRegression,
    layer: str = "attention",
    *,
    seeds: Any = range(16),
    exact: bool = False,
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
    **options: Any,
) -> Starts:
    """Train from several starts, in parallel and resumable, and count those that reach the optimum.

    Parameters
    ----------
    model : InContextRegression
    layer : {"attention", "h3"}
    seeds : sequence of int
    exact : bool, default False
        Minimise the exact risk by `descend` instead.
    jobs : int, optional
        joblib's ``n_jobs``.
    memory : joblib.Memory, optional
        Finished runs are kept there.
    progress : bool, default False
        Show a progress bar on standard error.
    **options
        Of `train` or `descend`.

    Returns
    -------
    Starts

    Examples
    --------
    >>> from resolvent.in_context import GaussianTasks
    >>> from resolvent.models.in_context import InContextRegression
    >>> model = InContextRegression(GaussianTasks(2, noise=0.1), length=10)
    >>> train_many(model, seeds=range(4), start="random", exact=True, jobs=1).bad
    (2,)
    """
    # every task gets a model of its own, without cached properties: they would change its key in the memory
    runs = [
        {"model": replace(model, tasks=replace(model.tasks)), "layer": layer, "seed": seed, **options}
        for seed in seed_numbers(seeds)
    ]
    return Starts(
        tuple(
            run_all(
                descend if exact else train, runs, label=layer, jobs=jobs, memory=memory, progress=progress
            )
        )
    )


def _fingerprint(model: Any, *options: Any) -> str:
    """What a checkpoint belongs to: the tasks, bit for bit, and all options."""
    digest = hashlib.sha256(repr((type(model.tasks).__name__, model.length, options)).encode())
    for field in fields(model.tasks):
        value = getattr(model.tasks, field.name)
        digest.update(np.asarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


def _save(
    path: Path, key: str, net: Any, adam: Any, rng: np.random.Generator, losses: np.ndarray, done: int
) -> None:
    """Write all that a run needs to go on, under another name first: a file is whole or not there."""
    state = {
        "key": key,
        "done": done,
        "net": net.state_dict(),
        "adam": adam.state_dict(),
        "rng": json.dumps(rng.bit_generator.state),
        "losses": torch.from_numpy(losses),
    }
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    torch.save(state, part)
    os.replace(part, path)


def _load(path: Path, key: str, net: Any, adam: Any, rng: np.random.Generator, losses: np.ndarray) -> int:
    """Restore a run; returns the number of steps done."""
    try:
        state = torch.load(path, weights_only=True)  # tensors and plain values: no code is run
        found = state["key"]
    except Exception as error:  # whatever reading a damaged file may raise
        raise ValueError(
            f"checkpoint {str(path)!r} must be a whole file of `train`, got {type(error).__name__}"
        ) from None
    if found != key:
        raise ValueError(f"checkpoint {str(path)!r} must be of the same model and options, got another run's")
    net.load_state_dict(state["net"])
    adam.load_state_dict(state["adam"])
    rng.bit_generator.state = json.loads(state["rng"])
    losses[:] = state["losses"].numpy()
    return int(state["done"])
