"""From what the user's function returned to a network over lanes, or one line that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models.keras_adapter import generic, kinds, layers
from maml_sweep.models.keras_adapter.graph import (
    Call,
    Graph,
    Pass,
    Way,
    as_one,
    follow,
    functional,
    is_functional,
    is_sequential,
    record,
)
from maml_sweep.models.keras_adapter.library import has_mask, keras, sublayers
from maml_sweep.models.keras_adapter.moments import exact_moments
from maml_sweep.models.keras_adapter.values import Value

UNROLLED = 32  # words or moments of time: longer recurrences stay loops
DROPOUTS = ("rate", "dropout", "recurrent_dropout")  # where layers keep how much they drop


class Net(NamedTuple):
    """A Keras model that has been read.

    Attributes:
      model: Keras's, for its variables.
      graph: the calls up to the head, or all of them where there is none.
      ways: how each is made.
      body: trainable variables of the graph.
      head: those of the last Dense layer: its kernel, and its bias if it has one; none: no head.
      norms: the batch norms whose statistics can be told and given, in the order of `body`.
    """

    model: Any
    graph: Graph
    ways: list[Way]
    body: list[Any]
    head: list[Any]
    norms: list[Any]

    @property
    def width(self) -> int:
        """Of what the head reads."""
        return int(self.graph.output.shape[-1])

    def run(self, weights: Sequence[Any], x: Any, statistics: Any) -> tuple[Any, list[Any]]:
        """All calls of the graph.

        Args:
          weights: of `body`, each [lane, *shape].
          x: [lane, example, *input_shape].
          statistics: of `norms`, to go by; None: those of `x`.

        Returns:
          [lane, example, ...], and the statistics of `x`.
        """
        names = [id(norm) for norm in self.norms]
        given = {} if statistics is None else dict(zip(names, statistics, strict=True))
        ids = [id(variable) for variable in self.body]
        run = Pass(dict(zip(ids, weights, strict=True)), given)
        value = Value(tf.cast(x, self.graph.input.dtype))
        with exact_moments():
            y = follow(self.graph, self.ways, value, run).apart
        return y, [run.found[name] for name in names]


class Reader:
    """Reads one model.

    Args:
      target: the name of the user's function, for messages.
      model: what it returned.

    Raises:
      InputError: from any method: what is wrong with the model.
    """

    def __init__(self, target: str, model: Any) -> None:
        self.target, self.model = target, model

    def fail(self, text: str) -> InputError:
        """An error about the model."""
        return InputError(f"model.target={self.target}: {text}")

    def check(self, input_shape: tuple[int, ...], outputs: int, dtype: str) -> None:
        """Refuses what is no functional model of the task's shapes in this float type."""
        model = self.model
        if not isinstance(model, keras.Model):
            raise self.fail(f"expected it to return a Keras model, but got {type(model).__name__}")
        if is_sequential(model) and not model.built:
            model.build((None, *input_shape))
        if not is_sequential(model) and not is_functional(model):
            raise self.fail(
                f"{type(model).__name__} is no functional or Sequential model; return "
                "keras.Model(x, model(x)) with x = keras.Input(input_shape)"
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise self.fail(
                f"expected one input and one output, but the model has {len(model.inputs)} and "
                f"{len(model.outputs)}"
            )
        self._check_shape("input", model.inputs[0].shape, input_shape)
        self._check_shape("output", model.outputs[0].shape, (outputs,))
        self._check_types(dtype)

    def _check_shape(self, what: str, shape: tuple[Any, ...], wanted: tuple[int, ...]) -> None:
        if shape[0] is not None or tuple(shape[1:]) != wanted:
            raise self.fail(
                f"the task needs {what}s of shape {list(wanted)} behind an open batch axis, but "
                f"the model's are {list(shape)}"
            )

    def _check_types(self, dtype: str) -> None:
        if not tf.as_dtype(self.model.inputs[0].dtype).is_numeric:
            raise self.fail("its input is text, but the task's examples are numbers")
        for layer in sublayers(self.model):
            for found in (layer.compute_dtype, layer.variable_dtype):
                if tf.as_dtype(found).is_floating and found != dtype:
                    raise self.fail(
                        f"layer {layer.name} works in {found} (policy "
                        f"{layer.dtype_policy.name}), but training.precision is {dtype}; leave "
                        "its dtype to Keras"
                    )
        if not self.model.trainable_variables:
            raise self.fail("the model has no trainable weights")

    def net(self) -> Net:
        """The model over lanes."""
        self._silence()
        graph = record(functional(self.model))
        self._check_connected()
        graph, head = self._parted(graph)
        for call in graph.calls:
            _unroll(call)
        if any(has_mask(tensor) for call in graph.calls for tensor in call.found):
            graph = as_one(graph)  # only Keras itself hands masks on
        ways = [self._way(call) for call in graph.calls]
        own = {id(variable) for variable in head}
        body = [v for v in self.model.trainable_variables if id(v) not in own]
        return Net(self.model, graph, ways, body, head, _norms(graph, body))

    def _silence(self) -> None:
        """Turns dropout off, and kernels of cuDNN, which have no second derivatives."""
        for layer in sublayers(self.model):
            for name in DROPOUTS:
                if isinstance(vars(layer).get(name), float):
                    setattr(layer, name, 0.0)
            if "use_cudnn" in vars(layer):
                layer.use_cudnn = False

    def _check_connected(self) -> None:
        """Refuses weights without a gradient, which inner steps could not move."""
        x = tf.ones([2, *self.model.inputs[0].shape[1:]], self.model.inputs[0].dtype)
        variables = self.model.trainable_variables
        weights = [tf.convert_to_tensor(variable.value) for variable in variables]
        others = [tf.convert_to_tensor(v.value) for v in self.model.non_trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y, _ = self.model.stateless_call(weights, others, x, training=False)
        slopes = tape.gradient(y, weights)
        for variable, slope in zip(variables, slopes, strict=True):
            if slope is None:
                raise self.fail(
                    f"weight {variable.path} has no say in the output; leave it out, or make it "
                    "trainable=False"
                )

    def _parted(self, graph: Graph) -> tuple[Graph, list[Any]]:
        """The graph below the last layer and that layer's weights, if it can be a head."""
        while graph.calls and graph.calls[-1].operation is None:
            graph = Graph(graph.input, graph.calls[:-1], graph.calls[-1].inputs[0])
        last = graph.calls[-1] if graph.calls else None
        if last is None or not any(x is graph.output for x in last.found):
            return graph, []
        layer = last.operation
        if _is_softmax(layer):
            raise self.fail(
                f"the model ends in a softmax ({layer.name}), but losses here take what goes into "
                "one; leave it out"
            )
        uses = sum(call.operation is layer for call in graph.calls)
        if uses > 1 or not kinds.can_be_head(layer) or len(last.inputs[0].shape) != 2:
            return graph, []
        weights = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
        return Graph(graph.input, graph.calls[:-1], last.inputs[0]), weights

    def _way(self, call: Call) -> Way:
        layer = call.operation
        if layer is None:
            return lambda _, values: values
        alone = len(call.args) == 1 and not any(value is not None for value in call.kwargs.values())
        handler = kinds.handler(layer)
        if alone and handler is not None:
            return lambda run, values: [handler(layer, run, values[0])]
        if alone and kinds.is_per_channel(layer):
            return generic.mixed_way(call)
        if alone and kinds.is_per_example(layer):
            return generic.folded_way(call)
        training = generic.averages(call)
        if generic.draws(call, training=training):
            raise self.fail(
                f"layer {layer.name} draws random numbers, which inner steps cannot follow; take "
                "them out, or make a layer of their own of them that is off outside training"
            )
        return generic.lane_way(call, training=training)


def _unroll(call: Call) -> None:
    """Writes short recurrences out: `vectorized_map` takes minutes over loops."""
    found = [call.operation, getattr(call.operation, "forward_layer", None)]
    found.append(getattr(call.operation, "backward_layer", None))
    for layer in found:
        time = call.inputs[0].shape[1] if len(call.inputs[0].shape) > 2 else None
        if isinstance(layer, keras.layers.RNN) and time is not None and time <= UNROLLED:
            layer.unroll = True


def _is_softmax(layer: Any) -> bool:
    return (
        isinstance(layer, keras.layers.Softmax)
        or getattr(layer, "activation", None) is keras.activations.softmax
    )


def _norms(graph: Graph, body: Sequence[Any]) -> list[Any]:
    """Batch norms over lanes with a scale and an offset, called once, in the order of `body`."""
    operations = [call.operation for call in graph.calls]
    places = {id(variable): place for place, variable in enumerate(body)}
    norms = [
        layer
        for layer in operations
        if kinds.handler(layer) is layers.batch_norm
        and layer.scale
        and layer.center
        and operations.count(layer) == 1
    ]
    return sorted(norms, key=lambda layer: places[id(layer.gamma)])
