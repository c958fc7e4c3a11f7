"""Files of texts, each with the name of its class.

Read are JSON lines and CSV (see `records`), plain or gzipped: one file; a folder of `train`, `val`
(or `valid`, `validation`, `dev`) and `test`, whose classes must differ; or a folder of files that
are read as one. Known by their columns are

- HuffPost and the other files of Bao et al. 2020: {"text": [words], "label": integer}; the words
  are taken as they are;
- the News Category Dataset (R. Misra, arXiv 2209.11429): `headline`, `category`, …;
- any other by `task.text` and `task.label`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maml_sweep.checks import one_of
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import published, records, roots, words
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.corpus import Builder, Corpus
from maml_sweep.tasks.reading.roots import File
from maml_sweep.tasks.reading.splits import dealt

EXPECTED = (
    "expected a file of texts and classes (.jsonl, .json of one record a line, .csv or .tsv, each "
    "also .gz) or a folder of such, for instance huffpost.json of "
    "https://github.com/YujiaBao/Distributional-Signatures or News_Category_Dataset_v3.json of "
    "https://www.kaggle.com/datasets/rmisra/news-category-dataset"
)
TEXT, LABEL, SPLIT = ("text", "headline"), ("label", "category"), "split"
NAMES: dict[str, Split] = {
    "train": "train",
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    "test": "test",
}
WAYS = ("auto", "dealt", *published.BAO)


class Source(NamedTuple):
    """What is to be read, and how."""

    files: tuple[tuple[File, Split | None], ...]
    text: tuple[str, ...] = ()  # columns, joined by a space; empty: the first of `TEXT` there is
    label: str | None = None  # a column; None: the first of `LABEL` there is
    split: bool = True  # whether a column `split` has a say
    bad: str = "refuse"  # task.bad_records


class Texts(NamedTuple):
    """What was read."""

    corpus: Corpus  # groups are classes
    given: Mapping[str, Split]  # the split of each class, where the files say so; else empty


def find(root: str | None, how: str = "auto") -> tuple[tuple[File, Split | None], ...]:
    """The files of a root, and the split each is of where its name says so.

    Args:
      root: `task.root`.
      how: `task.split`; names have a say where it is "auto".

    Raises:
      InputError: none, or one or two of train, val and test.
    """
    path = Path(root).expanduser().absolute() if root is not None else None
    if path is None or not path.is_file():
        folder = roots.folder(root, EXPECTED)
        paths = sorted(each for each in folder.iterdir() if each.is_file() and records.kind(each))
    else:
        folder, paths = path.parent, [path] if records.kind(path) else []
    if not paths:
        raise roots.lacking(folder, "such file", EXPECTED)
    split = {each: NAMES.get(records.stem(each).lower()) for each in paths}
    if how != "auto" or len(paths) == 1 or not any(split.values()):
        return tuple((roots.stamped(each), None) for each in paths)
    for wanted in SPLITS:
        if wanted not in split.values():
            short = "val" if wanted == "validation" else wanted
            raise roots.lacking(folder, f"{short} file beside the others", EXPECTED)
    return tuple((roots.stamped(each), split[each]) for each in paths if split[each])


def parts(texts: Texts, how: str, shares: Sequence[float]) -> dict[Split, list[str]]:
    """The classes of each split.

    Args:
      texts: what was read.
      how: `task.split`: "auto" (as the files say, else by hash), "dealt" (by hash), or a name of
        `published.BAO`.
      shares: `task.shares`, where they are dealt.

    Raises:
      InputError: too few classes, or classes that do not fit `how`.
    """
    one_of("task.split", how, WAYS)
    if how in published.BAO:
        return published.assigned(how, texts.corpus.names)
    if how == "dealt" or not texts.given:
        return dealt(texts.corpus.names, shares)
    given = texts.given.items()
    return {split: sorted(name for name, own in given if own == split) for split in SPLITS}


@functools.cache
def read(source: Source) -> Texts:
    """Reads all texts.

    Raises:
      InputError: a file cannot be read, some of its records are bad and to be refused, or a class
        is in two splits.
    """
    builder, names = Builder(), dict[str, int]()
    seen: dict[str, set[Split | None]] = {}
    for file, split in source.files:
        bad, good = BadRecords(str(file.path), source.bad), 0
        for record in records.records(file.path, bad):
            try:
                tokens, label, own = _parsed(record.values, source)
            except ValueError as error:
                bad.add(record.where, str(error))
                continue
            good += 1
            builder.add(tokens, names.setdefault(label, len(names)))
            seen.setdefault(label, set()).add(split or own)
        if not good and not bad.count:
            raise InputError(f"{file.path}: has no records; {EXPECTED}")
        bad.settle(good + bad.count)
    return Texts(builder.corpus(tuple(names)), _given(seen))


def _given(seen: Mapping[str, set[Split | None]]) -> dict[str, Split]:
    """The split of each class, from all that its texts are said to be of."""
    if not any(splits - {None} for splits in seen.values()):
        return {}
    given: dict[str, Split] = {}
    for name, splits in sorted(seen.items()):
        if len(splits) > 1:
            listed = ", ".join(sorted(split or "none" for split in splits))
            raise InputError(
                f"task.root: class '{name}' is in several splits ({listed}), but a meta-split has "
                "classes of its own; put the texts into one file without a split and let "
                "task.split=dealt share out the classes"
            )
        (split,) = splits
        if split:
            given[name] = split
    return given


def _parsed(values: Mapping[str, Any], source: Source) -> tuple[list[str], str, Split | None]:
    """A record's words, class and split.

    Raises:
      ValueError: what is wrong with it.
    """
    columns = source.text or (_column(values, TEXT),)
    tokens = [word for column in columns for word in _words(values, column)]
    if not tokens:
        raise ValueError("no words")
    label = _cell(values, source.label or _column(values, LABEL))
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise ValueError(f"its class is {label!r:.40}")
    own = _split(values.get(SPLIT)) if source.split else None
    return tokens, str(label).strip(), own


def _column(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """The first of `names` that there is."""
    return next((name for name in names if name in values), " or ".join(names))


def _cell(values: Mapping[str, Any], column: str) -> Any:
    if column not in values:
        raise ValueError(f"no {column}, but {', '.join(map(str, [*values][:6])) or 'nothing'}")
    return values[column]


def _words(values: Mapping[str, Any], column: str) -> list[str]:
    """A text's words, or a list of them as it is."""
    text = _cell(values, column)
    if isinstance(text, list) and all(isinstance(word, str) for word in text):
        return text
    if not isinstance(text, str):
        raise ValueError(f"its {column} is {type(text).__name__}, not text")
    return words.split(text)


def _split(name: Any) -> Split | None:
    if name in (None, ""):
        return None
    if str(name).lower() not in NAMES:
        raise ValueError(f"its split is {name!r:.40}")
    return NAMES[str(name).lower()]
