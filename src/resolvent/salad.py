"""The null of a transformer: documents of permuted tokens, encoded like the real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resolvent.arguments import natural
from resolvent.nulls import Null, permute_tokens, sampled_null
from resolvent.token_moments import TokenMoments, position_weights, read_arrays, write_arrays

__all__ = ["salad"]


def salad(
    encode: Callable[[np.ndarray], Any],
    tokens: Any,
    *,
    weights: Any = "mean",
    samples: int | None = None,
    held_out: int | None = None,
    seed: int = 0,
    batch: int = 256,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Null:
    """Null of a transformer: the pooled covariance of documents whose tokens were permuted, encoded alike.

    Diagnose ``null.features`` against it; ``null.held_out`` are further permuted documents, in which a
    diagnosis must find nothing: the calibration of the null on the encoder at hand.

    Parameters
    ----------
    encode : callable
        Takes token ids of shape (n, T), returns token vectors (n, T, d), which are pooled here, or pooled
        vectors (n, d). Must be deterministic (no dropout).
    tokens : array of int, shape (N, T)
        The documents.
    weights : array, shape (T,), or {"mean", "causal"}
        For token vectors.
    samples : int, optional
        Permuted documents N0 behind the covariance, 2N by default; must exceed d. More of them lower the
        edge: real structure shows earlier.
    held_out : int, optional
        Permuted documents kept apart for calibration, N by default; 0 for none.
    seed : int, default 0
    batch : int, default 256
        Documents a call of `encode`.
    checkpoint : path, optional
        An .npz file where progress is kept: the same call continues after an interruption. It is removed when
        the work is done.
    progress : bool, default False
        Show a progress bar over documents.

    Returns
    -------
    Null

    Raises
    ------
    ValueError
        If `encode` returns the wrong shape, values that are not finite, or is not deterministic; if `samples`
        does not exceed d; if the checkpoint belongs to other work.

    References
    ----------
    docs/theory/diagnosis.md, section 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = rng.standard_normal((200, 10))
    >>> null = salad(lambda ids: table[ids], rng.integers(0, 200, (300, 6)))
    >>> null.samples, bool(0.9 < null.design_effect < 1.1)
    (600, True)
    """
    tokens = np.asarray(tokens)
    shuffled = permute_tokens(tokens, seed=seed)  # checks tokens
    n, length = tokens.shape
    if n < 2:
        raise ValueError(f"tokens must hold at least 2 documents, got {n}")
    samples = 2 * n if samples is None else natural("samples", samples, least=2)
    held_out = n if held_out is None else natural("held_out", held_out, least=0)
    batch = natural("batch", batch)
    position_weights(weights, length)
    probe = _check_encoder(encode, shuffled[: min(8, n)])
    d = probe.shape[-1]
    if samples <= d + 1:
        raise ValueError(f"samples must exceed d + 1 = {d + 1}, the dimensions to whiten, got {samples}")
    work = {
        "documents": tokens,
        "null": permute_tokens(tokens, samples, seed=2 * seed + 1),
        "held_out": permute_tokens(tokens, held_out, seed=2 * seed + 2) if held_out else tokens[:0],
    }
    stamp = hashlib.sha256(
        b"".join(np.ascontiguousarray(ids, dtype=np.int64).tobytes() for ids in work.values())
        + position_weights(weights, length).tobytes()
    ).hexdigest()
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.suffix != ".npz":
        raise ValueError(f"checkpoint must end in .npz, got {str(path)!r}")
    moments = {name: TokenMoments.empty(weights, length, keep=name != "null") for name in work}
    if path is not None and path.exists():
        _restore(path, stamp, probe, moments)
    bar = None
    if progress:
        from tqdm.auto import tqdm

        done = sum(m.count for m in moments.values())
        bar = tqdm(total=sum(map(len, work.values())), initial=done, desc="encoding", unit="doc", leave=False)
    try:
        for name, ids in work.items():
            m = moments[name]
            while m.count < len(ids):
                part = ids[m.count : m.count + batch]
                m.add(_encoded(encode, part, d))
                if path is not None:
                    _keep(path, stamp, probe, moments)
                if bar is not None:
                    bar.update(len(part))
    finally:
        if bar is not None:
            bar.close()
    kept = moments["held_out"].pooled
    null = sampled_null(moments["null"], moments["documents"], np.concatenate(kept) if kept else None)
    if path is not None:
        path.unlink(missing_ok=True)
    return null


def _encoded(encode: Callable[[np.ndarray], Any], ids: np.ndarray, d: int | None = None) -> np.ndarray:
    out = encode(ids.copy())
    try:
        out = np.asarray(out)
    except Exception as error:
        raise ValueError(f"encode must return an array, got {type(out).__name__}: {error}") from error
    n, length = ids.shape
    width = out.shape[-1] if out.ndim and d is None else d
    if out.shape not in ((n, width), (n, length, width)) or out.dtype.kind != "f":
        wanted = "d" if d is None else d
        raise ValueError(
            f"encode must return real vectors of shape ({n}, {wanted}) or ({n}, {length}, {wanted}) for {n} documents "
            f"of {length} tokens, got {out.dtype} of shape {out.shape}"
        )
    if not np.isfinite(out).all():
        raise ValueError("encode must return finite vectors, got NaN or infinite entries")
    return out.astype(float)


def _check_encoder(encode: Callable[[np.ndarray], Any], ids: np.ndarray) -> np.ndarray:
    first, again = _encoded(encode, ids), _encoded(encode, ids)
    if not _alike(first, again):
        raise ValueError(
            "encode must be deterministic, got different vectors for the same ids (dropout? call model.eval())"
        )
    return first


def _alike(first: np.ndarray, again: np.ndarray) -> bool:
    return first.shape == again.shape and bool(np.abs(first - again).max() <= 1e-3 * np.abs(first).max())


def _keep(path: Path, stamp: str, probe: np.ndarray, moments: dict[str, TokenMoments]) -> None:
    state: dict[str, Any] = {"stamp": np.array(stamp), "probe": probe}
    for name, m in moments.items():
        state |= {f"{name}.{key}": value for key, value in m.state().items()}
    write_arrays(path, state)


def _restore(path: Path, stamp: str, probe: np.ndarray, moments: dict[str, TokenMoments]) -> None:
    try:
        state = read_arrays(path)
    except ValueError as error:
        raise ValueError(f"checkpoint {error}: remove it to start again") from error
    if str(state.get("stamp")) != stamp:
        raise ValueError(
            f"checkpoint {str(path)!r} belongs to other documents or settings: remove it or name another"
        )
    if not _alike(state["probe"], probe):
        raise ValueError(
            f"checkpoint {str(path)!r} belongs to other vectors of encode: remove it or name another"
        )
    for name in moments:
        own = {
            key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")
        }
        moments[name] = TokenMoments.from_state(own)
