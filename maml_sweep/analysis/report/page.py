"""A study as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped, unused-ignore]
from jinja2 import Environment, StrictUndefined

import maml_sweep
from maml_sweep.analysis import figures
from maml_sweep.analysis.columns import STATES
from maml_sweep.analysis.drawing import marks, palette, plotly
from maml_sweep.analysis.report import facts, tables
from maml_sweep.analysis.report.embed import plotly_js, safe_json, safe_script
from maml_sweep.search import records

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers


@dataclass(frozen=True)
class Shown:
    """A drawing as the template takes it.

    Attributes:
      id: of the element, `figure-<key>`.
      json: the renderings, one an option; empty if `words` stand in their place.
      options: labels of a choice; empty if there is none.
      chosen: the index of the option that is shown first.
      height: pixels kept free for it.
    """

    id: str
    title: str
    caption: str = ""
    note: str = ""
    words: str = ""
    json: str = ""
    options: Sequence[str] = ()
    chosen: int = 0
    height: int = 0


def html(answers: Answers, drawings: Sequence[marks.Drawing] | None = None) -> str:
    """The whole page.

    Args:
      answers: of the study.
      drawings: the figures; None: all there are.

    Raises:
      InputError: plotly's script is not installed.
    """
    drawings = figures.all_figures(answers) if drawings is None else drawings
    shown = [show(each) for each in drawings]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_read("template.html"))
    return template.render(**_head(answers), **_body(answers, shown), **_carried())


def show(drawing: marks.Drawing) -> Shown:
    """A drawing rendered for the page."""
    key, title = f"figure-{drawing.key}", drawing.title
    if isinstance(drawing, marks.Words):
        return Shown(key, title, words=drawing.text)
    options: dict[str, Any] = {"": drawing}
    chosen = 0
    if isinstance(drawing, marks.Choice):
        options = dict(drawing.options)
        chosen = list(options).index(drawing.chosen)
    rendered = [plotly.render(each) for each in options.values()]
    return Shown(
        key,
        title,
        caption=drawing.caption,
        note=drawing.note,
        json=safe_json(rendered),
        options=list(options) if isinstance(drawing, marks.Choice) else (),
        chosen=chosen,
        height=int(rendered[chosen]["layout"].get("height", 420)),
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _carried() -> dict[str, Any]:
    """Styles and scripts."""
    return {
        "style": _read("style.css"),
        "script": safe_script(_read("script.js")),
        "plotly": safe_script(plotly_js()),
        "palette_json": safe_json(palette.plain()),
    }


def _head(answers: Answers) -> dict[str, Any]:
    frames = answers.frames
    trials = frames.trials
    sizes = trials["state"].value_counts()
    counts = [(state, int(sizes[state])) for state in STATES if sizes.get(state, 0)]
    versions = ", ".join(f"{name} {each}" for name, each in frames.plan.versions.items())
    return {
        "name": frames.name,
        "subtitle": facts.subtitle(frames),
        "period": facts.period(frames),
        "counts": counts,
        "counts_words": ", ".join(f"{count} {state}" for state, count in counts),
        "versions": versions or "versions that were not recorded",
        "version": maml_sweep.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _body(answers: Answers, shown: Sequence[Shown]) -> dict[str, Any]:
    frames = answers.frames
    contents = [("findings", "Findings"), ("winners", "Winner set"), ("space", "Space")]
    contents += [(each.id, each.title) for each in shown]
    contents += [("trials", "Trials"), ("workers", "Workers")]
    return {
        "contents": contents,
        "findings": answers.findings,
        "next_command": answers.next_command,
        "facts": facts.facts(frames),
        "winners": tables.winners(answers),
        "winners_words": tables.winners_words(answers),
        "space": tables.space(answers),
        "workers": tables.workers(frames),
        "figures": shown,
        "trials_json": safe_json(tables.trials(answers)),
        **_best(answers),
    }


def _best(answers: Answers) -> dict[str, Any]:
    """The best trial's whole configuration and the line that trains it again."""
    if answers.best is None:
        return {"configuration": "", "best_command": ""}
    frames = answers.frames
    config = frames.config(answers.best)
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    line = records.run_line(frames.slots[answers.best].trial, frames.plan, frames.searched)
    return {"configuration": text, "best_command": line}
