"""Pascal VOC (Everingham et al. 2010): an XML file an image, which the development kit lays out.

`VOC<year>/Annotations/<id>.xml`, `VOC<year>/JPEGImages/<file>` and
`VOC<year>/ImageSets/Main/<set>.txt`, an id a line. Corners are pixels counted from 1, both
included, so the first column of an image is left of x = 1 and the box of it ends at 1; later years
have fractions. An object may be `difficult`, and its parts have boxes of their own, which are not
read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.annotations import Annotated, Corners, Unfit, corners, gathered
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.image_files import Seen, folders, seen

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
EXPECTED = (
    "expected VOCdevkit/VOC2007 or other years with Annotations, JPEGImages and ImageSets/Main, "
    "from http://host.robots.ox.ac.uk/pascal/VOC/"
)


class Object(NamedTuple):
    """A box of an annotation, not yet looked at: corners as they are written."""

    name: str
    difficult: bool
    box: tuple[float, ...]  # xmin, ymin, xmax, ymax


class _Builder(ElementTree.TreeBuilder):
    """A tree of a file that declares nothing: an entity could stand for gigabytes or a file."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise Unfit("it declares a DOCTYPE")


def years(root: Path) -> tuple[str, ...]:
    """The folders of years in a folder, by their path in it: empty where it is of no such layout.

    The folder may be the one that holds `VOCdevkit`, that one itself, or a year.
    """
    if (root / ANNOTATIONS).is_dir() and (root / IMAGES).is_dir():
        return (".",)
    inner = "VOCdevkit" if (root / "VOCdevkit").is_dir() else "."
    names = [f"{inner}/{name}".removeprefix("./") for name in folders(root / inner)]
    return tuple(name for name in names if (root / name / ANNOTATIONS).is_dir())


def read(root: Path, subset: str, difficult: bool, policy: str) -> Annotated:
    """Reads the images of a set in all years that have it.

    Args:
      root: see `years`.
      subset: the name of a file in ImageSets/Main, such as trainval.
      difficult: whether objects that are `difficult` count.
      policy: `task.bad_records`, for annotations and boxes.

    Raises:
      InputError: no year has the set, a record is bad and to be refused, or none is good.
    """
    lists = [
        seen(root, f"{year}/{SETS}/{subset}.txt")
        for year in years(root)
        if (root / year / SETS / f"{subset}.txt").is_file()
    ]
    if not lists:
        first = root / years(root)[0] / SETS
        if first.is_dir():
            raise roots.lacking(first, f"{subset}.txt", f"task.subset={subset}: {EXPECTED}")
        raise roots.lacking(first.parent.parent, SETS, EXPECTED)
    notes = [seen(root, str(Path(each.name).parents[2] / ANNOTATIONS)) for each in lists]
    return _read(root, tuple(lists), tuple(notes), difficult, policy)


@functools.cache
def _read(
    root: Path, lists: Sequence[Seen], notes: Sequence[Seen], difficult: bool, policy: str
) -> Annotated:
    bad, total = BadRecords(f"task.root={root}", policy), 0
    names: list[str] = []
    boxes: list[tuple[str, str, Corners]] = []
    for listed, folder in zip(lists, notes, strict=True):
        year = Path(folder.name).parent
        for identity in _identities(listed.path):
            total += 1
            where = f"{folder.name}/{identity}.xml"
            try:
                file, size, objects = _parsed((folder.path / f"{identity}.xml").read_bytes())
            except (OSError, Unfit) as error:
                bad.add(where, str(getattr(error, "strerror", None) or error))
                continue
            image = (year / IMAGES / (file or f"{identity}.jpg")).as_posix()
            names.append(image)
            for each in objects:
                total += 1
                try:
                    found = _corners(each.box, size)
                except Unfit as error:
                    bad.add(f"{where}, {each.name}", str(error))
                    continue
                if difficult or not each.difficult:
                    boxes.append((image, each.name, found))
    bad.settle(total)
    if not boxes:
        raise InputError(f"task.root={root}: no boxes in {', '.join(each.name for each in lists)}")
    return gathered("voc", root, names, boxes)


def _identities(path: Path) -> Iterator[str]:
    """The ids of a set, the first word of each line; sets of one class have a second one."""
    lines = path.read_text("utf-8-sig").splitlines()
    return iter(sorted({words[0] for words in map(str.split, lines) if words}))


def _corners(box: Sequence[float], size: tuple[float, float]) -> Corners:
    """From pixels counted from 1, both included, to shares."""
    return corners(box[0] - 1, box[1] - 1, box[2], box[3], *size)


def _parsed(content: bytes) -> tuple[str, tuple[float, float], list[Object]]:
    """An annotation: the image's file name, or "", its width and height, and its objects.

    Raises:
      Unfit: it is no such XML.
    """
    try:
        tree = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
        size = (_number(tree, "size/width"), _number(tree, "size/height"))
        file = (tree.findtext("filename") or "").strip()
        return (
            file.replace("\\", "/").rpartition("/")[2],
            size,
            list(map(_object, tree.findall("object"))),
        )
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise Unfit(" ".join(str(error).split())) from None


def _object(node: ElementTree.Element) -> Object:
    """An object, whose name must be there."""
    name = (node.findtext("name") or "").strip()
    if not name:
        raise Unfit("an object has no name")
    difficult = (node.findtext("difficult") or "0").strip() not in ("0", "")
    sides = ("xmin", "ymin", "xmax", "ymax")
    return Object(name, difficult, tuple(_number(node, f"bndbox/{side}") for side in sides))


def _number(node: ElementTree.Element, path: str) -> float:
    text = node.findtext(path)
    try:
        return float(text or "")
    except ValueError:
        raise Unfit(
            f"<{path.rpartition('/')[2]}> is {text!r}" if text else f"no <{path}>"
        ) from None
