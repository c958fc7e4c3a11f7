"""In which settings studies differ: fixed ones, the space, the sampler, the pruner, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.settings import word
from maml_sweep.search.differences import flat
from maml_sweep.search.distributions import wording
from maml_sweep.search.space import Branch

KINDS = ("space", "sampler", "pruner", "setting", "version")  # in the order of listing
SEARCHED = "searched: "


@dataclass(frozen=True)
class Difference:
    """One key in which studies differ.

    Attributes:
      key: the configuration's key, a swept group, or a package.
      kind: one of KINDS; "space" if any of the studies searches it.
      values: what each study has, in their order: as an override would give it, or "searched: "
        and the range; None where the study knows no such key.
    """

    key: str
    kind: str
    values: tuple[str | None, ...]


def differences(studies: Sequence[Frames]) -> list[Difference]:
    """The keys in which not all of them agree, by kind, then by name."""
    found = [*_contrasted([_settings(study) for study in studies])]
    versions = [study.plan.versions for study in studies]
    found += [Difference(each.key, "version", each.values) for each in _contrasted(versions)]
    return sorted(found, key=lambda each: (KINDS.index(each.kind), each.key))


def _contrasted(told: Sequence[Mapping[str, str]]) -> list[Difference]:
    keys = dict.fromkeys(key for each in told for key in each)
    rows = {key: tuple(each.get(key) for each in told) for key in keys}
    return [
        Difference(key, _kind(key, values), values)
        for key, values in rows.items()
        if len(set(values)) > 1
    ]


def _kind(key: str, values: Sequence[str | None]) -> str:
    if any(SEARCHED in value for value in values if value):
        return "space"
    room = key.partition(".")[0]
    return room if room in KINDS else "setting"


def _settings(study: Frames) -> dict[str, str]:
    """Key -> what the study does with it; by branch where its branches differ in that."""
    groups = study.searched.groups.items()
    told = {group: SEARCHED + ", ".join(options) for group, options in groups}
    branches = [_of_branch(study, branch) for branch in study.searched.branches]
    for key in dict.fromkeys(key for branch in branches for key in branch):
        texts = [branch.get(key) for branch in branches]
        if len(set(texts)) == 1:
            told[key] = str(texts[0])
            continue
        named = zip(study.searched.branches, texts, strict=True)
        told[key] = "; ".join(f"{branch.name}: {text}" for branch, text in named if text)
    return told


def _of_branch(study: Frames, branch: Branch) -> dict[str, str]:
    config = study.plan.configs.get(branch.name, study.plan.config)
    fixed = {key: _text(key, value) for key, value in flat(config).items()}
    ranges = branch.distributions.items()
    return fixed | {key: SEARCHED + wording(distribution) for key, distribution in ranges}


def _text(key: str, value: Any) -> str:
    """A fixed value; of a class its own name, which says enough."""
    return str(value).rpartition(".")[2] if key.endswith("._target_") else word(value)
