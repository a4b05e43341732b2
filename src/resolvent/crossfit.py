r"""Cross-fitted pooled signal of documents of tokens, in the frame where their tokens are white.

The covariance Sigma of tokens, known from token counts, is whitened away; the covariance of pooled features is
then kappa·I plus what the tokens of a document share. A direction is found on some documents and its strength
measured on others, so that the strength is not inflated by the search. Derived in docs/theory/estimation.md,
sections 1 to 4.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from resolvent import nulls

__all__ = ["Background", "Frame", "Spike", "compact", "cross_fit"]

DETECTED = 3.0  # standard errors of the held-out signal; a null passes about once in 700
WANDERING = 3.0  # spread of the held-out signal of nothing, in the standard errors that folds show
EDGE_MARGIN = 4.0  # Tracy-Widom units above the edge; a null passes less than once in 10^5


@dataclass(frozen=True, eq=False)
class Background:
    """What blurs a leading direction in the white frame: a flat bulk and the other directions that stand out.

    Attributes
    ----------
    rank : int
        Dimensions of the frame.
    companions : array, shape (k,)
        Net spikes q_j of the other directions.
    """

    rank: int
    companions: np.ndarray

    def blur(self, q: float, samples: float) -> tuple[float, float, float, np.ndarray]:
        r"""Squared overlap, outlier in units of kappa, its slope, and leakage to every other direction.

        With l = 1 + q and l_j over the rank − 1 other directions: outlier ψ = l(1 + b), overlap (1 − a)/(1 + b),
        a = (1/n) sum l_j²/(l − l_j)², b = (1/n) sum l_j/(l − l_j). Without companions these are
        `spikes.outlier` and `spikes.overlap` at delta = 0. The leakage sums to one minus the overlap; its first
        entry is that of the whole bulk.
        """
        others = np.append(0.0, self.companions)
        many = np.append(self.rank - self.companions.size, np.ones(self.companions.size)) / samples
        gap = q - others
        if q <= 0 or (gap <= 0).any():
            return 0.0, float("nan"), 0.0, np.zeros(others.size)
        a, b = many @ ((1 + others) / gap) ** 2, many @ ((1 + others) / gap)
        leak = many * (1 + others) * (1 + q) / gap**2 / (1 + b)
        outlier = (1 + q) * (1 + b)
        if a >= 1:  # not told apart from the rest
            return 0.0, float("nan"), 0.0, leak / max(leak.sum(), 1.0)
        return float((1 - a) / (1 + b)), float(outlier), float(1 - a), leak

    def least(self, samples: float) -> float:
        """Smallest net spike that shows: the root of a = 1 beyond all companions; sqrt(rank/n) without any."""
        low = float(max(self.companions, default=0.0))
        high = low + 1 + np.sqrt(self.rank / samples) * (1 + low) * 4
        while self.blur(high, samples)[2] <= 0:
            high = low + 2 * (high - low)
        while high - low > 1e-9 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if self.blur(middle, samples)[2] > 0 else (middle, high)
        return high

    def seen(self, q: float, samples: float) -> float:
        """Net signal along the sample's direction, c²·q plus what leaks from companions: rises with q."""
        overlap, _, _, leak = self.blur(q, samples)
        return overlap * q + float(leak[1:] @ self.companions) if overlap > 0 else 0.0

    def unseen(self, seen: float, samples: float) -> float:
        """Net spike q of which `seen` is the held-out signal; the least that shows if that is too small."""
        low = self.least(samples)
        high = max(2 * low, 2 * seen, 1.0)
        while self.seen(high, samples) < seen:
            high *= 2
        while high - low > 1e-9 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if self.seen(middle, samples) >= seen else (middle, high)
        return high


@dataclass(frozen=True, eq=False)
class Frame:
    """Documents pooled by weights, in the frame where what independent tokens explain is the identity.

    Attributes
    ----------
    tokens : array of int, shape (N, T)
        Rows of `rows`.
    rows : array, shape (used, d)
        Tokens that occur, centred.
    weights : array, shape (T,)
    whitener : array, shape (d, rank)
        What makes a token white.
    x : array, shape (N, rank)
        White pooled features, centred, of weights scaled to norm one.
    """

    tokens: np.ndarray = field(repr=False)
    rows: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    whitener: np.ndarray = field(repr=False)
    x: np.ndarray = field(repr=False)

    @classmethod
    def at(cls, tokens: np.ndarray, rows: np.ndarray, w: np.ndarray) -> Frame:
        """Frame of documents at weights, by their own token counts."""
        null = nulls.token_noise(tokens, rows, w)
        x = (null.features - null.features.mean(axis=0)) @ null.whitener.astype(rows.dtype)
        whitener = null.whitener * np.linalg.norm(w)
        return cls(tokens, rows, w, whitener, x)

    @property
    def rank(self) -> int:
        """Dimensions in which tokens vary."""
        return self.whitener.shape[1]

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues of the covariance of tokens, in the order of the columns of x, shape (rank,)."""
        return 1 / np.sum(self.whitener**2, axis=0)

    def effective(self, documents: float) -> float:
        """Independent documents that blur as these do.

        Whitening by one's own tokens fixes sum_l w_l² S_ll, the share 1/T_eff = sum w⁴/kappa² of the noise.
        """
        return (documents - 1) / max(1 - self.fixed, 1e-6)

    @property
    def fixed(self) -> float:
        """1/T_eff = sum w⁴/(sum w²)²: the share of the noise that whitening by one's own tokens takes away."""
        w = self.weights
        return float(np.sum(w**4) / np.sum(w**2) ** 2)

    def signals(self, directions: np.ndarray) -> np.ndarray:
        """Directions (rank, k) among pooled features as they are, not white: Sigma^(1/2) u, shape (d, k)."""
        return self.whitener @ (self.spectrum[:, None] * directions)

    def top(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """All eigenvalues in units of kappa, decreasing, and the leading k directions, shape (rank, k)."""
        from scipy import linalg

        values, vectors = linalg.eigh((self.x.T @ self.x).astype(float) / (self.x.shape[0] - 1))
        return values[::-1], vectors[:, ::-1][:, :k]


def compact(tokens: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens as rows of the table of those that occur, centred, in single precision: pooling is bound by memory."""
    used, index = np.unique(tokens, return_inverse=True)
    rows = np.asarray(table[used], dtype=float)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(f"table must be finite, got NaN or infinite entries in row {used[bad[0]]}")
    rows -= rows.mean(axis=0)
    return index.reshape(tokens.shape).astype(np.int32), rows.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Spike:
    """Leading shared direction under one weighting, its strength measured on documents it was not found on.

    Attributes
    ----------
    weights : array, shape (T,)
    grams : array, shape (folds, T, T)
        Correlation of the scores along the direction, position against position, a fold each; zero diagonal.
    sizes : array, shape (folds,)
        Documents a fold.
    seen, seen_error : float
        Held-out net signal wᵀGw/kappa along the found direction, and its standard error.
    eigenvalues : array, shape (rank,)
        Of the pooled covariance, in units of kappa.
    direction : array, shape (rank,)
    directions : array, shape (folds, rank)
        The same with one fold left out.
    lead : array, shape (folds,)
        Leading eigenvalue with one fold left out.
    kurtosis : float
        Excess kurtosis of the held-out pooled scores.
    searched : bool
        Whether the weights were chosen on these documents.
    frame : Frame
    """

    weights: np.ndarray = field(repr=False)
    grams: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    seen: float
    seen_error: float
    eigenvalues: np.ndarray = field(repr=False)
    direction: np.ndarray = field(repr=False)
    directions: np.ndarray = field(repr=False)
    lead: np.ndarray = field(repr=False)
    kurtosis: float
    searched: bool
    frame: Frame = field(repr=False)

    @cached_property
    def gram(self) -> np.ndarray:
        """Held-out correlations of positions, all folds together, shape (T, T); zero diagonal."""
        return np.average(self.grams, axis=0, weights=self.sizes)

    @property
    def detected(self) -> bool:
        """Whether the leading eigenvalue is beyond the bulk and the held-out signal beyond three standard errors.

        The second alone is no test: where nothing is shared the folds' directions, found on the same documents,
        wander together, and the spread of folds is too small by half.
        """
        return bool(self.eigenvalues[0] > self._edge and self.seen > DETECTED * self.seen_error)

    @cached_property
    def _edge(self) -> float:
        """Largest eigenvalue that a bulk alone gives, with its Tracy-Widom margin."""
        root, rank = np.sqrt(self.frame.rank / self.samples), self.frame.rank
        margin = EDGE_MARGIN * (1 + root) ** (4 / 3) * root * rank ** (-2 / 3)
        # weights searched for: width sqrt(rank) + sqrt(T) of the products of two unit vectors
        searched = np.sqrt(self.weights.size / self.samples) if self.searched else 0.0
        return float((1 + root + searched) ** 2 + margin)

    @property
    def samples(self) -> float:
        """Effective number of documents behind the direction found on all of them."""
        return self.frame.effective(int(self.sizes.sum()))

    @property
    def fitted(self) -> float:
        """Effective number of documents behind a direction with one fold left out."""
        total = self.sizes.sum()
        return self.frame.effective(total) * float(1 - 1 / self.sizes.size)

    @cached_property
    def background(self) -> Background:
        """Bulk and companions, the latter read off the eigenvalues below the first."""
        values, n = self.eigenvalues, self.samples
        many = int(np.sum(values[1:] > self._edge))
        # strength by the companion Stieltjes transform at the eigenvalue, of all the others
        gaps = np.subtract.outer(values[1 : many + 1], values)
        gaps[np.arange(many), np.arange(1, many + 1)] = np.inf
        inverse = (1 - self.frame.rank / n) / values[1 : many + 1] + np.sum(1 / gaps, axis=1) / n
        strengths = 1 / np.maximum(inverse, 1 / values[1 : many + 1]) - 1
        return Background(self.frame.rank, np.sort(strengths[strengths > 0])[::-1])

    @cached_property
    def _share(self) -> float:
        """rho = sum_b w_b³ (Gw)_b / (kappa·wᵀGw): how much of the signal sits where the noise was taken away."""
        w = self.weights
        gram = self.gram @ w
        total = float(w @ gram)
        share = float(w**3 @ gram / (w @ w)) / total if total > 0 else self.frame.fixed
        return min(max(share, 0.0), 1.0)

    def _population(self, seen: float) -> float:
        # whitening by one's own tokens takes a little signal with the noise: section 4
        a, q = self.frame.fixed, max(seen, 0.0)
        for _ in range(20):
            taken = self.frame.rank / self.sizes.sum() * (a + (2 * self._share - a) * q)
            before, q = q, self.background.unseen(seen + taken, self.fitted)
            if abs(q - before) < 1e-8 * q:
                break
        return q

    def outlier(self, q: float, documents: float) -> float:
        """Leading eigenvalue of a net spike q in a frame of its own, in units of kappa; NaN if it does not show."""
        value = self.background.blur(q, self.frame.effective(documents))[1]
        return value - self.frame.rank / documents * (1 + q) * (2 * self._share - self.frame.fixed)

    def blurring(self, q: float) -> float:
        """How many times fewer documents would blur the direction as much, had they a frame not their own."""
        return max(1 - (self.frame.fixed + 2 * self._share * q) / (1 + q), 0.05)

    def overlap(self, q: float, documents: float | None = None) -> float:
        """Squared overlap of the leading direction with the one of a net spike q."""
        documents = float(self.sizes.sum()) if documents is None else documents
        return self.background.blur(q, (documents - 1) / self.blurring(q))[0]

    @cached_property
    def q(self) -> float:
        """Net spike; zero where none is detected."""
        return self._population(self.seen) if self.detected else 0.0

    @cached_property
    def error(self) -> float:
        """Standard error of q: the larger of the held-out signal's and of the leading eigenvalue's."""
        if not self.detected:
            return float("nan")
        step = max(self.seen_error, 1e-6 * self.seen)
        low, high = self._population(max(self.seen - step, 0.0)), self._population(self.seen + step)
        held_out = np.hypot((high - low) / (2 * step) * self.seen_error, self.q * self.wandering)
        folds = self.lead.size
        jackknife = np.sqrt((folds - 1) / folds * np.sum((self.lead - self.lead.mean()) ** 2))
        slope = self.background.blur(self.q, self.samples)[2]
        return float(max(held_out, jackknife / slope if slope > 0 else 0.0))

    @property
    def wandering(self) -> float:
        """Relative standard deviation of the overlap about its limit: leaks are squares of Gaussian components."""
        overlap, _, _, leak = self.background.blur(self.q, self.samples)
        size = np.append(max(self.frame.rank - self.background.companions.size, 1), np.ones(leak.size - 1))
        return float(np.sqrt(2 * np.sum(leak**2 / size)) / overlap) if overlap > 0 else 0.0

    def interval(self, errors: float = 1.96) -> tuple[float, float]:
        """Net spikes that the data leave possible."""
        if not self.detected:  # a larger one would have left the bulk, or been seen
            gamma = self.frame.rank / self.samples
            top = max(self._edge, float(self.eigenvalues[0])) * (1 + errors * np.sqrt(2 / self.samples))
            half = (top - 1 - gamma) / 2
            left = float(half + np.sqrt(half**2 - gamma))
            return 0.0, min(
                left, self._population(max(self.seen, 0.0) + errors * WANDERING * self.seen_error)
            )
        return max(self.q - errors * self.error, 0.0), self.q + errors * self.error

    def scale(self) -> float:
        """What turns a held-out correlation into one along the direction itself."""
        return self.q / self.seen if self.detected else float("nan")


def cross_fit(frame: Frame, folds: int, *, relearn: Any = None) -> Spike:
    """Find the leading direction of a frame and measure it on folds that it was not found on.

    `relearn`, a function of a (T, T) matrix to weights, replaces the frame's weights for the measurement of a
    fold by what the other folds alone give.
    """
    from scipy import linalg

    w, x, rank = frame.weights, frame.x, frame.rank
    n, length = frame.tokens.shape
    bounds = np.linspace(0, n, folds + 1).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    moments = [(x[part].T @ x[part]).astype(float) for part in parts]
    sums = [x[part].sum(axis=0, dtype=float) for part in parts]
    total = np.sum(moments, axis=0)
    values, vectors = linalg.eigh(total / (n - 1))
    directions, lead = np.empty((folds, rank)), np.empty(folds)
    for k, part in enumerate(parts):
        left = n - (part.stop - part.start)
        covariance = (total - moments[k] - np.outer(sums[k], sums[k]) / left) / (left - 1)
        value, vector = linalg.eigh(covariance, subset_by_index=[rank - 1, rank - 1])
        directions[k], lead[k] = vector[:, 0], value[0]
    scores = frame.rows @ (frame.whitener @ directions.T).astype(frame.rows.dtype)
    grams, pooled = np.empty((folds, length, length)), []
    for k, part in enumerate(parts):
        s = scores[:, k][frame.tokens[part]].astype(float)
        s = s - s.mean(axis=0)
        grams[k] = s.T @ s / (s.shape[0] - 1)
        pooled.append(s @ w)
        np.fill_diagonal(grams[k], 0.0)
    sizes = np.diff(bounds)
    seen = np.empty(folds)
    for k in range(folds):
        own = w
        if relearn is not None:
            others = np.arange(folds) != k
            own = relearn(np.average(grams[others], axis=0, weights=sizes[others]))
        seen[k] = own @ grams[k] @ own / (own @ own)
    mean = float(np.average(seen, weights=sizes))
    spread = float(np.sqrt(np.average((seen - mean) ** 2, weights=sizes) / (folds - 1)))
    y = np.concatenate(pooled)
    kurtosis = float(np.mean(y**4) / np.mean(y**2) ** 2 - 3)
    direction = vectors[:, -1]
    searched = relearn is not None
    return Spike(
        w,
        grams,
        sizes,
        mean,
        spread,
        values[::-1],
        direction,
        directions,
        lead,
        kurtosis,
        searched,
        frame,
    )
