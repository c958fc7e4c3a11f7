"""The Hydra application: trains one trial, or sweeps, which is what it does unless told otherwise.

`python sweep.py --help` shows the settings and examples.
"""

from __future__ import annotations

import re
import sys

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

import maml_sweep.config  # noqa: F401  (registers the schema)
from maml_sweep.errors import InputError

_RUN = re.compile(r"\+{0,2}hydra\.mode=(['\"]?)RUN\1")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg: DictConfig) -> float:
    """Trains the trial that `cfg` describes and returns its objective."""
    from maml_sweep.single import run  # TensorFlow waits until a trial is wanted

    try:
        return run(cfg)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None  # an Exception would end in Hydra's traceback


def with_multirun(arguments: list[str]) -> list[str]:
    """Adds --multirun unless the arguments (program name left out) ask for something else.

    `hydra.mode: MULTIRUN` in the configuration would do too, but Hydra falls back to RUN when a
    typo stands beside a comma sweep, and then reports the sweep instead of the typo.
    """
    args = get_args_parser().parse_known_args(arguments)[0]
    asked = [args.run, args.multirun, args.cfg, args.help, args.hydra_help]
    asked += [args.info, args.shell_completion, args.experimental_rerun]
    if any(asked) or any(map(_RUN.fullmatch, arguments)):
        return arguments
    return ["--multirun", *arguments]


if __name__ == "__main__":
    sys.argv[1:] = with_multirun(sys.argv[1:])
    train()
