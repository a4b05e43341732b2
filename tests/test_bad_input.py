"""Every bad input is refused with a message that names the argument and shows the value."""

import re

import numpy as np
import pytest

from resolvent import (
    Correlated,
    MarchenkoPastur,
    MarchenkoPasturProduct,
    PooledRidge,
    PooledSequences,
    Prefix,
    SingleFactor,
    datasets,
    diagnose,
    plan,
    ridge_accuracy,
    spikes,
    weights,
)
from resolvent.compare import compare
from resolvent.pooling import pool, pooling_matrix
from resolvent.spectrum import covariance_spectrum, fit
from resolvent.tables import draw_noise, token_signs

nan, inf = float("nan"), float("inf")
LAW = MarchenkoPastur(0.5)
GOOD = {
    "dimension": 20,
    "vocabulary": 30,
    "samples": 40,
    "positions": Prefix(4, 2),
    "weights": "mean",
    "signal": 1.0,
}
PLAN = {"dimension": 100, "vocabulary": 100, "snr": 2.0, "signal": 1.0}


def model(**changes):
    return PooledSequences(**{**GOOD, **changes})


def ridge(**changes):
    known = {
        "signal": 1.0,
        "delta": 0.5,
        "gamma": 0.5,
        "weights": [0.5, 0.5],
        "loadings": [1, 0],
        "ridge": 0.1,
    }
    return ridge_accuracy(**{**known, **changes})


ANTISYMMETRIC = [[1.0, -0.5], [-0.5, 1.0]]
NOT_PSD = [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]  # least eigenvalue −0.8
NO_COPULA = [[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]]  # 1 − 2 sin(pi/4) = −0.414

# name: (call, what the message must hold: the argument and, where it has a short form, its value)
BAD = {}
for bad in (0, -1.5, nan, inf, [0.5, -2.0], "much", None):
    shown = "-2" if isinstance(bad, list) else f"{bad}"
    BAD[f"ratio {bad}"] = (lambda bad=bad: MarchenkoPastur(bad), ["ratio", shown])
    BAD[f"scale {bad}"] = (lambda bad=bad: MarchenkoPastur(0.5, bad), ["scale", shown])
    BAD[f"ratios[1] {bad}"] = (lambda bad=bad: MarchenkoPasturProduct((0.5, bad)), ["ratios[1]", shown])
    BAD[f"product scale {bad}"] = (lambda bad=bad: MarchenkoPasturProduct((0.5, 0.5), bad), ["scale", shown])
    BAD[f"ridge delta {bad}"] = (lambda bad=bad: ridge(delta=bad), ["delta", shown])
    BAD[f"ridge gamma {bad}"] = (lambda bad=bad: ridge(gamma=bad), ["gamma", shown])
    BAD[f"ridge {bad}"] = (lambda bad=bad: ridge(ridge=bad), ["ridge", shown])
    BAD[f"critical snr {bad}"] = (lambda bad=bad: spikes.critical_signal(bad, 1.0, 1.0), ["snr", shown])
    BAD[f"invert delta {bad}"] = (lambda bad=bad: spikes.invert(9.0, bad, 1.0), ["delta", shown])
    BAD[f"invert gamma {bad}"] = (lambda bad=bad: spikes.invert(9.0, 1.0, bad), ["gamma", shown])
    if not isinstance(bad, list) and bad is not None:
        BAD[f"plan snr {bad}"] = (lambda bad=bad: plan(0.5, **{**PLAN, "snr": bad}), ["snr", shown])
        BAD[f"plan signal {bad}"] = (lambda bad=bad: plan(0.5, **{**PLAN, "signal": bad}), ["signal", shown])
for bad in (-1.5, nan, inf, [0.5, -2.0], "much", None):
    shown = "-2" if isinstance(bad, list) else f"{bad}"
    BAD[f"threshold delta {bad}"] = (lambda bad=bad: spikes.threshold(bad, 1.0), ["delta", shown])
    BAD[f"threshold gamma {bad}"] = (lambda bad=bad: spikes.threshold(1.0, bad), ["gamma", shown])
    BAD[f"edge scale {bad}"] = (lambda bad=bad: spikes.edge(1.0, 1.0, bad), ["scale", shown])
    BAD[f"outlier delta {bad}"] = (lambda bad=bad: spikes.outlier(2.0, bad, 1.0), ["delta", shown])
    BAD[f"overlap gamma {bad}"] = (lambda bad=bad: spikes.overlap(2.0, 1.0, bad), ["gamma", shown])
    BAD[f"net_spike signal {bad}"] = (lambda bad=bad: spikes.net_spike(bad, 1.0, 1.0), ["signal", shown])
    BAD[f"net_spike snr {bad}"] = (lambda bad=bad: spikes.net_spike(1.0, bad, 1.0), ["snr", shown])
    BAD[f"net_spike delta {bad}"] = (lambda bad=bad: spikes.net_spike(1.0, 1.0, bad), ["delta", shown])
    BAD[f"alignment signal {bad}"] = (lambda bad=bad: spikes.alignment(bad, 1.0, 1.0, 1.0), ["signal", shown])
    BAD[f"model signal {bad}"] = (lambda bad=bad: model(signal=bad), ["signal", shown])
    BAD[f"ridge signal {bad}"] = (lambda bad=bad: ridge(signal=bad), ["signal", shown])
for bad in (0, -3, 2.5, 20.0, True, "20", None, nan, [20]):
    for name in ("dimension", "vocabulary", "samples"):
        BAD[f"model {name} {bad!r}"] = (lambda bad=bad, name=name: model(**{name: bad}), [name, repr(bad)])
    for name in ("dimension", "vocabulary"):
        if bad is not None or name == "dimension":
            BAD[f"plan {name} {bad!r}"] = (
                lambda bad=bad, n=name: plan(0.5, **{**PLAN, n: bad}),
                [name, repr(bad)],
            )
    BAD[f"T {bad!r}"] = (lambda bad=bad: weights.mean(bad), ["T", repr(bad)])
    BAD[f"causal T {bad!r}"] = (lambda bad=bad: weights.causal(bad), ["T", repr(bad)])
    BAD[f"length {bad!r}"] = (lambda bad=bad: Prefix(bad, 0), ["length", repr(bad)])
    BAD[f"n {bad!r}"] = (lambda bad=bad: Prefix(4, 2).sample(bad, rng=0), ["n", repr(bad)])
    BAD[f"copula n {bad!r}"] = (lambda bad=bad: Correlated(np.eye(2)).sample(bad, rng=0), ["n", repr(bad)])
    BAD[f"noise dimension {bad!r}"] = (lambda bad=bad: draw_noise(4, bad, rng=0), ["dimension", repr(bad)])
    BAD[f"test_samples {bad!r}"] = (
        lambda bad=bad: PooledRidge(model(), 0.1).simulate(0, test_samples=bad),
        ["test_samples", repr(bad)],
    )
for bad in (-1, 1.5, True, "1", nan, [1]):
    BAD[f"seed {bad!r}"] = (lambda bad=bad: model().simulate(bad), ["seed", repr(bad)])
    BAD[f"ridge seed {bad!r}"] = (
        lambda bad=bad: PooledRidge(model(), 0.1).simulate(bad),
        ["seed", repr(bad)],
    )
    BAD[f"sweep seed {bad!r}"] = (lambda bad=bad: model().sweep([1.0], [bad]), ["seed", repr(bad)])
    BAD[f"compare seed {bad!r}"] = (lambda bad=bad: compare(model(), [0, bad]), ["seed", repr(bad)])
    BAD[f"rng {bad!r}"] = (lambda bad=bad: LAW.rvs(3, rng=bad), ["rng", repr(bad)])
    BAD[f"sample rng {bad!r}"] = (lambda bad=bad: Prefix(4, 2).sample(3, rng=bad), ["rng", repr(bad)])
    BAD[f"informative {bad!r}"] = (lambda bad=bad: Prefix(4, bad), ["informative", repr(bad)])
    BAD[f"depth {bad!r}"] = (lambda bad=bad: weights.causal(4, bad), ["depth", repr(bad)])
    BAD[f"k {bad!r}"] = (lambda bad=bad: LAW.moment(bad), ["k", repr(bad)])
for bad in ("other", 3, None, True):
    BAD[f"table {bad!r}"] = (lambda bad=bad: model(table=bad), ["table", repr(bad), "'mixture'"])
    BAD[f"noise {bad!r}"] = (lambda bad=bad: model(noise=bad), ["noise", repr(bad), "'gaussian'"])
    BAD[f"spikes table {bad!r}"] = (lambda bad=bad: spikes.alignment(1, 1, 1, 1, bad), ["table", repr(bad)])
    BAD[f"critical table {bad!r}"] = (
        lambda bad=bad: spikes.critical_signal(1, 1, 1, bad),
        ["table", repr(bad)],
    )
    BAD[f"ridge table {bad!r}"] = (lambda bad=bad: ridge(table=bad), ["table", repr(bad)])
    BAD[f"plan table {bad!r}"] = (lambda bad=bad: plan(0.5, **PLAN, table=bad), ["table", repr(bad)])
    BAD[f"kind {bad!r}"] = (lambda bad=bad: fit(np.arange(1.0, 20), 0.5, kind=bad), ["kind", repr(bad)])
    BAD[f"name {bad!r}"] = (lambda bad=bad: datasets.load(bad), ["name", repr(bad), "minilm-unused"])
for bad in (0, 1, -0.2, 1.5, nan, "half", None):
    BAD[f"plan overlap {bad!r}"] = (lambda bad=bad: plan(bad, **PLAN), ["overlap", str(bad)])
for bad in (-0.1, 1.0001, nan):
    BAD[f"u {bad}"] = (lambda bad=bad: LAW.ppf([0.5, bad]), ["u", str(bad)])
for bad in (-1.01, 1.0001, nan, inf):
    BAD[f"loading {bad}"] = (lambda bad=bad: SingleFactor([0.5, bad]), ["loadings", str(bad)])
    BAD[f"ridge loading {bad}"] = (lambda bad=bad: ridge(loadings=[0.5, bad]), ["loadings", str(bad)])

BAD |= {
    "odd vocabulary": (lambda: model(vocabulary=31), ["vocabulary", "even", "31"]),
    "odd planned vocabulary": (lambda: plan(0.5, **{**PLAN, "vocabulary": 31}), ["vocabulary", "even", "31"]),
    "odd signs": (lambda: token_signs(5), ["vocabulary", "even", "5"]),
    "no ratios": (lambda: MarchenkoPasturProduct(()), ["ratios", "empty"]),
    "ratios no sequence": (lambda: MarchenkoPasturProduct(0.5), ["ratios", "0.5"]),
    "ratios a string": (lambda: MarchenkoPasturProduct("0.5"), ["ratios", "0.5"]),
    "weights zero": (lambda: model(weights=np.zeros(4)), ["weights", "zero"]),
    "weights short": (lambda: model(weights=[0.5, 0.5]), ["weights", "(4,)", "(2,)"]),
    "weights matrix": (lambda: model(weights=np.ones((4, 4))), ["weights", "(4, 4)"]),
    "weights nan": (lambda: model(weights=[1, nan, 1, 1]), ["weights", "NaN"]),
    "weights infinite": (lambda: model(weights=[1, inf, 1, 1]), ["weights", "infinite"]),
    "weights unknown": (lambda: model(weights="best"), ["weights", "'best'", "'causal'"]),
    "weights words": (lambda: model(weights=["a", "b", "c", "d"]), ["weights"]),
    "weights missing": (lambda: model(weights=None), ["weights", "None"]),
    "positions": (lambda: model(positions=5), ["positions", "5"]),
    "positions matrix": (lambda: model(positions=np.eye(4)), ["positions"]),
    "signals negative": (lambda: model().sweep([1.0, -2.0], [0]), ["signals", "-2"]),
    "signals nan": (lambda: model().sweep([nan], [0]), ["signals", "nan"]),
    "signals table": (lambda: model().sweep([[1.0]], [0]), ["signals"]),
    "signals none": (lambda: model().sweep([], [0]), ["signals", "empty"]),
    "seeds none": (lambda: model().sweep([1.0], []), ["seeds", "empty"]),
    "one seed to compare": (lambda: compare(model(), [0]), ["seeds", "1"]),
    "top one": (lambda: model().simulate(0, top=1), ["top", "1"]),
    "top too many": (lambda: model().simulate(0, top=20), ["top", "20"]),
    "top fraction": (lambda: model().simulate(0, top=2.5), ["top", "2.5"]),
    "optimal orthogonal": (
        lambda: model(positions=Correlated(np.kron(np.eye(2), ANTISYMMETRIC)), weights="optimal"),
        ["1.5", "orthogonal"],
    ),
    "informative too many": (lambda: Prefix(4, 5), ["informative", "5", "4"]),
    "loadings empty": (lambda: SingleFactor([]), ["loadings", "(0,)"]),
    "loadings matrix": (lambda: SingleFactor(np.eye(2)), ["loadings", "(2, 2)"]),
    "loadings words": (lambda: SingleFactor(["a"]), ["loadings"]),
    "R words": (lambda: Correlated([["a"]]), ["matrix"]),
    "R not square": (lambda: Correlated(np.ones((2, 3))), ["matrix", "square", "(2, 3)"]),
    "R empty": (lambda: Correlated(np.ones((0, 0))), ["matrix", "(0, 0)"]),
    "R not finite": (lambda: Correlated([[1, nan], [nan, 1]]), ["matrix", "NaN"]),
    "R not symmetric": (
        lambda: Correlated([[1, 0.2], [0.3, 1]]),
        ["matrix", "symmetric", "0.2", "0.3", "(0, 1)"],
    ),
    "R diagonal": (lambda: Correlated([[1, 0], [0, 1.5]]), ["matrix", "diagonal", "1.5", "(1, 1)"]),
    "R not psd": (lambda: Correlated(NOT_PSD), ["matrix", "semi-definite", "-0.8"]),
    "R without copula": (lambda: Correlated(NO_COPULA).sample(3, rng=0), ["matrix", "copula", "-0.414"]),
    "R without copula in a model": (
        lambda: model(positions=Correlated(NO_COPULA), weights=[0.5, 0.3, 0.2]).simulate(0),
        ["matrix", "copula", "-0.414"],
    ),
    "optimal not symmetric": (lambda: weights.optimal([[1, 0.2], [0.3, 1]]), ["R", "symmetric", "0.2"]),
    "optimal diagonal": (lambda: weights.optimal([[2.0, 0], [0, 1]]), ["R", "diagonal", "2"]),
    "optimal not psd": (lambda: weights.optimal(NOT_PSD), ["R", "semi-definite", "-0.8"]),
    "snr of zero weights": (lambda: weights.snr([0.0, 0.0], np.eye(2)), ["w", "zero"]),
    "alpha shapes": (lambda: weights.alpha([1.0, 1.0], np.eye(3)), ["R", "(3, 3)", "(2,)"]),
    "alpha of a vector": (lambda: weights.alpha([1.0, 1.0], [1.0, 1.0]), ["R", "(2,)"]),
    "ridge weights zero": (lambda: ridge(weights=[0, 0]), ["weights", "zero"]),
    "ridge weights nan": (lambda: ridge(weights=[nan, 1]), ["weights", "nan"]),
    "ridge lengths": (lambda: ridge(weights=[1, 1, 1]), ["weights", "loadings", "(3,)", "(2,)"]),
    "ridge model positions": (
        lambda: PooledRidge(model(positions=Correlated(np.eye(4))), 0.1),
        ["positions", "label"],
    ),
    "ridge model penalty": (lambda: PooledRidge(model(), -0.1), ["ridge", "-0.1"]),
    "ridge model penalty word": (lambda: PooledRidge(model(), "big"), ["ridge", "big"]),
    "ridge model signal": (lambda: PooledRidge(model(signal=[1.0, 2.0]), 0.1).simulate(0), ["signal"]),
    "token rows": (lambda: pool([[0, 1], [2]], [1.0, 1.0], np.eye(3)), ["tokens", "unequal length"]),
    "path for a matrix": (lambda: diagnose("own.npy"), ["x must be a matrix", "own.npy", "datasets.read"]),
    "ridge model sequences": (lambda: PooledRidge(None, 0.1), ["sequences", "None"]),
    "learned ridge": (lambda: weights.learned(np.eye(2), [[0, 1]], [1], ridge=0.0), ["ridge", "0"]),
    "learned labels": (lambda: weights.learned(np.eye(2), [[0, 1]], [1, 1]), ["labels", "(1,)", "(2,)"]),
    "learned restarts": (lambda: weights.learned(np.eye(2), [[0, 1]], [1], restarts=0), ["restarts", "0"]),
    "attention tokens vector": (lambda: weights.softmax_causal(np.eye(2), [0, 1]), ["tokens", "(2,)"]),
    "attention tokens outside": (lambda: weights.softmax_causal(np.eye(2), [[0, 2]]), ["tokens", "2"]),
    "attention tokens negative": (lambda: weights.softmax_causal(np.eye(2), [[0, -1]]), ["tokens", "-1"]),
    "attention tau": (lambda: weights.softmax_causal(np.eye(2), [[0, 1]], tau=nan), ["tau", "nan"]),
    "pool tokens vector": (lambda: pool([0, 1], [1.0, 1.0], np.eye(2)), ["tokens", "(2,)"]),
    "pool tokens fractional": (lambda: pool([[0.5, 1]], [1.0, 1.0], np.eye(2)), ["tokens", "float64"]),
    "pool tokens outside": (lambda: pool([[0, 2]], [1.0, 1.0], np.eye(2)), ["tokens", "[0, 2)"]),
    "pool tokens negative": (lambda: pool([[0, -1]], [1.0, 1.0], np.eye(2)), ["tokens", "-1"]),
    "pool weights": (lambda: pool([[0, 1]], [1.0], np.eye(2)), ["weights", "(2,)", "(1,)"]),
    "pool weights nan": (lambda: pool([[0, 1]], [1.0, nan], np.eye(2)), ["weights", "NaN"]),
    "pool table": (lambda: pool([[0, 1]], [1.0, 1.0], np.ones(2)), ["table", "(2,)"]),
    "pool vocabulary": (lambda: pooling_matrix([[0, 1]], [1.0, 1.0], 0), ["vocabulary", "0"]),
    "spectrum vector": (lambda: covariance_spectrum(np.ones(3)), ["x", "(3,)"]),
    "spectrum nan": (lambda: covariance_spectrum([[1.0, nan]]), ["x", "NaN"]),
    "spectrum complex": (lambda: covariance_spectrum(np.ones((2, 2), complex)), ["x", "complex"]),
    "spectrum vectors": (lambda: covariance_spectrum(np.eye(2), vectors=-1), ["vectors", "-1"]),
    "fit too few": (lambda: fit(np.arange(1.0, 5), 0.5), ["eigenvalues", "4"]),
    "fit ratio": (lambda: fit(np.arange(1.0, 20), -0.5), ["ratio", "-0.5"]),
    "fit nan": (lambda: fit([nan, *range(1, 20)], 0.5), ["eigenvalues", "nan"]),
    "fit empty": (lambda: fit([], 0.5), ["eigenvalues", "0"]),
    "planned samples": (lambda: plan(0.5, dimension=10, samples=0, snr=1.0, signal=1.0), ["samples", "0"]),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_is_named(name):
    call, parts = BAD[name]
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        # a whole word, so that "u" or "n" is not found inside another
        pattern = re.escape(part)
        if part[0].isalnum():
            pattern = r"(?<![A-Za-z0-9_])" + pattern
        assert re.search(pattern, message, flags=re.IGNORECASE if part in ("nan", "NaN") else 0), message


def test_good_inputs_of_the_same_calls_pass():
    # the twin: none of the calls above is refused for another reason
    model().predict()
    model(samples=np.int64(40), signal=np.float32(1)).simulate(np.int64(0), top=2)
    model(weights=[1, 0, 0, 0], positions=Correlated(np.eye(4))).sweep(1.0, (0,))
    ridge()
    plan(0.5, **PLAN)
    fit(LAW.ppf((np.arange(30) + 0.5) / 30), 0.5, kind="plain")
    weights.learned(np.eye(4)[:, :2], [[0, 1], [2, 3], [1, 2]], [1, -1, 1])
    weights.softmax_causal(np.eye(2), [[0, 1]])
    pool([[0, 1]], [1.0, 1.0], np.eye(2))
    LAW.rvs(3, rng=np.int64(2))


def test_messages_are_of_one_line():
    bad = np.full((20, 30), nan)
    for call in (
        lambda: model(signal=bad),
        lambda: model(signal=bad * 1j),
        lambda: PooledRidge(model(positions=Correlated(np.eye(4))), 0.1),
    ):
        with pytest.raises(ValueError, match=r"signal|positions") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250
