"""TensorBoard's files: what stands in them, with and without the package that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeping import TINY, Sweep, interrupt_after, reuse_programs, sweep

from maml_sweep.backend import tf
from maml_sweep.training.pack import Trainer

# One trial after the other, each to its end: rungs at 10 and 20.
TINY_ON = (*TINY, "pack.size=1", "sampler=random", "pruner=none", "study.tensorboard=true")


@pytest.fixture(autouse=True)
def _programs_of_earlier_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    reuse_programs(monkeypatch)


def summaries(done: Sweep, slot: int, plugin: str) -> Iterator[tuple[str, int, Any]]:
    """(tag, step, summary) of one plugin in a slot's event files, in the order of writing."""
    for file in sorted((done.folder / "tensorboard" / str(slot)).iterdir()):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == plugin:
                    yield value.tag, event.step, value


def scalars(done: Sweep, slot: int) -> dict[str, list[tuple[int, float]]]:
    """Tag -> [(step, value)] of a slot."""
    found: dict[str, list[tuple[int, float]]] = {}
    for tag, step, value in summaries(done, slot, "scalars"):
        found.setdefault(tag, []).append((step, float(tf.make_ndarray(value.tensor))))
    return found


def test_the_validation_metric_of_every_rung_and_the_loss(tmp_path: Path) -> None:
    done = sweep(tmp_path, *TINY_ON, "study.n_trials=2")
    assert done.code == 0
    for trial in done.study.trials:
        found = scalars(done, trial.user_attrs["slot"])
        assert set(found) == {"validation/mse", "training/loss"}
        steps, values = zip(*found["validation/mse"], strict=True)
        assert list(steps) == list(trial.intermediate_values) == [10, 20]
        np.testing.assert_allclose(values, list(trial.intermediate_values.values()), rtol=1e-6)
        losses = [loss for _, loss in found["training/loss"]]
        assert np.isfinite(losses).all() and len(losses) == 2


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    done = sweep(tmp_path, *TINY_ON, "study.n_trials=1", "study.tensorboard=false")
    assert done.code == 0
    assert not (done.folder / "tensorboard").exists()


def test_parameters_stand_in_the_table_of_hyperparameters(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    done = sweep(tmp_path, *TINY_ON, "study.n_trials=1", "model.widths=[4],[4,4]")
    ((_, _, value),) = summaries(done, 0, "hparams")
    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    found = data.session_start_info.hparams
    (row,) = done.rows
    assert found["algorithm.inner_lr"].number_value == float(row["algorithm.inner_lr"])
    assert found["model.widths"].string_value == row["model.widths"]  # a list, as JSON


def test_without_the_package_parameters_are_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams", None)
    done = sweep(tmp_path, *TINY_ON, "study.n_trials=1")
    ((tag, _, value),) = summaries(done, 0, "text")
    text = tf.make_ndarray(value.tensor).item().decode()
    assert tag == "parameters"
    assert f"algorithm.inner_lr={done.rows[0]['algorithm.inner_lr']}" in text
    assert [step for step, _ in scalars(done, 0)["validation/mse"]] == [10, 20]


def test_a_resumed_sweep_appends_and_may_switch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of 5 iterations; the 4th look for a signal, in slot 0's second rung, finds one."""
    monkeypatch.setattr(Trainer, "_slice", lambda self, runs: 5)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        assert sweep(tmp_path, *TINY_ON, "study.n_trials=2").code == 130
    done = sweep(tmp_path)
    assert done.code == 0
    for slot in (0, 1):
        assert [step for step, _ in scalars(done, slot)["validation/mse"]] == [10, 20]
    assert len(list((done.folder / "tensorboard" / "0").iterdir())) == 2
    more = sweep(tmp_path, "study.n_trials=3", "study.tensorboard=false")
    assert more.code == 0
    assert sorted(path.name for path in (more.folder / "tensorboard").iterdir()) == ["0", "1"]
