"""What flows between layers: the examples of all lanes, in the layout that the next one wants."""

from __future__ import annotations

from typing import Any

from maml_sweep.backend import tf


class Value:
    """A tensor of every lane in one of two layouts; the other is made when asked for.

    Args:
      apart: [lane, example, *shape, channel], or None.
      mixed: [example, *shape, lane * channel], as grouped convolutions want it, or None.
      channels: of the last axis, which must be given with `mixed`.
    """

    def __init__(self, apart: Any = None, mixed: Any = None, channels: int | None = None) -> None:
        self._apart, self._mixed = apart, mixed
        self.channels: int | None = channels if apart is None else apart.shape[-1]

    @property
    def is_mixed(self) -> bool:
        """Whether it is at hand with lanes and channels in one axis."""
        return self._mixed is not None

    @property
    def rank(self) -> int:
        """Axes of the Keras tensor that it stands for: example and what an example has."""
        known = self._apart if self._mixed is None else self._mixed
        return len(known.shape) - (self._mixed is None)

    @property
    def apart(self) -> Any:
        """[lane, example, ...]."""
        if self._apart is None:
            *outer, _ = sizes(self._mixed)
            split = tf.reshape(self._mixed, [*outer, -1, self.channels])
            self._apart = tf.transpose(split, [len(outer), *range(len(outer)), len(outer) + 1])
        return self._apart

    @property
    def mixed(self) -> Any:
        """[example, ..., lane * channel]."""
        if self._mixed is None:
            axes = len(self._apart.shape)
            turned = tf.transpose(self._apart, [*range(1, axes - 1), 0, axes - 1])
            *outer, lanes, channels = sizes(turned)
            self._mixed = tf.reshape(turned, [*outer, lanes * channels])
        return self._mixed


def sizes(x: Any) -> list[Any]:
    """The extents of a tensor, each a number where it is known before the program runs."""
    found = tf.shape(x)
    return [found[axis] if size is None else size for axis, size in enumerate(x.shape)]


def folded(x: Any) -> Any:
    """[lane, example, *shape] -> [lane * example, *shape]."""
    lanes, examples, *shape = sizes(x)
    return tf.reshape(x, [lanes * examples, *shape])


def unfolded(x: Any, lanes: Any) -> Any:
    """The inverse of `folded`."""
    examples, *shape = sizes(x)
    return tf.reshape(x, [lanes, examples // lanes, *shape])
