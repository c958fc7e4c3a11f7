"""benchmarks/growth.py: operations counted by shapes, and what its tables say of them."""

from __future__ import annotations

import pytest

from benchmarks import growth_report, packing
from benchmarks.grown import AGAIN, KEPT, MEMORY, SERIES, Found, Point
from benchmarks.operations import counted

PRODUCT = (
    "%9 = stablehlo.dot_general %7, %8, batching_dims = [0] x [0], contracting_dims = [2] x [1], "
    "precision = [DEFAULT, DEFAULT] : (tensor<4x10x3xf32>, tensor<4x3x5xf32>) -> tensor<4x10x5xf32>"
)
CONVOLUTION = (
    "%5 = stablehlo.convolution(%3, %4) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
    "window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 2 : i64}"
    " : (tensor<6x8x8x4xf32>, tensor<3x3x2x10xf32>) -> tensor<6x8x8x10xf32>"
)


def program(*lines: str) -> str:
    """A module whose loop's body stands there a second time, uncalled."""
    body = "\n    ".join(lines)
    return f"""module {{
  func.func private @body() {{
    {body}
  }}
  func.func public @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {{
    {body}
  }}
  func.func private @other() {{
    {body}
  }}
}}"""


def test_a_product_counts_two_for_every_multiplication() -> None:
    """Four products of [10, 3] and [3, 5]."""
    assert counted(program(PRODUCT, "%10 = stablehlo.add %9, %9 : tensor<4x10x5xf32>")) == 4 * 300


def test_a_grouped_convolution_counts_its_own_channels_alone() -> None:
    """Two groups of two channels in: each of 6 * 8 * 8 * 10 numbers sums over 3 * 3 * 2."""
    assert counted(program(CONVOLUTION)) == 2 * 3840 * 18


def test_open_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected fixed shapes"):
        counted(program(PRODUCT.replace("4x10x3", "?x10x3")))


def test_lanes_grow_by_trials() -> None:
    (series,) = (each for each in SERIES if each.title == "conv4-8, 4 tasks a trial")
    assert series.point(64) == Point("conv4", trials=16, tasks=4, filters=8)
    assert series.point(64).lanes == 64


def test_a_table_relates_speeds_to_the_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 trial-steps/s of 0.002 GFLOP are 2 GFLOP/s, a hundredth of 200."""
    monkeypatch.setattr(packing, "cores", lambda: 2)
    name = "trials: sinusoid, one task"
    memory = {each.name: {KEPT: {"5": [40.0, 3.0]}, AGAIN: {"5": [8.0, 4.0]}} for each in MEMORY}
    found = Found(200.0, {name: {"8": 1000.0}}, {name: {"8": 0.002}}, {name: {"8": 8}}, memory)
    lines = growth_report.tables(found)
    assert lines[:9] == [
        "2 cores; float32 product of 2048 x 2048 matrices: 200 GFLOP/s.",
        "",
        "**sinusoid, one task**",
        "",
        "| trials in the pack | 8 |",
        "| --- | ---: |",
        "| trial-steps/s | 1,000 |",
        "| GFLOP/s | 2 |",
        "| of the matrix product | 1.0% |",
    ]
    assert lines[-4:] == [
        "| MiB, kept | 40 |",
        "| MiB, recomputed | 8 |",
        "| ms, kept | 3 |",
        "| ms, recomputed | 4 |",
    ]
