"""The pooled-sequence model with a vocabulary as it is: token frequencies and correlated embedding noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent import weights as weighting
from resolvent.arguments import arrays, number, require, seed_number
from resolvent.laws import SeparableLaw
from resolvent.models.claims import ALLOWANCE, WINDOW, Claim
from resolvent.models.pooled import PooledSequences
from resolvent.models.sizes import TableSizes
from resolvent.pooling import pooling_matrix
from resolvent.positions import Positions
from resolvent.spectrum import covariance_spectrum
from resolvent.tables import token_signs
from resolvent.vocabulary import Modes, VocabularySpikes, class_frequencies, zipf

__all__ = ["PooledVocabulary", "VocabularyPrediction", "VocabularySimulation"]

ROUNDING = 1e-10  # of eigenvalues of a covariance, relative to the largest
ALIGNED = 0.1  # overlap from which an outlier of a draw is known to be the signal's
MIXED_ALLOWANCE = 27.0  # c of `claims` of overlaps that tokens or loud directions may share: docs/theory/vocabulary.md, section 8


@dataclass(frozen=True)
class VocabularyPrediction:
    """What the theory says of a pooled vocabulary; names are those of `Prediction`, fields broadcast with the signal.

    Attributes
    ----------
    alpha, kappa, snr : float
        Pooled signal, pooled noise and their ratio.
    bulk : SeparableLaw
        Law of the eigenvalues but for outliers: of all but `heavy_tokens` and `loud_directions`.
    edge : float
        Its right edge.
    threshold : float
        1/p at the edge: the net spike above which an outlier shows.
    critical_signal : float
        ‖mu‖ above which an outlier carries the signal, one more than tokens and noise make; zero when one always does.
    outlier : float
        Eigenvalue of the mode most aligned with mu, NaN up to the critical signal.
    q : float
        1/p there, its net spike; NaN up to the critical signal.
    overlap : float
        Squared overlap with mu/‖mu‖ of the best aligned outlier, ``population_overlap · sample_overlap``. Below the
        critical signal heavy tokens and loud directions may still carry some; zero where there is no outlier.
    population_overlap, sample_overlap : float
        Share lost to the finite vocabulary, its frequencies and noise, and to the finite sample.
    top_eigenvalue, second_eigenvalue : float
        Limits of the two largest eigenvalues: signal, tokens or the edge.
    heavy_tokens : array of int, shape (k,)
        Rows of the table so frequent that each makes an outlier, most frequent first.
    loud_directions : array of int, shape (j,)
        Eigenvalues of the noise covariance that each make an outlier, largest first.
    spurious_outliers : array, shape (..., k + j)
        The eigenvalues of both, decreasing, NaN where one lies in the bulk: they do not tell of a signal.
    modes : Modes
        Every outlier with its overlap, tokens and signal alike.
    """

    alpha: Any
    kappa: Any
    snr: Any
    bulk: SeparableLaw
    edge: Any
    threshold: Any
    critical_signal: Any
    outlier: Any
    q: Any
    overlap: Any
    population_overlap: Any
    sample_overlap: Any
    top_eigenvalue: Any
    second_eigenvalue: Any
    heavy_tokens: np.ndarray
    loud_directions: np.ndarray
    spurious_outliers: np.ndarray
    modes: Modes


@dataclass(frozen=True)
class VocabularySimulation:
    """One finite-size draw; field names are those of `VocabularyPrediction` where they mean the same.

    Attributes
    ----------
    seed : int
    eigenvalues : array, shape (d,)
        Decreasing.
    top_eigenvalue, second_eigenvalue : float
    outlier, overlap : float
        Eigenvalue and squared overlap with mu/‖mu‖ of the best aligned among the leading eigenvectors, two more than
        there are heavy tokens and loud directions.
    """

    seed: int
    eigenvalues: np.ndarray
    top_eigenvalue: float
    second_eigenvalue: float
    outlier: float
    overlap: float


@dataclass(frozen=True, eq=False)
class PooledVocabulary(TableSizes):
    """Sequences of tokens that occur with given frequencies, from a table with noise of any covariance.

    As `PooledSequences` with e_v = s_v mu + Σ^{1/2} z_v and a token of the wanted sign drawn in proportion to its
    frequency. Centred features.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d, V (even) and N.
    positions : Prefix, SingleFactor, Correlated or any position model
    weights : array, shape (T,), or {"mean", "causal", "optimal"}
        Pooling weights.
    signal : float or array
        ‖mu‖ >= 0; an array predicts a curve.
    frequencies : array, shape (V,), or ("zipf", exponent), optional
        Counts or probabilities, the first V/2 for tokens of sign +1, scaled to equal classes; all equal by default.
    covariance : array, shape (d,) or (d, d), optional
        Σ: its eigenvalues, or the matrix. The identity by default.
    direction : array, shape (d,), optional
        Components of mu, of any length: along the eigenvectors of Σ where `covariance` holds eigenvalues, else in the
        coordinates of the matrix. Equal components along the eigenvectors by default.

    Raises
    ------
    ValueError
        As `PooledSequences`; if frequencies are negative, zero throughout a class or of another number than V; if the
        covariance is not symmetric, not positive semi-definite, zero, or of another size than d; if the direction is
        zero or of another length.

    Notes
    -----
    Heavy tokens and loud directions of the noise make outliers of their own, which mix with the signal's where they
    meet: `heavy_tokens`, `loud_directions` and `spurious_outliers` of the prediction name them.

    References
    ----------
    Left open in Seddik [seddik2026]_; derived in docs/theory/vocabulary.md, sections 1 to 5.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> model = PooledVocabulary(300, 1200, 900, Prefix(80, 20), "mean", 1.5, ("zipf", 0.5))
    >>> prediction = model.predict()
    >>> round(float(prediction.overlap), 3), prediction.heavy_tokens
    (0.795, array([  0, 600,   1, 601]))
    >>> bool(abs(model.simulate(seed=0).overlap - prediction.overlap) < 0.1)
    True
    """

    positions: Positions
    weights: Any
    signal: Any
    frequencies: Any = None
    covariance: Any = None
    direction: Any = None

    def __post_init__(self) -> None:
        plain = self._plain  # checks what both models share
        for name in ("dimension", "vocabulary", "samples"):
            object.__setattr__(self, name, getattr(plain, name))
        self.token_frequencies, self.noise_eigenvalues  # noqa: B018 (checked here, at the boundary)

    @cached_property
    def _plain(self) -> PooledSequences:
        return PooledSequences(
            self.dimension, self.vocabulary, self.samples, self.positions, self.weights, self.signal
        )

    @property
    def pooling_weights(self) -> np.ndarray:
        """The weights as numbers, shape (T,)."""
        return self._plain.pooling_weights

    @cached_property
    def token_frequencies(self) -> np.ndarray:
        """V times the probability of each token, of mean one in each class, shape (V,)."""
        given = self.frequencies
        if given is None:
            return np.ones(self.vocabulary)
        if isinstance(given, str) or (isinstance(given, tuple) and given and isinstance(given[0], str)):
            if given[0] != "zipf" or len(given) != 2:
                raise ValueError(f'frequencies must be numbers or ("zipf", exponent), got {given!r}')
            return zipf(self.vocabulary, number("the exponent of frequencies", given[1], least=0))
        t = class_frequencies(given)
        if t.size != self.vocabulary:
            raise ValueError(
                f"frequencies must hold one number for each of the {self.vocabulary} tokens, got {t.size}"
            )
        return t

    @cached_property
    def _noise(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of Σ, and the unit vector along mu in its eigenbasis."""
        d = self.dimension
        basis = None
        if self.covariance is None:
            values = np.ones(d)
        else:
            _, values = arrays(self.covariance, names="covariance")
            values = np.asarray(values, dtype=float)
            if values.shape not in ((d,), (d, d)):
                raise ValueError(f"covariance must have shape ({d},) or ({d}, {d}), got {values.shape}")
            require("covariance", values, np.isfinite(values), "finite")
            if values.ndim == 2:
                skew = np.abs(values - values.T).max()
                if skew > 1e-10 * np.abs(values).max():
                    raise ValueError(f"covariance must be symmetric, got entries that differ by {skew:.6g}")
                values, basis = np.linalg.eigh(values)
            top = values.max()
            if not top > 0 or values.min() < -ROUNDING * top:
                raise ValueError(
                    f"covariance must be positive semi-definite and not zero, got an eigenvalue {values.min():.6g}"
                )
            values = np.where(values > ROUNDING * top, values, 0.0)
        if self.direction is None:
            return values, np.full(d, 1 / np.sqrt(d))
        _, mu = arrays(self.direction, names="direction")
        mu = np.asarray(mu, dtype=float)
        if mu.shape != (d,):
            raise ValueError(f"direction must have shape ({d},), got {mu.shape}")
        size = np.abs(mu).max()
        require("direction", mu, np.isfinite(mu) & (size > 0), "finite and not zero")
        mu = mu / size if basis is None else basis.T @ (mu / size)
        return values, mu / np.linalg.norm(mu)

    @property
    def noise_eigenvalues(self) -> np.ndarray:
        """Eigenvalues of Σ, shape (d,)."""
        return self._noise[0]

    @cached_property
    def spikes(self) -> VocabularySpikes:
        """Bulk and outliers at any signal."""
        w = self.pooling_weights
        values, mu = self._noise
        return VocabularySpikes(
            self.delta, self.gamma, float(weighting.kappa(w)), self.token_frequencies, values, mu**2
        )

    def predict(self) -> VocabularyPrediction:
        """The limit of this model, heavy tokens set apart."""
        spikes = self.spikes
        kappa, alpha = spikes.scale, self.positions.pooled_signal(self.pooling_weights)
        snr = alpha / kappa
        signal = np.asarray(self.signal, dtype=float)
        critical = spikes.critical_signal(snr)[()] if snr > 0 else np.inf
        modes = spikes.modes(signal, snr)
        edge = spikes.bulk.support[0][1]
        # at no signal the limit of small ones tells which mode is whose
        shown = modes if (signal > 0).all() else spikes.modes(np.maximum(signal, 1e-6), snr)
        best = np.argmax(shown.overlap, axis=-1)[..., None]  # zero where absent

        def of(values: np.ndarray) -> np.ndarray:
            return np.take_along_axis(values, best, -1)[..., 0]

        emerged = ((signal > critical) | (critical == 0)) & np.isfinite(of(modes.eigenvalue))
        overlap, population = of(modes.overlap), of(modes.population_overlap)
        extra = np.broadcast_to(spikes.untouched, (*signal.shape, spikes.untouched.size))
        mine = emerged[..., None] & (np.arange(modes.eigenvalue.shape[-1]) == best)
        count = spikes.heavy.size + spikes.loud.size
        padding = np.full((*signal.shape, count), np.nan)
        others = np.concatenate([np.where(mine, np.nan, modes.eigenvalue), extra, padding], axis=-1)
        spurious = -np.sort(-others, axis=-1)[..., :count]  # NaN come last
        everything = np.concatenate([modes.eigenvalue, extra, np.full((*signal.shape, 2), edge)], axis=-1)
        top = -np.sort(-everything, axis=-1)
        return VocabularyPrediction(
            alpha=alpha,
            kappa=kappa,
            snr=snr,
            bulk=spikes.bulk,
            edge=edge,
            threshold=spikes.bulk.inverse_map.critical_spikes()[0],
            critical_signal=critical,
            outlier=np.where(emerged, of(modes.eigenvalue), np.nan)[()],
            q=np.where(emerged, 1 / of(modes.p), np.nan)[()],
            overlap=overlap[()],
            population_overlap=population[()],
            sample_overlap=np.where(overlap > 0, overlap / np.where(population > 0, population, 1), 0.0)[()],
            top_eigenvalue=top[..., 0][()],
            second_eigenvalue=top[..., 1][()],
            heavy_tokens=spikes.heavy,
            loud_directions=spikes.loud,
            spurious_outliers=spurious,
            modes=modes,
        )

    def simulate(self, seed: int) -> VocabularySimulation:
        """Draw a table and sequences, and return their spectrum.

        Raises
        ------
        ValueError
            If the signal is an array, or the seed is not a whole number >= 0.
        """
        if np.ndim(self.signal):
            raise ValueError("signal must be one number to simulate, got several")
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
        signs = self.positions.sample(self.samples, rng=streams[0])
        half = self.vocabulary // 2
        uniform, tokens = streams[1].random(signs.shape), np.empty(signs.shape, dtype=np.int32)
        for first, sign in ((0, 1), (half, -1)):
            steps = np.cumsum(self.token_frequencies[first : first + half])
            found = np.searchsorted(steps, uniform * steps[-1], side="right")
            tokens = np.where(signs == sign, first + found.astype(np.int32), tokens)
        values, mu = self._noise
        table = streams[2].standard_normal((self.vocabulary, self.dimension)) * np.sqrt(values)
        table += float(self.signal) * token_signs(self.vocabulary)[:, None] * mu
        matrix = pooling_matrix(tokens, self.pooling_weights, self.vocabulary)
        leading = min(self.spikes.heavy.size + self.spikes.loud.size + 2, self.dimension)
        eigenvalues, vectors = covariance_spectrum(matrix @ table, vectors=leading)
        along = (mu @ vectors) ** 2
        best = int(np.argmax(along))
        return VocabularySimulation(
            seed=int(seed),
            eigenvalues=eigenvalues,
            top_eigenvalue=float(eigenvalues[0]),
            second_eigenvalue=float(eigenvalues[1]) if eigenvalues.size > 1 else 0.0,
            outlier=float(eigenvalues[best]),
            overlap=float(along[best]),
        )

    def claims(self) -> list[Claim]:
        """The overlap with mu, and the signal's outlier where this is enough to know it by; nothing near the critical signal.

        c = 9, as of pooled sequences; 27 of overlaps where heavy tokens or loud directions make outliers too, for eigenvectors
        of one draw mix (docs/theory/vocabulary.md, section 8).
        """
        found, d = self.predict(), self.dimension
        several = found.heavy_tokens.size + found.loud_directions.size > 0
        overlap = Claim("overlap", found.overlap, None, MIXED_ALLOWANCE if several else ALLOWANCE, d)
        if found.critical_signal > 0 and WINDOW[0] < self.signal / found.critical_signal < WINDOW[1]:
            return []
        if not (np.isfinite(found.outlier) and found.overlap > ALIGNED):
            return [overlap]
        return [Claim("outlier", found.outlier, None, ALLOWANCE, d, relative=True), overlap]
