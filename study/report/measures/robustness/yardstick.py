"""Measures, what goodness is measured by: the best and chance level on each workload, and the tolerances between."""

from dataclasses import dataclass

import numpy as np

from study.report.observations import Bools, Floats, Observations, StudyInfo

#: Shares of the way from the best to chance level up to which a point is good.
TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
#: A loss that is above a level by no more is at the level: the level was rounded, too.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What goodness is measured by on one workload.

    Attributes:
        workload: Name of the workload.
        best: L*, the lowest mean objective of any finished trial of any optimizer.
        best_optimizer: Whose it is.
        best_trial: Number of that trial.
        reference: L0, chance level, or the median over all finished trials where chance is unknown.
        is_chance: Whether ``reference`` is chance level.
    """

    workload: str
    best: float
    best_optimizer: str
    best_trial: int
    reference: float
    is_chance: bool

    @property
    def span(self) -> float | None:
        """L0 - L*, which losses are divided by; None if nothing was better than L0."""
        return self.reference - self.best if self.reference > self.best else None


def measure_yardstick(observations: Observations, workload: str) -> Yardstick:
    """L* and L0 on a workload that has a finished trial."""
    best = observations.best_on(workload)
    cell = next(cell for cell in observations.on(workload) if np.nanmin(cell.mean_N) == best)
    return Yardstick(
        workload=workload,
        best=best,
        best_optimizer=cell.optimizer,
        best_trial=int(cell.number_N[np.nanargmin(cell.mean_N)]),
        reference=observations.reference_on(workload),
        is_chance=observations.info.workload(workload).chance is not None,
    )


def find_good(mean_N: Floats, *, best: float, reference: float, tolerance: float) -> Bools:
    """Which mean losses are at most best + tolerance * (reference - best); NaN is not."""
    level = best + tolerance * (reference - best)
    return np.asarray(mean_N <= level + _ROUNDING * abs(level))


def why_no_sample(info: StudyInfo) -> str | None:
    """Why the design's points do not stand for the search space, as a sentence; None if they do."""
    if info.design_kind == "one_at_a_time":
        return "The points lie on lines through the default setting, not in the whole space; take a Sobol' design."
    if not info.is_sample:
        return (
            "The points that finished do not stand for the search space: a sampler chose them or pruning left them; "
            "take a Sobol' or random design without pruning."
        )
    return None
