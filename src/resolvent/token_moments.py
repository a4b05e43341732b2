"""Running moments of token sequences: everything that pooling weights, spectra and nulls are computed from.

One accumulator, small and mergeable, whatever the number of sequences: covariance of the pooled vectors, the part of
it that independent tokens explain, the positional Gram matrix (within and between classes), and token counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resolvent import weights as weighting
from resolvent.arguments import arrays, natural
from resolvent.token_sequences import SequenceError, TokenSequences

__all__ = ["TokenMoments", "position_weights"]


@dataclass(eq=False)
class TokenMoments:
    """Running sums over token sequences, made by `empty`; ``a + b`` are those of both sets.

    Sequences are pooled by the one rule for lengths (`resolvent.token_sequences`). Sums over positions, which `gram`
    and `noise` need, take the first T tokens of those sequences that have as many; ``position_count`` says how many.

    Parameters
    ----------
    weights : array, shape (T,)
        Over positions.
    keep : bool, default False
        Keep the pooled vectors themselves, in `pooled`.
    noise_sums : bool, default True
        Sum w_l² x_l x_lᵀ over positions, for `noise()`; T times the work of the pooled covariance.
    gram : bool, default False
        Sum products of tokens at two positions, for `positional_gram()`, `within()` and `between()`.
    classes : int, default 1
        Number of classes of labels.
    vocabulary : int, default 0
        Rows of the table whose tokens are counted, for ids; 0 does not count.

    Attributes
    ----------
    count : int
        Sequences seen.
    sums : dict of arrays
        The sums themselves, about a first guess of the means.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table, ids = rng.standard_normal((50, 3)), rng.integers(0, 50, (200, 4))
    >>> parts = [TokenMoments.empty("mean", 4, gram=True).add(part, table=table) for part in (ids[:80], ids[80:])]
    >>> both = parts[0] + parts[1]
    >>> both.count, both.covariance().shape, both.positional_gram().shape
    (200, (3, 3), (4, 4))
    """

    weights: np.ndarray
    keep: bool = False
    noise_sums: bool = True
    gram: bool = False
    classes: int = 1
    vocabulary: int = 0
    count: int = 0
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    pooled: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def empty(
        cls,
        weights: Any,
        length: int,
        keep: bool = False,
        *,
        noise: bool = True,
        gram: bool = False,
        classes: int = 1,
        vocabulary: int = 0,
    ) -> TokenMoments:
        """No sequences yet; `weights` are numbers, "mean" or "causal", over `length` positions."""
        w = position_weights(weights, natural("length", length))
        return cls(
            w, keep, noise, gram, natural("classes", classes), natural("vocabulary", vocabulary, least=0)
        )

    @property
    def length(self) -> int:
        """Positions T."""
        return self.weights.size

    @property
    def width(self) -> int | None:
        """Dimension d; None before the first sequence."""
        return self.sums["shift"].size if self.count else None

    @property
    def position_count(self) -> int:
        """Sequences of at least T tokens, which the sums over positions hold."""
        return int(self.sums["position_count"].sum()) if "position_count" in self.sums else 0

    def add(self, X: Any, *, mask: Any = None, table: Any = None, labels: Any = None) -> TokenMoments:
        """Count further sequences in; nothing changes where that raises.

        Parameters
        ----------
        X : array or sequence of arrays
            Token vectors (n, L, d), or a sequence of (L_i, d); with `table` ids (n, L), or a sequence of (L_i,);
            or pooled vectors (n, d), which enter the covariance only.
        mask : array, shape (n, L), optional
            True where there is a token.
        table : array, shape (V, d), optional
            Embeddings of the ids.
        labels : array of int, shape (n,), optional
            Class of each sequence, below `classes`.

        Returns
        -------
        TokenMoments
            Itself.

        Raises
        ------
        ValueError
            If shapes disagree or differ from those before, a sequence is empty, ids are outside the table, or a
            value is not finite (the first such sequence is named).
        """
        if table is None and isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f":
            new = self._of_pooled(X.astype(np.float32 if X.dtype.itemsize <= 4 else np.float64))
        else:
            new = self.of(TokenSequences(X, mask, table, dtype=None), labels)
        merged = self + new
        self.count, self.sums, self.pooled = merged.count, merged.sums, merged.pooled
        return self

    def blank(self) -> TokenMoments:
        """No sequences, of the same kind as these."""
        settings = (self.keep, self.noise_sums, self.gram, self.classes, self.vocabulary)
        return TokenMoments(self.weights, *settings)

    def _of_pooled(self, z: np.ndarray) -> TokenMoments:
        """Moments of some pooled vectors alone, which are centred in place."""
        new = self.blank()
        new.count = z.shape[0]
        if not new.count:
            return new
        # any guess near the mean will do: products with ones are faster than sums
        ones = np.ones(new.count, dtype=z.dtype)
        shift = (self.sums["shift"] if self.count else (ones / new.count) @ z).astype(z.dtype)
        if not np.isfinite(shift).all():
            raise _overflow(z)
        if z.shape[1] != shift.size:
            raise ValueError(f"X must have {shift.size} features a token, as before, got {z.shape[1]}")
        if self.keep:
            new.pooled = [z.astype(float)]
        z -= shift
        total = ones @ z
        scatter = z.T @ z
        if not (np.isfinite(total).all() and np.isfinite(scatter.trace())):
            raise _overflow(z)
        kept = {"shift": shift, "total": total, "scatter": scatter}
        new.sums = {name: value.astype(float) for name, value in kept.items()}
        return new

    def of(self, data: TokenSequences, labels: Any = None) -> TokenMoments:
        """Moments of some sequences alone, of the same kind as these."""
        new = self._of_pooled(data.combine(data.weights(self.weights)))
        if self.vocabulary:
            new.sums["token_counts"] = data.counts(self.vocabulary)
        if not (self.gram or self.noise_sums):
            return new
        y = np.zeros(data.n, dtype=int) if labels is None else np.asarray(labels)
        if y.shape != (data.n,) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= self.classes:
            raise ValueError(
                f"labels must be {data.n} whole numbers below classes = {self.classes}, got {y.dtype} of shape {y.shape}"
            )
        length, d = self.length, data.width
        total = np.zeros((length, self.classes, d))
        gram, scatter = np.zeros((length, length)), np.zeros((d, d) if self.noise_sums else (0, 0))
        shift = self.sums.get("position_shift")
        w = np.abs(self.weights)[:, None, None]
        for chosen, x in data.prefixes(length):
            if shift is None:
                shift = x.mean(axis=1, dtype=float)
            x -= shift[:, None].astype(x.dtype)
            member = (y[chosen] == np.arange(self.classes)[:, None]).astype(x.dtype)
            total += member @ x
            if self.gram:
                flat = x.reshape(length, -1)
                gram += flat @ flat.T
            if self.noise_sums:
                weighted = (x * w.astype(x.dtype)).reshape(-1, d)
                scatter += weighted.T @ weighted
        if shift is not None:
            full = np.bincount(y[data.lengths >= length], minlength=self.classes)
            own = {"position_count": full, "position_shift": shift, "position_total": total}
            new.sums |= own | {"gram": gram, "token_scatter": scatter}
        return new

    def __add__(self, other: TokenMoments) -> TokenMoments:
        """Moments of both sets of sequences."""
        for name in ("length", "classes", "vocabulary", "gram", "noise_sums"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"moments must agree on {name}, got {getattr(self, name)} and {getattr(other, name)}"
                )
        if not np.array_equal(self.weights, other.weights):
            raise ValueError("moments must be of the same weights")
        if not self.count or not other.count:
            return other if not self.count else self
        if self.width != other.width:
            raise ValueError(f"moments must be of one width, got {self.width} and {other.width}")
        a, b, n = self.sums, other.sums, other.count
        move = b["shift"] - a["shift"]  # to count the others about our shift
        total, scatter = a["total"] + b["total"], a["scatter"] + b["scatter"]
        if move.any():
            cross = np.outer(b["total"] + n / 2 * move, move)
            total, scatter = total + n * move, scatter + cross + cross.T
        sums = {"shift": a["shift"], "total": total, "scatter": scatter}
        if "token_counts" in a or "token_counts" in b:
            sums["token_counts"] = a.get("token_counts", 0) + b.get("token_counts", 0)
        if "gram" in a and "gram" in b:
            sums |= self._positions_merged(a, b)
        else:
            own = a if "gram" in a else b
            keys = ("position_count", "position_shift", "position_total", "gram", "token_scatter")
            sums |= {key: own[key] for key in keys if key in own}
        new = self.blank()
        new.keep = self.keep and other.keep
        new.count, new.sums = self.count + n, sums
        new.pooled = self.pooled + other.pooled if new.keep else []
        return new

    def _positions_merged(self, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        move, counts = b["position_shift"] - a["position_shift"], b["position_count"]
        n, total = int(counts.sum()), b["position_total"].sum(axis=1)
        cross = total @ move.T
        scatter = a["token_scatter"] + b["token_scatter"]
        if scatter.size:
            w = self.weights[:, None]
            mixed = (w * total).T @ (w * move)
            scatter = scatter + mixed + mixed.T + n * (w * move).T @ (w * move)
        return {
            "position_count": a["position_count"] + counts,
            "position_shift": a["position_shift"],
            "position_total": a["position_total"] + b["position_total"] + counts[:, None] * move[:, None, :],
            "gram": a["gram"] + b["gram"] + cross + cross.T + n * move @ move.T,
            "token_scatter": scatter,
        }

    def mean(self) -> np.ndarray:
        """Of the pooled vectors, shape (d,)."""
        self._need("count")
        return self.sums["shift"] + self.sums["total"] / self.count

    def covariance(self) -> np.ndarray:
        """Of the pooled vectors, shape (d, d)."""
        self._need("count")
        total = self.sums["total"]
        return (self.sums["scatter"] - np.outer(total, total) / self.count) / (self.count - 1)

    def noise(self) -> np.ndarray:
        """S₀ = sum_l w_l² Cov(x_l), shape (d, d)."""
        self._need("noise_sums")
        n = self.position_count
        weighted = self.sums["position_total"].sum(axis=1) * self.weights[:, None]
        return (self.sums["token_scatter"] - weighted.T @ weighted / n) / (n - 1)

    def positional_gram(self) -> np.ndarray:
        """K with K[l, l'] = mean of ⟨x_l − mean, x_l' − mean⟩ over sequences, shape (T, T)."""
        self._need("gram")
        n, total = self.position_count, self.sums["position_total"].sum(axis=1)
        return (self.sums["gram"] - total @ total.T / n) / (n - 1)

    def within(self) -> np.ndarray:
        """The part of `positional_gram` inside classes, shape (T, T)."""
        self._need("gram")
        counts = self.sums["position_count"]
        return (self.sums["gram"] - self._explained()) / (counts.sum() - np.count_nonzero(counts))

    def between(self) -> np.ndarray:
        """Products of the class means of positions about the mean of all, free of noise bias, shape (T, T)."""
        self._need("gram")
        counts, total = self.sums["position_count"], self.sums["position_total"].sum(axis=1)
        n, present = counts.sum(), np.count_nonzero(counts)
        return (self._explained() - total @ total.T / n) / n - self.within() * (present - 1) / n

    def _explained(self) -> np.ndarray:
        counts = np.maximum(self.sums["position_count"], 1)
        scaled = self.sums["position_total"] / np.sqrt(counts)[:, None]
        flat = scaled.reshape(self.length, -1)
        return flat @ flat.T

    def _need(self, what: str) -> None:
        least = self.classes + 1 if what == "gram" else 2
        held = self.count if what == "count" else self.position_count
        asked = {"gram": self.gram, "noise_sums": self.noise_sums}.get(what, True)
        if not asked:
            raise ValueError(f"moments must be made with {what.removesuffix('_sums')}=True for this")
        if held < least:
            kind = "sequences" if what == "count" else f"sequences of at least {self.length} tokens"
            raise ValueError(f"moments must hold at least {least} {kind}, got {held}")

    @property
    def design_effect(self) -> float:
        """tr covariance / tr S₀; NaN where only pooled vectors were seen."""
        if not self.noise_sums or self.position_count < 2:
            return np.nan
        return float(np.trace(self.covariance()) / np.trace(self.noise()))

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, which `from_state` takes back."""
        settings = [self.keep, self.noise_sums, self.gram, self.classes, self.vocabulary, self.count]
        out = {"weights": self.weights, "settings": np.array(settings, dtype=np.int64)} | self.sums
        return out | ({"pooled": np.concatenate(self.pooled)} if self.pooled else {})

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> TokenMoments:
        """The moments that `state` came from."""
        keep, noise, gram, classes, vocabulary, count = (int(number) for number in state["settings"])
        sums = {key: value for key, value in state.items() if key not in ("weights", "settings", "pooled")}
        pooled = [state["pooled"]] if "pooled" in state else []
        flags = (bool(keep), bool(noise), bool(gram))
        return cls(state["weights"], *flags, classes, vocabulary, count, sums, pooled)

    def save(self, path: str | Path) -> None:
        """Write to an ``.npz`` file, whole or not at all."""
        write_arrays(Path(path), self.state())

    @classmethod
    def load(cls, path: str | Path) -> TokenMoments:
        """Read what `save` wrote."""
        return cls.from_state(read_arrays(Path(path)))


def _overflow(z: np.ndarray) -> ValueError:
    """What to say of vectors whose sum is not finite."""
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if bad.size:
        return SequenceError("X must be finite, got NaN or infinite entries in sequence", int(bad[0]))
    return ValueError(
        f"X must hold numbers whose sums and squares {z.dtype} can hold, got up to {np.abs(z).max()}"
    )


def write_arrays(path: Path, state: dict[str, np.ndarray]) -> None:
    """Write arrays to an ``.npz`` file in one step: an interruption leaves the file before, or this one."""
    if path.suffix != ".npz":
        raise ValueError(f"path must end in .npz, got {str(path)!r}")
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.npz")
    try:
        np.savez(part, **state)  # type: ignore[arg-type]
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote, or ``ValueError`` naming the file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise ValueError(f"{str(path)!r} is damaged ({error})") from error


def position_weights(weights: Any, length: int) -> np.ndarray:
    """Weights over positions as numbers, shape (length,)."""
    if isinstance(weights, str):
        if weights not in ("mean", "causal"):
            raise ValueError(f"weights must be 'mean', 'causal' or {length} numbers, got {weights!r}")
        return getattr(weighting, weights)(length)
    w = np.asarray(arrays(weights, names="weights")[1], dtype=float)
    if w.shape != (length,) or not np.isfinite(w).all() or not w.any():
        raise ValueError(f"weights must be {length} finite numbers, not all zero, got shape {w.shape}: {w}")
    return w
