"""A command line's task overrides: what they fix, what they sweep, what cannot be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from maml_sweep.errors import InputError
from maml_sweep.search.compose import Composer

NEVER = {
    "seed": "it fixes the validation tasks of the whole sweep",
    "trial_seed": "it follows from seed and slot; study.repeats averages over several",
    "workers": "it belongs to the sweep, not to a trial",
    "workers_per_device": "it belongs to the sweep, not to a trial",
    "study": "it belongs to the sweep, not to a trial",
    "pack": "it belongs to the sweep, not to a trial",
    "device": "it belongs to the sweep, not to a trial",
    "sampler": "it belongs to the sweep, not to a trial",
    "pruner": "it belongs to the sweep, not to a trial",
    "hydra": "it belongs to the sweep, not to a trial",
    "search": "join files by search=[a,b]",
    "training.report_every": "trials are compared at common rungs",
    "training.validation_tasks": "trials are compared on the same tasks",
    "training.test": "the test split is not for searching",
    "training.test_tasks": "the test split is not for searching",
}


@dataclass(frozen=True)
class Command:
    """A command line's task overrides: what it fixes and what it sweeps."""

    fixed: tuple[str, ...]
    swept: Mapping[str, Override]  # key or group -> sweep, the last one given

    @classmethod
    def read(cls, composer: Composer, arguments: Sequence[str]) -> Command:
        """Splits the arguments; of a key that is swept and fixed, the last word counts."""
        last: dict[str, Override] = {}
        fixed: list[Override] = []
        for override in composer.parse(arguments):
            key = override.key_or_group
            if override.is_sweep_override():
                fixed = [each for each in fixed if each.key_or_group != key]
                last[key] = override
            else:
                last.pop(key, None)
                fixed.append(override)
        for key in last:
            refuse_unsearchable(key)
        return cls(tuple(each.input_line or "" for each in fixed), last)


def refuse_unsearchable(key: str) -> None:
    """Raises InputError for a key of `NEVER`, or one below it."""
    parts = key.replace("/", ".").split(".")
    for count in range(1, len(parts) + 1):
        reason = NEVER.get(".".join(parts[:count]))
        if reason:
            raise InputError(f"{key}: cannot be searched ({reason}); give it one value")
