"""A table in memory, whatever it was read from, and its rows by what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.streams import derive_seed

Numbers = NDArray[np.float64]


class Category(NamedTuple):
    """A column of words."""

    codes: NDArray[np.int32]  # [row], of the level; -1: missing
    levels: tuple[str, ...]  # in the order of the alphabet


class Sheet(NamedTuple):
    """A table as it was read, before anything was decided from it.

    Attributes:
      name: of the data set or the file.
      features: by the name of the column; a number is NaN where it is missing.
      classes: the label of each row, whose levels are all classes; None in a regression.
      values: float64 [row], the target; None in a classification, or where any column may be it.
      groups: which task each row belongs to; None: the rows are one table.
    """

    name: str
    features: Mapping[str, Numbers | Category]
    classes: Category | None = None
    values: Numbers | None = None
    groups: Category | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        column = next(iter(self.features.values()))
        return len(column.codes if isinstance(column, Category) else column)


def row_keys(sheet: Sheet) -> NDArray[np.uint64]:
    """A hash of each row's features and target: equal rows have equal keys.

    Rows are dealt and ordered by it, so that the order of a file plays no part.

    Returns:
      uint64 [row].
    """
    keys = np.zeros(sheet.rows, np.uint64)
    columns = dict(sheet.features)
    if sheet.values is not None:
        columns["\0target"] = sheet.values
    for name, column in sorted(columns.items()):
        words = _words(column) ^ np.uint64(derive_seed("column", name))
        keys = _mixed(keys * np.uint64(3) + _mixed(words))
    return keys


def _words(column: Numbers | Category) -> NDArray[np.uint64]:
    """What a column holds, as 64 bits a row."""
    if isinstance(column, Category):
        seeds = [derive_seed("level", level) for level in (*column.levels, "")]  # -1 is the last
        return np.array(seeds, np.uint64)[column.codes]
    plain = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, and no -0
    return np.ascontiguousarray(plain).view(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits: the finaliser of SplitMix64 (Steele et al. 2014, figure 16)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
