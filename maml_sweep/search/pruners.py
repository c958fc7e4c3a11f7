"""Which trials of a pack to stop at a rung: our rules, and Optuna's pruners for packs.

Optuna's pruners are asked trial by trial while a pack reports many at once: the answer would hang
on the order, and several of them look at COMPLETE trials only, so that a first pack is never
pruned. Here the worker reports the whole pack first and then asks once, for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner

from maml_sweep.errors import InputError
from maml_sweep.search.pack_pruner import PackPruner, Report, best_first
from maml_sweep.search.rungs import RungPruner
from maml_sweep.search.wilcoxon import WilcoxonPruner

__all__ = ["PackPruner", "Report", "RungPruner", "StockPruner", "WilcoxonPruner", "build"]


class StockPruner(PackPruner):
    """One of Optuna's pruners, asked for the best trial of the pack first.

    Successive halving promotes whoever comes first to a rung; by value, and not by chance, the
    best comes first.
    """

    def __init__(self, pruner: BasePruner) -> None:
        """Wraps `pruner`."""
        self.stock = pruner

    def decide(self, study: optuna.Study, reports: Sequence[Report]) -> set[int]:
        """See `PackPruner.decide`."""
        trials = study.get_trials(deepcopy=False)  # a pruner takes notes on whom it is asked of
        return {
            report.number
            for report in best_first(study, reports)
            if self.stock.prune(study, trials[report.number])
        }


def build(pruner: Any) -> PackPruner:
    """Makes a pack's pruner of an instantiated `pruner` node, ours or Optuna's."""
    if isinstance(pruner, PackPruner):
        return pruner
    if isinstance(pruner, BasePruner):
        return StockPruner(pruner)
    raise InputError(
        "pruner._target_: expected a PackPruner or an optuna.pruners.BasePruner, got "
        f"{type(pruner).__name__}"
    )
