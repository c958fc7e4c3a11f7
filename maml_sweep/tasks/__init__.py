"""Task distributions: episodes for lanes."""

from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Split, Task
from maml_sweep.tasks.embeddings import Embeddings
from maml_sweep.tasks.glyphs import Glyphs
from maml_sweep.tasks.quadratics import Quadratics
from maml_sweep.tasks.sinusoid import Sinusoid

__all__ = [
    "Classification",
    "Embeddings",
    "Episode",
    "Examples",
    "Glyphs",
    "Quadratics",
    "Regression",
    "Sinusoid",
    "Split",
    "Task",
]
