"""The tab of sparse-token classification: errors of the read-outs and the query after two gradient steps."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
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
SIZES = {
    "square": 15,
    "logistic": 5,
}  # the logistic read-out has no closed form: seconds a curve, not milliseconds

CONTROLS = (
    Control("length", "tokens L", 10, 2, 30, 1),
    Control("informative", "of them informative R", 1, 1, 29, 1, upto=("length", 1)),
    Control("signal", "signal θ", 5.0, 0.5, 10.0, 0.1),
    Control("rarity", "share π of samples with a signal", 0.5, 0.05, 0.95, 0.01),
    Control("alpha_query", "α₀ = n₀/d, samples of the query", 4.0, 0.2, 8.0, 0.1),
    Control("alpha_readout", "α₁ = n₁/d, samples of the read-out", 4.0, 0.2, 8.0, 0.1),
    Control("inverse_temperature", "inverse temperature β", 2.0, 0.1, 6.0, 0.1),
    Control("loss", "loss (curves of logistic take seconds)", "square", choices=tuple(LOSSES)),
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


@lru_cache(maxsize=32)
def _point(arguments: tuple[tuple[str, Any], ...]) -> Any:
    """The prediction at the point: the numbers, and again the curves that come after them."""
    return SparseTokenClassification(**dict(arguments)).predict()


@lru_cache(maxsize=32)
def _along(arguments: tuple[tuple[str, Any], ...]) -> Any:
    """Ratios and predictions along the samples of the read-out, kept while only these move."""
    made = SparseTokenClassification(**dict(arguments))
    grid = np.geomspace(0.2, 8, SIZES[made.loss])
    sizes = sorted({max(round(alpha * made.dimension), 2) for alpha in grid})
    several = replace(made, samples_readout=tuple(sizes))
    return np.asarray(several.alpha_readout), several.predict()


def quick(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Numbers of these values and the query: what takes one prediction."""
    made = model(values)
    d = made.dimension
    found = _point(tuple(_arguments(values).items()))
    query_alpha = np.array([max(round(a * d), 2) / d for a in np.linspace(0.2, 8, 14)])
    options: dict[str, Any] = {"inverse_temperature": made.inverse_temperature, "loss": made.loss}
    steps = [two_steps(made.tokens, a, steps=made.steps, **options) for a in query_alpha]
    rows = [
        Row("query alignment", float(found.query.alignment), drawn["alignment"] if drawn else None),
        Row("query kappa", float(found.query.kappa), drawn["kappa"] if drawn else None),
        *(
            Row(f"{name} error", float(getattr(found, name).error), drawn[name] if drawn else None)
            for name in CLASSIFIERS
        ),
    ]
    first = [s.first_alignment for s in steps]
    query = [
        line(query_alpha, [s.alignment for s in steps], "query", colour=COLOURS["attention"]),
        line(query_alpha, first, "read-out", colour=COLOURS["pooled"], dash="dash"),
        here(made.alpha_query, found.query.alignment),
    ]
    if drawn:
        query += [
            _dot(made.alpha_query, drawn["alignment"], "query", COLOURS["attention"]),
            _dot(made.alpha_query, drawn["first_alignment"], "read-out", COLOURS["pooled"]),
        ]
    return Answer(
        {"query": figure(query, "α₀ = n₀/d", "cosine with the signal", yaxis={"range": [-0.03, 1.03]})},
        rows,
        f"d = {d}, n₀ = {made.samples_query}, n₁ = {made.samples_readout}; step sizes one, λ = {made.regularisation:g}.",
    )


def answer(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Figures and numbers of these values."""
    made, given = model(values), _arguments(values)
    found = _point(tuple(given.items()))
    # of the samples of the read-out the curves keep no more than that there are some
    alpha, along = _along(tuple({**given, "samples_readout": 2}.items()))
    star = float(made.alpha_readout)
    at = int(np.searchsorted(alpha, star))
    new = at == alpha.size or alpha[at] != star  # the curves pass through the star
    x = np.insert(alpha, at, star) if new else alpha

    def curves(what: str) -> list[dict[str, Any]]:
        out = []
        for name in CLASSIFIERS:
            y = getattr(getattr(along, name), what)
            y = np.insert(y, at, getattr(getattr(found, name), what)) if new else y
            out.append(line(x, y, name, colour=COLOURS[name], dash=DASHES[name]))
        return out

    errors, losses = curves("error"), curves("loss")
    guess = min(made.rarity, 1 - made.rarity)
    errors.append(line(x, np.full(x.size, guess), "majority", colour=COLOURS["grey"], dash="dot"))
    errors.append(here(star, found.attention.error))
    if drawn:
        for name in CLASSIFIERS:
            errors.append(_dot(star, drawn[name], name, COLOURS[name]))
            losses.append(_dot(star, drawn["loss"][name], name, COLOURS[name]))
    over = "α₁ = n₁/d"
    figures = {
        "errors": figure(errors, over, "test error", xaxis=RATIOS, yaxis={"rangemode": "tozero"}),
        "losses": figure(losses, over, "training loss", xaxis=RATIOS, yaxis={"rangemode": "tozero"}),
    }
    short = quick(values, drawn)
    return replace(short, figures={**figures, **short.figures})


def _dot(x: Any, y: Any, name: str, colour: str) -> dict[str, Any]:
    return points(x, y, f"simulated {name}", colour=colour, size=10, shown=False)


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
    meanings={
        "query alignment": "cosine of the query with the signal after the two steps",
        "query kappa": "inverse temperature times the norm of the query: how sharp attention is",
        "attention error": "test error of the read-out behind attention with that query",
        "pooled error": "of the read-out on the mean of the tokens",
        "vectorised error": "of the read-out on all tokens side by side, which has L times the weights",
    },
    model=model,
    python=python,
    simulate=simulate,
    answer=answer,
    quick=quick,
    later=("errors", "losses"),
)
