"""maml-sweep train: the winners of a study from fresh seeds, judged on the meta-test tasks."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maml_sweep import commands, typed
from maml_sweep.errors import InputError
from maml_sweep.files import STUDIES

if TYPE_CHECKING:
    from maml_sweep.winners.choice import Request
    from maml_sweep.winners.outcome import Outcome

USUAL = {"root": STUDIES, "top": 1, "seeds": 3, "tasks": 600}  # what need not be said
HELP = "train the best trials again from fresh seeds and judge them on the meta-test tasks"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)
    for option, meaning in (
        ("top", "how many of the best trials"),
        ("seeds", "fresh seeds each"),
        ("tasks", "meta-test tasks"),
    ):
        text, usual = f"{meaning} (default: %(default)s)", USUAL[option]
        parser.add_argument(f"--{option}", type=int, metavar="N", default=usual, help=text)
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="meta-iterations (default: the study's)"
    )
    parser.add_argument("--slots", metavar="3,7", help="these slots instead of the best ones")
    parser.add_argument(
        "--each", metavar="KEY", help="the best trial of each option of KEY, such as algorithm"
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains, prints the outcome; 130 if it was interrupted."""
    from maml_sweep.analysis import loading
    from maml_sweep.search.interruption import Interrupted, listening
    from maml_sweep.winners import records
    from maml_sweep.winners.retrain import retrain

    located = commands.open_study(arguments)
    request = _request(arguments)
    typed.find_classes(Path.cwd())
    study = loading.opened(located)
    with listening() as interruption:
        try:
            outcomes = retrain(study, located.folder, request, interruption)
        except Interrupted:
            line = _again(arguments, located.name)
            print(f"interrupted, state kept; to go on:\n  {line}", file=sys.stderr, flush=True)
            return 130
    home = located.folder / records.WINNERS
    if arguments.json:
        print((home / records.RESULTS).read_text(), end="")
    else:
        _say(outcomes, home)
    return 0


def _request(arguments: argparse.Namespace) -> Request:
    """What the options ask for."""
    from maml_sweep.winners.choice import Request

    slots: tuple[int, ...] = ()
    if arguments.slots is not None:
        try:
            slots = tuple(int(slot) for slot in arguments.slots.split(","))
        except ValueError:
            raise InputError(
                f"--slots={arguments.slots}: expected numbers of slots, such as 3,7"
            ) from None
    return Request(
        top=arguments.top,
        seeds=arguments.seeds,
        iterations=arguments.iterations,
        tasks=arguments.tasks,
        slots=slots,
        each=arguments.each,
    )


def _again(arguments: argparse.Namespace, name: str) -> str:
    """The command that goes on where this one stopped."""
    from maml_sweep.search.storage import masked

    words = ["maml-sweep", "train", arguments.study or name]
    for option in ("root", "storage", "top", "seeds", "iterations", "tasks", "slots", "each"):
        value = getattr(arguments, option)
        if value not in (None, USUAL.get(option)):
            words += [f"--{option}", masked(str(value))]
    return shlex.join([*words, *(["--json"] if arguments.json else [])])


def _say(outcomes: Sequence[Outcome], home: Path) -> None:
    """Prints every winner and where its files lie."""
    from maml_sweep.winners.outcome import lines
    from maml_sweep.winners.records import RESULTS, weights_path

    for outcome in outcomes:
        print("\n".join(lines(outcome)))
        files = [weights_path(home, outcome.winner.slot, index) for index in outcome.weights]
        print("  weights  " + " ".join(map(str, files)) + "\n")
    print(f"all figures: {home / RESULTS}", flush=True)
