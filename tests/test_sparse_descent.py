"""Gradient descent of the attention layer: its gradients, its limit with fresh samples, its exact test error."""

from functools import partial

import numpy as np
import pytest

from resolvent.sparse_token.descent import descend, error_of, take_two_steps
from resolvent.sparse_token.online import online
from resolvent.sparse_token.tokens import SparseTokens

MIXED = SparseTokens((4, 7), (1, 3), 2.5, 0.4, signals=2)
FIXED = SparseTokens(5, 2, 4.0, 0.4)
RAGGED = SparseTokens((4, 7), (1, 2), 4.0, 0.3)
LOSSES = ("logistic", "square")
SEEDS = 16

# what theory and simulation both have: inner products, bias, loss, error
STATE = (
    "<ξ,w>",
    "<ξ,q>",
    "<w,w>",
    "<w,q>",
    "<q,q>",
    "bias",
    "loss",
    "error",
    "readout_alignment",
    "alignment",
    "kappa",
)


def everything(tokens, dimension, samples, seed):
    """The samples of `descend`, as a list of (real tokens, label)."""
    return [
        (x[mask], y)
        for chunk in tokens.chunks(samples, dimension=dimension, seed=seed)
        for x, y, mask in zip(*chunk, strict=True)
    ]


def objective(data, w, b, q, beta, loss, penalty):
    """The training objective as it is defined, sample by sample."""
    total = 0.0
    for x, y in data:
        a = np.exp(beta * x @ q)
        u = w @ (x.T @ a) / a.sum() + b
        total += np.log1p(np.exp(-y * u)) if loss == "logistic" else (u - y) ** 2 / 2
    return total / len(data) + penalty / 2 * w @ w


def differences(function, at, h=1e-5):
    return np.array([(function(at + h * e) - function(at - h * e)) / (2 * h) for e in np.eye(at.size)])


def gradient(loss, rng, *, beta=0.7, penalty=0.3, claimed_beta=None):
    """One step of `descend` as a gradient, beside central differences of the objective."""
    d, n = 6, 40
    w, b, q = rng.standard_normal(d), 0.4, rng.standard_normal(d)
    data = everything(MIXED, d, n, 3)
    run = descend(
        MIXED,
        d,
        n,
        1,
        rates=(1, 1, 1),
        inverse_temperature=beta,
        loss=loss,
        seed=3,
        regularisation=penalty,
        start=(w, b, q),
    )
    found = np.r_[w - run.w, b - run.bias[1], q - run.q]

    def function(z):
        return objective(data, z[:d], z[d], z[d + 1 :], claimed_beta or beta, loss, penalty)

    exact = differences(function, np.r_[w, b, q])
    assert claimed_beta or run.gradient[0] == pytest.approx(np.linalg.norm(exact), rel=1e-6)
    return found, exact


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_objective(loss):
    found, exact = gradient(loss, np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=1e-7)


def test_gradients_twin():
    found, exact = gradient("logistic", np.random.default_rng(0), claimed_beta=0.71)
    assert np.abs(found - exact).max() > 1e-4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tokens", [FIXED, MIXED], ids=["fixed", "mixed"])
def test_two_steps_are_the_explicit_formula(tokens, loss):
    d, n, (eta_w, eta_b, eta_q), beta = 12, 300, (0.8, 0.5, 1.5), 0.9
    w, b, q = take_two_steps(
        tokens, d, n, rates=(eta_w, eta_b, eta_q), inverse_temperature=beta, loss=loss, seed=1
    )
    x, y, mask = next(tokens.chunks(n, dimension=d, seed=1))
    lengths = mask.sum(axis=1)
    pooled = x.sum(axis=1) / lengths[:, None]

    def slope(u):
        return -y / (1 + np.exp(y * u)) if loss == "logistic" else u - y

    w1, b1 = -eta_w * (slope(0) @ pooled) / n, -eta_b * slope(0).mean()
    h = slope(pooled @ w1 + b1)
    centred = np.where(mask[..., None], x - pooled[:, None], 0)
    q2 = -eta_q * beta / n * np.einsum("i,ild,il->d", h / lengths, centred, centred @ w1)
    assert w == pytest.approx(w1, abs=1e-12)
    assert b == pytest.approx(b1, abs=1e-12)
    assert q == pytest.approx(q2, abs=1e-12)
    run = descend(
        tokens, d, n, 2, rates=(eta_w, eta_b, eta_q), inverse_temperature=beta, loss=loss, seed=1, joint=False
    )
    assert np.r_[run.w, run.bias[-1], run.q] == pytest.approx(np.r_[w, b, q], abs=1e-12)
    joint = descend(tokens, d, n, 2, rates=(eta_w, eta_b, eta_q), inverse_temperature=beta, loss=loss, seed=1)
    assert joint.q == pytest.approx(q, abs=1e-12)  # the query does not know whether w moves with it
    assert np.abs(joint.w - w).max() > 1e-3


def test_chunks_do_not_matter(monkeypatch):
    whole = descend(MIXED, 5, 60, 3, rates=(1, 1, 1), seed=0)
    one = next(MIXED.chunks(60, dimension=5, seed=0))
    pieces = [tuple(part[i : i + 7] for part in one) for i in range(0, 60, 7)]
    monkeypatch.setattr(SparseTokens, "chunks", lambda *a, **k: iter(pieces))
    assert descend(MIXED, 5, 60, 3, rates=(1, 1, 1), seed=0).gram == pytest.approx(whole.gram, abs=1e-12)


def test_samples_are_reused_or_fresh():
    def run(**options):
        return descend(FIXED, 20, 100, 4, rates=(1, 1, 1), **options)

    assert np.array_equal(run(seed=1).gram, run(seed=1).gram)
    assert np.array_equal(
        run(seed=1).gram[:2], run(seed=1, fresh=True).gram[:2]
    )  # the first step is the same
    assert not np.allclose(run(seed=1).gram[2], run(seed=1, fresh=True).gram[2])
    assert not np.allclose(run(seed=1).gram[1], run(seed=2).gram[1])


def test_a_run_goes_on_from_where_another_stopped():
    options = {"rates": (1, 1, 1), "seed": 5, "loss": "logistic", "regularisation": 0.1}
    whole = descend(FIXED, 10, 80, 7, **options, progress=True)
    part = descend(FIXED, 10, 80, 3, **options)
    rest = descend(FIXED, 10, 80, 4, **options, start=(part.w, part.bias[-1], part.q))
    assert rest.gram == pytest.approx(whole.gram[3:], abs=1e-12)
    assert rest.w == pytest.approx(whole.w, abs=1e-12)


def test_training_reaches_a_stationary_point_and_ridge_regression():
    options = {"loss": "square", "seed": 2, "regularisation": 0.2}
    joint = descend(FIXED, 8, 100, 5000, rates=(0.2, 0.2, 0.2), **options)
    assert joint.gradient[-1] < 1e-8 < 1e-2 < joint.gradient[0]
    penalised = joint.loss + 0.1 * joint.gram[:, 1, 1]
    assert (np.diff(penalised) < 1e-12).all()
    frozen = descend(FIXED, 8, 100, 800, rates=(0.5, 0.5, 0), **options)  # q stays zero: pooling
    x, y, _ = next(FIXED.chunks(100, dimension=8, seed=2))
    pooled = x.mean(axis=1)
    centred = pooled - pooled.mean(axis=0)
    w = np.linalg.solve(centred.T @ centred / 100 + 0.2 * np.eye(8), centred.T @ y / 100)
    assert frozen.w == pytest.approx(w, abs=1e-8)
    assert not frozen.q.any()


# test error


def frequency(tokens, w, b, q, beta, n, seed):
    """Share of wrong signs among n fresh samples."""
    wrong = 0
    for x, y, mask in tokens.chunks(n, dimension=w.size, seed=[99, seed]):
        a = np.where(mask, np.exp(beta * x @ q), 0)
        wrong += int((y * ((a * (x @ w)).sum(axis=1) / a.sum(axis=1) + b) < 0).sum())
    return wrong / n


@pytest.mark.parametrize("tokens", [FIXED, MIXED, RAGGED], ids=["fixed", "mixed", "ragged"])
def test_error_is_the_frequency_of_wrong_signs(tokens):
    d, beta, n = 10, 1.2, 200_000
    rng = np.random.default_rng(4)
    q = 0.5 * rng.standard_normal(d) + np.eye(tokens.signals, d).sum(axis=0)
    w = 0.4 * rng.standard_normal(d) + np.eye(tokens.signals, d).sum(axis=0) + 0.4 * q
    b = -2.0 / tokens.signals
    frame = np.vstack([np.eye(tokens.signals, d), w, q])
    gram = frame @ frame.T
    exact = error_of(tokens, gram, b, inverse_temperature=beta, points=2**15)
    found = frequency(tokens, w, b, q, beta, n, 0)
    allowed = 4 * np.sqrt(exact * (1 - exact) / n) + 2e-4
    assert abs(found - exact) < allowed
    for row in ((-1, -2), (0, -2), (0, -1)):  # twins: every inner product matters
        wrong = gram.copy()
        wrong[row] = wrong[row[::-1]] = 0.3 * gram[row]
        assert abs(found - error_of(tokens, wrong, b, inverse_temperature=beta, points=2**15)) > allowed


def test_error_at_the_ends():
    def error(w, q, b, tokens=FIXED):
        frame = np.vstack([np.eye(3)[0], w, q])
        return error_of(tokens, frame @ frame.T, b, inverse_temperature=1.0)

    nothing, signal, other = np.zeros(3), np.eye(3)[0], np.eye(3)[1]
    assert error(nothing, signal, 0.0) == pytest.approx(0.5)
    assert error(nothing, nothing, -1.0) == pytest.approx(FIXED.rarity)
    assert error(nothing, signal, 1.0) == pytest.approx(1 - FIXED.rarity)
    assert error(other, nothing, 0.0) == pytest.approx(0.5, abs=1e-3)
    from scipy.special import ndtr

    t, mu = 1.1, FIXED.signal * 2 / np.sqrt(5)  # pooling along the signal
    exact = FIXED.rarity * ndtr(t - mu) + (1 - FIXED.rarity) * ndtr(-t)
    assert error(signal, nothing, -t / np.sqrt(5)) == pytest.approx(exact, abs=1e-3)
    # along the query nothing is averaged exactly: the points count
    assert error(3 * signal, 1e-9 * signal, -3 * t / np.sqrt(5)) == pytest.approx(exact, abs=3e-3)


# the limit


def state(run):
    pairs = [run.gram[:, i, j] for i, j in ((0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    return np.array(
        [*pairs, run.bias, run.loss, run.error, run.readout_alignment, run.alignment, run.kappa], dtype=float
    )


def departures(tokens, d, alpha, steps, *, claimed_alpha=None, fresh=True, seeds=SEEDS, **options):
    """(simulation − theory) / (4 standard errors + 1/d) of every quantity of STATE after every step."""
    theory = state(online(tokens, steps, alpha=claimed_alpha or alpha, **options))
    runs = np.array(
        [
            state(descend(tokens, d, round(alpha * d), steps, seed=seed, fresh=fresh, **options))
            for seed in range(seeds)
        ]
    )
    runs, theory = runs[..., 1:], theory[..., 1:]  # the start is the start
    assert np.array_equal(np.isnan(theory), np.isnan(runs[0]))
    error = runs.std(axis=0, ddof=1) / np.sqrt(seeds)
    return np.nan_to_num((runs.mean(axis=0) - theory) / (4 * error + 1 / d))


CASES = {
    "logistic": (FIXED, 400, 1.0, 5, {"rates": (1, 1, 1), "loss": "logistic", "inverse_temperature": 1.3}),
    "square": (FIXED, 400, 1.0, 5, {"rates": (0.2, 0.2, 0.5), "loss": "square", "inverse_temperature": 1.3}),
    "rare": (SparseTokens(8, 3, 5.0, 0.2), 400, 0.5, 4, {"rates": (0.5, 0.3, 1), "loss": "logistic"}),
    "ragged": (RAGGED, 400, 1.0, 5, {"rates": (1, 1, 2), "loss": "logistic", "regularisation": 0.2}),
    "query": (FIXED, 400, 1.0, 3, {"rates": (0.5, 0.5, 1), "loss": "square", "joint": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_fresh_descent_meets_its_limit(case):
    *setting, options = CASES[case]
    z = departures(*setting, **options)
    assert np.abs(z).max() < 1, dict(zip(STATE, z.round(2).tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_fresh_descent_meets_its_limit_at_a_thousand(loss):
    tokens, _, _, steps, options = CASES[loss]
    assert np.abs(departures(tokens, 1000, 0.5, steps, **options)).max() < 1


@pytest.mark.parametrize("case", ["logistic", "square", "rare"])
def test_the_limit_has_twins_that_fail(case):
    tokens, d, alpha, steps, options = CASES[case]
    assert np.abs(departures(tokens, d, alpha, steps, claimed_alpha=1.5 * alpha, **options)).max() > 1.5
    # samples that are used again are another theory from the second step on: after the first, only the loss on
    # these very samples differs
    reused = np.abs(departures(tokens, d, alpha, steps, fresh=False, **options))
    loss = STATE.index("loss")
    assert np.delete(reused, loss, axis=0)[:, 0].max() < 1 < 2 < reused[loss, 0]
    assert (reused[:, 1:].max(axis=0) > 2).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_infinite_alpha_is_descent_on_the_expected_loss(loss):
    options = {"rates": (0.4, 0.4, 0.6), "loss": loss, "inverse_temperature": 1.3}
    theory = state(online(FIXED, 4, alpha=np.inf, points=2**14, **options))
    runs = np.array(
        [state(descend(FIXED, 3, 40_000, 4, seed=seed, fresh=True, **options)) for seed in range(8)]
    )
    error = runs.std(axis=0, ddof=1) / np.sqrt(8)
    inner = slice(0, 8)  # lengths are inner products: their bias is 1/n
    assert (np.abs(runs.mean(axis=0) - theory)[inner] < 5 * error[inner] + 5e-4)[:, 1:].all()
    assert error[inner].max() < 5e-3
    # nothing leaves the signal's direction
    assert theory[9][2:] == pytest.approx(1.0, abs=1e-6)


# two steps, with the formulas of docs/theory/sparse_token.md


def two_step_formula(tokens, alpha, rates, beta, loss, *, own):
    """(kappa, alignment) of the query after two steps; `own` keeps a sample's own part in w1."""
    eta_w, eta_b, eta_q = rates
    L, R, theta, pi = tokens.length, tokens.informative, tokens.signal, tokens.rarity
    s = 0.5 if loss == "logistic" else 1.0
    m = eta_w * pi * s * theta * R / L
    rho = m**2 + eta_w**2 * s**2 / (alpha * L)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    h, h2 = {}, {}
    for y in (1, -1):
        u = eta_b * s * (2 * pi - 1) + y * own * eta_w * s / (alpha * L) + np.sqrt(rho / L) * nodes
        u = u + (y > 0) * theta * R / L * m
        slope = -y / (1 + np.exp(y * u)) if loss == "logistic" else u - y
        h[y], h2[y] = weights @ slope, weights @ slope**2
    power = theta**2 * R * (1 - R / L)
    A = (L - 1) * (pi * h[1] + (1 - pi) * h[-1])
    B = pi * h[1] * power * m
    noise = ((L - 1) * (pi * h2[1] + (1 - pi) * h2[-1]) * rho + pi * h2[1] * power * m**2) / alpha
    norm = np.sqrt(A**2 * rho + 2 * A * B * m + B**2 + noise)
    return eta_q * beta**2 / L * norm, -(A * m + B) / norm


SETTINGS = [
    (SparseTokens(10, 3, 6.0, 0.2), 1.0, (0.5, 0.5, 0.5), "logistic"),
    (SparseTokens(4, 1, 3.0, 0.5), 0.5, (1.0, 0.5, 1.0), "square"),
    (SparseTokens(6, 2, 3.0, 0.3), 0.3, (3.0, -0.0, 1.0), "logistic"),
]


@pytest.mark.parametrize(("tokens", "alpha", "rates", "loss"), SETTINGS)
def test_two_fresh_steps_are_the_known_formula_without_self_interaction(tokens, alpha, rates, loss):
    limit = online(
        tokens, 2, alpha=alpha, rates=rates, inverse_temperature=1.4, loss=loss, joint=False, points=2**14
    )
    found = np.array([limit.kappa[2], limit.alignment[2]])
    assert found == pytest.approx(two_step_formula(tokens, alpha, rates, 1.4, loss, own=False), rel=2e-4)
    assert found != pytest.approx(two_step_formula(tokens, alpha, rates, 1.4, loss, own=True), rel=2e-3)


@pytest.mark.parametrize(("tokens", "alpha", "rates", "loss"), SETTINGS[1:])
def test_two_reused_steps_have_the_self_interaction(tokens, alpha, rates, loss):
    d, found = 600, []
    for seed in range(SEEDS):
        _, _, q = take_two_steps(
            tokens, d, round(alpha * d), rates=rates, inverse_temperature=1.4, loss=loss, seed=seed
        )
        found.append([1.4 * np.linalg.norm(q), q[0] / np.linalg.norm(q)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(SEEDS)
    own, fresh = (two_step_formula(tokens, alpha, rates, 1.4, loss, own=own) for own in (True, False))
    assert (np.abs(mean - own) < 4 * error + 1 / d).all()
    assert (np.abs(mean - fresh) > 4 * error + 1 / d).any()


# arguments


def test_the_points_do_not_matter():
    coarse, fine = (online(FIXED, 6, alpha=1.0, rates=(1, 1, 1), points=p) for p in (2**12, 2**15))
    assert coarse.gram == pytest.approx(fine.gram, abs=1e-3)


@pytest.mark.parametrize("run", ["descend", "online"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": (1, 1)}, "rates must be three numbers"),
        ({"rates": 1.0}, "rates must be three numbers"),
        ({"rates": (1, -1, 1)}, "rates must be a finite number >= 0"),
        ({"inverse_temperature": 0}, "inverse_temperature must be a finite number > 0"),
        ({"loss": "hinge"}, "loss must be one of 'logistic', 'square'"),
        ({"regularisation": -1}, "regularisation must be a finite number >= 0"),
        ({"steps": -1}, "steps must be a whole number >= 0"),
    ],
)
def test_bad_arguments_are_named(run, change, message):
    options = {"rates": (1, 1, 1), "steps": 2} | change
    call = partial(online, FIXED, alpha=1.0) if run == "online" else partial(descend, FIXED, 10, 10, seed=0)
    with pytest.raises(ValueError, match=message):
        call(**options)


def test_other_bad_arguments_are_named():
    with pytest.raises(ValueError, match="signals must be 1"):
        online(MIXED, 2, alpha=1.0, rates=(1, 1, 1))
    with pytest.raises(ValueError, match="alpha must be a finite number > 0"):
        online(FIXED, 2, alpha=0, rates=(1, 1, 1))
    with pytest.raises(ValueError, match="start must hold finite w and q of shape"):
        descend(FIXED, 10, 10, 2, rates=(1, 1, 1), seed=0, start=(np.zeros(9), 0.0, np.zeros(10)))
    with pytest.raises(ValueError, match=r"start must be \(w, b, q\)"):
        descend(FIXED, 10, 10, 2, rates=(1, 1, 1), seed=0, start=(np.zeros(10), np.zeros(10)))
    with pytest.raises(ValueError, match="dimension must be a whole number >= 2"):
        take_two_steps(MIXED, 1, 10, rates=(1, 1, 1), seed=0)
    with pytest.raises(ValueError, match=r"gram must have shape \(3, 3\)"):
        error_of(FIXED, np.eye(4), 0.0, inverse_temperature=1.0)


def test_divergence_is_an_error():
    with pytest.raises(RuntimeError, match="descent diverged"):
        descend(FIXED, 10, 50, 400, rates=(1e4, 1e4, 0), loss="square", seed=0)
    with pytest.raises(RuntimeError, match="descent diverged"):
        online(FIXED, 400, alpha=1.0, rates=(1e4, 1e4, 0), loss="square", points=512)
