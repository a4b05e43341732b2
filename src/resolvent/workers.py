"""Where shards are worked on: joblib's backends, and Dask. Results come in the order of the shards.

A worker may die at any time: what it had is done again. What is wrong with a shard is a result and not an exception.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any

from resolvent.sources import Shard

__all__ = ["GoneError", "in_joblib", "on_dask"]

ATTEMPTS = 5  # in a row, before a shard is given up that ends every worker
POLL = 0.5  # seconds between looks at the cluster
Results = Generator[tuple[Shard, Any]]


class GoneError(Exception):
    """Nobody is left to do the work."""


def _given_up(shard: Shard, error: Exception) -> GoneError:
    where = f"{shard.name}, sequence {shard.first} on"
    return GoneError(f"workers end before they finish {where}: {type(error).__name__} {error}")


def in_joblib(
    work: Callable[..., Any], shards: Iterator[Shard], n_jobs: int, timeout: float, stream: bool
) -> Results:
    """A window of shards at a time, the lost ones again; no result for too long is a worker lost unseen."""
    from joblib import Parallel, delayed, effective_n_jobs

    window = effective_n_jobs(n_jobs) * (8 if stream else 64)  # of a stream, all are in memory
    failures = 0
    while waiting := deque(islice(shards, window)):
        while waiting:
            jobs = [delayed(work)(own) for own in waiting]
            with warnings.catch_warnings():  # of backends that know no timeout
                warnings.filterwarnings("ignore", ".*timeout", UserWarning)
                results = Parallel(n_jobs=n_jobs, return_as="generator", timeout=timeout)(jobs)
            try:
                for outcome in results:
                    failures = 0
                    yield waiting.popleft(), outcome
            except Exception as error:  # of the backend: what is wrong with a shard is an outcome
                failures += 1
                if failures >= ATTEMPTS:
                    raise _given_up(waiting[0], error) from error
            finally:
                with warnings.catch_warnings():  # of results that nobody took, where the pass ends early
                    warnings.simplefilter("ignore")
                    results.close()


def on_dask(
    work: Callable[..., Any], shards: Iterator[Shard], client: Any, timeout: float, table: Any = None
) -> Results:
    """A task a shard, a bounded number ahead of the one that is merged next."""
    workers = Cluster(client, timeout)

    def submit(function: Callable[..., Any], *given: Any) -> Any:
        # what a task is given the scheduler keeps, so that it can be done again wherever a worker dies; data that is
        # scattered is lost with the workers that hold it
        key = f"moments-{uuid.uuid4().hex}"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*large graph", UserWarning)
            try:
                return client.submit(function, *given, key=key, retries=ATTEMPTS, pure=False)
            except Exception as error:  # the client was closed just now
                raise GoneError(f"the Dask cluster is gone: {error}") from error

    remote = None if table is None else submit(_held, table)
    waiting = deque[tuple[Shard, Any]]()
    failures = 0
    try:
        while True:
            for shard in islice(shards, max(0, 4 * workers.threads() - len(waiting))):
                waiting.append((shard, submit(work, shard, remote)))
            if not waiting:
                return
            shard, future = waiting[0]
            try:
                outcome = workers.result(future)
            except GoneError:
                raise
            except Exception as error:  # the worker was killed too often, or took the table with it
                failures += 1
                if failures >= ATTEMPTS:
                    raise _given_up(shard, error) from error
                if remote is not None:
                    remote = submit(_held, table)
                waiting = deque((held, submit(work, held, remote)) for held, _ in waiting)
                continue
            failures = 0
            waiting.popleft()
            yield shard, outcome
    finally:
        waiting.clear()  # lets go of the tasks, which ends those that have not begun


class Cluster:
    """A Dask client that does not wait for ever."""

    def __init__(self, client: Any, timeout: float) -> None:
        self.client, self.timeout, self.seen, self.count = client, timeout, time.monotonic(), 0

    def threads(self) -> int:
        """Threads of the workers there are, or were last."""
        self.look()
        return max(1, self.count)

    def look(self) -> None:
        """Raise `GoneError` where there has been no worker for too long."""
        now = time.monotonic()
        try:
            if self.client.status == "running":
                threads = self.client.sync(
                    self.client.scheduler.ncores, callback_timeout=min(5, self.timeout)
                )
                if threads:
                    self.seen, self.count = now, sum(threads.values())
        except Exception:  # no answer is no worker
            pass
        if self.client.status == "closed":
            raise GoneError("the Dask cluster is gone: its client is closed")
        if now - self.seen > self.timeout:
            raise GoneError(f"the Dask cluster is gone: no worker for {self.timeout:g} s")

    def result(self, future: Any) -> Any:
        """The result of a task."""
        while True:
            try:
                return future.result(timeout=POLL)
            except TimeoutError:
                self.look()


def _held(table: Any) -> Any:
    return table
