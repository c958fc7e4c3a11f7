"""Tables made into tasks: what each meta-split may draw, as arrays that sit on the device.

A task's rows come from pools: the rows of a class of a table, or of a group, or all of them. Which
pools make a task is a choice, and which columns it sees a subset; both are drawn from lists.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.streams import derive_seed
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import splits

LISTED = 4096  # subsets of columns, or of classes, that are written down at most

Integers = NDArray[np.int32]


class Source(NamedTuple):
    """A table or a group, as one meta-split draws from it.

    Attributes:
      table: float32 [row, column].
      pools: the rows of each.
      choices: int32 [choice, way], which pools may make a task.
      columns: int32 [subset, column], which columns.
    """

    table: NDArray[np.float32]
    pools: Sequence[NDArray[np.int_]]
    choices: Integers
    columns: Integers


class Problems(NamedTuple):
    """Sources one after the other: all that a split needs to draw a task by index."""

    cells: NDArray[np.float32]  # [cell], the pools' rows one after the other
    starts: Integers  # [pool], its first cell
    sizes: Integers  # [pool], its rows
    strides: Integers  # [source], cells a row
    choices: Integers  # [choice, way], pools
    first_choice: Integers  # [source]
    choice_count: Integers  # [source]
    columns: Integers  # [subset, column]
    first_subset: Integers  # [source]
    subset_count: Integers  # [source]


def problems(sources: Sequence[Source]) -> Problems:
    """Lays sources out one after the other."""
    pools = [(source, rows) for source in sources for rows in source.pools]
    cells = np.concatenate([source.table[rows].ravel() for source, rows in pools])
    if cells.size >= 2**31:
        raise InputError(
            f"task: a split of the table has {cells.size:,} numbers, and fewer than 2^31 can be "
            "kept on a device; drop columns or rows"
        )
    sizes = _integers(len(rows) for _, rows in pools)
    widths = _integers(source.table.shape[1] for source, _ in pools)
    first_pool = _starts([len(source.pools) for source in sources])
    choice_count = _integers(len(source.choices) for source in sources)
    lists = {id(source.columns): source.columns for source in sources}  # groups share one
    firsts = dict(zip(lists, _starts([len(some) for some in lists.values()]), strict=True))
    return Problems(
        cells,
        _starts(sizes * widths),
        sizes,
        _integers(source.table.shape[1] for source in sources),
        np.concatenate([s.choices + first for s, first in zip(sources, first_pool, strict=True)]),
        _starts(choice_count),
        choice_count,
        np.concatenate(list(lists.values())),
        _integers(firsts[id(source.columns)] for source in sources),
        _integers(len(source.columns) for source in sources),
    )


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int32)


def _starts(counts: Sequence[int] | Integers) -> Integers:
    return (np.cumsum(counts) - counts).astype(np.int32)


def subsets(count: int, size: int, what: str, most: int = LISTED) -> Integers:
    """Subsets of 0 … count - 1, each once, its numbers in their order.

    Args:
      count: how many numbers.
      size: of a subset.
      what: the subsets are of; names the stream they are drawn from.
      most: how many subsets to write down.

    Returns:
      int32 [subset, size]: all if there are no more than `most`, else as many at random, the same
      on every machine, less those drawn twice.
    """
    if math.comb(count, size) <= most:
        every = list(itertools.combinations(range(count), size))
        return np.array(every, np.int32).reshape(len(every), size)
    words = np.random.PCG64(derive_seed("subsets", what)).random_raw(most * count)
    orders = words.reshape(most, count).argsort(axis=1, kind="stable").astype(np.int32)
    return np.unique(np.sort(orders[:, :size], axis=1), axis=0)


def dealt(names: Sequence[str], shares: Sequence[float]) -> dict[Split, NDArray[np.int_]]:
    """Indices of each split's names: dealt by hash where there are three or more, else all."""
    if len(set(names)) < 3:
        return dict.fromkeys(SPLITS, np.arange(len(names)))
    where = {name: split for split, some in splits.dealt(names, shares).items() for name in some}
    found = np.array([where[name] for name in names])
    return {split: np.flatnonzero(found == split) for split in SPLITS}
