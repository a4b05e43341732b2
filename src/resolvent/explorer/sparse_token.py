"""The tab of sparse-token classification: errors of the read-outs and the query after two gradient steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resolvent.explorer.figures import figure, here, line, points
from resolvent.explorer.state import Answer, Control, Row, Tab
from resolvent.models.sparse_token import CLASSIFIERS, SparseTokenClassification
from resolvent.plots import COLOURS
from resolvent.sparse_token.losses import LOSSES
from resolvent.sparse_token.query import two_steps

__all__ = ["SPARSE_TOKEN"]

DASHES = {"attention": "solid", "pooled": "dash", "vectorised": "dashdot"}
RATIOS = {"type": "log", "tickvals": [0.2, 0.5, 1, 2, 4, 8]}
SIZES = {"square": 15, "logistic": 5}  # the logistic read-out has no closed form: a second, not milliseconds

CONTROLS = (
    Control("length", "tokens L", 10, 2, 30, 1),
    Control("informative", "of them informative R", 1, 1, 29, 1, upto=("length", 1)),
    Control("signal", "signal θ", 5.0, 0.5, 10.0, 0.1),
    Control("rarity", "share π of samples with a signal", 0.5, 0.05, 0.95, 0.01),
    Control("alpha_query", "α₀ = n₀/d, samples of the query", 4.0, 0.2, 8.0, 0.1),
    Control("alpha_readout", "α₁ = n₁/d, samples of the read-out", 4.0, 0.2, 8.0, 0.1),
    Control("inverse_temperature", "inverse temperature β", 2.0, 0.1, 6.0, 0.1),
    Control("loss", "loss (logistic takes a second)", "square", choices=tuple(LOSSES)),
    Control("dimension", "dimension d of the simulation", 200, 50, 300, 10),
    Control("seed", "seed of the simulation", 0, 0, 2**31 - 1, 1, slider=False),
)


def _arguments(values: dict[str, Any]) -> dict[str, Any]:
    d = values["dimension"]
    return {
        "dimension": d,
        **{name: values[name] for name in ("length", "informative", "signal", "rarity")},
        "samples_query": max(round(values["alpha_query"] * d), 2),
        "samples_readout": max(round(values["alpha_readout"] * d), 2),
        **{name: values[name] for name in ("inverse_temperature", "loss")},
    }


def model(values: dict[str, Any]) -> SparseTokenClassification:
    """The model of these values."""
    return SparseTokenClassification(**_arguments(values))


def python(values: dict[str, Any]) -> str:
    """The program of these values."""
    given = "\n".join(f"    {name}={value!r}," for name, value in _arguments(values).items())
    return "\n".join(
        [
            "from resolvent import SparseTokenClassification",
            "",
            "model = SparseTokenClassification(",
            given,
            ")",
            "prediction = model.predict()",
            f"draw = model.simulate(seed={values['seed']})",
            'print("query alignment", prediction.query.alignment, "simulated", draw.query.alignment)',
            f"for name in {CLASSIFIERS!r}:",
            '    print(name, "error", getattr(prediction, name).error, "simulated", getattr(draw, name).error)',
            "",
        ]
    )


def simulate(values: dict[str, Any]) -> dict[str, Any]:
    """One training run, and what theory says of the query that it found."""
    made = model(values)
    draw = made.simulate(values["seed"])
    return {
        "alignment": draw.query.alignment,
        "first_alignment": draw.query.first_alignment,
        "kappa": draw.query.kappa,
        **{name: getattr(draw, name).error for name in CLASSIFIERS},
        "loss": {name: getattr(draw, name).loss for name in CLASSIFIERS},
    }


def answer(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Figures and numbers of these values."""
    made = model(values)
    d = made.dimension
    grid = np.geomspace(0.2, 8, SIZES[values["loss"]])
    sizes = [*(max(round(alpha * d), 2) for alpha in grid), made.samples_readout]
    several = replace(made, samples_readout=tuple(sizes))
    found = several.predict()
    order = np.argsort(sizes, kind="stable")
    alpha = np.asarray(several.alpha_readout)[order]
    query_alpha = np.array([max(round(a * d), 2) / d for a in np.linspace(0.2, 8, 14)])
    options: dict[str, Any] = {"inverse_temperature": made.inverse_temperature, "loss": made.loss}
    steps = [two_steps(made.tokens, a, steps=made.steps, **options) for a in query_alpha]
    shown = {name: getattr(found, name) for name in CLASSIFIERS}
    rows = [
        Row("query alignment", float(found.query.alignment), drawn["alignment"] if drawn else None),
        Row("query kappa", float(found.query.kappa), drawn["kappa"] if drawn else None),
        *(
            Row(f"{name} error", float(limit.error[-1]), drawn[name] if drawn else None)
            for name, limit in shown.items()
        ),
    ]
    guess = min(made.rarity, 1 - made.rarity)
    errors = [_line(name, alpha, limit.error[order]) for name, limit in shown.items()]
    losses = [_line(name, alpha, limit.loss[order]) for name, limit in shown.items()]
    errors.append(line(alpha, np.full(alpha.size, guess), "majority", colour=COLOURS["grey"], dash="dot"))
    query = [
        line(query_alpha, [s.alignment for s in steps], "query", colour=COLOURS["attention"]),
        line(
            query_alpha,
            [s.first_alignment for s in steps],
            "read-out",
            colour=COLOURS["pooled"],
            dash="dash",
        ),
    ]
    if drawn:
        for name in CLASSIFIERS:
            at = (made.alpha_readout, f"simulated {name}")
            errors.append(points(at[0], drawn[name], at[1], colour=COLOURS[name], size=10, shown=False))
            losses.append(
                points(at[0], drawn["loss"][name], at[1], colour=COLOURS[name], size=10, shown=False)
            )
        query += [
            points(
                made.alpha_query,
                drawn["alignment"],
                "simulated query",
                colour=COLOURS["attention"],
                size=10,
                shown=False,
            ),
            points(
                made.alpha_query,
                drawn["first_alignment"],
                "simulated read-out",
                colour=COLOURS["pooled"],
                size=10,
                shown=False,
            ),
        ]
    errors.append(here(made.alpha_readout, shown["attention"].error[-1]))
    query.append(here(made.alpha_query, found.query.alignment))
    over = "α₁ = n₁/d"
    return Answer(
        {
            "errors": figure(errors, over, "test error", xaxis=RATIOS, yaxis={"rangemode": "tozero"}),
            "losses": figure(losses, over, "training loss", xaxis=RATIOS, yaxis={"rangemode": "tozero"}),
            "query": figure(query, "α₀ = n₀/d", "cosine with the signal", yaxis={"range": [-0.03, 1.03]}),
        },
        rows,
        f"d = {d}, n₀ = {made.samples_query}, n₁ = {made.samples_readout}; step sizes one, λ = {made.regularisation:g}.",
    )


def _line(name: str, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    return line(x, y, name, colour=COLOURS[name], dash=DASHES[name])


SPARSE_TOKEN = Tab(
    name="sparse_token",
    title="Sparse tokens",
    about="A softmax attention layer looks for rare tokens that carry a signal: two gradient steps align its query, then a "
    "read-out is trained; beside it a pooled and a vectorised classifier.",
    controls=CONTROLS,
    captions={
        "errors": "Test error against the samples of the read-out; majority: always the commoner class (dots: simulation)",
        "losses": "Training loss (dots: simulation)",
        "query": "Alignment of query and read-out after the two steps, against their samples (dots: simulation)",
    },
    model=model,
    python=python,
    simulate=simulate,
    answer=answer,
)
