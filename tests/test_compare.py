"""benchmarks/compare.py: rounds, ratios, verdicts, estimates, by contestants of known speed."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, race, searches
from benchmarks.contestants import Peer, loop, loop_figure, said_by, sweep_figure
from benchmarks.rounds import Contestant, Failed, Figure, Journal, Turn, hold, rotated
from benchmarks.sweeps import SPENT, Ended, Spent, Sweep
from benchmarks.throughput import FULL, conv4, sinusoid
from benchmarks.verdicts import Contest, Limit, Ratio, gain_beside, table
from maml_sweep.errors import InputError


def steady(name: str, values: Sequence[float], told: list[str] | None = None) -> Contestant:
    """A contestant with a value a round; a NaN stands for a failure."""

    def measure(turn: Turn) -> Figure:
        if told is not None:
            told.append(f"{name}{turn.index}")
        value = values[turn.index]
        if math.isnan(value):
            raise Failed(f"no {name} | today")
        return Figure(value)

    return Contestant(name, measure)


def held(
    contestants: Sequence[Contestant], rounds: int, path: Path | None = None
) -> tuple[Journal, list[str]]:
    journal, said = Journal(path, {"cores": 2}), list[str]()
    hold("fake", contestants, journal, rounds, said.append)
    return journal, said


# -- rounds ----------------------------------------------------------------------------------------


def test_each_round_another_one_is_first() -> None:
    told: list[str] = []
    held([steady(name, [1.0] * 3, told) for name in "abc"], 3)
    assert " ".join(told) == "a0 b0 c0 b1 c1 a1 c2 a2 b2"
    assert [each.name for each in rotated([steady(n, []) for n in "ab"], 5)] == ["b", "a"]


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Stopped in the second round, after b, while a runs; the last line is cut short."""
    path, told = tmp_path / "figures.jsonl", list[str]()

    def stopped(turn: Turn) -> Figure:
        if turn.index == 1:
            raise KeyboardInterrupt
        return Figure(3.0)

    with pytest.raises(KeyboardInterrupt):
        held([Contestant("a", stopped), steady("b", [5.0, 7.0, 9.0], told)], 3, path)
    assert told == ["b0", "b1"]
    whole = path.read_text()
    path.write_text(whole + '{"contest": "fake", "contest')
    again: list[str] = []
    contestants = [steady("a", [0.0, 4.0, 6.0], again), steady("b", [0.0, 0.0, 9.0], again)]
    journal, _ = held(contestants, 3, path)
    assert again == ["a1", "a2", "b2"]
    values = {
        name: [figure.value for figure in rounds.values()]
        for name, rounds in journal.found("fake").items()
    }
    assert values == {"a": [3.0, 4.0, 6.0], "b": [5.0, 7.0, 9.0]}
    assert path.read_text().startswith(whole)
    assert len(path.read_text().splitlines()) == 1 + 6
    assert Journal(path, {"cores": 2}).found("fake") == journal.found("fake")


def test_a_file_of_another_machine_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    Journal(path, {"cores": 2})
    with pytest.raises(InputError) as refused:
        Journal(path, {"cores": 4})
    assert str(refused.value) == (
        f"--json: {path} holds figures of {{'cores': 2}}, and these would be of {{'cores': 4}}; "
        "name another file"
    )
    for text in ("a,b\n", "[1]\n", "no end"):
        path.write_text(text)
        with pytest.raises(InputError, match=f"{path} is no file of this command's"):
            Journal(path, {})
        assert path.read_text() == text


def test_a_failure_is_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    nan, told = float("nan"), list[str]()
    path = tmp_path / "figures.jsonl"
    contestants = [steady("good", [1.0, 2.0, 3.0]), steady("bad", [nan] * 3, told)]
    journal, said = held(contestants, 3, path)
    assert told == ["bad0", "bad1"]  # twice is enough
    assert said[2] == "fake, round 1 of 3: bad failed: no bad | today"
    contest = Contest("fake", "Fake", "steps/s", tuple(contestants), ())
    rows = table(contest, journal.found("fake"), journal.failures("fake"))
    assert rows[2:] == [
        "| good | 2 | 1 to 3 | 3 |  |",
        "| bad |  |  | 0 | failed: no bad / today |",
    ]
    repaired = steady("bad", [4.0, 5.0, 6.0], told)
    journal, _ = held([contestants[0], repaired], 3, path)  # which tries again
    assert told[2:] == ["bad0", "bad1", "bad2"]
    rows = table(contest, journal.found("fake"), journal.failures("fake"))
    assert rows[3] == "| bad | 5 | 4 to 6 | 3 |  |"


# -- verdicts --------------------------------------------------------------------------------------


def rounds(*values: float, **more: Any) -> dict[int, Figure]:
    return {index: Figure(value, **more) for index, value in enumerate(values)}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    """Rounds 80/2, 90/3, 30/1: ratios 40, 30, 30, while the medians would make 80/2 = 40."""
    found = {"ours": rounds(80, 90, 30), "theirs": rounds(2, 3, 1)}
    verdict = Ratio(("ours",), ("theirs",), "their loop", 31).verdict(found)
    assert verdict == "ours: 30x their loop, wanted 31x: **no** (30 to 40 in 3 rounds)"
    verdict = Ratio(("ours",), ("theirs",), "their loop", 30).verdict(found)
    assert verdict == "ours: 30x their loop, wanted 30x: yes (30 to 40 in 3 rounds)"


def test_each_side_counts_by_its_best_setting() -> None:
    """By its median: c is better in one round only. A round that one side lacks does not count."""
    found = {
        "a": rounds(100, 100, 100),
        "b": rounds(200, 200),
        "c": rounds(10, 10, 90),
        "d": rounds(50, 50, 50),
    }
    ratio = Ratio(("a", "b"), ("c", "d", "e"), "their best")
    assert ratio.verdict(found) == "b: 4x their best, which is d (4 to 4 in 2 rounds)"
    assert ratio.ratios(found) == {0: 4.0, 1: 4.0}
    assert Ratio(("a",), ("e",), "e", 2).verdict(found) == "e, wanted 2x: not measured"


def test_a_ratio_beside_the_promised_one() -> None:
    found = {"ours": rounds(10, beside={"bare": 30.0}), "theirs": rounds(5)}
    ratio = Ratio(("ours",), ("theirs",), "theirs", None, gain_beside("bare"))
    assert ratio.verdict(found) == "ours: 6x theirs (6 to 6 in 1 round)"


def test_limits() -> None:
    limit = Limit("ours", lambda figure: figure.value, "% outside", 8)
    met = limit.verdict({"ours": rounds(7, 9, 8)})
    assert met == "8% outside, wanted at most 8: yes (7 to 9 in 3 rounds)"
    assert "**no**" in limit.verdict({"ours": rounds(8.1)})
    assert limit.verdict({}) == "% outside, wanted at most 8: not measured"


def test_the_table_shows_medians_and_what_stands_beside() -> None:
    found = {
        "a": {i: Figure(v, {"wall": 2 * v}, note="odd") for i, v in enumerate([1200.0, 7.125, 3])},
        "b": rounds(1, estimated=True),
    }
    contest = Contest("fake", "Fake", "steps/s", (steady("a", []), steady("b", [])), ())
    assert table(contest, found, {}) == [
        "|  | steps/s, median | lowest to highest | wall | rounds | notes |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        "| a | 7.12 | 3 to 1,200 | 14.2 | 3 | odd |",
        "| b | 1 | 1 to 1 |  | 1 | rounds 1 (estimated) |",
    ]


# -- searches --------------------------------------------------------------------------------------


def trial(seconds: float, value: float | None, state: str = "COMPLETE") -> dict[str, Any]:
    known = {"iterations": 100, "inner_steps": 3, "meta_batch_size": 50}
    return {"seconds": seconds, "value": value, "state": state, **known}


def searched(*trials: dict[str, Any], seconds: float = 1.0, **more: Any) -> Figure:
    return race.search_figure(seconds, trials, detail={"trials": list(trials)}, **more)


def test_the_race_goes_to_the_worse_of_both_bests() -> None:
    """We end at .3 and they at .5, which we pass with .4 after 6 s and they reach after 90."""
    ours = searched(trial(2, 0.9), trial(6, 0.4), trial(8, 0.3))
    theirs = searched(trial(40, 0.6), trial(50, None, "PRUNED"), trial(90, 0.5), trial(99, 0.7))
    assert race.meeting(ours, theirs) == (0.5, 6.0, 90.0)
    assert race.meeting(theirs, ours) == (0.5, 90.0, 6.0)
    assert race.sooner(ours, theirs) == 15.0
    assert theirs.beside == {"best": 0.5, "completed": 3.0}
    assert race.curve(theirs.detail["trials"]) == [(40.0, 0.6), (90.0, 0.5)]
    with pytest.raises(Failed, match="none of its trials completed"):
        searched(trial(5, None, "PRUNED"))


def test_a_slow_search_runs_once_and_is_estimated_after_that() -> None:
    """Its schedule cost 600 s of steps when it ran in 1000 s, and costs 300 s now: 500 s."""
    trials = [trial(400, 0.6), trial(1000, 0.5)]
    prices = iter([600.0, 300.0])
    slow = race.recorded(1000.0, {"trials": trials}, lambda trials: next(prices))
    later = race.stretched(slow, lambda trials: next(prices))
    assert (slow.value, slow.estimated) == (1000.0, False)
    assert (later.value, later.estimated) == (500.0, True)
    assert race.curve(later.detail["trials"]) == [(200.0, 0.6), (500.0, 0.5)]
    again = race.stretched(slow, lambda trials: 600.0)  # always from the one that ran
    assert again.value == 1000.0
    found = {"ours": {1: searched(trial(10, 0.4))}, "theirs": {1: later}}
    verdict = Ratio(("ours",), ("theirs",), "sooner than theirs", 25, race.sooner).verdict(found)
    assert verdict == (
        "ours: 50x sooner than theirs (estimated), wanted 25x: yes (50 to 50 in 1 round)"
    )
    assert race.meetings(found, "ours", ["theirs"])[-1] == (
        "| theirs (estimated) | 0.5 | 10 | 500 |"
    )


def test_a_full_search_is_kept_when_its_step_time_cannot_be_measured() -> None:
    def broken(trials: race.Trials) -> float:
        raise Failed("no torch")

    slow = race.recorded(1000.0, {"trials": [trial(900, 0.5)]}, broken)
    assert slow.value == 1000.0
    with pytest.raises(Failed, match="its step time is not known: no torch"):
        race.stretched(slow, lambda trials: 1.0)


@pytest.mark.parametrize(
    ("first", "limits", "runs"),
    [(301.0, [], 1), (299.0, [], 3), (301.0, [600.0], 3), (601.0, [600.0], 1)],
)
def test_when_a_search_is_slow(
    monkeypatch: pytest.MonkeyPatch, first: float, limits: list[float], runs: int
) -> None:
    clock, told = iter([0.0, first] * 3), list[str]()

    class Fake(Peer):
        def interpreter(self) -> Path:
            told.append("made")  # before the clock is read
            return Path()

        def report(self, arguments: Sequence[str], wanted: str) -> dict[str, Any]:
            told.append(" ".join(arguments[-2:]))
            return {"trials": [trial(1, 0.5)]}

    def look() -> float:
        told.append("clock")
        return next(clock)

    monkeypatch.setattr(time, "perf_counter", look)
    fake = Fake("none", "slow")
    contestant = searches.other("slow", fake, searches.QUICK, lambda trials: 7.0, *limits)
    journal, _ = held([contestant], 3)
    assert told[:4] == ["made", "clock", "--seed 0", "clock"]
    assert len(told) == 4 * runs
    estimated = [figure.estimated for figure in journal.found("fake")["slow"].values()]
    assert estimated == [False, runs == 1, runs == 1]


def test_a_schedule_is_priced_by_its_steps_and_tasks() -> None:
    """3 inner steps lie halfway between 1 s and 5 s; 50 tasks are twice 25; 100 iterations."""
    assert race.priced([trial(0, 0.0)], 1.0, 5.0) == pytest.approx(100 * 3.0 * 2)


def test_a_trials_own_log_tells_its_step_time() -> None:
    line = "[2026-11-23 15:40:{},500][maml_sweep.single][INFO] - iteration {}: mse 0.1\n"
    log = line.format("40", 100) + "[noise]\n" + line.format("44", 300) + line.format("50", 500)
    assert searches.between_reports(log) == pytest.approx(10 / 400)
    with pytest.raises(Failed, match="did not report twice"):
        searches.between_reports(line.format("40", 100))


# -- contestants -----------------------------------------------------------------------------------


def printing(text: str, code: int = 0) -> list[str]:
    other, stream = ("stdout", "stderr") if code else ("stderr", "stdout")
    told = f"import sys; print('{{}}', file=sys.{other}); print({text!r}, file=sys.{stream}); "
    told += f"sys.exit({code})"
    return [sys.executable, "-S", "-c", told]


def test_what_a_peer_says_last_counts() -> None:
    said = {"rates": {"1": 3.0, "32": 8.5}, "versions": {"jax": "0.9"}, "note": "slow"}
    figure = loop_figure(said_by(printing("warming up\n" + json.dumps(said)), "rates"))
    assert (figure.value, figure.beside, figure.note) == (8.5, {"best pack": 32.0}, "slow")
    assert figure.versions == {"jax": "0.9"}


def test_a_slow_loop_runs_once() -> None:
    """Its rate stands for the other rounds, and says so; a quick one runs in every round."""
    told: list[str] = []

    class Told(Peer):
        def interpreter(self) -> Path:
            return Path()

        def report(self, arguments: Sequence[str], wanted: str) -> dict[str, Any]:
            told.append(self.script)
            return {"rates": {"1": 0.5}}

    slow, quick = (loop(name, Told("none", name), []) for name in ("slow", "quick"))
    before = (Figure(0.25, detail={"wall": 301.0}), Figure(0.75, detail={"wall": 299.0}))
    taken = [
        each.measure(Turn(1, [figure])) for each, figure in zip((slow, quick), before, strict=True)
    ]
    assert told == ["quick"]
    assert [(figure.value, figure.estimated) for figure in taken] == [(0.25, True), (0.5, False)]


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("a\nModuleNotFoundError: learn2learn", 1, "1: ModuleNotFoundError: learn2learn"),
        ("not JSON", 0, "0: not JSON"),
        ('{"rates": {}}', 0, '0: {"rates": {}}'),
        ("", 3, "3: nothing"),
    ],
)
def test_a_peer_that_fails_says_why_in_a_line(text: str, code: int, why: str) -> None:
    with pytest.raises(Failed) as failed:
        said_by(printing(text, code), "rates")
    assert str(failed.value) == f"-S ended with {why}"


def a_sweep(first: float | None = 4.0) -> Sweep:
    """Two workers: 8 of 10 s and 3 of 5 s inside programs; 600 trial-steps in 20 s."""
    spent = (Spent(8.0, 2.0, 10.0), Spent(3.0, 1.0, 5.0))
    return Sweep(20.0, first, spent, 600, (Ended(9.0, 0.5),))


def test_a_sweep_counts_by_the_wall_time_of_its_command() -> None:
    figure = sweep_figure(a_sweep())
    assert figure.value == 30.0
    assert figure.beside == {"without start-up": 60.0, "command, s": 20.0}
    json.dumps(figure.detail)


def test_overhead_by_hand() -> None:
    """11 of 15 s inside: 4/15 outside; of the command's 20 s, 9/20."""
    figure = searches.overhead_figure(a_sweep())
    assert figure.beside["outside, %"] == pytest.approx(400 / 15)
    assert figure.beside["outside with start-up, %"] == pytest.approx(45.0)
    assert figure.beside["first report, s"] == 4.0
    with pytest.raises(Failed, match="before a report was seen"):
        searches.overhead_figure(a_sweep(None))


def test_the_workers_line_is_understood() -> None:
    """As search/worker.py writes it."""
    found = SPENT.search("67.82 s inside programs, 5.71 of them tracing, of 73.04 s since start-up")
    assert found and found.groups() == ("67.82", "5.71", "73.04")


def test_some_may_be_left_out() -> None:
    whole = sinusoid(1, FULL)
    left = compare._short_of(["JAX", "one by one"], whole).contestants
    names = [each.name for each in left]
    assert len(names) == len(whole.contestants) - 3 and len(names) > 3
    assert not any("JAX" in name or "one by one" in name for name in names)
    assert compare._short_of([], whole) == whole


@pytest.mark.parametrize(
    "contest", [sinusoid(1, FULL), conv4(FULL), searches.search(searches.FULL)]
)
def test_targets_are_about_contestants(contest: Contest) -> None:
    names = {contestant.name for contestant in contest.contestants}
    assert len(names) == len(contest.contestants)
    for target in contest.targets:
        assert isinstance(target, Ratio) and {*target.ours, *target.theirs} <= names


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Contest], None]:
    monkeypatch.setattr(compare, "matrix_product", lambda: 321.0)

    def take(contest: Contest) -> None:
        monkeypatch.setattr(compare, "SECTIONS", {"sinusoid": lambda quick: [contest]})

    return take


def test_the_command(
    tmp_path: Path,
    fakes: Callable[[Contest], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, told = tmp_path / "new" / "figures.jsonl", list[str]()
    contestants = (steady("ours", [84.0] * 2, told), steady("theirs", [2.0] * 2, told))
    targets = (Ratio(("ours",), ("theirs",), "learn2learn's loop", 40),)
    fakes(Contest("fake", "A fake", "steps/s", contestants, targets))
    for _ in range(2):  # the second time nothing is left to measure
        compare.main(["--json", str(path), "--rounds", "2", "--only", "sinusoid"])
        shown = capsys.readouterr().out.splitlines()
        assert shown[1:] == [
            "",
            "### A fake",
            "",
            "float32 product of 2048 x 2048 matrices: 321 GFLOP/s (321 to 321).",
            "",
            "|  | steps/s, median | lowest to highest | rounds | notes |",
            "| --- | ---: | ---: | ---: | --- |",
            "| ours | 84 | 84 to 84 | 2 |  |",
            "| theirs | 2 | 2 to 2 | 2 |  |",
            "",
            "- ours: 42x learn2learn's loop, wanted 40x: yes (42 to 42 in 2 rounds)",
        ]
        assert shown[0].endswith("; rounds: 2.")
    assert told == ["ours0", "theirs0", "theirs1", "ours1"]
    with pytest.raises(SystemExit) as stopped:
        compare.main(["--json", str(path), "--quick"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"--json: {path} holds figures of")


def test_a_stopped_command_says_how_to_go_on(
    tmp_path: Path,
    fakes: Callable[[Contest], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(turn: Turn) -> Figure:
        raise KeyboardInterrupt

    fakes(Contest("fake", "A fake", "steps/s", (Contestant("a", stopped),), ()))
    for more, said in (([], "stopped"), (["--json", str(tmp_path / "a")], "stopped; the same")):
        with pytest.raises(SystemExit) as ended:
            compare.main(["--only", "sinusoid", *more])
        assert ended.value.code == 130
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.split("] ")[1].startswith(said) and ("goes on" in last) == bool(more)
