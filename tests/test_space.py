"""Hydra's sweep grammar read as a space, and the space's way to Optuna's storage and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from composing import composer, space
from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from maml_sweep.config import GROUPS
from maml_sweep.errors import InputError
from maml_sweep.search.branches import build_space
from maml_sweep.search.command import Command
from maml_sweep.search.grammar import text
from maml_sweep.search.space import Space

ALPHA = "algorithm.inner_lr"
STEPS = "algorithm.inner_steps"
BETA = "optimizer.meta_lr"
BATCH = "training.meta_batch_size"
FIXED = (f"{ALPHA}=0.1", f"{STEPS}=1", f"{BETA}=0.01", f"{BATCH}=4")


def one(expression: str, key: str) -> Any:
    """The distribution of one swept key."""
    return space("search=none", f"{key}={expression}").branches[0].distributions[key]


@pytest.mark.parametrize(
    ("key", "expression", "expected"),
    [
        (ALPHA, "interval(0.01,1)", FloatDistribution(0.01, 1.0)),
        (ALPHA, "interval(0,1)", FloatDistribution(0.0, 1.0)),
        (ALPHA, "tag(log, interval(1e-3, 1e-1))", FloatDistribution(1e-3, 1e-1, log=True)),
        (ALPHA, "int(interval(1,3))", FloatDistribution(1.0, 3.0)),  # the schema says float
        (STEPS, "interval(1,5)", IntDistribution(1, 5)),
        (BATCH, "tag(log, int(interval(8, 64)))", IntDistribution(8, 64, log=True)),
        (BATCH, "int(tag(log, interval(8, 64)))", IntDistribution(8, 64, log=True)),
        (STEPS, "range(1,6)", IntDistribution(1, 5)),
        (STEPS, "range(6)", IntDistribution(0, 5)),
        (STEPS, "range(1,10,3)", IntDistribution(1, 7, step=3)),
        (STEPS, "range(1,11,3)", IntDistribution(1, 10, step=3)),
        (STEPS, "range(5,1,-2)", IntDistribution(3, 5, step=2)),
        (BATCH, "tag(log, range(8, 65))", IntDistribution(8, 64, log=True)),
        # 0.9 = 3 * 0.3 is excluded, though 3 * float(0.3) < float(0.9)
        (ALPHA, "range(0.0,0.9,0.3)", FloatDistribution(0.0, 0.6, step=0.3)),
        (ALPHA, "range(1,4)", FloatDistribution(1.0, 3.0, step=1.0)),
        (STEPS, "1,2,3", IntDistribution(1, 3)),
        (STEPS, "5,1,3", IntDistribution(1, 5, step=2)),
        (STEPS, "1,5", IntDistribution(1, 5, step=4)),
        (STEPS, "1,2,5", CategoricalDistribution((1, 2, 5))),
        (STEPS, "choice(3)", CategoricalDistribution((3,))),
        (STEPS, "sort(5,1,2)", CategoricalDistribution((1, 2, 5))),
        (ALPHA, "0.25,0.5,0.75", FloatDistribution(0.25, 0.75, step=0.25)),
        (ALPHA, "0.001,0.01,0.1", CategoricalDistribution((0.001, 0.01, 0.1))),
        (ALPHA, "0.1,0.2,0.3", FloatDistribution(0.1, 0.3, step=0.1)),
        # Optuna would draw 0.1 + 2 * 0.1, which is not the float 0.3 that was listed
        (ALPHA, "0.1,0.2,0.3,0.4", CategoricalDistribution((0.1, 0.2, 0.3, 0.4))),
        (ALPHA, "1,2,4", CategoricalDistribution((1.0, 2.0, 4.0))),
        ("algorithm.inner_clip", "null,1,10", CategoricalDistribution((None, 1.0, 10.0))),
        ("algorithm.first_order", "true,false", CategoricalDistribution((True, False))),
        ("optimizer.schedule", "constant,cosine", CategoricalDistribution(("constant", "cosine"))),
        ("model.activation", "'relu','tanh'", CategoricalDistribution(("relu", "tanh"))),
        ("model.widths", "[8],[8,8]", CategoricalDistribution(("[8]", "[8, 8]"))),
        ("+task.scale", "interval(1,2)", FloatDistribution(1.0, 2.0)),
        ("+task.scale", "int(interval(1,2))", IntDistribution(1, 2)),
    ],
)
def test_expression_becomes_distribution(key: str, expression: str, expected: Any) -> None:
    found = space("search=none", f"{key}={expression}").branches[0].distributions
    assert found == {key.lstrip("+"): expected}
    assert type(found[key.lstrip("+")]) is type(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # the setting, what was expected, and a way out
        (["algorithm.inner_lrr=interval(0.1,1)"], ["algorithm.inner_lrr", "'algorithm.inner_lr'"]),
        (["inner_lr=interval(0.1,1)"], ["inner_lr", "'algorithm.inner_lr'"]),
        (["modell=mlp,conv4"], ["modell", "'model'"]),
        (["model=mlp,convv4"], ["model=convv4", "expected one of", "'conv4'"]),
        (["model=mlp,mlp"], ["model=mlp,mlp", "different"]),
        (["model=interval(1,2)"], ["model", "options"]),
        ([f"{ALPHA}=interval(1,1)"], [ALPHA, "interval(1,1)", "empty"]),
        ([f"{ALPHA}=interval(1,0.5)"], [ALPHA, "interval(1,0.5)", "interval(0.5, 1)"]),
        ([f"{ALPHA}=interval(0,inf)"], [ALPHA, "finite"]),
        ([f"{ALPHA}=tag(log,interval(0,1))"], [ALPHA, "above 0", "got 0", "0.001"]),
        ([f"{BATCH}=tag(log,int(interval(0,8)))"], [BATCH, "above 0"]),
        ([f"{STEPS}=range(5,5)"], [STEPS, "range(5,5)", "empty"]),
        ([f"{STEPS}=range(1,2,0.5)"], [STEPS, "integers"]),
        ([f"{STEPS}=interval(1.5,3)"], [STEPS, "integer"]),
        ([f"{STEPS}=1.5,3"], [STEPS, "1.5", "Integer"]),
        ([f"{STEPS}=one,two"], [STEPS, "one", "Integer"]),
        ([f"{STEPS}=1,2,2"], [STEPS, "twice"]),
        ([f"{ALPHA}=tag(log,range(0.1,1,0.1))"], [ALPHA, "tag(log, interval"]),
        ([f"{ALPHA}=tag(log,0.1,1)"], [ALPHA, "tag"]),
        ([f"{BATCH}=tag(log,choice(4,16))"], [BATCH, "tag(log, interval"]),
        ([f"{ALPHA}=tag(lgo,interval(0.1,1))"], [ALPHA, "lgo", "tag(log"]),
        ([f"{STEPS}=shuffle(1,2,3)"], [STEPS, "shuffle"]),
        ([f"{STEPS}=shuffle(range(3))"], [STEPS, "shuffle"]),
        (["model=shuffle(mlp,conv4)"], ["model", "shuffle"]),
        (["algorithm.first_order=interval(0,1)"], ["algorithm.first_order", "true or false"]),
        (["model.widths=range(1,3)"], ["model.widths", "a list"]),
        (["seed=1,2"], ["seed", "cannot be searched", "one value"]),
        (["trial_seed=range(3)"], ["trial_seed", "study.repeats"]),
        (["study.n_trials=1,2"], ["study.n_trials", "cannot be searched"]),
        (["study.name=a,b"], ["study.name", "cannot be searched"]),
        (["workers=1,2"], ["workers", "cannot be searched"]),
        (["workers_per_device=1,2"], ["workers_per_device", "cannot be searched"]),
        (["pack.size=4,8"], ["pack.size", "cannot be searched"]),
        (["device.intra_op=1,2"], ["device.intra_op", "cannot be searched"]),
        (["sampler=tpe,random"], ["sampler", "cannot be searched"]),
        (["sampler.n_startup_trials=1,2"], ["sampler.n_startup_trials", "cannot be searched"]),
        (["search=none,sinusoid"], ["search", "[a,b]"]),
        (["training.validation_tasks=1,2"], ["training.validation_tasks", "same tasks"]),
        (["search=none"], ["nothing to search", "interval"]),
        ([*FIXED], ["nothing to search", "hydra.mode=RUN"]),
        (["model=mlp,conv4", "model.widths=[1]"], ["model.widths", "Conv4"]),
    ],
)
def test_refusals_name_the_setting(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        space(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_the_default_space_is_the_sinusoid_s() -> None:
    assert space().branches[0].distributions == {
        ALPHA: FloatDistribution(1e-3, 1e-1, log=True),
        STEPS: IntDistribution(1, 5),
        BETA: FloatDistribution(3e-4, 1e-2, log=True),
        BATCH: IntDistribution(8, 64, log=True),
    }


def test_ranges_follow_the_task() -> None:
    glyphs = space("task=glyphs", "model=conv4").branches[0].distributions
    assert glyphs[ALPHA] == FloatDistribution(0.05, 3.0, log=True)
    assert glyphs[BATCH] == IntDistribution(8, 32, log=True)


def test_the_command_line_goes_before_the_search() -> None:
    """Fixed: no longer searched. Swept: the user's range, the other three stay."""
    distributions = space(f"{STEPS}=3", f"{ALPHA}=interval(1,2)").branches[0].distributions
    assert sorted(distributions) == [ALPHA, BETA, BATCH]
    assert distributions[ALPHA] == FloatDistribution(1.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "searched"),
    [((f"{ALPHA}=0.5", f"{ALPHA}=1,2"), True), ((f"{ALPHA}=1,2", f"{ALPHA}=0.5"), False)],
)
def test_the_last_word_on_a_key_counts(arguments: tuple[str, ...], searched: bool) -> None:
    composing = composer()
    command = Command.read(composing, arguments)
    assert (ALPHA in command.swept) == searched
    assert (f"{ALPHA}=0.5" in command.fixed) != searched


def test_each_branch_has_its_own_search_and_keys() -> None:
    """Two tasks times two models: ranges by task, a key where its model has it."""
    found = space("task=sinusoid,glyphs", "model=mlp,conv4", "model.filters=8,16")
    assert [branch.name for branch in found.branches] == [
        "sinusoid,mlp", "sinusoid,conv4", "glyphs,mlp", "glyphs,conv4",
    ]  # fmt: skip
    assert found.groups == {"task": ["sinusoid", "glyphs"], "model": ["mlp", "conv4"]}
    highs = [branch.distributions[ALPHA].high for branch in found.branches]  # type: ignore[attr-defined]
    assert highs == [0.1, 0.1, 3.0, 3.0]
    assert ["model.filters" in branch.distributions for branch in found.branches] == [
        False, True, False, True,
    ]  # fmt: skip


def test_one_name_where_only_bounds_differ() -> None:
    found = space("task=sinusoid,glyphs")
    assert found.distributions()[ALPHA] == FloatDistribution(1e-3, 3.0, log=True)
    assert sorted(found.distributions()) == sorted(["task", ALPHA, STEPS, BETA, BATCH])


@pytest.fixture
def own_conf(tmp_path: Path) -> str:
    """A folder with a user's task and model, and a search for the task."""
    files = {
        "task/mine.yaml": "_target_: my.Task\nscale: 2\n",
        "task/other.yaml": "defaults: [sinusoid]\n",
        "model/mine.yaml": "_target_: my.Model\ndepth: 3\n",
        "search/mine.yaml": (
            "# @package hydra.sweeper.params\nalgorithm.inner_lr: 0.1,0.5,0.6\n"
            "optimizer.meta_lr: interval(0.01, 1)\ntraining.iterations: 70\n"
        ),
        "search/typo.yaml": "# @package hydra.sweeper.params\ntask.shotss: 1,2\n",
        "task/typo.yaml": "defaults: [sinusoid]\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return f"hydra.searchpath=[file://{tmp_path}]"


def test_names_are_split_where_kind_or_scale_differs(own_conf: str) -> None:
    """alpha: log and categorical; beta: log and linear; the steps are searched in one branch."""
    found = space("task=sinusoid,mine", hydra_overrides=[own_conf])
    assert set(found.distributions()) == {
        "task", STEPS, BATCH, "training.iterations",
        f"{ALPHA}@sinusoid", f"{ALPHA}@mine", f"{BETA}@sinusoid", f"{BETA}@mine",
    }  # fmt: skip
    stored = found.stored({"task": "mine", ALPHA: 0.5})
    assert stored == {"task": "mine", f"{ALPHA}@mine": 0.5}
    assert found.values(stored) == {"task": "mine", ALPHA: 0.5}
    with pytest.raises(InputError, match=rf"{ALPHA}=0\.5: expected .*0\.001 … 0\.1"):
        found.stored({"task": "sinusoid", ALPHA: 0.5})
    with pytest.raises(InputError, match=rf"{STEPS} is not searched where mine"):
        found.stored({"task": "mine", STEPS: 1})


def test_a_value_fixed_by_the_search_belongs_to_its_branch(own_conf: str) -> None:
    found = space("task=mine", hydra_overrides=[own_conf])
    assert found.branches[0].distributions["training.iterations"] == CategoricalDistribution((70,))


def test_a_user_s_own_task_and_model(own_conf: str) -> None:
    """Their own keys are searched; a task without a search is searched as the command line says."""
    found = space("task=other", "model=mine", "model.depth=1,2", hydra_overrides=[own_conf])
    assert found.branches[0].distributions == {"model.depth": IntDistribution(1, 2)}
    with pytest.raises(InputError, match=r"model.dpth.*did you mean 'model.depth'"):
        space("task=other", "model=mine", "model.dpth=1,2", hydra_overrides=[own_conf])
    with pytest.raises(InputError, match="nothing to search"):
        space("task=other", hydra_overrides=[own_conf])


def test_a_typo_in_a_search_file_is_named(own_conf: str) -> None:
    with pytest.raises(InputError, match=r"task.shotss.*did you mean 'task.shots'"):
        space("task=typo", hydra_overrides=[own_conf])


def test_glob_takes_the_group_s_options() -> None:
    assert space("model=glob(*)").groups == {"model": sorted(GROUPS["model"])}
    others = sorted(task for task in GROUPS["task"] if not task.startswith("s"))
    assert space("task=glob(*,exclude=s*)", "search=sinusoid").groups == {"task": others}


def test_added_keys_and_groups_are_added_again() -> None:
    found = space("+experiment=sinusoid,glyphs_5w1s", "+task.extra=1,2", "search=none")
    overrides = found.overrides({"task.extra": 2, "experiment": "glyphs_5w1s"})
    assert overrides == ["+experiment=glyphs_5w1s", "+task.extra=2"]
    composing = composer()
    assert composing.compose(overrides).task.extra == 2


def test_every_bound_of_every_parameter_is_checked() -> None:
    """Both ends of an interval, each choice, the others at their first; 2 branches."""
    seen: list[tuple[Any, ...]] = []

    def check(cfg: DictConfig) -> None:
        seen.append((cfg.algorithm.inner_lr, cfg.algorithm.inner_steps))

    composing = composer()
    command = Command.read(
        composing,
        ["search=none", "model=mlp,conv4", f"{ALPHA}=interval(1,2)", f"{STEPS}=1,5,7"],
    )
    build_space(composing, command, check)
    assert seen == [(1.0, 1), (2.0, 1), (1.0, 5), (1.0, 7)] * 2


def test_a_wrong_value_at_a_bound_is_refused() -> None:
    def check(cfg: DictConfig) -> None:
        if cfg.algorithm.inner_steps > 4:
            raise InputError(f"algorithm.inner_steps={cfg.algorithm.inner_steps}: too many")

    composing = composer()
    with pytest.raises(InputError, match="inner_steps=5: too many"):
        build_space(composing, Command.read(composing, [f"{STEPS}=range(1,6)"]), check)


SPACES = {
    "default": (),
    "branches": ("task=sinusoid,glyphs", "model=mlp,conv4", "model.filters=8,16"),
    "lists": ("search=none", "model.widths=[8],[8,8]", "algorithm.inner_clip=null,1,10"),
    "words": ("search=none", "model.activation='a b','c,d',relu", "+task.x=interval(0,1)"),
}


@pytest.fixture(params=SPACES)
def some_space(request: pytest.FixtureRequest) -> Space:
    return space(*SPACES[request.param])


def test_description_round_trip(some_space: Space) -> None:
    described = some_space.describe()
    again = Space.from_description(json.loads(json.dumps(described)))
    assert again == some_space
    assert again.describe() == described


def test_suggested_values_survive_storage_and_command_line(some_space: Space) -> None:
    """suggest -> stored -> values is the identity, and Hydra composes exactly those values."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(4):
        trial = study.ask()
        values = some_space.suggest(trial)
        assert some_space.stored(values) == trial.params
        assert some_space.values(trial.params) == values
        composing = composer()
        cfg = composing.compose(some_space.overrides(values))
        for key, value in values.items():
            if key in some_space.groups:
                assert cfg.hydra.runtime.choices[key] == value
            else:
                *parents, last = key.split(".")
                node = cfg
                for parent in parents:
                    node = node[parent]
                assert node[last] == value
        study.tell(trial, 0.0)


def test_groups_are_drawn_before_their_branch() -> None:
    """A conv4 trial has filters, an mlp trial has not."""
    found = space("search=none", "model=mlp,conv4", "model.filters=8,16")
    study = optuna.create_study()
    study.enqueue_trial({"model": "mlp"})
    study.enqueue_trial({"model": "conv4", "model.filters": 16})
    assert found.suggest(study.ask()) == {"model": "mlp"}
    assert found.suggest(study.ask()) == {"model": "conv4", "model.filters": 16}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "mlp", "algorithm.inner_lrr": 0.1}, ["inner_lrr", "'algorithm.inner_lr'"]),
        ({ALPHA: 0.1}, ["model", "mlp, conv4", "nothing"]),
        ({"model": "conv5", ALPHA: 0.1}, ["model", "conv5", "'conv4'"]),
        ({"model": "mlp", ALPHA: 0.2}, [ALPHA, "0.2", "0.001 … 0.1"]),
        ({"model": "mlp", ALPHA: "a"}, [ALPHA, "a"]),
        ({"model": "mlp", STEPS: 2.0}, [STEPS, "integers 1 … 5"]),
        ({"model": "mlp", STEPS: 6}, [STEPS, "6", "integers 1 … 5"]),
        ({"model": "mlp", "model.filters": 8}, ["model.filters", "mlp"]),
        ({"model": "conv4", "model.filters": 9}, ["model.filters", "8 … 16 in steps of 8"]),
    ],
)
def test_stored_refuses(values: dict[str, Any], words: list[str]) -> None:
    found = space("model=mlp,conv4", "model.filters=8,16")
    with pytest.raises(InputError) as caught:
        found.stored(values)
    for word in words:
        assert word in str(caught.value)


def test_stored_takes_a_part_of_the_parameters() -> None:
    found = space("model=mlp,conv4")
    assert found.stored({"model": "mlp", ALPHA: 0.1}) == {"model": "mlp", ALPHA: 0.1}


def test_grid_lists_every_point_once() -> None:
    """mlp: 2 rates. conv4: 2 rates times 2 filters."""
    found = space("search=none", "model=mlp,conv4", "model.filters=8,16", f"{ALPHA}=0.1,0.5")
    points = found.grid()
    assert len(points) == 6
    assert {"model": "mlp", ALPHA: 0.5} in points
    assert {"model": "conv4", "model.filters": 16, ALPHA: 0.1} in points
    assert all(found.stored(found.values(point)) == point for point in points)


def test_grid_of_an_interval_is_refused() -> None:
    with pytest.raises(InputError, match=rf"{ALPHA}: a grid needs finitely many"):
        space().grid()


def test_grid_of_steps_stays_inside() -> None:
    points = space("search=none", f"{ALPHA}=range(0.1,0.5,0.1)").grid()
    assert [point[ALPHA] for point in points] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert points[-1][ALPHA] <= 0.4


@pytest.mark.parametrize(
    ("expression", "largest"),
    [("range(1,6)", 5), ("1,5,7", 7), ("interval(2,9)", 9), ("choice(3)", 3)],
)
def test_upper(expression: str, largest: int) -> None:
    found = space(f"{STEPS}={expression}")
    assert found.upper(STEPS, {}) == largest
    assert found.upper("model.filters", {}) is None


def test_upper_is_the_branch_s() -> None:
    found = space("task=sinusoid,glyphs")
    assert found.upper(ALPHA, {"task": "sinusoid"}) == 0.1
    assert found.upper(ALPHA, {"task": "glyphs"}) == 3.0


@pytest.mark.parametrize(
    "value",
    [0.1, 1e-05, 1e20, 3.0, 7, -2, True, False, None, "relu", "a b", "it's", "null", "1", "", "a,b",
     "[x]", "back\\slash", [8, 8], [0.5, "a b"], {"k": 1}],
)  # fmt: skip
def test_text_is_read_back_as_the_same_value(value: Any) -> None:
    composing = composer()
    (override,) = composing.parse([f"+task.x={text(value)}"])
    assert override.value() == value
    assert type(override.value()) is type(value)
