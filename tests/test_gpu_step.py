"""benchmarks/gpu_step.py: programs that are taken elsewhere carry all that they need."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from composing import ROOT

from benchmarks import gpu_step

FILE = ROOT / "benchmarks" / "gpu_step.py"
SMALL = ("task.shots=3", "task.queries=3", "model.widths=[4]", "training.meta_batch_size=3")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step of a small MLP for a pack of two."""
    folder = tmp_path_factory.mktemp("step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gpu_step.WORKLOADS, "mlp", (*gpu_step.WORKLOADS["mlp"], *SMALL))
        gpu_step.export(folder, [2], ["mlp"])
    return folder


def text_of(folder: Path, stem: str) -> str:
    with gzip.open(folder / f"{stem}.mlir.gz", "rt") as file:
        return file.read()


def test_what_is_exported(exported: Path) -> None:
    steps = json.loads((exported / gpu_step.MANIFEST).read_text())
    assert [(step["precision"], step["pack"]) for step in steps] == [
        *(("float32", 2), ("bfloat16", 2))
    ]
    for step in steps:
        text = text_of(exported, step["stem"])
        assert "custom_call" not in text
        assert ("bf16" in text) == (step["precision"] == "bfloat16")
        main = text[text.index("@main") :].partition(") ->")[0]
        with np.load(exported / f"{step['stem']}.npz") as given:
            assert main.count("%arg") == len(given.files)
    wanted = np.load(exported / "mlp-wanted.npz")
    assert wanted["gradient"].shape[0] == wanted["loss"].shape[0] == 2


def test_tf32_is_float32_with_fewer_bits_allowed(exported: Path) -> None:
    text = text_of(exported, "mlp-float32-2")
    assert text.count(gpu_step.EXACT_DOT) > 3
    assert gpu_step.FREE_DOT not in text
    freed = text.replace(gpu_step.EXACT_DOT, gpu_step.FREE_DOT)
    assert "HIGHEST" not in freed.replace(gpu_step.EXACT, gpu_step.FREE)
    steps = list(gpu_step._steps(exported))
    assert [step["precision"] for step in steps].count("tf32") == 1


def test_the_exported_step_has_the_cpus_numbers(exported: Path, tmp_path: Path) -> None:
    """Through jaxlib's runtime, on the CPU."""
    pytest.importorskip("jax", reason="pip install jax")
    results = tmp_path / "results.json"
    assert gpu_step.run(exported, 0.0, results) == 0
    found = json.loads(results.read_text())["steps"]
    assert len(found) == 3
    for step in found:
        assert step["difference"] < (0.2 if step["precision"] == "bfloat16" else 1e-5)


def test_it_runs_without_tensorflow_and_this_package() -> None:
    """Only the functions of the exporting half import either."""
    tree = ast.parse(FILE.read_text())
    importing = set()
    for node in tree.body:
        for inner in ast.walk(node):
            names = [inner.module or ""] if isinstance(inner, ast.ImportFrom) else []
            names += [each.name for each in inner.names] if isinstance(inner, ast.Import) else []
            if any(name.split(".")[0] in {"maml_sweep", "tensorflow", "hydra"} for name in names):
                importing.add(getattr(node, "name", "the module"))
    assert importing == {"export", "_exported", "_programs"}


# -- comparison ------------------------------------------------------------------------------------


def outputs(gradient: list[list[float]], loss: list[float]) -> list[Any]:
    return [None, np.array(gradient), None, np.array(loss), None]


def test_differences_by_hand() -> None:
    """Gradients (3, 4) and (0, 2): the second is 1 off, half its length; losses are equal."""
    wanted = {"gradient": np.array([[3.0, 4.0], [0.0, 2.0]]), "loss": np.array([1.0, 2.0])}
    found = outputs([[3.0, 4.0], [0.0, 3.0], [9.0, 9.0]], [1.0, 2.0, 7.0])
    assert gpu_step._difference(found, wanted, 1) == 0.0
    assert gpu_step._difference(found, wanted, 2) == 0.5
    found = outputs([[3.0, 4.0], [0.0, 2.0]], [1.0, 2.5])
    assert gpu_step._difference(found, wanted, 2) == 0.25


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"difference": 1e-6}, True),
        ({"difference": 2e-3}, False),
        ({"difference": 2e-3, "workload": "conv4"}, True),
        ({"difference": float("nan")}, False),
        ({"failed": "RESOURCE_EXHAUSTED: Out of memory"}, True),
        ({"failed": "INTERNAL: no kernel image"}, False),
    ],
)
def test_what_counts_as_right(row: dict[str, Any], right: bool) -> None:
    assert gpu_step._right({"workload": "mlp", **row}) is right


def test_the_count_stands_before_the_tables() -> None:
    """Among the arguments the number of iterations is the only whole number by itself."""
    jax = SimpleNamespace(device_put=lambda array, device: array)
    given: list[Any] = [np.zeros((2, 3)), np.array(1, np.int32), np.zeros((5, 28, 28), np.uint8)]
    ran: list[int] = []

    def execute(arrays: list[Any]) -> list[Any]:
        ran.append(int(arrays[1]))
        return arrays

    call = gpu_step.Call(jax, None, SimpleNamespace(execute=execute), given)
    call.outputs(7)
    assert ran == [7]
