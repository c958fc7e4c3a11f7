"""What people see while images are decoded: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds between two plain lines


class Pass:
    """A pass over many files, shown on stderr. Used as a context manager.

    Args:
      title: what is passed over.
      total: how many there are.
      console: where to show it; None: stderr.
    """

    def __init__(self, title: str, total: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._title = f"decoding {title}"
        self._task = self._bar.add_task(self._title, total=total)
        self._done, self._total = 0, total
        self._said = time.monotonic()

    def __enter__(self) -> Pass:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Notes that so many more are done."""
        self._done += count
        if self._console.is_terminal:
            self._bar.advance(self._task, count)
        elif time.monotonic() - self._said > LINE_EVERY:
            self._said = time.monotonic()
            line = f"{self._title}: {self._done:,} of {self._total:,}"
            self._console.print(line, markup=False, soft_wrap=True)
