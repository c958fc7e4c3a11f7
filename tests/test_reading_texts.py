"""Files of texts: records, layouts, splits, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import text_files

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import published, records
from maml_sweep.tasks.reading import text_files as reading
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.text_files import Source, Texts


def read(root: Path, **options: Any) -> Texts:
    """Everything in a file or folder."""
    return reading.read(Source(reading.find(str(root)), **options))


def texts(found: Texts) -> list[tuple[str, str]]:
    """Words and class of each text, in the order of the files."""
    corpus = found.corpus
    cut = zip(corpus.starts, corpus.starts[1:], strict=False)
    spelt = [" ".join(corpus.words[number] for number in corpus.flat[a:b]) for a, b in cut]
    return [(text, corpus.names[group]) for text, group in zip(spelt, corpus.groups, strict=True)]


# -- files ---------------------------------------------------------------------------------------


def test_huffpost_as_bao_prepared_it(tmp_path: Path) -> None:
    """Words are taken as they are; labels 0-19, 20-24 and 25-40 are the splits."""
    path = text_files.write_lines(
        tmp_path / "huffpost.json", ['{"text": ["Don\'t", "!", "go"], "label": 40}', " "]
    )
    assert texts(read(path)) == [("Don't ! go", "40")]
    found = read(text_files.write_huffpost(tmp_path, texts=2))
    parts = reading.parts(found, "huffpost", (0.64, 0.16, 0.2))
    assert [parts[split] for split in ("train", "validation", "test")] == [
        [str(label) for label in labels] for labels in (range(20), range(20, 25), range(25, 41))
    ]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("huffpost", (20, 5, 16)),
        ("newsgroups", (8, 5, 7)),
        ("amazon", (10, 5, 9)),
        ("reuters", (15, 5, 11)),
        ("fewrel", (65, 5, 10)),
    ],
)
def test_published_splits_have_the_papers_sizes(name: str, sizes: tuple[int, ...]) -> None:
    count = published.BAO[name].classes
    parts = published.assigned(name, [str(label) for label in range(count)])
    assert tuple(len(parts[split]) for split in ("train", "validation", "test")) == sizes
    assert len({label for labels in parts.values() for label in labels}) == sum(sizes) == count
    with pytest.raises(
        InputError, match=f"task.split={name}: expected the labels 0 to {count - 1}"
    ):
        published.assigned(name, ["0", "1", "x"])


def test_news_by_category(tmp_path: Path) -> None:
    """By itself the headline is the text; columns may be named, and are joined."""
    path = text_files.write_news(tmp_path)
    text, label = texts(read(path))[0]
    assert text.startswith("c0 n0 ") and label == "KIND 0" and "about" not in text
    both = texts(read(path, text=("short_description", "headline")))[0][0]
    assert both.startswith("about c0 c0 n0 ")


def test_csv_with_all_that_may_be_in_it(tmp_path: Path) -> None:
    """A byte order mark; quotes, commas and line breaks in quotes; blank lines, other letters."""
    content = '\ufefflabel , text\r\na,"one, ""two""\r\nthree"\r\n\r\nb,Größe 漢字\r\n"c","four"'
    path = tmp_path / "texts.csv"
    path.write_bytes(content.encode())
    wanted = [("one two three", "a"), ("größe 漢字", "b"), ("four", "c")]
    assert texts(read(path)) == wanted
    (tmp_path / "more.tsv.gz").write_bytes(gzip.compress(b"text\tlabel\nx, y\td\n"))
    assert texts(read(tmp_path)) == [("x y", "d"), *wanted]


def test_loose_lines_and_blank_ones(tmp_path: Path) -> None:
    r"""A line may be Python's text of a dict; '\d' in it is no escape and no warning."""
    lines = [
        "",
        "{'text': \"It's \\d\", 'label': 'x'}",
        "   ",
        json.dumps({"text": "é", "label": 3}),
    ]
    path = text_files.write_lines(tmp_path / "a.jsonl.gz", ["\ufeff" + lines[1], *lines])
    assert texts(read(path)) == [("its d", "x"), ("its d", "x"), ("é", "3")]


BAD = [
    ('{"text": "a", "label": "x"', "not a record {…} of JSON"),
    ("[1, 2]", "not a record {…} of JSON"),
    ("__import__('os').system('true')", "not a record {…} of JSON"),
    ('{"title": "a", "label": "x"}', "no text or headline, but title, label"),
    ('{"text": "a"}', "no label or category, but text"),
    ('{"text": "...", "label": "x"}', "no words"),
    ('{"text": 3, "label": "x"}', "its text is int, not text"),
    ('{"text": "a", "label": null}', "its class is None"),
    ('{"text": "a", "label": "x", "split": "half"}', "its split is 'half'"),
]


@pytest.mark.parametrize(("line", "why"), BAD)
def test_a_bad_line_is_named(line: str, why: str, tmp_path: Path) -> None:
    path = text_files.write_lines(tmp_path / "a.jsonl", ['{"text": "a", "label": "x"}', "", line])
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: 1 of 2 records cannot be read: a.jsonl:3 ({why}); mend them, or leave them out "
        "by task.bad_records=skip"
    )


def test_bad_lines_are_left_out_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\none,x\ntwo\nthr\xe9e,x\nfour,y,z\n,x\nfive,y\n")
    with caplog.at_level(logging.WARNING):
        assert texts(read(path, bad="skip")) == [("one", "x"), ("five", "y")]
    (message,) = caplog.messages
    assert message == (
        f"{path}: 4 of 6 records cannot be read: a.csv:3 (1 columns where 2 are named), "
        "a.csv:4 (not UTF-8), a.csv:5 (3 columns where 2 are named), …; they are left out"
    )


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a", "label": 1}\n{"text": "\xff", "label": 1}\n')
    with pytest.raises(InputError, match=r"a.jsonl:2 \(not UTF-8\)"):
        read(path)


def test_a_file_that_cannot_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": 1}\n' * 100)[:-20])
    with pytest.raises(InputError, match=r"a.jsonl.gz: cannot be read \(.*\)$"):
        read(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=f"{name}: has no records; expected a file of texts"):
            read(tmp_path / name)


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path) -> None:
    path = text_files.write_lines(tmp_path / "a.jsonl", ['{"text": "a", "label": "x"}'])
    first = read(path)
    assert read(path) is first
    text_files.write_lines(path, ['{"text": "bb", "label": "x"}'])
    assert texts(read(path)) == [("bb", "x")]


# -- splits --------------------------------------------------------------------------------------


def test_files_say_which_split_a_class_is_of(tmp_path: Path) -> None:
    found = read(text_files.write_csv(tmp_path), text=("utterance",), label="intent")
    wanted = {
        "train": [f"intent {n}" for n in range(4)],
        "validation": [f"intent {n}" for n in range(4, 7)],
        "test": [f"intent {n}" for n in range(7, 10)],
    }
    assert reading.parts(found, "auto", (0.64, 0.16, 0.2)) == wanted
    dealt = reading.parts(found, "dealt", (0.64, 0.16, 0.2))
    assert dealt != wanted and sum(map(len, dealt.values())) == 10
    (tmp_path / "test.csv").unlink()
    with pytest.raises(InputError, match=r"has no test file beside the others, but train.csv, val"):
        read(tmp_path)
    assert len(reading.find(str(tmp_path), "dealt")) == 2


def test_a_column_says_which_split_a_class_is_of(tmp_path: Path) -> None:
    rows = ["text,label,split", "a,x,train", "b,y,Validation", "c,z,test", "d,x,train"]
    path = text_files.write_lines(tmp_path / "a.csv", rows)
    parts = reading.parts(read(path), "auto", (0.64, 0.16, 0.2))
    assert parts == {"train": ["x"], "validation": ["y"], "test": ["z"]}
    assert not read(path, split=False).given
    text_files.write_lines(path, [*rows, "e,x,test", "f,x,"])
    with pytest.raises(InputError, match=r"class 'x' is in several splits \(none, test, train\)"):
        read(path)


def test_missing_files_are_described(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^task.root=null: expected a file of texts and classes"):
        reading.find(None)
    with pytest.raises(InputError, match=r"there is no such folder; expected .*huffpost.json"):
        reading.find(str(tmp_path / "absent"))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"has no such file, but notes.txt; expected .*kaggle"):
        reading.find(str(tmp_path))
    with pytest.raises(InputError, match=r"has no such file, but notes.txt; expected"):
        reading.find(str(tmp_path / "notes.txt"))
    one = text_files.write_lines(tmp_path / "train.jsonl", ['{"text": "a", "label": "x"}'])
    assert [split for _, split in reading.find(str(tmp_path))] == [None]
    assert [file.path for file, _ in reading.find(str(one))] == [one.resolve()]


def test_records_of_a_long_cell(tmp_path: Path) -> None:
    """Python's csv alone stops at 131,072 characters."""
    path = text_files.write_lines(tmp_path / "a.csv", ["text", "x" * 200_000])
    (record,) = records.records(path, BadRecords("a", "refuse"))
    assert record.where == "a.csv:2" and len(record.values["text"]) == 200_000
