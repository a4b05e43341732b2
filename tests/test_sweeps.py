"""Parallel runs: order, cache, resume, damaged entries, other backends."""

import os
import pathlib
import warnings

import joblib
import numpy as np
import pytest

from resolvent import PooledSequences, Prefix
from resolvent.sweeps import run_all


def record(folder, number):
    """A task that leaves a mark each time it really runs."""
    handle, _ = __import__("tempfile").mkstemp(prefix=f"{number}-", dir=folder)
    os.close(handle)
    return number**2


def stop_at(folder, number, last):
    if number > last:
        raise KeyboardInterrupt
    return record(folder, number)


def marks(folder):
    return sorted(int(p.name.split("-")[0]) for p in pathlib.Path(folder).iterdir())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def tasks(folder, count=4):
    return [{"folder": str(folder), "number": i} for i in range(count)]


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_results_come_in_order(folder, jobs):
    assert run_all(record, tasks(folder), jobs=jobs) == [0, 1, 4, 9]


def test_finished_tasks_never_run_again(folder, tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    run_all(record, tasks(folder, 3), memory=memory)
    assert run_all(record, tasks(folder, 5), memory=memory) == [0, 1, 4, 9, 16]
    assert marks(folder) == [0, 1, 2, 3, 4]


def test_an_interrupted_run_resumes(folder, tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    work = [{**task, "last": 2} for task in tasks(folder, 5)]
    with pytest.raises(KeyboardInterrupt):
        run_all(stop_at, work, memory=memory)
    assert marks(folder) == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        run_all(stop_at, work, memory=memory)
    assert marks(folder) == [0, 1, 2]


def test_a_damaged_entry_is_computed_again_and_said(folder, tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    run_all(record, tasks(folder, 3), memory=memory)
    entries = sorted((tmp_path / "cache").rglob("output.pkl"))
    assert len(entries) == 3
    entries[1].write_bytes(b"not a pickle")
    with pytest.warns(UserWarning, match="label: a damaged cache entry is computed again"):
        assert run_all(record, tasks(folder, 3), label="label", memory=memory) == [0, 1, 4]
    assert len(marks(folder)) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_all(record, tasks(folder, 3), memory=memory) == [0, 1, 4]
    assert len(marks(folder)) == 4


def test_a_sweep_is_cached_by_its_numbers(tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)

    def entries():
        return len(list(tmp_path.rglob("output.pkl")))

    def model(weights="mean"):
        return PooledSequences(20, 40, 60, Prefix(6, 2), weights, 0.0)

    first = model().sweep([0.5, 1.0], range(3), memory=memory)
    assert entries() == 3
    touched = model()
    _ = touched.positions.matrix  # what is cached on the object does not change what it is
    again = touched.sweep([0.5, 1.0], range(3), memory=memory)
    assert entries() == 3
    np.testing.assert_array_equal(first.overlap, again.overlap)
    model("optimal").sweep([0.5, 1.0], range(3), memory=memory)
    assert entries() == 6


def test_progress_goes_to_standard_error(folder, capsys):
    run_all(record, tasks(folder, 2), label="two runs", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "two runs" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the cluster's own
def test_dask_workers_on_loopback_give_the_same_sweep():
    from distributed import Client, LocalCluster

    model = PooledSequences(40, 80, 120, Prefix(10, 3), "causal", 0.0)
    local = model.sweep([0.5, 1.5], range(4))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        remote = model.sweep([0.5, 1.5], range(4))
    np.testing.assert_allclose(local.overlap, remote.overlap, rtol=1e-12)
    np.testing.assert_allclose(local.top_eigenvalue, remote.top_eigenvalue, rtol=1e-12)
