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

from maml_sweep.algorithms import MAML, MetaSGD
from maml_sweep.backend import tf
from maml_sweep.kernels import library
from maml_sweep.models import MLP, Conv4
from maml_sweep.tasks import Sinusoid
from maml_sweep.tasks.base import Task
from maml_sweep.training.pack import Run, start
from maml_sweep.training.program import Program

BOUND = 3
compiles = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def packed(task: Task, widths: list[int], *, kernels: bool, **options: Any) -> Program:
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


# -- the library ----------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache folder of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    yield tmp_path / "maml_sweep"
    library.load.cache_clear()


@pytest.mark.parametrize("said", ["", "echo 'x.c:1: error: no such thing' >&2"])
def test_without_a_compiler_tensorflow_trains(
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
) -> None:
    """One that is missing, and one that fails: a line in the log, and no file."""
    compiler = tmp_path / "cc"
    if said:
        compiler.write_text(f"#!/bin/sh\n[ $# = 1 ] && exit 0\n{said}\nexit 1\n")
        compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with caplog.at_level(logging.WARNING):
        own = packed(Sinusoid(5, 5), [8], kernels=True)
    assert own.kernels.mlp is None
    (line,) = caplog.messages
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


def test_a_library_that_does_not_load_is_none(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the cache folder nor from anywhere else: the line says so."""
    monkeypatch.setattr(library, "tf", Loader())
    monkeypatch.setattr(library, "_compiled", lambda compiler: b"damaged")
    monkeypatch.setattr(library, "_told", lambda command: "a compiler")
    monkeypatch.setattr("shutil.which", lambda name: "cc")
    with pytest.raises(library.Unavailable, match="cannot load the library: invalid ELF header"):
        library.load()
