"""Studies with little or nothing to show get figures that hold, or words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from telling import META, RATE, STEPS, TWO, told

from maml_sweep.analysis import figures
from maml_sweep.analysis.drawing import marks, matplotlib, plotly
from maml_sweep.analysis.figures import distribution

NASTY, CHOICES = 'model.<b>é" $x$', ["<i>", 'b & "c"', "$d$"]
ODD: dict[str, Mapping[str, Any]] = {
    "no trials": {"n_trials": 0},
    "one": {"n_trials": 1, "prune": "none"},
    "waiting": {"states": "waiting"},
    "running": {"states": {0: "complete", 1: "running", 2: "running", 3: "waiting"}},
    "pruned": {"states": "pruned"},
    "diverged": {"states": "diverged"},
    "failed": {"states": "failed"},
    "retried": {"states": {1: "retried", 2: "failed"}, "workers": 2, "lease": "dead"},
    "one parameter": {"space": {RATE: TWO[RATE]}},
    "nothing to choose": {"space": {STEPS: "3"}},
    "categorical": {
        "space": {NASTY: CategoricalDistribution(["<i>", 'b & "c"', "$d$"])},
        "n_trials": 8,
    },
    "conditional": {
        "n_trials": 10,
        "groups": {"optimizer": {"adam": {META: "interval(0, 1)"}, "sgd": {}}},
        "space": {RATE: TWO[RATE]},
    },
    "many workers": {"n_trials": 22, "workers": 11},
    "bare": {"turns": False, "evaluations": False},
}


ON_PAPER = ("conditional",)  # for want of time not all


@pytest.mark.parametrize("name", ODD)
def test_odd_studies_get_figures_or_words(name: str, tmp_path: Path) -> None:
    settings = {"n_trials": 4, "rungs": (10, 20, 30), "tasks": 3} | dict(ODD[name])
    answers = told(tmp_path, **settings)
    for module in figures.GENERAL:
        drawing = module.figure(answers)
        json.dumps(plotly.render(drawing), allow_nan=False)
        if name in ON_PAPER:
            matplotlib.save(drawing, tmp_path, "svg")
        if isinstance(drawing, marks.Words):
            assert drawing.text.endswith(".") and drawing.text[0].isupper()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no trials", "The study has no trials, so"),
        ("one", "Only one trial has ended so far (it was completed), so"),
        ("waiting", "None of the 4 trials has finished yet, so"),
        ("pruned", "All 4 trials that have ended were pruned, so"),
        ("diverged", "All 4 trials that have ended diverged, so"),
    ],
)
def test_words_say_why_there_is_nothing_to_show(name: str, words: str, tmp_path: Path) -> None:
    answers = told(tmp_path, **{"n_trials": 4, "rungs": (10, 20, 30)} | dict(ODD[name]))
    drawing = distribution.figure(answers)
    assert isinstance(drawing, marks.Words) and drawing.text.startswith(words)
