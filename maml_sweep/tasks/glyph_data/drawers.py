"""Twenty hands: every printed letter as `DRAWERS` people would write it.

A drawer copies one of the letter's font faces and distorts it: a rotation, shear, scale and shift
of the whole, an elastic displacement on a 5x5 grid of knots, and a pen of its own width (the level
from which the blurred letter counts as ink). Without these the task is trivial: a nearest
neighbour in pixels names 94% of the letters.

The same arrays come out on every machine: random numbers are the raw words of PCG64, a stream
NumPy guarantees, and double precision only decides integers (positions and levels of grey), where
the last digits of a sine or of a matrix product matter once in some 1e12 pixels.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.glyph_data.store import SIDE, Bitmaps, bitmaps, letters

DRAWERS = 20
# Bounds of uniform draws on either side of none.
ROTATION = np.deg2rad(12.0)
SHEAR = 0.25
LOG_SCALE = 0.15  # of width and height alike
SHIFT = 2.0  # pixels
ELASTIC = 3.0  # pixels, of every knot
KNOTS = 5  # along a side
REACH = 5.0  # standard deviation of a knot's pull, pixels
BLUR = 0.8  # standard deviation, pixels
INK = (0.22, 0.48)  # bounds of the level from which grey is ink
FINE = 3  # positions a pixel at which blurred letters are kept
CHUNK = 32  # classes at a time: the work then stays in the processor's cache

Floats = NDArray[np.float64]


@functools.cache
def load(split: Split) -> Bitmaps:
    """Every class of a split by every drawer, ink 1: uint8 [class, drawer, 28, 28]."""
    faces = np.array([letter.faces for letter in letters(split)], np.int32)
    last = np.cumsum(faces, dtype=np.int32)
    drawers = np.arange(DRAWERS, dtype=np.int32)
    draws = _uniforms(SPLITS.index(split), len(faces) * DRAWERS).reshape(len(faces), DRAWERS, -1)
    written = np.empty((len(faces), DRAWERS, SIDE, SIDE), np.uint8)
    for start in range(0, len(faces), CHUNK):
        some = slice(start, start + CHUNK)
        first = last[some] - faces[some]
        printed = bitmaps(split)[first[0] : last[some][-1]]
        # Drawer d copies face d modulo the faces its letter has.
        copied = (first - first[0])[:, None] + drawers % faces[some, None]
        written[some] = _write(printed, copied, draws[some])
    written.flags.writeable = False
    return written


def _write(printed: Bitmaps, copied: NDArray[np.int32], draws: Floats) -> Bitmaps:
    """Distorts letters.

    Args:
      printed: uint8 [bitmap, 28, 28], ink 1.
      copied: the bitmap each drawing starts from: [class, drawer].
      draws: uniform in [-1, 1): [class, drawer, draw].

    Returns:
      uint8 [class, drawer, 28, 28], ink 1.
    """
    pen, draws = draws[..., 0], draws[..., 1:]
    level = INK[0] + (INK[1] - INK[0]) * (pen + 1) / 2
    position = _positions(draws)  # [class, drawer, 2, 28 * 28]
    grey = _blurred(printed)  # [bitmap, fine row, fine column]
    side = SIDE * FINE
    place = position[..., 0, :] * side + position[..., 1, :] + copied[..., None] * grey[0].size
    ink = np.take(grey, place) >= np.ceil(255 * level)[..., None].astype(np.uint8)
    return np.asarray(ink, np.uint8).reshape(*copied.shape, SIDE, SIDE)


def _positions(draws: Floats) -> NDArray[np.int32]:
    """Where in the fine letter each pixel of a drawing looks: [..., 56] -> [..., 2, 28 * 28]."""
    spin, shear, tall, wide = np.moveaxis(draws[..., :4], -1, 0)
    spin, shear = ROTATION * spin, SHEAR * shear
    tall, wide = np.exp(LOG_SCALE * tall), np.exp(LOG_SCALE * wide)
    sine, cosine = np.sin(spin), np.cos(spin)
    weights = np.empty((*draws.shape[:-1], 2, 3 + KNOTS**2))
    weights[..., 0] = SHIFT * draws[..., 4:6]
    weights[..., 0, 1], weights[..., 0, 2] = cosine * tall, sine * wide
    weights[..., 1, 1] = (shear * cosine - sine) * tall
    weights[..., 1, 2] = (shear * sine + cosine) * wide
    weights[..., 3:] = ELASTIC * draws[..., 6:].reshape(*draws.shape[:-1], 2, -1)
    position = (weights.reshape(-1, weights.shape[-1]) @ _fields()).reshape(*weights.shape[:-1], -1)
    position += SIDE / 2
    position *= FINE
    np.clip(position, 0, SIDE * FINE - 1, out=position)
    return position.astype(np.int32)


@functools.cache
def _fields() -> Floats:
    """What displaces a pixel: one, its row and column from the centre, the pull of the knots.

    Returns:
      [3 + 25, 28 * 28]; at each pixel the pulls of the knots sum to one.
    """
    place = np.arange(SIDE) + 0.5
    row, column = np.meshgrid(place - SIDE / 2, place - SIDE / 2, indexing="ij")
    knots = np.linspace(0, SIDE, KNOTS)
    near = np.exp(-(((place - knots[:, None]) / REACH) ** 2) / 2)  # [knot, pixel]
    near /= near.sum(axis=0)
    pull = np.einsum("ar,bc->abrc", near, near).reshape(KNOTS**2, -1)
    return np.concatenate([np.stack([np.ones(SIDE**2), row.ravel(), column.ravel()]), pull])


def _blurred(printed: Bitmaps) -> Bitmaps:
    """Grey letters on a grid `FINE` times as dense: [bitmap, 28, 28] -> [bitmap, 84, 84]."""
    fine = (np.arange(SIDE * FINE) + 0.5) / FINE
    brush = np.exp(-(((fine[:, None] - np.arange(SIDE) - 0.5) / BLUR) ** 2) / 2)
    brush /= brush.sum(axis=1, keepdims=True)  # [fine, 28]
    across = printed.reshape(-1, SIDE).astype(np.float64) @ brush.T  # [bitmap * row, 84]
    grey = brush @ across.reshape(len(printed), SIDE, -1)
    grey *= 255
    return np.asarray(np.rint(grey, out=grey), np.uint8)


def _uniforms(seed: int, count: int) -> Floats:
    """The draws of every drawing, uniform in [-1, 1): [count, 1 + 6 + 2 * 25]."""
    shape = (count, 7 + 2 * KNOTS**2)
    words = np.random.PCG64(seed).random_raw(shape[0] * shape[1]) >> np.uint64(11)
    return np.asarray(words.reshape(shape) * 2.0**-52 - 1, np.float64)
