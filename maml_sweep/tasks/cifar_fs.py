"""The hundred classes of CIFAR-100 at 32x32: task=cifar_fs."""

from __future__ import annotations

from maml_sweep.tasks.images import Images, styled
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.image_layouts import by_folders, by_lists, has_splits

LISTS, DATA = "splits/bertinetto", "data"
EXPECTED = (
    "expected cifar100/data/ with a folder of images a class and cifar100/splits/bertinetto/ with "
    "train.txt, val.txt and test.txt, of https://github.com/bertinetto/r2d2, or meta-train/, "
    "meta-val/ and meta-test/ with a folder of images a class"
)


class CifarFS(Images):
    """CIFAR-FS (Bertinetto et al. 2019, section 4): 64, 16 and 20 classes of 600 images.

    Either layout is read: lists of classes beside all of them, or folders of splits. See `Images`.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: the folder that holds cifar100, or cifar100 itself, or the folder of meta-train.
      size: height and width in pixels.
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
        size: int = 32,
        cache: str | None = None,
        bad_records: str = "refuse",
    ) -> None:
        super().__init__(
            _find(root),
            styled(size, 3),
            ways,
            shots,
            queries,
            cache=cache,
            bad_records=bad_records,
        )


def _find(root: str | None) -> Found:
    folder = roots.folder(root, EXPECTED)
    for base in (folder, folder / "cifar100"):
        if (base / LISTS).is_dir():
            return by_lists(base, LISTS, DATA, EXPECTED)
    if has_splits(folder):
        return by_folders(folder, EXPECTED)
    raise roots.lacking(folder, f"cifar100/{LISTS} and no meta-train", EXPECTED)
