"""The colours of every figure, in three themes: `light` and `dark` on a screen, `print` on paper.

A figure names roles; its renderer looks them up here, or writes a placeholder for a page that can
change its theme:

    "role:series0"        THEMES[theme].roles["series0"]
    "role:series0@0.2"    the same, 20% opaque
    "scale:standing"      THEMES[theme].scales["standing"], stops [position, colour]

The eight series colours keep their hue order in all themes: blue, orange, green, purple, sky, red,
olive, grey. They were searched for so that any two stay apart, seen with normal vision or without
one kind of cone (Machado, Oliveira and Fernandes 2009), and each reaches a contrast of 3 on its
paper (WCAG 2.2, 1.4.11); the tests hold them to both. Lightness is monotone along every scale, so
they survive grey printing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Stops = tuple[tuple[float, str], ...]

SERIES = tuple(f"series{index}" for index in range(8))


@dataclass(frozen=True)
class Theme:
    """One theme.

    Attributes:
      roles: role -> "#rrggbb".
      scales: kind of scale -> stops from position 0 to 1.
    """

    roles: Mapping[str, str]
    scales: Mapping[str, Stops]


def _stops(*colours: str) -> Stops:
    """Evenly spaced stops."""
    return tuple((index / (len(colours) - 1), colour) for index, colour in enumerate(colours))


# Viridis, by Nathaniel Smith and Stéfan van der Walt (CC0), at nine points.
_VIRIDIS = _stops(
    "#440154",
    "#472d7b",
    "#3b528b",
    "#2c728e",
    "#21918c",
    "#28ae80",
    "#5ec962",
    "#addc30",
    "#fde725",
)
_LIGHT_SERIES = (
    "#4367e1", "#b86400", "#075246", "#7a2aa8", "#3b9cd2", "#970101", "#8e9a69", "#6a6a6a",
)  # fmt: skip
_DARK_SERIES = (
    "#a9b9ff", "#f49416", "#4ff0b0", "#b066a8", "#1a9ff0", "#d84e30", "#f7d53a", "#a09494",
)  # fmt: skip
_LIGHT_SCALES = {
    "value": _VIRIDIS,
    "standing": _stops("#081d58", "#225ea8", "#41a6c4", "#a6d5bd", "#deded2"),
    "probability": _stops("#f3f1ee", "#f6c19f", "#e2725b", "#970101"),
}

LIGHT = Theme(
    roles=dict(zip(SERIES, _LIGHT_SERIES, strict=True))
    | {
        "text": "#1f2328",
        "muted": "#7d8590",
        "accent": "#d97706",
        "good": "#1a7f37",
        "bad": "#a40e26",
        "grid": "#e4e7eb",
        "paper": "#ffffff",
    },
    scales=_LIGHT_SCALES,
)
DARK = Theme(
    roles=dict(zip(SERIES, _DARK_SERIES, strict=True))
    | {
        "text": "#e6e9ee",
        "muted": "#8b949e",
        "accent": "#ffb020",
        "good": "#4cc36c",
        "bad": "#ff6b5e",
        "grid": "#2e343d",
        "paper": "#16191f",
    },
    scales={
        "value": _VIRIDIS,
        "standing": _stops("#fff3b0", "#9fdcb0", "#41a6c4", "#2f6fa8", "#3a4266"),
        "probability": _stops("#262a31", "#7a3b34", "#d84e30", "#ffc2a3"),
    },
)
PRINT = Theme(roles={**LIGHT.roles, "text": "#000000", "grid": "#dddddd"}, scales=_LIGHT_SCALES)
THEMES: dict[str, Theme] = {"light": LIGHT, "dark": DARK, "print": PRINT}


def plain() -> dict[str, Any]:
    """The themes as the page's script takes them: {theme: {"roles": …, "scales": …}}."""
    return {name: asdict(theme) for name, theme in THEMES.items()}


def role(colour: str, opacity: float = 1.0) -> str:
    """The placeholder of a role.

    Raises:
      KeyError: no theme knows it.
    """
    if colour not in LIGHT.roles:
        raise KeyError(colour)
    return f"role:{colour}" if opacity >= 1 else f"role:{colour}@{opacity:g}"
