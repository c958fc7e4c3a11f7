"""The nearest right spelling, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def hint(word: object, known: Iterable[str]) -> str:
    """Asks whether a near word was meant: " (did you mean 'x'?)", or nothing if none is near.

    A dotted key is also compared by its last part: `inner_lr` is near `algorithm.inner_lr`.
    """
    options = sorted(known)
    near = difflib.get_close_matches(str(word), options, n=1)
    if not near:
        last = {option.rpartition(".")[2]: option for option in options}
        near = difflib.get_close_matches(str(word).rpartition(".")[2], list(last), n=1)
        near = [last[name] for name in near]
    return f" (did you mean {near[0]!r}?)" if near else ""
