"""What the sweeper decides before a worker starts: create, resume, refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from composing import composer
from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from maml_sweep.errors import InputError
from maml_sweep.search import launch, launchers, place, study
from maml_sweep.search.crew import Launch
from maml_sweep.search.errand import STORAGE, for_launcher, overrides

KEPT = ("study.name=s", "study.n_trials=4", "algorithm.inner_steps=2", "sampler=random")


def prepare(root: Path, *arguments: str, hydra_overrides: tuple[str, ...] = ()) -> Launch:
    """As the plugin does."""
    composing = composer(*hydra_overrides)
    parsed = composing.parse(arguments)
    sweeps = {each.input_line for each in parsed if each.is_sweep_override()}
    config = composing.compose([x for x in arguments if x not in sweeps], RunMode.MULTIRUN)
    context = HydraContext(composing.loader, Callbacks())
    return launch.prepare(arguments, config, context, str(root))


def worker_overrides(made: Launch) -> list[str]:
    """A worker's command line."""
    return overrides(made.config, made.plan, made.folder)


def test_a_new_sweep_is_written_whole(tmp_path: Path) -> None:
    made = prepare(tmp_path, *KEPT, "workers=1", "device.intra_op=3", "model.activation=relu,tanh")
    assert made.folder == tmp_path / "s"
    plan = study.load_plan(made.url, "s")
    assert plan == made.plan
    assert (plan.n_trials, plan.direction, plan.metric) == (4, "minimize", "mse")
    assert plan.fixed == ["algorithm.inner_steps=2", "sampler=random"]
    assert "workers" not in plan.config and "device" not in plan.config
    assert "model.activation" in plan.space["branches"][0]["parameters"]
    assert OmegaConf.load(tmp_path / "s" / "sweep.yaml").name == "s"
    slots = study.open_study(made.url, "s").get_trials()
    assert [trial.user_attrs["slot"] for trial in slots] == [0, 1, 2, 3]


def test_a_worker_is_told_what_every_trial_has_and_this_launch_decides(tmp_path: Path) -> None:
    made = prepare(tmp_path, *KEPT, "pack.size=3", "algorithm.inner_lr=interval(1,2)")
    told = worker_overrides(made)
    cfg = composer().compose(told)
    assert (cfg.study.name, cfg.study.n_trials, cfg.pack.size) == ("s", 4, 3)
    assert cfg.algorithm.inner_steps == 2
    assert cfg.hydra.sweep.dir == str(tmp_path / "s")
    assert cfg.hydra.output_subdir is None
    assert not any("interval" in override for override in told)


def test_an_unnamed_sweep_is_named_by_what_it_trains(tmp_path: Path) -> None:
    made = prepare(tmp_path, "study.n_trials=1")
    assert made.plan.name.startswith("sinusoid-mlp-maml-2")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Launch]:
    """A study that no test changes, and its root."""
    root = tmp_path_factory.mktemp("standing")
    return root, prepare(root, *KEPT)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("algorithm.inner_steps=2",),
        ("study.n_trials=4",),
        (
            "workers=1",
            "workers_per_device=2",
            "pack.size=7",
            "study.timeout=9",
            "device.intra_op=1",
        ),
    ],
)
def test_resume_may_change_how_it_runs(
    standing: tuple[Path, Launch], arguments: tuple[str, ...]
) -> None:
    root, first = standing
    again = prepare(root, "study.name=s", *arguments)
    assert again.plan == first.plan
    cfg = composer().compose(worker_overrides(again))
    for argument in arguments:
        key, _, value = argument.partition("=")
        node = cfg
        for part in key.split("."):
            node = node[part]
        assert float(node) == float(value)


def test_a_larger_budget_adds_the_difference(tmp_path: Path) -> None:
    prepare(tmp_path, *KEPT)
    again = prepare(tmp_path, "study.name=s", "study.n_trials=6")
    assert again.plan.n_trials == 6
    assert len(study.open_study(again.url, "s").get_trials()) == 6
    later = prepare(tmp_path, "study.name=s")  # the stored command line still says 4
    assert later.plan.n_trials == 6
    with pytest.raises(InputError, match=r"study\.n_trials.*6.*got 5"):
        prepare(tmp_path, "study.name=s", "study.n_trials=5")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("seed=1", ["seed: 0 -> 1"]),
        ("task.shots=5", ["task.shots: 10 -> 5"]),
        ("algorithm.inner_steps=3", ["algorithm.inner_steps: 2 -> 3"]),
        ("training.iterations=7", ["training.iterations: 2000 -> 7"]),
        ("sampler=tpe", ["sampler._target_", "RandomSampler -> optuna.samplers.TPESampler"]),
        ("study.repeats=2", ["study.repeats: 1 -> 2"]),
        ("study.enqueue=[{algorithm.inner_lr:0.1}]", ["study.enqueue: [] -> "]),
        (
            "algorithm.inner_lr=interval(0.1,1)",
            ["search of algorithm.inner_lr: 0.001 … 0.1 (log) -> 0.1 … 1"],
        ),
        ("algorithm.inner_steps=1,2", ["algorithm.inner_steps", "absent -> integers 1 … 2"]),
        (
            "optimizer.schedule=constant,cosine",
            ["search of optimizer.schedule: absent -> constant"],
        ),
    ],
)
def test_resume_refuses_another_sweep(
    standing: tuple[Path, Launch], argument: str, words: list[str]
) -> None:
    root, first = standing
    with pytest.raises(InputError) as caught:
        prepare(root, "study.name=s", argument)
    for word in ["study.name=s", *words]:
        assert word in str(caught.value)
    assert study.load_plan(first.url, "s") == first.plan


def test_resume_finds_a_study_under_its_storage_again(tmp_path: Path) -> None:
    storage = f"study.storage=sqlite:///{tmp_path}/elsewhere.db"
    first = prepare(tmp_path, *KEPT, storage)
    again = prepare(tmp_path, "study.name=s", storage)
    assert again.plan == first.plan
    assert not any("elsewhere" in x for x in first.plan.overrides)  # it may hold a password
    assert any(x.startswith("study.storage=") for x in worker_overrides(again))


def test_resume_keeps_the_stored_launcher_unless_told_another(tmp_path: Path) -> None:
    """Hydra's own settings are resumed too, and are free to change."""
    prepare(tmp_path, *KEPT, hydra_overrides=("hydra.verbose=true",))
    again = prepare(tmp_path, "study.name=s")
    assert again.config.hydra.verbose is True
    again = prepare(tmp_path, "study.name=s", hydra_overrides=("hydra/launcher=basic",))
    assert "hydra/launcher=basic" in again.config.hydra.overrides.hydra


def test_several_workers_take_our_launcher_by_themselves(tmp_path: Path) -> None:
    """It is not part of the plan, and goes as far as the workers' own composition."""
    made = prepare(tmp_path, *KEPT, "workers=2")
    assert made.launcher == launchers.LOCAL
    assert (made.config.hydra.launcher.restarts, made.config.hydra.launcher.n_jobs) == (3, 2)
    assert not any("launcher" in x for x in made.plan.overrides)
    own = tuple(made.config.hydra.overrides.hydra)
    job = composer(*own).compose(worker_overrides(made))
    assert launchers.kind(job.hydra.launcher) == launchers.LOCAL


@pytest.mark.parametrize(
    ("forks", "given", "taken"),
    [
        (True, (), launchers.LOCAL),
        (True, ("hydra/launcher=basic",), launchers.BASIC),
        (False, (), launchers.BASIC),
        (False, ("hydra/launcher=local",), launchers.LOCAL),
    ],
)
def test_one_worker_is_forked_where_that_is_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: bool, given: tuple[str, ...], taken: str
) -> None:
    """Unless the basic launcher is named, which leaves it where a debugger reaches it."""
    monkeypatch.setattr(launchers, "FORKS", forks)
    made = prepare(tmp_path, *KEPT, hydra_overrides=given)
    assert made.launcher == taken
    restarts = made.config.hydra.launcher.get("restarts")
    assert restarts == (None if taken == launchers.BASIC else 3 if given else 0)


def test_basic_is_refused_for_several_workers(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare(tmp_path, *KEPT, "workers=2", hydra_overrides=("hydra/launcher=basic",))
    assert str(caught.value) == (
        "workers=2: hydra/launcher=basic runs them one after another, and the second would find "
        "no work; leave it out (then hydra/launcher=local starts them side by side), or set "
        "workers=1"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("each", [1, 2])
def test_no_more_workers_than_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int
) -> None:
    monkeypatch.setattr(place, "discovered", lambda: ["0", "1"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    given = (*KEPT, f"workers={2 * each + 1}", f"workers_per_device={each}")
    with pytest.raises(InputError) as caught:
        prepare(tmp_path, *given)
    assert str(caught.value) == (
        f"workers={2 * each + 1}: 2 GPUs here and workers_per_device={each} serve {2 * each}; "
        f"lower workers or raise workers_per_device"
    )
    assert list(tmp_path.iterdir()) == []


def test_more_workers_than_cores_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launch, "available_cores", lambda: 2)
    monkeypatch.setattr(place, "discovered", list)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launch._refuse_workers(composer().compose(["workers=2"]), ())
    assert caplog.messages == []
    launch._refuse_workers(composer().compose(["workers=3"]), ())
    assert caplog.messages == ["workers=3 share 2 cores here: fewer would be faster"]


def test_joining_from_elsewhere_makes_the_folder(tmp_path: Path) -> None:
    """Another machine, another working directory, the same storage."""
    storage = f"study.storage=sqlite:///{tmp_path}/shared.db"
    first = prepare(tmp_path / "here", *KEPT, storage)
    joined = prepare(tmp_path / "there", "study.name=s", storage, "workers=2")
    assert joined.plan == first.plan and joined.config.workers == 2
    here, there = (tmp_path / each / "s" / "sweep.yaml" for each in ("here", "there"))
    assert here.read_text() == there.read_text()
    assert "shared.db" not in here.read_text()


@pytest.mark.parametrize(
    ("stored", "given", "there", "kept"),
    [
        (["hydra/launcher=ray", "hydra.launcher.ray.x=1"], [], True, 2),
        (["hydra/launcher=ray", "hydra.launcher.ray.x=1"], [], False, 0),
        (["hydra/launcher=ray", "hydra.launcher.ray.x=1"], ["hydra/launcher=local"], True, 0),
        (["hydra/launcher=basic"], [], True, 0),
        (["hydra/launcher=local", "hydra.launcher.restarts=1"], [], True, 2),
        (["hydra/launcher=theirs"], [], True, 1),
        ([], [], True, 0),
    ],
)
def test_the_stored_launcher_serves_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, stored: list[str], given: list[str], there: bool, kept: int
) -> None:
    """It gives way to one that is named, ours where there is none of it, and never is basic."""
    monkeypatch.setattr(launchers, "installed", lambda name: there)
    other = ["hydra.verbose=true"]
    assert launch._of_here([*stored, *other], given) == [*stored[:kept], *other]


SECRET = "postgresql+psycopg://anna:pa55word@db/sweeps"


@pytest.mark.parametrize(
    ("written", "environ", "travels"),
    [
        (SECRET, {}, {STORAGE: SECRET}),
        ("${oc.env:WHERE}", {"WHERE": SECRET}, {"WHERE": SECRET}),
        (SECRET.replace("pa55word", "${oc.env:WORD}"), {"WORD": "pa55word"}, {STORAGE: SECRET}),
    ],
)
def test_no_password_goes_into_what_a_launcher_writes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    environ: dict[str, str],
    travels: dict[str, str],
) -> None:
    """It is in the environment; in nothing that is handed over; and arrives all the same."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    given: dict[str, str] = {}
    config = composer().compose([f"study.storage='{written}'"], RunMode.MULTIRUN)
    handed = for_launcher(config, tmp_path, given)
    plan: Any = SimpleNamespace(name="s", n_trials=4, fixed=[])
    told = overrides(handed, plan, tmp_path)
    assert "pa55word" not in OmegaConf.to_yaml(handed) + " ".join(told)
    assert {**environ, **given} | travels == {**environ, **given}
    for key, value in travels.items():
        monkeypatch.setenv(key, value)
    assert composer().compose(told).study.storage == SECRET


def test_ray_which_hands_on_no_environment_gets_the_url(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    composing = composer("hydra/launcher=ray")
    config = composing.compose([f"study.storage={SECRET}"], RunMode.MULTIRUN)
    given: dict[str, str] = {}
    assert for_launcher(config, tmp_path, given).study.storage == SECRET
    assert given == {}


def test_a_storage_from_an_unset_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare(tmp_path, *KEPT, "study.storage=${oc.env:NOT_SET_ANYWHERE}")
    assert "NOT_SET_ANYWHERE" in str(caught.value) and "\n" not in str(caught.value)


def test_added_keys_may_be_said_again(tmp_path: Path) -> None:
    added = "+experiment=sinusoid"
    first = prepare(tmp_path, *KEPT, added)
    assert prepare(tmp_path, *KEPT, added).plan == first.plan


def test_a_search_that_follows_the_algorithm_is_resumed_as_the_same(tmp_path: Path) -> None:
    """Its file is read again at a resume, so changing it is refused like any other change."""
    file = tmp_path / "conf" / "search" / "own.yaml"
    for path, content in {
        tmp_path / "conf" / "algorithm" / "own.yaml": "defaults: [maml]\n",
        file: "# @package hydra.sweeper.params\nalgorithm.inner_lr: interval(1, 2)\n",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(content)
    own = (f"hydra.searchpath=[file://{tmp_path / 'conf'}]",)
    given = ("study.name=s", "study.n_trials=2", "algorithm=maml,own")
    first = prepare(tmp_path, *given, hydra_overrides=own)
    assert prepare(tmp_path, "study.name=s").plan == first.plan
    assert prepare(tmp_path, *given, hydra_overrides=own).plan == first.plan
    with pytest.raises(InputError, match=r"search of algorithm.inner_lr in own: 1 … 2 -> 0.001"):
        prepare(tmp_path, "study.name=s", "search=sinusoid")
    file.write_text(file.read_text().replace("2", "3"))
    with pytest.raises(InputError, match=r"search of algorithm.inner_lr in own: 1 … 2 -> 1 … 3"):
        prepare(tmp_path, "study.name=s")


def test_enqueued_sets_fill_the_first_slots(tmp_path: Path) -> None:
    made = prepare(
        tmp_path, *KEPT, "study.enqueue=[{algorithm.inner_lr:0.1},{optimizer.meta_lr:0.01}]"
    )
    assert made.plan.enqueue == [{"algorithm.inner_lr": 0.1}, {"optimizer.meta_lr": 0.01}]
    slots = study.open_study(made.url, "s").get_trials()
    assert [trial.system_attrs["fixed_params"] for trial in slots] == [*made.plan.enqueue, {}, {}]


GRID = ("search=none", "sampler=grid", "model.activation=relu,tanh", "algorithm.inner_steps=1,2,3")


def test_a_grid_fills_the_slots(tmp_path: Path) -> None:
    """2 activations times 3 numbers of steps, in order; the default budget of 32 is cut to 6."""
    made = prepare(tmp_path, *GRID)
    points = [(x["model.activation"], x["algorithm.inner_steps"]) for x in made.plan.enqueue]
    assert sorted(points) == [(a, s) for a in ("relu", "tanh") for s in (1, 2, 3)]
    assert made.plan.n_trials == 6


def test_a_grid_cut_short_is_shuffled_and_may_be_finished(tmp_path: Path) -> None:
    first = prepare(tmp_path, *GRID, "study.name=g", "study.n_trials=4")
    assert len(first.plan.enqueue) == 6
    assert len({point["algorithm.inner_steps"] for point in first.plan.enqueue[:4]}) > 1
    again = prepare(tmp_path, "study.name=g", "study.n_trials=32")
    assert again.plan.n_trials == 6
    slots = study.open_study(again.url, "g").get_trials()
    assert [trial.system_attrs["fixed_params"] for trial in slots] == first.plan.enqueue


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study.n_trials=0"], ["study.n_trials=0", "at least 1"]),
        (["study.repeats=0"], ["study.repeats=0", "at least 1"]),
        (["study.max_retries=-1"], ["study.max_retries=-1", "at least 0"]),
        (["study.timeout=0"], ["study.timeout=0", "above 0"]),
        (["workers=0"], ["workers=0", "at least 1"]),
        (["pack.size=0"], ["pack.size=0", "auto"]),
        (["pack.size=big"], ["pack.size=big", "auto"]),
        (["study.name=a/b"], ["study.name", "'a/b'", "path separator"]),
        (["study.name=.."], ["study.name", "'..'"]),
        (["search=sinusoids"], ["search=sinusoids", "sinusoid", "none"]),
        (["sampler=grid"], ["algorithm.inner_lr", "grid"]),
        (["pruner=wilcoxon", "pruner.p_threshold=3"], ["p_threshold", "3"]),
        (["pruner.grace=2"], ["pruner.grace", "2"]),
        (["study.enqueue=[{algorithm.inner_lr:5}]"], ["study.enqueue[0]", "inner_lr=5", "0.1"]),
        (["study.enqueue=[{inner_lr:0.1}]"], ["study.enqueue[0]", "'algorithm.inner_lr'"]),
        (["study.n_trials=1", "study.enqueue=[{},{}]"], ["study.enqueue", "at least 2"]),
        (["task.shots=0"], ["task.shots=0"]),
        (["optimizer.meta_lr=-1,1"], ["optimizer.meta_lr", "-1"]),
        (["model=mlp,conv4"], ["model=conv4", "images"]),
        (["model.activation=relu,rleu"], ["model.activation=rleu", "relu"]),
        (["training.budget=time"], ["training.budget=time", "iterations, tasks"]),
    ],
)
def test_refusals_write_nothing(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / "outputs", *arguments)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_folders_are_told_by_root_and_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hydra\.sweeper\.root"):
        prepare(tmp_path, hydra_overrides=("hydra.sweep.dir=elsewhere",))


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    """A file where the folder should be: root may write everywhere else."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"hydra\.sweeper\.root: cannot write to .*file"):
        prepare(tmp_path / "file")


def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_text("a text")
    with pytest.raises(InputError, match=r"study\.storage.*no SQLite database"):
        prepare(tmp_path, *KEPT)
    assert (tmp_path / "s" / "study.db").read_text() == "a text"
