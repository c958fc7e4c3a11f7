"""The small data sets that scikit-learn carries, so that nothing is downloaded.

Digits (UCI, 8x8 pixels), breast cancer (Wisconsin diagnostic), wine and iris have classes; diabetes
(Efron et al. 2004) and linnerud (three exercises, three measures of the body; 20 rows) have values.
See https://scikit-learn.org/stable/datasets/toy_dataset.html.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.spelling import hint
from maml_sweep.tasks.reading.sheets import Category, Sheet

CLASSES = ("digits", "breast_cancer", "wine", "iris")
VALUES = (*CLASSES, "diabetes", "linnerud")


def sheets(sets: Sequence[str], *, classes: bool) -> list[Sheet]:
    """The sets of these names, with their classes or as columns of which any may be the target.

    Raises:
      InputError: none, one twice, or one that is not there.
    """
    known = CLASSES if classes else VALUES
    for name in sets:
        if name not in known:
            raise InputError(
                f"task.sets: expected some of {', '.join(known)}, got {name}{hint(name, known)}"
            )
    if not sets or len(set(sets)) < len(sets):
        raise InputError(f"task.sets={list(sets)}: expected one or more, each once")
    return [(_with_classes if classes else _without)(name) for name in sets]


@functools.cache
def _with_classes(name: str) -> Sheet:
    content = _load(name)
    codes = np.asarray(content.target, np.int32)
    names = tuple(str(level) for level in content.target_names)
    return Sheet(name, _features(content), Category(codes, names))


@functools.cache
def _without(name: str) -> Sheet:
    """Targets that are numbers are a column like any other; classes are left out."""
    content = _load(name)
    features = _features(content)
    if name not in CLASSES:
        targets = np.asarray(content.target, np.float64).reshape(len(content.target), -1)
        titles = getattr(content, "target_names", ["progression"])
        features |= dict(zip(map(str, titles), targets.T, strict=True))
    return Sheet(name, features)


def _features(content: Any) -> dict[str, Any]:
    columns = np.ascontiguousarray(np.asarray(content.data, np.float64).T)
    return dict(zip(map(str, content.feature_names), columns, strict=True))


def _load(name: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")()
