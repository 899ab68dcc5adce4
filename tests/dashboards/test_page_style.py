"""The style sheet: contrasts in light and dark, and no colour that is not a token."""

import re
from importlib import resources

import pytest

STYLE = (resources.files("dashboards") / "static" / "style.css").read_text(encoding="utf-8")
TOKENS = {
    name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", STYLE)
}
GROUNDS = ("ground", "panel")


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


TEXTS = [
    *[(text, ground) for text in ("text", "quiet", "link", "bad", "caution") for ground in (*GROUNDS, "raised")],
    *[("text", f"{kind}wash") for kind in ("", "good-", "bad-", "caution-")],
    *[("link", f"{kind}wash") for kind in ("", "bad-", "caution-")],
    ("on-accent", "accent"),
]
SHAPES = [
    *[(shape, ground) for shape in ("accent", "good", "bad", "caution", "quiet", "edge") for ground in GROUNDS],
    *[(f"series-{place}", ground) for place in range(1, 9) for ground in GROUNDS],
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("one", "other", "least"), [(*pair, 4.5) for pair in TEXTS] + [(*pair, 3.0) for pair in SHAPES]
)
def test_text_and_shapes_stand_off_their_ground(one: str, other: str, least: float, theme: int) -> None:
    assert contrast(TOKENS[one][theme], TOKENS[other][theme]) >= least


def test_every_colour_is_a_token_and_every_token_that_is_used_is_there() -> None:
    rules = STYLE[STYLE.index("/* Ground */") :]
    printed = rules[rules.index("@media print") :]
    plain = re.findall(r"#[0-9a-f]{6}\b|\brgba?\(|\bhsl", rules.replace(printed, ""))
    assert plain == []
    used = set(re.findall(r"var\(--([\w-]+)", STYLE))
    assert used <= set(TOKENS) | {"mono", "radius", "touch", "shade"}


def test_motion_print_and_forced_colours_are_thought_of() -> None:
    for query in ("prefers-reduced-motion: reduce", "forced-colors: active", "@media print", "pointer: coarse"):
        assert query in STYLE
