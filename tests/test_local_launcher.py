"""hydra/launcher=local: processes that die are started again, the others left alone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import launched
import pytest
from composing import ROOT, composer
from hydra._internal.callbacks import Callbacks
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import open_dict

from hydra_plugins.maml_sweep_local_launcher import _children, _jobs, _processes, _server
from hydra_plugins.maml_sweep_local_launcher._processes import Died, Processes
from hydra_plugins.maml_sweep_local_launcher.maml_sweep_local_launcher import (
    LocalLauncher,
    LocalLauncherConf,
)
from maml_sweep.errors import InputError
from maml_sweep.search.lease import process_start

WORDS = "hydra_plugins.maml_sweep_local_launcher._processes"


class Actor:
    """A process that plays its part at once: bytes are sent, a number is its exit code."""

    def __init__(self, part: bytes | int, results: Connection, note: Callable[[], None]) -> None:
        self._part, self._results, self._note = part, results, note
        self.exitcode: int | None = None
        self.pid = 4_000_000  # beyond what Linux gives

    def start(self) -> None:
        self._note()
        if isinstance(self._part, bytes):
            self._results.send_bytes(self._part)
        self.exitcode = 0 if isinstance(self._part, bytes) else self._part

    def is_alive(self) -> bool:
        return False

    def join(self) -> None: ...
    def terminate(self) -> None: ...


class Stage:
    """A multiprocessing context whose processes are actors."""

    def __init__(self, parts: dict[int, Sequence[bytes | int]]) -> None:
        self._parts = {index: iter(each) for index, each in parts.items()}
        self.started: list[int] = []
        self.act: Callable[[int], None] = lambda index: None

    def Pipe(self, duplex: bool) -> Any:  # noqa: N802  (multiprocessing's name)
        return multiprocessing.Pipe(duplex)

    def Process(self, target: Any, args: Any, name: str) -> Any:  # noqa: N802
        index = int(args[0])

        def note() -> None:
            self.started.append(index)
            self.act(index)

        return Actor(next(self._parts[index]), args[1], note)


def play(
    parts: dict[int, Sequence[bytes | int]], restarts: int = 2, at_once: int = 9
) -> tuple[dict[int, Any], list[int]]:
    stage: Any = Stage(parts)
    payloads = {index: str(index).encode() for index in parts}
    outcomes = Processes(launched.wait_for_a_signal, payloads, at_once, restarts, stage).run()
    return outcomes, stage.started


def test_who_dies_is_started_again_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, WORDS)
    outcomes, started = play({0: [b"zero"], 1: [-signal.SIGKILL, 3, b"one"], 2: [b"two"]})
    assert outcomes == {0: b"zero", 1: b"one", 2: b"two"}
    assert sorted(started) == [0, 1, 1, 1, 2]
    assert caplog.messages == [
        "worker 1 died by SIGKILL and is started again, at most 1 more times",
        "worker 1 died by exit code 3 and is started again, at most 0 more times",
    ]


def test_who_dies_too_often_is_given_up() -> None:
    outcomes, started = play({0: [b"zero"], 1: [1, 1, -signal.SIGSEGV]})
    assert outcomes[0] == b"zero" and sorted(started) == [0, 1, 1, 1]
    assert isinstance(outcomes[1], Died)
    assert str(outcomes[1]) == "worker 1 died 3 times, at last by SIGSEGV"


@pytest.mark.parametrize("code", [0, 2, 130])
def test_a_code_that_a_process_chose_is_its_outcome(code: int) -> None:
    outcomes, started = play({0: [code]})
    assert (outcomes, started) == ({0: code}, [0])
    failed = _jobs._returned(code)
    assert failed.status == JobStatus.FAILED
    assert isinstance(failed._return_value, SystemExit) and failed._return_value.code == code


def test_no_more_than_told_run_at_once() -> None:
    """Each actor is through once it has started, so with one at a time they follow the order."""
    outcomes, started = play({0: [1, b"0"], 1: [b"1"], 2: [b"2"]}, at_once=1)
    assert started == [0, 0, 1, 2]
    assert list(outcomes) == [0, 1, 2]


def test_once_told_to_stop_nobody_is_started() -> None:
    """A signal comes while process 1 starts, which dies of it; 2 still waits its turn."""
    stage: Any = Stage({0: [130], 1: [-signal.SIGTERM], 2: [b"never"]})
    processes = Processes(launched.wait_for_a_signal, {i: b"%d" % i for i in range(3)}, 2, 3, stage)
    stage.act = lambda index: signal.raise_signal(signal.SIGTERM) if index == 1 else None
    before = [signal.getsignal(each) for each in _children.STOPS]
    assert processes.run() == {0: 130, 1: -signal.SIGTERM, 2: 130}
    assert processes.stopped and stage.started == [0, 1]
    assert [signal.getsignal(each) for each in _children.STOPS] == before


def test_signals_go_on_to_those_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    stage: Any = Stage({})
    processes = Processes(launched.wait_for_a_signal, {}, 1, 0, stage)
    for pid, alive, listens in ((11, True, True), (12, False, True), (13, True, False)):
        actor: Any = Actor(0, None, lambda: None)  # type: ignore[arg-type]
        actor.pid, actor.is_alive = pid, lambda alive=alive: alive
        child = _processes._Child(pid, actor, None, listens)  # type: ignore[arg-type]
        processes._alive.append(child)
    processes._hand_on(signal.SIGINT, None)
    assert sent == [(11, signal.SIGTERM)]
    processes._hear(processes._alive[-1])  # what would have been lost on it is sent late
    assert sent == [(11, signal.SIGTERM), (13, signal.SIGTERM)]


def test_where_nothing_can_be_started_it_is_tried_again_and_given_up() -> None:
    stage: Any = Stage({0: [b"zero"], 1: [b"never"] * 3})

    def refuse(index: int) -> None:
        if index == 1:
            raise BrokenPipeError("what processes are forked from has died")

    stage.act = refuse
    outcomes = Processes(launched.wait_for_a_signal, {0: b"0", 1: b"1"}, 2, 2, stage).run()
    assert outcomes[0] == b"zero" and stage.started == [0, 1, 1, 1]
    assert str(outcomes[1]) == "worker 1 died 3 times, at last by exit code 1"


class Unreadable(Exception):
    """An exception that can be pickled and not read again, as it wants two arguments."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def test_what_a_job_raised_comes_back_as_it_was_or_in_words() -> None:
    error = JobReturn(status=JobStatus.FAILED, _return_value=InputError("study.x: wrong"))
    back = _jobs._returned(_jobs._pickled(error))._return_value
    assert isinstance(back, InputError) and str(back) == "study.x: wrong"
    odd = JobReturn(status=JobStatus.FAILED, _return_value=Unreadable("this", "that"))
    back = _jobs._returned(_jobs._pickled(odd))._return_value
    assert isinstance(back, RuntimeError) and "this: that" in str(back)


@pytest.fixture
def hydras_own() -> Iterator[None]:
    """Hydra's globals are as they were."""
    state = Singleton.get_state()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    Singleton.set_state(state)
    root.handlers[:] = handlers
    root.setLevel(level)


def launch(folder: Path, task: Callable[[Any], str], count: int) -> Sequence[JobReturn]:
    """What so many jobs return; `study.name` is a file in the folder."""
    composing = composer("hydra/job_logging=none", "hydra/hydra_logging=none")
    config = composing.compose([f"study.name={folder}/died"], RunMode.MULTIRUN)
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
    launcher = LocalLauncher(restarts=1, n_jobs=2)
    context = HydraContext(composing.loader, Callbacks())
    launcher.setup(hydra_context=context, task_function=task, config=config)
    jobs = [[f"study.name='{folder}/died'"]] * count
    results: Sequence[JobReturn] = launcher.launch(jobs, initial_job_idx=0)
    return results


@pytest.mark.usefixtures("hydras_own")
def test_jobs_of_hydra_in_processes_of_their_own(tmp_path: Path) -> None:
    results = launch(tmp_path, launched.die_once_then_answer, 2)
    answers = [result.return_value.split(" of ") for result in results]
    assert [answer for answer, _ in answers] == ["answer 0", "answer 1"]
    assert (tmp_path / "died").exists()
    assert len({os.getpid(), *(int(pid) for _, pid in answers)}) == 3


@pytest.mark.usefixtures("hydras_own")
def test_a_job_has_the_environment_of_its_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is forked from a process that started before."""
    _server.load_ahead()
    monkeypatch.setenv("MAML_SWEEP_LATE", "told late")
    (result,) = launch(tmp_path, launched.tell_what_is_late, 1)
    assert result.return_value == "told late"


def test_what_loads_ahead_ends_with_who_started_it(tmp_path: Path) -> None:
    """A refused command waits for nothing: not for the import, nor leaves it behind."""
    code = (
        "import pathlib, time\n"
        "from hydra_plugins.maml_sweep_local_launcher._server import load_ahead\n"
        "load_ahead('launched_ahead')\n"
        f"ready = pathlib.Path({str(tmp_path)!r}, 'ready')\n"
        "while not ready.exists(): time.sleep(0.02)\n"
    )
    environment = environment_of_tests() | {"LAUNCHED_AHEAD": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, timeout=50, check=True
    )
    pid = int((tmp_path / "ready").read_text())
    _until(lambda: process_start(pid) is None)


@pytest.mark.parametrize(("gpus", "loads"), [("", True), ("0", False)])
def test_loading_ahead_starts_no_threads(gpus: str, loads: bool) -> None:
    """A fork has none of them, nor what they hold; NumPy's are OpenBLAS's, which knows of forks.

    CUDA does not, so TensorFlow stays away where there are GPUs.
    """
    code = (
        "import os, numpy\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "import maml_sweep.search.loaded, sys\n"
        "print('tensorflow' in sys.modules, len(os.listdir('/proc/self/task')) - before)"
    )
    environment = environment_of_tests() | {"CUDA_VISIBLE_DEVICES": gpus}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{loads} 0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_child_of_a_killed_parent_is_told(tmp_path: Path) -> None:
    code = f"import launched; launched.parent({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment_of_tests())
    _until((tmp_path / "ready").exists)
    process.kill()
    process.wait()
    _until((tmp_path / "told").exists)


def environment_of_tests() -> dict[str, str]:
    """One in which a new Python finds the tests' modules."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return {**os.environ, "PYTHONPATH": path}


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_plugin_is_light() -> None:
    """Hydra imports it in every application: what it needs to launch is not among that."""
    assert LocalLauncherConf().restarts == 3
    code = (
        "import sys, hydra_plugins.maml_sweep_local_launcher.maml_sweep_local_launcher as m\n"
        "late = ('cloudpickle', 'multiprocessing.connection', 'numpy')\n"
        "print([x for x in late if x in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_result_is_read_as_it_was_sent() -> None:
    sent = JobReturn(status=JobStatus.COMPLETED, _return_value=130)
    assert _jobs._returned(pickle.dumps(sent)).return_value == 130
