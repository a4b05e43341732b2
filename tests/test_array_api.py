"""Any array namespace in, the same out; and gradients that are the derivatives."""

import array_api_strict
import numpy as np
import pytest
import torch

from resolvent import MarchenkoPastur, MarchenkoPasturProduct, ridge_accuracy, spikes, weights

R = [[1.0, 0.5, 0.2], [0.5, 1.0, 0.5], [0.2, 0.5, 1.0]]
W, LOADINGS = [0.5, 0.3, 0.2], [1.0, 0.5, 0.0]
X = [-1.0, 0.0, 0.3, 1.0, 1.5, 40.0]
SPIKES = [-0.5, 0.5, 2.0, 6.0]

# name: (function of arrays, its arguments)
FUNCTIONS = {
    "pdf, one": (lambda x, c: MarchenkoPastur(c).pdf(x), (X, 0.5)),
    "cdf, one": (lambda x, c: MarchenkoPastur(c).cdf(x), (X, 2.0)),
    "sf, one": (lambda x, c: MarchenkoPastur(c).sf(x), (X, 0.5)),
    "stieltjes, one": (lambda x, c: MarchenkoPastur(c).stieltjes(x), ([-1.0, 0.7, 40.0], 0.5)),
    "scaled pdf, one": (lambda x, c, s: MarchenkoPastur(c, s).pdf(x), (X, 0.5, 2.0)),
    "pdf, two": (lambda x, c, g: MarchenkoPasturProduct((c, g)).pdf(x), (X, 0.5, 0.4)),
    "cdf, two": (lambda x, c, g: MarchenkoPasturProduct((c, g)).cdf(x), (X, 0.5, 2.0)),
    "sf, two": (lambda x, c, g: MarchenkoPasturProduct((c, g)).sf(x), (X, 1.0, 1.0)),
    "stieltjes, two": (
        lambda x, c, g: MarchenkoPasturProduct((c, g)).stieltjes(x),
        ([-1.0, 0.7, 40.0], 0.5, 0.4),
    ),
    "scaled cdf, two": (lambda x, c, g, s: MarchenkoPasturProduct((c, g), s).cdf(x), (X, 0.5, 2.0, 0.3)),
    "moment": (lambda c, g: MarchenkoPasturProduct((c, g)).moment(3), ([0.5, 1.0], 0.4)),
    "threshold": (spikes.threshold, ([0.5, 1.0, 2.0], [0.3, 1.0, 0.7])),
    "edge": (spikes.edge, ([0.5, 1.0, 2.0], [0.3, 1.0, 0.7], 2.0)),
    "outlier": (spikes.outlier, (SPIKES, 0.5, 0.3, 2.0)),
    "overlap": (spikes.overlap, (SPIKES, 0.5, 0.3)),
    "invert": (spikes.invert, ([1.0, 10.0, 30.0], 0.5, 0.3)),
    "net_spike": (spikes.net_spike, ([0.0, 1.0, 2.0], 3.0, 0.5)),
    "direction_factor": (spikes.direction_factor, ([0.0, 1.0, 2.0], 0.5)),
    "direction_factor, balanced": (lambda s, d: spikes.direction_factor(s, d, "balanced"), ([0.0, 1.0], 0.5)),
    "alignment": (spikes.alignment, ([0.0, 0.3, 1.0, 2.0], 3.0, 0.5, 0.3)),
    "alignment, balanced": (
        lambda *a: spikes.alignment(*a, table="balanced"),
        ([0.0, 0.3, 1.0], 3.0, 0.5, 0.3),
    ),
    "critical_signal": (spikes.critical_signal, ([1.0, 5.0, 50.0], 0.5, 0.3)),
    "kappa": (weights.kappa, (W,)),
    "alpha": (weights.alpha, (W, R)),
    "snr": (weights.snr, (W, R)),
    "optimal": (weights.optimal, (R,)),
    "ridge_accuracy": (ridge_accuracy, ([0.0, 1.0, 3.0], 0.5, 0.3, W, LOADINGS, 0.1)),
}
every_function = pytest.mark.parametrize("name", list(FUNCTIONS))
NAMESPACES = {
    "numpy": (lambda v, dtype: np.asarray(v, dtype=dtype), np.asarray),
    "strict": (
        lambda v, dtype: array_api_strict.asarray(v, dtype=getattr(array_api_strict, dtype)),
        np.asarray,
    ),
    "torch": (lambda v, dtype: torch.tensor(v, dtype=getattr(torch, dtype)), lambda t: t.numpy()),
}
every_namespace = pytest.mark.parametrize("namespace", list(NAMESPACES))


def reference(name):
    function, arguments = FUNCTIONS[name]
    return function(*(np.asarray(a) for a in arguments))


@every_function
def test_numbers_in_numpy_out(name):
    function, arguments = FUNCTIONS[name]
    out = function(*arguments)
    assert isinstance(out, (np.ndarray, np.floating, np.complexfloating))
    np.testing.assert_allclose(out, reference(name), rtol=1e-10, atol=1e-12)


@every_namespace
@every_function
def test_all_arguments_as_arrays(name, namespace):
    make, back = NAMESPACES[namespace]
    function, arguments = FUNCTIONS[name]
    out = function(*(make(a, "float64") for a in arguments))
    if namespace != "numpy":
        assert type(out) is type(make(1.0, "float64"))
    np.testing.assert_allclose(back(out), reference(name), rtol=1e-9, atol=1e-10)


@every_namespace
@every_function
def test_only_the_first_argument_as_an_array(name, namespace):
    # the others stay Python numbers and lists, and follow it
    make, back = NAMESPACES[namespace]
    function, (first, *others) = FUNCTIONS[name]
    out = function(make(first, "float64"), *others)
    if namespace != "numpy":
        assert type(out) is type(make(1.0, "float64"))
    np.testing.assert_allclose(back(out), reference(name), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("namespace", ["strict", "torch"])
@pytest.mark.parametrize(
    "name", [n for n, (_, a) in FUNCTIONS.items() if len(a) > 1 and not isinstance(a[1], list)]
)
def test_only_the_second_argument_as_an_array(name, namespace):
    make, back = NAMESPACES[namespace]
    function, (first, second, *others) = FUNCTIONS[name]
    out = function(first[-2], make(second, "float64"), *others)
    assert type(out) is type(make(1.0, "float64"))
    np.testing.assert_allclose(back(out), reference(name)[-2], rtol=1e-9, atol=1e-10)


@every_namespace
@every_function
@pytest.mark.parametrize("only_first", [False, True])
def test_single_precision_is_kept(name, namespace, only_first):
    make, back = NAMESPACES[namespace]
    function, arguments = FUNCTIONS[name]
    given = [make(a, "float32") if i == 0 or not only_first else a for i, a in enumerate(arguments)]
    out = back(function(*given))
    assert out.dtype in (np.float32, np.complex64)
    np.testing.assert_allclose(out, reference(name), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("namespace", ["strict", "torch"])
def test_complex_stieltjes_keeps_its_namespace(namespace):
    z = [0.5 + 0.5j, -1.0 - 0.2j, 3.0 + 1e-3j]
    make = {
        "strict": lambda v: array_api_strict.asarray(v, dtype=array_api_strict.complex128),
        "torch": lambda v: torch.tensor(v, dtype=torch.complex128),
    }[namespace]
    for law in (MarchenkoPastur(0.5), MarchenkoPasturProduct((0.5, 2.0))):
        out = law.stieltjes(make(z))
        assert type(out) is type(make(z))
        np.testing.assert_allclose(np.asarray(out), law.stieltjes(np.array(z)), rtol=1e-12)


def test_integers_become_floats():
    assert MarchenkoPastur(1).cdf(torch.tensor([1, 2])).dtype == torch.float64
    assert spikes.overlap(np.array([1, 5]), 1, 1).dtype == np.float64


def gradients_agree(function, *arguments, rtol=1e-5):
    """Automatic derivatives against central differences of the NumPy route, in every argument."""
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arguments]
    torch.sum(function(*tensors)).backward()
    for i, argument in enumerate(arguments):
        flat = np.atleast_1d(np.asarray(argument, dtype=float))
        for j in range(flat.size):
            h = 1e-5 * max(abs(flat[j]), 0.1)
            ends = []
            for sign in (1, -1):
                moved = flat.copy()
                moved[j] += sign * h
                point = moved.reshape(np.shape(argument))
                ends.append(np.sum(function(*arguments[:i], point, *arguments[i + 1 :])))
            wanted = (ends[0] - ends[1]) / (2 * h)
            gradient = np.atleast_1d(tensors[i].grad.numpy())[j]
            assert gradient == pytest.approx(wanted, rel=rtol, abs=1e-7)


@pytest.mark.parametrize("x", [0.2, 0.9, 2.0])
@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.8])
def test_gradients_of_one_factor(x, ratio):
    gradients_agree(lambda x, c, s: MarchenkoPastur(c, s).pdf(x), x, ratio, 1.2)
    gradients_agree(lambda x, c, s: MarchenkoPastur(c, s).cdf(x), x, ratio, 1.2)


@pytest.mark.parametrize("x", [0.3, 0.9, 2.0])
@pytest.mark.parametrize("ratios", [(0.4, 0.3), (0.4, 1.8), (1.5, 2.5)])
def test_gradients_of_two_factors(x, ratios):
    gradients_agree(lambda x, c, g, s: MarchenkoPasturProduct((c, g), s).pdf(x), x, *ratios, 1.2)
    gradients_agree(lambda x, c, g, s: MarchenkoPasturProduct((c, g), s).cdf(x), x, *ratios, 1.2)


@pytest.mark.parametrize("x", [0.1, 0.9, 4.0])
def test_gradients_of_two_factors_at_one(x):
    gradients_agree(lambda x, s: MarchenkoPasturProduct((1.0 + 0 * x, 1.0 + 0 * x), s).pdf(x), x, 1.2)
    gradients_agree(lambda x, s: MarchenkoPasturProduct((1.0 + 0 * x, 1.0 + 0 * x), s).cdf(x), x, 1.2)


@pytest.mark.parametrize(("delta", "gamma"), [(0.5, 0.3), (1.0, 1.0), (2.0, 2.0), (1.0, 0.4), (3.0, 0.2)])
def test_gradients_of_threshold_and_edge(delta, gamma):
    gradients_agree(spikes.threshold, delta, gamma)
    gradients_agree(spikes.edge, delta, gamma, 1.7)


def test_gradient_of_threshold_at_one_in_closed_form():
    # differentiate the cubic: (3q² − b) q' = (1 + gamma) q + 2 gamma, at q = 2, b = 3
    delta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    spikes.threshold(delta, 1.0).backward()
    assert float(delta.grad) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("delta", "gamma"), [(0.5, 0.3), (1.0, 1.0), (2.0, 0.7)])
def test_gradients_of_spikes(delta, gamma):
    gradients_agree(spikes.outlier, 5.0, delta, gamma, 1.7)
    gradients_agree(spikes.overlap, 5.0, delta, gamma)
    gradients_agree(spikes.invert, 40.0, delta, gamma, 1.7)
    for table in ("mixture", "balanced"):
        gradients_agree(lambda *a, table=table: spikes.alignment(*a, table=table), 2.0, 4.0, delta, gamma)
        gradients_agree(lambda *a, table=table: spikes.critical_signal(*a, table=table), 1.3, delta, gamma)


@pytest.mark.parametrize("q", [-1.0, 0.0, 0.3, 1.0])
def test_gradients_below_the_threshold_are_zero_not_nan(q):
    arguments = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (q, 1.0, 1.0)]
    spikes.overlap(*arguments).backward()
    assert [float(a.grad) for a in arguments] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("signal", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_of_a_hidden_alignment_are_zero_not_nan(signal, dtype):
    arguments = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in (signal, 1.1, 1.0, 1.0)]
    spikes.alignment(*arguments).backward()
    assert [float(a.grad) for a in arguments] == [0.0, 0.0, 0.0, 0.0]


def test_gradients_of_hidden_outliers_and_thresholds_are_not_nan():
    q = torch.tensor([0.5, 6.0], dtype=torch.float64, requires_grad=True)
    torch.nansum(spikes.outlier(q, 1.0, 1.0)).backward()
    assert torch.isfinite(q.grad).all()
    snr = torch.tensor([1.0, 50.0], dtype=torch.float64, requires_grad=True)
    torch.sum(spikes.critical_signal(snr, 1.0, 0.1)).backward()
    assert torch.isfinite(snr.grad).all()
    assert float(snr.grad[1]) == 0  # every signal shows: the critical one stays at zero


def test_gradients_of_weights():
    gradients_agree(
        lambda w: weights.snr(w, np.array(R)) if isinstance(w, np.ndarray) else weights.snr(w, R), W
    )
    gradients_agree(weights.kappa, W)


def test_gradients_of_ridge_accuracy():
    gradients_agree(lambda *a: ridge_accuracy(*a[:4], LOADINGS, a[4]), 1.5, 0.5, 0.7, W, 0.2, rtol=1e-4)


def test_ridge_accuracy_without_signal_has_a_gradient():
    signal = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    ridge_accuracy(signal, 0.5, 0.7, W, LOADINGS, 0.2, table="balanced").backward()
    assert torch.isfinite(signal.grad)
