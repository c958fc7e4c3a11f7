"""Teams: who is heard when, and that the clock has no say in what a sweep finds."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from pathlib import Path
from typing import Any, cast

import pytest
from sweeping import SMALL, Sweep, interrupt_after, reuse_programs, sweep

from maml_sweep.search.interruption import Interrupted
from maml_sweep.search.teams import Inside, Team, Teams
from maml_sweep.search.turns import Group
from maml_sweep.search.worker import Worker
from maml_sweep.training.devices import Device

PAIR = (*SMALL, "device.inter_op=2", "study.n_trials=12", "pack.size=4")


def team_of(several: Teams) -> Team:
    """The next idle team without trials, given one."""
    team = next(each for each in several.idle if not each.turns.in_flight)
    group = Group(cast("Any", None), trials=[cast("Any", object())])
    team.turns.group(cast("Any", "structure"), lambda: group)
    return team


@pytest.mark.parametrize(("size", "shares"), [(4, [2, 2]), (5, [3, 2]), (1, [1, 0])])
def test_places_are_dealt_evenly(size: int, shares: list[int]) -> None:
    two = Teams(2)
    assert [two.places(team, size) for team in two.idle] == shares


def test_as_many_teams_as_threads_but_no_more_than_trials() -> None:
    assert Device(4).in_teams(8) == Device(4, teams=4)
    assert Device(4).in_teams(3).teams == 3 and Device(4).in_teams(3).shards == 4
    assert Device(1, compiled=True, gpu=True).in_teams(32).teams == 1
    assert Device(2, teams=2).describe() == "CPU, 2 shards, 2 teams"


def test_they_are_heard_in_turns_and_not_as_they_come() -> None:
    """The second is ready first, and again; it waits for the first all the same."""
    two, ready = Teams(2), threading.Event()
    slow, quick = team_of(two), team_of(two)
    two.begin(slow, lambda _: cast("None", ready.wait(60)))
    two.begin(quick, lambda _: ready.set())
    heard: list[Team] = []
    while len(heard) < 5 and (first := two.next()) is not None:
        two.end(first, 60.0, lambda: None)
        two.begin(first, lambda _: None)
        heard.append(first)
    assert heard == [slow, quick, slow, quick, slow]
    two.halt()
    two.close()


def test_who_was_idle_does_not_get_ahead() -> None:
    """A team that had nothing to do begins in the round after the turn that was heard last."""
    two = Teams(2)
    busy, idle = team_of(two), team_of(two)
    for _ in range(3):
        two.begin(busy, lambda _: None)
        two.end(busy, 60.0, lambda: None)
    two.begin(idle, lambda _: None)
    two.begin(busy, lambda _: None)
    assert (idle.round, busy.round) == (4, 4) and two.next() is busy
    two.halt()
    two.close()


def test_what_a_turn_raises_is_raised_where_it_is_heard() -> None:
    one = Teams(1)
    team = team_of(one)

    def fail(_: Group) -> None:
        raise Interrupted

    one.begin(team, fail)
    with pytest.raises(Interrupted):
        one.end(team, 60.0, lambda: None)
    assert one.idle == [team]
    one.close()


def test_halting_tells_whose_turn_came_to_its_end() -> None:
    two = Teams(2)
    whole, cut = team_of(two), team_of(two)
    two.begin(whole, lambda _: None)

    def fail(_: Group) -> None:
        raise Interrupted

    two.begin(cut, fail)
    assert [team for team, _ in two.halt()] == [whole]
    assert two.idle == [whole, cut] and two.next() is None
    two.close()


def test_time_inside_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1 to 4 by two that overlap, then from 6 to 7."""
    moments = iter([1.0, 4.0, 6.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    inside = Inside()
    with inside(), inside():
        assert inside.seconds == 0.0
    assert inside.seconds == 3.0
    with inside():
        pass
    assert inside.seconds == 4.0


# -- whole sweeps -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Twelve slots, two teams of two, searched and pruned as by default."""
    with pytest.MonkeyPatch.context() as patch:
        reuse_programs(patch)
        return sweep(tmp_path_factory.mktemp("paired"), *PAIR)


def outcome(done: Sweep) -> list[dict[str, str]]:
    """What a sweep found, less what hangs on the clock or on who trained it."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in done.rows]


def test_two_teams_share_one_program(paired: Sweep) -> None:
    assert paired.code == 0 and len(paired.rows) == 12
    assert [program.traces for program in paired.programs] == [1]


def test_a_sweep_hangs_not_on_the_clock(
    paired: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teams that take turns of real time, one holding up the other, find the same to the bit."""
    reuse_programs(monkeypatch)
    alone, advance = threading.Lock(), Worker._advance

    def one_at_a_time(self: Worker, held: Group) -> None:
        with alone:
            advance(self, held)

    monkeypatch.setattr(Worker, "_advance", one_at_a_time)
    slow = sweep(tmp_path, *PAIR)
    assert outcome(slow) == outcome(paired)


def test_teams_change_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is learnt from others, one team finds what two do, to the last bit."""
    reuse_programs(monkeypatch)
    steady = (*PAIR, "sampler=random", "pruner=none", "study.n_trials=6")
    two = sweep(tmp_path / "two", *steady)
    one = sweep(tmp_path / "one", *steady, "pack.teams=1")
    assert two.values == one.values
    assert two.parameters("algorithm.inner_lr") == one.parameters("algorithm.inner_lr")


def test_an_interrupted_pair_of_teams_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever each of them was at: nothing that was trained to a rung is lost or told twice."""
    reuse_programs(monkeypatch)
    steady = (*PAIR, "sampler=random", "pruner=none", "study.n_trials=6")
    for checks in (2, 11):
        with monkeypatch.context() as patch:
            interrupt_after(patch, checks)
            assert sweep(tmp_path, *steady).code == 130
    again = sweep(tmp_path, *steady)
    whole = sweep(tmp_path / "whole", *steady)
    assert again.code == 0
    assert again.values == pytest.approx(whole.values, rel=1e-4)
    curves = [trial.intermediate_values for trial in again.study.trials if trial.values]
    assert all(list(curve) == [10, 20, 30, 40] for curve in curves)


@pytest.mark.parametrize("heard", [1, 6])
def test_a_signal_finds_two_turns_unheard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: int
) -> None:
    """Both teams are at a rung, at the sixth time the last: it is told before slots go back."""
    reuse_programs(monkeypatch)
    steady = (*PAIR, "sampler=random", "pruner=none", "study.n_trials=6")
    left, end = iter(range(heard)), Teams.end

    def stopped(self: Teams, team: Team, *more: Any) -> Group:
        if next(left, None) is not None:
            return end(self, team, *more)
        wait([each.turn for each in self._all if each.turn])
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Teams, "end", stopped)
        assert sweep(tmp_path, *steady).code == 130
    again = sweep(tmp_path, *steady)
    assert again.code == 0 and again.states == ["COMPLETE"] * 6
    curves = [trial.intermediate_values for trial in again.study.trials if trial.values]
    assert [list(curve) for curve in curves] == [[10, 20, 30, 40]] * 6


def test_a_wrong_number_of_teams(tmp_path: Path) -> None:
    done = sweep(tmp_path, *PAIR, "pack.teams=0")
    assert done.code == 2 and "pack.teams=0: expected auto or an integer" in done.errors
