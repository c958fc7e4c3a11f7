"""MovieLens folders as GroupLens publishes them (https://grouplens.org/datasets/movielens/).

100K: `u.data`, tabs: user, item, rating, time. 1M and 10M: `ratings.dat`, the same between `::`.
20M and newer: `ratings.csv` of userId, movieId, rating, timestamp. Any other CSV of ratings is read
by the names of its columns. What is known of movies and users is read by `movielens_side`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.spelling import hint
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.rating_files import Lines

EXPECTED = (
    "expected a folder of MovieLens (https://grouplens.org/datasets/movielens/): u.data of 100K, "
    "ratings.dat of 1M or 10M, ratings.csv of 20M and newer; or task.file, the name of another CSV"
)
STARS = (0.5, 5.0)
COLUMNS = {"user": "userId", "item": "movieId", "rating": "rating"}  # of ratings.csv
TIME = "timestamp"


class Layout(NamedTuple):
    """A folder of ratings: the file of ratings, and those of what is known besides, or None."""

    ratings: Lines
    movies: Path | None
    people: Path | None


def find(
    root: str | None,
    file: str | None,
    columns: Mapping[str, str | None],
    scale: tuple[float, float] | None,
) -> Layout:
    """Which files a folder has and how they are laid out.

    Args:
      root: `task.root`.
      file: `task.file`, a CSV in it; None: one of MovieLens's own files.
      columns: names of the user's, item's, rating's and time's column by `user`, `item`, `rating`
        and `time`; None: MovieLens's, and no time if there is no such column.
      scale: the least and the largest rating; None: of MovieLens's own files 0.5 to 5.

    Raises:
      InputError: no such folder or file, or a CSV without such columns.
    """
    folder = roots.folder(root, EXPECTED)
    stars = scale or STARS
    if file is not None:
        if not (folder / file).is_file():
            raise roots.lacking(folder, f"{file} (task.file)", EXPECTED)
        return Layout(_comma(folder / file, columns, scale), None, None)
    if (folder / "u.data").is_file():
        lines = Lines(folder / "u.data", "\t", 4, 0, 1, 2, 3, False, True, stars)
        return Layout(lines, _file(folder / "u.item"), _file(folder / "u.user"))
    if (folder / "ratings.dat").is_file():
        lines = Lines(folder / "ratings.dat", "::", 4, 0, 1, 2, 3, False, True, stars)
        return Layout(lines, _file(folder / "movies.dat"), _file(folder / "users.dat"))
    if (folder / "ratings.csv").is_file():
        lines = _comma(folder / "ratings.csv", columns, stars)
        return Layout(lines, _file(folder / "movies.csv"), None)
    raise roots.lacking(folder, "u.data, ratings.dat or ratings.csv", EXPECTED)


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _comma(
    path: Path, columns: Mapping[str, str | None], scale: tuple[float, float] | None
) -> Lines:
    """The layout of a CSV by its header."""
    header = _header(path)
    user, item, rating = (
        _column(path, header, f"task.{key}", columns.get(key) or usual)
        for key, usual in COLUMNS.items()
    )
    name = columns.get("time")
    time = header.index(TIME) if TIME in header else None
    if name is not None:
        time = _column(path, header, "task.time", name)
    return Lines(path, ",", len(header), user, item, rating, time, True, False, scale)


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as text in UTF-8 ({reason})") from None


def _column(path: Path, header: list[str], setting: str, name: str) -> int:
    if name not in header:
        raise InputError(
            f"{setting}={name}: {path} has no such column, but {', '.join(header) or 'none'}"
            f"{hint(name, header)}"
        )
    return header.index(name)
