"""Pooling by weights over positions, in PyTorch: padded on either side, or flattened without padding.

One rule for lengths: the position of a token is its index among the tokens of its sequence, padding left out; a token
beyond position T takes the weight of position T; the weighted sum is divided by the sum of |w| over the tokens
present, and where that is zero all of them weigh the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resolvent.arguments import arrays, natural

__all__ = ["PositionalPooling", "token_weights"]


class PositionalPooling(nn.Module):
    """Weighted mean of token embeddings, z_i = sum_t w_t x_it / sum_t |w_t|, position by position.

    Parameters
    ----------
    weights : array or Tensor of shape (T,)
        Of either sign. An array is kept in the default type of PyTorch, a floating Tensor in its own.
    trainable : bool
        Make `weights` a parameter; they are a buffer otherwise. ``state_dict`` calls them the same.
    check : bool
        Look for rows without tokens, which makes a GPU wait. Never done while compiling; such a row gives zero then.

    Raises
    ------
    ValueError
        If weights are not finite real numbers of shape (T,), or when it runs, if embeddings or mask are of another
        shape or type or a row has no token.

    Examples
    --------
    >>> pooling = PositionalPooling([3.0, 1.0])
    >>> x = torch.tensor([[[0.0], [4.0], [8.0]], [[0.0], [4.0], [8.0]]])
    >>> pooling(x, torch.tensor([[1, 1, 1], [0, 1, 1]])).flatten().tolist()
    [2.4000000953674316, 5.0]
    """

    weights: Tensor

    def __init__(self, weights: Any, *, trainable: bool = False, check: bool = True) -> None:
        super().__init__()
        values = as_weights(weights)
        if trainable:
            self.weights = nn.Parameter(values)
        else:
            self.register_buffer("weights", values)
        self.check = bool(check)

    def forward(self, token_embeddings: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the pooled embeddings, shape (B, d), in the type of the token embeddings; sums are never in half.

        Parameters
        ----------
        token_embeddings : Tensor of shape (B, L, d)
            What padding holds is not looked at.
        attention_mask : Tensor of shape (B, L), optional
            Zero or False for padding, on either side; without it there is none.
        """
        x = token_embeddings
        if not isinstance(x, Tensor) or x.ndim != 3 or not x.is_floating_point():
            raise ValueError(
                f"token_embeddings must be a floating Tensor of shape (B, L, d), got {_shown(x)}"
            )
        if attention_mask is None:
            if not x.shape[1]:
                raise ValueError(f"token_embeddings must have L >= 1, got shape {tuple(x.shape)}")
            mask = torch.ones((1, x.shape[1]), dtype=torch.bool, device=x.device)
        else:
            mask = _mask(attention_mask, tuple(x.shape[:2]))
            if self.check and not torch.compiler.is_compiling():
                _refuse_empty(mask)
            x = torch.where(mask[..., None], x, 0)  # zero times NaN would be NaN
        # shares are never in half, and neither is what they multiply
        shares = token_weights(self.weights.to(torch.promote_types(self.weights.dtype, x.dtype)), mask)
        return (x * shares[..., None]).sum(1).to(token_embeddings.dtype)

    def extra_repr(self) -> str:
        return f"{self.weights.shape[0]} positions, trainable={isinstance(self.weights, nn.Parameter)}"


def token_weights(
    weights: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens: Tensor | None = None,
    length: int | None = None,
    skip: int = 0,
    mean_one: bool = False,
) -> Tensor:
    """Return the weight of every token: that of its position, over the sum of |w| in its sequence.

    Nothing here depends on values, so that it compiles and no GPU waits, except for `length` where it is left out.

    Parameters
    ----------
    weights : Tensor of shape (T,)
        Gradients reach them.
    attention_mask : Tensor of shape (B, L), optional
        Zero or False for padding, on either side.
    cu_seq_lens : whole-number Tensor of shape (B + 1,), optional
        Instead of a mask, for sequences that follow one another without padding: where each begins, and the end of
        the last.
    length : int, optional
        Tokens in all; the last of `cu_seq_lens`.
    skip : int
        The first `skip` tokens of each sequence keep their positions and weigh nothing, as a prompt left out does.
    mean_one : bool
        Let |w| average one instead of summing to one, over the tokens that weigh: a plain mean over them then
        gives the weighted one.

    Returns
    -------
    Tensor of shape (B, L), or (length,)
        Zero at padding; float64 for float64 weights and float32 otherwise.

    Raises
    ------
    ValueError
        If a shape or type is another, or both or neither of mask and `cu_seq_lens` are given.

    Examples
    --------
    >>> w = torch.tensor([2.0, -1.0])
    >>> token_weights(w, torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])).tolist()[0]
    [0.4000000059604645, -0.20000000298023224, -0.20000000298023224, -0.20000000298023224]
    >>> token_weights(w, cu_seq_lens=torch.tensor([0, 4, 5])).tolist()[3:]
    [-0.20000000298023224, 1.0]
    """
    if (
        not isinstance(weights, Tensor)
        or weights.ndim != 1
        or not weights.is_floating_point()
        or not len(weights)
    ):
        raise ValueError(f"weights must be a floating Tensor of shape (T,), T >= 1, got {_shown(weights)}")
    if (attention_mask is None) == (cu_seq_lens is None):
        raise ValueError("one of attention_mask and cu_seq_lens must be given, got both or neither")
    skip = natural("skip", skip, least=0)
    row = None
    if cu_seq_lens is None:
        present = _mask(attention_mask)
        position = present.cumsum(1) - 1
    else:
        row, position = _flat_positions(cu_seq_lens, length)
        present = torch.ones_like(position, dtype=torch.bool)
    counted = present & (position >= skip)
    w = weights.to(torch.promote_types(weights.dtype, torch.float32))
    w = w[position.clamp(0, len(w) - 1)]
    w = torch.where(counted, w, torch.zeros_like(w))

    def per_sequence(values: Tensor) -> Tensor:
        if row is None or cu_seq_lens is None:
            return values.sum(1, keepdim=True)
        return values.new_zeros(len(cu_seq_lens) - 1).index_add(0, row, values)[row]

    total, n = per_sequence(w.abs()), per_sequence(counted.to(w.dtype)).clamp(min=1)
    nothing = total == 0
    # a total of zero is replaced before it divides, or gradients would be NaN
    shares = torch.where(nothing, counted / n, w / torch.where(nothing, torch.ones_like(total), total))
    return shares * n if mean_one else shares


def as_weights(weights: Any) -> Tensor:
    """Return a copy of the weights as a floating Tensor of shape (T,), or raise ``ValueError``."""
    if isinstance(weights, Tensor) and not weights.is_complex():
        values = weights.detach().clone()
        values = values if values.is_floating_point() else values.to(torch.get_default_dtype())
    else:
        numbers = np.array(arrays(weights, names="weights")[1])
        values = torch.tensor(numbers, dtype=torch.get_default_dtype())
    if values.ndim != 1 or not len(values):
        raise ValueError(f"weights must have shape (T,), T >= 1, got {tuple(values.shape)}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"weights must be finite in {values.dtype}, got others at {_where(~values.isfinite())}"
        )
    return values


def _flat_positions(cu_seq_lens: Any, length: int | None) -> tuple[Tensor, Tensor]:
    """For every token the sequence it belongs to, and its position there."""
    starts = cu_seq_lens
    if (
        not isinstance(starts, Tensor)
        or starts.ndim != 1
        or len(starts) < 2
        or starts.is_floating_point()
        or starts.is_complex()
    ):
        raise ValueError(f"cu_seq_lens must be whole numbers of shape (B + 1,), B >= 1, got {_shown(starts)}")
    length = int(starts[-1]) if length is None else length
    place = torch.arange(length, device=starts.device)
    row = torch.searchsorted(starts[1:].to(torch.int64).contiguous(), place, right=True)
    return row, place - starts[row]


def _mask(mask: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    fits = isinstance(mask, Tensor) and mask.ndim == 2 and not mask.is_complex()
    if not fits or (shape is not None and tuple(mask.shape) != shape):
        wanted = "(B, L)" if shape is None else str(shape)
        raise ValueError(f"attention_mask must be a real Tensor of shape {wanted}, got {_shown(mask)}")
    return mask if mask.dtype == torch.bool else mask != 0


def _refuse_empty(mask: Tensor) -> None:
    empty = ~mask.any(1)
    if bool(empty.any()):
        raise ValueError(f"attention_mask must leave a token in every row, got none in rows {_where(empty)}")


def _where(flags: Tensor) -> str:
    found = flags.nonzero().flatten().tolist()
    return str(found) if len(found) <= 8 else f"{found[:8]} and {len(found) - 8} more"


def _shown(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
