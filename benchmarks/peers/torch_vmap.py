"""MAML by torch.func: `grad` for a task, `vmap` over tasks, `vmap` again over the trials of a pack.

    python benchmarks/peers/torch_vmap.py --workload sinusoid --inner-steps 1
    python benchmarks/peers/torch_vmap.py --workload sinusoid --packs 1,4,16

`functional.batch_norm` has a wrong second derivative under torch.func: in PyTorch 2.13 `--check`
finds the meta-gradient of two inner steps off by 2.5% with it. So batch norm is written out here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.func import grad, vmap

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import measuring, torch_timing  # noqa: E402
from benchmarks.peers.torch_models import Episodes, parameters  # noqa: E402


def of_task(task: Any, steps: int, first_order: bool, weights: list[Any], *episode: Any) -> Any:
    """A task's loss after inner steps."""
    x, y, query_x, query_y = episode

    def loss(phi: list[Any], x: Any, y: Any) -> Any:
        return task.loss(task.apply(phi, x), y)

    for _ in range(steps):
        gradients = grad(loss)(weights, x, y)
        if first_order:
            gradients = [each.detach() for each in gradients]
        weights = [w - task.inner_lr * g for w, g in zip(weights, gradients, strict=True)]
    return loss(weights, query_x, query_y)


def of_tasks(task: Any, steps: int, first_order: bool = False) -> Callable[..., Any]:
    """(weights, *episodes) -> the meta-loss, which autograd goes back through from outside."""
    each = vmap(
        partial(of_task, task, steps, first_order),
        in_dims=(None, 0, 0, 0, 0),
        chunk_size=task.chunk,
    )
    return lambda weights, *episodes: each(weights, *episodes).mean()


def outer(
    task: Any, weights: list[Any], episodes: Episodes, steps: int, first_order: bool = False
) -> tuple[Any, Sequence[Any]]:
    """The meta-loss and its gradient."""
    loss = of_tasks(task, steps, first_order)(weights, *episodes)
    return loss.detach(), torch.autograd.grad(loss, weights)


def begin(task: Any, inner_steps: int, pack: int) -> measuring.Advance:
    """A pack that trains; Adam works on each number by itself, so one serves all its trials."""
    weights = parameters(task)
    loss = of_tasks(task, inner_steps)
    if pack > 1:
        trials = zip(weights, *(parameters(task) for _ in range(pack - 1)), strict=True)
        weights = [torch.stack(each).detach().requires_grad_() for each in trials]
        loss = vmap(loss)
    optimizer = torch.optim.Adam(weights, lr=task.meta_lr, fused=True)

    def advance(count: int) -> None:
        for _ in range(count):
            episodes = task.draw(pack * task.tasks)
            if pack > 1:
                episodes = Episodes(*(each.unflatten(0, (pack, -1)) for each in episodes))
            optimizer.zero_grad()
            loss(weights, *episodes).sum().backward()
            optimizer.step()

    return advance


if __name__ == "__main__":
    args = measuring.parser(__doc__).parse_args()
    torch_timing.run("torch_vmap", begin, outer, args, {}, fused=False)
