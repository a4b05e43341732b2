"""Elliptical attention beside the scaled_dot_product_attention that it is built on: forward, and with the backward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import measure
import torch
from torch.nn.functional import scaled_dot_product_attention

from resolvent.torch import elliptical_attention

SHAPE = (4, 8, 1024, 64)
ROUNDS = 9
MOST = 1.5


def passes(inputs: list[torch.Tensor], is_causal: bool, backward: bool) -> dict[str, Callable[[], object]]:
    """One pass of each, from the same inputs."""
    q, k, v, v_prev = inputs

    def run(attend: Callable[..., torch.Tensor], *args: torch.Tensor) -> None:
        out = attend(*args, is_causal=is_causal)
        if backward:
            torch.autograd.grad(out, (q, k, v), torch.ones_like(out))

    return {
        "plain": lambda: run(scaled_dot_product_attention, q, k, v),
        "elliptical": lambda: run(elliptical_attention, q, k, v, v_prev),
    }


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    report = measure.Report(
        f"Attention at {SHAPE}, {dtype}, {device}, one thread, all checks on; medians of {ROUNDS} rounds side by side"
    )
    for is_causal in (False, True):
        for backward in (False, True):
            torch.manual_seed(0)
            inputs = [
                torch.randn(SHAPE, device=device, dtype=dtype, requires_grad=backward) for _ in range(4)
            ]
            functions = passes(inputs, is_causal, backward)
            times: dict[str, list[float]] = {name: [] for name in functions}
            for turn in range(ROUNDS + 1):
                for name, function in functions.items():
                    taken = measure.seconds(lambda f=function: (f(), wait()))
                    if turn:  # the first is for warming up
                        times[name].append(taken)
            ratios = [a / b for a, b in zip(times["elliptical"], times["plain"], strict=True)]
            what = ("causal" if is_causal else "full") + (
                ", forward and backward" if backward else ", forward"
            )
            report.row(f"{what}: scaled_dot_product_attention", 1e3 * median(times["plain"]), "ms")
            report.row(f"{what}: elliptical_attention", 1e3 * median(times["elliptical"]), "ms")
            report.row(f"{what}: ratio", median(ratios), most=MOST)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
