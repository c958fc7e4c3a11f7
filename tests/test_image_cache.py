"""The cache of decoded images: made once, whole or not at all, and made again when it must be."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import pytest
from rich.console import Console

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import image_cache, images
from maml_sweep.tasks.reading import image_files as reading
from maml_sweep.tasks.reading.image_cache import Cache, opened
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.image_layouts import by_folders
from maml_sweep.tasks.reading.image_progress import Pass
from maml_sweep.tasks.reading.images import Style

STYLE = Style(6, 3)
CLASS = "n01532829"
FIRST = f"train/{CLASS}/{CLASS}_0.JPEG"


def forget() -> None:
    """As another process, which has neither looked at the files nor opened the cache."""
    image_cache._opened.clear()
    reading._listed.cache_clear()


def look(root: Path, style: Style = STYLE, cache: str | None = None, bad: str = "refuse") -> Cache:
    """Opens the images of a folder in what might be another process."""
    forget()
    return opened(found(root), style, cache, bad)


def found(root: Path) -> Found:
    return by_folders(root, "expected a tree")


def table(cache: Cache) -> np.ndarray:
    """All images."""
    return np.concatenate([cache.rows(name) for name in cache.sizes])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of ten classes of five images."""
    folder = tmp_path / "birds"
    image_files.by_folders(folder)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that were decoded since it was last cleared."""
    sizes: list[int] = []
    real = images.decode

    def counted(content: bytes, style: Style) -> Any:
        sizes.append(len(content))
        return real(content, style)

    monkeypatch.setattr(images, "decode", counted)
    return sizes


def folders(root: Path) -> list[str]:
    """What is in the cache's folder."""
    return sorted(each.name for each in (root / ".maml_sweep").iterdir())


# -- once ----------------------------------------------------------------------------------------


def test_images_are_decoded_once_and_never_again(root: Path, decoded: list[int]) -> None:
    expected = table(look(root))
    assert len(decoded) == 50 and expected.shape == (50, 6, 6, 3)
    first = images.decode((root / FIRST).read_bytes(), STYLE)
    np.testing.assert_array_equal(expected[list(look(root).sizes).index(CLASS) * 5], first)
    decoded.clear()
    np.testing.assert_array_equal(table(look(root)), expected)
    assert not decoded
    (name,) = folders(root)
    assert name.startswith("folders-6x3-") and not list((root / ".maml_sweep").glob(".*"))
    shape = np.load(root / ".maml_sweep" / name / "images.npy", mmap_mode="r").shape
    assert shape == (50, 6, 6, 3)


def test_a_process_opens_a_cache_once(root: Path) -> None:
    assert look(root) is opened(found(root), STYLE, None, "refuse")


def test_other_styles_have_caches_of_their_own(root: Path, decoded: list[int]) -> None:
    look(root)
    assert table(look(root, Style(6, 1))).shape == (50, 6, 6, 1)
    assert len(decoded) == 100 and len(folders(root)) == 2
    look(root)
    assert len(decoded) == 100


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(image_files.photo("other")),
        lambda file: os.utime(file, (0, 0)),
        lambda file: file.rename(file.with_name("first.JPEG")),
        lambda file: file.unlink(),
        lambda file: shutil.copy(file, file.with_name("copy.JPEG")),
    ],
)
def test_a_cache_of_other_files_is_made_again(
    root: Path, decoded: list[int], change: Callable[[Path], Any]
) -> None:
    look(root)
    before = folders(root)
    decoded.clear()
    change(root / FIRST)
    look(root)
    assert len(decoded) in {49, 50, 51}
    assert len(folders(root)) == 1 and folders(root) != before  # the old one is gone


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "images.npy").write_bytes(b""),
        lambda folder: (folder / "images.npy").write_bytes(b"PK\3\4"),
        lambda folder: os.truncate(folder / "images.npy", 2000),
        lambda folder: np.save(folder / "images.npy", np.zeros((50, 6, 6, 1), np.uint8)),
        lambda folder: np.save(folder / "images.npy", np.zeros((50, 6, 6, 3))),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_bytes(b"{"),
        lambda folder: (folder / "manifest.json").write_bytes(b"[]"),
        lambda folder: (folder / "manifest.json").write_bytes(b'{"classes": 5, "bad": []}'),
    ],
)
def test_a_damaged_cache_is_made_again(
    root: Path, decoded: list[int], damage: Callable[[Path], Any]
) -> None:
    expected = table(look(root)).copy()
    damage(root / ".maml_sweep" / folders(root)[0])
    decoded.clear()
    np.testing.assert_array_equal(table(look(root)), expected)
    assert len(decoded) == 50 and len(folders(root)) == 1


def test_two_processes_at_once_do_not_break_each_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no cache and make one; the second finds the first one's in its place."""
    start = threading.Barrier(2)
    real, caches = image_cache._decoded, []

    def together(*arguments: Any) -> Any:
        start.wait(10)
        return real(*arguments)

    monkeypatch.setattr(image_cache, "_decoded", together)
    forget()
    places = [root / ".maml_sweep" / "folders-6x3-0123456789abcdef"]

    def process() -> None:
        caches.append(image_cache._made(found(root), STYLE, places))

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = map(table, caches)
    np.testing.assert_array_equal(one, other)
    assert folders(root) == [places[0].name]


def test_what_dead_processes_left_is_removed_but_not_what_living_ones_write(root: Path) -> None:
    for name, age in ((".a.part", 7200), (".b.part", 60)):
        part = root / ".maml_sweep" / name
        part.mkdir(parents=True)
        (part / "images.npy").write_bytes(b"half")
        for path in (part / "images.npy", part):
            modified = path.stat().st_mtime - age
            os.utime(path, (modified, modified))
    look(root)
    names = folders(root)
    assert ".b.part" in names and ".a.part" not in names and len(names) == 2


# -- where ---------------------------------------------------------------------------------------


def test_where_root_cannot_be_written_the_users_own_folder_serves(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (root / ".maml_sweep").write_text("in the way")
    look(root)
    (own,) = (tmp_path / "home" / "maml_sweep").iterdir()
    assert own.name.startswith("birds-") and len(list(own.iterdir())) == 1
    look(root)
    assert len(decoded) == 50


def test_a_cache_may_lie_where_the_setting_says(
    root: Path, tmp_path: Path, decoded: list[int]
) -> None:
    look(root, cache=str(tmp_path / "fast"))
    look(root, cache=str(tmp_path / "fast"))
    assert len(decoded) == 50 and not (root / ".maml_sweep").exists()


def test_a_cache_that_cannot_be_written_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as refusal:
        look(root, cache=str(tmp_path / "file"))
    start = f"task.cache: {tmp_path}/file/birds-"
    end = " cannot be written (Not a directory); name a folder that can, with room for 1 MiB"
    assert str(refusal.value).startswith(start) and str(refusal.value).endswith(end)
    full = shutil.disk_usage(tmp_path)._replace(free=50 * 108 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(InputError, match=r"cannot be written \(no room left\)"):
        look(root, cache=str(tmp_path / "full"))
    assert not list((tmp_path / "full").glob("*/*"))


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_nothing_is_left_where_writing_fails(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(file: Any) -> None:
        raise error

    monkeypatch.setattr(image_cache, "_settle", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        look(root, cache=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("*/*")) and not list(
        (tmp_path / "cache").glob("*/.*")
    )


# -- bad images ----------------------------------------------------------------------------------


def vague(message: str) -> str:
    """A message without Pillow's count of bytes."""
    return re.sub(r"\d+ bytes", "some bytes", message)


def spoil(root: Path) -> str:
    """Three bad images; what is said of them."""
    whole = root / f"train/{CLASS}/{CLASS}_1.JPEG"
    (root / FIRST).write_bytes(b"")
    whole.write_bytes(whole.read_bytes()[:-100])
    (root / "test/n01930112/link.png").symlink_to("nowhere.png")
    left = "test/n01930112/link.png (no such file)"
    cut = f"train/{CLASS}/{CLASS}_1.JPEG (image file is truncated (some bytes not processed))"
    return f"3 of 51 records cannot be read: {FIRST} (empty), {cut}, {left}"


def test_bad_images_are_refused_by_name_and_the_good_ones_are_kept(
    root: Path, decoded: list[int]
) -> None:
    said = spoil(root)
    for _ in range(2):
        with pytest.raises(InputError) as refusal:
            look(root)
        assert vague(str(refusal.value)) == (
            f"task.root={root}: {said}; mend them, or leave them out by task.bad_records=skip"
        )
    assert len(decoded) == 50  # in one pass; a link that leads nowhere has nothing to decode


def test_bad_images_are_skipped_with_one_warning(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = look(root)
    said = spoil(root)
    with caplog.at_level(logging.WARNING):
        cache = look(root, bad="skip")
        assert opened(found(root), STYLE, None, "skip") is cache
    assert [vague(record.getMessage()) for record in caplog.records] == [
        f"task.root={root}: {said}; they are left out"
    ]
    np.testing.assert_array_equal(cache.rows(CLASS), whole.rows(CLASS)[2:])
    assert sorted(cache.sizes.values()) == [3] + 9 * [5]
    np.testing.assert_array_equal(cache.rows("n01981276"), whole.rows("n01981276"))


def test_where_all_are_bad_none_is_cached(root: Path) -> None:
    for path in root.glob("*/*/*.JPEG"):
        path.write_bytes(b"?")
    with pytest.raises(InputError, match=r"50 of 50 records cannot be read: .* \(no image\), …$"):
        look(root, bad="skip")
    assert folders(root) == []


def test_pillow_is_needed_to_decode_and_not_to_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(root)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert table(look(root)).any()
    with pytest.raises(InputError) as refusal:
        look(root, Style(5, 1))
    assert str(refusal.value) == (
        "task.root: image files are read by Pillow, which is not installed; "
        "pip install 'maml-sweep[images]'"
    )


def test_the_manifest_names_the_classes_in_their_order(root: Path) -> None:
    look(root)
    manifest = json.loads(next(root.glob(".maml_sweep/*/manifest.json")).read_text())
    assert manifest["classes"] == [[name, 5] for name in found(root).classes]
    assert manifest["shape"] == [6, 6, 3] and manifest["bad"] == []


# -- what people see -----------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pass_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr("maml_sweep.tasks.reading.image_progress.LINE_EVERY", 0.0)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, highlight=False)
    with Pass("images of [b]/data", 1200, console) as progress:
        progress.advance(1000)
    if terminal:
        assert "decoding images of [b]/data" in text.getvalue()
    else:
        assert text.getvalue() == "decoding images of [b]/data: 1,000 of 1,200\n"
