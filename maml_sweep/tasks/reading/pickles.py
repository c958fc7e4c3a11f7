"""Pickles of arrays, read without running what a stranger wrote.

A pickle calls what it names. Here it may name an array, its type or a scalar, and gets stand-ins
of our own for them: not even NumPy sees what is put into them before it was looked at, for an
array of forged pointers is as good as a program.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError


def load(path: Path) -> Any:
    """Unpickles NumPy arrays and scalars, text, bytes, numbers, lists, tuples and dicts.

    Python 2's pickles are read as latin-1, as NumPy asks.

    Returns:
      What was pickled; for an array something that `np.asarray` makes one.

    Raises:
      InputError: it names anything else, is damaged, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except (
        OSError,
        pickle.UnpicklingError,
        # what a damaged pickle may come to
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name that NumPy's own pickles are made of."""
        try:
            return _STAND_INS[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and only NumPy arrays, text, lists and dicts may "
                "be in it"
            ) from None


class _Type:
    """A dtype: called with its name, then given a state that has the order of its bytes."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.order, *parts = state
        if any(part is not None for part in parts[:3]):  # subarray, names, fields
            raise pickle.UnpicklingError("it has an array of records")

    def plain(self) -> np.dtype[Any]:
        text = f"{self.order}{self.name}"
        if not re.fullmatch(r"[<>=|]([fiu][1248]|f16|b1|[SU]\d{1,6}|O\d?)", text):
            raise pickle.UnpicklingError(f"it has an array of type {text}")
        return np.dtype(object) if self.name[0] == "O" else np.dtype(text)


class _Array:
    """An array: made empty, then given a state that has all of it."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, raw = state
        self.array = _filled(raw, kind, shape, "F" if by_columns else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array if dtype is None else self.array.astype(dtype)


def _filled(raw: Any, kind: _Type, shape: tuple[int, ...], order: Any = "C") -> NDArray[Any]:
    """An array of raw bytes, or of the objects in a list."""
    dtype = kind.plain()
    if dtype.hasobject:
        array: NDArray[Any] = np.empty(len(raw), object)
        array[:] = raw
    else:
        array = np.frombuffer(_encoded(raw) if isinstance(raw, str) else raw, dtype)
    return array.reshape(shape, order=order)


def _scalar(kind: _Type, raw: Any) -> Any:
    return _filled(raw, kind, (1,))[0]


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes in protocols 0 to 2, which Python 3 writes as text in latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are written in {encoding}, not in latin1")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,  # an argument of the next, which does not look at it
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _filled,
    ("_codecs", "encode"): _encoded,
}
