"""Test errors as they count in comparisons: a diverged run has none, and must not be left out for it."""

import math

import numpy as np

from study.report.observations import Cell, Floats, StudyInfo


def count_test_errors(cell: Cell, info: StudyInfo) -> Floats:
    """Test error of each run (N, S), a diverged one at chance level where the objective is the validation error.

    Elsewhere the chance level of the test error is unknown, and a diverged run keeps NaN.
    """
    chance = info.workload(cell.workload).chance if info.objective == "val_error" else None
    if chance is None:
        return cell.test_error_NS
    return np.where(cell.diverged_NS & ~np.isfinite(cell.test_error_NS), chance, cell.test_error_NS)


def mean_test_errors(cell: Cell, info: StudyInfo) -> Floats:
    """Mean over seeds (N,) of :func:`count_test_errors`; NaN if one of the runs has none, or the trial is not finished.

    Exactly rounded, as :attr:`study.report.observations.Cell.test_mean_N` is: equal runs have equal means.
    """
    counted_NS = np.isfinite(cell.objective_NS)
    errors_NS = count_test_errors(cell, info)
    means_N = np.full(len(errors_NS), np.nan)
    for row in np.flatnonzero(cell.finished_N):
        errors = errors_NS[row][counted_NS[row]]
        if np.isfinite(errors).all():
            means_N[row] = math.fsum(errors.tolist()) / len(errors)
    return means_N
