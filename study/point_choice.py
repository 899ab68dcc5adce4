"""Chooses which of many trials a picture shows: all over the space, the same ones each time, divergence among them."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
#: Knuth's multiplier: cells that are beside each other come at different times.
_SCATTER, _WORD = 2_654_435_761, 2**32


def choose_points(place_NA: Floats, diverged_N: Bools, kept_N: Bools, limit: int) -> Integers:
    """Indices of at most ``limit`` of N points, increasing.

    The space is cut into about as many cells as points are wanted. Each cell gives its first point before any gives
    its second. Diverged points and the others are chosen one apart from the other, each in proportion to their number.

    Args:
        place_NA: Places in the unit cube on A axes, at least one; NaN where a point has none.
        diverged_N: Which of them count as diverged.
        kept_N: Which are chosen in any case: fewer than ``limit``.
        limit: The most points, at least 1.
    """
    count = len(place_NA)
    if count <= limit:
        return np.arange(count)
    left = limit - int(kept_N.sum())
    others = np.flatnonzero(~kept_N)
    diverged, sound = others[diverged_N[others]], others[~diverged_N[others]]
    share = math.ceil(left * len(diverged) / max(len(others), 1))
    chosen = [_spread(place_NA, diverged, share), _spread(place_NA, sound, left - share)]
    return np.sort(np.concatenate([np.flatnonzero(kept_N), *chosen]))


def _spread(place_NA: Floats, rows: Integers, limit: int) -> Integers:
    """``limit`` of some rows, cell by cell."""
    if len(rows) <= limit or limit <= 0:
        return rows[: max(limit, 0)]
    cells = _cells(place_NA[rows], limit)
    order = np.argsort(cells, kind="stable")
    first = np.searchsorted(cells[order], cells[order])
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - first
    return rows[np.lexsort((cells * _SCATTER % _WORD, turn))[:limit]]


def _cells(place_NA: Floats, count: int) -> Integers:
    """The number of each point's cell, of about ``count``; a point without a place on an axis has a cell of its own."""
    side = max(round(count ** (1 / place_NA.shape[1])), 1)
    clipped_NA = np.clip(np.nan_to_num(place_NA), 0.0, 1.0)
    step_NA = np.where(np.isnan(place_NA), side, np.minimum((clipped_NA * side).astype(np.int64), side - 1))
    return np.asarray(step_NA @ ((side + 1) ** np.arange(place_NA.shape[1])), np.int64)
