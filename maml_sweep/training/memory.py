"""Memory: work in parts where it does not fit at once, and how much there is."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

from maml_sweep.backend import tf
from maml_sweep.errors import InputError

log = logging.getLogger(__name__)

# How TensorFlow, XLA and CUDA's libraries say that memory has run out.
SIGNS = ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", "ALLOC_FAILED", "out of memory", "OOM when")


class DoesNotFit(InputError):
    """One run alone, or one task of it, needs more memory than there is.

    Attributes:
      run: of the trainer's runs.
    """

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message)
        self.run = run


def exhausted(error: Exception) -> bool:
    """Whether an error of TensorFlow's says that memory has run out."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    return any(sign in str(error) for sign in SIGNS)


class Part(Protocol):
    """What one call does, which may be too much."""

    @property
    def lanes(self) -> int:
        """What its memory grows with."""
        ...

    def halves(self) -> Sequence[Self]:
        """The same work in two calls; empty where it cannot be divided."""
        ...

    def refusal(self) -> DoesNotFit:
        """What to say where it cannot."""
        ...


P = TypeVar("P", bound=Part)


class Limit:
    """The most lanes that calls of one kind may have; it only ever falls.

    Attributes:
      lanes: infinite until a call has run out of memory.
    """

    def __init__(self) -> None:
        self.lanes = math.inf

    def each(self, whole: Sequence[P], call: Callable[[P], None]) -> None:
        """Calls for each part in order, in halves of those that do not fit.

        Args:
          whole: what there is to do.
          call: does it; one that runs out of memory must leave everything as it was.

        Raises:
          DoesNotFit: a part that cannot be divided does not fit.
        """
        waiting = list(reversed(whole))
        while waiting:
            part = waiting.pop()
            halves = part.halves() if part.lanes > self.lanes else ()
            if not halves:
                halves = self._tried(part, call)
            waiting += reversed(halves)

    def _tried(self, part: P, call: Callable[[P], None]) -> Sequence[P]:
        """Nothing if the call went well, or the halves of a part for which memory ran out."""
        try:
            call(part)
        except tf.errors.OpError as error:
            if not exhausted(error):
                raise
            halves = part.halves()
        else:
            return ()
        if not halves:
            raise part.refusal()
        self.lanes = part.lanes // 2
        log.warning("%d tasks at once do not fit in memory: going on in halves", part.lanes)
        return halves


class Memory(ABC):
    """A device's memory as this process finds it; tests put fakes in its place."""

    @abstractmethod
    def total(self) -> int | None:
        """Bytes that this process may come to hold; None: nobody can tell."""

    @abstractmethod
    def peak(self) -> int:
        """The most bytes it has held since the last `reset`."""

    @abstractmethod
    def reset(self) -> None:
        """Begins a new peak at what it holds now."""


class GpuMemory(Memory):
    """The memory of TensorFlow's first GPU."""

    def total(self) -> int | None:
        """What is free by the driver's count, and what this process holds already."""
        found = driver("memory.free")
        if not found:
            return None
        held = tf.config.experimental.get_memory_info("GPU:0")["current"]
        return int(found[0][0]) * 2**20 + int(held)

    def peak(self) -> int:
        """See `Memory`."""
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def reset(self) -> None:
        """See `Memory`."""
        tf.config.experimental.reset_memory_stats("GPU:0")


def driver(*fields: str) -> list[list[str]]:
    """What `nvidia-smi` says of each GPU that this process may use, first things first.

    Args:
      fields: names of its queries, such as memory.free (in MiB).

    Returns:
      A row a GPU; empty where the program is missing, fails or takes too long.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen:
        query += ["-i", chosen]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in said.stdout.splitlines()]
