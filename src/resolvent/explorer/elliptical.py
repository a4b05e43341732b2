"""The tab of elliptical pooling: signal-to-noise ratio, overlap and edge of softmax pooling in a metric."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from resolvent.explorer.figures import eigenvalues, figure, here, line, points, spectrum, upright
from resolvent.explorer.state import Answer, Control, Row, Tab
from resolvent.models.elliptical import METRICS, QUERIES, EllipticalPooling, EllipticalPrediction
from resolvent.plots import COLOURS

__all__ = ["ELLIPTICAL"]

COUNT = 7  # temperatures of a curve, from zero to where weights condense: each takes tens of milliseconds

CONTROLS = (
    Control("dimension", "dimension d", 100, 20, 150, 5),
    Control("length", "tokens L", 64, 2, 100, 1),
    Control("gamma", "sample ratio γ = d/N", 0.25, 0.2, 3.0, 0.01),
    Control("signal", "signal θ", 1.5, 0.0, 4.0, 0.05),
    Control("agreement", "share p of tokens with the label's sign", 0.6, 0.05, 0.95, 0.01),
    Control("metric", "metric", "stretched", choices=("stretched", *METRICS)),
    Control("across", "b: stretched metric off the signal (a = 1)", 0.1, 0.0, 1.0, 0.01),
    Control("query", "query token", "random", choices=QUERIES),
    Control("inverse_temperature", "inverse temperature β", 0.2, 0.0, 1.0, 0.005),
    Control("seed", "seed of the simulation", 0, 0, 2**31 - 1, 1, slider=False),
)


def _arguments(values: dict[str, Any]) -> dict[str, Any]:
    stretched = values["metric"] == "stretched"
    return {
        "dimension": values["dimension"],
        "length": values["length"],
        "samples": max(round(values["dimension"] / values["gamma"]), 2),
        "signal": values["signal"],
        "agreement": values["agreement"],
        "metric": (1.0, values["across"]) if stretched else values["metric"],
        "inverse_temperature": values["inverse_temperature"],
        "query": values["query"],
    }


def model(values: dict[str, Any]) -> EllipticalPooling:
    """The model of these values."""
    return EllipticalPooling(**_arguments(values))


def python(values: dict[str, Any]) -> str:
    """The program of these values."""
    given = "\n".join(f"    {name}={value!r}," for name, value in _arguments(values).items())
    return "\n".join(
        [
            "from resolvent import EllipticalPooling",
            "",
            "model = EllipticalPooling(",
            given,
            ")",
            "prediction = model.predict()",
            f"draw = model.simulate(seed={values['seed']})",
            'for name in ("snr", "edge", "outlier", "overlap", "label_correlation"):',
            '    print(name, getattr(prediction, name), "simulated", getattr(draw, name, None))',
            "",
        ]
    )


def simulate(values: dict[str, Any]) -> dict[str, Any]:
    """One draw."""
    draw = model(values).simulate(values["seed"])
    return {
        "eigenvalues": draw.eigenvalues.tolist(),
        **{name: getattr(draw, name) for name in ("alpha", "snr", "outlier", "overlap", "label_correlation")},
    }


def _predict(made: EllipticalPooling) -> EllipticalPrediction:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # condensed: the page says so itself
        return made.predict()


@lru_cache(maxsize=32)
def _along(arguments: tuple[tuple[str, Any], ...]) -> tuple[np.ndarray, list[EllipticalPrediction]]:
    """Predictions from β = 0 to where weights condense, kept while only β moves."""
    made = EllipticalPooling(**dict(arguments))
    load = _predict(replace(made, inverse_temperature=1e-3)).load * 1e6  # it goes with the square
    largest = float(np.sqrt(0.999 * np.log(made.length) / 4 / load)) if load > 0 else 1.0
    betas = np.linspace(0, min(largest, 1.0), COUNT)
    return betas, [_predict(replace(made, inverse_temperature=float(beta))) for beta in betas]


def quick(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Numbers of these values and the spectrum: what takes one prediction."""
    made = model(values)
    found = _predict(made)
    rows = [
        Row(name, float(getattr(found, name)), drawn.get(name) if drawn else None)
        for name in ("alpha", "snr", "edge", "outlier", "overlap", "label_correlation")
    ]
    remark = f"N = {made.samples}. Curves end at the β beyond which few tokens hold the weight."
    if found.condensed:
        remark = (
            f"N = {made.samples}. The weights condense on few tokens at this β: moments stay exact, edge, outlier and "
            "overlap are not given."
        )
    return Answer({"spectrum": _spectrum(found, drawn)}, rows, remark)


def answer(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Figures and numbers of these values."""
    found = _predict(model(values))
    beta = values["inverse_temperature"]
    given = {**_arguments(values), "inverse_temperature": 0.0}
    betas, along = _along(tuple(given.items()))
    if not found.condensed and beta not in betas:  # it is known already: the curves pass through the star
        at = int(np.searchsorted(betas, beta))
        betas, along = np.insert(betas, at, beta), [*along[:at], found, *along[at:]]
    blue = COLOURS["mean"]
    snr = [
        _curve(betas, [one.snr for one in along], "at this L", colour=blue),
        _curve(betas, [one.limit[2] for one in along], "L → ∞", colour=COLOURS["h3"], dash="dash"),
    ]
    overlap = [_curve(betas, [one.overlap for one in along], "theory", colour=blue)]
    if drawn:
        snr.append(points(beta, drawn["snr"], "simulated"))
        overlap.append(points(beta, drawn["overlap"], "simulated"))
    snr.append(here(beta, found.snr))
    overlap.append(here(beta, found.overlap))
    x = "inverse temperature β"
    curves = {
        "snr": figure(snr, x, "signal-to-noise ratio", yaxis={"rangemode": "tozero"}),
        "overlap": figure(overlap, x, "squared overlap", yaxis={"range": [-0.03, 1.03]}),
    }
    short = quick(values, drawn)
    return replace(short, figures={**curves, **short.figures})


def _curve(x: Any, y: Any, name: str, **style: Any) -> dict[str, Any]:
    """Few exact values, marked, and a smooth line through them."""
    one = line(x, y, name, **style)
    marker = {"size": 5, "color": style["colour"]}
    return {**one, "mode": "lines+markers", "marker": marker, "line": {**one["line"], "shape": "spline"}}


def _spectrum(found: EllipticalPrediction, drawn: dict[str, Any] | None) -> dict[str, Any]:
    traces, top = [], 1.0
    log = bool(found.outlier > 5 * found.edge)
    if drawn:
        values = np.asarray(drawn["eigenvalues"])
        traces = eigenvalues(values, found.edge if np.isfinite(found.edge) else float(values[0]), log)
        top = float(traces[0]["y"].max())
    traces.append(upright(found.edge, top, "edge", colour=COLOURS["grey"], dash="dot"))
    traces.append(upright(found.outlier, top, "outlier", colour=COLOURS["optimal"]))
    return spectrum(traces, top, log)


ELLIPTICAL = Tab(
    name="elliptical",
    title="Elliptical pooling",
    about="Tokens of two classes are pooled by softmax weights of a query in a Mahalanobis metric: a metric stretched along "
    "the signal lets the weights find it.",
    controls=CONTROLS,
    captions={
        "snr": "Signal-to-noise ratio against the inverse temperature (exact at the marks)",
        "overlap": "Alignment of the leading eigenvector with the signal (exact at the marks)",
        "spectrum": "Edge and outlier; eigenvalues where there is a simulation",
    },
    meanings={
        "alpha": "mean square of the weights summed with the signs of their tokens: the pooled signal",
        "snr": "signal-to-noise ratio of the pooled tokens",
        "edge": "right edge of the bulk of noise",
        "outlier": "the eigenvalue beyond it",
        "overlap": "squared cosine of its eigenvector with the signal",
        "label_correlation": "correlation of the pooled vector, along the signal, with the label",
    },
    model=model,
    python=python,
    simulate=simulate,
    answer=answer,
    quick=quick,
    later=("snr", "overlap"),
)
