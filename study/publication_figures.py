"""Landscapes as small Plotly figures: a map with its points, or a curve, on its own in a page of Optuna Dashboard."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from study.point_choice import choose_points
from study.report.drawing.landscape_maps import describe
from study.report.drawing.style import axis_label, axis_ticks
from study.report.measures.landscape.records import CellLandscape, LandscapeCurve, LandscapeMap, LandscapePoints
from study.report.observations import AxisInfo, StudyInfo

#: Figures of one optimizer on one workload, and the points of each. Optuna Dashboard reads the figures of all studies
#: for every page: these have about 20 kB each.
_MOST_FIGURES, _MOST_POINTS = 3, 120
_DIGITS = 4
#: From here on, a logarithmic scale of colours says more than a linear one.
_LOG_FROM = 2.0
_COLOURS = "Viridis"


def make_figures(landscape: CellLandscape, info: StudyInfo) -> dict[str, str]:
    """Figures of the first maps of an optimizer, or of its one axis: name -> Plotly's JSON.

    Args:
        landscape: Its landscape; without a finished trial there is no figure.
        info: What is known of the study.
    """
    if not landscape.points.trial and not landscape.default.trial:
        return {}
    figures = {}
    for map_ in landscape.maps[:_MOST_FIGURES]:
        names = landscape.axes[map_.x].name, landscape.axes[map_.y].name
        figures["landscape-" + "-".join(names)] = _draw_map(landscape, map_, info)
    if not landscape.maps:
        for curve in landscape.curves[:1]:
            figures[f"landscape-{landscape.axes[curve.axis].name}"] = _draw_curve(landscape, curve, info)
    return {name: str(figure.to_json()) for name, figure in figures.items()}


class _Colours:
    """One scale for a map and its points: values are logarithms where those say more."""

    def __init__(self, landscape: CellLandscape) -> None:
        means = [*landscape.points.mean, *landscape.default.mean]
        self._low, self._high = min(means), max(means)
        self._is_log = self._low > 0 and self._high / self._low >= _LOG_FROM

    def place(self, value: float | None) -> float | None:
        """Where a value is on the scale."""
        if value is None:
            return None
        cut = min(max(value, self._low), self._high)
        return _round(float(np.log10(cut)) if self._is_log else cut)

    def describe(self, title: str) -> dict[str, Any]:
        """The scale with its bar."""
        low, high = self.place(self._low), self.place(self._high)
        bar: dict[str, Any] = {"title": {"text": title, "side": "right"}, "thickness": 12}
        if self._is_log:
            values = np.geomspace(self._low, self._high, 5).tolist()
            bar |= {"tickvals": [self.place(value) for value in values], "ticktext": [f"{v:.2g}" for v in values]}
        return {"colorscale": _COLOURS, "reversescale": True, "cmin": low, "cmax": high, "colorbar": bar}


def _draw_map(landscape: CellLandscape, map_: LandscapeMap, info: StudyInfo) -> go.Figure:
    colours = _Colours(landscape)
    figure = go.Figure()
    if map_.mean is not None:
        rows = [[colours.place(value) for value in row] for row in map_.mean]
        edges = {"x": list(map_.x_edges), "y": list(map_.y_edges)}
        figure.add_trace(go.Heatmap(**edges, z=rows, coloraxis="coloraxis", hoverinfo="skip"))
    for part in (landscape.points, landscape.default):
        _add_points(figure, landscape, part, (map_.x, map_.y), colours)
    _lay_out(figure, landscape, "surrogate" if map_.mean is not None else "")
    figure.update_layout(coloraxis=colours.describe(_escape(f"{info.objective} (lower is better)")))
    figure.update_xaxes(**_axis(landscape.axes[map_.x]))
    figure.update_yaxes(**_axis(landscape.axes[map_.y]))
    return figure


def _draw_curve(landscape: CellLandscape, curve: LandscapeCurve, info: StudyInfo) -> go.Figure:
    figure = go.Figure()
    places = list(curve.places)
    for line, dash in ((curve.low, "dot"), (curve.mean, "solid"), (curve.high, "dot")):
        if line is not None:
            style = {"dash": dash, "color": "#0072B2", "width": 2 if dash == "solid" else 1}
            figure.add_trace(go.Scatter(x=places, y=list(line), mode="lines", line=style, hoverinfo="skip"))
    colours = _Colours(landscape)
    for part in (landscape.points, landscape.default):
        _add_points(figure, landscape, part, (curve.axis,), colours)
    _lay_out(figure, landscape, "surrogate with 95 % band" if curve.mean is not None else "")
    figure.update_layout(coloraxis={**colours.describe(""), "showscale": False})
    figure.update_xaxes(**_axis(landscape.axes[curve.axis]))
    figure.update_yaxes(title={"text": _escape(f"{info.objective} (lower is better)")})
    return figure


def _add_points(
    figure: go.Figure, landscape: CellLandscape, part: LandscapePoints, axes: Sequence[int], colours: _Colours
) -> None:
    """Points in the colour of their mean, those with a diverged run as white crosses, the default setting as a star."""
    chosen = _choose(landscape, part, axes)
    symbol, size = ("star", 15) if part is landscape.default else ("circle", 9)
    whole = [row for row in chosen if not part.diverged[row]]
    fallen = [row for row in chosen if part.diverged[row]]
    colour = {"color": [colours.place(part.mean[row]) for row in whole], "coloraxis": "coloraxis"}
    _add_trace(figure, landscape, part, axes, whole, {"symbol": symbol, "size": size, **colour})
    _add_trace(figure, landscape, part, axes, fallen, {"symbol": "x", "size": size, "color": "white"})


def _add_trace(
    figure: go.Figure,
    landscape: CellLandscape,
    part: LandscapePoints,
    axes: Sequence[int],
    rows: Sequence[int],
    marker: dict[str, Any],
) -> None:
    """Some points, which say their numbers; the best has a thick edge."""
    if not rows:
        return
    edge = {"color": "black", "width": [3 if part.trial[row] == landscape.best else 1 for row in rows]}
    figure.add_trace(
        go.Scatter(
            x=[_place(part.places[row][axes[0]]) for row in rows],
            y=[_place(part.places[row][axes[1]]) if len(axes) > 1 else _round(part.mean[row]) for row in rows],
            mode="markers",
            text=[_escape(describe(landscape, part, row)) for row in rows],
            hoverinfo="text",
            marker={**marker, "line": edge},
        )
    )


def _choose(landscape: CellLandscape, part: LandscapePoints, axes: Sequence[int]) -> list[int]:
    """Rows that have a place on the axes, and no more than a figure shows."""
    there = [row for row, places in enumerate(part.places) if all(_is_inside(places[axis]) for axis in axes)]
    place_NA = np.array([[part.places[row][axis] for axis in axes] for row in there], float).reshape(-1, len(axes))
    diverged_N = np.array([part.diverged[row] > 0 for row in there], bool)
    best_N = np.array([part.trial[row] == landscape.best for row in there], bool)
    return [there[at] for at in choose_points(place_NA, diverged_N, best_N, _MOST_POINTS).tolist()]


def _is_inside(place: float | None) -> bool:
    return place is not None and 0 <= place <= 1


def _lay_out(figure: go.Figure, landscape: CellLandscape, ground: str) -> None:
    model = "" if landscape.r2 is None else f", CV R² {landscape.r2:.2f}"
    of = "" if not ground else f"; ground: {ground}{model}"
    shown = f"{len(landscape.points.trial)} points, {sum(landscape.points.diverged)} runs diverged{of}"
    marks = "cross: a run diverged; star: default; thick edge: best"
    head = f"{_escape(landscape.title)} on {_escape(landscape.workload)}"
    figure.update_layout(
        # Without one Plotly adds its own template, which is as long as the figure.
        template="none",
        title={"text": f"{head}<br><sup>{_escape(shown)}<br>{marks}</sup>"},
        showlegend=False,
        paper_bgcolor="white",
        plot_bgcolor="#eeeeee",
        margin={"l": 70, "r": 20, "t": 90, "b": 60},
    )


def _axis(axis: AxisInfo) -> dict[str, Any]:
    ticks = axis_ticks(axis.spec)
    return {
        "title": {"text": _escape(axis_label(axis.name, axis.spec))},
        "range": [0, 1],
        "tickvals": [_place(place) for place, _ in ticks],
        "ticktext": [_escape(label) for _, label in ticks],
        "zeroline": False,
    }


def _escape(text: str) -> str:
    """Plotly takes some HTML in texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _place(place: float | None) -> float | None:
    return None if place is None else round(place, 4)
