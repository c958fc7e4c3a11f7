"""The columns that tasks see: encoded, and lists of subsets of them dealt to the splits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.reading.encoding import Encoded, encode, standardised
from maml_sweep.tasks.reading.sheets import Numbers, Sheet
from maml_sweep.tasks.rows.problems import LISTED, Integers, dealt, subsets
from maml_sweep.tasks.rows.wish import Rows, Wish, few

log = logging.getLogger(__name__)


class Lists(NamedTuple):
    """The subsets of columns that a split may draw."""

    columns: Integers  # [subset, column]
    names: list[str]


def column_lists(sheet: Sheet, encoded: Encoded, wish: Wish) -> dict[Split, Lists]:
    """Subsets of a table's columns, dealt."""
    width = len(encoded.names)
    size = wish.size(width)
    if size > width:
        raise InputError(
            f"task.columns={size}: {sheet.name} has {width} columns once encoded; choose at most "
            f"{width}"
        )
    every = subsets(width, size, f"{sheet.name} columns")
    titles = [", ".join(encoded.names[column] for column in subset) for subset in every.tolist()]
    found = {}
    for split, chosen in dealt(titles, wish.shares).items():
        names = own([titles[index] for index in chosen], titles)
        found[split] = Lists(every[chosen], [f"{sheet.name}: columns {n}" for n in names])
    return found


def target_lists(sheet: Sheet, encoded: Encoded, wish: Wish) -> dict[Split, Lists]:
    """A target and a subset of the other columns, for every target dealt to a split."""
    width = len(encoded.names)
    size = wish.size(width - 1)
    targets = np.flatnonzero(encoded.whole)
    if size > width - 1 or len(targets) < 3:
        raise InputError(
            f"task.columns={size}: {sheet.name} has {width} columns once encoded, of which "
            f"{len(targets)} may be the target (numbers, never missing); expected three or more, "
            "and one column more than a task sees"
        )
    titles = [encoded.names[target] for target in targets]
    found = {}
    for split, chosen in dealt(titles, wish.shares).items():
        led = []
        for target in targets[chosen].tolist():
            most = LISTED // len(targets)
            others = subsets(width - 1, size, f"{sheet.name} {encoded.names[target]}", most)
            led.append(_led(target, others + (others >= target)))
        names = [f"{sheet.name}: {titles[index]}" for index in chosen]
        found[split] = Lists(np.concatenate(led), names)
    return found


def led_by(target: int, lists: Mapping[Split, Lists]) -> dict[Split, Lists]:
    """Lists of subsets with the same target before each."""
    return {split: Lists(_led(target, each.columns), each.names) for split, each in lists.items()}


def _led(target: int, columns: Integers) -> Integers:
    return np.insert(columns, 0, target, axis=1).astype(np.int32)


def _mask(rows: Rows, count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def encoded(sheet: Sheet, training: Rows, wish: Wish) -> Encoded:
    """A sheet's features as numbers; says what was left out, and refuses if that was everything."""
    encoded = encode(sheet.features, _mask(training, sheet.rows), wish.levels)
    if not encoded.names:
        raise InputError(f"{sheet.name}: no column of features varies in the training split")
    if encoded.empty:
        log.info(
            "%s: %d columns do not vary in the training split and are left out (%s)",
            sheet.name,
            len(encoded.empty),
            few(encoded.empty),
        )
    return encoded


def own(some: Sequence[str], every: Sequence[str]) -> list[str]:
    """Names that no other split has: none where all splits have the same."""
    return [] if len(every) < 3 else list(some)


def with_target(
    encoded: Encoded, values: Numbers, training: Rows, lists: Mapping[Split, Lists]
) -> tuple[NDArray[np.float32], dict[Split, Lists]]:
    """A table with its target as a last column, which leads every subset: [row, column + 1]."""
    target = standardised(values, _mask(training, len(values)))
    table = np.column_stack([encoded.table, target.astype(np.float32)])
    return table, led_by(len(encoded.names), lists)
