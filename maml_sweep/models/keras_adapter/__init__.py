"""Anyone's functional Keras model over lanes (`model=keras`)."""

from maml_sweep.models.keras_adapter.model import Keras

__all__ = ["Keras"]
