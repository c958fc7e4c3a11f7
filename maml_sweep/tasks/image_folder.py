"""Anyone's images, a folder a class: task=image_folder."""

from __future__ import annotations

from collections.abc import Sequence

from maml_sweep.tasks.images import Images, styled
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.image_layouts import by_classes, by_folders, has_splits
from maml_sweep.tasks.reading.splits import SHARES

EXPECTED = (
    "expected train/, val/ and test/ with a folder of images a class, other classes in each, or "
    "the folders of classes alone, which are then dealt to the splits"
)


class ImageFolder(Images):
    """Classes of images in folders: `<split>/<class>/<image>`, or `<class>/<image>`.

    In the second form classes are dealt to the splits by a hash of their names. See `Images`.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: the folder.
      size: height and width in pixels; an image that is no square is squeezed.
      channels: 1 (grey) or 3 (colour).
      shares: of train, validation and test, where classes are dealt.
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
        size: int = 84,
        channels: int = 3,
        shares: Sequence[float] = SHARES,
        cache: str | None = None,
        bad_records: str = "refuse",
    ) -> None:
        super().__init__(
            _find(root, shares),
            styled(size, channels),
            ways,
            shots,
            queries,
            cache=cache,
            bad_records=bad_records,
        )


def _find(root: str | None, shares: Sequence[float]) -> Found:
    folder = roots.folder(root, EXPECTED)
    return (
        by_folders(folder, EXPECTED) if has_splits(folder) else by_classes(folder, shares, EXPECTED)
    )
