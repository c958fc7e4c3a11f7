"""Workers that die in a launcher: whom the sweeper replaces, when it waits, when it gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
from composing import composer
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from studies import plan

from maml_sweep.errors import InputError
from maml_sweep.search import crew, launch, study
from maml_sweep.search.crew import Crew, Launch, Outcome, Standing

DONE = JobReturn(status=JobStatus.COMPLETED, _return_value=0)
STOPPED = JobReturn(status=JobStatus.COMPLETED, _return_value=130)
FAILED = JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError("out of luck"))
REFUSED = JobReturn(status=JobStatus.FAILED, _return_value=InputError("study.storage: gone"))
RAISED = BrokenExecutor("a worker was killed")  # as joblib's TerminatedWorkerError

Act = Sequence[JobReturn] | Exception


class Scripted:
    """A launcher that does what the script says, launch by launch."""

    def __init__(self, script: Sequence[Act]) -> None:
        self._script = iter(script)
        self.launched: list[tuple[int, int]] = []  # number of the first worker, how many

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.launched.append((initial_job_idx, len(jobs)))
        act = next(self._script)
        if isinstance(act, Exception):
            raise act
        assert len(act) == len(jobs)
        return act


@pytest.fixture(autouse=True)
def hydras_own() -> Iterator[None]:
    """Hydra's global configuration is as it was."""
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


Run = Callable[..., tuple[Outcome, Scripted, list[float]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a crew whose launcher and storage are scripted; says how often it waited, too."""

    def act(
        script: Sequence[Act],
        standings: Sequence[Standing] = (),
        launcher: str = "joblib",
        workers: int = 2,
        timeout: str = "null",
    ) -> tuple[Outcome, Scripted, list[float]]:
        composing = composer(f"hydra/launcher={launcher}")
        said = [f"workers={workers}", f"study.timeout={timeout}"]
        config = composing.compose(said, RunMode.MULTIRUN)
        scripted, pauses, looks = Scripted(script), list[float](), iter(standings)
        monkeypatch.setattr(Plugins, "instantiate_launcher", lambda *_, **__: scripted)
        monkeypatch.setattr(crew, "look", lambda _: next(looks))
        made = Launch(config, plan(max_retries=2), tmp_path, "sqlite://")
        context = HydraContext(composing.loader, Callbacks())
        seconds = iter(range(0, 1000, 10))
        whole = Crew(made, context, lambda: float(next(seconds)), pauses.append)
        outcome = whole.run()
        assert next(looks, None) is None, "it looked less often than it should"
        return outcome, scripted, pauses

    return act


def standing(finished: int, free: int, live: int, total: int = 24) -> Standing:
    return Standing(finished, total - finished, free, live)


def test_where_nobody_dies_nothing_is_asked(run: Run) -> None:
    outcome, launcher, _ = run([[DONE, DONE]])
    assert outcome.returns == [0, 0] and not outcome.failures
    assert launcher.launched == [(0, 2)]


def test_a_failed_worker_is_replaced_under_a_number_of_its_own(run: Run) -> None:
    outcome, launcher, _ = run([[DONE, FAILED], [DONE]], [standing(20, 4, live=1)])
    assert launcher.launched == [(0, 2), (2, 1)]
    assert outcome.failures == ["out of luck"] and outcome.returns == [0, 0]


def test_all_are_replaced_where_none_is_left(run: Run) -> None:
    """joblib takes the others down with the one that was killed."""
    outcome, launcher, _ = run(
        [RAISED, [DONE, DONE]], [standing(9, 15, live=0), standing(24, 0, live=0)]
    )
    assert launcher.launched == [(0, 2), (2, 2)]
    assert outcome.failures == ["a worker was killed"]


def test_no_more_are_started_than_slots_are_free(run: Run) -> None:
    script = [RAISED, [DONE]]
    _, launcher, _ = run(script, [standing(23, 1, live=0), standing(24, 0, live=0)], workers=5)
    assert launcher.launched == [(0, 5), (5, 1)]


def test_it_waits_for_those_who_go_on(run: Run) -> None:
    """One of five dies, submitit raises; one is started in its place; then the others finish.

    First all open slots are held, by a lease that has yet to lapse: nothing to start anybody for.
    """
    course = [
        standing(10, 0, live=5),
        standing(12, 4, live=4),  # the dead one's are free: a replacement, which ends well
        standing(20, 2, live=4),  # nobody is lost now: those four will see to it
        standing(24, 0, live=0),
    ]
    _, launcher, pauses = run([RAISED, [DONE]], course, "submitit_local", workers=5)
    assert launcher.launched == [(0, 5), (5, 1)]
    assert pauses == [crew.LOOK, crew.LOOK]


def test_once_all_are_gone_the_rest_is_begun_again(run: Run) -> None:
    """Nobody hears of the deaths after the first: the leases tell."""
    course = [standing(10, 2, live=1), standing(12, 12, live=0), standing(24, 0, live=0)]
    _, launcher, _ = run([RAISED, [DONE], [DONE] * 5], course, "submitit_local", workers=5)
    assert launcher.launched == [(0, 5), (5, 1), (6, 5)]


def test_it_gives_up_where_nothing_gets_further(run: Run) -> None:
    """max_retries=2 without a slot more; one that gets further gives two more tries."""
    course = [standing(9, 15, live=0)] * 2 + [standing(10, 14, live=0)] * 3
    outcome, launcher, _ = run([RAISED] * 5, course)
    assert [count for _, count in launcher.launched] == [2] * 5
    assert len(outcome.failures) == 5


def test_time_that_is_up_is_no_death(run: Run) -> None:
    """Ten seconds pass at each look at the clock: 0 at the start, 10, 20 …"""
    outcome, launcher, _ = run([RAISED], [standing(9, 15, live=0)], timeout="15")
    assert launcher.launched == [(0, 2)] and len(outcome.failures) == 1


def test_a_worker_whose_job_was_stopped_is_replaced_too(run: Run) -> None:
    """Slurm preempts: the worker handed its slots back and its job is gone."""
    outcome, launcher, _ = run([[DONE, STOPPED], [DONE, DONE]], [standing(20, 4, live=0)])
    assert launcher.launched == [(0, 2), (2, 2)]
    assert outcome.interrupted == 0


@pytest.mark.parametrize("launcher", ["basic", "local"])
def test_here_nobody_is_replaced(run: Run, launcher: str) -> None:
    """basic has one worker, the sweeper itself; local has started its own again already."""
    outcome, scripted, _ = run([[DONE, STOPPED]], launcher=launcher)
    assert scripted.launched == [(0, 2)] and outcome.interrupted == 1


def test_what_a_worker_refuses_is_kept(run: Run) -> None:
    outcome, _, _ = run([[DONE, REFUSED]])
    assert str(outcome.refused) == "study.storage: gone"


def test_an_error_in_the_sweepers_own_process_keeps_its_traceback(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        run([[FAILED]], launcher="basic", workers=1)
    assert "Error executing job" in capsys.readouterr().err


def test_a_launcher_that_starts_nothing_is_refused_in_one_line(run: Run) -> None:
    with pytest.raises(InputError) as caught:
        run([TypeError("init() got an unexpected\nkeyword")])
    assert str(caught.value) == ("hydra/launcher=joblib: cannot start workers: TypeError: keyword")


# -- what the user is told -------------------------------------------------------------------------


@pytest.fixture
def half(tmp_path: Path) -> Launch:
    """A study of two slots, both waiting."""
    url = study.storage_url(None, tmp_path)
    made = plan(n_trials=2)
    study.create(url, made, tmp_path)
    config = composer().compose([], RunMode.MULTIRUN)
    return Launch(config, made, tmp_path, url)


def test_the_storage_says_how_it_stands(half: Launch) -> None:
    assert crew.look(half) == Standing(finished=0, open=2, free=2, live=0)
    study.open_study(half.url, half.plan.name).ask()  # nobody's: it was killed on the way
    assert crew.look(half) == Standing(finished=0, open=2, free=2, live=0)


def test_slots_left_for_want_of_workers_end_in_one_line(
    half: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch._say_end(Outcome(), half)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(SystemExit) as stop:
        launch._say_end(Outcome(failures=["this", "that"]), half)
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        f"{half.plan.name}: 2 slots are left; 2 workers died, the last of: that; "
        f"logs: {half.folder}/workers\n"
    )


def test_deaths_that_cost_nothing_are_mentioned(
    half: Launch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "look", lambda _: Standing(2, 0, 0, 0))
    launch._say_end(Outcome(failures=["that"]), half)
    assert capsys.readouterr().err == (
        f"1 worker died, the last of: that; the others did their work "
        f"(logs: {half.folder}/workers)\n"
    )


def test_slots_that_others_hold_are_mentioned(
    half: Launch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "look", lambda _: Standing(0, 2, 0, 3))
    launch._say_end(Outcome(), half)
    assert capsys.readouterr().out == "2 slots are with 3 other workers, which go on\n"
