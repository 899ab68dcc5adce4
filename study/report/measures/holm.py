"""Holm's correction of p-values for their number."""

from collections.abc import Sequence

import numpy as np


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): the k-th smallest of m times m - k + 1, never decreasing.

    Statsmodels says the same, and collects all garbage at every call, which takes longer than all tests of a report.

    Returns:
        Adjusted p-values in the order given, at most 1.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=float)[order] * (count - np.arange(count))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]
