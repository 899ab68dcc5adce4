"""Numbers of N trials with S seeds: cut to what can be squared, their means, and their deviations."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Numbers beyond, as of foreign studies without a chance level, are cut: variances are squared, and must be finite.
LARGEST = 1e75


def cut_numbers(value_NS: Floats) -> Floats:
    """Finite numbers cut to :data:`LARGEST` either way; the others unchanged."""
    return np.where(np.isfinite(value_NS), np.clip(value_NS, -LARGEST, LARGEST), value_NS)


def mean_rows(values_NS: Floats, rows_N: npt.NDArray[np.bool_]) -> Floats:
    """Mean of the finite numbers of each chosen row, exactly rounded; NaN for the others."""
    means = np.full(len(values_NS), np.nan)
    for row in np.flatnonzero(rows_N):
        known = values_NS[row][np.isfinite(values_NS[row])]
        means[row] = math.fsum(known.tolist()) / len(known)
    return means


def deviate_rows(values_NS: Floats, rows_N: npt.NDArray[np.bool_]) -> Floats:
    """Sample standard deviation of the finite numbers of each chosen row; NaN for others, and with fewer than two."""
    sds = np.full(len(values_NS), np.nan)
    for row in np.flatnonzero(rows_N):
        known = values_NS[row][np.isfinite(values_NS[row])]
        if len(known) > 1:
            sds[row] = np.std(known, ddof=1)
    return sds
