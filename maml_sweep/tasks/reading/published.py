"""Class splits of text collections that their authors published.

Bao et al. 2020 ("Few-shot text classification with distributional signatures", arXiv 1908.06039)
give each of their prepared files as lines {"text": [words], "label": integer}, and its split by
labels in `src/dataset/loader.py` of https://github.com/YujiaBao/Distributional-Signatures. What
is neither validation nor test there is training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split


class Published(NamedTuple):
    """A split by labels."""

    classes: int
    validation: Sequence[int]
    test: Sequence[int]


BAO: dict[str, Published] = {
    "huffpost": Published(41, range(20, 25), range(25, 41)),
    "newsgroups": Published(20, (4, 6, 7, 12, 17), (0, 2, 3, 8, 9, 15, 19)),  # 20newsgroup.json
    "amazon": Published(24, (1, 6, 9, 22, 23), (0, 5, 8, 10, 14, 15, 16, 17, 21)),
    "reuters": Published(31, range(15, 20), range(20, 31)),
    "fewrel": Published(80, (7, 9, 17, 18, 20), (23, 29, 42, 47, 51, 54, 55, 60, 65, 79)),
}


def assigned(name: str, found: Sequence[str]) -> dict[Split, list[str]]:
    """The labels of each split, as text.

    Args:
      name: of the collection in `BAO`.
      found: the labels in the files.

    Raises:
      InputError: other labels than the collection has.
    """
    published = BAO[name]
    wanted = [str(label) for label in range(published.classes)]
    if set(found) != set(wanted):
        odd = sorted(set(found) ^ set(wanted))[:3]
        raise InputError(
            f"task.split={name}: expected the labels 0 to {published.classes - 1} of Bao et al. "
            f"2020, but {', '.join(odd)} {'is' if len(odd) == 1 else 'are'} only in one of the "
            "two; leave task.split=auto for other files"
        )
    held, asked = map(str, published.validation), map(str, published.test)
    parts: dict[Split, list[str]] = {"train": [], "validation": [*held], "test": [*asked]}
    kept = {*parts["validation"], *parts["test"]}
    parts["train"] = [label for label in wanted if label not in kept]
    return parts
