"""Draws the letters: `python -m maml_sweep.tasks.glyph_data.make`, run by hand, once.

It needs matplotlib (whose wheel carries the DejaVu fonts) and Pillow, which nothing else here
does; the same versions of the two give the same bytes. The letters of thirteen scripts become
28x28 one-bit bitmaps, one for each font face that has them, centred and scaled to one extent. A
letter that looks like an earlier one is dropped, so that no two classes share a shape, least of
all across splits: a Greek capital alpha is a Latin A.
"""

import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maml_sweep.tasks.base import Split
from maml_sweep.tasks.glyph_data.store import (
    FOLDER,
    SIDE,
    Bitmaps,
    Letter,
    write_bitmaps,
    write_letters,
)

FACES = ("Sans", "Sans-Bold", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold")
SCRIPTS: dict[Split, tuple[str, ...]] = {
    "train": ("LATIN", "CANADIAN SYLLABICS", "CYRILLIC", "ARABIC", "GREEK"),
    "validation": ("ARMENIAN", "LAO", "COPTIC"),
    "test": ("GEORGIAN", "TIFINAGH", "HEBREW", "NKO", "OLD ITALIC"),
}
EXTENT = 20  # longest side of a letter's ink, pixels
DRAWN = 160  # font size a letter is first drawn at, pixels
CANVAS = 8 * DRAWN
INK = 100  # of 255; below half, so that the hairlines of serif faces survive
BLUR = 1.0  # before shapes are compared: standard deviation, pixels
ALIKE, TWINS = 0.9, 0.97  # cosines from which letters count as one shape
BLOB = 0.8  # share of its bounding box that a solid mark fills
MOST_LETTERS = 4096


class Drawn(NamedTuple):
    """A letter and how its faces print it."""

    letter: Letter
    faces: list[int]  # those of FACES that have it
    bitmaps: Bitmaps  # [faces, 28, 28]


def main() -> None:
    """Writes `classes.tsv`, `bitmaps.xz` and the licence beside this script."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    kept = list(distinct(every_letter(fonts)))
    write_letters([drawn.letter for drawn in kept])
    size = write_bitmaps(np.concatenate([drawn.bitmaps for drawn in kept]))
    shutil.copyfile(fonts / "LICENSE_DEJAVU", FOLDER / "LICENSE_DEJAVU.txt")
    for split in SCRIPTS:
        faces = [len(drawn.faces) for drawn in kept if drawn.letter.split == split]
        print(f"{split}: {len(faces)} classes, {sum(faces)} bitmaps")
    print(f"{size} bytes")


def every_letter(fonts: Path) -> Iterator[Drawn]:
    """Every letter of the scripts, in the order of split, script and code point."""
    paths = [str(fonts / f"DejaVu{face}.ttf") for face in FACES]
    covers = [FT2Font(path).get_charmap() for path in paths]
    brushes = [ImageFont.truetype(p, DRAWN, layout_engine=ImageFont.Layout.BASIC) for p in paths]
    points = sorted(set().union(*covers))
    for split, scripts in SCRIPTS.items():
        for script in scripts:
            for point in (p for p in points if is_letter(p, script)):
                has = [f for f, cover in enumerate(covers) if point in cover]
                bitmaps = np.stack([draw(chr(point), brushes[face]) for face in has])
                name = unicodedata.name(chr(point))
                yield Drawn(Letter(split, script.title(), point, name, len(has)), has, bitmaps)


def is_letter(point: int, script: str) -> bool:
    """Whether a code point is a letter of that script, by its Unicode name."""
    character = chr(point)
    named = unicodedata.name(character, "").startswith(f"{script} ")
    return named and unicodedata.category(character).startswith("L")


def draw(character: str, brush: ImageFont.FreeTypeFont) -> Bitmaps:
    """One letter, its ink centred and scaled to `EXTENT`: uint8 [28, 28], ink 1."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text((CANVAS / 3, CANVAS / 3), character, fill=255, font=brush)
    left, top, right, bottom = canvas.getbbox() or (0, 0, CANVAS, CANVAS)
    half = max(right - left, bottom - top) * SIDE / EXTENT / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    box = (x - half, y - half, x + half, y + half)
    small = canvas.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
    return (np.asarray(small) >= INK).astype(np.uint8)


def distinct(letters: Iterable[Drawn]) -> Iterator[Drawn]:
    """Drops blank and solid marks and every letter that looks like an earlier one.

    Two letters are alike if the cosine of their shapes reaches `ALIKE` on average over the faces
    that have both, or `TWINS` between any face of the one and any of the other.
    """
    shapes = np.zeros((MOST_LETTERS, len(FACES), SIDE * SIDE))
    has = np.zeros((MOST_LETTERS, len(FACES)), bool)
    count = 0
    for drawn in letters:
        if is_blob(drawn.bitmaps[0]):
            continue
        drawn_shapes = shape(drawn.bitmaps)
        cosines = shapes[:count] @ drawn_shapes.T  # [earlier, its face, face]
        same_face = cosines[:, drawn.faces, range(len(drawn.faces))].sum(axis=1)
        shared = np.maximum(has[:count, drawn.faces].sum(axis=1), 1)
        if (same_face >= ALIKE * shared).any() or (cosines >= TWINS).any():
            continue
        shapes[count, drawn.faces] = drawn_shapes
        has[count, drawn.faces] = True
        count += 1
        yield drawn


def is_blob(bitmap: Bitmaps) -> bool:
    """Whether it is blank, or its ink fills its bounding box."""
    if not bitmap.any():
        return True
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    box = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return bool(box.mean() >= BLOB)


def shape(drawn: Bitmaps) -> NDArray[np.float64]:
    """Blurred bitmaps less their means, at unit length: [faces, 28 * 28]."""
    offsets = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    blur = np.exp(-((offsets / BLUR) ** 2) / 2)
    flat = (blur @ drawn @ blur).reshape(len(drawn), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
