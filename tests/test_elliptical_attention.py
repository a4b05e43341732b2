"""Elliptical attention in PyTorch: against NumPy, its invariances, causality, decoding, and what it refuses."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from resolvent.torch import (
    CausalLanguageModel,
    EllipticalAttention,
    EllipticalCache,
    EllipticalState,
    VisionTransformer,
    disable_elliptical_attention,
    elliptical_attention,
    enable_elliptical_attention,
    metric,
    token_cosine,
)

plain = functional.scaled_dot_product_attention


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draws(seed=0, B=2, H=3, T=10, D=6, kv=None, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    shapes = [(B, H, T, D)] + 3 * [(B, kv or H, T, D)]
    return [torch.from_numpy(rng.standard_normal(shape)).to(dtype) for shape in shapes]


def left_and_right(T=10):
    mask = torch.ones(2, T, dtype=torch.bool)
    mask[0, :3], mask[1, -4:] = False, False
    return mask


def by_hand(q, k, v, v_prev, *, scaling="max", statistic="mean", mask=None, is_causal=False, delta=5.0):
    """One query after another in NumPy, with the published step size. Rows at padding are left zero."""
    q, k, v, v_prev = (x.numpy() for x in (q, k, v, v_prev))
    B, H, T, D = q.shape
    real = np.ones((B, T), dtype=bool) if mask is None else mask.numpy()
    out = np.zeros(q.shape)
    for b in range(B):
        for h in range(H):
            g = h * v.shape[1] // H
            for t in np.flatnonzero(real[b]):
                seen = real[b] & (np.arange(T) <= t) if is_causal else real[b]
                moved = np.abs(v[b, g, seen] - v_prev[b, g, seen]) / delta
                m = np.median(moved, axis=0) if statistic == "median" else moved.mean(axis=0)
                m = m / (m.max() if scaling == "max" else m.mean())
                logits = (q[b, h, t] * m) @ k[b, g, seen].T / np.sqrt(D)
                weights = np.exp(logits - logits.max())
                out[b, h, t] = weights / weights.sum() @ v[b, g, seen]
    return out


CASES = [
    {},
    {"scaling": "mean"},
    {"statistic": "median"},
    {"is_causal": True},
    {"is_causal": True, "scaling": "mean"},
    {"mask": left_and_right()},
    {"mask": left_and_right(), "statistic": "median", "scaling": "mean"},
    {"mask": left_and_right(), "is_causal": True},
]


def distance(found, expected, mask=None):
    gap = np.abs(found.numpy() - expected)
    return (
        gap.max() if mask is None else gap[np.broadcast_to(mask.numpy()[:, None, :, None], gap.shape)].max()
    )


@pytest.mark.parametrize("kv", [4, 2, 1])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case) or "default")
def test_outputs_equal_numpy(case, kv):
    x = draws(H=4, kv=kv)
    found = elliptical_attention(*x, enable_gqa=True, **case)
    assert found.isfinite().all()
    assert distance(found, by_hand(*x, **case), case.get("mask")) < 1e-12
    # the twin: the metric on both sides is another one
    if not case.get("statistic"):
        q, k, v, v_prev = x
        m = metric(v, v_prev, **case)
        squared = elliptical_attention(q, k, v, metric=m.square(), enable_gqa=True, mask=case.get("mask"))
        assert distance(squared, by_hand(*x, **case), case.get("mask")) > 1e-3


def test_a_fixed_input():
    """Numbers written once, by hand from NumPy: two tokens, m = (1/2, 1)."""
    q = k = torch.tensor([[[[1.0, 2.0], [3.0, -1.0]]]], dtype=torch.float64)
    v, v_prev = q, torch.zeros_like(q) + torch.tensor([1.0, 0.0])
    m = np.array([1.0, 1.5]) / 1.5
    assert np.abs(metric(v, v_prev).numpy().ravel() - m).max() < 1e-15
    a = np.exp(np.array([m @ [1, 4], m @ [3, -2]]) / np.sqrt(2))
    b = np.exp(np.array([m @ [3, -2], m @ [9, 1]]) / np.sqrt(2))
    expected = np.stack([a / a.sum(), b / b.sum()]) @ q.numpy()[0, 0]
    assert np.abs(elliptical_attention(q, k, v, v_prev).numpy()[0, 0] - expected).max() < 1e-12


def test_first_layer_and_unit_metric_are_ordinary_attention():
    q, k, v, v_prev = draws()
    for causal in (False, True):
        expected = plain(q, k, v, is_causal=causal)
        assert torch.equal(elliptical_attention(q, k, v, is_causal=causal), expected)
        assert torch.equal(
            elliptical_attention(q, k, v, v, is_causal=causal), expected
        )  # nothing moved: m = 1
        ones = torch.ones(1, 1, 1, 1, dtype=q.dtype)
        assert torch.equal(elliptical_attention(q, k, v, metric=ones, is_causal=causal), expected)
        assert not torch.allclose(
            elliptical_attention(q, k, v, v_prev, is_causal=causal), expected, atol=1e-3
        )


def test_where_nothing_has_moved_yet_the_metric_is_one():
    _, _, v, v_prev = draws()
    v_prev[:, :, :4] = v[:, :, :4]
    m = metric(v, v_prev, is_causal=True)
    assert (m[:, :, :4] == 1).all()
    assert (m.amax(-1) == 1).all()
    assert (m[:, :, 4:] < 1).any()
    v_prev = v_prev.requires_grad_()
    metric(v, v_prev, is_causal=True, detach=False).square().sum().backward()
    assert v_prev.grad.isfinite().all()


@pytest.mark.parametrize("scaling", ["max", "mean"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_a_step_size_cancels(scaling, is_causal):
    _, _, v, v_prev = draws()
    m = metric(v, v_prev, scaling=scaling, is_causal=is_causal)
    assert torch.equal(
        metric(v / 4, v_prev / 4, scaling=scaling, is_causal=is_causal), m
    )  # exact: a power of 2
    close = metric(v / 5, v_prev / 5, scaling=scaling, is_causal=is_causal)
    assert (close - m).abs().max() < 1e-14
    size = m.amax(-1) if scaling == "max" else m.mean(-1)
    assert (size - 1).abs().max() < 1e-14


def test_tokens_may_be_permuted_unless_causal():
    x = draws()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    moved = [y[:, :, order] for y in x]
    assert (elliptical_attention(*moved) - elliptical_attention(*x)[:, :, order]).abs().max() < 1e-14
    gap = elliptical_attention(*moved, is_causal=True) - elliptical_attention(*x, is_causal=True)[:, :, order]
    assert gap.abs().max() > 0.1


@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_stop_at_the_metric_unless_asked(is_causal):
    x = [y.requires_grad_() for y in draws(T=5)]
    elliptical_attention(*x, is_causal=is_causal).square().sum().backward()
    assert x[3].grad is None
    assert all(y.grad.abs().sum() > 0 for y in x[:3])

    def full(*y):
        return elliptical_attention(*y, is_causal=is_causal, detach=False)

    assert torch.autograd.gradcheck(full, x)  # through v and v_prev as well

    def stopped(q, k, v):
        return elliptical_attention(q, k, v, metric=m, is_causal=is_causal)

    m = metric(x[2], x[3], is_causal=is_causal)
    assert torch.autograd.gradcheck(stopped, x[:3])
    held = torch.autograd.grad(stopped(*x[:3]).square().sum(), x[2])[0]
    assert torch.allclose(x[2].grad, held, atol=1e-12)
    assert not torch.allclose(held, torch.autograd.grad(full(*x).square().sum(), x[2])[0], atol=1e-3)


def test_inputs_are_left_as_they_were():
    x = draws()
    kept = [y.clone() for y in x]
    for is_causal in (False, True):
        elliptical_attention(*x, is_causal=is_causal)
    assert all(torch.equal(y, z) for y, z in zip(x, kept))


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("left", [0, 3])
def test_padding_changes_nothing(statistic, is_causal, left):
    if is_causal and statistic == "median":
        pytest.skip("refused")
    x = draws(T=7)
    expected = elliptical_attention(*x, statistic=statistic, is_causal=is_causal)
    padded = [functional.pad(y, (0, 0, left, 3 - left), value=9.0) for y in x]
    mask = functional.pad(torch.ones(2, 7, dtype=torch.bool), (left, 3 - left))
    found = elliptical_attention(*padded, statistic=statistic, is_causal=is_causal, mask=mask)
    assert found.isfinite().all()
    assert (found[:, :, left : left + 7] - expected).abs().max() < 1e-14
    if is_causal:  # padding before the first token sees itself alone, where some kernels would give NaN
        assert torch.allclose(found[:, :, :left], padded[2][:, :, :left])
    other = [y.where(mask[:, None, :, None], -4.0) for y in padded]
    again = elliptical_attention(*other, statistic=statistic, is_causal=is_causal, mask=mask)
    assert torch.equal(again[:, :, left : left + 7], found[:, :, left : left + 7])
    counted = [y.where(mask[:, None, :, None], -4.0 + i) for i, y in enumerate(padded)]  # the twin: no mask
    if left or not is_causal:
        wrong = elliptical_attention(*counted, statistic=statistic, is_causal=is_causal)
        assert (wrong[:, :, left : left + 7] - expected).abs().max() > 1e-3


def leak(attend, x):
    """Largest change of outputs at tokens 0..T-2 when only the last token changes."""
    changed = [y.clone() for y in x]
    for i, y in enumerate(
        changed
    ):  # by different amounts, so that V − V_prev changes too, coordinate by coordinate
        y[:, :, -1] += (3 + i) * torch.arange(y.shape[-1], dtype=y.dtype)
    return (attend(*changed) - attend(*x))[:, :, :-1].abs().max().item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scaling", ["max", "mean"])
def test_causal_attention_never_looks_ahead(dtype, scaling):
    x = draws(T=40, dtype=dtype)
    assert leak(lambda *y: elliptical_attention(*y, is_causal=True, scaling=scaling), x) == 0.0
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[0, :5] = False
    assert leak(lambda *y: elliptical_attention(*y, is_causal=True, scaling=scaling, mask=mask), x) == 0.0


def test_the_metric_of_a_sequence_leaks_and_says_so():
    x = draws()

    def attend(*y):
        with pytest.warns(UserWarning, match="later tokens"):
            return elliptical_attention(*y, is_causal=True, look_ahead="sequence")

    assert leak(attend, x) > 0.01
    q, k, v, v_prev = x
    m = metric(v, v_prev)
    assert torch.equal(attend(*x), elliptical_attention(q, k, v, metric=m, is_causal=True))


def decode(x, steps, mask=None):
    """Attend in chunks of these sizes, with a state."""
    q, k, v, v_prev = x
    state, outs, end = EllipticalState(), [], 0
    for step in steps:
        start, end = end, end + step
        new = slice(start, end)
        seen = None if mask is None else mask[:, :end]
        out, state = elliptical_attention(
            q[:, :, new], k[:, :, :end], v[:, :, :end], v_prev[:, :, new],
            is_causal=True, state=state, mask=seen, enable_gqa=True,
        )  # fmt: skip
        outs.append(out)
    return torch.cat(outs, 2), state


@pytest.mark.parametrize("steps", [[1] * 12, [12], [5, 1, 4, 2]], ids=["tokens", "whole", "chunks"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_decoding_equals_the_full_pass(steps, padded, dtype):
    x = draws(H=4, kv=2, T=12, dtype=dtype)
    mask = left_and_right(12) if padded else None
    full = elliptical_attention(*x, is_causal=True, mask=mask, enable_gqa=True)
    found, state = decode(x, steps, mask)
    real = slice(None) if mask is None else mask[:, None, :, None].expand_as(full)
    assert (found - full)[real].abs().max() < (1e-13 if dtype == torch.float64 else 3e-6)
    assert state.count.tolist() == ([12, 12] if mask is None else [9, 8])
    total = (x[2] - x[3]).abs()
    total = (total if mask is None else total * mask[:, None, :, None]).sum(2, keepdim=True)
    assert torch.allclose(state.total, total)


def test_queries_of_the_last_tokens_need_no_state():
    q, k, v, v_prev = draws()
    full = elliptical_attention(q, k, v, v_prev, is_causal=True)
    last = elliptical_attention(q[:, :, -3:], k, v, v_prev, is_causal=True)
    assert (last - full[:, :, -3:]).abs().max() < 1e-14
    with pytest.raises(ValueError, match="state must have counted the 9 tokens"):
        elliptical_attention(q[:, :, -1:], k, v, v_prev[:, :, -1:], is_causal=True, state=EllipticalState())
    out, state = elliptical_attention(q, k, v, is_causal=True, state=EllipticalState())
    assert torch.equal(out, plain(q, k, v, is_causal=True))
    assert state.total is None
    assert state.count is None


@pytest.mark.parametrize("is_causal", [False, True])
def test_grouped_heads_equal_repeated_ones(is_causal):
    q, k, v, v_prev = draws(H=6, kv=2)
    repeated = [y.repeat_interleave(3, 1) for y in (k, v, v_prev)]
    found = elliptical_attention(q, k, v, v_prev, enable_gqa=True, is_causal=is_causal)
    assert (found - elliptical_attention(q, *repeated, is_causal=is_causal)).abs().max() < 1e-14
    tiled = [y.repeat(1, 3, 1, 1) for y in (k, v, v_prev)]  # the twin: heads in the other order
    assert (found - elliptical_attention(q, *tiled, is_causal=is_causal)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_half_precision_has_its_metric_in_single(dtype, is_causal):
    x = draws(T=64, dtype=dtype)
    exact = [y.double() for y in x]
    m = metric(x[2], x[3], is_causal=is_causal)
    assert m.dtype == torch.float32
    assert (m - metric(exact[2], exact[3], is_causal=is_causal)).abs().max() < 1e-5
    found = elliptical_attention(*x, is_causal=is_causal)
    assert found.dtype == dtype
    expected = elliptical_attention(*exact, is_causal=is_causal)
    assert (found - expected).abs().max() < (0.05 if dtype == torch.bfloat16 else 0.01)
    assert metric(*exact[2:]).dtype == torch.float64


def test_running_sums_in_half_precision_do_not_stall():
    v = torch.tensor([1.0, 0.25], dtype=torch.bfloat16).reshape(1, 1, 1, 2)
    state, stalled = EllipticalState(), torch.zeros_like(v)
    for _ in range(600):
        m, state = metric(v, torch.zeros_like(v), is_causal=True, state=state)
        stalled += v  # the twin: a sum held in half precision
    assert m.flatten().tolist() == [1.0, 0.25]
    assert state.total.flatten().tolist() == [600.0, 150.0]
    assert stalled[..., 0].item() == 256


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case) or "default")
def test_compiled_in_one_graph(case):
    x = [y.requires_grad_() for y in draws(dtype=torch.float32)]
    torch._dynamo.reset()
    compiled = torch.compile(elliptical_attention, backend="aot_eager", fullgraph=True)
    found, expected = compiled(*x, **case), elliptical_attention(*x, **case)
    assert (found - expected).abs().max() < 1e-6
    gradients = [torch.autograd.grad(y.square().sum(), x[:3]) for y in (found, expected)]
    assert all((a - b).abs().max() < 1e-5 for a, b in zip(*gradients))


def test_layers_and_decoding_compile():
    torch._dynamo.reset()
    layer = EllipticalAttention(12, 3, is_causal=True).eval()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    x, v_prev = torch.randn(2, 5, 12), torch.randn(2, 3, 5, 4)
    with torch.no_grad():
        expected = layer(x, v_prev)
        for a, b in zip(compiled(x, v_prev), expected):
            assert (a - b).abs().max() < 1e-6
        _, _, cache = compiled(x[:, :4], v_prev[:, :, :4], cache=EllipticalCache())
        out, _, cache = compiled(x[:, 4:], v_prev[:, :, 4:], cache=cache)
    assert (out - expected[0][:, 4:]).abs().max() < 1e-6
    assert cache.state.count.tolist() == [5, 5]


Q, K, V, P = draws()
ONE = torch.ones(2, 10, dtype=torch.bool)
NAN = V.clone()
NAN[1, 2, 3, 4] = torch.nan
EMPTY = ONE.clone()
EMPTY[1] = False
BAD = [
    (
        (Q, K[:, :1], V[:, :1], P[:, :1]),
        {},
        "heads of k must equal those of q without enable_gqa, got 1 and 3",
    ),
    ((Q, K[:, :2], V[:, :2], P), {"enable_gqa": True}, "heads of k must divide those of q, got 2 and 3"),
    ((Q, K, V[..., :4], P[..., :4]), {}, r"v must be torch.float64 of shape \(2, 3, 10, 6\)"),
    ((Q, K[..., :4], V[..., :4], P), {}, "k must be"),
    ((Q[0], K, V, P), {}, r"q must be a floating Tensor of shape \(B, H, T, D\)"),
    ((Q.numpy(), K, V, P), {}, "q must be a floating Tensor"),
    ((Q[:, :, :0], K, V, P), {}, "q must be"),
    ((Q.long(), K, V, P), {}, "q must be"),
    ((Q, K.float(), V, P), {}, "k must be torch.float64"),
    ((Q, K, V, P[:, :, :9]), {}, r"v_prev must be torch.float64 of shape \(2, 3, 10, 6\) on cpu, got"),
    ((Q, K, V, P.float()), {}, "v_prev must be torch.float64"),
    ((Q, K, V, P.to("meta")), {}, "v_prev must be .* on cpu, got .* on meta"),
    ((Q, K, V, [1.0]), {}, "v_prev must be"),
    ((Q, K, V, NAN), {}, "v_prev must be finite, got NaN"),
    ((Q, K, NAN, P), {}, "v must be finite"),
    ((NAN, K, V, P), {}, "q must be finite"),
    ((Q, K + torch.inf, V, P), {}, "k must be finite"),
    ((Q, K, V, P), {"mask": EMPTY}, r"mask must leave a token in every row, got none in rows \[1\]"),
    ((Q, K, V, P), {"mask": ONE.long()}, r"mask must be a bool Tensor of shape \(2, 10\)"),
    ((Q, K, V, P), {"mask": ONE[:, :9]}, "mask must be a bool Tensor"),
    ((Q, K, V, P), {"mask": ONE.to("meta")}, "mask must be on cpu"),
    ((Q, K, V, P), {"scaling": "none"}, "scaling must be one of 'max', 'mean', got 'none'"),
    ((Q, K, V, P), {"statistic": "mode"}, "statistic must be one of"),
    ((Q, K, V, P), {"statistic": "median", "is_causal": True}, "statistic must be 'mean' when causal"),
    ((Q, K, V, P), {"state": EllipticalState()}, "state must be None unless is_causal"),
    ((Q, K, V, P), {"state": 3, "is_causal": True}, "state must be an EllipticalState, got 3"),
    ((Q, K, V, P), {"look_ahead": "sequence"}, "look_ahead must be None without is_causal"),
    ((Q, K, V, P), {"look_ahead": "all", "is_causal": True}, "look_ahead must be one of 'sequence'"),
    ((Q, K, V, P), {"metric": torch.ones(1, 1, 1, 1)}, "metric must be None where v_prev"),
    ((Q, K, V), {"metric": torch.ones(1, 1, 1, 5)}, r"metric must broadcast to \(2, 3 or 3, 10, 6\)"),
    ((Q, K, V), {"metric": -torch.ones(1, 1, 1, 6)}, "metric must be finite and >= 0"),
    ((Q, K[:, :, :4], V[:, :, :4], P[:, :, :4]), {"is_causal": True}, "q must hold no more tokens than k"),
]


@pytest.mark.parametrize(("args", "options", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        elliptical_attention(*args, **options)


def test_bad_input_to_the_metric_and_the_layer():
    for args, options, message in [
        ((V, P[:1]), {}, "v_prev must be"),
        ((V, NAN), {}, "v_prev must be finite"),
        ((V, P), {"mask": EMPTY}, r"rows \[1\]"),
        ((V, P), {"is_causal": True, "statistic": "median"}, "statistic"),
        ((V, P), {"scaling": "sum"}, "scaling"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(*args, **options)
    assert metric(V, NAN, check=False).isnan().any()  # unchecked, but never hidden
    for args, options, message in [
        ((10, 3), {}, "width must be a multiple of the 3 heads, got 10"),
        ((12, 4), {"kv_heads": 3}, "kv_heads must divide the 4 heads, got 3"),
        ((12, 4), {"dropout": 1.0}, "dropout must be below 1"),
        ((12, 4), {"is_causal": True, "statistic": "median"}, "statistic"),
        ((12, 0), {}, "heads must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            EllipticalAttention(*args, **options)
    with pytest.raises(ValueError, match=r"x must have shape \(B, S, 12\)"):
        EllipticalAttention(12, 4)(torch.zeros(2, 12))
    with pytest.raises(ValueError, match="state must be None unless is_causal"):
        EllipticalAttention(12, 4)(torch.zeros(2, 3, 12), cache=EllipticalCache())


def test_a_layer_is_its_projections_and_the_function():
    torch.manual_seed(0)
    layer = EllipticalAttention(24, 4, kv_heads=2, dropout=0.5).double().eval()
    x, v_prev = torch.randn(2, 7, 24, dtype=torch.float64), torch.randn(2, 2, 7, 6, dtype=torch.float64)
    q, k, v = (f(x).reshape(2, 7, -1, 6).transpose(1, 2) for f in (layer.q, layer.k, layer.v))
    out, kept = layer(x, v_prev)
    assert torch.equal(kept, v)
    expected = torch.from_numpy(by_hand(q.detach(), k.detach(), v.detach(), v_prev))
    assert (out - layer.o(expected.transpose(1, 2).flatten(2))).abs().max() < 1e-12
    layer.train()
    assert not torch.equal(layer(x, v_prev)[0], layer(x, v_prev)[0])  # dropout
    assert layer.v.weight.shape == (12, 24)


@pytest.mark.parametrize("attention", ["dot", "elliptical", "temperature", "random"])
def test_language_models_are_causal_and_controls_differ(attention):
    torch.manual_seed(0)
    model = (
        CausalLanguageModel(30, 12, width=16, depth=3, heads=2, attention=attention, seed=5).double().eval()
    )
    ids = torch.arange(12)[None] % 7
    changed = ids.clone()
    changed[0, -1] = 29
    logits, cosine = model(ids, similarity=True)
    assert torch.equal(model(changed)[:, :-1], logits[:, :-1])
    assert cosine["residual"].shape == cosine["attention"].shape == (3, 1)
    if attention != "dot":
        torch.manual_seed(0)
        dot = CausalLanguageModel(30, 12, width=16, depth=3, heads=2, attention="dot").double().eval()
        dot.load_state_dict(model.state_dict())  # the same parameters, none of them the metric's
        assert not torch.allclose(dot(ids), logits, atol=1e-6)
    if attention in ("dot", "elliptical"):
        cache, outs = model.empty_cache(), []
        for t in range(12):
            out, cache = model(ids[:, t : t + 1], cache=cache)
            outs.append(out)
        assert (torch.cat(outs, 1) - logits).abs().max() < 1e-12
        with pytest.raises(ValueError, match="ids must have shape"):
            model(ids[:, :1], cache=cache)
    else:
        with pytest.raises(ValueError, match="cache must be None"):
            model(ids, cache=model.empty_cache())


def test_the_leaking_language_model_warns_once_and_leaks():
    with pytest.warns(UserWarning, match="later tokens"):
        model = CausalLanguageModel(30, 12, width=16, depth=3, heads=2, look_ahead="sequence").eval()
    ids = torch.arange(12)[None]
    changed = ids.clone()
    changed[0, -1] = 29
    assert (model(changed) - model(ids))[:, :-1].abs().max() > 1e-6


def test_vision_models_learn_and_controls_are_what_they_say():
    torch.manual_seed(0)
    images = torch.rand(64, 1, 8, 8)
    labels = (images[:, 0, :4].mean((1, 2)) > images[:, 0, 4:].mean((1, 2))).long()
    model = VisionTransformer(8, 2, 2, width=16, depth=2, heads=2)
    step = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(120):
        step.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        step.step()
    assert loss < 0.3
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 8, 8\)"):
        model(images[:, :, :4])
    with pytest.raises(ValueError, match="patch must divide"):
        VisionTransformer(8, 3, 2)
    with pytest.raises(ValueError, match="attention must be one of"):
        VisionTransformer(8, 2, 2, attention="flash")

    v, v_prev = torch.randn(2, 3, 2, 5, 8)
    block = VisionTransformer(8, 2, 2, width=16, depth=2, heads=2, attention="temperature").blocks[1]
    isotropic, m = block._isotropic(v, v_prev, None), metric(v, v_prev)
    assert isotropic.shape == (3, 2, 1, 1)
    assert torch.allclose(isotropic.square().squeeze(-1), m.square().mean(-1))
    model = VisionTransformer(8, 2, 2, width=16, depth=2, heads=2, attention="random", seed=3)
    drawn = model.train().blocks[1]._random(v)
    assert (drawn.amax(-1) == 1).all()
    assert not torch.equal(drawn, model.blocks[1]._random(v))
    model = copy.deepcopy(model).eval()
    assert torch.equal(model(images), model(images))


def test_a_full_gradient_goes_through_the_metric():
    torch.manual_seed(0)
    model = VisionTransformer(8, 2, 3, width=16, depth=3, heads=2).double()
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    gradients = []
    for detach in (True, False):
        model.set_detach(detach)
        gradients.append(torch.autograd.grad(model(images)[:, 0].sum(), images)[0])
    step = 1e-6 * torch.randn(images.shape, dtype=torch.float64)
    with torch.no_grad():
        slope = (model(images + step)[:, 0].sum() - model(images - step)[:, 0].sum()) / 2
    assert abs((gradients[1] * step).sum() / slope - 1) < 1e-5
    assert abs((gradients[0] * step).sum() / slope - 1) > 1e-4


def test_token_cosine_is_the_mean_over_pairs():
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    pairs = functional.cosine_similarity(x[:, :, None], x[:, None], dim=-1)
    expected = (pairs.sum((1, 2)) - 6) / 30
    assert (token_cosine(x) - expected).abs().max() < 1e-14
    with pytest.raises(ValueError, match="two tokens"):
        token_cosine(x[:, :1])


# ---- Hugging Face


@pytest.fixture
def minilm():
    pytest.importorskip("transformers")
    from resolvent.encoders import _model

    try:
        return enable_elliptical_attention(copy.deepcopy(_model(3)).double())
    except ValueError as error:
        pytest.skip(str(error))


def minilm_by_hand(model, ids):
    """The model's own layers, with attention written out; no padding."""
    x, before = model.embeddings(input_ids=ids), None
    for layer in model.encoder.layer:
        attend = layer.attention.self
        q, k, v = (
            f(x).reshape(*ids.shape, 12, 32).transpose(1, 2) for f in (attend.query, attend.key, attend.value)
        )
        m = 1 if before is None else (v - before).abs().mean(2, keepdim=True)
        m = m if before is None else m / m.amax(-1, keepdim=True)
        weights = ((q * m) @ k.transpose(-1, -2) / 32**0.5).softmax(-1)
        mixed = layer.attention.output((weights @ v).transpose(1, 2).flatten(2), x)
        x, before = layer.output(layer.intermediate(mixed), mixed), v
    return x


def test_a_shipped_encoder_equals_its_layers_written_out(minilm):
    ids = torch.tensor([[101, 7592, 2088, 2003, 102], [101, 2204, 2851, 999, 102]])
    with torch.inference_mode():
        expected = minilm_by_hand(minilm, ids)
        found = minilm(ids).last_hidden_state
        assert (found - expected).abs().max() < 1e-12
        assert torch.equal(minilm(ids).last_hidden_state, found)  # nothing is kept between passes
        padded = functional.pad(ids, (0, 3), value=17)
        mask = functional.pad(torch.ones_like(ids), (0, 3))
        assert (minilm(padded, attention_mask=mask).last_hidden_state[:, :5] - expected).abs().max() < 1e-12
        assert (minilm(padded).last_hidden_state[:, :5] - expected).abs().max() > 1e-3
        disable_elliptical_attention(minilm)
        plain_states = minilm(ids).last_hidden_state
    assert (plain_states - expected).abs().max() > 1e-3


def tiny_llama(**options):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0, **options,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).double().eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # names that transformers renames
def test_a_causal_model_keeps_its_promises():
    model = enable_elliptical_attention(tiny_llama())
    ids = torch.arange(1, 25).reshape(2, 12)
    changed = ids.clone()
    changed[:, -1] = 49
    with torch.inference_mode():
        logits = model(ids).logits
        assert torch.equal(model(changed).logits[:, :-1], logits[:, :-1])
        assert (tiny_llama()(ids).logits - logits).abs().max() > 1e-3  # the same weights, ordinary attention
        # a cache, filled in chunks
        found, cache = [], None
        for chunk in (slice(0, 5), slice(5, 6), slice(6, 10), slice(10, 11), slice(11, 12)):
            out = model(ids[:, chunk], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            found.append(out.logits)
        assert (torch.cat(found, 1) - logits).abs().max() < 1e-12
        # padding at the left
        padded, mask = functional.pad(ids, (4, 0)), functional.pad(torch.ones_like(ids), (4, 0))
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = model(padded, attention_mask=mask, position_ids=positions).logits
        assert (out[:, 4:] - logits).abs().max() < 1e-12
        # generation, greedy and by beams, equals passes without a cache
        for beams in (1, 3):
            options = {"max_new_tokens": 6, "num_beams": beams, "do_sample": False, "attention_mask": mask}
            cached = model.generate(padded, use_cache=True, **options)
            assert torch.equal(cached, model.generate(padded, use_cache=False, **options))


def test_gradients_reach_a_causal_model():
    model = enable_elliptical_attention(tiny_llama()).train()
    model(torch.arange(1, 25).reshape(2, 12), labels=torch.arange(1, 25).reshape(2, 12)).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # names that transformers renames
def test_what_a_hugging_face_model_may_not_do():
    transformers = pytest.importorskip("transformers")
    model = enable_elliptical_attention(tiny_llama())
    ids = torch.arange(1, 25).reshape(2, 12)
    with pytest.raises(ValueError, match="enabled already"):
        enable_elliptical_attention(model)
    with pytest.raises(ValueError, match=r"attention_mask must have shape \(B, T\), got \(2, 1, 12, 12\)"):
        model(ids, attention_mask=torch.ones(2, 1, 12, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="cache must be dynamic"):
        model.generate(ids, max_new_tokens=2, cache_implementation="static")
    with pytest.raises(ValueError, match="packed sequences"):
        model(ids, position_ids=torch.arange(12)[None] % 6)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    loss = model.train()(ids, labels=ids, use_cache=False).loss
    with pytest.raises(RuntimeError, match="gradient checkpointing"):
        loss.backward()
    assert disable_elliptical_attention(model).config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match="before it is disabled"):
        disable_elliptical_attention(model)
    with pytest.raises(ValueError, match=r"must be a transformers\.PreTrainedModel, got Linear"):
        enable_elliptical_attention(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="statistic must be 'mean' when causal"):
        enable_elliptical_attention(tiny_llama(), statistic="median")(ids)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    with pytest.raises(ValueError, match="one encoder or one decoder"):
        enable_elliptical_attention(transformers.BartModel(transformers.BartConfig(vocab_size=20, **sizes)))
    stray = tiny_llama()
    stray.set_attn_implementation("elliptical")
    with pytest.raises(RuntimeError, match="needs enable_elliptical_attention"):
        stray(ids)
