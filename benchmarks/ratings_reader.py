"""How long a million ratings take to be read.

    python benchmarks/ratings_reader.py

Writes folders of the size and the layout of MovieLens 1M, as `ratings.dat` with its movies and
users, and as `ratings.csv` with its movies, into a temporary folder, and times what the
constructor of task=ratings does with them the first time: reading, side features, splits. Then the
same of a file with one bad line, which must be gone through line by line. Medians of three.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from maml_sweep.tasks import Ratings

USERS, MOVIES, RATINGS = 6_040, 3_883, 1_000_209
ROUNDS = 3
GENRES = ("Action", "Children's", "Comedy", "Drama", "Film-Noir", "Sci-Fi", "Thriller", "War")


def main() -> int:
    """Prints seconds; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        dat, comma = Path(folder, "ml-1m"), Path(folder, "csv")
        ratings = made(np.random.default_rng(0))
        write_dat(dat, ratings)
        write_csv(comma, ratings)
        shown("ratings.dat", dat)
        shown("ratings.csv", comma)
        for path, line in (
            (dat / "ratings.dat", "1::2::five::0\n"),
            (comma / "ratings.csv", "1\n"),
        ):
            with path.open("a") as file:
                file.write(line)
            shown(f"{path.name} with a bad line", path.parent, bad_records="skip")
    return 0


def made(rng: np.random.Generator) -> Any:
    """Users of unlike diligence and movies of unlike fame: int [rating, 4], no pair twice."""
    users = 1 + (USERS * rng.random(2 * RATINGS) ** 2).astype(int)
    movies = 1 + (MOVIES * rng.random(2 * RATINGS) ** 2).astype(int)
    pairs = np.unique(users * 10_000 + movies)
    pairs = rng.permutation(rng.choice(pairs, RATINGS, replace=False))
    stars, times = rng.integers(1, 6, RATINGS), rng.integers(956_703_932, 1_046_454_590, RATINGS)
    return np.column_stack([pairs // 10_000, pairs % 10_000, stars, times])


def titles() -> list[tuple[int, str, str]]:
    """Movies: number, title with its year, genres."""
    return [
        (movie, f"Misérables {movie}, Les ({1919 + movie % 82})", "|".join(GENRES[movie % 7 :][:2]))
        for movie in range(1, MOVIES + 1)
    ]


def write_dat(folder: Path, ratings: Any) -> None:
    """ratings.dat, movies.dat and users.dat."""
    folder.mkdir()
    lines = ["::".join(map(str, row)) for row in ratings.tolist()]
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n")
    movies = "".join(f"{number}::{title}::{genres}\n" for number, title, genres in titles())
    (folder / "movies.dat").write_text(movies, "latin-1")
    people = "".join(
        f"{u}::{'FM'[u % 2]}::{(1, 18, 25)[u % 3]}::{u % 21}::0\n" for u in range(USERS)
    )
    (folder / "users.dat").write_text(people)


def write_csv(folder: Path, ratings: Any) -> None:
    """ratings.csv and movies.csv."""
    folder.mkdir()
    lines = [",".join(map(str, row)) for row in ratings.tolist()]
    header = "userId,movieId,rating,timestamp\n"
    (folder / "ratings.csv").write_text(header + "\n".join(lines) + "\n")
    movies = "".join(f'{number},"{title}",{genres}\n' for number, title, genres in titles())
    (folder / "movies.csv").write_text("movieId,title,genres\n" + movies, "utf-8")


def shown(name: str, folder: Path, **settings: Any) -> None:
    """Prints the median time of a first reading."""
    spent = []
    for _ in range(ROUNDS):
        for path in folder.iterdir():
            path.touch()  # so that it is read again
        begun = time.perf_counter()
        Ratings(10, 10, str(folder), **settings)
        spent.append(time.perf_counter() - begun)
    print(f"{name}: {statistics.median(spent):.2f} s")


if __name__ == "__main__":
    sys.exit(main())
