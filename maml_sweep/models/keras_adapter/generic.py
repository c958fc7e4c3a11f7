"""Layers that nobody here knows: one lane at a time, as Keras itself would call them.

By `tf.vectorized_map`, which writes every operation for all lanes at once (and loops over the
lanes where it cannot, as at convolutions): its second derivatives are exact, it takes any number of
lanes, and it costs little more than layers over lanes do. Layers with a loop of their own (long
recurrences) take minutes to vectorise, so these go by `tf.map_fn`: lane after lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.models.keras_adapter.graph import Call, Pass, Way
from maml_sweep.models.keras_adapter.library import keras
from maml_sweep.models.keras_adapter.values import Value, folded, unfolded

LOOPS = ("While", "StatelessWhile")


def folded_way(call: Call) -> Way:
    """For layers that treat every example alike and adapt nothing: all lanes as one batch."""
    constants = _constants(call.operation)

    def way(_: Pass, values: Sequence[Value]) -> list[Value]:
        tensors = [value.apart for value in values]
        lanes = tf.shape(tensors[0])[0]
        results = _called(call, constants, [folded(x) for x in tensors], training=False)
        return [Value(unfolded(y, lanes)) for y in results]

    return way


def mixed_way(call: Call) -> Way:
    """`folded_way` of layers that treat every channel alike too: no layout need change."""
    plain = folded_way(call)

    def way(run: Pass, values: Sequence[Value]) -> Sequence[Value]:
        alike = len({(value.rank, value.channels) for value in values}) == 1
        if not alike or not all(value.is_mixed for value in values):
            return plain(run, values)
        results = _called(call, [], [value.mixed for value in values], training=False)
        return [Value(mixed=y, channels=values[0].channels) for y in results]

    return way


def lane_way(call: Call, *, training: bool) -> Way:
    """For any layer: each lane's examples by that lane's weights.

    Args:
      call: of the layer.
      training: whether norms with moving averages go by their batch, as they do in episodes.
    """
    variables = _adapted(call.operation)
    constants = _constants(call.operation)
    dtypes = [tf.as_dtype(tensor.dtype) for tensor in call.found]

    def one(arguments: Any) -> list[Any]:
        weights, tensors = arguments
        mapping = [*zip(variables, weights, strict=True), *constants]
        return _called(call, mapping, tensors, training=training)

    looping = _loops(one, variables, call)

    def way(run: Pass, values: Sequence[Value]) -> list[Value]:
        weights = [_dense_gradient(run.of(variable)) for variable in variables]
        elements = (weights, [_dense_gradient(value.apart) for value in values])
        if looping:
            results = tf.map_fn(one, elements, fn_output_signature=dtypes)
        else:
            results = tf.vectorized_map(one, elements)
        return [_shaped(y, tensor) for y, tensor in zip(results, call.found, strict=True)]

    return way


def _shaped(y: Any, tensor: Any) -> Value:
    """A result whose shape is known again as far as Keras knows it."""
    y.set_shape([None, *tensor.shape])
    return Value(y)


def draws(call: Call, *, training: bool) -> bool:
    """Whether a layer would draw random numbers."""
    return any(_is_seed(variable) for variable in _moved(call, training=training))


def averages(call: Call) -> bool:
    """Whether a layer keeps averages in training (as batch norms do), whatever it is."""
    return any(not _is_seed(variable) for variable in _moved(call, training=True))


def _moved(call: Call, *, training: bool) -> list[Any]:
    """The constants that a layer changes when it is called, tried on two examples of zeros."""
    constants = _constants(call.operation)
    if not constants:
        return []
    zeros = [_zeros(tensor) for tensor in call.inputs]
    with keras.StatelessScope(constants) as scope:
        before = [scope.get_current_value(variable) for variable, _ in constants]
        _invoke(call, zeros, training=training)
        after = [scope.get_current_value(variable) for variable, _ in constants]
    moved = zip(constants, before, after, strict=True)
    return [variable for (variable, _), old, new in moved if old is not new]


def _zeros(tensor: Any) -> Any:
    """Two examples of what a symbolic tensor stands for."""
    return tf.zeros([2, *(size or 1 for size in tensor.shape[1:])], tensor.dtype)


def _is_seed(variable: Any) -> bool:
    """Whether it is the state of a random generator, which is no float."""
    return not tf.as_dtype(variable.dtype).is_floating


def _adapted(operation: Any) -> list[Any]:
    return list(operation.trainable_variables) if isinstance(operation, keras.Layer) else []


def _constants(operation: Any) -> list[tuple[Any, Any]]:
    """A layer's weights that are not learnt, and their values."""
    if not isinstance(operation, keras.Layer):
        return []
    return [(v, tf.convert_to_tensor(v.value)) for v in operation.non_trainable_variables]


def _called(call: Call, mapping: Any, tensors: Sequence[Any], *, training: bool) -> list[Any]:
    """The tensors that a layer makes of these, its weights being those of `mapping`."""
    with keras.StatelessScope(mapping):
        return _invoke(call, tensors, training=training)


def _invoke(call: Call, tensors: Sequence[Any], *, training: bool) -> list[Any]:
    args, kwargs = call.filled(tensors)
    if isinstance(call.operation, keras.Layer):
        kwargs = {**kwargs, "training": training}
    outputs = keras.tree.flatten(call.operation(*args, **kwargs))
    return [y for y in outputs if y is not None]


def _dense_gradient(x: Any) -> Any:
    """The same numbers; their gradient, which `vectorized_map` would make sparse, is an array."""
    return tf.reshape(x, tf.shape(x))


def _loops(one: Any, variables: Sequence[Any], call: Call) -> bool:
    """Whether a layer's program has a loop in it."""
    weights = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    tensors = [tf.TensorSpec(x.shape, x.dtype) for x in call.inputs]
    graph = tf.function(one, autograph=False).get_concrete_function((weights, tensors)).graph
    functions = [f.node_def for f in graph.as_graph_def().library.function]
    nodes = [*graph.as_graph_def().node, *(node for nodes in functions for node in nodes)]
    return any(node.op in LOOPS for node in nodes)
