"""Pooled sequences of any number of token classes: every spike of the limit, and the sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resolvent import spikes
from resolvent.arguments import arrays, natural, one_of, require, seed_number
from resolvent.class_positions import pooled_classes, sample_classes
from resolvent.laws import MarchenkoPasturProduct
from resolvent.models.claims import WINDOW, Claim, edge_mean
from resolvent.models.class_outcomes import ClassPrediction, ClassSimulation, spike_groups, subspace_overlap
from resolvent.models.pooled import PooledSequences
from resolvent.models.sizes import TableSizes
from resolvent.pooling import pooling_matrix
from resolvent.positions import Prefix, check_shares
from resolvent.spectrum import covariance_spectrum, top_eigenpairs

__all__ = ["PooledClasses", "class_means"]

SPIKE_ALLOWANCE = 2.0  # c of `claims`: docs/theory/classes.md, section 3


@dataclass(frozen=True, eq=False)
class PooledClasses(TableSizes):
    """Sequences of T tokens from a table of K classes, pooled by fixed weights.

    x_i = sum_l w_l e_{t_il}, with tokens e_v = mu_{class of v} + z_v; token t_il is uniform in the class that
    position l holds, and classes are correlated over positions.

    Parameters
    ----------
    dimension, vocabulary, samples : int
        d, V and N.
    positions : Prefix, SingleFactor, Mixture, ClassLoadings, Correlated or alike
        Position model: R is shared by the classes, R_ll' (diag(pi) − pi piᵀ), or depends on the class
        (`ClassLoadings`). `Correlated` predicts only.
    weights : array, shape (T,), or {"mean", "causal", "optimal"}
        "optimal" only where R is shared.
    means : array, shape (K, K')
        Class means in K' <= d coordinates; more leading axes predict a curve. See `class_means` for means of
        given strengths or Gram matrix.
    proportions : array, shape (K,), optional
        Of the classes, in table and sequences alike; equal by default. Where V·pi_a is not whole, counts are
        rounded to the sum V by largest remainders, and the counts' proportions are the model's.
    table : {"mixture", "balanced"}
        "balanced" has noise of zero mean inside each class.

    Raises
    ------
    ValueError
        If a size is not a whole number, proportions are not positive or do not sum to one, there are more
        classes than tokens or than d + 1, a class would have no token, or shapes disagree.

    References
    ----------
    Derived in docs/theory/classes.md; two classes are Seddik's model [seddik2026]_.

    Examples
    --------
    >>> from resolvent import Prefix
    >>> means = class_means(strengths=[3.0, 0.4], proportions=[0.5, 0.3, 0.2])
    >>> model = PooledClasses(300, 600, 900, Prefix(40, 10), "optimal", means, [0.5, 0.3, 0.2])
    >>> prediction, draw = model.predict(), model.simulate(seed=0)
    >>> np.round(prediction.overlap, 2), prediction.group
    (array([0.85, 0.42]), array([0, 1]))
    >>> bool(np.abs(draw.overlap - prediction.overlap).max() < 0.1)
    True

    Three classes without any difference still make two outliers, along the table's own class means:

    >>> PooledClasses(300, 600, 900, Prefix(40, 10), "optimal", np.zeros((3, 1))).predict().spurious
    array([ True,  True])
    """

    positions: Any
    weights: Any
    means: Any
    proportions: Any = None
    table: str = "mixture"

    def __post_init__(self) -> None:
        for name in ("dimension", "vocabulary", "samples"):
            object.__setattr__(self, name, natural(name, getattr(self, name)))
        one_of("table", self.table, spikes.TABLES)
        means = np.array(arrays(self.means, names="means")[1], dtype=float)
        if means.ndim < 2 or means.shape[-2] < 2 or means.shape[-1] < 1:
            raise ValueError(
                f"means must have shape (K, K') with at least two classes, got shape {means.shape}"
            )
        require("means", self.means, np.abs(means) < 1e15, "finite and below 1e15")
        many, coordinates = means.shape[-2:]
        if many > self.vocabulary:
            raise ValueError(
                f"means must be of no more classes than tokens, got {many} classes for {self.vocabulary} tokens"
            )
        if coordinates > self.dimension or many - 1 > self.dimension:
            raise ValueError(
                f"means must fit into dimension {self.dimension}, got {many} classes in {coordinates} coordinates"
            )
        means.flags.writeable = False
        object.__setattr__(self, "means", means)
        given = np.full(many, 1 / many) if self.proportions is None else self.proportions
        shares = check_shares("proportions", given)
        if shares.size != many:
            raise ValueError(
                f"proportions must be one a class, got {shares.size} for {many} classes of means"
            )
        object.__setattr__(self, "proportions", shares)
        if not self.counts.all():
            raise ValueError(
                f"proportions must leave every class a token of the {self.vocabulary}, got counts {self.counts.tolist()}"
            )
        self.pooled  # noqa: B018 (checked here, at the boundary)

    @cached_property
    def counts(self) -> np.ndarray:
        """Tokens of each class, shape (K,): V·pi_a, rounded by largest remainders to the sum V."""
        wanted = self.vocabulary * self.proportions
        counts = np.floor(wanted + 1e-9).astype(int)
        missing = self.vocabulary - int(counts.sum())
        counts[np.argsort(counts - wanted, kind="stable")[:missing]] += 1
        return counts

    @property
    def pi(self) -> np.ndarray:
        """Proportions of the counts, counts/V, shape (K,): those of the model."""
        return self.counts / self.vocabulary

    @property
    def shared(self) -> bool:
        """Whether all classes share one correlation matrix R."""
        return hasattr(self.positions, "pooled_signal")

    @cached_property
    def pooling_weights(self) -> np.ndarray:
        """The weights as numbers, shape (T,)."""
        positions = self.positions
        if not self.shared:
            if not hasattr(positions, "transitions"):
                raise ValueError(
                    f"positions must be a position model such as Prefix(T, r), got {positions!r}"
                )
            if isinstance(self.weights, str) and self.weights == "optimal":
                raise ValueError(
                    "weights must not be 'optimal' where correlations depend on the class: every spike has its own"
                )
            positions = Prefix(positions.length, 0)
        return PooledSequences(1, 2, 1, positions, self.weights, 0.0).pooling_weights

    @cached_property
    def pooled(self) -> np.ndarray:
        """Covariance A of the pooled class indicators, shape (K, K); alpha (diag(pi) − pi piᵀ) if shared."""
        return pooled_classes(self.positions, self.pooling_weights, self.pi)

    def predict(self) -> ClassPrediction:
        """The limit of this model, spike by spike."""
        delta, gamma, pi, means = self.delta, self.gamma, self.pi, self.means
        kappa = float(self.pooling_weights @ self.pooling_weights)
        own = delta if self.table == "mixture" else 0.0
        spread = np.diag(pi) - np.outer(pi, pi)
        alpha = float(np.trace(self.pooled) / np.trace(spread))
        values, vectors = np.linalg.eigh(self.pooled)
        root = vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0) / kappa)  # A/kappa = root rootᵀ; A·1 = 0
        between = root.T @ means  # (..., K − 1, K')
        noise = own * (root.T / pi) @ root
        total, modes = np.linalg.eigh(between @ np.swapaxes(between, -1, -2) + noise)
        total, modes = total[..., ::-1], modes[..., ::-1]
        parts = np.swapaxes(between, -1, -2) @ modes  # (..., K', K − 1)
        norm2 = (parts**2).sum(axis=-2)
        live = norm2 > 1e-12 * np.maximum(total[..., :1], np.finfo(float).tiny)
        norm2 = np.where(live, norm2, 0.0)
        directions = np.where(live[..., None, :], parts, 0.0)
        directions = directions / np.sqrt(np.where(live, norm2, 1.0))[..., None, :]
        own_part = np.maximum(total - norm2, 0.0)
        q = total - delta
        factor = norm2 / np.where(total > 0, total, 1.0)
        population, whole = spikes.overlap(q, delta, 0.0), spikes.overlap(q, delta, gamma)
        outlier = spikes.outlier(q, delta, gamma, kappa)
        edge, critical = spikes.edge(delta, gamma, kappa), spikes.threshold(delta, gamma)
        leading = np.concatenate([np.fmax(outlier, edge), np.full((*q.shape[:-1], 1), edge)], axis=-1)
        overlap = whole * factor
        group, mixing = spike_groups(q, critical, self._spread(q, norm2, own_part))
        same = group[..., :, None] == group[..., None, :]
        snr = alpha / kappa
        centred = np.sqrt(pi)[:, None] * (means - (pi @ means)[..., None, :])
        strength = np.linalg.eigvalsh(centred @ np.swapaxes(centred, -1, -2))[..., :0:-1]
        shows = np.nan
        if self.shared:
            shows = float(spikes.critical_signal(snr, delta, gamma, self.table)) ** 2 if snr > 0 else np.inf
        return ClassPrediction(
            alpha=alpha,
            kappa=kappa,
            snr=snr,
            bulk=MarchenkoPasturProduct((delta, gamma), kappa),
            edge=edge,
            threshold=critical,
            strength=np.maximum(strength, 0.0),
            critical_strength=shows,
            signal_part=norm2,
            noise_part=own_part,
            q=q,
            outlier=outlier,
            leading=leading,
            top_eigenvalue=leading[..., 0],
            second_eigenvalue=leading[..., 1],
            spurious=(q > critical) & ~live,
            overlap=overlap,
            population_overlap=population,
            sample_overlap=np.where(whole > 0, whole / np.where(population > 0, population, 1), 0.0),
            direction_factor=factor,
            directions=directions,
            group=group,
            subspace_overlap=(same * overlap[..., None, :]).sum(axis=-1) / same.sum(axis=-1),
            mixing=mixing,
        )

    def _spread(self, q: np.ndarray, signal: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Standard deviation of a net spike in samples of this size (docs/theory/classes.md, section 3)."""
        critical = spikes.threshold(self.delta, self.gamma)
        safe, total = np.where(q > critical, q, 2 * critical), signal + own
        slope = MarchenkoPasturProduct((self.delta, self.gamma)).inverse_map.slope(safe)
        wishart = 2 * ((1 + self.gamma + 2 * self.gamma / safe) / slope - 1)
        table = (4 * own * signal + 2 * own**2) / np.where(total > 0, total, 1.0) ** 2
        return total * np.sqrt((table + wishart) / self.dimension)

    def simulate(self, seed: int, *, top: int | None = None) -> ClassSimulation:
        """Draw a table and sequences, and return their spectrum.

        Parameters
        ----------
        seed : int
            Non-negative; fixes table noise, classes and tokens whatever the means and the weights.
        top : int, optional
            Only this many leading eigenvalues (>= K), by Lanczos; no d x d matrix is formed.

        Raises
        ------
        ValueError
            If the means are a curve, the positions have no latent class, or `top` is out of range.
        """
        if self.means.ndim > 2:
            raise ValueError(f"means must have shape (K, K') to simulate, got shape {self.means.shape}")
        many = self.means.shape[0]
        if top is not None and natural("top", top, least=many) >= self.dimension:
            raise ValueError(f"top must be below the dimension {self.dimension}, got {top}")
        # one child stream a part, so that no part depends on how another was drawn
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed_number(seed)).spawn(3)]
        counts = self.counts
        _, classes = sample_classes(self.positions, self.samples, self.pi, rng=streams[0])
        starts = np.cumsum(counts) - counts
        tokens = starts[classes] + (streams[1].random(classes.shape) * counts[classes]).astype(int)
        table = streams[2].standard_normal((self.vocabulary, self.dimension))
        if self.table == "balanced":
            for start, count in zip(starts, counts):
                table[start : start + count] -= table[start : start + count].mean(axis=0)
        table[:, : self.means.shape[1]] += np.repeat(self.means, counts, axis=0)
        matrix = pooling_matrix(tokens, self.pooling_weights, self.vocabulary)
        if top is None:
            values, vectors = covariance_spectrum(matrix @ table, vectors=many - 1)
        else:
            values, vectors = top_eigenpairs(table, matrix, top)
        prediction = self.predict()
        shown = np.zeros((self.means.shape[1], many - 1))
        shown[:, : vectors.shape[1]] = vectors[: self.means.shape[1], : many - 1]
        overlaps = (shown.T @ prediction.directions) ** 2
        leading = np.concatenate([values, np.zeros(many)])[:many]
        return ClassSimulation(
            seed=int(seed),
            eigenvalues=values,
            leading=leading,
            top_eigenvalue=float(leading[0]),
            second_eigenvalue=float(leading[1]),
            overlap=np.diag(overlaps).copy(),
            subspace_overlap=subspace_overlap(shown, prediction.directions, prediction.group),
            overlaps=overlaps,
        )

    def claims(self) -> list[Claim]:
        """Outliers and subspace overlaps, spike by spike, and the eigenvalue at the edge behind them.

        Outliers too close to tell apart repel and mix: of them the mean eigenvalue is claimed, and the overlap with the span
        of their directions, less what outliers of other groups take. Overlaps only where a spike has signal; nothing of
        spikes near the threshold, nor of the edge beside them. c = 2 (docs/theory/classes.md, section 3).
        """
        found, d, claims = self.predict(), self.dimension, []
        shown, ratio = np.isfinite(found.outlier), found.q / found.threshold
        near = (ratio > WINDOW[0]) & (ratio < WINDOW[1])
        for group in np.unique(found.group[shown]):
            own = np.flatnonzero(shown & (found.group == group))
            if near[own].any():
                continue
            where = f"[{own[0]}]" if own.size == 1 else f"[{own[0]}:{own[-1] + 1}]"
            outlier, overlap = found.outlier[own].mean(), found.overlap[own]
            claims.append(Claim(f"leading{where}", outlier, None, SPIKE_ALLOWANCE, d, relative=True))
            if not found.spurious[own].all():
                kept = (overlap * (1 - found.mixing[own])).mean()
                claims.append(Claim(f"subspace_overlap{where}", overlap.mean(), kept, SPIKE_ALLOWANCE, d))
        if not near.any():
            sizes, many = (self.vocabulary, self.samples), found.leading.size
            edge = edge_mean(d, sizes, found.kappa, found.q, classes=many)
            name = f"leading[{int(shown.sum())}]"
            claims.append(Claim(name, found.edge, edge, SPIKE_ALLOWANCE, d, relative=True))
        return [claim for claim in claims if claim.expected is None or np.isfinite(claim.expected)]


def class_means(*, strengths: Any = None, gram: Any = None, proportions: Any = None) -> np.ndarray:
    """Class means that have given strengths b_k, or a given Gram matrix, shape (K, K').

    Parameters
    ----------
    strengths : array, shape (K − 1,), optional
        Eigenvalues of the between-class covariance sum_a pi_a (mu_a − mean)(mu_a − mean)ᵀ.
    gram : array, shape (K, K), optional
        ⟨mu_a, mu_b⟩, positive semi-definite. Give one of the two.
    proportions : array, shape (K,), optional
        Needed with strengths; equal by default.

    Raises
    ------
    ValueError
        If not exactly one of the two is given, or it is out of range.

    Examples
    --------
    >>> means = class_means(strengths=[2.0, 0.5], proportions=[0.2, 0.3, 0.5])
    >>> np.round((means.T * [0.2, 0.3, 0.5]) @ means, 12)
    array([[2. , 0. ],
           [0. , 0.5]])
    """
    if (strengths is None) == (gram is None):
        raise ValueError(f"give one of strengths and gram, got {'neither' if gram is None else 'both'}")
    if gram is not None:
        gram = np.asarray(arrays(gram, names="gram")[1], dtype=float)
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] < 2:
            raise ValueError(f"gram must be a square matrix of two classes or more, got shape {gram.shape}")
        require("gram", gram, np.isfinite(gram), "finite")
        size = max(float(np.abs(gram).max()), np.finfo(float).tiny)
        if (skew := np.abs(gram - gram.T).max()) > 1e-10 * size:
            raise ValueError(f"gram must be symmetric, got entries that differ by {skew:.6g}")
        values, vectors = np.linalg.eigh(gram)
        if values[0] < -1e-10 * size * len(gram):
            raise ValueError(f"gram must be positive semi-definite, got the eigenvalue {values[0]:.6g}")
        return (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    b = np.atleast_1d(np.asarray(arrays(strengths, names="strengths")[1], dtype=float))
    if not b.size:
        raise ValueError(
            "strengths must be one fewer than the classes, of which there are two or more, got none"
        )
    require("strengths", b, np.isfinite(b) & (b >= 0), "finite and >= 0")
    many = b.size + 1
    pi = check_shares("proportions", np.full(many, 1 / many) if proportions is None else proportions)
    if b.ndim != 1 or pi.size != many:
        raise ValueError(
            f"strengths must be one fewer than the {pi.size} classes of proportions, got shape {b.shape}"
        )
    # an orthonormal basis of what is orthogonal to sqrt(pi): Helmert's, by QR
    basis = np.linalg.qr(np.column_stack([np.sqrt(pi), np.eye(many)[:, : many - 1]]))[0][:, 1:]
    return basis * np.sqrt(b) / np.sqrt(pi)[:, None]
