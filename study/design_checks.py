"""Which designs and which pruning go with which search spaces."""

import math

from study.axis import AxisSpec
from study.design_spec import DesignSpec, PruningSpec
from study.placement import MAX_CELLS
from study.search_space import OptimizerSpec


def check_design(design: DesignSpec, optimizer: OptimizerSpec, *, seeds: int) -> None:
    """Refuse a design that cannot work on the axes of an optimizer.

    Raises:
        ValueError: CMA-ES with choices or conditions; brute force with real numbers or too many combinations; a second
            objective that is the same for all trials.
    """
    if design.kind == "cmaes":
        _check_numbers(optimizer)
    if design.kind == "brute_force":
        _check_countable(optimizer)
    if design.second_objective == "epochs" and "epochs" not in optimizer.axes:
        raise ValueError(
            f'second_objective = "epochs" is the same for all trials of {optimizer.name}; make epochs one of its axes, '
            "or choose another second objective"
        )
    if design.second_objective == "objective_sd" and seeds < 2:
        raise ValueError(
            'second_objective = "objective_sd" is the spread over seeds, and there is 1 seed; set seeds to 2 or more'
        )


def _check_numbers(optimizer: OptimizerSpec) -> None:
    for name, axis in optimizer.axes.items():
        if axis.is_categorical:
            raise ValueError(
                f"cmaes moves along numbers, and the axis {name} of {optimizer.name} has choices; give it a range, or "
                "take tpe or gp"
            )
    if optimizer.is_conditional:
        raise ValueError(
            f"cmaes needs every axis in every trial, and {optimizer.name} has axes that vary in some only; take tpe, "
            "or leave the conditions out"
        )


def _check_countable(optimizer: OptimizerSpec) -> None:
    for name, axis in optimizer.axes.items():
        if not (axis.is_categorical or axis.integer):
            raise ValueError(
                f"brute_force tries every combination, and the axis {name} of {optimizer.name} has all numbers of a "
                "range; give it choices or integer = true, or take sobol"
            )
    cells = math.prod(_count_values(axis) for axis in optimizer.axes.values())
    if cells > MAX_CELLS:
        raise ValueError(
            f"the axes of {optimizer.name} have {cells} combinations, and brute_force tries {MAX_CELLS} at most; make "
            "them smaller, or take random"
        )


def _count_values(axis: AxisSpec) -> int:
    """How many values an axis of whole numbers or choices has."""
    if axis.is_categorical:
        return len(axis.choices)
    low, high = axis.ends
    return int(high) - int(low) + 1


def check_pruning(pruning: PruningSpec, design: DesignSpec, optimizer: OptimizerSpec) -> None:
    """Refuse pruning that could not compare the trials of an optimizer.

    Raises:
        ValueError: Two objectives, or epochs that are an axis and what trials are stopped by.
    """
    if pruning.kind != "none" and design.kind == "nsga2":
        raise ValueError(
            f"{pruning.kind} cannot prune trials with two objectives, of which Optuna keeps no values on the way; take "
            "tpe, or leave pruning out"
        )
    if pruning.by_epochs and "epochs" in optimizer.axes:
        raise ValueError(
            f"{pruning.kind} stops trials by epochs, which are an axis of {optimizer.name}: it would compare different "
            "budgets; leave the axis or the pruning out, or prune with wilcoxon"
        )
