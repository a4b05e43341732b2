"""The explorer as a Dash app: Dash because its callbacks are pure functions of the page's state and all it serves is local.

Number boxes hold the state as text: sliders and a click write into them (in the browser), and one callback a tab turns
them into figures. What cannot be read, and what the library refuses, becomes a message on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.exceptions import PreventUpdate

from resolvent.explorer.figures import table_text, wire
from resolvent.explorer.layout import View, page, panel, table
from resolvent.explorer.state import Tab, from_query, read, to_query
from resolvent.explorer.tabs import TABS

__all__ = ["create_app", "view"]

REFUSED = (ValueError, RuntimeError, np.linalg.LinAlgError, FloatingPointError)
KEPT = "The figures show the last accepted values."


def create_app() -> Dash:
    """Return the app; ``create_app().server`` is its WSGI application.

    Nothing is loaded from elsewhere.

    Examples
    --------
    >>> create_app().server.test_client().get("/").status_code
    200
    """
    app = Dash(
        "resolvent.explorer",
        serve_locally=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        title="resolvent explorer",
        update_title="",
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    app.layout = page()
    # panels are made when they are first shown: only their names are known before
    panels: list[Any] = [html.Div(panel(tab, tab.defaults(), View())) for tab in TABS.values()]
    setattr(app, "validation_layout", html.Div([page(), *panels]))  # noqa: B010 (declared as None)
    _address(app)
    for tab in TABS.values():
        _follow(app, tab)
        _live(app, tab)
        _draw(app, tab)
        _exports(app, tab)
    return app


def view(
    tab: Tab, texts: dict[str, Any], drawn: dict[str, Any] | None = None, *, quick: bool = False
) -> View:
    """What a tab shows of what was typed, with a simulation if it is of the same values.

    The quick view leaves out the figures that come later.

    Examples
    --------
    >>> view(TABS["pooled"], {"delta": "-1"}).refused
    'delta must be between 0.05 and 4 in the explorer, got -1.0'
    """
    answered = tab.quick if quick and tab.quick else tab.answer
    try:
        values = read(tab.controls, texts)
        query = to_query(tab.name, values)
        fits = drawn is not None and drawn.get("query") == query
        answer = answered(values, drawn.get("found") if drawn and fits else None)
    except REFUSED as error:
        return View(refused=str(error))
    refused = drawn.get("refused", "") if drawn and fits else ""
    status = f"Simulation: one draw, seed {values['seed']}." if fits and not refused else ""
    if drawn and not fits:
        status = "The simulation was of other values and is hidden: simulate again."
    return View(
        figures={key: wire(drawn_figure) for key, drawn_figure in answer.figures.items()},
        numbers=table(answer),
        python=tab.python(values),
        query=query,
        refused=refused,
        status=status,
    )


def _in_browser(app: Dash, function: str, *parts: Any, **options: Any) -> None:
    app.clientside_callback(ClientsideFunction("explorer", function), *parts, **options)


def _address(app: Dash) -> None:
    """The address sets the page once; then the page sets the address."""

    @app.callback(
        Output("address", "data"), Output("address-refused", "children"), Input("location", "search")
    )
    def opened(search: str | None) -> tuple[dict[str, Any], str]:
        name, texts, refused = from_query(search or "", TABS)
        return {"tab": name, "texts": texts}, "\n".join(refused)

    buttons = [Input(f"{name}-tab", "n_clicks") for name in TABS]
    _in_browser(app, "choose", Output("shown", "data"), Input("address", "data"), *buttons)
    _in_browser(
        app,
        "show",
        *(Output(f"{name}-panel", "hidden") for name in TABS),
        *(Output(f"{name}-tab", "className") for name in TABS),
        *(Output(f"{name}-tab", "aria-selected") for name in TABS),
        Input("shown", "data"),
    )
    for tab in TABS.values():
        _open(app, tab)
        _in_browser(app, "remember", Output(f"{tab.name}-link", "title"), Input(f"{tab.name}-state", "data"))


def _open(app: Dash, tab: Tab) -> None:
    """Make a panel when it is first shown."""
    key = f"{tab.name}-panel"

    @app.callback(
        Output(key, "children"), Input("shown", "data"), State("address", "data"), State(key, "children")
    )
    def fill(shown: str | None, address: dict[str, Any] | None, there: Any) -> Any:
        if shown != tab.name or there or address is None:
            raise PreventUpdate
        texts = {**tab.defaults(), **(address["texts"] if address["tab"] == tab.name else {})}
        return panel(tab, texts, view(tab, texts))


def _follow(app: Dash, tab: Tab) -> None:
    """Box and slider follow each other, and a click on the phase diagram."""
    clicks = "phase" in tab.captions
    for control in tab.controls:
        if control.choices or not control.slider:
            continue
        both = (f"{tab.name}-{control.name}-slider", f"{tab.name}-{control.name}")
        clicked = (
            [Input(f"{tab.name}-clicked", "data")] if clicks and control.name in ("signal", "delta") else []
        )
        outputs, inputs = ([part(one, "value") for one in both] for part in (Output, Input))
        if control.upto:
            other, gap = control.upto
            least, most = control.least, control.most
            app.clientside_callback(
                f"text => text >= 1 ? Math.min({most}, Math.max({least}, Math.floor(text) - {gap})) : {most}",
                Output(both[0], "max"),
                Input(f"{tab.name}-{other}", "value"),
            )
        _in_browser(app, "follow", *outputs, *inputs, *clicked, prevent_initial_call=True)
    if clicks:
        source = Input(f"{tab.name}-phase-figure", "clickData")
        _in_browser(app, "click", Output(f"{tab.name}-clicked", "data"), source, prevent_initial_call=True)


def _inputs(tab: Tab, kind: Any) -> list[Any]:
    return [kind(f"{tab.name}-{control.name}", "value") for control in tab.controls]


def _named(tab: Tab, texts: Any) -> dict[str, Any]:
    return dict(zip((control.name for control in tab.controls), texts))


def _live(app: Dash, tab: Tab) -> None:
    name = tab.name
    now = [key for key in tab.captions if key not in tab.later]

    @app.callback(
        *(Output(f"{name}-{key}-figure", "figure") for key in now),
        Output(f"{name}-numbers", "children"),
        Output(f"{name}-python", "children"),
        Output(f"{name}-state", "data"),
        Output(f"{name}-refused", "children"),
        Output(f"{name}-status", "children"),
        Output(f"{name}-figures", "className"),
        *_inputs(tab, Input),
        Input(f"{name}-drawn", "data"),
        prevent_initial_call=True,
    )
    def live(*given: Any) -> tuple[Any, ...]:
        *texts, drawn = given
        made = view(tab, _named(tab, texts), drawn, quick=True)
        if made.figures is None:
            kept = (no_update,) * (len(now) + 3)
            return (*kept, f"{made.refused}\n{KEPT}", "", "figures stale")
        figures = (made.figures[key] for key in now)
        return (*figures, made.numbers, made.python, made.query, made.refused, made.status, "figures")

    if not tab.later:
        return

    @app.callback(
        *(Output(f"{name}-{key}-figure", "figure") for key in tab.later),
        Input(f"{name}-state", "data"),
        Input(f"{name}-drawn", "data"),
        *_inputs(tab, State),
        prevent_initial_call=True,
    )
    def later(_: str, drawn: Any, *texts: Any) -> tuple[Any, ...]:
        made = view(tab, _named(tab, texts), drawn)
        if made.figures is None:
            raise PreventUpdate
        return tuple(made.figures[key] for key in tab.later)


def _draw(app: Dash, tab: Tab) -> None:
    name = tab.name

    @app.callback(
        Output(f"{name}-drawn", "data"),
        Input(f"{name}-simulate", "n_clicks"),
        *_inputs(tab, State),
        running=[
            (Output(f"{name}-simulate", "disabled"), True, False),
            (Output(f"{name}-simulate", "children"), "Simulating…", "Simulate"),
        ],
        prevent_initial_call=True,
    )
    def draw(_: int, *texts: Any) -> Any:
        try:
            values = read(tab.controls, _named(tab, texts))
        except ValueError:
            return no_update  # the page says so already
        query = to_query(name, values)
        try:
            return {"query": query, "found": tab.simulate(values)}
        except REFUSED as error:
            return {"query": query, "refused": f"No simulation: {error}"}


def _exports(app: Dash, tab: Tab) -> None:
    name = tab.name

    @app.callback(
        Output(f"{name}-download", "data"),
        Input(f"{name}-csv", "n_clicks"),
        *_inputs(tab, State),
        State(f"{name}-drawn", "data"),
        prevent_initial_call=True,
    )
    def download(_: int, *given: Any) -> Any:
        *texts, drawn = given
        try:
            values = read(tab.controls, _named(tab, texts))
            fits = drawn and drawn["query"] == to_query(name, values)
            answer = tab.answer(values, drawn.get("found") if fits else None)
        except REFUSED:
            return no_update  # the page says so already
        return dcc.send_string(table_text(answer.figures), f"resolvent-{name}.csv")

    options: dict[str, Any] = {"prevent_initial_call": True}
    copy, link, shown = f"{name}-copy", f"{name}-link", State(f"{name}-python", "children")
    _in_browser(app, "copy", Output(copy, "children"), Input(copy, "n_clicks"), shown, **options)
    _in_browser(app, "link", Output(link, "children"), Input(link, "n_clicks"), **options)
    for key in tab.captions:
        buttons = [Input(f"{name}-{key}-{kind}", "n_clicks") for kind in ("png", "svg")]
        _in_browser(app, "picture", *buttons, **options)
