"""The user's function by its name: looked for without importing it, later imported and called."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from maml_sweep.errors import InputError


def check(target: str) -> None:
    """Looks for `package.module.function` where Python would, and imports nothing.

    A module that imports TensorFlow, as those with Keras models do, must not be imported by the
    process that only hands out work.

    Raises:
      InputError: no such module, or one that does not have the name.
    """
    module, _, name = target.rpartition(".")
    if not module or not all(part.isidentifier() for part in target.split(".")):
        raise InputError(
            f"model.target={target}: expected the name of a function that builds a Keras model, "
            "such as my_package.build"
        )
    spec = _spec(module.split("."))
    if spec is None:
        raise InputError(
            f"model.target={target}: there is no module {module} where Python looks; run in the "
            "folder that holds it, or install it"
        )
    if not _may_have(spec, name):
        raise InputError(f"model.target={target}: {spec.origin} has no {name}")


def _spec(parts: Sequence[str]) -> ModuleSpec | None:
    """Where a module is, found without importing the packages that it lies in."""
    path: Any = None
    spec: ModuleSpec | None = None
    for depth in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and depth < len(parts):
            return None
    return spec


def _may_have(spec: ModuleSpec, name: str) -> bool:
    """False where a module's source shows that it has no such name."""
    if not spec.origin or not spec.origin.endswith(".py"):
        return True  # compiled, or a bare folder
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except SyntaxError:
        return True  # the import will say so
    bound = {alias.asname or alias.name for node in ast.walk(tree) for alias in _aliases(node)}
    bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    defined = (ast.FunctionDef, ast.ClassDef)
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, defined)}
    return bool(bound & {name, "*", "__getattr__"})


def _aliases(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def call(target: str, arguments: Mapping[str, Any], offered: Mapping[str, Any]) -> Any:
    """What the user's function returns.

    Args:
      target: its name.
      arguments: what the configuration says, by name.
      offered: further arguments, handed over if it takes them.

    Raises:
      InputError: it cannot be imported, is no function, or raises something.
    """
    function = _imported(target)
    try:
        known = inspect.signature(function).parameters.values()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in known)
        names = {each.name for each in known}
        extra = {key: value for key, value in offered.items() if takes_all or key in names}
        return function(**{**extra, **arguments})
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model.target={target}: it raised {_line(error)}") from error


def _imported(target: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model.target={target}: importing it raised {_line(error)}") from error
    if not callable(function):
        raise InputError(
            f"model.target={target}: expected a function that builds a Keras model, but it is "
            f"a {type(function).__name__}"
        )
    return function


def _line(error: BaseException) -> str:
    """An exception in one line, its place in the user's code included."""
    lines = str(error).strip().splitlines()
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {lines[0] if lines else ''}{place}"
