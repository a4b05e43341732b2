"""In-context regression: exact risks of 512 dimensions, and simulated prompts beside the loop one writes by hand."""

from __future__ import annotations

import sys

import measure
import numpy as np

from resolvent.in_context import GaussianTasks, autoregressive, low_rank
from resolvent.models.in_context import InContextRegression

LARGE, DIMENSION, LENGTH, PROMPTS = 512, 20, 40, 100_000
LOOPED, CONTRACTED = 2_000, 10_000  # prompts of the slower ways, whose times are scaled up
NOISE = 0.5


def covariance(dimension: int, seed: int) -> np.ndarray:
    """Of no special basis, trace about d."""
    x = np.random.default_rng(seed).standard_normal((dimension, 2 * dimension))
    return x @ x.T / (2 * dimension)


FEATURES, TASKS = covariance(LARGE, 0), covariance(LARGE, 1)
MODEL = InContextRegression(GaussianTasks(DIMENSION, noise=NOISE), LENGTH)
DRIFT = InContextRegression(
    GaussianTasks(
        DIMENSION,
        noise=NOISE,
        **dict(zip(("correlation", "query_correlation"), autoregressive(LENGTH, 0.9), strict=True)),
    )
)


def large() -> InContextRegression:
    return InContextRegression(
        GaussianTasks(feature_covariance=FEATURES, task_covariance=TASKS, noise=NOISE), LARGE
    )


def exact() -> float:
    """Covariances checked, optimal W found, its risk."""
    model = large()
    return model.risk(model.tasks.preconditioner(np.ones(LARGE)))


def wick(W: np.ndarray) -> float:
    """The risk of W by the fourth moments of features, written out with matrix products."""
    n, x, b = LARGE, FEATURES, TASKS
    gram = n * (n + 1) * x @ b @ x + n * (np.trace(b @ x) + NOISE) * x
    return float(np.trace(b @ x) + NOISE - 2 * n * np.trace(W @ x @ b @ x) + np.trace(W.T @ x @ W @ gram))


def loop(W: np.ndarray, prompts: int) -> np.ndarray:
    """Squared errors, prompt by prompt."""
    rng = np.random.default_rng(0)
    errors = np.empty(prompts)
    for i in range(prompts):
        beta, x = rng.standard_normal(DIMENSION), rng.standard_normal((LENGTH + 1, DIMENSION))
        y = x @ beta + np.sqrt(NOISE) * rng.standard_normal(LENGTH + 1)
        errors[i] = (y[-1] - x[-1] @ W @ x[:-1].T @ y[:-1]) ** 2
    return errors


def contracted(W: np.ndarray, prompts: int) -> np.ndarray:
    """Squared errors by one sum over all indices, as the definition reads."""
    rng = np.random.default_rng(0)
    beta, x = rng.standard_normal((prompts, DIMENSION)), rng.standard_normal((prompts, LENGTH + 1, DIMENSION))
    y = np.einsum("md,mnd->mn", beta, x) + np.sqrt(NOISE) * rng.standard_normal((prompts, LENGTH + 1))
    return (y[:, -1] - np.einsum("md,de,mne,mn->m", x[:, -1], W, x[:, :-1], y[:, :-1])) ** 2


def main() -> int:
    model = large()
    W = model.tasks.preconditioner(np.ones(LARGE))
    report = measure.Report(f"Exact risks, d = n = {LARGE}, dense covariances, one thread, median of 7")
    times = measure.side_by_side(
        {
            "exact": (exact, 1),
            "given": (lambda: model.risk(W), 1),
            "wick": (lambda: wick(W), 1),
            "predict": (lambda: large().predict(), 1),
            "low rank": (lambda: low_rank(model.tasks, 10, LARGE), 1),
        },
        7,
    )
    report.row("covariances checked, optimal W, its risk", times["exact"], "s")
    report.row("risk of a given W", times["given"], "s", most=0.05)
    report.row("all of predict()", times["predict"], "s")
    report.row("best W of rank 10", times["low rank"], "s")
    report.row("risk of a given W, moments written out / here", times["wick"] / times["given"])
    report.row("relative difference of the two", abs(wick(W) / model.risk(W) - 1), most=1e-10)
    status = report.finish()

    W = MODEL.predict().preconditioner
    report = measure.Report(
        f"{PROMPTS:,} prompts, d={DIMENSION}, n={LENGTH}, drawing included, one thread, median of 3"
    )
    times = measure.side_by_side(
        {
            "simulate": (lambda: MODEL.simulate(0, prompts=PROMPTS, bayes=False), 1),
            "bayes": (lambda: MODEL.simulate(0, prompts=PROMPTS), 1),
            "drift": (lambda: DRIFT.simulate(0, prompts=PROMPTS, bayes=False), 1),
            "loop": (lambda: loop(W, LOOPED), 1),
            "einsum": (lambda: contracted(W, CONTRACTED), 1),
        },
        3,
    )
    by_loop, by_sum = times["loop"] * PROMPTS / LOOPED, times["einsum"] * PROMPTS / CONTRACTED
    report.row("simulate, attention and H3", times["simulate"], "s", most=5)
    report.row("simulate, ridge regression too", times["bayes"], "s")
    report.row("simulate, drifting tasks", times["drift"], "s")
    report.row(f"loop over {LOOPED:,} prompts, scaled up", by_loop, "s")
    report.row(f"einsum of the definition, {CONTRACTED:,} prompts, scaled up", by_sum, "s")
    report.row("loop / simulate", by_loop / times["simulate"])
    report.row("einsum / simulate", by_sum / times["simulate"])
    found, expected = MODEL.simulate(0, prompts=PROMPTS, bayes=False), MODEL.predict().attention
    errors = loop(W, 20 * LOOPED)
    report.row(
        "simulate against the exact risk, standard errors",
        abs(found.attention - expected) / found.standard_error["attention"],
        most=4,
    )
    report.row(
        "loop against the exact risk, standard errors",
        abs(errors.mean() - expected) / (errors.std() / np.sqrt(errors.size)),
        most=4,
    )
    return status | report.finish()


if __name__ == "__main__":
    sys.exit(main())
