"""Figures as pictures: each drawn once, saved in all formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PathCollection

from study.report.document import Figure
from study.report.drawing.style import Drawing, Format, save

Floats = npt.NDArray[np.float64]


class DrawingError(RuntimeError):
    """A figure could not be drawn; the message names it."""


@dataclass(frozen=True, slots=True)
class Hover:
    """What one point of a scatter says to those who point at it.

    Attributes:
        text: Its exact numbers.
        x: From the left of the picture, in points (1/72 inch), which are the units of the SVG.
        y: From its top.
    """

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in all its formats.

    Attributes:
        svg: As a file.
        png: As a file.
        pdf: As a file.
        hovers: Group id of a scatter in the SVG -> its points in their order, those that have a place.
    """

    svg: bytes
    png: bytes
    pdf: bytes
    hovers: Mapping[str, tuple[Hover, ...]] = field(default_factory=dict)

    @property
    def files(self) -> dict[Format, bytes]:
        """Format -> file."""
        return {"svg": self.svg, "png": self.png, "pdf": self.pdf}


def draw_picture(figure: Figure) -> Picture:
    """Draw ``figure`` in this process.

    Raises:
        DrawingError: It cannot be drawn.
    """
    try:
        drawing = figure.draw()
        svg = save(drawing, "svg")
        drawing.figure.set_layout_engine("none")  # what was laid out stays so: the formats are one picture
        return Picture(svg, save(drawing, "png"), save(drawing, "pdf"), _place_hovers(drawing))
    except Exception as error:
        raise DrawingError(f"figure {figure.name!r} cannot be drawn: {type(error).__name__}: {error}") from error


def _place_hovers(drawing: Drawing) -> dict[str, tuple[Hover, ...]]:
    """Where the points of each scatter lie; a point without a place, such as 0 on a log axis, is not drawn."""
    return {group: _place_points(drawing, group, texts) for group, texts in drawing.hovers.items()}


def _place_points(drawing: Drawing, group: str, texts: Sequence[str]) -> tuple[Hover, ...]:
    figure = drawing.figure
    points = next(artist for artist in figure.findobj(PathCollection) if artist.get_gid() == group)
    offsets_N2: Floats = np.ma.filled(np.ma.asarray(points.get_offsets(), dtype=float), np.nan)
    if len(offsets_N2) != len(texts):
        raise ValueError(f"its points {group} are {len(offsets_N2)}, and have {len(texts)} texts")
    with np.errstate(all="ignore"):
        places_N2: Floats = np.ma.filled(points.get_offset_transform().transform(offsets_N2), np.nan) * (
            72 / figure.dpi
        )
    height = figure.get_figheight() * 72
    return tuple(
        Hover(text, float(x), float(height - y))
        for text, (x, y) in zip(texts, places_N2, strict=True)
        if np.isfinite([x, y]).all()
    )
