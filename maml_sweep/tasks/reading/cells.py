"""Columns as pandas reads them, made numbers or words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading.sheets import Category

if TYPE_CHECKING:
    import pandas as pd

NEARLY = 0.9  # of a column's values: if as many are numbers, or dates, the column is one of them
LOOKED_AT = 10_000  # different values of a column that are looked at for dates
DATE = re.compile(r"(\d{4}-\d\d?-\d\d?|\d\d?[./-]\d\d?[./-](\d\d){1,2})([T ].*)?")


def parsed(what: str, column: pd.Series, words: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A column as numbers, or as words if it is to be or if it holds any.

    Args:
      what: the file and the column, for messages.
      column: as pandas read it.
      words: whether it is to be words, whatever it looks like.

    Returns:
      float64 [row], NaN where missing, or object [row] of text, None where missing; and which rows
      hold what cannot be: a word among numbers, or an infinite number.

    Raises:
      InputError: it holds dates, or lists, or numbers with a decimal mark that is not the set one.
    """
    from pandas.api import types

    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise InputError(f"{what} {_DATES}")
    present = column.dropna()
    if words:
        return text(column), np.zeros(len(column), bool)
    if types.is_bool_dtype(column) or present.map(lambda value: isinstance(value, bool)).all():
        numbers = column.astype(object).where(column.notna(), np.nan).astype(np.float64).to_numpy()
    elif types.is_numeric_dtype(column):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    elif (found := _numbers_among_words(what, column, present)) is not None:
        numbers = found
    else:
        return text(column), np.zeros(len(column), bool)
    wrong = np.isinf(numbers) | (np.isnan(numbers) & column.notna().to_numpy())
    return numbers, wrong


_DATES = "holds dates; leave it out (task.drop), or turn it into a number, such as days since a day"


def _numbers_among_words(
    what: str, column: pd.Series, present: pd.Series
) -> NDArray[np.float64] | None:
    """Numbers, NaN where a value is none, if nearly all values are; else None."""
    import pandas as pd

    if present.map(lambda value: isinstance(value, list | dict | tuple | np.ndarray)).any():
        raise InputError(f"{what} holds lists; leave it out (task.drop)")
    if (numbers := pd.to_numeric(column, errors="coerce")).notna().sum() >= NEARLY * len(present):
        return numbers.to_numpy(np.float64, na_value=np.nan)
    sample = present.astype(str).drop_duplicates().head(LOOKED_AT)
    if sample.map(lambda value: DATE.fullmatch(value.strip()) is not None).mean() >= NEARLY:
        raise InputError(f"{what} {_DATES}")
    with_points = pd.to_numeric(sample.str.replace(",", "."), errors="coerce")
    if with_points.notna().mean() >= NEARLY:
        raise InputError(
            f"{what} holds '{sample.iloc[0]}' and the like; set task.decimal=',' if these are "
            "numbers, or name it in task.categorical"
        )
    return None


def text(column: pd.Series) -> NDArray[np.object_]:
    """Values as text, None where missing; whole numbers without a point: object [row]."""
    from pandas.api import types

    there = column.notna().to_numpy()
    values = column.astype(object).to_numpy(copy=True)
    if types.is_float_dtype(column) and all(float(v).is_integer() for v in values[there]):
        values[there] = values[there].astype(np.int64)
    found = np.full(len(column), None, object)
    found[there] = [str(value) for value in values[there]]
    return found


def category(words: NDArray[np.object_]) -> Category:
    """Text as codes of its levels, which stand in the order of the alphabet."""
    import pandas as pd

    codes, levels = pd.factorize(words, sort=True)
    return Category(codes.astype(np.int32), tuple(str(level) for level in levels))
