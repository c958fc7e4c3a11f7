"""Handwritten characters of fifty alphabets: task=omniglot."""

from __future__ import annotations

from maml_sweep.tasks.images import UPRIGHT, Images, styled
from maml_sweep.tasks.reading import omniglot

TURNS = (0, 1, 2, 3)  # quarter turns


class Omniglot(Images):
    """Omniglot (Lake et al. 2015) from its folders or its zips; ink is 1 on paper of 0.

    See `reading.omniglot` for the files and the splits, `Images` for the rest. With rotations a
    character turned by 90, 180 and 270 degrees makes three further classes, of the same split, as
    in Santoro et al. 2016 and Snell et al. 2017. (MAML's code turns each class of an episode at
    random, so that no episode has two turns of one character; here one may. It also shuffles the
    1,623 characters itself: 1,100 for training, 100 for validation, 423 for testing.)

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class; each has 20 drawings.
      root: the folder of images_background and images_evaluation, or of their zips.
      size: height and width in pixels, from 105.
      rotations: whether turned characters are further classes.
      split: "vinyals" (1,028, 172 and 423 characters), or "background": its alphabets for
        training and validation, those of the evaluation part for testing.
      cache: the cache's folder; None: in root, or else the user's own.
      bad_records: "refuse" images that cannot be read, or "skip" them.

    Raises:
      InputError: files of another layout, and what `Images` refuses.
    """

    def __init__(
        self,
        ways: int,
        shots: int,
        queries: int,
        root: str | None = None,
        size: int = 28,
        rotations: bool = True,
        split: str = "vinyals",
        cache: str | None = None,
        bad_records: str = "refuse",
    ) -> None:
        super().__init__(
            omniglot.find(root, split),
            styled(size, 1),
            ways,
            shots,
            queries,
            cache=cache,
            bad_records=bad_records,
            inverted=True,
            turns=TURNS if rotations else UPRIGHT,
        )
