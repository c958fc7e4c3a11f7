"""Texts of made-up classes whose word distributions are known, and with them the best answer.

There are `WORDS` words. A class draws each word of a text by itself with a probability
proportional to exp(b + s A t): b, normal with deviation one, makes some words more frequent than
others everywhere; A [word, rank] says which words go together; t, standard normal, is the class's
own mixture of these `RANK` topics. A learner that has found A reads a class's few words as
evidence on eight numbers; naive Bayes has to estimate two hundred from them.

Classes of different splits have different t, and share b and A.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.made import hashed
from maml_sweep.tasks.reading.corpus import Corpus

WORDS, RANK = 200, 8
SPREAD = 0.7  # s: the deviation of a word's log-probability from class to class
CLASSES: dict[Split, int] = {"train": 400, "validation": 60, "test": 100}
TEXTS, LENGTH = 60, 20  # of a class; words of a text


def distributions(split: Split) -> NDArray[np.float64]:
    """How probable each class of a split makes each word: [class, word]."""
    frequent = hashed.normal("topics/frequency", WORDS)
    together = hashed.normal("topics/together", WORDS, RANK) / math.sqrt(RANK)
    mixtures = hashed.normal(f"topics/{split}", CLASSES[split], RANK)
    weights = np.exp(frequent + SPREAD * mixtures @ together.T)
    probable: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probable


def names(split: Split) -> list[str]:
    """The names of a split's classes, in alphabetical order."""
    return [f"{split} {number:03}" for number in range(CLASSES[split])]


def corpus() -> Corpus:
    """Every text of every class."""
    parts = [_texts(split) for split in SPLITS]
    counts = [CLASSES[split] for split in SPLITS]
    flat = np.concatenate(parts)
    return Corpus(
        words=tuple(f"word{number:03}" for number in range(WORDS)),
        flat=flat,
        starts=np.arange(0, len(flat) + 1, LENGTH, dtype=np.int64),
        groups=np.repeat(np.arange(sum(counts), dtype=np.int32), TEXTS),
        names=tuple(name for split in SPLITS for name in names(split)),
    )


def _texts(split: Split) -> NDArray[np.int32]:
    """The words of a split's texts, class after class: int32 [class * text * word]."""
    draws = hashed.uniform(f"topics/{split}/texts", CLASSES[split], TEXTS * LENGTH)
    bounds = np.cumsum(distributions(split), axis=1)[:, :-1]
    drawn = [np.searchsorted(row, own, "right") for row, own in zip(bounds, draws, strict=True)]
    return np.concatenate(drawn).astype(np.int32)
