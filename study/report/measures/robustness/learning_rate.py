"""Measures, learning-rate sensitivity of Wortsman et al. 2023."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from study.report.measures.intervals import Estimate, bootstrap
from study.report.measures.robustness.profiles import AxisCurves, Curve, axis_decades, trapezoid_weights
from study.report.measures.robustness.seeds import scaled
from study.report.measures.surrogate import cell_seed
from study.report.observations import Cell, Floats

#: Names of axes that learning-rate sensitivity is measured on: here, and in most foreign studies.
LR_NAMES = ("lr", "learning_rate")
#: Decades to each side of the best learning rate in the centred learning-rate sensitivity.
CENTRED = 1.0
_SENSITIVITY = 33


@dataclass(frozen=True, slots=True)
class LrSensitivity:
    """Learning-rate sensitivity of Wortsman et al. 2023 (arXiv 2309.14322), section 2.2.

    Attributes:
        value: S, the mean over the range of min(loss, L0), less the lowest loss, with the other axes held.
        relative: S / (L0 - lowest loss): 0 if all learning rates are equally good, 1 if all but one learn nothing.
        per_decade: S divided by the decades of the range; None on a linear axis.
        decades: Decades of the range.
        centred: S over what lies within :data:`CENTRED` decades of the best learning rate, both sides.
        centred_decades: How many decades that is, cut at the ends of the range.
        tuned: S of the loss at the best of the other axes.
        levels: Learning rates that were averaged.
        sampled: Whether they are a random sample of the range: the interval is a bootstrap over them.
    """

    value: Estimate
    relative: Estimate | None
    per_decade: Estimate | None
    decades: float | None
    centred: Estimate | None
    centred_decades: float | None
    tuned: Estimate | None
    levels: int
    sampled: bool


def lr_sensitivity(loss_N: Floats, reference: float, weight_N: Floats | None = None) -> float:
    """Learning-rate sensitivity: S = E[min(loss, reference)] - min(loss), Wortsman et al. 2023, section 2.2.

    Args:
        loss_N: The loss at N learning rates; one that is not finite counts as ``reference``, as what diverged.
        reference: The loss before training, or chance level.
        weight_N: Of each learning rate in the mean; equal if left out, as over a uniform grid in the paper.

    Returns:
        At least 0; 0 also where nothing is better than ``reference``.

    Raises:
        ValueError: There is no learning rate.
    """
    if len(loss_N) == 0:
        raise ValueError("learning-rate sensitivity needs the loss at one learning rate or more")
    capped_N = np.where(np.isfinite(loss_N), np.minimum(loss_N, reference), reference)
    return max(float(np.average(capped_N, weights=weight_N) - capped_N.min()), 0.0)


def measure_lr(
    cell: Cell, column: int, curves: AxisCurves, reference: float, *, is_random: bool
) -> LrSensitivity | None:
    """Learning-rate sensitivity of a cell; None where the learning rate does not vary at the anchor.

    Args:
        cell: The trials.
        column: The axis of the learning rate.
        curves: The loss along it.
        reference: L0.
        is_random: Whether the points are independent or quasi-random draws from the search space.
    """
    curve = curves.through
    # Where nothing else varies, the points themselves are draws of the learning rate.
    drawn = len(cell.axes) == 1 and is_random
    if curve is None:
        return None
    loss_M = cell.mean_N[cell.design_N] if drawn else curve.value_M
    value = _over_draws(cell, loss_M, reference) if drawn else _over_curve(curve, reference)
    decades = axis_decades(cell.axes[column].spec)
    centred, centred_decades = _centred(curve, reference, decades)
    lowest = float(loss_M.min())
    return LrSensitivity(
        value=value,
        relative=scaled(value, reference - lowest if lowest < reference else None),
        per_decade=scaled(value, decades),
        decades=decades,
        centred=centred,
        centred_decades=centred_decades,
        tuned=None if curves.tuned is None else _over_curve(curves.tuned, reference),
        levels=len(loss_M),
        sampled=drawn,
    )


def _over_curve(curve: Curve, reference: float) -> Estimate:
    return curve.estimate(lambda v: lr_sensitivity(v, reference, curve.weight_M), lowest=0.0)


def _over_draws(cell: Cell, loss_N: Floats, reference: float) -> Estimate:
    def sensitivity(chosen: npt.NDArray[np.int64]) -> float:
        return lr_sensitivity(loss_N[chosen], reference)

    return bootstrap(sensitivity, len(loss_N), seed=(cell_seed(cell, _SENSITIVITY),))


def _centred(curve: Curve, reference: float, decades: float | None) -> tuple[Estimate | None, float | None]:
    """S within :data:`CENTRED` decades of the lowest loss, and the decades of it that are in the range."""
    if decades is None:
        return None, None
    centre = float(curve.place_M[curve.value_M.argmin()])
    first = max(centre - CENTRED / decades, float(curve.place_M[0]))
    last = min(centre + CENTRED / decades, float(curve.place_M[-1]))
    inner_M = curve.place_M[(curve.place_M > first) & (curve.place_M < last)]
    place_K = np.concatenate([[first], inner_M, [last]])
    weight_K = trapezoid_weights(place_K)

    def sensitivity(value_M: Floats) -> float:
        return lr_sensitivity(np.interp(place_K, curve.place_M, value_M), reference, weight_K)

    return curve.estimate(sensitivity, lowest=0.0), (last - first) * decades
