"""What an optimizer's selected setting reaches with each seed, so that selection and judgement stay apart."""

from dataclasses import dataclass

import numpy as np

from study.report.measures.comparison.held_out import count_test_errors
from study.report.observations import Cell, Floats, StudyInfo

TEST_ERROR = "test error"


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One number for each seed of the selected setting; lower is better.

    Attributes:
        score_S: The number; NaN for a seed that has none.
        diverged: Runs among them that diverged, and count at chance level.
    """

    score_S: Floats
    diverged: int


def score_test(cell: Cell, info: StudyInfo) -> SeedScores | None:
    """Test error of the trial with the lowest mean objective, by seed; None if one of its runs has no test error.

    Selected by validation and judged by test data, so no seed has to be held out.
    """
    if cell.best is None:
        return None
    ran_S = np.isfinite(cell.objective_NS[cell.best])
    error_S = np.where(ran_S, count_test_errors(cell, info)[cell.best], np.nan)
    if not np.isfinite(error_S[ran_S]).all():
        return None
    return SeedScores(error_S, int(cell.diverged_NS[cell.best].sum()))


def score_left_out(cell: Cell) -> SeedScores | None:
    """Objective with each seed of the trial that is best on the other seeds; None with fewer than two seeds.

    The lowest mean over all seeds is lucky with just these seeds; a seed that had no say in the selection is fair.
    """
    values_NS = np.where(cell.finished_N[:, None] & np.isfinite(cell.objective_NS), cell.objective_NS, np.nan)
    score_S = np.full(values_NS.shape[1], np.nan)
    diverged = 0
    for seed in range(values_NS.shape[1]):
        others = np.delete(values_NS, seed, axis=1)
        known_N = np.isfinite(others).any(axis=1) & np.isfinite(values_NS[:, seed])
        if not known_N.any():
            continue
        mean_N = np.full(len(others), np.inf)
        mean_N[known_N] = np.nanmean(others[known_N], axis=1)
        chosen = int(np.argmin(mean_N))
        score_S[seed] = values_NS[chosen, seed]
        diverged += int(cell.diverged_NS[chosen, seed])
    return SeedScores(score_S, diverged) if np.isfinite(score_S).any() else None
