"""A winner beside what needs no meta-learning, on the same meta-test tasks.

    python sweep.py task=sentiment study.name=reviews
    maml-sweep train reviews
    python benchmarks/baselines.py outputs/reviews/winners/SLOT-0.npz

WEIGHTS is a winner of a task that has a file baseline_<task>.py beside this one. Each baseline
learns from the support set alone, or from the training split without learning to learn; `oracle`
knows what the data was made from. Printed are means over the tasks, and for the winner half the
width of a 95% interval.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Sequence

import maml_sweep
from maml_sweep.errors import InputError
from maml_sweep.learner import Learner

FILES = {
    **dict.fromkeys(("CifarFS", "Glyphs", "ImageFolder", "MiniImageNet", "Omniglot"), "images"),
    "Boxes": "boxes",
    "Ratings": "ratings",
    "Sentiment": "sentiment",
    "TabularClasses": "tabular",
    "TabularValues": "tabular",
    "Text": "text",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="a .npz of `maml-sweep train`")
    parser.add_argument("--tasks", type=int, default=600, help="meta-test tasks (600)")
    chosen = parser.parse_args(arguments)
    try:
        show(maml_sweep.load(chosen.weights), chosen.tasks)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def show(learner: Learner, tasks: int) -> None:
    """Prints the winner's metric and its task's baselines.

    Raises:
      InputError: the task has none.
    """
    name = type(learner.task).__name__
    if name not in FILES:
        raise InputError(f"{name}: has no baselines; those that have are {', '.join(FILES)}")
    for measure in ("", *learner.task.measures):
        scores = learner.evaluate("test", tasks, measure)
        half = 1.96 * scores.std(ddof=1) / math.sqrt(tasks)
        print(f"ours, {measure or learner.task.metric}: {scores.mean():.4g} ± {half:.2g}")
    baseline = importlib.import_module(f"baseline_{FILES[name]}").baseline
    for what, value in baseline(learner.task, tasks, int(learner.meta.test["seed"])).items():
        print(f"{what}: {value:.4g}")


if __name__ == "__main__":
    sys.exit(main())
