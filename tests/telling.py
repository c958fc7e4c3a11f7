"""Answers to synthetic studies that are told, not computed, for figures that draw them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import synthetic

from maml_sweep.analysis import frames

RATE, STEPS, META = "algorithm.inner_lr", "algorithm.inner_steps", "optimizer.meta_lr"
TWO = {RATE: "tag(log, interval(0.001, 0.1))", STEPS: "range(1, 6)"}


@dataclass
class Told:
    """Answers that are told, not computed."""

    frames: frames.Frames
    best: int | None = None
    standing: pd.Series[float] = field(default_factory=lambda: pd.Series(dtype=float))
    importance: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(
            {name: [] for name in ("parameter", "branch", "fanova", "fanova_sd", "pedanova")}
        )
    )
    importance_words: str = "Too few trials."


def told(root: Path, **settings: Any) -> Any:
    """Answers to a synthetic study; trials stand in the order of their last values."""
    study = frames.load(synthetic.make(root, **settings))
    last = study.sign * study.trials.set_index("slot")["last"].dropna()
    standing = (last.rank() - 1) / max(1, len(last) - 1)
    values = (study.sign * study.trials.set_index("slot")["value"]).dropna()
    best = int(values.index.to_numpy()[values.argmin()]) if len(values) else None
    return Told(study, best, standing)
