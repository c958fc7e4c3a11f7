"""One table dealt to the splits: its rows, and the problems that are made of it.

No two splits share a row; nor a set of classes and a set of columns, or a target that is drawn,
wherever there are three or more of them to be dealt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading.sheets import Category, Sheet, row_keys
from maml_sweep.tasks.rows import columns
from maml_sweep.tasks.rows.problems import Source, dealt, subsets
from maml_sweep.tasks.rows.wish import Rows, Share, Shares, Wish, tell, too_small


def by_classes(sheet: Sheet, labels: Category, wish: Wish) -> Shares:
    """Deals a table with classes: its rows class by class, sets of classes, sets of columns.

    Raises:
      InputError: fewer classes than a task has that have rows enough, or fewer columns.
    """
    keys = row_keys(sheet)
    parts = {
        label: _dealt_rows(np.flatnonzero(labels.codes == code), keys, wish.shares)
        for code, label in enumerate(labels.levels)
    }
    kept = [label for label, part in parts.items() if _least(part) >= wish.rows]
    if len(kept) < wish.ways:
        raise InputError(too_small(sheet, wish, len(kept), len(parts)))
    tell(
        sheet,
        "classes",
        [label for label in parts if label not in kept],
        f"{wish.rows} rows in every split",
    )
    training = np.concatenate([parts[label]["train"] for label in kept])
    encoded = columns.encoded(sheet, training, wish)
    choices = subsets(len(kept), wish.ways, f"{sheet.name} classes")
    titles = [" / ".join(kept[code] for code in choice) for choice in choices.tolist()]
    chosen = dealt(titles, wish.shares)
    lists = columns.column_lists(sheet, encoded, wish)
    shares = {}
    for split in SPLITS:
        pools = [parts[label][split] for label in kept]
        source = Source(encoded.table, pools, choices[chosen[split]], lists[split].columns)
        names = columns.own([titles[index] for index in chosen[split]], titles)
        shares[split] = Share([source], [f"{sheet.name}: {n}" for n in names] + lists[split].names)
    return shares


def by_values(sheet: Sheet, wish: Wish) -> Shares:
    """Deals a table to be regressed: its rows, target columns, sets of columns.

    The first column of a subset is the target.

    Raises:
      InputError: too few rows or columns.
    """
    everything = np.arange(sheet.rows)
    parts = _dealt_rows(everything, row_keys(sheet), wish.shares)
    if _least(parts) < wish.rows:
        raise InputError(too_small(sheet, wish, 0, 1))
    encoded = columns.encoded(sheet, parts["train"], wish)
    table = encoded.table
    if sheet.values is None:
        lists = columns.target_lists(sheet, encoded, wish)
    else:
        own = columns.column_lists(sheet, encoded, wish)
        table, lists = columns.with_target(encoded, sheet.values, parts["train"], own)
    one = np.zeros((1, 1), np.int32)
    return {
        split: Share([Source(table, [parts[split]], one, lists[split].columns)], lists[split].names)
        for split in SPLITS
    }


def _dealt_rows(rows: Rows, keys: NDArray[np.uint64], shares: Sequence[float]) -> dict[Split, Rows]:
    """Rows dealt by their keys, and in the order of these; equal rows stay together."""
    rows = rows[np.argsort(keys[rows], kind="stable")]
    unique, which = np.unique(keys[rows], return_inverse=True)
    if len(unique) < 3:
        return dict.fromkeys(SPLITS, rows[:0])
    chosen = dealt([f"{key:016x}" for key in unique.tolist()], shares)
    return {split: rows[np.isin(which, some)] for split, some in chosen.items()}


def _least(parts: Mapping[Split, Rows]) -> int:
    return min(len(rows) for rows in parts.values())
