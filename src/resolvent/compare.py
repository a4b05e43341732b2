"""Theory beside simulation: one labelled table with z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from resolvent.arguments import seed_numbers
from resolvent.models.claims import Claim
from resolvent.sweeps import run_all

if TYPE_CHECKING:
    import xarray

__all__ = ["Solvable", "compare"]


class Solvable(Protocol):
    """A model that knows its limit and draws finite samples of itself.

    Two more methods are optional. ``claims()`` lists a `resolvent.models.Claim` for every quantity that the theory
    is sure of at the model's setting, with what a finite size may add. ``paired(seed)`` returns a draw and what the theory
    says of that very draw, where this depends on it.

    Examples
    --------
    >>> from resolvent import PooledSequences, Prefix
    >>> model: Solvable = PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0)
    """

    def predict(self) -> Any:
        """The limit, its numbers as attributes."""

    def simulate(self, seed: int) -> Any:
        """One draw, with the same names where they mean the same."""


def compare(
    model: Solvable,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Simulate a model at several seeds and set the means against its prediction.

    Parameters
    ----------
    model : any solvable model of the package, or an object with ``predict()`` and ``simulate(seed)``
        What is compared are the model's own ``claims()``, see `Solvable` and `resolvent.models.Claim`. Of an object without
        them it is every finite number and entry of a vector that both outcomes have under one name, and nothing is allowed
        for the finite size.
    seeds : sequence of int
        At least two.
    jobs, memory, progress
        See `resolvent.sweeps.run_all`.

    Returns
    -------
    xarray.Dataset
        Over ``quantity``, fields that prediction and simulation share: ``predicted``, ``expected`` (the same for a
        sample of this size, where the theory says how it differs), ``simulated`` (means over seeds),
        ``standard_error`` of simulated − expected, ``z`` = (simulated − expected) / standard error, ``allowance`` (what
        a finite dimension may still add, c/d) and ``agrees``: whether they differ by at most four standard errors plus
        the allowance. Entries of vectors are labelled ``leading[0]``, means of several ``leading[0:2]``. What a model
        claims, and with which c, stands at its ``claims``: nothing where the theory says nothing, as of an outlier below
        its threshold. Allowances hold away from the transition, which a finite size smooths.

    Raises
    ------
    ValueError
        If fewer than two seeds are given, the model lacks one of the two methods, or nothing can be compared.

    Examples
    --------
    >>> from resolvent import PooledClasses, PooledSequences, Prefix, class_means
    >>> table = compare(PooledSequences(100, 200, 300, Prefix(20, 5), "mean", 2.0), range(8))
    >>> bool(table.agrees.sel(quantity="overlap"))
    True
    >>> classes = PooledClasses(100, 200, 300, Prefix(40, 20), "mean", class_means(strengths=[2.0, 0.5]))
    >>> compare(classes, range(4)).quantity.values.tolist()
    ['leading[0]', 'subspace_overlap[0]', 'leading[1]', 'subspace_overlap[1]', 'leading[2]']

    A model of one's own needs the two methods and no more:

    >>> from types import SimpleNamespace
    >>> class Covariance:  # of n isotropic samples
    ...     def predict(self):
    ...         return SimpleNamespace(trace=1.0, square=1.0 + 50 / 200)
    ...     def simulate(self, seed):
    ...         x = np.random.default_rng(seed).standard_normal((200, 50))
    ...         values = np.linalg.eigvalsh(x.T @ x / 200)
    ...         return SimpleNamespace(trace=values.mean(), square=(values**2).mean())
    >>> compare(Covariance(), range(50)).to_dataframe()[["predicted", "simulated", "agrees"]].round(2)
              predicted  simulated  agrees
    quantity
    trace          1.00       1.00    True
    square         1.25       1.25    True
    """
    import xarray as xr

    seeds = seed_numbers(seeds)
    if len(seeds) < 2:
        raise ValueError(f"seeds must hold at least two seeds, for a standard error, got {len(seeds)}")
    claims, stated = _claims(model)
    quantities = [claim.quantity for claim in claims]
    draws = run_all(
        _draw,
        [{"model": model, "quantities": quantities, "seed": seed} for seed in seeds],
        label="simulations",
        jobs=jobs,
        memory=memory,
        progress=progress,
    )
    claims, values, theory = _joined(model, claims, draws, stated)
    # stated expected values are one for all draws; else what is expected is what the theory says of each draw
    own = np.array([claim.expected is not None for claim in claims])
    predicted = np.where(own, [float(claim.predicted) for claim in claims], theory.mean(axis=0))
    finite = np.array([float(claim.expected) if at else p for claim, at, p in zip(claims, own, predicted)])
    allowance = np.array([claim.allowance(value) for claim, value in zip(claims, finite)])
    error = np.std(values - np.where(own, 0.0, theory), axis=0, ddof=1) / np.sqrt(len(seeds))
    error = np.hypot(error, [claim.standard_error for claim in claims])
    mean = values.mean(axis=0) - finite
    with np.errstate(divide="ignore", invalid="ignore"):  # some never vary, such as an accuracy of one
        z = mean / error
    return xr.Dataset(
        {
            "predicted": ("quantity", predicted),
            "expected": ("quantity", finite),
            "simulated": ("quantity", values.mean(axis=0)),
            "standard_error": ("quantity", error),
            "z": ("quantity", z),
            "allowance": ("quantity", allowance),
            "agrees": ("quantity", np.abs(mean) <= 4 * error + allowance),
        },
        coords={"quantity": [claim.quantity for claim in claims]},
    )


def _claims(model: Any) -> tuple[list[Claim], bool]:
    """What a model claims, and whether it says so itself; otherwise all numbers of its prediction."""
    verbs = [verb for verb in ("predict", "simulate") if not callable(getattr(model, verb, None))]
    if verbs or isinstance(model, type):
        lacks = f", which lacks {' and '.join(verbs)}" if verbs else ", which is a class"
        raise ValueError(f"model must have methods predict() and simulate(seed), got {model!r}{lacks}")
    stated = callable(getattr(model, "claims", None))
    claims = list(model.claims()) if stated else _numbers(model.predict())
    if not claims:
        raise ValueError(f"model must be where its theory claims something that is simulated, got {model!r}")
    return claims, stated


def _numbers(prediction: Any) -> list[Claim]:
    """Every finite number among the attributes of a prediction, and every one in its vectors."""
    found = []
    names = ("_fields", "__dataclass_fields__", "__dict__")  # of a named tuple, a dataclass, any other object
    for name in next((found for found in (getattr(prediction, n, None) for n in names) if found), ()):
        value = getattr(prediction, name)
        if name.startswith("_") or not isinstance(value, (int, float, np.ndarray, np.number)):
            continue
        value = np.asarray(value)
        if value.dtype.kind in "iuf" and value.ndim < 2:
            found += [
                Claim(name + (f"[{i}]" if value.ndim else ""), float(number))
                for i, number in enumerate(np.atleast_1d(value))
                if np.isfinite(number)
            ]
    return found


def _draw(model: Any, quantities: list[str], seed: int) -> tuple[list[Any], list[Any] | None]:
    """Quantities of one draw, and of what the theory says of that draw if it does."""
    if callable(getattr(model, "paired", None)):
        draw, theory = model.paired(seed)
        return [_read(draw, name) for name in quantities], [_read(theory, name) for name in quantities]
    draw = model.simulate(seed)
    return [_read(draw, name) for name in quantities], None


def _read(outcome: Any, quantity: str) -> float | None:
    """The number under the label of a `Claim`; None where there is none."""
    path, _, index = quantity.rstrip("]").partition("[")
    try:
        found = attrgetter(path)(outcome)
        if index:
            place = [slice(*map(int, i.split(":"))) if ":" in i else int(i) for i in index.split(",")]
            found = np.mean(np.asarray(found)[tuple(place)])
    except (AttributeError, IndexError):
        return None
    return None if found is None or np.ndim(found) else float(found)


def _joined(
    model: Any, claims: list[Claim], draws: list[Any], stated: bool
) -> tuple[list[Claim], np.ndarray, np.ndarray]:
    """Claims that simulations share, their values in each draw, and what the theory says of each."""
    shared = [i for i in range(len(claims)) if all(values[i] is not None for values, _ in draws)]
    if stated and len(shared) < len(claims):
        lost = [claim.quantity for i, claim in enumerate(claims) if i not in shared]
        raise ValueError(f"model must simulate what it claims, got no number for {lost} from {model!r}")
    if not shared:
        raise ValueError(
            f"model must predict and simulate a number under one name, got {[c.quantity for c in claims]} of which "
            f"simulate() of {model!r} has none"
        )
    claims = [claims[i] for i in shared]
    values = np.array([[row[i] for i in shared] for row, _ in draws])
    theory = np.tile([float(claim.predicted) for claim in claims], (len(draws), 1))
    for row, (_, given) in zip(theory, draws):
        if given is not None:
            row[:] = [limit if given[i] is None else given[i] for i, limit in zip(shared, row)]
    return claims, values, theory
