"""The command line, run as a process."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from resolvent import PooledSequences, Prefix, nulls, plan
from resolvent.diagnosis import diagnose

MODEL = ["-d", "60", "-V", "120", "-N", "180", "-T", "20", "--prefix", "5", "--signal", "1.2"]


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "resolvent", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def reference():
    return PooledSequences(60, 120, 180, Prefix(20, 5), "mean", 1.2)


@pytest.mark.parametrize("command", [[], ["predict"], ["simulate"], ["plan"], ["diagnose"], ["reproduce"]])
def test_help_teaches(command):
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert len(done.stdout) > 400


def test_predict_prints_both_predictions():
    done = run("predict", *MODEL)
    assert done.returncode == 0
    assert done.stderr == ""
    prediction = reference().predict()
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("overlap"))
    assert float(row[1]) == pytest.approx(prediction.overlap, rel=1e-4)
    assert float(row[2]) == pytest.approx(prediction.published.overlap, rel=1e-4)


def test_predict_as_json_is_the_library():
    data = json.loads(run("predict", *MODEL, "--json").stdout)
    prediction = reference().predict()
    assert data["overlap"] == pytest.approx(prediction.overlap)
    assert data["bulk"]["support"][0][1] == pytest.approx(prediction.edge)
    assert data["published"]["q"] == pytest.approx(prediction.published.q)


def test_help_explains_every_row():
    told = run("predict", "--help").stdout
    rows = [line.split()[0] for line in run("predict", *MODEL).stdout.splitlines()[1:-1]]
    assert len(rows) == 12
    assert not [name for name in rows if name not in told]


def test_predict_without_an_outlier_says_so():
    done = run("predict", *MODEL[:-1], "0.01", "--table", "balanced")
    assert "No outlier" in done.stdout
    assert (
        json.loads(run("predict", *MODEL[:-1], "0.01", "--table", "balanced", "--json").stdout)["outlier"]
        is None
    )


def test_positions_and_weights_from_files(tmp_path):
    np.save(tmp_path / "r.npy", np.eye(4) * 0.5 + 0.5)
    np.save(tmp_path / "w.npy", np.arange(4.0))
    sizes = ["-d", "60", "-V", "120", "-N", "180", "--signal", "1"]
    done = run(
        "predict", *sizes, "--correlation", tmp_path / "r.npy", "--weights", tmp_path / "w.npy", "--json"
    )
    assert json.loads(done.stdout)["kappa"] == pytest.approx(14)
    done = run("predict", *sizes, "--loadings", "0.9,0.5,-0.1", "--weights", "optimal", "--json")
    assert json.loads(done.stdout)["snr"] > 1


def test_simulate_is_the_library():
    data = json.loads(run("simulate", *MODEL, "--seed", 3, "--draws", 2, "--json").stdout)
    for i, draw in enumerate(data):
        assert draw["overlap"] == pytest.approx(reference().simulate(3 + i).overlap)
        assert len(draw["eigenvalues"]) == 60


def test_simulate_sets_draws_beside_theory():
    done = run("simulate", *MODEL, "--draws", 3, "--uncentred")
    assert done.returncode == 0
    assert "theory" in done.stdout
    assert "mean_outlier" in done.stdout


def test_plan_answers_and_says_when_nothing_does():
    arguments = ["-d", 400, "-V", 1600, "--snr", 5, "--signal", 1]
    wanted = plan(0.7, dimension=400, vocabulary=1600, snr=5.0, signal=1.0)
    done = run("plan", "--overlap", 0.7, *arguments, "--json")
    assert json.loads(done.stdout)["value"] == wanted.value
    done = run("plan", "--overlap", 0.95, *arguments)
    assert done.returncode == 0
    assert "no number of samples" in done.stdout


def embeddings():
    x = np.random.default_rng(0).standard_normal((400, 100)).astype(np.float32)
    x[:, 0] *= 4
    return x


def test_diagnose_is_the_library(tmp_path):
    np.save(tmp_path / "x.npy", embeddings())
    done = run("diagnose", tmp_path / "x.npy", "--permutations", 2, "--level", 0.05)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == f"{diagnose(embeddings(), permutations=2, level=0.05)}\n"
    assert "1 component is real" in done.stdout


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_diagnose_reads_named_matrices_of_every_type(tmp_path, kind):
    x = embeddings()[:60].astype(kind)
    np.savez(tmp_path / "x.npz", wide=x, ids=np.arange(3))
    done = run("diagnose", tmp_path / "x.npz", "--tensor", "wide", "--uncentred", "--law", "plain", "--json")
    assert done.stderr == ""
    data = json.loads(done.stdout)
    assert data == json.loads(json.dumps(diagnose(x, centred=False, law="plain").to_dict()))
    assert (data["rank"], data["components"], data["centred"]) == (100, 1, False)


def test_diagnose_reads_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"id": list(range(400)), "vector": embeddings().tolist(), "other": embeddings().tolist()}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    done = run("diagnose", tmp_path / "x.parquet", "--column", "vector", "--json")
    assert json.loads(done.stdout)["components"] == 1
    done = run("diagnose", tmp_path / "x.parquet")
    assert done.returncode == 2
    assert "column must name one of" in done.stderr


def test_diagnose_tests_pooled_tokens_against_their_noise(tmp_path):
    rng = np.random.default_rng(0)
    table, tokens = rng.standard_normal((300, 40)), rng.integers(0, 300, (500, 12))
    tokens[:250] = tokens[:250] % 20  # a topic
    np.save(tmp_path / "table.npy", table)
    np.save(tmp_path / "ids.npy", tokens)
    done = run("diagnose", tmp_path / "table.npy", "--tokens", tmp_path / "ids.npy", "--weights", "causal")
    null = nulls.token_noise(tokens, table, "causal")
    assert done.stdout == f"{diagnose(null.features, null=null)}\n"
    assert "1 component is real" in done.stdout
    assert "token noise" in done.stdout
    np.save(tmp_path / "ids.npy", tokens + 1)
    done = run("diagnose", tmp_path / "table.npy", "--tokens", tmp_path / "ids.npy")
    assert done.returncode == 2
    assert "tokens must lie in [0, 300)" in done.stderr
    for option in (["--law", "plain"], ["--uncentred"]):
        done = run("diagnose", tmp_path / "table.npy", "--tokens", tmp_path / "ids.npy", *option)
        assert done.returncode == 2
        assert f"{option[0]} cannot be used with --tokens" in done.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_diagnose_draws(tmp_path, suffix):
    np.save(tmp_path / "x.npy", embeddings())
    picture = tmp_path / f"out.{suffix}"
    picture.write_text("an earlier picture")
    done = run("diagnose", tmp_path / "x.npy", "--plot", picture)
    assert done.stderr == ""
    assert done.returncode == 0
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert picture.read_bytes().startswith(start)
    if suffix == "svg":
        assert "1 real component (ratio 0.25" in picture.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", picture.name}  # nothing beside it


def test_diagnose_without_matplotlib_names_the_extra(tmp_path):
    np.save(tmp_path / "x.npy", embeddings())
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    hidden = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run("diagnose", tmp_path / "x.npy", "--plot", tmp_path / "x.png", env=hidden)
    assert done.returncode == 2
    assert "figures need the plot extra: pip install 'resolvent[plot]' (not here)" in done.stderr
    assert not (tmp_path / "x.png").exists()
    assert run("diagnose", tmp_path / "x.npy", env=hidden).returncode == 0  # and nothing else needs it


def table_with(hole):
    x = embeddings()
    x[33, 4] = hole
    return x


TABLES_REFUSED = {
    "nan": (table_with(np.nan), [], "first in row 33"),
    "one row": (embeddings()[:1], [], "(1, 100)"),
    "constant": (np.ones((40, 4)), [], "x must vary"),
    "pickled": (np.array([{}], dtype=object), [], "cannot be read as .npy: it holds Python objects"),
    "token vectors": (np.ones((5, 3, 4)), [], "of shape (5, 3, 4): pool the tokens first"),
    "whole numbers": (np.arange(12).reshape(4, 3), [], "if these are no token ids, convert them"),
    "one column": (np.ones(7), [], "float64 of shape (7,)"),
    "level": (embeddings(), ["--level", "1"], "level must be below 1"),
    "column": (embeddings(), ["--column", "a"], "column names no part of a .npy file"),
    "no tokens": (embeddings(), ["--tokens", "nowhere.npy"], "nowhere.npy"),
    "no such folder": (
        embeddings(),
        ["--plot", "nowhere/out.png"],
        "--plot 'nowhere/out.png' cannot be written",
    ),
}


@pytest.mark.parametrize("case", list(TABLES_REFUSED))
def test_diagnose_refuses_in_one_line(case, tmp_path):
    x, options, named = TABLES_REFUSED[case]
    np.save(tmp_path / "x.npy", x, allow_pickle=True)
    done = run("diagnose", "x.npy", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


BAD = {
    "size": (["predict", "-d", "0", *MODEL[2:]], "dimension"),
    "odd vocabulary": (["predict", *MODEL[:2], "-V", "121", *MODEL[4:]], "vocabulary must be even"),
    "signal": (["predict", *MODEL[:-1], "-1"], "signal"),
    "not a number": (["predict", *MODEL[:-1], "much"], "--signal"),
    "prefix too long": (
        ["predict", *MODEL[:8], "--prefix", "30", *MODEL[10:]],
        "--prefix must lie between 0 and --length 20, got 30",
    ),
    "no positions": (["predict", *MODEL[:6], *MODEL[10:]], "positions"),
    "weights zero": (["predict", *MODEL, "--weights", "0," * 19 + "0"], "weights"),
    "weights misspelt": (
        ["predict", *MODEL, "--weights", "optimum"],
        "--weights must be mean, causal, optimal, comma-separated numbers or a .npy file, got 'optimum'",
    ),
    "loadings": (
        ["predict", *MODEL[:6], "--loadings", "a,b", "--signal", "1"],
        "--loadings must be comma-separated numbers or a .npy file, got 'a,b'",
    ),
    "weights length": (["predict", *MODEL, "--weights", "1,2"], "weights"),
    "weights nan": (["predict", *MODEL, "--weights", "nan," * 19 + "1"], "weights"),
    "weights missing file": (["predict", *MODEL, "--weights", "nowhere.npy"], "nowhere.npy"),
    "too large for memory": (
        ["predict", *MODEL[:6], "-T", "100000000000000", *MODEL[8:]],
        "do not fit in memory",
    ),
    "no jobs": (["simulate", *MODEL, "--jobs", "0"], "--jobs must not be 0"),
    "seed": (["simulate", *MODEL, "--seed", "-1"], "seed"),
    "plan nothing missing": (
        ["plan", "--overlap", "0.5", "-d", "10", "-V", "20", "-N", "30", "--snr", "2", "--signal", "1"],
        "exactly one",
    ),
    "plan overlap": (
        ["plan", "--overlap", "1.5", "-d", "10", "-V", "20", "--snr", "2", "--signal", "1"],
        "overlap",
    ),
    "figure": (["reproduce", "--only", "nothing"], "nothing"),
    "table": (["reproduce", "--only", "real_tables", "--table", "nowhere.npy"], "nowhere.npy"),
    "nothing to redraw": (["reproduce", "--redraw", "--out", "nowhere"], "nowhere"),
    "jobs": (["reproduce", "--jobs", "0"], "jobs"),
    "diagnose nothing": (["diagnose"], "FILE"),
    "diagnose missing": (["diagnose", "nowhere.npy"], "nowhere.npy"),
    "diagnose kind": (["diagnose", "nowhere.txt"], "nowhere.txt"),
    "diagnose law": (["diagnose", "x.npy", "--law", "cubic"], "--law"),
    "diagnose weights": (["diagnose", "x.npy", "--weights", "mean"], "--weights"),
    "diagnose plot": (["diagnose", "x.npy", "--plot", "out.jpg"], "--plot must end in .png, .svg or .pdf"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_one_message_and_status_2(case, tmp_path):
    arguments, named = BAD[case]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert done.stderr.count("Error:") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_an_orthogonal_optimum_is_named(tmp_path):
    done = run(
        "predict", "-d", 10, "-V", 20, "-N", 30, "--loadings", "1,-1", "--weights", "optimal", "--signal", 1
    )
    assert done.returncode == 2
    assert "orthogonal to (1, ..., 1)" in done.stderr


def test_a_matrix_that_is_no_correlation_names_the_eigenvalue(tmp_path):
    np.save(tmp_path / "r.npy", np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]))
    done = run("predict", "-d", 10, "-V", 20, "-N", 30, "--correlation", tmp_path / "r.npy", "--signal", 1)
    assert done.returncode == 2
    assert "positive semi-definite, got the eigenvalue -0.8" in done.stderr


def test_a_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("here already")
    done = run("reproduce", "--out", blocked, "--only", "spectra")
    assert done.returncode == 2
    assert "folder must be a place that can be written" in done.stderr
    assert blocked.read_text() == "here already"


@pytest.mark.parametrize("content", [b"", b"x\n", b"PK\x03\x04", None])
def test_damaged_and_pickled_arrays_are_refused(tmp_path, content):
    path = tmp_path / "r.npy"
    if content is None:
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(content)
    done = run("predict", "-d", 10, "-V", 20, "-N", 30, "--correlation", path, "--signal", 1)
    assert done.returncode == 2
    assert "cannot be read as .npy" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_data_file_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spectra.nc").write_bytes(b"junk")
    done = run("reproduce", "--redraw", "--out", tmp_path)
    assert done.returncode == 2
    assert "spectra.nc" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of the kind a terminal sends")
def test_interrupted_reproduce_resumes(tmp_path):
    command = [
        sys.executable,
        "-m",
        "resolvent",
        "reproduce",
        "--only",
        "critical_signal",
        "--out",
        tmp_path,
        "--jobs",
        "1",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (kept := list(tmp_path.rglob("output.pkl"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert not (tmp_path / "data" / "critical_signal.nc").exists()
    stamps = {p: p.stat().st_mtime_ns for p in kept}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.rglob("output.pkl"))) <= len(kept):  # it goes on from there
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert {p: p.stat().st_mtime_ns for p in kept} == stamps


def test_predict_answers_fast():
    run("predict", *MODEL)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run("predict", *MODEL)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0
