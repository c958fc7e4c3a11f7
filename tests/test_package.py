"""The house: who may import whom, what stays light, and what an installation carries."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from composing import ROOT

import maml_sweep

PLUGIN = "hydra_plugins.maml_sweep_sweeper.maml_sweep_sweeper"
BASICS = {"backend", "checks", "errors", "files", "spelling", "streams", "typed"}
# room -> the rooms it may look down into; a module outside a folder is a room of its own
BELOW = {
    "algorithms": BASICS | {"models"},
    "models": BASICS,
    "tasks": BASICS,
    "kernels": BASICS | {"algorithms", "models", "tasks"},
    "training": BASICS | {"algorithms", "kernels", "models", "tasks"},
    "build": BASICS | {"algorithms", "models", "tasks", "training"},
    "single": BASICS | {"build", "tasks", "training"},
    "ahead": {"search"},
    "search": BASICS | {"training", "build"},
    "analysis": BASICS | {"search"},
    "learner": BASICS | {"algorithms", "build", "models", "tasks", "training"},
    "winners": BASICS
    | {"algorithms", "analysis", "build", "config", "learner", "models", "search", "tasks"}
    | {"training"},
    "application": BASICS | {"config", "search", "single"},
    "commands": BASICS | {"ahead", "analysis", "application", "doctor", "search", "winners"},
    "doctor": BASICS
    | {"build", "config", "config_algorithms", "config_models", "config_tasks", "training"},
    "cli": BASICS | {"commands"},
    "__main__": {"cli"},
    "": {"learner"},  # the package itself, which hands on `load`
    "config": {"config_algorithms", "config_models", "config_search", "config_tasks"},
    "config_algorithms": set(),
    "config_models": set(),
    "config_search": set(),
    "config_tasks": set(),
    **dict.fromkeys(BASICS, BASICS),
}
# who may know a library; make.py draws the glyphs by hand and is never imported
KNOWN_TO = {
    "tensorflow": set(),  # maml_sweep.backend imports it by name, when it is first used
    "optuna": {"analysis", "commands", "search", "winners"},
    "sqlalchemy": {"search"},
    "rich": {"analysis", "commands", "search", "tasks", "winners"},
    "hydra": {"application", "build", "config", "search"},
    "hydra_plugins": {"ahead", "search"},  # ours: what workers are forked from
    "omegaconf": {
        "application",
        "build",
        "config",
        "config_search",
        "doctor",
        "learner",
        "search",
        "winners",
    },
    "jinja2": {"analysis"},
    "matplotlib": {"analysis", "tasks"},
    "optuna_dashboard": {"commands"},
    "pandas": {"analysis", "tasks"},
    "PIL": {"tasks"},
    "pyarrow": {"analysis", "tasks"},
    "scipy": {"analysis", "tasks", "winners"},
    "sklearn": {"analysis", "tasks"},
    "tensorboard": {"search"},
    "numpy": {
        "algorithms",
        "analysis",
        "doctor",
        "learner",
        "models",
        "search",
        "streams",
        "tasks",
        "training",
        "winners",
    },
    "yaml": {"analysis", "commands", "search", "winners"},
}
# where the two names differ
DISTRIBUTIONS = {
    "hydra": "hydra-core",
    "PIL": "pillow",
    "optuna_dashboard": "optuna-dashboard",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# used without an import statement there: by our launcher, by name, as a file, through Optuna
UNSEEN = {"cloudpickle", "tensorflow", "plotly", "scikit-learn"}
BY_HAND = ROOT / "maml_sweep" / "tasks" / "glyph_data" / "make.py"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = sorted((ROOT / "maml_sweep").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """What a file imports, anywhere in it; `from a import b` is a.b where that is a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def room(module: str) -> str:
    """The folder below maml_sweep, or the module's own name where it lies in none."""
    return module.split(".")[1] if "." in module else ""


def test_imports_only_point_down() -> None:
    known = modules()
    for name, file in known.items():
        own = room(name)
        for target in imports(file, known):
            if not target.startswith("maml_sweep.") or room(target) == own:
                continue
            assert own in BELOW, f"{name} is in no room of BELOW: say what it may import"
            assert room(target) in BELOW[own], f"{name} may not import {target}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    graph = {
        name: {target for target in imports(file, known) if target in known and target != name}
        for name, file in known.items()
        if file.name != "__init__.py"  # those only gather names
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_libraries_are_known_where_they_belong() -> None:
    known = modules()
    for name, file in known.items():
        for target in imports(file, known):
            library = target.partition(".")[0]
            if library == "maml_sweep" or library in sys.stdlib_module_names:
                continue
            assert library in KNOWN_TO, f"{name} imports {library}: declare it"
            assert room(name) in KNOWN_TO[library], f"{name} may not import {library}"


def test_libraries_are_declared() -> None:
    project = pyproject()["project"]
    declared = requirements(project["dependencies"])
    extras = requirements(
        line for each in project["optional-dependencies"].values() for line in each
    )
    known = modules()
    imported = {
        target.partition(".")[0]
        for file in [*known.values(), ROOT / "sweep.py"]
        if file != BY_HAND
        for target in imports(file, known)
    }
    imported -= {*sys.stdlib_module_names, "maml_sweep", "hydra_plugins"}
    needed = {DISTRIBUTIONS.get(name, name).lower() for name in imported | UNSEEN}
    assert declared <= needed, "a requirement that nobody imports"
    assert needed <= declared | extras, "an import that nothing requires"


def requirements(lines: Iterable[str]) -> set[str]:
    """The names of distributions in lines of requirements."""
    return {re.split(r"[<>=\[ ]", line)[0].lower() for line in lines}


def test_nothing_of_the_sweeper_loads_tensorflow() -> None:
    code = (
        f"import sys, {PLUGIN}, maml_sweep.search.launch, maml_sweep.build, maml_sweep.config\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_hydra_plugins_stays_a_namespace() -> None:
    assert not (ROOT / "hydra_plugins" / "__init__.py").exists()
    assert (ROOT / "hydra_plugins" / "maml_sweep_sweeper" / "__init__.py").exists()


def test_every_data_file_is_packaged() -> None:
    data = pyproject()["tool"]["setuptools"]["package-data"]
    packaged = {
        path
        for package, names in data.items()
        for name in names
        for path in ROOT.joinpath(*package.split(".")).glob(name)
    }
    homes = (ROOT / "maml_sweep", ROOT / "maml_sweep" / "conf")  # rglob follows no link
    files = (path for home in homes for path in home.rglob("*") if path.is_file())
    assert {path for path in files if path.suffix not in {".py", ".pyc"}} == packaged


def test_the_configuration_is_part_of_the_package() -> None:
    """By a link, so that there is one copy: conf/ for people, maml_sweep.conf for Hydra."""
    link = ROOT / "maml_sweep" / "conf"
    assert link.is_symlink() and os.readlink(link) == os.path.join("..", "conf")
    assert (link / "config.yaml").samefile(ROOT / "conf" / "config.yaml")
    assert (ROOT / "conf" / "__init__.py").exists()  # else Hydra takes it for no package


def test_the_installed_version_is_this_one() -> None:
    try:
        installed = version("maml-sweep")
    except PackageNotFoundError:
        pytest.skip("runs from the checkout, not installed")
    assert installed == maml_sweep.__version__


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
