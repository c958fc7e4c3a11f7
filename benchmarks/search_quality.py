"""Which search finds the best value soonest: samplers, pruners and packs, over many seeds.

    python benchmarks/search_quality.py             # 24 seeds on a landscape: some minutes
    python benchmarks/search_quality.py --real      # real training, default pack against one by one
    python benchmarks/search_quality.py --picture docs/search_quality.png

Sweeps are played by the code that real workers run: slots claimed, parameters drawn, packs reported
and judged, results told. Only training is replaced, by curves interpolated from 139 real trials of
`python sweep.py` (`benchmarks/landscape.py`). A contender differs from the default sweep in what
its name says; for one seed all contenders have the same trial seeds. Two questions are asked:

*After N trials*, the acceptance: the best final value, paired over the seeds with that of one trial
at a time. *After so many trial-steps* (meta-iterations of one trial): what matters to somebody who
waits, as a pruned trial costs less than a whole one. Differences are of logarithms and shown as
percentages, with a 95% interval of the mean and Wilcoxon's signed-rank p, two-sided.

Seconds are modelled: a trial-step costs its tasks times its inner steps, and a pack makes them at
the rate of `RATES`, round figures for two cores (`benchmarks/packing.py` measures them).
Evaluations are not counted. So seconds tell packs apart, and say nothing exact.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks import landscape  # noqa: E402
from benchmarks.played_sweeps import Contender, Course, play  # noqa: E402
from benchmarks.real_sweeps import played_for_real  # noqa: E402
from maml_sweep.analysis.statistics import paired  # noqa: E402

SEEDS = 24
TRIALS = 32
BUDGETS = (16_000, 32_000, 64_000)  # trial-steps: 8, 16 and 32 whole trials

Array = NDArray[np.float64]

# -- many of them ---------------------------------------------------------------------------------

ONE = Contender("TPE, one at a time", pack=1)
WHOLE = Contender("TPE, one at a time, no pruning", pack=1, pruner="none")
DEFAULT = Contender("default")
PACKS = [Contender(f"pack of {size}", pack=size) for size in (2, 4, 8, 16, 32)]
SAMPLING = [
    Contender("random", "random"),
    Contender("random, no pruning", "random", "none"),
    Contender("qmc", "qmc"),
    Contender("cmaes", "cmaes"),
    Contender("nsgaii", "nsgaii"),
    *(Contender(f"{n} start-up trials", sampling={"n_startup_trials": n}) for n in (4, 12, 16)),
    Contender("64 candidates", sampling={"n_ei_candidates": 64}),
    Contender("constant liar", sampling={"constant_liar": True}),
    Contender("one parameter at a time", sampling={"multivariate": False, "group": False}),
]
PRUNING = [
    Contender("no pruning", pruner="none"),
    *(Contender(f"grace {grace}", pruning={"grace": grace}) for grace in (0.06, 0.2, 0.3)),
    *(Contender(f"keep {keep}", pruning={"keep": keep}) for keep in (0.1, 0.33)),
    *(Contender(f"smooth {smooth}", pruning={"smooth": smooth}) for smooth in (1, 3)),
    Contender("median", pruner="median"),
    Contender("halving", pruner="halving"),
    Contender("hyperband", pruner="hyperband"),
]
ALL = [ONE, WHOLE, DEFAULT, *PACKS, *SAMPLING, *PRUNING]
SHOWN = [DEFAULT, ONE, WHOLE, SAMPLING[1], PACKS[-2]]  # in the picture

Courses = dict[str, list[Course]]  # contender -> [seed]


@cache
def _curves() -> landscape.Landscape:
    """Once a process."""
    return landscape.load()[0]


def _played(task: tuple[Contender, int, int, float | None]) -> Course:
    return play(_curves(), *task)


def contest(
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    trials: int,
    budget: float | None,
    processes: int,
) -> Courses:
    """Plays every contender with every seed."""
    tasks = [(each, seed, trials, budget) for each in contenders for seed in seeds]
    with ProcessPoolExecutor(processes) as pool:
        played = iter(list(pool.map(_played, tasks, chunksize=4)))
    return {each.name: [next(played) for _ in seeds] for each in contenders}


# -- what came of it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A contender against another, over the same seeds.

    Attributes:
      change: of the geometric mean of the best values, -0.02 is 2% less.
      low: lower end of its 95% interval.
      high: upper end.
      p: of Wilcoxon's signed-rank test, two-sided; 1 if no pair differs.
      better: seeds on which it found less.
      worse: on which it found more.
    """

    change: float
    low: float
    high: float
    p: float
    better: int
    worse: int


def compare(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Compares best values, [seed] each, finite, less is better."""
    from scipy import stats

    logs, other = np.log(values), np.log(others)
    told = paired(logs, other).interval
    gaps = logs - other
    p = float(stats.wilcoxon(gaps).pvalue) if gaps.any() else 1.0
    change, low, high = np.expm1([told.mean, told.low, told.high]).tolist()
    return Difference(change, low, high, p, int((gaps < 0).sum()), int((gaps > 0).sum()))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _change(told: Difference) -> list[str]:
    ends = f"{100 * told.low:+.1f} … {100 * told.high:+.1f}"
    return [
        f"{100 * told.change:+.1f}% ({ends})", f"{told.p:.3f}", f"{told.better} : {told.worse}"
    ]  # fmt: skip


def after_trials(courses: Courses, reference: str) -> str:
    """Markdown: the best value when all trials have ended."""
    head = ["contender", "best, median", f"against '{reference}'", "p", "seeds better : worse",
            "trial-steps", "modelled s"]  # fmt: skip
    lines = [_row(head), "|---" * len(head) + "|"]
    others = [course.best[-1] for course in courses[reference]]
    for name, played in courses.items():
        values = [course.best[-1] for course in played]
        told = ["", "", ""] if name == reference else _change(compare(values, others))
        steps = np.median([course.steps[-1] for course in played])
        seconds = np.median([course.seconds[-1] for course in played])
        lines.append(
            _row([name, f"{np.median(values):.4f}", *told, f"{steps:,.0f}", f"{seconds:.0f}"])
        )
    return "\n".join(lines)


def after_steps(courses: Courses, reference: str, budgets: Sequence[float] = BUDGETS) -> str:
    """Markdown: the best value once so many trial-steps are spent."""
    shown = [f"{budget / 1000:.0f}k" for budget in budgets]
    head = ["contender", *shown, *(f"{each} against '{reference}'" for each in shown[1:]), "p"]
    lines = [_row(head), "|---" * len(head) + "|"]
    for name, played in courses.items():
        found = [[course.after(budget) for course in played] for budget in budgets]
        cells = [_middle(values) for values in found]
        told = ["", ""]
        for values, budget in zip(found[1:], budgets[1:], strict=True):
            others = [course.after(budget) for course in courses[reference]]
            known = name != reference and np.isfinite([*values, *others]).all()
            told[1:] = _change(compare(values, others))[:2] if known else ["", ""]
            cells.append(told[1])
        lines.append(_row([name, *cells, told[-1]]))
    return "\n".join(lines)


def _middle(values: Sequence[float]) -> str:
    """The median; in words where half of the sweeps have found nothing yet."""
    middle = float(np.median(values))
    return f"{middle:.4f}" if np.isfinite(middle) else "nothing yet"


# -- the picture ----------------------------------------------------------------------------------


def picture(path: Path, courses: Courses) -> None:
    """Draws medians and quartiles of the best value so far, of every contender."""
    from maml_sweep.analysis.drawing import matplotlib as paper
    from maml_sweep.analysis.drawing.marks import Axis, Band, Figure, Line, Mark, Panel

    at = np.linspace(0, BUDGETS[-1], 129)[1:]
    bands: list[Mark] = []
    lines: list[Mark] = []
    for index, (name, played) in enumerate(courses.items()):
        low, middle, high = quartiles(played, at)
        seen = np.isfinite(high)
        colour = f"series{index}"
        bands.append(Band(at[seen], low[seen], high[seen], colour=colour))
        lines.append(Line(at[seen], middle[seen], name, colour))
    ticks = {value: f"{value:g}" for value in (0.06, 0.08, 0.1, 0.15, 0.2, 0.3)}
    thousands = {float(steps): f"{steps:,}" for steps in range(0, BUDGETS[-1] + 1, 16_000)}
    x = Axis("trial-steps", low=0, high=BUDGETS[-1], ticks=thousands)
    y = Axis("best validation MSE so far", "log", low=0.06, high=0.3, ticks=ticks)
    figure = Figure(path.stem, "", "", (Panel((*bands, *lines), x, y),), columns=2, height=420)
    paper.save(figure, path.parent, path.suffix[1:])


def quartiles(played: Sequence[Course], at: Array) -> Array:
    """The lower quartile, the median and the upper quartile over seeds; [3, cost].

    Infinite where they lie among sweeps in which no trial has come to its end.
    """
    found = np.array([[course.after(steps) for steps in at] for course in played])
    middle: Array = np.quantile(found, (0.25, 0.5, 0.75), axis=0, method="higher")
    return middle


# -- real training --------------------------------------------------------------------------------


def real(seeds: int, journal: Path | None) -> str:
    """Runs pairs of real sweeps and compares them; those in the journal are not run again."""
    lines = journal.read_text().splitlines() if journal and journal.exists() else []
    pairs = [json.loads(line) for line in lines]
    for seed in range(len(pairs), seeds):
        order = (ONE, DEFAULT) if seed % 2 else (DEFAULT, ONE)
        pairs.append({
            each.name: played_for_real(seed, f"pack.size={each.pack or 'auto'}") for each in order
        })  # fmt: skip
        print(json.dumps(pairs[-1]), flush=True)
        if journal:
            with journal.open("a") as file:
                file.write(json.dumps(pairs[-1]) + "\n")
    found = {name: [pair[name] for pair in pairs] for name in (ONE.name, DEFAULT.name)}
    ours, theirs = ([run["best"] for run in found[name]] for name in (DEFAULT.name, ONE.name))
    steps = {name: np.mean([run["steps"] for run in runs]) for name, runs in found.items()}
    return (
        f"{len(pairs)} pairs of real sweeps: best value {np.median(ours):.4f} by default, "
        f"{np.median(theirs):.4f} one trial at a time (medians); difference, p, seeds better : "
        f"worse: {', '.join(_change(compare(ours, theirs)))}; trial-steps a sweep "
        f"{steps[DEFAULT.name]:,.0f} and {steps[ONE.name]:,.0f}"
    )


# -- the whole ------------------------------------------------------------------------------------


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders, beside the first")
    parser.add_argument("--picture", type=Path, help="draw into this file, and no tables")
    parser.add_argument("--real", action="store_true", help="really train")
    parser.add_argument("--journal", type=Path, help="where real pairs are kept as they come")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints what the command line asks for."""
    options = arguments(argv)
    if options.real:
        print(real(options.seeds, options.journal))
        return
    chosen = [ONE, *(each for each in ALL[1:] if not options.only or each.name in options.only)]
    task = range(options.first, options.first + options.seeds), options.trials
    if options.picture:
        picture(options.picture, contest(SHOWN, *task, BUDGETS[-1], options.processes))
        return
    ended = contest(chosen, *task, None, options.processes)
    print(
        f"After {options.trials} trials, {options.seeds} seeds:\n\n{after_trials(ended, ONE.name)}"
    )
    if DEFAULT in chosen and WHOLE in chosen:
        pair = {each.name: ended[each.name] for each in (WHOLE, DEFAULT)}
        print(f"\n{after_trials(pair, WHOLE.name)}")
    spent = contest(chosen, *task, BUDGETS[-1], options.processes)
    print(f"\nAfter so many trial-steps:\n\n{after_steps(spent, DEFAULT.name)}")


if __name__ == "__main__":
    main()
