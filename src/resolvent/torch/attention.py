"""Attention in a Mahalanobis metric that the values themselves estimate, on scaled_dot_product_attention.

m_i = mean over tokens of |V_i − V_prev,i|, divided by its largest coordinate; logits qᵀ diag(m) k / sqrt(D). As the
metric enters once, it multiplies the queries, and every kernel of scaled_dot_product_attention serves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resolvent.arguments import natural, number, one_of
from resolvent.torch.elliptical_metric import (
    SCALINGS,
    STATISTICS,
    EllipticalState,
    check_causal,
    check_finite,
    check_given,
    check_heads,
    check_like,
    check_padding,
    check_tokens_left,
    metric,
    unchecked_metric,
)

__all__ = ["EllipticalAttention", "EllipticalCache", "elliptical_attention"]


def elliptical_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    v_prev: Tensor | None = None,
    *,
    scaling: str = "max",
    statistic: str = "mean",
    mask: Tensor | None = None,
    is_causal: bool = False,
    look_ahead: str | None = None,
    metric: Tensor | None = None,
    state: EllipticalState | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_p: float = 0.0,
    detach: bool = True,
    check: bool = True,
) -> Any:
    """Softmax attention with logits qᵀ diag(m) k / sqrt(D), m estimated from two layers of values.

    Parameters
    ----------
    q : Tensor of shape (B, H, S, D)
        Causal queries are those of the last S of the T tokens.
    k, v : Tensor of shape (B, H_kv, T, D)
        Keys and values of the same width, since m lives in the coordinates of `v` and acts in those of `k`.
    v_prev : Tensor, optional
        Values of the previous attention layer for the tokens of `v`; with `state`, for the last S only. None, as in
        the first layer, gives ordinary attention.
    scaling, statistic, detach
        As in `metric`.
    mask : bool Tensor of shape (B, T), optional
        True for tokens, False for padding: neither attended to nor counted. Outputs at padding are finite, no more.
    is_causal : bool
        Neither the attention nor its metric looks ahead: m is a mean over tokens up to the query's.
    look_ahead : {"sequence"}, optional
        With `is_causal`, measure by the whole sequence as the published language model does: outputs then depend on
        later tokens. Warns.
    metric : Tensor, optional
        Use this m >= 0, of shape (B, H or H_kv, S, D) or with ones in place of any of these, and estimate none.
    state : EllipticalState, optional
        For decoding: that of the tokens before the last S, `EllipticalState()` at the start. Causal only.
    scale, enable_gqa, dropout_p
        As in ``torch.nn.functional.scaled_dot_product_attention``; m is formed per head of `v`.
    check : bool
        Look at the values too (a row without tokens, NaN, a state of other tokens), which makes a GPU wait. Never
        done while compiling.

    Returns
    -------
    Tensor of shape (B, H, S, D)
        With `state`, the pair of it and the state after these tokens (unchanged if `v_prev` is None).

    Raises
    ------
    ValueError
        If an argument is out of range, of another shape, type or device, or not finite; if a row of `mask` holds no
        token.

    Warns
    -----
    UserWarning
        If `look_ahead` lets later tokens in.

    References
    ----------
    Nielsen et al. [nielsen2024]_; the causal metric is derived in docs/theory/elliptical.md, section 1.

    Examples
    --------
    >>> q, k, v, v_prev = torch.randn(4, 2, 8, 16, 32, generator=torch.Generator().manual_seed(0))
    >>> elliptical_attention(q, k, v, v_prev, is_causal=True).shape
    torch.Size([2, 8, 16, 32])
    >>> plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    >>> torch.equal(elliptical_attention(q, k, v), plain)
    True
    """
    one_of("scaling", scaling, SCALINGS)
    one_of("statistic", statistic, STATISTICS)
    groups = check_heads(q, k, v, enable_gqa)
    S, T = q.shape[2], k.shape[2]
    if is_causal and S > T:
        raise ValueError(f"q must hold no more tokens than k when causal, got {S} and {T}")
    if mask is not None:
        check_padding(mask, k, T)
    _check_look_ahead(look_ahead, is_causal, state)
    prefix = is_causal and look_ahead is None
    if v_prev is not None or state is not None:
        check_causal(prefix, statistic, state)
    check = check and not torch.compiler.is_compiling()
    if v_prev is not None:
        check_like("v_prev", v_prev, v, (*v.shape[:2], T if state is None else S, v.shape[3]))
    if check:
        for name, x in (("q", q), ("k", k), ("v", v), ("v_prev", v_prev)):
            if x is not None:
                check_finite(name, x)
        if mask is not None and state is None:  # what was seen so far may be padding at the left
            check_tokens_left(mask)
    after = state
    m = metric
    if m is not None:
        if v_prev is not None or state is not None:
            raise ValueError("metric must be None where v_prev or a state is given, got both")
        check_given(m, q, k, check)
    elif v_prev is not None:
        here = mask
        if state is not None:
            here = None if mask is None else mask[:, T - S :]
            if check:
                _continues(state, mask, T - S)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
            new = v if state is None else v[:, :, T - S :]
            m, after = unchecked_metric(new, v_prev, scaling, statistic, here, prefix, state)
            if prefix and state is None and S < T:
                m = m[:, :, T - S :]
    # a single query may attend to all; several aligned at the end need a mask, made below
    triangular = is_causal and mask is None
    if S != T:  # a comparison of traced sizes would be no bool
        triangular = False
    out = functional.scaled_dot_product_attention(
        q if m is None else stretched(q, m, groups),
        k,
        v,
        attn_mask=_allowed(mask, S, T, is_causal, q.device),
        dropout_p=dropout_p,
        is_causal=triangular,
        scale=scale,
        **({"enable_gqa": True} if groups > 1 else {}),  # PyTorch 2.5 and later
    )
    return out if state is None else (out, after)


def stretched(q: Tensor, m: Tensor, groups: int) -> Tensor:
    """q times m, head by head: a key-value head serves `groups` neighbouring queries."""
    if groups > 1 and m.shape[1] not in (1, q.shape[1]):
        return (q.unflatten(1, (-1, groups)) * m[:, :, None]).flatten(1, 2).to(q.dtype)
    return (q * m).to(q.dtype)


def _allowed(mask: Tensor | None, S: int, T: int, is_causal: bool, where: torch.device) -> Tensor | None:
    """Which keys a query may see, (B, 1, 1 or S, T); None where `scaled_dot_product_attention` needs no mask."""
    if not is_causal:
        return None if mask is None else mask[:, None, None, :]
    if mask is None and S in (1, T):
        return None
    at = torch.arange(T - S, T, device=where)[:, None]
    key = torch.arange(T, device=where)
    past = key <= at
    if mask is None:
        return past
    # itself always: a query at left padding would otherwise see nothing, which some kernels turn into NaN
    return (past & mask[:, None, None, :]) | (key == at)


@dataclass(frozen=True, eq=False)
class EllipticalCache:
    """Keys, values and state of the tokens that an `EllipticalAttention` has seen; empty at the start.

    Parameters
    ----------
    keys, values : Tensor of shape (B, H_kv, T, D), optional
    state : EllipticalState

    Examples
    --------
    >>> layer = EllipticalAttention(8, 2, is_causal=True)
    >>> _, _, cache = layer(torch.zeros(1, 3, 8), cache=EllipticalCache())
    >>> cache.keys.shape
    torch.Size([1, 2, 3, 4])
    """

    keys: Tensor | None = None
    values: Tensor | None = None
    state: EllipticalState = field(default_factory=EllipticalState)


class EllipticalAttention(nn.Module):
    """Multi-head self-attention in the elliptical metric; hands its values to the next layer.

    Parameters
    ----------
    width : int
        Of the tokens; a multiple of `heads`.
    heads : int
        Query heads.
    kv_heads : int, optional
        Heads of keys and values, a divisor of `heads`, which is also the default.
    scaling, statistic, is_causal, look_ahead, detach, check
        As in `elliptical_attention`.
    bias : bool
        Of the four projections.
    dropout : float
        Of the attention weights, from 0 to below 1, while training.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Nielsen et al. [nielsen2024]_.

    Examples
    --------
    >>> first, second = EllipticalAttention(32, 4), EllipticalAttention(32, 4)
    >>> x, v = first(torch.zeros(2, 5, 32))
    >>> x, v = second(x, v)
    >>> x.shape, v.shape
    (torch.Size([2, 5, 32]), torch.Size([2, 4, 5, 8]))
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        scaling: str = "max",
        statistic: str = "mean",
        is_causal: bool = False,
        look_ahead: str | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        detach: bool = True,
        check: bool = True,
    ) -> None:
        super().__init__()
        width, self.heads = natural("width", width), natural("heads", heads)
        if width % heads:
            raise ValueError(f"width must be a multiple of the {heads} heads, got {width}")
        self.kv_heads = self.heads if kv_heads is None else natural("kv_heads", kv_heads)
        if heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide the {heads} heads, got {kv_heads}")
        one_of("scaling", scaling, SCALINGS)
        one_of("statistic", statistic, STATISTICS)
        check_causal(is_causal and look_ahead is None, statistic, None)
        _check_look_ahead(look_ahead, is_causal, None)
        self.dropout = number("dropout", dropout, least=0)
        if self.dropout >= 1:
            raise ValueError(f"dropout must be below 1, got {dropout}")
        self.head_width = width // heads
        self.scaling, self.statistic, self.is_causal = scaling, statistic, bool(is_causal)
        self.look_ahead, self.detach, self.check = look_ahead, bool(detach), bool(check)
        inner = self.kv_heads * self.head_width
        self.q, self.o = nn.Linear(width, width, bias), nn.Linear(width, width, bias)
        self.k, self.v = nn.Linear(width, inner, bias), nn.Linear(width, inner, bias)

    def forward(
        self,
        x: Tensor,
        v_prev: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        metric: Tensor | Callable[[Tensor], Tensor | None] | None = None,
        cache: EllipticalCache | None = None,
    ) -> Any:
        """Attend, from tokens of shape (B, S, width); `cache` holds those before them.

        Parameters
        ----------
        x : Tensor of shape (B, S, width)
        v_prev : Tensor of shape (B, H_kv, S, D), optional
            What the layer before returned; None in the first.
        mask : bool Tensor, optional
            Of shape (B, S), or (B, T) with the tokens of the cache.
        metric : Tensor or callable, optional
            A metric to use instead of the estimate, or what makes one (or None, for ordinary attention) from the values.
        cache : EllipticalCache, optional
            To decode; causal layers only.

        Returns
        -------
        tuple
            The output, as `x`; the values, for the next layer; with `cache`, the cache after these tokens.
        """
        if x.ndim != 3 or x.shape[-1] != self.q.in_features:
            raise ValueError(f"x must have shape (B, S, {self.q.in_features}), got {tuple(x.shape)}")
        q, k, v = self._split(self.q(x)), self._split(self.k(x)), self._split(self.v(x))
        keys, values = k, v
        if cache is not None:
            check_causal(self.is_causal and self.look_ahead is None, self.statistic, cache.state)
            if cache.keys is not None and cache.values is not None:
                keys, values = torch.cat((cache.keys, k), 2), torch.cat((cache.values, v), 2)
        if callable(metric):
            metric = metric(v)
        elif self.look_ahead and v_prev is not None and metric is None:  # warned of when made
            metric = self.metric(v, v_prev, mask=mask)
        # ordinary attention, in the first layer or by a metric of one's own, leaves no sums to carry
        state = None if cache is None or v_prev is None or metric is not None else cache.state
        found = elliptical_attention(
            q,
            keys,
            values,
            v_prev if metric is None else None,
            metric=metric,
            mask=mask,
            is_causal=self.is_causal,
            state=state,
            scaling=self.scaling,
            statistic=self.statistic,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=True,
            detach=self.detach,
            check=self.check,
        )
        out, state = (found, EllipticalState()) if state is None else found
        out = self.o(out.transpose(1, 2).flatten(2))
        return (out, v) if cache is None else (out, v, EllipticalCache(keys, values, state))

    def metric(self, v: Tensor, v_prev: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The metric that this layer estimates from its values and those before, of the whole sequence."""
        m: Tensor = metric(
            v,
            v_prev,
            scaling=self.scaling,
            statistic=self.statistic,
            mask=mask,
            is_causal=self.is_causal and self.look_ahead is None,
            detach=self.detach,
            check=self.check,
        )
        return m

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)


def _check_look_ahead(look_ahead: str | None, is_causal: bool, state: EllipticalState | None) -> None:
    if look_ahead is None:
        return
    one_of("look_ahead", look_ahead, ("sequence",))
    if not is_causal or state is not None:
        raise ValueError(f"look_ahead must be None without is_causal or with a state, got {look_ahead!r}")
    warnings.warn("look_ahead='sequence' lets outputs depend on later tokens", UserWarning, stacklevel=3)


def _continues(state: EllipticalState, mask: Tensor | None, past: int) -> None:
    """A state must have counted exactly the tokens before the new ones."""
    seen = past if mask is None else mask[:, :past].sum(1)
    good = torch.as_tensor(seen == (0 if state.count is None else state.count)).all()
    if not good:
        count = None if state.count is None else state.count.tolist()
        raise ValueError(f"state must have counted the {past} tokens before these, got count {count}")
