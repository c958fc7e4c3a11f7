"""What a meta-step costs through the Keras adapter, beside the same network of this package.

    python benchmarks/keras_adapter.py            # five minutes on two cores; leave them alone
    python benchmarks/keras_adapter.py --quick    # whether it works at all

Prints milliseconds a meta-iteration: the networks of this package, the same as Keras models of
known layers, and the same with the model inside a layer of the user's own, which nobody knows and
which is therefore called lane by lane.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from maml_sweep import build, config, streams  # noqa: E402
from maml_sweep.algorithms import MAML  # noqa: E402
from maml_sweep.models import MLP, Conv4, Keras  # noqa: E402
from maml_sweep.models.base import Model  # noqa: E402
from maml_sweep.tasks import Glyphs, Sinusoid, Task  # noqa: E402
from maml_sweep.training import devices, optimizers  # noqa: E402
from maml_sweep.training.pack import Trainer, start  # noqa: E402
from maml_sweep.training.program import Program  # noqa: E402
from maml_sweep.training.settings import Rung, Settings  # noqa: E402


def conv4(input_shape: Sequence[int], outputs: int, filters: int = 32, opaque: bool = False) -> Any:
    """Conv4 with max pooling, of known layers or as one layer of the user's own."""
    from maml_sweep.models.keras_adapter.library import keras

    layers = keras.layers
    parts: list[Any] = []
    for size in (2, 2, 2, 2):
        parts += [layers.Conv2D(filters, 3, padding="same", use_bias=False)]
        parts += [layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(size)]
    return _model(keras, input_shape, [*parts, layers.Flatten()], outputs, opaque)


def mlp(input_shape: Sequence[int], outputs: int, opaque: bool = False) -> Any:
    """Two layers of 40 units."""
    from maml_sweep.models.keras_adapter.library import keras

    layers = keras.layers
    parts = [layers.Dense(40, activation="relu"), layers.Dense(40, activation="relu")]
    return _model(keras, input_shape, parts, outputs, opaque)


def lstm(input_shape: Sequence[int], outputs: int, units: int = 32) -> Any:
    """A picture read row by row."""
    from maml_sweep.models.keras_adapter.library import keras

    layers = keras.layers
    parts = [layers.Reshape(input_shape[:2]), layers.LSTM(units)]
    return _model(keras, input_shape, parts, outputs, False)


def attention(input_shape: Sequence[int], outputs: int) -> Any:
    """A picture's rows under attention of four heads."""
    from maml_sweep.models.keras_adapter.library import keras

    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = layers.Dense(32)(layers.Reshape(input_shape[:2])(inputs))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling1D()(x)))


def _model(keras: Any, shape: Sequence[int], parts: list[Any], outputs: int, opaque: bool) -> Any:
    inputs = x = keras.Input(shape)
    body: list[Any] = [_opaque(keras, parts)] if opaque else parts
    for layer in body:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Dense(outputs)(x))


def _opaque(keras: Any, parts: list[Any]) -> Any:
    """A layer that calls these one behind another."""

    class Stack(keras.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = parts

        def build(self, shape: Any) -> None:
            for part in self.parts:
                part.build(shape)
                shape = part.compute_output_shape(shape)

        def call(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x)
            return x

        def compute_output_shape(self, shape: Any) -> Any:
            for part in self.parts:
                shape = part.compute_output_shape(shape)
            return shape

    return Stack()


class Case(NamedTuple):
    """A workload and the models to time on it."""

    title: str
    task: Callable[[], Task]
    batch: int
    models: dict[str, Callable[[Task], Model]]


def _keras(name: str, **arguments: Any) -> Callable[[Task], Model]:
    return lambda task: Keras(task.input_shape, task.outputs, f"keras_adapter.{name}", arguments)


CASES = (
    Case(
        "sinusoid, MLP 40-40, 25 tasks, K=10, 1 inner step",
        lambda: Sinusoid(10, 10),
        25,
        {
            "native": lambda task: MLP(task.input_shape, task.outputs),
            "Keras, known layers": _keras("mlp"),
            "Keras, one unknown layer": _keras("mlp", opaque=True),
        },
    ),
    Case(
        "glyphs 5-way 1-shot, Conv4 of 32 filters, 16 tasks, 1 inner step",
        lambda: Glyphs(5, 1, 15),
        16,
        {
            "native": lambda task: Conv4(task.input_shape, task.outputs, 32),
            "Keras, known layers": _keras("conv4"),
            "Keras, one unknown layer": _keras("conv4", opaque=True),
        },
    ),
    Case(
        "glyphs 5-way 1-shot, 4 tasks, 1 inner step",
        lambda: Glyphs(5, 1, 15),
        4,
        {
            "LSTM of 32 over 28 rows": _keras("lstm"),
            "attention of 4 heads over 28 rows": _keras("attention"),
        },
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Times every case and prints a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args(arguments).quick
    device = devices.configure(SimpleNamespace(inter_op=2, intra_op=1, compile=None))
    for case in CASES:
        print(f"\n{case.title}\n")
        print("| model | ms a meta-step | first call, s |\n|---|---|---|")
        for name, (step, first) in _timed(case, device, quick).items():
            print(f"| {name} | {1000 * step:.2f} | {first:.1f} |", flush=True)


def _timed(case: Case, device: Any, quick: bool) -> dict[str, tuple[float, float]]:
    """(seconds a meta-step, seconds of the first call) of each model; the models take turns."""
    steps = {name: _stepper(case, make, device) for name, make in case.models.items()}
    firsts = {name: step(1) for name, step in steps.items()}
    counts = {
        name: max(1, int((0.05 if quick else 1.0) / step(2) * 2)) for name, step in steps.items()
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 if quick else 5):
        for name, step in steps.items():
            found[name].append(step(counts[name]) / counts[name])
    return {name: (statistics.median(times), firsts[name]) for name, times in found.items()}


def _stepper(case: Case, make: Callable[[Task], Model], device: Any) -> Callable[[int], float]:
    """A function that trains so many iterations and says how long it took."""
    task = case.task()
    learnt = build.problem(task, make(task))
    program = Program(
        task, learnt, MAML(0.01, 1), bound=1, shards=device.shards, compiled=device.compiled
    )
    trainer = Trainer(program)
    settings = _settings(case.batch)
    run = start(program, settings, streams.derive_seed("benchmark"))

    def step(count: int) -> float:
        begin = time.perf_counter()
        for _ in trainer.advance([run], [run.iteration + count]):
            pass
        return time.perf_counter() - begin

    return step


def _settings(batch: int) -> Settings:
    from omegaconf import OmegaConf

    adam = optimizers.build(OmegaConf.structured(config.GROUPS["optimizer"]["adam"]()))
    return Settings(
        knobs={"inner_lr": 0.01, "inner_clip": float("inf")},
        inner_steps=1,
        optimizer=adam,
        meta_batch_size=batch,
        eval_steps=1,
        rungs=(Rung(1_000_000, 1_000_000),),
    )


if __name__ == "__main__":
    main()
