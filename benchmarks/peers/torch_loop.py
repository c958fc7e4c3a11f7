"""MAML by PyTorch's autograd: a Python loop over tasks.

    python benchmarks/peers/torch_loop.py --workload sinusoid --inner-steps 1

Weights are plain tensors; a task's backward pass frees its graph before the next one's is built.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import measuring, torch_timing  # noqa: E402
from benchmarks.peers.torch_models import Episodes, parameters  # noqa: E402


def adapted(task: Any, weights: list[Any], x: Any, y: Any, steps: int, first_order: bool) -> Any:
    """Weights after inner steps on one task's support."""
    for _ in range(steps):
        loss = task.loss(task.apply(weights, x), y)
        gradients = torch.autograd.grad(loss, weights, create_graph=not first_order)
        weights = [w - task.inner_lr * g for w, g in zip(weights, gradients, strict=True)]
    return weights


def outer(
    task: Any, weights: list[Any], episodes: Episodes, steps: int, first_order: bool = False
) -> tuple[Any, Sequence[Any]]:
    """The meta-loss and its gradient; one backward pass a task keeps graphs small."""
    for weight in weights:
        weight.grad = None
    total = 0.0
    for x, y, query_x, query_y in zip(*episodes, strict=True):
        phi = adapted(task, weights, x, y, steps, first_order)
        loss = task.loss(task.apply(phi, query_x), query_y) / len(episodes.x)
        loss.backward()
        total += float(loss.detach())
    return total, [weight.grad for weight in weights]


def begin(task: Any, inner_steps: int, pack: int) -> measuring.Advance:
    """A trial that trains."""
    if pack != 1:
        measuring.fail("a Python loop has no packs; --packs 1 is all it takes")
    weights = parameters(task)
    optimizer = torch.optim.Adam(weights, lr=task.meta_lr, fused=True)

    def advance(count: int) -> None:
        for _ in range(count):
            outer(task, weights, task.draw(task.tasks), inner_steps)
            optimizer.step()

    return advance


if __name__ == "__main__":
    torch_timing.run("torch_loop", begin, outer, measuring.parser(__doc__).parse_args(), {})
