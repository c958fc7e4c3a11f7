"""Topics and intents of short texts: N-way K-shot, made up or from files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from maml_sweep.checks import one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.tasks import bags
from maml_sweep.tasks.base import SPLITS, Classification, Episode, Split
from maml_sweep.tasks.draws import FewShot
from maml_sweep.tasks.made import topics
from maml_sweep.tasks.reading import text_files
from maml_sweep.tasks.reading.corpus import FEATURES, KNOWN, Layout, Tables, tables
from maml_sweep.tasks.reading.splits import SHARES
from maml_sweep.tasks.reading.text_files import Source
from maml_sweep.tasks.resident import resident

Parts = tuple[tuple[Split, tuple[str, ...]], ...]  # hashable: what a cache goes by


class Text(Classification):
    """Tell `ways` classes of one split apart from `shots` texts of each; see `FewShot`.

    Without a root, texts of made-up topics (see `made.topics`), whose best possible answer is
    known. With one, the files described in `reading.text_files`.

    A text is cut into words (see `reading.words`, also for how that relates to Keras's
    TextVectorization) and to `length` of them, once; what waits on the device is one int32 a word,
    two where pairs count. The vocabulary is that of the training classes.

    Args:
      ways: classes a task (the papers' N).
      shots: support texts a class (their K).
      queries: query texts a class.
      root: a file or a folder; None: made-up topics.
      features: "counts": how often each word of the vocabulary is there, as numbers [vocabulary];
        "ngrams": words (and, by `ngram`, pairs of neighbours) hashed into `vocabulary` buckets and
        counted, scaled to length one (Weinberger et al. 2009); "tokens": the words' numbers in
        their order [length], 0 behind the last, 1 for an unknown word, 2 … for words by falling
        frequency, for models that have embeddings.
      vocabulary: how many words are known, or buckets.
      length: words of a text that count.
      ngram: of features "ngrams": words of the longest, 1 or 2.
      text: names of the columns of a text, which are joined; None: `text` or `headline`.
      label: name of the column of its class; None: `label` or `category`.
      split: "auto": by files train, val, test or by a column `split`, if there are such, else as
        "dealt": by hash of the classes' names; or a published split of `reading.published`, such
        as "huffpost".
      shares: of the classes dealt to train, validation and test.
      bad_records: "refuse" records that cannot be read, or "skip" them.

    Raises:
      InputError: no such files, records that cannot be read, a setting out of range, more ways
        than a split has classes, or more examples than one of the classes has.
    """

    def __init__(
        self,
        ways: int,
        shots: int,
        queries: int,
        root: str | None = None,
        features: str = "counts",
        vocabulary: int = 1000,
        length: int = 20,
        ngram: int = 2,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        split: str = "auto",
        shares: Sequence[float] = SHARES,
        bad_records: str = "refuse",
    ) -> None:
        self.layout = layout(features, vocabulary, length, ngram)
        self.source = None
        if root is None:
            no_files({"text": text, "label": label, "split": None if split == "auto" else split})
        else:
            columns = (text,) if isinstance(text, str) else tuple(text or ())
            files = text_files.find(root, one_of("task.split", split, text_files.WAYS))
            self.source = Source(files, columns, label, split == "auto", bad_records)
        self.parts = _parts(self.source, split, shares)
        laid = _tables(self.source, self.parts, self.layout)
        self.few_shot = FewShot(str(root or "made-up topics"), laid.sizes, ways, shots, queries)
        self.width = laid.width
        self.input_shape, self.categories = interface(self.layout, laid.width)
        self.outputs, self.classes = ways, len(laid.sizes["train"])

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws distinct classes, and distinct texts of each, for every key."""
        rows = _resident(self.source, self.parts, self.layout, split)
        drawn = self.few_shot.episode(split, rows, keys, dtype)
        support, query = (
            part._replace(x=bags.seen(part.x, self.layout.features, self.width, dtype))
            for part in (drawn.support, drawn.query)
        )
        return drawn._replace(support=support, query=query)

    def groups(self, split: Split) -> Sequence[str]:
        """The names of the classes."""
        return dict(self.parts)[split]


def no_files(settings: Mapping[str, Any]) -> None:
    """Refuses settings that say how files are read where there are none."""
    for name, value in settings.items():
        if value is not None:
            raise InputError(
                f"task.{name}={value}: only files have it, and task.root=null; name them by "
                "task.root, or leave it out"
            )


def layout(features: str, vocabulary: int, length: int, ngram: int) -> Layout:
    """The settings of how texts are laid out, checked."""
    one_of("task.features", features, FEATURES)
    if positive("task.ngram", ngram) > 2:
        raise InputError(f"task.ngram={ngram}: expected 1 (words) or 2 (and pairs of neighbours)")
    positive("task.length", length)
    longest = min(ngram, length) if features == "ngrams" else 1
    return Layout(features, positive("task.vocabulary", vocabulary), length, longest)


def interface(chosen: Layout, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`input_shape` and `categories` of texts laid out so, in which there are `width` words."""
    if chosen.features == "tokens":
        return (chosen.length,), (width + KNOWN,)
    return (width,), ()


def _parts(source: Source | None, split: str, shares: Sequence[float]) -> Parts:
    """The classes of each split."""
    found: Mapping[Split, Sequence[str]]
    if source is None:
        found = {each: topics.names(each) for each in SPLITS}
    else:
        found = text_files.parts(text_files.read(source), split, shares)
    return tuple((each, tuple(found[each])) for each in SPLITS)


@functools.cache
def _tables(source: Source | None, parts: Parts, chosen: Layout) -> Tables:
    """Every split's rows."""
    corpus = topics.corpus() if source is None else text_files.read(source).corpus
    number = {name: index for index, name in enumerate(corpus.names)}
    groups = {split: [number[name] for name in names] for split, names in parts}
    return tables(corpus, groups, chosen)


@functools.cache
def _resident(source: Source | None, parts: Parts, chosen: Layout, split: Split) -> Any:
    """A split's rows on the device: int32 [text, slot], class after class."""
    return resident(_tables(source, parts, chosen).rows[split])
