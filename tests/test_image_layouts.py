"""Image sets as they are published: which files are of which class and split, what is refused."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import pytest
from image_files import BACKGROUND, CLASSES, EVALUATION, VINYALS, photo, write

from maml_sweep.errors import InputError
from maml_sweep.tasks import CifarFS, ImageFolder, MiniImageNet, Omniglot
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.images import Images
from maml_sweep.tasks.reading import omniglot

FOLDERS = image_files.by_folders
TREE = (
    "expected train/, val/ and test/ with a folder of images a class, other classes in each, or "
    "the folders of classes alone, which are then dealt to the splits"
)
CSV = (
    "expected images/*.jpg with train.csv, val.csv and test.csv (filename,label) of "
    "https://github.com/twitter/meta-learning-lstm, or train/, val/ and test/ with a folder of "
    "images a class"
)
LISTS = (
    "expected cifar100/data/ with a folder of images a class and cifar100/splits/bertinetto/ with "
    "train.txt, val.txt and test.txt, of https://github.com/bertinetto/r2d2, or meta-train/, "
    "meta-val/ and meta-test/ with a folder of images a class"
)
PARTS = (
    "expected a folder with images_background and images_evaluation, or the zips of these names, "
    "from the folder python of https://github.com/brendenlake/omniglot"
)


Kind = Callable[..., Images]


def make(kind: Kind, root: Any, **settings: Any) -> Images:
    """A task of two ways of small images."""
    given: dict[str, Any] = {"ways": 2, "shots": 1, "queries": 2, "size": 6}
    return kind(root=None if root is None else str(root), **(given | settings))


def table(task: Images) -> np.ndarray:
    """Every image of a task, split after split."""
    names = [name for split in SPLITS for name in task.found.splits[split]]
    return np.concatenate([task.cache.rows(name) for name in names])


def refused(kind: Kind, root: Any, **settings: Any) -> str:
    """The one line."""
    with pytest.raises(InputError) as refusal:
        make(kind, root, **settings)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "expected", "lacks"),
    [
        (Omniglot, PARTS, "images_background or images_background.zip"),
        (MiniImageNet, CSV, "folder train"),
        (CifarFS, LISTS, "cifar100/splits/bertinetto and no meta-train"),
        (ImageFolder, TREE, "folders of classes"),
    ],
)
def test_missing_data_says_what_is_expected(
    tmp_path: Path, kind: Kind, expected: str, lacks: str
) -> None:
    assert refused(kind, None) == f"task.root=null: {expected}"
    away = tmp_path / "away"
    assert refused(kind, away) == f"task.root={away}: there is no such folder; {expected}"
    (tmp_path / "readme.txt").write_text("")
    assert refused(kind, tmp_path) == (
        f"task.root={tmp_path}: has no {lacks}, but readme.txt; {expected}"
    )


@pytest.mark.parametrize(
    ("kind", "write_one", "write_other"),
    [
        (Omniglot, image_files.omniglot, lambda root: image_files.omniglot(root, zips=True)),
        (MiniImageNet, image_files.by_csv, FOLDERS),
        (ImageFolder, FOLDERS, lambda root: FOLDERS(root, backwards=True)),
    ],
)
def test_the_layout_and_the_order_of_files_play_no_part(
    tmp_path: Path,
    kind: Kind,
    write_one: Callable[[Path], str],
    write_other: Callable[[Path], str],
) -> None:
    """The same images from folders and from zips or by a csv, in the same order."""
    tasks = []
    for name, writer in (("one", write_one), ("other", write_other)):
        (tmp_path / name).mkdir()
        tasks.append(make(kind, writer(tmp_path / name)))
    one, other = tasks
    assert [one.groups(split) for split in SPLITS] == [other.groups(split) for split in SPLITS]
    np.testing.assert_array_equal(table(one), table(other))
    assert table(one).shape[0] == 50 and (table(one)[0] != table(one)[1]).any()


# -- Omniglot ------------------------------------------------------------------------------------


def characters(task: Images) -> dict[str, Sequence[str]]:
    return {split: task.groups(split) for split in SPLITS}


def test_vinyals_characters_are_those_of_the_field(tmp_path: Path) -> None:
    task = make(Omniglot, image_files.omniglot(tmp_path), rotations=False)
    assert characters(task) == VINYALS


def test_the_background_split_tests_on_the_evaluation_part_and_cuts_no_alphabet(
    tmp_path: Path,
) -> None:
    root = image_files.omniglot(tmp_path, zips=True)
    found = omniglot.find(root, "background").splits
    assert found["test"] == sorted(f"{a}/{c}" for a, each in EVALUATION.items() for c in each)
    train, held = ({name.split("/")[0] for name in found[s]} for s in ("train", "validation"))
    assert train | held == set(BACKGROUND) and not train & held
    assert held == {"Latin"}  # whoever changes this changes results
    thirty = {f"alphabet {number}/character01": () for number in range(30)}
    assert len(omniglot.DEALS["background"](thirty, {"other/character01": ()})["validation"]) == 5


def test_who_has_other_characters_than_the_field_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = image_files.omniglot(tmp_path)
    with caplog.at_level(logging.WARNING):
        for split in ("vinyals", "vinyals", "background"):
            omniglot.find(root, split)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"task.root={root}: Vinyals' split has 1,028, 172, 423 characters for train, validation "
        "and test, but here are 4, 3, 3"
    )


def test_what_is_no_omniglot_is_refused(tmp_path: Path) -> None:
    root = image_files.omniglot(tmp_path)
    assert refused(Omniglot, root, split="lake") == (
        "task.split=lake: expected one of vinyals, background"
    )
    write(tmp_path, {"images_evaluation/Latin/character09/1_01.png": b""})
    assert refused(Omniglot, root) == f"task.root={root}: alphabet Latin is in both parts; {PARTS}"


def test_a_damaged_zip_is_refused_and_a_damaged_member_is_a_bad_image(tmp_path: Path) -> None:
    root = image_files.omniglot(tmp_path, zips=True)
    path = tmp_path / "images_evaluation.zip"
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("images_evaluation/Keble/character01/0002_01.png")
    start = member.header_offset + 30 + len(member.filename)
    path.write_bytes(content[: start + 20] + b"\xff" * 20 + content[start + 40 :])
    said = refused(Omniglot, root)
    assert "1 of 50 records cannot be read: images_evaluation.zip:" in said
    assert f"{member.filename} (" in said
    path.write_bytes(content[:1000])
    assert refused(Omniglot, root) == (f"{path}: cannot be read as a zip (File is not a zip file)")


# -- miniImageNet --------------------------------------------------------------------------------


def test_a_csv_may_have_blank_lines_quotes_a_mark_and_any_ends_of_lines(tmp_path: Path) -> None:
    root = Path(image_files.by_csv(tmp_path))
    plain = make(MiniImageNet, root)
    expected = table(plain)
    for split, names in CLASSES.items():
        path = root / f"{image_files.STEMS[split]}.csv"
        first, *rows = path.read_text().splitlines()
        quoted = [f'"{row.split(",")[0]}" , "{row.split(",")[1]}, Vögel"' for row in rows]
        lines = [first, "", *quoted[:3], "", *quoted[3:], "", ""]
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
        assert plain.groups(split) == names
    task = make(MiniImageNet, root)
    assert task.groups("test") == [f"{name}, Vögel" for name in CLASSES["test"]]
    np.testing.assert_array_equal(table(task), expected)


def test_a_csv_may_name_files_in_folders_but_none_outside(tmp_path: Path) -> None:
    root = Path(image_files.by_csv(tmp_path))
    expected = table(make(MiniImageNet, root))
    text = (root / "val.csv").read_text()
    first = CLASSES["validation"][0]
    for number in range(5):
        name = f"{first}{number:08d}.jpg"
        (root / "images" / first).mkdir(exist_ok=True)
        (root / "images" / name).rename(root / "images" / first / name)
    (root / "val.csv").write_text(text.replace(f"\n{first}", f"\n{first}/{first}"))
    np.testing.assert_array_equal(table(make(MiniImageNet, root)), expected)
    (root / "secret.jpg").write_bytes(photo("secret"))
    (root / "val.csv").write_text(f"{text}../secret.jpg,{first}\n")
    assert "images/../secret.jpg (no such file)" in refused(MiniImageNet, root)


def test_bad_rows_are_named_and_refused_or_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(image_files.by_csv(tmp_path))
    expected = table(make(MiniImageNet, root))
    path = root / "test.csv"
    first = CLASSES["test"][0]
    path.write_text(f"{path.read_text()}some.jpg\n\n,{first}\n{first}00000000.jpg,{first}\n")
    said = (
        f"{path}: 3 of 18 records cannot be read: line 17 (no label), line 19 (no filename), "
        f"line 20 ({first}00000000.jpg once more)"
    )
    assert refused(MiniImageNet, root) == (
        f"{said}; mend them, or leave them out by task.bad_records=skip"
    )
    with caplog.at_level(logging.WARNING):
        tasks = [make(MiniImageNet, root, bad_records="skip") for _ in range(2)]
    assert [record.getMessage() for record in caplog.records] == [f"{said}; they are left out"]
    np.testing.assert_array_equal(table(tasks[1]), expected)


def test_what_is_no_mini_imagenet_is_refused(tmp_path: Path) -> None:
    root = Path(image_files.by_csv(tmp_path))
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(f"file,class\n{text}")
    assert refused(MiniImageNet, root) == (
        f"{root / 'val.csv'}: expected a first line filename,label, found file,class"
    )
    (root / "val.csv").write_text("")
    assert refused(MiniImageNet, root).endswith("filename,label, found nothing")
    (root / "val.csv").write_bytes(b"filename,label\n\xe9.jpg,n1\n")
    assert refused(MiniImageNet, root).startswith(f"{root / 'val.csv'}: expected text in UTF-8 (")
    (root / "val.csv").write_text("filename,label\n")
    assert refused(MiniImageNet, root) == f"task.root={root}: the validation split has no classes"
    (root / "val.csv").write_text(text + (root / "test.csv").read_text().split("\n", 1)[1])
    assert refused(MiniImageNet, root).startswith(
        f"task.root={root}: class n01930112 is in the validation split and in the test split; "
    )
    (root / "val.csv").unlink()
    assert refused(MiniImageNet, root) == (
        f"task.root={root}: has no val.csv, but images, test.csv, train.csv; {CSV}"
    )
    (root / "images").rename(root / "pictures")
    assert refused(MiniImageNet, root).startswith(f"task.root={root}: has no folder images, but ")


# -- CIFAR-FS ------------------------------------------------------------------------------------


def test_cifar_fs_is_found_from_its_folder_or_the_one_above(tmp_path: Path) -> None:
    above = make(CifarFS, image_files.cifar_fs(tmp_path))
    within = make(CifarFS, tmp_path / "cifar100")
    assert above.groups("train") == within.groups("train") == CLASSES["train"]
    np.testing.assert_array_equal(table(above), table(within))


def test_cifar_fs_may_lie_in_folders_of_its_splits(tmp_path: Path) -> None:
    stems = {split: f"meta-{stem}" for split, stem in image_files.STEMS.items()}
    task = make(CifarFS, FOLDERS(tmp_path, stems=stems, kind="PNG"))
    assert task.groups("validation") == CLASSES["validation"]


def test_what_is_no_cifar_fs_is_refused(tmp_path: Path) -> None:
    image_files.cifar_fs(tmp_path)
    base = tmp_path / "cifar100"
    lists = base / "splits" / "bertinetto"
    lines = [*(lists / "val.txt").read_bytes().split(), b"", b" "]
    (lists / "val.txt").write_bytes(b"\r\n".join(lines))
    assert make(CifarFS, tmp_path).groups("validation") == CLASSES["validation"]
    (lists / "val.txt").write_bytes(b"\r\n".join([*lines, b"otter"]))
    assert refused(CifarFS, tmp_path) == (
        f"{lists / 'val.txt'}: class otter has no folder in {base / 'data'}; {LISTS}"
    )
    (lists / "val.txt").unlink()
    assert refused(CifarFS, tmp_path) == (
        f"task.root={lists}: has no val.txt, but test.txt, train.txt; {LISTS}"
    )


# -- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_the_validation_split_has_several_names(tmp_path: Path, name: str) -> None:
    root = Path(FOLDERS(tmp_path, stems=image_files.STEMS | {"validation": name}))
    assert make(ImageFolder, root).groups("validation") == CLASSES["validation"]
    (root / "val").mkdir()
    assert refused(ImageFolder, root) == (
        f"task.root={root}: val and {name} are both of the validation split; leave one"
    )


def test_a_class_of_two_splits_is_refused(tmp_path: Path) -> None:
    classes = CLASSES | {"test": ["n01532829", "n01981276"]}
    root = FOLDERS(tmp_path, classes=classes)
    assert refused(ImageFolder, root) == (
        f"task.root={root}: class n01532829 is in the train split and in the test split; expected "
        "other classes in each (a folder of classes alone is dealt to the splits by "
        "task=image_folder)"
    )


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    root = Path(FOLDERS(tmp_path))
    write(root, {"val/n5/notes.txt": b"", "val/.cache/1.png": b"", "val/n5/._1.png": b""})
    assert refused(ImageFolder, root) == f"task.root={root}: class n5 has no images"
    (root / "test").rename(root / "later")
    assert refused(ImageFolder, root) == (
        f"task.root={root}: has no folder test, but later, train, val; {TREE}"
    )


def test_classes_alone_are_dealt_to_the_splits(tmp_path: Path) -> None:
    """A class may be called train: there are images in it."""
    names = [*(f"kind {number}" for number in range(9)), "train"]
    root = image_files.by_classes(tmp_path, names)
    task = make(ImageFolder, root, channels=1)
    dealt = [task.groups(split) for split in SPLITS]
    assert [len(each) for each in dealt] == [6, 2, 2]
    assert sorted(name for each in dealt for name in each) == names
    assert table(task).shape == (50, 6, 6, 1)
    assert refused(ImageFolder, root, shares=[0.5, 0.5]).startswith("task.shares=[0.5, 0.5]: ")


def test_suffixes_may_be_in_capitals_and_other_files_are_passed_over(tmp_path: Path) -> None:
    root = Path(FOLDERS(tmp_path))
    name = CLASSES["train"][0]
    first = root / "train" / name
    (first / f"{name}_0.JPEG").rename(first / f"{name}_0.JPG")
    write(first, {"README.md": b"", "sub.png/x.png": b"", "z.json": b"", ".hidden.png": b""})
    task = make(ImageFolder, root)
    assert task.cache.sizes[name] == 5
