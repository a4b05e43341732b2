"""Planning an experiment: the smallest samples, vocabulary, snr or signal that reaches an alignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.arguments import natural, number, one_of, require

__all__ = ["Plan", "plan"]

UNKNOWNS = ("samples", "vocabulary", "snr", "signal")
LARGEST = 10**15  # sizes beyond this are no plan


@dataclass(frozen=True)
class Plan:
    """Answer of `plan`.

    Attributes
    ----------
    unknown : str
        What was solved for.
    value : int, float or None
        Its smallest value, None when no value reaches the target.
    overlap : float
        Squared overlap at that value, or the best attainable.
    target : float
        What was asked for.
    reason : str
        The answer in words.
    """

    unknown: str
    value: int | float | None
    overlap: float
    target: float
    reason: str

    @property
    def reachable(self) -> bool:
        """Whether some value reaches the target."""
        return self.value is not None

    def __str__(self) -> str:
        return self.reason


def plan(
    overlap: float,
    *,
    dimension: int,
    vocabulary: int | None = None,
    samples: int | None = None,
    snr: float | None = None,
    signal: float | None = None,
    table: str = "mixture",
) -> Plan:
    """Find the smallest value of the one missing quantity that reaches a wanted alignment.

    Give the dimension and all but one of `vocabulary`, `samples`, `snr` and `signal`.

    Parameters
    ----------
    overlap : float
        Wanted squared overlap with the signal direction, in (0, 1).
    dimension : int
        d.
    vocabulary : int, optional
        V, even. In a mixture table the overlap need not grow with V (a smaller vocabulary carries a
        stronger spike, along a worse direction); the smallest V that reaches the target is returned.
    samples : int, optional
        N.
    snr : float, optional
        alpha/kappa of the weights; at most lambda_max(R), which no weights exceed.
    signal : float, optional
        ‖mu‖.
    table : {"mixture", "balanced"}
        Table convention.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If not exactly one quantity is missing, or a value is out of range.

    References
    ----------
    Inverts equations 3 and 4 of docs/theory/pooled.md.

    Examples
    --------
    >>> answer = plan(0.5, dimension=1000, vocabulary=4000, snr=5.0, signal=1.0)
    >>> answer.unknown, answer.value
    ('samples', 384)
    >>> print(plan(0.9, dimension=1000, vocabulary=1000, snr=5.0, signal=1.0))
    no number of samples reaches a squared overlap of 0.9: even infinitely many give 0.4938
    """
    target = number("overlap", overlap, above=0)
    require("overlap", overlap, target < 1, "in (0, 1)")
    one_of("table", table, spikes.TABLES)
    dimension = natural("dimension", dimension)
    given: dict[str, Any] = {
        "samples": samples,
        "vocabulary": vocabulary,
        "snr": snr,
        "signal": signal,
    }
    missing = [name for name in UNKNOWNS if given[name] is None]
    if len(missing) != 1:
        raise ValueError(
            f"exactly one of {', '.join(UNKNOWNS)} must be left out, to be solved for; missing: "
            f"{', '.join(missing) or 'none'}"
        )
    (unknown,) = missing
    if samples is not None:
        given["samples"] = natural("samples", samples)
    if vocabulary is not None:
        given["vocabulary"] = natural("vocabulary", vocabulary, least=2)
        if given["vocabulary"] % 2:
            raise ValueError(f"vocabulary must be even, so that the signs balance, got {vocabulary}")
    for name in ("snr", "signal"):
        if given[name] is not None:
            given[name] = number(name, given[name], above=0)

    def reached(value: Any) -> Any:
        at = {**given, unknown: value}
        return spikes.alignment(
            at["signal"],
            at["snr"],
            np.divide(dimension, at["vocabulary"]),
            np.divide(dimension, at["samples"]),
            table,
        )

    if unknown == "vocabulary":
        return _plan_vocabulary(reached, target, dimension)
    if unknown == "samples":
        best = float(reached(np.inf))
        if best <= target:
            return Plan(
                unknown,
                None,
                best,
                target,
                f"no number of samples reaches a squared overlap of {target:.8g}: even infinitely many give "
                f"{best:.4g}",
            )
        count = _smallest_whole(lambda n: bool(reached(n) >= target), 1, 1)
        return _answer(unknown, count, reached, target, "samples")
    best = float(reached(1e12))
    if best <= target:
        return Plan(
            unknown,
            None,
            best,
            target,
            f"no {unknown} reaches a squared overlap of {target:.8g}: even an infinite one gives {best:.8g}"
            + (
                f", because the table's own class means (delta = {dimension / given['vocabulary']:.4g}) tilt the "
                "spike away from the signal; a larger vocabulary would help"
                if table == "mixture"
                else ""
            ),
        )
    from scipy.optimize import brentq  # here, so that importing resolvent stays fast

    high = 1.0
    while reached(high) < target:
        high *= 2
    low = high
    while reached(low) >= target:
        low /= 2
    value = brentq(lambda v: float(reached(v)) - target, low, high, xtol=1e-300, rtol=1e-14)
    value = float(value) if reached(value) >= target else float(np.nextafter(value * (1 + 1e-14), np.inf))
    return _answer(unknown, value, reached, target, unknown)


def _plan_vocabulary(reached: Callable[[Any], Any], target: float, dimension: int) -> Plan:
    # not monotone: look along a fine grid from small to large, then between two of its points
    grid = np.unique(2 * np.round(np.geomspace(1, LARGEST, 20_001) / 2).astype(np.int64).clip(1))
    along = reached(grid.astype(float))
    while along.max() < target:  # the best may lie between points of the grid
        at = int(along.argmax())
        low, high = int(grid[max(at - 1, 0)]), int(grid[min(at + 1, grid.size - 1)])
        if (high - low) <= 2 * (grid.size - 1) and grid.size <= 2001:
            break
        grid = np.unique(2 * np.linspace(low // 2, high // 2, 2001).astype(np.int64))
        along = reached(grid.astype(float))
    good = np.flatnonzero(along >= target)
    if not good.size:
        best, at = float(along.max()), int(along.argmax())
        where = "an infinite one" if at == along.size - 1 else f"{int(grid[at]):,} tokens"
        found = f"the best, {best:.4g}, is at {where}" if best > 0 else "the signal shows at none"
        reason = f"no vocabulary reaches a squared overlap of {target:.8g}: {found}; more samples, signal or snr would help"
        return Plan("vocabulary", None, best, target, reason)
    first = int(good[0])
    start = int(grid[first - 1]) + 2 if first else 2
    count = _smallest_whole(lambda v: bool(reached(float(v)) >= target), start, 2)
    return _answer("vocabulary", count, reached, target, "tokens in the vocabulary")


def _smallest_whole(good: Callable[[int], bool], start: int, step: int) -> int:
    """Smallest start + k·step that is good, where good is monotone from `start` on."""
    high = 0
    while not good(start + high * step):
        high = 2 * high + 1
        if high > LARGEST:
            raise ValueError("overlap is so close to its limit that no practical size reaches it")
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(start + middle * step) else (middle, high)
    return start + high * step


def _answer(
    unknown: str, value: int | float, reached: Callable[[Any], Any], target: float, noun: str
) -> Plan:
    overlap = float(reached(value))
    if value == 1:
        noun = noun.replace("samples", "sample")
    shown = (
        f"{value:,} {noun} reach{'es' * (value == 1)}"
        if isinstance(value, int)
        else f"{noun} {value:.6g} reaches"
    )
    reason = f"{shown} a squared overlap of {overlap:.8g} (wanted {target:.8g})"
    return Plan(unknown, value, overlap, target, reason)
