"""From an image file's bytes to an array, whatever kind of image it is.

Pillow reads it, the `images` extra of this package. What becomes of the odd ones:

- of several frames or pages, the first is taken;
- palettes and one-bit images are expanded before they are resized;
- CMYK, YCbCr and the like become RGB as Pillow has it (no colour profile is applied), and grey is
  the luma of ITU-R 601-2;
- what is transparent lies on white paper;
- whole numbers of 16 bits lose their lower 8; floats are refused, for their range is not stated;
- the orientation in EXIF is ignored, as in the field's own scripts;
- an image of another size is squeezed to the square as a whole, by Lanczos' filter, as the scripts
  of MAML's code do (Pillow cannot filter one-bit images and takes the nearest pixel there, and so
  they did with Omniglot; here those are grey first).
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError

Pixels = NDArray[np.uint8]

# What names of images end with, in capitals too; other files are passed over.
SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Pillow reads more, and starts other programs for some.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What damaged files come to, in Pillow or in an archive.
DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Style(NamedTuple):
    """What every image becomes.

    Attributes:
      size: height and width in pixels.
      channels: 1 (grey) or 3 (red, green, blue).
    """

    size: int
    channels: int


class Unreadable(Exception):
    """An image cannot be read; the message is why."""


def prepare() -> None:
    """Loads Pillow and the formats it knows, before threads use them.

    Raises:
      InputError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            "task.root: image files are read by Pillow, which is not installed; "
            "pip install 'maml-sweep[images]'"
        ) from None
    Image.init()


def decode(content: bytes, style: Style) -> Pixels:
    """Decodes an image file: uint8 [size, size, channels].

    Raises:
      Unreadable: it is empty, cut short, no image, or of no kind that is read.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise Unreadable("empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            found = _coloured(image, "L" if style.channels == 1 else "RGB")
        if found.size != (style.size, style.size):
            found = found.resize((style.size, style.size), Image.Resampling.LANCZOS)
    except UnidentifiedImageError:
        raise Unreadable("no image") from None
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from None
    return np.asarray(found, np.uint8).reshape(style.size, style.size, style.channels)


def _coloured(image: Any, mode: str) -> Any:
    """An image in mode "L" or "RGB"."""
    from PIL import Image

    if image.mode == "F":
        raise Unreadable("its pixels are floats of no stated range")
    if image.mode.startswith("I"):
        return Image.fromarray(_upper_bits(np.asarray(image))).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert(mode)


def _upper_bits(pixels: NDArray[Any]) -> Pixels:
    """Whole numbers of 16 bits, which Pillow may hold in 32, as the upper 8 of them."""
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise Unreadable("its pixels are whole numbers of more than 16 bits")
    upper: Pixels = (pixels >> 8).astype(np.uint8)
    return upper
