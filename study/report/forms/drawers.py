"""All figures of a report, drawn by several processes."""

from collections.abc import Callable, Sequence
from functools import partial

from study.report.document import Figure
from study.report.forms.pictures import DrawingError, Picture, draw_picture
from study.report.processes import Job, ProcessError, do_all

#: Fewer figures are drawn sooner than another process has started: that takes about 3 s, a figure about 0.5 s.
_WORTH = 8


def draw_all(
    figures: Sequence[Figure], *, processes: int, on_done: Callable[[str], None] = lambda _: None
) -> dict[str, Picture]:
    """Draw all figures.

    Args:
        figures: Of unique names.
        processes: How many draw at a time, this one among them; few figures are drawn by this one alone.
        on_done: Told the name of each figure that is drawn, in this thread.

    Returns:
        Name -> picture, in the order of ``figures``.

    Raises:
        DrawingError: A figure cannot be drawn, or the process that drew it died.
    """
    jobs = [Job(figure.name, partial(draw_picture, figure)) for figure in figures]
    try:
        pictures = do_all(jobs, processes=processes if len(jobs) >= _WORTH else 1, on_done=on_done)
    except ProcessError as error:
        raise DrawingError(f"figures cannot be drawn: {error}") from error
    return {figure.name: picture for figure, picture in zip(figures, pictures, strict=True)}
