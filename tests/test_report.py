"""The report: texts for every figure, verdicts that follow the data, pictures that need no colour."""

import re
from html.parser import HTMLParser

import golden
import numpy as np
import pytest
import xarray as xr

from resolvent import experiments, reproduce
from resolvent.questions import QUESTIONS
from resolvent.report import MARKS, render, sources
from resolvent.verdicts import JUDGES, UNPREDICTED, verdict
from resolvent.verdicts.comparisons import Verdict, together, within

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

# tiny sizes of a few draws have no standard error to speak of
MORE_DRAWS = {
    "finite_length": {"seeds": 20},
    "several_classes": {"dimension": 100, "seeds": 8, "close_seeds": 8},
    "depth_and_heads": {"dimension": 80, "seeds": 8},
}
RUNS = {}  # figures at their tiny sizes, each computed once a process
FEW = ("alignment", "ridge", "agreement")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Report of a few figures at tiny sizes."""
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        for name in FEW:
            patch.setitem(experiments.load(name).SIZES, "quick", golden.TINY[name])
        reproduce.reproduce(out, only=FEW, jobs=1)
    return out


@pytest.fixture
def tiny(monkeypatch):
    """Runs a figure at its tiny size, in which verdicts read it too."""

    def run(name):
        module = experiments.load(name)
        if why := getattr(module, "missing", lambda: None)():
            pytest.skip(why)
        if golden.TINY[name] is not None:
            size = golden.TINY[name] | MORE_DRAWS.get(name, {})
            monkeypatch.setitem(module.SIZES, "quick", size)
        if name not in RUNS:
            RUNS[name] = module.run("quick", jobs=1).assign_attrs(scale="quick")
        return RUNS[name]

    return run


def test_every_figure_has_a_question_and_a_verdict():
    assert list(QUESTIONS) == list(experiments.FIGURES)
    assert set(JUDGES) | set(UNPREDICTED) == set(experiments.FIGURES)
    assert not set(JUDGES) & set(UNPREDICTED)


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_a_question_is_asked_answered_and_derived(name):
    import pathlib

    question = QUESTIONS[name]
    root = pathlib.Path(__file__).parents[1]
    assert question.asked.endswith("?")
    assert all(text.endswith(".") for text in (question.theory, question.simulation))
    page, _, section = question.derived.partition(", section")
    text = (root / page.partition(",")[0]).read_text(encoding="utf-8")
    for number in re.findall(r"\d+", section):
        assert f"\n## {number}. " in text
    for source in sources(name):
        assert (root / "src" / "resolvent" / source).is_file()


# verdicts


def test_a_point_that_is_off_makes_the_figure_differ():
    error = np.full(5, 0.1)
    assert within(np.full(5, 0.39), error).word == "agree"
    found = within(np.array([0.1, 0, 0.41, 0, np.nan]), error)
    assert found.word == "differ"
    assert found.detail.startswith("3 of 4 points within 4 standard errors; largest difference 4.1 ")
    assert within(np.array([0.41]), 0.1, 0.02).word == "agree"
    assert within(np.full(3, np.nan), 0.1).word == "void"
    assert within(np.zeros(3), 0.0).word == "agree"  # both exact


def test_what_cannot_be_compared_does_not_differ():
    agree, differ, void = (Verdict(word, word) for word in ("agree", "differ", "void"))
    assert together(agree, void).word == "agree"
    assert together(void, void).word == "void"
    assert together(agree, void, differ).word == "differ"
    assert within(np.full(3, np.nan), 0.1, what="outliers").detail == "no outliers to compare"
    assert within(np.zeros(3), np.nan).detail == "no standard errors: one draw a point"


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize(
    "name", ["published", "query_outliers", "depth_and_heads", "nadaraya_watson", "crossover"]
)
def test_one_draw_a_point_is_void(name, tiny):
    data = tiny(name)
    assert verdict(name, data.isel(seed=[0])).word == "void"


@pytest.mark.parametrize(
    ("name", "simulated", "shift"),
    [
        ("alignment", "overlap", 0.3),
        ("ridge", "accuracy", 0.2),
        ("published", "overlap", 0.4),
        ("heat_map", "simulated", 0.6),
        ("task_correlation", "simulated", 0.5),
        ("low_rank", "simulated_by_rank", 0.5),
        ("metric_snr", "snr", 30.0),
        ("spurious_outlier", "overlap", 0.6),
        ("separability", "by_signal", 15.0),
        ("oracle_error", "attention", 0.1),
        ("finite_length", "simulated", 5.0),
        ("error_bars", "random_coverage", -0.6),
        ("query_outliers", "simulated", 0.3),
        ("query_outliers", "eigenvalues", 1.0),
        ("several_classes", "unequal_simulated", 0.5),
        ("mixed_correlations", "simulated_spread", 5.0),
        ("mixed_correlations", "simulated_accuracy", -0.4),
        ("real_vocabulary", "simulated_overlap", 0.5),
        ("real_vocabulary", "permuted_distance", 0.2),
        ("depth_and_heads", "pulled_back_overlap", 0.4),
        ("loss_landscape", "classifier", -0.3),
        ("loss_landscape", "learned_kappa", 1.0),
    ],
)
def test_verdicts_follow_the_data(name, simulated, shift, tiny):
    data = tiny(name)
    found = verdict(name, data)
    assert found.word == "agree", found.detail
    off = verdict(name, data.assign({simulated: data[simulated] + shift}))
    assert off.word == "differ", off.detail


def test_counts_and_claims():
    assert verdict("static_null", xr.Dataset({"whitened_null_tests": ("corpus", [0.0, 0.3])})).word == "agree"
    assert (
        verdict("static_null", xr.Dataset({"whitened_null_tests": ("corpus", [0.0, 5.0])})).word == "differ"
    )
    claims = {
        word: verdict("elliptical_claims", xr.Dataset({"verdict": ("claim", values)})).word
        for word, values in {"agree": [1, 1], "differ": [1, -1], "void": [1, 0]}.items()
    }
    assert all(word == found for word, found in claims.items())
    starts = {"start": ["structured", "random"]}
    reached = xr.Dataset({"reached": (("start", "seed"), [[True, True], [True, False]])}, starts)
    assert verdict("bad_minima", reached).word == "agree"
    assert verdict("bad_minima", ~reached).word == "differ"
    trained = xr.Dataset({"reached": ("length", [True, False])})
    assert verdict("equivalence", trained).word == "differ"


@pytest.mark.parametrize("name", list(JUDGES))
def test_data_of_another_version_are_void(name):
    found = verdict(name, xr.Dataset({"other": ("a", [1.0])}, attrs={"scale": "quick"}))
    assert found.word == "void"
    assert "another version" in found.detail


# the page


class Page(HTMLParser):
    """Links, identifiers and headings of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.names, self.levels, self.images, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [values["href"]] if "href" in values else []
        self.names += [values["id"]] if "id" in values else []
        self.levels += [int(tag[1])] if tag in ("h1", "h2", "h3") else []
        self.images += [values] if tag == "img" else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page, folder):
    found = Page(page)
    assert found.open == []
    assert len(found.names) == len(set(found.names))
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.names
        else:
            assert (folder / link).is_file(), link
    assert found.levels == [1, *[2] * (len(FEW) + 2)]
    assert all(image["alt"] for image in found.images)
    assert 'lang="en"' in page
    assert 'name="viewport"' in page


def test_every_figure_is_asked_answered_and_judged(page):
    sections = re.findall(r'<section id="(\w+)"(.*?)</section>', page, flags=re.S)
    assert [name for name, _ in sections] == [*FEW, "table"]
    for name, text in sections[:-1]:
        for term in ("Asked", "Theory", "Simulation", "Verdict"):
            assert f"<dt>{term}</dt>" in text
        assert re.search(r"[✓✗○] (agree|differ|void)</span>: ", text)
        assert QUESTIONS[name].asked in text.replace("&#39;", "'")
        assert f"src/resolvent/experiments/{name}.py" in text
        assert f"resolvent reproduce --only {name} --scale quick" in text
    assert page.count('class="asked"') == len(FEW) + 1
    assert len(set(MARKS.values())) == len(MARKS)


def test_the_page_prints_and_needs_nothing_from_outside(page):
    assert "@media print" in page
    assert "beforeprint" in page
    assert "(max-width: 40rem)" in page
    assert ":focus-visible" in page
    bare = re.sub("base64,[A-Za-z0-9+/=]+", "", page)
    assert "http" not in bare.replace("http-equiv", "")
    assert "@import" not in bare
    assert "url(" not in bare


def test_code_in_the_report_is_the_code_that_ran(folder):
    from importlib import resources

    for name in FEW:
        for source in sources(name):
            assert (folder / "code" / source).read_bytes() == resources.files("resolvent").joinpath(
                source
            ).read_bytes()


def test_a_long_caption_is_folded_and_nothing_of_it_is_lost(folder):
    data = xr.load_dataset(folder / "data" / "ridge.nc", engine="scipy")
    caption = " ".join(f"Number {i} is {i * i}." for i in range(200))
    html = render({"ridge": data.assign_attrs(caption=caption)}, {"ridge": b""})
    figcaption = re.search(r"<figcaption>(.*?)</figcaption>", html, flags=re.S).group(1)
    shown, folded = re.fullmatch(
        r"(.*?) <details><summary>.*?</summary>(.*)</details>", figcaption, flags=re.S
    ).groups()
    assert f"{shown} {folded}" == caption
    assert 600 < len(shown) <= 900


# pictures


def look(artist):
    """What tells a legend entry from others in black and white."""
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if isinstance(artist, ErrorbarContainer):
        artist = artist.lines[0]
    if isinstance(artist, Patch):
        return type(artist).__name__, artist.get_fill(), artist.get_hatch()
    if not isinstance(artist, Line2D):
        return (type(artist).__name__,)
    line = (
        None
        if artist.get_linestyle() in ("None", "")
        else (str(artist._dash_pattern), artist.get_linewidth())
    )
    mark = None if artist.get_marker() in ("None", "", None) else artist.get_marker()
    return line, str(mark), mark and artist.get_markerfacecolor() == "white"


def alike(figure):
    """Legend entries that differ in nothing but colour."""
    found = []
    for ax in figure.axes:
        seen = {}
        for artist, label in zip(*ax.get_legend_handles_labels()):
            seen.setdefault(look(artist), []).append(label)
        found += [labels for labels in seen.values() if len(labels) > 1]
    return found


def test_the_check_of_legends_can_fail():
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.add_subplot()
    for colour in ("C0", "C1"):
        ax.plot([0, 1], [0, 1], color=colour, label=colour)
    assert alike(figure) == [["C0", "C1"]]


DRAWN = (
    *("alignment", "critical_signal", "ridge", "published", "finite_size", "query_alignment", "separability"),
    *("task_correlation", "low_rank", "drift", "nadaraya_watson", "metric_snr", "spurious_outlier"),
    *("finite_length", "error_bars", "query_outliers", "several_classes", "mixed_correlations"),
    *("real_vocabulary", "depth_and_heads", "loss_landscape"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_legends_are_told_apart_without_colour(name, tiny):
    from matplotlib import pyplot as plt

    from resolvent import plots

    plt.switch_backend("agg")
    with plt.rc_context(plots.STYLE):
        figure = experiments.load(name).draw(tiny(name))
    try:
        assert alike(figure) == []
    finally:
        plt.close(figure)


def test_every_colour_has_a_marker_and_a_dash_of_its_own():
    from resolvent import plots

    hues = set(plots.COLOURS.values())
    assert set(plots.MARKERS) == set(plots.DASHES) == hues
    assert len(set(plots.MARKERS.values())) == len({str(dash) for dash in plots.DASHES.values()}) == len(hues)
