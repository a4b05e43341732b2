"""The explorer: its state, its figures against the library, the server's answers, and the page in a real browser."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from urllib.parse import parse_qsl

import numpy as np
import pytest

pytest.importorskip("dash")

from resolvent import spikes
from resolvent.explorer import TABS
from resolvent.explorer.app import create_app, view
from resolvent.explorer.command import make_server
from resolvent.explorer.figures import table_text
from resolvent.explorer.pooled import DELTAS, GAMMAS, SIGNALS
from resolvent.explorer.state import Control, from_query, read, to_query

# other than the defaults in every control
OTHER = {
    "pooled": {
        "delta": 0.25,
        "gamma": 0.5,
        "signal": 1.2,
        "length": 20,
        "informative": 6,
        "loading": 0.8,
        "weights": "causal",
        "depth": 2,
        "table": "balanced",
        "dimension": 100,
        "seed": 3,
    },
    "sparse_token": {
        "length": 6,
        "informative": 2,
        "signal": 4.0,
        "rarity": 0.3,
        "alpha_query": 3.0,
        "alpha_readout": 2.0,
        "inverse_temperature": 1.5,
        "loss": "logistic",
        "dimension": 100,
        "seed": 1,
    },
    "in_context": {
        "tasks": "aligned",
        "dimension": 8,
        "length": 12,
        "correlation": 0.3,
        "noise": 0.5,
        "seed": 2,
    },
    "elliptical": {
        "dimension": 60,
        "length": 32,
        "gamma": 0.5,
        "signal": 2.0,
        "agreement": 0.7,
        "metric": "full",
        "across": 0.2,
        "query": "consistent",
        "inverse_temperature": 0.05,
        "seed": 4,
    },
}
STATES = [(name, {}) for name in TABS] + list(OTHER.items())
STATES += [("in_context", {"tasks": "retrieved", "correlation": 0.3}), ("pooled", {"weights": "optimal"})]


def state(name, other):
    return {**TABS[name].defaults(), **other}


def trace(figure, name):
    return next(one for one in figure["data"] if one["name"] == name)


# state


@pytest.mark.parametrize(("name", "other"), STATES)
def test_state_survives_the_address(name, other):
    values = state(name, other)
    tab, texts, refused = from_query(to_query(name, values), TABS)
    assert (tab, refused) == (name, [])
    assert read(TABS[name].controls, texts) == values


def test_other_values_differ_everywhere():
    for name, other in OTHER.items():
        assert set(other) == {control.name for control in TABS[name].controls}
        assert all(other[key] != value for key, value in TABS[name].defaults().items())


def test_addresses_that_mean_nothing():
    assert from_query("", TABS) == ("pooled", {}, [])
    _, _, refused = from_query("?tab=nothing", TABS)
    assert refused == [
        "tab must be one of 'pooled', 'sparse_token', 'in_context', 'elliptical', got 'nothing'"
    ]
    _, texts, refused = from_query("?tab=elliptical&delta=1&gamma=2", TABS)
    assert texts == {"gamma": "2"}
    assert refused == ["the address has an unknown parameter 'delta'"]


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("pooled", {"delta": "-1"}, "delta must be between 0.05 and 4 in the explorer, got -1.0"),
        ("pooled", {"delta": "nan"}, "delta must be a finite number, got 'nan'"),
        ("pooled", {"delta": ""}, "delta must be a finite number, got ''"),
        ("pooled", {"signal": "loud"}, "signal must be a finite number, got 'loud'"),
        ("pooled", {"length": "2.5"}, "length must be a whole number >= 1, got '2.5'"),
        ("pooled", {"length": "9", "informative": "10"}, "informative must be <= length 9, got 10"),
        ("pooled", {"table": "x"}, "table must be one of 'mixture', 'balanced', got 'x'"),
        ("pooled", {"seed": "-1"}, "seed must be a whole number >= 0, got -1"),
        ("sparse_token", {"length": "3", "informative": "3"}, "informative"),
        ("sparse_token", {"loss": "x"}, "loss must be one of"),
        ("elliptical", {"metric": "round"}, "metric must be one of"),
        (
            "elliptical",
            {"across": "1", "inverse_temperature": "1", "dimension": "150"},
            "inverse_temperature must be",
        ),
        ("in_context", {"correlation": "inf"}, "correlation must be a finite number, got 'inf'"),
    ],
)
def test_bad_values_are_refused_in_words(name, texts, message):
    shown = view(TABS[name], {**TABS[name].defaults(), **texts})
    assert message in shown.refused
    assert shown.figures is None


def test_every_refused_value_gets_a_line():
    with pytest.raises(ValueError, match=r"delta must .*\ngamma must"):
        read(TABS["pooled"].controls, {"delta": "a", "gamma": "b"})


@pytest.mark.parametrize("name", TABS)
def test_limits_are_within_what_models_allow(name):
    tab = TABS[name]
    for control in tab.controls:
        ends = control.choices or (control.least, control.most)
        for end in ends:
            end = int(end) if control.whole and not control.choices else end
            values = {**tab.defaults(), control.name: end}
            if control.name == "length":
                values["informative"] = min(values.get("informative", 1), max(int(end) - 1, 1))
            if control.name == "informative":
                values["length"] = 200 if name == "pooled" else 30
            assert control.read(str(end)) == end
            if end == "logistic":
                continue  # slow, and among the states above
            shown = view(tab, values, quick=True)
            # softmax weights of hot logits are refused by the library, in words
            assert shown.figures is not None or "inverse_temperature must be smaller" in shown.refused


# figures and numbers


def test_pooled_figures_are_the_library():
    tab, values = TABS["pooled"], state("pooled", OTHER["pooled"])
    model, answer = tab.model(values), tab.answer(values)
    assert (model.dimension, model.vocabulary, model.samples) == (100, 400, 200)
    found = model.predict(theory="infinite length")
    for row in answer.rows:
        np.testing.assert_equal(row.theory, float(getattr(found, row.name)))
    bulk = trace(answer.figures["spectrum"], "bulk")
    np.testing.assert_array_equal(bulk["y"], found.bulk.pdf(bulk["x"]))
    assert trace(answer.figures["spectrum"], "outlier")["x"][0] == found.outlier
    snr = float(found.snr)
    aligned = trace(answer.figures["alignment"], f"causal {snr:.3g}")
    np.testing.assert_allclose(aligned["y"], spikes.alignment(SIGNALS, snr, 0.25, 0.5, "balanced"))
    edge = spikes.edge(0.25, 0.5, found.kappa)
    q = spikes.net_spike(SIGNALS, snr, 0.25, "balanced")
    top = np.fmax(spikes.outlier(q, 0.25, 0.5, found.kappa), edge)
    np.testing.assert_allclose(trace(answer.figures["outlier"], "largest")["y"], top)
    critical = spikes.critical_signal(snr, 0.25, GAMMAS, "balanced")
    np.testing.assert_allclose(trace(answer.figures["threshold"], "causal")["y"], critical)
    heat = trace(answer.figures["phase"], "squared overlap")
    assert heat["z"][7, 30] == pytest.approx(
        float(spikes.alignment(SIGNALS[30], snr, DELTAS[7], 0.5, "balanced"))
    )
    star = trace(answer.figures["phase"], "here")
    assert (star["x"][0], star["y"][0]) == (1.2, 0.25)


def test_weights_and_table_change_the_answer():
    tab = TABS["pooled"]
    base = {row.name: row.theory for row in tab.answer(tab.defaults()).rows}
    for other in ({"weights": "optimal"}, {"weights": "causal"}, {"table": "balanced"}, {"loading": 0.5}):
        rows = {row.name: row.theory for row in tab.answer(state("pooled", other)).rows}
        assert rows["overlap"] != base["overlap"]


def test_sparse_token_figures_are_the_library():
    tab, values = TABS["sparse_token"], state("sparse_token", {"dimension": 100, "alpha_readout": 3.0})
    found, answer = tab.model(values).predict(), tab.answer(values)
    rows = {row.name: row.theory for row in answer.rows}
    assert rows["query alignment"] == pytest.approx(float(found.query.alignment))
    for name in ("attention", "pooled", "vectorised"):
        assert rows[f"{name} error"] == pytest.approx(float(getattr(found, name).error), rel=1e-6)
        curve = trace(answer.figures["errors"], name)
        at = int(np.argmin(np.abs(curve["x"] - 3.0)))
        assert curve["x"][at] == 3.0
        assert curve["y"][at] == pytest.approx(rows[f"{name} error"])
        assert (np.diff(curve["x"]) >= 0).all()


@pytest.mark.parametrize("tasks", ["drifting", "retrieved", "aligned"])
def test_in_context_figures_are_the_library(tasks):
    tab, values = TABS["in_context"], state("in_context", {"tasks": tasks, "length": 9})
    found, answer = tab.model(values).predict(), tab.answer(values)
    rows = {row.name: row.theory for row in answer.rows}
    assert rows["attention"] == found.attention
    curve = trace(answer.figures["length"], "attention")
    assert curve["y"][list(curve["x"]).index(9)] == found.attention
    across = trace(answer.figures["correlation"], "H3")
    assert across["y"][list(across["x"]).index(values["correlation"])] == pytest.approx(found.h3)
    assert ("per channel" in rows) == (tasks == "drifting")


def test_elliptical_figures_are_the_library():
    tab, values = TABS["elliptical"], state("elliptical", OTHER["elliptical"])
    found, answer = tab.model(values).predict(), tab.answer(values)
    for row in answer.rows:
        np.testing.assert_equal(row.theory, float(getattr(found, row.name)))
    curve = trace(answer.figures["snr"], "at this L")
    assert curve["y"][list(curve["x"]).index(0.05)] == found.snr
    hot = tab.answer(state("elliptical", {"inverse_temperature": 0.6}))
    assert "condense" in hot.remark


@pytest.mark.parametrize(("name", "other"), STATES)
def test_copied_python_runs_and_agrees(name, other, capsys):
    tab, values = TABS[name], state(name, other)
    scope = {}
    exec(compile(tab.python(values), "copied", "exec"), scope)
    printed = capsys.readouterr().out
    drawn = tab.simulate(values)
    rows = {row.name: row for row in tab.answer(values, drawn).rows}
    prediction, draw = scope["prediction"], scope["draw"]
    if name == "sparse_token":
        assert rows["query alignment"].theory == pytest.approx(float(prediction.query.alignment))
        for one in ("attention", "pooled", "vectorised"):
            assert rows[f"{one} error"].theory == pytest.approx(
                float(getattr(prediction, one).error), rel=1e-6
            )
            assert rows[f"{one} error"].simulation == getattr(draw, one).error
    else:
        names = {"attention": "attention", "H3": "h3"} if name == "in_context" else {"overlap": "overlap"}
        for label, field in names.items():
            np.testing.assert_equal(rows[label].theory, float(getattr(prediction, field)))
            assert rows[label].simulation == getattr(draw, field)
    assert printed.count("simulated") >= 1


@pytest.mark.parametrize("name", TABS)
def test_simulation_is_near_theory_and_json(name):
    import json

    tab = TABS[name]
    drawn = json.loads(json.dumps(tab.simulate(tab.defaults())))
    for row in tab.answer(tab.defaults(), drawn).rows:
        if row.simulation is not None and np.isfinite(row.theory) and row.name != "label_correlation":
            assert abs(row.simulation - row.theory) < 0.15 * abs(row.theory) + 0.02


def test_a_simulation_of_other_values_is_hidden():
    tab, values = TABS["pooled"], state("pooled", {"dimension": 60})
    drawn = {"query": to_query("pooled", values), "found": tab.simulate(values)}
    assert "seed 0" in view(tab, values, drawn).status
    other = view(tab, {**values, "signal": 0.1}, drawn)
    assert "hidden" in other.status
    assert not any(one["name"] == "simulated" for one in other.figures["spectrum"]["data"])


@pytest.mark.parametrize("name", list(TABS))
def test_every_number_is_explained(name):
    tab = TABS[name]
    other = {"tasks": "drifting"} if name == "in_context" else {}
    assert [row.name for row in tab.answer(state(name, other), None).rows] == list(tab.meanings)


def test_data_come_as_one_table():
    tab = TABS["pooled"]
    answer = tab.answer(tab.defaults())
    rows = list(csv.DictReader(io.StringIO(table_text(answer.figures))))
    assert {row["figure"] for row in rows} == set(tab.captions)
    assert {row["x_name"] for row in rows if row["figure"] == "alignment"} == {"signal ‖μ‖"}
    assert all(row["x_name"] and row["y_name"] for row in rows)
    heat = [row for row in rows if row["curve"] == "squared overlap"]
    assert len(heat) == SIGNALS.size * DELTAS.size
    one = heat[SIGNALS.size * 5 + 40]
    model = tab.model(tab.defaults())
    expected = spikes.alignment(SIGNALS[40], model.predict().snr, DELTAS[5], model.gamma)
    assert float(one["z"]) == pytest.approx(float(expected))


def test_a_control_refuses_and_says_what_is_allowed():
    control = Control("n", "n", 3, 1, 9, 1)
    assert control.read(" 4 ") == 4
    with pytest.raises(ValueError, match="n must be between 1 and 9 in the explorer, got 10"):
        control.read("10")


# the server


def body(dependencies, name, values):
    """What the page posts when a control moves."""
    now = [key for key in TABS[name].captions if key not in TABS[name].later]
    first = f"..{name}-{now[0]}-figure.figure"
    one = next(d for d in dependencies if d["output"].startswith(first))
    outputs = [part.rsplit(".", 1) for part in one["output"].strip(".").split("...")]
    inputs = [{**part, "value": None} for part in one["inputs"]]
    for part in inputs:
        key = part["id"].removeprefix(f"{name}-")
        part["value"] = str(values[key]) if key in values else None
    return {
        "output": one["output"],
        "outputs": [{"id": key, "property": what} for key, what in outputs],
        "inputs": inputs,
        "state": [],
        "changedPropIds": [],
    }


def test_a_slider_is_answered_within_a_tenth_of_a_second():
    """Processor time of the whole request; bounds are three times what was measured, as machines are shared."""
    client = create_app().server.test_client()
    client.get("/")
    dependencies = client.get("/_dash-dependencies").get_json()
    for name, tab in TABS.items():
        values = tab.defaults()
        moved = next(control for control in tab.controls if not control.choices and not control.whole)
        times = []
        for step in range(5):
            values = {**values, moved.name: round(values[moved.name] + moved.step, 6)}
            start = time.process_time()
            answer = client.post("/_dash-update-component", json=body(dependencies, name, values))
            times.append(time.process_time() - start)
            assert answer.status_code == 200
            assert step or "response" in answer.get_json()
        assert min(times) < 0.3, (name, times)


def test_nothing_is_loaded_from_elsewhere():
    client = create_app().server.test_client()
    page = client.get("/").get_data(as_text=True)
    assert '<html lang="en">' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert client.get("/_mcp").get_json(silent=True) is None


def test_a_taken_port_is_a_message():
    server = make_server()
    try:
        with pytest.raises(ValueError, match=f"--port {server.server_port} cannot be served"):
            make_server(port=server.server_port)
    finally:
        server.server_close()


def explore(*options, code=None):
    run = [sys.executable, "-m", "resolvent"] if code is None else [sys.executable, "-c", code]
    return subprocess.Popen(
        [*run, "explore", "--no-browser", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_the_command_serves_this_machine_only():
    import urllib.request

    process = explore("--port", "0")
    try:
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", line).group()
        assert "resolvent explorer" in urllib.request.urlopen(url).read().decode()
        process.send_signal(2)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, 130)
    assert "Warning" not in err
    assert "Traceback" not in err


def test_another_host_is_warned_of():
    process = explore("--port", "0", "--host", "0.0.0.0")
    try:
        assert "http://0.0.0.0:" in process.stdout.readline()
        assert process.stderr.readline().startswith("Warning: 0.0.0.0 may be reached by other machines")
    finally:
        process.kill()
        process.communicate()


def test_without_the_extra_one_line_says_what_to_install():
    code = "import sys; sys.modules['dash'] = None; from resolvent.cli import main; main(sys.argv[1:])"
    process = explore(code=code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "pip install 'resolvent[app]'" in err
    assert "Traceback" not in err


# the page in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with playwright.sync_playwright() as started:
            one = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield one
            one.close()


@pytest.fixture(scope="module")
def address():
    server = make_server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser, address):
    """A page that must leave no error in the console and load nothing from elsewhere."""
    one = browser.new_page(viewport={"width": 1360, "height": 900}, accept_downloads=True)
    problems = []
    one.on(
        "console",
        lambda message: problems.append(message.text) if message.type in ("error", "warning") else None,
    )
    one.on("pageerror", lambda error: problems.append(str(error)))
    one.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((address, "data:", "blob:")) else problems.append(asked.url)
        ),
    )
    yield one
    one.close()
    assert not problems


def show(page, address, name="pooled", **other):
    page.goto(address + to_query(name, other))
    page.wait_for_selector(f"#{name}-numbers table")
    page.wait_for_function("location.search.includes('&seed=')")
    page.wait_for_function(
        "name => [...document.querySelectorAll(`#${name}-panel .graph`)].every(g => g.querySelector('.main-svg'))",
        arg=name,
    )


def until(page, values, name="pooled"):
    """Wait for the address to hold these values."""
    page.wait_for_function(
        "wanted => { const q = new URLSearchParams(location.search);"
        " return Object.entries(wanted).every(([k, v]) => q.get(k) == v || +q.get(k) === +v); }",
        arg={key: str(value) for key, value in values.items()},
    )
    texts = dict(parse_qsl(page.evaluate("location.search.slice(1)")))
    assert texts.pop("tab") == name
    return read(TABS[name].controls, texts)


def agrees(page, name, values, drawn=None):
    """Numbers and curves of the page are the library's, at the latest after a moment."""
    answer = TABS[name].answer(values, drawn)
    rows = page.locator(f"#{name}-numbers tbody tr").all()
    shown = {row.locator("th").inner_text(): row.locator("td").first.get_attribute("title") for row in rows}
    for row in answer.rows:
        assert float(shown[row.name.replace("_", " ")]) == pytest.approx(row.theory, rel=1e-9, nan_ok=True)
    for key, figure in answer.figures.items():
        for attempt in range(50):
            try:
                drawn_as(page, f"{name}-{key}-figure", figure)
                break
            except AssertionError:
                if attempt == 49:
                    raise
                page.wait_for_timeout(100)


def drawn_as(page, key, figure):
    page.wait_for_function("id => document.querySelector('#' + id + ' .js-plotly-plot')?.data", arg=key)
    got = page.evaluate(
        "id => document.querySelector('#' + id + ' .js-plotly-plot').data.map("
        "t => [t.name, Array.from(t.x), t.z ? [] : Array.from(t.y)])",
        key,
    )
    assert [one[0] for one in got] == [one["name"] for one in figure["data"]]
    for (_, x, y), made in zip(got, figure["data"]):
        np.testing.assert_allclose(np.array(x, dtype=float), made["x"], rtol=1e-9)
        if y:
            np.testing.assert_allclose(np.array(y, dtype=float), made["y"], rtol=1e-6, atol=1e-12)


def test_every_slider_moves_by_keyboard_what_it_should(page, address):
    show(page, address)
    values = TABS["pooled"].defaults()
    for control in TABS["pooled"].controls:
        if control.choices or not control.slider or control.name == "depth":
            continue
        down = control.name == "loading"
        page.focus(f"#pooled-{control.name}-slider")
        page.keyboard.press("ArrowLeft" if down else "ArrowRight")
        moved = round(control.default + (-control.step if down else control.step), 6)
        values = until(page, {**values, control.name: moved})
        assert float(page.input_value(f"#pooled-{control.name}")) == moved
    agrees(page, "pooled", values)


def test_choices_move_by_mouse_and_keyboard(page, address):
    show(page, address)
    page.get_by_role("option", name="causal", exact=True).click()
    values = until(page, {"weights": "causal"})
    page.get_by_label("depth of causal weights", exact=True).fill("3")
    values = until(page, {**values, "depth": 3})
    agrees(page, "pooled", values)
    page.locator("#pooled-table input[value=mixture]").focus()
    page.keyboard.press("ArrowRight")
    agrees(page, "pooled", until(page, {**values, "table": "balanced"}))


def test_bad_values_are_refused_in_the_page(page, address):
    show(page, address)
    before = page.evaluate("location.search")
    for name, text, message in (
        ("delta", "-3", "delta must be between 0.05 and 4 in the explorer, got -3.0"),
        ("signal", "much", "signal must be a finite number, got 'much'"),
        ("informative", "51", "informative must be <= length 50, got 51"),
    ):
        box = page.locator(f"#pooled-{name}")
        good = box.input_value()
        box.fill(text)
        box.press("Enter")
        page.wait_for_function(
            "m => document.querySelector('#pooled-refused').innerText.includes(m)", arg=message
        )
        assert "stale" in page.get_attribute("#pooled-figures", "class")
        assert page.evaluate("location.search") == before
        box.fill(good)
        box.press("Enter")
        page.wait_for_function("document.querySelector('#pooled-refused').innerText === ''")
    agrees(page, "pooled", until(page, TABS["pooled"].defaults()))


def test_a_bad_address_is_refused_in_the_page(page, address):
    page.goto(address + "?tab=pooled&delta=many&colour=red")
    page.wait_for_function("document.querySelector('#pooled-refused')?.innerText.includes('delta must be')")
    assert "unknown parameter 'colour'" in page.inner_text("#address-refused")
    page.fill("#pooled-delta", "0.5")
    page.press("#pooled-delta", "Enter")
    agrees(page, "pooled", until(page, {"delta": 0.5}))


def test_a_click_moves_the_point(page, address):
    show(page, address)
    graph = page.locator("#pooled-phase-figure .nsewdrag").first
    graph.scroll_into_view_if_needed()
    place = graph.bounding_box()
    page.mouse.click(place["x"] + place["width"] * 0.5, place["y"] + place["height"] * 0.5)
    page.wait_for_function("new URLSearchParams(location.search).get('signal') !== '0.8'")
    texts = dict(parse_qsl(page.evaluate("location.search.slice(1)")))
    assert float(texts["signal"]) == pytest.approx(1.5, abs=0.05)
    assert float(texts["delta"]) == pytest.approx(np.sqrt(0.05 * 4), rel=0.1)
    agrees(page, "pooled", until(page, {"delta": texts["delta"]}))
    assert page.input_value("#pooled-signal-slider") == f"{float(texts['signal']):.2f}".rstrip("0")


def test_a_finger_moves_the_point_and_scrolls_figures(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    try:
        one = context.new_page()
        show(one, address)
        graph = one.locator("#pooled-phase-figure .nsewdrag").first
        graph.scroll_into_view_if_needed()
        place = graph.bounding_box()
        one.touchscreen.tap(place["x"] + place["width"] * 0.5, place["y"] + place["height"] * 0.5)
        one.wait_for_function("new URLSearchParams(location.search).get('signal') !== '0.8'")
        texts = dict(parse_qsl(one.evaluate("location.search.slice(1)")))
        assert float(texts["signal"]) == pytest.approx(1.5, abs=0.05)
        assert float(texts["delta"]) == pytest.approx(np.sqrt(0.05 * 4), rel=0.1)
        around = one.locator("#pooled-phase-figure .js-plotly-plot").bounding_box()
        for x, y in (
            (around["x"] + 8, place["y"] + 50),
            (place["x"] + place["width"] + 20, place["y"] + 60),  # the scale of colours
            (place["x"] + 40, around["y"] + around["height"] - 6),
        ):
            one.touchscreen.tap(x, y)
            one.wait_for_timeout(300)
            for name in ("signal", "delta"):
                assert float(one.input_value(f"#pooled-{name}")) == float(texts[name])
        before = one.evaluate("document.querySelector('#pooled-panel .figures').scrollLeft")
        touch = context.new_cdp_session(one)
        x, y = place["x"] + place["width"] * 0.3, place["y"] + place["height"] * 0.5
        for step in range(8):
            kind = "touchMove" if step else "touchStart"
            touch.send(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x + 20 * step, "y": y}]}
            )
            one.wait_for_timeout(30)
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        one.wait_for_function(
            "was => document.querySelector('#pooled-panel .figures').scrollLeft < was - 50", arg=before
        )
    finally:
        context.close()


def test_curves_that_come_later_fade_until_they_are_there(page, address, monkeypatch):
    from resolvent.explorer import sparse_token

    along = sparse_token._along

    def slowly(given):
        time.sleep(1)
        return along(given)

    show(page, address, "sparse_token")
    monkeypatch.setattr(sparse_token, "_along", slowly)
    faded = (
        "wanted => getComputedStyle(document.querySelector('#sparse_token-errors-figure').closest('.graph')).opacity"
        " === wanted"
    )
    page.wait_for_function(faded, arg="1")
    page.focus("#sparse_token-signal-slider")
    page.keyboard.press("ArrowRight")
    values = until(page, {"signal": 5.1}, "sparse_token")
    page.wait_for_function(faded, arg="0.45")
    page.wait_for_function(faded, arg="1")
    agrees(page, "sparse_token", values)


def test_simulation_is_laid_over_and_leaves_with_its_values(page, address):
    show(page, address, dimension=60, seed=5)
    page.click("#pooled-simulate")
    page.wait_for_function("document.querySelector('#pooled-status').innerText.includes('seed 5')")
    values = until(page, {"dimension": 60, "seed": 5})
    agrees(page, "pooled", values, TABS["pooled"].simulate(values))
    page.focus("#pooled-signal-slider")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#pooled-status').innerText.includes('simulate again')")
    agrees(page, "pooled", until(page, {"signal": 0.81}))


def test_other_models_on_their_tabs(page, address):
    show(page, address)
    for name in [name for name in TABS if name != "pooled"]:
        page.get_by_role("tab", name=TABS[name].title).press("Enter")
        page.wait_for_selector(f"#{name}-numbers table")
        assert not page.is_visible("#pooled-panel")
        page.wait_for_function("name => location.search.includes(name)", arg=name)
        control = next(one for one in TABS[name].controls if not one.choices and one.slider)
        page.focus(f"#{name}-{control.name}-slider")
        page.keyboard.press("ArrowRight")
        values = until(page, {control.name: control.default + control.step}, name)
        agrees(page, name, values)
        page.click(f"#{name}-simulate")
        page.wait_for_function(
            "n => document.querySelector(`#${n}-status`).innerText.includes('one draw')", arg=name
        )
        assert page.locator(f"#{name}-numbers thead th").count() == 3
    page.get_by_role("tab", name="Pooled sequences").click()
    page.wait_for_function("location.search.startsWith('?tab=pooled&delta=0.5&')")


def test_arrow_keys_move_between_models(page, address):
    show(page, address)
    tabs = list(TABS)
    page.get_by_role("tab", name=TABS[tabs[0]].title).focus()
    for key, name in (
        ("ArrowRight", tabs[1]),
        ("End", tabs[-1]),
        ("ArrowRight", tabs[0]),
        ("ArrowLeft", tabs[-1]),
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f"#{name}-numbers table")
        assert page.evaluate("document.activeElement.innerText") == TABS[name].title
        assert page.is_visible(f"#{name}-panel")


@pytest.mark.parametrize(
    ("fault", "said"),
    [(None, "The server does not answer"), (500, "The server failed on these values")],
)
def test_a_server_that_fails_is_said_on_the_page(browser, address, fault, said):
    one = browser.new_page()
    try:
        show(one, address)
        one.route(
            "**/_dash-update-component*",
            lambda route: route.fulfill(status=fault, body="") if fault else route.abort(),
        )
        one.focus("#pooled-signal-slider")
        one.keyboard.press("ArrowRight")
        one.wait_for_function("t => document.querySelector('#unreachable').innerText.includes(t)", arg=said)
        one.unroute("**/_dash-update-component*")
        one.keyboard.press("ArrowRight")
        one.wait_for_function("!document.querySelector('#unreachable').innerText")
    finally:
        one.close()


def test_exports_and_the_address(page, address, tmp_path):
    show(page, address, "pooled", delta=0.25, weights="optimal")
    values = until(page, {"delta": 0.25, "weights": "optimal"})
    assert page.inner_text("#pooled-python").strip() == TABS["pooled"].python(values).strip()
    with page.expect_download() as asked:
        page.click("#pooled-csv")
    assert asked.value.suggested_filename == "resolvent-pooled.csv"
    assert asked.value.path().read_text("utf-8") == table_text(TABS["pooled"].answer(values).figures)
    for kind, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as asked:
            page.click(f"#pooled-alignment-{kind}")
        assert asked.value.suggested_filename == f"resolvent-pooled-alignment.{kind}"
        assert start in asked.value.path().read_bytes()[:200]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for button, expected in (
        ("Copy as Python", TABS["pooled"].python(values)),
        ("Copy link", page.evaluate("location.href")),
    ):
        page.get_by_role("button", name=button).click()
        page.wait_for_function("[...document.querySelectorAll('button')].some(b => b.innerText === 'Copied')")
        assert page.evaluate("navigator.clipboard.readText()") == expected
        page.get_by_role("button", name=button).wait_for()


def test_keyboard_alone_reaches_everything_and_all_is_labelled(page, address):
    show(page, address)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " const l = getComputedStyle(e.closest('label') || e);"
            " return [e.id || e.value || e.innerText, s.outlineStyle !== 'none' || l.outlineStyle !== 'none']; }"
        )
        if found[0] in reached or page.evaluate("document.activeElement === document.body"):
            break
        assert found[1], found
        reached.append(found[0])
    for control in TABS["pooled"].controls:
        if not control.choices:
            assert f"pooled-{control.name}" in reached
    for wanted in ("sparse_token-tab", "pooled-simulate", "pooled-csv", "pooled-copy", "pooled-phase-png"):
        assert wanted in reached
    assert any(one in reached for one in ("mean", "causal", "optimal"))
    nameless = page.evaluate(
        "[...document.querySelectorAll('#pooled-panel input, #pooled-panel button')].filter("
        "e => !(e.labels && e.labels.length) && !e.innerText && !e.getAttribute('aria-label')).map(e => e.id)"
    )
    assert nameless == []


def test_phone_width(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    show(page, address)
    for name, tab in TABS.items():
        page.get_by_role("tab", name=tab.title).click()
        page.wait_for_selector(f"#{name}-numbers table")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(f"#{name}-panel .slider input").first.bounding_box()["width"] > 150
        # figures stay in sight while a slider far down is moved
        page.locator(f"#{name}-simulate").scroll_into_view_if_needed()
        top = page.locator(f"#{name}-figures").bounding_box()
        assert -1 <= top["y"] < 844 - 200
