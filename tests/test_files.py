"""Matrices from files of every kind: as stored, chosen by name, and refused in words where they are damaged."""

import builtins
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet
from safetensors.numpy import save_file

from resolvent.datasets import read, read_tokens

TABLE = np.random.default_rng(0).standard_normal((7, 3))
TOKENS = np.random.default_rng(1).integers(0, 50, (7, 4))


def lists(rows, kind="variable", dtype=None):
    flat = pa.array(np.ascontiguousarray(rows).ravel(), dtype)
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    offsets = np.arange(rows.shape[0] + 1) * rows.shape[1]
    large = kind == "large"
    return (pa.LargeListArray if large else pa.ListArray).from_arrays(
        pa.array(offsets, pa.int64() if large else pa.int32()), flat
    )


def stream(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write(columns, path, form="parquet"):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    if form == "parquet":
        parquet.write_table(table, path, row_group_size=3)
    elif form == "feather":
        feather.write_feather(table, str(path), chunksize=3)
    else:
        stream(table, path)
    return path


FORMS = {"parquet": "t.parquet", "feather": "t.feather", "stream": "t.arrow"}


def test_npy_is_mapped_and_cannot_be_changed(tmp_path):
    np.save(tmp_path / "t.npy", TABLE)
    back = read(tmp_path / "t.npy")
    assert isinstance(back, np.memmap)
    assert not back.flags.writeable
    np.testing.assert_array_equal(back, TABLE)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak of memory")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("reader", ["read", "read_tokens"])
def test_a_large_npy_never_lies_in_memory_whole(tmp_path, reader, order):
    path = tmp_path / "t.npy"  # 800 MB, which the file system keeps as a hole
    kind = {"read": "f8", "read_tokens": "i8"}[reader]
    np.lib.format.open_memmap(path, "w+", kind, (1_000_000, 100), fortran_order=order == "F")
    code = (
        f"import re; from resolvent.datasets import {reader}; assert len({reader}({str(path)!r})) == 1_000_000;"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 250_000


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("row", [0, 59_000, 99_999])
def test_the_first_bad_row_is_named(tmp_path, order, row):
    table = np.zeros((100_000, 60), dtype=np.float32, order=order)  # more than one block
    table[row, 50] = np.inf
    table[min(row + 1, 99_999), 0] = np.nan
    np.save(tmp_path / "t.npy", table)
    with pytest.raises(ValueError, match=rf"t\.npy' must hold finite numbers.*first in row {row} \(from 0\)"):
        read(tmp_path / "t.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_name(tmp_path, save):
    path = tmp_path / "t.npz"
    save(path, table=TABLE, vector=np.ones(3), other=np.eye(4))
    for back in (read(f"{path}:table"), read(path, tensor="table")):
        np.testing.assert_array_equal(back, TABLE)
    with pytest.raises(ValueError, match=r"tensor must name one .*: other, table$"):
        read(path)
    with pytest.raises(ValueError, match=r"tensor must be one of other, table, vector, got 'none'"):
        read(path, tensor="none")
    with pytest.raises(ValueError, match=r"t\.npz' must hold a real matrix.*\(3,\)"):
        read(f"{path}:vector")


def test_npz_with_one_matrix_needs_no_name(tmp_path):
    np.savez(tmp_path / "t.npz", vector=np.ones(3), table=TABLE)
    np.testing.assert_array_equal(read(tmp_path / "t.npz"), TABLE)
    np.savez(tmp_path / "t.npz", table=TABLE)
    np.testing.assert_array_equal(read(tmp_path / "t.npz"), TABLE)


def test_safetensors_by_name_in_the_path(tmp_path):
    save_file({"a": TABLE, "b": np.eye(4)}, tmp_path / "t.safetensors")
    np.testing.assert_array_equal(read(f"{tmp_path / 't.safetensors'}:a"), TABLE)


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("kind", ["variable", "large", "fixed"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_column_of_lists_is_a_matrix(tmp_path, form, kind, dtype):
    table = TABLE.astype(dtype)
    columns = {"id": np.arange(7), "vector": lists(table, kind), "word": list("abcdefg")}
    path = write(columns, tmp_path / FORMS[form], form)
    for back in (read(path), read(f"{path}:vector"), read(path, column="vector")):
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, table)


@pytest.mark.parametrize("form", list(FORMS))
def test_numeric_columns_are_a_matrix(tmp_path, form):
    path = write({str(i): TABLE[:, i] for i in range(3)}, tmp_path / FORMS[form], form)
    np.testing.assert_array_equal(read(path), TABLE)
    with pytest.raises(ValueError, match=r"column '1' of .* must hold lists of floating numbers, got double"):
        read(path, column="1")


def test_slices_and_tensor_types_of_arrow(tmp_path):
    kind = pa.fixed_shape_tensor(pa.float64(), (3,))
    vectors = pa.ExtensionArray.from_storage(kind, lists(TABLE, "fixed"))
    path = write(pa.table({"v": vectors}), tmp_path / "t.arrow", "stream")
    np.testing.assert_array_equal(read(path), TABLE)
    path = write(pa.table({"v": lists(TABLE, "fixed")}).slice(2, 4), tmp_path / "u.arrow", "stream")
    np.testing.assert_array_equal(read(path), TABLE[2:6])


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("kind", ["list", "fixed"])
def test_null_rows_are_named(tmp_path, form, kind):
    rows = [list(row) for row in TABLE]
    rows[4] = None
    typed = pa.list_(pa.float64(), 3) if kind == "fixed" else pa.list_(pa.float64())
    path = write({"v": pa.array(rows, typed)}, tmp_path / FORMS[form], form)
    with pytest.raises(
        ValueError, match=rf"column 'v' of .*{path.name}' must not hold nulls, got one in row 4"
    ):
        read(path)


def test_nulls_inside_are_named(tmp_path):
    rows = [list(row) for row in TABLE]
    rows[5][1] = None
    path = write({"v": rows}, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'v' .* nulls, got one in row 5"):
        read(path)
    path = write({"a": [1.0] * 7, "b": [1.0] * 6 + [None]}, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'b' .* nulls, got one in row 6"):
        read(path)


@pytest.mark.parametrize("row", [1, 4])
def test_ragged_rows_are_named(tmp_path, row):
    rows = [list(r) for r in TABLE]
    rows[row] = [1.0, 2.0]
    path = write({"v": rows}, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=rf"one length, got 2 numbers in row {row} \(from 0\) and 3 before"):
        read(path)


def test_several_columns_must_be_named(tmp_path):
    path = write({"a": lists(TABLE), "b": lists(2 * TABLE), "n": np.arange(7)}, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column must name one .*: a, b$"):
        read(path)
    np.testing.assert_array_equal(read(path, column="b"), 2 * TABLE)
    with pytest.raises(ValueError, match=r"column must be one of a, b, n, got 'c'"):
        read(path, column="c")
    with pytest.raises(ValueError, match=r"column 'n' of .* must hold lists of floating numbers, got int64"):
        read(path, column="n")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"word": ["a", "b"], "x": [1.0, 2.0]}, r"floating numbers in every column, got word \(string\)"),
        ({"id": [1, 2], "x": [1.0, 2.0]}, r"got id \(int64\)"),
        ({}, "got no column"),
        ({"v": lists(TABLE[:0])}, r"real matrix of .* \(0, 0\)"),
        ({"v": pa.array([[], []], pa.list_(pa.float64()))}, r"real matrix of .* \(2, 0\)"),
        ({"v": [[1.0, float("nan")], [1.0, 2.0]]}, "first in row 0"),
    ],
)
def test_columns_that_are_no_matrix_are_refused(tmp_path, columns, says):
    path = write(columns, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=rf"t\.parquet' .*{says}"):
        read(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = write(pa.Table.from_arrays([lists(TABLE), lists(TABLE)], ["v", "v"]), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="two columns of one name"):
        read(path)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.feather"])
def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"any")
    real = builtins.__import__

    def without(module, *args, **kwargs):
        if module.partition(".")[0] == "pyarrow":
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs pyarrow: pip install 'resolvent\[parquet\]'"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "given"),
    [("t.npy", {"tensor": "a"}), ("t.npy", {"column": "a"}), ("t.npz", {"column": "a"})],
)
def test_names_that_mean_nothing_are_refused(tmp_path, name, given):
    np.save(tmp_path / "t.npy", TABLE)
    np.savez(tmp_path / "t.npz", TABLE)
    with pytest.raises(ValueError, match=rf"names no part of a \{name[1:]} file, got 'a'"):
        read(tmp_path / name, **given)


def test_tensors_are_no_columns(tmp_path):
    write({"v": lists(TABLE)}, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"tensor names no part of a \.parquet file"):
        read(tmp_path / "t.parquet", tensor="v")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_pickles_are_never_loaded(tmp_path):
    bombs = np.array([[Bomb(), Bomb()], [Bomb(), Bomb()]], dtype=object)
    np.save(tmp_path / "t.npy", bombs, allow_pickle=True)
    np.savez(tmp_path / "t.npz", bombs)
    for name in ("bare.npy", "bare.npz", "bare.parquet", "bare.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for path in tmp_path.iterdir():
        for reader in (read, read_tokens):
            with pytest.raises(ValueError, match=rf"{path.name}' cannot be read as"):
                reader(path)


@pytest.mark.parametrize("form", ["npy", "npz", "safetensors", *FORMS])
def test_tokens_come_back_as_stored(tmp_path, form):
    for dtype in ("int16", "int32", "int64", "uint8"):
        ids = TOKENS.astype(dtype)
        path = tmp_path / FORMS.get(form, f"t.{form}")
        if form == "npy":
            np.save(path, ids)
        elif form == "npz":
            np.savez(path, ids=ids, labels=np.zeros(7))
        elif form == "safetensors":
            save_file({"ids": ids}, path)
        else:
            write({"ids": lists(ids), "vector": lists(TABLE)}, path, form)
        back = read_tokens(path)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, ids)


def test_tokens_in_columns(tmp_path):
    path = write({str(i): TOKENS[:, i] for i in range(4)}, tmp_path / "t.parquet")
    np.testing.assert_array_equal(read_tokens(path), TOKENS)
    with pytest.raises(ValueError, match=r"lists of whole numbers.*got x \(double\)"):
        read_tokens(write({"x": [1.0, 2.0]}, path))


@pytest.mark.parametrize("array", [TABLE, np.arange(3), np.ones((2, 2), dtype=bool), np.ones((2, 2, 2), int)])
def test_what_is_no_matrix_of_ids_is_refused(tmp_path, array):
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(ValueError, match=r"t\.npy' must hold whole numbers of shape \(N, T\), got "):
        read_tokens(tmp_path / "t.npy")


def test_the_first_negative_id_is_named(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[0, 1], [2, -1], [-5, 0]]))
    with pytest.raises(ValueError, match=r"token ids >= 0, got a negative one, first in row 1 \(from 0\)"):
        read_tokens(tmp_path / "t.npy")


@pytest.mark.parametrize("kept", [0, 5, 0.3, 0.7, -1, -9])
@pytest.mark.parametrize("form", ["npz", *FORMS])
def test_cut_files_are_refused(tmp_path, form, kept):
    good = tmp_path / FORMS.get(form, "t.npz")
    if form == "npz":
        np.savez(good, TABLE)
    else:
        write({"v": lists(TABLE)}, good, form)
    whole = good.read_bytes()
    if form == "stream" and kept in (-1, -9):
        pytest.skip("the end of a stream carries nothing")
    path = tmp_path / f"cut{good.suffix}"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=rf"cut\{good.suffix}"):
        read(path)


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path):
    np.savez(tmp_path / "t.npz", TABLE)
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[content.index(TABLE.tobytes()) + 20] ^= 1
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.npz' cannot be read as \.npz.*CRC"):
        read(tmp_path / "t.npz")


def test_offsets_that_point_outside_are_refused(tmp_path):
    path = write({"v": lists(TABLE)}, tmp_path / "t.arrow", "stream")
    content = bytearray(path.read_bytes())
    at = content.index(np.arange(0, 12, 3, dtype=np.int32).tobytes())
    content[at : at + 16] = np.array([0, 10**8, 2 * 10**8, 3 * 10**8], dtype=np.int32).tobytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.arrow' cannot be read as \.arrow"):
        read(path)


def test_an_array_that_goes_on_is_refused(tmp_path):
    np.save(tmp_path / "t.npy", TABLE)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("t.npy", (tmp_path / "t.npy").read_bytes() + b"more")
    with pytest.raises(ValueError, match="goes on after the array"):
        read(tmp_path / "t.npz")


@given(st.binary(max_size=80), st.sampled_from([".npz", ".parquet", ".arrow", ".feather"]))
def test_any_bytes_are_refused(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("any") / f"table{suffix}"
    magic = {".npz": b"PK\x03\x04", ".parquet": b"PAR1"}.get(suffix, b"ARROW1\0\0")
    path.write_bytes(magic + content + (magic if suffix != ".npz" else b""))
    with pytest.raises(ValueError, match="table"):
        read(path)
