"""The virtual environments of the peers, made when they are first wanted.

    python -m benchmarks.peers.environments          # makes all of them
    python -m benchmarks.peers.environments jax      # makes this one

They lie below `outputs/peers/`, one a file `requirements-*.txt`. A folder that lacks the mark of a
finished installation, or whose mark differs from what is wanted now, is made anew. Who comes while
another process makes one waits for it.

learn2learn 0.2.0 is of 2023. The C files that it carries were made for Python up to 3.10, so they
are made anew from its Cython sources, by the first command of its own setup.py. It is installed
without what it requires: its MAML needs PyTorch alone, and a torchvision that fits a CPU build of
PyTorch is not on every index. `torch_models.maml` says how it is imported then.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / "outputs" / "peers"
NAMES = ("torch", "jax", "hydra")
MARK = "installed.txt"
# Installed one after the other, behind the requirements.
AFTER: dict[str, tuple[tuple[str, ...], ...]] = {
    "torch": (
        (
            "--no-deps",
            "--no-build-isolation",
            "--use-pep517",
            *("--no-binary", "learn2learn"),
            "--config-settings=--global-option=build_ext",
            "learn2learn==0.2.0",
        ),
    )
}


def python(name: str) -> Path:
    """The interpreter of an environment, which is made if need be.

    Args:
      name: of `NAMES`.

    Raises:
      RuntimeError: it cannot be made; one line says which and why.
    """
    if name not in NAMES:
        raise RuntimeError(f"no environment {name!r}; there are {', '.join(NAMES)}")
    folder = FOLDER / name
    mark, wanted = folder / MARK, _wanted(name)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.is_file() or mark.read_text() != wanted:
            _make(name, folder)
            mark.write_text(wanted)
    return _interpreter(folder)


def _wanted(name: str) -> str:
    lines = [" ".join(each) for each in AFTER.get(name, ())]
    return "\n".join([(HERE / f"requirements-{name}.txt").read_text(), *lines, sys.version])


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _make(name: str, folder: Path) -> None:
    print(f"making {folder.relative_to(ROOT)} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    _pip(name, folder, ["-r", str(HERE / f"requirements-{name}.txt")])
    for arguments in AFTER.get(name, ()):
        _pip(name, folder, arguments)


def _pip(name: str, folder: Path, arguments: Sequence[str]) -> None:
    command = [str(_interpreter(folder)), "-m", "pip", "install", "--quiet", *arguments]
    # This process's own packages are none of the environment's business.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"environment {name}: pip install {arguments[-1]}: {_why(done.stderr)}")


def _why(stderr: str) -> str:
    """The line of pip's errors that says most: the first of its own, or else the last of all."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or ["it ended without a word"])[0]


def main(arguments: Sequence[str]) -> None:
    """Makes the environments named, or all, and prints their interpreters."""
    try:
        for name in arguments or NAMES:
            print(python(name))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1:])
