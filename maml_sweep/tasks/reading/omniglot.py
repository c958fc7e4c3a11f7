"""Omniglot as it is published (Lake et al. 2015), and how its characters are dealt to splits.

From https://github.com/brendenlake/omniglot, folder python: images_background.zip and
images_evaluation.zip, of 30 and 20 alphabets and 964 and 659 characters, each drawn by 20 people:
`images_background/<Alphabet>/characterNN/NNNN_DD.png`, 105x105, black on white, of one bit.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from maml_sweep.checks import one_of
from maml_sweep.errors import InputError
from maml_sweep.streams import derive_seed
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.image_files import File, Found, checked, folders, images, members

BACKGROUND, EVALUATION = "images_background", "images_evaluation"
EXPECTED = (
    "expected a folder with images_background and images_evaluation, or the zips of these names, "
    "from the folder python of https://github.com/brendenlake/omniglot"
)
# Vinyals et al. 2016 published no lists; these are the ones of the field, as Snell et al. 2017 (and
# torchmeta) have them: 1,028 characters for training, 172 for validation, 423 for testing. The
# first 1,200 follow the alphabets, so that one of these is cut in two.
VALIDATION = {"Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"}
TEST = {
    "Kannada", "Keble", "Malayalam", "Manipuri", "Mongolian", "Old_Church_Slavonic_(Cyrillic)",
    "Oriya", "Sylheti", "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG",
}  # fmt: skip
CUT, FIRST = "Gurmukhi", "Gurmukhi/character42"  # from here on for testing
SIZES: dict[Split, int] = {"train": 1028, "validation": 172, "test": 423}
HELD_OUT = 6  # one alphabet in so many of the background is for validation

log = logging.getLogger(__name__)

Characters = Mapping[str, Sequence[File]]  # "<Alphabet>/characterNN" -> its drawings


def find(root: str | None, split: str) -> Found:
    """The drawings of every character, and the characters of every split.

    Args:
      root: `task.root`.
      split: `task.split`, one of `DEALS`.

    Raises:
      InputError: no such folder, or one of another layout; or another split.
    """
    one_of("task.split", split, tuple(DEALS))
    folder = roots.folder(root, EXPECTED)
    background, evaluation = (_part(folder, name) for name in (BACKGROUND, EVALUATION))
    both = sorted({name.split("/")[0] for name in background} & set(_alphabets(evaluation)))
    if both:
        raise InputError(f"task.root={root}: alphabet {both[0]} is in both parts; {EXPECTED}")
    splits = DEALS[split](background, evaluation)
    if split == "vinyals":
        _compare(folder, tuple(len(splits[each]) for each in SPLITS))
    classes = dict(sorted({**background, **evaluation}.items()))
    return checked(Found("omniglot", folder, classes, splits))


def _part(root: Path, name: str) -> Characters:
    """The characters of a folder or else of a zip."""
    if (root / name).is_dir():
        return {
            f"{alphabet}/{character}": images(root, f"{name}/{alphabet}/{character}")
            for alphabet in folders(root / name)
            for character in folders(root / name / alphabet)
        }
    if (root / f"{name}.zip").is_file():
        characters: dict[str, list[File]] = {}
        for file in members(root, f"{name}.zip"):
            parts = PurePosixPath(file.name).parts
            characters.setdefault("/".join(parts[-3:-1]), []).append(file)
        return characters
    raise roots.lacking(root, f"{name} or {name}.zip", EXPECTED)


def _alphabets(characters: Characters) -> list[str]:
    return sorted({name.split("/")[0] for name in characters})


def _vinyals(background: Characters, evaluation: Characters) -> dict[Split, list[str]]:
    """By the lists above."""
    splits: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for name in sorted([*background, *evaluation]):
        alphabet = name.split("/")[0]
        cut = alphabet == CUT and name >= FIRST
        held: Split = "validation" if alphabet in VALIDATION else "train"
        splits["test" if cut or alphabet in TEST else held].append(name)
    return splits


def _background(background: Characters, evaluation: Characters) -> dict[Split, list[str]]:
    """Lake's own parts; some alphabets of the first are held out by a hash of their names."""
    alphabets = _alphabets(background)
    shuffled = sorted(alphabets, key=lambda name: (derive_seed("split", name), name))
    held = set(shuffled[: max(1, round(len(alphabets) / HELD_OUT))])
    return {
        "train": sorted(name for name in background if name.split("/")[0] not in held),
        "validation": sorted(name for name in background if name.split("/")[0] in held),
        "test": sorted(evaluation),
    }


DEALS: dict[str, Callable[[Characters, Characters], dict[Split, list[str]]]] = {
    "vinyals": _vinyals,
    "background": _background,
}


@functools.cache
def _compare(root: Path, sizes: tuple[int, ...]) -> None:
    """Says so, once, if results will not compare with those of others."""
    if sizes != tuple(SIZES.values()):
        log.warning(
            "task.root=%s: Vinyals' split has %s characters for train, validation and test, but "
            "here are %s",
            root,
            ", ".join(f"{size:,}" for size in SIZES.values()),
            ", ".join(f"{size:,}" for size in sizes),
        )
