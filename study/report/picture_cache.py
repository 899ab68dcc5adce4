"""Draws the figures of a report, those excepted that were drawn before from equal dataclasses by equal code."""

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from study.report.document import Figure
from study.report.forms.drawers import draw_all
from study.report.forms.pictures import Hover, Picture
from study.report.part_cache import PartCache
from study.report.processes import count_processors
from study.report.steps import Steps


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture as JSON holds it: files in base64."""

    svg: str
    png: str
    pdf: str
    hovers: dict[str, tuple[Hover, ...]]

    @classmethod
    def of(cls, picture: Picture) -> "_Kept":
        svg, png, pdf = (base64.b64encode(content).decode() for content in (picture.svg, picture.png, picture.pdf))
        return cls(svg, png, pdf, dict(picture.hovers))

    def picture(self) -> Picture:
        svg, png, pdf = (base64.b64decode(text) for text in (self.svg, self.png, self.pdf))
        return Picture(svg, png, pdf, self.hovers)


def draw_cached(figures: Sequence[Figure], cache: PartCache, steps: Steps) -> dict[str, Picture]:
    """All figures, in their order.

    Args:
        figures: Of unique names.
        cache: What was drawn before.
        steps: Told of every figure.
    """
    keys = {figure.name: _key(figure) for figure in figures}
    found = {name: cache.find(_Kept, key) for name, key in keys.items()}
    missing = [figure for figure in figures if found[figure.name] is None]
    steps.start("drawing", len(figures))
    for figure in figures:
        if found[figure.name] is not None:
            steps.done(figure.name)
    drawn = draw_all(missing, processes=count_processors(), on_done=steps.done)
    for name, picture in drawn.items():
        cache.keep(_Kept, keys[name], _Kept.of(picture))
    return {name: drawn[name] if kept is None else kept.picture() for name, kept in found.items()}


def _key(figure: Figure) -> str:
    """A hash of what draws a figure and of what it draws."""
    if not isinstance(figure.draw, functools.partial):
        raise TypeError(f"figure {figure.name!r} is drawn by {figure.draw!r}; give a partial of a module's function")
    function, given = figure.draw.func, (figure.draw.args, figure.draw.keywords)
    content = TypeAdapter(Any).dump_json(given)
    return hashlib.sha256(f"{function.__module__}.{function.__qualname__}\n".encode() + content).hexdigest()
