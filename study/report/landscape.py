"""The landscape: the objective over two axes of one optimizer, with spread over seeds and share diverged."""

from collections.abc import Iterable
from dataclasses import dataclass

from study.axis import AxisSpec
from study.report.trials import TrialSummary
from study.search_space import OptimizerSpec


@dataclass(frozen=True, slots=True)
class LandscapePoint:
    """One trial in a landscape.

    Attributes:
        summary: The trial over its seeds.
        x: Its place on the first axis, in [0, 1] of the unit cube.
        y: Its place on the second axis; 0 without one.
    """

    summary: TrialSummary
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Landscape:
    """The finished trials of one optimizer on one workload over two of its axes.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it, with the options that make it a variant.
        objective: What is drawn.
        x_name: First axis: the learning rate where it varies.
        x_axis: Its range and scale.
        y_name: Second axis; None if only one varies.
        y_axis: Its range and scale.
        hidden_axes: Axes that vary too and are not shown: points near each other may differ in them.
        points: Points of the design.
        default: The default setting; None if it has not finished or lies outside the two axes.
        planned: Points of the design, finished or not.
    """

    workload: str
    optimizer: str
    title: str
    objective: str
    x_name: str
    x_axis: AxisSpec
    y_name: str | None
    y_axis: AxisSpec | None
    hidden_axes: tuple[str, ...]
    points: tuple[LandscapePoint, ...]
    default: LandscapePoint | None
    planned: int


def build_landscape(
    workload: str,
    optimizer: OptimizerSpec,
    summaries: Iterable[TrialSummary],
    *,
    objective: str,
    planned: int,
) -> Landscape:
    """The landscape over the learning rate and the next axis of the spec.

    Args:
        workload: Name of the workload.
        optimizer: The optimizer's part of the spec.
        summaries: Finished trials of a study; those of other workloads and optimizers are left out.
        objective: What is drawn.
        planned: Points of the design.
    """
    names = sorted(optimizer.axes, key=lambda name: name != "lr")  # stable: the others keep the spec's order
    x_name, y_name = names[0], names[1] if len(names) > 1 else None
    own = [s for s in summaries if (s.trial.workload, s.trial.optimizer) == (workload, optimizer.name)]
    placed = [(summary, _place(summary, x_name, y_name)) for summary in own]
    points = [LandscapePoint(summary, *place) for summary, place in placed if place is not None]
    return Landscape(
        workload=workload,
        optimizer=optimizer.name,
        title=optimizer.title,
        objective=objective,
        x_name=x_name,
        x_axis=optimizer.axes[x_name],
        y_name=y_name,
        y_axis=None if y_name is None else optimizer.axes[y_name],
        hidden_axes=tuple(names[2:]),
        points=tuple(point for point in points if point.summary.trial.origin == "design"),
        default=next((point for point in points if point.summary.trial.origin == "default"), None),
        planned=planned,
    )


def _place(summary: TrialSummary, x_name: str, y_name: str | None) -> tuple[float, float] | None:
    """Where a trial lies on the two axes; None if outside, as a default may be (weight decay 0 on a log axis)."""
    unit = summary.trial.unit
    x, y = unit[x_name], 0.0 if y_name is None else unit[y_name]
    if x is None or y is None or not (0 <= x <= 1 and 0 <= y <= 1):
        return None
    return x, y
