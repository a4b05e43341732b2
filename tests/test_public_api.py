"""What the package promises: names, documentation, types, light imports, one direction of imports."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import resolvent
from resolvent.experiments import FIGURES

ROOT = pathlib.Path(resolvent.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def dotted(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in FILES}
PAGES = [getattr(resolvent, name) for name in resolvent.__all__ if inspect.ismodule(getattr(resolvent, name))]
PUBLIC = {name: getattr(resolvent, name) for name in resolvent.__all__ if not name.startswith("__")}
PUBLIC |= {f"{page.__name__}.{name}": getattr(page, name) for page in PAGES for name in page.__all__}
DOCUMENTED = {name: obj for name, obj in PUBLIC.items() if inspect.isfunction(obj) or inspect.isclass(obj)}
OWN = {  # every public function, class and method of the package
    f"{dotted(path)}.{node.name}": node
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef)
}


# from what knows nothing to what knows everything; a module may import from earlier lines only
LAYERS = (
    ("arguments",),
    ("laws",),
    ("spikes",),
    ("positions",),
    ("class_positions",),
    ("tables", "pooling"),
    ("token_sequences",),
    ("weights",),
    ("heads",),
    ("spectrum",),
    ("fluctuations", "finite_length"),
    ("error_bars", "population_dynamics"),
    ("token_moments",),
    ("files",),
    ("sources",),
    ("workers",),
    ("accumulate",),
    ("nulls",),
    ("salad",),
    ("counting", "covariance"),
    ("outliers",),
    ("bulk",),
    ("diagnosis",),
    ("sweeps",),
    ("sparse_token", "in_context", "elliptical", "query_attention", "vocabulary", "torch"),
    ("models",),
    ("downstream",),
    ("estimators", "in_context_training"),
    ("planning", "compare", "mixed_positions"),
    ("datasets", "corpus_files"),
    ("corpora", "encoders"),
    ("crossfit",),
    ("reading",),
    ("estimation",),
    ("held_out",),
    ("plots",),
    ("experiments",),
    ("explorer",),
    ("verdicts",),
    ("questions",),
    ("report",),
    ("reproduce",),
    ("diagnose_command", "doctor"),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
INSIDE = {
    "laws": [
        *(
            "spectral_map",
            "inverse_map",
            "law",
            "marchenko_pastur",
            "wachter",
            "finite_length",
            "sums",
            "poles",
        ),
        *(
            "compression",
            "curve",
            "population_map",
            "generalised",
            "separable_map",
            "separable",
            "tracy_widom",
        ),
    ],
    "sparse_token": [
        *("tokens", "features", "losses", "capacity", "query", "readout", "trained"),
        *("descent", "online", "oracle"),
    ],
    "in_context": ["tasks", "correlated", "adaptation", "limit"],
    "in_context_training": ["layers", "trained", "descent", "training"],
    "elliptical": ["variability", "kernel_regression", "tilted", "queries", "stages", "sampling"],
    "torch": [
        "positional_pooling",
        "sentence_transformers",
        "elliptical_metric",
        "attention",
        "transformer",
        "huggingface",
    ],
    "sources": ["columns", "shards", "arrays", "streams", "opening"],
    "explorer": [
        *(
            "state",
            "figures",
            "pooled",
            "sparse_token",
            "in_context",
            "elliptical",
            "tabs",
            "layout",
            "app",
            "command",
        )
    ],
    "weights": ["given", "estimated"],
    "estimators": ["sparse_token", "against_mean", "rules", "positional_pooling"],
    "downstream": ["ridge", "landscape", "convex", "classifier", "classes"],
    "query_attention": ["types", "bulk", "outliers", "null_test"],
    "vocabulary": ["frequencies", "modes", "corpus"],
    "models": [
        "sizes",
        "claims",
        "finite_size",
        "outcomes",
        "class_outcomes",
        "elliptical_outcomes",
        "pooled",
        "classes",
        "value_layers",
        "query_attention",
        "vocabulary",
        "ridge",
        "sparse_token",
        "in_context",
        "elliptical",
    ],
    "verdicts": ["comparisons", "pooled", "sparse_token", "in_context", "elliptical", "beyond_the_paper"],
    "experiments": [
        *sorted(set(FIGURES) - {"agreement", "finite_size", "error_bars"}),
        *("agreement", "finite_size", "error_bars"),
    ],
}


@pytest.mark.parametrize("name", ["resolvent", "resolvent.laws", "resolvent.models"])
def test_all_is_exact_both_ways(name):
    bound = set()
    for node in TREES[MODULES[name]].body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
    listed = importlib.import_module(name).__all__
    assert len(listed) == len(set(listed))
    assert set(listed) == bound - {"__all__"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_pages_list_what_they_offer(page):
    source = {
        n.name for n in TREES[MODULES[page.__name__]].body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    }
    offered = {name for name in source if not name.startswith("_")}
    listed = set(page.__all__)
    assert all(hasattr(page, name) for name in listed)
    # what is neither listed nor private is there for another module
    shared = {
        alias.name
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == page.__name__
        for alias in node.names
    }
    assert offered - listed <= shared


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[1:2] and n.split(".")[1] in RANK])
def test_every_module_lists_its_names(name):
    module = importlib.import_module(name)
    assert module.__all__
    assert all(hasattr(module, listed) for listed in module.__all__)


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_public_names_are_documented_with_an_example(name):
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    first = text.partition("\n")[0]
    assert first
    assert first[0].isupper() or not first[0].isalpha()
    assert "Examples\n--------\n>>> " in text


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_documented_parameters_are_the_real_ones(name):
    obj = DOCUMENTED[name]
    text = inspect.getdoc(obj) or ""
    if "Parameters\n----------\n" not in text:
        pytest.skip("no section on parameters")
    section = text.split("Parameters\n----------\n")[1].split("\n\n")[0]
    listed = [
        part.strip()
        for line in section.splitlines()
        if line and not line.startswith(" ")
        for part in line.partition(" :")[0].split(",")
    ]
    assert listed == [p for p in inspect.signature(obj).parameters if p in listed]
    assert set(listed) <= set(inspect.signature(obj).parameters)


@pytest.mark.parametrize("name", list(OWN))
def test_functions_are_typed(name):
    node = OWN[name]
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    untyped = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
    assert not untyped
    assert node.returns is not None


def test_importing_is_light():
    heavy = ("matplotlib", "torch", "dask", "pandas", "xarray", "scipy.optimize", "scipy.sparse", "joblib")
    code = f"import sys, resolvent; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imports(path):
    """(module, line) of every import of the package itself, those inside functions included."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (
                (alias.name, node.lineno) for alias in node.names if alias.name.startswith("resolvent")
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "resolvent":
                yield from ((f"resolvent.{alias.name}", node.lineno) for alias in node.names)
            elif node.module and node.module.startswith("resolvent."):
                yield node.module, node.lineno


def typing_only(path):
    """Lines under ``if TYPE_CHECKING``: they import nothing at run time."""
    return {
        line
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for line in range(node.lineno, node.end_lineno + 1)
    }


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[1:2] and n.split(".")[1] in RANK])
def test_imports_point_one_way(name):
    path = MODULES[name]
    package = name.split(".")[1]
    for target, line in imports(path):
        if line in typing_only(path):
            continue
        other = target.split(".")[1]
        if other == "__version__":
            continue
        where = f"{name}:{line} imports {target}"
        assert other in RANK, where
        if other == package:
            order = INSIDE.get(package, [])
            inner = [*target.split("."), ""][2]
            own = [*name.split("."), ""][2]
            if own and inner:  # an __init__ may gather all of its files
                assert order.index(inner) < order.index(own), where
        else:
            assert RANK[other] < RANK[package], where


def test_new_folders_of_files_have_an_order():
    for package, order in INSIDE.items():
        assert {p.stem for p in (ROOT / package).glob("*.py")} - {"__init__"} == set(order)


@pytest.mark.parametrize("path", FILES, ids=lambda p: dotted(p))
def test_modules_are_small_and_named_for_what_they_hold(path):
    assert len(path.read_text().splitlines()) < 400
    assert path.stem not in ("utils", "util", "helpers", "common", "base", "misc", "tools")


def test_the_front_page_is_short():
    assert len((ROOT / "__init__.py").read_text().splitlines()) < 50


def test_version_is_a_version():
    assert [part.isdigit() for part in resolvent.__version__.split(".")[:2]] == [True, True]
