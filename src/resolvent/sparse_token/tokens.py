"""The data of sparse-token classification: L tokens of pure noise, a few of which carry the signal when y = +1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent.arguments import generator, natural, number

__all__ = ["SparseTokens"]


@dataclass(frozen=True)
class SparseTokens:
    """Samples X (L x d) with X = theta v ξᵀ + Z when y = +1 and X = Z when y = −1.

    P(y = +1) = rarity; v marks R of the L tokens, uniformly and anew for every sample; Z has independent
    standard normal entries; ξ is one fixed unit vector, or one of K orthonormal ones, drawn per sample.

    Parameters
    ----------
    length, informative : int or sequence of int
        L and R, with 1 <= R < L. Of several values every sample draws one, each equally likely (repeat a value to
        give it more weight); samples shorter than the longest are padded and masked.
    signal : float
        theta > 0.
    rarity : float
        pi = P(y = +1), strictly between 0 and 1.
    signals : int, default 1
        K, the number of signal directions.

    Raises
    ------
    ValueError
        If an argument is out of range, or some R is not below every L.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, section 2; random R and L and several signals are ours,
    docs/theory/sparse_token.md, section 1.

    Examples
    --------
    >>> tokens = SparseTokens(length=10, informative=2, signal=5.0, rarity=0.5)
    >>> x, labels, mask = tokens.sample(100, dimension=50, rng=0)
    >>> x.shape, labels.shape, bool(mask.all())
    ((100, 10, 50), (100,), True)
    """

    length: int | tuple[int, ...]
    informative: int | tuple[int, ...]
    signal: float
    rarity: float
    signals: int = 1

    def __post_init__(self) -> None:
        for name, least in (("length", 2), ("informative", 1)):
            value = getattr(self, name)
            several = np.iterable(value) and not isinstance(value, str)
            checked = (
                tuple(natural(name, one, least) for one in value) if several else natural(name, value, least)
            )
            if checked == ():
                raise ValueError(f"{name} must hold at least one whole number >= {least}, got none")
            object.__setattr__(self, name, checked)
        if self.informatives.max() >= self.lengths.min():
            raise ValueError(
                f"informative must be below length, got informative {self.informative} and length {self.length}"
            )
        object.__setattr__(self, "signal", number("signal", self.signal, above=0))
        object.__setattr__(self, "rarity", number("rarity", self.rarity, above=0))
        if self.rarity >= 1:
            raise ValueError(f"rarity must be strictly between 0 and 1, got {self.rarity}")
        object.__setattr__(self, "signals", natural("signals", self.signals))

    @property
    def lengths(self) -> np.ndarray:
        """Possible L, each equally likely."""
        return np.atleast_1d(self.length)

    @property
    def informatives(self) -> np.ndarray:
        """Possible R, each equally likely."""
        return np.atleast_1d(self.informative)

    @cached_property
    def kinds(self) -> np.ndarray:
        """Distinct pairs (L, R) and their probability, shape (kinds, 3)."""
        pairs = [(L, R) for L in self.lengths for R in self.informatives]
        distinct, counts = np.unique(pairs, axis=0, return_counts=True)
        return np.column_stack([distinct, counts / len(pairs)])

    def mean(self, function: Callable[[np.ndarray, np.ndarray], Any]) -> Any:
        """Average of ``function(L, R)`` over the kinds of samples; leading axis of its value is the kinds'."""
        lengths, informatives, probability = self.kinds.T
        return np.tensordot(probability, np.asarray(function(lengths, informatives)), axes=1)

    def draw(self, n: int, *, rng: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Everything about n samples but their noise.

        Returns
        -------
        labels : array, shape (n,)
            ±1.
        mask : array of bool, shape (n, longest L)
            True where there is a token.
        marked : array of bool, shape (n, longest L)
            v: True where a token carries the signal; all False when y = −1.
        which : array of int, shape (n,)
            Signal direction of each sample, 0 … K−1 (drawn for y = −1 too, without effect).
        """
        rng = generator(rng)
        labels = np.where(rng.random(n) < self.rarity, 1, -1)
        lengths = rng.choice(self.lengths, n)
        informatives = rng.choice(self.informatives, n)
        which = rng.integers(self.signals, size=n)
        longest = int(self.lengths.max())
        mask = np.arange(longest) < lengths[:, None]
        order = np.where(
            mask, rng.random((n, longest)), 2.0
        )  # a uniform subset: the R smallest of L uniforms
        kth = np.take_along_axis(np.sort(order, axis=1), informatives[:, None] - 1, axis=1)
        marked = (order <= kth) & (labels > 0)[:, None]
        return labels, mask, marked, which

    def sample(self, n: int, *, dimension: int, rng: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens in full: X of shape (n, longest L, d), zero where padded; labels; mask.

        The signal directions are the first K axes.
        """
        if natural("dimension", dimension) < self.signals:
            raise ValueError(
                f"dimension must be at least the number of signals {self.signals}, got {dimension}"
            )
        rng = generator(rng)
        labels, mask, marked, which = self.draw(natural("n", n), rng=rng)
        x = rng.standard_normal((n, mask.shape[1], dimension))
        rows, positions = np.nonzero(marked)
        x[rows, positions, which[rows]] += self.signal
        x *= mask[:, :, None]
        return x, labels, mask

    def chunks(
        self, n: int, *, dimension: int, seed: Any, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The same n samples each time it is called with a seed, a few at a time, so that n x L x d is never held.

        `size` is the number of samples a chunk, by default what makes 32 MiB.
        """
        size = size or max(1, 2**22 // (int(self.lengths.max()) * dimension))
        starts = range(0, n, size)
        for start, stream in zip(starts, np.random.SeedSequence(seed).spawn(len(starts)), strict=True):
            yield self.sample(min(size, n - start), dimension=dimension, rng=np.random.default_rng(stream))
