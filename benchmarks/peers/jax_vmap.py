"""MAML by JAX: jit of vmap over tasks, and of vmap again over the trials of a pack.

    python benchmarks/peers/jax_vmap.py --workload sinusoid --packs 1,4,16,64
    python benchmarks/peers/jax_vmap.py --packs 16 --threads 1 --processes 2
    python benchmarks/peers/jax_vmap.py --workload conv4 --over map

Many meta-iterations run inside one call, tasks are drawn inside, the state is donated. XLA takes as
many threads as the process has cores: `--threads` pins it to so many, `--processes` starts several
side by side, each on cores of its own, and adds up their rates. `--over map` goes through a
meta-batch task by task inside the program in place of vmap: where every task has kernels of its
own, vmap makes grouped convolutions, for which XLA has nothing quick on a CPU. `--convolution
product` writes them as products of matrices instead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import measuring  # noqa: E402

BETAS = (0.9, 0.999)


def main() -> None:
    """Does what the command line says."""
    made = measuring.parser(__doc__)
    made.add_argument(
        "--over", choices=("vmap", "map"), default="vmap", help="a meta-batch's tasks"
    )
    made.add_argument("--convolution", choices=("lax", "product"), default="lax")
    made.add_argument("--place", type=int, help=argparse.SUPPRESS)  # of one of several processes
    args = made.parse_args()
    if args.processes > 1 and args.place is None:
        rates, first = together(args)
    else:
        pin(args.threads, args.place or 0)
        if args.check:
            check(args.over, args.convolution)
            return
        rates, first = alone(args)
    versions = {"jax": version("jax"), "jaxlib": version("jaxlib")}
    more = {"threads": args.threads, "processes": args.processes, "over": args.over}
    more["convolution"] = args.convolution
    measuring.report("jax_vmap", args, rates, first, versions, **more)


def pin(threads: int | None, place: int) -> None:
    """Confines this process before JAX looks at the machine; None: to nothing.

    XLA's pool has a thread for each core that the process may run on.
    """
    if threads is None:
        return
    cores = sorted(os.sched_getaffinity(0))
    if threads * (place + 1) > len(cores):
        measuring.fail(f"--threads, --processes: there are {len(cores)} cores")
    os.sched_setaffinity(0, cores[threads * place : threads * (place + 1)])
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


# -- the loop ------------------------------------------------------------------------------------


def of_task(
    task: Any, steps: int, first_order: bool, weights: list[Any], x: Any, y: Any, *query: Any
) -> Any:
    """A task's loss after inner steps."""
    import jax

    def loss(phi: list[Any], x: Any, y: Any) -> Any:
        return task.loss(task.apply(phi, x), y)

    for _ in range(steps):
        gradients = jax.grad(loss)(weights, x, y)
        if first_order:
            gradients = jax.lax.stop_gradient(gradients)
        weights = [w - task.inner_lr * g for w, g in zip(weights, gradients, strict=True)]
    return loss(weights, *query)


def meta_loss(task: Any, steps: int, over: str, first_order: bool = False) -> Callable[..., Any]:
    """(weights, episodes) -> the mean over tasks."""
    import jax

    each = partial(of_task, task, steps, first_order)
    if over == "map":
        return lambda weights, episodes: jax.lax.map(
            lambda episode: jax.checkpoint(each)(weights, *episode), episodes
        ).mean()
    return lambda weights, episodes: jax.vmap(each, (None, 0, 0, 0, 0))(weights, *episodes).mean()


def stepper(task: Any, inner_steps: int, over: str) -> Callable[[Any, Any], Any]:
    """(state, learning rate) -> state of one trial after a meta-iteration, by Adam."""
    import jax
    from jax import numpy as jnp

    gradient = jax.grad(meta_loss(task, inner_steps, over))

    def step(state: Any, meta_lr: Any) -> Any:
        key, count, weights, mean, square = state
        key, own = jax.random.split(key)
        found = gradient(weights, task.draw(own, task.tasks))
        count += 1
        mean = [m + (1 - BETAS[0]) * (g - m) for m, g in zip(mean, found, strict=True)]
        square = [s + (1 - BETAS[1]) * (g * g - s) for s, g in zip(square, found, strict=True)]
        rate = meta_lr * jnp.sqrt(1 - BETAS[1] ** count) / (1 - BETAS[0] ** count)
        weights = [
            w - rate * m / (jnp.sqrt(s) + 1e-8)
            for w, m, s in zip(weights, mean, square, strict=True)
        ]
        return key, count, weights, mean, square

    return step


def begin(task: Any, inner_steps: int, pack: int, over: str) -> measuring.Advance:
    """A pack that trains."""
    import jax
    from jax import numpy as jnp

    def start(key: Any) -> Any:
        weights = task.init(key)
        zeros = [jnp.zeros_like(each) for each in weights]
        return key, jnp.zeros(()), weights, zeros, zeros

    step, rate = stepper(task, inner_steps, over), jnp.float32(task.meta_lr)
    keys = jax.random.split(jax.random.key(0), pack)
    if pack > 1:
        step, start, rate = jax.vmap(step), jax.vmap(start), jnp.full(pack, rate)
    state = jax.jit(start)(keys if pack > 1 else keys[0])

    def train(state: Any, rate: Any, count: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda _, state: step(state, rate), state)

    trained = jax.jit(train, donate_argnums=0)

    def advance(count: int) -> None:
        nonlocal state
        state = jax.block_until_ready(trained(state, rate, count))

    return advance


def alone(args: argparse.Namespace) -> tuple[dict[int, float], float]:
    """Rates of the packs in this process, and the first one's first call in seconds."""
    from benchmarks.peers.jax_models import workload

    found: dict[int, measuring.Rate] = {}
    for size in args.packs:
        loop = begin(
            workload(args.workload, args.queries, args.convolution),
            args.inner_steps,
            size,
            args.over,
        )
        ready = (lambda: None) if args.place is None else meet
        found[size] = measuring.rate(loop, args.seconds, ready)
    rates = {size: size * rate.steps for size, rate in found.items()}
    return rates, found[args.packs[0]].first


# -- several processes ---------------------------------------------------------------------------


def meet() -> None:
    """Tells the parent that this process is warm, and waits until all are."""
    print("ready", flush=True)
    sys.stdin.readline()


def together(args: argparse.Namespace) -> tuple[dict[int, float], float]:
    """Sums of the rates of several processes that measure at the same time."""
    command = [sys.executable, __file__, *sys.argv[1:]]
    if args.threads is None:
        command += ["--threads", str(max(1, len(os.sched_getaffinity(0)) // args.processes))]
    running = [
        subprocess.Popen(
            [*command, "--place", str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(args.processes)
    ]
    for _ in args.packs:
        if any(_line(process) != "ready\n" for process in running):
            measuring.fail("one of the processes ended before it was measured")
        for process in running:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
    said = [json.loads(process.communicate()[0]) for process in running]
    rates = {size: sum(each["rates"][str(size)] for each in said) for size in args.packs}
    return rates, max(each["first_call_seconds"] for each in said)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


# -- the check -----------------------------------------------------------------------------------


def check(over: str, convolution: str) -> None:
    """Compares meta-gradients with central differences, at two inner steps."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from benchmarks.peers.jax_models import Images, Sinusoid

    tasks = {"sinusoid": (Sinusoid(8), 3), "conv4": (Images(3, 2, convolution), 2)}
    numbers = {name: _numbers(*each, over) for name, each in tasks.items()}
    measuring.check("jax_vmap", numbers)


def _numbers(task: Any, count: int, over: str) -> measuring.Numbers:
    import jax
    from jax.flatten_util import ravel_pytree

    theta, restored = ravel_pytree(task.init(jax.random.key(2)))
    episodes = task.draw(jax.random.key(3), count)

    def at(first_order: bool) -> Callable[[Any], Any]:
        loss = meta_loss(task, 2, over, first_order)
        return lambda flat: loss(restored(flat), episodes)

    gradient, first_order = (jax.jit(jax.grad(at(each))) for each in (False, True))
    loss = jax.jit(at(False))
    return measuring.Numbers(
        np.asarray(theta),
        lambda flat: float(loss(flat)),
        lambda flat: np.asarray(gradient(flat)),
        lambda flat: np.asarray(first_order(flat)),
    )


if __name__ == "__main__":
    main()
