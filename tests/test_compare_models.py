"""Every solvable model against its own simulation by `compare`, beside a twin with a theory that leaves something out."""

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from resolvent import (
    AttentionPooling,
    EllipticalPooling,
    InContextRegression,
    MixedRidge,
    Mixture,
    PooledClasses,
    PooledRidge,
    PooledSequences,
    PooledVocabulary,
    Prefix,
    SingleFactor,
    SparseTokenClassification,
    ValueLayers,
    class_means,
    models,
)
from resolvent.compare import compare
from resolvent.downstream import ClassRidge, PooledClassifier
from resolvent.in_context import GaussianTasks, autoregressive
from resolvent.laws import InverseMap
from resolvent.models import Claim
from resolvent.models.claims import TRACY_WIDOM_MEANS, WINDOW, edge_mean, edge_shifts


def sizes(rng, d):
    """d, V and N at random."""
    return d, 2 * int(d * rng.uniform(0.6, 2)), int(d * rng.uniform(0.8, 3))


def sequences(rng, d, signal=(1.0, 1.6), positions=None):
    length = int(rng.integers(24, 40))
    positions = positions or Prefix(length, int(rng.integers(8, 14)))
    return PooledSequences(*sizes(rng, d), positions, "mean", rng.uniform(*signal))


def labelled_mixture(rng):
    length = int(rng.integers(20, 40))
    parts = [Prefix(length, length // 2), SingleFactor(rng.uniform(0, 0.8, length)), Prefix(length, 2)]
    return Mixture(parts, rng.dirichlet(np.full(3, 4.0)))


def classes(rng, d, many=3):
    means = class_means(strengths=[4.0, *rng.uniform(0.5, 1.5, many - 2)])
    return PooledClasses(*sizes(rng, d), Prefix(int(rng.integers(24, 40)), 12), "mean", means)


def vocabulary(rng, d):
    noise = np.repeat([rng.uniform(2.2, 2.6), 0.5], [d // 4, d - d // 4])
    direction = rng.standard_normal(d) * (np.arange(d) < d // 4)  # where the noise is loud
    V, N = 2 * int(d * rng.uniform(0.8, 2)), int(d * rng.uniform(1, 3))
    frequencies = np.exp(0.5 * rng.standard_normal(V))
    return PooledVocabulary(d, V, N, Prefix(80, 14), "mean", 1.3, frequencies, noise, direction)


def attention(rng, d):
    angle = rng.uniform(0.3, 0.8)
    return AttentionPooling(
        d, 4 * d, 3 * d, Prefix(100, int(rng.integers(25, 50))), rng.uniform(0.4, 0.5), angle, 1.2
    )


# a model at random, and the twin whose theory leaves something out
KINDS = {
    "two classes": (
        lambda rng: sequences(rng, 120),
        lambda model: replace(model, table="balanced"),
    ),
    "several classes": (
        lambda rng: classes(rng, 120, int(rng.integers(3, 5))),
        lambda model: replace(model, table="balanced"),
    ),
    "vocabulary": (
        lambda rng: vocabulary(rng, 240),
        lambda model: replace(model, direction=model.direction[::-1]),
    ),
    "attention": (
        lambda rng: attention(rng, 200),
        lambda model: replace(model, query_norm=0.0),
    ),
    "value layers": (
        lambda rng: ValueLayers(sequences(rng, 120, (1.8, 2.6)), [int(120 * rng.uniform(0.5, 2)), 150]),
        lambda model: replace(model, widths=[]),
    ),
    "ridge": (
        lambda rng: PooledRidge(sequences(rng, 120, (0.4, 0.8)), 10 ** rng.uniform(-2, 0)),
        lambda model: replace(model, sequences=replace(model.sequences, vocabulary=10**6)),
    ),
    "ridge on mixtures": (
        lambda rng: MixedRidge(
            sequences(rng, 120, positions=labelled_mixture(rng)), 10 ** rng.uniform(-2, 0)
        ),
        lambda model: replace(
            model,
            sequences=replace(
                model.sequences,
                positions=Mixture(
                    [SingleFactor(sum(share * part.loadings for share, part in model.parts))] * 3, [1 / 3] * 3
                ),
            ),
        ),
    ),
    "logistic regression": (
        lambda rng: PooledClassifier(sequences(rng, 120), 10 ** rng.uniform(-2, -1)),
        lambda model: replace(model, loss="square"),
    ),
    "ridge on several classes": (
        lambda rng: ClassRidge(classes(rng, 120), 10 ** rng.uniform(-2, -1)),
        lambda model: replace(model, sequences=replace(model.sequences, table="balanced")),
    ),
    "elliptical": (
        lambda rng: EllipticalPooling(
            64, 64, 256, rng.uniform(1.2, 1.8), 0.6, (1.0, rng.uniform(0.1, 0.4)), 0.15
        ),
        lambda model: model.mean_pooling(),
    ),
}
every_kind = pytest.mark.parametrize("kind", list(KINDS))
SETTINGS, SEEDS = 3, 12


@dataclass(frozen=True)
class Twin:
    """A model's draws beside the theory of another."""

    drawn: Any
    claimed: Any

    def predict(self):
        return self.claimed.predict()

    def simulate(self, seed):
        return self.drawn.simulate(seed)

    def claims(self):
        return self.claimed.claims()


@cache
def setting(kind, index):
    return KINDS[kind][0](np.random.default_rng([77, list(KINDS).index(kind), index]))


@every_kind
@pytest.mark.parametrize("index", range(SETTINGS))
def test_theory_meets_simulation_and_its_twin_does_not(kind, index):
    model = setting(kind, index)
    seeds = range(100 * index, 100 * index + SEEDS)
    table = compare(model, seeds)
    assert bool(table.agrees.all()), table.to_dataframe()
    assert (table.allowance > 0).all()
    wrong = compare(Twin(model, KINDS[kind][1](model)), seeds)
    assert not bool(wrong.agrees.all()), wrong.to_dataframe()
    kept = [name for name in table["quantity"].values if name in wrong["quantity"].values]
    np.testing.assert_array_equal(table.simulated.sel(quantity=kept), wrong.simulated.sel(quantity=kept))


def test_the_twins_cover_every_model_with_allowances():
    models_here = {type(KINDS[kind][0](np.random.default_rng(0))) for kind in KINDS}
    exact = {InContextRegression, SparseTokenClassification}  # below
    found = {getattr(models, name) for name in models.__all__}
    assert {kind for kind in found if hasattr(kind, "simulate")} == (models_here | exact) & found
    assert all(hasattr(kind, "claims") for kind in models_here | exact)


# --- claims ---------------------------------------------------------------------------------------------


def test_theory_of_a_draw_is_held_against_that_draw():
    model = SparseTokenClassification(200, 6, 2, 4.0, 0.4, 400, 300)
    table, draws = compare(model, range(3)), [model.simulate(seed) for seed in range(3)]
    given = [float(model.predict(draw.query).attention.error) for draw in draws]
    assert float(table.predicted.sel(quantity="attention.error")) == pytest.approx(np.mean(given))
    difference = np.subtract([draw.attention.error for draw in draws], given)
    error = difference.std(ddof=1) / np.sqrt(3)
    assert float(table.standard_error.sel(quantity="attention.error")) == pytest.approx(error)
    limit = float(model.predict(classifiers=()).query.alignment)  # the same for every draw
    assert float(table.predicted.sel(quantity="query.alignment")) == pytest.approx(limit)


def test_exact_risks_are_allowed_nothing():
    R, r = autoregressive(6, 0.8)
    model = InContextRegression(GaussianTasks(3, noise=0.2, correlation=R, query_correlation=r))
    table = compare(model, range(8))
    assert bool(table.agrees.all()), table.to_dataframe()
    assert not table.allowance.any()
    other = InContextRegression(GaussianTasks(3, noise=0.4, correlation=R, query_correlation=r))
    assert not bool(compare(Twin(model, other), range(8)).agrees.any())


def test_close_spikes_are_claimed_together_and_spurious_ones_without_overlap():
    model = PooledClasses(160, 320, 320, Prefix(40, 20), "mean", class_means(strengths=[1.05, 0.95]))
    table = compare(model, range(12))
    assert table["quantity"].values.tolist() == ["leading[0:2]", "subspace_overlap[0:2]", "leading[2]"]
    assert bool(table.agrees.all())
    draws = [model.simulate(seed) for seed in range(12)]
    assert float(table.simulated[0]) == pytest.approx(np.mean([draw.leading[:2] for draw in draws]))
    found = model.predict()
    assert float(table.expected[1]) == pytest.approx(np.mean(found.overlap * (1 - found.mixing)))
    none = replace(model, means=np.zeros((3, 1)))
    assert [claim.quantity for claim in none.claims()] == ["leading[0:2]", "leading[2]"]


def test_nothing_is_claimed_of_what_is_not_there_or_near_the_threshold():
    model = PooledClasses(160, 320, 320, Prefix(40, 1), "mean", np.zeros((3, 1)), table="balanced")
    assert [claim.quantity for claim in model.claims()] == ["leading[0]"]
    assert bool(compare(model, range(12)).agrees.all())
    near = PooledSequences(160, 320, 320, Prefix(40, 20), "mean", 0.0, table="balanced")
    near = replace(near, signal=1.1 * near.predict().critical_signal)
    assert WINDOW[0] < near.predict().q / near.predict().threshold < WINDOW[1]
    with pytest.raises(ValueError, match="model must be where its theory claims something"):
        compare(ValueLayers(near, []), range(3))
    below = ValueLayers(replace(near, signal=0.2 * near.signal), [120])
    table = compare(below, range(12))
    assert table["quantity"].values.tolist() == ["top_eigenvalue"]
    assert bool(table.agrees.all())


def test_a_spurious_outlier_of_a_vocabulary_is_not_claimed_of_the_signal():
    # at no signal the table's own class means make an outlier, but no eigenvector of a draw is known to be mu's
    model = PooledVocabulary(60, 120, 180, Prefix(40, 20), "mean", 0.0)
    assert np.isfinite(model.predict().outlier)
    for signal in (0.0, 0.03):
        table = compare(replace(model, signal=signal), range(6))
        assert table["quantity"].values.tolist() == ["overlap"]
        assert bool(table.agrees.all()), table.to_dataframe()
    table = compare(replace(model, signal=1.5), range(6))
    assert table["quantity"].values.tolist() == ["outlier", "overlap"]
    assert bool(table.agrees.all()), table.to_dataframe()


def all_models():
    R, r = autoregressive(4, 0.8)
    tasks = GaussianTasks(3, noise=0.2, correlation=R, query_correlation=r)
    return {
        **{kind: lambda kind=kind: KINDS[kind][0](np.random.default_rng(1)) for kind in KINDS},
        "in context": lambda: InContextRegression(replace(tasks)),
        "sparse token": lambda: SparseTokenClassification(60, 6, 2, 4.0, 0.4, 120, 90),
    }


@pytest.mark.parametrize("kind", list(all_models()))
def test_cache_keys_do_not_depend_on_what_was_computed_before(kind):
    from joblib import hash as key

    model, other = (all_models()[kind]() for _ in range(2))
    before = key(model)
    model.claims()
    _ = model.paired(0) if hasattr(model, "paired") else model.simulate(0)
    assert key(model) == before == key(other)


def test_uncentred_attention_claims_the_mean_before_the_signal():
    model = AttentionPooling(250, 1000, 750, Prefix(100, 30), 0.3, 0.4, 1.0, centred=False)
    table = compare(model, range(6))
    assert table["quantity"].values.tolist() == [
        *("top_eigenvalue", "mean_overlaps[0]", "second_eigenvalue"),
        *("overlap", "query_overlap", "perpendicular_overlap"),
    ]
    assert bool(table.agrees.all()), table.to_dataframe()


@pytest.mark.parametrize("widths", [(), (60,)])
def test_edges_beside_spikes_know_their_degrees_of_freedom(widths):
    model = PooledClasses(120, 240, 260, Prefix(40, 30), "mean", class_means(strengths=[2.0, 1.5, 1.0, 0.8]))
    if widths:
        model = ValueLayers(PooledSequences(120, 240, 260, Prefix(40, 15), "mean", 0.6), widths)
    claim = model.claims()[-1]
    draws = [model.simulate(seed) for seed in range(100)]
    seen = [draw.second_eigenvalue if widths else draw.leading[4] for draw in draws]
    error = np.std(seen, ddof=1) / np.sqrt(len(seen))
    assert abs(np.mean(seen) - claim.expected) < 4 * error + 2 / 120 * claim.expected
    bare = claim.predicted + TRACY_WIDOM_MEANS[0] * _width(model, widths)
    assert abs(np.mean(seen) - bare) > 4 * error + 2 / 120 * bare


def _width(model, widths):
    plain = getattr(model, "sequences", model)
    ratios = (plain.delta, plain.gamma, *(plain.dimension / width for width in widths))
    law = InverseMap(ratios, float(model.predict().kappa))
    return float(law.edge_scale()) * plain.dimension ** (-2 / 3)


def test_the_edge_of_two_classes_is_that_of_pooled_sequences():
    for signal, below in ((1.5, False), (0.1, True)):
        model = PooledSequences(200, 400, 500, Prefix(40, 8), "mean", signal, table="balanced")
        found = model.predict()
        here = edge_mean(200, (400, 500), found.kappa, [found.q])
        assert here == pytest.approx(model.claims()[0 if below else 1].expected)
    assert np.isnan(edge_mean(200, (2, 500), 0.1, [1.0]))
    assert edge_shifts(InverseMap((0.5, 0.4), 0.1), 200)[0] < 0


# --- models of one's own ----------------------------------------------------------------------------------


class Result(NamedTuple):
    mean: float
    second: Any
    name: str = "normal"
    table: Any = None


@dataclass(frozen=True)
class Normal:
    """Means of n normal numbers."""

    centre: float
    samples: int = 50

    def predict(self):
        return Result(self.centre, np.array([self.centre**2 + 1, np.nan]), table=np.eye(2))

    def simulate(self, seed):
        x = np.random.default_rng(seed).normal(self.centre, 1, self.samples)
        return Result(x.mean(), np.array([(x**2).mean(), 0.0]), table=np.eye(2))


def test_a_model_of_ones_own_needs_two_verbs():
    table = compare(Normal(1.0), range(20))
    assert table["quantity"].values.tolist() == ["mean", "second[0]"]
    assert bool(table.agrees.all())
    assert not table.allowance.any()
    assert not bool(
        compare(
            SimpleNamespace(predict=Normal(2.0).predict, simulate=Normal(1.0).simulate), range(20)
        ).agrees.any()
    )


def test_a_model_of_ones_own_may_claim():
    @dataclass(frozen=True)
    class Variance(Normal):
        def simulate(self, seed):
            x = np.random.default_rng(seed).normal(self.centre, 1, self.samples)
            return SimpleNamespace(variance=x.var(), never=1.0)

        def claims(self):
            return [
                Claim(
                    "variance",
                    1.0,
                    expected=1 - 1 / self.samples,
                    c=0.5,
                    dimension=self.samples,
                    relative=True,
                ),
                Claim("never", 1.0),
            ]

    table = compare(Variance(3.0), range(20))
    assert table.expected.values.tolist() == [0.98, 1.0]
    assert float(table.allowance[0]) == pytest.approx(0.5 * 0.98 / 50)
    assert table.agrees.values.tolist() == [True, True]  # even of what never varies
    assert np.isnan(table.z[1])


def test_a_sampled_claim_adds_its_own_error():
    @dataclass(frozen=True)
    class Sampled(Normal):
        def claims(self):
            return [Claim("mean", self.centre, standard_error=3.0)]

    plain, sampled = compare(Normal(1.0), range(5)), compare(Sampled(1.0), range(5))
    assert float(sampled.standard_error[0]) == pytest.approx(np.hypot(float(plain.standard_error[0]), 3.0))


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, ["model", "predict", "simulate", "3"]),
        (SimpleNamespace(predict=lambda: None), ["lacks simulate"]),
        (PooledSequences, ["which is a class"]),
        (SimpleNamespace(predict=lambda: Result(1.0, None), simulate=lambda seed: 0), ["one name", "mean"]),
        (
            SimpleNamespace(predict=lambda: SimpleNamespace(a="x"), simulate=lambda seed: 0),
            ["claims something"],
        ),
        (
            SimpleNamespace(predict=int, simulate=Normal(0.0).simulate, claims=lambda: [Claim("media", 0.0)]),
            ["simulate what it claims", "media"],
        ),
        (PooledSequences(20, 40, 60, Prefix(8, 4), "mean", [1.0, 2.0]), ["signal must be one number", "2"]),
        (
            PooledRidge(PooledSequences(20, 40, 60, Prefix(8, 4), "mean", [1.0, 2.0]), 0.1),
            ["one setting", "(2,)"],
        ),
        (SparseTokenClassification(40, 6, 2, 4.0, 0.4, 80, (60, 80)), ["one setting", "(2,)"]),
        *(  # one of the signals lies near the threshold
            (build(np.linspace(0.05, 3, 30)), ["one setting", "(30,)"])
            for build in (
                lambda signal: ValueLayers(
                    PooledSequences(20, 40, 60, Prefix(8, 4), "mean", signal, table="balanced"), [20]
                ),
                lambda signal: PooledVocabulary(20, 40, 60, Prefix(8, 1), "mean", signal),
            )
        ),
    ],
)
def test_models_that_cannot_be_compared_are_refused_by_name(model, words):
    with pytest.raises(ValueError) as error:
        compare(model, range(3))
    assert all(word in str(error.value) for word in words), error.value


@every_kind
def test_one_seed_is_refused(kind):
    with pytest.raises(ValueError, match="seeds must hold at least two"):
        compare(setting(kind, 0), [0])
