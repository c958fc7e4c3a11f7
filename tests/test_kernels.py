"""Kernels of our own: TensorFlow's numbers, for what they serve, and what happens without them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numerics import Patterns, program, run_at, settings, train
from numpy.typing import NDArray

from maml_sweep import streams
from maml_sweep.algorithms import MAML, MetaSGD
from maml_sweep.backend import tf
from maml_sweep.kernels import Kernels, library
from maml_sweep.models import MLP, Conv4
from maml_sweep.tasks import Sinusoid
from maml_sweep.tasks.base import Task
from maml_sweep.training.pack import Run, Trainer, start
from maml_sweep.training.program import Program

BOUND = 3
compiles = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def packed(task: Task, widths: list[int], *, kernels: bool | None, **options: Any) -> Program:
    """A program of two shards in float32."""
    model = MLP(task.input_shape, task.outputs, widths)
    algorithm = MAML(0.1, BOUND, **options)
    return program(
        task, model, algorithm, precision="float32", bound=BOUND, shards=2, kernels=kernels
    )


def trials(own: Program, chosen: list[int] | None = None) -> list[Run]:
    """Three that differ in rates, inner steps and tasks, or some of them."""
    numbers = [
        settings(0.05, 3, batch=5, rungs=(4,), meta_lr=0.1),
        settings(0.02, 1, batch=1, rungs=(4,), meta_lr=0.1),
        settings(0.1, 2, batch=4, rungs=(4,), meta_lr=0.1),
    ]
    return [start(own, numbers[each], each) for each in chosen or range(3)]


def moved(own: Program) -> NDArray[Any]:
    """What one meta-iteration of plain descent does to three trials, and their losses."""
    runs = trials(own)
    before = np.stack([run.theta for run in runs])
    after = np.stack([run.theta for run in train(own, runs)])
    return np.column_stack([after - before, [run.loss for run in runs]])


@compiles
@pytest.mark.parametrize(
    ("task", "widths", "first_order"),
    [
        (Sinusoid(5, 7), [40, 40], False),
        (Sinusoid(5, 7), [40, 40], True),
        (Sinusoid(3, 2), [17, 3, 64], False),
        (Sinusoid(5, 5), [], False),
        (Patterns(ways=3, shots=2), [12], True),
        (Patterns(ways=11, shots=1), [104, 9], False),
    ],
    ids=["default", "first order", "odd", "linear", "classes, first order", "wide classes"],
)
def test_a_kernel_moves_trials_as_tensorflows_operations_do(
    task: Task, widths: list[int], first_order: bool
) -> None:
    """Widths of every remainder, one panel and several; one, two and three inner steps."""
    ours, theirs = (
        moved(packed(task, widths, kernels=kernels, first_order=first_order))
        for kernels in (True, False)
    )
    assert np.abs(theirs[:, :-1]).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6)


@pytest.fixture(scope="module")
def own() -> Program:
    """The network of the paper, trained by its kernel."""
    return packed(Sinusoid(5, 7), [40, 40], kernels=True)


@compiles
def test_a_trial_is_the_same_alone_and_in_a_pack(own: Program) -> None:
    """To the last bit."""
    together = train(own, trials(own), 4)
    for index, run in enumerate(together):
        (alone,) = train(own, trials(own, [index]), 4)
        np.testing.assert_array_equal(run.theta, alone.theta)
        assert run.loss == alone.loss


@compiles
@pytest.mark.parametrize("rate", [1e15, 1e38])
def test_what_overflows_diverges_alone(own: Program, rate: float) -> None:
    """Infinities and what is no number come through to the loss."""
    bad = start(own, settings(rate, 3, batch=2, rungs=(4,)), 0)
    good = start(own, settings(0.01, 3, batch=2, rungs=(4,), meta_lr=0.01), 0)
    before = bad.theta.copy()
    train(own, [bad, good], 2)
    assert bad.diverged == 0 and good.diverged is None
    np.testing.assert_array_equal(bad.theta, before)


@compiles
@pytest.mark.parametrize("broken", [0, 40, 80, 1680, 1720, 1760])
def test_a_weight_that_is_no_number_shows_in_the_loss(own: Program, broken: int) -> None:
    """In every array of the network: a ReLU does not hide it."""
    numbers = settings(0.01, 1, batch=2, rungs=(4,))
    theta = start(own, numbers, 0).theta
    run = run_at(np.where(np.arange(theta.size) == broken, np.nan, theta), numbers)
    train(own, [run])
    assert run.diverged == 0 and np.isnan(run.loss)


@compiles
@pytest.mark.parametrize(
    ("model", "algorithm", "options"),
    [
        (MLP((1,), 1, [8], "tanh"), MAML(0.1, 1), {}),
        (MLP((1,), 1, [400, 400]), MAML(0.1, 1), {}),
        (MLP((1,), 1, [8] * 8), MAML(0.1, 1), {}),
        (MLP((1,), 1, [8]), MAML(0.1, 1, adapts="head"), {}),
        (MLP((1,), 1, [8]), MAML(0.1, 1, inner_clip=1.0), {}),
        (MLP((1,), 1, [8]), MetaSGD(0.1, 1), {}),
        (MLP((1,), 1, [8]), MAML(0.1, 1), {"precision": "float64"}),
        (MLP((1,), 1, [8]), MAML(0.1, 1), {"precision": "mixed_bfloat16"}),
        (MLP((1,), 1, [8]), MAML(0.1, 1), {"compiled": True}),
    ],
)
def test_what_no_kernel_serves_trains_as_ever(
    model: MLP, algorithm: MAML, options: dict[str, Any]
) -> None:
    """Nothing is refused because of the setting."""
    chosen = {"precision": "float32", "kernels": True} | options
    assert program(Sinusoid(5, 5), model, algorithm, **chosen).kernels.mlp is None


@compiles
def test_a_kernel_serves_its_own_loss_alone() -> None:
    """A task of another loss, and images through convolutions, are left alone."""

    class Absolute(Sinusoid):
        def loss(self, outputs: Any, y: Any) -> Any:
            return tf.reduce_mean(tf.abs(outputs - y), axis=[1, 2])

    mlp = MLP((1,), 1, [8])
    options: dict[str, Any] = {"precision": "float32", "kernels": True}
    assert program(Sinusoid(5, 5), mlp, **options).kernels.mlp is not None
    assert program(Absolute(5, 5), mlp, **options).kernels.mlp is None
    images = Conv4((28, 28, 1), 3, 2)
    assert program(Patterns(), images, **options).kernels.mlp is None


# -- evaluation -----------------------------------------------------------------------------------


@compiles
@pytest.mark.parametrize("task", [Sinusoid(5, 7), Patterns(ways=3, shots=2)], ids=["wave", "class"])
def test_a_kernel_judges_as_tensorflows_operations_do(task: Task) -> None:
    """After each run's own steps, and after every step of a curve."""
    found = []
    for kernels in (True, False):
        own = packed(task, [16], kernels=kernels)
        trainer, runs = Trainer(own), trials(own)
        scores = trainer.evaluate(runs, "validation", 0, 9)
        curves = trainer.curves(runs, "validation", 0, 9)
        found.append([scores, *curves])
        assert [len(curve) for curve in curves] == [7, 3, 5]
        for run, score, curve in zip(runs, scores, curves, strict=True):
            np.testing.assert_allclose(curve[run.settings.eval_steps], score, rtol=1e-5)
    for ours, theirs in zip(*found, strict=True):
        assert theirs.std() > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


# -- the optimizers' steps ------------------------------------------------------------------------

OPTIMIZERS: list[dict[str, Any]] = [
    {"meta_lr": 0.02, "momentum": 0.9, "nesterov": True},
    {"meta_lr": 0.02, "momentum": 0.5, "schedule": "cosine"},
    {"meta_lr": 0.02, "clip": 0.1},
    {"kind": "adam", "meta_lr": 0.01},
    {"kind": "adam", "meta_lr": 0.01, "schedule": "cosine", "clip": 0.5},
    {"kind": "adamw", "meta_lr": 0.01, "weight_decay": 0.3},
]


def descended(kernels: bool) -> NDArray[Any]:
    """Where a pack of all optimizers is after six iterations; its gradients are TensorFlow's."""
    model = MLP((1,), 1, [8], "tanh")
    own = program(Sinusoid(5, 5), model, precision="float32", kernels=kernels)
    assert own.kernels.mlp is None and (own.kernels.operations is not None) == kernels
    runs = [start(own, settings(0.01, rungs=(8,), **each), 0) for each in OPTIMIZERS]
    runs = train(own, runs, 6)
    return np.stack([[run.theta, run.moment1, run.moment2] for run in runs])


@compiles
def test_a_kernel_steps_as_every_optimizer_does() -> None:
    """Theta and both moments."""
    ours, theirs = descended(True), descended(False)
    apart = np.abs(theirs[:, np.newaxis, 0] - theirs[:, 0]).max(axis=-1)
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 1e-3  # no two of them go the same way
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@compiles
@pytest.mark.parametrize("kernels", [True, False])
def test_what_is_not_sound_keeps_what_it_had(kernels: bool) -> None:
    """A loss above the bound, a loss that is none, and a step that overflows; others go on."""
    model = MLP((1,), 1, [8], "tanh")
    options: dict[str, Any] = {"precision": "float32", "kernels": kernels, "max_loss": 100.0}
    own = program(Sinusoid(5, 5), model, **options)
    numbers = settings(0.01, rungs=(8,), kind="adam", meta_lr=0.01)
    wild = settings(0.01, rungs=(8,), meta_lr=3e38)
    theta = start(own, numbers, 0).theta
    runs = [
        run_at(np.append(theta[:-1], np.float32(50.0)), numbers),
        run_at(np.append(theta[:-1], np.float32(np.nan)), numbers),
        run_at(theta, wild),
        run_at(theta, numbers),
    ]
    before = [run.theta.copy() for run in runs]
    runs = train(own, runs, 1)
    assert [run.diverged for run in runs] == [0, 0, 0, None]
    for run, was in zip(runs[:3], before, strict=False):
        np.testing.assert_array_equal(run.theta, was)
        assert not run.moment1.any() and not run.moment2.any()
    assert (runs[3].theta != before[3]).any()


# -- streams --------------------------------------------------------------------------------------


@compiles
def test_a_kernel_hashes_to_the_same_words() -> None:
    """For lanes of several data, and for one datum of all."""
    keys = np.random.default_rng(0).integers(0, 2**32, (50, 2), np.uint32)
    data = np.arange(-3, 47, dtype=np.int32)

    def words() -> list[Any]:
        folded = [streams.fold_in(keys, each) for each in (data, 0xFFFFFFFF)]
        return [*folded, streams.bits(tf.constant(keys), 7), streams.bits(folded[0], 3)]

    theirs = words()
    with streams.kernels(library.load()):
        ours = words()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


# -- the library ----------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache folder of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    yield tmp_path / "maml_sweep"
    library.load.cache_clear()


@pytest.mark.parametrize("kernels", [True, None])
@pytest.mark.parametrize("said", ["", "echo 'x.c:1: error: no such thing' >&2"])
def test_without_a_compiler_tensorflow_trains(
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
    kernels: bool | None,
) -> None:
    """One that is missing, and one that fails: a line in the log, and no file.

    It is a warning to whoever asked for kernels.
    """
    compiler = tmp_path / "cc"
    if said:
        compiler.write_text(f"#!/bin/sh\n[ $# = 1 ] && exit 0\n{said}\nexit 1\n")
        compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with caplog.at_level(logging.INFO):
        own = packed(Sinusoid(5, 5), [8], kernels=kernels)
    assert own.kernels == Kernels()
    ((_, level, line),) = caplog.record_tuples
    assert level == (logging.WARNING if kernels else logging.INFO)
    assert ("no such thing" if said else "no C compiler") in line
    assert "TensorFlow's operations train" in line
    assert not fresh.exists()
    assert np.isfinite(moved(own)).all()


class Loader:
    """Stands for TensorFlow: keeps what it is told to load, refuses what is damaged."""

    def __init__(self) -> None:
        self.loaded: list[bytes] = []
        self.errors = tf.errors
        self.__version__ = "0"

    def load_op_library(self, path: str) -> Any:
        """Counts."""
        content = Path(path).read_bytes() if Path(path).exists() else b"missing"
        if not content.startswith(b"library"):
            raise tf.errors.NotFoundError(None, None, "invalid ELF header")
        self.loaded.append(content)
        return SimpleNamespace()


def test_a_library_is_made_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found again by its name; made again where it is damaged or cannot be kept."""
    loader, made = Loader(), []

    def compiled(compiler: str) -> bytes:
        made.append(compiler)
        return b"library %d" % len(made)

    monkeypatch.setattr(library, "tf", loader)
    monkeypatch.setattr(library, "_compiled", compiled)
    monkeypatch.setattr(library, "_told", lambda command: "a compiler")
    monkeypatch.setattr("shutil.which", lambda name: "cc")

    def again() -> bytes:
        library.load.cache_clear()
        library.load()
        return loader.loaded[-1]

    assert [again(), again(), library.load() and loader.loaded[-1]] == [b"library 1"] * 3
    (kept,) = fresh.iterdir()
    kept.write_bytes(b"damaged")
    assert [again(), again()] == [b"library 2"] * 2
    monkeypatch.setattr(library, "FLAGS", ("-O0",))
    assert again() == b"library 3" and len(list(fresh.iterdir())) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))  # a file
    assert again() == b"library 4" and len(made) == 4


def test_a_library_is_made_while_tensorflow_loads(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever loads it waits for that, and makes no other; a failure is told by who loads."""
    loader, made = Loader(), []

    def compiled(compiler: str) -> bytes:
        made.append(compiler)
        return b"library"

    monkeypatch.setattr(library, "tf", loader)
    monkeypatch.setattr(library, "_compiled", compiled)
    monkeypatch.setattr(library, "_told", lambda command: "a compiler")
    monkeypatch.setattr("shutil.which", lambda name: "cc")
    library.prepare().join()
    assert len(list(fresh.iterdir())) == 1
    library.load()
    library.prepare().join()
    assert loader.loaded == [b"library"] and made == ["cc"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    library.prepare().join()
    library.load.cache_clear()
    with pytest.raises(library.Unavailable, match="no C compiler"):
        library.load()


def test_a_library_that_does_not_load_is_none(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the cache folder nor from anywhere else: the line says so."""
    monkeypatch.setattr(library, "tf", Loader())
    monkeypatch.setattr(library, "_compiled", lambda compiler: b"damaged")
    monkeypatch.setattr(library, "_told", lambda command: "a compiler")
    monkeypatch.setattr("shutil.which", lambda name: "cc")
    with pytest.raises(library.Unavailable, match="cannot load the library: invalid ELF header"):
        library.load()
