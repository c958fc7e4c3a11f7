"""N-way K-shot classification of vectors made by a network that is trained already."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Classification, Episode, Split
from maml_sweep.tasks.draws import FewShot
from maml_sweep.tasks.reading import vectors
from maml_sweep.tasks.reading.roots import File
from maml_sweep.tasks.reading.vectors import Vectors
from maml_sweep.tasks.resident import resident


class Embeddings(Classification):
    """Tell `ways` classes of one split apart from `shots` vectors of each; see `FewShot`.

    The setting of LEO (Rusu et al. 2019, section 4.2), on the features its authors published or on
    one's own: see `reading.vectors` for the files. Every class must have shots + queries vectors;
    none is left out silently.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: the folder of the three files.
      normalize: scale every vector to length one, as LEO's code does; a vector of zeros stays.

    Raises:
      InputError: no such files, files of another layout or of several widths, a count below one,
        more ways than a split has classes, or more examples than one of the classes has.
    """

    def __init__(
        self,
        ways: int,
        shots: int,
        queries: int,
        root: str | None = None,
        normalize: bool = True,
    ) -> None:
        self.files = vectors.find(root)
        outlines = {split: vectors.outline(file) for split, file in self.files.items()}
        widths = {outline.width for outline in outlines.values()}
        if len(widths) > 1:
            raise InputError(f"task.root={root}: vectors of {sorted(widths)} numbers; expected one")
        sizes = {split: outline.sizes for split, outline in outlines.items()}
        self.few_shot = FewShot(str(root), sizes, ways, shots, queries)
        self.normalize = normalize
        self.input_shape = (widths.pop(),)
        self.outputs, self.classes = ways, len(sizes["train"])

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws distinct classes, and distinct vectors of each, for every key."""
        table = _resident(self.files[split], self.normalize)
        return self.few_shot.episode(split, table, keys, dtype)


@functools.cache
def _resident(file: File, normalize: bool) -> Any:
    """A file's vectors on the device: float32 [example, width], class after class."""
    table, _ = vectors.read(file.path)
    return resident(_of_length_one(table) if normalize else table)


def _of_length_one(table: Vectors) -> Vectors:
    """Vectors by their length, which counts as 1e-6 where it is less (LEO's `l2_normalize`)."""
    squares = np.einsum("nd,nd->n", table, table, dtype=np.float64)
    lengths = np.sqrt(np.maximum(squares, 1e-12)).astype(np.float32)
    scaled: Vectors = table / lengths[:, np.newaxis]
    return scaled
