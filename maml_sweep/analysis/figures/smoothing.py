"""A smooth map of scattered values: kernel regression over the unit square."""

from __future__ import annotations

import numpy as np

BANDWIDTH = 0.1  # of either axis
SUPPORT = 0.3  # kernel mass below which a cell stays empty; one trial at its centre has 1


def smoothed(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, at: np.ndarray, to: np.ndarray
) -> np.ndarray:
    """The mean of z near every point of a grid (Nadaraya 1964, Watson 1964; a Gaussian kernel).

    Args:
      x: float [n] in 0 … 1.
      y: float [n] likewise.
      z: float [n].
      at: float [c] the grid's columns.
      to: float [r] its rows.

    Returns:
      float64 [r, c], NaN where hardly a trial is near.
    """
    across = np.exp(-0.5 * ((at[:, np.newaxis] - x) / BANDWIDTH) ** 2)  # [c, n]
    down = np.exp(-0.5 * ((to[:, np.newaxis] - y) / BANDWIDTH) ** 2)  # [r, n]
    mass = down @ across.T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (down * z) @ across.T / mass
    return np.where(mass >= SUPPORT, mean, np.nan)


def cell_means(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, columns: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of z in every cell of two indices, and how many there are.

    Args:
      x: float [n] column of each, a whole number from 0.
      y: float [n] row of each.
      z: float [n].
      columns: how many.
      rows: how many.

    Returns:
      float64 [r, c] twice; the mean is NaN where there is none.
    """
    total, number = np.zeros((rows, columns)), np.zeros((rows, columns))
    cells = (y.astype(int), x.astype(int))
    np.add.at(total, cells, z)
    np.add.at(number, cells, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan), number
