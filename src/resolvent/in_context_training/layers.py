"""One layer of linear attention or of H3 with all its parameters, and the gradient step it is equivalent to. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resolvent.arguments import natural, one_of
from resolvent.in_context.tasks import GaussianTasks

__all__ = ["H3", "LinearAttention", "begin", "exact_risk", "one_thread", "prompt"]

LAYERS = ("attention", "h3")
STARTS = ("structured", "aligned", "random")


def prompt(x: np.ndarray, labels: np.ndarray, query: np.ndarray) -> Tensor:
    """The prompts a layer reads, rows (x_i, y_i) and last (x, 0), shape (m, n + 1, d + 1).

    Examples
    --------
    >>> prompt(np.ones((1, 1, 2)), 5 * np.ones((1, 1)), np.zeros((1, 2)))
    tensor([[[1., 1., 5.],
             [0., 0., 0.]]], dtype=torch.float64)
    """
    m, n, d = x.shape
    z = np.zeros((m, n + 1, d + 1))
    z[:, :-1, :-1], z[:, :-1, -1], z[:, -1, :-1] = x, labels, query
    return torch.from_numpy(z)


class _Layer(nn.Module):
    """What both layers share: the start, and reading out the step of gradient descent.

    Its output is a sum over positions j of xᵀL_j x_j y_j, which is gradient descent, and of the rest: cubic in
    features, Σ C_j[p, q, r] x_p x_jq x_jr and Σ own[p, q, r] x_p x_q x_r, or quadratic in labels, (s_jᵀx) y_j².
    """

    queries: nn.Parameter
    values: nn.Parameter

    def terms(self, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """L (n, d, d), C (n, d, d, d), s (n, d) and own (d, d, d)."""
        raise NotImplementedError

    def _matrix(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(shape, dtype=torch.float64))

    def start(self, how: str, rng: np.random.Generator) -> None:
        """Draw parameters at random, matrices with variance one over their rows.

        Structured: keys blind to labels, values blind to features, a constant filter. Aligned: besides, keys equal to
        queries and heads of the values' sign, so that W begins positive semi-definite, as the optimum is.
        """
        structured = one_of("start", how, STARTS) != "random"
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name == "filter":
                    drawn = np.ones(parameter.shape) if structured else rng.standard_normal(parameter.shape)
                else:
                    drawn = rng.standard_normal(parameter.shape) / np.sqrt(parameter.shape[0])
                if how == "aligned" and name == "keys":
                    drawn = self.queries.numpy().copy()
                if how == "aligned" and name == "head":
                    drawn = np.abs(drawn) * np.sign(self.values[-1].numpy())
                if structured and name == "keys":
                    drawn[-1] = 0
                if structured and name == "values":
                    drawn[:-1] = 0
                parameter.copy_(torch.from_numpy(drawn))

    def read(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """W and w of the step xᵀW Σ w_j x_j y_j, the largest weight one; filters of channels give the closest such step."""
        with torch.no_grad():
            L = self.terms(length)[0].numpy()
        left, sizes, right = np.linalg.svd(L.reshape(length, -1), full_matrices=False)
        w = left[:, 0]
        largest = w[np.argmax(np.abs(w))] or 1.0
        return (sizes[0] * largest * right[0]).reshape(L.shape[1:]), w / largest


class LinearAttention(_Layer):
    """Linear attention with all its parameters: f = zᵀ Wq Wkᵀ (Z0ᵀZ0/n) Wv h, no softmax, the query masked as a key.

    Parameters
    ----------
    dimension : int
        d.
    width : int, optional
        Columns of Wq and Wk, d + 1 by default; fewer give a W of at most that rank.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; the read-out is derived in docs/theory/in_context.md, section 10.

    Examples
    --------
    >>> layer = LinearAttention(3)
    >>> layer.start("structured", np.random.default_rng(0))
    >>> layer(torch.ones(2, 11, 4, dtype=torch.float64)).shape, layer.preconditioner(10).shape
    (torch.Size([2]), (3, 3))
    """

    def __init__(self, dimension: int, width: int | None = None) -> None:
        super().__init__()
        size = natural("dimension", dimension) + 1
        r = size if width is None else natural("width", width)
        self.queries, self.keys = self._matrix(size, r), self._matrix(size, r)
        self.values, self.head = self._matrix(size, size), self._matrix(size)

    def forward(self, z: Tensor) -> Tensor:
        """Predictions (m,) for prompts (m, n + 1, d + 1)."""
        to_query = z @ (z[:, -1] @ self.queries @ self.keys.T)[:, :, None]
        read = to_query[:, :, 0] * (z @ (self.values @ self.head))
        return read[:, :-1].mean(dim=1)  # masked after the products: a slice of z would be copied

    def terms(self, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """L (n, d, d), C (n, d, d, d), s (n, d) and own (d, d, d)."""
        A, c = self.queries[:-1] @ self.keys.T / length, self.values @ self.head
        L = A[:, :-1] * c[-1] + A[:, -1:] * c[:-1]
        C = torch.einsum("pq,r->pqr", A[:, :-1], c[:-1])
        C, s = (C + C.transpose(1, 2)) / 2, A[:, -1] * c[-1]
        own = torch.zeros_like(C)
        return L.expand(length, -1, -1), C.expand(length, -1, -1, -1), s.expand(length, -1), own

    def preconditioner(self, length: int) -> np.ndarray:
        """W = (c_y A_xx + a_xy c_xᵀ)/n of the equivalent step, A = Wq Wkᵀ, c = Wv h."""
        with torch.no_grad():
            return self.terms(length)[0][0].numpy().copy()

    def weights(self, length: int) -> np.ndarray:
        """All ones: attention does not tell positions apart."""
        return np.ones(length)


class H3(_Layer):
    """H3 with all its parameters: f = Σ_ch h_ch (zWq)_ch Σ_j f_(n+1−j) (z_jWk)_ch (z_jWv)_ch / n, the query at lag zero.

    Parameters
    ----------
    dimension : int
        d.
    length : int
        n; the filter has n + 1 entries, lags 0 … n.
    channels : int, optional
        d + 1 by default; fewer than d give a W of at most that rank.
    shared : bool, default True
        One filter for all channels; else one each.

    References
    ----------
    Li, Rawat and Oymak [li2024]_; the read-out is derived in docs/theory/in_context.md, section 10.

    Examples
    --------
    >>> layer = H3(3, 10)
    >>> layer.start("structured", np.random.default_rng(0))
    >>> layer(torch.ones(2, 11, 4, dtype=torch.float64)).shape, layer.weights(10).shape
    (torch.Size([2]), (10,))
    """

    def __init__(
        self, dimension: int, length: int, channels: int | None = None, *, shared: bool = True
    ) -> None:
        super().__init__()
        size, n = natural("dimension", dimension) + 1, natural("length", length)
        count = size if channels is None else natural("channels", channels)
        self.queries, self.keys, self.values = (self._matrix(size, count) for _ in range(3))
        self.head = self._matrix(count)
        self.filter = self._matrix(n + 1, 1 if shared else count)  # from lag zero

    def forward(self, z: Tensor) -> Tensor:
        """Predictions (m,) for prompts (m, n + 1, d + 1)."""
        pooled = ((z @ self.keys) * (z @ self.values) * self.filter.flip(0)).sum(dim=1)
        return (z[:, -1] @ self.queries * pooled) @ self.head / (z.shape[1] - 1)

    def terms(self, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """L (n, d, d), C (n, d, d, d), s (n, d) and own (d, d, d)."""
        if length != len(self.filter) - 1:
            raise ValueError(f"length must be the filter's {len(self.filter) - 1}, got {length}")
        q, k, v = self.queries[:-1] * self.head / length, self.keys, self.values
        mixed = k[:-1] * v[-1] + v[:-1] * k[-1]
        cubic = torch.einsum("pc,qc,rc->cpqr", q, k[:-1], v[:-1])
        cubic = (cubic + cubic.transpose(2, 3)) / 2
        linear = torch.einsum("pc,qc->cpq", q, mixed)
        lags = self.filter.flip(0)
        if lags.shape[1] == 1:  # before the sum over positions
            linear, cubic, q2 = linear.sum(0)[None], cubic.sum(0)[None], (q * k[-1] * v[-1]).sum(1)[None]
        else:
            q2 = (q * k[-1] * v[-1]).T
        every = [torch.tensordot(lags, part, dims=1) for part in (linear, cubic, q2)]
        return every[0][:-1], every[1][:-1], every[2][:-1], every[1][-1]

    def preconditioner(self, length: int) -> np.ndarray:
        """W = f_max Σ_ch h q_x (k_x v_y + v_x k_y)ᵀ/n for weights of largest entry one; channels' filters: the closest."""
        return self.read(length)[0]

    def weights(self, length: int) -> np.ndarray:
        """w_j = f_(n+1−j)/f_max, the largest entry one; with a filter for each channel of the closest single step."""
        return self.read(length)[1]


def exact_risk(layer: LinearAttention | H3, tasks: GaussianTasks, length: int) -> tuple[Tensor, Tensor]:
    """Exact risk of a whole layer, and the part of it that is due to what is not gradient descent, E rest².

    Both are differentiable in the layer's parameters. The rest never helps: by (β, noise) → −(β, noise) it is
    uncorrelated with the label and with the step of gradient descent.

    Parameters
    ----------
    layer : LinearAttention or H3
    tasks : GaussianTasks
    length : int
        n.

    Returns
    -------
    risk, rest : tensor

    References
    ----------
    Derived in docs/theory/in_context.md, section 10.

    Examples
    --------
    >>> layer = H3(3, 10)
    >>> layer.start("structured", np.random.default_rng(0))
    >>> float(exact_risk(layer, GaussianTasks(3), 10)[1].detach())
    0.0
    """
    K, E, r = (torch.as_tensor(part, dtype=torch.float64) for part in tasks.positions(length))
    half, S = torch.as_tensor(tasks.feature_root), torch.as_tensor(tasks.whitened)
    square = float((tasks.whitened**2).sum())
    L, C, s, own = layer.terms(length)
    L, s = half @ L @ half, s @ half  # features are white from here on
    C, own = (
        torch.einsum("jabc,ap,bq,cr->jpqr", C, half, half, half),
        torch.einsum("abc,ap,bq,cr->pqr", own, half, half, half),
    )
    flat = (L @ S).reshape(length, -1)
    step = tasks.zero - 2 * r @ (flat.reshape(L.shape).diagonal(dim1=1, dim2=2).sum(1))
    step = step + ((K @ L.reshape(length, -1)) * flat).sum() + E @ (L**2).sum((1, 2))
    R = K - torch.diag(torch.diagonal(K)) / 2
    traces = C.diagonal(dim1=2, dim2=3).sum(2)
    mean = (traces + s * E[:, None]).sum(0)  # E [Σ_j x_jᵀC(x)x_j + s(x) y_j²] = meanᵀx
    spread = 2 * (C**2).sum() + 4 * torch.einsum("jpqr,qr,jp,j->", C, S, s, R.diagonal())
    spread = spread + 2 * (E**2 + 2 * R.diagonal() ** 2 * square) @ (s**2).sum(1)
    shared = 2 * square * ((R**2 @ s) * s).sum()
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    sym = torch.stack([own.permute(order) for order in orders]).mean(0)
    one = sym.diagonal(dim1=1, dim2=2).sum(1)
    rest = spread + shared + mean @ mean + 6 * mean @ one + 6 * (sym**2).sum() + 9 * one @ one
    return step + rest, rest


def begin(
    model: Any, layer: str, start: str, width: int | None, rng: np.random.Generator
) -> LinearAttention | H3:
    """The layer at its start; arguments are checked here."""
    one_of("layer", layer, LAYERS)
    one_of("start", start, STARTS)
    if not all(hasattr(model, name) for name in ("tasks", "length", "predict", "risk")):
        raise ValueError(f"model must be an InContextRegression, got {model!r}")
    d = model.tasks.dimension
    width = None if width is None else natural("width", width)
    net = LinearAttention(d, width) if layer == "attention" else H3(d, model.length, width)
    net.start(start, rng)
    return net


@contextmanager
def one_thread() -> Iterator[None]:
    """Small products are quicker on one thread, and their sums then the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
