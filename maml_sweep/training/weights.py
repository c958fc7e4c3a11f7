"""Trained weights on disk: plain NumPy arrays by name, and how they came to be.

An `.npz` that `numpy.load` opens by itself: one array a parameter, in the layouts that Keras's
layers take (`Dense`: [in, out]; `Conv2D`: [row, column, in, out]), and `meta`, a JSON text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.files import write_atomic
from maml_sweep.training.checkpoint import DAMAGE

FORMAT = 1
META = "meta"  # no parameter's name, for those have a slash


@dataclass(frozen=True)
class Meta:
    """What the weights are.

    Attributes:
      study: the sweep whose winner this is.
      slot: the winner's.
      index: which of its fresh seeds.
      seed: of the run.
      iterations: meta-iterations trained.
      metric: what the task measures.
      direction: "minimize" or "maximize".
      config: task, model, algorithm, optimizer and training, as resolved.
      test: the metric on the meta-test tasks: seed (that fixes the tasks), tasks, steps, mean.
    """

    study: str
    slot: int
    index: int
    seed: int
    iterations: int
    metric: str
    direction: str
    config: dict[str, Any]
    test: dict[str, Any]


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: Meta) -> None:
    """Writes a file of weights, whole or not at all."""
    text = json.dumps({"format": FORMAT, **asdict(meta)}, ensure_ascii=False)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{META: np.array(text)})  # type: ignore[arg-type]  # as in checkpoint
    write_atomic(path, buffer.getvalue())


def read(path: str | Path) -> tuple[dict[str, np.ndarray], Meta]:
    """Reads a file of weights.

    Returns:
      the arrays by name, and what they are.

    Raises:
      InputError: no such file, a damaged one, one of a newer format.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream) as file:
            arrays = {name: file[name] for name in file.files}
        stored = json.loads(str(arrays.pop(META)))
        version = int(stored["format"])
        if version > FORMAT:
            raise InputError(
                f"{path}: written by a newer maml_sweep (format {version}, this one reads "
                f"{FORMAT}); upgrade it"
            )
        return arrays, Meta(**{field.name: stored[field.name] for field in fields(Meta)})
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; `maml-sweep train STUDY` writes <study>/winners/<slot>-<k>.npz"
        ) from None
    except DAMAGE as error:
        raise InputError(
            f"{path}: no weights of maml_sweep, or damaged ({_first_line(error)}); train anew"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
