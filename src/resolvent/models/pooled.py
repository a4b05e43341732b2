"""The pooled-sequence model: a table of two token classes, positions, weights; its limit and its sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import spikes
from resolvent import weights as weighting
from resolvent.arguments import arrays, natural, one_of, require, seed_number, seed_numbers
from resolvent.finite_length import THEORIES, ShortSpike, effective_length, right_theory, signal_length
from resolvent.laws import Law, MarchenkoPasturProduct
from resolvent.laws.finite_length import FiniteLength
from resolvent.models.claims import Claim
from resolvent.models.finite_size import pooled_claims
from resolvent.models.outcomes import MeanSpike, Prediction, Simulation
from resolvent.models.sizes import TableSizes
from resolvent.pooling import pooling_matrix
from resolvent.population_dynamics import PopulationDynamics
from resolvent.positions import Positions
from resolvent.spectrum import SignalSweep, covariance_spectrum, top_eigenpairs
from resolvent.tables import NOISES, draw_noise, draw_tokens, token_signs

if TYPE_CHECKING:
    import xarray

__all__ = ["PooledSequences"]

NAMED_WEIGHTS = ("mean", "causal", "optimal")


@dataclass(frozen=True, eq=False)
class PooledSequences(TableSizes):
    """Sequences of T tokens from a two-class table, pooled by fixed weights.

    x_i = sum_l w_l e_{t_il}, with tokens e_v = s_v mu + z_v, signs correlated over positions by R.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d, V (even) and N.
    positions : Prefix, SingleFactor, Correlated or any object with ``length``, ``matrix``, ``pooled_signal``, ``sample``
        Position model.
    weights : array, shape (T,), or {"mean", "causal", "optimal"}
        Pooling weights.
    signal : float or array
        ‖mu‖ >= 0; an array predicts a curve (to simulate one, use `sweep`).
    table : {"mixture", "balanced"}
        "mixture" is the Gaussian-mixture table itself, exact. "balanced" has noise of zero mean inside
        each class; the published formulas correspond to it.
    noise : {"gaussian", "uniform", "rademacher", "student_t"}
        Law of the table's noise in simulations; the limit does not depend on it.
    centred : bool, default True
        False uses the second-moment matrix, which has a spurious spike along the mean embedding.

    Raises
    ------
    ValueError
        If a size is not a whole number >= 1, the vocabulary is odd, weights have the wrong length, are
        not finite or all zero, or a name is unknown.

    References
    ----------
    Seddik [seddik2026]_; derivation and departures in docs/theory/pooled.md, sections 1 to 4.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> model = PooledSequences(400, 800, 1200, Prefix(50, 10), "optimal", signal=0.7)
    >>> prediction = model.predict()
    >>> round(float(prediction.overlap), 3), round(float(prediction.published.overlap), 3)
    (0.472, 0.878)
    >>> draw = model.simulate(seed=0)
    >>> bool(abs(draw.overlap - prediction.overlap) < 0.1)
    True
    """

    positions: Positions
    weights: Any
    signal: Any
    table: str = "mixture"
    noise: str = "gaussian"
    centred: bool = True

    def __post_init__(self) -> None:
        for name in ("dimension", "vocabulary", "samples"):
            object.__setattr__(self, name, natural(name, getattr(self, name)))
        token_signs(self.vocabulary)
        for name in ("length", "matrix", "pooled_signal", "sample"):
            if name not in dir(self.positions):  # hasattr would compute the matrix
                raise ValueError(
                    f"positions must be a position model such as Prefix(T, r), got {self.positions!r}"
                )
        one_of("table", self.table, spikes.TABLES)
        one_of("noise", self.noise, NOISES)
        _, signal = arrays(self.signal, names="signal")
        require("signal", self.signal, (signal >= 0) & (signal < 1e15), "finite, >= 0 and below 1e15")
        if isinstance(self.weights, str):
            one_of("weights", self.weights, NAMED_WEIGHTS)
        self.pooling_weights  # noqa: B018 (checked here, at the boundary)

    @property
    def effective_length(self) -> float:
        """T_eff = kappa²/sum w⁴, the length T of mean weights."""
        return effective_length(self.pooling_weights)

    @cached_property
    def pooling_weights(self) -> np.ndarray:
        """The weights as numbers, shape (T,)."""
        length = self.positions.length
        if isinstance(self.weights, str):
            if self.weights == "optimal":
                return weighting.optimal(self.positions.matrix)
            return getattr(weighting, self.weights)(length)
        w = np.array(arrays(self.weights, names="weights")[1], dtype=float)
        if w.shape != (length,):
            raise ValueError(f"weights must have shape ({length},) to match positions, got {w.shape}")
        if not np.isfinite(w).all():
            raise ValueError("weights must be finite, got NaN or infinite entries")
        if not w.any():
            raise ValueError("weights must not all be zero")
        if not np.abs(w).max() < 1e100 or not np.abs(w).max() > 1e-100:
            raise ValueError(
                f"weights must be of ordinary size, so that their squares can be added, got {w.tolist()}"
            )
        return w

    def predict(self, *, theory: str | None = None) -> Prediction:
        """The limit of this model, with the published prediction beside it.

        Parameters
        ----------
        theory : {"infinite length", "1/T_eff^2 map", "population dynamics"}, optional
            By default the first from T_eff = 5 on, the second from 2 on, the third (a second or so of
            computing) below. See docs/theory/finite_length.md, section 6.

        Returns
        -------
        Prediction
            With the ``theory`` that was used, and ``error_bars`` of one finite sample.

        Raises
        ------
        ValueError
            If the theory is unknown, or too many positions matter for population dynamics.
        RuntimeError
            If population dynamics does not converge.
        """
        exact = self._predict(self.table, right_theory(self.effective_length, theory))
        published = replace(self._predict("balanced", THEORIES[0]), mean_spike=None, model=None)
        return replace(exact, published=published)

    def _predict(self, table: str, theory: str) -> Prediction:
        w, delta, gamma = self.pooling_weights, self.delta, self.gamma
        kappa, alpha = float(weighting.kappa(w)), self.positions.pooled_signal(w)
        snr = alpha / kappa
        q = spikes.net_spike(self.signal, snr, delta, table)
        population = spikes.overlap(q, delta, 0.0)
        bulk: Law = MarchenkoPasturProduct((delta, gamma), kappa)
        total, outlier = spikes.overlap(q, delta, gamma), spikes.outlier(q, delta, gamma, kappa)
        edge, threshold = spikes.edge(delta, gamma, kappa), spikes.threshold(delta, gamma)
        if theory != THEORIES[0]:
            bulk = FiniteLength(delta, gamma, self.effective_length, kappa)
            power = arrays(self.signal)[1] ** 2 + (delta if table == "mixture" else 0.0)
            spike = ShortSpike(bulk.inverse_map, snr, signal_length(self.positions, w), power)
            edge, threshold, outlier, total = (
                bulk.support[0][1],
                spike.threshold,
                spike.outlier,
                spike.overlap,
            )
            if theory == THEORIES[2]:
                outlier, total = PopulationDynamics(w, self.positions.matrix, delta, gamma).spike(power)
                outlier = kappa * outlier
        factor = spikes.direction_factor(self.signal, delta, table)
        mean_spike = None
        if not self.centred:
            loud = w.sum() ** 2 / kappa if table == "mixture" else 0.0
            q_mean = delta * (loud - 1)
            mean_spike = MeanSpike(
                q_mean,
                spikes.outlier(q_mean, delta, gamma, kappa),
                spikes.overlap(q_mean, delta, gamma),
            )
        other = edge if mean_spike is None else np.fmax(mean_spike.outlier, edge)
        shown = np.fmax(outlier, edge)
        return Prediction(
            alpha=alpha,
            kappa=kappa,
            snr=snr,
            bulk=bulk,
            edge=edge,
            q=q,
            threshold=threshold,
            critical_signal=spikes.critical_signal(snr, delta, gamma, table, threshold)
            if snr > 0
            else np.inf,
            outlier=outlier,
            top_eigenvalue=np.maximum(shown, other),
            second_eigenvalue=np.minimum(shown, other),
            overlap=total * factor,
            population_overlap=population,
            sample_overlap=np.where(total > 0, total / np.where(population > 0, population, 1), 0.0)[()],
            direction_factor=factor,
            mean_spike=mean_spike,
            theory=theory,
            model=self,
        )

    def _draw(self, seed: Any, dtype: Any) -> tuple[np.ndarray, Any]:
        """Table noise (V, d) with the signal along the first axis, and the pooling matrix (N, V)."""
        # one child stream a part, so that no part depends on how another was drawn
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
        signs = self.positions.sample(self.samples, rng=streams[0])
        tokens = draw_tokens(signs, self.vocabulary, rng=streams[1])
        noise = draw_noise(
            self.vocabulary,
            self.dimension,
            noise=self.noise,
            table=self.table,
            rng=streams[2],
            dtype=dtype,
        )
        return noise, pooling_matrix(tokens, self.pooling_weights, self.vocabulary, dtype=dtype)

    def simulate(self, seed: int, *, top: int | None = None, dtype: Any = float) -> Simulation:
        """Draw a table and sequences, and return their spectrum.

        Parameters
        ----------
        seed : int
            Non-negative; fixes table, signs and tokens whatever the signal and the weights.
        top : int, optional
            Only this many leading eigenvalues (>= 2), by Lanczos; no d x d matrix is formed.
        dtype : dtype, default float64
            float32 halves the memory; it is another draw than float64 of the same seed.

        Returns
        -------
        Simulation

        Raises
        ------
        ValueError
            If the signal is an array, the seed is not one, or `top` is out of range.
        """
        if np.ndim(self.signal):
            raise ValueError("signal must be one number to simulate; use sweep() for several")
        if top is not None and natural("top", top, least=2) >= self.dimension:
            raise ValueError(f"top must be below the dimension {self.dimension}, got {top}")
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        table, matrix = self._draw(seed, np.dtype(dtype))
        table[:, 0] += (float(self.signal) * token_signs(self.vocabulary)).astype(table.dtype)
        if top is None:
            values, vectors = covariance_spectrum(
                matrix @ table, centred=self.centred, vectors=min(3, self.dimension)
            )
        else:
            values, vectors = top_eigenpairs(table, matrix, top, centred=self.centred)
        second = float(values[1]) if values.size > 1 else 0.0
        along = vectors[0] ** 2
        if self.centred:
            return Simulation(
                seed=int(seed),
                eigenvalues=values,
                top_eigenvalue=float(values[0]),
                second_eigenvalue=second,
                overlap=float(along[0]),
            )
        mean = table.mean(axis=0, dtype=float)
        means = (mean @ vectors) ** 2 / (mean @ mean)
        pair = min(2, along.size)
        spurious = int(np.argmax(means[:pair]))
        return Simulation(
            seed=int(seed),
            eigenvalues=values,
            top_eigenvalue=float(values[0]),
            second_eigenvalue=second,
            overlap=float(along[:pair].max()),
            mean_outlier=float(values[spurious]),
            mean_overlap=float(means[spurious]),
        )

    def claims(self) -> list[Claim]:
        """The two largest eigenvalues and the overlap, as samples of this size are expected to have them.

        Where the theory of error bars holds they carry its corrections, else the limit, at the edge with the Tracy-Widom
        mean (docs/theory/pooled.md, section 7; docs/theory/fluctuations.md, section 6).
        """
        return pooled_claims(self)

    def sweep(
        self,
        signals: Any,
        seeds: Iterable[int],
        *,
        jobs: int | None = None,
        memory: Any = None,
        progress: bool = False,
    ) -> xarray.Dataset:
        """Theory and simulation along signals, one factorisation a seed (centred models).

        Parameters
        ----------
        signals : array, shape (m,)
            Values of ‖mu‖.
        seeds : iterable of int
        jobs : int, optional
            Parallel jobs; None leaves it to joblib's active backend (one job by default), so that
            ``joblib.parallel_config(backend="dask")`` and the like take the sweep elsewhere.
        memory : joblib.Memory, optional
            Keeps finished seeds, so that an interrupted sweep resumes.
        progress : bool, default False
            Show a progress bar over seeds.

        Returns
        -------
        xarray.Dataset
            ``overlap``, ``top_eigenvalue``, ``second_eigenvalue`` over (signal, seed);
            ``predicted_*`` and ``published_*`` of the first two over signal; parameters as attributes.

        Raises
        ------
        ValueError
            If signals or seeds are not what they should be.
        """
        import xarray as xr

        from resolvent.sweeps import run_all

        signals = np.atleast_1d(np.asarray(arrays(signals, names="signals")[1], dtype=float))
        require(
            "signals", signals, (signals.ndim == 1) & (signals >= 0) & np.isfinite(signals), "finite and >= 0"
        )
        seeds = seed_numbers(seeds)
        if not seeds or not signals.size:
            raise ValueError("signals and seeds must not be empty")
        results = run_all(
            _sweep_one_seed,
            [{"model": self, "signals": signals, "seed": seed} for seed in seeds],
            label=f"sweep of {signals.size} signals",
            jobs=jobs,
            memory=memory,
            progress=progress,
        )
        stacked = np.stack(results, axis=-1)
        prediction = replace(self, signal=signals).predict()
        published = prediction.published
        assert published is not None
        names = ("top_eigenvalue", "second_eigenvalue", "overlap")
        return xr.Dataset(
            {name: (("signal", "seed"), stacked[i]) for i, name in enumerate(names)}
            | {
                f"predicted_{name}": ("signal", np.broadcast_to(getattr(prediction, name), signals.shape))
                for name in names
            }
            | {
                f"published_{name}": ("signal", np.broadcast_to(getattr(published, name), signals.shape))
                for name in names
            },
            coords={"signal": signals, "seed": seeds},
            attrs={
                "dimension": self.dimension,
                "vocabulary": self.vocabulary,
                "samples": self.samples,
                "length": self.positions.length,
                "delta": self.delta,
                "gamma": self.gamma,
                "snr": float(prediction.snr),
                "kappa": float(prediction.kappa),
                "table": self.table,
                "noise": self.noise,
            },
        )


def _sweep_one_seed(model: PooledSequences, signals: np.ndarray, seed: int) -> np.ndarray:
    if not model.centred:  # the signal's eigenvector is then not always the first: draw by draw
        draws = [replace(model, signal=float(signal)).simulate(seed) for signal in signals]
        return np.array([[d.top_eigenvalue, d.second_eigenvalue, d.overlap] for d in draws]).T
    noise, matrix = model._draw(seed, np.dtype(float))
    x = matrix @ noise
    x -= x.mean(axis=0)
    slope = matrix @ token_signs(model.vocabulary)
    return np.stack(SignalSweep.factorise(x, slope - slope.mean()).top(signals))
