"""The page's parts, made of Dash's components: one panel a tab, each with controls, numbers, figures and exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dash import dcc, html

from resolvent import __version__
from resolvent.explorer.state import Answer, Control, Row, Tab
from resolvent.explorer.tabs import TABS

__all__ = ["View", "page", "panel", "table"]

START = (
    "Theory answers while a slider moves; the star marks the parameters. Simulate lays one finite draw, of the seed shown, "
    "over the theory. The address holds the state: share it."
)


@dataclass(frozen=True)
class View:
    """What a tab shows; without figures where the values were refused."""

    figures: dict[str, Any] | None = None
    numbers: Any = None
    python: str = ""
    query: str | None = None
    refused: str = ""
    status: str = ""


def page() -> Any:
    """The whole page."""
    first = next(iter(TABS))
    return html.Div(
        [
            html.A("Skip to the model", href="#main", className="skip"),
            dcc.Location(id="location", refresh=False),
            dcc.Store(id="address"),
            dcc.Store(id="shown"),
            html.P(id="unreachable", className="refused", role="alert"),
            html.Header([html.H1("resolvent explorer"), html.P(START), _tab_bar(first)]),
            html.Main(
                [
                    html.P(id="address-refused", className="refused", role="alert"),
                    *(
                        html.Section(
                            id=f"{name}-panel",
                            role="tabpanel",
                            hidden=name != first,
                            **_aria(labelledby=f"{name}-tab"),
                        )
                        for name in TABS
                    ),
                ],
                id="main",
            ),
            html.Footer(f"resolvent {__version__}. Exact formulas; docs/theory has their derivations."),
        ],
        className="page",
    )


def _aria(**texts: str) -> Any:
    return {f"aria-{name}": text for name, text in texts.items()}


def _tab_bar(first: str) -> Any:
    return html.Div(
        [
            html.Button(
                tab.title,
                id=f"{tab.name}-tab",
                type="button",
                role="tab",
                className="model chosen" if tab.name == first else "model",
                **_aria(controls=f"{tab.name}-panel", selected=str(tab.name == first).lower()),
            )
            for tab in TABS.values()
        ],
        className="models",
        role="tablist",
        **_aria(label="Models"),
    )


def panel(tab: Tab, texts: dict[str, Any], view: View) -> list[Any]:
    """A model's panel: its controls at these texts, and what they give."""
    name, figures = tab.name, view.figures or {}
    return [
        html.P(tab.about, className="about"),
        html.Div(
            [
                html.Div(
                    [
                        html.Div(
                            [_control(name, control, str(texts[control.name])) for control in tab.controls],
                            className="controls",
                            role="group",
                            **_aria(label="Parameters"),
                        ),
                        html.Div(
                            [
                                _button(f"{name}-simulate", "Simulate", "main"),
                                _button(f"{name}-csv", "Download data (CSV)"),
                                _button(f"{name}-link", "Copy link"),
                            ],
                            className="buttons",
                        ),
                        html.P(view.refused, id=f"{name}-refused", className="refused", role="alert"),
                        html.P(view.status, id=f"{name}-status", className="status", role="status"),
                        html.Div(view.numbers, id=f"{name}-numbers", className="numbers"),
                        html.Details(
                            [
                                html.Summary("What the numbers are"),
                                html.Dl(
                                    [
                                        part
                                        for row, text in tab.meanings.items()
                                        for part in (html.Dt(row.replace("_", " ")), html.Dd(text))
                                    ]
                                ),
                            ],
                        ),
                        html.Details(
                            [
                                html.Summary("The same in Python"),
                                _button(f"{name}-copy", "Copy as Python"),
                                html.Pre(view.python, id=f"{name}-python", tabIndex=0),
                            ],
                            open=True,
                        ),
                    ],
                    className="side",
                ),
                html.Div(
                    [_figure(f"{name}-{key}", text, figures.get(key)) for key, text in tab.captions.items()],
                    className="figures",
                    id=f"{name}-figures",
                ),
            ],
            className="columns",
        ),
        *(dcc.Store(id=f"{name}-{kind}") for kind in ("drawn", "clicked")),
        dcc.Store(id=f"{name}-state", data=view.query),
        dcc.Download(id=f"{name}-download"),
    ]


def _control(tab: str, control: Control, text: str) -> Any:
    key = f"{tab}-{control.name}"
    if control.choices:
        choice = dcc.RadioItems(id=key, options=list(control.choices), value=text, inline=True)
        return html.Fieldset([html.Legend(control.label), choice], className="control")
    box = dcc.Input(id=key, type="text", inputMode="numeric", value=text, debounce=True, className="box")
    if not control.slider:
        return html.Div(
            [html.Label(control.label, htmlFor=key), html.Div(box, className="pair")], className="control"
        )
    slider = dcc.Input(
        id=f"{key}-slider",
        type="range",
        min=control.least,
        max=control.most,
        step=control.step,
        value=text,
        debounce=False,
        className="slider",
    )
    return html.Div(
        [
            html.Label(control.label, htmlFor=f"{key}-slider"),
            html.Label(f"{control.label}, typed", htmlFor=key, className="hidden"),
            html.Div([slider, box], className="pair"),
        ],
        className="control",
    )


def _figure(name: str, caption: str, drawn: dict[str, Any] | None) -> Any:
    return html.Figure(
        [
            html.Figcaption(caption),
            html.Div(
                dcc.Graph(
                    id=f"{name}-figure",
                    responsive=True,
                    figure=drawn or {"data": [], "layout": {}},
                    config={"displaylogo": False, "displayModeBar": False, "scrollZoom": False},
                    style={"height": "100%"},
                ),
                className="graph",
            ),
            html.Div([_button(f"{name}-png", "PNG"), _button(f"{name}-svg", "SVG")], className="exports"),
        ],
    )


def _button(key: str, text: str, kind: str = "plain") -> Any:
    return html.Button(text, id=key, type="button", className=kind, n_clicks=0)


def table(answer: Answer) -> Any:
    """Numbers of an answer, theory beside simulation."""
    drawn = any(row.simulation is not None for row in answer.rows)
    head = ["quantity", "theory"] + ["simulation"] * drawn
    return [
        html.Table(
            [
                html.Thead(html.Tr([html.Th(text, scope="col") for text in head])),
                html.Tbody([_row(row, drawn) for row in answer.rows]),
            ]
        ),
        html.P(answer.remark, className="remark"),
    ]


def _row(row: Row, drawn: bool) -> Any:
    cells = [html.Td(_text(row.theory), title=repr(row.theory))]
    if drawn:
        value = row.simulation
        cells.append(
            html.Td("" if value is None else _text(value), title="" if value is None else repr(value))
        )
    return html.Tr([html.Th(row.name.replace("_", " "), scope="row"), *cells])


def _text(value: float) -> str:
    return "none" if value != value else f"{value:.5g}"
