"""ResNet-12, the larger network of few-shot image classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.models import blocks, lanes
from maml_sweep.models.base import Model, Parameter, Statistics

SLOPE = 0.1  # of the leaky ReLU below zero
CONVOLUTIONS = 3  # a block


class ResNet12(Model):
    """Residual blocks of three 3x3 convolutions, then the mean over all pixels and a dense layer.

    Oreshkin et al. 2018, with the widths of Lee et al. 2019, section 4.1 (who read all pixels, not
    their mean). Each convolution has a batch norm and a leaky ReLU; before the last ReLU of a
    block its input is added through a 1x1 convolution with a norm of its own, and after it the
    image is halved by max-pooling. Initial kernels are He's by fan-out. There is no DropBlock, with
    which Lee et al. train it.

    With the usual widths it has 12.4 million parameters a lane, and one 84x84 image costs 3.5
    billion multiplications forward: for a GPU, in small packs. MAML papers mostly take conv4.

    Args:
      input_shape: (height, width, channels).
      outputs: width of the output layer.
      widths: channels of each block.
      norm: "transductive" or "support", as in `Conv4`.

    Raises:
      InputError: examples that are no images, or a wrong setting.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        widths: Sequence[int] = (64, 160, 320, 640),
        norm: str = "transductive",
    ) -> None:
        blocks.image("resnet12", input_shape)
        if not widths:
            raise InputError("model.widths=[]: expected the channels of one block or more")
        self.channels = (input_shape[2], *(positive("model.widths", width) for width in widths))
        self.support_statistics = one_of("model.norm", norm, ("transductive", "support")) == (
            "support"
        )
        self.outputs = outputs
        self.width = self.channels[-1]

    @property
    def body(self) -> Sequence[Parameter]:
        """kernel, scale, offset of each block's three convolutions and of its shortcut."""
        parameters = []
        for block, (before, after) in enumerate(pairwise(self.channels)):
            for layer in range(CONVOLUTIONS):
                inputs = after if layer else before
                name, deviation = f"block{block}/layer{layer}", math.sqrt(2 / (9 * after))
                parameters += blocks.normed_parameters(name, 3, inputs, after, deviation)
            name, deviation = f"block{block}/shortcut", math.sqrt(2 / after)
            parameters += blocks.normed_parameters(name, 1, before, after, deviation)
        return parameters

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`; norms in the order of `body`."""
        found: list[tuple[Any, Any]] = []

        def normed(x: Any) -> Any:
            index = len(found)
            given = statistics[index] if statistics else None
            part = params[3 * index : 3 * index + 3]
            y, own = blocks.normed(x, part, given, fused=not self.support_statistics)
            found.append(own)
            return y

        x = lanes.fold_lanes(x)
        for _ in self.channels[1:]:
            y = x
            for layer in range(CONVOLUTIONS):
                y = normed(y if layer == 0 else tf.nn.leaky_relu(y, SLOPE))
            x = tf.nn.leaky_relu(blocks.halved(y + normed(x)), SLOPE)
        return tf.reduce_mean(lanes.unfold_lanes(x, self.width), axis=[2, 3]), found
