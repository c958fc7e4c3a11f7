"""What a study says: every answer computed once, for figures, report, findings and commands.

    answers = Answers(frames.load("first"))
    answers.winners          # the trials that cannot be told from the best
    answers.findings         # the same in sentences

Nothing is computed before it is asked for. Where a study is too small or too odd for an answer,
that answer is None or empty, never an error: see each module for when.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from maml_sweep.analysis import (
    bounds,
    divergence,
    findings,
    savings,
    selection,
    standing,
)
from maml_sweep.analysis.bounds import Bound
from maml_sweep.analysis.divergence import Divergence
from maml_sweep.analysis.importance import Importance, importances
from maml_sweep.analysis.savings import Savings
from maml_sweep.analysis.statistics import Interval

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames


class Answers:
    """The answers to one study's questions.

    Attributes:
      frames: the study's frames.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    @cached_property
    def best(self) -> int | None:
        """The slot of the COMPLETE trial with the best value; None while there is none."""
        return selection.best(self.frames)

    @cached_property
    def interval(self) -> Interval | None:
        """95% interval of the best trial's metric over tasks; None without its evaluation."""
        return selection.best_interval(self.frames, self.best)

    @cached_property
    def standing(self) -> pd.Series[float]:
        """Slot -> 0 (best) … 1 (worst); see `maml_sweep.analysis.standing`."""
        return standing.standings(self.frames)

    @cached_property
    def winners(self) -> pd.DataFrame:
        """The trials that cannot be told from the best at 95%; see `selection.winner_table`.

        Columns: slot, mean, difference (to the best, worse is positive), low, high (its 95%
        interval), p. The best first; empty without evaluations.
        """
        return selection.winner_table(self.frames)

    @cached_property
    def importance(self) -> pd.DataFrame:
        """What mattered: parameter, branch, fanova, fanova_sd, pedanova, trials.

        `branch` is empty for what all branches share; most important first; empty where
        `importance_words` says why nothing can be told.
        """
        return self._importance.table

    @cached_property
    def importance_words(self) -> str:
        """How the importances came about, above all what pruned trials counted for."""
        return self._importance.words

    @property
    def importance_told(self) -> bool:
        """Whether parameters explain more of the standings than they would of noise."""
        return self._importance.told

    @cached_property
    def _importance(self) -> Importance:
        return importances(self.frames, self.standing)

    @cached_property
    def bounds(self) -> list[Bound]:
        """The bounds of the space at which the optimum lies; empty if it lies inside."""
        return bounds.at_bounds(self.frames, self.standing)

    @cached_property
    def savings(self) -> Savings:
        """What pruning and packing saved."""
        return savings.savings(self.frames)

    @cached_property
    def divergence(self) -> Divergence | None:
        """Where training diverges; None if it never did, or always, or nothing tells where."""
        return divergence.fit(self.frames)

    @cached_property
    def findings(self) -> list[str]:
        """Sentences for the top of a report, the most important first; never empty."""
        return findings.sentences(self)

    @cached_property
    def next_command(self) -> str:
        """The line to run next."""
        return findings.next_command(self)
