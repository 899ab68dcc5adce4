"""The panels of landscapes: a map over two axes, a curve along one, points, hatching where there are no data."""

import math
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import LogLocator

from study.axis import format_value
from study.report.drawing.style import COLOURS, Drawing, axis_label, set_ticks
from study.report.measures.landscape.records import CellLandscape, Grid, LandscapeCurve, LandscapeMap, LandscapePoints
from study.report.observations import AxisInfo, Floats

#: From here on, a logarithmic scale says more than a linear one.
_LOG_FROM = 2.0
_HATCH: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.55", "hatch": "/////", "linewidth": 0.0}
#: Share of the band of a choice over which its points are spread, so that they do not hide each other.
_JITTER = 0.6
_CHARACTERS_PER_INCH = 13
#: Characters of numbers that fit under a panel side by side.
_TICK_CHARACTERS = 17
_GOLDEN = (math.sqrt(5) - 1) / 2
Heights = Callable[[LandscapePoints], Sequence[float | None]]


def objective_norm(landscapes: Sequence[CellLandscape]) -> Normalize:
    """One scale for all means of points: logarithmic if all are positive and the largest is twice the smallest."""
    means = [mean for landscape in landscapes for part in (landscape.points, landscape.default) for mean in part.mean]
    low, high = (min(means), max(means)) if means else (0.0, 1.0)
    if high <= low:
        reach = 0.05 * abs(low) or 0.5
        return Normalize(low - reach, high + reach)
    return LogNorm(low, high) if low > 0 and high / low >= _LOG_FROM else Normalize(low, high)


def add_colour_bar(drawing: Drawing, norm: Normalize, colours: str, axes: Sequence[Axes], label: str) -> None:
    """A bar for some panels, with ticks at 1, 2 and 5 if it is logarithmic."""
    mappable = ScalarMappable(norm, colours)
    logarithmic: dict[str, Any] = {"ticks": LogLocator(subs=(1.0, 2.0, 5.0)), "format": "%g"}
    further = logarithmic if isinstance(norm, LogNorm) else {}
    lines = wrap(label, int(_CHARACTERS_PER_INCH * (drawing.figure.get_figheight() - 1.0)))
    bar = drawing.figure.colorbar(mappable, ax=list(axes), label="\n".join(lines), pad=0.02, aspect=28, **further)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.5)


def draw_map(
    axes: Axes, landscape: CellLandscape, map_: LandscapeMap, grid: Grid | None, norm: Normalize, colours: str
) -> None:
    """One map with its axes and its hatching, without points."""
    x, y = landscape.axes[map_.x], landscape.axes[map_.y]
    _frame(axes, x)
    set_ticks(y.spec, axes.set_yticks)
    axes.set_ylim(0, 1)
    axes.set_ylabel(axis_label(y.name, y.spec))
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)
    if grid is not None:
        numbers = np.array(grid, dtype=float)
        values = np.ma.masked_invalid(np.clip(numbers, norm.vmin, norm.vmax))
        axes.pcolormesh(map_.x_edges, map_.y_edges, values, norm=norm, cmap=colours, rasterized=True)
        _part_choices(axes, map_, x, y)
    if map_.known is not None:
        _hatch(axes, map_.x_edges, map_.y_edges, map_.known)


def draw_points(
    drawing: Drawing,
    axes: Axes,
    landscape: CellLandscape,
    place: tuple[int, int | Heights],
    *,
    says: bool = False,
    norm: Normalize | None = None,
    colours: str = "",
    size: float = 14.0,
) -> None:
    """Points as dots, those with a diverged run as crosses, the default setting as a star, a ring round the best.

    Args:
        drawing: Told what points say.
        axes: The panel.
        landscape: Whose points.
        place: Axis along x; axis along y, or heights.
        says: Whether points say their numbers; else they are drawn into the picture's raster.
        norm: Points without divergence have the colour of their mean on this scale; without it all are white.
        colours: Its colours.
        size: Of dots, in points squared.
    """
    every = landscape.points
    many = size * min(1.0, (200 / max(len(every.trial), 1)) ** 0.5)
    whole = [number == 0 for number in every.diverged]
    edge: dict[str, Any] = {"edgecolors": "black", "linewidths": 0.35, "clip_on": False}

    def mark(part: LandscapePoints, chosen: Sequence[bool], **style: Any) -> None:
        shown = _placed(landscape, part, place, chosen)
        if not shown:
            return
        rows, across, up = zip(*shown, strict=True)
        if norm is not None and part is every and style.get("marker") is None:
            style |= {"c": [part.mean[row] for row in rows], "norm": norm, "cmap": colours}
        else:
            style.setdefault("facecolors", "white")
        scatter = axes.scatter(across, up, rasterized=not says, **style)
        if says:
            drawing.say(scatter, [describe(landscape, part, row) for row in rows])

    mark(every, whole, s=many, zorder=3, **edge)
    mark(every, [not one for one in whole], s=1.7 * many, marker="X", zorder=3.1, **edge)
    for part in (every, landscape.default):
        best = [trial == landscape.best for trial in part.trial]
        _ring(axes, _placed(landscape, part, place, best))
    star = {"marker": "*", "facecolors": COLOURS[1], "edgecolors": "white", "linewidths": 0.5, "clip_on": False}
    mark(landscape.default, [True] * len(landscape.default.trial), s=90, zorder=4, **star)


def draw_curve(axes: Axes, landscape: CellLandscape, curve: LandscapeCurve, lines: Sequence[str]) -> None:
    """Lines of a curve with its axis and its hatching.

    Args:
        axes: The panel.
        landscape: Whose curve.
        curve: The curve.
        lines: Names of its fields, of :data:`LINE_STYLES`.
    """
    _frame(axes, landscape.axes[curve.axis])
    if curve.known is not None:
        bottom, top = axes.get_ylim()
        _hatch(axes, curve.edges, (bottom, top), (curve.known,))
        axes.set_ylim(bottom, top)
    marker = {"marker": "_", "markersize": 9.0, "linestyle": "none", "markeredgewidth": 1.6} if curve.is_stepped else {}
    if "mean" in lines and curve.low is not None and curve.high is not None:
        low, high = np.array(curve.low, dtype=float), np.array(curve.high, dtype=float)
        band: dict[str, Any] = {"color": COLOURS[0], "alpha": 0.22, "linewidth": 0, "zorder": 2}
        if curve.is_stepped:
            widths = 0.7 * np.diff(curve.edges)
            axes.bar(curve.places, high - low, widths, np.nan_to_num(low), **band)
        else:
            axes.fill_between(curve.places, low, high, **band)
    for name in lines:
        values = getattr(curve, name)
        if values is not None:
            axes.plot(curve.places, np.array(values, dtype=float), **{**LINE_STYLES[name], **marker})


LINE_STYLES: dict[str, dict[str, Any]] = {
    "mean": {"color": COLOURS[0], "linestyle": "-", "zorder": 3.4},
    "through_best": {"color": COLOURS[1], "linestyle": "--", "zorder": 3.3},
    "lowest": {"color": COLOURS[2], "linestyle": ":", "zorder": 3.3},
    "diverged": {"color": COLOURS[1], "linestyle": "-", "zorder": 3.4},
    "spread": {"color": COLOURS[0], "linestyle": "-", "zorder": 3.4},
}
LINE_NAMES = {
    "mean": "surrogate, mean over other axes, 95 % band",
    "through_best": "surrogate, others at the best point",
    "lowest": "surrogate, others at their best",
    "diverged": "of points near by",
    "spread": "of points near by",
}


def draw_error_bars(axes: Axes, landscape: CellLandscape, axis: int) -> None:
    """Standard deviations over seeds, as vertical lines through the points."""
    points = landscape.points
    chosen = [sd is not None and sd > 0 for sd in points.sd]
    shown = _placed(landscape, points, (axis, lambda part: part.mean), chosen)
    reaches = np.array([points.sd[row] or 0.0 for row, _, _ in shown])
    across, up = np.array([at for _, at, _ in shown]), np.array([height for _, _, height in shown])
    bottom, top = axes.get_ylim()
    low, high = np.clip(up - reaches, bottom, top), np.clip(up + reaches, bottom, top)
    axes.vlines(across, low, high, colors="0.6", linewidths=0.5, zorder=1.5, rasterized=True)


def add_legend(drawing: Drawing, lines: Sequence[str], landscapes: Sequence[CellLandscape]) -> None:
    """What marks and lines mean, below the panels: those that occur."""
    handles = _handles(lines, landscapes)
    widest = {0: 1.45, 1: 1.75}.get(len(lines), 2.7)  # inches
    columns = max(1, int(drawing.figure.get_figwidth() / widest))
    drawing.figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))


def _handles(lines: Sequence[str], landscapes: Sequence[CellLandscape]) -> list[Artist]:
    dot: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "black", "markeredgewidth": 0.5}
    handles: list[Artist] = [Line2D([], [], marker="o", color="white", markersize=4, label="trial", **dot)]
    if any(any(landscape.points.diverged) for landscape in landscapes):
        handles.append(
            Line2D([], [], marker="X", color="white", markersize=6, label="trial with a diverged run", **dot)
        )
    handles.append(Line2D([], [], marker="o", color="none", markersize=9, label="best trial", **dot))
    if any(landscape.default.trial for landscape in landscapes):
        star: dict[str, Any] = {
            "linestyle": "none",
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
            "markersize": 10,
        }
        handles.append(Line2D([], [], marker="*", color=COLOURS[1], label="default setting", **star))
    names = LINE_NAMES if len(lines) > 1 else LINE_NAMES | {"mean": "surrogate with 95 % band"}
    handles += [Line2D([], [], label=names[name], **LINE_STYLES[name]) for name in lines]
    if any(_has_gaps(landscape) for landscape in landscapes):
        handles.append(Patch(label="no data here", **_HATCH))
    return handles


def _has_gaps(landscape: CellLandscape) -> bool:
    rows = [row for map_ in landscape.maps for row in map_.known or ()]
    rows += [curve.known for curve in landscape.curves if curve.known is not None]
    return not all(all(row) for row in rows)


def describe(landscape: CellLandscape, part: LandscapePoints, row: int) -> str:
    """What a point says: its number, its place, its mean with standard deviation, its divergences."""
    places = ", ".join(
        f"{axis.name} {format_value(value)}"
        for axis, value in zip(landscape.axes, part.values[row], strict=True)
        if value is not None
    )
    sd = part.sd[row]
    spread = "" if sd is None else f" ± {sd:.3g}"
    text = f"trial {part.trial[row]}: {places}; mean {part.mean[row]:.5g}{spread}"
    return f"{text}; {part.diverged[row]}/{part.seeds[row]} diverged"


def title_of(landscape: CellLandscape, separator: str = ", ") -> str:
    """Name and counts: points, runs, divergences, and how good the surrogate is; ``separator`` may break the line."""
    points = landscape.points
    done = len(points.trial)
    of = f" of {landscape.planned}" if landscape.planned > done else ""
    model = "no surrogate" if landscape.r2 is None else f"CV R² {landscape.r2:.2f}"
    counts = f"{done}{of} points, {sum(points.seeds)} runs{separator}{sum(points.diverged)} diverged, {model}"
    return f"{landscape.title}\n{counts}"


def _frame(axes: Axes, axis: AxisInfo) -> None:
    set_ticks(axis.spec, axes.set_xticks)
    texts = [label.get_text() for label in axes.get_xticklabels()]
    if len("".join(texts)) > _TICK_CHARACTERS:
        # A tick without a number still shows its decade.
        if axis.spec.is_categorical:
            axes.tick_params("x", rotation=30)
        else:
            axes.set_xticks(axes.get_xticks(), labels=["" if at % 2 else text for at, text in enumerate(texts)])
    axes.set_xlim(0, 1)
    axes.set_xlabel(axis_label(axis.name, axis.spec))


def _ring(axes: Axes, shown: Sequence[tuple[int, float, float]]) -> None:
    style: dict[str, Any] = {"s": 95, "facecolors": "none", "zorder": 3.8, "clip_on": False}
    for colour, width in (("white", 2.6), ("black", 1.2)):  # seen on light and on dark
        for _, across, up in shown:
            axes.scatter([across], [up], edgecolors=colour, linewidths=width, **style)


def _placed(
    landscape: CellLandscape, part: LandscapePoints, place: tuple[int, int | Heights], chosen: Sequence[bool]
) -> list[tuple[int, float, float]]:
    """Row, place across and place up of the chosen trials that have both, inside the panel."""
    x, y = place
    heights = _along(landscape, part, y, 2) if isinstance(y, int) else y(part)
    places = zip(_along(landscape, part, x, 1), heights, chosen, strict=True)
    highest = 1.0 if isinstance(y, int) else math.inf
    return [
        (row, across, up)
        for row, (across, up, wanted) in enumerate(places)
        if wanted and across is not None and up is not None and 0 <= across <= 1 and 1 - highest <= up <= highest
    ]


def _along(landscape: CellLandscape, part: LandscapePoints, axis: int, turn: int) -> list[float | None]:
    """Places along an axis; those of a choice are spread over its band, by the trial's number."""
    places = [places[axis] for places in part.places]
    choices = len(landscape.axes[axis].spec.choices)
    if not choices:
        return places
    shifts = [((trial * _GOLDEN**turn) % 1.0 - 0.5) * _JITTER / choices for trial in part.trial]
    return [None if place is None else place + shift for place, shift in zip(places, shifts, strict=True)]


def _part_choices(axes: Axes, map_: LandscapeMap, x: AxisInfo, y: AxisInfo) -> None:
    """White lines between choices: nothing lies between them."""
    if x.spec.is_categorical:
        axes.vlines(map_.x_edges[1:-1], 0, 1, colors="white", linewidths=1.5)
    if y.spec.is_categorical:
        axes.hlines(map_.y_edges[1:-1], 0, 1, colors="white", linewidths=1.5)


def _hatch(axes: Axes, x_edges: Sequence[float], y_edges: Sequence[float], known: Sequence[Sequence[bool]]) -> None:
    """One hatched shape over all cells without data: runs of cells in a row are one rectangle."""
    boxes = []
    for row, cells in enumerate(known):
        turns = np.flatnonzero(np.diff([0, *(0 if cell else 1 for cell in cells), 0]))
        for start, stop in turns.reshape(-1, 2).tolist():
            boxes.append(_box(x_edges[start], x_edges[stop], y_edges[row], y_edges[row + 1]))
    if boxes:
        axes.add_patch(PathPatch(Path.make_compound_path(*boxes), zorder=1, **_HATCH))


def _box(left: float, right: float, bottom: float, top: float) -> Path:
    corners: Floats = np.array([(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)])
    return Path(corners, closed=True)
