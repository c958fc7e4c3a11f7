"""TensorBoard's view of a sweep: a run a slot, if `study.tensorboard` asks for it.

The event files need TensorFlow alone; the `tensorboard` package, which is what shows them, adds
its table of hyperparameters if it is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.search.claimed import Claimed

FOLDER = "tensorboard"  # in a study's


class Scalars:
    """Writes every trial's values at its rungs; a later attempt at a slot appends to its run.

    Args:
      folder: the study's.
      metric: the name of the validation metric.
      wanted: whether to write at all.
    """

    def __init__(self, folder: Path, metric: str, wanted: bool) -> None:
        self._folder = folder / FOLDER
        self._metric = metric
        self._wanted = wanted
        self._writers: dict[int, Any] = {}  # slot -> its event file

    def report(self, claimed: Claimed) -> None:
        """Writes the validation metric and the meta-training loss at the rung just judged."""
        if not self._wanted:
            return
        training = claimed.training
        losses = [run.loss for run in training.runs]
        writer = self._writer(claimed)
        with writer.as_default(step=training.rung.step):
            _scalar(f"validation/{self._metric}", training.values[-1])
            _scalar("training/loss", sum(losses) / len(losses))
        writer.flush()

    def close(self, slot: int) -> None:
        """Closes the run of a slot that ended or is somebody else's now."""
        writer = self._writers.pop(slot, None)
        if writer is not None:
            writer.close()

    def _writer(self, claimed: Claimed) -> Any:
        slot = claimed.slot
        if slot not in self._writers:
            writer = tf.summary.create_file_writer(str(self._folder / str(slot)))
            with writer.as_default(step=0):
                _parameters(claimed.values, slot)
            self._writers[slot] = writer
        return self._writers[slot]


def _scalar(name: str, value: float) -> None:
    """As `tf.summary.scalar`, which does not work without the `tensorboard` package."""
    metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)


def _parameters(values: Mapping[str, Any], slot: int) -> None:
    """A row of TensorBoard's table of hyperparameters, or a text if it is not installed."""
    plain = {key: _plain(value) for key, value in values.items()}
    try:
        from tensorboard.plugins.hparams import api
    except ImportError:
        metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_TENSOR")
        metadata.plugin_data.plugin_name = "text"
        text = "\n".join(f"    {key}={value}" for key, value in plain.items())
        tf.summary.write("parameters", tf.constant(text), metadata=metadata)
    else:
        api.hparams(plain, trial_id=str(slot))


def _plain(value: Any) -> bool | int | float | str:
    """A drawn value as the table can hold it; a list as JSON."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
