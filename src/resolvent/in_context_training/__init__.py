"""Layers of linear attention and H3, trained on prompts: what they learn, and where they get stuck. Needs PyTorch."""

from resolvent.in_context_training.descent import descend
from resolvent.in_context_training.layers import H3, LinearAttention, exact_risk
from resolvent.in_context_training.trained import Starts, Trained
from resolvent.in_context_training.training import train, train_many

__all__ = ["H3", "LinearAttention", "Starts", "Trained", "descend", "exact_risk", "train", "train_many"]
