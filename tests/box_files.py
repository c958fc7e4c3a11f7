"""Pascal VOC and COCO as they are published, with small images, none like another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_files import encoded, noise, photo, write
from PIL import Image

from maml_sweep.backend import tf
from maml_sweep.tasks import Episode, Split, Task

HEIGHT, WIDTH = 12, 16
# the novel classes of the field's first split, and four others
VOC = ["bird", "bus", "cow", "motorbike", "sofa", "aeroplane", "bicycle", "boat", "bottle"]
COCO = {3: "car", 7: "zebra", 18: "dog", 44: "kite", 62: "fork", 90: "cup"}  # ids have gaps
EACH = 4  # images that a class is the first of

Box = tuple[str, float, float, float, float]


def voc_xml(
    name: str, boxes: Sequence[Box], *, extra: str = "", size: tuple[int, int] = (WIDTH, HEIGHT)
) -> bytes:
    """An annotation as VOC 2007 writes it; boxes are (class, xmin, ymin, xmax, ymax)."""
    objects = "".join(voc_object(*box) for box in boxes)
    text = f"""<annotation>
	<folder>VOC2007</folder>
	<filename>{name}</filename>
	<source><database>The VOC2007 Database</database></source>
	<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>
	<segmented>0</segmented>
{objects}{extra}</annotation>
"""
    return text.encode()


def voc_object(
    name: str, left: float, top: float, right: float, bottom: float, inner: str = ""
) -> str:
    """One object; `inner` is what else it has, such as <difficult>."""
    box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"\t<object><name>{name}</name>{inner}<bndbox>{box}</bndbox></object>\n"


def voc_year(year: str, images: dict[str, Sequence[Box]]) -> dict[str, bytes]:
    """The files of a year: annotations, images, and a set that has all."""
    files: dict[str, bytes] = {}
    for identity, boxes in images.items():
        files[f"{year}/Annotations/{identity}.xml"] = voc_xml(f"{identity}.jpg", boxes)
        files[f"{year}/JPEGImages/{identity}.jpg"] = photo(identity, "JPEG", HEIGHT, WIDTH)
    files[f"{year}/ImageSets/Main/trainval.txt"] = "".join(f"{i}\n" for i in images).encode()
    return files


def two_each(names: Sequence[str]) -> list[tuple[Box, Box]]:
    """Images of a class and its neighbour in the list, whose boxes tell images apart."""
    pairs = [(name, names[(i + 1) % len(names)]) for i, name in enumerate(names)]
    return [
        ((one, 1, 1, 4 + number, 5), (other, 6, 2 + number, 12, 10))
        for one, other in pairs
        for number in range(EACH)
    ]


def voc(root: Path, backwards: bool = False) -> str:
    """Writes a development kit of one year."""
    images: dict[str, Sequence[Box]] = {}
    images |= {f"{place:06d}": boxes for place, boxes in enumerate(two_each(VOC))}
    if backwards:
        images = dict(reversed(images.items()))
    files = {f"VOCdevkit/{name}": content for name, content in voc_year("VOC2007", images).items()}
    return str(write(root, files, backwards))


def coco_note(number: int, image: int, category: int, box: Sequence[float], **more: Any) -> Any:
    """An annotation; the box is [x, y, width, height]."""
    note = {"id": number, "image_id": image, "category_id": category, "bbox": list(box)}
    return {**note, "area": box[2] * box[3], "iscrowd": 0, "segmentation": [], **more}


def coco_set(notes: Sequence[Any], images: Sequence[int]) -> dict[str, Any]:
    """The content of an instances file."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": WIDTH, "height": HEIGHT}
            for i in images
        ],
        "annotations": list(notes),
        "categories": [
            {"supercategory": "thing", "id": key, "name": name} for key, name in COCO.items()
        ],
    }


def coco_images(folder: str, images: Sequence[int]) -> dict[str, bytes]:
    """Images, every fourth of them grey as some of COCO's are."""
    colour = {f"{folder}/{i:012d}.jpg": photo(str(i), "JPEG", HEIGHT, WIDTH) for i in images}
    grey = {
        f"{folder}/{i:012d}.jpg": encoded(
            Image.fromarray(noise(str(i), HEIGHT, WIDTH, 1)[..., 0]), "JPEG"
        )
        for i in images[::4]
    }
    return colour | grey


def coco(root: Path, backwards: bool = False) -> str:
    """Writes two sets, half of the images in each."""
    keys = list(COCO)
    pairs = two_each(list(COCO.values()))
    numbers = {name: key for key, name in COCO.items()}
    for subset, some in (("train2017", slice(0, None, 2)), ("val2017", slice(1, None, 2))):
        ids = [1000 + 7 * place for place in range(len(pairs))][some]
        notes = [
            coco_note(10 * image + k, image, numbers[box[0]], _sized(box))
            for image, boxes in zip(ids, pairs[some], strict=True)
            for k, box in enumerate(boxes)
        ]
        notes.append(coco_note(5, ids[0], keys[0], (0, 0, WIDTH, HEIGHT), iscrowd=1))
        content = coco_set(notes[::-1] if backwards else notes, ids[::-1] if backwards else ids)
        files = coco_images(subset, ids)
        files[f"annotations/instances_{subset}.json"] = json.dumps(content).encode()
        write(root, files, backwards)
    return str(root)


def _sized(box: Box) -> tuple[float, float, float, float]:
    _, left, top, right, bottom = box
    return left, top, right - left, bottom - top


def keys(lanes: int) -> np.ndarray:
    """Keys of as many lanes: uint32 [lane, 2]."""
    return np.random.default_rng(3).integers(0, 2**32, (lanes, 2), dtype=np.uint32)


def drawn(task: Task, lanes: int, split: Split = "validation", dtype: str = "float64") -> Episode:
    """Episodes as NumPy's arrays."""
    episode = task.episodes(split, tf.constant(keys(lanes)), tf.as_dtype(dtype))
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


def told(task: Task) -> tuple[float, float, float]:
    """Who is told the boxes overlaps them wholly."""
    y = drawn(task, 20, "test").query.y
    return 1.0, float(np.mean(task.score(y, y))), 1e-6
