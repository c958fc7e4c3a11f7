"""A learnt optimizer against those made by hand, on quadratic functions it has never seen.

    python benchmarks/learned_optimizer.py            # three to eight minutes on two cores
    python benchmarks/learned_optimizer.py --quick    # whether it works at all; trains next to none

The left of figure 4 in Andrychowicz et al. 2016 (arXiv 1606.04474): f(θ) = ||Wθ - y||² of ten
dimensions, standard normal W and y. The optimizer is trained by `algorithm=learned_optimizer` on
functions of the training split; the others get the rate of a fine grid that ends lowest on
functions of the validation split, their further numbers staying at the usual values, as in the
paper. All are then run on the same functions of the test split. Prints f after 100 steps, and
after 200, twice as many as the optimizer was trained for. The means are what the paper draws and
what the optimizer is trained for: they hang on the ill-conditioned functions. The mean logarithms
hang on the easy ones, which a method that converges brings down without end and the LSTM does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
STEPS = 100
SEED = 0
LEARNT = "LSTM"
RATES = np.geomspace(1e-3, 1.0, 61)  # 12 % apart
TUNED_ON = 500  # functions
OVERRIDES = (
    "task=quadratics",
    "model=linear",
    "algorithm=learned_optimizer",
    f"algorithm.inner_steps={STEPS}",
    "optimizer.schedule=cosine",
    "optimizer.clip=1",
    "search=none",
)

Memory = dict[str, Any]  # what a rule carries from step to step, 0 before the first
Rule = Callable[[Any, Memory], Any]  # gradients [function, coordinate] -> what to subtract / rate

Found = dict[str, tuple[Any, float | None]]  # f [function, ...] and the tuned rate by name


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, tunes, compares and prints."""
    args = _parser().parse_args(arguments)
    iterations, count = (4, 40) if args.quick else (args.iterations, args.functions)
    numbers = {
        "training.iterations": iterations,
        "training.report_every": -(-iterations // 10),
        "training.meta_batch_size": args.lanes,
        "optimizer.meta_lr": args.meta_lr,
    }
    given = [f"{key}={value}" for key, value in numbers.items()]
    trainer, trial = trained([*OVERRIDES, *given, *args.overrides])
    task: Any = trainer.program.task
    curve = trainer.curves(trial.runs, "test", SEED, count)[0]
    found: Found = {LEARNT: (task.dimension * curve.T, None)}
    tuning, test = functions(task, "validation", TUNED_ON), functions(task, "test", count)
    for name, rule in RULES.items():
        rate = tuned(rule, *tuning)
        found[name] = (descended(rule, rate, *test), rate)
    for step in (STEPS, 2 * STEPS):
        print_table(step, {name: (values[:, step], rate) for name, (values, rate) in found.items()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=1000, help="meta-iterations")
    parser.add_argument("--lanes", type=int, default=16, help="functions a meta-iteration")
    parser.add_argument("--meta-lr", type=float, default=0.01)
    parser.add_argument("--functions", type=int, default=1000, help="to compare on")
    parser.add_argument("--quick", action="store_true", help="tiny")
    parser.add_argument("overrides", nargs="*", help="of the configuration, on top")
    return parser


# -- the learnt optimizer -------------------------------------------------------------------------


def trained(overrides: Sequence[str]) -> tuple[Any, Any]:
    """A trainer and a trial that it has trained to the end.

    Raises:
      RuntimeError: it diverged.
    """
    from hydra import compose, initialize_config_dir

    import maml_sweep.config  # noqa: F401  (registers the schema)
    from maml_sweep import build
    from maml_sweep.training import trial
    from maml_sweep.training.devices import configure
    from maml_sweep.training.pack import Trainer

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    device = configure(config.device)
    parts = build.components(config)
    trainer = Trainer(build.own_program(parts, config, device))
    one = trial.start(trainer.program, parts.settings, SEED)
    begin = time.perf_counter()
    while not one.finished and one.diverged is None:
        for _ in trial.advance(trainer, [one]):
            pass
        trial.judge(trainer, [one], SEED, config.training.validation_tasks)
        _show(one, time.perf_counter() - begin)
    if one.diverged is not None:
        raise RuntimeError(f"training diverged at iteration {one.diverged}: choose another rate")
    return trainer, one


def _show(trial: Any, seconds: float) -> None:
    value = trial.values[-1] if trial.values else float("nan")
    print(
        f"iteration {trial.iteration}: validation {value:.4g}, {seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


# -- the others -----------------------------------------------------------------------------------


def sgd(slope: Any, _: Memory) -> Any:
    """Plain descent."""
    return slope


def momentum(slope: Any, memory: Memory) -> Any:
    """Polyak's heavy ball, momentum 0.9."""
    memory["speed"] = 0.9 * memory["speed"] + slope
    return memory["speed"]


def nesterov(slope: Any, memory: Memory) -> Any:
    """Sutskever et al. 2013, momentum 0.9, seen from where the gradient is taken."""
    return slope + 0.9 * momentum(slope, memory)


def rmsprop(slope: Any, memory: Memory) -> Any:
    """Tieleman & Hinton 2012, decay 0.99 as in Torch."""
    memory["square"] = 0.99 * memory["square"] + 0.01 * slope**2
    return slope / (np.sqrt(memory["square"]) + 1e-8)


def adam(slope: Any, memory: Memory) -> Any:
    """Kingma & Ba 2015, algorithm 1."""
    memory["steps"] += 1
    memory["mean"] = 0.9 * memory["mean"] + 0.1 * slope
    memory["square"] = 0.999 * memory["square"] + 0.001 * slope**2
    mean = memory["mean"] / (1 - 0.9 ** memory["steps"])
    return mean / (np.sqrt(memory["square"] / (1 - 0.999 ** memory["steps"])) + 1e-8)


RULES: dict[str, Rule] = {
    "SGD": sgd,
    "momentum": momentum,
    "NAG": nesterov,
    "RMSprop": rmsprop,
    "Adam": adam,
}


def functions(task: Any, split: str, count: int) -> tuple[Any, Any]:
    """The functions that trials are judged on: W [function, row, column] and y [function, row]."""
    from maml_sweep import streams
    from maml_sweep.backend import tf

    key = tf.constant(np.tile(streams.key("evaluation", split, SEED), (count, 1)))
    support = task.episodes(split, streams.fold_in(key, tf.range(count)), tf.float64).support
    return np.asarray(support.x), np.asarray(support.y)[:, :, 0]


def descended(rule: Rule, rate: float, w: Any, y: Any, steps: int = 2 * STEPS) -> Any:
    """The value f after 0, 1, … steps from near zero: [function, step]."""
    theta = 0.01 * np.random.default_rng(SEED).normal(size=y.shape)
    memory: Memory = defaultdict(float)
    values = []
    for _ in range(steps + 1):
        error = np.einsum("fij,fj->fi", w, theta) - y
        values.append(np.sum(error**2, axis=1))
        theta = theta - rate * rule(2 * np.einsum("fij,fi->fj", w, error), memory)
    return np.stack(values, axis=1)


def tuned(rule: Rule, w: Any, y: Any) -> float:
    """The rate with the lowest mean f after `STEPS` steps."""
    with np.errstate(all="ignore"):  # too high a rate overflows
        finals = [descended(rule, rate, w, y, STEPS)[:, -1].mean() for rate in RATES]
    return float(RATES[np.nanargmin(finals)])


# -- the table ------------------------------------------------------------------------------------


def print_table(step: int, found: Found) -> None:
    """Prints means over functions with 95 % intervals.

    Args:
      step: after which.
      found: f [function] and the tuned rate by name.
    """
    learnt = found[LEARNT][0]
    print(f"\nafter {step} steps, {len(learnt)} functions")
    titles = ("mean f", f"minus {LEARNT}'s", "mean log10 f")
    print(f"{'':>10}{'rate':>8}" + "".join(f"{title:>18}" for title in titles) + "  above it")
    for name, (values, rate) in found.items():
        own = name == LEARNT
        columns = [_interval(values), "" if own else _interval(values - learnt)]
        columns.append(_interval(np.log10(values)))
        line = f"{name:>10}{'' if rate is None else format(rate, '.3g'):>8}"
        line += "".join(f"{text:>18}" for text in columns)
        print(line if own else f"{line}{np.mean(values > learnt):>10.0%}")


def _interval(values: Any) -> str:
    return f"{values.mean():.3f} ± {1.96 * values.std(ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    main()
