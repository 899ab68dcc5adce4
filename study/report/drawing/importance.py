"""Drawing which axes matter: dots with whiskers for single axes, and for pairs."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from study.report.drawing.style import COLOURS, Drawing, draw_panels
from study.report.measures.importance.importance import AxisImportance, CellImportance, PairImportance
from study.report.measures.intervals import Estimate

#: Inches of a row, and of a panel.
_ROW, _WIDTH = 0.21, 4.2
_FIRST, _TOTAL, _TREES, _BEST = COLOURS[0], COLOURS[1], COLOURS[6], COLOURS[2]
_PED = "PED-ANOVA (share of the sum)"
_Row = tuple[float, str]


def draw_importance(importances: Sequence[CellImportance]) -> Drawing:
    """Shares of single axes on the left, those of interactions of pairs on the right; optimizers below one another.

    Args:
        importances: The cells of one workload that have axes to show.
    """
    height = sum(_rows(cell) for cell in importances) * _ROW + 1.0
    columns = 2 if any(cell.pairs for cell in importances) else 1
    return draw_panels(1, columns, lambda drawing, panels: _fill(drawing, panels, importances), panel=(_WIDTH, height))


def _rows(cell: CellImportance) -> float:
    """Height of what one optimizer takes, its headline and a gap included."""
    return max(len(cell.axes), len(cell.pairs)) + 1.3


def _fill(drawing: Drawing, panels: Sequence[Axes], importances: Sequence[CellImportance]) -> None:
    place = 0.0
    labels: list[list[_Row]] = [[] for _ in panels]
    for cell in importances:
        for axes in panels:
            axes.text(0.0, place, _headline(cell), fontsize=7, fontweight="bold", va="center")
        for row, axis in enumerate(cell.axes, start=1):
            labels[0].append((place + row, axis.axis))
            _draw_axis(drawing, panels[0], place + row, cell, axis)
        for row, pair in enumerate(cell.pairs, start=1):
            labels[1].append((place + row, " × ".join(pair.axes)))  # noqa: RUF001 - the sign of interactions
            _draw_pair(drawing, panels[1], place + row, cell, pair)
        place += _rows(cell)
    panels[0].set_title("single axes")
    panels[0].set_xlim(-0.02, 1.02)
    for axes in panels[1:]:
        axes.set_title("interactions of two axes")
        axes.set_xlim(-0.01, max(0.25, axes.get_xlim()[1]))
    for axes, own in zip(panels, labels, strict=True):
        axes.set_yticks([row for row, _ in own], labels=[label for _, label in own])
        axes.set_ylim(place - 0.5, -0.8)
        axes.set_xlabel("share of the variance over the search space")
        axes.grid(axis="x", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    _explain(drawing, importances)


def _headline(cell: CellImportance) -> str:
    counts = f"{cell.points} points, {cell.diverged} with divergence"
    if cell.r2 is None:
        return f"{cell.title}: {counts}"
    return f"{cell.title}: R² {cell.r2:.2f}{'' if cell.trusted else ' (low)'}, {counts}"


def _draw_axis(drawing: Drawing, axes: Axes, row: float, cell: CellImportance, axis: AxisImportance) -> None:
    name = f"{cell.title}, {axis.axis}"
    _draw_estimate(drawing, axes, row - 0.17, axis.total, ("s", _TOTAL), f"{name}: total")
    _draw_estimate(drawing, axes, row + 0.17, axis.first, ("o", _FIRST), f"{name}: first-order")
    if axis.forest is not None:
        axes.plot([axis.forest.mean], [row + 0.17], marker="|", markersize=9, color=_TREES, linestyle="none")
    if axis.ped_anova is not None:
        axes.plot([axis.ped_anova.value], [row], marker="x", markersize=5, color=_BEST, linestyle="none")


def _draw_pair(drawing: Drawing, axes: Axes, row: float, cell: CellImportance, pair: PairImportance) -> None:
    name = f"{cell.title}, {' and '.join(pair.axes)}"
    _draw_estimate(drawing, axes, row, pair.share, ("D", _FIRST), f"{name}: interaction")
    if pair.forest is not None:
        axes.plot([pair.forest.mean], [row], marker="|", markersize=9, color=_TREES, linestyle="none")


def _draw_estimate(
    drawing: Drawing, axes: Axes, row: float, estimate: Estimate | None, look: tuple[str, str], text: str
) -> None:
    """A point with its interval; nothing where there is none."""
    if estimate is None:
        return
    marker, colour = look
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=1.0, solid_capstyle="butt")
        interval = f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    face = "white" if marker == "s" else colour
    points = axes.scatter([estimate.value], [row], s=16, marker=marker, color=face, edgecolor=colour, zorder=3)
    drawing.say(points, [f"{text} {estimate.value:.3f}{interval}"])


def _explain(drawing: Drawing, importances: Sequence[CellImportance]) -> None:
    """What marks mean: those that occur."""
    axes = [axis for cell in importances for axis in cell.axes]
    pairs = [pair for cell in importances for pair in cell.pairs]
    trees = any(axis.forest for axis in axes) or any(pair.forest for pair in pairs)
    marks: list[tuple[bool, dict[str, Any]]] = [
        (
            any(axis.total for axis in axes),
            {"marker": "s", "color": _TOTAL, "label": "total", "markerfacecolor": "white"},
        ),
        (any(axis.first for axis in axes), {"marker": "o", "color": _FIRST, "label": "first-order"}),
        (any(pair.share for pair in pairs), {"marker": "D", "color": _FIRST, "label": "interaction"}),
        (trees, {"marker": "|", "color": _TREES, "label": "fANOVA", "linestyle": "none"}),
        (any(axis.ped_anova for axis in axes), {"marker": "x", "color": _BEST, "label": _PED, "linestyle": "none"}),
    ]
    handles = [Line2D([], [], markersize=9 if look["marker"] == "|" else 4, **look) for occurs, look in marks if occurs]
    if handles:
        drawing.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
