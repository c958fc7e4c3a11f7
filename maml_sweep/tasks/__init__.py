"""Task distributions: episodes for lanes."""

from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Split, Task
from maml_sweep.tasks.glyphs import Glyphs
from maml_sweep.tasks.sinusoid import Sinusoid

__all__ = [
    "Classification",
    "Episode",
    "Examples",
    "Glyphs",
    "Regression",
    "Sinusoid",
    "Split",
    "Task",
]
