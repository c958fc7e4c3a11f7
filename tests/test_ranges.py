"""Which files of the group `search` a branch follows, and which of them goes before which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from composing import ROOT, space
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from maml_sweep.config import GROUPS
from maml_sweep.errors import InputError
from maml_sweep.search.compose import Composer
from maml_sweep.search.space import Space

ALPHA = "algorithm.inner_lr"
STEPS = "algorithm.inner_steps"
WIDTH = "algorithm.width"
BETA = "optimizer.meta_lr"
BATCH = "training.meta_batch_size"
CLIP = "algorithm.inner_clip"

PARAMS = "# @package hydra.sweeper.params\n"
INNER = "inner_lr: 0.1\ninner_steps: 2\n"
FILES = {
    # has everything and a key of its own; `still` has neither rate nor steps; `bare` nothing at all
    "algorithm/wide.yaml": f"_target_: my.Wide\n{INNER}width: 3\n",
    "algorithm/still.yaml": "_target_: my.Still\n",
    "algorithm/bare.yaml": "_target_: my.Bare\n",
    "algorithm/family/deep.yaml": f"_target_: my.Deep\n{INNER}",
    "search/wide.yaml": f"{PARAMS}{ALPHA}: interval(2, 3)\n{STEPS}: null\n{WIDTH}: 1,2\n",
    "search/still.yaml": f"{PARAMS}{ALPHA}: null\n{STEPS}: null\nalgorithm.nonsense: null\n",
    "search/family/deep.yaml": f"{PARAMS}{ALPHA}: interval(5, 6)\n",
    "search/mine.yaml": f"{PARAMS}{ALPHA}: interval(7, 8)\n",
    "search/less.yaml": f"{PARAMS}{ALPHA}: null\n{CLIP}: 'null'\n",
    "search/group.yaml": f"{PARAMS}model: mlp,conv4\n",
    "search/never.yaml": f"{PARAMS}seed: 1,2\n",
    "task/other.yaml": "defaults: [sinusoid]\n",
    "experiment/quiet.yaml": "# @package _global_\ndefaults:\n  - override /search: none\n",
    "experiment/both.yaml": "# @package _global_\ndefaults:\n  - override /search: [none, mine]\n",
    "experiment/listed.yaml": (
        "# @package _global_\ndefaults:\n  - override /search: [sinusoid, mine]\n"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Algorithms and searches of a user's own."""
    root: Path = tmp_path_factory.mktemp("own")
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    return f"hydra.searchpath=[file://{root}]"


def searched(folder: str, *arguments: str) -> dict[str, BaseDistribution]:
    """The distributions of the only branch."""
    (branch,) = space(*arguments, hydra_overrides=[folder]).branches
    return dict(branch.distributions)


@pytest.mark.parametrize(
    ("arguments", "low"),
    [
        ([], 0.001),  # the task's
        (["task=glyphs", "model=conv4"], 0.05),
        (["algorithm=wide"], 2),  # the algorithm's over the task's
        (["algorithm=wide", "task=other"], 2),  # a task without a file
        (["algorithm=family/deep"], 5),
        (["algorithm=wide", "+experiment=glyphs_5w1s"], 2),  # and over the experiment's
        (["algorithm=wide", "+experiment=listed"], 2),
        (["algorithm=wide", "search=glyphs_quick"], 0.05),  # the user's over the algorithm's
        (["algorithm=wide", "search=[glyphs_quick,mine]"], 7),
        (["algorithm=wide", "search=[mine,glyphs_quick]"], 0.05),
        (["algorithm=wide", "search=[mine,wide]"], 2),
        (["search=[sinusoid,mine]"], 7),
        (["algorithm=wide", "+experiment=quiet", "search=mine"], 7),
        (["algorithm=wide", "search=mine", f"{ALPHA}=interval(0.5,1)"], 0.5),
        (["algorithm=wide", f"{ALPHA}=interval(0.5,1)"], 0.5),  # the command line over all
    ],
)
def test_the_later_goes_before_the_earlier(
    folder: str, arguments: Sequence[str], low: float
) -> None:
    """Every file gives alpha another lower bound."""
    alpha: Any = searched(folder, *arguments)[ALPHA]
    assert alpha.low == low


def test_an_algorithm_adds_to_its_task(folder: str) -> None:
    found = searched(folder, "algorithm=wide")
    assert found == {
        ALPHA: FloatDistribution(2.0, 3.0),
        WIDTH: IntDistribution(1, 2),
        BETA: FloatDistribution(3e-4, 1e-2, log=True),
        BATCH: IntDistribution(8, 64, log=True),
    }
    assert searched(folder, "algorithm=wide", f"{WIDTH}=5", f"{ALPHA}=1").keys() == {BETA, BATCH}


def test_a_file_named_on_the_command_line_replaces_the_task_s_alone(folder: str) -> None:
    assert searched(folder, "algorithm=wide", "search=mine").keys() == {ALPHA, WIDTH}


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        ("search=none", set()),
        ("search=[none]", set()),
        ("search=[]", set()),
        ("~search", set()),
        ("+experiment=quiet", set()),
        ("search=[none,mine]", {ALPHA}),
        ("+experiment=both", {ALPHA}),
    ],
)
def test_none_leaves_the_algorithm_s_file_out(folder: str, argument: str, left: set[str]) -> None:
    found = searched(folder, "algorithm=wide", argument, f"{BATCH}=2,3")
    assert found.keys() == {BATCH, *left}


def test_null_takes_a_key_out(folder: str) -> None:
    """Of the files below; a key that the branch lacks may be null; a quoted null is the value."""
    assert searched(folder, "algorithm=still").keys() == {BETA, BATCH}
    found = searched(folder, "search=[sinusoid,less]")
    assert found.keys() == {STEPS, BETA, BATCH, CLIP}
    assert found[CLIP] == CategoricalDistribution((None,))


def test_a_key_that_an_algorithm_lacks_is_searched_by_no_file(folder: str) -> None:
    """What `wide` has but leaves alone, a file named on the command line may search."""
    assert searched(folder, "algorithm=still", "search=glyphs_quick").keys() == {BETA, BATCH}
    assert STEPS in searched(folder, "algorithm=wide", "search=glyphs_quick")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["algorithm=bare"], [ALPHA, "no such setting", "hydra.sweeper.params", f"{ALPHA}: null"]),
        (["search=group"], ["model is a group"]),
        (["search=never"], ["seed", "cannot be searched"]),
        (["algorithm=still", f"{ALPHA}=interval(1,2)"], [f"{ALPHA}: no such setting"]),
    ],
)
def test_refusals(folder: str, arguments: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        searched(folder, *arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture(scope="module")
def family(folder: str) -> Space:
    """Three algorithms in one study, `width` swept on the command line."""
    return space("algorithm=maml,wide,still", f"{WIDTH}=4,5,7", hydra_overrides=[folder])


def test_every_algorithm_of_a_study_has_what_is_its_own(family: Space) -> None:
    keys = {branch.name: set(branch.distributions) for branch in family.branches}
    assert keys == {
        "maml": {ALPHA, STEPS, BETA, BATCH},
        "wide": {ALPHA, WIDTH, BETA, BATCH},
        "still": {BETA, BATCH},
    }
    assert family.branches[1].distributions[WIDTH] == CategoricalDistribution((4, 5, 7))


def test_what_one_algorithm_has_is_drawn_with_it_alone(family: Space) -> None:
    """Its alpha differs in scale from the task's, so each has a name of its own."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {}
    for algorithm in ("maml", "wide", "still"):
        study.enqueue_trial({"algorithm": algorithm})
        trial = study.ask()
        values = family.suggest(trial)
        drawn[algorithm] = set(trial.params)
        assert family.stored(values) == trial.params
        assert family.values(trial.params) == values
    assert drawn == {
        "maml": {"algorithm", f"{ALPHA}@maml", STEPS, BETA, BATCH},
        "wide": {"algorithm", f"{ALPHA}@wide", WIDTH, BETA, BATCH},
        "still": {"algorithm", BETA, BATCH},
    }


def test_a_common_key_swept_on_the_command_line_skips_who_lacks_it(folder: str) -> None:
    found = space("algorithm=maml,still", f"{ALPHA}=interval(1,2)", hydra_overrides=[folder])
    assert [ALPHA in branch.distributions for branch in found.branches] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [([], 1), (["algorithm=wide"], 2), (["algorithm=maml,wide"], 3), (["algorithm=still"], 2)],
)
def test_only_an_algorithm_with_a_file_is_composed_again(
    folder: str, arguments: list[str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    compose = Composer.compose

    def counted(self: Composer, overrides: Sequence[str], *rest: Any) -> Any:
        seen.append(overrides)
        return compose(self, overrides, *rest)

    monkeypatch.setattr(Composer, "compose", counted)
    space(*arguments, hydra_overrides=[folder])
    assert len(seen) == count


@pytest.mark.parametrize(
    "argument", [f"{group}={option}" for group in ("algorithm", "task") for option in GROUPS[group]]
)
def test_the_files_that_come_along_fit(argument: str) -> None:
    """Every key exists and every expression can be read."""
    group, _, option = argument.partition("=")
    (branch,) = space(argument, f"{BATCH}=2,3").branches
    file = ROOT / "conf" / "search" / f"{option}.yaml"
    own = yaml.safe_load(file.read_text()) if file.exists() else {}
    assert {key for key, value in own.items() if value is not None} <= branch.distributions.keys()
    assert group == "task" or STEPS in own or STEPS in branch.distributions


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "search").glob("*.yaml")))
def test_every_search_file_is_packaged_for_the_sweeper(file: Path) -> None:
    assert file.read_text().startswith(PARAMS)
    if file.stem in GROUPS["algorithm"]:
        assert file.read_text().splitlines()[1].startswith("# "), "say where its ranges come from"
