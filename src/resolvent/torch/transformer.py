"""Small transformers, for images and for language, whose attention is elliptical or one of its controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resolvent.arguments import natural, one_of, seed_number
from resolvent.torch.attention import EllipticalAttention, EllipticalCache

__all__ = ["ATTENTION", "CausalLanguageModel", "VisionTransformer", "token_cosine"]

ATTENTION = ("dot", "elliptical", "temperature", "random")


def token_cosine(x: Tensor) -> Tensor:
    """Mean cosine between different tokens of a sample: 1 when all have collapsed onto one direction.

    Parameters
    ----------
    x : Tensor of shape (..., T, D)
        T >= 2 tokens.

    Returns
    -------
    Tensor of shape (...)

    Raises
    ------
    ValueError
        If there are fewer than two tokens.

    Examples
    --------
    >>> token_cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])).item()
    0.3333333432674408
    """
    T = x.shape[-2] if x.ndim > 1 else 0
    if T < 2:
        raise ValueError(f"x must hold at least two tokens, got shape {tuple(x.shape)}")
    # the square of the sum of unit vectors holds every pair: T² pairs without a T x T table
    total = functional.normalize(x, dim=-1).sum(-2).square().sum(-1)
    return (total - T) / (T * (T - 1))


class _Block(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and around a residual."""

    def __init__(self, kind: str, seed: int, width: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.kind, self.seed = kind, seed
        self.generator: torch.Generator | None = None
        self.attention = EllipticalAttention(width, heads, **options)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, v_prev: Tensor | None, mask: Tensor | None, cache: EllipticalCache | None
    ) -> tuple[Tensor, Tensor, Tensor, EllipticalCache | None]:
        control = None
        if v_prev is not None and self.kind in ("temperature", "random"):
            before = v_prev

            def control(v: Tensor) -> Tensor:
                return self._isotropic(v, before, mask) if self.kind == "temperature" else self._random(v)

        found = self.attention(
            self.before(x),
            v_prev if self.kind == "elliptical" else None,
            mask=mask,
            metric=control,
            cache=cache,
        )
        out, v = found[:2]
        x = x + out
        return x + self.perceptron(self.between(x)), v, out, found[2] if cache is not None else None

    def _isotropic(self, v: Tensor, v_prev: Tensor, mask: Tensor | None) -> Tensor:
        return self.attention.metric(v, v_prev, mask=mask).square().mean(-1, keepdim=True).sqrt()

    def _random(self, v: Tensor) -> Tensor:
        """Afresh at each call while training; the same at every call otherwise, so that outputs repeat."""
        if self.generator is None or not self.training:
            self.generator = torch.Generator().manual_seed(self.seed)
        m = torch.rand(*v.shape[:2], 1, v.shape[-1], generator=self.generator).to(v)
        return m / m.amax(-1, keepdim=True)


class _Transformer(nn.Module):
    """Blocks, a last norm and a linear head; the two models add how tokens come in."""

    def __init__(
        self,
        width: int,
        heads: int,
        depth: int,
        outputs: int,
        attention: str,
        seed: int,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self.kind, seed = one_of("attention", attention, ATTENTION), seed_number(seed)
        self.blocks = nn.ModuleList(
            _Block(attention, seed + layer, width, heads, **options)
            for layer in range(natural("depth", depth))
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    def set_detach(self, detach: bool) -> None:
        """Hold the metric constant for back-propagation (True), or let gradients through it (False)."""
        block: Any
        for block in self.blocks:
            block.attention.detach = bool(detach)

    def _run(
        self,
        x: Tensor,
        mask: Tensor | None,
        cache: Sequence[EllipticalCache] | None,
        similarity: bool,
    ) -> tuple[Tensor, list[Any], dict[str, Tensor]]:
        if cache is not None and len(cache) != len(self.blocks):
            raise ValueError(f"cache must hold one of {len(self.blocks)} layers each, got {len(cache)}")
        if cache is not None and self.kind in ("temperature", "random"):
            raise ValueError(f"cache must be None with attention {self.kind!r}, which is a control")
        v, after = None, []
        cosines: dict[str, list[Tensor]] = {"residual": [], "attention": []}
        for layer, block in enumerate(self.blocks):
            x, v, out, kept = block(x, v, mask, None if cache is None else cache[layer])
            after.append(kept)
            if similarity:
                cosines["residual"].append(token_cosine(x.detach()))
                cosines["attention"].append(token_cosine(out.detach()))
        return x, after, {name: torch.stack(rows) for name, rows in cosines.items() if rows}


class VisionTransformer(_Transformer):
    """Square images in patches, encoded and averaged over the tokens before a linear head.

    Parameters
    ----------
    size, patch : int
        Side of the images and of a patch, which divides it.
    classes : int
    channels : int
    width, depth, heads : int
    attention : {"elliptical", "dot", "temperature", "random"}
        The controls act in all layers but the first, as the metric does: "temperature" is the isotropic metric with the
        root mean square of m; "random" a metric uniform on [0, 1], divided by its largest coordinate.
    seed : int
        Of the random metric, drawn afresh at every call while training and fixed otherwise.
    **options
        Of `EllipticalAttention`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> model = VisionTransformer(8, 2, 10, width=16, depth=2, heads=2)
    >>> logits, cosine = model(torch.rand(3, 1, 8, 8), similarity=True)
    >>> logits.shape, cosine["residual"].shape
    (torch.Size([3, 10]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        size: int,
        patch: int,
        classes: int,
        *,
        channels: int = 1,
        width: int = 64,
        depth: int = 6,
        heads: int = 4,
        attention: str = "elliptical",
        seed: int = 0,
        **options: Any,
    ) -> None:
        size, patch = natural("size", size), natural("patch", patch)
        if size % patch:
            raise ValueError(f"patch must divide the size {size}, got {patch}")
        super().__init__(width, heads, depth, natural("classes", classes), attention, seed, options)
        self.shape = (natural("channels", channels), size, size)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))

    def forward(self, images: Tensor, *, similarity: bool = False) -> Any:
        """Logits (B, classes) of images (B, channels, size, size).

        With `similarity`, also the token cosines of each layer, of shape (depth, B), after the block ("residual") and
        of what attention added ("attention").
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"images must have shape (B, {', '.join(map(str, self.shape))}), got {tuple(images.shape)}"
            )
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        x, _, cosines = self._run(x, None, None, similarity)
        logits = self.head(self.norm(x).mean(1))
        return (logits, cosines) if similarity else logits


class CausalLanguageModel(_Transformer):
    """Next-token prediction that never looks ahead, unless `look_ahead` asks for it.

    Parameters
    ----------
    vocabulary, context : int
        Number of tokens and the longest sequence.
    width, depth, heads, attention, seed
        As in `VisionTransformer`.
    **options
        Of `EllipticalAttention`, such as `scaling` or ``look_ahead="sequence"``.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> model = CausalLanguageModel(50, 16, width=16, depth=2, heads=2)
    >>> model(torch.arange(6).reshape(2, 3)).shape
    torch.Size([2, 3, 50])
    >>> cache = model.empty_cache()
    >>> for token in range(3):
    ...     logits, cache = model(torch.tensor([[token]]), cache=cache)
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        attention: str = "elliptical",
        seed: int = 0,
        **options: Any,
    ) -> None:
        options = {**options, "is_causal": True}
        super().__init__(width, heads, depth, natural("vocabulary", vocabulary), attention, seed, options)
        self.context = natural("context", context)
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))

    def empty_cache(self) -> list[EllipticalCache]:
        """What decoding starts from."""
        return [EllipticalCache() for _ in self.blocks]

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        cache: Sequence[EllipticalCache] | None = None,
        similarity: bool = False,
    ) -> Any:
        """Logits (B, S, vocabulary) of ids (B, S); with `cache`, of the tokens after it, and the cache after them.

        `mask` (B, T) is True for tokens; positions count padding too. With `similarity`, last, the token cosines as in
        `VisionTransformer`.
        """
        start = 0 if cache is None or not cache or cache[0].keys is None else cache[0].keys.shape[2]
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.context - start:
            allowed = f"(B, S) with S from 1 to {self.context - start}"
            raise ValueError(f"ids must have shape {allowed}, got {tuple(ids.shape)}")
        x = self.tokens(ids) + self.positions[start : start + ids.shape[1]]
        x, after, cosines = self._run(x, mask, cache, similarity)
        extras = ([after] if cache is not None else []) + ([cosines] if similarity else [])
        logits = self.head(self.norm(x))
        return (logits, *extras) if extras else logits
