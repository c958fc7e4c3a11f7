"""Every algorithm through whole sweeps: packed, pruned, resumed, told apart, and reported on."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from pages import parsed
from sweeping import QUICK, TASK, Sweep, reuse_programs, sweep, train

from maml_sweep import cli, config

SINES = (*QUICK, *TASK, "task=sinusoid", "model.widths=[4]")
GLYPHS = (
    *QUICK,
    "task=glyphs",
    "task.ways=3",
    "task.queries=2",
    "model=mlp",
    "model.widths=[4]",
)
SHORT = (
    "training.iterations=6",
    "training.report_every=2",
    "training.meta_batch_size=2",
    "sampler=random",
    "pack.size=2",
)
RATE, STEPS = "algorithm.inner_lr", "algorithm.inner_steps"
FEW = f"{STEPS}=range(1, 3)"
# What an option searches under `algorithm.`, where it is not a rate and a number of steps.
OWN = {
    "imaml": {RATE, STEPS, "algorithm.regularization"},
    "learned_optimizer": {RATE},
    "leo": {
        RATE,
        *(
            f"algorithm.{name}"
            for name in (
                "finetune_lr",
                "kl_weight",
                "encoder_penalty",
                "orthogonality_weight",
                "dropout",
            )
        ),
    },
    "protonet": set(),
}
# How an option is made small, where it is not by few steps.
SMALL = {
    "learned_optimizer": (f"{STEPS}=2", "algorithm.hidden=3"),
    "leo": (f"{STEPS}=1", "algorithm.latent=2", "algorithm.finetune_steps=1"),
    "protonet": (),
}
CLASSES_ALONE = ("leo", "protonet")
# Those that look at the kind of task are tried on both; a study of several, below, is of glyphs.
ON_SINES = (
    "maml",
    "anil",
    "boil",
    "meta_sgd",
    "reptile",
    "imaml",
    "finetune",
    "learned_optimizer",
)
ON_GLYPHS = ("fomaml", "maml_pp", "finetune", *CLASSES_ALONE)
# Every option's state comes back from a checkpoint in test_family.py; these have the most of it.
ENLARGED = ("maml_pp", "learned_optimizer")


@pytest.fixture(autouse=True)
def _each_program_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reuse_programs(monkeypatch)


def assert_sound(done: Sweep, n_trials: int) -> None:
    """All slots ended, each with a number unless it diverged, and one at least at its end."""
    assert (done.code, done.errors) == (0, "")
    assert [int(row["slot"]) for row in done.rows] == list(range(n_trials))
    assert set(done.states) <= {"COMPLETE", "PRUNED"}
    assert "COMPLETE" in done.states
    for row in done.rows:
        assert math.isfinite(float(row["value"])) == (row["diverged"] == "")
    assert done.checkpoints == []


def searched(done: Sweep) -> set[str]:
    """The algorithm's columns of trials.csv."""
    return {column for column in done.rows[0] if column.startswith("algorithm.")}


# -- each by itself ------------------------------------------------------------------------------


def test_no_option_is_left_out() -> None:
    assert {*ON_SINES, *ON_GLYPHS} == set(config.GROUPS["algorithm"])


@pytest.mark.parametrize(
    ("option", "task"),
    [
        *(pytest.param(option, SINES, id=f"{option}-sinusoid") for option in ON_SINES),
        *(pytest.param(option, GLYPHS, id=f"{option}-glyphs") for option in ON_GLYPHS),
    ],
)
def test_every_option_sweeps(tmp_path: Path, option: str, task: Sequence[str]) -> None:
    """Packed and pruned; two of them then with two slots more."""
    pruned = ("pruner.grace=0.3", "pruner.keep=0.5", "study.n_trials=4")
    small = SMALL.get(option, (FEW,))
    first = sweep(tmp_path, *task, *SHORT, *pruned, f"algorithm={option}", *small)
    assert_sound(first, 4)
    assert searched(first) == OWN.get(option, {RATE, STEPS})
    assert all(row[key] for row in first.rows for key in searched(first))
    assert {program.traces for program in first.programs} == {1}
    if option in ENLARGED:
        rows = list(first.rows)
        more = sweep(tmp_path, "study.n_trials=6")
        assert_sound(more, 6)
        assert more.rows[:4] == rows
        assert {program.traces for program in more.programs} == {1}


@pytest.mark.parametrize("option", CLASSES_ALONE)
def test_values_are_refused_where_classes_are_wanted(tmp_path: Path, option: str) -> None:
    """Alone, and as one of several."""
    for chosen in (option, f"maml,{option}"):
        done = sweep(tmp_path, *SINES, *SHORT, f"algorithm={chosen}")
        assert done.code == 2
        assert len(done.errors.splitlines()) == 1
        assert "serves classification tasks, but the task is regression" in done.errors
        assert list(tmp_path.iterdir()) == []


# -- several in one study ------------------------------------------------------------------------

FOUR = ("maml", "anil", "meta_sgd", "protonet")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Each of four algorithms twice, and four slots more."""
    sets = ",".join(f"{{algorithm:{option}}}" for option in FOUR * 2)
    wanted = (f"algorithm={','.join(FOUR)}", FEW, "pruner=none", "study.n_trials=12")
    with pytest.MonkeyPatch.context() as patch:
        reuse_programs(patch)
        root = tmp_path_factory.mktemp("mixed")
        return sweep(root, *GLYPHS, *SHORT, *wanted, f"study.enqueue=[{sets}]")


def test_parameters_are_drawn_where_they_are(mixed: Sweep) -> None:
    assert_sound(mixed, 12)
    assert [row["algorithm"] for row in mixed.rows[:8]] == list(FOUR * 2)
    assert searched(mixed) == {RATE, STEPS}
    for row in mixed.rows:
        for key in (RATE, STEPS):
            assert (row[key] == "") == (row["algorithm"] == "protonet")
        assert row["optimizer.meta_lr"] != ""
    assert len({row[RATE] for row in mixed.rows if row[RATE]}) > 4


def test_curves_have_a_point_a_step(mixed: Sweep) -> None:
    """0 … 2S, which for prototypes is one."""
    for row in mixed.rows:
        if row["diverged"] == "":
            metric = mixed.evaluation(int(row["slot"]))["metric"]
            assert metric.shape == (2 * int(row[STEPS] or 0) + 1, 8)
            assert metric[int(row[STEPS] or 0)].mean() == pytest.approx(float(row["value"]))


def test_the_best_of_several(mixed: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """best.yaml and `maml-sweep best` name it, and its line trains to its value again."""
    sound = [row for row in mixed.rows if row["diverged"] == ""]
    winner = max(sound, key=lambda row: float(row["value"]))
    assert mixed.best["value"] == float(winner["value"])
    option = mixed.rows[mixed.best["slot"]]["algorithm"]
    assert mixed.best["parameters"]["algorithm"] == option
    target = config.GROUPS["algorithm"][option]()._target_
    assert mixed.best["config"]["algorithm"]["_target_"] == target
    assert cli.main(["best", "s", "--root", str(mixed.folder.parent), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["parameters"] == mixed.best["parameters"]
    command = shlex.split(best["command"])
    assert command[:3] == ["python", "sweep.py", "hydra.mode=RUN"]
    assert train(*command[3:]) == pytest.approx(mixed.best["value"], rel=1e-4)


@pytest.mark.parametrize("option", FOUR[::3])
def test_a_row_of_each_kind_trains_to_its_value_again(mixed: Sweep, option: str) -> None:
    """By the columns that it has."""
    row = next(r for r in mixed.rows if r["algorithm"] == option and r["diverged"] == "")
    own = ("algorithm", RATE, STEPS, "optimizer.meta_lr", "trial_seed")
    drawn = [f"{key}={row[key]}" for key in own if row[key]]
    assert train(*GLYPHS, *SHORT, *drawn) == pytest.approx(float(row["value"]), rel=1e-4)


def test_several_are_reported_on(mixed: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["s", "--root", str(mixed.folder.parent)]
    assert cli.main(["report", *root]) == 0
    page = (mixed.folder / "report.html").read_text(encoding="utf-8")
    assert parsed(page).all("h1")[0].text == "s"
    assert all(option in page for option in FOUR)
    assert cli.main(["status", *root]) == 0
    assert "12" in capsys.readouterr().out


def test_an_algorithm_without_steps_is_reported_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a rate nor steps, and a curve of one point: the page, the figures, the winner."""
    done = sweep(tmp_path, *GLYPHS, *SHORT, "algorithm=protonet", "study.n_trials=6")
    assert_sound(done, 6)
    root = ["s", "--root", str(tmp_path)]
    assert cli.main(["best", *root]) == 0
    assert "algorithm=protonet" in capsys.readouterr().out
    assert cli.main(["report", *root]) == 0
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert parsed(page).all("h1")[0].text == "s"
    assert cli.main(["train", *root, "--seeds", "1", "--tasks", "4"]) == 0
    assert "by step  0:" in capsys.readouterr().out
