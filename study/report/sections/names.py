"""Sections, names and counts in words: all sections say them alike."""

from collections.abc import Sequence

from study.report.observations import StudyInfo


def titles_of(info: StudyInfo) -> dict[str, str]:
    """Name of an optimizer in the spec -> what people call it."""
    return {cell.optimizer: cell.title for cell in info.cells}


def count_of(count: int, noun: str) -> str:
    """Such as ``1 seed`` or ``3 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def count_runs(info: StudyInfo) -> str:
    """How often each setting is tried: over seeds, or over runs whose seeds nobody knows."""
    return count_of(info.seeds, "seed" if info.source == "service" else "run") + " per setting"


def count_points(counts: Sequence[tuple[str, int, int]]) -> str:
    """Points of each optimizer, and those with a diverged run, as a sentence without its full stop.

    Args:
        counts: Title, points, points with a diverged run.
    """
    points = {total for _, total, _ in counts}
    diverged = [(title, number) for title, _, number in counts if number]
    if len(points) > 1:
        said = "n = " + ", ".join(f"{total} ({title})" for title, total, _ in counts)
    else:
        said = f"n = {points.pop() if points else 0} points of each optimizer"
    if not diverged:
        return f"{said}, none with a diverged run"
    listed = ", ".join(f"{number} of {title}" for title, number in diverged)
    return f"{said}; with a diverged run: {listed}{', none of the others' if len(diverged) < len(counts) else ''}"
