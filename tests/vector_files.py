"""Files of embeddings as they are published, written by hand."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading.vectors import STEMS

WIDTH = 4
# examples of each class; five at least
RAGGED: dict[Split, list[int]] = {
    "train": [7, 5, 6, 9, 5, 8, 6, 5, 7],
    "validation": [5, 6, 7, 5],
    "test": [9, 5, 8, 6, 7],
}


def examples(split: Split) -> tuple[np.ndarray, list[int]]:
    """Vectors that say where they come from: split, class, member and a 1; and their classes."""
    labels = [label for label, size in enumerate(RAGGED[split]) for _ in range(size)]
    members = [member for size in RAGGED[split] for member in range(size)]
    rows = zip(labels, members, strict=True)
    found = [(SPLITS.index(split) + 1, label, member, 1) for label, member in rows]
    return np.array(found, np.float32), labels


def content(split: Split, order: np.ndarray | None = None) -> dict[str, Any]:
    """What a published file holds, in some order of its examples."""
    found, labels = examples(split)
    keys = [f"n0-n{label:04d}-n{label:04d}_{row}.JPEG" for row, label in enumerate(labels)]
    chosen = np.arange(len(found)) if order is None else order
    return {"embeddings": found[chosen], "keys": np.array(keys)[chosen]}


def write_pickles(folder: Path) -> Path:
    """Writes the three files in a shuffled order and returns their folder."""
    for split in SPLITS:
        shuffled = np.random.default_rng(0).permutation(sum(RAGGED[split]))
        path = folder / f"{STEMS[split]}.pkl"
        path.write_bytes(pickle.dumps(content(split, shuffled)))
    return folder


def python_2(value: Any) -> bytes:
    """A pickle as Python 2 wrote it, in protocol 2, where text is plain bytes."""
    return b"\x80\x02" + _python_2(value) + b"."


def _python_2(value: Any) -> bytes:
    if isinstance(value, dict):
        parts = [_python_2(part) for item in value.items() for part in item]
        return b"}(" + b"".join(parts) + b"u"
    if isinstance(value, list | tuple):
        begin, end = (b"](", b"e") if isinstance(value, list) else (b"(", b"t")
        return begin + b"".join(map(_python_2, value)) + end
    if isinstance(value, str | bytes):
        text = value.encode("latin1") if isinstance(value, str) else value
        return b"T" + struct.pack("<i", len(text)) + text
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    return _python_2_array(value)


def _python_2_array(array: np.ndarray) -> bytes:
    """An array as NumPy's `__reduce__` gives it to pickle: a call, and a state put into it."""
    order, name = array.dtype.str[0], array.dtype.str[1:]
    objects = array.dtype.hasobject
    size = array.itemsize if array.dtype.kind in "SU" else -1
    state = _python_2((3, order, None, None, None, size, size, 63 if objects else 0))
    kind = b"cnumpy\ndtype\n" + _python_2((name, 0, 1)) + b"R" + state + b"b"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _python_2((0,))
    raw = array.tolist() if objects else array.tobytes()
    parts = _python_2(1) + _python_2(array.shape) + kind + _python_2(False) + _python_2(raw)
    return empty + _python_2("b") + b"tR(" + parts + b"tb"
