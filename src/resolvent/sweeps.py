"""Many independent runs: in parallel through joblib, cached so that they resume, with a progress bar.

joblib decides where work runs, so a user's own backend (threads, processes, Dask, Ray) takes it
elsewhere unchanged; joblib's Memory keeps what has finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["run_all"]


def run_all(
    function: Callable[..., Any],
    tasks: Sequence[dict[str, Any]],
    *,
    jobs: int | None = None,
    memory: Any = None,
    progress: str | None = None,
) -> list[Any]:
    """Call ``function(**task)`` for every task and return the results in order.

    Parameters
    ----------
    function : callable
        Importable (not a closure), so that other processes and the cache can name it.
    tasks : sequence of dict
        Keyword arguments.
    jobs : int, optional
        joblib's ``n_jobs``; None leaves it to the active backend.
    memory : joblib.Memory, optional
        Finished tasks are kept there and never run again; a damaged entry is recomputed with a warning.
    progress : str, optional
        Label of a progress bar on standard error; none by default.

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
    from tqdm.auto import tqdm

    call = function if memory is None else memory.cache(function)
    results = Parallel(n_jobs=jobs, return_as="generator")(delayed(call)(**task) for task in tasks)
    if progress is not None:
        results = tqdm(results, total=len(tasks), desc=progress, leave=False)
    return list(results)
