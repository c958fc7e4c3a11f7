"""A hundred classes of ImageNet at 84x84: task=mini_imagenet."""

from __future__ import annotations

from maml_sweep.tasks.images import Images, styled
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.image_layouts import by_csv, by_folders, has_csv

EXPECTED = (
    "expected images/*.jpg with train.csv, val.csv and test.csv (filename,label) of "
    "https://github.com/twitter/meta-learning-lstm, or train/, val/ and test/ with a "
    "folder of images a class"
)


class MiniImageNet(Images):
    """miniImageNet (Vinyals et al. 2016) by the splits of Ravi & Larochelle 2017.

    64, 16 and 20 classes of 600 images. Either layout is read: the csv files beside `images/`, or
    a folder a class in `train/`, `val/` and `test/`; the csv files stand first. See `Images`.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: the folder.
      size: height and width in pixels.
      cache: the cache's folder; None: in root, or else the user's own.
      bad_records: "refuse" rows and images that cannot be read, or "skip" them.

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
        cache: str | None = None,
        bad_records: str = "refuse",
    ) -> None:
        super().__init__(
            _find(root, bad_records),
            styled(size, 3),
            ways,
            shots,
            queries,
            cache=cache,
            bad_records=bad_records,
        )


def _find(root: str | None, bad_records: str) -> Found:
    folder = roots.folder(root, EXPECTED)
    return (
        by_csv(folder, bad_records, EXPECTED) if has_csv(folder) else by_folders(folder, EXPECTED)
    )
