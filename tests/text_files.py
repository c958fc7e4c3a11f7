"""Small files of texts and of reviews in the layouts in which they are published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

EXTRA = ["on", "the", "of", "day", "new", "what", "says", "to", "how", "why"]


def headlines(label: int, count: int) -> list[list[str]]:
    """Different texts of a class, words of its own among them."""
    random = np.random.default_rng(label)
    return [
        [f"c{label}", f"n{number}", *random.choice(EXTRA, 5 + number % 3).tolist()]
        for number in range(count)
    ]


def write_lines(path: Path, lines: Sequence[str], backwards: bool = False) -> Path:
    """Writes lines, in reverse order if asked, gzipped if the name says so."""
    content = "".join(f"{line}\n" for line in (reversed(lines) if backwards else lines)).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_huffpost(folder: Path, backwards: bool = False, texts: int = 6) -> Path:
    """As Bao et al. 2020 prepared it: words, and 41 classes by number."""
    lines = [
        json.dumps({"text": text, "label": label})
        for label in range(41)
        for text in headlines(label, texts)
    ]
    return write_lines(folder / "huffpost.json", lines, backwards)


def write_news(folder: Path, backwards: bool = False) -> Path:
    """As the News Category Dataset, version 3: 20 categories of 6 headlines each."""
    lines = [
        json.dumps(
            {
                "link": f"https://www.huffpost.com/entry/{number}",
                "headline": " ".join(text).title() + "!",
                "category": f"KIND {label}",
                "short_description": f"About {text[0]}.",
                "authors": "",
                "date": "2022-09-23",
            }
        )
        for label in range(20)
        for number, text in enumerate(headlines(label, 6))
    ]
    return write_lines(folder / "News_Category_Dataset_v3.json", lines, backwards)


def write_csv(folder: Path, backwards: bool = False) -> Path:
    """Files train, val and test of intents: 4, 3 and 3 classes of 5 utterances each."""
    label = 0
    for name, classes in (("train", 4), ("val", 3), ("test", 3)):
        lines = [
            f'intent {each},"{" ".join(text)}, ""please"""'
            for each in range(label, label + classes)
            for text in headlines(each, 5)
        ]
        write_lines(folder / f"{name}.csv", ["intent,utterance", *lines[:: -1 if backwards else 1]])
        label += classes
    return folder


def write_amazon(folder: Path, backwards: bool = False, domains: int = 6) -> Path:
    """Reviews of six domains: JSON and loose lines, of 2018 and of 2023, plain and gzipped."""
    for domain in range(domains):
        reviews = []
        for number, words in enumerate(headlines(domain, 15)):
            text, stars = f"It's {' '.join(words)}...", 1 + number % 5
            old = {"reviewerID": "A", "asin": "B0", "reviewText": text, "overall": float(stars)}
            new = {"rating": float(stars), "title": "T", "text": text, "asin": "B0"}
            reviews.append(repr(old) if domain % 3 == 0 else json.dumps([old, new][domain % 2]))
        name = f"Domain_{domain}" + (".json.gz" if domain % 2 else ".jsonl")
        write_lines(folder / name, reviews, backwards)
    return folder


def write_blitzer(folder: Path, backwards: bool = False) -> Path:
    """The processed reviews of five domains, six of each polarity."""
    for domain in range(5):
        for polarity in ("negative", "positive"):
            path = folder / f"domain{domain}" / f"{polarity}.review"
            path.parent.mkdir(exist_ok=True)
            texts = headlines(10 * domain + (polarity == "positive"), 6)
            lines = [
                " ".join([*(f"{word}:1" for word in dict.fromkeys(text)), f"very_{polarity}:2"])
                + f" #label#:{polarity}"
                for text in texts
            ]
            write_lines(path, lines, backwards)
    return folder
