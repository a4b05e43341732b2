"""Many independent runs: in parallel through joblib, cached so that they resume, with a progress bar.

joblib decides where work runs, so a user's own backend (threads, processes, Dask, Ray) takes it
elsewhere unchanged; joblib's Memory keeps what has finished.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["run_all"]


def run_all(
    function: Callable[..., Any],
    tasks: Sequence[dict[str, Any]],
    *,
    label: str = "runs",
    jobs: int | None = None,
    memory: Any = None,
    progress: bool = False,
) -> list[Any]:
    """Call ``function(**task)`` for every task and return the results in order.

    Parameters
    ----------
    function : callable
        Importable (not a closure), so that other processes and the cache can name it.
    tasks : sequence of dict
        Keyword arguments.
    label : str
        Of the progress bar and of warnings.
    jobs : int, optional
        joblib's ``n_jobs``; None leaves it to the active backend.
    memory : joblib.Memory, optional
        Finished tasks are kept there and never run again. A damaged entry is recomputed, with a warning.
    progress : bool, default False
        Show a progress bar on standard error, under `label`.

    Returns
    -------
    list
        One result a task, in the order of `tasks`.

    Examples
    --------
    >>> run_all(divmod, []), run_all(complex, [{"real": 1, "imag": 2}])
    ([], [(1+2j)])
    """
    from joblib import Parallel, delayed

    results: dict[int, Any] = {}
    call = function
    if memory is not None:
        call = memory.cache(function)
        for i, task in enumerate(tasks):
            if call.check_call_in_cache(**task):
                kept = call.call_and_shelve(**task)
                try:
                    results[i] = kept.get()
                except Exception as error:  # whatever unpickling a damaged file may raise
                    warnings.warn(
                        f"{label}: a damaged cache entry is computed again ({type(error).__name__})",
                        stacklevel=2,
                    )
                    kept.clear()
    pending = [i for i in range(len(tasks)) if i not in results]
    if jobs is not None and jobs > 0:
        jobs = max(1, min(jobs, len(pending)))  # no more workers than there is work
    fresh = Parallel(n_jobs=jobs, return_as="generator")(delayed(call)(**tasks[i]) for i in pending)
    if progress:
        from tqdm.auto import tqdm  # not in workers: its lock would outlive one that is interrupted

        fresh = tqdm(fresh, total=len(tasks), initial=len(results), desc=label, leave=False)
    for i, result in zip(pending, fresh, strict=True):
        results[i] = result
    return [results[i] for i in range(len(tasks))]
