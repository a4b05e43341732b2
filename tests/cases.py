"""The registry: every law and every model that the tests cross. A new one is one line here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resolvent import (
    Correlated,
    MarchenkoPastur,
    MarchenkoPasturProduct,
    PooledSequences,
    Prefix,
    SingleFactor,
    spikes,
)
from resolvent.laws import GeneralisedMarchenkoPastur, Law, SeparableLaw, Wachter

# Means over seeds may differ from the theory by this many standard errors, plus resolvent.models.claims.ALLOWANCE/d
STANDARD_ERRORS = 4.0

PRODUCTS = {
    "one, below one": MarchenkoPastur(0.25),
    "one, at one": MarchenkoPastur(1.0),
    "one, above one": MarchenkoPastur(3.0, scale=2.0),
    "one, tiny": MarchenkoPastur(1e-6, scale=0.5),
    "one, as a product": MarchenkoPasturProduct([0.4]),
    "two, below one": MarchenkoPasturProduct((0.25, 1 / 3), scale=1.5),
    "two, equal": MarchenkoPasturProduct((0.5, 0.5)),
    "two, one at one": MarchenkoPasturProduct((1.0, 0.5)),
    "two, both at one": MarchenkoPasturProduct((1.0, 1.0), scale=0.02),
    "two, one above": MarchenkoPasturProduct((0.5, 2.5)),
    "two, one and above": MarchenkoPasturProduct((1.0, 2.0)),
    "two, both above": MarchenkoPasturProduct((1.5, 4.0), scale=3.0),
    "two, tie above": MarchenkoPasturProduct((2.0, 2.0)),
    "two, one tiny": MarchenkoPasturProduct((1e-6, 0.5)),
    "two, both tiny": MarchenkoPasturProduct((1e-6, 1e-6)),
    "three, below one": MarchenkoPasturProduct((0.5, 0.3, 0.2)),
    "three, at one": MarchenkoPasturProduct((1.0, 1.0, 1.0)),
    "three, above one": MarchenkoPasturProduct((0.5, 2.0, 3.0), scale=0.7),
    "four, mixed": MarchenkoPasturProduct((0.25, 1 / 3, 0.5, 2.0)),
}

# the laws of factors, whose map is a rational function of known roots, and the others
LAWS: dict[str, Law] = PRODUCTS | {
    "F, below one": Wachter(0.25, 0.5),
    "F, at one": Wachter(1.0, 0.3, scale=2.0),
    "F, above one": Wachter(3.0, 0.2),
    "F, tiny null": Wachter(0.5, 1e-9, scale=0.1),
    "F, null near one": Wachter(0.4, 0.95),
    "population, one": GeneralisedMarchenkoPastur(0.25, [2.0]),
    "population, a gap": GeneralisedMarchenkoPastur(0.05, [1.0, 8.0], [0.7, 0.3]),
    "population, above one": GeneralisedMarchenkoPastur(2.5, [1.0, 4.0]),
    "population, above one and a gap": GeneralisedMarchenkoPastur(2.0, [0.01, 1.0]),
    "population, zeros": GeneralisedMarchenkoPastur(0.4, [0.0, 1.0, 3.0]),
    "population, touches zero": GeneralisedMarchenkoPastur(1.0, [1.0, 2.0]),
    "population, touches zero beside zeros": GeneralisedMarchenkoPastur(1.5, [0.0, 1.0, 2.0]),
    "separable, frequencies": SeparableLaw(0.5, 0.3, [0.5, 1.0, 2.0]),
    "separable, both": SeparableLaw(0.6, 0.4, np.linspace(0.4, 1.6, 200), np.linspace(0.5, 2.0, 150)),
    "separable, above one": SeparableLaw(2.5, 0.5, [1.0, 2.0], [0.5, 1.5]),
    "population, empirical": GeneralisedMarchenkoPastur(
        0.5, np.random.default_rng(4).standard_gamma(1.5, size=300)
    ),
}

every_product = pytest.mark.parametrize("law", list(PRODUCTS.values()), ids=list(PRODUCTS))
every_law = pytest.mark.parametrize("law", list(LAWS.values()), ids=list(LAWS))


def ratios(law) -> tuple[float, ...]:
    return tuple(law.inverse_map.ratios)


def stretched(law, factor):
    """The same law of values `factor` times as large."""
    if isinstance(law, GeneralisedMarchenkoPastur):
        return replace(law, population=factor * np.array(law.population))
    return replace(law, scale=factor * law.scale)


def scale(law) -> float:
    return float(law.inverse_map.scale)


CHAIN = 0.5 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))

# small: these cross mechanical tests (same fields, same numbers by another route)
MODELS = {
    "mixture, d < N": PooledSequences(40, 60, 90, Prefix(12, 4), "mean", 1.5),
    "mixture, d > N": PooledSequences(60, 50, 35, Prefix(12, 4), "optimal", 1.5),
    "balanced, d < N": PooledSequences(40, 60, 90, Prefix(12, 4), "causal", 1.5, table="balanced"),
    "balanced, d > N": PooledSequences(
        60, 80, 45, SingleFactor(np.linspace(-0.5, 1, 12)), "optimal", 2.0, table="balanced"
    ),
    "correlated": PooledSequences(30, 40, 50, Correlated(CHAIN), np.arange(1.0, 13), 1.0),
    "no signal": PooledSequences(30, 40, 50, Prefix(12, 0), "mean", 0.0),
    "one position": PooledSequences(20, 40, 50, Prefix(1, 1), "mean", 2.0),
    "two dimensions": PooledSequences(2, 6, 9, Prefix(3, 2), "mean", 1.0),
    "negative weights": PooledSequences(30, 40, 50, SingleFactor([1.0, -1.0, 0.5]), [1.0, -1.0, 0.2], 1.0),
}
every_model = pytest.mark.parametrize("model", list(MODELS.values()), ids=list(MODELS))


def random_settings(count: int = 20, seed: int = 7) -> list[PooledSequences]:
    """Models drawn at random (the draw is fixed), away from the transition and from short sequences."""
    rng = np.random.default_rng(seed)
    found: list[PooledSequences] = []
    while len(found) < count:
        d = int(rng.integers(200, 301))
        vocabulary, samples = 2 * int(d / rng.uniform(0.3, 2.0) / 2), int(d / rng.uniform(0.3, 1.8))
        length = int(rng.integers(20, 101))
        loadings = (np.arange(length) < length // 4).astype(float)
        positions = (
            Prefix(length, int(rng.integers(3, length // 2))),
            SingleFactor(rng.uniform(0.1, 1.0, length) * np.where(loadings > 0, 1.0, 0.2)),
            Correlated(
                rng.uniform(0.6, 0.9) ** np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
            ),
        )[rng.integers(3)]
        weights = ("mean", "causal", "optimal", rng.uniform(0.5, 1.5, length))[rng.integers(4)]
        table = ("mixture", "balanced")[rng.integers(2)]
        model = PooledSequences(d, vocabulary, samples, positions, weights, 1.0, table=table)
        above = rng.random() < 0.75
        q = spikes.threshold(model.delta, model.gamma) * (
            rng.uniform(1.55, 5.0) if above else rng.uniform(0.1, 0.5)
        )
        w = model.pooling_weights
        snr = float(model.predict().snr)
        power = (q + model.delta) / snr - (model.delta if table == "mixture" else 0.0)
        if power <= 0 or (w @ w) ** 2 / (w**4).sum() < 10:
            continue  # no such signal, or a sequence whose few heavy tokens leave the limit
        found.append(
            PooledSequences(d, vocabulary, samples, positions, weights, float(np.sqrt(power)), table=table)
        )
    return found
