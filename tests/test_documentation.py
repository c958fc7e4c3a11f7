"""The documentation is true: its commands compose, its files exist, every option is described."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from composing import ROOT, composer
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

import maml_sweep
from maml_sweep import (
    cli,
    config,
    config_algorithms,
    config_models,
    config_search,
    config_tasks,
)
from maml_sweep.build import components
from maml_sweep.search.compose import Composer
from maml_sweep.search.plans import make_plan

README = (ROOT / "README.md").read_text()
DOCUMENTS = ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
COMMANDS = sorted(
    {match.strip() for match in re.findall(r"python sweep\.py((?: [^`\n]*)?)", README)}
)
LAUNCHER = "hydra/launcher="
LAUNCHERS = (LAUNCHER, "hydra.launcher.")


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 12
    assert "" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_composes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAML_SWEEP_STORAGE", "sqlite:///sweeps.db")
    arguments = shlex.split(command, comments=True)
    if arguments in (["--help"], ["--cfg", "job"]):
        return  # run for good in test_command_line.py
    hydras = [x for x in arguments if x.lstrip("+").startswith("hydra")]
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        _, folder = arguments[place : place + 2]
        del arguments[place : place + 2]
        hydras.append(f"hydra.searchpath=[file://{ROOT / folder}]")
    if not all(installed(x) for x in hydras if x.startswith(LAUNCHER)):
        hydras = [x for x in hydras if not x.lstrip("+").startswith(LAUNCHERS)]
    tasks = [x for x in arguments if not x.lstrip("+").startswith("hydra")]
    check(composer(*(x for x in hydras if not x.startswith("hydra.mode="))), hydras, tasks)


def test_a_maml_sweep_command_of_the_readme_parses() -> None:
    lines = [shlex.split(match) for match in re.findall(r"maml-sweep ([a-z][^`\n#]*)", README)]
    for line in lines:
        if line[0] != "sweep":  # Hydra's own arguments
            cli.parser().parse_args(line)  # SystemExit if it cannot
    assert {line[0] for line in lines} == set(cli.COMMANDS)


def check(composing: Composer, hydras: list[str], tasks: list[str]) -> None:
    """Goes as far as a run can without writing or training anything."""
    if "hydra.mode=RUN" in hydras:
        components(composing.compose(tasks))
    elif "hydra/sweeper=basic" in hydras:
        (jobs,) = BasicSweeper.split_arguments(composing.parse(tasks), max_batch_size=None)
        assert len(jobs) > 1
        for job in jobs:
            components(composing.compose(job))
    else:
        plan = make_plan(composing, tasks, "documented")
        assert plan.space["branches"]


def test_a_file_that_is_shown_is_the_file() -> None:
    """The code blocks whose first line is a comment with a file's name."""
    blocks = re.findall(r"```\w+\n# (\S+)\n(.*?)```", README, re.DOTALL)
    assert blocks
    for name, text in blocks:
        assert (ROOT / name).read_text() == text, name


def installed(launcher: str) -> bool:
    name = launcher.removeprefix(LAUNCHER)
    return importlib.util.find_spec(f"hydra_plugins.hydra_{name}_launcher") is not None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    for link in links:
        assert (ROOT / document).parent.joinpath(link).exists(), link
    tops = {path.name for path in ROOT.iterdir()} - {"outputs"}
    for span in re.findall(r"`([\w./-]+)`", text):
        if span.split("/")[0] in tops:
            assert (ROOT / span).exists(), span


def test_the_map_of_the_house_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = [path for path in (ROOT / "maml_sweep").rglob("*") if path.is_dir()]
    for folder in folders:
        if folder.name != "__pycache__":
            assert f"{folder.name}/" in text, f"docs/architecture.md says nothing of {folder.name}/"
    for name in re.findall(r"^ +(\w+\.py)\b", text, re.MULTILINE):
        homes = (ROOT / "maml_sweep", ROOT / "benchmarks")
        assert any(list(home.rglob(name)) for home in homes), f"{name} is no module any more"


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {maml_sweep.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "module", [config, config_algorithms, config_models, config_search, config_tasks]
)
def test_every_typed_option_says_what_it_is(module: ModuleType) -> None:
    source = Path(str(module.__file__)).read_text()
    groups = {**config.GROUPS, "sampler": config_search.SAMPLERS, "pruner": config_search.PRUNERS}
    said = {
        node.name: ast.get_docstring(node) or ""
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }
    for group, options in groups.items():
        for name, option in options.items():
            if option.__module__ == module.__name__:
                assert said[option.__name__].startswith(f"{group}={name}"), option.__name__


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "experiment").glob("*.yaml")))
def test_every_experiment_says_what_it_is_and_what_it_searches(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    defaults = yaml.safe_load(file.read_text())["defaults"]
    assert any("override /search" in entry for entry in defaults), "name its search"


def test_the_readme_knows_every_option() -> None:
    groups = {**config.GROUPS, "sampler": config_search.SAMPLERS, "pruner": config_search.PRUNERS}
    names = [name for options in groups.values() for name in options]
    names += [file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml")]
    for name in names:
        assert re.search(rf"\b{name}\b", README), f"README.md says nothing of {name}"
