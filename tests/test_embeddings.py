"""Embeddings: the files they are read from, what is refused, and what is drawn from them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vector_files import RAGGED, WIDTH, content, examples, python_2, write_pickles

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Embeddings, Episode
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.embeddings import _of_length_one
from maml_sweep.tasks.reading import vectors
from maml_sweep.tasks.reading.vectors import STEMS, read, write


def draw(root: Path, split: Split = "train", lanes: int = 8, **settings: Any) -> Episode:
    """An episode of vectors as they are in the file, as NumPy's arrays."""
    given = {"ways": 3, "shots": 2, "queries": 3, "normalize": False} | settings
    keys = np.random.default_rng(0).integers(0, 2**32, (lanes, 2), dtype=np.uint32)
    episode = Embeddings(root=str(root), **given).episodes(split, tf.constant(keys), tf.float32)
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


def same(one: Episode, other: Episode) -> bool:
    pairs = zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# -- what is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_vectors_are_those_of_the_split_and_the_class_that_is_named(
    tmp_path: Path, split: Split
) -> None:
    episode = draw(write_pickles(tmp_path), split)
    for part, count in ((episode.support, 2), (episode.query, 3)):
        assert part.x.shape == (8, 3 * count, WIDTH) and part.x.dtype == np.float32
        assert (part.y == np.repeat(np.arange(3), count)).all()
        assert (part.x[..., 0] == SPLITS.index(split) + 1).all()
        assert (part.x[..., 1] == np.take_along_axis(episode.classes, part.y, 1)).all()


def test_every_vector_of_a_class_gets_its_turn(tmp_path: Path) -> None:
    """Classes of 5 to 9 vectors: each of the 58 is drawn, and no other."""
    episode = draw(write_pickles(tmp_path), lanes=400)
    drawn = Counter(map(tuple, episode.support.x[..., 1:3].reshape(-1, 2).astype(int).tolist()))
    expected = {(label, member) for label, n in enumerate(RAGGED["train"]) for member in range(n)}
    assert set(drawn) == expected and len(expected) == 58


def test_the_order_of_a_file_and_its_kind_do_not_matter(tmp_path: Path) -> None:
    expected = draw(write_pickles(tmp_path))
    for seed in (1, 2):
        order = np.random.default_rng(seed).permutation(58)
        shuffled = content("train", order)
        (tmp_path / "train_embeddings.pkl").write_bytes(pickle.dumps(shuffled))
        assert same(draw(tmp_path), expected)
    found, labels = examples("train")
    for names in (labels, [f"class {label}" for label in labels]):
        write(tmp_path, "train", found[order], np.array(names)[order])
        assert same(draw(tmp_path), expected)


def test_whole_numbers_are_ordered_as_such(tmp_path: Path) -> None:
    """As text, 10 would stand before 9."""
    path = write(tmp_path, "train", [[1.0], [2.0], [3.0]], [10, 9, 10])
    vectors, sizes = read(path)
    assert vectors[0] == [2.0] and sizes == (1, 2)


def test_vectors_have_length_one_unless_asked_otherwise(tmp_path: Path) -> None:
    root = write_pickles(tmp_path)
    raw, scaled = (draw(root, normalize=normalize).query.x for normalize in (False, True))
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=-1), 1, rtol=1e-6)
    lengths = np.linalg.norm(raw, axis=-1, keepdims=True)
    np.testing.assert_allclose(scaled, raw / lengths, rtol=1e-6)
    short = np.array([[0, 0], [3e-8, 4e-8]], np.float32)
    np.testing.assert_allclose(_of_length_one(short), [[0.0, 0.0], [0.03, 0.04]], rtol=1e-6)


def test_the_vectors_are_no_part_of_the_graph(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path, split, np.ones((3000, 100), np.float32), np.arange(3000) % 300)
    task = Embeddings(5, 1, 5, str(tmp_path))
    graph = tf.function(lambda k: task.episodes("train", k, tf.float32), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec([None, 2], tf.uint32))
    assert len(traced.graph.as_graph_def().SerializeToString()) < 30_000


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    expected = read(write_pickles(tmp_path) / "train_embeddings.pkl")
    published = content("train")
    keys = published["keys"].tolist()
    for each in (
        published,
        published | {"keys": keys},
        published | {"keys": list(published["keys"])},
        published | {"keys": np.array(keys, object)},
        {b"embeddings": published["embeddings"], b"keys": published["keys"].astype("S")},
    ):
        path = tmp_path / "some.pkl"
        path.write_bytes(pickle.dumps(each, protocol))
        found = read(path)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1] == expected[1]


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """Their text is bytes, alone or in an array."""
    expected, sizes = read(write_pickles(tmp_path) / "train_embeddings.pkl")
    published = content("train")
    keys = published["keys"]
    for each in (keys.astype("S"), keys.astype(object), keys.tolist()):
        path = tmp_path / "some.pkl"
        path.write_bytes(python_2({"embeddings": published["embeddings"], "keys": each}))
        found = read(path)
        np.testing.assert_array_equal(found[0], expected)
        assert found[1] == sizes


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found, labels = examples("test")
    path = write(tmp_path / "new", "test", found.astype(np.float64), labels)
    assert path == tmp_path / "new" / "test_embeddings.npz"
    vectors, sizes = read(path)
    assert sizes == tuple(RAGGED["test"]) and vectors.dtype == np.float32
    assert vectors[:, 1].tolist() == labels
    assert sorted(vectors.tolist()) == found.tolist()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_task_is_made_again_without_reading_and_a_new_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pickles(tmp_path)
    seen: list[str] = []

    def counting(path: Path) -> Any:
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(vectors, "read", counting)
    for _ in range(3):
        assert Embeddings(3, 2, 3, str(root)).classes == 9
    assert len(seen) == 3
    path = root / "train_embeddings.pkl"
    path.write_bytes(pickle.dumps(content("train", np.arange(27))))
    os.utime(path, ns=(1, 1))
    assert Embeddings(3, 2, 3, str(root)).classes == 4
    assert seen[3:] == ["train_embeddings.pkl"]


def test_making_one_needs_numpy_alone(tmp_path: Path) -> None:
    root = write_pickles(tmp_path)
    code = f"""if True:
        import sys
        from maml_sweep.tasks import Embeddings
        print(Embeddings(3, 2, 3, {str(root)!r}).input_shape)
        print({{"pandas", "scipy", "tensorflow", "keras"}} & set(sys.modules))
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == f"({WIDTH},)\nset()\n"


# -- refusals ------------------------------------------------------------------------------------


class Evil:
    """Unpickled by anybody else, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    root = write_pickles(tmp_path)
    evil = content("train") | {"more": [Evil(tmp_path / "made")]}
    (root / "train_embeddings.pkl").write_bytes(pickle.dumps(evil, protocol))
    with pytest.raises(InputError, match=r"/train_embeddings\.pkl: .*asks for (posix|nt)\.mkdir"):
        Embeddings(3, 2, 3, str(root))
    assert not (tmp_path / "made").exists()


BYTES = pickle.dumps(content("train"))
ARRAYS = content("train")["embeddings"]
# Objects whose addresses a file makes up: NumPy's own unpickling would follow them.
FORGED = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
    b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'16 bytes of junk'\ntb."
)
DAMAGED: list[tuple[bytes, str]] = [
    (b"", "cannot be read (Ran out of input)"),
    (BYTES[:-200], "cannot be read (pickle data was truncated)"),
    (b"<html>", "cannot be read ("),
    (b"c__builtin__\neval\n(S'1'\ntR.", "cannot be read (it asks for __builtin__.eval, and only"),
    (b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "cannot be read (bytes are written in rot13"),
    (pickle.dumps(np.zeros(2, "f4,O")), "cannot be read (it has an array of records)"),
    (pickle.dumps(np.zeros(2, "M8[s]")), "cannot be read (it has an array of type <M8)"),
    (FORGED, "cannot be read ("),
    (pickle.dumps([1]), "expected a dict of 'embeddings' and 'keys', found list"),
    (
        pickle.dumps({"embeddings": ARRAYS, "labels": 1}),
        "expected a dict of 'embeddings' and 'keys', found embeddings, labels",
    ),
    (
        pickle.dumps({"embeddings": ARRAYS, "keys": ["n1_2.jpg"] * 58}),
        "expected keys <folder>-<class>-<image>, found 'n1_2.jpg'",
    ),
    (
        pickle.dumps({"embeddings": ARRAYS, "keys": ["a-b-c"] * 57}),
        "expected 58 labels, integers or text, one an embedding, found <U1 [57]",
    ),
    (
        pickle.dumps({"embeddings": ARRAYS[0], "keys": ["a-b-c"] * 4}),
        "expected embeddings float [example, width], found float32 [4]",
    ),
    (
        pickle.dumps({"embeddings": ARRAYS.astype(int), "keys": ["a-b-c"] * 58}),
        "expected embeddings float [example, width], found int64 [58, 4]",
    ),
    (
        pickle.dumps({"embeddings": np.full_like(ARRAYS, np.inf), "keys": ["a-b-c"] * 58}),
        "a vector has a value that is not a finite float32",
    ),
]


@pytest.mark.parametrize(("written", "message"), DAMAGED)
def test_damaged_pickles_are_named(tmp_path: Path, written: bytes, message: str) -> None:
    path = write_pickles(tmp_path) / "val_embeddings.pkl"
    path.write_bytes(written)
    with pytest.raises(InputError) as raised:
        Embeddings(3, 2, 3, str(tmp_path))
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train_embeddings.npz"
    damaged = f"{path}: cannot be read as arrays 'embeddings' and 'labels' ("
    path.write_bytes(b"no archive")
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value).startswith(damaged)
    np.savez(path, embeddings=ARRAYS)
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{damaged}'labels is not a file")
    np.savez(path, embeddings=ARRAYS, labels=np.array([{}] * 58))
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{damaged}Object arrays cannot be loaded")


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 58 labels, integers or text"):
        write(tmp_path, "train", ARRAYS, np.zeros(58))
    with pytest.raises(InputError, match=r"expected embeddings float .* found float64 \[0, 4\]"):
        write(tmp_path, "train", np.zeros((0, 4)), [])
    assert not list(tmp_path.iterdir())


EXPECTED = (
    "expected a folder with {train,val,test}_embeddings.pkl or .npz, such as "
    "embeddings/miniImageNet/center of the archive that the README of "
    "https://github.com/deepmind/leo links to"
)


def test_a_folder_without_the_files_is_named_with_what_it_has(tmp_path: Path) -> None:
    def refusal(root: Path | None) -> str:
        with pytest.raises(InputError) as raised:
            Embeddings(3, 2, 3, None if root is None else str(root))
        return str(raised.value)

    assert refusal(None) == f"task.root=null: {EXPECTED}"
    none = tmp_path / "none"
    assert refusal(none) == f"task.root={none}: there is no such folder; {EXPECTED}"
    named = f"task.root={tmp_path}: has no"
    assert refusal(tmp_path) == f"{named} train_embeddings.pkl, but nothing; {EXPECTED}"
    for name in ("miniImageNet", "tieredImageNet"):
        (tmp_path / name).mkdir()
    found = "miniImageNet, tieredImageNet"
    assert refusal(tmp_path) == f"{named} train_embeddings.pkl, but {found}; {EXPECTED}"
    (write_pickles(tmp_path) / "val_embeddings.pkl").unlink()
    assert refusal(tmp_path).startswith(f"{named} val_embeddings.pkl, but miniImageNet, test_em")


def test_counts_are_held_against_the_files(tmp_path: Path) -> None:
    root = str(write_pickles(tmp_path))
    wrong: list[tuple[dict[str, int], str]] = [
        (
            {"ways": 5},
            f"task.ways=5: the validation split of {root} has 4 classes; choose at most 4",
        ),
        (
            {"shots": 3},
            (
                f"task.shots=3 and task.queries=3: a class of {root} has 5 examples; "
                "choose at most 5 together"
            ),
        ),
        ({"ways": 0}, "task.ways=0: expected an integer of at least 1"),
        ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
        ({"queries": True}, "task.queries=True: expected an integer of at least 1"),
    ]
    for settings, message in wrong:
        with pytest.raises(InputError) as raised:
            Embeddings(**{"ways": 3, "shots": 2, "queries": 3, "root": root} | settings)  # type: ignore[arg-type]
        assert str(raised.value) == message
    write(tmp_path, "test", np.ones((40, 7)), np.arange(40) % 5)
    with pytest.raises(InputError) as raised:
        Embeddings(3, 2, 3, root)
    assert str(raised.value) == f"task.root={root}: vectors of [4, 7] numbers; expected one"


def test_the_files_are_called_as_published() -> None:
    assert list(STEMS.values()) == ["train_embeddings", "val_embeddings", "test_embeddings"]
