"""What the package carries of the letters: their names (`classes.tsv`) and bitmaps (`bitmaps.xz`).

`make.py` writes both; reading needs neither fonts nor an imaging library.
"""

import functools
import lzma
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.base import Split

FOLDER = Path(__file__).parent
SIDE = 28  # height and width of a bitmap, pixels
WORD = 32  # bits a stored row takes

Bitmaps = NDArray[np.uint8]


@dataclass(frozen=True)
class Letter:
    """A class of the task."""

    split: Split
    script: str
    point: int  # Unicode code point
    name: str  # Unicode name
    faces: int  # bitmaps it has, one a font face


def write_letters(letters: Sequence[Letter]) -> None:
    """Writes the table of classes, in the order of their bitmaps."""
    rows = [[field.name for field in fields(Letter)], *map(astuple, letters)]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (FOLDER / "classes.tsv").write_text(text, encoding="ascii", newline="\n")


@functools.cache
def letters(split: Split) -> tuple[Letter, ...]:
    """The classes of a split, in the order of its arrays."""
    return tuple(letter for letter in _every_letter() if letter.split == split)


@functools.cache
def bitmaps(split: Split) -> Bitmaps:
    """The upright printed letters of a split, ink 1: uint8 [sum of the letters' faces, 28, 28]."""
    first = 0
    for letter in _every_letter():
        if letter.split == split:
            break
        first += letter.faces
    count = sum(letter.faces for letter in letters(split))
    return _every_bitmap()[first : first + count]


def write_bitmaps(drawn: Bitmaps) -> int:
    """Writes every letter's bitmaps, split after split; returns the size in bytes."""
    rows = np.packbits(np.pad(drawn, ((0, 0), (0, 0), (0, WORD - SIDE))))
    # Bits follow the bits four bytes, a row, earlier rather than the byte before.
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "lc": 0, "lp": 2, "pb": 2}]
    blob = lzma.compress(rows.tobytes(), format=lzma.FORMAT_XZ, filters=filters)
    (FOLDER / "bitmaps.xz").write_bytes(blob)
    return len(blob)


@functools.cache
def _every_letter() -> tuple[Letter, ...]:
    rows = (FOLDER / "classes.tsv").read_text(encoding="ascii").splitlines()[1:]
    return tuple(_letter(*row.split("\t")) for row in rows)


def _letter(split: str, script: str, point: str, name: str, faces: str) -> Letter:
    return Letter(cast(Split, split), script, int(point), name, int(faces))


def _every_bitmap() -> Bitmaps:
    packed = np.frombuffer(lzma.decompress((FOLDER / "bitmaps.xz").read_bytes()), np.uint8)
    return np.unpackbits(packed).reshape(-1, SIDE, WORD)[:, :, :SIDE]
