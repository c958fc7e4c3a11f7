"""What a branch is searched over before the command line's own keys: the files of group `search`.

Every branch follows its task and its algorithm. From the bottom to the top:

1. `search/<task>.yaml`, or the file that an experiment names in its place;
2. `search/<algorithm>.yaml`;
3. the files that `search=…` names on the command line, in place of 1;
4. the command line's own keys.

A file of 1 or 2 that does not exist says nothing, and where the search is `none` there is no 2.
Hydra composes 1 or 3 with everything else; 2 is composed and joined here, because Hydra resolves no
list of files that depends on other choices. `key: null` takes a key out of the files below
(`key: "null"` is the value).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from maml_sweep.errors import InputError
from maml_sweep.search.command import Command, refuse_unsearchable
from maml_sweep.search.compose import Composer, has
from maml_sweep.search.grammar import text


def ranges(
    composer: Composer, command: Command, picked: Sequence[str], cfg: DictConfig
) -> dict[str, Override]:
    """A branch's own search, less what the command line says of the same keys.

    Args:
      composer: composes the algorithm's file.
      command: the command line.
      picked: the overrides that choose the branch.
      cfg: the branch's composition, Hydra's node included.

    Raises:
      InputError: a group among the keys, or a key that cannot be searched.
    """
    said = {*command.swept, *(each.key_or_group for each in composer.parse(command.fixed))}
    values = _joined(composer, command, picked, cfg)
    lines = [f"{key}={value if isinstance(value, str) else text(value)}"
             for key, value in values.items() if value is not None]  # fmt: skip
    found = {each.key_or_group: each for each in composer.parse(lines)}
    found = {key: each for key, each in found.items() if key not in said}
    for key in found:
        refuse_unsearchable(key)
        if composer.options(key):
            raise InputError(f"hydra.sweeper.params: {key} is a group; choose or sweep it on the "
                             f"command line")  # fmt: skip
    return found


def _joined(
    composer: Composer, command: Command, picked: Sequence[str], cfg: DictConfig
) -> dict[str, Any]:
    """The branch's files as one mapping: the later goes before the earlier."""
    overrides = [*command.fixed, *picked]
    chosen = _params(cfg)
    algorithm = cfg.hydra.runtime.choices.get("algorithm")
    if not _has_file(composer, algorithm) or _is_none(composer, overrides, cfg):
        return chosen
    own = _params(composer.compose([*overrides, f"search={text(algorithm)}"]))
    # What the algorithm does not have, and says so, no file can search there.
    absent = {key for key, value in own.items() if value is None and not has(cfg, key)}
    named = any(each.key_or_group == "search" for each in composer.parse(command.fixed))
    joined = {**own, **chosen} if named else {**chosen, **own}
    return {key: value for key, value in joined.items() if key not in absent}


def _params(cfg: DictConfig) -> dict[str, Any]:
    return {str(key): value for key, value in (cfg.hydra.sweeper.get("params") or {}).items()}


def _has_file(composer: Composer, algorithm: Any) -> bool:
    """Whether the algorithm's option, which may lie in a folder, has a file in `search`."""
    folder, _, name = f"search/{algorithm}".rpartition("/")
    return name in composer.options(folder)


def _is_none(composer: Composer, overrides: Sequence[str], cfg: DictConfig) -> bool:
    """Whether the search is `none`, lists it among others, or was taken away (`~search`)."""
    choice = cfg.hydra.runtime.choices.get("search")
    if choice is not None:
        return bool(choice == "none")
    files = composer.files("search", overrides)  # Hydra notes no choice for a list, nor for `~`
    return not files or "none" in files
