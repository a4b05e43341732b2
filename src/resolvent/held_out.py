r"""Was the prediction right: everything predicted from one half of the documents, observed on the other.

Under each weighting, half A alone predicts the leading eigenvalue of half B, and how well the leading directions
that the halves find separately agree; where several directions stand out, also how well their span agrees.
Derived in docs/theory/estimation.md, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent.arguments import natural, one_of, seed_number
from resolvent.crossfit import Background, Frame, Spike, compact
from resolvent.estimation import LEAST_DOCUMENTS, Estimate, checked, estimate

if TYPE_CHECKING:
    import xarray

__all__ = ["Comparison", "HeldOut", "check_held_out"]

LIMIT = 4.0  # standard errors
ALLOWANCE = 0.02  # of eigenvalues: what finite sizes leave
LOST = 0.2  # of the share of a direction lost to noise: documents are not Gaussian
MOST = 10  # directions among which the largest gap is looked for


@dataclass(frozen=True)
class Comparison:
    """One quantity predicted from half A and observed on half B.

    Attributes
    ----------
    quantity : str
        "outlier" (in units of kappa), "agreement" of the leading directions or of the "span" of the first k.
    predicted, observed, error : float
        `error` is the standard error of their difference.
    z : float
        (observed − predicted) / error, after the allowance for finite sizes.
    most : bool
        Whether `predicted` is only the most that half A, in which nothing was detected, leaves possible.
    """

    quantity: str
    predicted: float
    observed: float
    error: float
    z: float
    most: bool = False

    @property
    def right(self) -> bool:
        """Whether the observation is within four standard errors, beyond the allowance."""
        return bool(abs(self.z) < LIMIT)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Answer of `check_held_out`.

    Attributes
    ----------
    samples : tuple of int
        Documents in half A and in half B.
    predictions : dict of str to tuple of Comparison
        By weights.
    directions : dict of str to int
        How many directions the span is of, by weights.
    estimate : Estimate
        From half A.
    """

    samples: tuple[int, int]
    predictions: dict[str, tuple[Comparison, ...]]
    directions: dict[str, int]
    estimate: Estimate = field(repr=False)

    @property
    def right(self) -> bool:
        """Whether every prediction was right."""
        return all(one.right for rows in self.predictions.values() for one in rows)

    @cached_property
    def table(self) -> xarray.Dataset:
        """Predicted, observed, error, z and right over `weights` and `quantity`."""
        import xarray as xr

        names, quantities = (
            list(self.predictions),
            [p.quantity for p in next(iter(self.predictions.values()))],
        )
        return xr.Dataset(
            {
                key: (
                    ("weights", "quantity"),
                    [[getattr(one, key) for one in self.predictions[n]] for n in names],
                )
                for key in ("predicted", "observed", "error", "z", "right")
            }
            | {"directions": ("weights", [self.directions[name] for name in names])},
            coords={"weights": names, "quantity": quantities},
            attrs={"samples": self.samples[0], "held_out": self.samples[1]},
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        rows = {
            name: {
                one.quantity: {
                    "predicted": one.predicted,
                    "observed": one.observed,
                    "error": one.error,
                    "z": one.z,
                    "right": one.right,
                }
                for one in predictions
            }
            for name, predictions in self.predictions.items()
        }
        return {"samples": list(self.samples), "right": self.right, "weights": rows}

    def __str__(self) -> str:
        lines = [
            f"predicted from {self.samples[0]:,} documents, observed on {self.samples[1]:,} others",
            "(z: standard errors beyond the allowance for finite sizes)",
        ]
        for name, rows in self.predictions.items():
            for one in rows:
                what = f"span of {self.directions[name]}" if one.quantity == "span" else one.quantity
                lines.append(
                    f"{name:<8} {what:<11} {'at most  ' if one.most else 'predicted'} {one.predicted:7.4f} ± "
                    f"{one.error:.4f}   observed "
                    f"{one.observed:7.4f}   z {one.z:+5.1f}   {'right' if one.right else 'WRONG'}"
                )
        return "\n".join(lines)


def check_held_out(
    tokens: Any, table: Any, *, seed: int = 0, folds: int = 20, noise: str = "counted", salad: bool = False
) -> HeldOut:
    """Predict from one half of the documents, and observe on the other.

    Parameters
    ----------
    tokens : array of int, shape (N, T)
        At least 80 documents.
    table : array, shape (V, d)
    seed : int, default 0
        Splits the documents.
    folds : int, default 20
        As in `estimate`.
    noise : {"counted", "ignored"}
        "ignored" predicts directions as if samples had no noise (overlap one): a prediction that must fail wherever its
        errors are small.
    salad : bool, default False
        Permute the tokens of half B across its documents at every position, which takes away all that
        documents share: the prediction must fail.

    Returns
    -------
    HeldOut

    Raises
    ------
    ValueError
        As `estimate`, for half the documents.

    References
    ----------
    docs/theory/estimation.md, section 6.

    Examples
    --------
    >>> from resolvent.positions import Prefix
    >>> from resolvent.tables import draw_noise, draw_tokens, token_signs
    >>> rng = np.random.default_rng(0)
    >>> tokens = draw_tokens(Prefix(12, 6).sample(1200, rng=rng), 400, rng=rng)
    >>> table = draw_noise(400, 40, rng=rng)
    >>> table[:, 0] += token_signs(400)
    >>> check_held_out(tokens, table).right
    True
    >>> check_held_out(tokens, table, salad=True).right
    False
    """
    tokens, table = checked(tokens, table)
    one_of("noise", noise, ("counted", "ignored"))
    natural("folds", folds, least=2)
    n = tokens.shape[0]
    if n < 2 * LEAST_DOCUMENTS:
        raise ValueError(f"tokens must hold at least {2 * LEAST_DOCUMENTS} documents, got {n}")
    rng = np.random.default_rng(seed_number(seed))
    order = rng.permutation(n)
    first, second = tokens[order[: n // 2]], tokens[order[n // 2 :]]
    if salad:
        second = rng.permuted(second, axis=0)
    answer = estimate(first, table, seed=seed, folds=folds)
    # one table of the tokens of either half, so that directions of both are directions of its columns
    index, rows = compact(np.concatenate([first, second]), table)
    predictions, directions = {}, {}
    for name, spike in answer.spikes.items():
        span = _largest_gap(spike)
        there = Frame.at(index[len(first) :], rows, spike.weights)
        common = Frame.at(index, rows, spike.weights).whitener.T
        cosines = (
            _orthonormal(common @ spike.frame.signals(spike.frame.top(span)[1])).T
            @ _orthonormal(common @ there.signals(there.top(span)[1]))
        ) ** 2
        predictions[name] = _compare(spike, there, cosines, noise == "ignored")
        directions[name] = span
    return HeldOut((len(first), len(second)), predictions, directions, answer)


def _orthonormal(directions: np.ndarray) -> np.ndarray:
    return np.linalg.qr(directions)[0]


def _compare(spike: Spike, there: Frame, cosines: np.ndarray, ignore: bool) -> tuple[Comparison, ...]:
    q, documents, span = spike.q, float(there.tokens.shape[0]), len(cosines)
    top, share, shared = float(there.top(1)[0][0]), float(cosines[0, 0]), float(cosines.sum() / span)
    if not spike.detected:
        # nothing may stand out further, nor directions agree better, than half A leaves possible
        high = spike.interval()[1]
        edge = (1 + np.sqrt(there.rank / there.effective(documents))) ** 2
        most = max(edge, float(np.nan_to_num(spike.outlier(high, documents))))
        agreement = spike.overlap(high) * spike.overlap(high, documents)
        chance = float(np.sqrt(2) / there.rank)
        return (
            _comparison("outlier", most, top, most * np.sqrt(2 / documents), ALLOWANCE * most, most=True),
            _comparison("agreement", agreement, share, chance, ALLOWANCE, most=True),
            _comparison("span", agreement, share, chance, ALLOWANCE, most=True),
        )
    slope = spike.background.blur(q, there.effective(documents))[2]
    variance = (1 + q) ** 2 * (2 * slope + max(spike.kurtosis, -2.0) * slope**2) / documents
    outlier, error = spike.outlier(q, documents), np.hypot(slope * spike.error, np.sqrt(max(variance, 0.0)))
    first = _comparison("outlier", outlier, top, float(error), ALLOWANCE * outlier)
    here = (float(spike.sizes.sum()) - 1) / spike.blurring(q)
    other = (documents - 1) / spike.blurring(q)
    # few documents may carry a direction: half B then has another share of them, and of its nearest companion's
    wobble = float(np.hypot(spike.error, (1 + q) * np.sqrt(2 * max(spike.kurtosis, 0.0) / documents)))
    agreement, agreement_error = _agreement(spike.background, q, wobble, here, other)
    second = _comparison(
        "agreement",
        1.0 if ignore else agreement,
        share,
        agreement_error,
        0.0 if ignore else LOST * (1 - agreement),
    )
    # a direction of the span is only blurred by what is outside of it
    strengths = np.append(q, spike.background.companions[: span - 1])
    outside = Background(there.rank - span + 1, spike.background.companions[span - 1 :])
    each = [_agreement(outside, float(one), wobble, here, other) for one in strengths]
    expected = float(np.mean([a for a, _ in each]))
    spread = float(np.sqrt(np.sum([e**2 for _, e in each])) / span)
    third = _comparison(
        "span", 1.0 if ignore else expected, shared, spread, 0.0 if ignore else LOST * (1 - expected)
    )
    return first, second, third


def _agreement(
    background: Background, q: float, q_error: float, here: float, there: float
) -> tuple[float, float]:
    """Squared cosine of two independent samples' directions, c_A² c_B² plus chance, and its standard error."""
    (a, _, _, leak_a), (b, _, _, leak_b) = background.blur(q, here), background.blur(q, there)
    bulk = max(background.rank - background.companions.size, 1)
    size = np.append(bulk, np.ones(background.companions.size))
    product = np.sum(leak_a * leak_b / size)
    step = max(q_error, 1e-6 * q)

    def at(strength: float) -> float:
        return background.blur(strength, here)[0] * background.blur(strength, there)[0]

    slope = (at(q + step) - at(max(q - step, 0.0))) / (2 * step)
    own = [2 * np.sum(leak**2 / size) for leak in (leak_a, leak_b)]  # Gaussian components of the leakage
    variance = 4 * a * b * product + b**2 * own[0] + a**2 * own[1] + (slope * q_error) ** 2
    return float(a * b + product), float(np.sqrt(variance))


def _comparison(
    quantity: str, predicted: float, observed: float, error: float, allowed: float, *, most: bool = False
) -> Comparison:
    off = observed - predicted
    if most and off < 0:
        off = 0.0
    z = np.sign(off) * max(abs(off) - allowed, 0.0) / error if error > 0 else float("inf")
    return Comparison(quantity, float(predicted), float(observed), float(error), float(z), most)


def _largest_gap(spike: Spike) -> int:
    """Number of leading eigenvalues before the largest gap, in ratio, among the first few that stand out."""
    many = min(1 + spike.background.companions.size, MOST, spike.frame.rank - 1)
    values = spike.eigenvalues[: many + 1]
    return int(np.argmax(values[:-1] / values[1:])) + 1
