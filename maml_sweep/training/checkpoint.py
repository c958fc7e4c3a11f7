"""Checkpoints of unfinished trials: parameters, optimizer state, counters and values so far."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import numpy as np

from maml_sweep.files import write_atomic
from maml_sweep.training.trial import Trial

log = logging.getLogger(__name__)

_ARRAYS = ("theta", "moment1", "moment2")  # float [run, parameter]
_COUNTERS = ("iteration", "seconds")  # [run]
_RECORD = ("seed", "values", "per_task")  # [], float [rung], float [rung, task]
# What NumPy and zipfile raise for damaged bytes: a flag or a version nobody knows, a lost name, …
DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, zipfile.BadZipFile)


def path_of(folder: Path, slot: int) -> Path:
    """Where a slot's checkpoint lies in a study's folder."""
    return folder / "checkpoints" / f"{slot}.npz"


def save(path: Path, trial: Trial) -> None:
    """Writes a trial's whole state; the old checkpoint stands until the new one is whole."""
    arrays = {name: np.stack([getattr(run, name) for run in trial.runs]) for name in _ARRAYS}
    arrays |= {name: np.array([getattr(run, name) for run in trial.runs]) for name in _COUNTERS}
    arrays |= {"seed": np.array(trial.seed), "values": np.array(trial.values)}
    arrays |= {"per_task": np.array(trial.per_task)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub mixes in allow_pickle
    # A kill loses nothing that was handed to the system; a power cut may, and costs a restart.
    write_atomic(path, buffer.getvalue(), durable=False)


def restore(path: Path, trial: Trial) -> bool:
    """Brings a fresh trial to where its checkpoint was written.

    Returns:
      False, with the trial as it was, if there is no checkpoint or it cannot be used (then with
      a warning: the trial starts anew).
    """
    try:
        with path.open("rb") as stream, np.load(stream) as file:  # np.load leaves torn files open
            arrays = {name: file[name] for name in (*_ARRAYS, *_COUNTERS, *_RECORD)}
        _check(arrays, trial)
    except FileNotFoundError:
        return False
    except DAMAGE as error:
        log.warning("checkpoint %s cannot be used (%s): the trial starts anew", path, error)
        return False
    for index, run in enumerate(trial.runs):
        for name in (*_ARRAYS, *_COUNTERS):
            value = arrays[name][index]
            setattr(run, name, value.copy() if name in _ARRAYS else value.item())
    trial.values[:] = arrays["values"].tolist()
    trial.per_task[:] = list(arrays["per_task"])
    return True


def _check(arrays: dict[str, np.ndarray], trial: Trial) -> None:
    """Raises ValueError unless the arrays are those of this trial."""
    if int(arrays["seed"]) != trial.seed:
        raise ValueError(f"it belongs to trial seed {int(arrays['seed'])}, not {trial.seed}")
    for name in _ARRAYS:
        expected = (len(trial.runs), *trial.runs[0].theta.shape)
        if arrays[name].shape != expected or arrays[name].dtype != trial.runs[0].theta.dtype:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {expected}")
    counts = {name: len(arrays[name]) for name in _COUNTERS}
    if set(counts.values()) != {len(trial.runs)} or len(arrays["per_task"]) != len(
        arrays["values"]
    ):
        raise ValueError("its parts are of different lengths")
    if len(arrays["values"]) >= len(trial.settings.rungs):
        raise ValueError("it has more rungs than the trial")
