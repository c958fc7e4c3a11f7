"""What a meta-step of each algorithm costs, in time and in memory, against inner steps.

    python benchmarks/family.py               # half an hour on two cores; leave the machine alone
    python benchmarks/family.py --quick       # whether it works at all; its figures mean nothing

Prints a Markdown table a setting. Time: all algorithms at all numbers of inner steps train in one
process, a short while each in turn, round after round; medians over the rounds are shown, and
medians of the ratios to MAML within a round, for machines are not equally fast all the time.

Memory: what TensorFlow's allocator says of the largest sum of all tensors alive at once, minus what
was alive before, over a few meta-steps after one that sets everything up; in mebibytes. Each is
measured in a process of its own and on one thread, where tensors come and go in the same order
every time. (The resident set will not do on the CPU: the allocator keeps what it once had, and
code, graphs and kernels weigh more than the tensors. TensorFlow counts on the CPU only where
TF_CPU_ALLOCATOR_USE_BFC=1 is set when it starts.) Scratch space inside a kernel is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MEBIBYTE = 2**20
ONE_THREAD = ("device.inter_op=1", "device.intra_op=1")
TRIES = 20  # seeds, before a setting is given up
MEASURED = 3  # meta-steps whose memory is looked at
# Nothing may diverge, and no rung or schedule may come in between.
COMMON = (
    "optimizer.meta_lr=1e-6",
    "training.iterations=10000000",
    "training.report_every=10000000",
)
RATE = "algorithm.inner_lr=0.01"
OWN = {"protonet": (), "learned_optimizer": ()}  # what differs from RATE
STEPLESS = ("protonet", "finetune")  # whose training takes no inner steps
BASE = "maml"  # what times are compared with


class Workload(NamedTuple):
    """A task, a model and a meta-batch.

    Attributes:
      name: on the command line.
      title: of its table.
      overrides: of the configuration.
      without: the algorithms that do not serve it, or not at this size.
      only: the algorithms to measure, where not all are.
    """

    name: str
    title: str
    overrides: tuple[str, ...]
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


WORKLOADS = (
    Workload(
        "glyphs",
        "glyphs 5-way 1-shot with 15 queries, conv4 with 32 filters, 4 tasks",
        ("task=glyphs", "model=conv4", "model.filters=32", "training.meta_batch_size=4"),
        without=("learned_optimizer",),
    ),
    Workload(
        "sinusoid",
        "sinusoid K=10, MLP 40-40, 25 tasks",
        ("task=sinusoid", "model=mlp", "training.meta_batch_size=25"),
        without=("leo", "protonet"),
    ),
    Workload(
        "quadratics",
        "quadratics of 10 dimensions, 25 functions",
        ("task=quadratics", "model=linear", "training.meta_batch_size=25"),
        only=("maml", "learned_optimizer"),
    ),
)


class Case(NamedTuple):
    """An algorithm at a number of inner steps; None: it takes none."""

    algorithm: str
    steps: int | None


class Cost(NamedTuple):
    """What was measured of a case."""

    seconds: list[float]  # a meta-step, of each round
    mebibytes: float | None  # at the most; None: not measured


Costs = Mapping[Case, Cost]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and prints it."""
    args = _parser().parse_args(arguments)
    if args.measure:
        workload, algorithm, steps = args.measure.split(",")
        print(json.dumps(peak(_workload(workload), Case(algorithm, int(steps) or None))))
        return
    if args.quick:
        args.rounds, args.seconds = 2, 0.05
    for workload in map(_workload, args.workloads):
        cases = cases_of(workload, args.algorithms, args.steps)
        if not cases:
            continue
        seconds = {} if args.memory == "only" else timed(workload, cases, args)
        peaks = {} if args.memory == "none" else {case: _peak(workload, case) for case in cases}
        costs = {case: Cost(seconds.get(case, []), peaks.get(case)) for case in cases}
        print("\n".join(["", f"### {workload.title}", "", *table(costs, args.steps), ""]))
        print("\n".join(claims(costs, args.steps)), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--workloads", type=_words, default=names, help=f"of {','.join(names)}")
    parser.add_argument("--algorithms", type=_words, default=[], help="such as maml,fomaml")
    parser.add_argument("--steps", type=_numbers, default=[1, 5, 10], help="such as 1,5,10")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is timed")
    parser.add_argument("--seconds", type=float, default=0.5, help="of training, each time")
    parser.add_argument("--memory", choices=("with", "only", "none"), default="with")
    parser.add_argument("--quick", action="store_true", help="tiny: two short rounds")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return sorted({int(number) for number in text.split(",")})


def _workload(name: str) -> Workload:
    return next(workload for workload in WORKLOADS if workload.name == name)


def cases_of(workload: Workload, wanted: Sequence[str], steps: Sequence[int]) -> list[Case]:
    """What to measure: the wanted algorithms (none said: all) that serve the workload."""
    from maml_sweep.config import GROUPS

    known = workload.only or tuple(GROUPS["algorithm"])
    chosen = [name for name in known if name not in workload.without and name in (wanted or known)]
    return [
        Case(name, count) for name in chosen for count in ([None] if name in STEPLESS else steps)
    ]


# -- a training ----------------------------------------------------------------------------------


class Training:
    """One trial of a workload, by itself, at the thread settings of a sweep if not said otherwise.

    Args:
      workload: what it trains on.
      case: how.
      overrides: of the configuration, on top.
    """

    def __init__(self, workload: Workload, case: Case, overrides: Sequence[str] = ()) -> None:
        from maml_sweep import build
        from maml_sweep.training import pack
        from maml_sweep.training.devices import configure

        config = composed(workload, case, overrides)
        device = configure(config.device)
        parts = build.components(config)
        self.trainer = pack.Trainer(build.own_program(parts, config, device))
        self._start = partial(pack.start, self.trainer.program, parts.settings)
        self.run = self._start(0)
        self.advance(1)  # which traces

    def advance(self, count: int) -> float:
        """Trains so many meta-iterations; returns the seconds of one.

        LEO may diverge by its draws alone: another seed then goes on in its place.

        Raises:
          RuntimeError: nothing but divergence, so nothing was measured.
        """
        for seed in range(1, TRIES):
            begin, goal = self.trainer.tally.training, self.run.iteration + count
            for _ in self.trainer.advance([self.run], [goal]):
                pass
            if self.run.active:
                return (self.trainer.tally.training - begin) / count
            self.run = self._start(seed)
        raise RuntimeError("every trial diverged: choose other rates")


def composed(workload: Workload, case: Case, overrides: Sequence[str] = ()) -> Any:
    """A trial's composition; it neither diverges nor is it judged."""
    from hydra import compose, initialize_config_dir

    import maml_sweep.config  # noqa: F401  (registers the schema)

    own = list(OWN.get(case.algorithm, (RATE,)))
    if case.steps is not None:
        own.append(f"algorithm.inner_steps={case.steps}")
    chosen = [*workload.overrides, *COMMON, f"algorithm={case.algorithm}", *own, *overrides]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", chosen)


# -- time ----------------------------------------------------------------------------------------


def timed(workload: Workload, cases: Sequence[Case], args: Any) -> dict[Case, list[float]]:
    """Seconds a meta-step of every case, of every round."""
    trainings: dict[Case, Training] = {}
    counts = {}
    for case in cases:
        _say(f"{workload.name}: {case.algorithm} at {case.steps or 'no'} inner steps, tracing …")
        trainings[case] = Training(workload, case)
        counts[case] = max(1, round(args.seconds / trainings[case].advance(2)))
    found: dict[Case, list[float]] = {case: [] for case in cases}
    for index in range(args.rounds):
        _say(f"{workload.name}: round {index + 1} of {args.rounds} …")
        order = cases if index % 2 == 0 else cases[::-1]
        for case in order:
            found[case].append(trainings[case].advance(counts[case]))
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# -- memory --------------------------------------------------------------------------------------


def _peak(workload: Workload, case: Case) -> float:
    """`peak`, in a process of its own."""
    _say(f"{workload.name}: memory of {case.algorithm} at {case.steps or 'no'} inner steps …")
    measured = f"{workload.name},{case.algorithm},{case.steps or 0}"
    return float(apart("benchmarks.family", measured))


def apart(module: str, measured: str) -> Any:
    """What a module's `--measure` prints last, in a process whose allocator counts."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--measure", measured],
        cwd=ROOT,
        env={**os.environ, "TF_CPU_ALLOCATOR_USE_BFC": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak(workload: Workload, case: Case) -> float:
    """The mebibytes that a meta-step of a case takes at the most, in this process."""
    return highest(Training(workload, case, ONE_THREAD))


def highest(training: Training) -> float:
    """The mebibytes that meta-steps of a training take at the most, beside what is there before.

    Raises:
      RuntimeError: the allocator does not count.
    """
    from maml_sweep.backend import tf

    memory = tf.config.experimental
    memory.reset_memory_stats("CPU:0")
    before = memory.get_memory_info("CPU:0")["current"]
    training.advance(MEASURED)
    top = memory.get_memory_info("CPU:0")["peak"]
    if not top:
        raise RuntimeError("TensorFlow counts no memory: TF_CPU_ALLOCATOR_USE_BFC=1 is not set")
    return float(top - before) / MEBIBYTE


# -- the table -----------------------------------------------------------------------------------


def table(costs: Costs, steps: Sequence[int]) -> list[str]:
    """Lines of Markdown: a row an algorithm; columns for each number of inner steps."""
    heads = ["ms", "of MAML's", "MiB"]
    columns = [f"{head}, {count}" for head in heads for count in steps]
    rows = [["algorithm, inner steps:", *columns], ["---", *["---:"] * len(columns)]]
    for algorithm in dict.fromkeys(case.algorithm for case in costs):
        found = [_cost(costs, algorithm, count) for count in steps]
        times = [_shown(_milliseconds(cost)) for cost in found]
        ratios = [_shown(ratio(costs, algorithm, count), ".2f") for count in steps]
        sizes = [_shown(cost.mebibytes if cost else None) for cost in found]
        rows.append([algorithm, *times, *ratios, *sizes])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cost(costs: Costs, algorithm: str, steps: int) -> Cost | None:
    """That of an algorithm; one without inner steps costs the same at any number."""
    return costs.get(Case(algorithm, steps)) or costs.get(Case(algorithm, None))


def _milliseconds(cost: Cost | None) -> float | None:
    return 1000 * statistics.median(cost.seconds) if cost and cost.seconds else None


def ratio(costs: Costs, algorithm: str, steps: int) -> float | None:
    """The median over rounds of an algorithm's time to MAML's at as many inner steps."""
    own, base = (_cost(costs, name, steps) for name in (algorithm, BASE))
    if not (own and base and own.seconds):
        return None
    pairs = zip(own.seconds, base.seconds, strict=True)
    return statistics.median(one / other for one, other in pairs)


def _shown(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else format(value, form)


def claims(costs: Costs, steps: Sequence[int]) -> list[str]:
    """What the papers promise, as measured."""
    at = f"at {', '.join(map(str, steps))} inner steps"
    ratios = [ratio(costs, "fomaml", count) for count in steps]
    lines = []
    if all(found is not None for found in ratios):
        shares = ", ".join(_shown(found, ".2f") for found in ratios)
        lines.append(f"FOMAML takes {shares} of MAML's time {at} (wanted: at most 0.6).")
    for name, wanted in (("imaml", " (wanted: flat)"), (BASE, "")):
        ends = [_cost(costs, name, count) for count in (steps[0], steps[-1])]
        sizes = [cost.mebibytes for cost in ends if cost and cost.mebibytes]
        if len(sizes) == 2:
            growth = sizes[1] / sizes[0]
            lines.append(
                f"{name}'s memory at {steps[-1]} inner steps is {growth:.2f} times that at "
                f"{steps[0]}{wanted}."
            )
    return lines


if __name__ == "__main__":
    main()
