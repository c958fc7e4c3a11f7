"""How the application was started: the words that start it again, and where a user's classes lie.

Both are handed to workers through the environment, which our launcher's processes, Slurm's jobs and
Ray's local workers get.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLE = "MAML_SWEEP_COMMAND"
CHECKOUT = "python sweep.py"  # stands in a checkout's folder
INSTALLED = "maml-sweep sweep"  # works wherever the package is installed


def note(command: str) -> None:
    """Keeps the command that started the application, quoted for a shell, without overrides."""
    os.environ[_VARIABLE] = command


def command() -> str:
    """What to paste overrides behind: as the application was started, or could be from here."""
    return os.environ.get(_VARIABLE) or (CHECKOUT if _in_checkout() else INSTALLED)


def find_classes(folder: Path) -> None:
    """Lets a user's `_target_` name what lies in this folder, here and in every worker."""
    path = str(folder.resolve())
    if path not in sys.path:
        sys.path.insert(0, path)
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if path not in others:
        os.environ["PYTHONPATH"] = os.pathsep.join([path, *others])


def _in_checkout() -> bool:
    root = Path(__file__).resolve().parent.parent
    return Path.cwd() == root and (root / "sweep.py").is_file()
