r"""Every outlier of tokens pooled by one query, from the inertia of one 6 × 6 matrix, and what each points along.

The matrix is the determinant of docs/theory/attention_query.md, section 5, before the rank-four part of the
covariance is eliminated. Its inertia counts the eigenvalues above λ(y), so that none is missed where a
determinant only touches zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from resolvent.query_attention.bulk import AttentionBulk, BulkPoint

__all__ = ["Outlier", "OutlierProblem"]

GRID, ROUNDS = 32, 60
LOOKED_AT = 2  # tokens whose share is followed even where they are no outliers
VANISHES = 1e-12  # of the sum of magnitudes, for a squared norm
NEAR = 1e-5  # relative distance from a pole at which its residue is taken


@dataclass(frozen=True)
class Outlier:
    """One outlier of the limit, or one eigenvector of a draw.

    Attributes
    ----------
    name : {"signal", "query", "composition", "token", "mean"}
        What makes it. "composition" is where "signal" would be, without any signal.
    eigenvalue : float
    overlap : float
        Squared overlap of its eigenvector with mu/‖mu‖ (at mu = 0: zero).
    query_overlap, perpendicular_overlap : float
        With q/‖q‖, and with the part of mu orthogonal to q.
    mode_overlap, mean_overlap, token_overlap : float
        With the composition mode M of the table, with the mean of the attended embeddings, and with the noise of the
        heavy token that it holds most of.
    token_pole : float
        y Ω₀ of the heaviest token here: one at that token's own outlier, below one above it.

    Examples
    --------
    >>> Outlier("query", 2.3, 0.0, 0.45, 0.0, 0.0, 0.0, 0.0, 0.6).spurious
    True
    """

    name: str
    eigenvalue: float
    overlap: float
    query_overlap: float
    perpendicular_overlap: float
    mode_overlap: float
    mean_overlap: float
    token_overlap: float
    token_pole: float

    @property
    def spurious(self) -> bool:
        """Whether something else than the signal makes it."""
        return self.name != "signal"


@dataclass(frozen=True, eq=False)
class OutlierProblem:
    """The 6 × 6 problem of the coordinates (q, mu orthogonal to q) and of the functions (φ, sφ, φ², sφ²).

    Parameters
    ----------
    bulk : AttentionBulk
        Less the tokens that are outliers, see `AttentionBulk.without_outlying_tokens`.
    parallel, perpendicular : float
        The parts of mu along and orthogonal to q: ‖mu‖ cos and ‖mu‖ sin.
    centred : bool, default True

    Raises
    ------
    RuntimeError
        If outliers cannot be told apart.

    References
    ----------
    docs/theory/attention_query.md, section 5.

    Examples
    --------
    >>> from resolvent import spikes
    >>> from resolvent.query_attention import AttentionBulk, Composition, token_types
    >>> bulk = AttentionBulk(token_types(2000, 0.0, 0.0, length=10**6), Composition(0.0, 4.0, 10**6), 0.25, 0.5)
    >>> found = OutlierProblem(bulk, 0.0, 1.0).find()[0]
    >>> round(found.overlap, 4), round(float(spikes.alignment(1.0, 4.0, 0.25, 0.5)), 4)
    (0.6941, 0.6941)
    """

    bulk: AttentionBulk
    parallel: float
    perpendicular: float
    centred: bool = True

    @cached_property
    def _features(self) -> np.ndarray:
        """(e_q, e_⊥, φ, sφ, φ², sφ²) of the types, shape (K, 6)."""
        types = self.bulk.types
        s, phi = types.signs, types.factors
        along, across = types.scores + s * self.parallel, self.perpendicular * s
        return np.stack([along, across, phi, s * phi, phi**2, s * phi**2], axis=1)

    @cached_property
    def _products(self) -> np.ndarray:
        """Their products, shape (K, 36)."""
        return (self._features[:, :, None] * self._features[:, None, :]).reshape(-1, 36)

    @cached_property
    def _moments(self) -> np.ndarray:
        """Their second moments, shape (6, 6)."""
        return (self.bulk.types.shares @ self._products).reshape(6, 6)

    @property
    def mode(self) -> np.ndarray:
        """The function m = (s − th) φ of the composition mode M = E[m e], in the basis (φ, sφ, φ², sφ²)."""
        return np.array([-self.bulk.types.balance, 1.0, 0.0, 0.0])

    def coupling(self, rho: np.ndarray) -> np.ndarray:
        """J of Ω = Ω₀ + U J Uᵀ/V, shape (m, 4, 4)."""
        bulk = self.bulk
        out = np.zeros((rho.shape[0], 4, 4))
        theta, spread, length = bulk.composition.theta, bulk.composition.spread, bulk.composition.length
        damping, mode, moments = bulk.damping, self.mode, self._moments
        for c, sign in enumerate((1.0, -1.0)):
            x = damping[c] * np.array([1.0, sign * theta, 0.0, 0.0])
            t = np.array([0.0, 0.0, 1.0, sign * theta])
            level = moments[2, 2] + sign * theta * moments[2, 3]  # E t_c
            part = level * np.outer(x, x) - np.outer(x, t) - np.outer(t, x)
            part = part + (spread - (1 - theta**2)) * damping[c] ** 2 * np.outer(mode, mode)
            out = out + (0.5 * damping[c] ** 2 * rho[:, c])[:, None, None] * part
            if not self.centred:
                out = out + (0.5 * length * rho[:, c])[:, None, None] * np.outer(x, x)
        if self.centred:
            # the sample mean, projected out, leaves the harmonic mean of the two classes
            strength = length * theta**2 * damping.prod() ** 2
            harmonic = 2 * rho.prod(axis=1) / rho.sum(axis=1)
            out = out + strength * harmonic[:, None, None] * np.outer(mode, mode)
        return out

    def resolvent_sums(self, point: BulkPoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """R = 1/(1 − yΩ₀) (m, K); sums of R f f' over all tokens (m, 6, 6), and of Ω₀ R e e' (m, 2, 2)."""
        types = self.bulk.types
        weight = point.rates[:, (types.signs < 0).astype(int)] * types.factors**2
        r = 1 / (1 - weight)
        gram = ((r * types.shares) @ self._products).reshape(-1, 6, 6)
        pairs = self._products.reshape(-1, 6, 6)[:, :2, :2].reshape(-1, 4)
        noise = ((weight * r * types.shares / point.y[:, None]) @ pairs).reshape(-1, 2, 2)
        return r, gram, noise

    def matrix(self, point: BulkPoint) -> tuple[np.ndarray, np.ndarray]:
        """The symmetric matrix (m, 6, 6), its last four coordinates scaled by J; and the number of negative ones of J."""
        _, gram, noise = self.resolvent_sums(point)
        values, vectors = np.linalg.eigh(self.coupling(point.rho))
        scale = vectors * np.sqrt(np.abs(values))[:, None, :]
        sign = np.where(values < 0, -1.0, 1.0)
        out = np.empty((point.y.size, 6, 6))
        out[:, :2, :2] = -noise
        out[:, 0, 0] += point.eigenvalue
        out[:, 1, 1] += self.bulk.delta / point.y
        out[:, :2, 2:] = gram[:, :2, 2:] @ scale
        out[:, 2:, :2] = out[:, :2, 2:].swapaxes(1, 2)
        out[:, 2:, 2:] = -point.y[:, None, None] * scale.swapaxes(1, 2) @ gram[:, 2:, 2:] @ scale
        out[:, range(2, 6), range(2, 6)] += sign
        unit = np.ones((point.y.size, 6))  # inertia does not mind, rounding does
        unit[:, 0], unit[:, 1] = point.eigenvalue**-0.5, (point.y / self.bulk.delta) ** 0.5
        out *= unit[:, :, None] * unit[:, None, :]
        return out, (values < 0).sum(axis=1)

    def count(
        self, y: np.ndarray, start: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many eigenvalues lie above λ(y), by inertia; the matrix's eigenvalues; and ρ, of which `start` is a bound."""
        point = self.bulk.at(y, start)
        matrix, negative = self.matrix(point)
        values = np.linalg.eigvalsh(matrix)
        types, out = self.bulk.types, self.bulk.heaviest[: self.bulk.left_out]
        poles = point.rates[:, (types.signs[out] < 0).astype(int)] * types.factors[out] ** 2 > 1
        return (values < 0).sum(axis=1) - negative + poles.sum(axis=1), values, point.rho

    def roots(self) -> np.ndarray:
        """y of every outlier, increasing."""
        end = self.bulk.critical * (1 - 1e-9)
        start = end / 100
        while self.count(np.array([start]))[0][0] > 0:
            start /= 30
            if start < 1e-100 * end:
                raise RuntimeError("no λ was found above all outliers")
        grid = np.geomspace(start, end, GRID)
        counts, values, rho = self.count(grid)
        total = int(counts[-1])
        if (np.diff(counts) < 0).any():
            raise RuntimeError("the number of outliers above λ does not increase as λ falls")
        wanted, column = np.arange(1, total + 1), np.arange(total)
        above = np.searchsorted(counts, wanted)
        ends, sides, rho = grid[[above - 1, above]], values[[above - 1, above]], rho[above - 1]
        for round_ in range(ROUNDS):
            low, high = ends
            if total == 0 or (high - low < 1e-13 * high).all():
                return (ends[0] + ends[1]) / 2
            # the eigenvalue that changes sign; a secant step, watched from both sides, and two cuts in case it fails
            index = (sides[0] < 0).sum(axis=1).clip(max=5)
            at_low, at_high = sides[0][column, index], sides[1][column, index]
            guess = np.where(at_high < 0, at_low / np.where(at_high < 0, at_low - at_high, 1.0), 0.5)
            near = 10.0 ** -min(1 + round_, 8)
            cut = np.sort([guess - near, guess + near, 0 * guess + 1 / 3, 0 * guess + 2 / 3], axis=0)
            points = low + (high - low) * np.clip(cut, 0.0, 1.0)
            counts, values, found = self.count(points.ravel(), np.tile(rho, (4, 1)))
            reached = counts.reshape(4, total) >= wanted
            first = np.where(reached.any(axis=0), reached.argmax(axis=0), 4)
            points = np.vstack([low, points, high])
            values = np.concatenate([sides[:1], values.reshape(4, total, 6), sides[1:]])
            ends = np.stack([points[first, column], points[first + 1, column]])
            sides = np.stack([values[first, column], values[first + 1, column]])
            rho = np.concatenate([rho[None], found.reshape(4, total, 2)])[first, column]
        raise RuntimeError(f"an outlier is not settled: y between {ends[0]} and {ends[1]}")

    def overlaps(self, y: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Eigenvalues at the roots, and squared overlaps of their eigenvectors: residues of (λ − S)⁻¹."""
        bulk = self.bulk
        middle = bulk.at(y)
        gap = np.diff(y, prepend=0.0, append=bulk.critical)
        step = NEAR * np.minimum(gap[:-1], gap[1:])  # the first gap is y itself
        sides = [self._forms(bulk.at(y + sign * step)) for sign in (-1.0, 1.0)]
        (left, at_left), (right, at_right) = sides
        width = left.eigenvalue - right.eigenvalue
        # half the jump of f'(λ − S)⁻¹f over the pole, times the distance to it
        out = {
            name: np.clip(((at_left[name] - at_right[name]).T * width / 4).T, 0.0, None) for name in at_left
        }
        heaviest = bulk.heaviest[0]
        out["pole"] = middle.rates[:, int(bulk.types.signs[heaviest] < 0)] * bulk.types.factors[heaviest] ** 2
        return middle.eigenvalue, out

    def _forms(self, point: BulkPoint) -> tuple[BulkPoint, dict[str, np.ndarray]]:
        """f'(λ − S)⁻¹f of unit vectors f: along q, mu, mu orthogonal to q, M, the mean, the noise of heavy tokens."""
        bulk, types, y = self.bulk, self.bulk.types, point.y
        r, gram, noise = self.resolvent_sums(point)
        coupling = self.coupling(point.rho)
        dressed = np.linalg.solve(np.eye(4) - y[:, None, None] * coupling @ gram[:, 2:, 2:], np.eye(4))
        inner = dressed @ coupling  # J (I − y G J)⁻¹
        seen = gram[:, :2, 2:]
        D = -noise - seen @ inner @ seen.swapaxes(1, 2)
        D[:, 0, 0] += point.eigenvalue
        D[:, 1, 1] += bulk.delta / y
        inverse = np.linalg.inv(D)
        size = float(np.hypot(self.parallel, self.perpendicular))
        along = np.array([self.parallel, self.perpendicular]) / size if size else np.zeros(2)
        out = {
            "query": inverse[:, 0, 0],
            "signal": np.einsum("a,mab,b->m", along, inverse, along),
            "perpendicular": inverse[:, 1, 1] if self.perpendicular else 0 * y,
        }
        for name, f in (("mode", self.mode), ("mean", np.array([1.0, 0.0, 0.0, 0.0]))):
            moments = self._moments[2:, 2:]
            norm = float(((self._moments[:2, 2:] @ f) ** 2).sum() + bulk.delta * f @ moments @ f)
            terms = abs(self._moments[:2, 2:]) @ abs(f), abs(f) @ abs(moments) @ abs(f)
            if norm <= VANISHES * float((terms[0] ** 2).sum() + bulk.delta * terms[1]):
                out[name] = 0 * y  # attention sees one class alone, and M is zero up to rounding
                continue
            c = seen @ (dressed @ f)[..., None]
            own = y * np.einsum("a,mab,mb->m", f, gram[:, 2:, 2:], dressed @ f)
            out[name] = (own + (c.swapaxes(1, 2) @ inverse @ c)[:, 0, 0]) / norm
        tokens = bulk.heaviest[: max(bulk.left_out, LOOKED_AT)]
        share, features = types.shares[tokens], self._features[tokens]  # shares are 1/V
        u, weight = features[:, 2:], r[:, tokens]
        pull = np.einsum("kf,mfg->mkg", u, inner) * weight[..., None]
        own = y[:, None] * (weight + share * y[:, None] * weight * np.einsum("mkg,kg->mk", pull, u))
        c = (weight[..., None] - 1) * features[:, :2] + y[:, None, None] * pull @ seen.swapaxes(1, 2)
        held = own + share * np.einsum("mka,mab,mkb->mk", c, inverse, c)
        out["token"] = held / bulk.delta
        return point, out

    def find(self) -> list[Outlier]:
        """Every outlier by decreasing eigenvalue, named for what its eigenvector lies along most."""
        y = self.roots()
        if not y.size:
            return []
        values, found = self.overlaps(y)
        token = found["token"].max(axis=1)
        shares = {"signal": found["mode"], "query": found["query"], "token": token}
        if not self.centred:
            shares["mean"] = found["mean"]
        if self.parallel == 0 and self.perpendicular == 0:
            shares["composition"] = shares.pop("signal")
        names, table = list(shares), np.stack(list(shares.values()))
        mode = names.index("composition" if "composition" in names else "signal")
        ranked = table.argmax(axis=0)
        # one outlier is the mode's; where others mix with it, they are what they hold most of besides
        rest = np.arange(y.size) != np.argmax(np.where(ranked == mode, table[mode], -1.0))
        table[mode, rest] = -1.0
        ranked = table.argmax(axis=0)
        return [
            Outlier(
                name=names[ranked[j]],
                eigenvalue=float(values[j]),
                overlap=float(found["signal"][j]),
                query_overlap=float(found["query"][j]),
                perpendicular_overlap=float(found["perpendicular"][j]),
                mode_overlap=float(found["mode"][j]),
                mean_overlap=float(found["mean"][j]),
                token_overlap=float(token[j]),
                token_pole=float(found["pole"][j]),
            )
            for j in range(y.size)
        ]
