"""Whole layers of attention and H3: read-out, exact risk, minima good and bad, training that resumes."""

import subprocess
import sys

import joblib
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from resolvent.in_context import GaussianTasks, RetrievedTasks, autoregressive, low_rank  # noqa: E402
from resolvent.in_context_training.descent import descend  # noqa: E402
from resolvent.in_context_training.layers import H3, LinearAttention, exact_risk, prompt  # noqa: E402
from resolvent.in_context_training.training import train, train_many  # noqa: E402
from resolvent.models.in_context import InContextRegression  # noqa: E402

KINDS = ("attention", "h3", "channels")
TINY = {"steps": 30, "batch": 16, "prompts": 50}


def layer(kind, d, n, start="random", seed=0):
    net = {
        "attention": lambda: LinearAttention(d),
        "h3": lambda: H3(d, n),
        "channels": lambda: H3(d, n, shared=False),
    }[kind]()
    net.start(start, np.random.default_rng(seed))
    return net


def values(net):
    return {name: p.detach().numpy() for name, p in net.named_parameters()}


def output(net, x, labels, query):
    with torch.no_grad():
        return net(prompt(x, labels, query)).numpy()


def power_law(d=5, exponent=1.0, n=15, **options):
    spectrum = np.arange(1.0, d + 1) ** -exponent
    return InContextRegression(
        GaussianTasks(task_covariance=spectrum * d / spectrum.sum(), noise=0.1, **options), n
    )


def drifting(d, n, rho=0.8):
    R, r = autoregressive(n, rho)
    return InContextRegression(GaussianTasks(d, noise=0.1, correlation=R, query_correlation=r))


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_what_they_are_called(kind):
    d, n = 3, 4
    net, rng = layer(kind, d, n), np.random.default_rng(1)
    x, labels, query, _ = GaussianTasks(d).sample(1, n, rng)
    z = np.vstack([np.column_stack([x[0], labels[0]]), np.append(query[0], 0)])
    p = values(net)
    if kind == "attention":
        expected = z[-1] @ p["queries"] @ p["keys"].T @ z[:-1].T @ z[:-1] @ p["values"] @ p["head"] / n
        wrong = (
            z[-1] @ p["queries"] @ p["keys"].T @ z.T @ z @ p["values"] @ p["head"] / n
        )  # query seen as a key
    else:
        filters = np.broadcast_to(p["filter"], (n + 1, d + 1))
        products = (z @ p["keys"]) * (z @ p["values"])
        convolved = [
            np.convolve(filters[:, c], products[:, c])[n] for c in range(d + 1)
        ]  # causal, at the last row
        expected = (z[-1] @ p["queries"] * convolved) @ p["head"] / n
        wrong = (
            (z[-1] @ p["queries"] * (filters * products).sum(0)) @ p["head"] / n
        )  # filter from the wrong end
    found = output(net, x, labels, query)[0]
    assert found == pytest.approx(expected, rel=1e-12)
    assert found != pytest.approx(wrong, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_read_out_is_exact(kind):
    d, n = 3, 5
    rng = np.random.default_rng(2)
    x, labels, query, _ = GaussianTasks(d).sample(40, n, rng)
    for start in ("structured", "random"):
        net = layer(kind, d, n, start)
        if kind != "attention":
            with torch.no_grad():
                net.filter.copy_(torch.from_numpy(rng.standard_normal(net.filter.shape)))
        L, C, s, own = (part.detach().numpy() for part in net.terms(n))
        step = np.einsum("ma,jab,mjb,mj->m", query, L, x, labels)
        rest = np.einsum("ma,jabc,mjb,mjc->m", query, C, x, x)
        rest += np.einsum("ma,ja,mj->m", query, s, labels**2) + np.einsum(
            "ma,abc,mb,mc->m", query, own, query, query
        )
        found = output(net, x, labels, query)
        np.testing.assert_allclose(found, step + rest, atol=1e-12)
        assert (np.abs(rest).max() < 1e-13) == (start == "structured")
        if kind != "channels":
            W, w = net.preconditioner(n), net.weights(n)
            assert w[np.argmax(np.abs(w))] == 1
            np.testing.assert_allclose(
                np.einsum("ma,ab,j,mjb,mj->m", query, W, w, x, labels), step, atol=1e-12
            )
            if kind == "h3":  # lags, not positions
                np.testing.assert_allclose(
                    w / w[0], (net.filter.detach().numpy()[:0:-1, 0] / net.filter[n, 0].item())
                )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drift", [False, True])
def test_exact_risk_of_a_whole_layer(kind, drift):
    d, n, rng = 2, 5, np.random.default_rng(3)
    a, b = rng.standard_normal((2, d, d))
    R, r = autoregressive(n, 0.7)
    tasks = GaussianTasks(d, noise=0.3)
    if drift:
        noise = rng.uniform(0.1, 1, n)
        tasks = GaussianTasks(d, a @ a.T, b @ b.T, noise, 0.2, 1.3 * R, r)
    net = layer(kind, d, n)
    with torch.no_grad():  # far from the optimum, so that the rest counts
        for name, parameter in net.named_parameters():
            parameter.mul_(1.6)
            if name == "filter":
                parameter.mul_(0.3).add_(1)
    risk, rest = (part.item() for part in exact_risk(net, tasks, n))
    x, labels, query, last = tasks.sample(200_000, n, rng)
    errors = (last - output(net, x, labels, query)) ** 2
    spread = errors.std() / np.sqrt(errors.size)
    assert abs(errors.mean() - risk) < 4 * spread
    assert abs(errors.mean() - (risk - rest)) > 6 * spread  # the step of gradient descent alone


@pytest.mark.parametrize("kind", ["attention", "h3"])
def test_exact_risk_agrees_with_the_model_where_only_a_step_is_left(kind):
    model = drifting(3, 6)
    net = layer(kind, 3, 6, "structured")
    risk, rest = (part.item() for part in exact_risk(net, model.tasks, 6))
    assert risk == pytest.approx(model.risk(net.preconditioner(6), net.weights(6)), rel=1e-12)
    assert rest == 0


@pytest.mark.parametrize("kind", ["attention", "h3"])
def test_equivalence(kind):
    # over all parameters, the least risk is that of one step of (weighted) preconditioned gradient descent
    for model in (power_law(3, n=8), drifting(3, 8)):
        runs = [descend(model, kind, seed=seed, start="random") for seed in range(4)]
        assert min(run.excess for run in runs) > -1e-9
        assert all(run.least_curvature > -1e-5 for run in runs)
        run = min(runs, key=lambda run: run.excess)
        assert run.excess < 1e-9
        assert run.rest < 1e-9
        assert run.preconditioner_distance < 1e-4
        assert run.weights_distance < 1e-4


@pytest.mark.parametrize("kind", ["attention", "h3"])
def test_width_is_rank(kind):
    model = power_law(3, n=8)
    runs = [descend(model, kind, seed=s, start="aligned", width=2) for s in range(3)]
    best = min(run.risk for run in runs)
    assert best == pytest.approx(low_rank(model.tasks, 2, 8).risk, rel=1e-7)
    assert best > model.predict().attention + 0.05


def test_bad_minima_are_genuine_and_structured_starts_avoid_them():
    model = power_law()
    bad = descend(model, seed=2, start="random")
    assert bad.excess == pytest.approx(1.6018, abs=1e-3)
    assert bad.rest > 0.5
    assert bad.least_curvature > -1e-5
    assert not bad.reached
    for start in ("structured", "aligned"):
        good = descend(model, seed=2, start=start)
        assert good.reached
        assert abs(good.excess) < 1e-9


def test_runs_are_counted_and_none_is_hidden():
    model = InContextRegression(GaussianTasks(2, noise=0.1), 10)
    starts = train_many(model, seeds=range(4), exact=True, start="random", jobs=1)
    assert starts.bad == (2,)
    assert starts.share == 0.75
    assert starts.best.reached


def test_training_learns_the_optimum():
    model = InContextRegression(GaussianTasks(2, noise=0.1), 10)
    run = train(model, "attention", seed=0, start="aligned", steps=300, batch=512, rate=0.03, prompts=20_000)
    assert run.reached
    assert run.preconditioner_distance < 0.05
    # the excess measured on prompts is the exact one: of the step, and of the rest, which is uncorrelated with it
    assert abs(run.excess - (run.risk - run.optimum + run.rest)) < 4 * run.excess_error
    short = train(model, "attention", seed=0, start="aligned", steps=3, batch=512, rate=0.03, prompts=20_000)
    assert not short.reached


def test_drift_is_learned_by_the_weights_of_h3():
    model = drifting(2, 6, 0.6)
    run = train(model, "h3", seed=0, start="aligned", steps=1000, batch=512, rate=0.03, prompts=100_000)
    assert abs(run.excess) < 4e-3 + 4 * run.excess_error
    assert run.weights_distance < 0.08
    assert np.abs(run.weights - 1).max() > 0.5  # attention's weights would not do


def interrupted(monkeypatch, at):
    """Prompts whose source is interrupted once, at the given draw."""
    plain, count = GaussianTasks.sample, iter(range(10**6))

    def sample(self, *args):
        if next(count) == at:
            raise KeyboardInterrupt
        return plain(self, *args)

    monkeypatch.setattr(GaussianTasks, "sample", sample)


@pytest.mark.parametrize("kind", ["attention", "h3"])
def test_an_interrupted_run_resumes_to_the_same_bits(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("resolvent.in_context_training.training.EVERY", 10)
    model, path = InContextRegression(GaussianTasks(2, noise=0.1), 5), tmp_path / "run.pt"
    whole = train(model, kind, seed=4, **TINY)
    interrupted(monkeypatch, at=17)
    with pytest.raises(KeyboardInterrupt):
        train(model, kind, seed=4, checkpoint=path, **TINY)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    resumed = train(model, kind, seed=4, checkpoint=path, progress=True, **TINY)
    np.testing.assert_array_equal(resumed.preconditioner, whole.preconditioner)
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    assert (resumed.excess, resumed.rest) == (whole.excess, whole.rest)
    other = train(model, kind, seed=5, **TINY)
    assert not np.array_equal(other.losses, whole.losses)


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(tmp_path):
    model, path = InContextRegression(GaussianTasks(2, noise=0.1), 5), tmp_path / "run.pt"
    train(model, seed=0, checkpoint=path, **TINY)
    with pytest.raises(ValueError, match="same model and options"):
        train(model, seed=1, checkpoint=path, **TINY)
    with pytest.raises(ValueError, match="same model and options"):
        train(InContextRegression(GaussianTasks(2, noise=0.2), 5), seed=0, checkpoint=path, **TINY)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="whole file"):
        train(model, seed=0, checkpoint=path, **TINY)


def test_many_runs_are_kept(tmp_path, monkeypatch):
    model, memory = InContextRegression(GaussianTasks(2, noise=0.1), 5), joblib.Memory(tmp_path, verbose=0)
    options = {"seeds": range(3), "memory": memory, "jobs": 1, **TINY}
    first = train_many(model, **options)
    model.predict()  # fills caches of the tasks, which are no part of what they are
    interrupted(monkeypatch, at=0)
    again = train_many(model, **options)  # draws nothing
    assert [run.risk for run in again.runs] == [run.risk for run in first.runs]
    with pytest.raises(KeyboardInterrupt):
        train_many(model, **(options | {"seeds": [7]}))


def test_other_tasks_train_and_have_no_exact_descent():
    model = InContextRegression(RetrievedTasks(2, 0.5, noise=0.1), 5)
    assert np.isfinite(train(model, "h3", seed=0, **TINY).excess)
    with pytest.raises(ValueError, match="GaussianTasks"):
        descend(model, seed=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "softmax"}, "layer must be one of"),
        ({"start": "zero"}, "start must be one of"),
        ({"steps": 0}, "steps must be"),
        ({"rate": 0.0}, "rate must be"),
        ({"width": 0}, "width must be"),
        ({"model": 3}, "model must be an InContextRegression"),
    ],
)
def test_arguments_are_checked(options, words):
    options = {"model": InContextRegression(GaussianTasks(2), 5), "seed": 0, **TINY} | options
    with pytest.raises(ValueError, match=words):
        train(**options)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_loss_that_overflows_is_an_error():
    with pytest.raises(RuntimeError, match="lower the rate"):
        train(InContextRegression(GaussianTasks(2), 5), seed=0, **(TINY | {"rate": 1e200}))


def test_the_package_does_not_import_torch():
    code = "import sys, resolvent.in_context, resolvent.models.in_context; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


@pytest.mark.parametrize("name", ["equivalence", "bad_minima"])
def test_figures(name, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    import importlib

    import matplotlib.pyplot as plt

    module = importlib.import_module(f"resolvent.experiments.{name}")
    size = {"dimension": 2, "lengths": (3, 5), "steps": 20, "batch": 16, "rate": 0.03, "prompts": 100}
    if name == "bad_minima":
        size = {"exponents": (0.0, 1.0), "dimension": 2, "length": 8, "seeds": 2}
    monkeypatch.setitem(module.SIZES, "quick", size)
    dataset = module.run("quick", jobs=1)
    assert dataset.attrs["title"]
    assert dataset.attrs["caption"]
    plt.close(module.draw(dataset))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["attention", "h3"])
def test_aligned_starts_train_to_the_optimum(kind):
    runs = train_many(power_law(), kind, seeds=range(4), steps=1500, jobs=1).runs
    assert sum(run.excess < 1e-3 + 2 * run.excess_error for run in runs) >= 3
    assert all(run.reached for run in runs)
