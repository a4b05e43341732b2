"""One pass over any number of sequences, into `resolvent.token_moments.TokenMoments`: here, in processes or on Dask.

A shard of the source becomes moments of its own wherever that happens, on one thread, and they are merged here, in the
order of the shards. So the result is the same to the bit whatever computed it, and however often workers died; what is
merged can be kept in a file, and the pass goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from traceback import extract_tb
from typing import Any, NamedTuple

import numpy as np

from resolvent.arguments import number
from resolvent.sources import ColumnError, DamagedError, Shard, Source, open_source
from resolvent.sources.arrays import Mapped, size_of
from resolvent.sources.shards import WHOLE, digest
from resolvent.token_moments import TokenMoments, read_arrays, write_arrays
from resolvent.token_sequences import Panels, SequenceError
from resolvent.workers import GoneError, in_joblib, on_dask

__all__ = ["Accumulated", "accumulate"]

Outcome = TokenMoments | Exception


@dataclass(frozen=True, eq=False)
class Accumulated:
    """What a pass gave.

    Parameters
    ----------
    moments : TokenMoments
        Of all sequences, with those that were there before.
    shards : int
        Parts of the source that are in.
    skipped : tuple of str
        Parts that were damaged, and why.

    Examples
    --------
    >>> Accumulated(TokenMoments.empty("mean", 4)).shards
    0
    """

    moments: TokenMoments
    shards: int = 0
    skipped: tuple[str, ...] = ()


def accumulate(
    source: Any,
    moments: TokenMoments,
    *,
    table: Any = None,
    n_jobs: int | None = None,
    client: Any = None,
    checkpoint: str | Path | None = None,
    every: float = 30.0,
    timeout: float = 300.0,
    skip_damaged: bool = False,
    progress: bool = False,
    **options: Any,
) -> Accumulated:
    """Count every sequence of a source into moments, once.

    Parameters
    ----------
    source : object
        As in `resolvent.sources.open_source`, with its `options`.
    moments : TokenMoments
        What to sum, and what there is already; it is not changed.
    table : array, shape (V, d), or path, optional
        Embeddings of the ids; a ``.npy`` file or memory-mapped array is opened by the workers.
    n_jobs : int, optional
        Run shards through joblib, with the backend of the caller's ``joblib.parallel_config``.
    client : distributed.Client, optional
        Run shards on a Dask cluster, which must see the files.
    checkpoint : path, optional
        A ``.npz`` file to keep what is merged in, and to go on from; removed at the end. Of an iterator, which must
        begin anew, the batches that are in are read and dropped. Of another table or source it is refused: see Notes.
    every : float, default 30
        Seconds between writes of it; an error or Ctrl-C writes it too.
    timeout : float, default 300
        Seconds that a cluster may be without workers, and that joblib waits for a shard before it is done again.
    skip_damaged : bool, default False
        Leave out, list and warn of shards that cannot be read (damaged or gone: see `resolvent.sources.open_source`).
        A shard is in as a whole or not at all.
    progress : bool, default False
        Show a progress bar.
    options
        Of `resolvent.sources.open_source`.

    Returns
    -------
    Accumulated

    Raises
    ------
    ValueError
        If a sequence is bad (it is named), a file is damaged, or the checkpoint is one of other work.
    RuntimeError
        If workers are gone for good. Any exception has what was merged before it in ``error.accumulated``.

    Notes
    -----
    Shards are computed on one BLAS thread (with threadpoolctl, which scikit-learn brings), since the last bits of a
    product depend on their number: use `n_jobs` for more cores.

    A checkpoint knows its table, and the sequences that are in it, by all their bytes: of what is in memory, batches of
    streams, and arrays in files (``.npy``, memory-mapped, zarr) and Hugging Face datasets of up to 4 GiB together. They
    are read once more for that, at one to two GB/s, and again to go on. Larger ones are known by size and time of change
    of their files and by samples (zarr by the first row of each shard), Parquet and Arrow files by size and time alone:
    copies must keep the time. Of an ``IterableDataset`` of several shards only the names of the columns are known.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table, ids = rng.standard_normal((50, 3)), rng.integers(0, 50, (200, 4))
    >>> done = accumulate(ids, TokenMoments.empty("mean", 4), table=table, shard_size=80)
    >>> done.moments.count, done.shards
    (200, 3)
    """
    if client is not None and n_jobs is not None:
        raise ValueError("n_jobs must be None where there is a client")
    if not isinstance(moments, TokenMoments):
        raise ValueError(f"moments must be TokenMoments, such as .empty('mean', 64), got {moments!r}")
    every, timeout = number("every", every, least=0), number("timeout", timeout, above=0)
    given = open_source(source, skip_damaged=skip_damaged, **options)
    table = _handle(table)
    run = _Pass(given, moments, table, checkpoint, every, skip_damaged)
    work = _Work(moments.blank(), table)
    shards = run.left()
    with _one_thread():
        if client is not None:
            held = isinstance(table, Panels)
            task = replace(work, table=None) if held else work  # a graph holds no table
            results = on_dask(task, shards, client, timeout, table if held else None)
        elif n_jobs is not None:
            results = in_joblib(work, shards, n_jobs, timeout, given.stream)
        else:
            results = ((shard, work(shard)) for shard in shards)
        return run.finish(results, progress)


class _Now(NamedTuple):
    """How far a pass is: what is merged, after how many shards, and a digest of those."""

    done: Accumulated
    seen: int = 0
    trail: str = ""


class _Pass:
    """What is merged so far, and the checkpoint of it."""

    def __init__(
        self, source: Source, moments: TokenMoments, table: Any, path: Any, every: float, skip: bool
    ) -> None:
        self.source, self.every, self.skip = source, every, skip
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.suffix != ".npz":
            raise ValueError(f"checkpoint must end in .npz, got {str(path)!r}")
        if self.path is not None and not self.path.parent.is_dir():
            raise ValueError(f"checkpoint must be in a folder that exists, got {str(path)!r}")
        self.now, self.begun, self.written = _Now(Accumulated(moments)), moments.count, time.monotonic()
        self.settings = {} if path is None else {"moments": _digest_of(moments), "table": _stamp_of(table)}

    def left(self) -> Iterator[Shard]:
        """The shards that are not merged yet; the checkpoint is read and compared here."""
        shards = self.source.split()
        if self.path is not None:
            own = re.compile(rf"\.{re.escape(self.path.stem)}\.\d+\.part\.npz")
            for part in self.path.parent.glob(".*.part.npz"):
                if own.fullmatch(part.name):
                    part.unlink(missing_ok=True)  # of a process that was killed as it wrote
        if self.path is None or not self.path.exists():
            return shards
        try:
            state = read_arrays(self.path)
            kept = json.loads(str(state.pop("pass")))
            moments = TokenMoments.from_state(state)
            other = [name for name, value in self.settings.items() if kept["settings"].get(name) != value]
            now = _Now(
                Accumulated(moments, kept["shards"], tuple(kept["skipped"])), kept["seen"], kept["trail"]
            )
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is damaged ({error}): remove it to start again"
            ) from error
        if not other:
            passed = _Now(now.done)
            for shard in islice(shards, now.seen):
                passed = self._after(shard, passed.done, passed)
            if passed != now:
                other = ["source, or its columns, batch_size or shard_size"]
        if other:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is one of other work, which differs in: {', '.join(other)}; "
                "remove it or name another"
            )
        self.now = now
        return shards

    def _after(self, shard: Shard, done: Accumulated, before: _Now) -> _Now:
        trail = before.trail
        if self.path is not None:
            trail = hashlib.sha256(f"{trail} {shard.description}".encode()).hexdigest()
        return _Now(done, before.seen + 1, trail)

    def finish(self, results: Generator[tuple[Shard, Outcome]], progress: bool) -> Accumulated:
        """Merge all results, in order."""
        bar = None
        before = self.now.done.moments.count
        if progress:
            from tqdm.auto import tqdm

            bar = tqdm(total=self.source.count, desc="sequences", unit="seq", unit_scale=True, leave=False)
            bar.update(before - self.begun)
        try:
            for shard, outcome in results:
                self._merge(shard, outcome)
                if bar is not None:
                    bar.update(self.now.done.moments.count - before)
                before = self.now.done.moments.count
                if self.path is not None and time.monotonic() - self.written >= self.every:
                    self._write()
            return self._end()
        except BaseException as error:
            error.accumulated = self.now.done  # type: ignore[attr-defined]
            kept = self._kept()
            if isinstance(error, GoneError):
                gone = RuntimeError(f"{error}; {kept}")
                gone.accumulated = self.now.done  # type: ignore[attr-defined]
                raise gone from error
            error.add_note(kept)
            raise
        finally:
            results.close()  # which ends what has been handed out
            if bar is not None:
                bar.close()

    def _merge(self, shard: Shard, outcome: Outcome) -> None:
        done = self.now.done
        if isinstance(outcome, DamagedError) and self.skip:
            done = replace(done, skipped=(*done.skipped, str(outcome)))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            try:
                done = replace(done, moments=done.moments + outcome, shards=done.shards + 1)
            except ValueError as error:
                raise ValueError(f"{shard.name}, sequences from {shard.first}: {error}") from error
        self.now = self._after(shard, done, self.now)  # at once: Ctrl-C may come between any two steps

    def _write(self) -> None:
        assert self.path is not None
        done, seen, trail = self.now
        kept = {"settings": self.settings, "seen": seen, "trail": trail}
        kept |= {"shards": done.shards, "skipped": done.skipped}
        write_arrays(self.path, done.moments.state() | {"pass": np.array(json.dumps(kept))})
        self.written = time.monotonic()

    def _kept(self) -> str:
        """Write the checkpoint, where there is one, and say where everything is."""
        what = f"{self.now.done.moments.count} sequences of {self.now.done.shards} shards"
        if self.path is None:
            return f"{what} are in error.accumulated; with a checkpoint, the pass could go on from there"
        try:
            if self.now.seen:
                self._write()
        except OSError as error:
            return f"{what} are in error.accumulated alone: {str(self.path)!r} cannot be written ({error})"
        return f"{what} are kept in {str(self.path)!r}: call again with this checkpoint to go on"

    def _end(self) -> Accumulated:
        skipped = self.source.skipped + self.now.done.skipped
        if not self.now.seen and not skipped:
            raise ValueError("source must hold sequences, got none")
        if skipped:
            import warnings

            warnings.warn(f"{len(skipped)} damaged parts skipped: {'; '.join(skipped[:5])}", stacklevel=4)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        return replace(self.now.done, skipped=skipped)


@dataclass(frozen=True, eq=False)
class _Work:
    """Moments of one shard, or what is wrong with it; `table` is a table or says where it is."""

    moments: TokenMoments
    table: Any

    def __call__(self, shard: Shard, table: Any = None) -> Outcome:
        with _one_thread():
            try:
                return self._count(shard, _opened(self.table if table is None else table))
            except (MemoryError, OSError):  # of this worker perhaps: another may try
                raise
            except Exception as error:  # as a value: it must wait for its turn, and never be tried again
                if not isinstance(error, ValueError):  # where it was raised does not travel
                    at = extract_tb(error.__traceback__)[-1]
                    error.add_note(
                        f"{shard.name}, sequences from {shard.first}: raised in {at.filename}:{at.lineno}"
                    )
                return error

    def _count(self, shard: Shard, table: Any) -> TokenMoments:
        total, first = self.moments.blank(), shard.first
        try:
            for batch in shard:
                labels = batch.labels if self.moments.classes > 1 else None
                if self.moments.classes > 1 and labels is None:
                    raise ColumnError(
                        f"{shard.name} must have labels, for moments of {self.moments.classes} classes"
                    )
                total.add(batch.X, mask=batch.mask, table=table, labels=labels)
                first += batch.n
        except (ColumnError, DamagedError):
            raise
        except SequenceError as error:
            at = first + error.sequence
            raise ValueError(f"{shard.name}: {error.args[0]} {at} (from 0)") from error
        except ValueError as error:
            raise ValueError(f"{shard.name}, sequences from {first}: {error}") from error
        return total


def _handle(table: Any) -> Any:
    """A table ready for use, or where it is mapped from."""
    if table is None or isinstance(table, Panels):
        return table
    if isinstance(table, str | Path):
        try:
            table = np.lib.format.open_memmap(table, mode="r")
        except Exception as error:  # whatever a damaged file makes a reader raise
            raise ValueError(f"table {str(table)!r} cannot be read as .npy: {error}") from error
    handle = Mapped.of(table)
    _opened(handle)  # refuses what is no table
    return handle if isinstance(handle, Mapped) else Panels(handle)


@lru_cache(maxsize=2)
def _panels(path: str, dtype: str, offset: int, shape: tuple[int, ...]) -> Panels:
    return Panels(Mapped(path, np.dtype(dtype), offset, shape)[:])


def _opened(table: Any) -> Any:
    if isinstance(table, Mapped):
        return _panels(table.path, table.dtype.str, table.offset, table.shape)
    return table


def _digest_of(moments: TokenMoments) -> str:
    return digest([np.atleast_1d(value) for value in moments.state().values()])


def _stamp_of(table: Any) -> str:
    if isinstance(table, Mapped):
        return table.stamp(_opened(table).rows, size_of(table) <= WHOLE)
    return "none" if table is None else digest(table.rows)


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def _one_thread() -> Any:
    return nullcontext() if _controller() is None else _controller().limit(limits=1)
