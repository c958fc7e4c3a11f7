"""The figures of a report, in its order: what any sweep can show, then what only MAML's can.

Every module has a pure function that computes the frame it draws, and `figure(answers)`, which
gives a drawing, or words where there is nothing to show.
"""

from __future__ import annotations

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Drawing
from maml_sweep.analysis.figures import (
    adaptation,
    cost,
    curves,
    distribution,
    divergence,
    hardness,
    history,
    importance,
    pairs,
    parallel,
    savings,
    slices,
    steps_map,
    timeline,
)

GENERAL = (
    history,
    curves,
    slices,
    importance,
    pairs,
    parallel,
    cost,
    distribution,
    timeline,
)
MAML = (steps_map, divergence, adaptation, hardness, savings)


def all_figures(answers: Answers) -> list[Drawing]:
    """Every figure of a study."""
    return [module.figure(answers) for module in (*GENERAL, *MAML)]
