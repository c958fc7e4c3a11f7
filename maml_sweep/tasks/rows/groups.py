"""A table of groups dealt to the splits: hospitals, patients or customers, each of them a task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.reading.sheets import Category, Sheet, row_keys
from maml_sweep.tasks.rows import columns
from maml_sweep.tasks.rows.problems import Source, dealt
from maml_sweep.tasks.rows.wish import Rows, Share, Shares, Wish, few, tell, too_small


def by_groups(sheet: Sheet, groups: Category, wish: Wish) -> Shares:
    """Deals a table's groups, each of which is a task with all its classes or its values.

    Raises:
      InputError: another number of classes than a task has, or fewer than three groups that have
        rows enough.
    """
    keys = row_keys(sheet)
    _check_ways(sheet, wish)
    pools = {
        name: _pools(np.flatnonzero(groups.codes == code), keys, sheet.classes)
        for code, name in enumerate(groups.levels)
    }
    kept = [name for name, some in pools.items() if min(map(len, some)) >= wish.rows]
    if len(kept) < 3:
        raise InputError(too_small(sheet, wish, len(kept), len(pools)))
    tell(sheet, "groups", [name for name in pools if name not in kept], wish.needs)
    chosen = dealt(kept, wish.shares)
    training = np.concatenate([rows for index in chosen["train"] for rows in pools[kept[index]]])
    encoded = columns.encoded(sheet, training, wish)
    table, lists = encoded.table, columns.column_lists(sheet, encoded, wish)
    if sheet.values is not None:
        table, lists = columns.with_target(encoded, sheet.values, training, lists)
    choice = np.arange(max(wish.ways, 1), dtype=np.int32)[np.newaxis]
    shares = {}
    for split in SPLITS:
        names = [kept[index] for index in chosen[split]]
        sources = [Source(table, pools[name], choice, lists[split].columns) for name in names]
        shares[split] = Share(sources, names)
    return shares


def _pools(rows: Rows, keys: NDArray[np.uint64], classes: Category | None) -> list[Rows]:
    """A group's rows class by class, in the order of their keys."""
    rows = rows[np.argsort(keys[rows], kind="stable")]
    if classes is None:
        return [rows]
    return [rows[classes.codes[rows] == code] for code in range(len(classes.levels))]


def _check_ways(sheet: Sheet, wish: Wish) -> None:
    """All classes of a table of groups are in each task, for they mean the same everywhere."""
    if sheet.classes is not None and len(levels := sheet.classes.levels) != wish.ways:
        raise InputError(
            f"task.ways={wish.ways}: in a table of groups a task has all classes, and "
            f"{sheet.name} has {len(levels)} ({few(levels)}); choose task.ways={len(levels)}"
        )
