"""The metric of elliptical attention: how much each coordinate of the values moved since the layer before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resolvent.arguments import one_of

__all__ = ["SCALINGS", "STATISTICS", "EllipticalState", "metric"]

SCALINGS, STATISTICS = ("max", "mean"), ("mean", "median")


@dataclass(frozen=True, eq=False)
class EllipticalState:
    """What decoding remembers of the tokens seen: the sum of |V − V_prev| and how many were counted.

    Parameters
    ----------
    total : Tensor of shape (B, H_kv, 1, D), optional
        Running sum, float32 or float64; None before the first token.
    count : Tensor of shape (B,), optional
        Tokens in the sum, padding left out.

    Examples
    --------
    >>> v = torch.ones(1, 1, 3, 2)
    >>> m, state = metric(v, 0 * v, is_causal=True, state=EllipticalState())
    >>> state.total.flatten().tolist(), state.count.tolist()
    ([3.0, 3.0], [3])
    """

    total: Tensor | None = None
    count: Tensor | None = None


def metric(
    v: Tensor,
    v_prev: Tensor,
    *,
    scaling: str = "max",
    statistic: str = "mean",
    mask: Tensor | None = None,
    is_causal: bool = False,
    state: EllipticalState | None = None,
    detach: bool = True,
    check: bool = True,
) -> Any:
    """Return the diagonal m of the metric: how much each value coordinate moved since the previous layer.

    A step size delta that divides |V − V_prev| cancels in the scaling, so there is none.

    Parameters
    ----------
    v, v_prev : Tensor of shape (B, H_kv, T, D)
        Values of this layer and of the attention layer before it, of the same tokens.
    scaling : {"max", "mean"}
        Divide by the largest coordinate or by the mean over coordinates. Where nothing moved, m = 1.
    statistic : {"mean", "median"}
        Over the tokens; the median is that of NumPy and cannot be causal.
    mask : bool Tensor of shape (B, T), optional
        True for tokens, False for padding, which is never counted.
    is_causal : bool
        Token t is measured by tokens up to t only.
    state : EllipticalState, optional
        Continue from these tokens: `v` and `v_prev` hold the ones after them. Causal only.
    detach : bool
        Keep the metric a constant for back-propagation, as published; False lets gradients through.
    check : bool
        Look at the values too (a row without tokens, NaN), which makes a GPU wait. Never done while compiling.

    Returns
    -------
    Tensor of shape (B, H_kv, 1, D), or (B, H_kv, T, D) if causal
        float64 for float64 values and float32 otherwise. With `state`, the pair of it and the state after these tokens.

    Raises
    ------
    ValueError
        If an argument is out of range, of another shape, type or device, or not finite.

    References
    ----------
    Nielsen et al. [nielsen2024]_, equation of the over-layers estimator.

    Examples
    --------
    >>> v = torch.tensor([[[[1.0, 2.0], [3.0, 8.0]]]])
    >>> metric(v, torch.zeros_like(v)).tolist()
    [[[[0.4000000059604645, 1.0]]]]
    >>> metric(v, v, scaling="mean").tolist()
    [[[[1.0, 1.0]]]]
    """
    one_of("scaling", scaling, SCALINGS)
    one_of("statistic", statistic, STATISTICS)
    check_values("v", v)
    check_like("v_prev", v_prev, v, tuple(v.shape))
    if mask is not None:
        check_padding(mask, v, v.shape[2])
    check_causal(is_causal, statistic, state)
    if check and not torch.compiler.is_compiling():
        check_finite("v", v)
        check_finite("v_prev", v_prev)
        if mask is not None and state is None:
            check_tokens_left(mask)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        m, after = unchecked_metric(v, v_prev, scaling, statistic, mask, is_causal, state)
    return m if state is None else (m, after)


def unchecked_metric(
    v: Tensor,
    v_prev: Tensor,
    scaling: str,
    statistic: str,
    mask: Tensor | None,
    is_causal: bool,
    state: EllipticalState | None,
) -> tuple[Tensor, EllipticalState | None]:
    """The metric and the state after; in place wherever no gradient needs what was there."""
    exact = torch.float64 if v.dtype == torch.float64 else torch.float32
    moved = v.to(exact) - v_prev.to(exact)
    free = not moved.requires_grad
    moved = moved.abs_() if free else moved.abs()
    if mask is not None:
        moved = moved.masked_fill(~mask[:, None, :, None], torch.inf if statistic == "median" else 0)
    after = None
    # neither scaling sees the number of tokens, so that sums do for means
    if statistic == "median":
        moved = _median(moved, mask)
    elif not is_causal:
        moved = moved.sum(-2, keepdim=True)
    else:
        moved = moved.cumsum_(-2) if free else moved.cumsum(-2)
        if state is not None:
            if state.total is not None:
                moved = moved + state.total
            after = EllipticalState(moved[:, :, -1:].clone(), _counted(v, mask, state))
    size = moved.amax(-1, keepdim=True) if scaling == "max" else moved.mean(-1, keepdim=True)
    still = (size == 0).to(exact)
    size = size + still
    if free:
        return moved.div_(size).add_(still), after
    return moved / size + still, after


def _counted(v: Tensor, mask: Tensor | None, state: EllipticalState) -> Tensor:
    if mask is None:
        new = torch.full((v.shape[0],), v.shape[2], dtype=torch.int64, device=v.device)
    else:
        new = mask.sum(1)
    return new if state.count is None else state.count + new


def _median(moved: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the two middle order statistics; padding, set to infinity, sorts last."""
    ordered = moved.sort(-2).values
    if mask is None:
        T = moved.shape[-2]
        return (ordered[:, :, (T - 1) // 2, None] + ordered[:, :, T // 2, None]) / 2
    n = mask.sum(1)
    shape = (*moved.shape[:2], 1, moved.shape[-1])
    low, high = (
        ordered.gather(2, i.clamp(min=0)[:, None, None, None].expand(shape)) for i in ((n - 1) // 2, n // 2)
    )
    return (low + high) / 2


def check_values(name: str, x: Any) -> None:
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point() or 0 in x.shape:
        shown = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)
        raise ValueError(f"{name} must be a floating Tensor of shape (B, H, T, D), none zero, got {shown}")


def check_like(name: str, x: Any, like: Tensor, shape: tuple[int, ...]) -> None:
    check_values(name, x)
    if tuple(x.shape) != shape or x.dtype != like.dtype or x.device != like.device:
        raise ValueError(
            f"{name} must be {like.dtype} of shape {shape} on {like.device}, "
            f"got {x.dtype} of shape {tuple(x.shape)} on {x.device}"
        )


def check_padding(mask: Any, like: Tensor, T: int) -> None:
    shape = (like.shape[0], T)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != shape:
        shown = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
        raise ValueError(f"mask must be a bool Tensor of shape {shape}, True for tokens, got {shown}")
    if mask.device != like.device:
        raise ValueError(f"mask must be on {like.device}, got {mask.device}")


def check_tokens_left(mask: Tensor) -> None:
    empty = (~mask.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"mask must leave a token in every row, got none in rows {empty}")


def check_causal(is_causal: bool, statistic: str, state: EllipticalState | None) -> None:
    if is_causal and statistic == "median":
        raise ValueError("statistic must be 'mean' when causal (a median has no running form), got 'median'")
    if state is None:
        return
    if not isinstance(state, EllipticalState):
        raise ValueError(f"state must be an EllipticalState, got {state!r}")
    if not is_causal:
        raise ValueError("state must be None unless is_causal, as only a prefix can be continued")


def check_finite(name: str, x: Tensor) -> None:
    # one pass over x where all is well: a sum is finite only if its terms are
    total = x.detach().sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    if not torch.isfinite(total) and not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def check_heads(q: Tensor, k: Tensor, v: Tensor, enable_gqa: bool) -> int:
    """Check the three against each other; return the queries per key-value head."""
    check_values("q", q)
    check_values("k", k)
    check_like("k", k, q, (q.shape[0], *k.shape[1:3], q.shape[3]))
    check_like("v", v, k, tuple(k.shape))
    H, kv = q.shape[1], k.shape[1]
    if H % kv or (kv != H and not enable_gqa):
        allowed = "divide those of q" if enable_gqa else "equal those of q without enable_gqa"
        raise ValueError(f"the heads of k must {allowed}, got {kv} and {H}")
    return H // kv


def check_given(m: Any, q: Tensor, k: Tensor, check: bool) -> None:
    check_values("metric", m)
    B, H, S, D = q.shape
    fits = all(a in allowed for a, allowed in zip(m.shape, ((1, B), (1, k.shape[1], H), (1, S), (1, D))))
    if not fits or m.device != q.device:
        raise ValueError(
            f"metric must broadcast to ({B}, {k.shape[1]} or {H}, {S}, {D}) on {q.device}, "
            f"got shape {tuple(m.shape)} on {m.device}"
        )
    if check and not bool(((m >= 0) & (m < torch.inf)).all()):
        raise ValueError("metric must be finite and >= 0, got other values")
