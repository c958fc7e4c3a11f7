"""What examples/ shows of tasks and models of one's own works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composing import ROOT
from numerics import check_meta_gradient, program, settings
from sweeping import QUICK, sweep

from examples.fourier import Fourier
from examples.lines import Lines
from maml_sweep import streams
from maml_sweep.backend import tf

CONF = ROOT / "examples" / "conf"
SHORT = (
    f"hydra.searchpath=[file://{CONF}]",
    *QUICK,
    "training.iterations=40",
    "training.report_every=20",
    "study.n_trials=3",
    "pruner=none",
)


@pytest.mark.parametrize("model", sorted(path.stem for path in CONF.glob("model/*.yaml")))
def test_the_examples_sweep(model: str, tmp_path: Path) -> None:
    """Over the ranges that the task brings; to answer 0 makes an error of 1/9 + 1/3."""
    steps = "algorithm.inner_steps=1"  # every further one has to be traced
    done = sweep(tmp_path, *SHORT, "task=lines", f"model={model}", steps)
    assert (done.code, done.errors) == (0, "")
    assert done.states == ["COMPLETE"] * 3
    assert done.best["config"]["task"]["_target_"] == "examples.lines.Lines"
    assert all(3e-3 <= float(row["algorithm.inner_lr"]) <= 0.3 for row in done.rows)
    assert min(done.values) < 1


def test_a_line_is_a_line() -> None:
    """Three points of it lie on one: (y2 - y1) (x3 - x1) = (y3 - y1) (x2 - x1)."""
    lanes = np.stack([streams.key("lane", lane) for lane in range(20)])
    support, query, _ = Lines(3, 2).episodes("train", tf.constant(lanes), tf.float64)
    x = np.concatenate([support.x, query.x], 1)[..., 0]
    y = np.concatenate([support.y, query.y], 1)[..., 0]
    left = (y[:, 1:] - y[:, :1]) * (x[:, -1:] - x[:, :1])
    right = (y[:, -1:] - y[:, :1]) * (x[:, 1:] - x[:, :1])
    np.testing.assert_allclose(left, right, atol=1e-12)
    assert len(np.unique(y[:, 0])) == 20


@pytest.mark.parametrize("steps", [1, 3])
def test_the_meta_gradient_of_waves(steps: int) -> None:
    of = program(Lines(4, 4), Fourier((1,), 1, 5), bound=steps)
    theta = of.init(np.array([[1, 2]], np.uint32))[0]
    check_meta_gradient(of, theta, settings(0.1, steps))
