"""Letters of scripts never seen in training: N-way K-shot on data the package carries.

Made in the image of Omniglot (Lake et al. 2015): many classes, twenty drawers each, and splits
that share no alphabet. Each letter is printed by up to six font faces and distorted by twenty
'drawers' (see `glyph_data`), so it is easier to come by than handwriting and a little more regular.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Classification, Episode, Split
from maml_sweep.tasks.draws import FewShot
from maml_sweep.tasks.glyph_data import DRAWERS, SIDE, letters, load
from maml_sweep.tasks.resident import resident


class Glyphs(Classification):
    """Tell `ways` letters of one split apart from `shots` drawings of each; see `FewShot`.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: must be None, for nothing is read from disk outside the package.

    Raises:
      InputError: a count below one, more ways than a split has classes, more examples than a
        class has drawers, or a root.
    """

    input_shape = (SIDE, SIDE, 1)

    def __init__(self, ways: int, shots: int, queries: int, root: str | None = None) -> None:
        if root is not None:
            raise InputError(f"task.root={root}: glyphs come with the package; leave it null")
        sizes = {split: [DRAWERS] * len(letters(split)) for split in SPLITS}
        self.few_shot = FewShot("glyphs", sizes, ways, shots, queries)
        self.outputs, self.classes = ways, len(sizes["train"])

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws distinct classes, and distinct drawers for each, for every key; ink is 1."""
        return self.few_shot.episode(split, _resident(split), keys, dtype)

    def groups(self, split: Split) -> Sequence[str]:
        """The letters by their Unicode names."""
        return [letter.name for letter in letters(split)]


@functools.cache
def _resident(split: Split) -> Any:
    """Every drawing of a split on the device: uint8 [class * drawer, 28, 28, 1]."""
    return resident(load(split).reshape(-1, SIDE, SIDE, 1))
