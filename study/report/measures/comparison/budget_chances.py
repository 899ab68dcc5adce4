"""Which optimizer is the best, if each is given k trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.report.measures.comparison.budget_draws import resample_values
from study.report.measures.comparison.order_statistics import share_best, survival_table
from study.report.measures.intervals import CONFIDENCE, Estimate
from study.report.observations import Cell, StudyInfo

#: Points, times resamples, that a report has time for.
_WORK = 1_200_000
_FEWEST_RESAMPLES, _MOST_RESAMPLES = 100, 500


@dataclass(frozen=True, slots=True)
class BestChances:
    """How often each optimizer has the lowest objective on a workload, if each is given k trials.

    Attributes:
        workload: Name of the workload.
        optimizers: Their names.
        titles: What people call them.
        budgets: Powers of two, and the largest budget that every optimizer has the points for.
        chances: By optimizer, then budget; those of a budget sum to 1.
        resamples: Of points and seeds, for the intervals.
    """

    workload: str
    optimizers: tuple[str, ...]
    titles: tuple[str, ...]
    budgets: tuple[int, ...]
    chances: tuple[tuple[Estimate, ...], ...]
    resamples: int


def measure_chances(cells: Sequence[Cell], info: StudyInfo) -> BestChances:
    """The probability that each of several optimizers on a workload is the best at budgets that all have.

    Args:
        cells: Two or more, each with a finished point of the design.
        info: What is known of the study.
    """
    values = [np.sort(cell.mean_N[cell.design_N]) for cell in cells]
    budgets = double_budgets(min(len(value_N) for value_N in values))
    tables = [survival_table(len(value_N), budgets) for value_N in values]
    share_KO = share_best(values, budgets, tables)
    total = sum(len(value_N) for value_N in values)
    resamples = int(np.clip(_WORK // total, _FEWEST_RESAMPLES, _MOST_RESAMPLES))
    drawn = zip(*resample_values(cells, info, resamples), strict=True)
    drawn_RKO = np.stack([share_best(row, budgets, tables) for row in drawn])
    ends = np.quantile(drawn_RKO, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low_KO, high_KO = np.minimum(ends[0], share_KO), np.maximum(ends[1], share_KO)
    # One point has nothing to be resampled: its only seed is as good as any.
    varies = any(len(value_N) > 1 for value_N in values)
    return BestChances(
        workload=cells[0].workload,
        optimizers=tuple(cell.optimizer for cell in cells),
        titles=tuple(cell.title for cell in cells),
        budgets=budgets,
        chances=tuple(
            tuple(
                Estimate(share, low, high) if varies else Estimate(share)
                for share, low, high in zip(*column, strict=True)
            )
            for column in zip(share_KO.T.tolist(), low_KO.T.tolist(), high_KO.T.tolist(), strict=True)
        ),
        resamples=resamples,
    )


def double_budgets(most: int) -> tuple[int, ...]:
    """1, 2, 4, … and ``most``."""
    return tuple(sorted({2**power for power in range(most.bit_length())} | {most}))
