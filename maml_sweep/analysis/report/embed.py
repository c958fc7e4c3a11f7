"""What is put into the page as it is: plotly.js, and JSON that no text in it can break out of."""

from __future__ import annotations

import json
import math
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from maml_sweep.errors import InputError

# Escaped, these can neither end the block nor begin a comment, nor end a line of a script.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def safe_json(content: Any) -> str:
    """Strict JSON for a `<script type="application/json">` block.

    Args:
      content: plain values, NumPy's numbers and arrays among them; numbers that are not finite
        become null, as JSON has none.
    """
    text = json.dumps(_plain(content), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_UNSAFE)


def safe_script(source: str) -> str:
    """A script's source for a `<script>` element (HTML standard, 4.12.1.3).

    There `</script` would end it and `<!--` or `<script` change how its end is found. The escape
    means the same within string and regular-expression literals, where alone they can stand.
    """
    return re.sub(r"<(?=!--|/?script)", r"\\x3c", source, flags=re.IGNORECASE)


def plotly_js() -> str:
    """plotly.min.js as the installed plotly package carries it; the package is not imported.

    Raises:
      InputError: the package or the file lacks.
    """
    try:
        path = distribution("plotly").locate_file("plotly/package_data/plotly.min.js")
        return Path(str(path)).read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        raise InputError(
            "report: expected plotly.min.js of the package plotly, which is not installed whole; "
            "type python -m pip install --force-reinstall plotly"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
