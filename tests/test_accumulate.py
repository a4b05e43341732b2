"""Passes over sources of any kind: what they read, the same bits from every engine, and workers that die."""

import functools
import os
import pathlib
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from slow_source import EMPTY, IDS, LABELS, RNG, TABLE, D, N, T, V, slow

from resolvent.accumulate import accumulate
from resolvent.sources import DamagedError, batches, open_source
from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import Ragged

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LENGTHS = RNG.integers(1, 2 * T, N)
ROWS = [RNG.integers(0, V, n) for n in LENGTHS]
OPTIONS = {"batch_size": 16, "shard_size": 32}


def padded(rows, left=False):
    ids, mask = (
        np.zeros((len(rows), max(map(len, rows))), dtype=int),
        np.zeros((len(rows), max(map(len, rows))), dtype=int),
    )
    for i, row in enumerate(rows):
        place = slice(-len(row), None) if left else slice(len(row))
        ids[i, place], mask[i, place] = row, 1
    return ids, mask


def direct(rows, labels=LABELS):
    """In one go, without sources."""
    return EMPTY.blank().add(rows, table=TABLE, labels=labels)


def assert_close(a, b):
    assert (a.count, a.position_count) == (b.count, b.position_count)
    for name in ("mean", "covariance", "noise", "positional_gram", "within", "between"):
        np.testing.assert_allclose(getattr(a, name)(), getattr(b, name)(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(a.sums["token_counts"], b.sums["token_counts"])


def assert_same_bits(a, b):
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def columns(rows, labels=LABELS, kind=None):
    ids = pa.array([row.tolist() for row in rows], type=kind or pa.list_(pa.int32()))
    return pa.table({"text": ["x"] * len(rows), "input_ids": ids, "label": pa.array(labels)})


def masked(rows):
    ids, mask = padded(rows)
    return pa.table(
        {
            "input_ids": pa.array(ids.tolist(), type=pa.list_(pa.int64(), ids.shape[1])),
            "attention_mask": pa.array(mask.tolist(), type=pa.list_(pa.int8())),
            "label": pa.array(LABELS),
        }
    )


def written(table, path):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=20)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, path, chunksize=20)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table, max_chunksize=20)
    return path


# what sources read


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize(
    "make",
    [
        columns,
        masked,
        lambda rows: columns(rows, kind=pa.large_list(pa.uint16())),
    ],
    ids=["list", "fixed size list with mask", "large list"],
)
def test_files_of_columns(tmp_path, suffix, make):
    import pyarrow.feather  # noqa: F401

    path = written(make(ROWS), tmp_path / f"tokens.{suffix}")
    source = open_source(path, **OPTIONS)
    assert source.count == N
    shards = list(source.split())
    assert [shard.count for shard in shards] == [40, 40, 40, 40, 40, 30]
    assert [shard.first for shard in shards] == [0, 40, 80, 120, 160, 200]
    read = list(source)
    assert max(batch.n for batch in read) <= 20
    assert all(isinstance(batch.X, Ragged) for batch in read)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in read]), LABELS)
    np.testing.assert_array_equal(
        np.concatenate([b.X.values[b.X.offsets[0] : b.X.offsets[-1]] for b in read]), np.concatenate(ROWS)
    )
    assert_close(accumulate(path, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))


def test_flattening_makes_no_copy():
    table = columns(ROWS).combine_chunks()
    X = next(open_source(iter([table])).split()).origin.batch.X
    assert np.shares_memory(X.values, table.column("input_ids").chunk(0).values.to_numpy())


def test_arrays_and_lists(tmp_path):
    ids, mask = padded(ROWS)
    left, own = padded(ROWS, left=True)
    expected = direct(ROWS)
    for X, m in ((ids, mask), (left, own), (ROWS, None), (np.array(ROWS, dtype=object).tolist(), None)):
        done = accumulate(X, EMPTY, table=TABLE, mask=m, labels=LABELS, **OPTIONS)
        assert_close(done.moments, expected)
        assert done.shards == 8
    vectors = TABLE[IDS]
    blank = TokenMoments.empty("causal", T, gram=True, classes=3)
    plain = blank.blank().add(vectors, labels=LABELS)
    for X in (vectors, list(vectors), iter([vectors[:100], vectors[100:]])):
        keep = {"labels": LABELS} if not hasattr(X, "__next__") else {}
        if not keep:
            X = ((x, None, y) for x, y in zip((vectors[:100], vectors[100:]), (LABELS[:100], LABELS[100:])))
        done = accumulate(X, blank, batch_size=50, **keep).moments
        np.testing.assert_allclose(done.within(), plain.within(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(done.covariance(), plain.covariance(), rtol=1e-4, atol=1e-6)
    pooled = vectors.mean(axis=1)
    done = accumulate(pooled, TokenMoments.empty("mean", T, noise=False), **OPTIONS).moments
    np.testing.assert_allclose(done.covariance(), np.cov(pooled.T), rtol=1e-4, atol=1e-6)


def test_mapped_arrays_are_shipped_as_places_and_others_as_their_rows(tmp_path):
    big = np.zeros((20_000, 16), dtype=np.int64)
    big[:, 0] = np.arange(20_000) % 50
    np.save(tmp_path / "ids.npy", big)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for source in (mapped, tmp_path / "ids.npy"):
        shards = list(open_source(source, batch_size=1000, shard_size=1000).split())
        assert len(pickle.dumps(shards[7])) < 1000
        shard = pickle.loads(pickle.dumps(shards[7]))
        np.testing.assert_array_equal(next(iter(shard)).X, big[7000:8000])
    sliced = mapped[5:10_005]  # counts from where it begins
    shard = pickle.loads(pickle.dumps(list(open_source(sliced, shard_size=1000).split())[2]))
    np.testing.assert_array_equal(next(iter(shard)).X, big[2005:3005])
    shards = list(open_source(big, batch_size=1000, shard_size=1000).split())
    assert len(pickle.dumps(shards[7])) < 140_000
    in_file = next(open_source(written(columns(ROWS), tmp_path / "a.parquet")).split())
    assert len(pickle.dumps(in_file)) < 1000


def test_folders_and_lists_of_files(tmp_path):
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    written(columns(ROWS[:100], LABELS[:100]), folder / "a.parquet")
    written(columns(ROWS[100:], LABELS[100:]), folder / "more" / "b.arrow")
    (folder / "notes.txt").write_text("nothing")
    for source in (folder, str(folder), [folder / "a.parquet", folder / "more"]):
        assert_close(accumulate(source, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))
    with pytest.raises(ValueError, match=r"must be files of .*notes.txt"):
        open_source(folder / "notes.txt")
    with pytest.raises(ValueError, match="does not exist"):
        open_source(tmp_path / "none.parquet")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="must hold files"):
        open_source(tmp_path / "bare")


def test_iterators_of_batches():
    ids, mask = padded(ROWS)
    cuts = [(0, 7), (7, 90), (90, 91), (91, N)]
    forms = {
        "pairs": [(ids[a:b], mask[a:b], LABELS[a:b]) for a, b in cuts],
        "mappings": [
            {
                "input_ids": ids[a:b].tolist(),
                "attention_mask": mask[a:b].tolist(),
                "labels": LABELS[a:b].tolist(),
            }
            for a, b in cuts
        ],
        "ragged mappings": [
            {"input_ids": [r.tolist() for r in ROWS[a:b]], "label": LABELS[a:b]} for a, b in cuts
        ],
        "tables": [columns(ROWS[a:b], LABELS[a:b]) for a, b in cuts],
    }
    for name, form in forms.items():
        for source in (form, iter(form)) if name != "tables" else (iter(form),):
            done = accumulate(source, EMPTY, table=TABLE, batch_size=30)
            assert_close(done.moments, direct(ROWS))
            assert done.shards == 2, name
    source = open_source(iter(forms["pairs"]), batch_size=30)
    assert source.stream
    assert source.count is None
    assert [b.n for b in batches(iter(forms["pairs"]), batch_size=30)] == [90, 140]


def test_other_columns(tmp_path):
    table = columns(ROWS).rename_columns(["text", "tokens", "class"])
    path = written(table, tmp_path / "own.parquet")
    named = {"column": "tokens", "labels": "class"}
    assert_close(accumulate(path, EMPTY, table=TABLE, **named).moments, direct(ROWS))
    assert_close(accumulate(path, EMPTY, table=TABLE, labels="class").moments, direct(ROWS))
    with pytest.raises(
        ValueError, match=r"column must be one of tokens in .*own.parquet.*got 'text' of string"
    ):
        open_source(path, column="text")
    with pytest.raises(ValueError, match=r"labels must be one of class in .*got 'tokens'"):
        open_source(path, labels="tokens")
    with pytest.raises(ValueError, match="mask must name a column"):
        open_source(path, mask=np.ones(3))
    with pytest.raises(ValueError, match=r"own.parquet.* must have labels, for moments of 3 classes"):
        accumulate(path, EMPTY, table=TABLE)
    two = table.append_column("b", table.column("tokens"))
    with pytest.raises(ValueError, match="column must name one of tokens, b"):
        open_source(written(two, tmp_path / "two.arrow"))


def test_token_vectors_in_columns(tmp_path):
    vectors = TABLE[IDS]
    for kind in (
        pa.list_(pa.list_(pa.float32(), D)),
        pa.list_(pa.list_(pa.float32())),
        pa.large_list(pa.list_(pa.float32(), D)),
    ):
        table = pa.table({"vectors": pa.array(vectors.tolist(), type=kind)})
        empty = TokenMoments.empty("mean", T)
        done = accumulate(written(table, tmp_path / "v.arrow"), empty, **OPTIONS).moments
        np.testing.assert_allclose(
            done.covariance(), empty.blank().add(vectors).covariance(), rtol=1e-5, atol=1e-7
        )


def test_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "ids.zarr"
    array = zarr.create_array(str(path), shape=IDS.shape, chunks=(25, T), dtype="int32")
    array[:] = IDS
    expected = accumulate(
        IDS.astype("int32"), EMPTY, table=TABLE, labels=LABELS, batch_size=16, shard_size=50
    ).moments
    done = accumulate(array, EMPTY, table=TABLE, labels=LABELS, **OPTIONS)
    assert [s.count for s in open_source(array, **OPTIONS).split()] == [50, 50, 50, 50, 30]  # whole chunks
    assert_same_bits(done.moments, expected)
    plain = TokenMoments.empty("mean", T)
    assert_same_bits(
        accumulate(path, plain, table=TABLE, **OPTIONS).moments,
        accumulate(array, plain, table=TABLE, n_jobs=2, **OPTIONS).moments,
    )
    vectors = zarr.create_array(str(tmp_path / "v.zarr"), shape=(N, T, D), chunks=(30, T, D), dtype="float32")
    vectors[:] = TABLE[IDS]
    assert accumulate(tmp_path / "v.zarr", plain).moments.count == N


def test_zarr_damaged(tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "ids.zarr"
    zarr.create_array(str(path), shape=IDS.shape, chunks=(25, T), dtype="int64")[:] = IDS
    chunk = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")[0]
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"ids.zarr.* cannot be read"):
        accumulate(path, TokenMoments.empty("mean", T), table=TABLE)


def test_zarr_with_damaged_metadata_is_left_out(tmp_path):
    zarr = pytest.importorskip("zarr")
    for name in ("a.zarr", "b.zarr"):
        zarr.create_array(str(tmp_path / name), shape=IDS.shape, chunks=(25, T), dtype="int64")[:] = IDS
    file = tmp_path / "a.zarr" / "zarr.json"
    good = file.read_text()
    plain = TokenMoments.empty("mean", T)
    for bad in (
        "[]",
        good.replace('"data_type"', '"data_tipe"'),
        good.replace('"chunk_shape"', '"chunk_shap3"'),
    ):
        file.write_text(bad)
        with pytest.raises(DamagedError, match=r"a.zarr' cannot be read: no metadata of an array"):
            open_source(tmp_path / "a.zarr")
        with pytest.warns(UserWarning, match="1 damaged parts skipped: .*a.zarr"):
            done = accumulate(tmp_path, plain, table=TABLE, skip_damaged=True)
        assert done.moments.count == N


def test_zarr_beyond_the_bound_is_known_by_first_rows(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    from resolvent.sources import arrays

    array = zarr.create_array(str(tmp_path / "ids.zarr"), shape=IDS.shape, chunks=(25, T), dtype="int64")
    array[:] = IDS

    def described():
        return [shard.description for shard in open_source(array, batch_size=50, shard_size=50).split()]

    whole = described()
    monkeypatch.setattr(arrays, "WHOLE", 1000)
    some = described()
    array[51, 0] = IDS[51, 0] + 1
    assert described() == some
    array[50, 0] = IDS[50, 0] + 1
    assert [a == b for a, b in zip(described(), some, strict=True)] == [True, False, True, True, True]
    monkeypatch.undo()
    assert [a == b for a, b in zip(described(), whole, strict=True)] == [True, False, True, True, True]


def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset(columns(ROWS))
    assert_close(accumulate(data, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))
    order = np.random.default_rng(1).permutation(N)
    shuffled = data.select(order)
    done = accumulate(shuffled.with_format("torch"), EMPTY, table=TABLE, n_jobs=2, **OPTIONS)
    assert done.shards == 8
    assert_close(done.moments, direct([ROWS[i] for i in order], LABELS[order]))
    stream = data.to_iterable_dataset(num_shards=4)
    assert_close(accumulate(stream, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))
    one = data.to_iterable_dataset()
    assert open_source(one).stream
    assert_close(accumulate(one, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))

    def rows():
        for row, label in zip(ROWS, LABELS):
            yield {"input_ids": row.tolist(), "label": int(label)}

    made = datasets.IterableDataset.from_generator(rows)
    assert_close(accumulate(made, EMPTY, table=TABLE, **OPTIONS).moments, direct(ROWS))
    with pytest.raises(ValueError, match="one split of the datasets, got train"):
        open_source(datasets.DatasetDict(train=data))


# bad input


def test_bad_sequences_are_named_and_nothing_is_lost(tmp_path):
    good = accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, **OPTIONS)
    before = {name: value.copy() for name, value in good.moments.state().items()}
    outside, mask = IDS.copy(), np.ones(IDS.shape, dtype=bool)
    outside[150, 2] = V
    mask[150] = False
    holes = list(IDS)
    holes[150] = IDS[0, :0]
    vectors = TABLE[IDS]
    vectors[150, 1, 3] = np.nan
    arguments = {"labels": LABELS, **OPTIONS}
    for message, source, more in (
        (
            r"source: X must hold ids from 0 to 59, got 0 to 60, first in sequence 150 \(from 0\)",
            outside,
            {"table": TABLE},
        ),
        (
            r"at least one token in each sample, got none in sample 150 \(from 0\)",
            IDS,
            {"table": TABLE, "mask": mask},
        ),
        (r"at least one token in each sample, got none in sample 150 \(from 0\)", holes, {"table": TABLE}),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            accumulate(source, good.moments, **more, **arguments)
        kept = caught.value.accumulated
        assert (kept.shards, kept.moments.count) == (4, N + 128)
        assert "358 sequences of 4 shards are in error.accumulated" in caught.value.__notes__[0]
    blank = TokenMoments.empty("mean", T)
    for bad in (np.nan, np.inf):
        vectors[150, 1, 3] = bad
        with pytest.raises(ValueError, match=r"NaN or infinite entries in sequence 150 \(from 0\)"):
            accumulate(vectors, blank, **OPTIONS)
    table = TABLE.copy()
    table[IDS[77, 0]] = np.nan
    first = np.flatnonzero((IDS[77, 0] == IDS).any(axis=1))[0]
    with pytest.raises(ValueError, match=rf"NaN or infinite entries in sequence {first} \(from 0\)"):
        accumulate(IDS, blank, table=table, **OPTIONS)
    for name, value in good.moments.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_rows_of_files_are_named(tmp_path):
    rows = [*ROWS]
    rows[130] = np.array([3, V + 9])
    folder = tmp_path / "d"
    folder.mkdir()
    written(columns(ROWS[:50], LABELS[:50]), folder / "a.parquet")
    written(columns(rows), folder / "b.parquet")
    for jobs in (None, 2):
        with pytest.raises(
            ValueError, match=r"b.parquet': X must hold ids .* first in sequence 130 \(from 0\)"
        ):
            accumulate(folder, EMPTY, table=TABLE, n_jobs=jobs, **OPTIONS)
    wrong = masked(ROWS).set_column(1, "attention_mask", pa.array([[1] * len(r) for r in ROWS]))
    with pytest.raises(
        ValueError, match=r"c.parquet': attention_mask must be as long as input_ids.* in sequence 0"
    ):
        accumulate(written(wrong, folder / "c.parquet"), EMPTY, table=TABLE)


def test_widths_must_agree(tmp_path):
    np.save(tmp_path / "a.npy", TABLE[IDS])
    np.save(tmp_path / "b.npy", TABLE[IDS][..., :4])
    blank = TokenMoments.empty("mean", T)
    with pytest.raises(
        ValueError, match=r"b.npy', sequences from 0: moments must be of one width, got 7 and 4"
    ) as caught:
        accumulate([tmp_path / "a.npy", tmp_path / "b.npy"], blank)
    assert caught.value.accumulated.moments.count == N
    with pytest.raises(ValueError, match="one width"):
        accumulate(IDS, caught.value.accumulated.moments, table=TABLE[:, :4])


def test_damaged_files_are_named_and_skipped_when_asked(tmp_path):
    import pyarrow.feather  # noqa: F401

    folder = tmp_path / "d"
    folder.mkdir()
    good = written(columns(ROWS[:100], LABELS[:100]), folder / "a.parquet")
    assert good.exists()
    middle = written(columns(ROWS), folder / "b.parquet")
    raw = bytearray(middle.read_bytes())
    with parquet.ParquetFile(middle) as file:
        column = file.metadata.row_group(3).column(1)
        at = column.data_page_offset
    raw[at : at + 40] = b"\xff" * 40  # a page in the middle
    middle.write_bytes(raw)
    for name in ("c.parquet", "d.arrow", "e.feather", "f.npy"):
        if name == "f.npy":
            np.save(folder / name, IDS)
        else:
            written(columns(ROWS), folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DamagedError, match=f"{name}' cannot be read"):
            open_source(folder / name)
    with pytest.raises(DamagedError, match=r"c.parquet' cannot be read"):
        accumulate(folder, EMPTY, table=TABLE)
    with pytest.raises(DamagedError, match=r"b.parquet', sequences 40 to 79, cannot be read"):
        accumulate(middle, EMPTY, table=TABLE, **OPTIONS)
    for jobs in (None, 2):
        with pytest.warns(UserWarning, match="5 damaged parts skipped: .*c.parquet") as said:
            done = accumulate(folder, EMPTY, table=TABLE, skip_damaged=True, n_jobs=jobs, **OPTIONS)
        assert len(said) == 1
        assert len(done.skipped) == 5
        kept = np.r_[0:40, 80:N]
        expected = direct(ROWS[:100], LABELS[:100]) + direct([ROWS[i] for i in kept], LABELS[kept])
        assert_close(done.moments, expected)


def interrupt():
    raise KeyboardInterrupt


def missing_package():
    import no_such_package_at_all  # noqa: F401


def out_of_memory():
    raise MemoryError("too little")


def mistake():
    return {}["no such key"]


def torn():
    raise EOFError("ends in the middle")


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (missing_package, ImportError),
        (out_of_memory, MemoryError),
        (mistake, KeyError),
        (lambda: None + 1, TypeError),
        (lambda: np.no_such_function, AttributeError),
        (interrupt, KeyboardInterrupt),
    ],
)
def test_mistakes_are_no_damage(trouble, kind):
    with pytest.raises(kind) as caught:
        accumulate(slow(0, trouble=(80, trouble)), EMPTY, table=TABLE, skip_damaged=True)
    assert caught.value.accumulated.moments.count == 80
    with pytest.raises(kind):
        list(slow(0, trouble=(80, trouble)))


@pytest.mark.parametrize("engine", [{}, {"n_jobs": 2}])
def test_a_mistake_in_a_worker_is_raised_as_it_is_and_damage_left_out(engine):
    with pytest.raises(KeyError, match="no such key") as caught:  # and not tried again and again
        accumulate(slow(0, trouble=(80, mistake)), EMPTY, table=TABLE, skip_damaged=True, **engine)
    assert any("slow, sequences from 80: raised in" in note for note in caught.value.__notes__)
    with pytest.warns(UserWarning, match="slow, sequences 80 to 87, cannot be read: ends in the middle"):
        done = accumulate(slow(0, trouble=(80, torn)), EMPTY, table=TABLE, skip_damaged=True, **engine)
    assert done.moments.count == N - 8


def test_what_readers_raise_of_damaged_files_is_damage():
    import lzma
    import zlib

    from resolvent.sources.shards import unreadable

    kinds = (
        OSError,
        PermissionError,
        EOFError,
        ValueError,
        UnicodeError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
    )
    for kind in (*kinds, pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowTypeError):
        assert unreadable(kind("x")), kind
    for kind in (TypeError, KeyError, RecursionError, pa.lib.ArrowMemoryError, pa.ArrowNotImplementedError):
        assert not unreadable(kind("x")), kind


def test_files_that_cannot_be_opened_for_want_of_a_package_are_not_skipped(tmp_path, monkeypatch):
    path = written(columns(ROWS), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError):
        open_source(path, skip_damaged=True)


@pytest.mark.parametrize("header", [b"{'descr'", b"{'descr': 3, 'fortran_order': False, 'shape': (2, 2)}"])
def test_a_damaged_header_is_damage(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DamagedError, match=r"a.npy' cannot be read"):
        open_source(path)


def test_a_damaged_shard_is_passed_by_when_a_pass_goes_on(tmp_path):
    zarr = pytest.importorskip("zarr")
    path, kept = tmp_path / "ids.zarr", tmp_path / "pass.npz"
    zarr.create_array(str(path), shape=IDS.shape, chunks=(25, T), dtype="int64")[:] = IDS
    chunk = next(p for p in path.rglob("0") if p.is_file() and p.parent.name == "2")
    chunk.write_bytes(chunk.read_bytes()[:10])
    plain, options = TokenMoments.empty("mean", T), {"shard_size": 25, "batch_size": 25, "skip_damaged": True}
    with pytest.warns(UserWarning, match="sequences 50 to 74, cannot be read"):
        done = accumulate(path, plain, table=TABLE, checkpoint=kept, every=0, **options)
    assert done.moments.count == N - 25


def test_bad_arguments(tmp_path):
    blank = TokenMoments.empty("mean", T)
    for message, call in (
        (
            "n_jobs must be None where there is a client",
            lambda: accumulate(IDS, blank, n_jobs=2, client=object()),
        ),
        ("every must be", lambda: accumulate(IDS, blank, table=TABLE, every=-1)),
        ("checkpoint must end in .npz", lambda: accumulate(IDS, blank, table=TABLE, checkpoint="a.txt")),
        ("source must be arrays, paths", lambda: accumulate(3, blank)),
        ("source must hold sequences, got none", lambda: accumulate(iter([]), blank)),
        (
            "mask must hold one entry for each of 230 sequences, got 3",
            lambda: open_source(IDS, mask=np.ones((3, T))),
        ),
        ("source must be of shape", lambda: open_source(np.arange(4))),
        ("batch_size must be a whole number", lambda: open_source(IDS, batch_size=0)),
        ("table must be of shape", lambda: accumulate(IDS, blank, table=np.arange(4))),
        (r"table .*none.npy.* cannot be read", lambda: accumulate(IDS, blank, table=tmp_path / "none.npy")),
        ("batches must be of shape", lambda: accumulate(iter([np.arange(3)]), blank)),
        (r"batches must be X, \(X, mask\)", lambda: accumulate(iter([(1, 2, 3, 4)]), blank)),
        ("batches must hold tokens in 'input_ids', got ids", lambda: accumulate(iter([{"ids": IDS}]), blank)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# one result


def started(folder):
    """A cluster of two workers, and its client."""
    distributed = pytest.importorskip("distributed")
    made = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",
        processes=True,
        silence_logs="CRITICAL",
        local_directory=str(folder),
    )
    return made, distributed.Client(made)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made, client = started(tmp_path_factory.mktemp("dask"))
    with made, client:
        yield made, client


def sources(tmp_path):
    np.save(tmp_path / "ids.npy", IDS)
    written(columns(ROWS), tmp_path / "rows.parquet")
    plain = TokenMoments.empty("causal", T, gram=True, vocabulary=V, keep=True)
    return {
        "array": (lambda: IDS, EMPTY, {"labels": LABELS}),
        "mapped": (lambda: np.load(tmp_path / "ids.npy", mmap_mode="r"), plain, {}),
        "parquet": (lambda: tmp_path / "rows.parquet", EMPTY, {}),
        "stream": (lambda: ((IDS[i : i + 10], None, LABELS[i : i + 10]) for i in range(0, N, 10)), EMPTY, {}),
    }


def test_engines_agree_to_the_bit(tmp_path, cluster):
    np.save(tmp_path / "table.npy", TABLE)
    tables = (TABLE, tmp_path / "table.npy", np.load(tmp_path / "table.npy", mmap_mode="r"))
    for name, (make, empty, more) in sources(tmp_path).items():
        more = more | OPTIONS
        expected = accumulate(make(), empty, table=TABLE, **more)
        assert expected.shards >= 6
        assert expected.moments.count == N
        for i, engine in enumerate(({"n_jobs": 1}, {"n_jobs": 2}, {"client": cluster[1]})):
            done = accumulate(make(), empty, table=tables[(i + len(name)) % 3], **engine, **more)
            assert_same_bits(done.moments, expected.moments)
            assert done.shards == expected.shards
        again = accumulate(make(), expected.moments, table=TABLE, **more).moments
        assert again.count == 2 * N


@pytest.mark.parametrize("backend", ["threading", "dask"])
def test_backends_of_joblib(backend, cluster):
    import joblib

    expected = accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, **OPTIONS).moments
    with joblib.parallel_config(backend=backend, n_jobs=2):
        done = accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, n_jobs=2, **OPTIONS).moments
    assert_same_bits(done, expected)


def test_other_sizes_of_shards_change_last_bits_only():
    a = accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, batch_size=16, shard_size=32).moments
    b = accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, batch_size=50, shard_size=100).moments
    assert_close(a, b)
    with pytest.raises(AssertionError):
        assert_same_bits(a, b)


def test_progress(capsys):
    accumulate(IDS, EMPTY, table=TABLE, labels=LABELS, progress=True, **OPTIONS)
    assert "sequences" in capsys.readouterr().err


def test_memory_does_not_grow():
    peaks = []
    for n in (20, 80):
        made = (RNG.integers(0, V, (1000, 32)) for _ in range(n))
        tracemalloc.start()
        accumulate(made, TokenMoments.empty("mean", 32), table=TABLE, batch_size=2000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # sixty more batches, were they kept, would be fifteen megabytes beside five
    assert peaks[1] < 1.5 * peaks[0]


# interruptions


EXPECTED = accumulate(slow(0), EMPTY, table=TABLE).moments


@pytest.mark.parametrize("jobs", [None, 1])
def test_interrupted_passes_go_on(tmp_path, jobs):
    path = tmp_path / "pass.npz"
    with pytest.raises(KeyboardInterrupt) as caught:
        accumulate(slow(0, trouble=(80, interrupt)), EMPTY, table=TABLE, checkpoint=path, n_jobs=jobs)
    assert "80 sequences of 10 shards are kept in" in caught.value.__notes__[0]
    assert caught.value.accumulated.moments.count == 80
    seen = []
    rest = slow(0)
    for shard in rest.shards:
        shard.origin.trouble = (shard.first, lambda first=shard.first: seen.append(first))
    done = accumulate(rest, EMPTY, table=TABLE, checkpoint=path)
    assert seen == list(range(80, N, 8))
    assert_same_bits(done.moments, EXPECTED)
    assert done.shards == 29
    assert list(tmp_path.iterdir()) == []


def test_streams_go_on_from_equal_batches(tmp_path):
    path = tmp_path / "pass.npz"

    def stream(ids, stop=None):
        for i in range(0, N, 16):
            if i == stop:
                raise OSError("the network is gone")
            yield ids[i : i + 16], None, LABELS[i : i + 16]

    expected = accumulate(stream(IDS), EMPTY, table=TABLE, batch_size=16).moments
    with pytest.raises(OSError, match="the network is gone"):
        accumulate(stream(IDS, 160), EMPTY, table=TABLE, batch_size=16, checkpoint=path)
    with pytest.raises(ValueError, match="differs in: source"):
        accumulate(stream(IDS[::-1]), EMPTY, table=TABLE, batch_size=16, checkpoint=path)
    done = accumulate(stream(IDS), EMPTY, table=TABLE, batch_size=16, checkpoint=path)
    assert done.moments.count == N
    assert_same_bits(done.moments, expected)


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    path = tmp_path / "pass.npz"

    def broken():
        with pytest.raises(KeyboardInterrupt):
            accumulate(slow(0, trouble=(80, interrupt)), EMPTY, table=TABLE, checkpoint=path)

    broken()
    other = TABLE.copy()
    other[3, 3] += 1
    for message, source, empty, table in (
        ("moments", slow(0), TokenMoments.empty("mean", T), TABLE),
        ("moments", slow(0), EXPECTED, TABLE),
        ("table", slow(0), EMPTY, other),
        ("source, or its columns, batch_size or shard_size", slow(0, step=16), EMPTY, TABLE),
        ("moments, table", slow(0), TokenMoments.empty("mean", T), other),
    ):
        with pytest.raises(
            ValueError, match=rf"pass.npz' is one of other work, which differs in: {message};"
        ):
            accumulate(source, empty, table=table, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"checkpoint .*pass.npz.* is damaged .*remove it to start again"):
        accumulate(slow(0), EMPTY, table=TABLE, checkpoint=path)
    path.unlink()
    broken()
    assert_same_bits(accumulate(slow(0), EMPTY, table=TABLE, checkpoint=path).moments, EXPECTED)


def large(tmp_path, kind, change):
    """Sequences and a table, of which one number between those that a sample would see may be another."""
    rng = np.random.default_rng(3)
    table = rng.standard_normal((2000, D)).astype(np.float32)
    ids = rng.integers(0, 2000, (8000, T))
    if change == "table":
        table[778, 3] += 1
    elif change == "source":
        ids[1003, 2] += 1 if ids[1003, 2] < 1999 else -1
    if kind == "memory":
        return ids, table
    if kind == "list":
        return list(ids), table
    if kind == "files":
        np.save(tmp_path / "table.npy", table)
        np.save(tmp_path / "ids.npy", ids)
        return tmp_path / "ids.npy", tmp_path / "table.npy"
    if kind == "parquet":
        path = tmp_path / "ids.parquet"
        if change == "source" or not path.exists():
            parquet.write_table(
                pa.table({"input_ids": ids.tolist()}), path, row_group_size=2000, compression=None
            )
        return path, table
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        path = str(tmp_path / "ids.zarr")
        zarr.create_array(path, shape=ids.shape, chunks=(500, T), dtype=ids.dtype, overwrite=True)[:] = ids
        return tmp_path / "ids.zarr", table
    if kind == "hugging":
        return pytest.importorskip("datasets").Dataset(pa.table({"input_ids": ids.tolist()})), table
    return (ids[i : i + 2000] for i in range(0, len(ids), 2000)), table


@pytest.mark.parametrize("change", ["table", "source"])
@pytest.mark.parametrize("kind", ["memory", "list", "files", "parquet", "zarr", "hugging", "stream"])
def test_one_changed_number_is_other_work(tmp_path, monkeypatch, kind, change):
    path, empty = tmp_path / "pass.npz", TokenMoments.empty("mean", T)
    counted = TokenMoments.__add__

    def run(change=None, stop=10**9):
        ids, table = large(tmp_path, kind, change)

        def merge(moments, other):
            if moments.count >= stop:
                raise KeyboardInterrupt
            return counted(moments, other)

        monkeypatch.setattr(TokenMoments, "__add__", merge)
        options = {"batch_size": 2000} | ({} if kind == "stream" else {"shard_size": 2000})
        return accumulate(ids, empty, table=table, checkpoint=path, **options)

    expected = run()
    with pytest.raises(KeyboardInterrupt):
        run(stop=4000)
    where = "source, or its columns" if change == "source" else "table"
    with pytest.raises(ValueError, match=f"is one of other work, which differs in: {where}"):
        run(change)
    if (kind, change) != ("parquet", "source"):  # which is written over
        assert_same_bits(run().moments, expected.moments)


def test_digests_are_of_the_numbers_whatever_way_they_lie():
    from resolvent.sources.shards import digest

    x = RNG.standard_normal((3000, 2, 400))  # more than one block
    assert digest(x) == digest(np.asfortranarray(x)) == digest(np.repeat(x, 2, axis=0)[::2])
    for i in (0, 1_234_567, x.size - 1):
        other = x.copy()
        other.flat[i] += 1e-9
        assert digest(other) != digest(x)
    assert digest(x.reshape(6000, 400)) != digest(x)
    assert digest([x[0], x[1]]) != digest([x[0].reshape(-1), x[1]])
    whole = Ragged.of(ROWS)
    cut = Ragged(np.r_[[1, 2], whole.values, [3]], whole.offsets + 2)  # as slices of Arrow columns are
    assert digest(cut) == digest(whole)
    words = np.array(["a", "b"], dtype=object)
    assert digest(words) == digest(np.array(["a", "bc"[:1]], dtype=object)) != digest(words[::-1])
    for empty in (np.empty((0, 3)), np.empty((3, 0)), [], [np.empty(0)]):
        assert digest(empty) == digest(empty)


def test_files_beyond_the_bound_are_known_by_time_and_samples(tmp_path, monkeypatch):
    from resolvent import accumulate as module
    from resolvent.sources import arrays, opening

    for own in (module, arrays, opening):
        monkeypatch.setattr(own, "WHOLE", 1000)
    ids, table = large(tmp_path, "files", None)
    here = {"shard_size": 2000, "batch_size": 500}

    def stamps():
        return [shard.description for shard in open_source(ids, **here).split()], module._stamp_of(
            module._handle(table)
        )

    def at(time):
        for path in (ids, table):
            os.utime(path, ns=(time, time))
        return stamps()

    sources, tables = at(1)
    assert len(set(sources)) == 4
    assert at(1) == (sources, tables)
    assert set(at(2)[0]).isdisjoint(sources)
    assert at(2)[1] != tables
    mapped = np.load(ids, mmap_mode="r+")
    mapped[2000, 0] += 1  # a first number, which is in the sample
    mapped.flush()
    assert [a == b for a, b in zip(at(1)[0], sources, strict=True)] == [True, False, True, True]


def test_without_a_checkpoint_nothing_is_digested(monkeypatch):
    from resolvent import accumulate as module

    monkeypatch.setattr(module, "digest", None)
    assert accumulate(IDS, EMPTY, table=TABLE, labels=LABELS).moments.count == N


def test_a_file_made_whole_goes_on_from_the_checkpoint(tmp_path):
    files = [written(columns(ROWS[i::3], LABELS[i::3]), tmp_path / f"{i}.parquet") for i in range(3)]
    expected = accumulate(files, EMPTY, table=TABLE, **OPTIONS).moments
    whole = files[2].read_bytes()
    with parquet.ParquetFile(files[2]) as file:
        at = file.metadata.row_group(0).column(1).data_page_offset
    files[2].write_bytes(whole[:at] + b"\xff" * 40 + whole[at + 40 :])
    path = tmp_path / "pass.npz"
    with pytest.raises(DamagedError, match=r"2.parquet.*cannot be read") as caught:
        accumulate(files, EMPTY, table=TABLE, checkpoint=path, **OPTIONS)
    assert caught.value.accumulated.moments.count == 154
    files[2].write_bytes(whole)
    assert_same_bits(accumulate(files, EMPTY, table=TABLE, checkpoint=path, **OPTIONS).moments, expected)


# kills


def kill(pids, rng, stop):
    """SIGKILL one of the processes at a random moment; True where one was there."""
    if stop.wait(rng.uniform(0, 0.12)):
        return False
    alive = pids()
    if not alive:
        return False
    os.kill(rng.choice(alive), signal.SIGKILL)
    return True


def passes_with_kills(run, pids, kills, seed):
    """Passes until so many workers were killed in them; every one must give the same bits."""
    rng, count, passes = random.Random(seed), 0, 0
    while count < kills:
        stop, killed = threading.Event(), []
        killer = threading.Thread(target=lambda: killed.append(kill(pids, rng, stop)))  # noqa: B023
        killer.start()
        done = run()
        stop.set()
        killer.join()
        assert_same_bits(done.moments, EXPECTED)
        assert done.moments.count == N
        count, passes = count + killed[0], passes + 1
        assert passes < 4 * kills + 10
    return passes


# RESOLVENT_KILLS=50 for as many as have been tried; each takes one to three seconds
MANY = int(os.environ.get("RESOLVENT_KILLS", "10"))
KILLS = [pytest.param(3, id="3"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("kills", KILLS)
def test_killed_workers_of_joblib_change_nothing(kills):
    from joblib.externals.loky import get_reusable_executor

    def pids():
        import joblib.externals.loky.reusable_executor as reusable

        executor = reusable._executor
        return list(executor._processes or {}) if executor is not None else []

    accumulate(slow(0.0), EMPTY, table=TABLE, n_jobs=2)
    passes_with_kills(lambda: accumulate(slow(0.01), EMPTY, table=TABLE, n_jobs=2), pids, kills, 0)
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_workers_of_dask_change_nothing(kills, tmp_path):
    np.save(tmp_path / "table.npy", TABLE)
    tables, path = [TABLE, tmp_path / "table.npy"], tmp_path / "pass.npz"
    live = list(started(tmp_path / "dask"))

    def alive():
        return [nanny for nanny in live[0].workers.values() if nanny.process is not None]

    def pids():
        # one that is killed while it starts is given up by Dask for good
        return [nanny.pid for nanny in alive() if nanny.process.status.name == "running"]

    def renewed():
        for part in reversed(live):
            part.close()
        live[:] = started(tmp_path / "dask")

    def run():
        if len(alive()) < 2:
            renewed()
        options = {"table": random.choice(tables), "checkpoint": path, "every": 0, "timeout": 10}
        while True:
            try:
                return accumulate(slow(0.01), EMPTY, client=live[1], **options)
            except RuntimeError as error:  # Dask gave up both workers: the user starts others, and goes on
                if "cluster is gone" not in str(error):
                    raise
                renewed()

    try:
        passes_with_kills(run, pids, kills, 1)
    finally:
        for part in reversed(live):
            part.close()


WHOLE = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from slow_source import EMPTY, TABLE, slow
from resolvent.accumulate import accumulate
from resolvent.token_moments import TokenMoments
kills, folder, rng = int(sys.argv[2]), sys.argv[3], random.Random(0)
path, out = folder + "/pass.npz", folder + "/out.npz"

EXPECTED = accumulate(slow(0), EMPTY, table=TABLE).moments.state()

def start():
    pid = os.fork()
    if pid:
        return pid
    accumulate(slow(0.001), EMPTY, table=TABLE, checkpoint=path, every=0).moments.save(out)
    os._exit(0)

done = kept = 0
while done < kills:
    child = start()
    time.sleep(rng.uniform(0, 0.15))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    if killed:
        kept += os.path.exists(path)
        if rng.random() < 0.7:  # the others are killed once more
            assert os.waitpid(start(), 0)[1] == 0
    if os.path.exists(out):
        found = TokenMoments.load(out).state()
        assert all(np.array_equal(found[name], value) for name, value in EXPECTED.items())
        os.unlink(out)
    done += killed
if not os.path.exists(path):
    start()
    os.wait()
print(kept)
"""


@pytest.mark.parametrize("kills", KILLS)
def test_killed_passes_go_on_and_count_every_sequence_once(kills, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WHOLE, str(pathlib.Path(__file__).parent), str(kills), str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert kills < 10 or int(run.stdout) > kills / 3  # most were killed after a first checkpoint


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_shard_that_ends_every_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("resolvent.workers.ATTEMPTS", 2)
    with pytest.raises(
        RuntimeError,
        match=r"(?s)workers end before they finish slow, sequence \d+.*; \d+ sequences .* kept in .*call again",
    ):
        accumulate(slow(0, trouble=(80, end)), EMPTY, table=TABLE, n_jobs=2, checkpoint=tmp_path / "pass.npz")
    done = accumulate(slow(0), EMPTY, table=TABLE, checkpoint=tmp_path / "pass.npz")
    assert_same_bits(done.moments, EXPECTED)


def hang_once(path):
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    time.sleep(300)


@pytest.mark.slow
def test_a_shard_that_hangs_is_done_again(tmp_path):
    trouble = (80, functools.partial(hang_once, tmp_path / "hung"))
    done = accumulate(slow(0, trouble=trouble), EMPTY, table=TABLE, n_jobs=2, timeout=15)
    assert (tmp_path / "hung").exists()
    assert_same_bits(done.moments, EXPECTED)


@pytest.mark.parametrize("how", ["no workers", "scheduler closed", "client closed"])
def test_a_dead_cluster_is_an_error_and_no_hang(how, tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",
        processes=False,
        protocol="tcp",
        silence_logs="CRITICAL",
        local_directory=str(tmp_path / "dask"),
    )
    client = distributed.Client(cluster)
    path = tmp_path / "pass.npz"

    def close():
        if how == "no workers":
            cluster.scale(0)
        elif how == "client closed":
            client.close()
        else:
            cluster.close()

    timer = threading.Timer(0.3, close)
    timer.start()
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with pytest.raises(RuntimeError, match=r"Dask cluster is gone.*kept in .*pass.npz.*call again"):
                accumulate(slow(0.03), EMPTY, table=TABLE, client=client, checkpoint=path, timeout=1.0)
            assert time.monotonic() - begun < 15
        finally:
            timer.join()
            client.close()
            cluster.close()
    assert_same_bits(accumulate(slow(0), EMPTY, table=TABLE, checkpoint=path).moments, EXPECTED)


# what is easily counted wrong


def test_masks_of_any_type_count_or_are_refused(tmp_path):
    ids, mask = padded(ROWS)
    wanted = direct(ROWS)
    for kind, given in (("bool", mask.astype(bool)), ("int8", mask)):
        table = pa.table(
            {
                "input_ids": ids.tolist(),
                "attention_mask": pa.array(given.tolist(), pa.list_(pa.type_for_alias(kind))),
                "label": LABELS,
            }
        )
        path = written(table, tmp_path / f"{kind}.parquet")
        assert_close(accumulate(path, EMPTY, table=TABLE).moments, wanted)
    added = np.where(mask, 0.0, -1e9)
    table = pa.table({"input_ids": ids.tolist(), "attention_mask": added.tolist()})
    with pytest.raises(ValueError, match=r"got 'attention_mask' of list<.*double>"):
        accumulate(table, EMPTY, table=TABLE)
    table = pa.table({"input_ids": ids.tolist(), "attention_mask": added.astype(int).tolist()})
    for source in (iter([(ids, added)]), [table]):
        with pytest.raises(ValueError, match=r"(attention_)?mask must be boolean, or zeros and ones, got -1"):
            accumulate(source, EMPTY, table=TABLE)


def test_tables_of_arrow_and_what_tokenizers_return():
    wanted, table = direct(ROWS), columns(ROWS)
    ragged = {
        "input_ids": [row.tolist() for row in ROWS],
        "attention_mask": [[1] * len(row) for row in ROWS],
        "label": LABELS,
    }
    ids, mask = padded(ROWS)
    full = {"input_ids": ids, "attention_mask": mask, "label": LABELS}
    for source in (table, table.to_batches(max_chunksize=30), table.to_reader(), ragged, [ragged], full):
        assert_close(accumulate(source, EMPTY, table=TABLE).moments, wanted)
    assert_close(accumulate(iter([[], (ids, mask, LABELS), ids[:0]]), EMPTY, table=TABLE).moments, wanted)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="an iterable of batches, got DataFrame"):
        accumulate(pandas.DataFrame(ids), EMPTY, table=TABLE)
    short = {**ragged, "attention_mask": [[1]] * len(ROWS)}
    with pytest.raises(ValueError, match="mask must be as long as X"):
        accumulate(short, EMPTY, table=TABLE)
    with pytest.raises(ValueError, match=r"labels must be one for each of \d+ sequences"):
        accumulate(iter([(ids, mask, LABELS[1:])]), EMPTY, table=TABLE)
    with pytest.raises(ValueError, match="none in sample 1"):
        accumulate(iter([[[1, 2], [], [3]]]), TokenMoments.empty("mean", T), table=TABLE)


def test_what_cannot_be_is_refused_before_anything_runs(tmp_path):
    ids, _ = padded(ROWS)
    with pytest.raises(ValueError, match="checkpoint must be in a folder that exists, got"):
        accumulate(ids, EMPTY, table=TABLE, checkpoint=tmp_path / "no" / "a.npz")
    with pytest.raises(ValueError, match="moments must be TokenMoments"):
        accumulate(ids, 3, table=TABLE)
    with pytest.raises(ValueError, match="shard_size must be None where source is open already"):
        accumulate(open_source(ids), EMPTY, table=TABLE, shard_size=3)


def test_a_checkpoint_of_other_labels_or_mask_is_refused(tmp_path):
    path = tmp_path / "pass.npz"
    ids, mask = padded(ROWS)
    wrong = ids.copy()
    wrong[-1, 0] = V
    with pytest.raises(ValueError, match="ids from 0"):
        accumulate(wrong, EMPTY, table=TABLE, checkpoint=path, mask=mask, labels=LABELS, **OPTIONS)
    for other in ({"labels": LABELS[::-1]}, {"mask": np.ones_like(mask)}):
        settings = OPTIONS | {"mask": mask, "labels": LABELS} | other
        with pytest.raises(ValueError, match="one of other work, which differs in: source"):
            accumulate(ids, EMPTY, table=TABLE, checkpoint=path, **settings)
    done = accumulate(ids, EMPTY, table=TABLE, checkpoint=path, mask=mask, labels=LABELS, **OPTIONS)
    assert_close(done.moments, direct(ROWS))


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resolvent.accumulate.write_arrays", full)
    ids, _ = padded(ROWS)
    settings = OPTIONS | {"checkpoint": tmp_path / "a.npz", "labels": LABELS, "every": 0}
    with pytest.raises(OSError, match="No space left") as caught:
        accumulate(ids, EMPTY, table=TABLE, **settings)
    assert caught.value.accumulated.moments.count == OPTIONS["shard_size"]
    assert "in error.accumulated alone" in caught.value.__notes__[0]


def test_parts_of_other_checkpoints_stay(tmp_path):
    ids, mask = padded(ROWS)
    theirs, ours = tmp_path / ".a.b.12.part.npz", tmp_path / ".a.12.part.npz"
    for path in (theirs, ours):
        path.touch()
    settings = {"mask": mask, "labels": LABELS, "checkpoint": tmp_path / "a.npz"}
    accumulate(ids, EMPTY, table=TABLE, **settings)
    assert theirs.exists()
    assert not ours.exists()
