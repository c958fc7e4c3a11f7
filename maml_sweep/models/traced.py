"""Any model, told what kind of program it is traced for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.models import lanes
from maml_sweep.models.base import Model, Parameter, Statistics
from maml_sweep.models.lanes import Tracing


class Traced(Model):
    """A model whose layers heed the program they are part of.

    In mixed precision, dense layers and convolutions multiply in another float type. Parameters,
    norms, activations, losses and updates stay in their own (Keras's policy of the same name rounds
    the activations as well). What a model computes by other means than `models.lanes` is left as
    it is.

    Args:
      model: whose parameters and features these are.
      program: what its layers must know.
    """

    def __init__(self, model: Model, program: Tracing) -> None:
        self.model, self.program = model, program
        self.outputs, self.support_statistics = model.outputs, model.support_statistics

    @property
    def known(self) -> bool:
        """See `Model.known`."""
        return self.model.known

    def load(self) -> None:
        """See `Model.load`."""
        self.model.load()

    @property
    def width(self) -> int:  # type: ignore[override]  # the model may know it late, or not at all
        """See `Model.width`."""
        return self.model.width

    @property
    def body(self) -> Sequence[Parameter]:
        """See `Model.body`."""
        return self.model.body

    @property
    def head(self) -> Sequence[Parameter]:
        """See `Model.head`."""
        return self.model.head

    @property
    def parameters(self) -> Sequence[Parameter]:
        """See `Model.parameters`."""
        return self.model.parameters

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`."""
        with lanes.traced_for(self.program):
            return self.model.features(params, x, statistics)

    def apply(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.apply`."""
        with lanes.traced_for(self.program):
            return self.model.apply(params, x, statistics)

    def init(self, keys: Any, dtype: Any) -> list[Any]:
        """See `Model.init`."""
        return self.model.init(keys, dtype)
