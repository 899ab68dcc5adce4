"""Measures, effective hyperparameter dimensionality of Adkins et al.: how many axes must be tuned per workload."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from study.report.measures.surrogate import Surrogate
from study.report.observations import Cell, Floats

#: Share of the per-workload tuned score that must be reached.
ENOUGH = 0.95
_ROUNDING = 1e-12
#: Most axes of which all subsets are tried.
_MOST_AXES = 6
#: Most settings of a subset of axes that surrogates are asked about.
_TRIED = 128

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dimensionality:
    """Effective hyperparameter dimensionality of one optimizer (Adkins, Bowling and White 2024, arXiv 2412.07165).

    Attributes:
        optimizer: Name of the optimizer.
        title: What people call it.
        axes: Names of its axes.
        effective: Least number of axes that must be tuned on each workload, all others held at the best shared setting,
            to reach :data:`ENOUGH` of the score with all tuned.
        scores: Mean score over workloads with 0, 1, … of all axes tuned: those that bring the most.
        tuned_axes: Which axes these are.
        exact: Whether the scores are those of trials of a full grid; else they are the surrogates'.
        r2: Cross-validated R2 of the surrogate of each workload; empty for grids.
        shared_trial: Number of the shared setting.
    """

    optimizer: str
    title: str
    axes: tuple[str, ...]
    effective: int
    scores: tuple[float, ...]
    tuned_axes: tuple[tuple[str, ...], ...]
    exact: bool
    r2: tuple[float, ...]
    shared_trial: int


def measure_dimensionality(
    cells: Sequence[Cell],
    rows_NW: Indices,
    scales: Sequence[tuple[float, float]],
    surrogates: Sequence[Surrogate | None],
) -> Dimensionality | str:
    """Effective hyperparameter dimensionality of an optimizer, or why it is not known.

    Args:
        cells: The optimizer on each of W workloads.
        rows_NW: Indices of N settings in each cell.
        scales: Of each workload the losses with scores 0 and 1.
        surrogates: Of each workload.
    """
    first = cells[0]
    axes = len(first.axes)
    if any(axis.conditional for axis in first.axes):
        return "Some axes vary in some trials only, so that they cannot be held or tuned one by one."
    if not 1 <= axes <= _MOST_AXES:
        return f"There are {axes} axes, and subsets of 1 to {_MOST_AXES} are tried."
    unit_ND = first.unit_ND[rows_NW[:, 0]]
    scale_W2 = np.array(scales)
    loss_NW = np.stack([cell.mean_N[rows_NW[:, w]] for w, cell in enumerate(cells)], axis=1)
    score_NW = _score(loss_NW, scale_W2)
    shared = int(score_NW.mean(axis=1).argmax())
    known = [surrogate for surrogate in surrogates if surrogate is not None]
    exact = _is_full_grid(unit_ND)
    if exact:
        score_UW = _tune_grid(unit_ND, score_NW, shared)
    elif len(known) == len(cells):
        score_UW = _tune_surrogates(unit_ND, known, scale_W2, shared)
    else:
        return (
            "The points are no full grid, and too few for a surrogate on every workload; take more points, or a grid."
        )
    scores, subsets = _best_subsets(score_UW, axes)
    if scores[-1] <= 0:
        return "The tuned score is not above 0, so that a share of it means nothing."
    names = [axis.name for axis in first.axes]
    return Dimensionality(
        optimizer=first.optimizer,
        title=first.title,
        axes=tuple(names),
        effective=next(count for count, score in enumerate(scores) if score >= ENOUGH * scores[-1] - _ROUNDING),
        scores=scores,
        tuned_axes=tuple(tuple(names[column] for column in subset) for subset in subsets),
        exact=exact,
        r2=() if exact else tuple(float(surrogate.r2) for surrogate in known),
        shared_trial=int(first.number_N[rows_NW[shared, 0]]),
    )


def _score(loss_NW: Floats, scale_W2: Floats) -> Floats:
    return np.asarray((scale_W2[:, 0] - loss_NW) / (scale_W2[:, 0] - scale_W2[:, 1]))


def _is_full_grid(unit_ND: Floats) -> bool:
    """Whether the points are all combinations of their levels, two or more on each axis."""
    levels = [len(np.unique(np.round(column, 9))) for column in unit_ND.T]
    distinct = len(np.unique(np.round(unit_ND, 9), axis=0))
    return min(levels) > 1 and distinct == len(unit_ND) == int(np.prod(levels))


def _best_subsets(score_UW: Floats, axes: int) -> tuple[tuple[float, ...], tuple[tuple[int, ...], ...]]:
    """For each number of tuned axes the highest score and the subset that has it; the first among equals.

    Args:
        score_UW: Best score found on each workload with the axes of a subset tuned; bit d of U stands for axis d.
        axes: How many there are.
    """
    best_UW = score_UW.copy()
    for axis in range(axes):  # who may tune an axis may leave it: no subset does worse than one within it
        with_U = np.flatnonzero(np.arange(len(best_UW)) & (1 << axis))
        best_UW[with_U] = np.maximum(best_UW[with_U], best_UW[with_U - (1 << axis)])
    score_U = best_UW.mean(axis=1)
    subsets = [
        max(itertools.combinations(range(axes), count), key=lambda subset: float(score_U[_bits(subset)]))
        for count in range(axes + 1)
    ]
    return tuple(float(score_U[_bits(subset)]) for subset in subsets), tuple(subsets)


def _bits(subset: tuple[int, ...]) -> int:
    return sum(1 << axis for axis in subset)


def _subsets(axes: int) -> list[list[int]]:
    """All subsets in the order of their bits."""
    return [[axis for axis in range(axes) if bits & (1 << axis)] for bits in range(1 << axes)]


def _tune_grid(unit_ND: Floats, score_NW: Floats, shared: int) -> Floats:
    """Best score on each workload of the trials that differ from the shared one on a subset of axes alone."""
    same_ND = np.isclose(unit_ND, unit_ND[shared], rtol=0.0, atol=1e-9)
    axes = unit_ND.shape[1]
    rows_U = [np.delete(same_ND, subset, axis=1).all(axis=1) for subset in _subsets(axes)]
    return np.array([score_NW[rows_N].max(axis=0) for rows_N in rows_U])


def _tune_surrogates(unit_ND: Floats, surrogates: Sequence[Surrogate], scale_W2: Floats, shared: int) -> Floats:
    """The same by surrogates: tuned axes take the places of the design's points, the others those of the shared one."""
    chosen_ND = np.vstack([unit_ND[shared], unit_ND[:_TRIED]])
    subsets = _subsets(unit_ND.shape[1])
    tried_UND = np.tile(unit_ND[shared], (len(subsets), len(chosen_ND), 1))
    for place, subset in enumerate(subsets):
        tried_UND[place][:, subset] = chosen_ND[:, subset]
    tried = tried_UND.reshape(-1, unit_ND.shape[1])
    loss_WU = [surrogate.predict(tried).reshape(len(subsets), -1).min(axis=1) for surrogate in surrogates]
    return _score(np.stack(loss_WU, axis=1), scale_W2)
