"""What is computed of one optimizer on one workload from its surrogate, in one process."""

from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from study.report.measures.importance.importance import CellImportance, measure_importance
from study.report.measures.landscape.landscape import measure_landscape
from study.report.measures.landscape.records import CellLandscape
from study.report.measures.surrogate import Surrogate, cell_seed, count_choices, fit_surrogate
from study.report.observations import Cell, StudyInfo


@dataclass(frozen=True, eq=False)
class CellParts:
    """Parts of a report about one cell.

    Attributes:
        surrogate: Learned from its design points; None where they are too few or do not stand for the space.
        landscape: Its curves and maps; None if not asked for.
        importance: Which axes matter; None if not asked for.
    """

    surrogate: Surrogate | None
    landscape: CellLandscape | None
    importance: CellImportance | None


def measure_cell(cell: Cell, info: StudyInfo, *, landscape: bool, importance: bool) -> CellParts:
    """Fit the surrogate of a cell and compute the parts that are asked for.

    Libraries use one thread: sums are rounded in the same way whatever the machine's load.
    """
    with threadpool_limits(1):
        surrogate = _fit(cell) if info.is_sample else None
        return CellParts(
            surrogate,
            measure_landscape(cell, surrogate, planned=max(cell.info.planned - 1, 0)) if landscape else None,
            measure_importance(cell, surrogate, info) if importance else None,
        )


def _fit(cell: Cell) -> Surrogate | None:
    own = cell.design_N
    return fit_surrogate(cell.unit_ND[own], cell.mean_N[own], count_choices(cell), seed=cell_seed(cell, 0))
