"""Folders of ratings as GroupLens publishes them, written by hand; and made-up users' oracle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Ratings, Task
from maml_sweep.tasks.made import users

# Users 1 to 12 in no order, and how many of the items they rated; 5 makes a task of 2 + 3.
SIZES = {7: 9, 3: 6, 11: 5, 1: 8, 5: 9, 12: 4, 2: 7, 10: 9, 4: 5, 9: 6, 8: 8, 6: 9}
ITEMS = (260, 1, 3114, 50, 7, 1193, 2, 920, 48)  # in the order in which users come to them
# (user, item, stars, seconds)
RATINGS = [
    (user, ITEMS[(user + place) % 9], 1 + (user * place + place) % 5, 978300000 + 60 * place)
    for user, size in SIZES.items()
    for place in range(size)
]
GENRES = ("Action", "Animation", "Children's", "Comedy", "Drama")
# title, year and genres of each item; the last has none of them
MOVIES = {
    260: ("Star Wars: Episode IV - A New Hope (1977)", 1977, ("Action",)),
    1: ("Toy Story (1995)", 1995, ("Animation", "Children's", "Comedy")),
    3114: ("Toy Story 2 (1999)", 1999, ("Animation", "Children's", "Comedy")),
    50: ("Usual Suspects, The (1995)", 1995, ("Drama",)),
    7: ('"Great Performances" Cats, Dogs & Misérables (1998)', 1998, ("Comedy",)),
    1193: ("One Flew Over the Cuckoo's Nest (1975)", 1975, ("Drama",)),
    2: ("Jumanji (1995)", 1995, ("Action",)),
    920: ("Gone with the Wind (1939)", 1939, ("Drama",)),
    48: ("Movie without a date", None, ()),
}
JOBS = ("artist", "doctor", "writer")


def person(user: int) -> tuple[str, int, int]:
    """Gender, age and the number of the job of a user."""
    return "FM"[user % 2], 15 + 4 * user, user % 3


def write(path: Path, lines: Sequence[str], backwards: bool, coding: str = "latin-1") -> None:
    """Writes lines, in reverse order on demand."""
    ordered = list(reversed(lines)) if backwards else lines
    path.write_bytes("".join(f"{line}\n" for line in ordered).encode(coding))


def write_100k(folder: Path, backwards: bool = False) -> Path:
    """u.data, u.item and u.user, fields between tabs and bars."""
    flags: tuple[str, ...] = ("unknown", "Action", "Adventure", *GENRES[1:4], "Crime")
    flags += ("Documentary", "Drama")
    flags += ("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi")
    flags += ("Thriller", "War", "Western")
    rows = ["\t".join(map(str, each)) for each in RATINGS]
    write(folder / "u.data", rows, backwards)
    movies = []
    for item, (title, year, genres) in MOVIES.items():
        known = (f"01-Jan-{year}", "", "http://x") if year else ("", "", "")
        marks = [str(int(flag in genres or (flag == "unknown" and not genres))) for flag in flags]
        movies.append("|".join((str(item), title, *known, *marks)))
    write(folder / "u.item", movies, backwards)
    people = []
    for user in SIZES:
        gender, age, job = person(user)
        people.append(f"{user}|{age}|{gender}|{JOBS[job]}|{85000 + user}")
    write(folder / "u.user", people, backwards)
    return folder


def write_1m(folder: Path, backwards: bool = False) -> Path:
    """ratings.dat, movies.dat and users.dat, fields between two colons."""
    rows = ["::".join(map(str, each)) for each in RATINGS]
    write(folder / "ratings.dat", rows, backwards)
    movies = [f"{item}::{title}::{'|'.join(g)}" for item, (title, _, g) in MOVIES.items()]
    write(folder / "movies.dat", movies, backwards)
    people = []
    for user in SIZES:
        gender, age, job = person(user)
        group = max((low for low in (18, 25, 35, 45, 50, 56) if low <= age), default=1)
        people.append(f"{user}::{gender}::{group}::{job}::{85000 + user}")
    write(folder / "users.dat", people, backwards)
    return folder


def write_csv(folder: Path, backwards: bool = False) -> Path:
    """ratings.csv and movies.csv, with quotes round a title with commas or quotes."""
    rows = [f"{user},{item},{stars - 0.5},{time}" for user, item, stars, time in RATINGS]
    write(folder / "ratings.csv", rows, backwards)
    movies = []
    for item, (title, _, genres) in MOVIES.items():
        quoted = '"' + title.replace('"', '""') + '"' if "," in title else title
        movies.append(f"{item},{quoted},{'|'.join(genres) or '(no genres listed)'}")
    write(folder / "movies.csv", movies, backwards, "utf-8")
    for name, header in (
        ("ratings.csv", "userId,movieId,rating,timestamp"),
        ("movies.csv", "movieId,title,genres"),
    ):
        body = (folder / name).read_bytes()
        (folder / name).write_bytes(header.encode() + b"\n" + body)
    return folder


def write_shop(folder: Path, backwards: bool = False) -> Path:
    """Somebody's CSV: other names, text for users and items, no time, another scale."""
    rows = [f'7,"né, {user}",{stars * 20},a{item}' for user, item, stars, _ in RATINGS]
    write(folder / "shop.csv", rows, backwards, "utf-8")
    body = (folder / "shop.csv").read_bytes()
    (folder / "shop.csv").write_bytes("\ufeffbranch,who,score,what\r\n".encode() + body)
    return folder


def best(task: Task) -> tuple[float, float, float]:
    """The oracle's mean squared error by its own variance, and by what made-up users then say.

    Of 20,000 errors, a user's ten sharing a taste; six deviations are about 0.05.
    """
    assert isinstance(task, Ratings) and isinstance(task.source, users.MadeUsers)
    keys = np.stack([streams.key("best", lane) for lane in range(2000)])
    support, query, _ = task.episodes("test", tf.constant(keys), tf.float64)
    rated, asked = (part.x.numpy()[..., 0].astype(int) for part in (support, query))
    known, said = (part.y.numpy()[..., 0] for part in (support, query))
    table = users.table(task.source.items)
    mean, variance = users.posterior(table, rated, known, asked, task.source.noise)
    return float(np.mean(variance)), float(np.mean((said - mean) ** 2)), 0.05
