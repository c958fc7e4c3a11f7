"""Random numbers that a generator's constants are made of: the same wherever it is installed.

NumPy promises that the words of a bit generator never change, and nothing of the sort for what it
makes of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from maml_sweep.streams import derive_seed


def uniform(name: str, *shape: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of this name and shape."""
    words = np.random.Philox(key=derive_seed("made", name)).random_raw(math.prod(shape))
    return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def normal(name: str, *shape: int) -> NDArray[np.float64]:
    """Standard normal numbers of this name and shape, by inversion."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform(name, *shape) + 2.0**-54), np.float64)
