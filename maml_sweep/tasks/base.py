"""What a task distribution is: episodes for lanes, a loss and a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from maml_sweep.backend import tf

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Examples(NamedTuple):
    """Labelled examples of many lanes."""

    x: Any  # float [lane, example, *input_shape]; words and ids are whole numbers in it
    y: Any  # float [lane, example, outputs] (regression) or int32 [lane, example] (classes)


class Episode(NamedTuple):
    """One task for each lane: what it may learn from and what it is asked."""

    support: Examples
    query: Examples
    classes: Any = ()  # int32 [lane, way], the class of the split behind each label; or none


# (outputs [lane, example, outputs], y) -> a mean over each lane's examples, float [lane]
Measure = Callable[[Any, Any], Any]


class Task(ABC):
    """A distribution of few-shot tasks.

    A constructor checks its arguments (raising `InputError`) and reads no TensorFlow, so that a
    sweep can be refused before anything heavy is loaded.

    Attributes:
      kind: "regression", "classification", or "" where an algorithm may presume neither.
      metric: the name of what `score` returns.
      direction: whether a small or a large score is good.
      input_shape: the shape of one example.
      outputs: the width of the model's output.
      categories: where inputs are whole numbers that stand for words or ids, how many of them
        there are: one number if all inputs share a vocabulary, else one a column of
        `input_shape` = (columns,), 0 where a column is a real number. Empty: all are real numbers.
    """

    kind: ClassVar[str] = ""
    metric: ClassVar[str]
    direction: ClassVar[Literal["minimize", "maximize"]]
    input_shape: tuple[int, ...]
    outputs: int
    categories: Sequence[int] = ()

    @abstractmethod
    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws one episode a key; a pure function of (split, key).

        Args:
          split: which meta-split the task comes from.
          keys: uint32 [lane, 2], one stream a lane.
          dtype: the float type of the examples.
        """

    @abstractmethod
    def loss(self, outputs: Any, y: Any) -> Any:
        """Mean loss over a lane's examples: [lane, example, outputs], y -> [lane]."""

    @abstractmethod
    def score(self, outputs: Any, y: Any) -> Any:
        """Mean metric over a lane's examples: [lane, example, outputs], y -> [lane]."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """Further metrics by name, reported beside `score` when a winner is judged."""
        return {}

    def groups(self, split: Split) -> Sequence[str]:
        """The classes, users or domains that a split draws from, which no other split has.

        Empty where tasks are made up as they are needed: the splits then differ in their keys.
        """
        return ()


class Regression(Task):
    """Tasks with real targets, judged by mean squared error."""

    kind = "regression"
    metric = "mse"
    direction = "minimize"

    def loss(self, outputs: Any, y: Any) -> Any:
        """Mean squared error of each lane: two float [lane, example, outputs] -> [lane]."""
        return tf.reduce_mean(tf.square(outputs - y), axis=[1, 2])

    def score(self, outputs: Any, y: Any) -> Any:
        """The same as `loss`."""
        return self.loss(outputs, y)


class Classification(Task):
    """Tasks with integer labels, trained by cross-entropy and judged by accuracy.

    Attributes:
      classes: how many classes its training split has, for those who train one classifier over
        all of them; None where classes are made up as they are needed. An episode of a task with
        a number here says in `Episode.classes` which of them its labels stand for.
    """

    kind = "classification"
    metric = "accuracy"
    direction = "maximize"
    classes: int | None = None

    def loss(self, outputs: Any, y: Any) -> Any:
        """Mean cross-entropy of softmax(outputs): [lane, example, class], int [lane, example]."""
        # Of matrices: for more axes TensorFlow adds an assertion, and functions that may fail are
        # run one behind another.
        logits, labels = tf.reshape(outputs, [-1, outputs.shape[-1]]), tf.reshape(y, [-1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(tf.reshape(losses, tf.shape(y)), axis=1)

    def score(self, outputs: Any, y: Any) -> Any:
        """Share of examples whose largest output is their label, of each lane."""
        hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=y.dtype), y)
        return tf.reduce_mean(tf.cast(hits, outputs.dtype), axis=1)
