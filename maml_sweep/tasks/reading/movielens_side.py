"""What MovieLens says of its movies and, in 100K and 1M, of its users: columns of numbers.

A movie has the years of its release, in the buckets that `YEARS` parts, and a real column of 0 and
1 for each genre. A user has a gender, an age in the groups of 1M (`AGES`) and an occupation; the
zip code is left out. A number is 0 where nothing is known.

Files: `u.item` (latin-1, `|`: id, title, release date, video date, link, 19 genre flags), `u.user`
(`|`: id, age, gender, occupation, zip), `movies.dat` (latin-1, `id::Title (Year)::Genre|Genre`),
`users.dat` (`id::gender::age::occupation::zip`) and `movies.csv` (movieId, title, genres; quotes
round titles with commas). The READMEs of the sets describe them.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading.bad import BadRecords

YEARS = (1930, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1995, 2000, 2005, 2010, 2015, 2020)
AGES = (18, 25, 35, 45, 50, 56)
GENDERS = ("F", "M")
FLAGS = (  # of u.item
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRE = ("", "unknown", "(no genres listed)")
Record = TypeVar("Record")
_YEAR = re.compile(r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$")  # a series has a span of years


class Side(NamedTuple):
    """Columns by the names of items or users; who has none gets zeros."""

    categories: tuple[int, ...]  # of each column, 0 where it is a real number
    rows: dict[str, tuple[float, ...]]


class _Movie(NamedTuple):
    year: int | None
    genres: tuple[str, ...]


NOTHING = Side((), {})


def movies(path: Path | None, policy: str) -> Side:
    """What a file of movies says; `NOTHING` without one.

    Raises:
      InputError: it cannot be read, or has bad records that are to be refused.
    """
    if path is None:
        return NOTHING
    found = _records(path, policy, _MOVIES[path.name])
    genres = sorted({genre for movie in found.values() for genre in movie.genres} - {*NO_GENRE})
    return Side(
        (len(YEARS) + 2, *[0] * len(genres)),
        {
            name: (
                0 if movie.year is None else 1 + bisect(YEARS, movie.year),
                *(float(genre in movie.genres) for genre in genres),
            )
            for name, movie in found.items()
        },
    )


def people(path: Path | None, policy: str) -> Side:
    """What a file of users says; `NOTHING` without one.

    Raises:
      InputError: it cannot be read, or has bad records that are to be refused.
    """
    if path is None:
        return NOTHING
    found = _records(path, policy, _PEOPLE[path.name])
    occupations = sorted({occupation for _, _, occupation in found.values()})
    return Side(
        (len(GENDERS) + 1, len(AGES) + 2, len(occupations) + 1),
        {
            name: (
                1 + GENDERS.index(gender) if gender in GENDERS else 0,
                1 + bisect(AGES, age),
                1 + occupations.index(occupation),
            )
            for name, (gender, age, occupation) in found.items()
        },
    )


def _records(
    path: Path, policy: str, parse: Callable[[Sequence[str]], Record]
) -> dict[str, Record]:
    """The good records by their first field, a whole number as `rating_files` writes it."""
    bad, total = BadRecords(str(path), policy), 0
    found = {}
    for place, fields in _rows(path):
        total += 1
        try:
            found[str(int(fields[0]))] = parse(fields)
        except (ValueError, IndexError):
            shown = "|".join(fields)
            bad.add(f"line {place}", shown if len(shown) < 40 else f"{shown[:40]}…")
    bad.settle(total)
    return found


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of every line that is not blank."""
    comma = path.suffix == ".csv"
    mark = "::" if path.suffix == ".dat" else "|"
    try:
        with path.open(encoding="utf-8-sig" if comma else "latin-1", newline="") as file:
            reader = csv.reader(file)
            rows = reader if comma else (line.rstrip("\r\n").split(mark) for line in file)
            for count, fields in enumerate(rows, 1):
                if any(fields) and not (comma and count == 1):
                    yield (reader.line_num if comma else count), fields
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _titled(fields: Sequence[str]) -> _Movie:
    """movies.dat and movies.csv: a title that ends in its year, and genres."""
    if len(fields) < 3:
        raise ValueError
    year = _YEAR.search(fields[1] if len(fields) == 3 else "::".join(fields[1:-1]))
    return _Movie(int(year[1]) if year else None, tuple(fields[-1].split("|")))


def _flagged(fields: Sequence[str]) -> _Movie:
    """u.item: a date such as 01-Jan-1995, or none, and flags."""
    flags = fields[5:]
    if len(flags) != len(FLAGS) or not set(flags) <= {"0", "1"}:
        raise ValueError
    year = int(fields[2][-4:]) if fields[2] else None
    return _Movie(
        year, tuple(genre for genre, flag in zip(FLAGS, flags, strict=True) if flag == "1")
    )


def _person(gender: int, age: int) -> Callable[[Sequence[str]], tuple[str, int, str]]:
    """(gender, age, occupation) of u.user and users.dat, which order them differently."""

    def parse(fields: Sequence[str]) -> tuple[str, int, str]:
        if len(fields) != 5:
            raise ValueError
        return fields[gender], int(fields[age]), fields[3]

    return parse


_MOVIES = {"u.item": _flagged, "movies.dat": _titled, "movies.csv": _titled}
_PEOPLE = {"u.user": _person(2, 1), "users.dat": _person(1, 2)}
