"""Boxes in the files of Pascal VOC and COCO, odd ones included."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import box_files
import numpy as np
import pytest
from box_files import HEIGHT, WIDTH, coco_note, coco_set, drawn, voc_object, voc_xml, voc_year
from image_files import photo, write

from maml_sweep.errors import InputError
from maml_sweep.tasks import Boxes
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.file_boxes import FileBoxes, _resident
from maml_sweep.tasks.reading import coco, voc
from maml_sweep.tasks.reading.annotations import corners, split_of

# -- Pascal VOC ----------------------------------------------------------------------------------


def one_year(root: Path, **images: Sequence[box_files.Box]) -> Path:
    """A kit of one year whose images are named 000001 for _000001."""
    return write(root, voc_year("VOC2007", {name[1:]: boxes for name, boxes in images.items()}))


def test_voc_by_hand(tmp_path: Path) -> None:
    """The whole of an image of 16 x 12 is (1, 1, 16, 12); parts and difficult objects are not read.

    Latin names of files stay out of it: classes and images come in the order of their names.
    """
    one_year(tmp_path, _b=[("dog", 1, 1, 16, 12)], _a=[("cat", 5, 4, 8, 6), ("dog", 1, 1, 8, 6)])
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax>"
    part += "<ymax>3</ymax></bndbox></part>"
    hard = voc_object("cat", 1.5, 1, 9, 6, "<difficult>1</difficult>" + part)
    plain = voc_object("cat", 9, 7, 16, 12, "<difficult>0</difficult>" + part)
    content = voc_xml("b.jpg", [("dog", 1, 1, 16, 12)], extra=hard + plain)
    (tmp_path / "VOC2007/Annotations/b.xml").write_bytes(content)
    (tmp_path / "VOC2007/ImageSets/Main/trainval.txt").write_text("\n b  1\na -1\n\n")
    found = voc.read(tmp_path, "trainval", False, "refuse")
    assert [file.name for file in found.files] == [f"VOC2007/JPEGImages/{n}.jpg" for n in "ab"]
    assert dict(found.boxes) == {
        "cat": ((0, (0.25, 0.25, 0.5, 0.5)), (1, (0.5, 0.5, 1, 1))),
        "dog": ((0, (0, 0, 0.5, 0.5)), (1, (0, 0, 1, 1))),
    }
    every = voc.read(tmp_path, "trainval", True, "refuse").boxes["cat"]
    assert every[1] == (1, (0.5 / 16, 0, 9 / 16, 0.5)) and len(every) == 3


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_voc_from_any_of_its_folders(tmp_path: Path, inner: str) -> None:
    box_files.voc(tmp_path)
    found = voc.read(tmp_path / inner, "trainval", False, "refuse")
    assert len(found.files) == len(box_files.VOC) * box_files.EACH
    assert all((found.root / file.name).stat().st_size == file.size for file in found.files)


def test_two_years_are_read_together(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        write(tmp_path, voc_year(year, {"1": [("dog", 1, 1, 4, 4)]}))
    (tmp_path / "VOC2012/ImageSets/Main/test.txt").write_text("1\n")
    assert len(voc.read(tmp_path, "trainval", False, "refuse").files) == 2
    (file,) = voc.read(tmp_path, "test", False, "refuse").files
    assert file.name == "VOC2012/JPEGImages/1.jpg"


BAD_XML = {
    "cut": (b"<annotation><size>", "no element found: line 1, column 18"),
    "declared": (
        b'<!DOCTYPE a [<!ENTITY e "ha"><!ENTITY f "&e;&e;">]><annotation>&f;</annotation>',
        "it declares a DOCTYPE",
    ),
    "sizeless": (b"<annotation><filename>a.jpg</filename></annotation>", "no <size/width>"),
    "nameless": (voc_xml("a.jpg", [("", 1, 1, 2, 2)]), "an object has no name"),
    "wordy": (voc_xml("a.jpg", [("dog", 1, 1, 2, math.nan)]).replace(b"nan", b"two"),
              "<ymax> is 'two'"),
    "missing": (None, "No such file or directory"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_XML)
def test_a_bad_annotation_is_named(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, why = BAD_XML[kind]
    one_year(tmp_path, _a=[("dog", 1, 1, 4, 4)], _b=[("dog", 1, 1, 4, 4)])
    path = tmp_path / "VOC2007/Annotations/a.xml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = (
        f"task.root={tmp_path}: 1 of 3 records cannot be read: VOC2007/Annotations/a.xml ({why})"
    )
    with pytest.raises(InputError) as caught:
        voc.read(tmp_path, "trainval", False, "refuse")
    assert str(caught.value) == f"{found}; mend them, or leave them out by task.bad_records=skip"
    with caplog.at_level(logging.WARNING):
        assert len(voc.read(tmp_path, "trainval", False, "skip").files) == 1
    assert caplog.messages == [f"{found}; they are left out"]


def test_a_bad_box_of_an_annotation_is_named(tmp_path: Path) -> None:
    one_year(tmp_path, _a=[("dog", 1, 1, 4, 4), ("cat", 1, 1, 40, 4), ("cat", 9, 1, 8, 4)])
    with pytest.raises(InputError) as caught:
        voc.read(tmp_path, "trainval", False, "refuse")
    assert str(caught.value) == (
        f"task.root={tmp_path}: 2 of 4 records cannot be read: VOC2007/Annotations/a.xml, cat (a "
        "box beyond its image of 16 x 12 pixels), VOC2007/Annotations/a.xml, cat (a box without "
        "area); mend them, or leave them out by task.bad_records=skip"
    )
    assert list(voc.read(tmp_path, "trainval", False, "skip").boxes) == ["dog"]


def test_voc_without_a_set(tmp_path: Path) -> None:
    one_year(tmp_path, _a=[("dog", 1, 1, 4, 4)])
    with pytest.raises(InputError, match="has no val.txt, but trainval.txt; task.subset=val: exp"):
        Boxes(1, 1, str(tmp_path), subset="val")
    (tmp_path / "VOC2007/ImageSets/Main/trainval.txt").unlink()
    (tmp_path / "VOC2007/ImageSets/Main").rmdir()
    with pytest.raises(InputError, match="has no ImageSets/Main, but Annotations, ImageSets, JPEG"):
        Boxes(1, 1, str(tmp_path))


# -- COCO ----------------------------------------------------------------------------------------


def coco_root(root: Path, notes: Sequence[Any], ids: Sequence[int] = (4, 9)) -> Path:
    content = json.dumps(coco_set(notes, ids)).encode()
    write(root, {"annotations/instances_val2017.json": content})
    return root


def test_coco_by_hand(tmp_path: Path) -> None:
    """[4, 3, 4, 3] in 16 x 12 ends at (8, 6); a crowd is none; ids are names, not places."""
    notes = [
        coco_note(1, 9, 90, (4, 3, 4, 3)),
        coco_note(2, 4, 3, (0, 0, 16, 12)),
        coco_note(3, 4, 90, (0, 0, 8, 6), iscrowd=1),
        coco_note(4, 4, 90, (8, 6, 8.5, 6)),
    ]
    found = coco.read(coco_root(tmp_path, notes), None, "refuse")
    assert [file.name for file in found.files] == [
        f"images/val2017/{i:012d}.jpg" for i in (4, 9)
    ]  # no folder val2017: the other place
    assert dict(found.boxes) == {
        "car": ((0, (0, 0, 1, 1)),),
        "cup": ((0, (0.5, 0.5, 1, 1)), (1, (0.25, 0.25, 0.5, 0.5))),
    }


BAD_NOTES: list[tuple[dict[str, Any], str]] = [
    ({"bbox": [4, 3, 0, 3]}, "a box without area"),
    ({"bbox": [4, 3, 14, 3]}, "a box beyond its image of 16 x 12 pixels"),
    ({"bbox": [4, 3, 3]}, "bbox is no [x, y, width, height]"),
    ({"bbox": [4, 3, 3, "2"]}, "bbox: '2' is no number"),
    ({"image_id": 5}, "image_id 5 is not in the file"),
    ({"category_id": [3]}, "category_id [3] is not in the file"),
]


@pytest.mark.parametrize(("change", "why"), BAD_NOTES, ids=[why for _, why in BAD_NOTES])
def test_a_bad_note_is_named(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    good = coco_note(1, 9, 90, (4, 3, 4, 3))
    coco_root(tmp_path, [good, {**coco_note(77, 4, 3, (4, 3, 4, 3)), **change}])
    with pytest.raises(InputError) as caught:
        coco.read(tmp_path, "val2017", "refuse")
    assert str(caught.value) == (
        f"task.root={tmp_path}: 1 of 2 records cannot be read: "
        f"annotations/instances_val2017.json, annotation 77 ({why}); mend them, or leave them out "
        "by task.bad_records=skip"
    )
    assert list(coco.read(tmp_path, "val2017", "skip").boxes) == ["cup"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"images": [', "cannot be read as JSON (Expecting value: line 1 column 13 (char 12))"),
        (b"[]", "expected 'images', a list of objects with id and file_name"),
        (b'{"images": [{"id": 1}]}', "expected 'images', a list of objects with id and file_name"),
        (b'{"images": [], "categories": [], "annotations": [1]}',
         "expected 'annotations', a list of objects"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    write(tmp_path, {"annotations/instances_x.json": content})
    with pytest.raises(InputError) as caught:
        Boxes(1, 1, str(tmp_path))
    assert str(caught.value) == f"{tmp_path / 'annotations/instances_x.json'}: {why}"


def test_coco_without_a_set(tmp_path: Path) -> None:
    coco_root(tmp_path, [coco_note(1, 9, 90, (4, 3, 4, 3))])
    with pytest.raises(InputError, match="has no instances_test.json, but instances_val2017.json"):
        Boxes(1, 1, str(tmp_path), subset="test")


# -- tasks of files ------------------------------------------------------------------------------


def test_images_and_boxes_belong_together(tmp_path: Path) -> None:
    """The mean of an image tells which it is; the box drawn with it is one of its two."""
    root = box_files.voc(tmp_path)
    task = Boxes(2, 3, root, size=12, split="dealt")
    means: dict[int, list[Any]] = {}
    for place, boxes in enumerate(box_files.two_each(box_files.VOC)):
        (file,) = Path(root).glob(f"VOCdevkit/VOC2007/JPEGImages/{place:06d}.jpg")
        assert file.read_bytes() == photo(f"{place:06d}", "JPEG", HEIGHT, WIDTH)
        means[place] = [corners(b[1] - 1, b[2] - 1, b[3], b[4], WIDTH, HEIGHT) for b in boxes]
    table = _resident(task.source._chosen, task.groups("train"))  # type: ignore[union-attr]
    identities = {x.tobytes(): i for i, x in enumerate(task.source._chosen.cache.rows("images"))}  # type: ignore[union-attr]
    assert len(identities) == len(means) and table.images.shape[0] <= len(means)
    episode = drawn(task, 20, "train", "float32")
    for x, y in ((episode.support.x, episode.support.y), (episode.query.x, episode.query.y)):
        for image, box in zip(x.reshape(-1, 12, 12, 3), y.reshape(-1, 4), strict=True):
            place = identities[(image * 255).round().astype(np.uint8).tobytes()]
            assert min(np.abs(box - np.array(each)).max() for each in means[place]) < 1e-6


def test_several_boxes_of_a_class(tmp_path: Path) -> None:
    """Two dogs in an image: it is left out, or the one of 24 pixels counts before that of 9."""
    images: dict[str, Sequence[box_files.Box]] = {
        f"{i}{name}": [(name, 1, 1, 4, 4)] for name in ("cat", "cow", "dog") for i in range(3)
    }
    images["0dog"] = [("dog", 1, 1, 3, 3), ("dog", 5, 5, 8, 10)]
    write(tmp_path, voc_year("VOC2007", images))
    options = {"root": str(tmp_path), "size": 8, "split": "dealt"}
    with pytest.raises(InputError) as caught:
        Boxes(1, 2, **options)  # type: ignore[arg-type]
    split = next(
        s
        for s in SPLITS
        if split_of(["cat", "cow", "dog"], "dealt", (0.64, 0.16, 0.2))[s] == ["dog"]
    )
    assert str(caught.value) == (
        f"task.root={tmp_path}: no class of the {split} split has task.shots + task.queries = 3 "
        "images with one box; choose fewer, or task.several=largest"
    )
    task = Boxes(1, 2, several="largest", **options)  # type: ignore[arg-type]
    boxes = drawn(task, 20, split).support.y.reshape(-1, 4)
    assert {tuple(box) for box in boxes.round(4)} == {
        (0, 0, 0.25, round(4 / 12, 4)),
        (0.25, round(4 / 12, 4), 0.5, round(10 / 12, 4)),
    }


def test_rare_classes_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"kind {i}" for i in range(9)]
    images: dict[str, Sequence[box_files.Box]] = {
        f"{i}{name[-1]}": [(name, 1, 1, 4, 4)] for name in names for i in range(3)
    }
    images["x"] = [("rare", 1, 1, 4, 4)]
    write(tmp_path, voc_year("VOC2007", images))
    with caplog.at_level(logging.WARNING):
        tasks = [Boxes(1, 2, str(tmp_path), size=8) for _ in range(2)]
    assert sorted(name for split in SPLITS for name in tasks[0].groups(split)) == names
    assert caplog.messages == [
        (
            f"{tmp_path}: 1 of 10 classes have fewer than 3 images with one box and are left out: "
            "rare (1)"
        )
    ]  # once, though trials build their tasks anew
    first, second = (task.source for task in tasks)
    assert isinstance(first, FileBoxes) and isinstance(second, FileBoxes)
    assert first._chosen == second._chosen  # so they share what is on the device


def test_images_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = box_files.voc(tmp_path)
    folder = tmp_path / "VOCdevkit/VOC2007/JPEGImages"
    (folder / "000003.jpg").write_bytes(b"no image")
    (folder / "000006.jpg").unlink()
    with pytest.raises(InputError) as caught:
        Boxes(1, 1, root, size=8)
    named = "VOCdevkit/VOC2007/JPEGImages"
    assert str(caught.value) == (
        f"task.root={tmp_path}: 2 of 36 records cannot be read: {named}/000003.jpg (no image), "
        f"{named}/000006.jpg (no such file); mend them, or leave them out by task.bad_records=skip"
    )
    with caplog.at_level(logging.WARNING):
        task = Boxes(2, 4, root, size=8, bad_records="skip")
    seen = {name: len(list(task.groups(name))) for name in SPLITS}
    assert sum(seen.values()) == len(box_files.VOC)
    assert isinstance(task.source, FileBoxes)
    rows = task.source._chosen.cache.rows("images")
    table = _resident(task.source._chosen, task.groups("test"))
    np.testing.assert_array_equal(table.images[-1], rows[max_row(table, rows)])


def max_row(table: Any, rows: np.ndarray) -> int:
    """Where a split's last image stands in the cache."""
    (place,) = (i for i, row in enumerate(rows) if (row == table.images.numpy()[-1]).all())
    return int(place)
