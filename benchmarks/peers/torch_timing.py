"""What the training loops in PyTorch share: threads, and the numbers of a check."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.peers import measuring
from benchmarks.peers.torch_models import Episodes, Images, Sinusoid, workload

CHECKED = {"sinusoid": 3, "conv4": 2}  # tasks

# (workload, inner steps, pack) -> a loop that trains
Begin = Callable[[Any, int, int], measuring.Advance]
# (workload, weights, tasks, inner steps, first order) -> the meta-loss and its gradient
Outer = Callable[[Any, list[Any], Episodes, int, bool], tuple[Any, Sequence[Any]]]


def run(
    peer: str,
    begin: Begin,
    outer: Outer,
    args: argparse.Namespace,
    versions: Mapping[str, str],
    note: str = "",
    fused: bool = True,
) -> None:
    """Does what the command line of a training loop says.

    Each pack is timed with one thread and with as many as there are cores, and what is better
    counts, unless `--threads` says how many.

    Args:
      peer: its name.
      begin: makes a loop.
      outer: its meta-gradient, to be checked.
      args: of `measuring.parser`.
      versions: of what it runs on besides PyTorch.
      note: to be said besides.
      fused: as in `Images`.
    """
    if args.check:
        check(peer, outer, fused)
        return
    most = torch.get_num_threads()
    tried = [args.threads] if args.threads else sorted({1, most})
    rates: dict[int, float] = {}
    best: dict[int, int] = {}
    first = None
    for size in args.packs:
        for threads in tried:
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            found = measuring.rate(
                begin(workload(args.workload, args.queries, fused), args.inner_steps, size),
                args.seconds,
            )
            first = found.first if first is None else first
            if size * found.steps > rates.get(size, 0.0):
                rates[size], best[size] = size * found.steps, threads
    threads_of = {str(size): threads for size, threads in best.items()}
    known = {"torch": str(torch.__version__), **versions}
    measuring.report(peer, args, rates, first or 0.0, known, threads=threads_of, note=note)


def check(peer: str, outer: Outer, fused: bool) -> None:
    """Compares meta-gradients with central differences, at two inner steps."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    tasks = {"sinusoid": Sinusoid(8), "conv4": Images(3, 2, fused)}
    measuring.check(
        peer, {name: _numbers(each, CHECKED[name], outer) for name, each in tasks.items()}
    )


def _numbers(task: Any, count: int, outer: Outer) -> measuring.Numbers:
    weights = [each.detach() for each in task.module().parameters()]
    episodes = task.draw(count)

    def unflattened(theta: np.ndarray) -> list[Any]:
        parts = torch.from_numpy(theta).split([each.numel() for each in weights])
        return [
            part.reshape(each.shape).clone().requires_grad_()
            for part, each in zip(parts, weights, strict=True)
        ]

    def loss(theta: np.ndarray) -> float:
        return float(outer(task, unflattened(theta), episodes, 2, False)[0])

    def gradient(theta: np.ndarray, first_order: bool = False) -> np.ndarray:
        found = outer(task, unflattened(theta), episodes, 2, first_order)[1]
        flat: np.ndarray = torch.cat([each.flatten() for each in found]).detach().numpy()
        return flat

    theta = torch.cat([each.flatten() for each in weights]).numpy()
    return measuring.Numbers(theta, loss, gradient, lambda at: gradient(at, True))
