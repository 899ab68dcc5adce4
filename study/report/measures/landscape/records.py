"""What is known of a landscape: points, curves, maps, as figures, tables and report.json have them."""

from dataclasses import dataclass

from study.axis import Value
from study.report.measures.missing import Missing
from study.report.observations import AxisInfo

#: Rows of a map, bottom first, from the left; None where there are no data or no such number.
Grid = tuple[tuple[float | None, ...], ...]
Line = tuple[float | None, ...]
#: The fewest points that are averaged or mapped over one or two axes.
FEWEST = 12


@dataclass(frozen=True, slots=True)
class LandscapePoints:
    """Finished trials, column by column.

    Attributes:
        trial: Their numbers.
        places: Of each trial, its places in the unit cube; None where an axis is not active, or has no such place.
        values: Of each trial, its values on the axes; None where it has none.
        mean: Mean objective over seeds, capped at chance level, where diverged runs are.
        sd: Standard deviation over seeds; None with one seed.
        seeds: Runs.
        diverged: How many of them diverged.
        at_chance: How many of them learned nothing, diverged or not.
    """

    trial: tuple[int, ...]
    places: tuple[tuple[float | None, ...], ...]
    values: tuple[tuple[Value | None, ...], ...]
    mean: tuple[float, ...]
    sd: tuple[float | None, ...]
    seeds: tuple[int, ...]
    diverged: tuple[int, ...]
    at_chance: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LandscapeCurve:
    """The objective along one axis.

    Attributes:
        axis: Index of the axis.
        edges: Edges of its cells in [0, 1].
        places: Where the cells are computed.
        is_stepped: Whether cells are choices or whole numbers.
        points: Points of the design that have a place on the axis.
        known: Which cells have data near by: see :func:`find_neighbours`; None with fewer than :data:`FEWEST` points.
        mean: Surrogate, averaged over the declared prior of the other axes; None in all without a surrogate.
        low: Lower end of its 95 % jackknife interval, from the models without one fold.
        high: Upper end.
        through_best: Surrogate with the other axes held at :attr:`CellLandscape.held_at`; None where other axes would
            be active than there.
        lowest: Surrogate with the other axes at their best for each place: the lowest of 64 places and ``held_at``.
        diverged: Share of runs that diverged, near by.
        spread: Pooled standard deviation over seeds, near by.
    """

    axis: int
    edges: tuple[float, ...]
    places: tuple[float, ...]
    is_stepped: bool
    points: int
    known: tuple[bool, ...] | None
    mean: Line | None
    low: Line | None
    high: Line | None
    through_best: Line | None
    lowest: Line | None
    diverged: Line | None
    spread: Line | None


@dataclass(frozen=True, slots=True)
class LandscapeMap:
    """The objective over two axes.

    Attributes:
        x: Index of the first axis: the learning rate where it is one of them.
        y: Index of the second.
        x_edges: Edges of the cells in [0, 1].
        y_edges: The same.
        x_places: Where the cells are computed.
        y_places: The same.
        averaged: Names of the other axes, over whose declared prior the surrogate is averaged.
        points: Points of the design that have a place on both axes.
        radius: Distance in the unit square beyond which there are no data; None without a map.
        known: Which cells have data near by, row by row; None with fewer than :data:`FEWEST` points.
        mean: Surrogate; None without one.
        error: Standard deviation of the surrogate itself, averaged over the other axes: at least that of the average.
        diverged: Share of runs that diverged, near by.
        spread: Pooled standard deviation over seeds, near by; None with one seed.
    """

    x: int
    y: int
    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    x_places: tuple[float, ...]
    y_places: tuple[float, ...]
    averaged: tuple[str, ...]
    points: int
    radius: float | None
    known: tuple[tuple[bool, ...], ...] | None
    mean: Grid | None
    error: Grid | None
    diverged: Grid | None
    spread: Grid | None


@dataclass(frozen=True, slots=True)
class CellLandscape:
    """The landscape of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        title: What people call it, with the options that make it a variant.
        axes: What varies, the learning rate first.
        constraints: Conditions that every point meets; averages over the prior look beyond them.
        planned: Points of the design, finished or not.
        points: Finished points of the design.
        default: The default setting: one trial, or none.
        best: Number of the trial with the lowest mean, the default among them; None without a finished trial.
        held_at: Number of the point of the design through which curves ``through_best`` go: its best.
        surrogate: ``random forest`` or ``Gaussian process``; empty without one.
        r2: Cross-validated coefficient of determination of the surrogate.
        r2_other: That of the other kind; see :class:`study.report.measures.surrogate.Surrogate`.
        noise_share: Share of the variance between points that is noise of seeds; None with one seed.
        curves: One for each axis.
        maps: One for each pair of axes.
        missing: What could not be computed.
    """

    workload: str
    optimizer: str
    title: str
    axes: tuple[AxisInfo, ...]
    constraints: tuple[str, ...]
    planned: int
    points: LandscapePoints
    default: LandscapePoints
    best: int | None
    held_at: int | None
    surrogate: str
    r2: float | None
    r2_other: float | None
    noise_share: float | None
    curves: tuple[LandscapeCurve, ...]
    maps: tuple[LandscapeMap, ...]
    missing: tuple[Missing, ...]
