"""What a worker needs, TensorFlow with it, loaded as soon as this is imported.

For a process that workers are forked from: they find it there, and share its memory.
"""

from maml_sweep.backend import tf
from maml_sweep.search import worker

__all__ = ["worker"]

tf.__version__  # noqa: B018  (the first attribute read is what loads it)
