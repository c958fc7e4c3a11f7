"""From a trial's configuration to the objects that train it; only `program` reads TensorFlow."""

from __future__ import annotations

import inspect
import json
from typing import Any, NamedTuple

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from maml_sweep.algorithms import Algorithm, Problem
from maml_sweep.errors import InputError
from maml_sweep.models.base import Model
from maml_sweep.tasks.base import Task
from maml_sweep.training import settings
from maml_sweep.training.devices import Device
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings


class Components(NamedTuple):
    """What a trial is made of."""

    task: Task
    model: Model
    algorithm: Algorithm
    settings: Settings


def components(config: DictConfig, made: dict[str, Any] | None = None) -> Components:
    """Builds and checks everything a trial's configuration names.

    Args:
      config: the trial's.
      made: tasks and models by what they are made of. Those in it are taken, new ones are added:
        from trial to trial it is often the algorithm alone that differs.

    Raises:
      InputError: a value that is out of range or does not fit another.
    """
    made = {} if made is None else made
    task = _shared(made, "task", config.task)
    model = _shared(made, "model", config.model, **_interface(config.model, task))
    algorithm = _instantiate("algorithm", config.algorithm)
    algorithm.check(problem(task, model))
    return Components(task, model, algorithm, settings.read(config, algorithm))


def _interface(node: DictConfig, task: Task) -> dict[str, Any]:
    """What a task tells the model's constructor; `categories` where its inputs stand for things."""
    interface: dict[str, Any] = {"input_shape": task.input_shape, "outputs": task.outputs}
    if task.categories:
        if not _takes_categories(node):
            raise InputError(
                f"model: {node.get('_target_')} reads real numbers, but the task's inputs are "
                "whole numbers that stand for words or ids; choose a model that has embeddings, "
                "such as text_cnn or ratings_mlp"
            )
        interface["categories"] = tuple(task.categories)
    return interface


def _takes_categories(node: DictConfig) -> bool:
    """Whether a model's constructor does; of a name that cannot be imported Hydra will say so."""
    try:
        parameters = inspect.signature(get_object(node["_target_"])).parameters.values()
    except (AttributeError, ImportError, KeyError, ValueError):
        return True
    return any(each.name == "categories" or each.kind is each.VAR_KEYWORD for each in parameters)


def problem(task: Task, model: Model, recompute: bool = False) -> Problem:
    """What an algorithm is given to learn."""
    return Problem(model, task.loss, task.kind, getattr(task, "classes", None), recompute)


def _shared(made: dict[str, Any], group: str, node: DictConfig, **arguments: Any) -> Any:
    """What was made of the same before, or is now."""
    content = OmegaConf.to_container(node, resolve=True)
    text = json.dumps([group, content, arguments], default=str, sort_keys=True)
    if text not in made:
        made[text] = _instantiate(group, node, **arguments)
    return made[text]


def _instantiate(group: str, node: DictConfig, **arguments: Any) -> Any:
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        reason = " ".join(str(error).split())
        raise InputError(f"{group}: cannot build {node.get('_target_')}: {reason}") from None


class Structure(NamedTuple):
    """What needs a compiled program of its own: trials that agree in it can share a pack.

    Attributes:
      description: task, model, algorithm and precision, without what is a runtime number.
      bound: inner steps to unroll in training.
      eval_bound: inner steps to unroll in evaluation.
    """

    description: str
    bound: int
    eval_bound: int


def structure(parts: Components, config: DictConfig, bound: int) -> Structure:
    """A trial's structure.

    Args:
      parts: what it is made of.
      config: its composition.
      bound: the most inner steps that trials of its kind may take.
    """
    fixed: dict[str, Any] = {
        group: OmegaConf.to_container(config[group], resolve=True)
        for group in ("task", "model", "algorithm")
    }
    for knob in ("inner_steps", *parts.algorithm.knobs):
        # Whether a knob is set may be in the program (a clip, say); to what, is not.
        if fixed["algorithm"].get(knob) is not None:
            fixed["algorithm"][knob] = True
    training = config.training
    fixed["training"] = {key: training[key] for key in ("precision", "max_loss")}
    fixed["training"]["recompute"] = _recomputes(config)
    eval_bound = bound if training.eval_steps is None else parts.settings.eval_steps
    return Structure(json.dumps(fixed, sort_keys=True), bound, eval_bound)


def _recomputes(config: Any) -> bool:
    """Whether inner steps are taken again; what was saved before one could say so, did not."""
    return bool(config.training.get("recompute", False))


def program(parts: Components, structure: Structure, config: Any, device: Device) -> Program:
    """Builds a structure's program (which is traced at its first call).

    Raises:
      InputError: a model that only this process may read is wrong, or not the algorithm's.
    """
    learnt = problem(parts.task, parts.model, _recomputes(config))
    if not parts.model.known:
        parts.model.load()
        parts.algorithm.check(learnt)
    return Program(
        parts.task,
        learnt,
        parts.algorithm,
        bound=structure.bound,
        eval_bound=structure.eval_bound,
        precision=config.training.precision,
        max_loss=config.training.max_loss,
        shards=device.shards,
        compiled=device.compiled,
        kernels=device.kernels,
    )


def own_program(parts: Components, config: Any, device: Device) -> Program:
    """The program of a trial by itself, for no more inner steps than its own."""
    own = structure(parts, config, parts.settings.inner_steps)
    return program(parts, own, config, device)
