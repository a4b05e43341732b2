"""In-context regression: exact risks against quadrature, optimisers and prompts; limits; bad input."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from resolvent.in_context import (
    AlignedTasks,
    GaussianTasks,
    RetrievedTasks,
    autoregressive,
    lora,
    low_rank,
    online,
    proportional_limit,
    rotating,
)
from resolvent.in_context.tasks import best_weights
from resolvent.models.in_context import InContextPrediction, InContextRegression, InContextSimulation


def spd(rng, d, power=1.0):
    a = rng.standard_normal((d, d + 1))
    return a @ a.T / d * power


def random_tasks(rng, d, n):
    """One law of prompts of every kind."""
    R, r = autoregressive(n, float(rng.uniform(0.3, 1)))
    turn = rotating(n)
    noise = rng.uniform(0, 1, n)
    return {
        "independent": GaussianTasks(
            feature_covariance=spd(rng, d), task_covariance=spd(rng, d), noise=float(rng.uniform(0, 1))
        ),
        "noise varies": GaussianTasks(task_covariance=spd(rng, d), noise=noise, query_noise=0.3),
        "drift": GaussianTasks(
            feature_covariance=spd(rng, d),
            task_covariance=spd(rng, d),
            noise=noise,
            query_noise=0.1,
            correlation=R,
            query_correlation=r,
        ),
        "rotation": GaussianTasks(d, noise=0.2, correlation=turn[0], query_correlation=turn[1]),
        "interpolation": interpolating(d, n),
        "retrieved": RetrievedTasks(d, float(rng.uniform(0, 1)), noise=0.3),
        **{
            query: AlignedTasks(d, float(rng.uniform(0, 0.8)), query, noise=0.3)
            for query in ("aligned", "independent", "independent_scaled")
        }
        | {"aligned, independent query": AlignedTasks(d, 0.5, "independent")},
    }


def interpolating(d, n):
    """beta_i = (1 − t_i) u + t_i v, query v: the diagonal of R is not one."""
    t = np.arange(n) / n
    both = np.column_stack([1 - t, t])
    return GaussianTasks(d, noise=0.1, correlation=both @ both.T, query_correlation=t)


def squared_errors(tasks, W, weights, prompts, seed):
    """Monte Carlo by the definition, prompt by prompt in the plainest form."""
    x, labels, query, last = tasks.sample(prompts, weights.size, np.random.default_rng(seed))
    found = np.einsum("md,de,mne,n,mn->m", query, W, x, weights, labels, optimize=True)
    return (last - found) ** 2


KINDS = list(random_tasks(np.random.default_rng(0), 3, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_exact_risk_of_any_weights_meets_prompts(kind, seed):
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(2, 7)), int(rng.integers(2, 9))
    tasks = random_tasks(rng, d, n)[kind]
    model = InContextRegression(tasks, n)
    best = model.predict()
    for W, w in (
        (best.h3_preconditioner, best.weights),
        (best.preconditioner + 0.03 * rng.standard_normal((d, d)), rng.uniform(0.2, 1.5, n)),
    ):
        errors = squared_errors(tasks, W, w, 100_000, seed)
        z = (errors.mean() - model.risk(W, w)) / (errors.std() / np.sqrt(errors.size))
        assert abs(z) < 4
        # the twin: ten per cent longer weights are another risk, on the same prompts
        paired = squared_errors(tasks, 3 * W, w, 100_000, seed) - errors
        expected = model.risk(3 * W, w) - model.risk(W, w)
        assert abs(paired.mean() - expected) < 4 * paired.std() / np.sqrt(errors.size)
        assert abs(expected) > 4 * paired.std() / np.sqrt(errors.size)


# --- quadrature: the expectations of polynomials of Gaussians are exact sums ---------------------------


def nodes(dimension, count):
    """Points and weights of a Gauss-Hermite rule for standard normals."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    w = w / w.sum()
    points = np.array(list(itertools.product(x, repeat=dimension)))
    weights = np.prod(list(itertools.product(w, repeat=dimension)), axis=1)
    return points, weights


def quadrature_risk(kind, W, weights, a=0.6, noise=0.3):
    """d = n = 2, label noise added by hand: E (xᵀW Σ w_j x_j xi_j)² = noise Σ w_j² E (xᵀW x_j)²."""
    beta, p_beta = nodes(2, 5 if kind != "retrieved" else 2)
    x0, p_x = nodes(2, 4)
    g, p_g = nodes(4, 3)
    total = 0.0
    for b, pb in zip(beta, p_beta, strict=True):
        for z, pz in zip(x0, p_x, strict=True):
            context = g.reshape(-1, 2, 2)
            scale = np.sqrt(1 / (2 * a**2 + 1))
            if kind == "retrieved":
                query, x, own, last = z, a * z + np.sqrt(1 - a**2) * context, 1.0, 1.0
            else:
                query = z + a * b if kind == "aligned" else z
                x, own, last = context + a * b, scale, 1.0 if kind == "independent" else scale
            forms = np.einsum("d,de,mne->mn", query, W, x) * weights
            f = (forms * own * (x @ b)).sum(axis=1)
            value = (last * query @ b - f) ** 2 + noise * (forms**2).sum(axis=1)
            total += pb * pz * (p_g @ value)
    return total + noise


@pytest.mark.parametrize("kind", ["retrieved", "aligned", "independent", "independent_scaled"])
def test_risks_are_the_quadrature_of_the_definition(kind):
    rng = np.random.default_rng(5)
    W, weights = rng.standard_normal((2, 2)), np.array([0.7, 1.2])
    tasks = RetrievedTasks(2, 0.6, 0.3) if kind == "retrieved" else AlignedTasks(2, 0.6, kind, 0.3)
    found = InContextRegression(tasks, 2).risk(W, weights)
    assert found == pytest.approx(quadrature_risk(kind, W, weights), rel=1e-12)
    other = {"aligned": "independent"}.get(kind, "aligned")  # the twin: another convention of the query
    assert found != pytest.approx(quadrature_risk(other, W, weights), rel=1e-3)


def test_gaussian_risk_is_the_quadrature_of_the_definition():
    rng = np.random.default_rng(6)
    W, w = rng.standard_normal((2, 2)), np.array([0.7, 1.2])
    R, r = np.array([[1.0, 0.5], [0.5, 0.8]]), np.array([0.3, 0.6])
    sx, sb = spd(rng, 2), spd(rng, 2)
    noise = np.array([0.2, 0.5])
    tasks = GaussianTasks(
        feature_covariance=sx,
        task_covariance=sb,
        noise=noise,
        query_noise=0.4,
        correlation=R,
        query_correlation=r,
    )
    x, p_x = nodes(2, 2)
    g, p_g = nodes(4, 3)
    root = np.linalg.cholesky(sx)
    context = g.reshape(-1, 2, 2) @ root.T
    joint = np.block([[R, r[:, None]], [r, np.ones((1, 1))]])
    total = 0.0
    for z, pz in zip(x @ root.T, p_x, strict=True):
        # given features f and y are linear in (beta_1, beta_2, beta), whose covariance is joint ⊗ sb
        forms = np.einsum("d,de,mne->mn", z, W, context) * w
        load = np.concatenate([-forms[:, :, None] * context, np.broadcast_to(z, (len(forms), 1, 2))], axis=1)
        variance = np.einsum("mid,ij,de,mje->m", load, joint, sb, load)
        total += pz * (p_g @ (variance + forms**2 @ noise))
    assert InContextRegression(tasks).risk(W, w) == pytest.approx(total + 0.4, rel=1e-12)


# --- optima -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_preconditioner_does_better(kind):
    rng = np.random.default_rng(7)
    d, n = 3, 5
    tasks = random_tasks(rng, d, n)[kind]
    model = InContextRegression(tasks, n)
    best = model.predict()
    found = optimize.minimize(
        lambda v: model.risk(v.reshape(d, d)), np.zeros(d * d), method="BFGS", options={"gtol": 1e-10}
    )
    assert best.attention == pytest.approx(found.fun, abs=1e-10 * best.zero)
    weighted = optimize.minimize(
        lambda v: model.risk(v[: d * d].reshape(d, d), v[d * d :]),
        np.r_[best.preconditioner.ravel(), np.ones(n)],
        method="BFGS",
        options={"gtol": 1e-9, "maxiter": 5000},
    )
    assert best.h3 == pytest.approx(weighted.fun, abs=1e-8 * best.zero)
    assert best.h3 <= best.attention + 1e-12 <= best.zero + 1e-12


def test_best_weights_are_a_minimum_of_their_own_risk():
    rng = np.random.default_rng(8)
    R, r = autoregressive(7, 0.8)
    tasks = GaussianTasks(task_covariance=[3.0, 1.0, 0.2], noise=0.3, correlation=R, query_correlation=r)
    K, E, r = tasks.positions(7)
    values = tasks.eigenvalues

    def risk(w):
        return -sum(v**2 * (r @ w) ** 2 / (v * (w @ K @ w) + E @ w**2) for v in values)

    found = best_weights(values, K, E, r)
    other = optimize.minimize(risk, rng.uniform(0.5, 1, 7), method="BFGS", options={"gtol": 1e-12})
    assert risk(found) == pytest.approx(other.fun, abs=1e-10)
    assert InContextRegression(tasks).predict().h3 == pytest.approx(tasks.zero + risk(found), rel=1e-12)


def test_weights_are_equal_where_positions_are_alike():
    for tasks in (GaussianTasks(4, noise=0.1), RetrievedTasks(4, 0.5), AlignedTasks(4, 0.5, "aligned")):
        prediction = InContextRegression(tasks, 6).predict()
        np.testing.assert_array_equal(prediction.weights, np.ones(6))
        assert prediction.h3 == pytest.approx(prediction.attention, rel=1e-12)
    # written out as drift that does not drift
    constant = GaussianTasks(4, noise=0.1, correlation=np.ones((6, 6)), query_correlation=np.ones(6))
    np.testing.assert_allclose(InContextRegression(constant).predict().weights, np.ones(6), atol=1e-9)
    assert InContextRegression(constant).predict().attention == pytest.approx(
        InContextRegression(GaussianTasks(4, noise=0.1), 6).predict().attention
    )


def test_closed_forms_of_isotropic_tasks():
    d, n, s2 = 7, 11, 0.4
    prediction = InContextRegression(GaussianTasks(d, noise=s2), n).predict()
    np.testing.assert_allclose(prediction.preconditioner, np.eye(d) / (n + d + 1 + s2), atol=1e-14)
    assert prediction.attention == pytest.approx(d + s2 - n * d / (n + d + 1 + s2))
    R, r = autoregressive(n, 0.8)
    drift = InContextRegression(GaussianTasks(d, noise=s2, correlation=R, query_correlation=r)).predict()
    inverse = np.linalg.inv(R + (d + 1 + s2) * np.eye(n))
    assert drift.h3 == pytest.approx(d + s2 - d * r @ inverse @ r)
    assert drift.attention == pytest.approx(d + s2 - d * r.sum() ** 2 / (R.sum() + n * (d + 1 + s2)))
    assert drift.per_channel == pytest.approx(drift.h3)  # one eigenvalue, one filter
    np.testing.assert_allclose(drift.weights, inverse @ r / (inverse @ r).max(), rtol=1e-9)


def test_weights_of_an_autoregression_decay_faster_than_its_correlation():
    R, r = autoregressive(15, 0.8)
    weights = (
        InContextRegression(GaussianTasks(5, noise=0.1, correlation=R, query_correlation=r)).predict().weights
    )
    ratios = weights[5:-1] / weights[6:]
    np.testing.assert_allclose(ratios[:4], 0.705, atol=0.02)


def test_diagonal_covariances():
    lam, n, s2 = np.array([3.0, 1.0, 0.5]), 9, 0.2
    M = lam.sum() + s2
    prediction = InContextRegression(GaussianTasks(task_covariance=lam, noise=s2), n).predict()
    assert prediction.attention == pytest.approx(M - np.sum(n * lam**2 / ((n + 1) * lam + M)))
    # features and tasks enter through S only
    swapped = InContextRegression(GaussianTasks(feature_covariance=lam, noise=s2), n).predict()
    assert swapped.attention == pytest.approx(prediction.attention)


@pytest.mark.parametrize("n", [5, 40])
def test_retrieved_tasks_at_the_ends(n):
    d = 6
    free = InContextRegression(RetrievedTasks(d, 0.0, 0.3), n).predict()
    independent = InContextRegression(GaussianTasks(d, noise=0.3), n).predict()
    assert free.attention == pytest.approx(independent.attention)
    assert free.multiplier.exact == pytest.approx(1.0)
    # copies of the query tell its label, and a fixed W cannot divide by |x|²
    assert InContextRegression(RetrievedTasks(d, 1.0), n).predict().attention == pytest.approx(
        2 * d / (d + 4)
    )
    for query in ("aligned", "independent", "independent_scaled"):
        none = InContextRegression(AlignedTasks(d, 0.0, query, 0.3), n).predict()
        assert none.attention == pytest.approx(independent.attention)


@pytest.mark.parametrize(
    ("tasks", "exact", "approximate"),
    [
        (RetrievedTasks(20, 20**-0.5), 0.3496, 0.3333),
        (RetrievedTasks(80, 2 * 80**-0.5), 0.1738, 0.1667),
        (AlignedTasks(20, 20**-0.5, "aligned"), 0.2434, 0.2000),
        (AlignedTasks(1280, 2 * 1280**-0.5, "aligned"), 0.0398, 0.0385),
    ],
)
def test_multipliers_hold_for_large_dimensions(tasks, exact, approximate):
    d = tasks.dimension
    prediction = InContextRegression(tasks, d).predict()
    assert prediction.attention / d == pytest.approx(exact, abs=1e-4)
    assert prediction.multiplier.risk / d == pytest.approx(approximate, abs=1e-4)
    assert prediction.multiplier.error == pytest.approx(abs(exact - approximate) / exact, rel=0.05)


@pytest.mark.parametrize("query", ["aligned", "independent", "independent_scaled"])
def test_the_approximate_multiplier_is_the_limit(query):
    errors = []
    for d in (200, 800, 1600):
        tasks = AlignedTasks(d, 1.5 / np.sqrt(d), query, noise=0.5)
        multiplier = InContextRegression(tasks, d).predict().multiplier
        errors.append(multiplier.error)
    rates = np.diff(np.log(errors)) / np.diff(np.log([200, 800, 1600]))
    np.testing.assert_allclose(rates, -1, atol=0.1)


# --- low rank, LoRA, lengths --------------------------------------------------------------------------


def best_of_rank(model, old, rank, rng):
    """Least risk of old + A B found by an optimiser, over several starts."""
    d = len(old)

    def risk(v):
        a, b = v.reshape(2, d, rank)
        return model.risk(old + a @ b.T)

    return min(
        optimize.minimize(
            risk, rng.standard_normal(2 * d * rank) * 0.3, method="BFGS", options={"gtol": 1e-10}
        ).fun
        for _ in range(6)
    )


@pytest.mark.parametrize("rank", [1, 2])
def test_adaptation_of_low_rank_is_optimal(rank):
    rng = np.random.default_rng(9)
    old_tasks = GaussianTasks(feature_covariance=spd(rng, 3), task_covariance=spd(rng, 3), noise=0.1)
    new = GaussianTasks(feature_covariance=spd(rng, 3), task_covariance=spd(rng, 3), noise=0.4)
    model = InContextRegression(new, 6)
    old = old_tasks.preconditioner(np.ones(6))
    for start, found in (
        (old, lora(new, old, rank, 6)),
        (np.zeros((3, 3)), low_rank(new, rank, 6)),
    ):
        assert model.risk(found.preconditioner) == pytest.approx(found.risk, rel=1e-10)
        assert np.linalg.matrix_rank(found.preconditioner - start, tol=1e-9) == rank
        assert found.risk == pytest.approx(best_of_rank(model, start, rank, rng), abs=1e-8)


def test_adaptation_at_the_ends():
    rng = np.random.default_rng(10)
    new = GaussianTasks(feature_covariance=spd(rng, 4), task_covariance=spd(rng, 4), noise=0.4)
    model, old = InContextRegression(new, 8), rng.standard_normal((4, 4)) * 0.05
    assert lora(new, old, 0, 8).risk == pytest.approx(model.risk(old))
    assert lora(new, old, 4, 8).risk == pytest.approx(model.predict().attention)
    np.testing.assert_allclose(
        lora(new, old, 4, 8).preconditioner, model.predict().preconditioner, atol=1e-10
    )
    risks = [low_rank(new, r, 8).risk for r in range(5)]
    assert risks[0] == pytest.approx(new.zero)
    assert np.all(np.diff(risks) < 0)
    values = new.eigenvalues
    M = values.sum() + 0.4
    assert risks[2] == pytest.approx(M - np.sum(8 * values[:2] ** 2 / (9 * values[:2] + M)))
    singular = GaussianTasks(feature_covariance=[1.0, 1.0, 0.0], task_covariance=[2.0, 1.0, 1.0])
    assert lora(singular, np.zeros((3, 3)), 3, 5).risk == pytest.approx(
        InContextRegression(singular, 5).predict().attention
    )


def test_low_rank_of_drifting_tasks_keeps_its_weights():
    R, r = autoregressive(8, 0.7)
    tasks = GaussianTasks(task_covariance=[3.0, 1.0, 0.5], correlation=R, query_correlation=r)
    model = InContextRegression(tasks)
    prediction = model.predict()
    found = low_rank(tasks, 3, 8, weights=prediction.weights)
    assert found.risk == pytest.approx(prediction.h3)
    one = low_rank(tasks, 1, 8, weights=prediction.weights)
    assert one.risk == pytest.approx(model.risk(one.preconditioner, prediction.weights))


def test_online_filters_of_the_theory_page():
    tasks = GaussianTasks(20)
    h3, attention = online(tasks, range(1, 41)), online(tasks, range(1, 41), weighted=False)
    assert h3.risk == pytest.approx(11.3015, abs=1e-4)
    assert attention.risk == pytest.approx(11.4583, abs=1e-4)
    assert np.all(np.diff(h3.filter) < 0)  # early positions are seen in every prefix
    for found in (h3, attention):
        assert found.risk == pytest.approx(np.mean(found.risks))


def test_online_optimum_by_an_optimiser():
    rng = np.random.default_rng(11)
    R, r = autoregressive(4, 0.7)
    for tasks in (
        GaussianTasks(feature_covariance=spd(rng, 2), task_covariance=spd(rng, 2), noise=0.3),
        GaussianTasks(task_covariance=[2.0, 0.5], noise=0.1, correlation=R, query_correlation=r),
    ):

        def risk(v, tasks=tasks):
            W, f = v[:4].reshape(2, 2), v[4:]
            total = 0.0
            for n in (1, 2, 3, 4):
                if tasks.length is None:
                    total += InContextRegression(tasks, n).risk(W, f[:n][::-1])
                else:
                    total += InContextRegression(tasks).risk(W, np.r_[np.zeros(4 - n), f[:n][::-1]])
            return total / 4

        found = online(tasks, (1, 2, 3, 4))
        assert risk(np.r_[found.preconditioner.ravel(), found.filter]) == pytest.approx(found.risk, rel=1e-12)
        other = optimize.minimize(
            risk, np.r_[0.1, 0, 0, 0.1, 1, 1, 1, 1], method="BFGS", options={"gtol": 1e-10}
        )
        assert found.risk == pytest.approx(other.fun, abs=1e-9)


def test_lengths_may_differ_between_training_and_test():
    tasks = GaussianTasks(10, noise=0.5)
    short, long = InContextRegression(tasks, 10), InContextRegression(tasks, 40)
    trained = short.predict().preconditioner
    d, s2, n, m = 10, 0.5, 10, 40
    c, M = 1 / (n + d + 1 + s2), d + s2
    assert long.risk(trained) == pytest.approx(M - 2 * m * d * c + c**2 * d * m * (m + 1 + M))
    assert long.predict().attention < long.risk(trained)
    assert long.risk(trained) > tasks.zero  # one step made for ten examples overshoots on forty


# --- limits -------------------------------------------------------------------------------------------


def test_the_proportional_limit_is_that_of_the_exact_risk():
    errors = []
    for d in (50, 200, 800):
        values = np.repeat([2.0, 0.5], d // 2)
        tasks = GaussianTasks(task_covariance=values, noise=0.2 * d)
        exact = InContextRegression(tasks, 2 * d).predict().attention / d
        errors.append(abs(exact - proportional_limit(0.5, [2.0, 0.5], noise=0.2).attention))
    np.testing.assert_allclose(np.diff(np.log(errors)) / np.log(4), -1, atol=0.1)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_limit_of_ridge_regression_is_that_of_the_posterior(gamma, noise):
    d = 120
    tasks = GaussianTasks(task_covariance=np.repeat([2.0, 0.5], d // 2), noise=noise * d)
    x, labels, query, _ = tasks.sample(200, round(d / gamma), np.random.default_rng(0))
    variance = tasks.posterior(x, labels, query)[1] / d
    limit = proportional_limit(gamma, [2.0, 0.5], noise=noise).ridge
    error = variance.std(ddof=1) / np.sqrt(variance.size)
    assert abs(variance.mean() - limit) < 4 * error + 2 / d
    assert (
        abs(variance.mean() - proportional_limit(1.5 * gamma, [2.0, 0.5], noise=noise).ridge) > 4 * error
        or noise == 0
    )


@given(gamma=st.floats(0.05, 20), noise=st.floats(0, 5))
def test_ridge_is_never_worse_than_one_step(gamma, noise):
    limit = proportional_limit(gamma, [3.0, 1.0, 0.2], noise=noise)
    assert noise - 1e-6 <= limit.ridge <= limit.attention + 1e-9 <= limit.zero + 1e-9


# --- simulation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_knows_its_own_error_and_is_best(kind):
    rng = np.random.default_rng(12)
    tasks = random_tasks(rng, 4, 6)[kind]
    x, labels, query, last = tasks.sample(40_000, 6, rng)
    mean, variance = tasks.posterior(x, labels, query)
    left = (last - mean) ** 2 - variance
    assert abs(left.mean()) < 4 * left.std() / np.sqrt(left.size) + 1e-8
    prediction = InContextRegression(tasks, 6).predict()
    assert prediction.bayes < prediction.h3 + 4 * prediction.bayes_spread


@pytest.mark.parametrize("kind", ["independent", "drift", "retrieved", "aligned"])
def test_simulated_risks_are_the_predicted_ones(kind):
    tasks = random_tasks(np.random.default_rng(13), 5, 12)[kind]
    model = InContextRegression(tasks, 12)
    draw, prediction = model.simulate(0, prompts=50_000), model.predict()
    for name, error in draw.standard_error.items():
        assert abs(getattr(draw, name) - getattr(prediction, name)) < 4 * error + 4 * (
            prediction.bayes_spread if name == "bayes" else 0
        )
    for name, (difference, error) in draw.paired.items():
        expected = getattr(prediction, name) - prediction.attention
        spread = prediction.bayes_spread if name == "bayes" else 0.0
        assert abs(difference - expected) <= 4 * np.hypot(error, spread) + 1e-12
    assert draw == model.simulate(0, prompts=50_000)
    assert draw != model.simulate(1, prompts=50_000)


def test_an_unweighted_filter_under_drift_is_the_other_model():
    # the twin: attention's own weights do not reach what H3 predicts
    R, r = autoregressive(15, 0.8)
    model = InContextRegression(GaussianTasks(5, noise=0.1, correlation=R, query_correlation=r))
    prediction, draw = model.predict(), model.simulate(0, prompts=50_000)
    assert model.risk(prediction.h3_preconditioner, np.ones(15)) > prediction.h3 + 0.3
    difference, error = draw.paired["h3"]
    assert abs(difference) > 4 * error
    assert abs(difference - (prediction.h3 - prediction.attention)) < 4 * error


def test_the_wrong_query_convention_fails():
    tasks = AlignedTasks(8, 0.4, "aligned", noise=0.2)
    other = dataclasses.replace(tasks, query="independent")
    draw = InContextRegression(tasks, 12).simulate(0, prompts=50_000)
    wrong = InContextRegression(other, 12).predict()
    assert abs(draw.attention - wrong.attention) > 8 * draw.standard_error["attention"]


def test_prediction_and_simulation_share_names():
    shared = {f.name for f in dataclasses.fields(InContextPrediction)} & {
        f.name for f in dataclasses.fields(InContextSimulation)
    }
    assert shared == {"zero", "attention", "h3", "per_channel"}
    assert hasattr(InContextPrediction, "bayes")


def test_compare_joins_prediction_and_simulation():
    from resolvent.compare import compare

    R, r = autoregressive(6, 0.8)
    tasks = GaussianTasks(task_covariance=[2.0, 1.0, 0.3], noise=0.2, correlation=R, query_correlation=r)
    table = compare(InContextRegression(tasks), range(4))
    assert list(table["quantity"].values) == ["zero", "attention", "h3", "per_channel"]
    assert bool(table.agrees.all())
    assert float(table.allowance.max()) == 0
    with pytest.raises(ValueError, match="model must have methods"):
        compare(tasks, range(4))


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianTasks(), "dimension must be given"),
        (lambda: GaussianTasks(0), "dimension must be a whole number >= 1"),
        (
            lambda: GaussianTasks(feature_covariance=[[1, 2], [2, 1]]),
            "positive semi-definite, got an eigenvalue of -1",
        ),
        (lambda: GaussianTasks(feature_covariance=[[1, 2], [0, 1]]), "feature_covariance must be symmetric"),
        (
            lambda: GaussianTasks(task_covariance=[1.0, -0.5]),
            "task_covariance must be positive semi-definite",
        ),
        (lambda: GaussianTasks(task_covariance=[1.0, np.nan]), "task_covariance must be finite"),
        (lambda: GaussianTasks(3, task_covariance=[1.0, 2.0]), "task_covariance must match dimension 3"),
        (
            lambda: GaussianTasks(feature_covariance=np.eye(2), task_covariance=np.eye(3)),
            "task_covariance must match dimension 2",
        ),
        (lambda: GaussianTasks(3, noise=-0.1), "noise must be a variance >= 0"),
        (lambda: GaussianTasks(3, noise=[0.1, 0.2]), "query_noise must be given where noise varies"),
        (lambda: GaussianTasks(3, correlation=np.eye(2)), "must be given together"),
        (
            lambda: GaussianTasks(3, correlation=np.eye(2), query_correlation=[0.9, 0.9]),
            r"correlation \(with query_correlation\) must be positive semi-definite, got an eigenvalue of -0.27",
        ),
        (
            lambda: GaussianTasks(3, correlation=np.eye(2), query_correlation=[0.5]),
            r"must have shape \(n, n\)",
        ),
        (
            lambda: GaussianTasks(
                3, noise=[1.0], query_noise=0.1, correlation=np.eye(2), query_correlation=[0, 0]
            ),
            r"noise must hold one variance a position \(2\)",
        ),
        (lambda: RetrievedTasks(3, 1.2), r"correlation must be in \[0, 1\], got 1.2"),
        (lambda: RetrievedTasks(3, -0.2), "correlation must be a finite number >= 0"),
        (lambda: RetrievedTasks(3, 0.2, noise=-1), "noise must be a finite number >= 0"),
        (lambda: AlignedTasks(3, 0.2, "like the context"), "query must be one of 'aligned', 'independent'"),
        (lambda: AlignedTasks(3, 0.2), "query"),
        (lambda: InContextRegression(GaussianTasks(3), 0), "length must be a whole number >= 1, got 0"),
        (lambda: InContextRegression(GaussianTasks(3)), "length must be given"),
        (lambda: InContextRegression("tasks", 3), "tasks must be GaussianTasks"),
        (
            lambda: InContextRegression(GaussianTasks(3, noise=[0.1, 0.1], query_noise=0), 3),
            "length must be the tasks' own 2, got 3",
        ),
        (lambda: InContextRegression(GaussianTasks(task_covariance=[0.0, 0.0]), 3), "always zero"),
        (lambda: InContextRegression(GaussianTasks(3), 4).risk(np.eye(2)), r"W must have shape \(3, 3\)"),
        (
            lambda: InContextRegression(GaussianTasks(3), 4).risk(np.eye(3), [1.0]),
            r"weights must have shape \(4,\)",
        ),
        (lambda: InContextRegression(GaussianTasks(3), 4).risk(np.full((3, 3), np.nan)), "must be finite"),
        (lambda: InContextRegression(GaussianTasks(3), 4).simulate(-1), "seed must be a whole number >= 0"),
        (
            lambda: InContextRegression(GaussianTasks(3), 4).simulate(0, prompts=1),
            "prompts must be a whole number >= 2",
        ),
        (lambda: low_rank(GaussianTasks(3), 4, 5), "rank must be at most the dimension 3, got 4"),
        (lambda: lora(GaussianTasks(3), np.eye(2), 1, 5), r"old must be a finite array of shape \(3, 3\)"),
        (lambda: online(GaussianTasks(3), []), "lengths must hold at least one"),
        (lambda: online(GaussianTasks(3, noise=[0.1], query_noise=0), [2]), "lengths must be at most"),
        (lambda: autoregressive(3, 1.5), r"rho must be in \[0, 1\]"),
        (lambda: proportional_limit(0.0, [1.0]), "gamma must be a finite number > 0"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
