"""How figures look: optimizers that are told apart, ticks that are read."""

import itertools

import pytest
from matplotlib.axes import Axes

from study.axis import AxisSpec
from study.report.drawing.style import (
    COLOURS,
    Drawing,
    add_legend,
    axis_ticks,
    dodge,
    draw_panels,
    format_tick,
    look_of,
    save,
    set_log_ticks,
)


def test_the_first_64_optimizers_all_look_different_and_the_first_eight_in_every_respect():
    looks = [look_of(place) for place in range(64)]
    assert len({(look.colour, look.marker) for look in looks}) == 64
    assert len({(look.colour, look.line) for look in looks}) == 64
    for first, second in itertools.combinations(looks[:8], 2):
        assert first.colour != second.colour
        assert first.marker != second.marker
        assert first.line != second.line


def test_colours_stand_out_from_paper():
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert all(1.05 / (luminance(colour) + 0.05) > 2.0 for colour in COLOURS)


def test_whiskers_spread_evenly_about_their_place():
    assert [dodge(place, 3) for place in range(3)] == [-0.5, 0.0, 0.5]
    assert dodge(0, 1) == 0.0


@pytest.mark.parametrize(
    ("value", "text"), [(1e-5, "1e-5"), (0.001, "0.001"), (1.0, "1"), (1e7, "1e7"), (1e300, "1e300"), (0.3, "0.3")]
)
def test_ticks_are_short(value, text):
    assert format_tick(value) == text


@pytest.mark.parametrize(
    ("low", "high"), [(1e-5, 100.0), (0.01, 0.9), (0.3, 0.8), (0.5, 0.6), (3.0, 3.01), (1e-9, 1e9)]
)
def test_a_logarithmic_axis_has_plain_numbers_at_two_ticks_or_more(low, high):
    def draw(_: Drawing, panels: list[Axes]) -> None:
        panels[0].plot([low, high], [low, high])
        panels[0].set_xscale("log")
        panels[0].set_yscale("log")
        set_log_ticks(panels[0].xaxis)
        set_log_ticks(panels[0].yaxis)

    drawing = draw_panels(1, 1, draw)
    svg = save(drawing, "svg").decode()
    assert "mathdefault" not in svg
    axes = drawing.figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        start, end = axis.get_view_interval()
        ticks = [tick for tick in axis.get_majorticklocs() if start <= tick <= end]
        labels = [label.get_text() for label in axis.get_ticklabels()]
        assert 2 <= len(ticks) <= 12
        assert len(set(labels)) == len(labels)


def test_decays_have_ticks_where_people_think_of_them():
    ticks = axis_ticks(AxisSpec(low=0.0, high=0.9999, scale="log1m"))
    assert [label for _, label in ticks] == ["0", "0.9", "0.99", "0.999", "0.9999"]
    assert next(label for _, label in axis_ticks(AxisSpec(low=1e-5, high=0.1, scale="log"))) == "1e-5"


def test_a_legend_lies_outside_the_panels():
    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        panels[0].plot([0, 1], [0, 1], label="SGD with momentum")
        add_legend(drawing, panels[0])

    drawing = draw_panels(1, 1, draw)
    save(drawing, "png")
    legend = drawing.figure.legends[0].get_window_extent()
    assert not legend.overlaps(drawing.figure.axes[0].get_window_extent())

    def draw_nothing(drawing: Drawing, panels: list[Axes]) -> None:
        add_legend(drawing, panels[0])

    assert not draw_panels(1, 1, draw_nothing).figure.legends
