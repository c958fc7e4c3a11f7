"""The workloads in PyTorch: networks, losses, tasks; and learn2learn's MAML.

A task has `x` [task, example, ...] and `y` of the support, and the same of the queries.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

Parameters = Sequence[Any]  # a tensor each


class Episodes(NamedTuple):
    """Tasks."""

    x: Any  # [task, example, ...]
    y: Any  # [task, example, 1], or class int64 [task, example]
    query_x: Any
    query_y: Any


class Sinusoid:
    """Waves a sin(x - p), 10 points to learn from and 10 to be judged on; an MLP 1-40-40-1.

    Args:
      width: units of a hidden layer.
    """

    tasks = 25
    chunk = None  # tasks that vmap takes at once: all
    inner_lr = 0.01
    meta_lr = 1e-3

    def __init__(self, width: int = 40) -> None:
        self.width = width

    def module(self) -> Any:
        """A network as users of `torch.nn` write it."""
        return nn.Sequential(
            nn.Linear(1, self.width),
            nn.ReLU(),
            nn.Linear(self.width, self.width),
            nn.ReLU(),
            nn.Linear(self.width, 1),
        )

    def apply(self, params: Parameters, x: Any) -> Any:
        """The same network as a function: x [example, 1] -> [example, 1]."""
        x = F.relu(F.linear(x, params[0], params[1]))
        x = F.relu(F.linear(x, params[2], params[3]))
        return F.linear(x, params[4], params[5])

    def loss(self, predicted: Any, y: Any) -> Any:
        """Mean squared error."""
        return F.mse_loss(predicted, y)

    def draw(self, tasks: int) -> Episodes:
        """New tasks, by the global generator."""
        amplitude = torch.empty(tasks, 1, 1).uniform_(0.1, 5.0)
        phase = torch.empty(tasks, 1, 1).uniform_(0.0, math.pi)
        x = torch.empty(tasks, 20, 1).uniform_(-5.0, 5.0)
        y = amplitude * torch.sin(x - phase)
        return Episodes(x[:, :10], y[:, :10], x[:, 10:], y[:, 10:])


class Images:
    """Five classes, one image of each to learn from and 15 to be judged on; Conv4.

    The images are noise: 50 classes of 20, drawn once.

    Args:
      filters: of each block.
      queries: of each class.
      fused: whether `apply` leaves batch norm to PyTorch; see torch_vmap.py.
    """

    tasks = 16
    chunk = 4  # the quickest of 1, 4 and all
    inner_lr = 0.4
    meta_lr = 1e-3
    ways = 5

    def __init__(self, filters: int = 64, queries: int = 15, fused: bool = True) -> None:
        self.filters = filters
        self.queries = queries
        self.normed = batch_norm if fused else batch_norm_written_out
        self.pool = torch.rand(50, 20, 1, 28, 28)

    def module(self) -> Any:
        """A network as users of `torch.nn` write it."""
        blocks: list[Any] = []
        for inputs in (1, *[self.filters] * 3):
            blocks += [
                nn.Conv2d(inputs, self.filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(self.filters, track_running_stats=False),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(self.filters, self.ways))

    def apply(self, params: Parameters, x: Any) -> Any:
        """The same network as a function: x [example, 1, 28, 28] -> [example, 5]."""
        for block in range(4):
            kernel, scale, offset = params[3 * block : 3 * block + 3]
            x = F.conv2d(x, kernel, padding=1)
            x = F.max_pool2d(F.relu(self.normed(x, scale, offset)), 2)
        return F.linear(x.flatten(1), params[12], params[13])

    def loss(self, predicted: Any, y: Any) -> Any:
        """Cross-entropy."""
        return F.cross_entropy(predicted, y)

    def draw(self, tasks: int) -> Episodes:
        """New tasks: classes, and images of each, without repetition."""
        each = 1 + self.queries
        classes = torch.rand(tasks, 50).argsort(1)[:, : self.ways, None]
        drawn = torch.rand(tasks, self.ways, 20).argsort(2)[:, :, :each]
        x = self.pool[classes, drawn]  # [task, way, example, 1, 28, 28]
        y = torch.arange(self.ways)[None, :, None].expand(tasks, self.ways, each)
        return Episodes(
            x[:, :, :1].flatten(1, 2),
            y[:, :, :1].flatten(1),
            x[:, :, 1:].flatten(1, 2),
            y[:, :, 1:].flatten(1),
        )


def batch_norm(x: Any, scale: Any, offset: Any) -> Any:
    """By the statistics of x [example, channel, row, column] itself."""
    return F.batch_norm(x, None, None, scale, offset, training=True)


def batch_norm_written_out(x: Any, scale: Any, offset: Any) -> Any:
    """The same in plain arithmetic."""
    axes = (0, 2, 3)
    centred = x - x.mean(axes, keepdim=True)
    deviation = torch.rsqrt(centred.square().mean(axes, keepdim=True) + 1e-5)
    return centred * (deviation * scale[:, None, None]) + offset[:, None, None]


def workload(name: str, queries: int, fused: bool) -> Any:
    """The workload of the command line; `queries` and `fused` as in `Images`."""
    return Sinusoid() if name == "sinusoid" else Images(queries=queries, fused=fused)


def parameters(task: Any) -> list[Any]:
    """Fresh weights for `task.apply`, to be trained."""
    return [each.detach().clone().requires_grad_() for each in task.module().parameters()]


def maml() -> Any:
    """learn2learn's class MAML.

    Its package imports environments for reinforcement learning and data sets of images first, hence
    Gym and torchvision. MAML needs neither, so the package is entered by its back door: an empty
    module of its name stands for it, whose parts are looked for where it lies.
    """
    if "learn2learn" not in sys.modules:
        spec = importlib.util.find_spec("learn2learn")
        if spec is None:
            raise SystemExit("learn2learn is not installed here: see environments.py")
        sys.modules["learn2learn"] = importlib.util.module_from_spec(spec)
    from learn2learn.algorithms.maml import MAML

    return MAML
