"""Models of learning curves and of the landscape explorer."""

import datetime as dt
from typing import Literal

from dashboards.api.models import Axis, Model, Value

Metric = Literal[
    "objective", "val_error", "val_loss", "test_error", "test_loss", "train_loss", "divergence", "sd", "seconds"
]
CurveMetric = Literal["val_error", "val_loss", "train_loss", "grad_norm", "lr"]


class Curve(Model):
    """The learning curve of one trial, over its seeds."""

    workload: str
    optimizer: str
    trial: int
    hyperparameters: dict[str, Value]
    objective: float | None
    seeds: int
    epochs: list[int]
    mean: list[float | None]
    """Over the seeds that have a finite number at that epoch."""
    low: list[float | None]
    """Smallest over seeds."""
    high: list[float | None]
    count: list[int]
    """Seeds behind each epoch: it falls where runs diverge."""
    diverged_at: list[int]
    """The last epoch of each run that diverged."""


class Curves(Model):
    """Learning curves, a bounded number of them with a bounded number of epochs."""

    metric: CurveMetric
    curves: list[Curve]
    thinned: bool
    """Whether epochs were left out between others."""
    trials: int
    """From how many trials the shown ones were chosen."""


class Share(Model):
    """A share with its 95 % Wilson interval."""

    count: int
    of: int
    low: float | None
    high: float | None


class LandscapePoints(Model):
    """Finished trials, column by column: their mean over seeds."""

    trial: list[int]
    origin: list[str]
    x: list[Value | None]
    y: list[Value | None]
    """Empty where there is one axis only."""
    value: list[float | None]
    sd: list[float | None]
    seeds: list[int]
    diverged: list[int]
    good: list[bool | None]
    """Whether the objective is within the tolerance; None where that is not known."""


class LandscapeGrid(Model):
    """The surrogate of the report over the two axes (or one): rows bottom first; None where there are no data."""

    x_edges: list[float]
    """In [0, 1], the unit cube of the declared prior."""
    y_edges: list[float]
    x_values: list[Value]
    """The value in the middle of each cell."""
    y_values: list[Value]
    mean: list[list[float | None]] | None
    error: list[list[float | None]] | None
    diverged: list[list[float | None]] | None
    spread: list[list[float | None]] | None
    r2: float | None
    averaged: list[str]
    """Axes over whose prior it is averaged."""


class LandscapeCell(Model):
    """One optimizer in the landscape explorer."""

    optimizer: str
    title: str
    x: Axis | None
    """None where it has no such axis."""
    y: Axis | None
    trials: int
    """Finished ones, thinned or not."""
    points: LandscapePoints
    thinned: bool
    default: int | None
    """Trial of the default setting."""
    best: int | None
    """The trial with the lowest objective."""
    good: Share | None
    """Of the points of the design, as the report's robust volume; None where points do not stand for the space."""
    why_not: str
    """Why ``good`` is None; empty where it is not."""
    grid: LandscapeGrid | None
    """None without a report, or where it has no such map."""


class Landscape(Model):
    """What the landscape explorer draws: bounded, whatever the number of trials."""

    workload: str
    metric: Metric
    x: str
    y: str | None
    tolerance: float
    objective: str
    best: float | None
    """Lowest mean objective of any optimizer on the workload."""
    reference: float | None
    """Chance level, from which the tolerance is counted."""
    reference_source: str
    """How ``reference`` is known, for people."""
    low: float | None
    """Ends of the one colour scale of all optimizers."""
    high: float | None
    is_log: bool
    """Whether the colour scale is logarithmic."""
    cells: list[LandscapeCell]
    report_written_at: dt.datetime | None
    """Of the grids."""
