"""What a worker needs, TensorFlow with it, loaded as soon as this is imported.

For a process that workers are forked from: they find it there, and share its memory. Where there
are GPUs each of them loads TensorFlow itself: CUDA must not be at work before a fork, and no GPU
has shown yet that loading leaves it alone.
"""

from contextlib import suppress

from maml_sweep.backend import tf
from maml_sweep.search import place, worker

__all__ = ["worker"]

if not place.visible():
    with suppress(Exception):  # a worker that cannot load it will say why
        tf.__version__  # noqa: B018  (the first attribute read is what loads it)
