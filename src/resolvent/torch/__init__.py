"""For PyTorch models (needs ``resolvent[torch]``): attention in the metric that the values estimate, pooling by position."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    message = "resolvent.torch needs PyTorch: pip install 'resolvent[torch]'"
    raise ImportError(message, name="torch") from error

from resolvent.torch.attention import EllipticalAttention, EllipticalCache, elliptical_attention
from resolvent.torch.elliptical_metric import EllipticalState, metric
from resolvent.torch.huggingface import disable_elliptical_attention, enable_elliptical_attention
from resolvent.torch.positional_pooling import PositionalPooling
from resolvent.torch.transformer import CausalLanguageModel, VisionTransformer, token_cosine

# fmt: off
__all__ = [  # noqa: RUF022 (by what they are for)
    "EllipticalAttention", "EllipticalCache", "EllipticalState", "elliptical_attention", "metric",
    "PositionalPooling",
    "CausalLanguageModel", "VisionTransformer", "token_cosine",
    "disable_elliptical_attention", "enable_elliptical_attention",
]
# fmt: on
