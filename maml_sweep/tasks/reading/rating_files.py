"""Ratings in files of lines: who rated what, how, and when.

A file is parsed as a whole where all of it is well-formed, and line by line where it is not, so
that what is wrong can be named. Both give the same ratings.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading.bad import BadRecords

_CHUNK = 1 << 24  # bytes looked at together


class Lines(NamedTuple):
    """How a file of ratings is laid out.

    Attributes:
      path: the file.
      separator: between fields; fields of a comma-separated file may be quoted.
      fields: how many a line has.
      user: which of them it is.
      item: the same.
      rating: the same.
      time: the same, whatever number grows with time; None: there is none.
      header: whether the first line names the fields.
      whole: whether users and items must be whole numbers; else they may be any text.
      scale: the least and the largest rating; None: any finite number is one.
    """

    path: Path
    separator: str
    fields: int
    user: int
    item: int
    rating: int
    time: int | None
    header: bool
    whole: bool
    scale: tuple[float, float] | None


@dataclass(frozen=True, eq=False)  # two of them are never the same, so they can be cached by
class Rated:
    """Every rating once: user after user, and a user's in the order of the items.

    Attributes:
      users: their names, numbers in the order of numbers, text in that of text.
      items: the same.
      starts: int64 [user + 1], where each user's ratings start, and the end.
      item: int32 [rating], its number among `items`.
      rating: float32 [rating].
    """

    users: Sequence[str]
    items: Sequence[str]
    starts: Any
    item: Any
    rating: Any


class _Columns(NamedTuple):
    """One entry a line: users and items are int64 if all of them are numbers, else text."""

    user: Any
    item: Any
    rating: Any  # float64
    time: Any  # float64, 0 where there is none


def read(lines: Lines, policy: str) -> Rated:
    """Reads a file; blank lines are ignored.

    Of several ratings of one item by one user the latest counts, and of several at one time the
    highest: the order of lines plays no part.

    Args:
      lines: its layout.
      policy: `task.bad_records`.

    Raises:
      InputError: it cannot be read, has no ratings, or has bad ones that are to be refused.
    """
    bad = BadRecords(str(lines.path), policy)
    columns = _at_once(lines, int)
    if columns is None and not lines.whole:
        columns = _at_once(lines, str)
    if columns is None:
        columns = _line_by_line(lines, bad)
    if not len(columns.rating):
        raise InputError(f"{lines.path}: expected ratings, found none")
    return _arranged(columns)


def _at_once(lines: Lines, names: type) -> _Columns | None:
    """The columns of a file without a fault, or None of any other.

    The parser takes separators of one character, so those of two are replaced before.
    """
    import pandas

    wanted = [lines.user, lines.item, lines.rating]
    wanted += [] if lines.time is None else [lines.time]
    kinds = dict(zip(wanted, (names, names, np.float64, np.float64), strict=False))
    separator = "\t" if len(lines.separator) > 1 else lines.separator
    try:
        frame = pandas.read_csv(
            _replaced(lines, separator),
            sep=separator,
            header=None,
            skiprows=int(lines.header),
            names=list(range(lines.fields)),
            index_col=False,
            usecols=sorted(wanted),
            dtype=kinds,
            keep_default_na=False,
            low_memory=False,
            quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE,
            encoding="utf-8",
        )
    except (ValueError, OverflowError, OSError, pandas.errors.ParserWarning):
        return None
    arrays = [frame[column].to_numpy() for column in wanted]
    columns = _Columns(*arrays, *([np.zeros(len(frame))] if lines.time is None else []))
    return columns if _sound(lines, columns) else None


def _replaced(lines: Lines, separator: str) -> Any:
    if separator == lines.separator:
        return lines.path
    return io.BytesIO(lines.path.read_bytes().replace(lines.separator.encode(), b"\t"))


def _sound(lines: Lines, columns: _Columns) -> bool:
    """Whether every line has its fields, and all of them are in order."""
    low, high = lines.scale or (-math.inf, math.inf)
    ratings = columns.rating
    if not (np.isfinite(ratings).all() and np.isfinite(columns.time).all()):
        return False
    if not ((ratings >= low) & (ratings <= high)).all():
        return False
    if columns.user.dtype.kind not in "iu" and any(
        (names == "").any() for names in (columns.user, columns.item)
    ):
        return False
    separators, quotes = _counted(lines)
    wanted = (lines.fields - 1) * (len(ratings) + lines.header)
    return separators == wanted or (bool(quotes) and separators > wanted)


def _counted(lines: Lines) -> tuple[int, int]:
    """Separators and quotes in the file."""
    mark = lines.separator.encode()
    separators = quotes = 0
    rest = b""
    with lines.path.open("rb") as file:
        while block := file.read(_CHUNK):
            separators += (rest + block).count(mark)
            rest = block[-1:] if len(mark) > 1 and not block.endswith(mark) else b""
            quotes += block.count(b'"')
    return separators, quotes


def _line_by_line(lines: Lines, bad: BadRecords) -> _Columns:
    """The columns of the good lines."""
    users: list[str] = []
    items: list[str] = []
    numbers: list[tuple[float, float]] = []
    total = 0
    for place, fields in _fields(lines):
        total += 1
        why = _wrong(lines, fields)
        if why:
            bad.add(f"line {place}", why)
            continue
        users.append(fields[lines.user])
        items.append(fields[lines.item])
        time = 0.0 if lines.time is None else float(fields[lines.time])
        numbers.append((float(fields[lines.rating]), time))
    bad.settle(total)
    ratings, times = np.array(numbers, np.float64).reshape(-1, 2).T
    return _Columns(_named(users), _named(items), ratings, times)


def _fields(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of every line that is not blank, the header aside."""
    try:
        with lines.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file) if lines.separator == "," else None
            rows = reader or (line.rstrip("\r\n").split(lines.separator) for line in file)
            for count, fields in enumerate(rows, 1):
                if any(field.strip() for field in fields) and not (lines.header and count == 1):
                    yield (reader.line_num if reader else count), fields
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{lines.path}: cannot be read as text in UTF-8 ({reason})") from None


def _wrong(lines: Lines, fields: list[str]) -> str:
    """What is wrong with a line; nothing: the empty text."""
    if len(fields) != lines.fields:
        return f"{len(fields)} field{'s' * (len(fields) != 1)} instead of {lines.fields}"
    for what, name in (("user", fields[lines.user]), ("item", fields[lines.item])):
        if not name or (lines.whole and not _is_whole(name)):
            return f"{what} '{name}'"
    rating = _number(fields[lines.rating])
    if not math.isfinite(rating):
        return f"rating '{fields[lines.rating]}'"
    if lines.scale and not lines.scale[0] <= rating <= lines.scale[1]:
        return f"rating {rating:g} is not from {lines.scale[0]:g} to {lines.scale[1]:g}"
    if lines.time is not None and not math.isfinite(_number(fields[lines.time])):
        return f"time '{fields[lines.time]}'"
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_whole(name: str) -> bool:
    digits = name.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def _named(names: list[str]) -> Any:
    """Names as `_at_once` gives them."""
    if all(map(_is_whole, names)):
        return np.array(names, dtype=object).astype(np.int64)
    return np.array(names, dtype=object)


def _arranged(columns: _Columns) -> Rated:
    """Numbers users and items, sorts, and drops all but the latest rating of each pair."""
    import pandas

    users, user_names = pandas.factorize(columns.user, sort=True)
    items, item_names = pandas.factorize(columns.item, sort=True)
    pairs = users.astype(np.int64) * len(item_names) + items
    order = np.argsort(pairs, kind="stable")
    again = np.diff(pairs[order]) == 0
    if again.any():
        order = np.lexsort((columns.rating, columns.time, pairs))
        order = order[np.append(np.diff(pairs[order]) != 0, True)]
    counts = np.bincount(users[order], minlength=len(user_names))
    return Rated(
        [str(name) for name in user_names.tolist()],
        [str(name) for name in item_names.tolist()],
        np.append(0, np.cumsum(counts)),
        items[order].astype(np.int32),
        columns.rating[order].astype(np.float32),
    )
