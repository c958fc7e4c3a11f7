"""A report read back: its elements, texts and JSON, by the standard library's parser."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "input", "img", "hr"}


@dataclass
class Element:
    """An element, its text and what it holds."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text within, scripts and styles left out."""
        if self.tag in {"script", "style"}:
            return ""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join("".join(parts).split())

    @property
    def source(self) -> str:
        """The text that lies directly within."""
        return "".join(child for child in self.children if isinstance(child, str))

    def all(self, tag: str) -> list[Element]:
        """The elements of a kind within, in their order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] * (child.tag == tag) + child.all(tag)
        return found

    def by_id(self, name: str) -> Element:
        """The only element of that id."""
        (found,) = self._having("id", name)
        return found

    def _having(self, key: str, value: str) -> list[Element]:
        found = [self] if self.attributes.get(key) == value else []
        for child in self.children:
            if isinstance(child, Element):
                found += child._having(key, value)
        return found

    def json(self, name: str) -> Any:
        """The content of a JSON block; strict."""
        return json.loads(self.by_id(name).source, parse_constant=_refuse)

    def rows(self, name: str) -> list[list[str]]:
        """A table's rows, the head first."""
        rows = self.by_id(name).all("tr")
        return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in rows]


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


class _Reader(HTMLParser):
    """Builds the tree; an element that is closed out of turn is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        element = self.open.pop()
        assert element.tag == tag, f"</{tag}> closes <{element.tag}>"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    """The page as a tree, whose elements are all closed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.root
