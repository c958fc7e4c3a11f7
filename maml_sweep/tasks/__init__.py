"""Task distributions: episodes for lanes."""

from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Split, Task
from maml_sweep.tasks.boxes import Boxes
from maml_sweep.tasks.cifar_fs import CifarFS
from maml_sweep.tasks.embeddings import Embeddings
from maml_sweep.tasks.glyphs import Glyphs
from maml_sweep.tasks.image_folder import ImageFolder
from maml_sweep.tasks.mini_imagenet import MiniImageNet
from maml_sweep.tasks.omniglot import Omniglot
from maml_sweep.tasks.quadratics import Quadratics
from maml_sweep.tasks.ratings import Ratings
from maml_sweep.tasks.sentiment import Sentiment
from maml_sweep.tasks.sinusoid import Sinusoid
from maml_sweep.tasks.tabular import TabularClasses, TabularValues
from maml_sweep.tasks.text import Text

__all__ = [
    "Boxes",
    "CifarFS",
    "Classification",
    "Embeddings",
    "Episode",
    "Examples",
    "Glyphs",
    "ImageFolder",
    "MiniImageNet",
    "Omniglot",
    "Quadratics",
    "Ratings",
    "Regression",
    "Sentiment",
    "Sinusoid",
    "Split",
    "TabularClasses",
    "TabularValues",
    "Task",
    "Text",
]
