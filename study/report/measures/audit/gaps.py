"""Measures nothing itself: gathers what could not be computed, so that cells with the same reason share a line."""

from study.report.measures.missing import Missing
from study.report.observations import Cell


class Gaps:
    """What could not be computed so far, in the order in which it was noticed."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], list[str]] = {}

    def add(self, measure: str, cell: Cell, reason: str) -> None:
        """Note that a measure of a cell could not be computed, and why."""
        self._cells.setdefault((measure, reason), []).append(f"{cell.optimizer} on {cell.workload}")

    def missing(self) -> tuple[Missing, ...]:
        """One entry for each measure and reason, with all its cells."""
        return tuple(
            Missing(f"{measure} of {', '.join(cells)}", reason) for (measure, reason), cells in self._cells.items()
        )
