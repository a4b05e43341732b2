"""Figures: every experiment runs, draws from its file alone, and its data say what they should."""

import json
import re

import golden
import numpy as np
import pytest
import xarray as xr

from resolvent import experiments, reproduce, spikes

pytest.importorskip("matplotlib")


@pytest.fixture
def tiny(monkeypatch):
    for name, size in golden.TINY.items():
        if size is not None:
            monkeypatch.setitem(experiments.load(name).SIZES, "quick", size)


def test_every_figure_is_here():
    assert set(golden.TINY) == set(experiments.FIGURES)
    for name in experiments.FIGURES:
        module = experiments.load(name)
        assert callable(module.run)
        assert callable(module.draw)
        assert set(getattr(module, "SIZES", experiments.SCALES)) == set(experiments.SCALES)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", list(experiments.FIGURES))
def test_run_then_draw(name, tmp_path):
    report = reproduce.reproduce(tmp_path, only=[name])
    html = report.read_text(encoding="utf-8")
    assert experiments.FIGURES[name] in html
    assert 'src="data:image/png;base64,' in html
    text = re.sub("base64,[A-Za-z0-9+/=]+", "", html.split("<body>")[1])  # pictures spell anything
    assert "http" not in text  # self-contained
    data = xr.load_dataset(tmp_path / "data" / f"{name}.nc", engine="scipy")
    assert data.attrs["caption"]
    assert "{" not in data.attrs["caption"]
    assert data.attrs["title"]
    png, svg = (tmp_path / "figures" / f"{name}.{kind}" for kind in ("png", "svg"))
    assert png.stat().st_size > 10_000
    assert svg.read_text(encoding="utf-8").startswith("<?xml")
    before = {p: p.read_bytes() for p in (tmp_path / "data").iterdir()}
    png.unlink()
    reproduce.redraw(tmp_path)
    assert png.stat().st_size > 10_000
    assert {p: p.read_bytes() for p in (tmp_path / "data").iterdir()} == before
    assert not list(tmp_path.rglob(".*part*"))


@pytest.mark.usefixtures("tiny")
def test_a_second_run_computes_nothing(tmp_path, monkeypatch):
    reproduce.reproduce(tmp_path, only=["alignment", "ridge"])
    first = {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()}

    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("resolvent.tables.draw_noise", refuse)
    monkeypatch.setattr("resolvent.models.pooled.draw_noise", refuse)
    monkeypatch.setattr("resolvent.models.ridge.draw_noise", refuse)
    reproduce.reproduce(tmp_path, only=["alignment", "ridge"])
    assert {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()} == first


@pytest.mark.usefixtures("tiny")
def test_a_failing_figure_leaves_the_finished_ones_whole(tmp_path, monkeypatch):
    module = experiments.load("ridge")
    monkeypatch.setattr(module, "draw", lambda dataset: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce(tmp_path, only=["spectra", "ridge"])
    assert (tmp_path / "figures" / "spectra.png").is_file()
    assert not (tmp_path / "figures" / "ridge.png").exists()
    assert not list(tmp_path.rglob(".*part*"))


def test_fingerprint_ignores_presentation(tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "resolvent"
    shutil.copytree(reproduce.resources.files("resolvent"), copy)
    monkeypatch.setattr(reproduce.resources, "files", lambda name: copy)
    first = reproduce.fingerprint()
    (copy / "plots.py").write_text("changed = 1\n")
    figure = copy / "experiments" / "spectra.py"
    figure.write_text(
        figure.read_text().replace('"density"', '"DENSITY"').replace("figsize=(10, 3.8)", "figsize=(9, 3)")
    )
    assert reproduce.fingerprint() == first
    figure.write_text(figure.read_text().replace("SIGNAL = 50, 8, 1.0", "SIGNAL = 50, 8, 1.1"))
    assert reproduce.fingerprint() != first


def test_real_tables_of_the_users_own(tmp_path):
    table = np.random.default_rng(0).standard_normal((300, 60)).astype(np.float32)
    np.save(tmp_path / "mine.npy", table)
    data = experiments.load("real_tables").run("quick", tables=(str(tmp_path / "mine.npy"),), packaged=())
    assert list(data.table.values) == ["minilm-unused", "minilm-positions", "mine.npy"]
    mine = data.sel(table="mine.npy")
    assert float(mine.plain_scale) == pytest.approx(1, abs=0.05)
    assert int(mine.product_outliers) <= 1


def test_real_tables_of_too_many_rows_are_sampled(tmp_path):
    scales = np.geomspace(1, 0.1, 40)
    x = np.random.default_rng(0).standard_normal((4000, 40)) * scales
    np.save(tmp_path / "tall.npy", np.hstack([x, np.zeros((4000, 2))]))
    data = experiments.load("real_tables").run("quick", tables=(str(tmp_path / "tall.npy"),), packaged=())
    shipped, tall = data.isel(table=slice(2)), data.sel(table="tall.npy")
    assert (shipped.used == shipped.rows).all()
    assert shipped.generalised_distance.isnull().all()
    assert shipped.population.isnull().all()
    assert (int(tall.used), int(tall.rows), float(tall.gamma), int(tall.void)) == (85, 4000, 0.5, 1)
    assert int((tall.population > 0).sum()) == 40  # constant columns have none
    assert float(tall.generalised_whole) < 0.06 < 0.1 < float(tall.plain_whole)
    assert "tall.npy: 85 of 4,000 rows of 42" in data.attrs["caption"]
    assert "Not included, or not installed: minilm-tokens, glove-50." in data.attrs["caption"]


@pytest.mark.parametrize("truth", [0, 3])
def test_components_are_counted(truth):
    components = experiments.load("components")
    added = components.sample(200, truth, 1) - components.sample(200, 0, 1)
    assert added.shape == (600, 200)
    assert np.linalg.matrix_rank(added) == truth
    count, void = (dict(zip(components.RULES, row)) for row in components.counts(200, truth, 1).T)
    assert (count["two factors, Tracy-Widom"], void["two factors, Tracy-Widom"]) == (truth, 0)
    assert count["Marchenko-Pastur, edge"] > truth + 5  # the wrong law fails
    assert void["Marchenko-Pastur, edge"] == void["Gavish-Donoho"] == 1


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", list(golden.VARIABLES))
def test_golden_data(name):
    kept = json.loads(golden.FILE.read_text(encoding="utf-8"))[name]
    options = golden.OPTIONS.get(name, {})
    found = golden.summary(name, experiments.load(name).run("quick", **options))
    assert found.keys() == kept.keys()
    for variable, values in found.items():
        np.testing.assert_allclose(values, kept[variable], rtol=1e-6, atol=1e-9, err_msg=variable)


def test_published_and_exact_part_as_documented():
    # docs/theory/pooled.md, section 2
    assert round(float(spikes.alignment(0.7, 10.0, 1.0, 0.5)), 3) == 0.314
    assert round(float(spikes.alignment(0.7, 10.0, 1.0, 0.5, table="balanced")), 3) == 0.755


def own_tables(folder):
    from safetensors.numpy import save_file

    table = np.random.default_rng(0).standard_normal((120, 30)).astype(np.float32)
    save_file({"first": table, "second": 2 * table}, folder / "two.safetensors")
    (folder / "other").mkdir()
    for path in (folder / "t.npy", folder / "other" / "t.npy"):
        np.save(path, table)
    return [f"{folder}/two.safetensors:second", f"{folder}/t.npy", f"{folder}/other/t.npy", f"{folder}/t.npy"]


def test_own_tables_by_tensor_and_by_the_same_name(tmp_path):
    tables = own_tables(tmp_path)
    data = experiments.load("real_tables").run("quick", tables=tuple(tables), packaged=())
    assert list(data.table.values)[2:] == ["two.safetensors:second", tables[1], tables[2]]
    assert float(data.plain_scale[2]) == pytest.approx(4 * float(data.plain_scale[3]), rel=1e-3)


def test_a_table_that_cannot_be_fitted_is_named_before_anything_is_written(tmp_path):
    np.save(tmp_path / "small.npy", np.eye(3))
    with pytest.raises(ValueError, match=r"small.npy' cannot be fitted"):
        reproduce.reproduce(tmp_path / "out", only=["real_tables"], tables=[str(tmp_path / "small.npy")])
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_another_figures_damage_does_not_stop_a_report(tmp_path):
    reproduce.reproduce(tmp_path, only=["spectra", "alignment"])
    (tmp_path / "figures" / "spectra.png").unlink()  # as after an interruption
    (tmp_path / "data" / "alignment.nc").write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"left out of the report: .*alignment.nc"):
        report = reproduce.reproduce(tmp_path, only=["heat_map"])
    assert 'id="heat_map"' in report.read_text(encoding="utf-8")
    (tmp_path / "data" / "ridge.nc").write_bytes((tmp_path / "data" / "spectra.nc").read_bytes())
    with pytest.raises(ValueError, match="holds other data"):
        reproduce.redraw(tmp_path, only=["ridge"])
