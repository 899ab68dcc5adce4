"""Draws landscapes: an overview of all optimizers, and of each one its means, its divergence and its spread."""

import itertools
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator

from study.report.drawing.landscape_maps import (
    Heights,
    add_colour_bar,
    add_legend,
    draw_curve,
    draw_error_bars,
    draw_map,
    draw_points,
    objective_norm,
    title_of,
)
from study.report.drawing.style import DIVERGED, GOODNESS, SPREAD, Drawing, draw_panels
from study.report.measures.landscape.records import CellLandscape, Grid, LandscapeCurve, LandscapePoints

_LINES = ("mean", "through_best", "lowest")
_PANEL = (2.35, 2.25)


def draw_overview(landscapes: Sequence[CellLandscape], objective: str) -> Drawing:
    """The mean objective of all optimizers of a workload over their first two axes, on one scale of colours.

    Args:
        landscapes: At least one, each with an axis; one with a single axis is drawn as a curve.
        objective: Its name and unit.
    """
    columns = min(3, len(landscapes))
    rows = -(-len(landscapes) // columns)

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        norm = objective_norm(landscapes)
        for axes, landscape in itertools.zip_longest(panels, landscapes):
            if landscape is None:
                axes.remove()
                continue
            if landscape.maps:
                first = landscape.maps[0]
                draw_map(axes, landscape, first, first.mean, norm, GOODNESS)
                draw_points(drawing, axes, landscape, (first.x, first.y), says=True, norm=norm, colours=GOODNESS)
            else:
                _draw_line(drawing, axes, landscape, landscape.curves[0], norm, objective, says=True)
            axes.set_title(title_of(landscape, "\n"), fontsize=7.0)
        used = panels[: len(landscapes)]
        if any(landscape.maps for landscape in landscapes):
            add_colour_bar(drawing, norm, GOODNESS, used, f"{objective}, mean over seeds (lower is better)")
        lines = _lines_of([landscape for landscape in landscapes if not landscape.maps])
        add_legend(drawing, lines, landscapes)

    return draw_panels(rows, columns, draw, panel=(2.35, 2.5 if rows > 1 else 3.0))


def draw_means(landscape: CellLandscape, objective: str) -> Drawing:
    """The mean objective over every pair of axes, and along every axis, of one optimizer.

    Args:
        landscape: With at least one axis.
        objective: Its name and unit.
    """
    size = len(landscape.axes)

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        norm = objective_norm([landscape])
        at = {(row, column): panels[row * size + column] for row in range(size) for column in range(size)}
        for curve in landscape.curves:
            axes = at[curve.axis, curve.axis]
            _draw_line(drawing, axes, landscape, curve, norm, objective, says=size == 1)  # else the maps say it
        for map_ in landscape.maps:
            axes = at[map_.y, map_.x]
            draw_map(axes, landscape, map_, map_.mean, norm, GOODNESS)
            draw_points(drawing, axes, landscape, (map_.x, map_.y), says=True, norm=norm, colours=GOODNESS)
            at[map_.x, map_.y].remove()  # the mirror image
        if landscape.maps:
            label = f"{objective}, mean over seeds (lower is better)"
            used = [at[row, column] for row in range(size) for column in range(row + 1)]
            add_colour_bar(drawing, norm, GOODNESS, used, label)
        add_legend(drawing, _lines_of([landscape]), [landscape])
        drawing.figure.suptitle(title_of(landscape), fontsize=9.0)

    return draw_panels(size, size, draw, panel=(3.4, 2.6) if size < 3 else _PANEL)


def draw_divergence_and_spread(landscape: CellLandscape) -> Drawing:
    """Share of runs that diverged, spread over seeds, and the surrogate's own deviation, over every pair of axes.

    Args:
        landscape: With at least one axis; with one axis there are curves of the first two.
    """
    if not landscape.maps:
        return _draw_divergence_along(landscape)

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        kinds: list[tuple[str, Normalize, str, str]] = [
            ("diverged", Normalize(0, 1), DIVERGED, "share of runs diverged"),
            ("spread", _deviation_norm(landscape, "spread"), SPREAD, "standard deviation over seeds"),
            ("error", _deviation_norm(landscape, "error"), SPREAD, "standard deviation of the surrogate"),
        ]
        for number, (name, norm, colours, label) in enumerate(kinds):
            column = panels[number::3]
            for map_, axes in zip(landscape.maps, column, strict=True):
                grid: Grid | None = getattr(map_, name)
                draw_map(axes, landscape, map_, grid, norm, colours)
                draw_points(drawing, axes, landscape, (map_.x, map_.y), says=name == "diverged", size=8.0)
                if grid is None:
                    _note_absence(axes, landscape, name)
            add_colour_bar(drawing, norm, colours, column, label)
        add_legend(drawing, (), [landscape])
        drawing.figure.suptitle(title_of(landscape), fontsize=9.0)

    return draw_panels(len(landscape.maps), 3, draw, panel=(2.4, 2.0))


def _draw_line(
    drawing: Drawing,
    axes: Axes,
    landscape: CellLandscape,
    curve: LandscapeCurve,
    norm: Normalize,
    objective: str,
    *,
    says: bool,
) -> None:
    """The objective along one axis: points, their spread over seeds, and the lines of the surrogate."""
    low, high = norm.vmin or 0.0, norm.vmax or 1.0
    if isinstance(norm, LogNorm):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        reach = (high / low) ** 0.06
        axes.set_ylim(low / reach, high * reach)
    else:
        reach = 0.06 * (high - low)
        axes.set_ylim(low - reach, high + reach)
    draw_curve(axes, landscape, curve, _lines_of([landscape]))
    draw_error_bars(axes, landscape, curve.axis)
    heights: Heights = _means
    draw_points(drawing, axes, landscape, (curve.axis, heights), says=says, size=9.0)
    axes.set_ylabel("\n".join(wrap(objective, 32)))


def _draw_divergence_along(landscape: CellLandscape) -> Drawing:
    """With one axis: share of runs that diverged, and spread over seeds, along it."""
    curve = landscape.curves[0]

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        panels[0].set_ylim(-0.05, 1.05)
        draw_curve(panels[0], landscape, curve, ("diverged",))
        draw_points(drawing, panels[0], landscape, (0, _diverged_shares), says=True)
        panels[0].set_ylabel("share of runs diverged")
        sds = [sd for part in (landscape.points, landscape.default) for sd in part.sd if sd is not None]
        top = max(sds, default=0.0) or 1.0
        panels[1].set_ylim(-0.05 * top, 1.05 * top)
        draw_curve(panels[1], landscape, curve, ("spread",))
        draw_points(drawing, panels[1], landscape, (0, _sds), says=True)
        panels[1].set_ylabel("standard deviation over seeds")
        if not sds:
            _note_absence(panels[1], landscape, "spread")
        add_legend(drawing, ("diverged",), [landscape])
        drawing.figure.suptitle(title_of(landscape), fontsize=9.0)

    return draw_panels(1, 2, draw, panel=(3.4, 2.8))


def _note_absence(axes: Axes, landscape: CellLandscape, name: str) -> None:
    """Why a panel has no map."""
    if name == "error" and not landscape.surrogate:
        text = "no surrogate"
    elif name == "spread" and not any(sd is not None for sd in landscape.points.sd):
        text = "one seed: no spread"
    else:
        text = "too few points for a map"
    box: dict[str, Any] = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.7", "linewidth": 0.5}
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, zorder=5, bbox=box)


def _deviation_norm(landscape: CellLandscape, name: str) -> Normalize:
    grids = [getattr(map_, name) for map_ in landscape.maps]
    numbers = [number for grid in grids if grid is not None for row in grid for number in row if number is not None]
    return Normalize(0.0, float(np.max(numbers, initial=0.0)) or 1.0)


def _lines_of(landscapes: Sequence[CellLandscape]) -> tuple[str, ...]:
    """Lines that there are; with one axis they all are the same one."""
    if not any(landscape.surrogate for landscape in landscapes):
        return ()
    return _LINES if any(len(landscape.axes) > 1 for landscape in landscapes) else _LINES[:1]


def _means(points: LandscapePoints) -> Sequence[float | None]:
    return points.mean


def _sds(points: LandscapePoints) -> Sequence[float | None]:
    return points.sd


def _diverged_shares(points: LandscapePoints) -> Sequence[float | None]:
    return [diverged / seeds for diverged, seeds in zip(points.diverged, points.seeds, strict=True)]
