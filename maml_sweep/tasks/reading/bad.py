"""Records that cannot be read: counted and named, then skipped or refused."""

from __future__ import annotations

import logging

from maml_sweep.checks import one_of
from maml_sweep.errors import InputError

POLICIES = ("refuse", "skip")
NAMED = 3  # bad records that a message names

log = logging.getLogger(__name__)


class BadRecords:
    """What a reader stumbles over.

    Args:
      source: the file or folder, for messages.
      policy: `task.bad_records`: "refuse" them, or "skip" them with a warning.

    Attributes:
      count: how many there were.

    Raises:
      InputError: another policy.
    """

    def __init__(self, source: str, policy: str) -> None:
        self.source = source
        self.policy = one_of("task.bad_records", policy, POLICIES)
        self.count = 0
        self._named: list[str] = []

    def add(self, where: str, why: str) -> None:
        """Notes a bad record: its place (a file, a line) and what is wrong with it."""
        self.count += 1
        if len(self._named) < NAMED:
            self._named.append(f"{where} ({why})")

    def settle(self, total: int) -> None:
        """Says what came of reading `total` records, the bad ones among them.

        Raises:
          InputError: some were bad and are to be refused, or none was good.
        """
        if not self.count:
            return
        named = ", ".join(self._named) + (", …" if self.count > NAMED else "")
        found = f"{self.source}: {self.count:,} of {total:,} records cannot be read: {named}"
        if self.count >= total:
            raise InputError(found)
        if self.policy == "refuse":
            raise InputError(f"{found}; mend them, or leave them out by task.bad_records=skip")
        log.warning("%s; they are left out", found)
