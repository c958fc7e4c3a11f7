"""Classes, users or domains dealt to the meta-splits where the files do not say which is whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maml_sweep.errors import InputError
from maml_sweep.streams import derive_seed
from maml_sweep.tasks.base import SPLITS, Split

SHARES = (0.64, 0.16, 0.20)  # of train, validation, test: those of miniImageNet's 100 classes


def by_hash(names: Iterable[str]) -> list[str]:
    """Names in an order that is only theirs; repetitions count once."""
    return sorted(set(names), key=lambda name: (derive_seed("split", name), name))


def dealt(names: Iterable[str], shares: Sequence[float] = SHARES) -> dict[Split, list[str]]:
    """Deals names to the splits by a hash of each, so that no order of files plays a part.

    Every split gets its share of the names, rounded, and one at least.

    Args:
      names: of classes, users or domains; repetitions count once.
      shares: of train, validation and test.

    Returns:
      The names of each split in alphabetical order.

    Raises:
      InputError: fewer than three names, or shares that are not three positive numbers of sum one.
    """
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"task.shares={list(shares)}: expected the shares of train, validation and test, "
            "three positive numbers whose sum is 1"
        )
    shuffled = by_hash(names)
    count = len(shuffled)
    if count < 3:
        raise InputError(
            f"three meta-splits need three or more classes, users or domains, but there are {count}"
        )
    held = min(max(1, round(shares[1] * count)), count - 2)
    asked = min(max(1, round(shares[2] * count)), count - held - 1)
    ends = [0, count - held - asked, count - asked, count]
    return {
        split: sorted(shuffled[first:last])
        for split, first, last in zip(SPLITS, ends[:-1], ends[1:], strict=True)
    }
