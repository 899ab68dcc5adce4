"""Draws landscapes from their dataclasses; computes nothing that a table does not hold."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from scipy.spatial import cKDTree

from study.axis import AxisSpec, format_value
from study.report.landscape import Landscape, LandscapePoint
from study.space import to_unit

_RESOLUTION = 240
_PANEL_INCHES = 3.4
_DPI = 110
_COLOURS = "viridis_r"


def draw_overview(landscapes: Sequence[Landscape]) -> bytes:
    """The mean objective of several optimizers on one colour scale, as PNG."""
    columns = min(3, len(landscapes))
    rows = -(-len(landscapes) // columns)
    figure, canvas = _new_figure(columns, rows)
    norm = _objective_norm(landscapes)
    for index, landscape in enumerate(landscapes):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw_panel(axes, landscape, lambda point: point.summary.mean, norm, _COLOURS)
        axes.set_title(_title(landscape), fontsize=10)
    mappable = ScalarMappable(norm, _COLOURS)
    _add_colour_bar(figure, mappable, figure.axes, f"{landscapes[0].objective}, mean over seeds (lower is better)")
    return _to_png(canvas)


def draw_landscape(landscape: Landscape) -> bytes:
    """Mean, spread over seeds and share diverged of one optimizer, side by side, as PNG."""
    figure, canvas = _new_figure(3, 1)
    spreads = [point.summary.sd for point in landscape.points if point.summary.sd is not None]
    panels: list[tuple[str, Callable[[LandscapePoint], float | None], Normalize, str]] = [
        (f"{landscape.objective}, mean", lambda p: p.summary.mean, _objective_norm([landscape]), _COLOURS),
        (
            "standard deviation over seeds",
            lambda p: p.summary.sd,
            Normalize(0, max(spreads, default=0) or 1),
            "cividis",
        ),
        ("share of runs diverged", lambda p: p.summary.diverged_share, Normalize(0, 1), "Reds"),
    ]
    for index, (title, value, norm, colours) in enumerate(panels):
        axes = figure.add_subplot(1, 3, index + 1)
        mappable = _draw_panel(axes, landscape, value, norm, colours)
        axes.set_title(title, fontsize=10)
        if mappable is not None:
            _add_colour_bar(figure, mappable, [axes], "")
    figure.suptitle(_title(landscape), fontsize=11)
    return _to_png(canvas)


def axis_ticks(axis: AxisSpec) -> list[tuple[float, str]]:
    """Where an axis has ticks in the unit cube, and what they say."""
    values = axis.choices if axis.is_categorical else _tick_values(axis)
    tolerance = 1e-9
    placed = ((to_unit(axis, value), format_value(value)) for value in values)
    return [(u, label) for u, label in placed if u is not None and -tolerance <= u <= 1 + tolerance]


def _tick_values(axis: AxisSpec) -> list[float]:
    """Round numbers in a range, at least two."""
    low, high = axis.ends
    if axis.scale == "log":
        exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        values = [10.0**exponent for exponent in exponents]
    elif axis.scale == "log1m":
        values = [1.0 - 10.0**-exponent for exponent in range(16)]
    else:
        values = [float(value) for value in MaxNLocator(5, integer=axis.integer).tick_values(low, high)]
    if sum(low <= value <= high for value in values) < 2:
        values = [low, high]
    return values


def _new_figure(columns: int, rows: int) -> tuple[Figure, FigureCanvasAgg]:
    # Without pyplot: no global state, no display.
    figure = Figure(
        figsize=(_PANEL_INCHES * columns + 0.9, _PANEL_INCHES * 0.92 * rows + 0.3),
        dpi=_DPI,
        layout="constrained",
    )
    return figure, FigureCanvasAgg(figure)


def _objective_norm(landscapes: Sequence[Landscape]) -> Normalize:
    """A logarithmic scale over all means: between 1 and 2 % error lies as much as between 10 and 20 %."""
    means = [point.summary.mean for landscape in landscapes for point in landscape.points]
    positive = [mean for mean in means if mean > 0]
    if not positive:
        return Normalize(0, 1)
    low, high = min(positive), max(positive)
    return LogNorm(low, high if high > low else 2 * low)


def _draw_panel(
    axes: Axes,
    landscape: Landscape,
    value: Callable[[LandscapePoint], float | None],
    norm: Normalize,
    colours: str,
) -> ScalarMappable | None:
    """One map: each place has the colour of its nearest point; nothing is smoothed or invented between points."""
    valued = [(point, value(point)) for point in landscape.points]
    known = [(point, number) for point, number in valued if number is not None]
    axes.set_xlabel(landscape.x_name)
    _set_ticks(landscape.x_axis, axes.set_xticks)
    axes.set_xlim(0, 1)
    if not known:
        axes.text(0.5, 0.5, "no data here", ha="center", va="center")
        axes.set_yticks([])
        return None
    # Zero lies below a logarithmic scale: it is drawn as the best there is.
    lowest = norm.vmin if isinstance(norm, LogNorm) and norm.vmin is not None else 0.0
    if landscape.y_axis is None:
        # With one axis there is no map: the number itself is the height.
        _draw_markers(axes, landscape, lambda point: max(value(point) or 0.0, lowest))
        _set_heights(axes, norm)
        return None
    _set_ticks(landscape.y_axis, axes.set_yticks)
    axes.set_ylabel(landscape.y_name or "")
    axes.set_ylim(0, 1)
    places = np.array([(point.x, point.y) for point, _ in known])
    numbers = np.maximum([number for _, number in known], lowest)
    edges = np.linspace(0, 1, _RESOLUTION + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    nearest = cKDTree(places).query(grid)[1].reshape(_RESOLUTION, _RESOLUTION)
    mesh = axes.pcolormesh(edges, edges, numbers[nearest], norm=norm, cmap=colours, rasterized=True)
    _draw_markers(axes, landscape, lambda point: point.y)
    return mesh


def _draw_markers(axes: Axes, landscape: Landscape, height: Callable[[LandscapePoint], float]) -> None:
    """Points as dots, those with a diverged run as crosses, the default as a star, the best as a ring."""

    def scatter(points: Sequence[LandscapePoint], **style: Any) -> None:
        axes.scatter([point.x for point in points], [height(point) for point in points], clip_on=False, **style)

    whole = [point for point in landscape.points if point.summary.diverged == 0]
    diverged = [point for point in landscape.points if point.summary.diverged > 0]
    candidates = [*landscape.points, *([landscape.default] if landscape.default else [])]
    best = min(candidates, key=lambda point: (point.summary.mean, point.summary.trial.number))
    scatter(whole, s=9, c="white", edgecolors="black", linewidths=0.6)
    scatter(diverged, s=26, marker="x", c="red", linewidths=1.1)
    scatter([best], s=90, facecolors="none", edgecolors="black", linewidths=1.6)
    if landscape.default is not None:
        scatter([landscape.default], s=70, marker="*", c="gold", edgecolors="black", linewidths=0.6)


def _set_heights(axes: Axes, norm: Normalize) -> None:
    """The vertical axis of a panel without a second axis: the range that colours would span."""
    if isinstance(norm, LogNorm):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_ylim((norm.vmin or 1.0) / 1.15, (norm.vmax or 1.0) * 1.15)
    else:
        margin = 0.05 * ((norm.vmax or 1.0) - (norm.vmin or 0.0))
        axes.set_ylim((norm.vmin or 0.0) - margin, (norm.vmax or 1.0) + margin)


def _set_ticks(axis: AxisSpec, set_ticks: Callable[..., object]) -> None:
    ticks = axis_ticks(axis)
    set_ticks([place for place, _ in ticks], labels=[label for _, label in ticks], fontsize=8)


def _title(landscape: Landscape) -> str:
    runs = sum(point.summary.seeds for point in landscape.points)
    diverged = sum(point.summary.diverged for point in landscape.points)
    return f"{landscape.title}\n{len(landscape.points)} points, {runs} runs, {diverged} diverged"


def _add_colour_bar(figure: Figure, mappable: ScalarMappable, axes: Sequence[Axes], label: str) -> None:
    if isinstance(mappable.norm, LogNorm):
        ticks = LogLocator(subs=(1.0, 2.0, 5.0))
        figure.colorbar(mappable, ax=list(axes), label=label, ticks=ticks, format="%g").ax.minorticks_off()
    else:
        figure.colorbar(mappable, ax=list(axes), label=label)


def _to_png(canvas: FigureCanvasAgg) -> bytes:
    buffer = io.BytesIO()
    # No software version in the file: equal data give equal bytes.
    canvas.figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
