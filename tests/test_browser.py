"""The report in a real browser: no error, no request, every figure drawn, tables that sort.

Needs the package playwright and a Chromium of the system. Without them the tests are skipped,
unless the environment variable MAML_SWEEP_BROWSER is "required".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from browsing import FLAGS, Opened, executable, numbers
from planned import FOUR
from simulated import RATE, STEPS

from maml_sweep.analysis import figures, frames
from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing import marks, plotly
from maml_sweep.analysis.figures import adaptation, history, steps_map
from maml_sweep.analysis.report import html

GROUPS: dict[str, Any] = {
    "optimizer": {"adam": {}, "sgd": {"optimizer.momentum": "0.0,0.5,0.9"}},
}
CHOICES = "relu,tanh,'<b>\\'ü\\' & co</b>'"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A study with everything in it, opened from disk, 1280 pixels wide."""
    path = executable()
    from playwright.sync_api import sync_playwright

    root = tmp_path_factory.mktemp("browser")
    folder = synthetic.make(
        root,
        name="ü, 1",
        n_trials=60,
        groups=GROUPS,
        space={**FOUR, "model.activation": CHOICES},
        diverge=lambda values: values[RATE] * values[STEPS] > 0.2,
        states={57: "running", 58: "failed", 59: "waiting"},
        workers=2,
    )
    answers = Answers(frames.load(folder))
    file = root / "report.html"
    file.write_text(html(answers), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        found = Opened(answers, page)
        found.listen()
        page.goto(file.as_uri())
        found.draw()
        yield found
        browser.close()
    assert not found.complaints and not found.requests  # whatever the tests did


def test_nothing_is_complained_of_and_nothing_asked_for(opened: Opened) -> None:
    assert opened.complaints == []
    assert opened.requests == []


def test_every_figure_shows_data(opened: Opened) -> None:
    drawings = figures.all_figures(opened.answers)
    drawn = [each for each in drawings if not isinstance(each, marks.Words)]
    assert len(drawn) >= 12
    assert opened.page.locator(".plot").count() == len(drawn)
    for drawing in drawn:
        shown = drawing.options[drawing.chosen] if isinstance(drawing, marks.Choice) else drawing
        expected = plotly.render(shown)["data"]
        assert len(opened.data(drawing.key)) == len(expected) > 0
        script = """(id) => { const node = document.getElementById(id); return [
            node.querySelectorAll('.trace, .bars .point, .heatmaplayer image, .hm, canvas').length,
            node.querySelector('.main-svg').getBoundingClientRect().height] }"""
        elements, height = opened.page.evaluate(script, f"figure-{drawing.key}-plot")
        assert elements > 0 and height > 150, drawing.key


def test_the_history_shows_the_frame(opened: Opened) -> None:
    table = history.frame(opened.answers.frames).dropna(subset=["value"])
    traces = [each for each in opened.data("history") if each["mode"] == "markers"]
    states = {each["name"]: each for each in traces}
    for state in ("complete", "pruned"):
        rows = table[table["state"] == state]
        assert numbers(states[state]["x"]).tolist() == rows["order"].tolist()
        assert numbers(states[state]["y"]) == pytest.approx(rows["value"].to_numpy(), rel=1e-6)
        assert numbers(states[state]["customdata"]).tolist() == rows["slot"].tolist()


def test_the_map_shows_the_frame(opened: Opened) -> None:
    table = steps_map.frame(opened.answers)
    points = [each for each in opened.data("steps-map") if each["mode"] == "markers"]
    assert numbers(points[0]["x"]) == pytest.approx(table["alpha"].to_numpy(), rel=1e-6)
    colours = numbers(points[0]["marker"]["color"])
    assert colours == pytest.approx(table["standing"].to_numpy(), rel=1e-6)
    products = np.concatenate([numbers(each["x"]) for each in points[1:]])
    assert np.sort(products) == pytest.approx(np.sort(table["product"]), rel=1e-6)


def test_the_adaptation_shows_the_frame(opened: Opened) -> None:
    table = adaptation.frame(opened.answers)
    lines = [each for each in opened.data("adaptation") if each["mode"] == "lines+markers"]
    curves = [curve for _, curve in table.groupby("slot", sort=False)]
    assert len(lines) == len(curves)
    for line, curve in zip(lines, curves, strict=True):
        assert numbers(line["x"]).tolist() == curve["step"].tolist()
        assert numbers(line["y"]) == pytest.approx(curve["mean"].to_numpy(), rel=1e-6)


def test_a_choice_redraws_its_figure(opened: Opened) -> None:
    drawings = figures.all_figures(opened.answers)
    choice = next(each for each in drawings if isinstance(each, marks.Choice))
    label = [label for label in choice.options if label != choice.chosen][-1]
    opened.page.select_option(f"#figure-{choice.key}-choice", label=label)
    assert len(opened.data(choice.key)) == len(plotly.render(choice.options[label])["data"])
    opened.page.select_option(f"#figure-{choice.key}-choice", label=choice.chosen)


def test_a_column_sorts_as_numbers_with_the_empty_last(opened: Opened) -> None:
    trials = opened.answers.frames.trials
    for order, descending in (("ascending", False), ("descending", True)):
        opened.head("value").locator("button").click()
        assert opened.head("value").get_attribute("aria-sort") == order
        values = trials.sort_values(["value", "slot"], ascending=[not descending, True])
        assert opened.column("slot") == [str(slot) for slot in values["slot"]]
    assert opened.head("slot").get_attribute("aria-sort") == "none"
    opened.head("slot").locator("button").press("Enter")  # as the keyboard does
    assert opened.column("slot") == [str(slot) for slot in trials["slot"]]


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("complete", "state == 'complete'"),
        ("inner_lr<0.01 algorithm.inner_steps>=3", f"`{RATE}` < 0.01 and `{STEPS}` >= 3"),
        ("state=pruned tanh", "state == 'pruned' and `model.activation` == 'tanh'"),
        ("slot=7", "slot == 7"),
        ("no such thing", "slot < 0"),
    ],
)
def test_the_table_is_filtered(opened: Opened, typed: str, query: str) -> None:
    opened.page.fill("#filter", typed)
    rows = opened.answers.frames.trials.query(query)
    assert opened.column("slot") == [str(slot) for slot in rows["slot"]]
    assert f"{len(rows)} of 60 trials" in opened.page.inner_text("#shown")
    opened.page.fill("#filter", "")


def test_a_click_on_a_trial_shows_its_row(opened: Opened) -> None:
    slots = numbers(opened.data("history")[0]["customdata"]).astype(int)
    plot = opened.page.locator("#figure-history-plot")
    plot.scroll_into_view_if_needed()
    box = plot.locator(".scatterlayer .point").first.bounding_box()
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.wait_for_function("document.getElementById('filter').value")
    assert opened.page.input_value("#filter") == f"slot={slots[0]}"
    assert opened.column("slot") == [str(slots[0])]
    opened.page.fill("#filter", "")


def test_choices_are_shown_as_text(opened: Opened) -> None:
    assert "<b>'ü' & co</b>" in set(opened.column("activation"))
    assert opened.page.locator("b", has_text="co").count() == 0


def test_the_theme_repaints_page_and_figures(opened: Opened) -> None:
    page = opened.page
    seen = []
    for label in ("Dark", "Light"):
        look = """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(
            document.querySelector('#figure-history .xtick text')).fill]"""
        seen.append(page.evaluate(look))
        assert page.inner_text("#theme") == label
        page.click("#theme")
    assert seen[0] == ["rgb(255, 255, 255)", "rgb(31, 35, 40)"]
    assert seen[1][0] != seen[0][0] and seen[1][1] != seen[0][1]
    assert page.evaluate(look) == seen[0]


def test_the_page_fits_wide_and_narrow(opened: Opened) -> None:
    page = opened.page
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            """() => [...document.querySelectorAll('.js-plotly-plot .main-svg')].every((svg) =>
                svg.getBoundingClientRect().right <= innerWidth)"""
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_gets_every_figure_in_light_colours(opened: Opened) -> None:
    page = opened.page
    page.click("#theme")  # dark
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    look = """() => [...document.querySelectorAll('.js-plotly-plot')].map((node) => [
        node._fullLayout.width, node._fullLayout.font.color])"""
    assert {tuple(each) for each in page.evaluate(look)} == {(680, "#000000")}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function("document.querySelector('.js-plotly-plot')._fullLayout.width > 700")
    page.click("#theme")


def test_a_second_theme_is_the_systems(opened: Opened, tmp_path: Path) -> None:
    """Opened where the system is dark, the page is dark without a click."""
    file = tmp_path / "report.html"
    file.write_text(html(opened.answers, []), encoding="utf-8")
    page = opened.page.context.browser.new_page(color_scheme="dark")
    page.goto(file.as_uri())
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(22, 25, 31)" and page.inner_text("#theme") == "Light"
    page.close()
