"""The packed step as XLA sees it, taken to a machine that has a GPU but no TensorFlow.

    python benchmarks/gpu_step.py --export step    # here: programs, arguments, the CPU's numbers
    python gpu_step.py --run step                  # there: needs this file, the folder, numpy, jax
    python benchmarks/gpu_step.py                  # both on this machine (pip install jax)
    python benchmarks/gpu_step.py --quick          # whether it works at all; a minute

`Program.stablehlo` lowers one training program for each pack size and precision; jaxlib's PJRT
runtime compiles the text for its first device and runs it. The first trials' meta-gradients (their
Adam's first moments after one iteration) and losses are compared with those of the plain program on
the CPU, which TensorFlow computed without XLA; then trial-steps a second are measured. `tf32` is
the program of `float32` whose products may be rounded to ten bits where a GPU is quicker that way;
`bfloat16` is training.precision=mixed_bfloat16. A pack that does not fit in memory says so.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PACKS = [2**power for power in range(11)]
WORKLOADS = {
    "mlp": ("task=sinusoid", "model=mlp", "algorithm.inner_steps=1"),
    "conv4": (
        *("task=glyphs", "model=conv4", "model.filters=32", "training.meta_batch_size=4"),
        *("algorithm.inner_lr=0.4", "algorithm.inner_steps=1"),
    ),
}
EXPORTED = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision -> the setting
COMPARED = 8  # trials of each pack, whose numbers do not hang on the pack
# Of a meta-gradient's length, in float32. conv4's rectifiers and maxima flip at roundings: on the
# CPU, without XLA, float32 is up to 2e-3 away from float64 there.
ALLOWED = {"mlp": 1e-4, "conv4": 1e-2}
MANIFEST = "manifest.json"
EXACT, FREE = "precision HIGHEST", "precision DEFAULT"  # as StableHLO's convolutions have it
EXACT_DOT, FREE_DOT = "[HIGHEST, HIGHEST]", "[DEFAULT, DEFAULT]"  # and its products


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports, runs, or both; 1 if the numbers of float32 differ."""
    args = _parser().parse_args(arguments)
    packs = [1, 2] if args.quick else args.packs
    if args.export:
        export(args.export, packs, args.workloads)
        return 0
    if args.run:
        return run(args.run, args.seconds, args.json)
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder), packs, args.workloads)
        return run(Path(folder), 0.05 if args.quick else args.seconds, args.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the programs there")
    parser.add_argument("--run", type=Path, metavar="DIR", help="run what was written there")
    parser.add_argument("--packs", type=_sizes, default=PACKS, help="sizes, such as 1,8,32")
    parser.add_argument(
        "--workloads", type=lambda text: text.split(","), default=list(WORKLOADS), help="mlp,conv4"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of training for each figure")
    parser.add_argument("--quick", action="store_true", help="tiny: packs of 1 and 2, no figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    return parser


def _sizes(text: str) -> list[int]:
    return sorted({int(size) for size in text.split(",")})


# -- here: with TensorFlow -------------------------------------------------------------------------


def export(folder: Path, packs: Sequence[int], workloads: Sequence[str]) -> None:
    """Writes every program as StableHLO with its arguments and the CPU's numbers.

    Args:
      folder: made if need be.
      packs: sizes.
      workloads: of `WORKLOADS`.
    """
    sys.path.insert(0, str(ROOT))
    from maml_sweep.backend import tf

    folder.mkdir(parents=True, exist_ok=True)
    tf.config.experimental.enable_tensor_float_32_execution(False)  # else nothing says HIGHEST
    steps = [step for name in workloads for step in _exported(folder, name, packs)]
    (folder / MANIFEST).write_text(json.dumps(steps, indent=2))


def _exported(folder: Path, name: str, packs: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Writes a workload's files; yields what to know of each of its programs."""
    from maml_sweep.training import stacking
    from maml_sweep.training.pack import start

    parts, programs, plain = _programs(WORKLOADS[name])
    runs = [start(plain, parts.settings, seed) for seed in range(max(packs))]
    state, progress = plain.train(*stacking.arguments(plain, runs[:COMPARED], 1))
    np.savez(folder / f"{name}-wanted.npz", gradient=state.moment1, loss=progress.loss)
    for precision, program in programs.items():
        for pack in packs:
            given = stacking.arguments(program, runs[:pack], 1)
            stem = f"{name}-{precision}-{pack}"
            print(f"lowering {stem} …", file=sys.stderr)
            with gzip.open(folder / f"{stem}.mlir.gz", "wt") as file:
                file.write(program.stablehlo(*given))
            np.savez_compressed(folder / f"{stem}.npz", *program.flat(*given))
            yield {"workload": name, "precision": precision, "pack": pack, "stem": stem}


def _programs(overrides: Sequence[str]) -> tuple[Any, dict[str, Any], Any]:
    """The trial's parts, its compiled programs by precision, and the plain one in float32."""
    from hydra import compose, initialize_config_dir

    import maml_sweep.config  # noqa: F401  (registers the schema)
    from maml_sweep import build
    from maml_sweep.training.devices import Device

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    parts = build.components(config)
    plain = build.own_program(parts, config, Device())
    programs = {}
    for precision, setting in EXPORTED.items():
        config.training.precision = setting
        programs[precision] = build.own_program(parts, config, replace(Device(), compiled=True))
    return parts, programs, plain


# -- there: with jaxlib, neither TensorFlow nor maml_sweep -----------------------------------------


def run(folder: Path, seconds: float, results: Path | None = None) -> int:
    """Runs every program of a folder on jax's first device and prints what it finds.

    Args:
      folder: of an export.
      seconds: of training behind each rate.
      results: where to write the same as JSON.

    Returns:
      1 if a meta-gradient of float32 is further from the CPU's than `ALLOWED`, else 0.
    """
    jax = import_module("jax")
    device = jax.devices()[0]
    print(f"{device.device_kind} ({device.platform}), jax {jax.__version__}")
    print(f"{'':7}{'':10}{'pack':>6}{'trial-steps/s':>15}{'compiling':>11}{'difference':>12}")
    found = []
    for step in _steps(folder):
        row = step | _measured(jax, device, folder, step, seconds)
        found.append(row)
        print(_line(row), flush=True)
    if results is not None:
        kind = {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
        results.write_text(json.dumps(kind | {"steps": found}, indent=2))
    return int(any(row["precision"] == "float32" and not _right(row) for row in found))


def _steps(folder: Path) -> Iterator[dict[str, Any]]:
    """What was exported, and float32 once more as tf32."""
    steps = json.loads((folder / MANIFEST).read_text())
    for step in steps:
        yield step
    for step in steps:
        if step["precision"] == "float32":
            yield step | {"precision": "tf32"}


def _measured(
    jax: Any, device: Any, folder: Path, step: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """A program's rate, and how far its numbers are from the CPU's; why not, where it fails."""
    with gzip.open(folder / f"{step['stem']}.mlir.gz", "rt") as file:
        text = file.read()
    if step["precision"] == "tf32":
        text = text.replace(EXACT, FREE).replace(EXACT_DOT, FREE_DOT)
    with np.load(folder / f"{step['stem']}.npz") as given:
        arrays = list(given.values())
    wanted = np.load(folder / f"{step['workload']}-wanted.npz")
    try:
        begin = time.perf_counter()
        loaded = load(device, text)
        compiling = time.perf_counter() - begin
        call = Call(jax, device, loaded, arrays)
        difference = _difference(call.outputs(1), wanted, step["pack"])
        rate = step["pack"] * call.iterations_a_second(seconds)
    except jax.errors.JaxRuntimeError as error:
        return {"failed": str(error).strip().splitlines()[0][:120]}
    return {"rate": rate, "compiling": compiling, "difference": difference}


def load(device: Any, text: str) -> Any:
    """StableHLO text as an executable of a device (DESIGN section 6 has the calls)."""
    runtime = import_module("jaxlib._jax")
    devices = runtime.DeviceList((device,))
    return device.client.compile_and_load(text, devices, runtime.CompileOptions())


class Call:
    """An executable with its arguments on the device.

    Args:
      jax: the module.
      device: that it was compiled for.
      loaded: the executable.
      arrays: its arguments; the last whole number by itself is that of iterations, behind which
        come the tables that tasks draw from.
    """

    def __init__(self, jax: Any, device: Any, loaded: Any, arrays: Sequence[np.ndarray]) -> None:
        self.jax, self.device, self.loaded = jax, device, loaded
        self.place = max(k for k, x in enumerate(arrays) if x.shape == () and x.dtype == np.int32)
        self.arrays = [jax.device_put(array, device) for array in arrays]

    def outputs(self, count: int) -> list[np.ndarray]:
        """theta, moment1, moment2 [place, parameter], loss and divergence [place]."""
        self.arrays[self.place] = self.jax.device_put(np.int32(count), self.device)
        return [np.asarray(array) for array in self.loaded.execute(self.arrays)]

    def iterations_a_second(self, seconds: float) -> float:
        """Of the device, in calls of growing length until one takes long enough."""
        count = 1
        while True:
            begin = time.perf_counter()
            self.outputs(count)
            elapsed = time.perf_counter() - begin
            if elapsed >= seconds:
                return count / elapsed
            count = max(2 * count, int(1.2 * count * seconds / elapsed))


def _difference(found: Sequence[np.ndarray], wanted: Any, pack: int) -> float:
    """Of meta-gradients and losses, as a share of their size; of the worst trial compared."""
    trials = min(pack, COMPARED)
    gradients, losses = found[1][:trials], found[3][:trials]
    off = np.linalg.norm(gradients - wanted["gradient"][:trials], axis=1)
    share = off / np.linalg.norm(wanted["gradient"][:trials], axis=1)
    loss = np.abs(losses / wanted["loss"][:trials] - 1)
    return float(np.maximum(share, loss).max())


def _right(row: dict[str, Any]) -> bool:
    """Whether it ran with the right numbers; one that does not fit in memory is no mistake."""
    if "failed" in row:
        return "RESOURCE_EXHAUSTED" in row["failed"]
    return bool(row["difference"] <= ALLOWED[row["workload"]])


def _line(row: dict[str, Any]) -> str:
    start = f"{row['workload']:7}{row['precision']:10}{row['pack']:6}"
    if "failed" in row:
        return f"{start}   {row['failed']}"
    return f"{start}{row['rate']:15,.0f}{row['compiling']:9.1f} s{row['difference']:12.1e}"


if __name__ == "__main__":
    sys.exit(main())
