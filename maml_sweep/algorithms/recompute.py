"""Work that is done again on the way back, so that what it computes need not be kept until then.

Training Deep Nets with Sublinear Memory Cost (Chen et al. 2016, arXiv 1604.06174), where the inner
loop is the net and a step is a segment of it: of all steps only what stands between them is kept,
and what one step computes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from maml_sweep.backend import tf


def recomputed(compute: Callable[[Any, Any], Any], learnt: Any, given: Any) -> Any:
    """`compute(learnt, given)`, of which the way back keeps nothing but its arguments.

    Args:
      compute: a pure function whose result is a nest of float tensors.
      learnt: a nest of tensors; gradients go through those that are floats.
      given: a nest of tensors that no gradient goes through, such as examples.
    """
    leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten((learnt, given))]
    count = len(tf.nest.flatten(learnt))
    places = [place for place in range(count) if leaves[place].dtype.is_floating]

    def result(known: Sequence[Any], moving: Sequence[Any]) -> Any:
        known = list(known)
        for place, value in zip(places, moving, strict=True):
            known[place] = value
        return compute(*tf.nest.pack_sequence_as((learnt, given), known))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def there(*moving: Any) -> tuple[Any, Callable[..., Any]]:
        def back(*found: Any) -> list[Any]:
            slopes = [tf.convert_to_tensor(slope) for slope in found]
            again = _behind(slopes, leaves)
            sources = [again[place] for place in places]
            with tf.GradientTape() as tape:
                tape.watch(sources)
                results = tf.nest.flatten(result(again, sources))
            gradients = tape.gradient(results, sources, output_gradients=slopes)
            return [None if g is None else tf.convert_to_tensor(g) for g in gradients]

        return result(leaves, moving), back

    return there(*(leaves[place] for place in places))


def _behind(slopes: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The same values, but not before gradients are there.

    Otherwise the same work would be seen twice, done once and kept, or done as early as can be.
    XLA and one of TensorFlow's optimizers know no order but that of data, so each value is chosen
    by what is true of any number, and of none, but takes the gradients to know. The placeholders
    keep TensorFlow from looking through that for constants when it infers shapes, which takes
    minutes where there are many steps.
    """
    first = tf.add_n([tf.reshape(slope, [-1])[0] for slope in slopes])
    true = tf.logical_or(tf.equal(first, first), tf.not_equal(first, first))
    chosen = [tf.where(true, value, tf.zeros([], value.dtype)) for value in values]
    return [tf.raw_ops.PlaceholderWithDefault(input=x, shape=x.shape) for x in chosen]
