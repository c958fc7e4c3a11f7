"""The typed options of `task`; part of the schema in `maml_sweep.config`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sinusoid:
    """task=sinusoid: sine waves to be fitted from a few points."""

    _target_: str = "maml_sweep.tasks.Sinusoid"
    shots: int = 10
    queries: int = 10
    amplitude: list[float] = field(default_factory=lambda: [0.1, 5.0])
    phase: list[float] = field(default_factory=lambda: [0.0, math.pi])  # radians
    domain: list[float] = field(default_factory=lambda: [-5.0, 5.0])
    frequency: list[float] | None = None  # bounds; null: 1
    noise: float = 0.0  # deviation, on the support's y


@dataclass
class Quadratics:
    """task=quadratics: random quadratic functions to be minimised, for learned optimisers."""

    _target_: str = "maml_sweep.tasks.Quadratics"
    dimension: int = 10


@dataclass
class Glyphs:
    """task=glyphs: characters of scripts never seen in training, embedded in the package."""

    _target_: str = "maml_sweep.tasks.Glyphs"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # unused: tasks with files of their own read it


@dataclass
class Embeddings:
    """task=embeddings: classes of feature vectors in files, such as those published with LEO."""

    _target_: str = "maml_sweep.tasks.Embeddings"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder of {train,val,test}_embeddings.pkl or .npz
    normalize: bool = True  # every vector to length one


@dataclass
class Omniglot:
    """task=omniglot: handwritten characters of fifty alphabets, from their folders or zips."""

    _target_: str = "maml_sweep.tasks.Omniglot"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder of images_background and images_evaluation
    size: int = 28  # height and width in pixels
    rotations: bool = True  # characters turned by 90, 180 and 270 degrees are further classes
    split: str = "vinyals"  # or background: test on images_evaluation
    cache: str | None = None  # folder of the decoded images; null: in root, or else the user's own
    bad_records: str = "refuse"  # or skip


@dataclass
class MiniImageNet:
    """task=mini_imagenet: a hundred classes of ImageNet, from csv and images or from folders."""

    _target_: str = "maml_sweep.tasks.MiniImageNet"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder of images and {train,val,test}.csv
    size: int = 84  # height and width in pixels
    cache: str | None = None  # folder of the decoded images; null: in root, or else the user's own
    bad_records: str = "refuse"  # or skip


@dataclass
class CifarFS:
    """task=cifar_fs: the hundred classes of CIFAR-100 in Bertinetto's splits."""

    _target_: str = "maml_sweep.tasks.CifarFS"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder that holds cifar100, or meta-train
    size: int = 32  # height and width in pixels
    cache: str | None = None  # folder of the decoded images; null: in root, or else the user's own
    bad_records: str = "refuse"  # or skip


@dataclass
class ImageFolder:
    """task=image_folder: anyone's images, a folder a class."""

    _target_: str = "maml_sweep.tasks.ImageFolder"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder of train, val and test, or of the classes
    size: int = 84  # height and width in pixels
    channels: int = 3  # or 1: grey
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # if it deals
    cache: str | None = None  # folder of the decoded images; null: in root, or else the user's own
    bad_records: str = "refuse"  # or skip


@dataclass
class Text:
    """task=text: topics of short texts, made up or from files of texts and classes."""

    _target_: str = "maml_sweep.tasks.Text"
    ways: int = 5
    shots: int = 1
    queries: int = 10
    root: str | None = None  # a file or folder of .jsonl, .json, .csv, .tsv; null: made-up topics
    features: str = "counts"  # or ngrams, or tokens (for model=text_cnn)
    vocabulary: int = 1000  # words of the training classes, or buckets of n-grams
    length: int = 20  # words of a text that count
    ngram: int = 2  # words of the longest n-gram, 1 or 2
    text: Any = None  # columns of a text, one or a list; null: text or headline
    label: str | None = None  # column of its class; null: label or category
    split: str = "auto"  # or dealt, huffpost, newsgroups, amazon, reuters, fewrel
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # of classes dealt
    bad_records: str = "refuse"  # or skip


@dataclass
class Sentiment:
    """task=sentiment: negative and positive reviews, a task a domain, made up or from files."""

    _target_: str = "maml_sweep.tasks.Sentiment"
    shots: int = 5  # of each polarity
    queries: int = 10  # of each polarity
    root: str | None = None  # folder of Amazon's or Blitzer's reviews; null: made-up domains
    features: str = "counts"  # or ngrams, or tokens (for model=text_cnn)
    vocabulary: int = 1000  # words of the training domains, or buckets; 200 of made-up ones
    length: int = 200  # words of a review that count; 25 of made-up ones
    ngram: int = 2  # words of the longest n-gram, 1 or 2
    limit: int = 2000  # reviews kept of each polarity of a domain
    domains: dict[str, list[str]] | None = None  # of train, validation and test; null: dealt
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # of domains dealt
    bad_records: str = "refuse"  # or skip


@dataclass
class Ratings:
    """task=ratings: what a user says of items, a task a user, made up or from MovieLens's files."""

    _target_: str = "maml_sweep.tasks.Ratings"
    shots: int = 10  # ratings of a user to learn from
    queries: int = 10
    root: str | None = None  # folder of MovieLens or of another CSV; null: made-up users
    file: str | None = None  # a CSV in root; null: one of MovieLens's own files
    user: str | None = None  # column of a CSV; null: userId
    item: str | None = None  # null: movieId
    rating: str | None = None  # null: rating
    time: str | None = None  # null: timestamp, if there is one
    scale: list[float] | None = None  # least and largest rating; null: 0.5 and 5, of file any
    side_features: bool = True  # genres, years, ages, ... among the inputs, where files have them
    min_item_ratings: int = 5  # of meta-training users; rarer items share one id
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # of users
    bad_records: str = "refuse"  # or skip
    items: int = 400  # made up
    noise: float = 0.6  # deviation of a made-up rating


@dataclass
class Table:
    """What task=tabular and task=tabular_regression have in common."""

    shots: int = 1  # of each class where there are classes
    queries: int = 10  # likewise
    root: str | None = None  # a .csv, .tsv or .parquet file; null: sets of scikit-learn
    sets: list[str] = field(default_factory=lambda: ["digits", "breast_cancer"])
    target: str | None = None  # column of labels or values
    group: str | None = None  # column that says which task a row belongs to; null: made-up tasks
    features: list[str] | None = None  # columns to learn from; null: all others
    drop: list[str] = field(default_factory=list)  # columns to leave out
    columns: int | None = None  # that a task sees, drawn; null: 8 of a made-up task, else all
    flips: bool | None = None  # signs turned at random; null: in made-up tasks
    categorical: list[str] = field(default_factory=list)  # words, though they look like numbers
    levels: int = 10  # of a column of words that get a column of their own
    separator: str | None = None  # null: a comma, in a .tsv a tab
    decimal: str = "."
    encoding: str = "utf-8"
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # of rows, or groups
    bad_records: str = "refuse"  # or skip


@dataclass
class Tabular(Table):
    """task=tabular: classes of rows, a task a group or made up of classes and columns."""

    _target_: str = "maml_sweep.tasks.TabularClasses"
    ways: int = 2


@dataclass
class TabularRegression(Table):
    """task=tabular_regression: a value from the rest of a row, a task a group or made up."""

    _target_: str = "maml_sweep.tasks.TabularValues"
    shots: int = 5
    sets: list[str] = field(default_factory=lambda: ["diabetes", "breast_cancer"])


@dataclass
class Boxes:
    """task=boxes: the box of a class in further images, in made-up scenes or Pascal VOC or COCO."""

    _target_: str = "maml_sweep.tasks.Boxes"
    shots: int = 5  # images
    queries: int = 3  # images
    root: str | None = None  # folder of VOCdevkit, or of COCO's annotations; null: made-up scenes
    size: int = 84  # height and width in pixels of images from files; scenes have 48
    subset: str | None = None  # null: VOC's trainval, all of COCO's; or a set such as train2017
    split: str = "auto"  # or novel1, novel2, novel3 (VOC), coco, dealt
    shares: list[float] = field(default_factory=lambda: [0.64, 0.16, 0.2])  # of classes dealt
    several: str = "skip"  # images with several boxes of a class; or largest: it counts
    difficult: bool = False  # whether VOC's difficult objects count
    cache: str | None = None  # folder of the decoded images; null: in root, or else the user's own
    bad_records: str = "refuse"  # or skip


TASKS: dict[str, Any] = {
    "sinusoid": Sinusoid,
    "boxes": Boxes,
    "quadratics": Quadratics,
    "glyphs": Glyphs,
    "embeddings": Embeddings,
    "omniglot": Omniglot,
    "mini_imagenet": MiniImageNet,
    "cifar_fs": CifarFS,
    "image_folder": ImageFolder,
    "text": Text,
    "sentiment": Sentiment,
    "ratings": Ratings,
    "tabular": Tabular,
    "tabular_regression": TabularRegression,
}
