"""C sources compiled for the machine at hand, once, and loaded into TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.files import write_atomic

FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC"),
    *("-fno-math-errno", "-fno-trapping-math"),  # numbers stay IEEE's, infinities among them
    "-Wl,--allow-multiple-definition",  # for C, TensorFlow's headers define constants in every file
)

_MAKING = threading.Lock()


class Unavailable(Exception):
    """There is no library: the machine lacks a compiler that can make it, or it does not load."""


def prepare() -> threading.Thread:
    """Starts to compile the library where it is not kept yet; `load` waits for that.

    TensorFlow need not be loaded for it: both take seconds, and so they do side by side.
    """
    making = threading.Thread(target=_make, daemon=True)
    making.start()
    return making


def _make() -> None:
    try:
        with _MAKING:
            compiler = _compiler()
            if not (path := _path(compiler)).exists():
                write_atomic(path, _compiled(compiler))
    except (Unavailable, OSError):
        return  # `load` meets it again, and tells


@functools.cache
def load() -> Any:
    """The operations of all sources beside this file, as `tf.load_op_library` has them.

    The library is kept in `$XDG_CACHE_HOME/maml_sweep` (`~/.cache`) under a name that follows from
    the sources, the compiler, the processor and TensorFlow; where that folder cannot be written it
    is made anew in each process.

    Raises:
      Unavailable: no C compiler (`$CC`, else `cc`), it refuses the sources, or TensorFlow refuses
        what it makes; says which.
    """
    compiler = _compiler()
    path = _path(compiler)
    with _MAKING:
        try:
            return tf.load_op_library(str(path))
        except tf.errors.NotFoundError:  # it is not there, or damaged
            content = _compiled(compiler)
        try:
            write_atomic(path, content)
            return tf.load_op_library(str(path))
        except (OSError, tf.errors.NotFoundError):  # a folder that runs no programs, say
            return _loaded_from_elsewhere(content)


def _compiler() -> str:
    """Where it is.

    Raises:
      Unavailable: nowhere.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Unavailable("there is no C compiler")
    return compiler


def _path(compiler: str) -> Path:
    """Where the library is kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maml_sweep"
    return folder / f"kernels-{_mark(compiler)}.so"


def _tensorflow() -> Path:
    """TensorFlow's folder, whether it is loaded or not."""
    spec = find_spec("tensorflow")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _sources(pattern: str) -> list[Path]:
    return sorted(Path(__file__).parent.glob(pattern))


def _shared(folder: Path) -> list[Path]:
    """TensorFlow's own libraries."""
    found = folder.glob("libtensorflow_*.so*")
    return sorted(path for path in found if not path.is_symlink())


def _mark(compiler: str) -> str:
    """What the library hangs on, as a few digits."""
    told = _told([compiler, "--version"])
    sources = [path.read_text() for path in _sources("*.[ch]")]
    built = [f"{path.name} {path.stat().st_size}" for path in _shared(_tensorflow())]
    parts = [*sources, told, _processor(), *built, *FLAGS]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What tells processors with other instructions apart."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    telling = ("model name", "flags", "Features", "CPU part")
    return "\n".join([platform.machine(), *sorted({x for x in lines if x.startswith(telling)})])


def _compiled(compiler: str) -> bytes:
    """The library's bytes.

    Raises:
      Unavailable: the compiler fails.
    """
    found = _tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "library.so"
        given = [f"-I{found / 'include'}", *map(str, [*_sources("*.c"), *_shared(found)])]
        _told([compiler, *FLAGS, *given, f"-Wl,-rpath,{found}", "-lm", "-o", str(made)])
        return made.read_bytes()


def _told(command: list[str]) -> str:
    """What a command prints.

    Raises:
      Unavailable: it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        said = (errors or done.stderr.splitlines() or ["nothing"])[0]
        raise Unavailable(f"{command[0]} fails: {said.strip()}")
    return done.stdout


def _loaded_from_elsewhere(content: bytes) -> Any:
    """The operations of a library that is kept nowhere.

    Raises:
      Unavailable: TensorFlow cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.so"
        path.write_bytes(content)
        try:
            return tf.load_op_library(str(path))
        except tf.errors.NotFoundError as error:
            raise Unavailable(f"TensorFlow cannot load the library: {error}") from None
