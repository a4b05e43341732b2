"""Plans: the answer reaches the target and the next smaller value does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent import plan, spikes

tables = pytest.mark.parametrize("table", ["mixture", "balanced"])


def reached(dimension, vocabulary, samples, snr, signal, table="mixture"):
    return float(spikes.alignment(signal, snr, dimension / vocabulary, dimension / samples, table))


@tables
def test_smallest_number_of_samples(table):
    known = {"vocabulary": 4000, "snr": 5.0, "signal": 1.0}
    answer = plan(0.5, dimension=1000, **known, table=table)
    assert answer.unknown == "samples"
    assert isinstance(answer.value, int)
    assert reached(1000, samples=answer.value, **known, table=table) >= 0.5
    assert reached(1000, samples=answer.value - 1, **known, table=table) < 0.5
    assert answer.overlap == pytest.approx(reached(1000, samples=answer.value, **known, table=table))


@tables
def test_smallest_vocabulary(table):
    known = {"samples": 3000, "snr": 4.0, "signal": 1.0}
    answer = plan(0.6, dimension=1000, **known, table=table)
    assert answer.value % 2 == 0
    assert reached(1000, answer.value, **known, table=table) >= 0.6
    smaller = np.arange(2, answer.value, 2)
    along = spikes.alignment(1.0, 4.0, 1000 / smaller, 1000 / 3000, table)
    assert np.all(along < 0.6)  # all of them: the overlap need not be monotone


@tables
@pytest.mark.parametrize("unknown", ["snr", "signal"])
def test_smallest_strength(table, unknown):
    known = {"vocabulary": 4000, "samples": 2000, "snr": 3.0, "signal": 1.5}
    del known[unknown]
    answer = plan(0.4, dimension=1000, **known, table=table)
    assert answer.unknown == unknown
    assert reached(1000, **known, **{unknown: answer.value}, table=table) >= 0.4
    assert reached(1000, **known, **{unknown: answer.value * (1 - 1e-9)}, table=table) < 0.4


@given(
    st.floats(0.02, 0.95),
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.floats(0.2, 20.0),
    st.floats(0.1, 4.0),
    st.sampled_from(["mixture", "balanced"]),
)
def test_samples_are_minimal_or_unreachable(target, dimension, half, snr, signal, table):
    known = {"vocabulary": 2 * half, "snr": snr, "signal": signal}
    best = reached(dimension, samples=np.inf, **known, table=table)
    answer = plan(target, dimension=dimension, **known, table=table)
    if answer.reachable:
        assert reached(dimension, samples=answer.value, **known, table=table) >= target
        if answer.value > 1:
            assert reached(dimension, samples=answer.value - 1, **known, table=table) < target
    else:
        assert best <= target
        assert answer.overlap == pytest.approx(best)


@given(
    st.floats(0.02, 0.95),
    st.integers(1, 1000),
    st.integers(1, 3000),
    st.floats(0.2, 20.0),
    st.floats(0.1, 4.0),
)
def test_vocabularies_are_minimal_or_unreachable(target, dimension, samples, snr, signal):
    answer = plan(target, dimension=dimension, samples=samples, snr=snr, signal=signal)
    sizes = np.arange(2, min(answer.value or 40_000, 40_000), 2)
    if answer.reachable:
        assert reached(dimension, answer.value, samples, snr, signal) >= target
    if sizes.size:
        assert spikes.alignment(signal, snr, dimension / sizes, dimension / samples).max() < target


@given(
    st.floats(0.02, 0.95),
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.floats(0.2, 20.0),
    st.sampled_from(["mixture", "balanced"]),
    st.sampled_from(["snr", "signal"]),
)
def test_strengths_are_minimal_or_unreachable(target, half, samples, other, table, unknown):
    known = {"vocabulary": 2 * half, "samples": samples, {"snr": "signal", "signal": "snr"}[unknown]: other}
    answer = plan(target, dimension=500, **known, table=table)
    if answer.reachable:
        assert reached(500, **known, **{unknown: answer.value}, table=table) >= target
        assert reached(500, **known, **{unknown: answer.value * (1 - 1e-6)}, table=table) < target
    else:
        assert reached(500, **known, **{unknown: 1e9}, table=table) <= target


@pytest.mark.parametrize(
    ("target", "known", "words"),
    [
        (0.9, {"vocabulary": 1000, "snr": 5.0, "signal": 1.0}, "no number of samples reaches"),
        (0.9, {"samples": 100, "snr": 2.0, "signal": 1.0}, "no vocabulary reaches"),
        (0.9, {"vocabulary": 1000, "samples": 10_000, "signal": 1.0}, "no snr reaches"),
    ],
)
def test_unreachable_targets_say_why(target, known, words):
    answer = plan(target, dimension=1000, **known)
    assert answer.value is None
    assert not answer.reachable
    assert answer.overlap < target
    assert words in str(answer)
    assert f"{target:g}" in str(answer)


def test_a_strong_enough_signal_reaches_any_target():
    assert plan(0.999, dimension=100, vocabulary=100, samples=100, snr=1.0).reachable


def test_answers_read_as_sentences():
    answer = plan(0.5, dimension=1000, vocabulary=4000, snr=5.0, signal=1.0)
    assert str(answer) == answer.reason
    assert "384 samples" in str(answer)
    assert "0.5" in str(answer)


def test_answers_scale_with_the_dimension():
    # only ratios matter: ten times everything
    small = plan(0.5, dimension=1000, vocabulary=4000, snr=5.0, signal=1.0).value
    large = plan(0.5, dimension=10_000, vocabulary=40_000, snr=5.0, signal=1.0).value
    assert abs(large - 10 * small) <= 10


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"vocabulary": 100, "samples": 100}, "snr, signal"),
        ({"vocabulary": 100, "samples": 100, "snr": 1.0, "signal": 1.0}, "none"),
        ({}, "samples, vocabulary, snr, signal"),
    ],
)
def test_exactly_one_quantity_is_left_out(known, words):
    with pytest.raises(ValueError, match=f"exactly one of .* missing: {words}"):
        plan(0.5, dimension=100, **known)


def test_the_best_vocabulary_may_lie_between_points_of_the_grid():
    given = {"dimension": 292, "samples": 3881, "snr": 4.005793405862835, "signal": 0.2331948088863037}
    answer = plan(0.10034387403962426, **given)
    assert answer.value == 1436
    assert not plan(0.1003439, **given).reachable
