"""How fast packs train, and what a sweep spends outside its compiled programs.

    python benchmarks/packing.py            # some ten minutes on two cores; leave the machine alone
    python benchmarks/packing.py --quick    # whether it works at all; its figures mean nothing

Prints trial-steps per second (meta-iterations of one trial) for packs of several sizes, at
TensorFlow's own thread settings with one shard and at ours. TensorFlow's threads are fixed once a
process has used them, so every setting is measured in a process of its own; the settings take
turns and medians over the rounds are shown, for machines are not equally fast all the time. Beside
them stands what this machine reaches in a large matrix product, which tells machines apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"default": "TensorFlow's threads", "tuned": "our threads"}

Rates = dict[int, float]  # pack size -> trial-steps a second


class Workload(NamedTuple):
    """A trial to be packed with copies of itself that differ in their seeds."""

    title: str
    overrides: tuple[str, ...]
    most: int  # the largest pack worth measuring


WORKLOADS = (
    Workload(
        "sinusoid, MLP 40-40, 25 tasks, K=10, 1 inner step",
        ("task=sinusoid", "model=mlp", "algorithm.inner_steps=1"),
        64,
    ),
    Workload(
        "sinusoid, MLP 40-40, 25 tasks, K=10, 5 inner steps",
        ("task=sinusoid", "model=mlp", "algorithm.inner_steps=5"),
        64,
    ),
    Workload(
        "glyphs 5-way 1-shot, conv4 with 32 filters, 4 tasks, 1 inner step",
        ("task=glyphs", "model=conv4", "training.meta_batch_size=4", "algorithm.inner_lr=0.4"),
        8,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and prints it."""
    args = _parser().parse_args(arguments)
    if args.measure:
        print(json.dumps(measure(args.measure, args.packs, args.seconds)))
        return
    products: list[float] = []
    rounds: dict[str, list[list[Rates]]] = {setting: [] for setting in SETTINGS}
    count = 1 if args.quick else args.rounds
    for index in range(count):
        products.append(matrix_product())
        for setting, found in rounds.items():
            print(f"round {index + 1} of {count}: {SETTINGS[setting]} …", file=sys.stderr)
            found.append(_in_a_process_of_its_own(setting, args))
    product = statistics.median(products)
    print(f"{cores()} cores; float32 product of 2048 x 2048 matrices: {product:.0f} GFLOP/s")
    medians = {setting: _medians(found) for setting, found in rounds.items()}
    for workload, *rates in zip(WORKLOADS, *medians.values(), strict=True):
        print_rates(workload.title, dict(zip(medians, rates, strict=True)))
    if not args.skip_sweep:
        print_sweep(args.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    sizes = [2**power for power in range(7)]
    parser.add_argument("--rounds", type=int, default=5, help="how often each setting is measured")
    parser.add_argument("--packs", type=_sizes, default=sizes, help="pack sizes, such as 1,8,32")
    parser.add_argument("--seconds", type=float, default=1.0, help="of training for each figure")
    parser.add_argument("--quick", action="store_true", help="tiny: one round, 1 and 2 in a pack")
    parser.add_argument("--skip-sweep", action="store_true", help="packs only")
    parser.add_argument("--measure", choices=SETTINGS, help=argparse.SUPPRESS)
    return parser


def _sizes(text: str) -> list[int]:
    return sorted({int(size) for size in text.split(",")})


def _in_a_process_of_its_own(setting: str, args: argparse.Namespace) -> list[Rates]:
    packs, seconds = ([1, 2], 0.05) if args.quick else (args.packs, args.seconds)
    command = [sys.executable, "-m", "benchmarks.packing", "--measure", setting]
    command += ["--seconds", str(seconds)]
    command += ["--packs", ",".join(map(str, packs))]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [
        {int(size): rate for size, rate in rates.items()}
        for rates in json.loads(done.stdout.splitlines()[-1])
    ]


def _medians(rounds: Sequence[Sequence[Rates]]) -> list[Rates]:
    """[round][workload] -> [workload]."""
    return [
        {size: statistics.median(rates[size] for rates in found) for size in found[0]}
        for found in zip(*rounds, strict=True)
    ]


# -- in the process of a setting ------------------------------------------------------------------


def measure(setting: str, packs: Sequence[int], seconds: float) -> list[Rates]:
    """Every workload's rates under one setting of the threads, fixed by this call.

    Args:
      setting: of `SETTINGS`.
      packs: sizes; a workload leaves out those above its own limit.
      seconds: how long to train for each figure.
    """
    from hydra import compose, initialize_config_dir

    import maml_sweep.config  # noqa: F401  (registers the schema)
    from maml_sweep.training.devices import Device, configure

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        configs = [compose("config", list(workload.overrides)) for workload in WORKLOADS]
    device = Device() if setting == "default" else configure(configs[0].device)
    return [
        _rates(config, device, [size for size in packs if size <= workload.most], seconds)
        for config, workload in zip(configs, WORKLOADS, strict=True)
    ]


def _rates(config: Any, device: Any, packs: Sequence[int], seconds: float) -> Rates:
    from maml_sweep import build
    from maml_sweep.training import pack

    parts = build.components(config)
    trainer = pack.Trainer(build.own_program(parts, config, device))
    rates = {}
    for size in packs:
        runs = [pack.start(trainer.program, parts.settings, seed) for seed in range(size)]
        for count in (1, 3):  # traces where it is the first pack, then settles
            advance(trainer, runs, count)
        rates[size] = timed(trainer, runs, seconds)
    return rates


def advance(trainer: Any, runs: Sequence[Any], count: int) -> None:
    """Trains a pack by so many iterations."""
    for _ in trainer.advance(runs, [run.iteration + count for run in runs]):
        pass


def timed(trainer: Any, runs: Sequence[Any], seconds: float) -> float:
    """Trial-steps a second, the trainer's own work between two calls included."""
    before, elapsed = sum(run.iteration for run in runs), 0.0
    begin = time.perf_counter()
    for _ in trainer.advance(runs, [10**9] * len(runs)):
        elapsed = time.perf_counter() - begin
        if elapsed >= seconds:
            break
    if not all(run.active for run in runs):
        raise RuntimeError("a trial diverged, so the pack was not full: choose other rates")
    steps: int = sum(run.iteration for run in runs) - before
    return steps / elapsed


# -- what else is measured ------------------------------------------------------------------------


def matrix_product(size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of NumPy's float32 product of two square matrices, the best of some."""
    a, b = np.random.default_rng(0).standard_normal((2, size, size)).astype(np.float32)
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begin)
    return float(2 * size**3 / min(seconds) / 1e9)


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def print_rates(title: str, rates: dict[str, Rates]) -> None:
    """Prints one workload's table and what packing and threads gain."""
    sizes = list(rates["default"])
    print(f"\n{title}: trial-steps/s")
    print(f"{'pack of':>22}" + "".join(f"{size:>9}" for size in sizes))
    for setting, name in SETTINGS.items():
        print(f"{name:>22}" + "".join(f"{rates[setting][size]:>9,.0f}" for size in sizes))
    best = max(rates["tuned"], key=lambda size: rates["tuned"][size])
    alone = {setting: found[sizes[0]] for setting, found in rates.items()}
    print(
        f"a pack of {best} at our threads: {rates['tuned'][best] / alone['default']:.2f}x a pack "
        f"of {sizes[0]} at TensorFlow's, {rates['tuned'][best] / alone['tuned']:.2f}x one at ours; "
        f"packing at TensorFlow's alone: {max(rates['default'].values()) / alone['default']:.2f}x"
    )


def print_sweep(quick: bool) -> None:
    """Runs the default sweep and prints what its worker says of its time.

    Raises:
      Failed: the sweep failed, or its log says nothing of it.
    """
    from benchmarks.sweeps import swept

    print("the default sweep …", file=sys.stderr)
    tiny = ["study.n_trials=2", "training.iterations=20", "training.report_every=10"]
    ((inside, tracing, whole),) = swept(tiny if quick else []).spent
    print(
        f"\nthe default sweep: {whole:.1f} s, {inside:.1f} of them inside programs (tracing "
        f"{tracing:.1f}); outside {100 * (whole - inside) / whole:.1f}%"
    )


if __name__ == "__main__":
    main()
