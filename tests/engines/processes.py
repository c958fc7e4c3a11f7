"""Programs of the system as private servers: found, started on free loopback ports, stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
# Where Debian keeps what is no command of every user.
_ELSEWHERE = ("/usr/sbin", "/usr/local/sbin", "/sbin")


class Missing(Exception):
    """An engine cannot be started on this machine; says what it lacks."""


def program(engine: str, name: str, places: Sequence[str] = ()) -> str:
    """The path of a program.

    Raises:
      Missing: it is not installed.
    """
    path = os.pathsep.join([*places, os.environ.get("PATH", os.defpath), *_ELSEWHERE])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{engine}: {name} is not installed")
    return found


def package(engine: str, name: str, extra: str) -> None:
    """Looks for a Python package without importing it.

    Raises:
      Missing: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise Missing(f'{engine}: the package {name} is not installed: pip install -e ".[{extra}]"')


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until(reached: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Looks until something is so.

    Raises:
      TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.05)


def output(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
      RuntimeError: it failed; with its words.
    """
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def environ(**values: str) -> Iterator[None]:
    """Sets variables for this process and its children while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Daemon:
    """A server that stays in the foreground of a process group of its own."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], object], seconds: float = 60.0) -> None:
        """Looks until the server is ready.

        Raises:
          RuntimeError: it ended instead; with the end of its log.
        """

        def settled() -> bool:
            return bool(ready()) or self.process.poll() is not None

        wait_until(settled, f"{self.process.args!r} is up", seconds)
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.process.args!r} ended: {self.log.read_text()[-2000:]}")

    def stop(self, seconds: float = 20.0) -> None:
        """Asks it to stop, and makes it."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the server and what is left of its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((HOST, port)) == 0


def pids() -> list[int]:
    """All processes that run now."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def environment(pid: int) -> set[str]:
    """`NAME=value` of a process's environment, as it was started; empty if it has ended."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"))
    except OSError:
        return set()


def name_of(pid: int) -> str:
    """The name of a process's program; "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    """The process that started another; 0 if that has ended (proc(5), stat)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def kill(pid: int) -> None:
    """SIGKILL, unless the process has ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
