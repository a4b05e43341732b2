"""Elliptical attention inside a Hugging Face model, through the registry that its attention goes through.

Attention layers there know nothing of each other, so that the values are carried from one to the next beside the model,
for the length of one forward pass. Nothing is kept between passes: with a key-value cache the metric is formed anew
from the cached values of two layers, which costs what the attention itself does and survives beam search and cropping.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar, Token
from typing import Any

from torch import Tensor, nn

from resolvent.arguments import one_of
from resolvent.torch.attention import stretched
from resolvent.torch.elliptical_metric import SCALINGS, STATISTICS, check_padding, metric

__all__ = ["NAME", "disable_elliptical_attention", "enable_elliptical_attention"]

NAME = "elliptical"
_KEPT = "elliptical_attention_hooks"


class _Pass:
    """One forward pass of an enabled model: its padding, and the values of the layer before."""

    def __init__(self, options: dict[str, Any], mask: Tensor | None) -> None:
        self.options, self.mask = options, mask
        self.values: Tensor | None = None
        self.layers: list[int] = []


_PASS: ContextVar[_Pass | None] = ContextVar("elliptical_pass", default=None)


def enable_elliptical_attention(
    model: Any, *, scaling: str = "max", statistic: str = "mean", detach: bool = True
) -> Any:
    """Let all attention layers of a transformer but the first use the elliptical metric; weights stay as they are.

    Encoders and causal decoders are served, with padding, grouped queries and a dynamic cache; the metric of a decoder
    never looks ahead. Weights trained for ordinary attention mean something else under another metric: fine-tune.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Changed in place.
    scaling, statistic, detach
        As in `resolvent.torch.metric`; a decoder refuses the median.

    Returns
    -------
    transformers.PreTrainedModel
        The same model.

    Raises
    ------
    ValueError
        If the model is not one of these, is enabled already or an option is out of range. When it runs: if it is given
        a mask that is not (B, T), packed sequences, a static or sliding cache, or a layer whose values differ in shape
        from those before or from its keys.
    RuntimeError
        When it runs: if its attention does not go through the registry, or is computed again outside a forward pass,
        as gradient checkpointing does.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel  # needs resolvent[data]
    >>> sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    >>> model = enable_elliptical_attention(BertModel(BertConfig(vocab_size=50, **sizes)).eval())
    >>> model(torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 16])
    """
    one_of("scaling", scaling, SCALINGS)
    one_of("statistic", statistic, STATISTICS)
    base = _base(model)
    if hasattr(base, _KEPT):
        raise ValueError("model must not be enabled already: disable_elliptical_attention(model) first")
    before = model.config._attn_implementation
    _register()
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:
        raise ValueError(f"model must let its attention be set, got {type(model).__name__}, which does not")
    hooks = _Hooks({"scaling": scaling, "statistic": statistic, "detach": bool(detach)})
    handles = (
        base.register_forward_pre_hook(hooks.start, with_kwargs=True),
        base.register_forward_hook(hooks.end, always_call=True),
    )
    setattr(base, _KEPT, (before, handles))
    return model


def disable_elliptical_attention(model: Any) -> Any:
    """Give an enabled model the attention back that it had.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Changed in place.

    Returns
    -------
    transformers.PreTrainedModel
        The same model.

    Raises
    ------
    ValueError
        If it is not enabled.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel  # needs resolvent[data]
    >>> sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    >>> model = enable_elliptical_attention(BertModel(BertConfig(vocab_size=50, **sizes)))
    >>> disable_elliptical_attention(model).config._attn_implementation
    'sdpa'
    """
    base = getattr(model, "base_model", model)
    if not hasattr(base, _KEPT):
        raise ValueError("model must be enabled before it is disabled, got one that is not")
    before, handles = getattr(base, _KEPT)
    for handle in handles:
        handle.remove()
    delattr(base, _KEPT)
    model.set_attn_implementation(before)
    return model


def _base(model: Any) -> Any:
    base, config = getattr(model, "base_model", None), getattr(model, "config", None)
    if not isinstance(base, nn.Module) or not hasattr(model, "set_attn_implementation"):
        raise ValueError(f"model must be a transformers.PreTrainedModel, got {type(model).__name__}")
    several = getattr(config, "is_encoder_decoder", False) or getattr(config, "add_cross_attention", False)
    if several or any(getattr(config, name, None) is not None for name in getattr(config, "sub_configs", ())):
        raise ValueError(f"model must be one encoder or one decoder, got {type(model).__name__}")
    return base


def _register() -> None:
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask
    except ImportError:
        raise ValueError(
            "transformers must be a release with AttentionMaskInterface, 4.53 or later"
        ) from None
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)


class _Hooks:
    """What an enabled model does around each forward pass; passes may nest and run in several threads."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.tokens: ContextVar[Token[_Pass | None] | None] = ContextVar("elliptical_token", default=None)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hooks:
        return _Hooks(self.options)

    def __reduce__(self) -> Any:
        return _Hooks, (self.options,)

    def start(self, base: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = {**dict(zip(inspect.signature(base.forward).parameters, args)), **kwargs}
        mask, cache = given.get("attention_mask"), given.get("cache", given.get("past_key_values"))
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            shown = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"attention_mask must have shape (B, T), got {shown}")
        if cache is not None:
            layers = getattr(cache, "layers", None)
            if layers is None or any(
                getattr(x, "is_compileable", False) or getattr(x, "is_sliding", False) for x in layers
            ):
                raise ValueError(
                    f"the cache must be dynamic and keep every token, got {type(cache).__name__}"
                )
        at = given.get("position_ids")
        packed = any(given.get(name) is not None for name in ("cu_seq_lens_q", "cu_seq_lens_k"))
        if packed or (mask is None and isinstance(at, Tensor) and bool((at.diff(dim=-1) != 1).any())):
            raise ValueError(
                "position_ids must rise by 1 without a mask: packed sequences would share a metric"
            )
        found = _Pass(self.options, None if mask is None else mask.bool())
        self.tokens.set(_PASS.set(found))

    def end(self, base: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        token, found = self.tokens.get(), _PASS.get()
        if token is None:  # the pass was refused before it began
            return
        _PASS.reset(token)
        self.tokens.set(None)
        if output is not None and found is not None and found.values is None:
            raise RuntimeError(
                f"the attention of {type(base).__name__} does not go through AttentionInterface: nothing was changed"
            )


def _forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function of the registry; arguments and result as those of ``sdpa_attention_forward``."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    found = _PASS.get()
    if found is None:
        raise RuntimeError(
            "elliptical attention needs enable_elliptical_attention(model), and runs in a forward pass only: "
            "gradient checkpointing, which computes it again, is not supported"
        )
    layer = getattr(module, "layer_idx", None)
    if layer is not None:
        if found.layers and layer <= found.layers[-1]:
            raise RuntimeError(
                f"layers must run once and in order, got layer {layer} after {found.layers[-1]}"
            )
        found.layers.append(layer)
    if value.shape[-1] != key.shape[-1]:
        raise ValueError(f"values must be as wide as keys, got {value.shape[-1]} and {key.shape[-1]}")
    before, found.values = found.values, value
    if before is not None:
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        m = _layer_metric(found, value, before, query.shape[2], causal)
        query = stretched(query, m, query.shape[1] // value.shape[1])
    out, _ = sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        dropout=dropout,
        scaling=scaling,
        is_causal=is_causal,
        **kwargs,
    )
    return out, None


def _layer_metric(found: _Pass, value: Tensor, before: Tensor, S: int, causal: bool) -> Tensor:
    T = value.shape[2]
    if found.mask is not None:
        check_padding(found.mask, value, T)
    if S < T and not causal:
        raise ValueError("a cache needs causal attention, got an encoder")
    # the last query alone sees every token: no prefixes are needed
    prefixes = causal and not (S == 1 and T > 1)
    if causal and found.options["statistic"] == "median":
        raise ValueError("statistic must be 'mean' when causal (a median has no running form), got 'median'")
    m: Tensor = metric(value, before, mask=found.mask, is_causal=prefixes, check=False, **found.options)
    return m[:, :, -S:] if prefixes else m
