"""Image sets as they are published, with a few small images each, none like another."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from maml_sweep.tasks.base import Split

# characters of each alphabet; the test split is theirs from 42 on in Gurmukhi, see the reader
BACKGROUND = {
    "Bengali": ["character01", "character02"],
    "Hebrew": ["character07"],
    "Japanese_(hiragana)": ["character51"],
    "Latin": ["character01", "character02"],
}
EVALUATION = {"Gurmukhi": ["character41", "character42"], "Keble": ["character01", "character02"]}
VINYALS: dict[Split, list[str]] = {
    "train": [
        "Gurmukhi/character41",
        "Japanese_(hiragana)/character51",
        "Latin/character01",
        "Latin/character02",
    ],
    "validation": ["Bengali/character01", "Bengali/character02", "Hebrew/character07"],
    "test": ["Gurmukhi/character42", "Keble/character01", "Keble/character02"],
}
CLASSES: dict[Split, list[str]] = {
    "train": ["n01532829", "n01558993", "n01704323", "n01749939"],
    "validation": ["n01855672", "n02091244", "n02114548"],
    "test": ["n01930112", "n01981276", "n02099601"],
}
STEMS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
EACH = 5  # images of a class


def noise(name: str, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Pixels that hang on a name alone: uint8 [height, width, channels]."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """An image as a file."""
    content = io.BytesIO()
    image.save(content, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return content.getvalue()


def photo(name: str, kind: str = "JPEG", height: int = 12, width: int = 14) -> bytes:
    """A colour image."""
    return encoded(Image.fromarray(noise(name, height, width)), kind)


def drawing(name: str) -> bytes:
    """A drawing of Omniglot's kind: black on white, one bit, in squares that shrinking leaves."""
    dark = noise(name, 7, 7, 1)[..., 0] < 80
    paper = np.where(np.kron(dark, np.ones((15, 15), bool)), 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(paper).convert("1"))


def write(root: Path, files: Mapping[str, bytes], backwards: bool = False) -> Path:
    """Writes files by their path within a folder, in either order."""
    for name in sorted(files, reverse=backwards):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    return root


def zipped(root: Path, name: str, files: Mapping[str, bytes], backwards: bool = False) -> None:
    """Writes them to a zip with what a Mac adds to it."""
    with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(files, reverse=backwards):
            archive.writestr(member, files[member])
            archive.writestr(f"__MACOSX/{member.replace('/', '/._', 1)}", b"\0\5\x16\7")


def omniglot_files(part: str, alphabets: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """The drawings of one part."""
    names = [
        f"{alphabet}/{character}/{number:04d}_{drawer:02d}.png"
        for number, (alphabet, character) in enumerate(
            (alphabet, each) for alphabet, characters in alphabets.items() for each in characters
        )
        for drawer in range(1, EACH + 1)
    ]
    return {f"{part}/{name}": drawing(name) for name in names}


def omniglot(root: Path, backwards: bool = False, zips: bool = False) -> str:
    """Writes Omniglot, as folders or as zips."""
    for part, alphabets in (("images_background", BACKGROUND), ("images_evaluation", EVALUATION)):
        files = omniglot_files(part, alphabets)
        if zips:
            zipped(root, f"{part}.zip", files, backwards)
        else:
            write(root, files, backwards)
    return str(root)


def by_csv(root: Path, backwards: bool = False) -> str:
    """Writes miniImageNet as Ravi & Larochelle have it."""
    for split, names in CLASSES.items():
        rows = [(f"{name}{number:08d}.jpg", name) for name in names for number in range(EACH)]
        write(root, {f"images/{file}": photo(file) for file, _ in rows}, backwards)
        lines = [f"{file},{name}\n" for file, name in rows]
        text = "filename,label\n" + "".join(reversed(lines) if backwards else lines)
        (root / f"{STEMS[split]}.csv").write_text(text)
    return str(root)


def by_folders(
    root: Path,
    backwards: bool = False,
    stems: Mapping[Split, str] = STEMS,
    kind: str = "JPEG",
    classes: Mapping[Split, Sequence[str]] = CLASSES,
) -> str:
    """Writes a tree of splits and classes, and what systems leave in folders."""
    suffix = {"JPEG": "JPEG", "PNG": "png"}[kind]
    for split, names in classes.items():
        files = {
            f"{stems[split]}/{name}/{name}_{number}.{suffix}": photo(
                f"{name}{number:08d}.jpg", kind
            )
            for name in names
            for number in range(EACH)
        }
        litter = (
            ".DS_Store",
            f"{names[0]}/Thumbs.db",
            ".ipynb_checkpoints/1.png",
            "__MACOSX/1.png",
        )
        files |= {f"{stems[split]}/{name}": b"\0" for name in litter}
        write(root, files, backwards)
    return str(root)


def by_classes(root: Path, names: Sequence[str], backwards: bool = False) -> str:
    """Writes a tree of classes."""
    files = {f"{name}/{i}.png": photo(f"{name}/{i}", "PNG") for name in names for i in range(EACH)}
    return str(write(root, files, backwards))


def cifar_fs(root: Path, backwards: bool = False) -> str:
    """Writes CIFAR-FS as Bertinetto et al. have it."""
    for split, names in CLASSES.items():
        files = {
            f"cifar100/data/{name}/{name}_s_{i:06d}.png": photo(f"{name}{i}", "PNG", 8, 8)
            for name in names
            for i in range(EACH)
        }
        write(root, files, backwards)
        text = "".join(f"{name}\n" for name in sorted(names, reverse=backwards))
        path = f"cifar100/splits/bertinetto/{STEMS[split]}.txt"
        write(root, {path: text.encode()})
    return str(root)
