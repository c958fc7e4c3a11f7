"""A study as pandas frames.

    from maml_sweep.analysis import frames
    study = frames.load("first")            # or a study's folder, or nothing for the newest

`study.trials`, `.values`, `.parameters`, `.validation`, `.adaptation`, `.cost` and the others are
computed when they are first asked for, from one look at the storage; `COLUMNS` says what each of
their columns holds. Attempts at one slot are merged: a row a slot, whatever was killed on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from maml_sweep.analysis import evaluations, settings, workers
from maml_sweep.analysis.columns import COLUMNS
from maml_sweep.analysis.evaluations import Evaluation
from maml_sweep.analysis.loading import Located, locate, opened
from maml_sweep.analysis.merging import Slot, merged
from maml_sweep.analysis.tables import cost_frame, trial_frame, value_frame
from maml_sweep.files import STUDIES
from maml_sweep.search import storage
from maml_sweep.search import study as studies
from maml_sweep.search.space import Space

__all__ = ["COLUMNS", "Frames", "load", "of"]


def load(
    study: str | Path | None = None, root: str | Path = STUDIES, storage: str | None = None
) -> Frames:
    """Reads a study.

    Args:
      study: its name, its folder, or None for the newest.
      root: the folder of the studies' folders.
      storage: the URL of a server, for studies made with `study.storage`.

    Raises:
      InputError: there is none, none of that name, or nothing readable.
    """
    return of(locate(study, root, storage))


def of(located: Located) -> Frames:
    """Reads a study that was located.

    Raises:
      InputError: it cannot be opened, or is no sweep of ours.
    """
    return Frames(located, opened(located))


class Frames:
    """One study, as it was when it was loaded.

    Attributes:
      located: where it lies.
      study: the open Optuna study.
      plan: what it was asked to do.
      searched: its search space; the frame `space` lists the same.
      slots: slot -> its attempts merged, in the order of the slots.
    """

    def __init__(self, located: Located, study: optuna.Study) -> None:
        self.located = located
        self.study = study
        self.plan = studies.plan_of(study)
        self.searched = Space.from_description(self.plan.space)
        self._attrs = study.user_attrs
        self._trials = study.get_trials(deepcopy=False)
        slots = merged(self._trials, self.plan, self.searched)
        self.slots: dict[int, Slot] = {slot.slot: slot for slot in slots}

    @property
    def name(self) -> str:
        """The study's name."""
        return self.located.name

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.located.folder

    @property
    def direction(self) -> str:
        """Either "minimize" or "maximize"."""
        return self.plan.direction

    @property
    def metric(self) -> str:
        """What is optimised, such as "mse"."""
        return self.plan.metric

    @property
    def sign(self) -> int:
        """1 to minimise, -1 to maximise: `sign * value` is a loss in either case."""
        return self.plan.sign

    @cached_property
    def rungs(self) -> list[int]:
        """The steps at which its trials report: those of its configurations and all reported."""
        steps = {step for slot in self.slots.values() for step in slot.curve}
        for config in (self.plan.config, *self.plan.configs.values()):
            training = config.get("training", {})
            if {"iterations", "report_every"} <= training.keys():
                total, every = training["iterations"], training["report_every"]
                steps |= {*range(every, total, every), total}
        return sorted(steps)

    # -- frames -------------------------------------------------------------------------------

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row a slot; behind the columns of COLUMNS one for every swept group and key."""
        slots = list(self.slots.values())
        frame = trial_frame(slots, self.sign)
        columns = settings.parameter_columns(slots, self.searched)
        return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)

    @cached_property
    def space(self) -> pd.DataFrame:
        """A row a swept group, then one a branch and key."""
        return settings.space_frame(self.searched)

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """A row a slot and parameter that it drew."""
        return settings.parameter_frame(list(self.slots.values()), self.searched)

    @cached_property
    def values(self) -> pd.DataFrame:
        """A row a slot and rung that it came to."""
        return value_frame(self.slots.values(), self.rungs)

    @cached_property
    def validation(self) -> pd.DataFrame:
        """A row a slot and validation task: the metric at the slot's last rung."""
        return evaluations.validation_frame(self.evaluations)

    @cached_property
    def rung_tasks(self) -> pd.DataFrame:
        """A row a slot, rung and validation task; millions in a large study."""
        return evaluations.rung_frame(self.evaluations)

    @cached_property
    def adaptation(self) -> pd.DataFrame:
        """A row a slot and number of inner steps at test time."""
        return evaluations.adaptation_frame(self.evaluations)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """A row a slot: what it came to and what that took."""
        return cost_frame(self.trials, list(self.slots.values()))

    @cached_property
    def turns(self) -> pd.DataFrame:
        """A row a worker's turn, in the order of their beginnings."""
        return workers.turn_frame(self.folder)

    @cached_property
    def workers(self) -> pd.DataFrame:
        """A row a worker that left a lease or began a trial."""
        return workers.worker_frame(self._attrs, self._trials, storage.now(self.study))

    # -- one slot -----------------------------------------------------------------------------

    @cached_property
    def evaluations(self) -> dict[int, Evaluation]:
        """Slot -> its arrays over validation tasks; complete and pruned slots have some."""
        ended = (slot.slot for slot in self.slots.values() if slot.state in {"complete", "pruned"})
        return evaluations.read(self.folder, ended)

    def per_task(self, slots: Iterable[int]) -> np.ndarray:
        """Float64 [slot, task]: the metric of each validation task at the slots' last rungs.

        Raises:
          KeyError: a slot without evaluation.
        """
        rows = [self.evaluations[int(slot)].rung_metric[-1] for slot in slots]
        return np.stack(rows) if rows else np.empty((0, 0))

    def curve(self, slot: int) -> pd.DataFrame:
        """The rows of `values` of one slot."""
        return self.values[self.values["slot"] == slot].reset_index(drop=True)

    def config(self, slot: int) -> dict[str, Any]:
        """All that a slot's trial trains with: its branch's configuration and what it drew."""
        return self.slots[int(slot)].configuration()
