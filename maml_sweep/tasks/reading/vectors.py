"""Files of feature vectors: the pickles published with LEO, and plain .npz twins of them.

LEO (Rusu et al. 2019) comes with features of miniImageNet and tieredImageNet, for which the README
of https://github.com/deepmind/leo has a link. Each of `train`, `val` and `test_embeddings.pkl` is
a dict of `embeddings`, float [example, width], and `keys`, a text '<folder>-<class>-<image>' an
example. A twin, `train_embeddings.npz`, has `embeddings` and `labels` [example], integers or text.
"""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maml_sweep.errors import InputError
from maml_sweep.files import write_atomic
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import pickles, roots
from maml_sweep.tasks.reading.roots import File

STEMS: dict[Split, str] = {
    "train": "train_embeddings",
    "validation": "val_embeddings",
    "test": "test_embeddings",
}
EXPECTED = (
    "expected a folder with {train,val,test}_embeddings.pkl or .npz, such as "
    "embeddings/miniImageNet/center of the archive that the README of "
    "https://github.com/deepmind/leo links to"
)

Vectors = NDArray[np.float32]


class Outline(NamedTuple):
    """What is in a file."""

    sizes: tuple[int, ...]  # examples of each class, in the order of the classes' labels
    width: int


def find(root: str | None) -> dict[Split, File]:
    """The file of every split; a .npz stands before a .pkl.

    Raises:
      InputError: no folder, or one that lacks some of them.
    """
    folder = roots.folder(root, EXPECTED)
    found: dict[Split, File] = {}
    for split in SPLITS:
        paths = [folder / f"{STEMS[split]}{suffix}" for suffix in (".npz", ".pkl")]
        present = [path for path in paths if path.is_file()]
        if not present:
            raise roots.lacking(folder, paths[1].name, EXPECTED)
        found[split] = roots.stamped(present[0])
    return found


@functools.cache
def outline(file: File) -> Outline:
    """What a file holds, without keeping its vectors in memory."""
    vectors, sizes = read(file.path)
    return Outline(sizes, vectors.shape[1])


def read(path: Path) -> tuple[Vectors, tuple[int, ...]]:
    """Reads a file.

    Classes come in the order of their labels, and the vectors of a class in the order of their
    bytes: neither the order of a file nor the names of its images tell one split from another.

    Returns:
      float32 [example, width], and how many of them each class has.

    Raises:
      InputError: it cannot be read, or is not of the layout above.
    """
    vectors, labels = _from_npz(path) if path.suffix == ".npz" else _from_pickle(path)
    vectors, labels = _checked(path, vectors, labels)
    words = vectors.view(f"V{vectors.itemsize * vectors.shape[1]}").ravel()
    by_bytes = np.argsort(words, kind="stable")
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = by_bytes[np.argsort(classes[by_bytes], kind="stable")]
    return vectors[order], tuple(sizes.tolist())


def write(folder: Path, split: Split, embeddings: ArrayLike, labels: ArrayLike) -> Path:
    """Writes a split's .npz whole or not at all, and returns its path.

    Args:
      folder: what `task.root` will name.
      split: the split whose file it is.
      embeddings: float [example, width].
      labels: integers or text [example]; classes are numbered in their order.

    Raises:
      InputError: arrays that `read` would refuse.
    """
    path = folder / f"{STEMS[split]}.npz"
    vectors, names = _checked(path, embeddings, labels)
    content = io.BytesIO()
    np.savez(content, embeddings=vectors, labels=names)
    write_atomic(path, content.getvalue())
    return path


def _from_npz(path: Path) -> tuple[Any, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["embeddings"], arrays["labels"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as arrays 'embeddings' and 'labels' ({reason})"
        ) from None


def _from_pickle(path: Path) -> tuple[Any, Any]:
    """A published file: the class of an example is the middle of the three parts of its key."""
    content = pickles.load(path)
    entries = content.items() if isinstance(content, dict) else ()
    named = {_text(name): value for name, value in entries}
    if not {"embeddings", "keys"} <= named.keys():
        seen = ", ".join(map(str, named)) or type(content).__name__
        raise InputError(f"{path}: expected a dict of 'embeddings' and 'keys', found {seen}")
    keys = [_text(key) for key in np.asarray(named["keys"]).ravel().tolist()]
    parts = [key.split("-") for key in keys]
    for key, split in zip(keys, parts, strict=True):
        if len(split) != 3:
            raise InputError(f"{path}: expected keys <folder>-<class>-<image>, found '{key}'")
    return named["embeddings"], [split[1] for split in parts]


def _text(word: Any) -> str:
    return word.decode("latin1") if isinstance(word, bytes) else str(word)


def _checked(path: Path, embeddings: Any, labels: Any) -> tuple[Vectors, NDArray[Any]]:
    """Both as arrays that fit each other."""
    vectors, names = np.asarray(embeddings), np.asarray(labels)
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not vectors.size:
        raise InputError(
            f"{path}: expected embeddings float [example, width], found {vectors.dtype} "
            f"{list(vectors.shape)}"
        )
    if names.shape != vectors.shape[:1] or names.dtype.kind not in "iuUS":
        raise InputError(
            f"{path}: expected {len(vectors)} labels, integers or text, one an embedding, found "
            f"{names.dtype} {list(names.shape)}"
        )
    vectors = np.ascontiguousarray(vectors, "<f4")
    if not np.isfinite(vectors).all():
        raise InputError(f"{path}: a vector has a value that is not a finite float32")
    return vectors, names
