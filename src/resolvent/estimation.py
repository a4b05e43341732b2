r"""Parameters of the pooled-sequence model from documents, and the alignment they predict.

Token ids and a static table give R, ‖mu‖, delta and gamma with standard errors, the alignment under mean, causal
and learned weights, and how many more documents a wanted alignment needs. Derived in docs/theory/estimation.md;
`resolvent.held_out.check_held_out` checks predictions on documents that they have not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import weights as weighting
from resolvent.arguments import natural, number, one_of, require, seed_number
from resolvent.crossfit import Frame, Spike, compact, cross_fit
from resolvent.models import PooledSequences
from resolvent.pooling import check_table, check_tokens
from resolvent.positions import Correlated
from resolvent.reading import effective_delta, isotropic, realisable

if TYPE_CHECKING:
    import xarray

__all__ = ["WEIGHTS", "Estimate", "Needed", "estimate"]

WEIGHTS = ("mean", "causal", "learned")
LEAST_DOCUMENTS = 40
ROUNDS = 8
LARGEST = 10**15  # numbers of documents beyond this are no plan


@dataclass(frozen=True)
class Needed:
    """Answer of `Estimate.samples_for`.

    Attributes
    ----------
    samples : int or None
        Smallest number of documents in all that reaches the alignment; None when unknown.
    more : int or None
        How many more than there are; 0 when there are enough.
    low, high : float
        95 % interval of `samples` from the error of q; `high` may be infinite.
    alignment : float
        What was asked for.
    reason : str
        The answer in words.
    """

    samples: int | None
    more: int | None
    low: float
    high: float
    alignment: float
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, eq=False)
class Estimate:
    """Answer of `estimate`.

    `q`, alignments and plans come from the white frame and assume no law of the table. `signal`, `correlation`,
    `noise`, alpha and snr are their reading in the model, whose table noise is isotropic; on a real table they
    are what an isotropic table would need to look the same.

    Attributes
    ----------
    samples, length, dimension, rank : int
        N, T, d, and the dimensions in which tokens vary.
    gamma : float
        d / N.
    delta, delta_error : float
        Effective d/V = d·sum p_v², p the frequencies of tokens, and its standard error.
    noise : float
        Variance sigma² of table noise; NaN where no signal is detected.
    signal, signal_error : float
        ‖mu‖ in units of sigma and its standard error; NaN where no signal is detected.
    correlation, correlation_error : array, shape (T, T)
        R and the standard errors of its entries; NaN off the diagonal where no signal is detected.
    spikes : dict of str to Spike
        What was measured under each of the weights "mean", "causal", "learned".
    learning : str
        How the learned weights came about.
    """

    samples: int
    length: int
    dimension: int
    rank: int
    gamma: float
    delta: float
    delta_error: float
    noise: float
    signal: float
    signal_error: float
    correlation: np.ndarray = field(repr=False)
    correlation_error: np.ndarray = field(repr=False)
    spikes: dict[str, Spike] = field(repr=False)
    learning: str
    strength: float = field(repr=False)  # g: G = gR off the diagonal
    strength_error: float = field(repr=False)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights by name, each of shape (T,)."""
        return {name: spike.weights for name, spike in self.spikes.items()}

    @property
    def detected(self) -> bool:
        """Whether documents share anything along a direction, under any weights."""
        return any(spike.detected for spike in self.spikes.values())

    @cached_property
    def table(self) -> xarray.Dataset:
        """Signal, noise, net spike, alignment and outlier over `weights`, as an ``xarray.Dataset``."""
        import xarray as xr

        rows = [self._row(name) for name in self.spikes]
        return xr.Dataset(
            {key: ("weights", [row[key] for row in rows]) for key in rows[0]},
            coords={"weights": list(self.spikes)},
            attrs={"samples": self.samples, "length": self.length, "rank": self.rank, "gamma": self.gamma},
        )

    def _row(self, name: str) -> dict[str, Any]:
        spike = self.spikes[name]
        kappa = float(spike.weights @ spike.weights)
        low, high = spike.interval()
        overlap = spike.overlap(spike.q)
        # the sample's own overlap wanders about its limit, whatever is known of q
        wander = 1.96 * spike.wandering * overlap
        below = np.hypot(overlap - spike.overlap(low), wander)
        above = np.hypot(spike.overlap(high) - overlap, wander)
        snr = 1 + spike.q / self.strength if spike.detected else float("nan")
        error = np.hypot(spike.error, (snr - 1) * self.strength_error) / self.strength
        return {
            "kappa": kappa,
            "alpha": snr * kappa,
            "snr": snr,
            "snr_error": float(error),
            "detected": spike.detected,
            "q": spike.q,
            "q_error": spike.error,
            "q_low": low,
            "q_high": high,
            "threshold": spike.background.least(spike.samples),
            "alignment": overlap,
            "alignment_low": float(max(overlap - below, 0.0)),
            "alignment_high": float(min(overlap + above, 1.0)),
            "outlier": spike.outlier(spike.q, self.samples) * kappa,
            "eigenvalue": float(spike.eigenvalues[0]) * kappa,
        }

    def samples_for(self, alignment: float, weights: str = "learned") -> Needed:
        """Smallest number of documents whose leading direction has a wanted squared overlap with the true one.

        Parameters
        ----------
        alignment : float
            In (0, 1).
        weights : {"mean", "causal", "learned"}

        Returns
        -------
        Needed

        Raises
        ------
        ValueError
            If the alignment is not in (0, 1) or the weights are unknown.

        References
        ----------
        docs/theory/estimation.md, section 2.
        """
        target = number("alignment", alignment, above=0)
        require("alignment", alignment, target < 1, "in (0, 1)")
        spike = self.spikes[one_of("weights", weights, WEIGHTS)]
        low, high = spike.interval()
        fewest = _documents(spike, high, target)
        if not spike.detected:
            reason = f"no signal is told from noise at {self.samples:,} documents under {weights} weights"
            if fewest > self.samples:
                reason += (
                    f": a squared overlap of {target:g} needs more than {_shown(fewest)}, if any number does"
                )
            return Needed(None, None, fewest, float("inf"), target, reason)
        exact, most = _documents(spike, spike.q, target), _documents(spike, low, target)
        if not exact < LARGEST:
            reason = f"no practical number of documents reaches a squared overlap of {target:g}"
            return Needed(None, None, fewest, float("inf"), target, reason)
        samples = int(np.ceil(exact))
        more = max(samples - self.samples, 0)
        enough = f"{more:,} more than" if more else "no more than"
        reason = (
            f"{samples:,} documents ({_shown(fewest)} to {_shown(most)}), {enough} the {self.samples:,} there are, "
            f"reach a squared overlap of {target:g} under {weights} weights"
        )
        return Needed(samples, more, fewest, most, target, reason)

    def model(self, weights: str = "learned") -> PooledSequences:
        """Model with these parameters, to simulate or to predict from.

        The vocabulary is the even number nearest to d/delta. R is clipped to [-1, 1], moved to the nearest
        correlation matrix and, where the sampler of `Correlated` needs it, shrunk towards the identity until
        sin(pi R/2) has no negative eigenvalue.

        Raises
        ------
        ValueError
            If no signal is detected, or the weights are unknown.
        """
        one_of("weights", weights, WEIGHTS)
        if not self.detected:
            raise ValueError(f"model needs a signal: none is told from noise in {self.samples:,} documents")
        return PooledSequences(
            self.dimension,
            max(2 * round(self.dimension / self.delta / 2), 2),
            self.samples,
            Correlated(realisable(self.correlation)),
            self.weights[weights],
            self.signal,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and lists, for JSON; NaN and infinite numbers become None."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("samples", "length", "dimension", "rank", "gamma", "delta", "delta_error", "noise")
        }
        plain |= {name: getattr(self, name) for name in ("signal", "signal_error", "learning")}
        plain["correlation"] = self.correlation
        plain["correlation_error"] = self.correlation_error
        plain["weights"] = {name: {"weights": w, **self._row(name)} for name, w in self.weights.items()}
        return _jsonable(plain)

    def __str__(self) -> str:
        lines = [
            f"{self.samples:,} documents of {self.length} tokens in {self.rank} dimensions (of {self.dimension})",
            f"gamma {self.gamma:.4g}, delta {self.delta:.4g} ± {self.delta_error:.2g}, "
            + (
                f"‖mu‖ {self.signal:.4g} ± {self.signal_error:.2g}" if self.detected else "no signal detected"
            ),
            "weights        q         snr      alignment (95 %)        outlier, seen",
        ]
        for name in self.spikes:
            row = self._row(name)
            shown = (
                f"{row['q']:6.3g} ± {row['q_error']:<7.2g} {row['snr']:6.3g}   {row['alignment']:.3f} "
                f"({row['alignment_low']:.3f} to {row['alignment_high']:.3f})   {row['outlier']:.4g}, {row['eigenvalue']:.4g}"
                if row["detected"]
                else f"no signal told from noise; q is below {row['q_high']:.3g}"
            )
            lines.append(f"{name:<8} {shown}")
        return "\n".join([*lines, f"learned weights: {self.learning}"])


def estimate(tokens: Any, table: Any, *, seed: int = 0, folds: int = 20) -> Estimate:
    """Estimate R, ‖mu‖, delta and the alignment of pooled features from documents of tokens.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
        Rows of the table; at least 40 documents, and at least as many as positions.
    table : array, shape (V, d)
        Static token embeddings.
    seed : int, default 0
        Shuffles the documents before they are dealt into folds.
    folds : int, default 20
        Blocks of documents, each scored along a direction found on the others; standard errors come from
        their spread. At most N/2.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If there are too few documents, tokens lie outside the table, or the table does not vary or is not finite.

    References
    ----------
    docs/theory/estimation.md.

    Examples
    --------
    >>> from resolvent.positions import Prefix
    >>> from resolvent.tables import draw_noise, draw_tokens, token_signs
    >>> rng = np.random.default_rng(0)
    >>> tokens = draw_tokens(Prefix(12, 4).sample(600, rng=rng), 200, rng=rng)
    >>> table = draw_noise(200, 40, rng=rng)
    >>> table[:, 0] += token_signs(200)
    >>> answer = estimate(tokens, table)
    >>> bool(abs(answer.signal - 1) < 3 * answer.signal_error), bool(answer.weights["learned"][:4].sum() > 0.8)
    (True, True)
    >>> answer.samples_for(0.9, "mean").samples > 600
    True
    """
    tokens, table = checked(tokens, table)
    folds = natural("folds", folds, least=2)
    n, length = tokens.shape
    order = np.random.default_rng(seed_number(seed)).permutation(n)
    tokens = tokens[order]
    index, rows = compact(tokens, table)
    folds = min(folds, n // 2)
    spikes = {
        name: cross_fit(Frame.at(index, rows, w), folds)
        for name, w in (("mean", weighting.mean(length)), ("causal", weighting.causal(length)))
    }
    spikes["learned"], learning = _learn(spikes, folds)
    best = max(spikes.values(), key=lambda spike: spike.q if spike.detected else 0.0)
    delta, delta_error = effective_delta(tokens, table.shape[1], folds)
    reading = isotropic(best, spikes["mean"].frame, table.shape[1], delta)
    return Estimate(
        samples=n,
        length=length,
        dimension=table.shape[1],
        rank=spikes["mean"].frame.rank,
        gamma=table.shape[1] / n,
        delta=delta,
        delta_error=delta_error,
        spikes=spikes,
        learning=learning,
        **reading,
    )


def checked(tokens: Any, table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and table as arrays, or raise ``ValueError`` when nothing can be estimated from them."""
    table = check_table("table", table)
    tokens = check_tokens("tokens", tokens, table.shape[0])
    n, length = tokens.shape
    if length < 2:
        raise ValueError(f"tokens must have at least 2 positions, got {length}: one has no correlations")
    if n < LEAST_DOCUMENTS:
        raise ValueError(f"tokens must hold at least {LEAST_DOCUMENTS} documents, got {n}")
    if n < length:
        raise ValueError(
            f"tokens must hold at least as many documents as positions, to estimate R, got {n} of {length} positions"
        )
    if not table.size or not np.ptp(table[np.unique(tokens)], axis=0).any():
        raise ValueError("table must vary: all tokens of the documents have the same row")
    return tokens, table


def _learn(spikes: dict[str, Spike], folds: int) -> tuple[Spike, str]:
    """Alternate between the direction at the weights and the weights that its correlations want."""
    start = max(spikes, key=lambda name: spikes[name].seen)
    current, w = spikes[start], spikes[start].weights
    for _ in range(ROUNDS):
        wanted, reason = weighting.spectral(current.gram)
        cosine = wanted @ w / np.sqrt((wanted @ wanted) * (w @ w))
        w = wanted
        current = cross_fit(
            Frame.at(current.frame.tokens, current.frame.rows, w),
            folds,
            relearn=lambda gram: weighting.spectral(gram)[0],
        )
        if cosine > 0.999:
            break
    if spikes[start].detected and not current.detected:
        return spikes[start], f"{start} weights: what others share is not told from noise"
    return current, f"{reason}, from {start} pooling"


def _documents(spike: Spike, q: float, target: float) -> float:
    """Documents at which a net spike q has the squared overlap `target`: n = (a + c² b)/(1 − c²), a, b at n = 1."""
    companions = spike.background.companions
    if q <= max(companions, default=0.0):
        return float("inf")
    others = np.append(0.0, companions)
    many = np.append(spike.frame.rank - companions.size, np.ones(companions.size))
    a, b = many @ ((1 + others) / (q - others)) ** 2, many @ ((1 + others) / (q - others))
    effective = (a + target * b) / (1 - target)
    return float(effective * spike.blurring(q) + 1)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _shown(documents: float) -> str:
    return f"{int(np.ceil(documents)):,}" if documents < LARGEST else "unboundedly many"
