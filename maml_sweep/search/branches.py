"""From the command line and the group `search` to a checked space.

Hydra composes fixed overrides only, so a swept key, type or option would be wrong unnoticed until
a trial asks for it. Here each branch (a combination of the swept groups' options) is composed by
itself, and with the bounds of each of its parameters, before anything is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution

from maml_sweep.errors import InputError
from maml_sweep.search.command import Command
from maml_sweep.search.compose import Composer, assign, has, kind, leaves, without_hydra
from maml_sweep.search.grammar import choices, distribution, text
from maml_sweep.search.ranges import ranges
from maml_sweep.search.space import Branch, Space
from maml_sweep.spelling import hint

Check = Callable[[DictConfig], None]


def build_space(
    composer: Composer, command: Command, check: Check
) -> tuple[Space, dict[str, DictConfig]]:
    """Reads, composes and checks the whole space.

    Args:
      composer: composes a branch.
      command: the command line.
      check: raises InputError if the values of a composed configuration are wrong.

    Returns:
      The space, and the composition of each branch by the branch's name.

    Raises:
      InputError: anything wrong, or nothing to search.
    """
    groups = {key: sweep for key, sweep in command.swept.items() if composer.options(key)}
    options = [_options(composer, group, sweep) for group, sweep in groups.items()]
    prefixes = {key: _prefix(sweep) for key, sweep in command.swept.items() if _prefix(sweep)}
    drafts, present = [], set(groups)
    for chosen in itertools.product(*options):
        picks = dict(zip(groups, chosen, strict=True))
        picked = [f"{prefixes.get(group, '')}{group}={text(x)}" for group, x in picks.items()]
        cfg = _compose(composer, command, picked)
        own = ranges(composer, command, picked, cfg)
        draft = _draft(command, picks, without_hydra(cfg), own)
        drafts.append(draft)
        present |= draft.sweeps.keys()
    _refuse_absent(command, present, composer, cfg)
    # Every name is known to be right before any value is looked at.
    space = Space(tuple(draft.branch() for draft in drafts), prefixes)
    if not space.groups and not space.branches[0].distributions:
        raise InputError(
            "nothing to search: every setting is fixed; sweep one, such as "
            "'algorithm.inner_lr=tag(log, interval(0.001, 0.1))', or add hydra.mode=RUN to train "
            "one trial"
        )
    for branch, draft in zip(space.branches, drafts, strict=True):
        _check(branch, draft, check)
    return space, {branch.name: d.cfg for branch, d in zip(space.branches, drafts, strict=True)}


@dataclass(frozen=True)
class _Draft:
    """A branch whose names are known to be right.

    Attributes:
      picks: group -> option.
      cfg: its composition, without Hydra's node.
      sweeps: key -> what the command line or its own search says.
    """

    picks: Mapping[str, str]
    cfg: DictConfig
    sweeps: Mapping[str, Override]

    def branch(self) -> Branch:
        """With its distributions; raises InputError for a wrong expression."""
        distributions: dict[str, BaseDistribution] = {}
        for key, override in sorted(self.sweeps.items()):
            typed = kind(self.cfg, key) if has(self.cfg, key) else None
            distributions[key] = distribution(override, typed)
        structured = frozenset(key for key, each in self.sweeps.items() if _is_structured(each))
        return Branch(",".join(self.picks.values()), self.picks, distributions, structured)


def _compose(composer: Composer, command: Command, picked: Sequence[str]) -> DictConfig:
    try:
        return composer.compose([*command.fixed, *picked])
    except InputError as error:
        if not picked:
            raise
        raise InputError(
            f"{error} (with {' '.join(picked)}; key=choice(value) sets a key only where it exists)"
        ) from None


def _prefix(override: Override) -> str:
    """A key or group that was added (`+`, `++`) is added again for every trial."""
    return "+" if override.is_add() else "++" if override.is_force_add() else ""


def _options(composer: Composer, group: str, sweep: Override) -> list[str]:
    """The options a group is swept over, each of them known."""
    known = composer.options(group)
    if not sweep.is_choice_sweep():
        raise InputError(f"{group}: expected options of the group, such as {group}={known[0]}")
    if getattr(sweep.value(), "shuffle", False):
        raise InputError(f"{group}: shuffle has no meaning here, the sampler decides; leave it out")
    chosen = [str(option) for option in choices(sweep)]
    for option in chosen:
        if option not in known:
            near = hint(option, known)
            raise InputError(f"{group}={option}: expected one of {', '.join(known)}{near}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(
            f"{group}={sweep.get_value_string()}: expected different options out of "
            f"{', '.join(known)}"
        )
    return chosen


def _draft(
    command: Command, picks: Mapping[str, str], plain: DictConfig, own: Mapping[str, Override]
) -> _Draft:
    """What one branch sweeps: its own search, then those keys of the command line that it has.

    Args:
      command: the command line.
      picks: group -> option.
      plain: the branch's composition, without Hydra's node.
      own: the branch's own search.

    Raises:
      InputError: the branch lacks a key of its own search.
    """
    for key, override in own.items():
        if not has(plain, key) and not _prefix(override):
            near = hint(key, leaves(plain))
            raise InputError(
                f"{key}: no such setting{near}, named in hydra.sweeper.params; name another, or "
                f"take it out by '{key}: null' in search/<algorithm>.yaml"
            )
    given = {key: each for key, each in command.swept.items() if key not in picks}
    ours = {key: each for key, each in given.items() if _prefix(each) or has(plain, key)}
    return _Draft(picks, plain, {**own, **ours})


def _is_structured(override: Override) -> bool:
    listed = override.is_choice_sweep() or not override.is_sweep_override()
    return listed and any(isinstance(value, list | dict) for value in choices(override))


def _check(branch: Branch, draft: _Draft, check: Check) -> None:
    """Composes every bound of every parameter, the others at their first."""
    added = {key for key, override in draft.sweeps.items() if _prefix(override)}
    base = deepcopy(draft.cfg)
    for key, each in branch.distributions.items():
        assign(base, key, branch.value(key, _ends(each)[0]), add=key in added)
    check(base)
    for key, each in branch.distributions.items():
        for drawn in _ends(each)[1:]:
            varied = deepcopy(base)
            assign(varied, key, branch.value(key, drawn), add=key in added)
            check(varied)


def _ends(each: BaseDistribution) -> list[Any]:
    if isinstance(each, CategoricalDistribution):
        return list(each.choices)
    low, high = getattr(each, "low"), getattr(each, "high")  # noqa: B009
    return [low, high]


def _refuse_absent(
    command: Command, present: set[str], composer: Composer, cfg: DictConfig
) -> None:
    """Refuses a swept key that no branch has."""
    for key in command.swept:
        if key not in present:
            known = [*leaves(without_hydra(cfg)), *_group_names(composer, cfg)]
            raise InputError(f"{key}: no such setting or group{hint(key, known)}; see --cfg job")


def _group_names(composer: Composer, cfg: DictConfig) -> Iterator[str]:
    yield from (name for name in cfg.hydra.runtime.choices if composer.options(name))
