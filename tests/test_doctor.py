"""``resolvent doctor``, run as a process and on made-up installations."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import resolvent
from resolvent import doctor


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "resolvent", "doctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    (folder / "cache").mkdir()
    (folder / "cache" / "one").write_bytes(b"12345")
    done = run(
        "--json", "--out", folder, env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    )
    assert done.returncode == 0
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_versions_are_the_installed_ones(found):
    assert found["resolvent"] == resolvent.__version__
    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"]["scipy"] == metadata.version("scipy")


def test_the_machine_is_described(found):
    assert found["cpu"]["count"] == os.cpu_count()
    assert 1 <= found["cpu"]["usable"] <= found["cpu"]["count"]
    if sys.platform == "linux":
        assert found["memory"]["total"] >= found["memory"]["available"] > 2**20
    assert found["blas"]
    assert found["threads"]["OMP_NUM_THREADS"] == "2"
    assert found["cache"]["bytes"] == 5
    assert found["cache"]["files"] == 1


def test_threads_of_blas_are_the_real_ones(found):
    pytest.importorskip("threadpoolctl")
    openblas = [pool for pool in found["blas"] if pool["internal_api"] == "openblas"]
    assert all(pool["num_threads"] == min(2, found["cpu"]["count"]) for pool in openblas)


def test_extras_are_those_of_the_package(found):
    assert list(found["extras"]) == list(doctor.EXTRAS)
    for name, one in found["extras"].items():
        assert one["install"] == f"pip install 'resolvent[{name}]'"
        for package, version in one["installed"].items():
            assert metadata.version(package) == version


def test_text_says_what_each_missing_extra_gives(tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 0
    found = json.loads(run("--json", cwd=tmp_path).stdout)
    for name, one in found["extras"].items():
        assert (f"\nmissing: {name}\n" in done.stdout) == bool(one["missing"])
        assert (one["gives"] in done.stdout) == bool(one["missing"])
        assert (one["install"] in done.stdout) == bool(one["missing"])
    assert list(tmp_path.iterdir()) == []
    assert not re.search(r"\bNone\b", done.stdout)


MADE_UP = [
    "numpy>=1.26",
    'matplotlib>=3.8; extra == "plot"',
    "jinja2>=9999; extra == 'plot'",
    'nowhere-to-be-found>=2; extra == "torch"',
    'resolvent[plot,torch]; extra == "reproduce"',
]


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: MADE_UP)
    return doctor.examine()["extras"]


def test_what_is_missing_or_too_old(made_up):
    pytest.importorskip("matplotlib")
    old = metadata.version("jinja2")
    assert made_up["plot"]["installed"] == {"matplotlib": metadata.version("matplotlib")}
    assert made_up["plot"]["missing"] == [f"jinja2>=9999 (here {old})"]
    assert made_up["torch"]["missing"] == ["nowhere-to-be-found"]


def test_an_older_installation_may_not_know_an_extra(made_up):
    assert made_up["dask"]["missing"] == ["this installation does not know it"]


def test_a_package_that_is_not_installed_says_so(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", absent)
    found = doctor.examine()
    assert found["extras"] is None
    assert "The package itself is not installed" in doctor.printed(found)


def test_without_threadpoolctl_or_pytorch(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    found = doctor.examine()
    assert found["devices"] is None
    assert [pool["num_threads"] for pool in found["blas"]] == [None]
    text = doctor.printed(found)
    assert "pip install threadpoolctl" in text
    assert "no PyTorch" in text


def test_a_broken_pytorch_is_named(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "torch.py").write_text("raise OSError('libcuda is not here')")
    done = run(
        "--json",
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["devices"] == ["PyTorch cannot be imported: OSError: libcuda is not here"]


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.14.4", (2, 14, 4)), ("2.14rc1", (2, 14)), ("2.7.0+cpu", (2, 7, 0))]
)
def test_numbers_of_versions(version, numbers):
    assert doctor._numbers(version) == numbers
