"""Task distributions: episodes for lanes."""

from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Split, Task
from maml_sweep.tasks.sinusoid import Sinusoid

__all__ = ["Classification", "Episode", "Examples", "Regression", "Sinusoid", "Split", "Task"]
