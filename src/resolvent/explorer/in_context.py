"""The tab of in-context regression: least risks of linear attention and H3, along the prompt and the correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolvent.explorer.figures import figure, here, line, points
from resolvent.explorer.state import Answer, Control, Row, Tab
from resolvent.in_context import AlignedTasks, GaussianTasks, RetrievedTasks, autoregressive
from resolvent.models.in_context import InContextPrediction, InContextRegression
from resolvent.plots import COLOURS

__all__ = ["IN_CONTEXT"]

TASKS = ("drifting", "retrieved", "aligned")
PREDICTORS = ("zero", "attention", "h3", "per_channel")
WIDTHS = {"h3": 5}  # where per channel gains nothing its curve lies on this one: both are seen
DASHES = {"zero": "dot", "attention": "solid", "h3": "dash", "per_channel": "dashdot"}
TINTS = {**COLOURS, "zero": COLOURS["grey"]}
LABELS = {"zero": "zero", "attention": "attention", "h3": "H3", "per_channel": "per channel"}
PROMPTS = 5_000

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)

CONTROLS = (
    Control("tasks", "tasks", "drifting", choices=TASKS),
    Control("dimension", "dimension d", 5, 1, 20, 1),
    Control("length", "examples n in the prompt", 20, 1, 60, 1),
    Control("correlation", "correlation: drift ρ, or a of query or task", 0.8, 0.0, 1.0, 0.01),
    Control("noise", "variance of the label noise", 0.1, 0.0, 2.0, 0.05),
    Control("seed", "seed of the simulation", 0, 0, 2**31 - 1, 1, slider=False),
)


def model(values: dict[str, Any]) -> InContextRegression:
    """The model of these values."""
    d, n, noise, c = (values[name] for name in ("dimension", "length", "noise", "correlation"))
    if values["tasks"] == "drifting":
        R, r = autoregressive(n, c)
        return InContextRegression(GaussianTasks(d, noise=noise, correlation=R, query_correlation=r))
    if values["tasks"] == "retrieved":
        return InContextRegression(RetrievedTasks(d, c, noise), n)
    return InContextRegression(AlignedTasks(d, c, "aligned", noise), n)


def python(values: dict[str, Any]) -> str:
    """The program of these values."""
    d, n, noise, c = (values[name] for name in ("dimension", "length", "noise", "correlation"))
    if values["tasks"] == "drifting":
        given = [
            "from resolvent.in_context import GaussianTasks, autoregressive",
            "",
            f"R, r = autoregressive({n}, {c!r})",
            f"tasks = GaussianTasks({d}, noise={noise!r}, correlation=R, query_correlation=r)",
            "model = InContextRegression(tasks)",
        ]
    elif values["tasks"] == "retrieved":
        given = [
            "from resolvent.in_context import RetrievedTasks",
            "",
            f"model = InContextRegression(RetrievedTasks({d}, {c!r}, {noise!r}), {n})",
        ]
    else:
        given = [
            "from resolvent.in_context import AlignedTasks",
            "",
            f'model = InContextRegression(AlignedTasks({d}, {c!r}, "aligned", {noise!r}), {n})',
        ]
    return "\n".join(
        [
            "from resolvent import InContextRegression",
            *given,
            "prediction = model.predict()",
            f"draw = model.simulate(seed={values['seed']}, prompts={PROMPTS})",
            'for name in ("zero", "attention", "h3"):',
            '    print(name, "risk", getattr(prediction, name), "simulated", getattr(draw, name))',
            "",
        ]
    )


def simulate(values: dict[str, Any]) -> dict[str, Any]:
    """Mean squared errors over prompts, with standard errors; the best prediction whatever is among them."""
    draw = model(values).simulate(values["seed"], prompts=PROMPTS)
    names = [name for name in (*PREDICTORS, "bayes") if getattr(draw, name) is not None]
    return {
        "risk": {name: getattr(draw, name) for name in names},
        "error": {name: draw.standard_error.get(name, draw.standard_error["attention"]) for name in names},
    }


def answer(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Figures and numbers of these values."""
    found = model(values).predict()
    lengths = sorted({*np.unique(np.geomspace(1, 60, 13).round().astype(int)).tolist(), values["length"]})
    along = [model({**values, "length": n}).predict() for n in lengths]
    levels = sorted({*LEVELS, values["correlation"]})
    across = [model({**values, "correlation": c}).predict() for c in levels]
    risks = drawn["risk"] if drawn else {}
    rows = [
        Row(LABELS[name], float(getattr(found, name)), risks.get(name))
        for name in PREDICTORS
        if getattr(found, name) is not None
    ]
    over_length = [*_curves(lengths, along), here(values["length"], found.attention)]
    if drawn:
        for name, risk in risks.items():
            label = "posterior mean" if name == "bayes" else LABELS[name]
            over_length.append(
                points(
                    values["length"],
                    risk,
                    f"simulated {label}",
                    colour=TINTS[name],
                    symbol="diamond-open" if name == "bayes" else "circle",
                    size=12 if name in WIDTHS else 8,
                    error=drawn["error"][name],
                    shown=False,
                )
            )
    over_correlation = _curves(levels, across)
    over_correlation.append(here(values["correlation"], found.attention))
    place = np.arange(1, values["length"] + 1)
    filters = [line(place, found.weights, "H3", colour=COLOURS["h3"])]
    filters.append(line(place, np.ones(place.size), "attention", colour=COLOURS["attention"], dash="dash"))
    remark = f"Simulations take {PROMPTS} prompts; bars are standard errors."
    if found.multiplier is not None:
        remark += f" An example here is worth {found.multiplier.exact:.3g} independent ones."
    return Answer(
        {
            "length": figure(
                over_length,
                "examples n",
                "risk",
                xaxis={"type": "log", "tickvals": [1, 2, 5, 10, 20, 50]},
                yaxis={"rangemode": "tozero"},
            ),
            "correlation": figure(over_correlation, "correlation", "risk", yaxis={"rangemode": "tozero"}),
            "filters": figure(filters, "position", "weight of the example"),
        },
        rows,
        remark,
    )


def _curves(x: list[Any], found: list[InContextPrediction]) -> list[dict[str, Any]]:
    return [
        line(
            x,
            [getattr(one, name) for one in found],
            LABELS[name],
            colour=TINTS[name],
            dash=DASHES[name],
            width=WIDTHS.get(name, 2),
        )
        for name in PREDICTORS
        if getattr(found[0], name) is not None
    ]


IN_CONTEXT = Tab(
    name="in_context",
    title="In-context regression",
    about="A prompt shows n examples of a linear task and asks for one more label. Linear attention weighs examples alike, "
    "H3 by position: which helps when tasks drift; retrieved or aligned examples are worth more than independent ones.",
    controls=CONTROLS,
    captions={
        "length": "Least risk against the length of the prompt (dots: simulation; diamond: the posterior mean)",
        "correlation": "Least risk against the correlation",
        "filters": "Weights of the positions",
    },
    meanings={
        "zero": "expected squared error of answering zero",
        "attention": "of the best layer of linear attention: one step of preconditioned gradient descent",
        "H3": "of the best such step with one weight a position",
        "per channel": "with one weight a position and channel, where tasks drift",
    },
    model=model,
    python=python,
    simulate=simulate,
    answer=answer,
)
