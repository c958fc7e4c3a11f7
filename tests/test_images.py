"""Images: what becomes of every kind of file, and what a task of images draws from them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import pytest
from composing import composer
from image_files import encoded, noise, photo
from numerics import program, settings, started, train
from PIL import Image

from maml_sweep.backend import tf
from maml_sweep.build import components
from maml_sweep.errors import InputError
from maml_sweep.tasks import Episode, ImageFolder, Omniglot
from maml_sweep.tasks.base import Split, Task
from maml_sweep.tasks.reading.images import Style, Unreadable, decode

COLOUR, GREY = Style(4, 3), Style(4, 1)
FEW = "n01532829 of the train split"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def flat(mode: str, colour: Any, **info: Any) -> Image.Image:
    """An image of one colour."""
    image = Image.new(mode, (4, 4), colour)
    image.info |= info
    return image


def only(content: bytes, style: Style) -> list[int]:
    """The one colour of a file."""
    pixels = decode(content, style)
    assert pixels.shape == (style.size, style.size, style.channels) and pixels.dtype == np.uint8
    (colour,) = {tuple(pixel) for pixel in pixels.reshape(-1, style.channels).tolist()}
    return list(colour)


# -- kinds of files ------------------------------------------------------------------------------


def test_colour_becomes_grey_by_its_luma_and_grey_becomes_colour() -> None:
    """0.299 R + 0.587 G + 0.114 B: 76, 150 and 29 of 255."""
    for colour, luma in ((RED, 76), (GREEN, 150), (BLUE, 29), ((255, 255, 255), 255)):
        assert only(encoded(flat("RGB", colour)), GREY) == [luma]
        assert only(encoded(flat("RGB", colour)), COLOUR) == list(colour)
    assert only(encoded(flat("L", 77)), COLOUR) == [77, 77, 77]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_every_format_is_read(kind: str) -> None:
    content = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    flat("RGB", (10, 20, 30)).save(content, kind, **options)
    assert only(content.getvalue(), COLOUR) == [10, 20, 30]


def test_palettes_are_expanded() -> None:
    image = Image.fromarray(np.eye(4, dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    found = decode(encoded(image), COLOUR)
    expected = np.where(np.eye(4)[..., np.newaxis] == 1, [200, 100, 50], [10, 20, 30])
    np.testing.assert_array_equal(found, expected)


def test_what_is_transparent_lies_on_white() -> None:
    """Black of opacity 128/255 on white: 255 · 127/255."""
    assert only(encoded(flat("RGBA", (0, 0, 0, 0))), COLOUR) == [255, 255, 255]
    assert only(encoded(flat("RGBA", (0, 0, 0, 128))), COLOUR) == [127, 127, 127]
    assert only(encoded(flat("LA", (0, 128))), GREY) == [127]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    for opacity, expected in ((b"\xff\x00", 255), (b"\xff\xff", 10)):
        content = io.BytesIO()
        palette.save(content, "PNG", transparency=opacity)
        assert only(content.getvalue(), COLOUR)[0] == expected


def test_one_bit_is_black_and_white() -> None:
    assert only(encoded(flat("1", 1)), GREY) == [255]
    assert only(encoded(flat("1", 0)), GREY) == [0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_keep_their_upper_8(kind: str) -> None:
    for value, expected in ((0, 0), (255, 0), (256, 1), (0x8000, 0x80), (0xFFFF, 0xFF)):
        image = Image.fromarray(np.full((4, 4), value, np.uint16))
        assert only(encoded(image, kind), COLOUR) == [expected] * 3


def test_cmyk_jpegs_are_read() -> None:
    """No cyan, all magenta and yellow is red; JPEG is a little off."""
    found = only(encoded(flat("CMYK", (0, 255, 255, 0)), "JPEG"), COLOUR)
    assert np.abs(np.subtract(found, RED)).max() <= 3


def test_the_orientation_in_exif_is_ignored() -> None:
    image = Image.fromarray(noise("exif", 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = io.BytesIO()
    image.save(turned, "JPEG", quality=95, exif=exif)
    np.testing.assert_array_equal(
        decode(turned.getvalue(), COLOUR), decode(encoded(image, "JPEG"), COLOUR)
    )


def test_the_first_frame_is_taken() -> None:
    content = io.BytesIO()
    flat("L", 40).save(content, "GIF", save_all=True, append_images=[flat("L", 200)])
    assert only(content.getvalue(), GREY) == [40]


def test_images_are_squeezed_by_lanczos_after_they_have_their_colours() -> None:
    image = Image.fromarray(noise("wide", 9, 21))
    small = image.resize((4, 4), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(decode(encoded(image), COLOUR), np.asarray(small))
    bits = Image.fromarray(noise("bits", 105, 105, 1)[..., 0] < 128)
    grey = bits.convert("L").resize((4, 4), Image.Resampling.LANCZOS)
    assert bits.mode == "1" and len(np.unique(np.asarray(grey))) > 2
    np.testing.assert_array_equal(decode(encoded(bits), GREY)[..., 0], np.asarray(grey))


def test_what_cannot_be_read_says_why() -> None:
    whole = photo("whole", height=40, width=40)
    floats, large = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(floats, "TIFF")
    Image.fromarray(np.full((4, 4), 70_000, np.int32)).save(large, "TIFF")
    for content, why in (
        (b"", "empty"),
        (b"filename,label\n", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "no image"),
        (whole[: len(whole) // 2], r"image file is truncated \(\d+ bytes not processed\)"),
        (encoded(flat("RGB", RED))[:50], ".+"),
        (floats.getvalue(), "its pixels are floats of no stated range"),
        (large.getvalue(), "its pixels are whole numbers of more than 16 bits"),
    ):
        with pytest.raises(Unreadable, match=f"^{why}$"):
            decode(content, COLOUR)


# -- what is drawn -------------------------------------------------------------------------------


def draw(task: Task, split: Split = "train", lanes: int = 8) -> Episode:
    """An episode as NumPy's arrays."""
    keys = np.random.default_rng(0).integers(0, 2**32, (lanes, 2), dtype=np.uint32)
    episode = task.episodes(split, tf.constant(keys), tf.float64)
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


def test_an_episode_has_the_images_of_its_classes_from_0_to_1(tmp_path: Path) -> None:
    root = image_files.by_folders(tmp_path, kind="PNG")
    task = ImageFolder(2, 2, 3, root, size=6)
    support, query, classes = draw(task)
    names = image_files.CLASSES["train"]
    for part in (support, query):
        for images, labels, chosen in zip(part.x, part.y, classes, strict=True):
            for image, label in zip(images, labels, strict=True):
                name = names[chosen[label]]
                files = [photo(f"{name}{number:08d}.jpg", "PNG") for number in range(5)]
                own = [decode(file, Style(6, 3)) / 255 for file in files]
                assert any(np.array_equal(image, each) for each in own)
    assert task.groups("train") == names and task.classes == 4
    assert task.input_shape == (6, 6, 3)


def test_turned_characters_are_further_classes_of_the_same_split(tmp_path: Path) -> None:
    """Ink is 1: a drawing, then the same by 90, 180 and 270 degrees, anticlockwise."""
    task = Omniglot(3, 1, 4, image_files.omniglot(tmp_path), size=9)
    names = task.groups("train")
    first = "Gurmukhi/character41"
    assert names[:5] == [f"{first}/rot{angle:03d}" for angle in (0, 90, 180, 270)] + [
        "Japanese_(hiragana)/character51/rot000"
    ]
    assert len(names) == 16 and task.classes == 16
    found: dict[int, set[bytes]] = {}
    support, query, classes = draw(task, lanes=60)
    for part in (support, query):
        for images, labels, chosen in zip(part.x, part.y, classes, strict=True):
            for image, label in zip(images, labels, strict=True):
                found.setdefault(chosen[label], set()).add(image.tobytes())
    files = sorted((tmp_path / "images_evaluation" / first).iterdir())
    upright = [1 - decode(file.read_bytes(), Style(9, 1)) / 255.0 for file in files]
    for turn in range(4):
        expected = {np.rot90(image, turn).tobytes() for image in upright}
        found_of = {np.frombuffer(each).round(12).tobytes() for each in found[turn]}
        assert found_of == {np.frombuffer(each).round(12).tobytes() for each in expected}
    assert 0.1 < np.mean(upright) < 0.6 and len(found) == 16


def test_without_rotations_a_character_is_a_class(tmp_path: Path) -> None:
    task = Omniglot(3, 1, 4, image_files.omniglot(tmp_path), size=9, rotations=False)
    assert task.groups("test") == image_files.VINYALS["test"] and task.classes == 4


def test_conv4_trains_on_a_folder_of_images(tmp_path: Path) -> None:
    root = image_files.by_folders(tmp_path)
    words = ["task=image_folder", f"task.root={root}", "task.ways=2", "task.queries=2"]
    words += ["task.size=16", "model=conv4", "model.filters=4"]
    parts = components(composer().compose(words))
    small = program(parts.task, parts.model, parts.algorithm, precision="float32")
    (run,) = train(small, [started(small, settings(0.1, 1, rungs=(2,)))], 2)
    assert run.iteration == 2 and np.isfinite(run.loss)
    assert parts.model.outputs == 2


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "task.size=0: expected an integer of at least 1"),
        ({"channels": 4}, "task.channels=4: expected 1 (grey) or 3 (colour)"),
        ({"bad_records": "drop"}, "task.bad_records=drop: expected one of refuse, skip"),
        ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
        (
            {"ways": 4},
            "task.ways=4: the test split of {root} has 3 classes; choose at most 3",
        ),
        (
            {"shots": 3},
            f"task.shots=3 and task.queries=3: class {FEW} has 5 images; choose at most 5 together",
        ),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    root = image_files.by_folders(tmp_path)
    given = {"ways": 2, "shots": 2, "queries": 3, "size": 6} | wrong
    with pytest.raises(InputError) as refusal:
        ImageFolder(root=root, **given)
    assert str(refusal.value) == message.replace("{root}", root)
