"""Columns of a table as numbers, all decided from the rows of the training split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.reading.sheets import Category, Numbers

Rows = NDArray[np.bool_]


class Encoded(NamedTuple):
    """A table as a matrix."""

    names: tuple[str, ...]  # of its columns
    table: NDArray[np.float32]  # [row, column]
    empty: tuple[str, ...]  # what was left out: without a value, or with one only, in training
    whole: tuple[bool, ...]  # whether a column is one of numbers, of which none was missing


def encode(columns: Mapping[str, Numbers | Category], training: Rows, levels: int) -> Encoded:
    """Makes numbers of columns.

    A column of numbers gets the training rows' median where it is missing and is scaled to their
    mean 0 and deviation 1; one of nothing but 0 and 1 stays as it is. A column of words becomes a
    0 or 1 for each of the most frequent levels in training (of equally frequent ones the first in
    the alphabet), and one for all other levels if there are more. A column that misses any value
    in training gets another of 0 and 1 that says where. What does not vary in training is left out.

    Args:
      columns: by name.
      training: bool [row], the rows to decide from.
      levels: of a column of words that get a column of their own.
    """
    found: list[tuple[str, Numbers, bool]] = []
    empty = []
    for name, column in columns.items():
        parts = list(
            _categories(name, column, training, levels)
            if isinstance(column, Category)
            else _numbers(name, column, training)
        )
        kept = [part for part in parts if np.ptp(part[1][training]) > 0]
        found += kept
        if not kept:
            empty.append(name)
    names = tuple(name for name, _, _ in found)
    values = [values for _, values, _ in found]
    table = np.stack(values, 1) if values else np.empty((len(training), 0))
    return Encoded(names, table.astype(np.float32), tuple(empty), tuple(w for _, _, w in found))


def _numbers(name: str, column: Numbers, training: Rows) -> Iterator[tuple[str, Numbers, bool]]:
    missing = np.isnan(column)
    present = column[training & ~missing]
    if len(present):
        filled = np.where(missing, np.median(present), column)
        whole = not missing.any() and len(np.unique(present)) > 2
        yield name, standardised(filled, training), whole
    if missing[training].any():
        yield f"{name} is missing", missing.astype(np.float64), False


def standardised(column: Numbers, training: Rows) -> Numbers:
    """A column of mean 0 and deviation 1 in training; of 0 and 1, or of one value, as it is."""
    seen = column[training]
    deviation = seen.std()
    if not deviation or np.isin(column, (0, 1)).all():
        return column
    scaled: Numbers = (column - seen.mean()) / deviation
    return scaled


def _categories(
    name: str, column: Category, training: Rows, levels: int
) -> Iterator[tuple[str, Numbers, bool]]:
    codes = column.codes
    counts = np.bincount(codes[training & (codes >= 0)], minlength=len(column.levels))
    frequent = [int(code) for code in np.argsort(-counts, kind="stable") if counts[code]]
    for code in frequent[:levels]:
        yield f"{name}={column.levels[code]}", (codes == code).astype(np.float64), False
    if len(frequent) > levels:
        others = (codes >= 0) & ~np.isin(codes, frequent[:levels])
        yield f"{name} is another", others.astype(np.float64), False
    if (codes[training] < 0).any():
        yield f"{name} is missing", (codes < 0).astype(np.float64), False
