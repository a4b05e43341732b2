"""The tab of pooled sequences: bulk, outlier, alignment, threshold and phase diagram of `PooledSequences`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resolvent import spikes, weights
from resolvent.explorer.figures import (
    DASHES,
    density,
    eigenvalues,
    figure,
    heat,
    here,
    line,
    points,
    spectrum,
    upright,
)
from resolvent.explorer.state import Answer, Control, Row, Tab
from resolvent.models.pooled import NAMED_WEIGHTS, PooledSequences
from resolvent.plots import COLOURS
from resolvent.positions import Prefix, SingleFactor

__all__ = ["POOLED"]

# the page shows the limit of long sequences throughout: the theory of short ones is too slow for a slider
LIMIT = "infinite length"
SIGNALS = np.linspace(0, 3, 121)
DELTAS = np.geomspace(0.05, 4, 61)
GAMMAS = np.geomspace(0.05, 4, 61)

CONTROLS = (
    Control("delta", "vocabulary ratio δ = d/V", 0.5, 0.05, 4.0, 0.01),
    Control("gamma", "sample ratio γ = d/N", 0.33, 0.05, 4.0, 0.01),
    Control("signal", "signal ‖μ‖", 0.8, 0.0, 3.0, 0.01),
    Control("length", "sequence length T", 50, 1, 200, 1),
    Control("informative", "R: first r positions informative", 10, 0, 200, 1, upto=("length", 0)),
    Control("loading", "R: their correlation with the label", 1.0, 0.0, 1.0, 0.01),
    Control("weights", "weights", "mean", choices=NAMED_WEIGHTS),
    Control("depth", "depth of causal weights", 1, 1, 8, 1),
    Control("table", "table convention", "mixture", choices=spikes.TABLES),
    Control("dimension", "dimension d of the simulation", 300, 50, 400, 10),
    Control("seed", "seed of the simulation", 0, 0, 2**31 - 1, 1, slider=False),
)


def _sizes(values: dict[str, Any]) -> tuple[int, int, int]:
    """d, V (even) and N nearest to the wanted ratios."""
    d = values["dimension"]
    return d, 2 * max(round(d / values["delta"] / 2), 1), max(round(d / values["gamma"]), 2)


def _weights(values: dict[str, Any], name: str) -> Any:
    return weights.causal(values["length"], values["depth"]) if name == "causal" else name


def model(values: dict[str, Any]) -> PooledSequences:
    """The model of these values; its ratios are those of whole sizes."""
    T, r, c = values["length"], values["informative"], values["loading"]
    positions = Prefix(T, r)
    if c != 1:
        positions = SingleFactor(c * (np.arange(T) < r))
    return PooledSequences(
        *_sizes(values),
        positions,
        _weights(values, values["weights"]),
        values["signal"],
        table=values["table"],
    )


def python(values: dict[str, Any]) -> str:
    """The program of these values."""
    T, r, c = values["length"], values["informative"], values["loading"]
    d, V, N = _sizes(values)
    where = f"Prefix({T}, {r})" if c == 1 else f"SingleFactor({c!r} * (np.arange({T}) < {r}))"
    w = (
        f"weights.causal({T}, {values['depth']})"
        if values["weights"] == "causal"
        else repr(values["weights"])
    )
    names = ["PooledSequences", "Prefix" if c == 1 else "SingleFactor"]
    names += ["weights"] if values["weights"] == "causal" else []
    return "\n".join(
        (["import numpy as np", ""] if c != 1 else [])
        + [
            f"from resolvent import {', '.join(names)}",
            "",
            "model = PooledSequences(",
            f"    dimension={d}, vocabulary={V}, samples={N},",
            f"    positions={where}, weights={w}, signal={values['signal']!r}, table={values['table']!r},",
            ")",
            'prediction = model.predict(theory="infinite length")',
            'print("outlier", prediction.outlier, "overlap", prediction.overlap)',
            f"draw = model.simulate(seed={values['seed']})",
            'print("simulated", draw.top_eigenvalue, draw.overlap)',
            "",
        ]
    )


def simulate(values: dict[str, Any]) -> dict[str, Any]:
    """One draw at the point, and the same draw along the signal."""
    made, seed = model(values), values["seed"]
    draw = made.simulate(seed)
    sweep = made.sweep(SIGNALS[::10], [seed], jobs=1)
    return {
        "eigenvalues": draw.eigenvalues.tolist(),
        "top_eigenvalue": draw.top_eigenvalue,
        "second_eigenvalue": draw.second_eigenvalue,
        "overlap": draw.overlap,
        "along": {
            name: sweep[name].values[:, 0].tolist()
            for name in ("top_eigenvalue", "second_eigenvalue", "overlap")
        },
    }


def answer(values: dict[str, Any], drawn: dict[str, Any] | None = None) -> Answer:
    """Figures and numbers of these values."""
    made = model(values)
    found = made.predict(theory=LIMIT)
    curves = {
        name: replace(made, weights=_weights(values, name), signal=SIGNALS).predict(theory=LIMIT)
        for name in NAMED_WEIGHTS
        if name != values["weights"]
    }
    curves[values["weights"]] = replace(made, signal=SIGNALS).predict(theory=LIMIT)
    rows = [
        Row(name, float(getattr(found, name)), drawn.get(name) if drawn else None)
        for name in (
            *("snr", "q", "threshold", "critical_signal", "edge", "outlier"),
            *("top_eigenvalue", "second_eigenvalue", "overlap"),
        )
    ]
    d, V, N = _sizes(values)
    remark = f"Whole sizes: d = {d}, V = {V}, N = {N}, hence δ = {made.delta:.5g}, γ = {made.gamma:.5g}."
    return Answer(
        {
            "spectrum": _spectrum(found, drawn),
            "outlier": _outlier(values, curves[values["weights"]], found, drawn),
            "alignment": _alignment(values, curves, found, drawn),
            "threshold": _threshold(values, made, curves, found),
            "phase": _phase(values, made, found),
        },
        rows,
        remark,
    )


def _spectrum(found: Any, drawn: dict[str, Any] | None) -> dict[str, Any]:
    log = bool(found.top_eigenvalue > 5 * found.edge)
    curve, top = density(found.bulk, COLOURS["mean"], log)
    traces = eigenvalues(drawn["eigenvalues"], float(found.edge), log) if drawn else []
    if drawn:
        top = max(top, float(min(traces[0]["y"].max(), 3 * top)))
    if np.isfinite(found.outlier):
        traces.append(upright(float(found.outlier), top, "outlier", colour=COLOURS["optimal"]))
    return spectrum([*traces, curve], top, log)


def _outlier(values: dict[str, Any], curve: Any, found: Any, drawn: dict[str, Any] | None) -> dict[str, Any]:
    blue, grey = COLOURS["mean"], COLOURS["grey"]
    traces = [
        line(SIGNALS, curve.top_eigenvalue, "largest", colour=blue),
        line(SIGNALS, curve.second_eigenvalue, "second", colour=grey, dash="dash"),
    ]
    if drawn:
        along = drawn["along"]
        traces += [
            points(SIGNALS[::10], along["top_eigenvalue"], "simulated", size=7),
            points(
                SIGNALS[::10],
                along["second_eigenvalue"],
                "simulated second",
                symbol="square-open",
                size=7,
                shown=False,
            ),
        ]
    traces.append(here(values["signal"], found.top_eigenvalue))
    return figure(traces, "signal ‖μ‖", "eigenvalue")


def _alignment(
    values: dict[str, Any], curves: dict[str, Any], found: Any, drawn: dict[str, Any] | None
) -> dict[str, Any]:
    traces = [
        line(
            SIGNALS,
            curves[name].overlap,
            f"{name} {float(curves[name].snr):.3g}",
            colour=COLOURS[name],
            dash=DASHES[name],
            width=4 if name == values["weights"] else 1.5,
        )
        for name in NAMED_WEIGHTS
    ]
    if drawn:
        traces.append(points(SIGNALS[::10], drawn["along"]["overlap"], "simulated", size=7))
    traces.append(here(values["signal"], found.overlap))
    return figure(traces, "signal ‖μ‖", "squared overlap with the signal", yaxis={"range": [-0.03, 1.03]})


def _threshold(
    values: dict[str, Any], made: PooledSequences, curves: dict[str, Any], found: Any
) -> dict[str, Any]:
    traces = [
        line(
            GAMMAS,
            spikes.critical_signal(curves[name].snr, made.delta, GAMMAS, values["table"]),
            name,
            colour=COLOURS[name],
            dash=DASHES[name],
            width=4 if name == values["weights"] else 1.5,
        )
        for name in NAMED_WEIGHTS
    ]
    traces.append(here(made.gamma, values["signal"]))
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 4]
    return figure(traces, "γ = d/N", "smallest signal that shows", xaxis={"type": "log", "tickvals": ticks})


def _phase(values: dict[str, Any], made: PooledSequences, found: Any) -> dict[str, Any]:
    grid = spikes.alignment(SIGNALS, found.snr, DELTAS[:, None], made.gamma, values["table"])
    boundary = spikes.critical_signal(found.snr, DELTAS, made.gamma, values["table"])
    traces = [
        heat(SIGNALS, DELTAS, grid, "squared overlap"),
        line(
            np.where(boundary <= SIGNALS[-1], boundary, np.nan),
            DELTAS,
            "phase boundary",
            colour="#ffffff",
            dash="dash",
            shown=False,
        ),
        here(values["signal"], made.delta),
    ]
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 4]
    return figure(
        traces,
        "signal ‖μ‖",
        "δ = d/V",
        right=84,
        xaxis={"range": [0, 3], "showgrid": False},
        yaxis={
            "type": "log",
            "tickvals": ticks,
            "range": [float(np.log10(0.05)), float(np.log10(4))],
            "showgrid": False,
        },
    )


POOLED = Tab(
    name="pooled",
    title="Pooled sequences",
    about="T tokens of a two-class table are pooled by weights; N pooled vectors in d dimensions are observed. Does the "
    "leading eigenvector of their covariance see the signal?",
    controls=CONTROLS,
    captions={
        "spectrum": "Eigenvalues of the sample covariance: bulk and outlier",
        "outlier": "The two largest eigenvalues against the signal",
        "alignment": "Alignment of the leading eigenvector; beside the weights, their snr",
        "threshold": "Threshold: the smallest signal that shows, against γ",
        "phase": "Phase diagram: alignment over signal and δ, boundary dashed. A click moves the point, as do the sliders of signal and δ",
    },
    meanings={
        "snr": "pooled signal over pooled noise: all that the weights decide",
        "q": "strength of the spike that signal and class means make",
        "threshold": "what q must exceed for an outlier",
        "critical_signal": "the signal from which on there is one",
        "edge": "right edge of the bulk of noise",
        "outlier": "the eigenvalue beyond it",
        "top_eigenvalue": "the largest eigenvalue: outlier or edge",
        "second_eigenvalue": "the next one",
        "overlap": "squared cosine of the leading eigenvector with the signal",
    },
    model=model,
    python=python,
    simulate=simulate,
    answer=answer,
)
