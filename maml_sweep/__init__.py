"""maml_sweep: which inner rate, meta rate, inner steps and meta-batch size suit your tasks?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maml_sweep.learner import Learner

__version__ = "0.1.0"


def load(path: str | Path) -> Learner:
    """Loads weights that `maml-sweep train` saved: adapt them to a task, then predict.

    Args:
      path: such as "outputs/first/winners/26-0.npz".

    Raises:
      InputError: no such file, or one that cannot be used here.
    """
    from maml_sweep import learner  # late: `import maml_sweep` stays light

    return learner.load(path)
