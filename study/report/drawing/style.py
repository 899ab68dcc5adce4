"""How every figure of a report looks: sizes, colours that colour-blind readers tell apart, ticks, file formats."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from study.axis import AxisSpec, Value, format_value
from study.space import to_unit

Format = Literal["svg", "png", "pdf"]
FORMATS: tuple[Format, ...] = ("svg", "png", "pdf")
#: Sequential maps that print in grey and are read with every kind of colour vision (matplotlib's perceptually uniform).
GOODNESS = "viridis_r"
SPREAD = "cividis"
DIVERGED = "Reds"
#: Okabe and Ito (2008), "Color Universal Design", with grey instead of yellow, which is too light on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#808080")
#: Beside colours: what tells optimizers apart in print.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
#: Inches of one panel.
PANEL = 3.0
_DPI = 130
#: Logarithmic axes that span less than the first have linear ticks; from the second on, only powers of ten.
_NARROW, _DECADES = 1.5, 300.0
_CHARACTERS_PER_INCH = 13

_STYLE: Any = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "hatch.linewidth": 0.4,
    "text.parse_math": False,  # a name with dollars is a name
    "svg.fonttype": "none",  # text stays text: searchable, and read aloud
    "pdf.fonttype": 42,  # what journals ask for
    "svg.hashsalt": "adai-study",  # equal figures are equal files
    "image.composite_image": False,
}


@dataclass(eq=False)
class Drawing:
    """A figure, and what its points say to those who point at them.

    Attributes:
        figure: The figure.
        hovers: Group id of a scatter in the SVG -> what each of its points says, in their order.
    """

    figure: Figure
    hovers: dict[str, Sequence[str]] = field(default_factory=dict)

    def say(self, points: PathCollection, texts: Sequence[str]) -> None:
        """Let each of ``points`` (of ``axes.scatter``) say one of ``texts``: exact numbers, one text per point."""
        group = f"points-{len(self.hovers)}"
        points.set_gid(group)
        self.hovers[group] = list(texts)


@dataclass(frozen=True, slots=True)
class Look:
    """What one optimizer looks like in every figure of a report.

    Attributes:
        colour: Of its marks and lines.
        marker: Of its points.
        line: Style of its lines.
    """

    colour: str
    marker: str
    line: Any


def look_of(place: int) -> Look:
    """The look of the optimizer at ``place`` in the study's order; the first 64 all differ.

    The first eight differ in colour, marker and line. Further ones repeat the colours with other markers and lines.
    """
    turned = place + place // len(COLOURS)
    return Look(COLOURS[place % len(COLOURS)], MARKERS[turned % len(MARKERS)], LINES[turned % len(LINES)])


def dodge(place: int, count: int) -> float:
    """From -0.5 to 0.5: how far aside whiskers of the optimizer at ``place`` of ``count`` stand, to be told apart."""
    return (place - (count - 1) / 2) / max(count - 1, 1)


def new_drawing(width: float, height: float) -> Drawing:
    """An empty figure of so many inches, without pyplot: no global state, no display."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
    return Drawing(figure)


def draw_panels(
    rows: int, columns: int, draw: Callable[[Drawing, list[Axes]], None], *, panel: tuple[float, float] = (PANEL, PANEL)
) -> Drawing:
    """A figure of panels in the report's style.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        draw: Fills the panels, which come row by row.
        panel: Width and height of one, in inches.
    """
    with mpl.rc_context(_STYLE):
        drawing = new_drawing(panel[0] * columns + 0.4, panel[1] * rows + 0.2)
        axes = [drawing.figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
        draw(drawing, axes)
    return drawing


def save(drawing: Drawing, format_: Format) -> bytes:
    """The figure as a file; equal figures are equal files."""
    buffer = io.BytesIO()
    # Neither dates nor versions: they would make equal figures differ.
    unsaid = {"png": ("Software",), "svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer")}
    metadata: dict[str, str | None] = dict.fromkeys(unsaid[format_])
    with mpl.rc_context(_STYLE):
        drawing.figure.savefig(buffer, format=format_, metadata=metadata, dpi=200 if format_ == "png" else _DPI)
    return buffer.getvalue()


def set_ticks(axis: AxisSpec, set_: Callable[..., object]) -> None:
    """Ticks of an axis of the search space, at round values, on an axis that runs over the unit interval.

    Args:
        axis: The axis of the search space.
        set_: ``axes.set_xticks`` or ``axes.set_yticks``.
    """
    ticks = axis_ticks(axis)
    set_([place for place, _ in ticks], labels=[label for _, label in ticks])


def axis_label(name: str, axis: AxisSpec) -> str:
    """The name of an axis with its scale: hyperparameters have no units."""
    if axis.is_categorical:
        return name
    return {"log": f"{name} (log)", "log1m": f"{name} (log of 1 - {name})"}.get(axis.scale, name)


def axis_ticks(axis: AxisSpec) -> list[tuple[float, str]]:
    """Where an axis has ticks in the unit cube, and what they say."""
    values = axis.choices if axis.is_categorical else _tick_values(axis)
    tolerance = 1e-9
    say = format_value if axis.is_categorical else _shorten
    placed = ((to_unit(axis, value), say(value)) for value in values)
    return [(u, label) for u, label in placed if u is not None and -tolerance <= u <= 1 + tolerance]


def format_tick(value: float) -> str:
    """A number at an axis, as short as it can be: ``0.001``, ``1e-5``, ``1e6``."""
    return _shorten(float(f"{value:.6g}"))


def _shorten(value: Value) -> str:
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].strip("+"), format_value(value))


def set_log_ticks(axis: Axis) -> None:
    """Ticks with plain numbers on a logarithmic axis whose data are drawn: as many as are needed to read it."""
    low, high = sorted(axis.get_view_interval())
    if high / low < _NARROW:
        axis.set_major_locator(MaxNLocator(4))
    elif high / low < _DECADES:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low > 4.0 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    else:
        axis.set_major_locator(LogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
    axis.set_minor_formatter(NullFormatter())
    if high / low < _DECADES:
        axis.set_minor_locator(NullLocator())


def add_legend(drawing: Drawing, axes: Axes) -> None:
    """A legend under all panels, where it hides no data and long titles squeeze nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    longest = max(map(len, labels)) + 6
    columns = max(1, min(len(labels), int(_CHARACTERS_PER_INCH * drawing.figure.get_figwidth() / longest)))
    drawing.figure.legend(handles, labels, loc="outside lower center", ncols=columns)


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
