"""Reviews by domain: files of Amazon reviews, and the folders of Blitzer et al.

Amazon reviews (https://amazon-reviews-2023.github.io and its forerunners of 2014 and 2018) are
records {"reviewText": text, "overall": stars, …}, or {"text": text, "rating": stars, …} in 2023, a
line each; a file is a domain, named by what stands before its first dot. Four and five stars are
positive, one and two negative; three are left out, as in Blitzer et al. 2007.

Their Multi-Domain Sentiment Dataset (https://www.cs.jhu.edu/~mdredze/datasets/sentiment/, the
processed one) has folders <domain>/{positive,negative}.review of lines
`word:count word:count … #label#:positive`. The label may be stars as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import records, roots, words
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.corpus import Builder, Corpus
from maml_sweep.tasks.reading.roots import File
from maml_sweep.tasks.reading.splits import dealt

EXPECTED = (
    "expected files of Amazon reviews, one a domain (.jsonl or .json, each also .gz; "
    "https://amazon-reviews-2023.github.io), or folders <domain>/{positive,negative}.review of the "
    "processed files at https://www.cs.jhu.edu/~mdredze/datasets/sentiment/"
)
TEXT, STARS = ("reviewText", "text"), ("overall", "rating")
POLARITIES = ("negative", "positive")  # labels 0 and 1
SUFFIX = ".review"

Review = tuple[list[str], int | None]  # words; polarity, or None for what is between the two


class Domain(NamedTuple):
    """Where a domain's reviews are."""

    name: str
    files: tuple[File, ...]


def find(root: str | None) -> tuple[Domain, ...]:
    """The domains of a root, by name.

    Raises:
      InputError: none, one without positive or negative reviews, or two of one name.
    """
    folder = roots.folder(root, EXPECTED)
    entries = sorted(folder.iterdir())
    found = [_folder(each) for each in entries if each.is_dir() and [*each.glob(f"*{SUFFIX}")]]
    found += [
        Domain(records.stem(each), (roots.stamped(each),))
        for each in entries
        if each.is_file() and records.kind(each) in (".jsonl", ".json")
    ]
    if not found:
        raise roots.lacking(folder, "reviews", EXPECTED)
    names = [domain.name for domain in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"task.root={root}: two files of domain '{twice}'; remove one of them")
    return tuple(sorted(found))


def _folder(path: Path) -> Domain:
    files = [path / f"{polarity}{SUFFIX}" for polarity in POLARITIES]
    for file in files:
        if not file.is_file():
            raise roots.lacking(path, file.name, EXPECTED)
    return Domain(path.name, tuple(map(roots.stamped, files)))


def parts(
    names: Sequence[str], domains: Mapping[str, Sequence[str]] | None, shares: Sequence[float]
) -> dict[Split, list[str]]:
    """The domains of each split.

    Args:
      names: of all domains.
      domains: `task.domains`: the names of each split; None: by hash.
      shares: `task.shares`, where they are dealt.

    Raises:
      InputError: splits or domains that there are not, or one in two splits.
    """
    if domains is None:
        return dealt(names, shares)
    if sorted(domains) != sorted(SPLITS) or not all(domains.values()):
        raise InputError(
            f"task.domains={dict(domains)}: expected names of domains for each of "
            f"{', '.join(SPLITS)}"
        )
    listed = [name for split in SPLITS for name in domains[split]]
    for name in listed:
        if name not in names:
            raise InputError(
                f"task.domains: there is no domain '{name}'; there are {', '.join(names)}"
            )
        if listed.count(name) > 1:
            raise InputError(f"task.domains: '{name}' is named twice; a domain is of one split")
    return {split: sorted(domains[split]) for split in SPLITS}


@functools.cache
def read(domains: tuple[Domain, ...], limit: int, bad_records: str) -> Corpus:
    """Reads the domains; group 2 d is the negative reviews of the d-th, 2 d + 1 the positive.

    Args:
      domains: as `find` has them.
      limit: reviews kept of each polarity of a domain: the first in the file, of which no more
        than needed is read.
      bad_records: `task.bad_records`.

    Raises:
      InputError: a file cannot be read, or bad records are to be refused.
    """
    builder = Builder()
    for number, domain in enumerate(domains):
        kept = [0, 0]  # negative, positive
        for file in domain.files:
            bad, good = BadRecords(str(file.path), bad_records), 0
            with closing(_reviews(file.path, bad)) as reviews:
                for tokens, polarity in reviews:
                    good += 1
                    if polarity is not None and kept[polarity] < limit:
                        kept[polarity] += 1
                        builder.add(tokens, 2 * number + polarity)
                    if min(kept) >= limit:
                        break
            bad.settle(good + bad.count)
    return builder.corpus([f"{each.name} {side}" for each in domains for side in POLARITIES])


def _reviews(path: Path, bad: BadRecords) -> Generator[Review]:
    """A file's reviews, of either layout."""
    if path.suffix != SUFFIX:
        for record in records.records(path, bad):
            yield from _accepted(_amazon, record.values, record.where, bad)
        return
    with records.opened(path) as file:
        for where, line in records.lines(path, file):
            yield from _accepted(_processed, line, where, bad)


def _accepted(
    parse: Callable[[Any], Review], record: Any, where: str, bad: BadRecords
) -> Iterator[Review]:
    """A review, if it is one."""
    try:
        review = parse(record)
        if not review[0]:
            raise ValueError("no words")
    except ValueError as error:
        bad.add(where, str(error))
    else:
        yield review


def _amazon(values: Mapping[str, Any]) -> Review:
    """A record's review.

    Raises:
      ValueError: what is wrong with it.
    """
    text, stars = (
        next((values[name] for name in names if name in values), None) for names in (TEXT, STARS)
    )
    if not isinstance(text, str):
        raise ValueError(f"no {' or '.join(TEXT)}, but {', '.join(map(str, [*values][:6]))}")
    return words.split(text), _polarity(stars)


def _processed(line: bytes) -> Review:
    """A processed line's review; a word stands there as often as it was counted.

    Raises:
      ValueError: what is wrong with it.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    *counted, (mark, label) = [part.rpartition(":")[::2] for part in text.split()]
    if mark != "#label#":
        raise ValueError("it does not end in #label#:…")
    if not all(word and count.isdecimal() for word, count in counted):
        raise ValueError("not words as word:count")
    repeated = [word for word, count in counted for _ in range(int(count))]
    return repeated, POLARITIES.index(label) if label in POLARITIES else _polarity(label)


def _polarity(stars: Any) -> int | None:
    """0 for one and two stars, 1 for four and five, None for three."""
    try:
        number = float(stars)
    except (TypeError, ValueError):
        number = 0.0
    if not 1 <= number <= 5 or isinstance(stars, bool):
        raise ValueError(f"its stars are {stars!r:.40}, not 1 to 5")
    return None if number == 3 else int(number > 3)
