"""MAML by learn2learn 0.2.0, as its users write it: a clone of the model for each task.

    python benchmarks/peers/learn2learn_loop.py --workload sinusoid --inner-steps 1

The meta-batch's waves or images are drawn at once, which is quicker than one task after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import measuring, torch_timing  # noqa: E402
from benchmarks.peers.torch_models import Episodes, maml  # noqa: E402


def backward(
    task: Any, learner: Any, episodes: Episodes, steps: int, first_order: bool = False
) -> float:
    """Puts the meta-gradient where the optimizer looks for it, and returns the meta-loss."""
    total = 0.0
    for x, y, query_x, query_y in zip(*episodes, strict=True):
        clone = learner.clone(first_order=first_order)
        for _ in range(steps):
            clone.adapt(task.loss(clone(x), y))
        loss = task.loss(clone(query_x), query_y)
        loss.backward()
        total += float(loss.detach())
    for weight in learner.parameters():
        weight.grad.mul_(1 / len(episodes.x))
    return total / len(episodes.x)


def outer(
    task: Any, weights: list[Any], episodes: Episodes, steps: int, first_order: bool = False
) -> tuple[Any, Sequence[Any]]:
    """The meta-loss and its gradient at given weights."""
    learner = maml()(task.module(), lr=task.inner_lr)
    with torch.no_grad():
        for parameter, weight in zip(learner.parameters(), weights, strict=True):
            parameter.copy_(weight)
    loss = backward(task, learner, episodes, steps, first_order)
    return loss, [weight.grad for weight in learner.parameters()]


def begin(task: Any, inner_steps: int, pack: int) -> measuring.Advance:
    """A trial that trains."""
    if pack != 1:
        measuring.fail("learn2learn has no packs; --packs 1 is all it takes")
    learner = maml()(task.module(), lr=task.inner_lr)
    optimizer = torch.optim.Adam(learner.parameters(), lr=task.meta_lr, fused=True)

    def advance(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            backward(task, learner, task.draw(task.tasks), inner_steps)
            optimizer.step()

    return advance


if __name__ == "__main__":
    torch_timing.run(
        "learn2learn",
        begin,
        outer,
        measuring.parser(__doc__).parse_args(),
        {"learn2learn": version("learn2learn")},
    )
