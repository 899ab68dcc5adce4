"""Drawing, sensitivity: the loss over the learning rate with the robust windows, and windows of all axes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from study.report.drawing.style import Drawing, add_legend, draw_panels, look_of, set_log_ticks
from study.report.measures.robustness.sensitivity import AxisSensitivity
from study.report.measures.robustness.windows import Window
from study.report.measures.robustness.yardstick import Yardstick

#: From this ratio of L0 to L* on, a logarithmic axis says more.
_LOG_FROM = 10.0


def draw_lr_curves(
    rows: Sequence[AxisSensitivity], yardstick: Yardstick, objective: str, reference_name: str, order: Sequence[str]
) -> Drawing:
    """The loss over the learning rate, and below it the window of each optimizer on the same axis.

    Args:
        rows: The learning rates of all optimizers of one workload that have a curve.
        yardstick: L* and L0 of the workload. Where L0 is ten times L* or more, losses are on a logarithmic axis, which
            curves of a surrogate may leave at the bottom, at half of L*.
        objective: Its name and unit.
        reference_name: What L0 is.
        order: Names of all optimizers of the study: each has the same colour in all figures.
    """
    reference = yardstick.reference
    is_log = 0 < _LOG_FROM * yardstick.best <= reference
    lowest = yardstick.best / 2 if is_log else -math.inf

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        curves, windows = panels
        for row in rows:
            _draw_curve(drawing, curves, row, order.index(row.optimizer), lowest)
        curves.axhline(reference, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        curves.annotate(
            reference_name, (0.01, reference), xycoords=("axes fraction", "data"), va="bottom", fontsize=6, color="0.4"
        )
        curves.set_ylabel(f"{objective}, log" if is_log else objective)
        if is_log:
            curves.set_yscale("log")
            curves.set_ylim(lowest, 1.4 * reference)
            set_log_ticks(curves.yaxis)
        add_legend(drawing, curves)
        for place, row in enumerate(reversed(rows)):
            _draw_window(drawing, windows, row, float(place), order.index(row.optimizer))
        windows.set_yticks(range(len(rows)), labels=[row.title for row in reversed(rows)])
        windows.set_ylim(-0.7, len(rows) - 0.3)
        for axes in panels:
            _set_scale(axes, rows)
        curves.set_xlabel("")

    return draw_panels(2, 1, draw, panel=(5.2, max(2.4, 0.8 + 0.3 * len(rows))))


def draw_windows(rows: Sequence[AxisSensitivity], order: Sequence[str]) -> Drawing:
    """The windows of all ranges of one workload, as shares of their ranges.

    Args:
        rows: All ranges of all optimizers of one workload that have a window.
        order: Names of all optimizers of the study.
    """

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        axes, labels = panels[0], []
        for place, row in enumerate(reversed(rows)):
            _draw_share(drawing, axes, row, float(place), order.index(row.optimizer))
            labels.append(f"{row.title}: {row.axis}")
        axes.set_yticks(range(len(rows)), labels=labels)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], labels=["low end", "", "middle", "", "high end"])
        axes.set_xlabel("place on the axis's own scale, over the declared range")

    return draw_panels(1, 1, draw, panel=(5.2, 0.8 + 0.22 * len(rows)))


def _draw_curve(drawing: Drawing, axes: Axes, row: AxisSensitivity, place: int, lowest: float) -> None:
    look = look_of(place)
    axes.plot(row.values, row.through, color=look.colour, linestyle=look.line, zorder=2)
    axes.plot([], [], color=look.colour, linestyle=look.line, marker=look.marker, markersize=4, label=row.title)
    # A surrogate's curve has more places than marks can be told apart at.
    every = 1 if row.from_points else max(len(row.values) // 8, 1)
    shown = list(zip(row.values, row.through, strict=True))[::every]
    shown = [(value, loss) for value, loss in shown if loss >= lowest]
    x, y = [value for value, _ in shown], [loss for _, loss in shown]
    points = axes.scatter(x, y, color=look.colour, marker=look.marker, s=14, zorder=3)
    drawing.say(points, [f"{row.title}: {row.axis} = {value:.3g}, {loss:.4g}" for value, loss in shown])


def _draw_window(drawing: Drawing, axes: Axes, row: AxisSensitivity, y: float, place: int) -> None:
    colour = look_of(place).colour
    axes.plot([row.low, row.high], [y, y], color="0.85", linewidth=1.0, zorder=0)
    window = row.window
    if window is not None and window.low is not None and window.high is not None:
        axes.plot([window.low, window.high], [y, y], color=colour, linewidth=5.0, solid_capstyle="butt", zorder=1)
        _draw_ends(axes, window, (window.low, window.high), y, colour)
    if row.anchor_value is not None:
        held = "default" if row.at_default else "best"
        _draw_mark(drawing, axes, row.anchor_value, y, f"{row.title}: {held} at {row.axis} = ", filled=True)
    if row.default_value is not None and not row.at_default:
        _draw_mark(drawing, axes, row.default_value, y, f"{row.title}: default {row.axis} = ", filled=False)


def _draw_ends(axes: Axes, window: Window, ends: tuple[float, float], y: float, colour: str) -> None:
    """Arrows where the range ends before the window does."""
    for end, is_open, mark in zip(ends, (window.open_low, window.open_high), "<>", strict=True):
        if is_open:
            axes.plot([end], [y], color=colour, marker=mark, markersize=9, clip_on=False, zorder=2)


def _draw_mark(drawing: Drawing, axes: Axes, x: float, y: float, text: str, *, filled: bool) -> None:
    if not filled and axes.get_xscale() == "log" and x <= 0:
        return
    face = "black" if filled else "white"
    marker = "D" if filled else "o"
    points = axes.scatter([x], [y], facecolor=face, edgecolor="black", linewidth=0.8, marker=marker, s=22, zorder=4)
    drawing.say(points, [f"{text}{x:.3g}"])


def _set_scale(axes: Axes, rows: Sequence[AxisSensitivity]) -> None:
    """A logarithmic axis if one of the ranges is; over all ranges, so that bars of windows compare in decades."""
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    if any(row.scale == "log" for row in rows) and low > 0:
        axes.set_xscale("log")
        margin = (high / low) ** 0.03
        axes.set_xlim(low / margin, high * margin)
        set_log_ticks(axes.xaxis)
        axes.set_xlabel(f"{rows[0].axis} (log)")
    else:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        axes.set_xlabel(rows[0].axis)


def _draw_share(drawing: Drawing, axes: Axes, row: AxisSensitivity, y: float, place: int) -> None:
    colour, window = look_of(place).colour, row.window
    axes.plot([0, 1], [y, y], color="0.85", linewidth=1.0, zorder=0)
    if window is None or window.low_place is None or window.high_place is None:
        return
    axes.plot(
        [window.low_place, window.high_place], [y, y], color=colour, linewidth=5.0, solid_capstyle="butt", zorder=1
    )
    _draw_ends(axes, window, (window.low_place, window.high_place), y, colour)
    if row.anchor_place is not None:
        points = axes.scatter([row.anchor_place], [y], facecolor="black", marker="D", s=14, zorder=3)
        bound = ">= " if window.open_low or window.open_high else ""
        width = f"{bound}{window.width.value:.3g} {row.unit}".strip()
        drawing.say(points, [f"{row.title}: {row.axis} from {window.low:.3g} to {window.high:.3g}, width {width}"])
