"""A real browser with a report open: what it draws, asks for and complains of."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from maml_sweep.analysis.answers import Answers

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Software rendering, where plotly wants WebGL and the machine has none.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
OFFLINE = ("file:", "data:", "blob:")


def executable() -> str:
    """The browser's path; skips or fails without one."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        reason = f"needs the package playwright and one of {', '.join(NAMES)}"
        if os.environ.get("MAML_SWEEP_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@dataclass
class Opened:
    """A page and what it did.

    Attributes:
      answers: of the study it shows.
      page: playwright's.
      complaints: errors of the console and of scripts.
      requests: URLs that left the machine, or would have.
    """

    answers: Answers
    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Notes what should not be."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.context.route("**/*", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning", "assert"}:
            self.complaints.append(message.text)

    def _asked(self, route: Any) -> None:
        if route.request.url.startswith(OFFLINE):
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def draw(self) -> None:
        """Scrolls through the page until every figure is drawn."""
        for plot in self.page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            name = plot.get_attribute("id")
            self.page.wait_for_function(
                f"document.getElementById({name!r}).matches('.js-plotly-plot')"
            )

    def data(self, key: str) -> list[dict[str, Any]]:
        """A figure's traces as the page has them, typed arrays as lists."""
        script = """(id) => JSON.stringify(document.getElementById(id).data, (key, value) =>
            ArrayBuffer.isView(value) ? Array.from(value) : value)"""
        traces = json.loads(self.page.evaluate(script, f"figure-{key}-plot"))
        assert isinstance(traces, list)
        return traces

    def column(self, label: str) -> list[str]:
        """A column's cells in the trial table, as shown."""
        heads = self.page.locator("#trials-table th").all_text_contents()
        place = heads.index(label) + 1
        cells = self.page.locator(f"#trials-table tbody td:nth-child({place})")
        return [text.strip() for text in cells.all_text_contents()]

    def head(self, label: str) -> Any:
        """A column's head in the trial table."""
        return self.page.locator("#trials-table th").filter(has_text=label).first


def numbers(value: Any) -> np.ndarray:
    """A trace's coordinates, decoded if they are plotly's typed arrays."""
    if isinstance(value, dict):
        assert "bdata" in value, value
        held = value.get("_inputArray")
        if held is not None:
            return np.asarray(list(held.values()) if isinstance(held, dict) else held, float)
        return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).astype(float)
    return np.asarray(value, dtype=float)
