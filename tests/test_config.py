"""The schema: defaults, and refusals that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from composing import composer
from omegaconf import OmegaConf

from maml_sweep.config import GROUPS
from maml_sweep.config_search import PRUNERS, SAMPLERS
from maml_sweep.errors import InputError
from maml_sweep.spelling import hint

OPTIONS = [
    (group, option)
    for group, options in {**GROUPS, "sampler": SAMPLERS, "pruner": PRUNERS}.items()
    for option in options
]


def test_the_defaults_are_the_sinusoid_with_maml() -> None:
    cfg = composer().compose([])
    chosen = {group: cfg.hydra.runtime.choices[group] for group in ("task", "model", "algorithm")}
    assert chosen == {"task": "sinusoid", "model": "mlp", "algorithm": "maml"}
    assert (cfg.task.shots, cfg.model.widths, cfg.study.n_trials) == (10, [40, 40], 32)
    assert (cfg.training.iterations, cfg.training.validation_tasks) == (2000, 200)
    assert cfg.hydra.runtime.choices["hydra/sweeper"] == "maml_sweep"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_refuses_a_wrong_key(group: str, option: str) -> None:
    composing = composer()
    cfg = composing.compose([f"{group}={option}"])
    assert OmegaConf.to_container(cfg[group], resolve=True)
    with pytest.raises(InputError, match=rf"{group}\.nonsense"):
        composing.compose([f"{group}={option}", f"{group}.nonsense=1"])


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_setting_refuses_a_wrong_type(group: str, option: str) -> None:
    """A mapping fits no setting, a word no number."""
    composing = composer()
    cfg = composing.compose([f"{group}={option}"])
    for key, value in cfg[group].items():
        if isinstance(value, int | float) and not isinstance(value, str):
            with pytest.raises(InputError, match=rf"{group}\.{key}=wrong.*wrong"):
                composing.compose([f"{group}={option}", f"{group}.{key}=wrong"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=1.5", ["seed=1.5", "Integer"]),
        ("workers=two", ["workers=two", "Integer"]),
        ("pack.size=1.5", ["pack.size=1.5", "Union[int, str]"]),
        ("study.n_trials=many", ["study.n_trials=many", "Integer"]),
        ("study.timeout=soon", ["study.timeout=soon", "Float"]),
        ("study.ntrials=3", ["study.ntrials", "ntrials"]),
        ("training.test=maybe", ["training.test=maybe", "bool"]),
        ("model.widths=[8,a]", ["model.widths=[8,a]", "Integer"]),
        ("task=glyph", ["task/glyph"]),
        ("tasks=glyphs", ["tasks"]),
        ("+experiment=nonsense", ["experiment/nonsense"]),
    ],
)
def test_refusals_name_the_setting(override: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        composer().compose([override])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_user_s_own_option_brings_its_own_keys(tmp_path: Path) -> None:
    """New keys are accepted where the file has them, and a typo beside them is refused."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: my.Model\ndepth: 3\n")
    (tmp_path / "model" / "wide.yaml").write_text("defaults: [mlp]\nwidths: [99]\n")
    composing = composer(f"hydra.searchpath=[file://{tmp_path}]")
    assert composing.compose(["model=mine", "model.depth=5"]).model == {
        "_target_": "my.Model",
        "depth": 5,
    }
    assert composing.compose(["model=wide"]).model.widths == [99]
    with pytest.raises(InputError, match=r"model\.dpth"):
        composing.compose(["model=mine", "model.dpth=5"])
    with pytest.raises(InputError, match=r"model\.widths=a"):  # typed by the schema it starts from
        composing.compose(["model=wide", "model.widths=a"])


@pytest.mark.parametrize(
    ("experiment", "task", "model", "ways", "search"),
    [
        ("sinusoid", "sinusoid", "mlp", None, "sinusoid"),
        ("glyphs_5w1s", "glyphs", "conv4", 5, "glyphs_quick"),
        ("glyphs_20w1s", "glyphs", "conv4", 20, "glyphs_quick"),
    ],
)
def test_experiments(experiment: str, task: str, model: str, ways: int | None, search: str) -> None:
    cfg = composer().compose([f"+experiment={experiment}"])
    choices = cfg.hydra.runtime.choices
    assert (choices.task, choices.model, choices.search) == (task, model, search)
    assert cfg.task.get("ways") == ways


def test_the_command_line_goes_before_the_experiment() -> None:
    cfg = composer().compose(["+experiment=glyphs_5w1s", "task.ways=3", "search=none"])
    assert (cfg.task.ways, cfg.hydra.sweeper.params) == (3, {})


def test_pruners_follow_the_iterations() -> None:
    assert composer().compose(["training.iterations=70"]).pruner.iterations == 70


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("algorithm.inner_lrr", " (did you mean 'algorithm.inner_lr'?)"),
        ("inner_lr", " (did you mean 'algorithm.inner_lr'?)"),
        ("zzz", ""),
    ],
)
def test_hint(word: str, expected: str) -> None:
    assert hint(word, ["algorithm.inner_lr", "optimizer.beta1"]) == expected
