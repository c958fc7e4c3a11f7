"""Which lane belongs to which trial: the arrangement a program runs on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Lanes(NamedTuple):
    """The lanes of one shard, in decreasing order of inner steps."""

    owner: np.ndarray  # int32 [lane], the place each lane belongs to, ascending
    task: np.ndarray  # int32 [lane], its index within the trial's meta-batch
    weight: np.ndarray  # float64 [lane], 1 / tasks of its trial: losses are means over tasks
    live: np.ndarray  # int32 [steps], lanes that take step 0, 1, …, at least 1


def arrange(steps: np.ndarray, tasks: np.ndarray, bound: int, shards: int) -> list[Lanes]:
    """Lays out every trial's tasks as lanes, each trial's dealt evenly to the shards.

    Which shard a task goes to hangs on its index alone: so a trial's sums are added up in the same
    order in any company, and its numbers agree to the last bits.

    Args:
      steps: int [place], inner steps, in decreasing order.
      tasks: int [place], tasks of each trial; a trial of none has no lanes.
      bound: the program's number of unrolled inner steps, at least `steps`.
      shards: parts to compute side by side.

    Returns:
      One `Lanes` a shard, each with all trials: one of fewer tasks than shards repeats its last,
      weightless.
    """
    counts = np.where(tasks > 0, np.maximum(tasks, shards), 0)
    owner = np.repeat(np.arange(len(tasks), dtype=np.int32), counts)
    index = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    task = np.minimum(index, tasks[owner] - 1).astype(np.int32)
    weight = (index < tasks[owner]) / tasks[owner]
    parts = [index % shards == shard for shard in range(shards)]
    return [
        Lanes(owner[part], task[part], weight[part], live_counts(steps[owner[part]], bound))
        for part in parts
    ]


def live_counts(steps: np.ndarray, bound: int) -> np.ndarray:
    """How many lanes take step 0, 1, … of `bound`, at least 1 each: int32 [bound]."""
    counts = [max(1, int(np.sum(steps > step))) for step in range(bound)]
    return np.array(counts, dtype=np.int32)


def rounded(count: int) -> int:
    """The next number of three leading bits: few shapes for XLA to compile, an eighth too many."""
    unit = 1 << max(0, (count - 1).bit_length() - 3)
    return -(-count // unit) * unit


def padded(lanes: Lanes, size: int, place: int) -> Lanes:
    """Adds weightless lanes of a spare place up to a size, for programs of fixed shapes."""
    extra = size - len(lanes.owner)
    owner = np.append(lanes.owner, np.full(extra, place, np.int32))
    task = np.append(lanes.task, np.zeros(extra, np.int32))
    return Lanes(owner, task, np.append(lanes.weight, np.zeros(extra)), lanes.live)
