"""The report: whole, safe, true to the frames, and sensible whatever the study."""

from __future__ import annotations

import html as entities
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from pages import Element, parsed
from planned import CONFIG, FOUR
from simulated import BATCH, META_RATE, RATE, STEPS, bowl

from maml_sweep.analysis import figures, frames
from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.report import embed, facts, html, tables

NASTY = "<script>alert('1')</script> \"ü\" & {{ 7*7 }} \u2028 </script><!--"


def answers(root: Path, **changes: Any) -> Answers:
    return Answers(frames.load(synthetic.make(root, **changes)))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Thirty trials, some of them diverged."""
    root = tmp_path_factory.mktemp("usual")
    return answers(root, name="usual", diverge=lambda values: values[RATE] * values[STEPS] > 0.2)


@pytest.fixture(scope="module")
def page(usual: Answers) -> Element:
    return parsed(html(usual))


# -- what is carried ------------------------------------------------------------------------------


def test_json_cannot_leave_its_block() -> None:
    block = str(embed.safe_json({NASTY: [NASTY, math.nan, np.float64(0.5), np.int64(3)]}))
    assert not set("<>&\u2028\u2029") & set(block)
    assert json.loads(block) == {NASTY: [NASTY, None, 0.5, 3]}


@pytest.mark.parametrize("text", ["</script>", "</SCRIPT >", "<!--", "<script"])
def test_a_script_cannot_leave_its_element(text: str) -> None:
    source = f"const a = '{text}', b = /{text[:2]}/;"
    safe = str(embed.safe_script(source))
    assert text not in safe and safe.replace(r"\x3c", "<") == source


def test_plotly_is_carried_whole() -> None:
    source = embed.plotly_js()
    assert source.startswith("/**\n* plotly.js v") and len(source) > 4e6


def test_the_page_names_nothing_to_load(usual: Answers, page: Element) -> None:
    for element in page.all("script") + page.all("link") + page.all("img"):
        assert not element.attributes.get("src"), element
        assert element.attributes.get("href", "data:").startswith("data:")
    (policy,) = [
        each.attributes["content"] for each in page.all("meta") if "http-equiv" in each.attributes
    ]
    assert "default-src 'none'" in policy and "http" not in policy
    assert "url(" not in page.all("style")[0].source


def test_ids_are_unique_and_links_lead_somewhere(page: Element) -> None:
    ids = _ids(page)
    assert len(ids) == len(set(ids))
    targets = [each.attributes["href"] for each in page.all("a")]
    assert len(targets) > 10 and {target.removeprefix("#") for target in targets} <= set(ids)
    labels = {each.attributes["for"] for each in page.all("label")}
    assert labels <= set(ids)


def _ids(element: Element) -> list[str]:
    own = [element.attributes["id"]] if "id" in element.attributes else []
    return own + [
        each for child in element.children if isinstance(child, Element) for each in _ids(child)
    ]


# -- numbers --------------------------------------------------------------------------------------


def test_the_trial_table_holds_the_frame(usual: Answers, page: Element) -> None:
    table = page.json("trials-data")
    trials = usual.frames.trials
    columns = {column["key"]: column for column in table["columns"]}
    keys = ("slot", "state", "value", "last", RATE, STEPS, META_RATE, BATCH, "seconds", "tasks")
    for key in keys:
        got, want = columns[key]["values"], trials[key]
        assert columns[key]["number"] == (key != "state")
        assert [x is None for x in got] == want.isna().tolist(), key
        assert [x for x in got if x is not None] == want.dropna().tolist(), key
    kinds = dict(zip(trials["slot"], table["kinds"], strict=True))
    assert [slot for slot, kind in kinds.items() if kind == "best"] == [usual.best]
    tied = {slot for slot, kind in kinds.items() if kind}
    assert tied == set(usual.winners["slot"])


def test_columns_without_a_number_are_left_out(page: Element) -> None:
    keys = [column["key"] for column in page.json("trials-data")["columns"]]
    assert "reason" not in keys and "diverged" in keys


def test_the_winner_table_holds_the_winners(usual: Answers, page: Element) -> None:
    rows = page.rows("winners-table")
    assert rows[0][:5] == ["slot", "mse", "difference to the best", "95% interval", "p"]
    assert [int(row[0]) for row in rows[1:]] == usual.winners["slot"].tolist()
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(usual.winners["mean"], rel=1e-3)
    by_slot = usual.frames.trials.set_index("slot")
    place = rows[0].index("meta_lr")
    for row in rows[1:]:
        assert float(row[place]) == pytest.approx(by_slot.loc[int(row[0]), META_RATE], rel=1e-3)


def test_shortened_numbers_carry_the_whole_one() -> None:
    assert tables.number(0.123456789) == tables.Cell("0.1235", "number", "0.123456789")
    assert tables.number(3.0) == tables.Cell("3", "number")
    assert tables.number(None) == tables.number(math.nan) == tables.Cell("", "number")


def test_counts_findings_and_command(usual: Answers, page: Element) -> None:
    counts = usual.frames.trials["state"].value_counts()
    legend = [item.text for item in page.all("li") if item.attributes.get("class")]
    assert legend == [f"{counts[state]} {state}" for state in ("complete", "pruned", "diverged")]
    findings = page.by_id("findings")
    assert [item.text for item in findings.all("li")] == [_one(x) for x in usual.findings]
    assert page.by_id("next").text == _one(usual.next_command)


def _one(text: str) -> str:
    return " ".join(text.split())


def test_facts_name_tasks_norm_and_budget(page: Element) -> None:
    told = page.by_id("facts").text
    assert "20 meta-validation tasks, fixed by seed 0" in told
    assert "each trial's own number of inner steps" in told
    assert "none: the model has no norm" in told
    assert "2,000 meta-iterations a trial" in told


def test_facts_follow_the_configuration(tmp_path: Path) -> None:
    config = CONFIG | {
        "model": {"_target_": "maml_sweep.models.Conv4", "norm": "support"},
        "training": CONFIG["training"] | {"budget": "tasks", "eval_steps": 10},
    }
    study = answers(tmp_path, n_trials=2, config=config, tasks=7, seed=5, repeats=3).frames
    told = dict(facts.facts(study))
    assert told["Norm statistics"].startswith("of the support set")
    assert told["Judged on"].startswith("7 meta-validation tasks, fixed by seed 5")
    assert "after 10 adaptation steps" in told["Judged on"]
    assert told["Budget"].startswith("tasks: every trial sees 50,000 tasks")
    assert "3 training seeds" in told["Objective"]


def test_facts_say_where_branches_differ(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"model": {"mlp": {}, "conv4": {}}}
    study = answers(tmp_path, n_trials=2, groups=groups).frames
    study.plan.configs["conv4"]["model"] = {"norm": "transductive"}
    told = dict(facts.facts(study))["Norm statistics"]
    assert told.startswith("none: the model has no norm (mlp); transductive:")
    assert told.endswith("(conv4)")


def test_the_space_table_warns_at_a_bound(tmp_path: Path) -> None:
    """The best β is 0.003, beyond the range, so all good trials lie at its upper end."""
    space = dict(FOUR) | {META_RATE: "tag(log, interval(1e-5, 1e-3))"}
    study = answers(tmp_path, n_trials=60, space=space)
    assert [(bound.parameter, bound.side) for bound in study.bounds] == [(META_RATE, "high")]
    table = tables.space(study)
    assert [column.label for column in table.columns][-1] == "to note"
    (warned,) = [row for row in table.rows if row.kind == "warned"]
    assert warned.cells[0].text == META_RATE and "upper bound" in warned.cells[-1].text
    assert study.bounds[0].wider in warned.cells[-1].text
    (where,) = [cell for cell in warned.cells if cell.ticks is not None]
    assert where.ticks is not None and where.ticks[-1] > 0.8


@pytest.mark.parametrize("figure", ["history", "adaptation", "hardness", "steps-map"])
def test_a_figures_block_is_what_its_renderer_gives(
    usual: Answers, page: Element, figure: str
) -> None:
    from maml_sweep.analysis.drawing import plotly

    drawing = next(each for each in figures.all_figures(usual) if each.key == figure)
    assert isinstance(drawing, marks.Figure)
    expected = json.loads(json.dumps(plotly.render(drawing)))
    assert page.json(f"figure-{figure}-data") == [expected]
    assert drawing.caption in page.by_id(f"figure-{figure}").text


def test_a_choice_offers_its_options(usual: Answers, page: Element) -> None:
    drawings = figures.all_figures(usual)
    choices = [each for each in drawings if isinstance(each, marks.Choice)]
    assert choices
    for choice in choices:
        options = page.by_id(f"figure-{choice.key}-choice").all("option")
        assert [option.text for option in options] == list(choice.options)
        (selected,) = [each.text for each in options if "selected" in each.attributes]
        assert selected == choice.chosen
        assert len(page.json(f"figure-{choice.key}-data")) == len(options)


# -- odd studies ----------------------------------------------------------------------------------

OPTIMIZERS = {"adam": {}, "sgd": {"optimizer.momentum": "0.0,0.5,0.9"}}
ODD: dict[str, dict[str, Any]] = {
    "none": {"n_trials": 0},
    "waiting": {"n_trials": 3, "states": "waiting"},
    "one": {"n_trials": 1},
    "one pruned": {"n_trials": 1, "states": "pruned"},
    "all pruned": {"n_trials": 8, "states": "pruned"},
    "all diverged": {"n_trials": 8, "states": "diverged"},
    "all failed": {"n_trials": 3, "states": "failed"},
    "one parameter": {"n_trials": 12, "space": {RATE: FOUR[RATE]}},
    "nothing searched": {"n_trials": 4, "space": {}},
    "running": {"n_trials": 12, "states": {8: "running", 9: "running", 11: "waiting"}},
    "categorical": {"n_trials": 20, "space": {"model.activation": "relu,tanh,elu"}},
    "conditional": {"n_trials": 30, "groups": {"optimizer": OPTIMIZERS}},
    "workers": {"n_trials": 24, "workers": 3, "lease": "dead"},
    "no files": {"n_trials": 12, "evaluations": False, "turns": False},
    "score": {
        "n_trials": 12,
        "direction": "maximize",
        "metric": "accuracy",
        "objective": lambda values, step: 1 / (1 + bowl(values, step)),
    },
    "constant": {"n_trials": 8, "objective": lambda values, step: 1.0},
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_studies_get_a_sensible_report(tmp_path: Path, odd: str) -> None:
    study = answers(tmp_path, **ODD[odd])
    page = parsed(html(study))
    drawings = figures.all_figures(study)
    assert len(page.all("figure")) == len(drawings)
    for drawing in drawings:
        shown = page.by_id(f"figure-{drawing.key}")
        if isinstance(drawing, marks.Words):
            assert drawing.text in shown.text and not shown.all("script")
        else:
            for rendered in page.json(f"figure-{drawing.key}-data"):
                assert rendered["data"], drawing.key
    assert page.by_id("findings").all("li")
    assert len(page.json("trials-data")["kinds"]) == len(study.frames.trials)
    if odd in {"none", "waiting"}:
        assert all(isinstance(drawing, marks.Words) for drawing in drawings)


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    choices = ", ".join(f'"{text}"' for text in ("<b>x</b>", "ü & 'q'", "</script><!--"))
    study = answers(
        tmp_path,
        n_trials=12,
        metric="<i>mse</i>",
        space={RATE: FOUR[RATE], "model.activation": choices},
        versions={"<u>py</u>": "3 & 4"},
    )
    study.frames.plan.config["model"]["_target_"] = NASTY
    for config in study.frames.plan.configs.values():
        config["model"]["_target_"] = NASTY
    source = html(study)
    page = parsed(source)
    for tag in ("b", "i", "u"):
        assert not [each for each in page.all(tag) if each.text in {"x", "mse", "py"}]
    assert "alert('1')" not in "".join(each.source for each in page.all("script"))
    cells = {cell for row in page.rows("space-table") for cell in row}
    assert "<b>x</b> | ü & 'q' | </script><!--" in cells
    values = {x for column in page.json("trials-data")["columns"] for x in column["values"]}
    assert {"<b>x</b>", "ü & 'q'", "</script><!--"} <= values
    assert "<u>py</u> 3 & 4" in page.all("footer")[0].text


def test_a_name_is_escaped_in_the_title(usual: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames.Frames, "name", NASTY)
    source = html(usual, [])
    assert entities.unescape(re.findall("<title>(.*?) – maml_sweep</title>", source)[0]) == NASTY
    assert parsed(source).all("h1")[0].text == _one(NASTY)
    assert "{{ 7*7 }}" in source


def test_a_thousand_trials_stay_small(tmp_path: Path) -> None:
    study = answers(tmp_path, n_trials=1000, tasks=20, prune="none")
    assert len(study.frames.values) == 1000 * 20
    source = html(study).encode()
    assert len(source) < 6.5e6  # of which plotly.js is 4.5e6
    page = parsed(source.decode())
    (values,) = [x for x in page.json("trials-data")["columns"] if x["key"] == "value"]
    assert values["values"] == pd.Series(study.frames.trials["value"]).tolist()
