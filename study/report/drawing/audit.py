"""Draws where the best points lie between the edges of every range, over how the design covers it."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from study.report.drawing.style import COLOURS, Drawing, draw_panels
from study.report.measures.audit.audit import OUTER, PARTS, AxisAudit

#: Inches of one strip, and of what is above and below all of them.
_STRIP, _AROUND = 0.3, 0.9
_WIDTH = 6.6
#: Half the height of a strip.
_HALF = 0.36


def draw_edges(axes: tuple[AxisAudit, ...], titles: Mapping[str, str]) -> Drawing:
    """One strip for each axis of each optimizer: the cube from edge to edge, all points in grey, the best as dots.

    Args:
        axes: At least one.
        titles: Name of an optimizer -> what people call it.
    """

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        panel = panels[0]
        for row, audit in enumerate(axes):
            _draw_strip(drawing, panel, row, audit)
        panel.set_yticks(
            range(len(axes)), labels=[f"{titles.get(audit.optimizer, audit.optimizer)}: {audit.axis}" for audit in axes]
        )
        panel.set_ylim(len(axes) - 0.5, -0.5)
        panel.set_xlim(-0.06, 1.06)
        panel.set_xticks([0.0, OUTER, 0.5, 1.0 - OUTER, 1.0])
        for place in (OUTER, 1.0 - OUTER):
            panel.axvline(place, color="#555555", linestyle=":", linewidth=0.8, zorder=1)
        panel.set_xlabel("place in the range, on its own scale (0 is its lower edge, 1 its upper edge)")
        flagged = sum(_is_beyond(audit) for audit in axes)
        panel.set_title(f"{len(axes)} axes; the optimum may lie beyond an edge of {flagged}")

    return draw_panels(1, 1, draw, panel=(_WIDTH, _STRIP * len(axes) + _AROUND))


def _is_beyond(audit: AxisAudit) -> bool:
    return any(edge is not None and edge.beyond for edge in (audit.low, audit.high))


def _draw_strip(drawing: Drawing, panel: Axes, row: int, audit: AxisAudit) -> None:
    most = max(audit.counts)
    shades = [str(0.96 - 0.16 * count / most) for count in audit.counts]
    panel.bar(
        [(part + 0.5) / PARTS for part in range(PARTS)],
        2 * _HALF,
        width=1.0 / PARTS,
        bottom=row - _HALF,
        color=shades,
        zorder=0,
    )
    dots = panel.scatter(
        audit.top_places, [row] * len(audit.top_places), s=14, color=COLOURS[0], edgecolors="white", linewidths=0.4
    )
    drawing.say(dots, [f"{audit.optimizer}, {audit.axis}: place {place:.3f}" for place in audit.top_places])
    best = panel.scatter(
        [audit.best_place], [row], s=90, marker="*", color=COLOURS[1], edgecolors="black", linewidths=0.5, zorder=3
    )
    value = f"{audit.axis} = {audit.best_value}, place {audit.best_place:.3f}"
    drawing.say(best, [f"{audit.optimizer}, trial {audit.best_trial}: {value}"])
    for edge, place, marker in ((audit.low, -0.03, "<"), (audit.high, 1.03, ">")):
        if edge is not None and edge.beyond:
            arrow = panel.scatter([place], [row], s=45, marker=marker, color=COLOURS[1])
            drawing.say(arrow, [f"{edge.best.count} of {edge.best.total} best points lie near {edge.value}"])
