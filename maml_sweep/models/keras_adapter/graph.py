"""A functional Keras model as a list of calls, and how one run through them keeps its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from maml_sweep.models.keras_adapter.library import keras


class Call(NamedTuple):
    """One layer (or plain operation) called on symbolic tensors.

    Attributes:
      operation: the layer; a layer called twice stands in two calls. None: nothing happens, the
        output is the input by another name.
      args: its positional arguments, a nest with symbolic tensors in it.
      kwargs: its named ones.
      outputs: a nest of symbolic tensors.
    """

    operation: Any
    args: Any
    kwargs: dict[str, Any]
    outputs: Any

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensors among its arguments, in a fixed order."""
        return [x for x in keras.tree.flatten((self.args, self.kwargs)) if is_symbolic(x)]

    @property
    def found(self) -> list[Any]:
        """The symbolic tensors that it makes."""
        return [x for x in keras.tree.flatten(self.outputs) if is_symbolic(x)]

    def filled(self, tensors: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        """Its arguments with tensors in the places of `inputs`."""
        left = iter(tensors)
        args, kwargs = keras.tree.map_structure(
            lambda x: next(left) if is_symbolic(x) else x, (self.args, self.kwargs)
        )
        return args, kwargs


class Graph(NamedTuple):
    """Calls in an order in which they can be made."""

    input: Any  # symbolic
    calls: list[Call]
    output: Any  # symbolic


def is_symbolic(x: Any) -> bool:
    """Whether it is a tensor without values."""
    return isinstance(x, keras.KerasTensor)


def functional(model: Any) -> Any:
    """A Sequential as the functional model that it stands for; a functional one as it is."""
    return keras.Model(model.inputs, model.outputs) if is_sequential(model) else model


def is_sequential(layer: Any) -> bool:
    """Whether it is a Sequential, and nobody's subclass of it."""
    return type(layer) is keras.Sequential


def is_functional(layer: Any) -> bool:
    """Whether it is a functional model, and nobody's subclass of it."""
    x = keras.Input(())
    return type(layer) is type(keras.Model(x, x))


def record(model: Any) -> Graph:
    """Reads a functional model's calls, those of models inside it included.

    Keras's own `clone_model` makes every call once more, on new symbolic tensors and the same
    layers.

    Args:
      model: functional, of one input and one output.
    """
    calls: list[Call] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        if _opens(operation, args, kwargs):
            calls.extend(_opened(operation, args[0], outputs))
        else:
            # `training` is ours to say, as it is a model's that is called with it.
            said = {name: value for name, value in kwargs.items() if name != "training"}
            calls.append(Call(operation, args, said, outputs))
        return outputs

    clone = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return Graph(clone.inputs[0], calls, clone.outputs[0])


def _opens(layer: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call is of a model whose own calls can stand in its place."""
    if not (is_sequential(layer) or is_functional(layer)):
        return False
    plain = len(args) == 1 and is_symbolic(args[0]) and not any(kwargs.values())
    return plain and len(layer.inputs) == len(layer.outputs) == 1


def _opened(model: Any, x: Any, y: Any) -> list[Call]:
    """The calls of a model between the tensor that it takes and the one that it makes."""
    inner = record(functional(model))
    return [Call(None, (x,), {}, inner.input), *inner.calls, Call(None, (inner.output,), {}, y)]


def as_one(graph: Graph) -> Graph:
    """The same as a single call of a model."""
    model = keras.Model(graph.input, graph.output)
    x = keras.Input(batch_shape=graph.input.shape, dtype=graph.input.dtype)
    y = model(x)
    return Graph(x, [Call(model, (x,), {}, y)], y)


@dataclass
class Pass:
    """One run of all lanes through a network.

    Attributes:
      weights: [lane, *shape] of each trainable weight, by its `id`.
      given: the statistics to go by, of each batch norm that has some, by the layer's `id`.
      found: (mean, variance) of each batch norm's own batch, by the layer's `id`.
    """

    weights: Mapping[int, Any]
    given: Mapping[int, Any] = field(default_factory=dict)
    found: dict[int, Any] = field(default_factory=dict)

    def of(self, variable: Any) -> Any:
        """A weight's values; None of None."""
        return None if variable is None else self.weights[id(variable)]


# (the run so far, its input values in the order of Call.inputs) -> values of Call.found
Way = Callable[[Pass, Sequence[Any]], Sequence[Any]]


def follow(graph: Graph, ways: Sequence[Way], x: Any, run: Pass) -> Any:
    """Makes every call in its way: the value of the input -> that of the output."""
    values = {id(graph.input): x}
    for call, way in zip(graph.calls, ways, strict=True):
        results = way(run, [values[id(tensor)] for tensor in call.inputs])
        for tensor, value in zip(call.found, results, strict=True):
            values[id(tensor)] = value
    return values[id(graph.output)]
