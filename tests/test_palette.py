"""The colours: apart for every eye, clear on their paper, monotone in lightness."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from maml_sweep.analysis.drawing import palette


def linear(colour: str) -> np.ndarray:
    """Linear-light RGB [3] of "#rrggbb" (sRGB, IEC 61966-2-1)."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson's Oklab (2020), in which equal distances look about equal."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    found: np.ndarray = np.array(lab) @ np.cbrt(np.maximum(np.array(cones) @ rgb, 0.0))
    return found


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as one without a cone sees it
EYES = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", palette.THEMES)
def test_series_colours_can_be_told_apart(theme: str, eye: str) -> None:
    """In Okabe and Ito's palette the nearest two are 0.076 apart, by the same measure."""
    roles = palette.THEMES[theme].roles
    seen = [oklab(np.array(EYES[eye]) @ linear(roles[name])) for name in palette.SERIES]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 0.085


@pytest.mark.parametrize("theme", palette.THEMES)
def test_colours_stand_out_from_the_paper(theme: str) -> None:
    """WCAG 2.2: 3 for graphics, 4.5 for text."""
    roles = palette.THEMES[theme].roles
    light = {
        name: linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05 for name, colour in roles.items()
    }
    for name in (*palette.SERIES, "muted", "accent", "good", "bad", "text"):
        pair = sorted((light[name], light["paper"]))
        assert pair[1] / pair[0] >= (4.5 if name == "text" else 3.0), name


@pytest.mark.parametrize("theme", palette.THEMES)
def test_scales_run_from_dark_to_light_or_back(theme: str) -> None:
    for name, stops in palette.THEMES[theme].scales.items():
        assert [stops[0][0], stops[-1][0]] == [0, 1]
        lightness = np.diff([oklab(linear(colour))[0] for _, colour in stops])
        assert (lightness > 0).all() or (lightness < 0).all(), name


def test_themes_know_the_same_roles() -> None:
    themes = json.loads(json.dumps(palette.plain()))
    assert len({tuple(sorted(theme["roles"])) for theme in themes.values()}) == 1
    assert len({tuple(sorted(theme["scales"])) for theme in themes.values()}) == 1
