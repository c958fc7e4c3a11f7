"""A study's answers as sentences, and the line to run next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from maml_sweep.analysis import divergence
from maml_sweep.analysis.settings import ALPHA, BETA, labels, word
from maml_sweep.analysis.widening import Numeric, widened
from maml_sweep.search.again import options, place, resume_line, sweep_line
from maml_sweep.search.differences import key_of

if TYPE_CHECKING:
    import pandas as pd

    from maml_sweep.analysis.bounds import Bound
    from maml_sweep.analysis.frames import Frames
    from maml_sweep.analysis.savings import Savings
    from maml_sweep.analysis.statistics import Interval

UNFINISHED = ("running", "waiting")
_NAMED = 6  # slots that are listed one by one


class Answers(Protocol):
    """As much of `maml_sweep.analysis.answers.Answers`, which imports this module, as it needs."""

    frames: Frames

    @property
    def best(self) -> int | None: ...  # noqa: D102
    @property
    def interval(self) -> Interval | None: ...  # noqa: D102
    @property
    def standing(self) -> pd.Series[float]: ...  # noqa: D102
    @property
    def winners(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def importance(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def importance_told(self) -> bool: ...  # noqa: D102
    @property
    def bounds(self) -> list[Bound]: ...  # noqa: D102
    @property
    def savings(self) -> Savings: ...  # noqa: D102


def sentences(answers: Answers) -> list[str]:
    """What there is to say, the most important first; at least one sentence."""
    said = [*_progress(answers), *_best(answers), *_winners(answers), *_mattered(answers)]
    said += [_at_bound(bound) for bound in answers.bounds]
    diverged = divergence.sentence(answers.frames)
    said += [diverged] if diverged else []
    savings = answers.savings
    if savings.pruned_share is not None:
        said.append(savings.pruning_words)
    if savings.packing.speedup is not None:
        said.append(savings.packing.words)
    return said


def _progress(answers: Answers) -> Iterator[str]:
    """How far the study is, where it is not at its end or has no winner."""
    states = answers.frames.trials["state"].value_counts()
    total = answers.frames.plan.n_trials
    if not total or not len(answers.frames.trials):
        yield "There are no trials yet."
        return
    left = sum(int(states.get(state, 0)) for state in UNFINISHED)
    left += max(0, total - len(answers.frames.trials))
    if left:
        running = int(states.get("running", 0))
        yield f"{total - left} of {total} trials have ended; {running} run."
    if states.get("failed", 0):
        yield f"Given up after failures: {_count(int(states['failed']), 'trial')}."
    if answers.best is None:
        pruned, diverged = int(states.get("pruned", 0)), int(states.get("diverged", 0))
        parts = [f"{pruned} pruned"] * bool(pruned) + [f"{diverged} diverged"] * bool(diverged)
        why = f" ({', '.join(parts)})" if parts else ""
        yield f"No trial has come to its end{why}, so there is no best setting yet."


def _best(answers: Answers) -> Iterator[str]:
    """The best setting, its value, and how far that can be trusted."""
    if answers.best is None:
        return
    frames = answers.frames
    slot = frames.slots[answers.best]
    found = answers.interval
    sure = ""
    if found is not None and math.isfinite(found.low):
        sure = (
            f" (95% interval {short(found.low)} to {short(found.high)} over {found.n} "
            f"validation tasks)"
        )
    setting = settings(slot.values)
    yield (
        f"Best {frames.metric}: {short(slot.trial.value)}{sure}, slot {slot.slot}"
        f"{' with ' + setting if setting else ''}."
    )
    done = int((frames.trials["state"] == "complete").sum())
    if done > 1:
        yield (
            f"As the best of {done} complete trials it looks a little better than it is: "
            f"maml-sweep train gives a fresh figure."
        )


def _winners(answers: Answers) -> Iterator[str]:
    """How many others cannot be told from the best."""
    table = answers.winners
    done = int((answers.frames.trials["state"] == "complete").sum())
    if done < 2 or answers.best not in set(table["slot"]):
        return
    others = [int(slot) for slot in table["slot"] if slot != answers.best]
    if not others:
        yield "No other complete trial comes up to it at 95% over the same tasks."
        return
    slots = f" (slot{'s' if len(others) > 1 else ''} {', '.join(map(str, others))})"
    yield (
        f"{_count(len(others), 'other trial')} cannot be told from it at 95%"
        f"{slots if len(others) <= _NAMED else ''}."
    )


def _mattered(answers: Answers) -> Iterator[str]:
    """The largest importances of what all branches share, then of each branch's own."""
    if (answers.frames.trials["state"] == "diverged").sum() == len(answers.standing):
        return  # ranked by when they diverged alone
    table = answers.importance
    shared = table[table["branch"] == ""]
    if len(shared) < 2:
        return
    if not answers.importance_told:
        yield "What mattered cannot be told: it explains next to nothing of the trials' ranks."
        return
    first, second = (shared.iloc[k] for k in (0, 1))
    words = f"What mattered most: {first['parameter']} ({first['fanova']:.0%} of the variance)"
    spread = math.hypot(first["fanova_sd"], second["fanova_sd"])
    if first["fanova"] - second["fanova"] < 2 * spread:
        words = f"{words} or {second['parameter']} ({second['fanova']:.0%})"
    else:
        words = f"{words}, then {second['parameter']} ({second['fanova']:.0%})"
    yield f"{words}, by fANOVA over the ranks of all trials."


def _at_bound(bound: Bound) -> str:
    side = "upper" if bound.side == "high" else "lower"
    where = f" where {bound.branch} is chosen" if bound.branch else ""
    return (
        f"The optimum lies at the {side} bound of {bound.parameter}{where} ({short(bound.bound)}, "
        f"the best has {short(bound.best)}): widen it to {bound.wider}, say."
    )


# -- the next command -------------------------------------------------------------------------


def next_command(answers: Answers) -> str:
    """The line to run next, quoted for a shell.

    Where the optimum lies at a bound, a new sweep over a wider space; else what is left of this
    one; else, if all diverged, a new sweep over smaller rates; if none came to its end, a larger
    budget; else fresh figures for the winners.
    """
    frames = answers.frames
    states = set(frames.trials["state"])
    if answers.bounds:
        wider = {bound.parameter: bound.wider for bound in reversed(answers.bounds)}
        return _sweep(answers, "wider", wider)
    if states & set(UNFINISHED) or len(frames.trials) < frames.plan.n_trials:
        return _resume(answers)
    if answers.best is not None:
        where = options(frames.folder, frames.located.url)
        return shlex.join(["maml-sweep", "train", frames.name, *where])
    smaller = _smaller(answers) if states == {"diverged"} else {}
    if smaller:
        return _sweep(answers, "smaller", smaller)
    return _resume(answers, f"study.n_trials={max(1, 2 * frames.plan.n_trials)}")


def _resume(answers: Answers, *more: str) -> str:
    located = answers.frames.located
    return resume_line(located.name, located.folder, located.url, *more)


def _sweep(answers: Answers, suffix: str, changed: dict[str, str]) -> str:
    """A new study: the stored command line with some expressions replaced."""
    frames = answers.frames
    kept = [each for each in frames.plan.overrides if key_of(each) not in changed]
    prefixes = frames.searched.prefixes
    new = [f"{prefixes.get(key, '')}{key}={value}" for key, value in changed.items()]
    own = place(frames.folder, frames.located.url)
    return sweep_line(f"study.name={_free_name(answers, suffix)}", *own, *kept, *new)


def _free_name(answers: Answers, suffix: str) -> str:
    """`<name>-<suffix>`, with a number where such a study lies beside this one."""
    frames = answers.frames
    name, count = f"{frames.name}-{suffix}", 2
    while (frames.folder.parent / name).exists():
        name, count = f"{frames.name}-{suffix}-{count}", count + 1
    return name


def _smaller(answers: Answers) -> dict[str, str]:
    """Both rates with a lower bound further down."""
    found = {}
    for branch in answers.frames.searched.branches:
        for key in (ALPHA, BETA):
            distribution = branch.distributions.get(key)
            if isinstance(distribution, Numeric):
                found[key] = widened(key, distribution, "low")
    return {key: value for key, value in found.items() if value}


# -- words ------------------------------------------------------------------------------------


def settings(values: Any) -> str:
    """Parameters in short form: the last part of a key where that names it, three digits."""
    names = labels(values)
    return ", ".join(f"{names[key]}={short(value)}" for key, value in values.items())


def short(value: Any) -> str:
    """A number in three significant digits, integers whole, anything else as an override."""
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"
    return word(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
