"""Trial-steps a second: our whole sweeps against the training loops of others."""

from __future__ import annotations

import os
from dataclasses import dataclass

from benchmarks.contestants import WITHOUT, Peer, loop, sweep
from benchmarks.rounds import Contestant
from benchmarks.verdicts import Contest, Ratio, gain_beside

LOOP = Peer("torch", "learn2learn_loop")
TORCH = Peer("torch", "torch_loop")
VMAP = Peer("torch", "torch_vmap")
JAX = Peer("jax", "jax_vmap")

# The budget bounds a pack for the sampler's sake, and more so with workers; these all train alike.
SINGLE_THREADED = ("workers=2", "device.inter_op=1", "device.intra_op=1", "pack.size=8")
PLAIN = ("pruner=none", "search=none")  # all trials train to their end, and alike but for alpha
ONE, TWO, ALONE = "ours, a sweep", "ours, a sweep by two workers of one thread", "ours, one by one"
SOLO = f"{ALONE} (`pack.size=1`)"


@dataclass(frozen=True)
class Size:
    """How long everybody is measured.

    Attributes:
      seconds: of a peer's timed steps, for each figure.
      packs: of JAX's trials.
      trials: of a sweep.
      alone: trials of the sweep that trains one at a time.
      iterations: of a trial at 1 and at 5 inner steps.
      images: trials and iterations of the sweep of images.
    """

    seconds: float
    packs: str
    trials: int
    alone: int
    iterations: dict[int, int]
    images: tuple[int, int]


FULL = Size(3.0, "1,2,4,8,16,32", 64, 12, {1: 4000, 5: 1000}, (4, 120))
QUICK = Size(0.1, "1,2", 3, 2, {1: 40, 5: 20}, (2, 4))


def sinusoid(inner_steps: int, size: Size) -> Contest:
    """Waves, an MLP 40-40, 25 tasks, K=10, second order."""
    return Contest(
        f"sinusoid-{inner_steps}",
        f"Sinusoid K=10, MLP 40-40, 25 tasks, second order, inner steps: {inner_steps}",
        "trial-steps/s",
        (
            *_loops("sinusoid", inner_steps, size),
            *_jax(inner_steps, size),
            *_own(inner_steps, size),
        ),
        (
            Ratio((ONE, TWO), ("learn2learn's loop",), "learn2learn's loop", 40),
            Ratio((ONE, TWO), jax_names(), "JAX's best pack", 1.2),
            Ratio((ONE, TWO), (SOLO,), "one of our own trials at a time", 2),
            Ratio((ONE, TWO), ("torch loop",), "torch loop"),
            Ratio((ONE, TWO), ("torch vmap",), "torch vmap"),
            Ratio(
                (ONE, TWO), jax_names(), f"JAX's best pack, ours {WITHOUT}", None,
                gain_beside(WITHOUT),
            ),
        ),
    )  # fmt: skip


def _loops(workload: str, inner_steps: int, size: Size) -> list[Contestant]:
    said = ["--workload", workload, "--inner-steps", str(inner_steps)]
    said += ["--seconds", str(size.seconds)]
    loops = [loop("torch loop", TORCH, said), loop("torch vmap", VMAP, said)]
    return [loop("learn2learn's loop", LOOP, said), *loops]


def jax_threads() -> dict[str, list[str]]:
    """The ways in which JAX may use this machine's cores: its own pool has a thread for each."""
    cores = len(os.sched_getaffinity(0))
    return {
        "JAX, its own threads": [],
        f"JAX, {cores} processes of one thread": ["--threads", "1", "--processes", str(cores)],
    }


def jax_names() -> tuple[str, ...]:
    """JAX's contestants."""
    return tuple(jax_threads())


def _jax(inner_steps: int, size: Size) -> list[Contestant]:
    said = ["--workload", "sinusoid", "--inner-steps", str(inner_steps)]
    said += ["--seconds", str(size.seconds), "--packs", size.packs]
    return [loop(name, JAX, [*said, *threads]) for name, threads in jax_threads().items()]


def _own(inner_steps: int, size: Size) -> list[Contestant]:
    shared = [
        "task=sinusoid",
        "model=mlp",
        *PLAIN,
        "algorithm.inner_lr=tag(log,interval(0.005,0.02))",
        f"algorithm.inner_steps={inner_steps}",
        "training.meta_batch_size=25",
        f"training.iterations={size.iterations[inner_steps]}",
        f"training.report_every={min(100, size.iterations[inner_steps])}",
    ]
    many, few = f"study.n_trials={size.trials}", f"study.n_trials={size.alone}"
    return [
        sweep(ONE, [*shared, many]),
        sweep(TWO, [*shared, many, *SINGLE_THREADED]),
        sweep(SOLO, [*shared, few, "pack.size=1"]),
    ]


def conv4(size: Size) -> Contest:
    """Images by a convolutional network, 5-way 1-shot, 16 tasks, one inner step."""
    said = ["--workload", "conv4", "--inner-steps", "1", "--seconds", str(size.seconds)]
    trials, iterations = size.images
    own = [
        "task=glyphs",
        "model=conv4",
        "model.filters=64",
        *PLAIN,
        "algorithm.inner_lr=tag(log,interval(0.2,0.8))",
        "algorithm.inner_steps=1",
        "training.meta_batch_size=16",
        f"study.n_trials={trials}",
        f"training.iterations={iterations}",
        # Two validation tasks a meta-iteration, as by default, where trials are longer.
        f"training.report_every={max(1, iterations // 4)}",
        f"training.validation_tasks={max(4, iterations // 2)}",
    ]
    wanted = {"torch loop": 2.0, "torch vmap": 1.4, "JAX vmap": 15.0}
    return Contest(
        "conv4",
        "Conv4 with 64 filters, 28x28, 5-way 1-shot, 16 tasks, 1 inner step, second order",
        "trial-steps/s",
        (
            *_loops("conv4", 1, size),
            loop("JAX vmap", JAX, [*said, "--packs", "1"]),
            sweep(ONE, own),
        ),
        (
            *(Ratio((ONE,), (name,), name, least) for name, least in wanted.items()),
            *(
                Ratio((ONE,), (name,), f"{name}, ours {WITHOUT}", None, gain_beside(WITHOUT))
                for name in wanted
            ),
            Ratio((ONE,), ("learn2learn's loop",), "learn2learn's loop"),
        ),
    )
