"""The table of tasks: every one goes through the suite of test_tasks.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import box_files
import image_files
import ratings_files
import table_files
import text_files
import text_oracles
from vector_files import RAGGED, write_pickles

from maml_sweep.tasks import (
    Boxes,
    CifarFS,
    Embeddings,
    Glyphs,
    ImageFolder,
    MiniImageNet,
    Omniglot,
    Quadratics,
    Ratings,
    Sentiment,
    Sinusoid,
    TabularClasses,
    TabularValues,
    Task,
    Text,
)


@dataclass(frozen=True)
class Case:
    """A task as the suite meets it.

    Attributes:
      make: builds the task from an empty folder, into which it writes the files that the task is
        to read, with all that has no say in them (names on disk, lines) in reverse order if the
        second argument says so.
      low: no x is below it.
      high: no x is above it.
      classes: of the training split, where an episode names them.
      files: whether it reads any.
      repeats: whether two examples of a task may look the same; that support and query share none
        is then shown by the task's own tests.
      oracle: the task -> what the best possible answer scores, worked out and simulated, and how
        far apart the two may be.
    """

    make: Callable[[Path, bool], Task]
    low: float = -math.inf
    high: float = math.inf
    classes: int | None = None
    files: bool = False
    repeats: bool = False
    oracle: Callable[[Task], tuple[float, float, float]] | None = None


CASES: dict[str, Case] = {
    "sinusoid": Case(lambda folder, backwards: Sinusoid(5, 7), -5, 5),
    "noisy": Case(lambda folder, backwards: Sinusoid(5, 7, frequency=(0.8, 1.2), noise=0.3), -5, 5),
    "quadratics": Case(lambda folder, backwards: Quadratics(4), repeats=True),
    "glyphs": Case(lambda folder, backwards: Glyphs(5, 1, 3), 0, 1, classes=1047),
    "embeddings": Case(
        lambda folder, backwards: Embeddings(4, 2, 3, str(write_pickles(folder))),
        -1,
        1,
        classes=len(RAGGED["train"]),
    ),
    "raw embeddings": Case(
        lambda folder, backwards: Embeddings(2, 4, 1, str(write_pickles(folder)), False),
        classes=len(RAGGED["train"]),
    ),
    "boxes": Case(lambda folder, backwards: Boxes(3, 4), 0, 1, oracle=box_files.told),
    "voc": Case(
        lambda folder, backwards: Boxes(2, 3, box_files.voc(folder, backwards), size=9),
        0,
        1,
        files=True,
    ),
    "coco": Case(
        lambda folder, backwards: Boxes(3, 2, box_files.coco(folder, backwards), size=9),
        0,
        1,
        files=True,
    ),
    "omniglot": Case(
        lambda folder, backwards: Omniglot(
            5, 1, 3, image_files.omniglot(folder, backwards), size=14
        ),
        0,
        1,
        classes=16,
        files=True,
    ),
    "omniglot's parts": Case(
        lambda folder, backwards: Omniglot(
            2,
            2,
            2,
            image_files.omniglot(folder, backwards, zips=True),
            size=14,
            rotations=False,
            split="background",
        ),
        0,
        1,
        classes=4,
        files=True,
    ),
    "mini_imagenet": Case(
        lambda folder, backwards: MiniImageNet(
            2, 2, 3, image_files.by_csv(folder, backwards), size=9
        ),
        0,
        1,
        classes=4,
        files=True,
    ),
    "cifar_fs": Case(
        lambda folder, backwards: CifarFS(2, 1, 4, image_files.cifar_fs(folder, backwards), size=8),
        0,
        1,
        classes=4,
        files=True,
    ),
    "image_folder": Case(
        lambda folder, backwards: ImageFolder(
            2, 1, 3, image_files.by_folders(folder, backwards), size=9
        ),
        0,
        1,
        classes=4,
        files=True,
    ),
    "dealt image_folder": Case(
        lambda folder, backwards: ImageFolder(
            2,
            1,
            3,
            image_files.by_classes(folder, [f"kind {i}" for i in range(10)], backwards),
            size=9,
            channels=1,
            shares=(0.4, 0.3, 0.3),
        ),
        0,
        1,
        classes=4,
        files=True,
    ),
    "text": Case(
        lambda folder, backwards: Text(5, 1, 8), 0, 20, classes=400, oracle=text_oracles.of_topics
    ),
    "text's tokens": Case(
        lambda folder, backwards: Text(3, 2, 3, features="tokens"), 2, 201, classes=400
    ),
    "huffpost": Case(
        lambda folder, backwards: Text(
            4,
            1,
            3,
            str(text_files.write_huffpost(folder, backwards)),
            "tokens",
            split="huffpost",
        ),
        0,
        classes=20,
        files=True,
    ),
    "news": Case(
        lambda folder, backwards: Text(
            2,
            2,
            2,
            str(text_files.write_news(folder, backwards)),
            "ngrams",
            500,
            text=["headline", "short_description"],
        ),
        0,
        1,
        classes=13,
        files=True,
    ),
    "intents": Case(
        lambda folder, backwards: Text(
            2,
            2,
            2,
            str(text_files.write_csv(folder, backwards)),
            text="utterance",
            label="intent",
        ),
        0,
        classes=4,
        files=True,
    ),
    "sentiment": Case(
        lambda folder, backwards: Sentiment(2, 20), 0, 25, oracle=text_oracles.of_reviews
    ),
    "sentiment's tokens": Case(
        lambda folder, backwards: Sentiment(2, 3, features="tokens"), 2, 201
    ),
    "amazon": Case(
        lambda folder, backwards: Sentiment(2, 3, str(text_files.write_amazon(folder, backwards))),
        0,
        files=True,
    ),
    "blitzer": Case(
        lambda folder, backwards: Sentiment(
            2, 4, str(text_files.write_blitzer(folder, backwards)), "tokens", length=9
        ),
        0,
        files=True,
    ),
    "ratings": Case(lambda folder, backwards: Ratings(10, 10), 0, 399, oracle=ratings_files.best),
    "movielens 100k": Case(
        lambda folder, backwards: Ratings(
            2, 3, str(ratings_files.write_100k(folder, backwards)), min_item_ratings=1
        ),
        0,
        15,
        files=True,
    ),
    "movielens 1m": Case(
        lambda folder, backwards: Ratings(
            2, 3, str(ratings_files.write_1m(folder, backwards)), min_item_ratings=1
        ),
        0,
        15,
        files=True,
    ),
    "movielens csv": Case(
        lambda folder, backwards: Ratings(
            2, 3, str(ratings_files.write_csv(folder, backwards)), min_item_ratings=1
        ),
        0,
        15,
        files=True,
    ),
    "somebody's ratings": Case(
        lambda folder, backwards: Ratings(
            2,
            3,
            str(ratings_files.write_shop(folder, backwards)),
            "shop.csv",
            "who",
            "what",
            "score",
            min_item_ratings=1,
        ),
        0,
        9,
        files=True,
    ),
    "tabular": Case(
        lambda folder, backwards: TabularClasses(2, 1, 10, sets=["digits", "breast_cancer"]),
        repeats=True,
    ),
    "tabular of hospitals": Case(
        lambda folder, backwards: TabularClasses(
            2,
            2,
            3,
            root=str(table_files.write_patients(folder, backwards)),
            target="ill",
            group="hospital",
            drop=["id"],
        ),
        files=True,
    ),
    "tabular_regression": Case(
        lambda folder, backwards: TabularValues(5, 10, sets=["diabetes", "breast_cancer"]),
        repeats=True,
    ),
    "tabular_regression of flats": Case(
        lambda folder, backwards: TabularValues(
            2,
            3,
            str(table_files.write_flats(folder, backwards)),
            target="price",
            columns=3,
            separator=";",
            decimal=",",
            encoding="latin-1",
        ),
        repeats=True,
        files=True,
    ),
}
