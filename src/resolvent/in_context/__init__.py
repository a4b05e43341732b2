"""In-context linear regression: laws of prompts, exact risks of preconditioned gradient descent, adaptation, limits."""

from resolvent.in_context.adaptation import Adapted, Online, lora, low_rank, online
from resolvent.in_context.correlated import AlignedTasks, RetrievedTasks
from resolvent.in_context.limit import proportional_limit
from resolvent.in_context.tasks import GaussianTasks, autoregressive, rotating

__all__ = [
    "Adapted",
    "AlignedTasks",
    "GaussianTasks",
    "Online",
    "RetrievedTasks",
    "autoregressive",
    "lora",
    "low_rank",
    "online",
    "proportional_limit",
    "rotating",
]
