"""Traces and layouts as plotly's plain dictionaries: thousands of times quicker to make than its objects."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from resolvent.plots import COLOURS, middle

__all__ = [
    "density",
    "eigenvalues",
    "figure",
    "heat",
    "here",
    "line",
    "points",
    "table_text",
    "upright",
    "wire",
]

DASHES = {"mean": "solid", "causal": "dash", "optimal": "dashdot"}
INK, PAPER, GRID = "#1f2933", "#ffffff", "#e4e7eb"
SIMULATED = COLOURS["published"]


def line(
    x: Any, y: Any, name: str, *, colour: str, dash: str = "solid", width: float = 2, shown: bool = True
) -> dict[str, Any]:
    """A curve; NaN leaves a gap."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x, dtype=float),
        "y": np.broadcast_to(np.asarray(y, dtype=float), np.shape(x)),
        "name": name,
        "line": {"color": colour, "dash": dash, "width": width},
        "showlegend": shown,
    }


def points(
    x: Any,
    y: Any,
    name: str,
    *,
    colour: str = SIMULATED,
    symbol: str = "circle",
    size: int = 8,
    error: Any = None,
    shown: bool = True,
) -> dict[str, Any]:
    """Markers, with error bars where an error is given."""
    bars = {} if error is None else {"error_y": {"type": "data", "array": np.atleast_1d(error)}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": np.atleast_1d(np.asarray(x, dtype=float)),
        "y": np.atleast_1d(np.asarray(y, dtype=float)),
        "name": name,
        "showlegend": shown,
        "marker": {
            "color": colour,
            "symbol": symbol,
            "size": size,
            "line": {"color": INK, "width": 1},
        },
        **bars,
    }


def here(x: Any, y: Any) -> dict[str, Any]:
    """The star at the parameters that are set."""
    return points(x, y, "here", colour="#ffffff", symbol="star-diamond", size=14, shown=False)


def upright(x: float, top: float, name: str, *, colour: str, dash: str = "dash") -> dict[str, Any]:
    """A vertical line from zero up, none for NaN."""
    return line([x, x], [0.0, top], name, colour=colour, dash=dash, shown=bool(np.isfinite(x)))


def density(law: Any, colour: str, log: bool = False) -> tuple[dict[str, Any], float]:
    """Density of a law over its support, and a height for the axis where the density is infinite at an end."""
    left, right = law.support[0]
    x = middle(float(left), float(right), 300)
    y = np.asarray(law.pdf(x)) * (x if log else 1)
    return line(x, y, "bulk", colour=colour), float(min(y.max(), 8 * np.median(y)))


def eigenvalues(values: Any, right: float, log: bool = False) -> list[dict[str, Any]]:
    """Histogram of the bulk, its area the share of the values in it, and the values beyond `right` one by one.

    On a logarithmic axis it is one of the logarithm, as `density` is then, so that areas stay shares.
    """
    values = np.asarray(values, dtype=float)
    inside = values[(values > 1e-9 * values.max()) & (values <= 1.02 * right)]
    beyond = values[values > 1.02 * right]
    scaled = np.log(inside) if log else inside
    counts, edges = np.histogram(scaled, bins=int(np.clip(2 * np.sqrt(inside.size), 10, 50)))
    heights = counts / np.diff(edges) / values.size
    steps = np.exp(edges) if log else edges
    outline = line(steps, [*heights, heights[-1]], "simulated", colour="#78909c", width=1)
    outline["line"]["shape"] = "hv"
    outline |= {"fill": "tozeroy", "fillcolor": "#cfd8dc"}
    out = [outline]
    if beyond.size:
        out.append(points(beyond, np.zeros(beyond.size), "simulated outlier", size=10, shown=False))
    return out


def spectrum(traces: list[dict[str, Any]], top: float, log: bool) -> dict[str, Any]:
    """The figure of a density and a histogram."""
    y = "density of the log eigenvalue" if log else "density"
    x = np.concatenate([trace["x"] for trace in traces])
    x = np.log10(x[x > 0]) if log else x[np.isfinite(x)]
    room = 0.05 * float(np.ptp(x)) if x.size else 0.0
    ends = [float(x.min()) - room, float(x.max()) + room] if room else None
    axis: dict[str, Any] = {"type": "log", "nticks": 5} if log else {}
    axis |= {"range": ends} if ends else {}
    return figure(traces, "eigenvalue", y, xaxis=axis, yaxis={"range": [-0.02 * top, 1.1 * top]})


def heat(x: Any, y: Any, z: Any, title: str) -> dict[str, Any]:
    """A map of values between zero and one."""
    return {
        "type": "heatmap",
        "x": np.asarray(x, dtype=float),
        "y": np.asarray(y, dtype=float),
        "z": np.asarray(z, dtype=float),
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 12},
        "name": title,
        "showlegend": False,
    }


def figure(
    traces: list[dict[str, Any]], x: str, y: str, *, right: int = 14, **axes: Mapping[str, Any]
) -> dict[str, Any]:
    """A figure of these traces; ``xaxis`` and ``yaxis`` add to the axes.

    Margins are fixed, as measuring them would double the time of an update in the browser.
    """
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": INK,
        "ticks": "outside",
    }
    return {
        "data": traces,
        "layout": {
            "autosize": True,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "margin": {"l": 58, "r": right, "t": 46, "b": 46, "autoexpand": False},
            "legend": {
                "orientation": "h",
                "xref": "container",
                "x": 0,
                "yref": "container",
                "y": 1,
                "yanchor": "top",
                "font": {"size": 11},
            },
            "xaxis": {**axis, "title": {"text": x}, **axes.get("xaxis", {})},
            "yaxis": {**axis, "title": {"text": y}, **axes.get("yaxis", {})},
            "bargap": 0,
            "hovermode": "closest",
        },
    }


def wire(drawn: dict[str, Any]) -> dict[str, Any]:
    """A figure as it is sent: lists with null for NaN, and maps in plotly's binary form, which is quicker."""
    return {"data": [_sent(trace) for trace in drawn["data"]], "layout": drawn["layout"]}


def _sent(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sent(part) for key, part in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 2:
        raw = base64.b64encode(np.ascontiguousarray(value, dtype="<f8").tobytes()).decode()
        return {"dtype": "f8", "bdata": raw, "shape": f"{value.shape[0]}, {value.shape[1]}"}
    if isinstance(value, np.ndarray):
        return [v if np.isfinite(v) else None for v in value.tolist()]
    return value


def table_text(figures: Mapping[str, dict[str, Any]]) -> str:
    """All curves, points, bars and maps as one table, comma-separated, one row a point.

    The names are those of the axes; all quantities are without unit.

    Examples
    --------
    >>> print(table_text({"a": figure([line([1, 2], [3, 4], "theory", colour="k")], "signal", "risk")}))
    figure,curve,x_name,x,y_name,y,z_name,z
    a,theory,signal,1.0,risk,3.0,,
    a,theory,signal,2.0,risk,4.0,,
    <BLANKLINE>
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["figure", "curve", "x_name", "x", "y_name", "y", "z_name", "z"])
    for name, drawn in figures.items():
        over, up = (drawn["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
        for trace in drawn["data"]:
            x, y = trace["x"].tolist(), trace["y"].tolist()
            if "z" in trace:
                rows = [
                    (over, b, up, a, trace["name"], v)
                    for a, row in zip(y, trace["z"].tolist())
                    for b, v in zip(x, row)
                ]
            else:
                rows = [(over, a, up, b, "", "") for a, b in zip(x, y)]
            writer.writerows([name, trace["name"], *row] for row in rows)
    return out.getvalue()
