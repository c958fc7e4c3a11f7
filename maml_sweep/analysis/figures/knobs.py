"""A number that trials trained with, whether it was searched, fixed, or both by branch."""

from __future__ import annotations

import numpy as np

from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.merging import Slot


def knob(study: Frames, key: str) -> np.ndarray:
    """What every trial had for `key`: drawn, else fixed by its branch's configuration.

    Returns:
      float64 [trial]; NaN where an algorithm has no such number, and where it is not drawn yet.
    """
    return np.array([_number(slot, key) for slot in study.slots.values()], np.float64)


def _number(slot: Slot, key: str) -> float:
    drawn = slot.branch is not None and key in slot.branch.distributions
    value = slot.values.get(key) if drawn else slot.setting(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return np.nan
    return float(value)
