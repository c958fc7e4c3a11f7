"""Ours against what people would otherwise use, in alternation, with a verdict on every promise.

    python benchmarks/compare.py --json outputs/compare.jsonl    # hours; leave the machine alone
    python benchmarks/compare.py --only sinusoid conv4 --rounds 7
    python benchmarks/compare.py --quick        # whether it works at all; its figures mean nothing

Prints Markdown. In each round every contestant of a section runs once, each round another one
first, after a large matrix product that tells how fast the machine is just then. Medians over the
rounds are shown, and medians of the ratios within a round. Where several settings of threads, or
packs, are measured, each side counts by the best of its own.

Sections: `sinusoid` and `conv4`, trial-steps a second: those of our sweeps by the wall time of the
whole command (start-up, Optuna, evaluation, storage; what it would be without start-up stands
beside it), those of others by their bare training loops. `search`, the time that a search of 32
trials takes to the same best value. `overhead`, what the default sweep spends outside of its
compiled programs, and its first report.

The others' programs and environments are below benchmarks/peers, made when they are first wanted.
With --json every figure is kept, a line each, as soon as it is there; started again with the same
file, the command goes on where it was stopped, and tries again what failed.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import searches, throughput  # noqa: E402
from benchmarks.packing import cores, matrix_product  # noqa: E402
from benchmarks.rounds import Contestant, Figure, Found, Journal, hold  # noqa: E402
from benchmarks.verdicts import Contest, number, span, table  # noqa: E402
from maml_sweep.errors import InputError  # noqa: E402

PRODUCT = "float32 product of 2048 x 2048 matrices"


def _sinusoid(quick: bool) -> list[Contest]:
    size = throughput.QUICK if quick else throughput.FULL
    return [throughput.sinusoid(inner_steps, size) for inner_steps in (1, 5)]


def _conv4(quick: bool) -> list[Contest]:
    return [throughput.conv4(throughput.QUICK if quick else throughput.FULL)]


def _search(quick: bool) -> list[Contest]:
    return [searches.search(searches.QUICK if quick else searches.FULL)]


def _overhead(quick: bool) -> list[Contest]:
    return [searches.overhead(searches.QUICK if quick else searches.FULL)]


SECTIONS: dict[str, Callable[[bool], list[Contest]]] = {
    "sinusoid": _sinusoid,
    "conv4": _conv4,
    "search": _search,
    "overhead": _overhead,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and prints it.

    Raises:
      SystemExit: 2 if the file of figures is another run's; 130 after Ctrl-C.
    """
    args = _parser().parse_args(arguments)
    rounds = args.rounds or (1 if args.quick else 5)
    try:
        journal = Journal(args.json, {"quick": args.quick, **machine()})
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    contests = [each for name in args.only for each in SECTIONS[name](args.quick)]
    contests = [_short_of(args.without, each) for each in contests]
    print("\n".join(_head(rounds, args.quick)), flush=True)
    try:
        for contest in contests:
            hold(contest.name, contest.contestants, journal, rounds, _say, product())
            print("\n".join(section(contest, journal)), flush=True)
    except KeyboardInterrupt:
        _say("stopped" + ("; the same command goes on from here" if args.json else ""))
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = list(SECTIONS)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="SECTION",
        help=f"of {', '.join(names)}",
    )
    parser.add_argument("--rounds", type=_positive, help="how often each is measured; default: 5")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="WORD",
        help="leaves out who has one of these in their name, such as learn2learn",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps figures; to go on with")
    parser.add_argument("--quick", action="store_true", help="tiny, and one round")
    return parser


def _short_of(words: Sequence[str], contest: Contest) -> Contest:
    """The contest without those in whose name one of the words is."""
    left = (x for x in contest.contestants if not any(word in x.name for word in words))
    return replace(contest, contestants=tuple(left))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _say(line: str) -> None:
    print(f"[{datetime.now():%H:%M:%S}] {line}", file=sys.stderr, flush=True)


# -- the machine ---------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What figures of one file must share."""
    return {"processor": _processor(), "cores": cores()}


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    described = path.read_text().splitlines() if path.exists() else []
    models = (line.partition(":")[2].strip() for line in described if "model name" in line)
    return next(models, platform.processor() or platform.machine())


def product() -> Contestant:
    """GFLOP/s of a large matrix product, which tells machines and moments apart."""
    return Contestant(PRODUCT, lambda _: Figure(matrix_product()))


def _head(rounds: int, quick: bool) -> list[str]:
    here = machine()
    system = f"{platform.system()}, Python {platform.python_version()}"
    lines = [f"{here['processor']}, {here['cores']} cores; {system}; rounds: {rounds}."]
    return [*lines, "", "**Quick: these figures mean nothing.**"] if quick else lines


# -- a section -----------------------------------------------------------------------------------


def section(contest: Contest, journal: Journal) -> list[str]:
    """A contest's Markdown: title, machine, table, verdicts, versions."""
    found = journal.found(contest.name)
    rows = table(contest, found, journal.failures(contest.name))
    verdicts = [f"- {target.verdict(found)}" for target in contest.targets]
    head = ["", f"### {contest.title}", "", *_speed(found), *rows, *contest.more(found)]
    return [*head, "", *verdicts, *_versions(found)]


def _speed(found: Found) -> list[str]:
    speeds = [figure.value for figure in found.get(PRODUCT, {}).values()]
    middle = sorted(speeds)[len(speeds) // 2]
    return [f"{PRODUCT}: {number(middle)} GFLOP/s ({span(speeds)}).", ""]


def _versions(found: Found) -> list[str]:
    known = {
        f"{name} {version}"
        for rounds in found.values()
        for figure in rounds.values()
        for name, version in figure.versions.items()
    }
    return ["", f"Versions: {', '.join(sorted(known))}."] if known else []


if __name__ == "__main__":
    main()
