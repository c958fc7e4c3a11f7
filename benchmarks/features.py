"""Feature files for task=embeddings: every drawing of glyphs as a trained body sees it.

    python sweep.py task=glyphs model=conv4 model.filters=64 study.name=body
    maml-sweep train body
    python benchmarks/features.py outputs/body/winners/SLOT-0.npz features
    python sweep.py algorithm=leo task=embeddings task.root=features model=mlp model.widths=[]

WEIGHTS is any winner of task=glyphs; its model's body was trained on the letters of the training
split alone. FOLDER gets {train,val,test}_embeddings.npz, each with `embeddings`, float32
[example, width], and `labels`, the number of the letter within its split. Norms go by the
statistics of some training drawings, for all splits alike: a drawing's features depend on no
other drawing of its split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

import maml_sweep
from maml_sweep import build
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models.base import Model
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.glyph_data import DRAWERS, SIDE, load
from maml_sweep.tasks.reading import vectors

BATCH = 500  # drawings at a time
SAMPLE = 2000  # training drawings that norms take their statistics from


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="a .npz of `maml-sweep train`")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="task.root of later sweeps")
    chosen = parser.parse_args(arguments)
    try:
        model, params = body(chosen.weights)
        export(model, params, chosen.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def body(weights: str) -> tuple[Model, list[Any]]:
    """A winner's model and its body's parameters, each [1, *shape].

    Raises:
      InputError: no such weights, or they are of another task than glyphs.
    """
    learner = maml_sweep.load(weights)
    if learner.task.input_shape != (SIDE, SIDE, 1):
        raise InputError(f"{weights}: its task's examples are no glyphs; train on task=glyphs")
    model = build.components(OmegaConf.create(learner.meta.config)).model
    names = [parameter.name for parameter in model.body]
    if not names or not learner.weights.keys() >= set(names):
        raise InputError(f"{weights}: has no body that makes features; train model=conv4 or mlp")
    return model, [tf.constant(learner.weights[name][np.newaxis]) for name in names]


def export(model: Model, params: Sequence[Any], folder: Path) -> None:
    """Writes the features of all drawings of every split."""
    sample = _drawings("train")
    chosen = np.random.default_rng(0).permutation(len(sample))[:SAMPLE]
    _, statistics = model.features(params, _lane(sample[chosen], params))
    run = tf.function(lambda x: model.features(params, x, statistics or None)[0])
    for split in SPLITS:
        drawings = _drawings(split)
        parts = [
            run(_lane(drawings[start : start + BATCH], params))[0].numpy()
            for start in range(0, len(drawings), BATCH)
        ]
        features = np.concatenate(parts)
        labels = np.arange(len(drawings)) // DRAWERS
        path = vectors.write(folder, split, features, labels)
        print(f"{path}: {len(features)} drawings, {features.shape[1]} numbers each")


def _drawings(split: Any) -> Any:
    """Every drawing of a split: uint8 [class * drawer, height, width, 1]."""
    return load(split).reshape(-1, SIDE, SIDE, 1)


def _lane(drawings: Any, params: Sequence[Any]) -> Any:
    """As the examples of one lane, in the float type of its parameters."""
    return tf.cast(drawings[np.newaxis], params[0].dtype)


if __name__ == "__main__":
    sys.exit(main())
